package websocket

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// Reading and writing of a stream. No deadline costs it its place. A read of a message that is not
// compressed goes on where it was. What cannot go on runs on a goroutine of its own, which knows no
// deadline: inflating, and writing that may wait, since a TLS connection is lost when a write times
// out. A call that gives up leaves that goroutine at work, and the next call gets the result.

// A background is the goroutine that works for the calls in one direction. All but done is of the
// call whose turn it is.
type background struct {
	turn
	working bool          // it was started, and its end was not noticed yet
	done    chan struct{} // of capacity 1: it has ended
	err     error         // its error, while it is not working
}

// start starts the goroutine. It must have been waited for before.
func (b *background) start(work func() error) {
	b.working = true
	b.err = errHandlerExit // if work ends the goroutine
	go func() {
		defer func() { b.done <- struct{}{} }()
		b.err = work()
	}()
}

// finish waits until the goroutine has ended. If the call ends before, reached is false and err is
// that of the call.
func (b *background) finish() (reached bool, err error) {
	if b.working {
		if err := b.wait(b.done); err != nil {
			return false, err
		}
		b.working = false
	}
	return true, b.err
}

// A streamReader is the reading direction of a stream.
type streamReader struct {
	background
	aside bool    // constant: all reads are on goroutines
	buf   *buffer // where data is
	data  []byte  // read by a goroutine and not yet returned by Read
}

func (s *stream) Read(p []byte) (int, error) {
	in := &s.in
	if err := in.begin(); err != nil {
		return 0, s.error("read", err)
	}
	defer in.end()
	if len(p) == 0 {
		return 0, nil
	}
	if !in.working && len(in.data) == 0 {
		var n int
		err := errInflating
		if !in.aside {
			n, err = s.conn.read.readStream(p, s.messageType, false)
		}
		if err != errInflating {
			return n, s.readError(err)
		}
		size := min(max(len(p), defaultBufferSize), maxPiece)
		in.start(func() error { return s.fetch(size) })
	}
	if in.working {
		if reached, err := in.finish(); !reached {
			return 0, s.error("read", err)
		}
	}
	if len(in.data) == 0 {
		return 0, s.readError(in.err)
	}
	n := copy(p, in.data)
	if in.data = in.data[n:]; len(in.data) == 0 {
		in.buf.release()
		in.buf, in.data = nil, nil
	}
	return n, nil
}

// readError is what Read returns for an error of the Conn.
func (s *stream) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case isClosed(s.closed):
		return s.error("read", net.ErrClosed)
	case IsCloseError(err, CloseNormalClosure, CloseGoingAway):
		return io.EOF
	case isTimeout(err) && s.conn.Err() == nil:
		return s.error("read", os.ErrDeadlineExceeded)
	}
	return err
}

// fetch reads up to size bytes, and at least one, into in.data.
func (s *stream) fetch(size int) error {
	b := getBuffer(size)
	n, err := s.conn.read.readStream(b.b[:size], s.messageType, true)
	if n > 0 {
		s.in.buf, s.in.data = b, b.b[:n]
	} else {
		b.release()
	}
	return err
}

// errInflating is the result of a readStream that would have to inflate.
var errInflating = errors.New("websocket: message is compressed")

// readStream reads payload of messages of a type, at least a byte. If a deadline ends it, it can go
// on. With aside it inflates and knows no deadline.
func (r *readHalf) readStream(p []byte, messageType int, aside bool) (n int, err error) {
	if err := r.lock(noContext); err != nil {
		return 0, err
	}
	// Nothing is deferred: if a handler does not return, callHandler has unlocked.
	if aside {
		r.deadline.overrideWith(noContext, time.Time{}, overrideStrict)
	} else {
		r.mode = readResumes
	}
	for n == 0 && err == nil {
		switch {
		case !r.msg.open:
			if _, err = r.next(); err == nil && int(r.msg.kind) != messageType {
				err = r.refuseType()
			}
		case r.msg.compressed && !aside:
			err = errInflating
		default:
			if n, err = r.readData(p); err == io.EOF {
				err = nil
			}
		}
	}
	if r.mode = readWaits; aside {
		r.deadline.restore()
	}
	r.unlock()
	return n, err
}

// refuseType fails the connection for the type of the current message.
func (r *readHalf) refuseType() error {
	text := "text message in a stream of binary ones"
	if r.msg.kind == BinaryMessage {
		text = "binary message in a stream of text ones"
	}
	// RFC 6455 §7.4.1: a type of data that it cannot accept.
	return r.conn.fail(&ProtocolError{CloseUnsupportedData, text}, CloseUnsupportedData, text)
}

// A streamWriter is the writing direction of a stream.
type streamWriter struct {
	background
	message io.WriteCloser // of several pieces, begun and not ended
}

func (s *stream) Write(p []byte) (n int, err error) {
	out := &s.out
	if err := out.begin(); err != nil {
		return 0, s.error("write", err)
	}
	defer out.end()
	if reached, err := s.settle(); err != nil {
		if !reached {
			err = s.error("write", err)
		}
		return 0, err
	}
	if len(p) > 0 && len(p) <= maxPiece && s.conn.write.tryMessage(s.messageType, p) {
		return len(p), nil
	}
	for n < len(p) {
		if err := out.check(); err != nil {
			return n, s.error("write", err)
		}
		piece := p[n:min(len(p), n+maxPiece)]
		s.startPiece(piece, n+len(piece) == len(p))
		reached, err := out.finish()
		if reached && err != nil {
			return n, err
		}
		n += len(piece)
		if !reached {
			return n, s.error("write", err)
		}
	}
	return n, nil
}

// tryMessage sends a message in one frame if it is known to take no waiting. What the socket does
// not take at once leaves from the goroutine of delayed frames.
func (w *writeHalf) tryMessage(messageType int, p []byte) (sent bool) {
	if w.conn.socket == nil || w.groups.Load() != nil || !w.msg.TryLock() {
		return false
	}
	if w.msgErr.Load() == nil && !w.compresses(len(p)) && w.mu.TryLock() {
		if sent = w.err == nil && w.tryGrowLocked(maxHeaderSize+len(p)); sent {
			w.appendFrameLocked(finBit|byte(messageType), p)
			w.trySendLocked()
		}
		w.unlock()
	}
	w.unlockMessage()
	if sent {
		w.traceMessage(messageType, len(p), w.wireSize(len(p)))
	}
	return sent
}

// trySendLocked is sendLocked where nothing may wait.
func (w *writeHalf) trySendLocked() {
	if w.more.Load() && w.n < delayLimit {
		w.delayLocked()
		if w.more.Load() {
			return
		}
	}
	w.tryFlushLocked()
}

// settle finishes what a Write that gave up has left.
func (s *stream) settle() (reached bool, err error) {
	out := &s.out
	reached, err = out.finish()
	if err == nil && out.message != nil {
		out.start(s.endMessage)
		reached, err = out.finish()
	}
	return reached, err
}

// startPiece sends p, the last piece of its message or not.
func (s *stream) startPiece(p []byte, last bool) {
	b := getBuffer(len(p))
	n := copy(b.b, p)
	s.out.start(func() error {
		defer b.release()
		return s.send(b.b[:n], last)
	})
}

func (s *stream) send(p []byte, last bool) error {
	out := &s.out
	if out.message == nil {
		if last {
			return s.conn.WriteMessage(s.messageType, p)
		}
		w, err := s.conn.NextWriter(s.messageType)
		if err != nil {
			return err
		}
		out.message = w
	}
	if _, err := out.message.Write(p); err != nil || !last {
		return err
	}
	return s.endMessage()
}

func (s *stream) endMessage() error {
	w := s.out.message
	s.out.message = nil
	return w.Close()
}
