package gorilla

// Closing and deadlines, over connections that block: net.Pipe and TCP.

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// openPipe performs a handshake over nc, whose other end is peer.
func (l library) openPipe(t testing.TB, nc, peer net.Conn, s setup) conn {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		if s.server {
			_, err := http.ReadResponse(bufio.NewReaderSize(oneByte{peer}, 16), nil)
			done <- err
			return
		}
		r, err := http.ReadRequest(bufio.NewReaderSize(oneByte{peer}, 16))
		if err == nil {
			_, err = io.WriteString(peer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: "+acceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n"+s.extensions()+"\r\n")
		}
		done <- err
	}()
	var c conn
	var err error
	if s.server {
		c, err = l.upgrade(gorilla.Upgrader{EnableCompression: s.deflate}, newHijack(nc, 4096), upgradeRequest(), nil)
	} else {
		d := &gorilla.Dialer{EnableCompression: s.deflate, NetDial: func(string, string) (net.Conn, error) { return nc, nil }}
		c, _, err = l.dial(context.Background(), d, "ws://example.com/", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return c
}

// oneByte keeps a bufio.Reader from reading beyond the handshake.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:1]) }

// tcpPair returns the two ends of a TCP connection.
func tcpPair(t testing.TB) (nc, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if peer, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if nc, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); peer.Close() })
	return nc, peer
}

func TestAfterClose(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		l.wants(t, "the second Close", c.Close(), "closed")
		for range 2 {
			_, _, err := c.ReadMessage()
			l.wants(t, "ReadMessage", err, "closed")
			_, _, err = c.NextReader()
			l.wants(t, "NextReader", err, "closed")
			l.wants(t, "WriteMessage", c.WriteMessage(text, nil), "closed")
			l.wants(t, "WriteControl", c.WriteControl(ping, nil, time.Time{}), "closed")
		}
	})
}

// TestCloseEndsRead: Close from another goroutine ends a read in progress.
func TestCloseEndsRead(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		ended := make(chan error)
		go func() {
			_, _, err := c.ReadMessage()
			ended <- err
		}()
		c.Close()
		l.wants(t, "ReadMessage", <-ended, "closed")
		if p, err := io.ReadAll(peer); len(p) > 0 || err != nil {
			t.Errorf("the peer got %x, %v; expected no close frame", p, err)
		}
	})
}

func TestReadDeadline(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		_, _, err := c.ReadMessage()
		l.wants(t, "ReadMessage", err, "timeout")
		if e, ok := err.(net.Error); !ok || !e.Timeout() {
			t.Errorf("%T is no net.Error with Timeout", err)
		}
	})
}

// TestReadDeadlineInHandler: the pong handler that extends the deadline is the
// idiom of every keep-alive.
func TestReadDeadlineInHandler(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		c.SetReadDeadline(time.Now().Add(time.Hour))
		c.SetPongHandler(func(string) error { return c.SetReadDeadline(time.Now().Add(-time.Second)) })
		peer.Write(s.stream(pongFrame("")))
		_, _, err := c.ReadMessage()
		l.wants(t, "ReadMessage", err, "timeout")
	})
}

// blocked returns a connection on which another goroutine is in the middle of
// a write, and a function that lets it go on.
func blocked(t *testing.T, l library, s setup) (c conn, release func() error) {
	t.Helper()
	nc, peer := net.Pipe()
	t.Cleanup(func() { nc.Close(); peer.Close() })
	c = l.openPipe(t, nc, peer, s)
	ended := make(chan error, 1)
	go func() { ended <- c.WriteMessage(binaryType, make([]byte, 100)) }()
	if _, err := io.ReadFull(peer, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c, func() error {
		go io.Copy(io.Discard, peer)
		return <-ended
	}
}

func TestWriteControlDeadline(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		c, release := blocked(t, l, s)
		l.wants(t, "WriteControl with a deadline in the past", c.WriteControl(ping, nil, time.Now().Add(-time.Second)), "timeout")
		l.wants(t, "WriteControl with a deadline in the past", c.WriteControl(closing, nil, time.Unix(1, 0)), "timeout")
		err := c.WriteControl(ping, nil, time.Now().Add(time.Millisecond))
		l.wants(t, "WriteControl behind a blocked writer", err, "timeout")
		if e, ok := err.(net.Error); !ok || !e.Timeout() {
			t.Errorf("%T is no net.Error with Timeout", err)
		}
		l.wants(t, "WriteControl of a data type", c.WriteControl(text, nil, time.Unix(1, 0)), "anonymous")
		l.wants(t, "WriteControl of 126 bytes", c.WriteControl(ping, make([]byte, 126), time.Unix(1, 0)), "anonymous")
		l.wants(t, "the blocked write", release(), "nil")
		// A wait that ended leaves the connection as it was.
		l.wants(t, "WriteControl with a deadline to come", c.WriteControl(ping, nil, time.Now().Add(time.Minute)), "nil")
		l.wants(t, "WriteControl without a deadline", c.WriteControl(pong, nil, time.Time{}), "nil")
		l.wants(t, "WriteMessage", c.WriteMessage(text, nil), "nil")
		l.wants(t, "WriteControl of a close frame", c.WriteControl(closing, nil, time.Now().Add(time.Minute)), "nil")
		l.wants(t, "WriteControl with a deadline in the past", c.WriteControl(ping, nil, time.Unix(1, 0)), "timeout")
	})
}

// TestWriteDeadline: a write that began and timed out is the last one.
func TestWriteDeadline(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := l.openPipe(t, nc, peer, s)
		c.SetWriteDeadline(time.Now().Add(time.Millisecond))
		for range 2 {
			err := c.WriteMessage(text, []byte("hello"))
			l.wants(t, "WriteMessage", err, "timeout")
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				t.Errorf("%T is no net.Error with Timeout", err)
			}
			c.SetWriteDeadline(time.Time{})
		}
		l.wants(t, "WriteControl", c.WriteControl(ping, nil, time.Time{}), "timeout")
		_, err := c.NextWriter(text)
		l.wants(t, "NextWriter", err, "timeout")
	})
}

// pastWriteDeadline writes when the deadline has passed, and again with none. Here nothing was sent
// the first time, so the connection stays usable.
func pastWriteDeadline(s setup) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		first := l.class(c.WriteMessage(text, []byte("hello")))
		c.SetWriteDeadline(time.Time{})
		return first + ", " + l.class(c.WriteMessage(text, []byte("hello")))
	}
}

// TestWriteControlKeepsDeadline: the deadline of a control message is its own.
func TestWriteControlKeepsDeadline(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, s)
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		l.wants(t, "WriteControl", c.WriteControl(ping, nil, time.Now().Add(time.Minute)), "nil")
		l.wants(t, "WriteMessage", c.WriteMessage(text, []byte("hello")), "nil")
	})
}
