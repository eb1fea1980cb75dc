package load

// What a load talks through: a socket, TLS over one, or a stream of HTTP/2. A socket does not wait
// once it is registered with the poller.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

type stream interface {
	// send sends p, which must stay as it is until all of it is gone: now, or in calls of flush.
	// What was sent before must be gone.
	send(p []byte) error
	flush() error
	// read reads what has arrived; ok is false if nothing has.
	read(buf []byte) (n int, ok bool, err error)
	close()
}

// socketStream is a TCP socket.
type socketStream struct {
	fd     int
	unsent []byte
}

func (s *socketStream) send(p []byte) (err error) {
	s.unsent, err = write(s.fd, p)
	return err
}

func (s *socketStream) flush() error {
	if len(s.unsent) == 0 {
		return nil
	}
	return s.send(s.unsent)
}

func (s *socketStream) close() { unix.Close(s.fd) }

func (s *socketStream) read(buf []byte) (n int, ok bool, err error) { return read(s.fd, buf) }

// tlsStream is TLS over a socket.
type tlsStream struct {
	*socketStream
	conn *tls.Conn
}

// newTLSStream shakes hands over s, which still waits, and offers protocols by ALPN. The
// certificate is not verified.
func newTLSStream(s *socketStream, protocols ...string) (*tlsStream, error) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
	t := &tlsStream{s, tls.Client(&tlsSocket{socketStream: s}, config)}
	return t, t.conn.Handshake()
}

func (t *tlsStream) send(p []byte) error {
	_, err := t.conn.Write(p)
	return err
}

func (t *tlsStream) read(buf []byte) (n int, ok bool, err error) {
	n, err = t.conn.Read(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, false, nil
	}
	return n, err == nil, err
}

// tlsSocket is the connection below crypto/tls. To it, nothing to read is a deadline that has
// passed, after which it can read on.
type tlsSocket struct {
	net.Conn // nil: only Read, Write and deadlines are asked for
	*socketStream
}

func (s *tlsSocket) Read(p []byte) (int, error) {
	n, ok, err := s.read(p)
	if err == nil && !ok {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// Write keeps a copy of what the socket does not take.
func (s *tlsSocket) Write(p []byte) (int, error) {
	s.unsent = append(s.unsent, p...)
	return len(p), s.flush()
}

func (s *tlsSocket) SetDeadline(time.Time) error      { return nil }
func (s *tlsSocket) SetWriteDeadline(time.Time) error { return nil }

// read reads what has arrived at fd; ok is false if nothing has.
func read(fd int, buf []byte) (n int, ok bool, err error) {
	for {
		n, err = unix.Read(fd, buf)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, false, nil
		case err != nil || n == 0:
			return 0, false, fmt.Errorf("read: %w", orEOF(err))
		default:
			return n, true, nil
		}
	}
}
