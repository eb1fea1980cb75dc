package websocket

import (
	"context"
	"errors"
)

// The wire: frames to bytes to the socket. Every frame that is sent goes
// through frameLocked or, finished beforehand, writeLocked, into pending and
// from there through sendLocked, which hold.go can have wait a little.

const (
	copyLimit = 8 << 10  // larger payloads of a server are not copied
	maskChunk = 64 << 10 // a client masks this much at a time
)

// ErrCloseSent is returned by writes after a close frame was sent: nothing may
// follow one (RFC 6455 §5.5.1).
var ErrCloseSent = errors.New("websocket: close sent")

// What whoever holds the wire does before it lets go, for those who would not
// wait for it.
const (
	chorePong  = 1 << iota // a pong lies in the mailbox
	chorePing              // keep-alive wants a ping
	choreFlush             // frames are held and the reader waits
)

// lockWire takes the wire for a call that ends when ctx does. The context may
// be never.
func (c *Conn) lockWire(ctx context.Context) error {
	if !c.wire.tryLock() {
		if err := c.waitWire(ctx, &c.wbound); err != nil {
			return err
		}
	}
	err := c.writeErr
	if err == nil && (ctx != nil || c.wbound.watch != nil) {
		err = c.wbound.use(ctx, c.nc, writing)
	}
	if err != nil {
		c.unlockWire()
	}
	return err
}

// waitWire takes a wire that is taken. It fails when ctx ends or the deadline
// of b passes first.
func (c *Conn) waitWire(ctx context.Context, b *bound) error {
	err := c.wire.wait(ctx, b)
	if err != nil {
		c.doChores() // the wire may have been ours for a moment
	}
	return err
}

func (c *Conn) unlockWire() {
	c.wire.unlock()
	if c.chores.Load() != 0 {
		c.doChores()
	}
}

// doChores does what was left for whoever held the wire, unless somebody holds
// it again.
func (c *Conn) doChores() {
	for c.chores.Load() != 0 && c.wire.tryLock() {
		todo := c.chores.Swap(0)
		if todo&chorePong != 0 {
			c.answerMailLocked()
		}
		if todo&chorePing != 0 {
			c.pingLocked()
		}
		c.pushLocked()
		c.wire.unlock()
	}
}

// leave gives a chore to whoever holds the wire.
func (c *Conn) leave(chore uint32) {
	c.chores.Or(chore)
	c.doChores()
}

// writeFrame sends one frame. first is its first byte: opcode and flags.
func (c *Conn) writeFrame(ctx context.Context, first byte, payload []byte) error {
	if err := c.lockWire(ctx); err != nil {
		return err
	}
	err := c.frameLocked(first, payload)
	c.unlockWire()
	return err
}

func (c *Conn) frameLocked(first byte, payload []byte) error {
	if c.in.server {
		if len(payload) > copyLimit {
			return c.largeFrameLocked(first, payload)
		}
	} else if len(payload) > maskChunk {
		return c.maskedFrameLocked(first, payload)
	}
	if n := maxHeaderSize + len(payload); c.pending == nil || int(c.npending)+n > len(c.pending.b) {
		if err := c.reserveLocked(n); err != nil {
			return err
		}
	}
	c.appendFrameLocked(first, payload)
	return c.sendLocked()
}

// appendFrameLocked adds a frame to pending, which has the room.
func (c *Conn) appendFrameLocked(first byte, payload []byte) {
	var key maskingKey
	masked := !c.in.server
	if masked {
		key = newMaskKey()
	}
	b := appendHeader(c.pending.b[:c.npending], first, len(payload), masked, key)
	n := len(b)
	b = b[:n+len(payload)]
	if masked {
		mask(b[n:], payload, key)
	} else {
		copy(b[n:], payload)
	}
	c.npending = int32(len(b))
}

// largeFrameLocked sends a server's frame without copying its payload, but for
// a beginning where the connection cannot gather: over TLS each write is a
// record, and one for the header alone would be a waste.
func (c *Conn) largeFrameLocked(first byte, payload []byte) error {
	room, gathers := holdLimit, c.gathers()
	if gathers {
		room = maxHeaderSize
	}
	if err := c.reserveLocked(room); err != nil {
		return err
	}
	b := appendHeader(c.pending.b[:c.npending], first, len(payload), false, 0)
	if gathers {
		return c.writtenLocked(c.writeGathered(b, payload))
	}
	n := copy(c.pending.b[len(b):], payload)
	c.npending = int32(len(b) + n)
	if err := c.flushLocked(); err != nil || n == len(payload) {
		return err
	}
	return c.writtenLocked(c.writeLarge(payload[n:]))
}

// maskedFrameLocked sends a client's frame piece by piece: the caller's bytes
// are never modified.
func (c *Conn) maskedFrameLocked(first byte, payload []byte) error {
	if err := c.reserveLocked(maxHeaderSize + maskChunk); err != nil {
		return err
	}
	key := newMaskKey()
	c.npending = int32(len(appendHeader(c.pending.b[:c.npending], first, len(payload), true, key)))
	for pos := 0; ; {
		free := c.pending.b[c.npending:]
		n := min(len(payload)-pos, len(free))
		mask(free[:n], payload[pos:pos+n], key.after(pos))
		c.npending += int32(n)
		pos += n
		if err := c.flushLocked(); err != nil || pos == len(payload) {
			return err
		}
		c.pending = getBuffer(maskChunk)
	}
}

// writeLocked sends a finished frame.
func (c *Conn) writeLocked(frame []byte) error {
	if len(frame) > copyLimit || c.npending == 0 && !c.hold.Load() {
		if err := c.flushLocked(); err != nil {
			return err
		}
		return c.writtenLocked(c.writeLarge(frame))
	}
	if err := c.reserveLocked(len(frame)); err != nil {
		return err
	}
	c.npending += int32(copy(c.pending.b[c.npending:], frame))
	return c.sendLocked()
}

// reserveLocked makes room for n more bytes in pending, sending what is there
// if it must.
func (c *Conn) reserveLocked(n int) error {
	if c.roomLocked(n) {
		return nil
	}
	if err := c.flushLocked(); err != nil {
		return err
	}
	c.pending = getBuffer(n)
	return nil
}

// roomLocked makes room for n more bytes in pending if that takes no writing.
func (c *Conn) roomLocked(n int) bool {
	switch {
	case c.pending == nil:
		if c.hold.Load() {
			n = max(n, holdLimit)
		}
		c.pending = getBuffer(n)
	case int(c.npending)+n > len(c.pending.b):
		if int(c.npending)+n > 2*holdLimit {
			return false
		}
		larger := getBuffer(2 * holdLimit)
		copy(larger.b, c.pending.b[:c.npending])
		c.pending.free()
		c.pending = larger
	}
	return true
}

// flushLocked writes what is pending and waits for it.
func (c *Conn) flushLocked() error {
	if c.npending == 0 {
		return nil
	}
	_, err := c.nc.Write(c.pending.b[:c.npending])
	return c.writtenLocked(err)
}

// writtenLocked ends a write: pending is empty, or lost for good.
func (c *Conn) writtenLocked(err error) error {
	if c.pending != nil {
		c.pending.free()
		c.pending, c.npending = nil, 0
	}
	if c.timing {
		c.timer.Stop()
		c.timing = false
	}
	if c.held.Load() {
		c.held.Store(false)
	}
	if err != nil {
		// Part of a frame may be on its way: no other can follow it.
		err = permanent(c.connError(c.wbound.waitError(err)))
		if c.writeErr == nil {
			c.writeErr = err
		}
		return err
	}
	if h := c.hooks.Load(); h != nil && h.hasMail.Load() {
		c.chores.Or(chorePong) // it found no room before
	}
	if c.keep != nil && c.keep.wrote() {
		c.chores.Or(chorePing) // likewise
	}
	return nil
}

// offerLocked adds a control frame to pending unless that would take writing.
func (c *Conn) offerLocked(opcode byte, payload []byte) bool {
	if c.writeErr != nil {
		return true // never to be sent
	}
	if !c.roomLocked(maxHeaderSize + len(payload)) {
		return false
	}
	c.appendFrameLocked(finBit|opcode, payload)
	return true
}
