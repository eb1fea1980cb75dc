package gorilla

// Both ends of the opening handshake: random requests to both Upgraders,
// random responses to both Dialers, and what a Dialer sends.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// A choice is a header of a request or a response: what it may be, and which
// row of the table applies then.
type choice struct {
	lines []string
	row   string
}

func lines(l ...string) choice             { return choice{lines: l} }
func apart(row string, l ...string) choice { return choice{l, row} }

const goodKey = "dGhlIHNhbXBsZSBub25jZQ=="

var requestChoices = map[string][]choice{
	"Connection": {lines("Upgrade"), lines("keep-alive, Upgrade"), lines("keep-alive", "upgrade"), lines("keep-alive"), lines("notupgrade"), lines()},
	"Upgrade":    {lines("websocket"), lines("WebSocket"), lines("h2c, websocket"), lines("h2c", "websocket"), lines("h2c"), lines()},
	"Sec-Websocket-Version": {lines("13"), lines("13"), apart(rowRequest, "8"), apart(rowRequest), apart(rowRequest, "8", "12"),
		apart(rowRequest, "13, 8"), apart(rowRequest, "8", "13")},
	"Sec-Websocket-Key": {lines(goodKey), lines("AQIDBAUGBwgJCgsMDQ4PEC=="), lines("c2hvcnQ="), lines("not base64 at all"), lines(),
		apart(rowRequest, goodKey, goodKey)},
	"Origin": {lines(), lines("http://example.com"), lines("https://EXAMPLE.com"), lines("https://elsewhere.example"), lines("http://example.com.elsewhere.example"),
		lines("http://EXAMPLE.com/path"), lines("http://user@example.com"), lines("null"), lines(""), lines("http://example.com:x")},
	"Sec-Websocket-Protocol": {lines(), lines("a"), lines("b, a"), lines("c"), lines("A"),
		lines("v4.channel.k8s.io,SPDY/3.1+portforward.k8s.io")},
	"Sec-Websocket-Extensions": {lines(), lines(deflateExtension), lines("x-other"), lines("x-other, " + deflateExtension), lines("x-other", deflateExtension)},
}

// request is a random upgrade request, most headers of which are right.
func request(r *rand.Rand) (req *http.Request, rows map[string]bool) {
	req = httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	rows = make(map[string]bool)
	if r.IntN(12) == 0 {
		req.Method = pick(r, http.MethodPost, http.MethodHead, http.MethodPut)
	}
	for _, name := range slices.Sorted(maps.Keys(requestChoices)) {
		list := requestChoices[name]
		c := list[0]
		if strings.HasSuffix(name, "Protocol") || strings.HasSuffix(name, "Extensions") || r.IntN(8) == 0 {
			c = pick(r, list...)
		}
		if c.lines != nil {
			req.Header[name] = c.lines
		}
		if c.row != "" {
			rows[c.row] = true
		}
	}
	return req, rows
}

// upgraded is what one Upgrade did.
type upgraded struct {
	class       string
	status      int // of a rejection; 101
	subprotocol string
	response    http.Header
}

func (l library) answer(t testing.TB, o gorilla.Upgrader, r *http.Request, h http.Header) (u upgraded) {
	t.Helper()
	w := newWire()
	rec := newHijack(w, 4096)
	c, err := l.upgrade(o, rec, r, h)
	if u.class = l.class(err); err != nil {
		u.status, u.response = rec.Code, rec.Header()
		return u
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(w.head)), r)
	if err != nil {
		t.Fatalf("%s: %v in %q", l.name, err, w.head)
	}
	u.status, u.subprotocol, u.response = resp.StatusCode, c.Subprotocol(), resp.Header
	return u
}

func TestUpgradeRandomRequests(t *testing.T) {
	for n := range uint64(2000) {
		r := rand.New(rand.NewPCG(n, 5))
		req, rows := request(r)
		o := gorilla.Upgrader{EnableCompression: r.IntN(2) == 0}
		h := pick(r, nil, http.Header{"Set-Cookie": {"a=b", "c=d"}}, http.Header{"X-Mine": {"yes"}, "Sec-Websocket-Protocol": {"a"}},
			http.Header{"X-Mine": {"a\r\nb: c\t\x00d"}, "Connection": {"keep-alive"}, "Sec-Websocket-Protocol": {"SPDY/3.1+portforward.k8s.io"}})
		switch r.IntN(4) {
		case 0:
			o.Subprotocols = []string{"SPDY/3.1+portforward.k8s.io", "a", "b"}
		case 1:
			o.Subprotocols = []string{}
		}
		switch r.IntN(8) {
		case 0:
			o.CheckOrigin = func(*http.Request) bool { return false }
		case 1:
			o.CheckOrigin = func(*http.Request) bool { return true }
		}
		their, our := theirs.answer(t, o, req, h), ours.answer(t, o, req, h)
		if rows[rowRequest] {
			// Rejected here, with the status that the fault asks for.
			if our.class != "HandshakeError" || our.status < 400 {
				t.Fatalf("request %d %v: %+v", n, req.Header, our)
			}
			continue
		}
		if their.class != our.class || their.status != our.status || their.subprotocol != our.subprotocol {
			t.Fatalf("request %d %s %v:\ngorilla %+v\nhere    %+v", n, req.Method, req.Header, their, our)
		}
		if our.status == 101 && !maps.EqualFunc(their.response, our.response, slices.Equal) {
			t.Fatalf("request %d %v: response header\ngorilla %v\nhere    %v", n, req.Header, their.response, our.response)
		}
	}
}

// TestUpgradeErrorTexts: the text of a HandshakeError begins with gorilla's.
func TestUpgradeErrorTexts(t *testing.T) {
	reject := func(l library, w http.ResponseWriter, change func(r *http.Request)) string {
		r := upgradeRequest()
		change(r)
		o := gorilla.Upgrader{Error: func(http.ResponseWriter, *http.Request, int, error) {}}
		_, err := l.upgrade(o, w, r, nil)
		return fmt.Sprint(err)
	}
	for name, change := range map[string]func(r *http.Request){
		"no Connection":  func(r *http.Request) { r.Header.Del("Connection") },
		"HTTP/2":         func(r *http.Request) { r.Header.Del("Connection"); r.Proto, r.ProtoMajor = "HTTP/2.0", 2 },
		"no Upgrade":     func(r *http.Request) { r.Header.Del("Upgrade") },
		"POST":           func(r *http.Request) { r.Method = http.MethodPost },
		"version 8":      func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") },
		"another origin": func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere.example") },
		"short key":      func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "AAAA") },
		"no Hijacker":    func(r *http.Request) {},
	} {
		their, our := reject(theirs, httptest.NewRecorder(), change), reject(ours, httptest.NewRecorder(), change)
		if !strings.HasPrefix(our, their) {
			t.Errorf("%s:\ngorilla %s\nhere    %s", name, their, our)
		}
	}
	for _, err := range []error{io.ErrNoProgress, http.ErrHijacked} {
		w := failingHijack{httptest.NewRecorder(), err}
		their, our := reject(theirs, w, func(*http.Request) {}), reject(ours, w, func(*http.Request) {})
		if !strings.HasPrefix(our, their) {
			t.Errorf("gorilla %s\nhere    %s", their, our)
		}
	}
}

type failingHijack struct {
	http.ResponseWriter
	err error
}

func (w failingHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, w.err }

// TestSameOrigin: an origin that gorilla accepts is accepted, and of the others only the same
// origin with its default port written out.
func TestSameOrigin(t *testing.T) {
	names := []string{"example.com", "EXAMPLE.com", "example.com:80", "example.com:443", "example.com:8080", "example.com:", "a.example.com",
		"user@example.com", "[::1]", "[::1]:80", "[::1", "127.0.0.1", "localhost", "b\u00fccher.example", "exa%6dple.com", "a b", "a_b", "", "null"}
	for _, scheme := range []string{"http://", "https://", "ws://", "HTTPS://", "app://", "//", "1://", ""} {
		for _, name := range names {
			for _, path := range []string{"", "/", "/a?b#c"} {
				for _, host := range names {
					r := upgradeRequest()
					r.Host = host
					r.Header.Set("Origin", scheme+name+path)
					their, our := theirs.answer(t, gorilla.Upgrader{}, r, nil).status, ours.answer(t, gorilla.Upgrader{}, r, nil).status
					same := strings.EqualFold(strings.TrimSuffix(strings.TrimSuffix(name, ":80"), ":443"), strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")) ||
						name == "example.com:" || host == "example.com:"
					if host != "" && their != our && !(our == 101 && same) {
						t.Errorf("origin %q, host %q: gorilla %d, here %d", scheme+name+path, host, their, our)
					}
				}
			}
		}
	}
}

// TestUpgraderError: the Error function gets the status and a HandshakeError.
func TestUpgraderError(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		r := upgradeRequest()
		r.Header.Set("Origin", "https://elsewhere.example")
		calls := 0
		o := gorilla.Upgrader{Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			calls++
			l.wants(t, "reason", reason, "HandshakeError")
			w.WriteHeader(status + 1)
		}}
		rec := newHijack(newWire(), 4096)
		_, err := l.upgrade(o, rec, r, nil)
		l.wants(t, "Upgrade", err, "HandshakeError")
		if calls != 1 || rec.Code != http.StatusForbidden+1 {
			t.Errorf("%d calls, answered %d", calls, rec.Code)
		}
	})
}

func TestUpgradeWithoutHijacker(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		rec := httptest.NewRecorder()
		_, err := l.upgrade(gorilla.Upgrader{}, rec, upgradeRequest(), nil)
		l.wants(t, "Upgrade", err, "HandshakeError")
		if rec.Code != http.StatusInternalServerError {
			t.Errorf("answered %d", rec.Code)
		}
	})
}

// TestUpgradeExtensionsHeader: an application does not answer for extensions.
func TestUpgradeExtensionsHeader(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		got := l.answer(t, gorilla.Upgrader{}, upgradeRequest(), http.Header{"Sec-Websocket-Extensions": {deflateExtension}})
		if got.class != "HandshakeError" || got.status != http.StatusInternalServerError {
			t.Errorf("%+v", got)
		}
	})
}

// A reply is a server's response to a Dialer.
type reply struct {
	choices map[string]choice
	status  string
	body    string
}

var replyChoices = map[string][]choice{
	"Upgrade":                  {lines("websocket"), lines("WebSocket"), lines("h2c"), lines(), lines("foo, websocket")},
	"Connection":               {lines("Upgrade"), lines("keep-alive, upgrade"), lines("keep-alive", "upgrade"), lines("close"), lines()},
	"Sec-WebSocket-Accept":     {lines("right"), lines("wrong"), lines()},
	"Sec-WebSocket-Protocol":   {lines(), lines("a"), lines("b"), apart(rowUnoffered, "c")},
	"Sec-WebSocket-Extensions": {lines(), apart(rowUnoffered, "x-other")},
	"Set-Cookie":               {lines(), lines("a=b"), lines("a=b", "c=d")},
}

func randomReply(r *rand.Rand, compression bool) (p reply, rows map[string]bool) {
	p = reply{choices: make(map[string]choice), status: "101 Switching Protocols"}
	rows = make(map[string]bool)
	if r.IntN(8) == 0 {
		p.status = pick(r, "200 OK", "301 Moved Permanently", "401 Unauthorized", "403 Forbidden", "503 Service Unavailable")
		p.body = pick(r, "", "because", strings.Repeat("long ", 1000))
	}
	for _, name := range slices.Sorted(maps.Keys(replyChoices)) {
		c := replyChoices[name][0]
		if r.IntN(6) == 0 {
			c = pick(r, replyChoices[name]...)
		}
		if name == "Sec-WebSocket-Extensions" && r.IntN(3) == 0 {
			c = lines(deflateExtension)
			if !compression {
				c.row = rowUnoffered
			}
		}
		p.choices[name] = c
		if c.row != "" {
			rows[c.row] = true
		}
	}
	return p, rows
}

func (p reply) write(key string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %s\r\n", p.status)
	for _, name := range slices.Sorted(maps.Keys(p.choices)) {
		for _, v := range p.choices[name].lines {
			if v == "right" {
				v = acceptKey(key)
			}
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	if p.status[0] != '1' {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(p.body))
	}
	fmt.Fprintf(&b, "\r\n%s", p.body)
	return b.Bytes()
}

// dialled is what one Dial did.
type dialled struct {
	err         error
	class       string
	status      int
	header      http.Header
	body        string
	subprotocol string
	request     http.Header
	requestURI  string
	host        string
}

// dialReply dials a server that answers with p.
func (l library) dialReply(t testing.TB, o gorilla.Dialer, h http.Header, p reply) (d dialled) {
	t.Helper()
	nc, peer := net.Pipe()
	o.NetDial = func(string, string) (net.Conn, error) { return nc, nil }
	seen := make(chan *http.Request, 1)
	go func() {
		defer peer.Close()
		r, err := http.ReadRequest(bufio.NewReader(peer))
		if err != nil {
			seen <- nil
			return
		}
		seen <- r
		peer.Write(p.write(r.Header.Get("Sec-WebSocket-Key")))
	}()
	c, resp, err := l.dial(context.Background(), &o, "ws://example.com/path?x=y", h)
	d.err, d.class = err, l.class(err)
	if resp != nil {
		body, _ := io.ReadAll(resp.Body)
		d.status, d.header, d.body = resp.StatusCode, resp.Header, string(body)
		d.header.Del("Sec-Websocket-Accept") // it answers a random key
	}
	if c != nil {
		d.subprotocol = c.Subprotocol()
		c.Close()
	}
	nc.Close()
	if r := <-seen; r != nil {
		d.request, d.requestURI, d.host = r.Header, r.RequestURI, r.Host
		d.request.Del("Sec-Websocket-Key")
	}
	return d
}

func TestDialRandomResponses(t *testing.T) {
	for n := range uint64(500) {
		r := rand.New(rand.NewPCG(n, 6))
		o := gorilla.Dialer{Subprotocols: []string{"a", "b"}, EnableCompression: r.IntN(2) == 0}
		p, rows := randomReply(r, o.EnableCompression)
		h := pick(r, nil, http.Header{"Origin": {"http://example.com"}, "X-Two": {"1", "2"}}, http.Header{"Host": {"other.example"}},
			http.Header{"Sec-Websocket-Key": {"mine"}}, http.Header{"Upgrade": {"mine"}}, http.Header{"Sec-Websocket-Protocol": {"mine"}},
			http.Header{"Sec-Websocket-Extensions": {"mine"}}, http.Header{"User-Agent": {"mine"}}, http.Header{"Cookie": {"k=v"}})
		their, our := theirs.dialReply(t, o, h, p), ours.dialReply(t, o, h, p)
		if rows[rowUnoffered] && their.class == "nil" {
			if !errors.Is(our.err, ours.errBadHandshake) || our.status != 101 {
				t.Fatalf("response %d %q: %d, %v", n, p.write(""), our.status, our.err)
			}
			continue
		}
		if their.class != our.class || their.status != our.status || their.body != our.body || their.subprotocol != our.subprotocol ||
			!maps.EqualFunc(their.header, our.header, slices.Equal) {
			t.Fatalf("response %d %q to %v:\ngorilla %+v\nhere    %+v", n, p.write(""), h, their, our)
		}
		if !maps.EqualFunc(their.request, our.request, slices.Equal) || their.requestURI != our.requestURI || their.host != our.host {
			t.Fatalf("request with %v:\ngorilla %v %v %v\nhere    %v %v %v", h,
				their.requestURI, their.host, their.request, our.requestURI, our.host, our.request)
		}
	}
}

// TestRequestBytes: servers exist that read header names by their case.
func TestRequestBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		w := newWire()
		l.open(t, w, setup{})
		for _, line := range []string{"GET / HTTP/1.1\r\n", "\r\nHost: example.com\r\n", "\r\nUpgrade: websocket\r\n", "\r\nConnection: Upgrade\r\n",
			"\r\nSec-WebSocket-Version: 13\r\n", "\r\nSec-WebSocket-Key: "} {
			if !bytes.Contains(w.head, []byte(line)) {
				t.Errorf("no %q in %q", line, w.head)
			}
		}
	})
}

func TestDialURLs(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		for _, bad := range []string{"", "example.com", "ftp://example.com/", "ws://user:pass@example.com/", "ws://[::1", "://"} {
			d := &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) {
				t.Errorf("%q: dialled", bad)
				return nil, io.EOF
			}}
			if _, _, err := l.dial(context.Background(), d, bad, nil); err == nil {
				t.Errorf("%q: no error", bad)
			}
		}
		for rawURL, want := range map[string]string{
			"ws://example.com/": "example.com:80", "wss://example.com/": "example.com:443", "ws://example.com:81/": "example.com:81",
			"ws://[::1]/": "[::1]:80", "ws://[::1]:81": "[::1]:81",
		} {
			got := ""
			d := &gorilla.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
				got = network + " " + addr
				return nil, io.ErrNoProgress
			}}
			_, _, err := l.dial(context.Background(), d, rawURL, nil)
			if got != "tcp "+want {
				t.Errorf("%s: dialled %q, expected %q", rawURL, got, want)
			}
			if err != io.ErrNoProgress {
				t.Errorf("%s: %v, expected the dial function's error itself", rawURL, err)
			}
		}
	})
}

func TestNilDialer(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		s := helloServer()
		defer s.Close()
		c, resp, err := l.dial(context.Background(), nil, "ws"+strings.TrimPrefix(s.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, p, err := c.ReadMessage(); string(p) != "hello" || err != nil || resp.StatusCode != 101 {
			t.Errorf("status %d, read %q, %v", resp.StatusCode, p, err)
		}
	})
}

// plain is a net.Conn without deadlines, as tunnels and multiplexers make.
type plain struct {
	net.Conn
	err error
}

func (p plain) SetDeadline(t time.Time) error      { return p.err }
func (p plain) SetReadDeadline(t time.Time) error  { return p.err }
func (p plain) SetWriteDeadline(t time.Time) error { return p.err }

func TestConnWithoutDeadlines(t *testing.T) {
	for name, unsupported := range map[string]error{"refused": fmt.Errorf("deadlines not supported"), "ignored": nil} {
		t.Run(name, func(t *testing.T) {
			onBothRoles(t, func(t *testing.T, l library, s setup) {
				nc, peer := tcpPair(t)
				c := l.openPipe(t, plain{nc, unsupported}, peer, s)
				peer.Write(s.stream(textFrame("hello")))
				if _, p, err := c.ReadMessage(); string(p) != "hello" || err != nil {
					t.Errorf("read %q, %v", p, err)
				}
				if err := c.WriteMessage(text, []byte("hello")); err != nil {
					t.Errorf("WriteMessage: %v", err)
				}
				l.wants(t, "Close", c.Close(), "nil")
			})
		})
	}
}
