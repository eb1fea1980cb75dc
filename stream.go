package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Stream, a Conn as a net.Conn, whose calls are below; CloseRead, for programs that only write;
// Err.

const (
	maxPiece        = 64 << 10        // bytes that a goroutine reads or writes at a time
	streamCloseWait = 5 * time.Second // for the close handshake
)

// Stream returns the connection as a net.Conn, whose bytes are the payloads of messages of one
// type, BinaryMessage as a rule: for protocols that expect a TCP connection.
//
// Read reads across messages; their boundaries and those without payload are not seen. Each Write
// sends one message, and none if it has no bytes. A message of the other type fails the connection
// with code 1003. (A stream of TextMessages needs Writes that are UTF-8 each.) Read returns io.EOF
// when the peer closes normally, with code 1000 or 1001, and any other error as ReadMessage does.
// No message is in memory as a whole, so Stream lifts the read limit; SetReadLimit can set one.
//
// The stream has deadlines of its own, and they never cost it its place. A Read that times out has
// read nothing. A Write that times out with n has sent, or will send, p[:n] and no more, so that
// the program can go on with p[n:]; until that is sent other Writes wait. If n is less than len(p),
// the message ends there.
//
// Close is a close handshake with code 1000 that gives up after 5 seconds; it returns nil only if
// the peer has answered. Reads and writes in progress end at once. What the peer sends meanwhile is
// discarded.
//
// The result also has the method CloseWrite() error: it sends the close frame, and reading goes on.
// RFC 6455 §5.5.1 wants a peer to answer soon, so most peers stop sending when they have read it,
// and their writes fail then. Where the other end is a stream as well and both call
//
//	c.SetCloseHandler(func(int, string) error { return nil })
//
// it is a half-close as TCP has it: no answer goes out until that end calls CloseWrite or Close
// itself, and its writes go on.
//
// Call Stream once, and leave reading and writing data to it from then on. It clears the deadlines
// of c. Control frames, Ping and Shutdown can be used as before.
func (c *Conn) Stream(messageType int) net.Conn {
	c.SetReadLimit(0)
	c.SetWriteDeadline(time.Time{})
	s := &stream{conn: c, messageType: messageType, closed: make(chan struct{})}
	s.in.init(s.closed)
	s.in.done = make(chan struct{}, 1)
	s.in.aside = c.SetReadDeadline(time.Time{}) != nil // some net.Conns have no deadlines
	s.out.init(s.closed)
	s.out.done = make(chan struct{}, 1)
	return s
}

type stream struct {
	conn        *Conn
	messageType int
	closed      chan struct{} // closed by Close
	closing     sync.Once
	closeErr    error
	in          streamReader
	out         streamWriter
}

// CloseWrite sends a close frame behind what was written.
func (s *stream) CloseWrite() error {
	out := &s.out
	if err := out.begin(); err != nil {
		return s.error("close", err)
	}
	defer out.end()
	reached, err := s.settle()
	if err == nil {
		out.start(func() error {
			err := s.conn.WriteMessage(CloseMessage, FormatCloseMessage(CloseNormalClosure, ""))
			if err == ErrCloseSent {
				return nil
			}
			return err
		})
		reached, err = out.finish()
	}
	if !reached {
		err = s.error("close", err)
	}
	return err
}

func (s *stream) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		ctx, cancel := context.WithTimeout(context.Background(), streamCloseWait)
		defer cancel()
		s.conn.SetReadDeadline(aLongTimeAgo) // for a Read in progress
		select {
		case s.in.taken <- struct{}{}:
		case <-ctx.Done(): // it is in a control frame handler
		}
		s.conn.SetReadDeadline(time.Time{})
		s.flush(ctx)
		s.closeErr = s.conn.Shutdown(ctx, CloseNormalClosure, "")
	})
	return s.closeErr
}

// flush waits until what Write has taken is sent.
func (s *stream) flush(ctx context.Context) {
	out := &s.out
	select {
	case out.taken <- struct{}{}: // calls in progress end, and none begins any more
	case <-ctx.Done(): // one is in Trace.Message
		return
	}
	if !out.working && out.message == nil {
		return
	}
	go s.conn.discardMessages() // the peer may read nothing until what it sends is read
	for {
		if out.working {
			select {
			case <-out.done:
				out.working = false
			case <-ctx.Done():
				return
			}
		}
		if out.err != nil || out.message == nil {
			return
		}
		out.start(s.endMessage)
	}
}

func (s *stream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s *stream) SetReadDeadline(t time.Time) error {
	if err := s.in.setDeadline(t); err != nil {
		return s.error("set", err)
	}
	s.conn.SetReadDeadline(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	if err := s.out.setDeadline(t); err != nil {
		return s.error("set", err)
	}
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) error(op string, err error) error { return connError(op, s.conn.conn, err) }

// CloseRead reads and discards what the peer sends, in a goroutine, until the connection ends: for
// programs that only write, since pings, pongs and the peer's close frame are handled only while
// someone reads. Nothing else is to read from then on.
//
// The context that it returns ends with ctx, and when the reading ends; then context.Cause is the
// error of the read, a *CloseError if the peer has closed. The end of ctx does not end the reading:
// Close and Shutdown do. So does a read deadline that passes.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { cancel(c.discardMessages()) }()
	return ctx
}

// discardMessages reads messages until an error ends that.
func (c *Conn) discardMessages() error {
	for {
		if _, _, err := c.NextReader(); err != nil {
			return err
		}
	}
}

// Err returns what has ended the reading, the error that every read returns: a *CloseError if the
// peer has closed, whose code Messages, for one, does not tell. It returns nil while the connection
// is open. Err does not read, and it never waits.
func (c *Conn) Err() error {
	if k := c.control.Load(); k != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.pings.err != nil {
			return k.pings.err
		}
	}
	return c.goodbyeCause()
}

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
		if err != errInflating && err != errShutdown {
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

// errInflating is the result of a readStream that would have to inflate. One that would have to wait
// for the end of Shutdown returns errShutdown.
var errInflating = errors.New("websocket: message is compressed")

// readStream reads payload of messages of a type, at least a byte. If a deadline ends it, it can go
// on. With aside it inflates and knows no deadline.
func (r *readHalf) readStream(p []byte, messageType int, aside bool) (n int, err error) {
	if !aside && r.ending.Load() {
		return 0, errShutdown
	}
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
		return n, r.unlockAfter(noContext, err)
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

// A turn is what the calls in one direction of a net.Conn of this package wait with, that of Stream
// and that of Pipe: one call at a time is in progress, and all of them end when the deadline passes
// or the net.Conn is closed. It waits on channels alone.
type turn struct {
	taken  chan struct{} // of capacity 1: full while a call is in progress
	closed chan struct{} // closed with the net.Conn

	mu      sync.Mutex
	expired chan struct{} // closed once the deadline has passed
	timer   *time.Timer   // nil if no deadline is to come
}

func (t *turn) init(closed chan struct{}) {
	t.taken, t.closed, t.expired = make(chan struct{}, 1), closed, make(chan struct{})
}

// setDeadline acts on waits in progress as well.
func (t *turn) setDeadline(at time.Time) error {
	if isClosed(t.closed) {
		return net.ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if isClosed(t.expired) {
		t.expired = make(chan struct{})
	}
	if at.IsZero() {
		return nil
	}
	wait := time.Until(at)
	if wait <= 0 {
		close(t.expired)
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.timer == timer { // no other deadline was set meanwhile
			t.timer = nil
			close(t.expired)
		}
	})
	t.timer = timer
	return nil
}

// deadline returns a channel that is closed when the deadline passes, unless it is moved before.
func (t *turn) deadline() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.expired
}

// check returns the error of a call that begins, or goes on, now.
func (t *turn) check() error {
	switch {
	case isClosed(t.closed):
		return net.ErrClosed
	case isClosed(t.deadline()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// begin begins a call, which has no effect if there is an error.
func (t *turn) begin() error {
	if err := t.check(); err != nil {
		return err
	}
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-t.deadline():
		return os.ErrDeadlineExceeded
	case <-t.closed:
		return net.ErrClosed
	}
}

func (t *turn) end() { <-t.taken }

// wait waits, as a part of a call, until something is received from ready.
func (t *turn) wait(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-t.deadline():
		return os.ErrDeadlineExceeded
	case <-t.closed:
		return net.ErrClosed
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// connError is an error of an operation on nc as package net has it.
func connError(op string, nc net.Conn, err error) error {
	e := &net.OpError{Op: op, Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
	if e.Source != nil {
		e.Net = e.Source.Network()
	}
	return e
}
