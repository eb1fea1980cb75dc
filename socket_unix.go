//go:build unix

package websocket

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Waiting for a socket without a buffer, and writing to it without waiting. syscall.RawConn hands
// out the file descriptor once the socket is ready; only then is a buffer borrowed, so a connection
// that waits holds none, and no system call is added.

type rawSocket struct {
	rc syscall.RawConn

	// Guarded by read.mu.
	reader   *readHalf // the one that reads: programs copy Conns by value, and read from the copy
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

func (s *rawSocket) init() {
	s.readable = func(fd uintptr) bool { return s.reader.onReadable(fd) }
}

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
	s.reader = r
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

// newTLSSocket returns the socket below nc if nc is a *tls.Conn over one, else nil.
func newTLSSocket(nc net.Conn) *rawSocket {
	// A handshake that a deadline ends fails for good.
	if tc, ok := nc.(*tls.Conn); ok && tc.ConnectionState().HandshakeComplete {
		return newRawSocket(tc.NetConn())
	}
	return nil
}

// recordWait is how long a read waits, at first, for the rest of a TLS record: long enough to read
// what is there, mostly.
const recordWait = 100 * time.Microsecond

// readTLS is readSocket for a *tls.Conn, for the reads that do not wait. A read that ends by its
// deadline loses nothing: crypto/tls keeps the part of a record that has come.
func (r *readHalf) readTLS() (n int, err error) {
	d := &r.deadline
	if d.passed() {
		d.restore()
		return 0, r.conn.netTimeout("read")
	}
	// crypto/tls has nothing whole when a connection is parked, and then there was an event. Else,
	// with a deadline that has passed, it returns what it has without asking the socket.
	wait := time.Duration(0)
	if r.drained {
		wait = recordWait
	}
	for ; ; wait = max(2*wait, recordWait) {
		if wait == 0 {
			d.limit(aLongTimeAgo)
		} else {
			d.limit(time.Now().Add(wait))
		}
		n, err = r.conn.conn.Read(r.buf.free())
		if n > 0 || err != nil && !isTimeout(err) {
			r.drained = false
			d.restore() // for a handler that reads
			return n, err
		}
		// That it has nothing whole and the socket is empty is certain only together: what comes
		// from now on is an event.
		if !r.socketReadable() {
			r.drained = true
			return 0, errNotYet
		}
	}
}

// socketReadable reports whether the socket below a *tls.Conn has bytes, its end or an error.
func (r *readHalf) socketReadable() bool {
	readable := true
	if s := newRawSocket(r.conn.conn.(*tls.Conn).NetConn()); s != nil {
		s.control(func(fd uintptr) {
			var b [1]byte
			_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
			readable = err != syscall.EAGAIN
		})
	}
	return readable
}

// readError is the error that Read of the net.Conn would return.
func (r *readHalf) readError(errno syscall.Errno) error {
	nc := r.conn.conn
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

// write returns how much of p the socket takes now. It reports no errors: the next write that waits
// will meet them.
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
