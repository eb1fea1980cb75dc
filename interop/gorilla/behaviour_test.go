package gorilla

// What programs rely on beyond types: error identities, defaults, what readers
// and writers do at their ends. Every test runs on both libraries with the
// same expectation.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// stream encodes frames for the role that s is not.
func (s setup) stream(frames ...frame) []byte {
	var b []byte
	for _, f := range frames {
		f.masked = s.server
		b = f.encode(b)
	}
	return b
}

func textFrame(p string) frame  { return frame{first: fin | text, payload: []byte(p)} }
func pingFrame(p string) frame  { return frame{first: fin | ping, payload: []byte(p)} }
func pongFrame(p string) frame  { return frame{first: fin | pong, payload: []byte(p)} }
func closeFrame(p string) frame { return frame{first: fin | closing, payload: []byte(p)} }

// onBothRoles runs a test on either library as server and as client.
func onBothRoles(t *testing.T, test func(t *testing.T, l library, s setup)) {
	t.Helper()
	onBoth(t, func(t *testing.T, l library) {
		for _, s := range setups[:2] {
			t.Run(s.String(), func(t *testing.T) { test(t, l, s) })
		}
	})
}

// wants compares the class of an error.
func (l library) wants(t *testing.T, what string, err error, class string) {
	t.Helper()
	if got := l.class(err); got != class {
		t.Errorf("%s: %s (%v), expected %s", what, got, err, class)
	}
}

func TestCloseErrorUnwrapped(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		for body, class := range map[string]string{
			"":            `CloseError 1005 ""`,
			"\x03\xe8":    `CloseError 1000 ""`,
			"\x03\xe9bye": `CloseError 1001 "bye"`,
			"\x0f\xa0":    `CloseError 4000 ""`,
		} {
			w := newWire(s.stream(closeFrame(body)))
			c := l.open(t, w, s)
			for range 3 {
				_, _, err := c.ReadMessage()
				l.wants(t, "ReadMessage", err, class)
			}
			l.wants(t, "WriteMessage", c.WriteMessage(text, nil), "ErrCloseSent")
			l.wants(t, "WriteControl", c.WriteControl(ping, nil, time.Time{}), "ErrCloseSent")
			_, err := c.NextWriter(text)
			l.wants(t, "NextWriter", err, "ErrCloseSent")
			sent := parseFrames(w.output())
			if want := body[:min(2, len(body))]; len(sent) != 1 || string(sent[0].payload) != want {
				t.Errorf("answered %v to the close frame %q", sent, body)
			}
		}
	})
}

func TestStreamEnds(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		const class = `CloseError 1006 "unexpected EOF"`
		whole := s.stream(textFrame("hello"))
		for n := range whole {
			c := l.open(t, newWire(slices.Clone(whole[:n])), s)
			_, _, err := c.ReadMessage()
			l.wants(t, "ReadMessage", err, class)
			if !l.isCloseError(err, 1006) || !l.isUnexpectedClose(err, 1000) || l.isUnexpectedClose(err, 1006) {
				t.Errorf("IsCloseError or IsUnexpectedCloseError misjudges %v", err)
			}
		}
	})
}

// TestNetworkErrors: an error of the connection reaches the program as it is.
func TestNetworkErrors(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		boom := errors.New("boom")
		w := newWire()
		w.end = boom
		c := l.open(t, w, s)
		w.failAt, w.failWith = 1, boom
		for range 2 {
			if _, _, err := c.ReadMessage(); err != boom {
				t.Errorf("ReadMessage: %v, expected the connection's error itself", err)
			}
			if err := c.WriteMessage(text, []byte("hello")); err != boom {
				t.Errorf("WriteMessage: %v, expected the connection's error itself", err)
			}
		}
		if err := c.WriteControl(ping, nil, time.Time{}); err != boom {
			t.Errorf("WriteControl: %v, expected the connection's error itself", err)
		}
	})
}

// TestEmptyReads: a reader may return nothing and no error now and then.
func TestEmptyReads(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		b := s.stream(textFrame("hello"))
		w := newWire()
		for i := range b {
			w.chunks = append(w.chunks, []byte{}, b[i:i+1])
		}
		if _, p, err := l.open(t, w, s).ReadMessage(); string(p) != "hello" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
	})
}

// temporary is an error that claims to pass.
type temporary struct{}

func (temporary) Error() string   { return "temporary" }
func (temporary) Timeout() bool   { return false }
func (temporary) Temporary() bool { return true }

// TestPermanentErrors: a program that retries on temporary errors must not
// spin on an error that will not pass.
func TestPermanentErrors(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire()
		w.end = temporary{}
		c := l.open(t, w, s)
		w.failAt, w.failWith = 1, temporary{}
		_, _, err := c.ReadMessage()
		for _, err := range []error{err, c.WriteMessage(text, []byte("hello"))} {
			if e, ok := err.(net.Error); err == nil || ok && e.Temporary() {
				t.Errorf("%T %v claims to be temporary", err, err)
			}
		}
	})
}

func TestNextReaderDiscards(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		long := strings.Repeat("x", 5000)
		w := newWire(s.stream(
			frame{first: text, payload: []byte(long)}, pingFrame("p"), frame{first: 0, payload: []byte(long)}, frame{first: fin, payload: []byte("end")},
			textFrame("second"), textFrame("third")))
		c := l.open(t, w, s)
		_, first, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(first, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
		kind, second, err := c.NextReader()
		if err != nil || kind != text {
			t.Fatalf("NextReader: %d, %v", kind, err)
		}
		for range 2 {
			if n, err := first.Read(make([]byte, 7)); n != 0 || err != io.EOF {
				t.Errorf("the old reader returns %d, %v; expected io.EOF", n, err)
			}
		}
		if p, err := io.ReadAll(second); string(p) != "second" || err != nil {
			t.Errorf("second message: %q, %v", p, err)
		}
		if n, err := second.Read(make([]byte, 7)); n != 0 || err != io.EOF {
			t.Errorf("a reader at its end returns %d, %v; expected io.EOF", n, err)
		}
		if _, p, err := c.ReadMessage(); string(p) != "third" || err != nil {
			t.Errorf("third message: %q, %v", p, err)
		}
	})
}

func TestJoinMessages(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		for term, want := range map[string]string{"": "abbccc", "\n": "a\nbb\n\nccc\n", "--": "a--bb----ccc--"} {
			w := newWire(s.stream(textFrame("a"), frame{first: binaryType, payload: []byte("b")}, pingFrame("x"), frame{first: fin, payload: []byte("b")},
				textFrame(""), textFrame("ccc"), closeFrame("\x03\xe8")))
			p, err := io.ReadAll(l.joinMessages(l.open(t, w, s), term))
			if string(p) != want {
				t.Errorf("joined with %q: %q, expected %q", term, p, want)
			}
			l.wants(t, "the joined reader", err, `CloseError 1000 ""`)
		}
	})
}

func TestReadJSON(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire(s.stream(textFrame(""), textFrame(" "), textFrame(`{"a":`), textFrame(`{]`), textFrame(`"a"`),
			textFrame(`[1] trailing`), frame{first: fin | binaryType, payload: []byte(`[2]`)}, closeFrame("")))
		c := l.open(t, w, s)
		var v []int
		for range 3 {
			if err := c.ReadJSON(&v); err != io.ErrUnexpectedEOF {
				t.Errorf("ReadJSON of a message without a whole value: %v, expected io.ErrUnexpectedEOF", err)
			}
		}
		var syntax *json.SyntaxError
		if err := c.ReadJSON(&v); !errors.As(err, &syntax) {
			t.Errorf("ReadJSON of no JSON: %v", err)
		}
		var wrongType *json.UnmarshalTypeError
		if err := c.ReadJSON(&v); !errors.As(err, &wrongType) {
			t.Errorf("ReadJSON into another type: %v", err)
		}
		for i, read := range []func() error{func() error { return c.ReadJSON(&v) }, func() error { return l.readJSON(c, &v) }} {
			if err := read(); err != nil || !slices.Equal(v, []int{i + 1}) {
				t.Errorf("read %v, %v", v, err)
			}
		}
		l.wants(t, "ReadJSON", c.ReadJSON(&v), `CloseError 1005 ""`)
	})
}

func TestWriteJSON(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire()
		c := l.open(t, w, s)
		v := map[string]any{"b": "<é>", "a": 1}
		for _, err := range []error{c.WriteJSON(v), l.writeJSON(c, v)} {
			if err != nil {
				t.Error(err)
			}
		}
		c.Close()
		var want bytes.Buffer
		json.NewEncoder(&want).Encode(v)
		m := message{text, want.Bytes()}
		if data, _, err := assemble(parseFrames(w.output())); err != nil || !equalMessages(data, []message{m, m}) {
			t.Errorf("sent %v, %v", data, err)
		}
	})
}

func TestFunctions(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		for text, want := range map[string]string{"": "\x03\xe8", "why": "\x03\xe8why", strings.Repeat("x", 200): "\x03\xe8" + strings.Repeat("x", 200)} {
			if got := l.formatClose(1000, text); string(got) != want {
				t.Errorf("FormatCloseMessage(1000, %q) = %q", text, got)
			}
		}
		if got := l.formatClose(1005, "why"); got == nil || len(got) != 0 {
			t.Errorf("FormatCloseMessage(1005) = %#v, expected an empty slice that is not nil", got)
		}
		if l.isCloseError(io.EOF, 1000) || l.isUnexpectedClose(io.EOF) || l.isCloseError(nil) || l.isUnexpectedClose(nil) {
			t.Error("another error is taken for a CloseError")
		}
		for header, want := range map[string][]string{"": nil, " ": nil, "a": {"a"}, " a , b,c ": {"a", "b", "c"}} {
			r := &http.Request{Header: http.Header{"Sec-Websocket-Protocol": {header}}}
			if got := l.subprotocols(r); !slices.Equal(got, want) || (got == nil) != (want == nil) {
				t.Errorf("Subprotocols of %q: %#v, expected %#v", header, got, want)
			}
		}
		for _, tt := range []struct {
			connection, upgrade []string
			want                bool
		}{
			{[]string{"Upgrade"}, []string{"websocket"}, true},
			{[]string{"keep-alive, upGRADE"}, []string{"WebSocket"}, true},
			{[]string{"keep-alive", "upgrade"}, []string{"h2c, websocket"}, true},
			{[]string{"Upgrade"}, []string{"h2c"}, false},
			{[]string{"keep-alive"}, []string{"websocket"}, false},
			{[]string{"notupgrade"}, []string{"websocket"}, false},
			{nil, nil, false},
		} {
			r := &http.Request{Header: http.Header{"Connection": tt.connection, "Upgrade": tt.upgrade}}
			if got := l.isWebSocketUpgrade(r); got != tt.want {
				t.Errorf("IsWebSocketUpgrade of %q, %q: %v", tt.connection, tt.upgrade, got)
			}
		}
	})
}

// TestNewClient: the deprecated way in.
func TestNewClient(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		w := newWire(setup{}.stream(textFrame("hello")))
		w.dialled = true
		c, resp, err := l.newClient(w, &url.URL{Scheme: "ws", Host: "example.com", Path: "/p"}, http.Header{"Origin": {"http://example.com"}}, 512, 512)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 101 || w.header("Origin") != "http://example.com" || w.header("Host") != "example.com" {
			t.Errorf("response %d to the request %q", resp.StatusCode, w.head)
		}
		if _, p, err := c.ReadMessage(); string(p) != "hello" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
	})
}

// TestUpgradeFunction: it leaves origins and answers to the caller.
func TestUpgradeFunction(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		r := upgradeRequest()
		r.Header.Set("Origin", "https://elsewhere.example")
		w := newWire()
		c, err := l.upgradeFn(newHijack(w, 4096), r, http.Header{"Sec-Websocket-Protocol": {"chosen"}, "X-A": {"b"}}, 512, 512)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subprotocol() != "chosen" || w.header("Sec-WebSocket-Protocol") != "chosen" || w.header("X-A") != "b" {
			t.Errorf("subprotocol %q, answer %q", c.Subprotocol(), w.head)
		}
		r.Header.Del("Upgrade")
		h := newHijack(newWire(), 4096)
		c, err = l.upgradeFn(h, r, nil, 512, 512)
		if c != nil {
			t.Error("a connection besides the error")
		}
		l.wants(t, "Upgrade", err, "HandshakeError")
		if h.Body.Len() > 0 || h.Code != 200 {
			t.Errorf("answered %d %q", h.Code, h.Body)
		}
	})
}

func TestConnections(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire()
		c := l.open(t, w, s)
		if c.NetConn() != net.Conn(w) || c.UnderlyingConn() != net.Conn(w) {
			t.Errorf("NetConn is a %T, UnderlyingConn a %T", c.NetConn(), c.UnderlyingConn())
		}
		if c.LocalAddr().String() != w.LocalAddr().String() || c.RemoteAddr().String() != w.RemoteAddr().String() {
			t.Errorf("addresses %v and %v", c.LocalAddr(), c.RemoteAddr())
		}
		for level := -4; level < 12; level++ {
			if err := c.SetCompressionLevel(level); (err == nil) != (-2 <= level && level <= 9) {
				t.Errorf("SetCompressionLevel(%d): %v", level, err)
			}
		}
	})
}
