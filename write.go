package websocket

import (
	"context"
	"errors"
	"time"

	"github.com/tautws/websocket/internal/deflate"
)

// The writing methods for whole messages; writer.go has those for streams. A
// message holds the right of that name from its first frame to its last, so
// messages of several goroutines never mix.

var (
	errBadWriteType   = errors.New("websocket: bad write message type")
	errControlTooLong = errors.New("websocket: control frame payload longer than 125 bytes")
	errWriteClosed    = errors.New("websocket: write closed")
)

// A BufferPool lends the buffers of message writers. *sync.Pool is one. The
// type of the values in it is not specified.
type BufferPool interface {
	// Get returns a value from the pool, or nil if it is empty.
	Get() any
	// Put adds a value to the pool.
	Put(any)
}

// WriteMessage sends a message of the given type in one frame. The caller's
// bytes are not modified, and not referred to after the return. A text message
// must be UTF-8; it is not checked. The error is ErrCloseSent after a close
// frame was sent, and one for which errors.Is(err, os.ErrDeadlineExceeded)
// holds after a write deadline; an error of the network is permanent.
//
// Control messages may be sent too, see WriteControl.
func (c *Conn) WriteMessage(messageType int, data []byte) error {
	return c.writeMessage(never, messageType, data)
}

// WriteMessageContext is WriteMessage that also ends when ctx does, with an
// error for which errors.Is finds context.Cause(ctx). If it ended while
// waiting for another goroutine's message nothing was sent and the connection
// stays usable; if the write had begun the error is permanent.
func (c *Conn) WriteMessageContext(ctx context.Context, messageType int, data []byte) error {
	return c.writeMessage(effective(ctx), messageType, data)
}

func (c *Conn) writeMessage(ctx context.Context, messageType int, data []byte) error {
	if isControl(messageType) {
		return c.writeControl(ctx, messageType, data)
	}
	if !isData(messageType) {
		return errBadWriteType
	}
	if !c.compresses(len(data)) {
		if done, err := c.writeAlone(ctx, finBit|byte(messageType), data); done {
			return err
		}
	}
	if err := c.lockMessage(ctx); err != nil {
		return err
	}
	var err error
	if c.compresses(len(data)) {
		err = c.writeDeflated(ctx, byte(messageType), data)
	} else {
		err = c.writeFrame(ctx, finBit|byte(messageType), data)
	}
	c.msg.unlock()
	return err
}

// writeAlone sends a message of one frame, unless another message is on its
// way. It needs no message right of its own: whoever takes that right later
// needs the wire for its first frame.
func (c *Conn) writeAlone(ctx context.Context, first byte, data []byte) (done bool, err error) {
	if err := c.lockWire(ctx); err != nil {
		return true, err
	}
	if done = c.msg.isFree(); done {
		if err = c.torn(); err == nil {
			err = c.frameLocked(first, data)
		}
	}
	c.unlockWire()
	return done, err
}

func (c *Conn) lockMessage(ctx context.Context) error {
	if !c.msg.tryLock() {
		if err := c.msg.wait(ctx, &c.wbound); err == errClosed {
			return c.writeAfterClose(ctx)
		} else if err != nil {
			return err
		}
	}
	err := c.torn()
	if err != nil {
		c.msg.unlock()
	}
	return err
}

// writeAfterClose returns the error of a message that was still waiting for its
// turn when the connection was closed: that of any later one.
func (c *Conn) writeAfterClose(ctx context.Context) error {
	// Whoever has the wire is writing to a closed connection, which ends.
	if !c.wire.tryLock() {
		if err := c.waitWire(ctx, new(bound)); err != nil {
			return err
		}
	}
	err := c.writeErr
	c.unlockWire()
	if err == nil {
		err = c.whyClosed(errClosed)
	}
	return err
}

// torn returns the error that cut a message short, if one did. RFC 6455 §5.4:
// no other message may follow its fragments; control frames still may.
func (c *Conn) torn() error {
	if cut := c.cut.Load(); cut != nil {
		return *cut
	}
	return nil
}

// compresses reports whether a message of n bytes is to be compressed.
func (c *Conn) compresses(n int) bool {
	return c.deflater != nil && !c.plain.Load() && n >= int(c.threshold)
}

// writeDeflated sends a compressed message in one frame: some browsers fail on
// a compressed message in several. If compression does not make it smaller it
// goes out plain, which RFC 7692 §6.1 leaves to the sender.
func (c *Conn) writeDeflated(ctx context.Context, opcode byte, data []byte) error {
	c.deflater.SetLevel(int(c.level.Load()))
	b := getBuffer(len(data))
	p := c.deflater.AppendMessage(b.b[:0], data)
	first := opcode | finBit | rsv1Bit
	if len(p) >= len(data) {
		c.deflater.Reset() // the peer does not get to see what it knows
		first, p = opcode|finBit, data
	} else {
		b.b = p
	}
	err := c.writeFrame(ctx, first, p)
	if err != nil {
		c.deflater.Reset()
	}
	b.free()
	return err
}

// EnableWriteCompression turns compression of outgoing messages off and on
// again, from the next message on. It has no effect unless permessage-deflate was negotiated.
func (c *Conn) EnableWriteCompression(enable bool) { c.plain.Store(!enable) }

// SetCompressionLevel sets the compress/flate level, -2 to 9, of the messages
// that follow. It has no effect unless permessage-deflate was negotiated. Any
// other level is an error and changes nothing.
func (c *Conn) SetCompressionLevel(level int) error {
	if !deflate.ValidLevel(level) {
		return errors.New("websocket: invalid compression level")
	}
	c.level.Store(int32(level))
	return nil
}

// WriteControl sends a control message: CloseMessage, PingMessage or
// PongMessage with at most 125 bytes. It gives up when deadline passes; the
// zero value means never. It may go out between the frames of a message that
// is being sent. After a CloseMessage nothing more can be sent, and writes
// return ErrCloseSent (RFC 6455 §5.5.1). The close code is not checked;
// Shutdown does that.
func (c *Conn) WriteControl(messageType int, data []byte, deadline time.Time) error {
	if err := checkControl(messageType, data); err != nil {
		return err
	}
	if !deadline.IsZero() && time.Until(deadline) < 0 {
		return errWriteTimeout
	}
	return c.controlWithin(never, deadline, messageType, data)
}

// controlWithin sends a control message within bounds of its own, not those
// that the application set for its data.
func (c *Conn) controlWithin(ctx context.Context, deadline time.Time, messageType int, data []byte) error {
	if !c.wire.tryLock() {
		if err := c.waitWire(ctx, &bound{deadline: deadline}); err != nil {
			return err
		}
	}
	err := c.writeErr
	if err == nil && ctx != nil && ctx.Err() != nil {
		err = contextError(ctx) // nothing is begun that cannot be ended
	}
	if err == nil {
		unbound := ctx == nil && deadline.IsZero() && c.wbound.watch == nil && c.wbound.unset()
		if !unbound {
			c.wbound.begin(ctx, deadline, c.nc, writing)
		}
		err = c.controlLocked(messageType, data)
		if !unbound {
			c.wbound.end(c.nc, writing)
		}
	}
	c.unlockWire()
	return err
}

// writeControl is WriteControl under the bounds of a data message.
func (c *Conn) writeControl(ctx context.Context, messageType int, data []byte) error {
	if err := c.lockWire(ctx); err != nil {
		return err
	}
	err := checkControl(messageType, data)
	if err == nil {
		err = c.controlLocked(messageType, data)
	}
	c.unlockWire()
	return err
}

func checkControl(messageType int, data []byte) error {
	if !isControl(messageType) {
		return errBadWriteType
	}
	if len(data) > maxControlPayload {
		return errControlTooLong
	}
	return nil
}

func (c *Conn) controlLocked(messageType int, data []byte) error {
	first := finBit | byte(messageType)
	if messageType == PingMessage {
		c.hooks.Load().started(data)
	}
	if messageType != CloseMessage {
		return c.frameLocked(first, data)
	}
	c.answerMailLocked() // while it can be
	if err := c.reserveLocked(maxHeaderSize + len(data)); err != nil {
		return err
	}
	c.appendFrameLocked(first, data)
	if err := c.flushLocked(); err != nil {
		return err
	}
	c.writeErr = ErrCloseSent
	return nil
}
