package websocket

import (
	"context"
	"io"
)

// Outgoing messages as streams. A messageWriter buffers up to writeHalf.size bytes; what fits goes
// out as one frame at Close, like a message of WriteMessage. At the first overflow it takes
// write.msg, which it holds until Close.

// NextWriter returns a writer for a message, which is complete when the writer is closed. Several
// writers may be open at a time: each buffers, and gets its turn when its buffer first overflows or
// at Close; from then on until Close the other messages wait. So every writer must be closed.
//
// A message that fits into the buffer is sent in one frame. A writer is not to be used by two
// goroutines at a time. For control messages, which are never fragmented, up to 125 bytes may be
// written.
//
// Write and Close return the errors of WriteMessage, and go on to return the first. After one the
// message is given up; if part of it was sent, no other can follow on the connection.
func (c *Conn) NextWriter(messageType int) (io.WriteCloser, error) {
	return c.write.nextWriter(noContext, messageType)
}

// NextWriterContext is NextWriter whose writer also ends when ctx does. Between two frames of its
// message that is permanent, else see WriteMessageContext.
func (c *Conn) NextWriterContext(ctx context.Context, messageType int) (io.WriteCloser, error) {
	return c.write.nextWriter(cancelable(ctx), messageType)
}

func (w *writeHalf) nextWriter(ctx context.Context, messageType int) (io.WriteCloser, error) {
	if !isControl(messageType) && !isData(messageType) {
		return nil, errBadWriteType
	}
	// A connection that can send nothing more is best known early.
	if w.mu.TryLock() {
		err := w.err
		w.unlock()
		if err != nil {
			return nil, err
		}
	}
	if ctx != nil && ctx.Err() != nil {
		return nil, contextError(ctx)
	}
	m := &messageWriter{half: w, ctx: ctx, kind: byte(messageType), first: byte(messageType)}
	if w.pool != nil {
		m.buf, _ = w.pool.Get().(*buffer)
	}
	if size := min(int(w.size), 1<<maxBufferBits); m.buf == nil || len(m.buf.b) < size {
		m.buf = getBuffer(size)
	}
	return m, nil
}

// A messageWriter is one message on its way out.
type messageWriter struct {
	half  *writeHalf
	ctx   context.Context
	buf   *buffer // buf.b[:n] is accepted and not sent; nil once closed
	n     int
	out   *buffer // compressed bytes, once a compressed message has overflowed
	nout  int
	size  int64 // bytes of the message that were sent, uncompressed
	wire  int64 // bytes of its frames
	kind  byte  // message type
	first byte  // opcode and RSV1 of the next frame
	begun bool  // holds half.msg
	err   error
}

// room is what buf still takes.
func (m *messageWriter) room() []byte {
	return m.buf.b[m.n:min(len(m.buf.b), int(m.half.size))]
}

// grow makes room if buf is smaller than it may be: a size that no pool has is only for messages
// that need it.
func (m *messageWriter) grow() bool {
	if len(m.buf.b) >= int(m.half.size) {
		return false
	}
	larger := getBuffer(int(m.half.size))
	copy(larger.b, m.buf.b[:m.n])
	m.buf.release()
	m.buf = larger
	return true
}

// Write takes p. With an error it returns how many bytes of p it had taken, sent or not.
func (m *messageWriter) Write(p []byte) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	for n := len(p); ; {
		if len(p) <= len(m.room()) {
			m.n += copy(m.room(), p)
			return n, nil
		}
		if m.grow() {
			continue
		}
		if m.n == 0 {
			// It would fill the buffer: it need not go through it.
			if err := m.overflow(p); err != nil {
				return n - len(p), err
			}
			return n, nil
		}
		k := copy(m.room(), p)
		m.n += k
		p = p[k:]
		if err := m.overflow(m.buf.b[:m.n]); err != nil {
			return n - len(p), err
		}
		m.n = 0
	}
}

// WriteString implements io.StringWriter.
func (m *messageWriter) WriteString(s string) (int, error) {
	if m.err != nil {
		return 0, m.err
	}
	for n := len(s); ; {
		k := copy(m.room(), s)
		m.n += k
		if s = s[k:]; s == "" {
			return n, nil
		}
		if m.grow() {
			continue
		}
		if err := m.overflow(m.buf.b[:m.n]); err != nil {
			return n - len(s), err
		}
		m.n = 0
	}
}

// ReadFrom implements io.ReaderFrom: r is read into the message's own buffer.
func (m *messageWriter) ReadFrom(r io.Reader) (total int64, err error) {
	if m.err != nil {
		return 0, m.err
	}
	for {
		if len(m.room()) == 0 && !m.grow() {
			if err := m.overflow(m.buf.b[:m.n]); err != nil {
				return total, err
			}
			m.n = 0
		}
		n, err := r.Read(m.room())
		m.n += n
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
func (m *messageWriter) overflow(p []byte) error {
	w := m.half
	if isControl(int(m.first)) {
		// RFC 6455 §5.5: control frames are not fragmented.
		return m.end(errControlTooLong)
	}
	if !m.begun {
		if err := w.lockMessage(m.ctx); err != nil {
			return m.end(err)
		}
		m.begun = true
		if w.compresses(1 << 30) { // it is long enough, however long it gets
			w.deflater.SetLevel(w.level())
			w.deflater.Begin()
			m.first |= rsv1Bit
			m.out = getBuffer(int(w.size))
		}
	}
	m.size += int64(len(p))
	if m.out == nil {
		return m.emit(0, p)
	}
	m.deflated(w.deflater.Append(m.out.b[:m.nout], p))
	if m.nout < int(w.size) {
		return nil
	}
	err := m.emit(0, m.out.b[:m.nout])
	m.nout = 0
	return err
}

// deflated takes what the deflater made of m.out.
func (m *messageWriter) deflated(p []byte) {
	m.nout = len(p)
	m.out.b = p[:cap(p)]
}

// emit sends p as the next frame of the message.
func (m *messageWriter) emit(fin byte, p []byte) error {
	if err := m.half.writeFrame(m.ctx, fin|m.first, p); err != nil {
		return m.end(err)
	}
	m.wire += int64(m.half.wireSize(len(p)))
	m.first = continuationFrame
	return nil
}

// Close sends the rest of the message.
func (m *messageWriter) Close() error {
	if m.err != nil {
		return m.err
	}
	p := m.buf.b[:m.n]
	var err error
	switch {
	case !m.begun:
		err = m.half.message(m.ctx, int(m.first), p)
	case m.out != nil:
		m.deflated(m.half.deflater.Append(m.out.b[:m.nout], p))
		m.deflated(m.half.deflater.Finish(m.out.b[:m.nout]))
		if err = m.emit(finBit, m.out.b[:m.nout]); err == nil {
			m.out.release()
			m.out = nil // the deflater goes on from here
		}
	default:
		err = m.emit(finBit, p)
	}
	switch {
	case m.err != nil:
	case err != nil:
		m.end(err)
	default:
		m.end(errWriteClosed)
		if m.begun {
			m.half.traceMessage(int(m.kind), saturated(m.size+int64(len(p))), saturated(m.wire))
		}
	}
	return err
}

// end gives back what the writer holds. From now on it returns err.
func (m *messageWriter) end(err error) error {
	m.err = err
	w := m.half
	if m.out != nil {
		w.deflater.Reset()
		m.out.release()
		m.out = nil
	}
	if m.begun {
		if err != errWriteClosed && m.first == continuationFrame {
			err := permanent(err)
			w.msgErr.Store(&err)
		}
		w.unlockMessage()
	}
	if w.pool != nil {
		w.pool.Put(m.buf)
	} else {
		m.buf.release()
	}
	m.buf = nil
	return err
}
