package websocket

import (
	"context"
	"io"
)

// Outgoing messages as streams. A messageWriter buffers up to writeSize bytes;
// what fits goes out as one frame at Close, like a message of WriteMessage. At
// the first overflow it takes the message right, which it holds until Close.

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
	if size := min(int(c.writeSize), 1<<maxBufferBits); w.buf == nil || len(w.buf.b) < size {
		w.buf = getBuffer(size)
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
func (w *messageWriter) room() []byte {
	return w.buf.b[w.n:min(len(w.buf.b), int(w.c.writeSize))]
}

// grow makes room if buf is smaller than it may be: a size that no pool has is
// only for messages that need it.
func (w *messageWriter) grow() bool {
	if len(w.buf.b) >= int(w.c.writeSize) {
		return false
	}
	larger := getBuffer(int(w.c.writeSize))
	copy(larger.b, w.buf.b[:w.n])
	w.buf.free()
	w.buf = larger
	return true
}

func (w *messageWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	for n := len(p); ; {
		if len(p) <= len(w.room()) {
			w.n += copy(w.room(), p)
			return n, nil
		}
		if w.grow() {
			continue
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
		if w.grow() {
			continue
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
		if len(w.room()) == 0 && !w.grow() {
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
			c.deflater.SetLevel(int(c.level.Load()))
			c.deflater.Begin()
			w.first |= rsv1Bit
			w.out = getBuffer(int(c.writeSize))
		}
	}
	if w.out == nil {
		return w.emit(0, p)
	}
	w.deflated(c.deflater.Append(w.out.b[:w.nout], p))
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
		w.deflated(w.c.deflater.Append(w.out.b[:w.nout], p))
		w.deflated(w.c.deflater.Finish(w.out.b[:w.nout]))
		if err = w.emit(finBit, w.out.b[:w.nout]); err == nil {
			w.out.free()
			w.out = nil // the deflater goes on from here
		}
	default:
		err = w.emit(finBit, p)
	}
	if w.err == nil {
		w.end(errWriteClosed)
	}
	return err
}

// end gives back what the writer holds. From now on it returns err.
func (w *messageWriter) end(err error) error {
	w.err = err
	c := w.c
	if w.out != nil {
		c.deflater.Reset()
		w.out.free()
		w.out = nil
	}
	if w.begun {
		if err != errWriteClosed && w.first == continuationFrame {
			cut := permanent(err)
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
