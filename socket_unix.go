//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Waiting for a socket without a buffer, and writing to it without waiting. syscall.RawConn hands
// out the file descriptor once the socket is ready; only then is a buffer borrowed, so a connection
// that waits holds none, and no system call is added.

type rawSocket struct {
	rc syscall.RawConn

	// Guarded by read.mu.
	readable func(fd uintptr) bool
	n        int32 // result of the last read, or its errno, negative

	// Guarded by write.mu.
	written  int32                 // result of the last write
	writable func(fd uintptr) bool // made at first use
}

// newRawSocket returns nil if nc is not a socket.
func newRawSocket(nc net.Conn) *rawSocket {
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
	return &rawSocket{rc: rc}
}

// control calls f with the file descriptor.
func (s *rawSocket) control(f func(fd uintptr)) error { return s.rc.Control(f) }

func (s *rawSocket) init(c *Conn) { s.readable = c.read.onReadable }

// onReadable reads into the read buffer, which it borrows if there is none. It returns false to be
// called again when the socket is readable.
func (r *readHalf) onReadable(fd uintptr) bool {
	s := r.conn.socket
	for {
		free := r.buf.free()
		n, err := syscall.Read(int(fd), free)
		s.n = int32(n)
		switch err {
		case nil:
			r.drained = n < len(free)
			return true
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			r.buf.shrink()
			if r.mode < readNow {
				return false
			}
		}
		s.n = -int32(err.(syscall.Errno))
		return true
	}
}

// readSocket reads at least one byte into the read buffer.
func (r *readHalf) readSocket() (int, error) {
	s := r.conn.socket
	if r.mode == readNow && r.drained {
		return 0, errNotYet
	}
	if err := s.rc.Read(s.readable); err != nil {
		if oe, ok := err.(*net.OpError); ok {
			oe.Op = "read"
		}
		return 0, err
	}
	if s.n == -int32(syscall.EAGAIN) {
		return 0, errNotYet
	}
	if s.n < 0 {
		return 0, r.readError(syscall.Errno(-s.n))
	}
	if s.n == 0 {
		return 0, io.EOF
	}
	return int(s.n), nil
}

// readError is the error that Read of the net.Conn would return.
func (r *readHalf) readError(errno syscall.Errno) error {
	nc := r.conn.nc
	network := "tcp"
	if _, ok := nc.(*net.UnixConn); ok {
		network = "unix"
	}
	return &net.OpError{Op: "read", Net: network, Source: nc.LocalAddr(), Addr: nc.RemoteAddr(),
		Err: os.NewSyscallError("read", errno)}
}

// onWritable writes what is pending as far as the socket takes it now.
func (w *writeHalf) onWritable(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.pending.b[:w.n])
		if err != syscall.EINTR {
			w.conn.socket.written = int32(max(n, 0))
			return true
		}
	}
}

// tryWriteSocket writes pending bytes without waiting, and returns how many. It reports no errors:
// the next write that waits will meet them.
func (w *writeHalf) tryWriteSocket() int {
	s := w.conn.socket
	if s.writable == nil {
		s.writable = w.onWritable
	}
	if s.rc.Write(s.writable) != nil {
		return 0
	}
	return int(s.written)
}

// A socketWriter writes to one socket after the other without waiting.
type socketWriter struct {
	p []byte
	n int
	f func(fd uintptr) bool
}

var socketWriters = sync.Pool{New: func() any {
	s := new(socketWriter)
	s.f = s.onWritable
	return s
}}

func (s *socketWriter) release() { socketWriters.Put(s) }

func (s *socketWriter) onWritable(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), s.p)
		if err != syscall.EINTR {
			s.n = max(n, 0)
			return true
		}
	}
}

// write returns how much of p the socket takes now. It reports no errors: the next write that
// waits will meet them.
func (s *socketWriter) write(to *rawSocket, p []byte) int {
	s.p, s.n = p, 0
	err := to.rc.Write(s.f)
	s.p = nil
	if err != nil {
		return 0
	}
	return s.n
}

func getSocketWriter() *socketWriter { return socketWriters.Get().(*socketWriter) }
