package websocket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/tautws/websocket/internal/wiretest"
)

// plainRequest is sampleRequest without the headers that a client need not send.
var plainRequest = strings.NewReplacer("Origin: http://example.com\r\n", "", "Sec-WebSocket-Protocol: chat, superchat\r\n", "").Replace(sampleRequest)

// rejected sends a request to a server whose handler must reject it, and returns the answer and the
// handler's error.
func rejected(t *testing.T, handler func(http.ResponseWriter, *http.Request) (*Conn, error), text string) (*http.Response, string, error) {
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

// configuration is what a client must not be told: Go's types and this package's options.
var configuration = regexp.MustCompile(`[*]|http\.|websocket\.|Upgrade[r]|Origins|CheckOrigin|Subprotocols|Unwrap|Hijack|Handler|responseHeader|proxy`)

// checkAnswer checks the answer to a rejected request: one of the sentences, and nothing else.
func checkAnswer(t *testing.T, resp *http.Response, body, sentence string) {
	t.Helper()
	if want := http.StatusText(resp.StatusCode) + ": " + sentence + "\n"; body != want {
		t.Errorf("body %q, want %q", body, want)
	}
	if found := configuration.FindString(body); found != "" {
		t.Errorf("body %q tells about %s", body, found)
	}
	if got := resp.Header.Get("Sec-WebSocket-Version"); got != "13" {
		t.Errorf("Sec-WebSocket-Version: %q", got)
	}
}

func TestUpgradeRejected(t *testing.T) {
	edit := func(replace ...string) string { return strings.NewReplacer(replace...).Replace(sampleRequest) }
	subprotocol := http.Header{"Sec-Websocket-Protocol": {"a b"}}
	seen := map[string]bool{answerHTTP1: true} // in TestUpgradeHTTP2
	for _, tt := range []struct {
		name    string
		u       Upgrader
		header  http.Header
		request string
		status  int
		answer  string
		text    string // in the error
		allow   string
	}{
		{"§4.2.1-1/method", Upgrader{}, nil, edit("GET", "PUT"), 405, answerGET, "not GET", "GET"},
		{"§4.2.1-1/HTTP 1.0", Upgrader{}, nil, edit("HTTP/1.1", "HTTP/1.0"), 505, answerGET, "HTTP/1.0", ""},
		{"§4.2.1-1/body", Upgrader{}, nil, edit("Origin", "Content-Length: 5\r\nOrigin") + "hello", 400, answerBody, "body", ""},
		{"§4.2.1-2/host", Upgrader{}, nil, edit("server.example.com", ""), 400, answerHost, "Host", ""},
		{"§4.2.1-3/upgrade", Upgrader{}, nil, edit("Upgrade: websocket\r\n", ""), 400, answerUpgrade, "'Upgrade' header", ""},
		{"§4.2.1-4/connection", Upgrader{}, nil, edit("Connection: Upgrade\r\n", ""), 400, answerConnection, "'Connection' header", ""},
		{"§4.2.1-5/key", Upgrader{Origins: []string{"*"}}, nil, edit(sampleKey, "AAAA"), 400, answerKey, "'Sec-WebSocket-Key' header", ""},
		{"§4.4/version", Upgrader{}, nil, edit("13", "8"), 426, answerVersion, "unsupported version", ""},
		{"§4.2.2-4/origin", Upgrader{}, nil, sampleRequest, 403, answerOrigin, `"http://example.com" is not the origin of the request's host "server.example.com"; to allow it add it to Upgrader.Origins`, ""},
		{"§4.2.2-4/null", Upgrader{}, nil, edit("http://example.com", "null"), 403, answerOrigin, `add it to Upgrader.Origins`, ""},
		{"§4.2.2-4/file", Upgrader{}, nil, edit("http://example.com", "file://"), 403, answerOrigin, `add it to Upgrader.Origins`, ""},
		{"§4.2.2-4/malformed origin", Upgrader{}, nil, edit("http://example.com", "example.com"), 403, answerOrigin, `"example.com" is malformed; to allow it set Upgrader.CheckOrigin`, ""},
		{"§4.2.2-4/CheckOrigin", Upgrader{Origins: []string{"*"}, CheckOrigin: func(*http.Request) bool { return false }}, nil, sampleRequest, 403, answerOrigin, "by Upgrader.CheckOrigin", ""},
		{"§4.2.2-4/before the key", Upgrader{}, nil, edit(sampleKey, "AAAA"), 403, answerOrigin, "origin", ""},
		{"RFC 6454 §7.3/two", Upgrader{Origins: []string{"*"}}, nil, edit("Origin:", "Origin: http://example.com\r\nOrigin:"), 403, answerOrigin, "more than one Origin", ""},
		{"RFC 6454 §7.3/two and CheckOrigin", Upgrader{CheckOrigin: func(*http.Request) bool { return true }}, nil,
			edit("Origin:", "Origin: http://evil.example\r\nOrigin:"), 403, answerOrigin, "more than one Origin", ""},
		{"origin/pattern", Upgrader{Origins: []string{"https://a.example", "app.example.com", "b"}}, nil, plainRequest, 500, answerServer, `the pattern "app.example.com" in Upgrader.Origins can never match`, ""},
		{"subprotocol/none offered", Upgrader{Subprotocols: []string{"chat"}, RequireSubprotocol: true}, nil, plainRequest, 400, answerSubprotocol, `["chat"]`, ""},
		{"subprotocol/others offered", Upgrader{Subprotocols: []string{"x", "y"}, RequireSubprotocol: true, Origins: []string{"*"}}, nil, sampleRequest, 400, answerSubprotocol, `"chat, superchat"`, ""},
		{"subprotocol/none known", Upgrader{RequireSubprotocol: true}, nil, plainRequest, 400, answerSubprotocol, "subprotocols", ""},
		{"response header/subprotocol", Upgrader{}, subprotocol, plainRequest, 500, answerServer, "not one subprotocol", ""},
		{"response header/two subprotocols", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"a,b"}}, plainRequest, 500, answerServer, "not one subprotocol", ""},
		{"response header/subprotocol with a line break", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"a\r\nX:b"}}, plainRequest, 500, answerServer, "not one subprotocol", ""},
		{"response header/extensions", Upgrader{}, http.Header{"Sec-Websocket-Extensions": {"foo"}}, plainRequest, 500, answerServer, "Sec-WebSocket-Extensions", ""},
		{"response header/extensions as in the RFC", Upgrader{}, http.Header{"Sec-WebSocket-Extensions": {"foo"}}, plainRequest, 500, answerServer, "Sec-WebSocket-Extensions", ""},
		{"response header/name", Upgrader{}, http.Header{"X Y": {"1"}}, plainRequest, 500, answerServer, "not a token", ""},
		{"response header/name with a line break", Upgrader{}, http.Header{"X: 1\r\nY": {"1"}}, plainRequest, 500, answerServer, "not a token", ""},
		{"response header/empty name", Upgrader{}, http.Header{"": {"1"}}, plainRequest, 500, answerServer, "not a token", ""},
	} {
		seen[tt.answer] = true
		t.Run(tt.name, func(t *testing.T) {
			upgrade := func(w http.ResponseWriter, r *http.Request) (*Conn, error) { return tt.u.Upgrade(w, r, tt.header) }
			resp, body, err := rejected(t, upgrade, tt.request)
			if resp.StatusCode != tt.status || resp.Header.Get("Allow") != tt.allow {
				t.Errorf("status %d, Allow: %s, want %d, %s", resp.StatusCode, resp.Header.Get("Allow"), tt.status, tt.allow)
			}
			if _, ok := err.(HandshakeError); !ok || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error %T %v, want a HandshakeError with %q", err, err, tt.text)
			}
			checkAnswer(t, resp, body, tt.answer)
		})
	}
	for _, answer := range []string{answerConnection, answerUpgrade, answerGET, answerHTTP1, answerHost, answerBody, answerVersion, answerKey,
		answerOrigin, answerSubprotocol, answerServer} {
		if !seen[answer] {
			t.Errorf("no request gets the answer %q", answer)
		}
	}
}

// Neither the answer nor the error repeats more than 100 bytes of what the peer sent.
func TestUpgradeRejectedBound(t *testing.T) {
	const size = 1 << 20
	set := func(name string) func(r *http.Request, s string) {
		return func(r *http.Request, s string) { r.Header.Set(name, s) }
	}
	for _, tt := range []struct {
		name string
		send func(r *http.Request, s string)
	}{
		{"Method", func(r *http.Request, s string) { r.Method = s }},
		{"Connection", set("Connection")},
		{"Upgrade", set("Upgrade")},
		{"Sec-WebSocket-Version", set("Sec-WebSocket-Version")},
		{"Sec-WebSocket-Key", set("Sec-WebSocket-Key")},
		{"Sec-WebSocket-Protocol", set("Sec-WebSocket-Protocol")},
		{"Sec-WebSocket-Protocol list", func(r *http.Request, s string) {
			r.Header["Sec-Websocket-Protocol"] = []string{s[:50], s[:50] + "," + s}
		}},
		{"Origin malformed", set("Origin")},
		{"Origin host", func(r *http.Request, s string) { r.Header.Set("Origin", "https://"+s) }},
		{"Origin scheme", func(r *http.Request, s string) { r.Header.Set("Origin", "a"+s+"://") }},
		{"Origin port", func(r *http.Request, s string) { r.Header.Set("Origin", "https://a:"+s) }},
		{"Origin path", func(r *http.Request, s string) { r.Header.Set("Origin", "https://a/"+s) }},
		{"Host", func(r *http.Request, s string) { r.Host = s; r.Header.Set("Origin", "https://a.example") }},
		{"Host and Origin", func(r *http.Request, s string) { r.Host = s + ".a"; r.Header.Set("Origin", "https://"+s[:60]) }},
		{"two Origins", func(r *http.Request, s string) { r.Header["Origin"] = []string{s, s} }},
	} {
		for _, unit := range []string{"7", "\u20ac", "\xff", "\x1b"} {
			t.Run(fmt.Sprintf("%s of %q", tt.name, unit), func(t *testing.T) {
				r := parseRequest(t, plainRequest)
				tt.send(r, strings.Repeat(unit, size/len(unit)))
				u := Upgrader{Subprotocols: []string{"x"}, RequireSubprotocol: true}
				w := httptest.NewRecorder()
				_, err := u.Upgrade(w, r, nil)
				if _, ok := err.(HandshakeError); !ok {
					t.Fatalf("error %T %v", err, err)
				}
				quoted := strings.Trim(strconv.Quote(unit), `"`)
				if n := len(unit) * strings.Count(err.Error(), quoted); n > 100 {
					t.Errorf("the error repeats %d bytes: %s", n, err)
				}
				if !utf8.ValidString(err.Error()) || strings.Contains(err.Error(), "\x1b") || len(err.Error()) > 1000 {
					t.Errorf("error of %d bytes: %q", len(err.Error()), err)
				}
				if body := w.Body.String(); len(body) > 250 || strings.Contains(body, quoted) {
					t.Errorf("body %q", body)
				}
			})
		}
	}
}

// All that comes back for an Origin header of a megabyte.
func TestUpgradeLongOrigin(t *testing.T) {
	l := servePipes(t, &http.Server{MaxHeaderBytes: 2 << 20, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := new(Upgrader).Upgrade(w, r, nil); !errors.As(err, new(HandshakeError)) || len(err.Error()) > 1000 {
			t.Errorf("%d bytes: %T", len(err.Error()), err)
		}
	})})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, strings.NewReplacer("http://example.com", "http://"+strings.Repeat("\xff", 1<<20), "Connection: ", "Connection: close, ").Replace(sampleRequest))
	answer, err := io.ReadAll(c)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 403 ")) || len(answer) > 500 {
		t.Errorf("%d bytes, %v: %.500q", len(answer), err, answer)
	}
}

// The function answers; the headers that go with the status are there already.
func TestUpgradeError(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		replace                []string
		status                 int
		allow, version, reason string
	}{
		{"RFC 9110 §15.5.6", []string{"GET", "POST"}, 405, "GET", "", "not GET"},
		{"§4.4", []string{"13", "8"}, 426, "", "13", "unsupported version"},
		{"§4.2.2-4", []string{"Upgrade: websocket", "Upgrade: websocket\r\nOrigin: http://elsewhere.example"}, 403, "", "", `"http://elsewhere.example"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			u := Upgrader{Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
				calls++
				if _, ok := reason.(HandshakeError); !ok || status != tt.status || !strings.Contains(reason.Error(), tt.reason) {
					t.Errorf("status %d, reason %T %v", status, reason, reason)
				}
				w.WriteHeader(status)
				io.WriteString(w, "no")
			}}
			resp, body, err := rejected(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
				return u.Upgrade(w, r, nil)
			}, strings.NewReplacer(tt.replace...).Replace(plainRequest))
			if calls != 1 || resp.StatusCode != tt.status || body != "no" {
				t.Errorf("%d calls, %d %q", calls, resp.StatusCode, body)
			}
			if h := resp.Header; h.Get("Allow") != tt.allow || h.Get("Sec-WebSocket-Version") != tt.version || (h.Get("Upgrade") != "") != (tt.status == 426) {
				t.Errorf("header %v", h)
			}
			if _, ok := err.(HandshakeError); !ok {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
}

func TestDeprecatedUpgrade(t *testing.T) {
	// It leaves the answer to the caller.
	resp, body, err := rejected(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
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
		{"subprotocol/not a token", Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}, nil, strings.Replace(offer, "chat,", "v4.channel.k8s.io,SPDY/3.1+portforward.k8s.io ,", 1),
			"Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"},
		{"subprotocol/never chosen", Upgrader{Subprotocols: []string{"", "a b", "chat, superchat"}}, nil, strings.Replace(offer, "chat,", "a b,,chat,", 1), ""},
		{"subprotocol/not a token, by header", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"SPDY/3.1+portforward.k8s.io"}}, offer, "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"},
		{"subprotocol/by header with white space", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {" chat\t"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/empty header", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {""}}, offer, ""},
		{"subprotocol/by header", Upgrader{}, http.Header{"Sec-Websocket-Protocol": {"chat", "x"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/by header as in the RFC", Upgrader{}, http.Header{"Sec-WebSocket-Protocol": {"chat"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/header against Upgrader", Upgrader{Subprotocols: []string{"chat"}}, http.Header{"Sec-Websocket-Protocol": {"a, b"}}, offer, "Sec-WebSocket-Protocol: chat\r\n"},
		{"subprotocol/header against empty Upgrader", Upgrader{Subprotocols: []string{}}, http.Header{"Sec-Websocket-Protocol": {"chat"}}, offer, ""},
		{"compression/off", Upgrader{}, nil, offer, ""},
		{"compression/on", Upgrader{EnableCompression: true}, nil, offer, pmd + snct + cnct + smwb + "=10\r\n"},
		{"compression/takeover", Upgrader{EnableCompression: true, Compression: CompressionOptions{ContextTakeover: true}}, nil, offer, pmd + smwb + "=10\r\n"},
		{"compression/not offered", Upgrader{EnableCompression: true}, nil, plainRequest, ""},
		{"header/sorted", Upgrader{}, http.Header{"X-B": {"2", "1"}, "Set-Cookie": {"a=b; Path=/"}, "X-A": {"x\u00e9"}, "X-C": {""}}, plainRequest, "Set-Cookie: a=b; Path=/\r\nX-A: x\u00e9\r\nX-B: 2\r\nX-B: 1\r\nX-C: \r\n"},
		{"header/control characters", Upgrader{}, http.Header{"X-A": {"1\r\nSet-Cookie: a=b"}, "X-B": {"\x00\t\x1f\x7f\n"}}, plainRequest, "X-A: 1  Set-Cookie: a=b\r\nX-B:      \r\n"},
		{"header/Connection", Upgrader{}, http.Header{"Connection": {"keep-alive"}}, plainRequest, "Connection: keep-alive\r\n"},
		{"header/ours", Upgrader{}, http.Header{"upgrade": {"h2c"}, "Sec-WebSocket-Accept": {"x"}, "Sec-Websocket-Accept": {"x"}, "Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "X": {"1"}}, plainRequest, "X: 1\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := accepted(t, tt.u, tt.header, tt.request); got != start+tt.want+"\r\n" {
				t.Errorf("got %q, want %q and an empty line", got, start+tt.want)
			}
		})
	}
}

// Frames that come right behind the request are the first that the connection reads.
func TestUpgradeEarlyData(t *testing.T) {
	l := servePipes(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		messageType, p, _ := c.ReadMessage()
		c.WriteMessage(messageType, p)
	})})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, plainRequest+"\x81\x85\x00\x00\x00\x00hello")
	if answer, _ := io.ReadAll(c); !strings.HasSuffix(string(answer), "\r\n\r\n\x81\x05hello") {
		t.Errorf("answered %q", answer)
	}
}

func TestUpgradeReadLimit(t *testing.T) {
	header := func(n uint64) string {
		return string(binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, n)) + "\x00\x00\x00\x00"
	}
	for _, tt := range []struct {
		name  string
		limit int64
		input string
		err   error
	}{
		{"default", 0, header(64<<20 + 1), ErrReadLimit},
		{"at the default", 0, header(64 << 20), io.ErrUnexpectedEOF},
		{"set", 4, "\x82\x85\x00\x00\x00\x00hello", ErrReadLimit},
		{"at what is set", 5, "\x82\x85\x00\x00\x00\x00hello", nil},
		{"none", -1, header(64<<20 + 1), io.ErrUnexpectedEOF},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				go func() {
					readHead(t, client)
					go io.Copy(io.Discard, client)
					io.WriteString(client, tt.input)
					client.Close()
				}()
				brw := bufio.NewReadWriter(bufio.NewReader(server), bufio.NewWriter(server))
				u := Upgrader{ReadLimit: tt.limit}
				c, err := u.Upgrade(&hijacked{httptest.NewRecorder(), server, brw, nil}, parseRequest(t, plainRequest), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, _, err := c.ReadMessage(); !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
			})
		})
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
}

// hijacker is a middleware's wrapper whose Hijack does not work.
type hijacker struct {
	http.ResponseWriter
	err error
}

func (w *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, w.err }
func (w *hijacker) Unwrap() http.ResponseWriter                  { return w }

// The error names the wrappers and the remedy, the answer does not.
func TestUpgradeNoHijack(t *testing.T) {
	for _, tt := range []struct {
		name string
		wrap func(w http.ResponseWriter) http.ResponseWriter
		text []string
	}{
		{"hidden", func(w http.ResponseWriter) http.ResponseWriter { return unwrapper{hider{w}} },
			[]string{"websocket: response does not implement http.Hijacker;", "is a websocket.both, which wraps a websocket.unwrapper, which wraps a websocket.hider: ", "add the method Unwrap() http.ResponseWriter"}},
		{"wraps nothing", func(w http.ResponseWriter) http.ResponseWriter { return unwrapper{} },
			[]string{"which wraps a websocket.unwrapper: "}},
		{"not supported", func(w http.ResponseWriter) http.ResponseWriter { return &hijacker{w, http.ErrNotSupported} },
			[]string{"websocket: response does not implement http.Hijacker;", "*websocket.hijacker"}},
		{"wraps itself", func(w http.ResponseWriter) http.ResponseWriter { return &hijacker{w, io.ErrNoProgress} },
			[]string{io.ErrNoProgress.Error() + ";", "*websocket.hijacker, which wraps a *websocket.hijacker"}},
		{"hijacked", func(w http.ResponseWriter) http.ResponseWriter { return &hijacker{w, http.ErrHijacked} },
			[]string{http.ErrHijacked.Error() + ";", "call Upgrade once"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, body, err := rejected(t, func(w http.ResponseWriter, r *http.Request) (*Conn, error) {
				inner := tt.wrap(w)
				return new(Upgrader).Upgrade(both{w, inner}, r, nil)
			}, plainRequest)
			if _, ok := err.(HandshakeError); !ok || resp.StatusCode != 500 {
				t.Errorf("got %d, %T %v", resp.StatusCode, err, err)
			}
			for _, want := range tt.text {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q lacks %q", err, want)
				}
			}
			checkAnswer(t, resp, body, answerServer)
		})
	}
}

// both answers with one ResponseWriter and unwraps to another.
type both struct {
	http.ResponseWriter
	inner http.ResponseWriter
}

func (w both) Unwrap() http.ResponseWriter { return w.inner }

func TestUpgradeTimeoutHandler(t *testing.T) {
	result := make(chan error, 1)
	l := servePipes(t, &http.Server{Handler: http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := new(Upgrader).Upgrade(w, r, nil)
		result <- err
	}), time.Hour, "")})
	c := l.dial()
	defer c.Close()
	go io.WriteString(c, plainRequest)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	checkAnswer(t, resp, string(body), answerServer)
	if err := <-result; resp.StatusCode != 500 || !strings.Contains(err.Error(), "is a *http.timeoutWriter: http.TimeoutHandler can never") {
		t.Errorf("got %d %v", resp.StatusCode, err)
	}
}

func TestUpgradeRecorder(t *testing.T) {
	_, err := new(Upgrader).Upgrade(httptest.NewRecorder(), parseRequest(t, plainRequest), nil)
	if err == nil || !strings.Contains(err.Error(), "use httptest.NewServer") {
		t.Error(err)
	}
}

// RFC 9113 §8.2.2: HTTP/2 has no Upgrade.
func TestUpgradeHTTP2(t *testing.T) {
	var err error
	for _, tt := range []struct {
		name   string
		handle func(w http.ResponseWriter, r *http.Request)
		status int
		answer string
	}{
		{"request", func(w http.ResponseWriter, r *http.Request) { _, err = new(Upgrader).Upgrade(w, r, nil) }, 400, answerHTTP1},
		{"hijack", func(w http.ResponseWriter, r *http.Request) {
			made := parseRequest(t, plainRequest)
			made.ProtoMajor = r.ProtoMajor
			_, err = new(Upgrader).Upgrade(w, made, nil)
		}, 500, answerServer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(tt.handle))
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			resp, dialErr := s.Client().Get(s.URL)
			if dialErr != nil {
				t.Fatal(dialErr)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.ProtoMajor != 2 || resp.StatusCode != tt.status {
				t.Errorf("got %s %d", resp.Proto, resp.StatusCode)
			}
			checkAnswer(t, resp, string(body), tt.answer)
			if !errors.As(err, new(HandshakeError)) || !strings.Contains(err.Error(), "wrap the server's handler with websocket.HTTP2Handler") {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
}

// A handshake that succeeds allocates nothing before the Conn.
func TestUpgradeAllocations(t *testing.T) {
	r := parseRequest(t, strings.Replace(plainRequest, "Connection", "Origin: http://server.example.com\r\nConnection", 1))
	u := Upgrader{Origins: []string{"https://*.example.com", "https://app.example:8443"}}
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
	t.Run("early data", func(t *testing.T) {
		w, nc := newWriter()
		w.brw.Reader.Reset(strings.NewReader(string(wiretest.Encode([]wireFrame{textFrame("early")}, true))))
		w.brw.Reader.Peek(1)
		c, err := new(Upgrader).Upgrade(w, parseRequest(t, plainRequest), nil)
		if err != nil || nc.writes != 1 {
			t.Fatalf("error %v, %d writes", err, nc.writes)
		}
		wantRead(t, c, "early")
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

func TestAdoptServerBuffers(t *testing.T) {
	for _, tt := range []struct{ set, server, want int }{
		{0, 4096, 4096}, {0, 8192, 8192}, {0, 128, 0}, {100, 4096, 100}, {1 << 20, 4096, 1 << 20},
	} {
		brw := bufio.NewReadWriter(bufio.NewReaderSize(strings.NewReader(""), tt.server), bufio.NewWriterSize(io.Discard, tt.server))
		cfg := connConfig{readBufferSize: tt.set, writeBufferSize: tt.set}
		adoptServerBuffers(brw, &cfg)
		if cfg.readBufferSize != tt.want || cfg.writeBufferSize != tt.want {
			t.Errorf("%d with the server's %d: %d, %d", tt.set, tt.server, cfg.readBufferSize, cfg.writeBufferSize)
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
