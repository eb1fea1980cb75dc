//go:build go1.26

package websocket_test

// HTTP2Handler in net/http's server, over net.Pipe and in a bubble. The standard library's client
// cannot send the :protocol of an extended CONNECT, so it sends a POST, which becomes one just
// before it reaches the HTTP2Handler. All that makes the difference to a POST happens before.
// Package interop has tests with real requests.
//
// The server of Go 1.25 keeps channels of one bubble for the next, which synctest forbids.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket"
)

// A pipeListener makes connections in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	made   atomic.Int32
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return new(net.TCPAddr) }

// An http2Server is a server, and the client of one connection to it.
type http2Server struct {
	*http.Server
	t  *testing.T
	l  *pipeListener
	tr *http.Transport

	gate chan struct{} // not nil: the client reads when it is closed
}

// A gatedConn is the client's connection.
type gatedConn struct {
	net.Conn
	s *http2Server
}

func (c gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.s.gate != nil {
		<-c.s.gate
	}
	return n, err
}

// inHTTP2 runs f in a bubble with a server for h. All that was begun has to end with it.
func inHTTP2(t *testing.T, srv *http.Server, h http.Handler, f func(t *testing.T, s *http2Server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &http2Server{Server: srv, t: t, l: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		s.Protocols = new(http.Protocols)
		s.Protocols.SetUnencryptedHTTP2(true)
		s.Handler = extended(h)
		s.ErrorLog = log.New(io.Discard, "", 0)
		go s.Serve(s.l)
		s.tr = &http.Transport{
			Protocols:          s.Protocols,
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				client, server := net.Pipe()
				s.l.made.Add(1)
				s.l.conns <- server
				return gatedConn{client, s}, nil
			},
		}
		f(t, s)
		s.Close()
		s.tr.CloseIdleConnections()
	})
}

// extended makes extended CONNECTs of the client's requests.
func extended(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if protocol := r.Header["Protocol"]; protocol != nil {
			delete(r.Header, "Protocol")
			r.Method = http.MethodConnect
			r.Header[":protocol"] = protocol
		}
		h.ServeHTTP(w, r)
	})
}

// A clientStream is the client's end of a stream.
type clientStream struct {
	io.Writer
	resp  *http.Response
	end   func() error // END_STREAM
	reset func()       // RST_STREAM
}

// open asks for a WebSocket. The early data leaves before the response is there.
func (s *http2Server) open(path string, header http.Header, early string) (*clientStream, error) {
	ctx, cancel := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://example.com"+path, pr)
	if err != nil {
		s.t.Error(err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{"Sec-Websocket-Version": {"13"}}
	}
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		delete(req.Header, name)
	}
	req.Header["Protocol"] = []string{"websocket"}
	if early != "" {
		go io.WriteString(pw, early)
	}
	resp, err := s.tr.RoundTrip(req)
	if err != nil {
		cancel()
		return nil, err
	}
	reset := func() {
		cancel()
		resp.Body.Close()
	}
	return &clientStream{Writer: pw, resp: resp, end: pw.Close, reset: reset}, nil
}

func (s *http2Server) mustOpen(path, early string) *clientStream {
	s.t.Helper()
	c, err := s.open(path, nil, early)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// dialer returns a Dialer that reaches the server over HTTP/2.
func (s *http2Server) dialer() *websocket.Dialer {
	return &websocket.Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go s.tunnel(theirs)
		return ours, nil
	}}
}

// tunnel turns the handshake on nc into that of HTTP/2.
func (s *http2Server) tunnel(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReader(nc)
	req, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	key := req.Header.Get("Sec-WebSocket-Key")
	c, err := s.open(req.URL.Path, req.Header, "")
	if err != nil {
		return
	}
	defer c.reset()
	if c.resp.StatusCode != http.StatusOK {
		c.resp.ProtoMajor, c.resp.ProtoMinor = 1, 1
		c.resp.Write(nc)
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	c.resp.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	c.resp.Header.Set("Connection", "Upgrade")
	c.resp.Header.Set("Upgrade", "websocket")
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	c.resp.Header.Write(&head)
	head.WriteString("\r\n")
	nc.Write(head.Bytes())
	go func() {
		io.Copy(c, br)
		c.end()
	}()
	io.Copy(nc, c.resp.Body)
}

func (s *http2Server) dial(path string) *websocket.Conn {
	s.t.Helper()
	c, _, err := s.dialer().Dial("ws://example.com"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// http2Echo returns a handler that echoes.
func http2Echo(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{EnableCompression: true}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		echoMessages(c)
	})
}

func echoMessages(c *websocket.Conn) error {
	for {
		mt, p, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if err := c.WriteMessage(mt, p); err != nil {
			return err
		}
	}
}

func roundTrip(t *testing.T, c *websocket.Conn, n int) {
	t.Helper()
	want := bytes.Repeat([]byte("x"), n)
	if err := c.WriteMessage(websocket.BinaryMessage, want); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v, want %d", len(got), err, n)
	}
}

func TestHTTP2Server(t *testing.T) {
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(http2Echo(t)), func(t *testing.T, s *http2Server) {
		for _, compress := range []bool{false, true} {
			d := s.dialer()
			d.EnableCompression = compress
			d.Subprotocols = []string{"chat"}
			c, resp, err := d.Dial("ws://example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); strings.Contains(got, "permessage-deflate") != compress {
				t.Errorf("extensions %q", got)
			}
			for _, n := range []int{0, 1, 125, 126, 4096, 1 << 16, 1 << 20} {
				roundTrip(t, c, n)
			}
			if err := c.Shutdown(context.Background(), websocket.CloseNormalClosure, "bye"); err != nil {
				t.Error(err)
			}
		}
		if n := s.l.made.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Deadlines end reads and nothing else: net/http's own ones would have ended the stream.
func TestHTTP2ServerReadDeadline(t *testing.T) {
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		defer c.Close()
		for i := range 20 {
			c.SetReadDeadline(time.Now().Add(time.Minute))
			if _, _, err := c.ReadMessage(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(i, err)
			}
			c.SetReadDeadline(time.Time{})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if _, _, err := c.ReadMessageContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(i, err)
			}
			cancel()
		}
		echoMessages(c)
	})
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		c := s.dial("/")
		defer c.Close()
		time.Sleep(time.Hour)
		for range 100 {
			roundTrip(t, c, 100)
		}
		time.Sleep(24 * time.Hour)
		for range 100 {
			roundTrip(t, c, 100)
		}
	})
}

// The handler returns, and its goroutines go on. Without HTTP2Handler their writes would panic.
func TestHTTP2ServerHandlerReturns(t *testing.T) {
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		send := make(chan []byte, 10)
		go func() {
			defer c.Close()
			for p := range send {
				if c.WriteMessage(websocket.BinaryMessage, p) != nil {
					return
				}
			}
		}()
		go func() {
			defer close(send)
			for {
				_, p, err := c.ReadMessage()
				if err != nil {
					return
				}
				send <- p
			}
		}()
	})
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				c := s.dial("/")
				for range 50 {
					roundTrip(t, c, 1000)
				}
				if err := c.Shutdown(context.Background(), websocket.CloseNormalClosure, ""); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// Handle has no socket to wait for, and works.
func TestHTTP2ServerHandle(t *testing.T) {
	var ended chan error // made in the bubble
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		c.Handle(func(c *websocket.Conn, m websocket.Message, err error) {
			if err != nil {
				ended <- err
				return
			}
			c.WriteMessage(m.Type, m.Data)
		})
	})
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		ended = make(chan error, 1)
		c := s.dial("/")
		for range 10 {
			roundTrip(t, c, 1000)
		}
		if err := c.Shutdown(context.Background(), websocket.CloseNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if err := <-ended; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Error(err)
		}
	})
}

// The server's time-outs are for requests.
func TestHTTP2ServerTimeouts(t *testing.T) {
	srv := &http.Server{ReadTimeout: time.Second, ReadHeaderTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second}
	inHTTP2(t, srv, websocket.HTTP2Handler(http2Echo(t)), func(t *testing.T, s *http2Server) {
		c := s.dial("/")
		defer c.Close()
		for range 3 {
			time.Sleep(time.Minute)
			roundTrip(t, c, 10)
		}
	})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * time.Second) // longer than the request's ReadTimeout
		http2Echo(t).ServeHTTP(w, r)
	})
	srv = &http.Server{ReadTimeout: time.Second}
	inHTTP2(t, srv, websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		c := s.dial("/")
		defer c.Close()
		roundTrip(t, c, 10)
	})
}

// http.Server.Shutdown waits for streams: it has to be told to end them.
func TestHTTP2ServerShutdown(t *testing.T) {
	for _, name := range []string{"Conn.Shutdown", "Group.Shutdown", "the streams stay"} {
		t.Run(name, func(t *testing.T) {
			var group websocket.Group
			srv := new(http.Server)
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var u websocket.Upgrader
				if name == "Group.Shutdown" {
					u.Group = &group
				}
				c, err := u.Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if name == "Conn.Shutdown" {
					srv.RegisterOnShutdown(func() {
						c.Shutdown(context.Background(), websocket.CloseGoingAway, "")
					})
				}
				go func() {
					echoMessages(c)
					if name != "Conn.Shutdown" { // which closes when it is done
						c.Close()
					}
				}()
			})
			inHTTP2(t, srv, websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
				if name == "Group.Shutdown" {
					srv.RegisterOnShutdown(func() {
						group.Shutdown(context.Background(), websocket.CloseGoingAway, "")
					})
				}
				c := s.dial("/")
				defer c.Close()
				read := make(chan error, 1)
				go func() { _, _, err := c.ReadMessage(); read <- err }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				err := s.Shutdown(ctx)
				if name == "the streams stay" {
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("Shutdown: %v", err)
					}
					return
				}
				if err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if err := <-read; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
					t.Errorf("the peer reads %v", err)
				}
			})
		})
	}
}

// BaseContext's end reaches a handler, and the end of the stream does not: it reads what the peer
// has sent.
func TestHTTP2ServerContext(t *testing.T) {
	var ended chan error // made in the bubble
	h := upgrading(t, func(c *websocket.Conn, r *http.Request) {
		defer c.Close()
		if r.URL.Path == "/slow" {
			time.Sleep(time.Minute)
			if r.Context().Err() != nil {
				t.Error("the request's context has ended")
			}
		}
		for {
			_, _, err := c.ReadMessageContext(r.Context())
			if err != nil {
				ended <- err
				return
			}
		}
	})
	t.Run("BaseContext", func(t *testing.T) {
		base, cancel := context.WithCancel(t.Context())
		srv := &http.Server{BaseContext: func(net.Listener) context.Context { return base }}
		inHTTP2(t, srv, websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
			ended = make(chan error, 1)
			c := s.dial("/")
			defer c.Close()
			synctest.Wait()
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	})
	t.Run("RST_STREAM behind a close frame", func(t *testing.T) {
		inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
			ended = make(chan error, 1)
			c := s.mustOpen("/slow", "")
			io.WriteString(c, "\x88\x82\x00\x00\x00\x00\x03\xe9") // 1001
			synctest.Wait()
			c.reset()
			if err := <-ended; !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Error(err)
			}
		})
	})
}

// The peer's END_STREAM and RST_STREAM, and the end of its connection.
func TestHTTP2ServerPeerEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *clientStream, s *http2Server)
		want func(err error) bool
	}{
		{"END_STREAM", func(c *clientStream, s *http2Server) { c.end() },
			func(err error) bool { return websocket.IsCloseError(err, websocket.CloseAbnormalClosure) }},
		{"RST_STREAM", func(c *clientStream, s *http2Server) { c.reset() }, isNetError},
		{"the connection", func(c *clientStream, s *http2Server) { s.Close() }, isNetError},
	} {
		t.Run(test.name, func(t *testing.T) {
			var errs chan error // made in the bubble
			h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
				defer c.Close()
				_, _, err := c.ReadMessage()
				if test.name == "END_STREAM" { // which ends one half alone
					if err := c.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
						t.Error(err)
					}
				}
				errs <- err
			})
			inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
				errs = make(chan error, 1)
				c := s.mustOpen("/", "")
				synctest.Wait() // Upgrade has returned
				test.end(c, s)
				if err := <-errs; !test.want(err) {
					t.Errorf("%T %v", err, err)
				}
				got, _ := io.ReadAll(c.resp.Body)
				if test.name == "END_STREAM" && !strings.Contains(string(got), "still here") {
					t.Errorf("the peer reads %q", got)
				}
				c.reset()
			})
		})
	}
}

func isNetError(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && !ne.Timeout()
}

// A 101 by WriteHeader leaves at once, and so does one in bytes: the client waits for it.
func TestHTTP2ServerResponse(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/header" {
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
		nc, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		if r.URL.Path == "/bytes" {
			brw.WriteString(switching + "\r\n")
			brw.Flush()
		}
		io.Copy(nc, brw)
	})
	for _, path := range []string{"/header", "/bytes"} {
		t.Run(path[1:], func(t *testing.T) {
			inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
				c := s.mustOpen(path, "")
				io.WriteString(c, "hello")
				c.end()
				if got, err := io.ReadAll(c.resp.Body); string(got) != "hello" || err != nil || c.resp.StatusCode != 200 {
					t.Errorf("%s, %q, %v", c.resp.Status, got, err)
				}
				c.reset()
			})
		})
	}
}

// Frames that come before the response are not lost.
func TestHTTP2ServerEarlyData(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Second)
		http2Echo(t).ServeHTTP(w, r)
	})
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		c := s.mustOpen("/", "\x81\x85\x00\x00\x00\x00hello")
		defer c.reset()
		got := make([]byte, 7)
		if _, err := io.ReadFull(c.resp.Body, got); string(got) != "\x81\x05hello" {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A handler that panics ends its own stream.
func TestHTTP2ServerPanic(t *testing.T) {
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		c.ReadMessage()
		panic("not yet written")
	})
	mux := http.NewServeMux()
	mux.Handle("/panic", h)
	mux.Handle("/echo", http2Echo(t))
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(mux), func(t *testing.T, s *http2Server) {
		c := s.dial("/echo")
		defer c.Close()
		panics := s.mustOpen("/panic", "")
		io.WriteString(panics, "\x81\x80\x00\x00\x00\x00")
		if _, err := io.ReadAll(panics.resp.Body); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
			t.Error(err)
		}
		panics.reset()
		roundTrip(t, c, 10)
	})
}

// A write deadline ends a Write that waits for the peer's window, and the stream with it.
func TestHTTP2ServerWriteDeadline(t *testing.T) {
	var errs chan error // made in the bubble
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(time.Second))
		time.Sleep(time.Minute) // between writes a deadline does no harm
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		errs <- c.WriteMessage(websocket.BinaryMessage, make([]byte, 1000))
		var err error
		for err == nil {
			err = c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20))
		}
		errs <- err
	})
	inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
		errs = make(chan error, 2)
		c := s.mustOpen("/", "")
		defer c.reset()
		start := time.Now()
		if err := <-errs; err != nil {
			t.Error(err)
		}
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if _, err := io.Copy(io.Discard, c.resp.Body); err == nil || !strings.Contains(err.Error(), "INTERNAL_ERROR") {
			t.Error(err)
		}
	})
}

// The deadline holds even if the peer takes nothing at all from the connection, so that the reset
// has to wait, too. The handler's goroutine has to wait for the end of the connection, which
// WriteByteTimeout brings about.
func TestHTTP2ServerConnectionStalled(t *testing.T) {
	var errs, served chan error // made in the bubble
	h := upgrading(t, func(c *websocket.Conn, _ *http.Request) {
		defer c.Close()
		c.ReadMessage()
		c.SetWriteDeadline(time.Now().Add(time.Second))
		var err error
		for err == nil {
			err = c.WriteMessage(websocket.BinaryMessage, make([]byte, 1000))
		}
		errs <- err
	})
	upgrade := websocket.HTTP2Handler(h)
	all := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		upgrade.ServeHTTP(w, r)
		served <- nil
	})
	srv := &http.Server{HTTP2: &http.HTTP2Config{WriteByteTimeout: time.Minute}}
	inHTTP2(t, srv, all, func(t *testing.T, s *http2Server) {
		errs, served = make(chan error, 1), make(chan error, 1)
		c := s.mustOpen("/", "")
		synctest.Wait()
		s.gate = make(chan struct{})
		io.WriteString(c, "\x81\x80\x00\x00\x00\x00")
		start := time.Now()
		if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		<-served
		if d := time.Since(start); d < time.Minute || d > 2*time.Minute {
			t.Errorf("the handler's goroutine ended after %v", d)
		}
		close(s.gate)
		c.reset()
	})
}

// unwrapping is the ResponseWriter of a middleware, opaque that of one that is in the way.
type (
	unwrapping struct{ http.ResponseWriter }
	opaque     struct{ http.ResponseWriter }
)

func (u unwrapping) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestHTTP2ServerMiddleware(t *testing.T) {
	echo := http2Echo(t)
	wrap := func(h http.Handler, f func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, r = f(w, r)
			h.ServeHTTP(w, r)
		})
	}
	unwrap := func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		return unwrapping{unwrapping{w}}, r
	}
	hide := func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) { return opaque{w}, r }
	newContext := func(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
		return w, r.WithContext(context.Background())
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", echo)
	for _, test := range []struct {
		name string
		h    http.Handler
		want string // the refusal
	}{
		{"inside", websocket.HTTP2Handler(wrap(echo, unwrap)), ""},
		{"outside", wrap(websocket.HTTP2Handler(echo), unwrap), ""},
		{"a new context inside", websocket.HTTP2Handler(wrap(echo, newContext)), ""},
		{"a new context outside", wrap(websocket.HTTP2Handler(echo), newContext), ""},
		{"inside, without Unwrap", websocket.HTTP2Handler(wrap(echo, hide)), "500"},
		{"outside, without Unwrap", wrap(websocket.HTTP2Handler(echo), hide), "500"},
		{"a route for GET", websocket.HTTP2Handler(mux), ""},
		{"CrossOriginProtection", websocket.HTTP2Handler(new(http.CrossOriginProtection).Handler(echo)), ""},
		{"twice", websocket.HTTP2Handler(websocket.HTTP2Handler(echo)), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			inHTTP2(t, new(http.Server), test.h, func(t *testing.T, s *http2Server) {
				c, resp, err := s.dialer().Dial("ws://example.com/", nil)
				if err != nil {
					if resp == nil || fmt.Sprint(resp.StatusCode) != test.want {
						t.Error(resp, err)
					}
					return
				}
				defer c.Close()
				roundTrip(t, c, 10)
				if test.want != "" {
					t.Errorf("accepted, want %s", test.want)
				}
			})
		})
	}
}

// One WebSocket that the server does not read holds up the others of its HTTP/2 connection, unless
// the streams' windows are smaller than that of the connection.
func TestHTTP2ServerStalled(t *testing.T) {
	for _, test := range []struct {
		name   string
		config *http.HTTP2Config
		echoes bool
	}{
		{"by default", nil, false},
		{"with the two fields", &http.HTTP2Config{MaxReceiveBufferPerConnection: 4<<20 - 1, MaxReceiveBufferPerStream: 64 << 10}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			var end chan struct{} // made in the bubble
			mux := http.NewServeMux()
			mux.Handle("/echo", http2Echo(t))
			mux.Handle("/stall", upgrading(t, func(c *websocket.Conn, _ *http.Request) {
				defer c.Close()
				<-end
			}))
			inHTTP2(t, &http.Server{HTTP2: test.config}, websocket.HTTP2Handler(mux), func(t *testing.T, s *http2Server) {
				end = make(chan struct{})
				defer close(end)
				stalled := s.dial("/stall")
				defer stalled.Close()
				go func() {
					for stalled.WriteMessage(websocket.BinaryMessage, make([]byte, 64<<10)) == nil {
					}
				}()
				time.Sleep(time.Second)
				c := s.dial("/echo")
				defer c.Close()
				c.SetReadDeadline(time.Now().Add(time.Minute))
				go c.WriteMessage(websocket.BinaryMessage, []byte("hello"))
				_, _, err := c.ReadMessage()
				if (err == nil) != test.echoes {
					t.Errorf("an echo beside it: %v", err)
				}
			})
		})
	}
}

// 1,000 WebSockets on one connection, each with its handler.
func TestHTTP2Server1000Streams(t *testing.T) {
	srv := &http.Server{HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
	inHTTP2(t, srv, websocket.HTTP2Handler(http2Echo(t)), func(t *testing.T, s *http2Server) {
		var wg sync.WaitGroup
		conns := make([]*websocket.Conn, 1000)
		conns[0] = s.dial("/")
		for i := range conns[1:] {
			wg.Go(func() { conns[i+1] = s.dial("/") })
		}
		wg.Wait()
		for _, c := range conns {
			wg.Go(func() { roundTrip(t, c, 100) })
		}
		wg.Wait()
		for _, c := range conns {
			c.Close()
		}
		if n := s.l.made.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Streams that are reset as soon as they are open leave nothing behind: the bubble would not end.
func TestHTTP2ServerRapidResets(t *testing.T) {
	for _, name := range []string{"a handler that reads", "one that writes", "one that has returned"} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int32
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
				if err != nil {
					return
				}
				opened.Add(1)
				use := func() {
					defer c.Close()
					if name == "one that writes" {
						for c.WriteMessage(websocket.BinaryMessage, make([]byte, 1000)) == nil {
						}
						return
					}
					echoMessages(c)
				}
				if name == "one that has returned" {
					go use()
					return
				}
				use()
			})
			inHTTP2(t, new(http.Server), websocket.HTTP2Handler(h), func(t *testing.T, s *http2Server) {
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						for i := range 250 {
							early := ""
							if i%2 == 0 {
								early = "\x81\x85\x00\x00\x00\x00hello"
							}
							c, err := s.open("/", nil, early)
							if err != nil {
								t.Error(err)
								return
							}
							c.reset()
						}
					})
				}
				wg.Wait()
				if opened.Load() == 0 {
					t.Error("no handler ran")
				}
			})
		})
	}
}
