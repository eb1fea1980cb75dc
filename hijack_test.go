package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// hijacked is a ResponseWriter that gives its connection away.
type hijacked struct {
	http.ResponseWriter
	nc  net.Conn
	brw *bufio.ReadWriter
	err error
}

func (w *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.nc, w.brw, w.err }

// stubConn is a net.Conn that keeps what is written to it and the deadlines it is given.
type stubConn struct {
	net.Conn
	written       bytes.Buffer
	writes        int
	err           error
	closed        bool
	read, write   time.Time
	deadlineWrite time.Time // the write deadline at the last Write
}

func (c *stubConn) Write(p []byte) (int, error) {
	c.writes++
	c.deadlineWrite = c.write
	if c.err != nil {
		return 0, c.err
	}
	return c.written.Write(p)
}
func (c *stubConn) Close() error                       { c.closed = true; return nil }
func (c *stubConn) SetDeadline(t time.Time) error      { c.read, c.write = t, t; return nil }
func (c *stubConn) SetReadDeadline(t time.Time) error  { c.read = t; return nil }
func (c *stubConn) SetWriteDeadline(t time.Time) error { c.write = t; return nil }

func TestUpgradeHijack(t *testing.T) {
	newWriter := func() (*hijacked, *stubConn) {
		nc := &stubConn{read: time.Unix(1, 0), write: time.Unix(1, 0)}
		return &hijacked{httptest.NewRecorder(), nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil}, nc
	}
	t.Run("good", func(t *testing.T) {
		w, nc := newWriter()
		u := Upgrader{HandshakeTimeout: time.Hour}
		if _, err := u.Upgrade(w, parseRequest(t, plainRequest), nil); err != nil {
			t.Fatal(err)
		}
		if nc.writes != 1 || nc.closed || nc.deadlineWrite.IsZero() {
			t.Errorf("%d writes, closed %v, deadline %v", nc.writes, nc.closed, nc.deadlineWrite)
		}
		if !nc.read.IsZero() || !nc.write.IsZero() {
			t.Errorf("deadlines %v, %v are left", nc.read, nc.write)
		}
		if w.brw.Reader.Size() != 0 || w.brw.Writer.Size() != 0 {
			t.Error("the server's buffers are kept alive")
		}
	})
	t.Run("no buffers", func(t *testing.T) {
		w, nc := newWriter()
		w.brw = nil
		if _, err := new(Upgrader).Upgrade(w, parseRequest(t, plainRequest), nil); err != nil || nc.writes != 1 {
			t.Fatal(err, nc.writes)
		}
	})
	t.Run("no write", func(t *testing.T) {
		w, nc := newWriter()
		nc.err = io.ErrClosedPipe
		if c, err := new(Upgrader).Upgrade(w, parseRequest(t, plainRequest), nil); err != nc.err || c != nil || !nc.closed {
			t.Errorf("error %v, closed %v", err, nc.closed)
		}
	})
	t.Run("no hijack", func(t *testing.T) {
		w, _ := newWriter()
		w.err = http.ErrHijacked
		_, err := new(Upgrader).Upgrade(w, parseRequest(t, plainRequest), nil)
		if _, ok := err.(HandshakeError); !ok || !strings.Contains(err.Error(), http.ErrHijacked.Error()) {
			t.Errorf("error %T %v", err, err)
		}
	})
}

func TestTakeBuffers(t *testing.T) {
	for _, tt := range []struct{ set, server, want int }{
		{0, 4096, 4096}, {0, 8192, 8192}, {0, 128, 0}, {100, 4096, 100}, {1 << 20, 4096, 1 << 20},
	} {
		brw := bufio.NewReadWriter(bufio.NewReaderSize(strings.NewReader("early"), tt.server), bufio.NewWriterSize(io.Discard, tt.server))
		brw.Reader.Peek(3)
		cfg := connConfig{readBufferSize: tt.set, writeBufferSize: tt.set}
		takeBuffers(brw, &cfg)
		if cfg.readBufferSize != tt.want || cfg.writeBufferSize != tt.want || string(cfg.buffered) != "early" {
			t.Errorf("%d with the server's %d: %d, %d, %q", tt.set, tt.server, cfg.readBufferSize, cfg.writeBufferSize, cfg.buffered)
		}
	}
}

func TestUpgradeHandshakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe() // nobody reads
		defer client.Close()
		brw := bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server))
		start := time.Now()
		u := Upgrader{HandshakeTimeout: 5 * time.Second}
		c, err := u.Upgrade(&hijacked{httptest.NewRecorder(), server, brw, nil}, parseRequest(t, plainRequest), nil)
		if c != nil || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
		if _, err := server.Write(nil); err != io.ErrClosedPipe {
			t.Errorf("the connection was left open: %v", err)
		}
	})
}

// The deadlines of an http.Server are for HTTP; they do not end a WebSocket connection.
func TestUpgradeServerTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string)
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		s := &http.Server{ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := new(Upgrader).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, p, err := c.ReadMessage()
			if err != nil {
				t.Error(err)
			}
			got <- string(p)
			if err := c.WriteMessage(TextMessage, p); err != nil {
				t.Error(err)
			}
		})}
		go s.Serve(l)
		defer s.Close()
		c := l.dial()
		defer c.Close()
		go io.WriteString(c, plainRequest)
		readHead(t, c)
		<-time.After(time.Hour) // of the bubble's time
		go io.WriteString(c, "\x81\x82\x00\x00\x00\x00hi")
		if s := <-got; s != "hi" {
			t.Errorf("got %q", s)
		}
		frame := make([]byte, 4)
		if _, err := io.ReadFull(c, frame); err != nil || string(frame) != "\x81\x02hi" {
			t.Errorf("got %q, %v", frame, err)
		}
	})
}
