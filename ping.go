package websocket

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/tautws/websocket/internal/mask"
)

// Ping, and the pings that are on their way to the peer and back.

// maxOthers is how many pings of WriteControl and KeepAlive are remembered.
const maxOthers = 16

// pings are the pings in flight. hooks.mu guards them.
type pings struct {
	sent    int       // pings that went out while a Ping was waiting
	flights []*flight // of Ping
	others  []other   // those that went out behind one of them
	ended   error     // no pong will come any more
}

// A flight is a ping that somebody waits for.
type flight struct {
	payload [8]byte
	order   int        // among the pings sent; 0: it is not out yet
	done    chan error // of capacity 1
}

// An other is a ping that nobody waits for. Its pong tells that the peer has
// seen those before it.
type other struct {
	payload string
	order   int
}

// Ping sends a ping and returns when its pong is read. It does not read
// itself: some other goroutine must be reading. Any number of pings may be in
// flight; they are told apart by their payload. As a peer may answer only the
// latest of several pings (RFC 6455 §5.5.3), a pong ends the pings sent before
// its own as well.
//
// The error is one for which errors.Is finds context.Cause(ctx), or what ended
// the connection.
func (c *Conn) Ping(ctx context.Context) error {
	ctx = effective(ctx)
	f := &flight{done: make(chan error, 1)}
	binary.LittleEndian.PutUint32(f.payload[:4], uint32(mask.NewKey())) // as good as any random bytes
	binary.LittleEndian.PutUint32(f.payload[4:], uint32(mask.NewKey()))
	h := c.hook()
	err := h.prepare(f)
	if err == nil {
		// Bounded by ctx alone: a write deadline is for the application's data.
		err = c.controlWithin(ctx, time.Time{}, PingMessage, f.payload[:])
	}
	if err != nil {
		h.cancel(f)
		return err
	}
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	select {
	case err := <-f.done:
		return err
	case <-ended:
		h.cancel(f)
		return contextError(ctx)
	}
}

// prepare remembers a flight that is about to start.
func (h *hooks) prepare(f *flight) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pings.ended == nil {
		h.pings.flights = append(h.pings.flights, f)
	}
	return h.pings.ended
}

// cancel forgets a flight that nobody waits for any more.
func (h *hooks) cancel(f *flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pings.remove(func(g *flight) bool { return g == f })
}

// started is called for every ping that goes out, with the wire held: that is
// the order in which the peer sees them.
func (h *hooks) started(payload []byte) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.pings
	if len(p.flights) == 0 {
		return
	}
	p.sent++
	for _, f := range p.flights {
		if f.order == 0 && string(f.payload[:]) == string(payload) {
			f.order = p.sent
			return
		}
	}
	if len(p.others) == maxOthers {
		p.others = p.others[1:]
	}
	p.others = append(p.others, other{string(payload), p.sent})
}

// landed is called for every pong read. It ends the flight of the ping that it
// answers and those that started before.
func (h *hooks) landed(payload []byte) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p := &h.pings
	order := 0
	for _, f := range p.flights {
		if f.order > 0 && string(f.payload[:]) == string(payload) {
			order = f.order
		}
	}
	for i := 0; order == 0 && i < len(p.others); i++ {
		if p.others[i].payload == string(payload) {
			order = p.others[i].order
		}
	}
	p.remove(func(f *flight) bool {
		over := 0 < f.order && f.order <= order
		if over {
			f.done <- nil
		}
		return over
	})
	p.others = slices.DeleteFunc(p.others, func(o other) bool { return o.order <= order })
}

// endPings ends all flights, and those that start from now on. It reports
// whether nothing had ended them before.
func (h *hooks) endPings(err error) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if first = h.pings.ended == nil; first {
		h.pings.ended = err
	}
	h.pings.remove(func(f *flight) bool {
		f.done <- err
		return true
	})
	return first
}

// remove takes the flights out that over reports.
func (p *pings) remove(over func(*flight) bool) {
	p.flights = slices.DeleteFunc(p.flights, over)
	if len(p.flights) == 0 {
		p.flights, p.others = nil, nil
	}
}
