package websocket

// A stream of an HTTP/2 connection as a net.Conn. net/http ends a stream for good when one of its
// deadlines passes, and a handler must not use its ResponseWriter after it has returned. So there
// are deadlines here that need neither, and whatever may wait in net/http waits in a goroutine
// beside:
//
//   - for reading one that holds no data: a Read of the body with an empty slice waits until there is
//     something to read, and takes nothing. A deadline or a context ends a Read, and nothing is lost.
//   - for writing one that has a copy of the data. A write deadline that passes meanwhile resets the
//     stream. Should the whole HTTP/2 connection be stalled even the reset has to wait, but not the
//     caller of Write or Close.
//
// Invariant: users counts the goroutines that may use body, send, probe and reset; done is closed
// when there are none and will be none.

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"time"
)

// maxHTTP2Chunk is how much is copied and given to net/http at a time.
const maxHTTP2Chunk = 32 << 10

// http2Linger is how long a chunk that has been accepted may take to leave after Close.
const http2Linger = 5 * time.Second

// http2Buffers holds the copies.
var http2Buffers = sync.Pool{New: func() any { return new([]byte) }}

type http2Stream struct {
	body          io.ReadCloser
	send          func(p []byte) error // returns when p has been sent
	probe         func() error         // fails if the stream has ended; sends nothing
	reset         func()               // resets the stream, which ends a send that waits for the peer's window
	local, remote net.Addr
	read, write   expiry

	rd    sync.Mutex    // held by Read
	asked bool          // guarded by rd: something waits for the body, or ready was not received from
	ready chan struct{} // the body has something to read

	wr   sync.Mutex // held by Write
	sent chan error // the result of a send

	mu       sync.Mutex
	users    int
	sending  bool
	linger   *time.Timer // resets the stream if a send goes on after Close
	failed   error       // of a Write, and of all later ones
	isClosed bool
	closed   chan struct{} // closed by Close
	done     chan struct{}
}

func newHTTP2Stream(body io.ReadCloser) *http2Stream {
	s := &http2Stream{
		body:   body,
		ready:  make(chan struct{}, 1),
		sent:   make(chan error, 1),
		closed: make(chan struct{}),
		done:   make(chan struct{}),
	}
	s.read.passed = make(chan struct{})
	s.write.passed = make(chan struct{})
	return s
}

// use adds a user, unless the stream is closed.
func (s *http2Stream) use() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return false
	}
	s.users++
	return true
}

func (s *http2Stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveLocked()
}

func (s *http2Stream) leaveLocked() {
	s.users--
	if s.users == 0 && s.isClosed {
		close(s.done)
	}
}

func (s *http2Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.rd.Lock()
	defer s.rd.Unlock()
	if err := s.wait(); err != nil {
		return 0, err
	}
	if !s.use() {
		return 0, net.ErrClosed
	}
	defer s.leave()
	n, err := s.body.Read(p) // does not wait
	if err == nil || err == io.EOF {
		return n, err
	}
	select {
	case <-s.closed:
		return n, net.ErrClosed
	default:
		// The peer's RST_STREAM, or the end of the HTTP/2 connection.
		return n, s.opError("read", err)
	}
}

// wait returns nil when a Read of the body will not wait. The caller holds rd.
func (s *http2Stream) wait() error {
	passed := s.read.channel()
	select {
	case <-s.closed:
		return net.ErrClosed
	case <-passed:
		return os.ErrDeadlineExceeded
	default:
	}
	if !s.asked {
		if !s.use() {
			return net.ErrClosed
		}
		s.asked = true
		go s.await()
	}
	select {
	case <-s.ready:
		s.asked = false
		return nil
	case <-passed:
		return os.ErrDeadlineExceeded
	case <-s.closed:
		return net.ErrClosed
	}
}

func (s *http2Stream) await() {
	s.body.Read(nil)
	s.ready <- struct{}{}
	s.leave()
}

func (s *http2Stream) Write(p []byte) (n int, err error) {
	s.wr.Lock()
	defer s.wr.Unlock()
	for n < len(p) {
		chunk := p[n:min(n+maxHTTP2Chunk, len(p))]
		if err := s.writeChunk(chunk); err != nil {
			return n, err
		}
		n += len(chunk)
	}
	return n, nil
}

func (s *http2Stream) writeChunk(p []byte) error {
	passed := s.write.channel()
	select {
	case <-passed:
		return os.ErrDeadlineExceeded
	default:
	}
	s.mu.Lock()
	switch {
	case s.isClosed:
		s.mu.Unlock()
		return net.ErrClosed
	case s.failed != nil:
		s.mu.Unlock()
		return s.failed
	}
	s.users++
	s.sending = true
	s.mu.Unlock()

	buf := http2Buffers.Get().(*[]byte)
	*buf = append((*buf)[:0], p...)
	go s.transfer(*buf)
	select {
	case err := <-s.sent:
		if err != nil {
			// net/http may still have the buffer.
			return s.fail(s.opError("write", err))
		}
		http2Buffers.Put(buf)
		return nil
	case <-passed:
		return s.fail(os.ErrDeadlineExceeded)
	case <-s.closed:
		return net.ErrClosed
	}
}

func (s *http2Stream) transfer(p []byte) {
	err := s.send(p)
	s.mu.Lock()
	s.sending = false
	if s.linger != nil {
		s.linger.Stop()
	}
	s.mu.Unlock()
	s.sent <- err
	s.leave()
}

// fail makes err the result of all later Writes, and returns it.
func (s *http2Stream) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosed {
		return net.ErrClosed
	}
	s.failed = err
	if s.sending {
		s.reset()
	}
	return err
}

func (s *http2Stream) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Source: s.local, Addr: s.remote, Err: err}
}

// Close ends Reads and Writes that are in progress. It waits for nothing: what a Write has given to
// net/http leaves in the background, as a socket has it.
func (s *http2Stream) Close() error {
	s.mu.Lock()
	if s.isClosed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.isClosed = true
	close(s.closed)
	s.users++
	if s.sending && s.failed == nil {
		s.linger = time.AfterFunc(http2Linger, s.cutOff)
	}
	s.mu.Unlock()
	err := s.body.Close()
	s.leave()
	return err
}

// cutOff runs when a send takes too long after Close.
func (s *http2Stream) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending {
		s.reset()
	}
}

// ends reports whether the stream has ended or is about to: the context of a stream ends just
// before the stream does.
func (s *http2Stream) ends() bool {
	for pause := time.Millisecond; pause < 100*time.Millisecond; pause *= 2 {
		if s.ended() {
			return true
		}
		select {
		case <-s.closed:
		case <-time.After(pause):
		}
	}
	return s.ended()
}

func (s *http2Stream) ended() bool {
	s.mu.Lock()
	failed := s.failed != nil
	s.mu.Unlock()
	if failed {
		return true
	}
	if !s.wr.TryLock() {
		return false // the Write will fail, if the stream has ended
	}
	defer s.wr.Unlock()
	if !s.use() {
		return true
	}
	defer s.leave()
	return s.probe() != nil
}

// An http2Conn is a stream in the hands of the program. One that becomes unreachable without having
// been closed is closed, as a socket is.
type http2Conn struct {
	s       *http2Stream
	cleanup runtime.Cleanup
}

func newHTTP2Conn(s *http2Stream) *http2Conn {
	c := &http2Conn{s: s}
	c.cleanup = runtime.AddCleanup(c, func(s *http2Stream) { s.Close() }, s)
	return c
}

func (c *http2Conn) Read(p []byte) (int, error) {
	defer runtime.KeepAlive(c)
	return c.s.Read(p)
}

func (c *http2Conn) Write(p []byte) (int, error) {
	defer runtime.KeepAlive(c)
	return c.s.Write(p)
}

func (c *http2Conn) Close() error {
	c.cleanup.Stop()
	return c.s.Close()
}

func (c *http2Conn) LocalAddr() net.Addr  { return c.s.local }
func (c *http2Conn) RemoteAddr() net.Addr { return c.s.remote }

func (c *http2Conn) SetDeadline(t time.Time) error {
	c.s.read.set(t)
	c.s.write.set(t)
	return nil
}

func (c *http2Conn) SetReadDeadline(t time.Time) error {
	c.s.read.set(t)
	return nil
}

func (c *http2Conn) SetWriteDeadline(t time.Time) error {
	c.s.write.set(t)
	return nil
}

// An expiry is a deadline as a channel, which is closed when it passes.
type expiry struct {
	mu      sync.Mutex
	at      time.Time // zero: never
	timer   *time.Timer
	passed  chan struct{}
	expired bool // passed is closed
}

func (e *expiry) channel() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.passed
}

func (e *expiry) set(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = t
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.expired {
		e.expired = false
		e.passed = make(chan struct{})
	}
	e.checkLocked()
}

// check runs on the timer, which may have been set anew meanwhile.
func (e *expiry) check() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checkLocked()
}

func (e *expiry) checkLocked() {
	if e.at.IsZero() || e.expired {
		return
	}
	switch wait := time.Until(e.at); {
	case wait <= 0:
		e.expired = true
		close(e.passed)
	case e.timer == nil:
		e.timer = time.AfterFunc(wait, e.check)
	default:
		e.timer.Reset(wait)
	}
}
