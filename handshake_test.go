package websocket

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The keys of RFC 6455 §1.3.
const (
	sampleKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// The client's handshake of RFC 6455 §1.2.
const sampleRequest = "GET /chat HTTP/1.1\r\n" +
	"Host: server.example.com\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Origin: http://example.com\r\n" +
	"Sec-WebSocket-Protocol: chat, superchat\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"\r\n"

// parseRequest parses a request, as an http.Server would, after replacing parts of it.
func parseRequest(t testing.TB, text string, replace ...string) *http.Request {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("%q is not in the request", replace[i])
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.NewReplacer(replace...).Replace(text))))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// pipeListener is a net.Listener whose connections come from dial.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
func (l *pipeListener) dial() net.Conn {
	here, there := net.Pipe()
	l.conns <- there
	return here
}

// servePipes runs an http.Server in memory until the test ends.
func servePipes(t testing.TB, s *http.Server) *pipeListener {
	l := &pipeListener{make(chan net.Conn), make(chan struct{})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l
}

// readHead reads a response up to its empty line.
func readHead(t testing.TB, r io.Reader) string {
	t.Helper()
	var b []byte
	for one := make([]byte, 1); !bytes.HasSuffix(b, []byte("\r\n\r\n")); b = append(b, one...) {
		if _, err := io.ReadFull(r, one); err != nil {
			t.Fatalf("%v after %q", err, b)
		}
	}
	return string(b)
}

// RFC 6455 §1.2: the RFC's example, byte for byte.
func TestHandshakeExample(t *testing.T) {
	u := Upgrader{Subprotocols: []string{"chat"}, Origins: []string{"http://example.com"}}
	l := servePipes(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if c.Subprotocol() != "chat" {
			t.Errorf("subprotocol %q", c.Subprotocol())
		}
	})})
	c := l.dial()
	defer c.Close()
	io.WriteString(c, sampleRequest)
	const want = "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
		"Sec-WebSocket-Protocol: chat\r\n" +
		"\r\n"
	if got := readHead(t, c); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// RFC 6455 §1.3.
func TestAcceptKey(t *testing.T) {
	if got := string(appendAccept(nil, sampleKey)); got != sampleAccept {
		t.Errorf("got %s, want %s", got, sampleAccept)
	}
}

func TestKey(t *testing.T) {
	for _, tt := range []struct {
		key string
		ok  bool
	}{
		{sampleKey, true},
		{"AQIDBAUGBwgJCgsMDQ4PEC==", true}, // RFC 6455 erratum 3150: the sample key of §4.1
		{"AQIDBAUGBwgJCgsMDQ4PEA==", true},
		{"", false},
		{"dGhlIHNhbXBsZSBub25jZQ=", false},
		{"dGhlIHNhbXBsZSBub25jZQ", false},
		{"dGhlIHNhbXBsZSBub25jZXM=", false},  // 17 bytes
		{"dGhlIHNhbXBsZSBub25j", false},      // 15 bytes
		{"dGhlIHNhbXBsZSBub25j!Q==", false},  // not base64
		{"dGhlIHNhbXBsZSBub25jZQ==x", false}, // something behind it
		{"WHQ4eXhscUtKYjBvOGN3WEdtOEQ=", false},
	} {
		if ok := isValidKey(tt.key); ok != tt.ok {
			t.Errorf("isValidKey(%q) = %v", tt.key, ok)
		}
	}
	seen := map[string]bool{}
	for range 100 {
		key := newKey()
		if !isValidKey(key) || seen[key] {
			t.Fatalf("newKey returned %q", key)
		}
		seen[key] = true
	}
}

func TestTokenList(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"upgrade"}, true},
		{[]string{"Upgrade"}, true},
		{[]string{"UPGRADE"}, true},
		{[]string{"keep-alive, Upgrade"}, true},
		{[]string{"Upgrade,keep-alive"}, true},
		{[]string{"keep-alive", "Upgrade"}, true},
		{[]string{" \tupgrade\t "}, true},
		{[]string{",, upgrade,"}, true},
		{[]string{"upgrades"}, false},
		{[]string{"notupgrade"}, false},
		{[]string{"upgrade/1"}, false},
		{[]string{"up grade"}, false},
		{[]string{"up", "grade"}, false},
		{[]string{"upgrade\u212a"}, false},
		{[]string{"upgrad\u0435"}, false},
	} {
		if got := hasToken(tt.lines, "upgrade"); got != tt.want {
			t.Errorf("hasToken(%q) = %v", tt.lines, got)
		}
	}
	if hasToken([]string{"to\u212aen"}, "token") {
		t.Error("the Kelvin sign is taken for a k")
	}
}

func FuzzTokenList(f *testing.F) {
	for _, s := range []string{"", "upgrade", "keep-alive, Upgrade", ",,\t a , ,b", "a b", "\"a,b\"", "\x80\xff,\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		elements := listElements([]string{line})
		for _, e := range elements {
			if !hasToken([]string{line}, e) || !hasToken([]string{line}, swapCase(e)) {
				t.Errorf("element %q of %q not found", e, line)
			}
			if strings.Contains(e, ",") || e != trimOWS(e) || e == "" {
				t.Errorf("%q is not one element", e)
			}
		}
		// However the elements are put on lines, the list is the same.
		if got := listElements([]string{strings.Join(elements, " ,\t")}); !slices.Equal(got, elements) {
			t.Errorf("%q became %q", elements, got)
		}
		if got := listElements(elements); !slices.Equal(got, elements) {
			t.Errorf("%q became %q on lines of their own", elements, got)
		}
		if hasToken([]string{line}, "token,") {
			t.Error("a comma is part of a token")
		}
	})
}

func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= lower(c) && lower(c) <= 'z' {
			b[i] ^= 'a' - 'A'
		}
	}
	return string(b)
}

func TestIsWebSocketUpgrade(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   bool
	}{
		{http.Header{}, false},
		{http.Header{"Upgrade": {"websocket"}}, false},
		{http.Header{"Connection": {"upgrade"}}, false},
		{http.Header{"Connection": {"upgRade"}, "Upgrade": {"WebSocket"}}, true},
		{http.Header{"Connection": {"keep-alive, upgrade"}, "Upgrade": {"h2c", "websocket"}}, true},
		{http.Header{"Connection": {"notupgrade"}, "Upgrade": {"websocket"}}, false},
	} {
		if got := IsWebSocketUpgrade(&http.Request{Header: tt.header}); got != tt.want {
			t.Errorf("%v: %v", tt.header, got)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	for _, tt := range []struct{ lines, want []string }{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"foo"}, []string{"foo"}},
		{[]string{"foo,bar"}, []string{"foo", "bar"}},
		{[]string{" foo, bar "}, []string{"foo", "bar"}},
		{[]string{"foo,,bar,"}, []string{"foo", "bar"}},
		{[]string{"foo", "bar, baz"}, []string{"foo", "bar", "baz"}},
	} {
		r := &http.Request{Header: http.Header{"Sec-Websocket-Protocol": tt.lines}}
		if got := Subprotocols(r); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.lines, got, tt.want)
		}
	}
}

// What a program reads from its client's connection, without a server, is upgraded if the client was
// given a URL without a host: test packages do that.
func TestCheckRequestReadByProgram(t *testing.T) {
	if no := checkRequest(parseRequest(t, sampleRequest, "server.example.com", "")); no.status != 0 {
		t.Errorf("got %d %q", no.status, no.reason)
	}
}

func TestCheckRequest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replace []string
		status  int
		text    string
	}{
		{"§4.2.1/good", nil, 0, ""},
		{"§4.2.1-1/POST", []string{"GET", "POST"}, 405, "not GET"},
		{"§4.2.1-1/HEAD", []string{"GET", "HEAD"}, 405, "not GET"},
		{"§4.2.1-1/HTTP 1.0", []string{"HTTP/1.1", "HTTP/1.0"}, 505, "HTTP/1.1 is needed"},
		{"§4.2.1-1/body", []string{"Origin", "Content-Length: 5\r\nOrigin", "13\r\n\r\n", "13\r\n\r\nhello"}, 400, "body"},
		{"§4.2.1-1/chunked body", []string{"Origin", "Transfer-Encoding: chunked\r\nOrigin", "13\r\n\r\n", "13\r\n\r\n0\r\n\r\n"}, 400, "body"},
		{"§4.2.1-1/Content-Length 0", []string{"Origin", "Content-Length: 0\r\nOrigin"}, 0, ""},
		{"§4.2.1-2/no Host", []string{"Host: server.example.com\r\n", ""}, 400, "Host"},
		{"§4.2.1-2/empty Host", []string{"server.example.com", ""}, 400, "Host"},
		{"§4.2.1-3/no Upgrade", []string{"Upgrade: websocket\r\n", ""}, 400, "'websocket' token not found in 'Upgrade'"},
		{"§4.2.1-3/Upgrade list", []string{"Upgrade: websocket", "Upgrade: h2c, WebSocket"}, 0, ""},
		{"§4.2.1-3/Upgrade list with a version", []string{"Upgrade: websocket", "Upgrade: TLS/1.0, websocket"}, 0, ""},
		{"§4.2.1-3/Upgrade on two lines", []string{"Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: WEBSOCKET"}, 0, ""},
		{"§4.2.1-3/Upgrade another", []string{"Upgrade: websocket", "Upgrade: websockets"}, 400, "'websocket' token"},
		{"§4.2.1-4/no Connection", []string{"Connection: Upgrade\r\n", ""}, 400, "'upgrade' token not found in 'Connection'"},
		{"§4.2.1-4/Connection list", []string{"Connection: Upgrade", "Connection: keep-alive, upgrade"}, 0, ""},
		{"§4.2.1-4/Connection on two lines", []string{"Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"}, 0, ""},
		{"§4.2.1-4/Connection another", []string{"Connection: Upgrade", "Connection: notupgrade"}, 400, "'upgrade' token"},
		{"§4.2.1-6/no version", []string{"Sec-WebSocket-Version: 13\r\n", ""}, 426, "version"},
		{"§4.2.1-6/version 8", []string{"Version: 13", "Version: 8"}, 426, "13 not found"},
		{"§4.2.1-6/version 013", []string{"Version: 13", "Version: 013"}, 426, "13 not found"},
		{"§4.2.1-6/version list", []string{"Version: 13", "Version: 13, 8"}, 426, "13 not found"},
		{"§11.3.5/two versions", []string{"Origin", "Sec-WebSocket-Version: 13\r\nOrigin"}, 426, "send that header once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := parseRequest(t, sampleRequest, tt.replace...)
			r.RemoteAddr = "192.0.2.1:1234"
			no := checkRequest(r)
			if no.status != tt.status || !strings.Contains(no.reason, tt.text) {
				t.Errorf("got %d %q, want %d %q", no.status, no.reason, tt.status, tt.text)
			}
			if tt.status != 0 && (!strings.HasPrefix(no.reason, "websocket: ") || no.answer == "") {
				t.Errorf("texts %q and %q", no.reason, no.answer)
			}
		})
	}
}

// RFC 6455 §4.2.1, item 5.
func TestCheckKey(t *testing.T) {
	const line = "Sec-WebSocket-Key: " + sampleKey + "\r\n"
	for _, tt := range []struct {
		name    string
		replace []string
		status  int
	}{
		{"§4.2.1-5/good", nil, 0},
		{"§4.2.1-5/none", []string{line, ""}, 400},
		{"§4.2.1-5/short", []string{sampleKey, "AAAA"}, 400},
		{"§4.2.1-5/padding bits", []string{sampleKey, "AQIDBAUGBwgJCgsMDQ4PEC=="}, 0},
		{"§11.3.1/two", []string{"Origin", line + "Origin"}, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := parseRequest(t, sampleRequest, tt.replace...)
			key, no := checkKey(r)
			if no.status != tt.status || tt.status != 0 && !strings.Contains(no.reason, "'Sec-WebSocket-Key' header must be Base64") {
				t.Errorf("got %d %q, want %d", no.status, no.reason, tt.status)
			}
			if tt.status == 0 && (len(key) != keyLen || key != r.Header.Get("Sec-WebSocket-Key")) {
				t.Errorf("key %q", key)
			}
		})
	}
}

// A request that a program made itself, without a protocol version, need not have a Host.
func TestCheckRequestMade(t *testing.T) {
	r := parseRequest(t, sampleRequest)
	if no := checkRequest(&http.Request{Method: http.MethodGet, Header: r.Header}); no.status != 0 {
		t.Errorf("got %d %q", no.status, no.reason)
	}
}

func TestCheckRequestHTTP2(t *testing.T) {
	r := parseRequest(t, sampleRequest)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	if no := checkRequest(r); no.status != 0 {
		t.Errorf("a request that was translated to HTTP/1.1: %d %q", no.status, no.reason)
	}
	for _, method := range []string{http.MethodGet, http.MethodConnect} {
		r.Method = method
		delete(r.Header, "Connection")
		delete(r.Header, "Upgrade")
		if no := checkRequest(r); no.status != 400 || !strings.Contains(no.reason, "wrap the server's handler with websocket.HTTP2Handler") {
			t.Errorf("%s: got %d %q", method, no.status, no.reason)
		}
	}
}

func TestIsSubprotocol(t *testing.T) {
	for _, tt := range []struct {
		name string
		ok   bool
	}{
		{"chat", true},
		{"SPDY/3.1+portforward.k8s.io", true},
		{"v4.channel.k8s.io", true},
		{"base64url.bearer.authorization.k8s.io.dG9rZW4=", true},
		{`(a):<b>@"c"\/[d]?={e};`, true},
		{"caf\u00e9", true},
		{"\xff", true},
		{"", false},
		{"a,b", false},
		{"a b", false},
		{" a", false},
		{"a\t", false},
		{"a\r\nb", false},
		{"a\x00", false},
		{"a\x7f", false},
		{"a\u0085b", false},
		{"a\u00a0b", false},
		{"a\u2028b", false},
	} {
		if ok := isSubprotocol(tt.name); ok != tt.ok {
			t.Errorf("%q: %v", tt.name, ok)
		}
	}
}

func TestExcerpt(t *testing.T) {
	for _, tt := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 10, `""`},
		{"short", 5, `"short"`},
		{"longer", 5, `"longe"...`},
		{"longer", 0, `""...`},
		{"abc\u20ac", 6, "\"abc\u20ac\""},
		{"abc\u20ac", 5, `"abc"...`},
		{"abc\u20ac", 4, `"abc"...`},
		{"abc\u20acd", 6, "\"abc\u20ac\"..."},
		{"\U0001f600x", 3, `""...`},
		{strings.Repeat("\x80", 9), 5, `"\x80\x80\x80\x80\x80"...`},
		{"a\r\n\x1b[31m\u202e\"", 100, `"a\r\n\x1b[31m\u202e\""`},
	} {
		if got := excerpt(tt.s, tt.n); got != tt.want {
			t.Errorf("%q, %d: got %s, want %s", tt.s, tt.n, got, tt.want)
		}
	}
}

// Programs compare the error with == and its text.
func TestBadHandshakeError(t *testing.T) {
	if ErrBadHandshake.Error() != "websocket: bad handshake" {
		t.Error(ErrBadHandshake)
	}
}

func TestCheckResponse(t *testing.T) {
	good := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", sampleAccept)
	for _, tt := range []struct {
		name        string
		replace     []string
		offered     []string
		subprotocol string
		ok          bool
	}{
		{"§4.1/good", nil, nil, "", true},
		{"§4.1-1/200", []string{"101 Switching Protocols", "200 OK"}, nil, "", false},
		{"§4.1-1/302", []string{"101 Switching Protocols", "302 Found"}, nil, "", false},
		{"§4.1-1/unknown", []string{"101 Switching Protocols", "599 Whatever"}, nil, "", false},
		{"§4.1-2/no Upgrade", []string{"Upgrade: websocket\r\n", ""}, nil, "", false},
		{"§4.1-2/another", []string{"Upgrade: websocket", "Upgrade: h2c"}, nil, "", false},
		{"§4.1-2/case and list", []string{"Upgrade: websocket", "Upgrade: foo, WebSocket"}, nil, "", true},
		{"§4.1-3/no Connection", []string{"Connection: Upgrade\r\n", ""}, nil, "", false},
		{"§4.1-3/another", []string{"Connection: Upgrade", "Connection: keep-alive"}, nil, "", false},
		{"§4.1-3/list", []string{"Connection: Upgrade", "Connection: upgrade, keep-alive"}, nil, "", true},
		{"§4.1-4/no Accept", []string{"Sec-WebSocket-Accept: " + sampleAccept + "\r\n", ""}, nil, "", false},
		{"§4.1-4/another key's", []string{sampleAccept, "AAAALMBiTxaQ9kYGzzhZRbK+xOo="}, nil, "", false},
		{"§4.1-4/other case", []string{sampleAccept, strings.ToLower(sampleAccept)}, nil, "", false},
		{"§11.3.3/two", []string{"Connection", "Sec-WebSocket-Accept: " + sampleAccept + "\r\nConnection"}, nil, "", false},
		{"§4.1-6/chosen", []string{"Connection", "Sec-WebSocket-Protocol: b\r\nConnection"}, []string{"a", "b"}, "b", true},
		{"§4.1-6/none chosen", nil, []string{"a", "b"}, "", true},
		{"§4.1-6/unoffered", []string{"Connection", "Sec-WebSocket-Protocol: c\r\nConnection"}, []string{"a", "b"}, "", false},
		{"§4.1-6/no name", []string{"Connection", "Sec-WebSocket-Protocol: \r\nConnection"}, []string{"a"}, "", true},
		{"§4.1-6/none offered", []string{"Connection", "Sec-WebSocket-Protocol: c\r\nConnection"}, nil, "", false},
		{"§4.1-6/not a token", []string{"Connection", "Sec-WebSocket-Protocol: SPDY/3.1+x\r\nConnection"}, []string{"SPDY/3.1+x"}, "SPDY/3.1+x", true},
		{"§4.1-6/other case", []string{"Connection", "Sec-WebSocket-Protocol: A\r\nConnection"}, []string{"a"}, "", false},
		{"§4.1-6/a list", []string{"Connection", "Sec-WebSocket-Protocol: a, b\r\nConnection"}, []string{"a", "b"}, "", false},
		{"§11.3.4/two", []string{"Connection", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\nConnection"}, []string{"a"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(strings.NewReplacer(tt.replace...).Replace(good))), nil)
			if err != nil {
				t.Fatal(err)
			}
			subprotocol, err := checkResponse(resp, sampleKey, tt.offered)
			if tt.ok && err != nil || !tt.ok && err != ErrBadHandshake {
				t.Errorf("got %v", err)
			}
			if subprotocol != tt.subprotocol {
				t.Errorf("subprotocol %q", subprotocol)
			}
		})
	}
}
