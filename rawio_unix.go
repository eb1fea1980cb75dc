//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// Waiting for a socket without a buffer. syscall.RawConn hands out the file
// descriptor once the socket is ready; only then is a buffer borrowed, so a
// connection that waits holds none, and no system call is added.

type rawIO struct {
	rc       syscall.RawConn
	readable func(fd uintptr) bool
	writable func(fd uintptr) bool
	n        int // result of the last read; guarded by the reading half
	err      error
	wn       int // result of the last write; guarded by the wire
	werr     error
}

func newRawIO(nc net.Conn) *rawIO {
	var rc syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		rc, err = nc.SyscallConn()
	case *net.UnixConn:
		rc, err = nc.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	return &rawIO{rc: rc}
}

func (x *rawIO) init(c *Conn) {
	x.readable = c.onReadable
	x.writable = c.onWritable
}

// onReadable reads into the read buffer, which it borrows if there is none. It
// returns false to be called again when the socket is readable.
func (c *Conn) onReadable(fd uintptr) bool {
	x := c.raw
	if c.rbuf == nil {
		c.rbuf = getBuffer(int(c.readSize))
	}
	for {
		x.n, x.err = syscall.Read(int(fd), c.rbuf.b[c.w:])
		switch {
		case x.err == syscall.EINTR:
			continue
		case x.err == syscall.EAGAIN:
			c.dropEmptyBuffer()
			return false
		case x.err == nil && x.n == 0:
			x.err = io.EOF
		}
		return true
	}
}

// readRaw reads at least one byte into the read buffer.
func (c *Conn) readRaw() (int, error) {
	x := c.raw
	if err := x.rc.Read(x.readable); err != nil {
		return 0, asRead(err)
	}
	if x.err != nil && x.err != io.EOF {
		network := "tcp"
		if _, ok := c.nc.(*net.UnixConn); ok {
			network = "unix"
		}
		return 0, &net.OpError{Op: "read", Net: network, Source: c.nc.LocalAddr(), Addr: c.nc.RemoteAddr(),
			Err: os.NewSyscallError("read", x.err)}
	}
	return max(x.n, 0), x.err
}

func asRead(err error) error {
	if oe, ok := err.(*net.OpError); ok {
		oe.Op = "read"
	}
	return err
}

// onWritable writes what is pending as far as the socket takes it now.
func (c *Conn) onWritable(fd uintptr) bool {
	x := c.raw
	for {
		x.wn, x.werr = syscall.Write(int(fd), c.pending.b[:c.npending])
		if x.werr == syscall.EINTR {
			continue
		}
		return true
	}
}

// writeRaw writes pending bytes without waiting, and returns how many. It
// reports no errors: the next write that waits will meet them.
func (c *Conn) writeRaw() int {
	x := c.raw
	if err := x.rc.Write(x.writable); err != nil || x.werr != nil {
		return 0
	}
	return max(x.wn, 0)
}
