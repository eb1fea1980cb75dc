package websocket

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Deadlines for a net.Conn that has none, such as a channel of an SSH
// connection. The one way to end a Read or Write of it is to close it, so that
// is what a deadline does. Invariant: only one that passes while a Read or
// Write waits; in between nothing is lost by it, as with other connections.

type timeless struct {
	net.Conn
	c       *Conn
	in, out alarm
}

// An alarm is the deadline of one half.
type alarm struct {
	mu      sync.Mutex
	at      time.Time // zero: never
	waiting bool      // a Read or Write is in progress
	timer   *time.Timer
	ring    func() // called when the deadline passes meanwhile
}

// withDeadlines returns nc, or what gives it deadlines. It is about to be c's.
func withDeadlines(nc net.Conn, c *Conn) net.Conn {
	if nc.SetReadDeadline(time.Time{}) == nil && nc.SetWriteDeadline(time.Time{}) == nil {
		return nc
	}
	t := &timeless{Conn: nc, c: c}
	t.in.ring = func() { t.expire(&c.rbound, errReadTimeout) }
	t.out.ring = func() { t.expire(&c.wbound, errWriteTimeout) }
	return t
}

// expire closes the connection because of b, or because of a deadline as err
// says.
func (t *timeless) expire(b *bound, err error) {
	b.mu.Lock()
	err = b.waitError(err)
	b.mu.Unlock()
	t.c.kill(err)
	t.Close() // the wait may be that of a Close
}

// Close closes first what lies below TLS, which would like to write before it
// closes.
func (t *timeless) Close() error {
	nc := t.Conn
	if tc, ok := nc.(*tls.Conn); ok {
		tc.NetConn().Close()
	}
	return t.Conn.Close()
}

func (t *timeless) Read(p []byte) (int, error) {
	if !t.in.begin() {
		return 0, os.ErrDeadlineExceeded
	}
	defer t.in.end()
	return t.Conn.Read(p)
}

func (t *timeless) Write(p []byte) (int, error) {
	if !t.out.begin() {
		return 0, os.ErrDeadlineExceeded
	}
	defer t.out.end()
	return t.Conn.Write(p)
}

// CloseWrite is that of the connection, if it has one.
func (t *timeless) CloseWrite() error {
	if s, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (t *timeless) SetReadDeadline(at time.Time) error  { return t.in.set(at) }
func (t *timeless) SetWriteDeadline(at time.Time) error { return t.out.set(at) }

func (a *alarm) set(at time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = at
	a.armLocked()
	return nil
}

// begin begins a wait, unless the deadline has passed.
func (a *alarm) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && time.Until(a.at) <= 0 {
		return false
	}
	a.waiting = true
	a.armLocked()
	return true
}

func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = false
	a.armLocked()
}

func (a *alarm) armLocked() {
	switch {
	case !a.waiting || a.at.IsZero():
		if a.timer != nil {
			a.timer.Stop()
		}
	case a.timer == nil:
		a.timer = time.AfterFunc(time.Until(a.at), a.fire)
	default:
		a.timer.Reset(time.Until(a.at))
	}
}

// fire runs on the timer, which may have been set anew meanwhile.
func (a *alarm) fire() {
	a.mu.Lock()
	due := a.waiting && !a.at.IsZero()
	if due && time.Until(a.at) > 0 {
		due = false
		a.armLocked()
	}
	a.mu.Unlock()
	if due {
		a.ring()
	}
}
