package websocket

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainRequest is sampleRequest without the headers that a client need not send.
var plainRequest = strings.NewReplacer("Origin: http://example.com\r\n", "", "Sec-WebSocket-Protocol: chat, superchat\r\n", "").Replace(sampleRequest)

// refused sends a request to a server whose handler must refuse it, and returns the answer and the
// handler's error.
func refused(t *testing.T, handler func(http.ResponseWriter, *http.Request) (*Conn, error), text string) (*http.Response, string, error) {
	t.Helper()
	result := make(chan error, 1)
	l := servePipes(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := handler(w, r)
		if err == nil {
			c.Close()
		}
		result <- err
	})})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, text)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body), <-result
}

func TestUpgradeRefused(t *testing.T) {
	upgrade := func(u Upgrader, h http.Header) func(http.ResponseWriter, *http.Request) (*Conn, error) {
		return func(w http.ResponseWriter, r *http.Request) (*Conn, error) { return u.Upgrade(w, r, h) }
	}
	edit := func(replace ...string) string { return strings.NewReplacer(replace...).Replace(sampleRequest) }
	for _, tt := range []struct {
		name    string
		u       Upgrader
		header  http.Header
		request string
		status  int
		text    string
		fields  map[string]string // headers of the answer
	}{
		{"§4.2.1/method", Upgrader{}, nil, edit("GET", "PUT"), 405, "not GET", map[string]string{"Allow": "GET"}},
		{"§4.2.1/no upgrade", Upgrader{}, nil, edit("Upgrade: websocket\r\n", ""), 400, "'Upgrade' header", nil},
		{"§4.4/version", Upgrader{}, nil, edit("13", "8"), 426, "version", map[string]string{"Sec-WebSocket-Version": "13", "Upgrade": "websocket", "Connection": "Upgrade"}},
		{"§4.2.1/HTTP 1.0", Upgrader{}, nil, edit("HTTP/1.1", "HTTP/1.0"), 505, "HTTP/1.0", nil},
		{"§4.2.2-4/origin", Upgrader{}, nil, sampleRequest, 403, `add "http://example.com" to Upgrader.Origins`, nil},
		{"§4.2.2-4/CheckOrigin", Upgrader{Origins: []string{"*"}, CheckOrigin: func(*http.Request) bool { return false }}, nil, sampleRequest, 403, "Upgrader.CheckOrigin", nil},
		{"origin/two", Upgrader{Origins: []string{"*"}}, nil, edit("Origin:", "Origin: http://example.com\r\nOrigin:"), 403, "more than one Origin", nil},
		{"origin/two and CheckOrigin", Upgrader{CheckOrigin: func(*http.Request) bool { return true }}, nil,
			edit("Origin:", "Origin: http://evil.example\r\nOrigin:"), 403, "more than one Origin", nil},
		{"subprotocol/none offered", Upgrader{Subprotocols: []string{"chat"}, RequireSubprotocol: true}, nil, plainRequest, 400, `one of ["chat"]`, nil},
		{"subprotocol/others offered", Upgrader{Subprotocols: []string{"x", "y"}, RequireSubprotocol: true, Origins: []string{"*"}}, nil, sampleRequest, 400, `["chat" "superchat"]`, nil},
		{"subprotocol/none known", Upgrader{RequireSubprotocol: true}, nil, plainRequest, 400, "subprotocols", nil},
		{"response header/subprotocol", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"a b"}}, plainRequest, 500, "not a token", nil},
		{"response header/extensions", Upgrader{}, http.Header{"Sec-Websocket-Extensions": {"foo"}}, plainRequest, 500, "Sec-WebSocket-Extensions", nil},
		{"response header/extensions as in the RFC", Upgrader{}, http.Header{"Sec-WebSocket-Extensions": {"foo"}}, plainRequest, 500, "Sec-WebSocket-Extensions", nil},
		{"response header/name", Upgrader{}, http.Header{"X Y": {"1"}}, plainRequest, 500, "not a token", nil},
		{"response header/name with a line break", Upgrader{}, http.Header{"X: 1\r\nY": {"1"}}, plainRequest, 500, "not a token", nil},
		{"response header/empty name", Upgrader{}, http.Header{"": {"1"}}, plainRequest, 500, "not a token", nil},
		{"response header/CR LF", Upgrader{}, http.Header{"X": {"1", "2\r\nSet-Cookie: a=b"}}, plainRequest, 500, "control character", nil},
		{"response header/CR", Upgrader{}, http.Header{"X": {"1\r"}}, plainRequest, 500, "control character", nil},
		{"response header/LF", Upgrader{}, http.Header{"X": {"1\n"}}, plainRequest, 500, "control character", nil},
		{"response header/DEL", Upgrader{}, http.Header{"X": {"1\x7f"}}, plainRequest, 500, "control character", nil},
		{"response header/NUL", Upgrader{}, http.Header{"X": {"1\x00"}}, plainRequest, 500, "control character", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body, err := refused(t, upgrade(tt.u, tt.header), tt.request)
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d", resp.StatusCode, tt.status)
			}
			reason, ok := err.(HandshakeError)
			if !ok || !strings.Contains(reason.Error(), tt.text) {
				t.Errorf("error %T %v, want a HandshakeError with %q", err, err, tt.text)
			}
			if strings.TrimSpace(body) != reason.Error() {
				t.Errorf("body %q, error %q", body, reason)
			}
			for name, want := range tt.fields {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// The hook answers; the headers that go with the status are there already.
func TestUpgradeErrorHook(t *testing.T) {
	u := Upgrader{Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
		if _, ok := reason.(HandshakeError); !ok || status != 405 || r.Method != "POST" {
			t.Errorf("status %d, reason %T %v", status, reason, reason)
		}
		w.WriteHeader(status)
		io.WriteString(w, "no")
	}}
	resp, body, err := refused(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
		return u.Upgrade(w, r, nil)
	}, strings.Replace(plainRequest, "GET", "POST", 1))
	if resp.StatusCode != 405 || body != "no" || resp.Header.Get("Allow") != "GET" {
		t.Errorf("got %d %v %q", resp.StatusCode, resp.Header, body)
	}
	if _, ok := err.(HandshakeError); !ok {
		t.Errorf("error %T %v", err, err)
	}
}

func TestDeprecatedUpgrade(t *testing.T) {
	// It leaves the answer to the caller.
	resp, body, err := refused(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
		c, err := Upgrade(w, r, nil, 1024, 1024)
		if _, ok := err.(HandshakeError); ok {
			http.Error(w, "mine", http.StatusTeapot)
		}
		return c, err
	}, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if resp.StatusCode != http.StatusTeapot || body != "mine\n" || err == nil {
		t.Errorf("got %d %q, %v", resp.StatusCode, body, err)
	}
	// It does not look at the origin.
	if got := accepted(t, Upgrader{}, nil, sampleRequest, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
		return Upgrade(w, r, http.Header{"Sec-Websocket-Protocol": {"chat"}}, 1024, 1024)
	}); !strings.HasSuffix(got, "\r\nSec-WebSocket-Protocol: chat\r\n\r\n") {
		t.Errorf("got %q", got)
	}
}

// accepted sends a request to a server that must upgrade it, and returns the 101.
func accepted(t *testing.T, u Upgrader, h http.Header, text string, upgrade ...func(http.ResponseWriter, *http.Request) (*Conn, error)) string {
	t.Helper()
	l := servePipes(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do := func(w http.ResponseWriter, r *http.Request) (*Conn, error) { return u.Upgrade(w, r, h) }
		if upgrade != nil {
			do = upgrade[0]
		}
		c, err := do(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		c.Close()
	})})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, text)
	return readHead(t, c)
}

func TestUpgradeResponse(t *testing.T) {
	const start = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + sampleAccept + "\r\n"
	const pmd = "Sec-WebSocket-Extensions: permessage-deflate"
	offer := strings.Replace(sampleRequest, "Origin: http://example.com", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10", 1)
	for _, tt := range []struct {
		name    string
		u       Upgrader
		header  http.Header
		request string
		want    string // after start
	}{
		{"bare", Upgrader{}, nil, plainRequest, ""},
		{"origin", Upgrader{Origins: []string{"http://*.com"}}, nil, sampleRequest, ""},
		{"CheckOrigin overrides", Upgrader{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "http://example.com" }}, nil, sampleRequest, ""},
		{"subprotocol/the server prefers", Upgrader{Subprotocols: []string{"superchat", "chat"}}, nil, offer, "Sec-WebSocket-Protocol: superchat\r\n"},
		{"subprotocol/no match", Upgrader{Subprotocols: []string{"x"}}, nil, offer, ""},
		{"subprotocol/case counts", Upgrader{Subprotocols: []string{"Chat"}}, nil, offer, ""},
		{"subprotocol/required", Upgrader{Subprotocols: []string{"x", "chat"}, RequireSubprotocol: true}, nil, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/by header", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"chat", "x"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/by header as in the RFC", Upgrader{}, http.Header{"Sec-WebSocket-Protocol": {"chat"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/header against Upgrader", Upgrader{Subprotocols: []string{"chat"}}, http.Header{"Sec-Websocket-Protocol": {"a, b"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/header against empty Upgrader", Upgrader{Subprotocols: []string{}}, http.Header{"Sec-Websocket-Protocol": {"chat"}}, offer, ""},
		{"compression/off", Upgrader{}, nil, offer, ""},
		{"compression/on", Upgrader{EnableCompression: true}, nil, offer, pmd + snct + cnct + smwb + "=10\r\n"},
		{"compression/takeover", Upgrader{EnableCompression: true, Compression: CompressionOptions{ContextTakeover: true}}, nil, offer, pmd + smwb + "=10\r\n"},
		{"compression/not offered", Upgrader{EnableCompression: true}, nil, plainRequest, ""},
		{"header/sorted", Upgrader{}, http.Header{"X-B": {"2", "1"}, "Set-Cookie": {"a=b; Path=/"}, "X-A": {"\tx\u00e9"}, "X-C": {""}}, plainRequest, "Set-Cookie: a=b; Path=/\r\nX-A: \tx\u00e9\r\nX-B: 2\r\nX-B: 1\r\nX-C: \r\n"},
		{"header/ours", Upgrader{}, http.Header{"Connection": {"keep-alive"}, "upgrade": {"h2c"}, "Sec-WebSocket-Accept": {"x"}, "Sec-Websocket-Accept": {"x"}, "Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "X": {"1"}}, plainRequest, "X: 1\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := accepted(t, tt.u, tt.header, tt.request); got != start+tt.want+"\r\n" {
				t.Errorf("got %q, want %q and an empty line", got, start+tt.want)
			}
		})
	}
}

// A client may send frames before it has read the 101.
func TestUpgradeGluedFrames(t *testing.T) {
	got := make(chan string, 1)
	l := servePipes(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for range 2 {
			_, p, err := c.ReadMessage()
			got <- string(p)
			if err != nil {
				t.Error(err)
				return
			}
		}
	})})
	c := l.dial()
	defer c.Close()
	// The second frame is cut in two.
	go io.WriteString(c, plainRequest+"\x81\x85\x00\x00\x00\x00hello\x81\x83\x01\x02")
	readHead(t, c)
	if s := <-got; s != "hello" {
		t.Errorf("first message %q", s)
	}
	io.WriteString(c, "\x03\x04"+string([]byte{'a' ^ 1, 'b' ^ 2, 'c' ^ 3}))
	if s := <-got; s != "abc" {
		t.Errorf("second message %q", s)
	}
}

type unwrapper struct{ inner http.ResponseWriter }

func (w unwrapper) Header() http.Header         { return w.inner.Header() }
func (w unwrapper) Write(p []byte) (int, error) { return w.inner.Write(p) }
func (w unwrapper) WriteHeader(status int)      { w.inner.WriteHeader(status) }
func (w unwrapper) Unwrap() http.ResponseWriter { return w.inner }

type hider struct{ http.ResponseWriter }

func TestUpgradeWrapped(t *testing.T) {
	if got := accepted(t, Upgrader{}, nil, plainRequest, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
		return new(Upgrader).Upgrade(unwrapper{unwrapper{w}}, r, nil)
	}); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("got %q", got)
	}

	resp, body, err := refused(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
		return new(Upgrader).Upgrade(unwrapper{hider{w}}, r, nil)
	}, plainRequest)
	if _, ok := err.(HandshakeError); !ok || resp.StatusCode != 500 {
		t.Errorf("got %d, %T %v", resp.StatusCode, err, err)
	}
	for _, want := range []string{"websocket.unwrapper, which wraps websocket.hider", "http.Hijacker", "Unwrap() http.ResponseWriter"} {
		if !strings.Contains(body, want) {
			t.Errorf("%q lacks %q", body, want)
		}
	}
}

func TestUpgradeTimeoutHandler(t *testing.T) {
	l := servePipes(t, &http.Server{Handler: http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		new(Upgrader).Upgrade(w, r, nil)
	}), time.Hour, "")})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, plainRequest)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 500 || !strings.Contains(string(body), "http.TimeoutHandler can never") || !strings.Contains(string(body), "*http.timeoutWriter") {
		t.Errorf("got %d %q", resp.StatusCode, body)
	}
}

func TestUpgradeHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := new(Upgrader).Upgrade(w, r, nil); !errors.As(err, new(HandshakeError)) {
			t.Errorf("error %T %v", err, err)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.ProtoMajor != 2 || resp.StatusCode != 505 || !strings.Contains(string(body), "extended CONNECT") {
		t.Errorf("got %s %d %q", resp.Proto, resp.StatusCode, body)
	}
}

// A handshake that succeeds allocates nothing of its own before the Conn.
func TestUpgradeAllocations(t *testing.T) {
	r := parseRequest(t, strings.Replace(plainRequest, "Connection", "Origin: http://server.example.com\r\nConnection", 1))
	var u Upgrader
	buf := make([]byte, 0, 4096)
	h := http.Header{"Set-Cookie": {"a=b"}}
	if n := testing.AllocsPerRun(100, func() {
		agreed, no := u.negotiate(r, h)
		if no.status != 0 {
			t.Fatal(no.reason)
		}
		buf = appendResponse(buf[:0], &agreed, h)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !slices.Equal(buf[:12], []byte("HTTP/1.1 101")) {
		t.Errorf("%q", buf)
	}
}
