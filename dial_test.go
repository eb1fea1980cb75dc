package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// answer returns the 101 for a request, with header lines added before its end.
func answer(r *http.Request, lines ...string) string {
	s := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		string(appendAccept(nil, r.Header.Get("Sec-WebSocket-Key"))) + "\r\n"
	for _, line := range lines {
		s += line + "\r\n"
	}
	return s + "\r\n"
}

// pipeDialer returns a Dialer whose server is a function at the other end of a net.Pipe. The
// request has been read when it is called; the connection is closed when it returns.
func pipeDialer(t testing.TB, server func(c net.Conn, br *bufio.Reader, r *http.Request)) *Dialer {
	return &Dialer{NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			br := bufio.NewReader(there)
			r, err := http.ReadRequest(br)
			if err != nil {
				t.Error(err)
				return
			}
			server(there, br, r)
		}()
		return here, nil
	}}
}

// serveConns calls serve for every connection to the returned address until the test ends. Each
// connection is closed when serve returns.
func serveConns(t testing.TB, network string, serve func(c net.Conn)) net.Addr {
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr()
}

// echoOnce upgrades a request, sends "hello" at once and echoes one message.
func echoOnce(t testing.TB, u *Upgrader) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, http.Header{"Set-Cookie": {"session=1234"}, "X-Host": {r.Host}})
		if err != nil {
			t.Log(err)
			return
		}
		defer c.Close()
		if err := c.WriteMessage(TextMessage, []byte("hello")); err != nil {
			t.Error(err)
		}
		mt, p, err := c.ReadMessage()
		if err != nil {
			return // the test needs no echo
		}
		if err := c.WriteMessage(mt, p); err != nil {
			t.Error(err)
		}
		c.ReadMessage() // until the client closes
	}
}

// checkEcho talks to echoOnce and closes the connection.
func checkEcho(t testing.TB, c *Conn) {
	t.Helper()
	defer c.Close()
	if _, p, err := c.ReadMessage(); err != nil || string(p) != "hello" {
		t.Fatalf("read %q, %v", p, err)
	}
	if err := c.WriteMessage(BinaryMessage, []byte("echo")); err != nil {
		t.Fatal(err)
	}
	if mt, p, err := c.ReadMessage(); err != nil || mt != BinaryMessage || string(p) != "echo" {
		t.Fatalf("read %d %q, %v", mt, p, err)
	}
}

// noneLeft fails the test if a goroutine that a dial started is left in its bubble.
func noneLeft(t testing.TB) {
	t.Helper()
	synctest.Wait()
	if stacks := dialGoroutines(); len(stacks) > 0 {
		t.Errorf("left behind: %s", strings.Join(stacks, "\n\n"))
	}
}

// dialGoroutines returns the stacks of the goroutines in a bubble that a dial started.
func dialGoroutines() (stacks []string) {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		_, creator, _ := strings.Cut(stack, "created by ")
		if strings.Contains(stack, "synctest bubble") && (strings.HasPrefix(creator, "github.com/tautws/websocket.(") ||
			strings.HasPrefix(creator, "net/http.") || strings.HasPrefix(creator, "crypto/tls.") || strings.HasPrefix(creator, "context.")) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

func wsURL(s string) string { return "ws" + strings.TrimPrefix(s, "http") }

// RFC 6455 §3.
func TestDialURL(t *testing.T) {
	const malformed = "malformed ws or wss URL"
	for _, tt := range []struct{ url, text string }{
		{"ftp://a/", malformed},
		{"http://a/", malformed},
		{"https://a/", malformed},
		{"//a/", malformed},
		{"a", malformed},
		{"", malformed},
		{"ws:a", malformed},
		{"ws://user@a/", malformed},
		{"ws://user:secret@a/", malformed},
		{"wss://a/#b", malformed + ": it has a fragment; a # in the path or query is written %23"},
		{"ws://a/#", malformed + ": it has a fragment; a # in the path or query is written %23"},
		{"ws://a b/", `parse "ws://a b/": invalid character " " in host name`},
		{"ws://a:b/", `parse "ws://a:b/": invalid port ":b" after host`},
	} {
		d := Dialer{NetDial: func(network, addr string) (net.Conn, error) {
			t.Errorf("%s was dialled", tt.url)
			return nil, io.EOF
		}}
		if c, resp, err := d.Dial(tt.url, nil); c != nil || resp != nil || err == nil || err.Error() != tt.text {
			t.Errorf("%s: %v, want %s", tt.url, err, tt.text)
		}
	}
	for _, tt := range []struct{ url, addr string }{
		{"ws://a", "a:80"},
		{"ws://a:/", "a:80"},
		{"ws://a:8080/x?y", "a:8080"},
		{"WS://[::1]/", "[::1]:80"},
		{"ws://[::1]:81/", "[::1]:81"},
		{"wss://a", "a:443"},
		{"wss://a:444/", "a:444"},
		{"wss://[::1]/", "[::1]:443"},
		{"ws://[fe80::1%25eth0]/", "[fe80::1%eth0]:80"},
		{"ws:///path", ":80"},
		{"wss://", ":443"},
		{"ws://b\u00fccher.example/", "xn--bcher-kva.example:80"},
		{"wss://b\u00fccher.example:1", "xn--bcher-kva.example:1"},
	} {
		d := Dialer{NetDial: func(network, addr string) (net.Conn, error) {
			if network != "tcp" || addr != tt.addr {
				t.Errorf("%s: dialled %s %s", tt.url, network, addr)
			}
			return nil, io.ErrNoProgress
		}}
		if _, resp, err := d.Dial(tt.url, nil); err != io.ErrNoProgress || resp != nil {
			t.Errorf("%s: %v, %v", tt.url, resp, err)
		}
	}
}

// RFC 6455 §4.1: the request, byte for byte.
func TestDialRequest(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(&url.URL{Scheme: "https", Host: "a", Path: "/"}, []*http.Cookie{{Name: "s", Value: "1", Secure: true}})
	jar.SetCookies(&url.URL{Scheme: "http", Host: "a", Path: "/"}, []*http.Cookie{{Name: "p", Value: "2"}})
	const agent = "User-Agent: Go-http-client/1.1\r\n"
	for _, tt := range []struct {
		name   string
		d      Dialer
		url    string
		header http.Header
		want   string
	}{
		{"bare", Dialer{}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"everything", Dialer{Subprotocols: []string{"b", "c"}, EnableCompression: true, Jar: jar}, "ws://a:8080/x%20y?z=%23",
			http.Header{"Origin": {"http://o"}, "User-Agent": {"me"}, "Host": {"h"}, "X": {"1", "2"}},
			"GET /x%20y?z=%23 HTTP/1.1\r\nHost: h\r\nUser-Agent: me\r\nConnection: Upgrade\r\nCookie: p=2\r\nOrigin: http://o\r\n" +
				"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n" +
				"Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Protocol: b, c\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nX: 1\r\nX: 2\r\n\r\n"},
		{"a query to escape", Dialer{}, "ws://a/b c?d=e f\u00fc\"<>%20+|{}&x HTTP/1.1", nil,
			"GET /b%20c?d=e%20f%C3%BC%22%3C%3E%20+|{}&x%20HTTP/1.1 HTTP/1.1\r\nHost: a\r\n" + agent +
				"Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"repeated subprotocols", Dialer{Subprotocols: []string{"b", "c", "b", "B", "c"}}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Protocol: b, c, B\r\n" +
				"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"takeover", Dialer{EnableCompression: true, Compression: CompressionOptions{ContextTakeover: true}}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
				"Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"subprotocols by header", Dialer{Jar: jar}, "ws://a", http.Header{"Sec-Websocket-Protocol": {"b, c", "d"}, "Cookie": {"mine=3"}},
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nCookie: mine=3\r\nSec-WebSocket-Key: KEY\r\n" +
				"Sec-WebSocket-Protocol: b, c\r\nSec-WebSocket-Protocol: d\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"subprotocols that are no tokens", Dialer{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io", "a=\"b\""}}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\n" +
				"Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io, a=\"b\"\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"no host", Dialer{}, "ws:///path", nil,
			"GET /path HTTP/1.1\r\nHost: \r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"no user agent, and a line break", Dialer{}, "ws://a", http.Header{"User-Agent": {""}, "X": {"a\r\nUpgrade: b"}, "host": {"h"}},
			"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\n" +
				"Upgrade: websocket\r\nX: a  Upgrade: b\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, offer := tt.header.Clone(), slices.Clone(tt.d.Subprotocols)
			here, there := net.Pipe()
			tt.d.NetDial = func(network, addr string) (net.Conn, error) { return here, nil }
			go tt.d.Dial(tt.url, tt.header)
			defer there.Close()
			got := readHead(t, there)
			_, key, _ := strings.Cut(got, "Sec-WebSocket-Key: ")
			key, _, _ = strings.Cut(key, "\r\n")
			if !isValidKey(key) {
				t.Errorf("key %q", key)
			}
			if got = strings.Replace(got, key, "KEY", 1); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if fmt.Sprint(before) != fmt.Sprint(tt.header) {
				t.Errorf("the caller's header became %v", tt.header)
			}
			if !slices.Equal(offer, tt.d.Subprotocols) {
				t.Errorf("the caller's subprotocols became %q", tt.d.Subprotocols)
			}
		})
	}
}

func TestDialBadHeader(t *testing.T) {
	d := Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		t.Error("dialled")
		return nil, io.EOF
	}}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-WebSocket-Key", "upgrade"} {
		_, resp, err := d.Dial("ws://a", http.Header{name: {"x"}})
		if resp != nil || err == nil || err.Error() != "websocket: duplicate header not allowed: "+name {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"b c", "b,c", "", "b\x00", "\u00a0"} {
		d.Subprotocols = []string{"a", name}
		if _, _, err := d.Dial("ws://a", nil); err == nil || !strings.Contains(err.Error(), "Dialer.Subprotocols has "+strconv.Quote(name)) {
			t.Errorf("subprotocol: %v", err)
		}
	}
	d.Subprotocols = []string{"a"}
	if _, _, err := d.Dial("ws://a", http.Header{"Sec-Websocket-Protocol": {"a"}}); err == nil || !strings.Contains(err.Error(), "duplicate") {
		t.Errorf("subprotocols twice: %v", err)
	}
}

func TestDialSubprotocol(t *testing.T) {
	for _, tt := range []struct {
		offer  []string
		header http.Header
		chosen string
	}{
		{[]string{"a", "b"}, nil, "b"},
		{[]string{"a", "b"}, nil, ""},
		{nil, http.Header{"Sec-Websocket-Protocol": {"a, b"}}, "b"},
		{nil, http.Header{"Sec-WebSocket-Protocol": {"a", "b"}}, "b"},
		{[]string{"SPDY/3.1+portforward.k8s.io"}, nil, "SPDY/3.1+portforward.k8s.io"},
	} {
		d := pipeDialer(t, func(c net.Conn, _ *bufio.Reader, r *http.Request) {
			if tt.chosen != "" {
				io.WriteString(c, answer(r, "Sec-WebSocket-Protocol: "+tt.chosen))
			} else {
				io.WriteString(c, answer(r))
			}
		})
		d.Subprotocols = tt.offer
		c, resp, err := d.Dial("ws://a", tt.header)
		if err != nil {
			t.Errorf("%v %v: %v", tt.offer, tt.header, err)
			continue
		}
		c.Close()
		if c.Subprotocol() != tt.chosen || resp.Header.Get("Sec-WebSocket-Protocol") != tt.chosen {
			t.Errorf("got %q, want %q", c.Subprotocol(), tt.chosen)
		}
	}
}

func TestDialTLS(t *testing.T) {
	var protos []string
	s := httptest.NewUnstartedServer(echoOnce(t, &Upgrader{}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		protos = hello.SupportedProtos
		return nil, nil
	}}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	// The configuration of an http.Client that has spoken HTTP/2.
	shared := &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}

	d := Dialer{TLSClientConfig: shared}
	c, resp, err := d.Dial(wsURL(s.URL), http.Header{"Origin": {s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(protos, []string{"http/1.1"}) || len(shared.NextProtos) != 2 || shared.ServerName != "" {
		t.Errorf("offered %q, the configuration has %q", protos, shared.NextProtos)
	}
	if tc, ok := c.NetConn().(*tls.Conn); !ok || !tc.ConnectionState().HandshakeComplete || resp.TLS == nil {
		t.Errorf("NetConn is %T", c.NetConn())
	}
	checkEcho(t, c)

	if _, _, err := new(Dialer).Dial(wsURL(s.URL), nil); !errors.As(err, new(*tls.CertificateVerificationError)) {
		t.Errorf("unknown CA: %T %v", err, err)
	}

	// A connection of the caller's that is made for HTTP/2.
	d = Dialer{NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}}).DialContext(ctx, network, addr)
	}}
	if _, _, err := d.Dial(wsURL(s.URL), nil); err == nil || !strings.Contains(err.Error(), `protocol "h2", not for HTTP/1.1`) {
		t.Errorf("HTTP/2: %v", err)
	}
}

// The errors of TLS come as they are, from the handshake and from behind it, where TLS 1.3 refuses
// a client's certificate.
func TestDialTLSErrors(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	s.StartTLS()
	defer s.Close()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, tt := range []struct {
			name string
			cfg  *tls.Config
			text string
		}{
			{"certificate", &tls.Config{Certificates: s.TLS.Certificates}, "remote error: tls: unknown certificate authority"},
			{"version", &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS11}, "remote error: tls: protocol version not supported"},
		} {
			tt.cfg.InsecureSkipVerify = true
			if tt.cfg.MaxVersion == 0 {
				tt.cfg.MaxVersion = version
			}
			d := Dialer{TLSClientConfig: tt.cfg, HandshakeTimeout: time.Minute}
			_, resp, err := d.Dial(wsURL(s.URL), nil)
			var op *net.OpError
			if resp != nil || !errors.As(err, &op) || op.Op != "remote error" || err.Error() != tt.text {
				t.Errorf("%s, TLS %x: %T %v", tt.name, version, err, err)
			}
		}
	}
}

// Which of the functions makes the connection.
func TestDialFunctions(t *testing.T) {
	plain := httptest.NewServer(echoOnce(t, &Upgrader{}))
	defer plain.Close()
	secure := httptest.NewTLSServer(echoOnce(t, &Upgrader{}))
	defer secure.Close()
	insecure := &tls.Config{InsecureSkipVerify: true}
	var called string
	netDial := func(network, addr string) (net.Conn, error) {
		called = "NetDial"
		return net.Dial(network, addr)
	}
	netDialContext := func(ctx context.Context, network, addr string) (net.Conn, error) {
		called = "NetDialContext"
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	netDialTLSContext := func(ctx context.Context, network, addr string) (net.Conn, error) {
		called = "NetDialTLSContext"
		return (&tls.Dialer{Config: insecure}).DialContext(ctx, network, addr)
	}
	for _, tt := range []struct {
		url  string
		d    Dialer
		want string
	}{
		{plain.URL, Dialer{}, ""},
		{plain.URL, Dialer{NetDial: netDial}, "NetDial"},
		{plain.URL, Dialer{NetDial: netDial, NetDialContext: netDialContext, NetDialTLSContext: netDialTLSContext}, "NetDialContext"},
		{secure.URL, Dialer{TLSClientConfig: insecure}, ""},
		{secure.URL, Dialer{TLSClientConfig: insecure, NetDial: netDial}, "NetDial"},
		{secure.URL, Dialer{TLSClientConfig: insecure, NetDial: netDial, NetDialContext: netDialContext}, "NetDialContext"},
		{secure.URL, Dialer{TLSClientConfig: &tls.Config{ServerName: "no"}, NetDialContext: netDialContext, NetDialTLSContext: netDialTLSContext}, "NetDialTLSContext"},
	} {
		called = ""
		c, _, err := tt.d.Dial(wsURL(tt.url), nil)
		if err != nil {
			t.Errorf("%s by %s: %v", tt.url, tt.want, err)
			continue
		}
		if called != tt.want {
			t.Errorf("%s was dialled by %q, want %q", tt.url, called, tt.want)
		}
		checkEcho(t, c)
	}
	// The errors of the functions come through as they are.
	d := Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, io.ErrNoProgress }}
	if _, _, err := d.Dial("ws://a", nil); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
	d = Dialer{NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrNoProgress }}
	if _, _, err := d.Dial("wss://a", nil); err != io.ErrNoProgress {
		t.Errorf("got %v", err)
	}
	// A function that returns nothing at all.
	d = Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, nil }}
	if _, _, err := d.Dial("ws://a", nil); err == nil || !strings.Contains(err.Error(), "neither a connection nor an error") {
		t.Errorf("got %v", err)
	}
	// All of them are called on the goroutine that dials.
	d = Dialer{Proxy: func(*http.Request) (*url.URL, error) { called = caller(); return nil, nil }, NetDial: func(string, string) (net.Conn, error) {
		called += " " + caller()
		return nil, io.EOF
	}}
	if d.Dial("ws://a", nil); called != caller()+" "+caller() {
		t.Errorf("called on goroutines %s, dialled on %s", called, caller())
	}
}

// caller returns the number of the calling goroutine.
func caller() string {
	stack := make([]byte, 64)
	return strings.Fields(string(stack[:runtime.Stack(stack, false)]))[1] // goroutine 1 [running]
}

func TestDialDefaults(t *testing.T) {
	if DefaultDialer.HandshakeTimeout != 45*time.Second || DefaultDialer.Proxy == nil {
		t.Error("DefaultDialer has other values")
	}
	s := httptest.NewServer(echoOnce(t, &Upgrader{}))
	defer s.Close()
	var d *Dialer
	for _, dial := range []func(string, http.Header) (*Conn, *http.Response, error){d.Dial, DefaultDialer.Dial, new(Dialer).Dial} {
		c, _, err := dial(wsURL(s.URL), nil)
		if err != nil {
			t.Fatal(err)
		}
		checkEcho(t, c)
	}

	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, resp, err := NewClient(nc, &url.URL{Scheme: "ws", Host: "example.com", Path: "/"}, http.Header{"Origin": {"http://example.com"}}, 1024, 1024)
	if err != nil {
		t.Fatal(err)
	}
	if c.NetConn() != nc || resp.Header.Get("X-Host") != "example.com" {
		t.Errorf("NetConn is %v, host %q", c.NetConn(), resp.Header.Get("X-Host"))
	}
	checkEcho(t, c)
}

func TestDialJar(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	u, _ := url.Parse("http://a/")
	response := func(r *http.Request) string { return answer(r, "Set-Cookie: good=1") }
	d := pipeDialer(t, func(c net.Conn, _ *bufio.Reader, r *http.Request) { io.WriteString(c, response(r)) })
	d.Jar = jar
	c, _, err := d.Dial("ws://a/", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// A refusal's cookies count as well, and the next request has both.
	var sent string
	response = func(r *http.Request) string {
		sent = r.Header.Get("Cookie")
		return "HTTP/1.1 401 Unauthorized\r\nSet-Cookie: bad=2\r\nContent-Length: 0\r\n\r\n"
	}
	if _, _, err := d.Dial("ws://a/", nil); err != ErrBadHandshake {
		t.Fatal(err)
	}
	if sent != "good=1" || fmt.Sprint(jar.Cookies(u)) != "[good=1 bad=2]" {
		t.Errorf("sent %q, kept %v", sent, jar.Cookies(u))
	}
}

// httptrace's events come in an order that programs rely on, also through proxies and for responses
// that are none.
func TestDialTrace(t *testing.T) {
	secure := httptest.NewUnstartedServer(echoOnce(t, &Upgrader{}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	hints := serveConns(t, "tcp", func(c net.Conn) {
		r, _ := http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"+answer(r))
		io.Copy(io.Discard, c)
	}).String()
	silent := serveConns(t, "tcp", func(c net.Conn) { http.ReadRequest(bufio.NewReader(c)) }).String()
	proxied := make(chan string, 1)
	proxy := serveConns(t, "tcp", func(c net.Conn) { httpProxy(t, c, "", proxied, secure.Listener.Addr().String()) }).String()

	host := secure.Listener.Addr().String()
	toProxy := http.ProxyURL(&url.URL{Scheme: "http", Host: proxy})
	const wroteHeader = " WroteHeaderField WroteHeaders WroteRequest <nil>"
	const overTLS = " ConnectStart ConnectDone GotConn *net.TCPConn TLSHandshakeStart TLSHandshakeDone <nil>" + wroteHeader + " GotFirstResponseByte"
	for _, tt := range []struct {
		name, url, want string
		proxy           func(*http.Request) (*url.URL, error)
	}{
		{"TLS", "wss://" + host, "GetConn " + host + overTLS, nil},
		{"proxy", "wss://example.com", "GetConn example.com:443" + overTLS, toProxy},
		{"interim response", "ws://" + hints, "GetConn " + hints + " ConnectStart ConnectDone GotConn *net.TCPConn" + wroteHeader +
			" GotFirstResponseByte Got1xxResponse 103", nil},
		{"no response", "ws://" + silent, "GetConn " + silent + " ConnectStart ConnectDone GotConn *net.TCPConn" + wroteHeader, nil},
		{"bad certificate", "wss://" + host, "GetConn " + host + " ConnectStart ConnectDone GotConn *net.TCPConn TLSHandshakeStart " +
			"TLSHandshakeDone *tls.CertificateVerificationError", nil},
	} {
		var events []string
		var traced net.Conn
		event := func(s ...any) { events = append(events, strings.TrimSpace(fmt.Sprintln(s...))) }
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GetConn:           func(hostPort string) { event("GetConn", hostPort) },
			ConnectStart:      func(network, addr string) { event("ConnectStart") },
			ConnectDone:       func(network, addr string, err error) { event("ConnectDone") },
			TLSHandshakeStart: func() { event("TLSHandshakeStart") },
			TLSHandshakeDone: func(state tls.ConnectionState, err error) {
				if event("TLSHandshakeDone", fmt.Sprintf("%T", err)); state.HandshakeComplete != (err == nil) {
					t.Errorf("%s: HandshakeComplete is %v", tt.name, state.HandshakeComplete)
				}
			},
			GotConn: func(info httptrace.GotConnInfo) {
				event("GotConn", fmt.Sprintf("%T", info.Conn))
				traced = info.Conn
			},
			WroteHeaderField: func(key string, value []string) {
				if key == "Upgrade" {
					event("WroteHeaderField")
				}
			},
			WroteHeaders:         func() { event("WroteHeaders") },
			WroteRequest:         func(info httptrace.WroteRequestInfo) { event("WroteRequest", info.Err) },
			GotFirstResponseByte: func() { event("GotFirstResponseByte") },
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				event("Got1xxResponse", code)
				return nil
			},
		})
		d := Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: tt.name != "bad certificate"}, Proxy: tt.proxy}
		c, _, err := d.DialContext(ctx, tt.url, nil)
		if got := strings.Join(events, " "); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
		if err != nil {
			continue
		}
		nc := c.NetConn()
		if tc, ok := nc.(*tls.Conn); ok {
			nc = tc.NetConn()
		}
		if traced != nc {
			t.Errorf("%s: traced %T, got %T", tt.name, traced, nc)
		}
		c.Close()
	}

	// A trace may end the dial.
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { return io.ErrNoProgress },
	})
	if _, resp, err := new(Dialer).DialContext(ctx, "ws://"+hints, nil); resp != nil || err != io.ErrNoProgress {
		t.Errorf("got %v, %v", resp, err)
	}
}

// The end of the context, of the timeout or of the peer ends a dial in every phase of it.
func TestDialEnds(t *testing.T) {
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
	hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	drain := func(c net.Conn) { io.Copy(io.Discard, c) }
	stop := func(c net.Conn) { io.ReadFull(c, make([]byte, 1)); <-time.After(time.Hour) }
	proxy := func(s string) func(*http.Request) (*url.URL, error) {
		u, _ := url.Parse(s)
		return http.ProxyURL(u)
	}
	for _, tt := range []struct {
		name, url, addr string
		d               Dialer
	}{
		{"dial", "ws://a", "a:80", Dialer{NetDialContext: hang}},
		{"dial for TLS", "wss://a", "a:443", Dialer{NetDialTLSContext: hang}},
		{"CONNECT unread", "ws://a", "p:80", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(stop)}},
		{"CONNECT unanswered", "ws://a", "p:80", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(drain)}},
		{"CONNECT unanswered for TLS", "wss://a", "p:80", Dialer{Proxy: proxy("http://p"), NetDialContext: pipe(drain)}},
		{"TLS to the proxy", "ws://a", "p:443", Dialer{Proxy: proxy("https://p"), NetDialContext: pipe(drain)}},
		{"TLS to the proxy unread", "ws://a", "p:443", Dialer{Proxy: proxy("https://p"), NetDialContext: pipe(stop)}},
		{"SOCKS", "ws://a", "p:1080", Dialer{Proxy: proxy("socks5://p"), NetDialContext: pipe(drain)}},
		{"TLS", "wss://a", "a:443", Dialer{NetDialContext: pipe(drain)}},
		{"TLS unread", "wss://a", "a:443", Dialer{NetDialContext: pipe(stop)}},
		{"request unread", "ws://a", "a:80", Dialer{NetDialContext: pipe(stop)}},
		{"response", "ws://a", "a:80", Dialer{NetDialContext: pipe(drain)}},
		{"rest of the response", "ws://a", "a:80", Dialer{NetDialContext: pipe(func(c net.Conn) {
			io.ReadFull(c, make([]byte, 1))
			go io.WriteString(c, "HTTP/1.1 101 Swi")
			drain(c)
		})}},
	} {
		cause := errors.New("out of patience")
		for _, end := range []struct {
			name     string
			context  func() (context.Context, context.CancelFunc)
			timeout  time.Duration
			is       []error
			deadline bool
			text     string
		}{
			{"HandshakeTimeout", func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) },
				3 * time.Second, []error{context.DeadlineExceeded}, true, "dial tcp " + tt.addr + ": i/o timeout"},
			{"deadline", func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 3*time.Second)
			}, time.Hour, []error{context.DeadlineExceeded}, true, "dial tcp " + tt.addr + ": i/o timeout"},
			{"deadline with a cause", func() (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(context.Background(), 3*time.Second, cause)
			}, time.Hour, []error{context.DeadlineExceeded, cause}, true, "dial tcp " + tt.addr + ": out of patience"},
			{"cancel", func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(3*time.Second, cancel)
				return ctx, cancel
			}, time.Hour, []error{context.Canceled}, false, "cancel"},
			{"cancel with a cause", func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(context.Background())
				time.AfterFunc(3*time.Second, func() { cancel(cause) })
				return ctx, func() { cancel(nil) }
			}, 0, []error{context.Canceled, cause}, false, "dial tcp " + tt.addr + ": out of patience"},
		} {
			for _, deadlines := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%s/deadlines=%v", tt.name, end.name, deadlines), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						d, open := tt.d, atomic.Bool{}
						d.HandshakeTimeout = end.timeout
						if dial := d.NetDialContext; dial != nil {
							d.NetDialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
								nc, err := dial(ctx, network, addr)
								if err != nil {
									return nil, err
								}
								open.Store(true)
								nc = &closeFuncConn{nc, func() { open.Store(false) }}
								if !deadlines {
									nc = &deafConn{nc}
								}
								return nc, nil
							}
						}
						ctx, cancel := end.context()
						defer cancel()
						start := time.Now()
						c, resp, err := d.DialContext(ctx, tt.url, nil)
						if c != nil || resp != nil || !strings.Contains(fmt.Sprint(err), end.text) {
							t.Errorf("got %v, %v, %v, want %s", c, resp, err, end.text)
						}
						for _, target := range end.is {
							if !errors.Is(err, target) {
								t.Errorf("%v is not %v", err, target)
							}
						}
						op, isOp := err.(*net.OpError)
						if end.deadline && (!isOp || op.Op != "dial") {
							t.Errorf("%T %v is no error of a dial", err, err)
						}
						ne, isNet := err.(net.Error)
						//lint:ignore SA1019 It is as with package net.
						if end.deadline && (!isNet || !ne.Timeout() || !ne.Temporary()) || !end.deadline && isNet && ne.Timeout() {
							t.Errorf("%T %v is a timeout: %v", err, err, !end.deadline)
						}
						if errors.Is(err, os.ErrDeadlineExceeded) != end.deadline {
							t.Errorf("%v: os.ErrDeadlineExceeded %v", err, !end.deadline)
						}
						if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
							t.Errorf("%v tells of a closed connection", err)
						}
						if after := time.Since(start); after != 3*time.Second {
							t.Errorf("it took %v", after)
						}
						noneLeft(t)
						if open.Load() {
							t.Error("the connection is open")
						}
						<-time.After(2 * time.Hour) // the servers that do nothing end
					})
				})
			}
		}
	}
}

// A closeFuncConn calls a function when it is closed.
type closeFuncConn struct {
	net.Conn
	closed func()
}

func (c *closeFuncConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// A dial function that learns of no context holds up the dial; its connection is closed.
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
		noneLeft(t)
	})
}

// What a dial function returns beside the end of the context is found as well.
func TestDialErrorBesideContext(t *testing.T) {
	cause := errors.New("out of patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	d := Dialer{NetDial: func(string, string) (net.Conn, error) {
		cancel(cause)
		return nil, io.ErrNoProgress
	}}
	if _, _, err := d.DialContext(ctx, "ws://a", nil); !errors.Is(err, io.ErrNoProgress) || !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	// And an error that says the same is the function's own.
	ctx, cancelPlain := context.WithCancel(t.Context())
	cancelPlain()
	d.NetDialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return nil, ctx.Err() }
	if _, _, err := d.DialContext(ctx, "ws://a", nil); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// A function of the application that panics or ends its goroutine does so where Dial was called,
// and the connection does not stay open.
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
		{"GotConn", "ws://a", func(end func()) Dialer {
			return Dialer{NetDialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() {
					if n, err := there.Read(make([]byte, 1)); err != io.EOF {
						t.Errorf("read %d bytes, %v", n, err)
					}
				}()
				return here, nil
			}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := func(end func()) {
					ctx := t.Context()
					if tt.name == "GotConn" {
						ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { end() }})
					}
					d := tt.d(end)
					_, _, err := d.DialContext(ctx, tt.url, nil)
					t.Errorf("Dial returned %v", err)
				}
				want := &mine{"value"}
				func() {
					defer func() {
						if got := recover(); got != want {
							t.Errorf("recovered %v", got)
						}
					}()
					dial(func() { panic(want) })
				}()
				noneLeft(t)
				exited := make(chan struct{})
				go func() {
					defer close(exited)
					dial(runtime.Goexit)
				}()
				<-exited
				noneLeft(t)
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
		{url.URL{Scheme: "http", Host: "a"}, nil},
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
		noneLeft(t)
	})
}

func TestDialNegativeTimeout(t *testing.T) {
	d := Dialer{HandshakeTimeout: -1}
	if _, _, err := d.Dial("ws://127.0.0.1:1", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// After the handshake neither the context nor the timeout touches the connection, and nothing of
// the dial runs; nor does it while the server is waited for.
func TestDialAfterReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
			noneLeft(t)
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
		noneLeft(t)
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

// What a server may answer, what the caller gets for it, and that nothing is left running.
func TestDialResponse(t *testing.T) {
	var logged strings.Builder
	log.SetOutput(&logged)
	defer func() {
		if log.SetOutput(os.Stderr); logged.Len() > 0 {
			t.Errorf("written to the standard logger: %s", logged.String())
		}
	}()
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct {
		name     string
		d        Dialer
		header   http.Header
		response func(r *http.Request) string
		text     string // "": ErrBadHandshake
		status   int    // 0: no response
		body     string
	}{
		{name: "status", response: func(*http.Request) string {
			return "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
		}, status: 403, body: "no"},
		{name: "redirect", response: func(*http.Request) string {
			return "HTTP/1.1 302 Found\r\nLocation: ws://elsewhere/\r\nContent-Length: 0\r\n\r\n"
		}, status: 302},
		{name: "long body", response: func(*http.Request) string {
			return "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + long
		}, status: 200, body: long[:1024]},
		{name: "chunked body", response: func(*http.Request) string {
			return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
		}, status: 200, body: "ab"},
		{name: "body until the end", response: func(*http.Request) string {
			return "HTTP/1.0 500 Internal Server Error\r\n\r\noops"
		}, status: 500, body: "oops"},
		{name: "truncated body", response: func(*http.Request) string {
			return "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\r\noops"
		}, status: 500, body: "oops"},
		{name: "long head and a body", response: func(*http.Request) string {
			return "HTTP/1.1 401 Unauthorized\r\nX: " + strings.Repeat("x", 1<<20-80) + "\r\nContent-Length: 3000\r\n\r\n" + long
		}, status: 401, body: long[:1024]},
		{name: "early hints first", response: func(*http.Request) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
		}, status: 404},
		{name: "accept of another key", response: func(r *http.Request) string {
			r.Header.Set("Sec-WebSocket-Key", sampleKey)
			return answer(r)
		}, status: 101},
		{name: "no Upgrade", response: func(r *http.Request) string {
			return strings.Replace(answer(r), "Upgrade: websocket\r\n", "", 1)
		}, status: 101},
		{name: "no Connection", response: func(r *http.Request) string {
			return strings.Replace(answer(r), "Connection: Upgrade\r\n", "", 1)
		}, status: 101},
		{name: "unoffered subprotocol", response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Protocol: x")
		}, status: 101},
		{name: "repeated subprotocol", d: Dialer{Subprotocols: []string{"x"}}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: x")
		}, status: 101},
		{name: "unoffered extension", response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate")
		}, status: 101},
		{name: "another extension", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: mux")
		}, status: 101},
		{name: "bad parameter", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; server_max_window_bits=16")
		}, status: 101},
		{name: "takeover against the offer", d: Dialer{EnableCompression: true}, response: func(r *http.Request) string {
			return answer(r, "Sec-WebSocket-Extensions: permessage-deflate")
		}, status: 101},
		{name: "header too long", response: func(r *http.Request) string {
			return answer(r, "X: "+strings.Repeat("x", 1<<20))
		}, text: errLongResponse.Error()},
		{name: "hints without end", response: func(r *http.Request) string {
			return strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 50000)
		}, text: errLongResponse.Error()},
		{name: "nothing", response: func(*http.Request) string { return "" }, text: "unexpected EOF"},
		{name: "truncated header", response: func(r *http.Request) string {
			start, _, _ := strings.Cut(answer(r), "Sec-")
			return start
		}, text: "unexpected EOF"},
		{name: "not HTTP", response: func(*http.Request) string { return "SSH-2.0-x\r\n" }, text: `malformed HTTP response "SSH-2.0-x"`},
		{name: "not HTTP, and long", response: func(*http.Request) string { return strings.Repeat("\x00", 1<<20-2) + "\r\n" },
			text: `malformed HTTP response "` + strings.Repeat(`\x00`, 100)[:75] + "..."},
		{name: "bad header", response: func(r *http.Request) string { return answer(r, "x y z") }, text: "malformed MIME header*"},
		{name: "reading fails inside the first line", d: Dialer{NetDial: func(string, string) (net.Conn, error) {
			return &readConn{r: io.MultiReader(strings.NewReader("HTT"), iotest.ErrReader(io.ErrNoProgress))}, nil
		}}, text: io.ErrNoProgress.Error()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := tt.d
				if d.NetDial == nil {
					d.NetDialContext = pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
						io.WriteString(c, tt.response(r))
						if tt.status == 101 {
							io.Copy(io.Discard, br) // it does not end the connection
						}
					}).NetDialContext
				}
				d.HandshakeTimeout = time.Hour
				start := time.Now()
				c, resp, err := d.Dial("ws://a/", tt.header)
				want := tt.text
				if want == "" {
					want = "websocket: bad handshake"
				}
				got := fmt.Sprint(err)
				if prefix, ok := strings.CutSuffix(want, "*"); ok && strings.HasPrefix(got, prefix) {
					got = want // the rest differs between versions of Go
				}
				if c != nil || got != want || (err == ErrBadHandshake) != (tt.text == "") {
					t.Fatalf("got %v, %T %v; want %q", c, err, err, want)
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
				noneLeft(t)
			})
		})
	}
}

// A response that ends anywhere is none, and neither is one that a connection breaks.
func TestDialTruncatedResponse(t *testing.T) {
	whole := len(answer(&http.Request{Header: http.Header{}}))
	for n := range whole {
		for _, end := range []error{io.EOF, os.ErrDeadlineExceeded} {
			r := &keyedConn{response: func(r *http.Request) string { return answer(r)[:n] }, end: end}
			d := Dialer{NetDial: func(string, string) (net.Conn, error) { return r, nil }}
			if c, resp, err := d.Dial("ws://a", nil); c != nil || resp != nil || err == nil || end != io.EOF && err != end {
				t.Errorf("after %d bytes and %v: %v, %v", n, end, resp, err)
			}
			if !r.closed {
				t.Errorf("after %d bytes and %v: the connection is open", n, end)
			}
		}
	}
}

// keyedConn is a connection that answers one request.
type keyedConn struct {
	readConn
	response func(*http.Request) string
	end      error
	closed   bool
}

func (c *keyedConn) Write(p []byte) (int, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
	if err == nil {
		c.r = io.MultiReader(strings.NewReader(c.response(r)), iotest.ErrReader(c.end))
	}
	return len(p), err
}

func (c *keyedConn) Close() error {
	c.closed = true
	return nil
}

// A context that ends when everything is read already ends the dial still.
func TestDialLateEnd(t *testing.T) {
	cause := errors.New("out of patience")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var end error
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
			io.WriteString(c, answer(r, "Set-Cookie: a=b"))
			_, end = br.ReadByte()
		})
		d.Jar = jarFunc(func() { cancel(cause) })
		if c, resp, err := d.DialContext(ctx, "ws://a", nil); c != nil || resp != nil || !errors.Is(err, cause) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v, %v", c, resp, err)
		}
		if synctest.Wait(); end != io.EOF {
			t.Errorf("the server read %v", end)
		}
	})
}

// The end of a dial over TCP names the two ends of the connection, and not that it was closed.
func TestDialEndsTCP(t *testing.T) {
	cause := errors.New("out of patience")
	ctx, cancel := context.WithCancelCause(t.Context())
	addr := serveConns(t, "tcp", func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		cancel(cause)
		io.Copy(io.Discard, c)
	}).String()
	_, _, err := new(Dialer).DialContext(ctx, "ws://"+addr, nil)
	op, ok := err.(*net.OpError)
	if !ok || op.Op != "dial" || op.Addr.String() != addr || op.Source == nil || !errors.Is(err, cause) || errors.Is(err, net.ErrClosed) {
		t.Errorf("got %T %v", err, err)
	}
}

// The connection is closed as well if its end is not what tells that the context has ended.
func TestDialUnannouncedEnd(t *testing.T) {
	closed := false
	d := Dialer{NetDial: func(string, string) (net.Conn, error) {
		return &closeFuncConn{&readConn{r: strings.NewReader("")}, func() { closed = true }}, nil
	}}
	if _, _, err := d.DialContext(endedContext{t.Context()}, "ws://a", nil); !errors.Is(err, context.Canceled) || !closed {
		t.Errorf("got %v, closed: %v", err, closed)
	}
}

// An endedContext has ended, but its Done channel is open.
type endedContext struct{ context.Context }

func (endedContext) Err() error { return context.Canceled }

// A jarFunc is called for the cookies of a response.
type jarFunc func()

func (f jarFunc) SetCookies(*url.URL, []*http.Cookie) { f() }
func (f jarFunc) Cookies(*url.URL) []*http.Cookie     { return nil }

// Responses that are odd and right.
func TestDialOddResponse(t *testing.T) {
	for _, response := range []func(string) string{
		func(s string) string { return strings.Replace(s, "Upgrade: ", "Upgrade:\r\nUpgrade: ", 1) },
		func(s string) string { return strings.Replace(s, "Upgrade: websocket", "upgrade: h2c, WEBSOCKET", 1) },
		func(s string) string { return strings.Replace(s, "Switching Protocols", "", 1) },
		func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") },
		func(s string) string { return strings.Replace(s, "\r\n", "\r\nTransfer-Encoding: chunked\r\n", 1) },
		func(s string) string { return strings.Replace(s, "\r\n", "\r\nContent-Length: 5\r\n", 1) },
		func(s string) string {
			return strings.Replace(s, "\r\n", "\r\nX: "+strings.Repeat("x", 900<<10)+"\r\n", 1)
		},
		func(s string) string { return "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + s },
	} {
		d := pipeDialer(t, func(c net.Conn, _ *bufio.Reader, r *http.Request) {
			io.WriteString(c, response(answer(r))+"\x81\x05hello")
		})
		c, resp, err := d.Dial("ws://a", nil)
		if err != nil {
			t.Errorf("%.60q: %v", response("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"), err)
			continue
		}
		if body, err := io.ReadAll(resp.Body); len(body) > 0 || err != nil {
			t.Errorf("body %q, %v", body, err)
		}
		if _, p, err := c.ReadMessage(); string(p) != "hello" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
		c.Close()
	}
}

// The error of a connection that ends before the response is that of the connection.
func TestDialEndedResponse(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *net.TCPConn)
		is   error // nil: a *net.OpError
	}{
		{"closed", func(*net.TCPConn) {}, io.ErrUnexpectedEOF},
		{"closed inside the header", func(c *net.TCPConn) { io.WriteString(c, "HTTP/1.1 101 Swi") }, io.ErrUnexpectedEOF},
		{"reset", func(c *net.TCPConn) { c.SetLinger(0) }, nil},
	} {
		addr := serveConns(t, "tcp", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			tt.end(c.(*net.TCPConn))
		})
		_, resp, err := new(Dialer).Dial("ws://"+addr.String(), nil)
		if op, isOp := err.(*net.OpError); resp != nil || tt.is != nil && err != tt.is || tt.is == nil && (!isOp || op.Op != "read" || op.Timeout()) {
			t.Errorf("%s: %v, %T %v", tt.name, resp, err, err)
		}
	}

	// What times out without a deadline of the dial is no end of its context.
	d := Dialer{NetDial: func(string, string) (net.Conn, error) { return brokenConn{}, nil }}
	if _, _, err := d.Dial("ws://a", nil); err != os.ErrDeadlineExceeded {
		t.Errorf("got %T %v", err, err)
	}
	// Before the request is written.
	here, there := net.Pipe()
	there.Close()
	d = Dialer{NetDial: func(string, string) (net.Conn, error) { return here, nil }}
	if _, _, err := d.Dial("ws://a", nil); err != io.ErrClosedPipe {
		t.Errorf("closed at once: %v", err)
	}
}

// readConn is a connection that reads from r.
type readConn struct {
	net.Conn
	r io.Reader
}

func (c *readConn) Read(p []byte) (int, error)  { return c.r.Read(p) }
func (c *readConn) Write(p []byte) (int, error) { return len(p), nil }
func (c *readConn) SetDeadline(time.Time) error { return nil }
func (c *readConn) Close() error                { return nil }

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

// A connection holds none of the memory that its handshake took.
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

// splice copies between two connections until either ends.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(a, b); a.Close() })
	wg.Go(func() { io.Copy(b, a); b.Close() })
	wg.Wait()
}

// httpProxy serves CONNECT on c. It asks for credentials ("user:password", "" for none), tells
// asked which host is wanted, and connects to target in its place.
func httpProxy(t *testing.T, c net.Conn, credentials string, asked chan<- string, target string) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return // the TLS handshake failed
	}
	if r.Method != "CONNECT" || r.Host != r.RequestURI {
		t.Errorf("%s %s of host %s", r.Method, r.RequestURI, r.Host)
	}
	want := ""
	if credentials != "" {
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
	}
	if r.Header.Get("Proxy-Authorization") != want {
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		return
	}
	asked <- r.Host
	out, err := net.Dial("tcp", target)
	if err != nil {
		t.Error(err)
		return
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	splice(c, out)
}

// socksProxy is httpProxy for SOCKS 5 (RFC 1928, RFC 1929).
func socksProxy(t *testing.T, c net.Conn, credentials string, asked chan<- string, target string) {
	read := func(n int) []byte {
		p := make([]byte, n)
		if _, err := io.ReadFull(c, p); err != nil {
			return make([]byte, n)
		}
		return p
	}
	methods := read(int(read(2)[1]))
	if credentials == "" {
		c.Write([]byte{5, 0})
	} else {
		if !slices.Contains(methods, 2) {
			c.Write([]byte{5, 0xff})
			return
		}
		c.Write([]byte{5, 2})
		user := read(int(read(2)[1]))
		password := read(int(read(1)[0]))
		if string(user)+":"+string(password) != credentials {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
	}
	var host string
	switch read(4)[3] {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(int(read(1)[0])))
	}
	asked <- net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(read(2)))))
	out, err := net.Dial("tcp", target)
	if err != nil {
		t.Error(err)
		return
	}
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	splice(c, out)
}

func TestDialProxy(t *testing.T) {
	plain := httptest.NewServer(echoOnce(t, &Upgrader{}))
	defer plain.Close()
	secure := httptest.NewTLSServer(echoOnce(t, &Upgrader{}))
	defer secure.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate()) // valid for example.com and 127.0.0.1
	cert := secure.TLS.Certificates

	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		for _, target := range []*httptest.Server{plain, secure} {
			// The name does not resolve to the server, the proxy knows it.
			host, dial := "example.com:80", "ws://example.com/"
			if target == secure {
				host, dial = "example.com:443", "wss://example.com/"
			}
			for _, credentials := range []string{"", "user:pass word", "user:"} {
				asked := make(chan string, 1)
				addr := serveConns(t, "tcp", func(c net.Conn) {
					proxy := httpProxy
					if strings.HasPrefix(scheme, "socks") {
						proxy = socksProxy
					}
					if scheme == "https" {
						c = tls.Server(c, &tls.Config{Certificates: cert})
					}
					proxy(t, c, credentials, asked, target.Listener.Addr().String())
				}).String()
				t.Run(scheme+" "+dial+" "+credentials, func(t *testing.T) {
					proxy := &url.URL{Scheme: scheme, Host: addr}
					if user, password, ok := strings.Cut(credentials, ":"); ok {
						proxy.User = url.UserPassword(user, password)
					}
					d := Dialer{
						TLSClientConfig: &tls.Config{RootCAs: roots},
						Proxy: func(r *http.Request) (*url.URL, error) {
							if want := strings.Replace(dial, "ws", "http", 1); r.URL.String() != want {
								t.Errorf("Proxy was asked for %s", r.URL)
							}
							return proxy, nil
						},
					}
					d.NetDialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
						if scheme != "https" {
							t.Errorf("NetDialTLSContext dials %s", addr)
						}
						return (&tls.Dialer{Config: d.TLSClientConfig}).DialContext(ctx, network, addr)
					}
					if credentials == "" {
						d.NetDialTLSContext = nil
					}
					c, _, err := d.Dial(dial, nil)
					if err != nil {
						t.Fatal(err)
					}
					if got := <-asked; got != host {
						t.Errorf("the proxy was asked for %s, want %s", got, host)
					}
					if _, ok := c.NetConn().(*tls.Conn); ok != (target == secure || scheme == "https") {
						t.Errorf("NetConn is %T", c.NetConn())
					}
					checkEcho(t, c)

					if credentials == "" {
						return
					}
					proxy.User = url.UserPassword("user", "wrong")
					c, resp, err := d.Dial(dial, nil)
					if c != nil || resp != nil || err == nil || err == ErrBadHandshake {
						t.Fatalf("wrong password: %v, %v", resp, err)
					}
					want := "Proxy Authentication Required"
					if strings.HasPrefix(scheme, "socks") {
						want = "proxy: SOCKS5 proxy at " + addr + " rejected username/password"
					}
					if err.Error() != want {
						t.Errorf("wrong password: %v, want %s", err, want)
					}
				})
			}
		}
	}
}

func TestDialProxyErrors(t *testing.T) {
	proxied := func(s string) Dialer {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return Dialer{Proxy: http.ProxyURL(u)}
	}
	d := Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, io.ErrNoProgress }}
	if _, _, err := d.Dial("ws://a", nil); err != io.ErrNoProgress {
		t.Errorf("Proxy fails: %v", err)
	}
	d = proxied("ftp://p")
	if _, _, err := d.Dial("ws://a", nil); err == nil || err.Error() != "proxy: unknown scheme: ftp" {
		t.Errorf("unknown scheme: %v", err)
	}
	// What the proxy says, or what became of the connection to it. The details are in
	// internal/proxy.
	for _, tt := range []struct{ scheme, answer, text string }{
		{"http", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "Bad Gateway"},
		{"http", "", "unexpected EOF"},
		{"http", "hello\r\n\r\n", `malformed HTTP response "hello"`},
		{"socks5", "\x05\x00\x05\x04\x00\x01", "proxy: SOCKS5 proxy at ADDR failed to connect: host unreachable"},
		{"socks5", "", "proxy: failed to read greeting from SOCKS5 proxy at ADDR: EOF"},
	} {
		addr := serveConns(t, "tcp", func(c net.Conn) {
			io.ReadFull(c, make([]byte, 3))
			io.WriteString(c, tt.answer)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}).String()
		d := proxied(tt.scheme + "://" + addr)
		if _, resp, err := d.Dial("ws://a", nil); resp != nil || err == nil || err.Error() != strings.ReplaceAll(tt.text, "ADDR", addr) {
			t.Errorf("%s %q: %v, want %q", tt.scheme, tt.answer, err, tt.text)
		}
	}
}

// What the server sends behind the proxy's answer, in one segment with it, is the response.
func TestDialProxyEarlyServer(t *testing.T) {
	for scheme, answers := range map[string][]string{
		"http":   {"HTTP/1.1 200 OK\r\nX: y\r\n\r\n"},
		"socks5": {"\x05\x00", "\x05\x00\x00\x03\x01a\x00\x50"},
	} {
		// A response cannot answer a key that was not sent yet.
		const response = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno"
		d := Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: "p"}), NetDial: func(string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				p := make([]byte, 4096)
				for i, a := range answers {
					there.Read(p)
					if i == len(answers)-1 {
						a += response
					}
					go io.WriteString(there, a)
				}
				io.Copy(io.Discard, there)
			}()
			return here, nil
		}}
		_, resp, err := d.Dial("ws://a", nil)
		if err != ErrBadHandshake {
			t.Errorf("%s: %v", scheme, err)
			continue
		}
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 503 || string(body) != "no" {
			t.Errorf("%s: %s %q", scheme, resp.Status, body)
		}
	}
}

// Where a proxy is dialled, and with which function.
func TestDialProxyFunctions(t *testing.T) {
	for _, tt := range []struct{ proxy, addr, by string }{
		{"http://p", "p:80", "NetDialContext"},
		{"http://p:1", "p:1", "NetDialContext"},
		{"http://[::1]", "[::1]:80", "NetDialContext"},
		{"https://p", "p:443", "NetDialTLSContext"},
		{"socks5://p", "p:1080", "NetDialContext"},
	} {
		for _, target := range []string{"ws://a", "wss://a"} {
			var got string
			by := func(name string) func(context.Context, string, string) (net.Conn, error) {
				return func(_ context.Context, network, addr string) (net.Conn, error) {
					got += name + " " + addr
					return nil, io.ErrNoProgress
				}
			}
			u, _ := url.Parse(tt.proxy)
			d := Dialer{Proxy: http.ProxyURL(u), NetDialContext: by("NetDialContext"), NetDialTLSContext: by("NetDialTLSContext")}
			if _, _, err := d.Dial(target, nil); !errors.Is(err, io.ErrNoProgress) {
				t.Errorf("%s by %s: %v", target, tt.proxy, err)
			}
			if want := tt.by + " " + tt.addr; got != want {
				t.Errorf("%s by %s: dialled with %s, want %s", target, tt.proxy, got, want)
			}
		}
	}
}

// A program that has the net.Conn of its dial function may set deadlines on it; they end no later
// write.
func TestDialFunctionSetsDeadlines(t *testing.T) {
	s := httptest.NewServer(echoOnce(t, &Upgrader{}))
	defer s.Close()
	var nc net.Conn
	d := Dialer{NetDial: func(network, addr string) (c net.Conn, err error) {
		nc, err = net.Dial(network, addr)
		return nc, err
	}}
	c, _, err := d.Dial(wsURL(s.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	nc.SetWriteDeadline(time.Now())
	if err := c.WriteMessage(TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	wantRead(t, c, "hello")
}
