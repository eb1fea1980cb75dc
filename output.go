package websocket

import (
	"context"
	"errors"

	"github.com/tautws/websocket/internal/mask"
)

// The wire: frames to bytes to the socket. Every frame that is sent goes
// through frameLocked or, finished beforehand, writeLocked, into pending and
// from there through sendLocked, which hold.go can have wait a little.

const (
	copyLimit = 8 << 10   // larger payloads of a server need not be copied
	copyPiece = 256 << 10 // what is copied is copied at most this much at a time
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
	if c.chores.Load() != 0 {
		c.choresLocked() // the next to have the wire may come before us
	}
	c.wire.unlock()
	if c.chores.Load() != 0 {
		c.doChores()
	}
}

// doChores does what was left for whoever held the wire, unless somebody holds
// it again.
func (c *Conn) doChores() {
	for c.chores.Load() != 0 && c.wire.tryLock() {
		c.choresLocked()
		c.wire.unlock()
	}
}

func (c *Conn) choresLocked() {
	todo := c.chores.Swap(0)
	if todo&chorePong != 0 {
		c.answerMailLocked()
	}
	if todo&chorePing != 0 {
		c.pingLocked()
	}
	c.pushLocked()
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
	if c.in.server && len(payload) > copyLimit {
		if !c.gathers() {
			return c.recordsLocked(first, payload)
		}
		if !c.collidesLocked(payload) {
			return c.gatherLocked(first, payload)
		}
	}
	if len(payload) > c.copyPiece() {
		return c.piecesLocked(first, payload)
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
	if c.in.server { // the same without a call
		b := appendHeader(c.pending.b[:c.npending], first, len(payload), false, 0)
		c.npending = int32(len(b) + copy(c.pending.b[len(b):], payload))
		return
	}
	key := c.appendHeaderLocked(first, len(payload))
	c.appendPayloadLocked(payload, key)
}

// appendHeaderLocked adds a header to pending and returns its masking key.
func (c *Conn) appendHeaderLocked(first byte, length int) (key mask.Key) {
	masked := !c.in.server
	if masked {
		key = mask.NewKey()
	}
	c.npending = int32(len(appendHeader(c.pending.b[:c.npending], first, length, masked, key)))
	return key
}

// appendPayloadLocked adds payload to pending. The caller's bytes are never
// modified.
func (c *Conn) appendPayloadLocked(p []byte, key mask.Key) {
	dst := c.pending.b[c.npending:][:len(p)]
	if c.in.server {
		copy(dst, p)
	} else {
		mask.XOR(dst, p, key)
	}
	c.npending += int32(len(p))
}

// piecesLocked sends a frame that is too long to be copied as a whole.
func (c *Conn) piecesLocked(first byte, payload []byte) error {
	size := c.copyPiece()
	if err := c.reserveLocked(size); err != nil {
		return err
	}
	key := c.appendHeaderLocked(first, len(payload))
	for {
		n := min(len(payload), size-int(c.npending))
		c.appendPayloadLocked(payload[:n], key)
		key, payload = key.After(n), payload[n:]
		if err := c.flushLocked(); err != nil || len(payload) == 0 {
			return err
		}
		c.pending = getBuffer(size)
	}
}

// recordsLocked sends a server's frame where each write is a record of its own,
// as over TLS: the first gets what it has room for, the rest is not copied.
func (c *Conn) recordsLocked(first byte, payload []byte) error {
	if err := c.reserveLocked(holdLimit); err != nil {
		return err
	}
	c.appendHeaderLocked(first, len(payload))
	n := min(len(payload), len(c.pending.b)-int(c.npending))
	c.appendPayloadLocked(payload[:n], 0)
	if err := c.flushLocked(); err != nil || n == len(payload) {
		return err
	}
	return c.writtenLocked(c.writeLarge(payload[n:]))
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
