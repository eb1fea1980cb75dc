package websocket

import (
	"io"
	"net"
	"sync"
	"time"
)

// Connections without an opening handshake: NewConn, and Pipe with the net.Conns below it.

// ConnOptions are the parameters of a connection made by NewConn or Pipe. The zero value is that of
// a client without a subprotocol and without compression.
type ConnOptions struct {
	// Server makes this end the server: it expects masked frames and sends unmasked ones (RFC 6455
	// §5.1). Pipe makes one end of each and ignores it.
	Server bool

	// Subprotocol is what Conn.Subprotocol returns.
	Subprotocol string

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of the buffers used while messages
	// are read and written, as in Upgrader. Zero means 4096.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is a pool of buffers for writing, as in Upgrader.
	WriteBufferPool BufferPool

	// ReadLimit is the largest message, in bytes, that is read from the peer: see
	// Conn.SetReadLimit. Zero means 64 MiB, a negative value no limit.
	ReadLimit int64

	// EnableCompression says that permessage-deflate (RFC 7692) was negotiated, with windows of 32
	// KiB, and with context takeover in both directions if Compression.ContextTakeover is set, else
	// in neither. Both ends must agree on these.
	EnableCompression bool

	// Compression sets how messages are compressed if EnableCompression is set.
	Compression CompressionOptions

	// KeepAlive sends pings to a silent peer and ends the connection if it stays silent. Zero: off.
	KeepAlive KeepAlive

	// WriteDelay bounds how long a small write may be delayed, as in Upgrader. Zero means 200 µs, a
	// negative value that writes are never delayed.
	WriteDelay time.Duration

	// Trace is told what happens on the connection. Nil: off.
	Trace *Trace

	// Buffered is input that arrived behind the handshake and was already read from the net.Conn.
	// It is copied. Pipe ignores it.
	Buffered []byte
}

// NewConn returns a WebSocket connection over nc, whose opening handshake was done elsewhere or is
// not needed: a stream that another HTTP implementation has taken over, a Unix socket between two
// processes, a tunnel. It clears the deadlines of nc, which is the Conn's from now on.
func NewConn(nc net.Conn, o ConnOptions) *Conn {
	nc.SetDeadline(time.Time{})
	return newConn(nc, o.config())
}

func (o *ConnOptions) config() connConfig {
	cfg := connConfig{
		isServer:        o.Server,
		subprotocol:     o.Subprotocol,
		readBufferSize:  o.ReadBufferSize,
		writeBufferSize: o.WriteBufferSize,
		writePool:       o.WriteBufferPool,
		readLimit:       o.ReadLimit,
		compression:     o.Compression,
		keepAlive:       o.KeepAlive,
		writeDelay:      o.WriteDelay,
		buffered:        o.Buffered,
		trace:           o.Trace,
	}
	if o.EnableCompression {
		cfg.deflate = deflateParams{
			enabled:                 true,
			serverNoContextTakeover: !o.Compression.ContextTakeover,
			clientNoContextTakeover: !o.Compression.ContextTakeover,
			serverMaxWindowBits:     maxWindowBits,
			clientMaxWindowBits:     maxWindowBits,
		}
	}
	return cfg
}

// Pipe returns the two ends of a connection in memory, for tests: no socket, no port, no handshake.
// Deadlines, contexts, Ping, KeepAlive and the close handshake are those of any connection. In a
// testing/synctest bubble a wait of either end blocks durably, so that the bubble's clock goes on.
//
// Each direction takes up to 64 KiB, frame headers included, that the other end has not read yet.
// So a write needs no reader at the same time, until that much is unread; then it waits, as over
// TCP. The network of both addresses is "pipe".
func Pipe(o ConnOptions) (client, server *Conn) {
	a, b := newPipe()
	o.Buffered = nil
	o.Server = false
	client = newConn(a, o.config())
	o.Server = true
	server = newConn(b, o.config())
	return client, server
}

// pipeSize is how many unread bytes one direction of a pipe takes.
const pipeSize = 64 << 10

// A pipeConn is one end of a connection in memory.
type pipeConn struct {
	in, out       *pipeStream
	reads, writes turn
	closed        chan struct{} // closed by Close
	closing       sync.Once
}

// A pipeStream is one direction of a pipe. It has at most one reader and one writer at a time.
type pipeStream struct {
	readable chan struct{} // of capacity 1: the reader is to look again
	writable chan struct{} // of capacity 1: the writer is to look again

	mu     sync.Mutex
	buf    *buffer // buf.b[r:w] is unread; nil if nothing is
	r, w   int
	ended  bool // no more will be written
	unread bool // no more will be read
}

func newPipe() (a, b *pipeConn) {
	ab, ba := newPipeStream(), newPipeStream()
	return newPipeConn(ba, ab), newPipeConn(ab, ba)
}

func newPipeStream() *pipeStream {
	return &pipeStream{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func newPipeConn(in, out *pipeStream) *pipeConn {
	p := &pipeConn{in: in, out: out, closed: make(chan struct{})}
	p.reads.init(p.closed)
	p.writes.init(p.closed)
	return p
}

func (p *pipeConn) Read(b []byte) (int, error) {
	err := p.reads.begin()
	if err == nil {
		defer p.reads.end()
	}
	for err == nil {
		if n, ended := p.in.take(b); n > 0 || len(b) == 0 {
			return n, nil
		} else if ended {
			return 0, io.EOF
		}
		err = p.reads.wait(p.in.readable)
	}
	return 0, connError("read", p, err)
}

func (p *pipeConn) Write(b []byte) (n int, err error) {
	if err = p.writes.begin(); err == nil {
		defer p.writes.end()
	}
	for err == nil {
		var taken int
		if taken, err = p.out.put(b[n:]); err != nil {
			break
		}
		if n += taken; n == len(b) {
			return n, nil
		}
		err = p.writes.wait(p.out.writable)
	}
	return n, connError("write", p, err)
}

// CloseWrite lets the other end read io.EOF behind what was written.
func (p *pipeConn) CloseWrite() error {
	if isClosed(p.closed) {
		return connError("close", p, net.ErrClosed)
	}
	p.out.end()
	return nil
}

// Close ends both directions: what was written can still be read by the other end, what was not
// read is gone.
func (p *pipeConn) Close() error {
	err := connError("close", p, net.ErrClosed)
	p.closing.Do(func() {
		err = nil
		close(p.closed)
		p.out.end()
		p.in.drop()
	})
	return err
}

func (p *pipeConn) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipeConn) RemoteAddr() net.Addr { return pipeAddr{} }

func (p *pipeConn) SetReadDeadline(t time.Time) error {
	if err := p.reads.setDeadline(t); err != nil {
		return connError("set", p, err)
	}
	return nil
}

func (p *pipeConn) SetWriteDeadline(t time.Time) error {
	if err := p.writes.setDeadline(t); err != nil {
		return connError("set", p, err)
	}
	return nil
}

func (p *pipeConn) SetDeadline(t time.Time) error {
	p.SetReadDeadline(t)
	return p.SetWriteDeadline(t)
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// take moves unread bytes to p. If there are none, ended tells whether there will be any.
func (s *pipeStream) take(p []byte) (n int, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buf == nil {
		return 0, s.ended
	}
	n = copy(p, s.buf.b[s.r:s.w])
	if s.r += n; s.r == s.w {
		s.releaseLocked()
	}
	wake(s.writable)
	return n, false
}

// put adds as much of p as there is room for.
func (s *pipeStream) put(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.unread {
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), pipeSize-(s.w-s.r))
	if n == 0 {
		return 0, nil
	}
	if s.buf == nil || s.w+n > len(s.buf.b) {
		larger := getBuffer(2 * (s.w - s.r + n)) // not to move what is unread at every write
		unread := 0
		if s.buf != nil {
			unread = copy(larger.b, s.buf.b[s.r:s.w])
		}
		s.releaseLocked()
		s.buf, s.w = larger, unread
	}
	s.w += copy(s.buf.b[s.w:], p[:n])
	wake(s.readable)
	return n, nil
}

// end is the writer's end.
func (s *pipeStream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	wake(s.readable)
	wake(s.writable) // a write in progress fails
}

// drop is the reader's end.
func (s *pipeStream) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = true
	s.releaseLocked()
	wake(s.writable)
}

func (s *pipeStream) releaseLocked() {
	if s.buf != nil {
		s.buf.release()
	}
	s.buf, s.r, s.w = nil, 0, 0
}

// wake lets the goroutine that waits for c, or the next to do so, look again.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
