package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tautws/websocket"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// service listens and gives every connection to handle.
func service(t *testing.T, handle func(*net.TCPConn)) (addr string) {
	t.Helper()
	ln := listen(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
	return ln.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// tunnelTo starts an exit to addr and an entry to that exit, and returns the entry's address and
// the exit's URL.
func tunnelTo(t *testing.T, addr string) (entryAddr, exitURL string) {
	t.Helper()
	srv := httptest.NewServer(&exit{to: addr})
	t.Cleanup(srv.Close)
	exitURL = "ws" + strings.TrimPrefix(srv.URL, "http") + "/"
	ln := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&entry{via: exitURL}).serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the entry ended with %v", err)
		}
	})
	return ln.Addr().String(), exitURL
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := dialTCP(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// read connects and reads to the end. A reset that comes at once may be connect's own error.
func read(t *testing.T, addr string) ([]byte, error) {
	t.Helper()
	c, err := dialTCP(t.Context(), addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return io.ReadAll(c)
}

// noise returns n bytes that are the same every time.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// The service answers only when it has seen the end of the request: the end of one direction
// travels while the other stays open.
func TestHalfClose(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) {
		h := sha256.New()
		n, err := io.Copy(h, c)
		fmt.Fprintf(c, "%d bytes, %x, %v", n, h.Sum(nil), err)
	})
	entry, _ := tunnelTo(t, addr)
	for _, n := range []int{0, 1, 32 << 10, 100_001, 4 << 20} {
		data := noise(n)
		c := dial(t, entry)
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d bytes, %x, <nil>", n, sha256.Sum256(data)); string(got) != want {
			t.Errorf("the service saw %s; want %s", got, want)
		}
	}
}

// The other way round: the service ends first and still hears the user out.
func TestServiceEndsFirst(t *testing.T) {
	heard := make(chan string, 1)
	addr := service(t, func(c *net.TCPConn) {
		io.WriteString(c, "that is all")
		c.CloseWrite()
		got, err := io.ReadAll(c)
		heard <- fmt.Sprint(string(got), err)
	})
	entry, _ := tunnelTo(t, addr)
	c := dial(t, entry)
	if got, err := io.ReadAll(c); string(got) != "that is all" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	io.WriteString(c, "thank you")
	c.CloseWrite()
	if got := <-heard; got != "thank you<nil>" {
		t.Errorf("the service heard %q", got)
	}
}

// What a tunnel looks like on the wire: bytes in binary messages, then 1000, each way.
func TestMessages(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) { io.Copy(c, c) })
	_, exitURL := tunnelTo(t, addr)
	c, _, err := websocket.DefaultDialer.Dial(exitURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, part := range []string{"one, ", "", "two"} {
		if err := c.WriteMessage(websocket.BinaryMessage, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	end := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := c.WriteMessage(websocket.CloseMessage, end); err != nil {
		t.Fatal(err)
	}
	got := ""
	for message, err := range c.Messages(t.Context()) {
		if err != nil || message.Type != websocket.BinaryMessage {
			t.Fatal(message.Type, err)
		}
		got += string(message.Data)
	}
	if got != "one, two" {
		t.Errorf("%q came back", got)
	}
	if err := c.Err(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("%v; want a close frame with 1000", err)
	}
}

// Any code but 1000 is a reset for TCP: an exit that goes away has not sent everything.
func TestOtherEndsAreNone(t *testing.T) {
	for _, code := range []int{websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseInternalServerErr} {
		heard := make(chan error, 1)
		addr := service(t, func(c *net.TCPConn) {
			_, err := io.Copy(io.Discard, c)
			heard <- err
		})
		_, exitURL := tunnelTo(t, addr)
		c, _, err := websocket.DefaultDialer.Dial(exitURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.WriteMessage(websocket.BinaryMessage, []byte("bye"))
		if err := c.Shutdown(t.Context(), code, ""); err != nil {
			t.Error(err)
		}
		if err := <-heard; (err == nil) != (code == websocket.CloseNormalClosure) {
			t.Errorf("close code %d: the service read up to %v", code, err)
		}
	}
}

func TestManyAtOnceBothWays(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) {
		io.Copy(c, c)
		c.CloseWrite()
	})
	entry, _ := tunnelTo(t, addr)
	var running sync.WaitGroup
	for i := range 16 {
		data := noise(100_000 + i)
		c := dial(t, entry)
		running.Go(func() {
			c.Write(data)
			c.CloseWrite()
		})
		running.Go(func() {
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, data) {
				t.Errorf("connection %d: %d of %d bytes came back, error %v", i, len(got), len(data), err)
			}
		})
	}
	running.Wait()
}

// A service that resets is a reset for the user, not an end of file.
func TestResetOfTheService(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 5))
		c.SetLinger(0)
	})
	entry, _ := tunnelTo(t, addr)
	c := dial(t, entry)
	io.WriteString(c, "hello")
	if got, err := io.ReadAll(c); err == nil {
		t.Errorf("read %q and a clean end; want an error", got)
	}
}

func TestResetOfTheUser(t *testing.T) {
	heard := make(chan error, 1)
	addr := service(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		heard <- err
	})
	entry, _ := tunnelTo(t, addr)
	c := dial(t, entry)
	io.WriteString(c, "hello")
	io.ReadFull(c, make([]byte, 5))
	c.SetLinger(0)
	c.Close()
	if err := <-heard; err == nil {
		t.Error("the service saw a clean end; want an error")
	}
}

func TestServiceOutOfReach(t *testing.T) {
	ln := listen(t)
	addr := ln.Addr().String()
	ln.Close()
	entry, exitURL := tunnelTo(t, addr)
	c, _, err := websocket.DefaultDialer.Dial(exitURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseBadGateway) {
		t.Errorf("the exit said %v; want a close frame with 1014", err)
	}
	if got, err := read(t, entry); err == nil {
		t.Errorf("the user read %q and a clean end; want an error", got)
	}
}

func TestExitOutOfReach(t *testing.T) {
	gone := listen(t)
	gone.Close()
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&entry{via: "ws://" + gone.Addr().String() + "/"}).serve(ctx, ln) }()
	if got, err := read(t, ln.Addr().String()); err == nil {
		t.Errorf("read %q and a clean end; want an error", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A fullListener has no descriptor for the first connection.
type fullListener struct {
	net.Listener
	full bool
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.full {
		l.full = false
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestTooManyUsers(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) { io.WriteString(c, "hello") })
	srv := httptest.NewServer(&exit{to: addr})
	defer srv.Close()
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	e := &entry{via: "ws" + strings.TrimPrefix(srv.URL, "http") + "/"}
	go func() { ended <- e.serve(ctx, &fullListener{ln, true}) }()
	c := dial(t, ln.Addr().String())
	c.CloseWrite()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestTextIsNoTunnel(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
	_, exitURL := tunnelTo(t, addr)
	c, _, err := websocket.DefaultDialer.Dial(exitURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
		t.Errorf("%v; want a close frame with 1003", err)
	}
}

// The end of either program's context ends its connections: 1001 for a WebSocket, a reset for TCP.
func TestEndOfServing(t *testing.T) {
	addr := service(t, func(c *net.TCPConn) { io.Copy(c, c) })
	ln := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- (&exit{to: addr}).serve(ctx, ln) }()
	c, _, err := websocket.DefaultDialer.Dial("ws://"+ln.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); string(got) != "hello" {
		t.Fatalf("%q came back, error %v", got, err)
	}
	cancel()
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("%v; want a close frame with 1001", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
