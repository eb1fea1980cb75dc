package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket/internal/deflate"
	"github.com/tautws/websocket/internal/wiretest"
)

const (
	snct = "; server_no_context_takeover"
	cnct = "; client_no_context_takeover"
	smwb = "; server_max_window_bits"
	cmwb = "; client_max_window_bits"
)

// formatExtensions writes extensions as a header value.
func formatExtensions(exts []extension) string {
	var b strings.Builder
	for i, ext := range exts {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(ext.name)
		for _, p := range ext.params {
			b.WriteString("; " + p.name)
			if p.hasValue {
				b.WriteString("=" + p.value)
			}
		}
	}
	return b.String()
}

// RFC 6455 §9.1.
func TestParseExtensions(t *testing.T) {
	for _, tt := range []struct {
		lines []string
		want  string // the elements as formatExtensions writes them
		ok    bool
	}{
		{nil, "", true},
		{[]string{""}, "", true},
		{[]string{" , ,"}, "", true},
		{[]string{"foo"}, "foo", true},
		{[]string{"foo", "bar"}, "foo, bar", true},
		{[]string{"foo,bar;baz=2"}, "foo, bar; baz=2", true},
		{[]string{"foo , bar; baz = 2"}, "foo, bar; baz=2", true},
		{[]string{"foo\t;\ta\t=\tb\t,\tbar"}, "foo; a=b, bar", true},
		{[]string{",foo,,bar,"}, "foo, bar", true},
		{[]string{"mux; max-channels=4; flow-control, deflate-stream"}, "mux; max-channels=4; flow-control, deflate-stream", true},
		{[]string{"foo; a; a=1; a"}, "foo; a; a=1; a", true},
		{[]string{`foo; x="10"`}, "foo; x=10", true},
		{[]string{`foo; x = "1\0"`}, "foo; x=10", true},
		{[]string{`foo; x="\1\0" ; y`}, "foo; x=10; y", true},
		// A quoted string's content must be a token.
		{[]string{`foo; x="b,a;z"`}, "", false},
		{[]string{`foo; x=""`}, "", false},
		{[]string{`foo; x="a b", bar`}, "", false},
		{[]string{`foo; x="a\"b"`}, "", false},
		{[]string{`foo; x="abc`}, "", false},
		{[]string{`foo; x="abc\`}, "", false},
		{[]string{`foo; x="a"b`}, "", false},
		// What came before a mistake stays, and so do other lines.
		{[]string{"foo, bar; baz=2 junk"}, "foo", false},
		{[]string{"foo junk, bar"}, "", false},
		{[]string{"foo junk, bar", "baz"}, "baz", false},
		{[]string{"foo, bar;"}, "foo", false},
		{[]string{"foo, ;bar"}, "foo", false},
		{[]string{"foo; a="}, "", false},
		{[]string{"foo; =1"}, "", false},
		{[]string{"foo=1"}, "", false},
		{[]string{"\x00"}, "", false},
		{[]string{"f\u00f6\u00f6"}, "", false},
	} {
		exts, err := parseExtensions(tt.lines)
		if got := formatExtensions(exts); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %q, %v; want %q", tt.lines, got, err, tt.want)
		}
	}
}

// params writes deflateParams in short, for tables.
func (p deflateParams) String() string {
	if !p.enabled {
		return "none"
	}
	s := ""
	if p.serverNoContextTakeover {
		s += "s"
	}
	if p.clientNoContextTakeover {
		s += "c"
	}
	return fmt.Sprintf("%s%d/%d", s, p.serverMaxWindowBits, p.clientMaxWindowBits)
}

// RFC 7692 §5.1 and §7.1, the server: what it answers to an offer and what then holds. In params, s
// and c stand for server_ and client_no_context_takeover, the numbers for the server's and the
// client's window.
func TestAcceptDeflate(t *testing.T) {
	const pmd = "permessage-deflate"
	for _, tt := range []struct {
		offer        string // lines are separated by |
		keep         string // the answer with ContextTakeover; "-": declined
		keepParams   string
		forget       string // the answer without
		forgetParams string
	}{
		// §7.1.1
		{pmd, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + snct, pmd + snct, "s15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + cnct, pmd + cnct, "c15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + snct + cnct, pmd + snct + cnct, "sc15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + cnct + snct, pmd + snct + cnct, "sc15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + snct + "=1", "-", "", "-", ""},
		{pmd + cnct + "=true", "-", "", "-", ""},
		{pmd + snct + `="x"`, "-", "", "-", ""},
		{pmd + snct + snct, "-", "", "-", ""},
		{pmd + cnct + cnct, "-", "", "-", ""},
		// §7.1.2.1
		{pmd + smwb + "=8", pmd + smwb + "=8", "8/15", pmd + snct + cnct + smwb + "=8", "sc8/15"},
		{pmd + smwb + "=9", pmd + smwb + "=9", "9/15", pmd + snct + cnct + smwb + "=9", "sc9/15"},
		{pmd + smwb + "=10", pmd + smwb + "=10", "10/15", pmd + snct + cnct + smwb + "=10", "sc10/15"},
		{pmd + smwb + "=11", pmd + smwb + "=11", "11/15", pmd + snct + cnct + smwb + "=11", "sc11/15"},
		{pmd + smwb + "=12", pmd + smwb + "=12", "12/15", pmd + snct + cnct + smwb + "=12", "sc12/15"},
		{pmd + smwb + "=13", pmd + smwb + "=13", "13/15", pmd + snct + cnct + smwb + "=13", "sc13/15"},
		{pmd + smwb + "=14", pmd + smwb + "=14", "14/15", pmd + snct + cnct + smwb + "=14", "sc14/15"},
		{pmd + smwb + "=15", pmd + smwb + "=15", "15/15", pmd + snct + cnct + smwb + "=15", "sc15/15"},
		{pmd + smwb + `="10"`, pmd + smwb + "=10", "10/15", pmd + snct + cnct + smwb + "=10", "sc10/15"},
		{pmd + snct + smwb + "=10", pmd + snct + smwb + "=10", "s10/15", pmd + snct + cnct + smwb + "=10", "sc10/15"},
		{pmd + smwb, "-", "", "-", ""},
		{pmd + smwb + "=7", "-", "", "-", ""},
		{pmd + smwb + "=16", "-", "", "-", ""},
		{pmd + smwb + "=0", "-", "", "-", ""},
		{pmd + smwb + "=08", "-", "", "-", ""},
		{pmd + smwb + "=015", "-", "", "-", ""},
		{pmd + smwb + "=+9", "-", "", "-", ""},
		{pmd + smwb + "=-9", "-", "", "-", ""},
		{pmd + smwb + "=9.0", "-", "", "-", ""},
		{pmd + smwb + "=x", "-", "", "-", ""},
		{pmd + smwb + "=99999999999999999999", "-", "", "-", ""},
		{pmd + smwb + "=9" + smwb + "=9", "-", "", "-", ""},
		// §7.1.2.2
		{pmd + cmwb, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + cmwb + "=8", pmd + cmwb + "=8", "15/8", pmd + snct + cnct + cmwb + "=8", "sc15/8"},
		{pmd + cmwb + "=15", pmd + cmwb + "=15", "15/15", pmd + snct + cnct + cmwb + "=15", "sc15/15"},
		{pmd + cmwb + "=7", "-", "", "-", ""},
		{pmd + cmwb + "=16", "-", "", "-", ""},
		{pmd + cmwb + "=09", "-", "", "-", ""},
		{pmd + cmwb + "=x", "-", "", "-", ""},
		{pmd + cmwb + cmwb, "-", "", "-", ""},
		{pmd + cmwb + cmwb + "=9", "-", "", "-", ""},
		{pmd + cmwb + "=9" + smwb + "=10", pmd + smwb + "=10" + cmwb + "=9", "10/9", pmd + snct + cnct + smwb + "=10" + cmwb + "=9", "sc10/9"},
		{pmd + snct + cnct + smwb + "=12" + cmwb, pmd + snct + cnct + smwb + "=12", "sc12/15", pmd + snct + cnct + smwb + "=12", "sc12/15"},
		// §7.1: unknown parameters; names are compared exactly.
		{pmd + "; x", "-", "", "-", ""},
		{pmd + "; x=1", "-", "", "-", ""},
		{pmd + snct + "; x", "-", "", "-", ""},
		{pmd + "; Server_No_Context_Takeover", "-", "", "-", ""},
		// §5.1: the first acceptable offer is taken.
		{"", "-", "", "-", ""},
		{"x-webkit-deflate-frame", "-", "", "-", ""},
		{"permessage-bzip2, " + pmd, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		{"permessage-deflate-2, " + pmd + "-", "-", "", "-", ""},
		{pmd + smwb + "=10, " + pmd, pmd + smwb + "=10", "10/15", pmd + snct + cnct + smwb + "=10", "sc10/15"},
		{pmd + smwb + "=7, " + pmd + cnct, pmd + cnct, "c15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + smwb + ", " + pmd + "; x, " + pmd + snct, pmd + snct, "s15/15", pmd + snct + cnct, "sc15/15"},
		{"foo|" + pmd, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + "; x|" + pmd, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		// RFC 6455 §9.1: what does not follow the grammar is no offer.
		{pmd + ";", "-", "", "-", ""},
		{pmd + " x", "-", "", "-", ""},
		{pmd + smwb + `="9 "`, "-", "", "-", ""},
		{pmd + smwb + "=", "-", "", "-", ""},
		{"foo bar, " + pmd, "-", "", "-", ""},
		{"foo bar|" + pmd, pmd, "15/15", pmd + snct + cnct, "sc15/15"},
		{pmd + ", foo bar", pmd, "15/15", pmd + snct + cnct, "sc15/15"},
	} {
		for _, mode := range []struct {
			keep           bool
			answer, params string
		}{{true, tt.keep, tt.keepParams}, {false, tt.forget, tt.forgetParams}} {
			p, answer := acceptDeflate(strings.Split(tt.offer, "|"), CompressionOptions{ContextTakeover: mode.keep})
			if answer == "" {
				answer, mode.params = "-", "none"
			}
			if answer != mode.answer || p.String() != mode.params {
				t.Errorf("%q with takeover %v: got %q, %s; want %q, %s", tt.offer, mode.keep, answer, p, mode.answer, mode.params)
			}
		}
	}
}

// RFC 6455 §4.1, RFC 7692 §5 and §7.1, the client: which answers it takes. An empty params column
// means that the handshake fails.
func TestCheckDeflate(t *testing.T) {
	const pmd = "permessage-deflate"
	for _, tt := range []struct {
		answer  string // lines are separated by |
		keep    string // params with ContextTakeover
		forget  string // params without
		nothing string // params if nothing was offered
	}{
		{"", "none", "none", "none"},
		{" ,", "none", "none", "none"},
		{pmd, "15/15", "", ""},
		{pmd + snct, "s15/15", "sc15/15", ""},
		{pmd + cnct, "c15/15", "", ""},
		{pmd + snct + cnct, "sc15/15", "sc15/15", ""},
		{pmd + cnct + " ;server_no_context_takeover", "sc15/15", "sc15/15", ""},
		{pmd + snct + cnct + smwb + "=8", "sc8/15", "sc8/15", ""},
		{pmd + snct + cnct + smwb + "=15", "sc15/15", "sc15/15", ""},
		{pmd + snct + cnct + smwb + `="9"`, "sc9/15", "sc9/15", ""},
		{pmd + smwb + "=12", "12/15", "", ""},
		{pmd + cmwb + "=8", "15/8", "", ""},
		{pmd + cmwb + "=15", "15/15", "", ""},
		{pmd + snct + cmwb + "=10", "s15/10", "", ""},
		{pmd + snct + cnct + cmwb + "=10", "sc15/10", "", ""},
		{pmd + smwb + "=9" + cmwb + "=10", "9/10", "", ""},
		{pmd + snct + cmwb, "", "", ""},
		{pmd + snct + smwb, "", "", ""},
		{pmd + snct + smwb + "=7", "", "", ""},
		{pmd + snct + smwb + "=16", "", "", ""},
		{pmd + snct + smwb + "=010", "", "", ""},
		{pmd + snct + cmwb + "=16", "", "", ""},
		{pmd + snct + cmwb + "=08", "", "", ""},
		{pmd + snct + "=1", "", "", ""},
		{pmd + snct + cnct + "=1", "", "", ""},
		{pmd + snct + snct, "", "", ""},
		{pmd + snct + smwb + "=9" + smwb + "=9", "", "", ""},
		{pmd + snct + "; x", "", "", ""},
		{pmd + snct + cnct + "; mux=1", "", "", ""},
		{pmd + snct + ", " + pmd + snct, "", "", ""},
		{pmd + snct + "|" + pmd + snct, "", "", ""},
		{"permessage-bzip2", "", "", ""},
		{"x, " + pmd + snct, "", "", ""},
		{pmd + snct + "|x", "", "", ""},
		{"Permessage-Deflate" + snct, "", "", ""},
		{pmd + snct + ";", "", "", ""},
		{pmd + snct + " x", "", "", ""},
		{"=", "", "", ""},
	} {
		for _, mode := range []struct {
			name          string
			offered, keep bool
			params        string
		}{{"takeover", true, true, tt.keep}, {"no takeover", true, false, tt.forget}, {"nothing offered", false, true, tt.nothing}} {
			p, err := checkDeflate(strings.Split(tt.answer, "|"), mode.offered, CompressionOptions{ContextTakeover: mode.keep})
			got := p.String()
			if err != nil {
				if p != (deflateParams{}) {
					t.Errorf("%q: %v and also %s", tt.answer, err, p)
				}
				got = ""
			}
			if got != mode.params {
				t.Errorf("%q, %s: got %q, %v; want %q", tt.answer, mode.name, got, err, mode.params)
			}
		}
	}
}

// Both of our own ends agree on what each of them offers and answers.
func TestDeflateAgreement(t *testing.T) {
	for _, client := range []bool{false, true} {
		for _, server := range []bool{false, true} {
			offer := offerDeflate(CompressionOptions{ContextTakeover: client})
			accepted, answer := acceptDeflate([]string{offer}, CompressionOptions{ContextTakeover: server})
			checked, err := checkDeflate([]string{answer}, true, CompressionOptions{ContextTakeover: client})
			if err != nil || accepted != checked || !checked.enabled {
				t.Errorf("takeover %v to %v: server has %s, client has %s, %v", client, server, accepted, checked, err)
			}
		}
	}
}

func FuzzExtensions(f *testing.F) {
	for _, s := range []string{
		"", ",", "foo; a=b; c, bar", `permessage-deflate; server_max_window_bits="1\0"`, `x; y="`, "a;b=;c",
		"permessage-deflate" + snct + cnct + smwb + "=9" + cmwb, "permessage-deflate; x, permessage-deflate" + cmwb + "=8",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		exts, _ := parseExtensions([]string{line})
		again, err := parseExtensions([]string{formatExtensions(exts)})
		if err != nil || !reflect.DeepEqual(exts, again) {
			t.Errorf("%q was read as %q, then as %q, %v", line, formatExtensions(exts), formatExtensions(again), err)
		}
		for _, ext := range exts {
			if !isToken(ext.name) {
				t.Errorf("name %q is not a token", ext.name)
			}
			for _, p := range ext.params {
				if !isToken(p.name) || p.hasValue != (p.value != "") || p.hasValue && !isToken(p.value) {
					t.Errorf("parameter %+v", p)
				}
			}
		}
		for _, takeover := range []bool{false, true} {
			p, answer := acceptDeflate([]string{line}, CompressionOptions{ContextTakeover: takeover})
			if p.enabled != (answer != "") {
				t.Errorf("%s is answered with %q", p, answer)
			}
			if !p.enabled {
				continue
			}
			checked, err := checkDeflate([]string{answer}, true, CompressionOptions{ContextTakeover: true})
			if err != nil || checked != p {
				t.Errorf("%q means %s to the server, %s, %v to the client", answer, p, checked, err)
			}
		}
	})
}

func TestFirstLevel(t *testing.T) {
	for _, test := range []struct {
		option   int
		bits     int
		takeover bool
		level    int
	}{
		{0, 15, false, 1}, {0, 15, true, deflate.TakeoverLevel}, {0, 14, true, 1},
		{1, 15, true, 1}, {9, 15, false, 9}, {-1, 15, false, -1}, {-2, 15, false, -2},
		{10, 15, false, 1}, {-3, 15, true, deflate.TakeoverLevel},
	} {
		if level := firstLevel(test.option, test.bits, test.takeover); level != test.level {
			t.Errorf("option %d, %d bits, takeover %v: level %d, want %d",
				test.option, test.bits, test.takeover, level, test.level)
		}
	}
}

// takeoverConfig is a connection that compresses with context takeover.
func takeoverConfig(server bool) connConfig {
	return connConfig{
		isServer:    server,
		deflate:     deflateParams{enabled: true, serverMaxWindowBits: 15, clientMaxWindowBits: 15},
		compression: CompressionOptions{ContextTakeover: true},
	}
}

// A message that was compressed and never sent is none that later ones refer to.
func TestTakeoverAfterMessageGivenUp(t *testing.T) {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 200)
	for name, giveUp := range map[string]func(c *Conn, ctx context.Context, cancel func()) error{
		"WriteMessageContext": func(c *Conn, ctx context.Context, cancel func()) error {
			cancel()
			return c.WriteMessageContext(ctx, TextMessage, []byte(text))
		},
		"NextWriterContext": func(c *Conn, ctx context.Context, cancel func()) error {
			w, err := c.NextWriterContext(ctx, TextMessage)
			if err != nil {
				return err
			}
			if _, err = io.WriteString(w, text); err != nil {
				return err
			}
			cancel()
			return w.Close()
		},
		"deadline": func(c *Conn, _ context.Context, _ func()) error {
			c.write.mu.Lock(noContext, nil)
			defer c.write.unlock()
			c.SetWriteDeadline(time.Now().Add(time.Millisecond))
			defer c.SetWriteDeadline(time.Time{})
			return c.WriteMessage(TextMessage, []byte(text))
		},
	} {
		bubble(t, name, func(t *testing.T) {
			a, b := net.Pipe()
			c, far := newConn(a, takeoverConfig(true)), newConn(b, takeoverConfig(false))
			defer far.Close()
			defer c.Close()
			ctx, cancel := newCancel()
			defer cancel()
			read := asyncRead(far)
			if err := giveUp(c, ctx, cancel); err == nil {
				t.Fatal("the message was not given up")
			}
			if err := c.WriteMessage(TextMessage, []byte(text)); err != nil {
				t.Fatal("after a message of which nothing was sent:", err)
			}
			if got := ended(t, "read", read); got.data != text || got.err != nil {
				t.Errorf("read %s, %v", wiretest.Shortened(got.data), got.err)
			}
		})
	}
}

func deflatedFrame(data string) wireFrame {
	payload := deflate.NewWriter(15, false, 6).AppendMessage(nil, []byte(data))
	return frame(finBit|rsv1Bit|BinaryMessage, string(payload))
}

// The reader of a message whose connection was closed does not take what it has for the whole.
func TestCompressedReaderOfClosedConn(t *testing.T) {
	data := strings.Repeat("abcdefgh", 4000)
	for _, how := range []struct {
		name string
		end  func(c *Conn)
		want error
	}{
		{"Close", func(c *Conn) { c.Close() }, net.ErrClosed},
		{"abort", func(c *Conn) { c.abort(&timeoutError{text: "gone"}) }, os.ErrDeadlineExceeded},
	} {
		bubble(t, how.name, func(t *testing.T) {
			c, p := overPipe(t, wireConfig(true, true, false))
			go p.send(deflatedFrame(data))
			_, r, err := c.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			how.end(c)
			if rest, err := io.ReadAll(r); !errors.Is(err, how.want) {
				t.Errorf("%d bytes of %d, %v, want %v", 10+len(rest), len(data), err, how.want)
			}
			if err := readErr(c); !errors.Is(err, how.want) {
				t.Errorf("next: %v, want %v", err, how.want)
			}
		})
	}
}

// A closed connection holds nothing for its compression, in whatever state it was closed.
func TestClosedConnHoldsNoCompression(t *testing.T) {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 1000)
	payload := deflate.NewWriter(15, false, 6).AppendMessage(nil, []byte(text))
	frame := clientFrame(finBit|rsv1Bit|BinaryMessage, payload)
	for name, use := range map[string]func(c *Conn){
		"message read": func(c *Conn) {
			if _, p, err := c.ReadMessage(); err != nil || string(p) != text {
				t.Error(len(p), err)
			}
			c.Close()
		},
		"inside a message read": func(c *Conn) {
			_, r, err := c.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			io.ReadFull(r, make([]byte, 10))
			c.Close()
		},
		"message written": func(c *Conn) {
			if err := c.WriteMessage(TextMessage, []byte(text)); err != nil {
				t.Error(err)
			}
			c.Close()
		},
		"inside a message written": func(c *Conn) {
			w, err := c.NextWriter(TextMessage)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, text)
			c.Close()
			w.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			heap := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // the pools are empty
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			var conns [100]*Conn
			before := heap()
			for i := range conns {
				conns[i] = newConn(&loopConn{in: frame, step: 1 << 20}, takeoverConfig(true))
				use(conns[i])
			}
			if n := (heap() - before) / len(conns); n > 8<<10 {
				t.Errorf("%d bytes per closed connection", n)
			}
			runtime.KeepAlive(conns)
		})
	}
}
