package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a server may answer, what the caller gets for it, and that nothing is left running.
func TestDialResponse(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name     string
		d        Dialer
		header   http.Header
		response func(r *http.Request) string
		isBad    bool // errors.Is(err, ErrBadHandshake)
		same     bool // err == ErrBadHandshake
		text     string
		status   int // 0: no response
		body     string
	}{
		{name: "status", response: func(*http.Request) string {
			return "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
		}, isBad: true, same: true, text: "403 Forbidden", status: 403, body: "no"},
		{name: "redirect", response: func(*http.Request) string {
			return "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n"
		}, isBad: true, same: true, text: "302 Found", status: 302},
		{name: "long body", response: func(*http.Request) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + long
		}, isBad: true, same: true, text: "200 OK", status: 200, body: long[:1024]},
		{name: "chunked body", response: func(*http.Request) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
		}, isBad: true, same: true, text: "200 OK", status: 200, body: "ab"},
		{name: "body until the end", response: func(*http.Request) string {
			return "HTTP/1.0 500 Internal Server Error\r\n\r\noops"
		}, isBad: true, same: true, text: "500", status: 500, body: "oops"},
		{name: "truncated body", response: func(*http.Request) string {
			return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\noops"
		}, isBad: true, same: true, text: "500", status: 500, body: "oops"},
		{name: "early hints first", response: func(*http.Request) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
		}, isBad: true, same: true, text: "404", status: 404},
		{name: "accept of another key", response: func(r *http.Request) string {
			r.Header.Set("Sec-WebSocket-Key", sampleKey)
			return answer(r)
		}, isBad: true, same: true, text: "Sec-WebSocket-Accept", status: 101},
		{name: "no Upgrade", response: func(r *http.Request) string {
			return strings.Replace(answer(r), "Upgrade: websocket\r\n", "", 1)
		}, isBad: true, same: true, text: "Upgrade header", status: 101},
		{name: "an empty Upgrade first", response: func(r *http.Request) string {
			return strings.Replace(answer(r), "Upgrade: ", "Upgrade:\r\nUpgrade: ", 1)
		}, isBad: true, same: true, text: "Upgrade header", status: 101},
		{name: "no Connection", response: func(r *http.Request) string {
			return strings.Replace(answer(r), "Connection: Upgrade\r\n", "", 1)
		}, isBad: true, same: true, text: "Connection header", status: 101},
		{name: "unoffered subprotocol", response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Protocol: x")
		}, isBad: true, text: `"x", which was not offered`, status: 101},
		{name: "repeated subprotocol", d: Dialer{Subprotocols: []string{"x"}}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: x")
		}, isBad: true, text: "2 Sec-WebSocket-Protocol headers", status: 101},
		{name: "unoffered extension", response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate")
		}, isBad: true, text: `"permessage-deflate", which was not offered`, status: 101},
		{name: "another extension", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: mux")
		}, isBad: true, text: `"mux", which was not offered`, status: 101},
		{name: "bad parameter", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=16")
		}, isBad: true, text: `server_max_window_bits with an invalid value "16"`, status: 101},
		{name: "takeover against the offer", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate")
		}, isBad: true, text: "lacks server_no_context_takeover", status: 101},
		{name: "header too long", response: func(r *http.Request) string {
			return answer(r, "X: "+strings.Repeat("x", 70000))
		}, text: "exceeded 65536 bytes"},
		{name: "hints without end", response: func(r *http.Request) string {
			return strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5000)
		}, text: "exceeded 65536 bytes"},
		{name: "nothing", response: func(*http.Request) string { return "" }, text: "EOF"},
		{name: "truncated header", response: func(r *http.Request) string {
			start, _, _ := strings.Cut(answer(r), "Sec-")
			return start
		}, text: "unexpected EOF"},
		{name: "not HTTP", response: func(*http.Request) string { return "SSH-2.0-x\r\n" }, text: "malformed HTTP"},
		{name: "bad header", response: func(r *http.Request) string { return answer(r, "x y z") }, text: "malformed MIME header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := tt.d
				d.NetDialContext = pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
					io.WriteString(c, tt.response(r))
					if tt.status == 101 {
						io.Copy(io.Discard, br) // it does not end the connection
					}
				}).NetDialContext
				d.HandshakeTimeout = time.Hour
				start := time.Now()
				c, resp, err := d.Dial("ws://a/", tt.header)
				if tt.isBad {
					tt.text = "websocket: bad handshake" // the response tells the rest
				}
				if c != nil || err == nil || !strings.Contains(err.Error(), tt.text) || !strings.HasPrefix(err.Error(), "websocket: ") {
					t.Fatalf("got %v, %v; want %q", c, err, tt.text)
				}
				if (err == ErrBadHandshake) != tt.isBad {
					t.Errorf("%v: ErrBadHandshake %v", err, err == ErrBadHandshake)
				}
				if (resp != nil) != (tt.status != 0) {
					t.Fatalf("response %v", resp)
				}
				if resp != nil {
					body, err := io.ReadAll(resp.Body)
					if resp.StatusCode != tt.status || string(body) != tt.body || err != nil {
						t.Errorf("got %s with %q, %v", resp.Status, body, err)
					}
				}
				if after := time.Since(start); after != 0 {
					t.Errorf("it took %v", after)
				}
				noTransport(t)
			})
		})
	}
}

// The error of a connection that ends before the response keeps its identity.
func TestDialEndedResponse(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   func(c *net.TCPConn)
		is    error
		isNet bool // err.(net.Error)
	}{
		{"closed", func(*net.TCPConn) {}, io.ErrUnexpectedEOF, false},
		{"closed inside the header", func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 101 Swi") }, io.ErrUnexpectedEOF, false},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0) }, nil, true},
	} {
		addr := serveConns(t, "tcp", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			tt.end(c.(*net.TCPConn))
		})
		_, resp, err := new(Dialer).Dial("ws://"+addr.String(), nil)
		if resp != nil || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), "no valid response") {
			t.Errorf("%s: %v, %v", tt.name, resp, err)
		}
		if ne, ok := err.(net.Error); ok != tt.isNet || ok && (ne.Timeout() || !errors.As(err, new(*net.OpError))) {
			t.Errorf("%s: %T is a net.Error: %v", tt.name, err, ok)
		}
	}

	// What the connection says about itself is passed on.
	d := Dialer{NetDial: func(string, string) (net.Conn, error) { return brokenConn{}, nil }}
	_, _, err := d.Dial("ws://a", nil)
	//lint:ignore SA1019 Programs ask for it.
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() || !ne.Temporary() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %T %v", err, err)
	}
	// Before the request is written.
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		there.Close()
		d := Dialer{NetDial: func(string, string) (net.Conn, error) { return here, nil }}
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { synctest.Wait() }, // the end is noticed
		})
		if _, _, err := d.DialContext(ctx, "ws://a", nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("closed at once: %v", err)
		}
		noTransport(t)
	})
}

// brokenConn is a connection on which everything times out.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error)  { return 0, os.ErrDeadlineExceeded }
func (brokenConn) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
func (brokenConn) Close() error              { return nil }

// Bytes behind the 101 reach the first read, over every kind of connection.
func TestDialGluedFrames(t *testing.T) {
	tlsServer := httptest.NewTLSServer(nil)
	defer tlsServer.Close()
	cert := tlsServer.TLS.Certificates
	serve := func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		// Two messages and the begin of a third leave with the response, in one write.
		io.WriteString(c, answer(r)+"\x81\x05hello\x82\x05again\x81\x03a")
		readHead(t, io.MultiReader(io.LimitReader(c, 8), strings.NewReader("\r\n\r\n")))
		io.WriteString(c, "bc")
		io.Copy(io.Discard, c)
	}
	tcp := serveConns(t, "tcp", serve).String()
	unix := serveConns(t, "unix", serve).String()
	encrypted := serveConns(t, "tcp", func(c net.Conn) { serve(tls.Server(c, &tls.Config{Certificates: cert})) }).String()
	insecure := &tls.Config{InsecureSkipVerify: true}

	for _, tt := range []struct {
		name string
		d    Dialer
		url  string
		want any
	}{
		{"TCP", Dialer{}, "ws://" + tcp, &net.TCPConn{}},
		{"unix", Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("unix", unix) }}, "ws://a", &net.UnixConn{}},
		{"TLS", Dialer{TLSClientConfig: insecure}, "wss://" + encrypted, &tls.Conn{}},
		{"TLS of the caller", Dialer{NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", encrypted)
			return tls.Client(c, insecure), err
		}}, "wss://a", &tls.Conn{}},
		{"pipe", Dialer{NetDial: func(string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go serve(there)
			return here, nil
		}}, "ws://a", nil},
		{"wrapped", Dialer{NetDial: func(string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", tcp)
			return &deafConn{c}, err
		}}, "ws://a", &deafConn{}},
		{"TLS over wrapped", Dialer{TLSClientConfig: insecure, NetDial: func(string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", encrypted)
			return &deafConn{c}, err
		}}, "wss://a", &tls.Conn{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, resp, err := tt.d.Dial(tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if got := fmt.Sprintf("%T", c.NetConn()); tt.want != nil && got != fmt.Sprintf("%T", tt.want) {
				t.Errorf("NetConn is %s", got)
			}
			if body, err := io.ReadAll(resp.Body); len(body) > 0 || err != nil {
				t.Errorf("body %q, %v", body, err)
			}
			for i, want := range []string{"hello", "again", "abc"} {
				if i == 2 {
					if err := c.WriteMessage(TextMessage, []byte("go")); err != nil {
						t.Fatal(err)
					}
				}
				if _, p, err := c.ReadMessage(); err != nil || string(p) != want {
					t.Fatalf("read %q, %v; want %q", p, err, want)
				}
			}
		})
	}
}

// Where deadlines cannot be relied on, taking what is buffered does not wait for more.
func TestDialWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
			io.WriteString(c, answer(r))
			io.ReadFull(br, make([]byte, 8))
			io.WriteString(c, "\x81\x02ok")
			io.Copy(io.Discard, br)
		})
		dial := d.NetDialContext
		d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			return &deafConn{c}, err
		}
		d.HandshakeTimeout = time.Minute
		c, _, err := d.Dial("ws://a", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.WriteMessage(TextMessage, []byte("hi")); err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.ReadMessage(); string(p) != "ok" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
	})
}

// While the handshake lasts the connection has the deadline of the dial, afterwards none.
func TestDialDeadline(t *testing.T) {
	for _, url := range []string{"ws://a", "wss://a"} {
		nc := new(deadlineConn)
		d := pipeDialer(t, func(c net.Conn, _ *bufio.Reader, r *http.Request) { io.WriteString(c, answer(r)) })
		dial := d.NetDialContext
		d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			var err error
			nc.Conn, err = dial(ctx, network, addr)
			return nc, err
		}
		d.NetDialTLSContext = d.NetDialContext
		d.HandshakeTimeout = time.Hour
		c, _, err := d.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(nc.set) != 2 || nc.set[0].IsZero() || !nc.set[1].IsZero() {
			t.Errorf("%s: deadlines %v", url, nc.set)
		}
		c.Close()
	}
}

// deadlineConn keeps the deadlines that it is given.
type deadlineConn struct {
	net.Conn
	set []time.Time
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.set = append(c.set, t)
	return c.Conn.SetDeadline(t)
}

// deafConn is a connection that has no deadlines.
type deafConn struct{ net.Conn }

func (c *deafConn) SetDeadline(time.Time) error      { return errors.ErrUnsupported }
func (c *deafConn) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (c *deafConn) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

// A connection holds none of the Transport's memory.
func TestDialMemory(t *testing.T) {
	addr := serveConns(t, "tcp", func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(c, answer(r))
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c)
	}).String()
	dial := func() *Conn {
		c, _, err := new(Dialer).Dial("ws://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	bare := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, sampleRequest)
		readHead(t, c)
		return c
	}
	const n = 50
	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	defer dial().Close() // what is allocated once for all
	var conns [n]*Conn
	var bareConns [n]net.Conn
	h0 := heap()
	for i := range bareConns {
		bareConns[i] = bare()
	}
	h1 := heap()
	for i := range conns {
		conns[i] = dial()
	}
	h2 := heap()
	// The server's side is in both. A Conn itself is well below 2 KiB.
	if perConn := (h2 - h1 - (h1 - h0)) / n; perConn > 2<<10 {
		t.Errorf("%d bytes per connection above a bare one", perConn)
	}
	for i := range conns {
		conns[i].Close()
		bareConns[i].Close()
	}
}
