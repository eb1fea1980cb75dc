package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
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

// pipeDialer returns a Dialer whose server is a function at the other end of a net.Pipe. The request
// has been read when it is called; the connection is closed when it returns.
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

// noTransport fails the test if a goroutine of an http.Transport is left in its bubble.
func noTransport(t testing.TB) {
	t.Helper()
	synctest.Wait()
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, stack := range bytes.Split(stacks, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("synctest bubble")) && (bytes.Contains(stack, []byte("net/http.(*Transport)")) || bytes.Contains(stack, []byte("persistConn"))) {
			t.Errorf("left behind: %s", stack)
		}
	}
}

func wsURL(s string) string { return "ws" + strings.TrimPrefix(s, "http") }

// RFC 6455 §3.
func TestDialURL(t *testing.T) {
	for _, tt := range []struct{ url, text string }{
		{"ftp://a/", `"ftp"`},
		{"//a/", `""`},
		{"a", `""`},
		{"", `""`},
		{"ws://user@a/", "user name"},
		{"ws://user:secret@a/", "user name"},
		{"wss://a/#b", "fragment"},
		{"ws://a/#", "fragment"},
		{"ws:///path", "no host"},
		{"ws:a", "no host"},
		{"ws://a b/", "invalid character"},
		{"ws://a:b/", "invalid port"},
	} {
		d := Dialer{NetDial: func(network, addr string) (net.Conn, error) {
			t.Errorf("%s was dialled", tt.url)
			return nil, io.EOF
		}}
		c, resp, err := d.Dial(tt.url, nil)
		if c != nil || resp != nil || err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
	for _, tt := range []struct{ url, addr string }{
		{"ws://a", "a:80"},
		{"http://a/", "a:80"},
		{"ws://a:8080/x?y#"[:15], "a:8080"},
		{"WS://[::1]/", "[::1]:80"},
		{"ws://[::1]:81/", "[::1]:81"},
		{"wss://a", "a:443"},
		{"https://a:444/", "a:444"},
		{"wss://[::1]/", "[::1]:443"},
		{"ws://b\u00fccher.example/", "xn--bcher-kva.example:80"},
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
		{"repeated subprotocols", Dialer{Subprotocols: []string{"b", "c", "b", "B", "c"}}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Key: KEY\r\nSec-WebSocket-Protocol: b, c, B\r\n" +
				"Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"takeover", Dialer{EnableCompression: true, Compression: CompressionOptions{ContextTakeover: true}}, "ws://a", nil,
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
				"Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
		{"subprotocols by header", Dialer{Jar: jar}, "ws://a", http.Header{"Sec-Websocket-Protocol": {"b, c", "d"}, "Cookie": {"mine=3"}},
			"GET / HTTP/1.1\r\nHost: a\r\n" + agent + "Connection: Upgrade\r\nCookie: mine=3\r\nSec-WebSocket-Key: KEY\r\n" +
				"Sec-WebSocket-Protocol: b, c\r\nSec-WebSocket-Protocol: d\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"},
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
	if _, _, err := d.Dial("ws://a", http.Header{"X": {"a\r\nb"}}); err == nil || !strings.Contains(err.Error(), `"X"`) {
		t.Errorf("line break: %v", err)
	}
	d.Subprotocols = []string{"a", "b c"}
	if _, _, err := d.Dial("ws://a", nil); err == nil || !strings.Contains(err.Error(), `"b c" in Dialer.Subprotocols is not a token`) {
		t.Errorf("subprotocol: %v", err)
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

func TestDialTrace(t *testing.T) {
	s := httptest.NewTLSServer(echoOnce(t, &Upgrader{}))
	defer s.Close()
	var events []string
	var traced net.Conn
	event := func(name string) { events = append(events, name) }
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { event("GetConn " + hostPort) },
		ConnectStart:         func(network, addr string) { event("ConnectStart") },
		ConnectDone:          func(network, addr string, err error) { event("ConnectDone") },
		TLSHandshakeStart:    func() { event("TLSHandshakeStart") },
		TLSHandshakeDone:     func(tls.ConnectionState, error) { event("TLSHandshakeDone") },
		GotConn:              func(info httptrace.GotConnInfo) { event("GotConn"); traced = info.Conn },
		WroteHeaders:         func() { event("WroteHeaders") },
		WroteRequest:         func(httptrace.WroteRequestInfo) { event("WroteRequest") },
		GotFirstResponseByte: func() { event("GotFirstResponseByte") },
	})
	d := Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	c, _, err := d.DialContext(ctx, wsURL(s.URL), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"GetConn " + s.Listener.Addr().String(), "ConnectStart", "ConnectDone", "TLSHandshakeStart", "TLSHandshakeDone",
		"GotConn", "WroteHeaders", "WroteRequest", "GotFirstResponseByte"}
	if !slices.Equal(events, want) || traced != c.NetConn() {
		t.Errorf("events %q, connection %T", events, traced)
	}
	checkEcho(t, c)
}
