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
	rc syscall.RawConn

	// Guarded by the reading half.
	readable func(fd uintptr) bool
	n        int32 // result of the last read, or its errno, negative
	waited   bool  // it found nothing at first
	yield    yield

	// Guarded by the wire.
	written  int32                 // result of the last write
	writable func(fd uintptr) bool // made at first use
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
	return &rawIO{rc: rc, yield: newYield()}
}

func (x *rawIO) init(c *Conn) { x.readable = c.onReadable }

// onReadable reads into the read buffer, which it borrows if there is none. It
// returns false to be called again when the socket is readable.
func (c *Conn) onReadable(fd uintptr) bool {
	x := c.raw
	if c.rbuf == nil {
		c.rbuf = getBuffer(int(c.ask))
	}
	for {
		n, err := syscall.Read(int(fd), c.rbuf.b[c.w:])
		x.n = int32(n)
		x.yield.empty = n < len(c.rbuf.b)-int(c.w)
		switch err {
		case nil:
			return true
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			x.waited = true
			c.settle()
			return false
		}
		x.n = -int32(err.(syscall.Errno))
		return true
	}
}

// readRaw reads at least one byte into the read buffer.
func (c *Conn) readRaw() (int, error) {
	x := c.raw
	yielded := x.yield.before()
	x.waited = false
	if err := x.rc.Read(x.readable); err != nil {
		return 0, asRead(err)
	}
	if yielded {
		x.yield.learn(x.waited)
	}
	if x.n < 0 {
		return 0, c.readError(syscall.Errno(-x.n))
	}
	if x.n == 0 {
		return 0, io.EOF
	}
	return int(x.n), nil
}

// readError is the error that net.Conn's Read would return.
func (c *Conn) readError(errno syscall.Errno) error {
	network := "tcp"
	if _, ok := c.nc.(*net.UnixConn); ok {
		network = "unix"
	}
	return &net.OpError{Op: "read", Net: network, Source: c.nc.LocalAddr(), Addr: c.nc.RemoteAddr(),
		Err: os.NewSyscallError("read", errno)}
}

func asRead(err error) error {
	if oe, ok := err.(*net.OpError); ok {
		oe.Op = "read"
	}
	return err
}

// onWritable writes what is pending as far as the socket takes it now.
func (c *Conn) onWritable(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), c.pending.b[:c.npending])
		if err != syscall.EINTR {
			c.raw.written = int32(max(n, 0))
			return true
		}
	}
}

// writeRaw writes pending bytes without waiting, and returns how many. It
// reports no errors: the next write that waits will meet them.
func (c *Conn) writeRaw() int {
	x := c.raw
	if x.writable == nil {
		x.writable = c.onWritable
	}
	if x.rc.Write(x.writable) != nil {
		return 0
	}
	return int(x.written)
}
