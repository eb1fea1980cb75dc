package websocket

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"
)

// Control frames as they come in, the handlers for them, and Ping. The reader
// answers a ping without waiting for a writer: if the wire is taken, the pong
// lies in the mailbox until whoever holds the wire lets go.

// hooks is what a connection needs once it does more with control frames than
// answer them.
type hooks struct {
	mu      sync.Mutex
	onPing  func(appData string) error
	onPong  func(appData string) error
	onClose func(code int, text string) error
	pings   []flight // in the order in which they were sent
	ended   error    // no pong will come any more

	mail  atomic.Bool // the mailbox is full
	pong  [maxControlPayload]byte
	npong int
}

// A flight is a ping on its way to the peer and back.
type flight struct {
	payload [8]byte
	done    chan error // of capacity 1
}

// hook returns the connection's hooks, made at first use.
func (c *Conn) hook() *hooks {
	if h := c.hooks.Load(); h != nil {
		return h
	}
	c.hooks.CompareAndSwap(nil, new(hooks))
	return c.hooks.Load()
}

// handleControl acts on a control frame. p is valid until it returns.
func (c *Conn) handleControl(opcode int, p []byte) error {
	var onPing, onPong func(string) error
	h := c.hooks.Load()
	if h != nil {
		h.mu.Lock()
		onPing, onPong = h.onPing, h.onPong
		h.mu.Unlock()
	}
	var err error
	switch opcode {
	case PingMessage:
		if onPing == nil {
			c.sendPong(p)
		} else {
			err = onPing(string(p))
		}
	case PongMessage:
		h.land(p)
		if onPong != nil {
			err = onPong(string(p))
		}
	case CloseMessage:
		return c.handleClose(p)
	}
	if err != nil {
		return c.endReading(err)
	}
	return nil
}

// sendPong answers a ping with its payload (RFC 6455 §5.5.3).
func (c *Conn) sendPong(p []byte) {
	if c.wire.tryLock() {
		// An older ping's pong does not come behind this one.
		sent := c.answerMailLocked() && c.offerLocked(PongMessage, p)
		if sent && c.writeDelay > 0 && c.frameAtHand() && c.npending < holdLimit {
			c.holdLocked()
		} else {
			c.pushLocked()
		}
		c.unlockWire()
		if sent {
			return
		}
	}
	// RFC 6455 §5.5.3: of several pings the last alone may be answered.
	h := c.hook()
	h.mu.Lock()
	h.npong = copy(h.pong[:], p)
	h.mail.Store(true)
	h.mu.Unlock()
	c.leave(chorePong)
}

// answerMailLocked sends the pong in the mailbox, or leaves it there until
// pending has room. It reports whether the mailbox is empty.
func (c *Conn) answerMailLocked() bool {
	h := c.hooks.Load()
	if h == nil || !h.mail.Load() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mail.Load() && c.offerLocked(PongMessage, h.pong[:h.npong]) {
		h.mail.Store(false)
	}
	return !h.mail.Load()
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
	f := flight{done: make(chan error, 1)}
	binary.LittleEndian.PutUint32(f.payload[:4], uint32(newMaskKey())) // as good as any random bytes
	binary.LittleEndian.PutUint32(f.payload[4:], uint32(newMaskKey()))
	h := c.hook()
	h.mu.Lock()
	err := h.ended
	h.pings = append(h.pings, f)
	h.mu.Unlock()
	if err == nil {
		// Bounded by ctx alone: a write deadline is for the application's data.
		err = c.controlWithin(effective(ctx), time.Time{}, PingMessage, f.payload[:])
	}
	if err != nil {
		h.cancel(f)
		return err
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		h.cancel(f)
		return contextError(ctx)
	}
}

// land ends the flight that the payload of a pong belongs to and those that
// started before it.
func (h *hooks) land(p []byte) {
	if h == nil || len(p) != len(flight{}.payload) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.pings {
		if h.pings[i].payload == [8]byte(p) {
			h.endLocked(i+1, nil)
			return
		}
	}
}

// endPings ends all flights, and those that start from now on.
func (h *hooks) endPings(err error) {
	h.mu.Lock()
	if h.ended == nil {
		h.ended = err
	}
	h.endLocked(len(h.pings), err)
	h.mu.Unlock()
}

func (h *hooks) endLocked(n int, err error) {
	for _, f := range h.pings[:n] {
		f.done <- err
	}
	h.pings = append([]flight(nil), h.pings[n:]...)
}

func (h *hooks) cancel(f flight) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.pings {
		if h.pings[i].done == f.done {
			h.pings = append(h.pings[:i], h.pings[i+1:]...)
			return
		}
	}
}

// SetPingHandler sets what is called for every ping read, with its payload;
// nil restores the default, which answers with a pong. Handlers run on the
// goroutine that reads, inside its call: they may write, but neither read nor
// call Shutdown. An error they return ends the reading with that error.
func (c *Conn) SetPingHandler(h func(appData string) error) {
	k := c.hook()
	k.mu.Lock()
	k.onPing = h
	k.mu.Unlock()
}

// PingHandler returns the current ping handler.
func (c *Conn) PingHandler() func(appData string) error {
	h := c.hook()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.onPing != nil {
		return h.onPing
	}
	return func(appData string) error {
		c.sendPong([]byte(appData[:min(len(appData), maxControlPayload)]))
		return nil
	}
}

// SetPongHandler sets what is called for every pong read, with its payload; nil
// restores the default, which does nothing. See SetPingHandler for what
// handlers may do.
func (c *Conn) SetPongHandler(h func(appData string) error) {
	k := c.hook()
	k.mu.Lock()
	k.onPong = h
	k.mu.Unlock()
}

// PongHandler returns the current pong handler.
func (c *Conn) PongHandler() func(appData string) error {
	h := c.hook()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.onPong != nil {
		return h.onPong
	}
	return func(string) error { return nil }
}
