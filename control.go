package websocket

import (
	"sync"
	"sync/atomic"
)

// Control frames as they come in, and the handlers for them. The reader answers
// a ping without waiting for a writer: if the wire is taken, the pong lies in
// the mailbox until whoever holds the wire lets go.

// maxMail is how many pongs the mailbox takes. With one more the oldest is
// lost: RFC 6455 §5.5.3 lets an endpoint answer the latest of several pings alone.
const maxMail = 16

// hooks is what a connection needs once it does more with control frames than
// answer them.
type hooks struct {
	mu      sync.Mutex
	onPing  func(appData string) error
	onPong  func(appData string) error
	onClose func(code int, text string) error
	pings   pings

	hasMail atomic.Bool
	mail    []byte // payloads of pongs, the oldest first, each behind its length
	mails   int
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
			c.sendPong(p, c.writeDelay > 0 && c.frameAtHand())
		} else {
			err = onPing(string(p))
		}
	case PongMessage:
		h.landed(p)
		if onPong != nil {
			err = onPong(string(p))
		}
	case CloseMessage:
		return c.handleClose(p)
	}
	if err != nil {
		return c.endReading(permanent(err))
	}
	c.endIfClosed()
	return c.readErr
}

// sendPong answers a ping with its payload (RFC 6455 §5.5.3). It may hold the
// pong if the reader has another frame at hand.
func (c *Conn) sendPong(p []byte, mayHold bool) {
	if c.wire.tryLock() {
		// An older ping's pong does not come behind this one.
		sent := c.answerMailLocked() && c.offerLocked(PongMessage, p)
		if sent && mayHold && c.npending < holdLimit {
			c.holdLocked()
		} else {
			c.pushLocked()
		}
		c.unlockWire()
		if sent {
			return
		}
	}
	h := c.hook()
	h.mu.Lock()
	if h.mails == maxMail {
		h.dropMail()
	}
	h.mail = append(append(h.mail, byte(len(p))), p...)
	h.mails++
	h.hasMail.Store(true)
	h.mu.Unlock()
	c.leave(chorePong)
}

// answerMailLocked sends the pongs in the mailbox as far as pending has room.
// It reports whether the mailbox is empty.
func (c *Conn) answerMailLocked() bool {
	h := c.hooks.Load()
	if h == nil || !h.hasMail.Load() {
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.mails > 0 {
		if !c.offerLocked(PongMessage, h.mail[1:][:h.mail[0]]) {
			return false
		}
		h.dropMail()
	}
	h.hasMail.Store(false)
	return true
}

// dropMail takes the oldest pong out of the mailbox.
func (h *hooks) dropMail() {
	h.mail = h.mail[:copy(h.mail, h.mail[1+int(h.mail[0]):])]
	h.mails--
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
		c.sendPong([]byte(appData[:min(len(appData), maxControlPayload)]), false)
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
