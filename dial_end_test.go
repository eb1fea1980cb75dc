package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The end of the context, of the timeout or of the peer ends a dial in every phase of it.
func TestDialEnds(t *testing.T) {
	hang := func(ctx context.Context) { <-ctx.Done() }
	pipe := func(server func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				server(there)
			}()
			return here, nil
		}
	}
	drain := func(c net.Conn) { io.Copy(io.Discard, c) }
	proxy := func(s string) func(*http.Request) (*url.URL, error) {
		u, _ := url.Parse(s)
		return http.ProxyURL(u)
	}
	for _, tt := range []struct {
		name string
		url  string
		d    Dialer
	}{
		{"dial", "ws://a", Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			hang(ctx)
			return nil, ctx.Err()
		}}},
		{"dial for TLS", "wss://a", Dialer{NetDialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			hang(ctx)
			return nil, ctx.Err()
		}}},
		{"CONNECT unread", "ws://a", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(func(c net.Conn) { io.ReadFull(c, make([]byte, 1)); <-time.After(time.Hour) })}},
		{"CONNECT unanswered", "ws://a", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(drain)}},
		{"CONNECT unanswered for TLS", "wss://a", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(drain)}},
		{"TLS to the proxy", "ws://a", Dialer{Proxy: proxy("https://p"), NetDialContext: pipe(drain)}},
		{"SOCKS", "ws://a", Dialer{Proxy: proxy("socks5://p"), NetDialContext: pipe(drain)}},
		{"TLS", "wss://a", Dialer{NetDialContext: pipe(drain)}},
		{"request unread", "ws://a", Dialer{NetDialContext: pipe(func(c net.Conn) { io.ReadFull(c, make([]byte, 1)); <-time.After(time.Hour) })}},
		{"response", "ws://a", Dialer{NetDialContext: pipe(drain)}},
		{"rest of the response", "ws://a", Dialer{NetDialContext: pipe(func(c net.Conn) {
			io.ReadFull(c, make([]byte, 1))
			go io.WriteString(c, "HTTP/1.1 101 Swi")
			drain(c)
		})}},
	} {
		type end struct {
			name    string
			context func() (context.Context, context.CancelFunc)
			timeout time.Duration
			is      error
			text    string
		}
		cause := errors.New("out of patience")
		for _, end := range []end{
			{"HandshakeTimeout", func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }, 3 * time.Second, os.ErrDeadlineExceeded, "HandshakeTimeout of 3s"},
			{"HandshakeTimeout", func() (context.Context, context.CancelFunc) { return context.Background(), func() {} }, 3 * time.Second, context.DeadlineExceeded, "HandshakeTimeout of 3s"},
			{"deadline", func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 3*time.Second)
			}, time.Hour, context.DeadlineExceeded, ""},
			{"cancel", func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(3*time.Second, cancel)
				return ctx, cancel
			}, time.Hour, context.Canceled, ""},
			{"cause", func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(context.Background())
				time.AfterFunc(3*time.Second, func() { cancel(cause) })
				return ctx, func() {}
			}, time.Hour, cause, ""},
		} {
			t.Run(tt.name+"/"+end.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := tt.d
					d.HandshakeTimeout = end.timeout
					ctx, cancel := end.context()
					defer cancel()
					start := time.Now()
					c, resp, err := d.DialContext(ctx, tt.url, nil)
					if c != nil || resp != nil || !errors.Is(err, end.is) || !strings.Contains(err.Error(), end.text) {
						t.Errorf("got %v, %v, %v", c, resp, err)
					}
					var timeout net.Error
					if end.timeout < time.Hour && (!errors.As(err, &timeout) || !timeout.Timeout()) {
						t.Errorf("%v is no timeout", err)
					}
					if after := time.Since(start); after != 3*time.Second {
						t.Errorf("it took %v", after)
					}
					noTransport(t)
					<-time.After(2 * time.Hour) // the servers that do nothing end
				})
			})
		}
	}
}

// A dial function that hears of no context does not hold up the dial; its connection is closed.
func TestDialHangingNetDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		d := Dialer{HandshakeTimeout: time.Second, NetDial: func(string, string) (net.Conn, error) {
			<-time.After(time.Minute)
			return here, nil
		}}
		if _, _, err := d.Dial("ws://a", nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if n, err := there.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
		noTransport(t)

		// Nor does it end the process when Dial has returned.
		d.NetDial = func(string, string) (net.Conn, error) {
			<-time.After(time.Minute)
			panic("too late")
		}
		if _, _, err := d.Dial("ws://a", nil); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		<-time.After(time.Hour)
		noTransport(t)
	})
}

// What ends a dial function other than by a return ends the dial: a panic where Dial was called, with
// its value, and runtime.Goexit, which ends a failed test, with an error.
func TestDialFunctionEnds(t *testing.T) {
	type mine struct{ s string }
	proxy := func(s string) func(*http.Request) (*url.URL, error) {
		return http.ProxyURL(&url.URL{Scheme: s, Host: "p"})
	}
	for _, tt := range []struct {
		name string
		url  string
		d    func(end func()) Dialer
	}{
		{"NetDial", "ws://a", func(end func()) Dialer {
			return Dialer{NetDial: func(string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"NetDialContext", "wss://a", func(end func()) Dialer {
			return Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"NetDialTLSContext", "wss://a", func(end func()) Dialer {
			return Dialer{NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"NetDial to a proxy", "ws://a", func(end func()) Dialer {
			return Dialer{Proxy: proxy("http"), NetDial: func(string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"NetDialTLSContext to a proxy", "wss://a", func(end func()) Dialer {
			return Dialer{Proxy: proxy("https"), NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"NetDial to a SOCKS proxy", "ws://a", func(end func()) Dialer {
			return Dialer{Proxy: proxy("socks5"), NetDial: func(string, string) (net.Conn, error) { end(); return nil, io.EOF }}
		}},
		{"Proxy", "ws://a", func(end func()) Dialer {
			return Dialer{Proxy: func(*http.Request) (*url.URL, error) { end(); return nil, io.EOF }}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				want := &mine{"value"}
				func() {
					defer func() {
						if got := recover(); got != want {
							t.Errorf("recovered %v", got)
						}
					}()
					d := tt.d(func() { panic(want) })
					_, _, err := d.Dial(tt.url, nil)
					t.Errorf("Dial returned %v", err)
				}()
				noTransport(t)

				var err error
				exited := make(chan struct{})
				go func() {
					defer close(exited)
					d := tt.d(runtime.Goexit)
					_, _, err = d.Dial(tt.url, nil)
				}()
				<-exited
				if tt.name != "Proxy" && (err == nil || !strings.Contains(err.Error(), "runtime.Goexit")) {
					t.Errorf("Dial returned %v", err)
				}
				noTransport(t)
			})
		})
	}
}

// NewClient closes the connection it was given whatever the handshake fails for.
func TestNewClientCloses(t *testing.T) {
	for _, tt := range []struct {
		url    url.URL
		header http.Header
	}{
		{url.URL{Scheme: "ftp", Host: "a"}, nil},
		{url.URL{Scheme: "ws", Host: "a"}, http.Header{"Upgrade": {"x"}}},
		{url.URL{Scheme: "ws", Host: "a"}, http.Header{"X": {"a\r\nb"}}},
		{url.URL{Scheme: "ws", Host: "a"}, nil}, // the server refuses
	} {
		synctest.Test(t, func(t *testing.T) {
			here, there := net.Pipe()
			defer here.Close()
			var end error // what the server reads in the end
			go func() {
				defer there.Close()
				br := bufio.NewReader(there)
				if _, end = http.ReadRequest(br); end == nil {
					io.WriteString(there, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
					_, end = br.ReadByte()
				}
			}()
			if c, _, err := NewClient(here, &tt.url, tt.header, 0, 0); c != nil || err == nil {
				t.Errorf("%s %q: %v, %v", &tt.url, tt.header, c, err)
			}
			synctest.Wait()
			if end != io.EOF {
				t.Errorf("%s %q: the server read %v", &tt.url, tt.header, end)
			}
		})
	}
}

// A body that stalls is given up with what came of it.
func TestDialStalledBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, _ *http.Request) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\n\r\nabc")
			io.Copy(io.Discard, br)
		})
		d.HandshakeTimeout = time.Second
		_, resp, err := d.Dial("ws://a", nil)
		if err != ErrBadHandshake || resp == nil {
			t.Fatalf("got %v, %v", resp, err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "abc" || err != nil {
			t.Errorf("body %q, %v", body, err)
		}
		noTransport(t)
	})
}

func TestDialNegativeTimeout(t *testing.T) {
	d := Dialer{HandshakeTimeout: -1}
	if _, _, err := d.Dial("ws://127.0.0.1:1", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// After the handshake neither the context nor the timeout touches the connection, and nothing of the
// Transport runs.
func TestDialAfterReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
			io.WriteString(c, answer(r))
			frame := make([]byte, 8)
			io.ReadFull(br, frame)
			io.WriteString(c, "\x81\x02ok")
			io.Copy(io.Discard, br)
		})
		d.HandshakeTimeout = time.Minute
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		c, _, err := d.DialContext(ctx, "ws://a", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		noTransport(t)
		cancel()
		<-time.After(2 * time.Hour)
		if err := c.WriteMessage(TextMessage, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.ReadMessage(); string(p) != "ok" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
	})
}
