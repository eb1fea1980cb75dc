package websocket

import (
	"context"
	"errors"
	"io"
	"time"
)

// The writing methods: whole messages, and messages as streams. A message
// takes the right of that name from its first frame to its last, so messages
// of several goroutines never mix.

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
		if err := c.msg.wait(ctx, c.wbound.get()); err != nil {
			return err
		}
	}
	err := c.torn()
	if err != nil {
		c.msg.unlock()
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
	c.deflater.setLevel(int(c.level.Load()))
	b := getBuffer(len(data))
	p := c.deflater.compress(b.b[:0], data)
	first := opcode | finBit | rsv1Bit
	if len(p) >= len(data) {
		c.deflater.forget() // the peer does not get to see what it knows
		first, p = opcode|finBit, data
	} else {
		b.b = p
	}
	err := c.writeFrame(ctx, first, p)
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
	if !validLevel(level) {
		return errors.New("websocket: invalid compression level")
	}
	c.level.Store(int32(level))
	return nil
}

// NextWriter returns a writer for a message, which is complete when the writer
// is closed. Several writers may be open at a time: each buffers, and gets its
// turn when its buffer first overflows or at Close; from then on until Close
// the other messages wait. So every writer must be closed.
//
// A message that fits into the buffer is sent in one frame. A writer is not to
// be used by two goroutines at a time. For control messages, which are never
// fragmented, up to 125 bytes may be written.
//
// Write and Close return the errors of WriteMessage. After one the message is
// given up; if part of it was sent, no other can follow on the connection.
func (c *Conn) NextWriter(messageType int) (io.WriteCloser, error) {
	return c.nextWriter(never, messageType)
}

// NextWriterContext is NextWriter whose writer also ends when ctx does. Between
// two frames of its message that is permanent, else see WriteMessageContext.
func (c *Conn) NextWriterContext(ctx context.Context, messageType int) (io.WriteCloser, error) {
	return c.nextWriter(effective(ctx), messageType)
}

func (c *Conn) nextWriter(ctx context.Context, messageType int) (io.WriteCloser, error) {
	if !isControl(messageType) && !isData(messageType) {
		return nil, errBadWriteType
	}
	// A connection that can send nothing more is best known at once.
	if c.wire.tryLock() {
		err := c.writeErr
		c.unlockWire()
		if err != nil {
			return nil, err
		}
	}
	if ctx != nil && ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	w := &messageWriter{c: c, ctx: ctx, first: byte(messageType)}
	if c.writePool != nil {
		w.buf, _ = c.writePool.Get().(*buffer)
	}
	if w.buf == nil || len(w.buf.b) < int(c.writeSize) {
		w.buf = getBuffer(int(c.writeSize))
	}
	return w, nil
}

// A messageWriter is one message on its way out.
type messageWriter struct {
	c     *Conn
	ctx   context.Context
	buf   *buffer // buf.b[:n] is accepted and not sent; nil once closed
	n     int
	out   *buffer // compressed bytes, once a compressed message has overflowed
	nout  int
	first byte // opcode and RSV1 of the next frame
	begun bool // holds the message right
	err   error
}

// room is what buf still takes.
func (w *messageWriter) room() []byte { return w.buf.b[w.n:w.c.writeSize] }

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	for n := len(p); ; {
		if len(p) <= len(w.room()) {
			w.n += copy(w.room(), p)
			return n, nil
		}
		if w.n == 0 {
			// It would fill the buffer: it need not go through it.
			if err := w.overflow(p); err != nil {
				return 0, err
			}
			return n, nil
		}
		m := copy(w.room(), p)
		w.n += m
		p = p[m:]
		if err := w.overflow(w.buf.b[:w.n]); err != nil {
			return 0, err
		}
		w.n = 0
	}
}

// WriteString implements io.StringWriter.
func (w *messageWriter) WriteString(s string) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	for n := len(s); ; {
		m := copy(w.room(), s)
		w.n += m
		if s = s[m:]; s == "" {
			return n, nil
		}
		if err := w.overflow(w.buf.b[:w.n]); err != nil {
			return 0, err
		}
		w.n = 0
	}
}

// ReadFrom implements io.ReaderFrom: r is read into the message's own buffer.
func (w *messageWriter) ReadFrom(r io.Reader) (total int64, err error) {
	if w.err != nil {
		return 0, w.err
	}
	for {
		if len(w.room()) == 0 {
			if err := w.overflow(w.buf.b[:w.n]); err != nil {
				return total, err
			}
			w.n = 0
		}
		n, err := r.Read(w.room())
		w.n += n
		total += int64(n)
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// overflow sends p as a part of the message.
func (w *messageWriter) overflow(p []byte) error {
	c := w.c
	if isControl(int(w.first)) {
		// RFC 6455 §5.5: control frames are not fragmented.
		return w.end(errControlTooLong)
	}
	if !w.begun {
		if err := c.lockMessage(w.ctx); err != nil {
			return w.end(err)
		}
		w.begun = true
		if c.compresses(1 << 30) { // it is long enough, however long it gets
			c.deflater.setLevel(int(c.level.Load()))
			c.deflater.begin()
			w.first |= rsv1Bit
			w.out = getBuffer(int(c.writeSize))
		}
	}
	if w.out == nil {
		return w.emit(0, p)
	}
	w.deflated(c.deflater.write(w.out.b[:w.nout], p))
	if w.nout < int(c.writeSize) {
		return nil
	}
	err := w.emit(0, w.out.b[:w.nout])
	w.nout = 0
	return err
}

// deflated takes what the deflater made of w.out.
func (w *messageWriter) deflated(p []byte) {
	w.nout = len(p)
	w.out.b = p[:cap(p)]
}

// emit sends p as the next frame of the message.
func (w *messageWriter) emit(fin byte, p []byte) error {
	if err := w.c.writeFrame(w.ctx, fin|w.first, p); err != nil {
		return w.end(err)
	}
	w.first = continuationFrame
	return nil
}

// Close sends the rest of the message.
func (w *messageWriter) Close() error {
	if w.err != nil {
		return w.err
	}
	p := w.buf.b[:w.n]
	var err error
	switch {
	case !w.begun:
		err = w.c.writeMessage(w.ctx, int(w.first), p)
	case w.out != nil:
		w.deflated(w.c.deflater.write(w.out.b[:w.nout], p))
		w.deflated(w.c.deflater.finish(w.out.b[:w.nout]))
		w.out, err = nil, w.closeDeflated(w.out)
	default:
		err = w.emit(finBit, p)
	}
	if w.err == nil {
		w.end(errWriteClosed)
	}
	return err
}

func (w *messageWriter) closeDeflated(out *buffer) error {
	err := w.emit(finBit, out.b[:w.nout])
	out.free()
	return err
}

// end gives back what the writer holds. From now on it returns err.
func (w *messageWriter) end(err error) error {
	w.err = err
	c := w.c
	if w.out != nil {
		c.deflater.forget()
		w.out.free()
		w.out = nil
	}
	if w.begun {
		if err != errWriteClosed && w.first == continuationFrame {
			cut := err
			c.cut.Store(&cut)
		}
		c.msg.unlock()
	}
	if c.writePool != nil {
		c.writePool.Put(w.buf)
	} else {
		w.buf.free()
	}
	w.buf = nil
	return err
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
	if err := c.wire.lock(ctx, deadline); err != nil {
		return err
	}
	err := c.writeErr
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
	if messageType != CloseMessage {
		return c.frameLocked(first, data)
	}
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
