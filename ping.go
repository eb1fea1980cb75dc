package websocket

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tautws/websocket/internal/mask"
)

// Ping, and the pings that are on their way to the peer and back.

// maxUntracked is how many pings of WriteControl and KeepAlive are remembered.
const maxUntracked = 16

// pings are the pings in flight. control.mu guards them.
type pings struct {
	count     uint64                   // pings that went out while a Ping was waiting
	waiting   map[[8]byte]*pendingPing // of Ping, by payload
	sent      []*pendingPing           // those that went out, in that order; some may have ended
	untracked []untrackedPing          // pings that nobody waits for
	err       error                    // no pong will come any more
}

// A pendingPing is a ping that somebody waits for.
type pendingPing struct {
	payload [8]byte
	order   uint64 // among the pings sent; 0: it has not gone out yet
	sent    time.Time
	rtt     time.Duration // set before done is
	done    chan error    // of capacity 1
}

// An untrackedPing is one that nobody waits for. Its pong tells that the peer has seen those before
// it.
type untrackedPing struct {
	payload string
	order   uint64
}

// Ping sends a ping and returns when its pong is read. It does not read itself: some other
// goroutine must be reading. Any number of pings may be in flight; they are told apart by their
// payload. As a peer may answer only the latest of several pings (RFC 6455 §5.5.3), a pong ends the
// pings sent before its own as well.
//
// The error is one for which errors.Is finds context.Cause(ctx), or what ended the connection.
func (c *Conn) Ping(ctx context.Context) error {
	ctx = cancelable(ctx)
	p := &pendingPing{payload: randomPingPayload(), done: make(chan error, 1)}
	k := c.controls()
	err := k.addPing(p)
	if err == nil {
		// Bounded by ctx alone: a write deadline is for the application's data.
		err = c.write.controlWithin(ctx, time.Time{}, PingMessage, p.payload[:])
	}
	if err != nil {
		k.removePing(p)
		return err
	}
	var done <-chan struct{}
	if ctx != nil {
		done = ctx.Done()
	}
	select {
	case err := <-p.done:
		if err == nil && k.trace != nil && k.trace.Ping != nil {
			k.trace.Ping(c, p.rtt)
		}
		return err
	case <-done:
		k.removePing(p)
		return contextError(ctx)
	}
}

func randomPingPayload() (p [8]byte) {
	binary.LittleEndian.PutUint32(p[:4], uint32(mask.NewKey())) // random bytes like any other
	binary.LittleEndian.PutUint32(p[4:], uint32(mask.NewKey()))
	return p
}

// addPing remembers a ping that is about to be sent.
func (k *control) addPing(p *pendingPing) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pings.err != nil {
		return k.pings.err
	}
	if k.pings.waiting == nil {
		k.pings.waiting = make(map[[8]byte]*pendingPing)
	}
	k.pings.waiting[p.payload] = p
	return nil
}

// removePing forgets a ping that nobody waits for any more.
func (k *control) removePing(p *pendingPing) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pings.remove(p)
}

func (s *pings) remove(p *pendingPing) {
	if s.waiting[p.payload] == p {
		delete(s.waiting, p.payload)
	}
	if len(s.waiting) == 0 {
		s.waiting, s.sent, s.untracked = nil, nil, nil
	} else if len(s.sent) > 2*len(s.waiting)+16 {
		// Most have ended without a pong: forget them.
		n := 0
		for _, p := range s.sent {
			if s.waiting[p.payload] == p {
				s.sent[n] = p
				n++
			}
		}
		clear(s.sent[n:])
		s.sent = s.sent[:n]
	}
}

// pingSent is called for every ping that goes out, with write.mu held.
func (k *control) pingSent(payload []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &k.pings
	if len(s.waiting) == 0 {
		return
	}
	s.count++
	if p := s.find(payload); p != nil && p.order == 0 {
		p.order, p.sent = s.count, time.Now()
		s.sent = append(s.sent, p)
		return
	}
	if len(s.untracked) == maxUntracked {
		s.untracked = s.untracked[:copy(s.untracked, s.untracked[1:])]
	}
	s.untracked = append(s.untracked, untrackedPing{string(payload), s.count})
}

func (s *pings) find(payload []byte) *pendingPing {
	if len(payload) != 8 {
		return nil
	}
	return s.waiting[[8]byte(payload)]
}

// pongReceived is called for every pong read. It ends the Ping that it answers and those sent
// before.
func (k *control) pongReceived(payload []byte) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &k.pings
	var order uint64
	if p := s.find(payload); p != nil {
		order = p.order
	}
	for i := 0; order == 0 && i < len(s.untracked); i++ {
		if s.untracked[i].payload == string(payload) {
			order = s.untracked[i].order
		}
	}
	ended := 0
	for _, p := range s.sent {
		if p.order > order {
			break
		}
		ended++
		if s.waiting[p.payload] == p {
			delete(s.waiting, p.payload)
			p.rtt = time.Since(p.sent)
			p.done <- nil
		}
	}
	clear(s.sent[:ended])
	s.sent = s.sent[ended:]
	if len(s.waiting) == 0 {
		s.waiting, s.sent, s.untracked = nil, nil, nil
		return
	}
	seen := 0
	for seen < len(s.untracked) && s.untracked[seen].order <= order {
		seen++
	}
	s.untracked = s.untracked[:copy(s.untracked, s.untracked[seen:])]
}

// endPings ends all pings in flight, and those to come, with err. It reports whether nothing had
// ended them before.
func (c *Conn) endPings(err error) (first bool) {
	k := c.controls()
	k.mu.Lock()
	defer k.mu.Unlock()
	if first = k.pings.err == nil; first {
		k.pings.err = err
	}
	for _, p := range k.pings.waiting {
		p.done <- k.pings.err
	}
	k.pings.waiting, k.pings.sent, k.pings.untracked = nil, nil, nil
	return first
}
