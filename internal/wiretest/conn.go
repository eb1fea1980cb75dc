package wiretest

// A connection that plays a script.

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// A ScriptConn is a net.Conn whose peer has already sent everything and reads everything. The
// peer of a client answers the handshake first.
type ScriptConn struct {
	Script     []byte     // what is left to read
	Size       func() int // how much the next Read returns; nil: as much as it can
	BeforeRead func()     // called before each Read; may be nil

	// Response is the answer to a client's request with that key. It comes before Script; nil: the
	// connection begins with Script.
	Response func(key string) string
	Early    bool // one Read may return the end of the response and the beginning of Script

	mu       sync.Mutex
	ready    sync.Cond // of changes of answered and closed
	answered bool
	head     int // bytes of the response at the beginning of Script, which come alone
	written  []byte
	closed   bool
}

func (c *ScriptConn) Read(p []byte) (int, error) {
	if c.BeforeRead != nil {
		c.BeforeRead()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.Response != nil && !c.answered && !c.closed {
		if c.ready.L == nil {
			c.ready.L = &c.mu
		}
		c.ready.Wait()
	}
	switch {
	case c.closed:
		return 0, net.ErrClosed
	case len(c.Script) == 0:
		return 0, io.EOF
	case c.head > 0:
		p = p[:min(len(p), c.head)]
	case c.Size != nil:
		p = p[:min(len(p), c.Size())]
	}
	n := copy(p, c.Script)
	c.Script = c.Script[n:]
	c.head = max(c.head-n, 0)
	return n, nil
}

func (c *ScriptConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.written = append(c.written, p...)
	if c.Response != nil && !c.answered && bytes.HasSuffix(c.written, []byte("\r\n\r\n")) {
		_, key, _ := strings.Cut(string(c.written), "\r\nSec-WebSocket-Key: ")
		key, _, _ = strings.Cut(key, "\r\n")
		response := c.Response(key)
		c.Script = append([]byte(response), c.Script...)
		if !c.Early {
			c.head = len(response)
		}
		c.answered = true
		c.ready.Broadcast()
	}
	return len(p), nil
}

func (c *ScriptConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.ready.Broadcast()
	return nil
}

// Sent is what was written so far, since the last Forget.
func (c *ScriptConn) Sent() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.written)
}

// Forget forgets what was written, as a test does behind a handshake.
func (c *ScriptConn) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = nil
}

type scriptAddr struct{}

func (scriptAddr) Network() string { return "script" }
func (scriptAddr) String() string  { return "script" }

func (c *ScriptConn) LocalAddr() net.Addr              { return scriptAddr{} }
func (c *ScriptConn) RemoteAddr() net.Addr             { return scriptAddr{} }
func (c *ScriptConn) SetDeadline(time.Time) error      { return nil }
func (c *ScriptConn) SetReadDeadline(time.Time) error  { return nil }
func (c *ScriptConn) SetWriteDeadline(time.Time) error { return nil }
