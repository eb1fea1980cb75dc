package websocket

import (
	"context"
	"errors"
	"time"

	"github.com/tautws/websocket/internal/deflate"
	"github.com/tautws/websocket/internal/lock"
)

// The writing methods for whole messages; writer.go has those for streams.

var (
	errBadWriteType   = errors.New("websocket: bad write message type")
	errControlTooLong = errors.New("websocket: invalid control frame") // of more than 125 bytes
	errWriteClosed    = errors.New("websocket: write closed")
)

// A BufferPool lends the buffers of message writers. *sync.Pool is one. The type of the values in
// it is not specified.
type BufferPool interface {
	// Get returns a value from the pool, or nil if it is empty.
	Get() any
	// Put adds a value to the pool.
	Put(any)
}

// WriteMessage sends a message of the given type in one frame. The caller's bytes are not modified,
// and not referred to after the return. A text message must be UTF-8; it is not checked.
//
// A nil error means that the message was handed to the operating system or will be within
// WriteDelay, and not that the peer has it. The error is ErrCloseSent after a close frame was sent,
// and one for which errors.Is(err, os.ErrDeadlineExceeded) holds after a write deadline; an error
// of the network is permanent, and a delayed message's error is that of a later write.
//
// Control messages may be sent too, see WriteControl.
func (c *Conn) WriteMessage(messageType int, data []byte) error {
	return c.write.message(noContext, messageType, data)
}

// WriteMessageContext is WriteMessage that also ends when ctx does, with an error for which
// errors.Is finds context.Cause(ctx). If it ended while waiting for another goroutine's message
// nothing was sent and the connection stays usable; if the write had begun the error is permanent.
func (c *Conn) WriteMessageContext(ctx context.Context, messageType int, data []byte) error {
	return c.write.message(cancelable(ctx), messageType, data)
}

// message sends a message of any type.
func (w *writeHalf) message(ctx context.Context, messageType int, data []byte) error {
	if isControl(messageType) {
		return w.control(ctx, messageType, data)
	}
	if !isData(messageType) {
		return errBadWriteType
	}
	if err := w.lockMessage(ctx); err != nil {
		return err
	}
	payload := len(data)
	var err error
	if w.compresses(len(data)) {
		payload, err = w.deflatedMessage(ctx, byte(messageType), data)
	} else {
		err = w.writeFrame(ctx, finBit|byte(messageType), data)
	}
	w.unlockMessage()
	if err == nil {
		w.traceMessage(messageType, len(data), w.wireSize(payload))
	}
	return err
}

// compresses reports whether a message of n bytes is to be compressed.
func (w *writeHalf) compresses(n int) bool {
	return w.deflater != nil && w.compression.Load()&compressionOff == 0 && n >= int(w.threshold) &&
		!w.sharesWindow()
}

// compressionOff is the bit of writeHalf.compression that EnableWriteCompression sets.
const compressionOff = 1

// level returns the level of compress/flate.
func (w *writeHalf) level() int { return int(w.compression.Load() >> 1) }

// deflatedMessage sends a compressed message in one frame: some browsers fail on a compressed
// message in several. If compression does not make it smaller it is sent uncompressed, which RFC
// 7692 §6.1 leaves to the sender. It returns the length of the frame's payload. msg is held.
func (w *writeHalf) deflatedMessage(ctx context.Context, opcode byte, data []byte) (payload int, err error) {
	w.deflater.SetLevel(w.level())
	b := getBuffer(len(data))
	p := w.deflater.AppendMessage(b.b[:0], data)
	first := opcode | finBit | rsv1Bit
	if len(p) >= len(data) {
		w.deflater.Reset() // the peer does not get to see what the compressor has seen
		first, p = opcode|finBit, data
	} else {
		b.b = p
	}
	if err = w.writeFrame(ctx, first, p); err != nil {
		w.deflater.Reset()
	}
	b.release()
	return len(p), err
}

// EnableWriteCompression turns compression of outgoing messages off and on again, from the next
// message on. It has no effect unless permessage-deflate was negotiated.
func (c *Conn) EnableWriteCompression(enable bool) {
	if enable {
		c.write.compression.And(^compressionOff)
	} else {
		c.write.compression.Or(compressionOff)
	}
}

// SetCompressionLevel sets the compress/flate level, -2 to 9, of the messages that follow. It has
// no effect unless permessage-deflate was negotiated. Any other level is an error and changes
// nothing.
func (c *Conn) SetCompressionLevel(level int) error {
	if !deflate.ValidLevel(level) {
		return errors.New("websocket: invalid compression level")
	}
	for {
		old := c.write.compression.Load()
		if c.write.compression.CompareAndSwap(old, int32(level)<<1|old&compressionOff) {
			return nil
		}
	}
}

// WriteControl sends a control message: CloseMessage, PingMessage or PongMessage with at most 125
// bytes. It gives up when deadline passes; the zero value means never. It may go out between the
// frames of a message that is being sent. After a CloseMessage nothing more can be sent, and writes
// return ErrCloseSent (RFC 6455 §5.5.1). The close code is not checked; Shutdown does that.
func (c *Conn) WriteControl(messageType int, data []byte, deadline time.Time) error {
	if err := checkControl(messageType, data); err != nil {
		return err
	}
	if !deadline.IsZero() && time.Until(deadline) < 0 {
		return errControlTimeout
	}
	return c.write.controlWithin(noContext, deadline, messageType, data)
}

// controlWithin sends a control message within its own bounds, not those that the application set
// for its data.
func (w *writeHalf) controlWithin(ctx context.Context, deadline time.Time, messageType int, data []byte) error {
	late := false // the wait took until the deadline
	if !w.mu.TryLock() {
		var d lock.Deadline
		if !deadline.IsZero() {
			d = until(deadline)
		}
		err := w.wait(ctx, d)
		if err == errWriteTimeout {
			err = errControlTimeout
		}
		if err != nil {
			return err
		}
		late = !deadline.IsZero() && time.Until(deadline) <= 0
	}
	err := w.endedLocked()
	switch { // nothing is begun that cannot be ended
	case err != nil:
	case ctx != nil && ctx.Err() != nil:
		err = contextError(ctx)
	case late:
		err = errControlTimeout
	}
	if err == nil {
		if ctx == nil && deadline.IsZero() && !w.deadline.isSet() {
			err = w.controlLocked(messageType, data)
		} else {
			w.deadline.overrideWith(ctx, deadline, overrideStrict)
			err = w.controlLocked(messageType, data)
			w.deadline.restore()
		}
	}
	w.unlock()
	return err
}

// control is WriteControl under the bounds of a data message.
func (w *writeHalf) control(ctx context.Context, messageType int, data []byte) error {
	if err := w.lock(ctx); err != nil {
		return err
	}
	err := checkControl(messageType, data)
	if err == nil {
		err = w.controlLocked(messageType, data)
	}
	w.unlock()
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

func (w *writeHalf) controlLocked(messageType int, data []byte) error {
	first := finBit | byte(messageType)
	if messageType == PingMessage {
		w.conn.pingSent(data)
	}
	if messageType != CloseMessage {
		return w.frameLocked(first, data)
	}
	// Nothing can follow the close frame.
	if err := w.catchUpBeforeCloseLocked(); err != nil {
		return err
	}
	w.appendQueueLocked()
	if err := w.growLocked(maxHeaderSize + len(data)); err != nil {
		return err
	}
	w.appendFrameLocked(first, data)
	if err := w.flushLocked(); err != nil {
		return err
	}
	w.err = ErrCloseSent
	return nil
}

// closeSent reports whether a close frame is out.
func (w *writeHalf) closeSent() bool {
	if !w.mu.TryLock() {
		return false
	}
	sent := w.err == ErrCloseSent
	w.unlock()
	return sent
}
