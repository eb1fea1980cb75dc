package websocket

// A connection that plays a script.

import (
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// A scriptConn is a net.Conn whose peer has already sent everything and reads
// everything.
type scriptConn struct {
	script []byte
	size   func() int // how much the next Read returns; nil: as much as it can
	settle func()     // called before each Read; may be nil

	mu      sync.Mutex
	written []byte
	closed  bool
}

type scriptAddr struct{}

func (scriptAddr) Network() string { return "script" }
func (scriptAddr) String() string  { return "script" }

func (c *scriptConn) Read(p []byte) (int, error) {
	if c.settle != nil {
		c.settle()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case len(c.script) == 0:
		return 0, io.EOF
	}
	if c.size != nil {
		p = p[:min(len(p), c.size())]
	}
	n := copy(p, c.script)
	c.script = c.script[n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.written = append(c.written, p...)
	return len(p), nil
}

func (c *scriptConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

// sent is what was written so far.
func (c *scriptConn) sent() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.written)
}

func (c *scriptConn) LocalAddr() net.Addr              { return scriptAddr{} }
func (c *scriptConn) RemoteAddr() net.Addr             { return scriptAddr{} }
func (c *scriptConn) SetDeadline(time.Time) error      { return nil }
func (c *scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *scriptConn) SetWriteDeadline(time.Time) error { return nil }

func oneByte() int { return 1 }

// bytewise is one byte at a time, but for an occasional larger piece of a long
// script.
func bytewise(script []byte) func() int {
	if len(script) <= 8000 {
		return oneByte
	}
	i := 0
	return func() int {
		if i++; i%20 == 0 {
			return 4000
		}
		return 1
	}
}
