package websocket

import (
	"io"
	"net"
	"time"

	"github.com/tautws/websocket/internal/mask"
)

// A loopConn is a net.Conn whose peer sends the same bytes for ever, step
// bytes at a time, and takes everything.
type loopConn struct {
	in   []byte
	step int
	pos  int
	out  int // bytes written
	n    int // writes
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.pos == len(c.in) {
		c.pos = 0
	}
	n := copy(p[:min(len(p), c.step)], c.in[c.pos:])
	c.pos += n
	return n, nil
}

func (c *loopConn) Write(p []byte) (int, error) {
	c.out += len(p)
	c.n++
	return len(p), nil
}

func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *loopConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

// clientFrame returns a masked frame.
func clientFrame(first byte, payload []byte) []byte {
	const key mask.Key = 0x04030201
	b := appendHeader(nil, first, len(payload), true, key)
	n := len(b)
	b = append(b, payload...)
	mask.XOR(b[n:], b[n:], key)
	return b
}

// repeat returns b n times over.
func repeat(b []byte, n int) []byte {
	var all []byte
	for range n {
		all = append(all, b...)
	}
	return all
}

var _ io.ReadWriteCloser = (*loopConn)(nil)
