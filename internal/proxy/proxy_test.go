package proxy_test

import (
	"bytes"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tautws/websocket/internal/proxy"
)

// A peer is the proxy's end of a connection: it sends what it has, whatever it is sent.
type peer struct {
	io.Reader
	got bytes.Buffer
}

func (p *peer) Write(b []byte) (int, error) { return p.got.Write(b) }

func answering(s string) *peer { return &peer{Reader: strings.NewReader(s)} }

// rest returns what of the answer was not read.
func (p *peer) rest() string {
	b, _ := io.ReadAll(p.Reader)
	return string(b)
}

func parse(t testing.TB, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// RFC 9110 §9.3.6: the request, byte for byte.
func TestConnectRequest(t *testing.T) {
	const end = "\r\nUser-Agent: Go-http-client/1.1\r\n"
	for _, tt := range []struct{ proxy, addr, want string }{
		{"http://p", "example.com:80", "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80" + end + "\r\n"},
		{"http://p", "[2001:db8::1]:443", "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443" + end + "\r\n"},
		{"http://Aladdin:open%20sesame@p", "a:80", "CONNECT a:80 HTTP/1.1\r\nHost: a:80" + end +
			"Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"},
		{"http://user:@p", "a:80", "CONNECT a:80 HTTP/1.1\r\nHost: a:80" + end + "Proxy-Authorization: Basic dXNlcjo=\r\n\r\n"},
		{"http://user@p", "a:80", "CONNECT a:80 HTTP/1.1\r\nHost: a:80" + end + "\r\n"},
	} {
		p := answering("HTTP/1.1 200 OK\r\n\r\n")
		if err := proxy.Connect(p, parse(t, tt.proxy), tt.addr); err != nil {
			t.Errorf("%s: %v", tt.proxy, err)
		}
		if got := p.got.String(); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.proxy, got, tt.want)
		}
	}
}

// RFC 9110 §9.3.6, §15.2: every 2xx opens the tunnel, and 1xx may come before it. The tunnel begins
// right behind the header section, whatever the answer says of its length.
func TestConnectAnswers(t *testing.T) {
	const rest = "\r\nHTTP/1.1 101 from the other end"
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200\r\n\r\n",
		"HTTP/1.0 200 Connection established\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nFolded: a\r\n b\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 299 Fine\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 60<<10) + "\r\n\r\n",
	} {
		p := answering(answer + rest)
		if err := proxy.Connect(p, parse(t, "http://p"), "a:80"); err != nil {
			t.Errorf("%.50q: %v", answer, err)
		}
		if got := p.rest(); got != rest {
			t.Errorf("%.50q: left %q", answer, got)
		}
	}
}

func TestConnectRefused(t *testing.T) {
	const long = "proxy: the answer to CONNECT is longer than 65536 bytes"
	for _, tt := range []struct{ name, answer, text string }{
		{"refused", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\nno", "Bad Gateway"},
		{"credentials", "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n", "Proxy Authentication Required"},
		{"another reason", "HTTP/1.1 403 Not at this hour\r\n\r\n", "Not at this hour"},
		{"no reason", "HTTP/1.1 407\r\n\r\n", "Proxy Authentication Required"},
		{"empty reason", "HTTP/1.1 503 \r\n\r\n", "Service Unavailable"},
		{"no reason for an unknown code", "HTTP/1.1 599\r\n\r\n", "status code 599"},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "Switching Protocols"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://q\r\n\r\n", "Found"},
		{"refused behind a hint", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", "Forbidden"},
		{"long reason", "HTTP/1.1 403 " + strings.Repeat("\u00e9", 1000) + "\r\n\r\n", strings.Repeat("\u00e9", 50) + "..."},
		{"long reason with a rune cut", "HTTP/1.1 403 a" + strings.Repeat("\u00e9", 1000) + "\r\n\r\n", "a" + strings.Repeat("\u00e9", 49) + "..."},
		{"reason for a terminal", "HTTP/1.1 403 \x1b[31mred\x07\xff\r\n\r\n", "?[31mred?"},
		{"not HTTP", "hello\r\n\r\n", `malformed HTTP response "hello"`},
		{"not HTTP, and long", strings.Repeat("x", 1000) + "\r\n", `malformed HTTP response "` + strings.Repeat("x", 75) + "..."},
		{"silent", "", "unexpected EOF"},
		{"hints without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5000), long},
		{"long line", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10), long},
		{"many lines", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: x\r\n", 20<<10), long},
		{"long status line", "HTTP/1.1 200 " + strings.Repeat("x", 100<<10), long},
	} {
		p := answering(tt.answer)
		err := proxy.Connect(p, parse(t, "http://user:secret@p"), "a:80")
		if err == nil || err.Error() != tt.text {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.text)
		}
		if n := len(tt.answer) - len(p.rest()); n > 64<<10 {
			t.Errorf("%s: %d bytes were read", tt.name, n)
		}
	}
}

// An answer that ends anywhere else is an error, and so is one that a connection breaks.
func TestConnectTruncated(t *testing.T) {
	const answer = "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\n"
	for n := range len(answer) {
		if err := proxy.Connect(answering(answer[:n]), parse(t, "http://p"), "a:80"); err == nil {
			t.Errorf("%q opens the tunnel", answer[:n])
		}
		p := &peer{Reader: io.MultiReader(strings.NewReader(answer[:n]), iotest.ErrReader(os.ErrDeadlineExceeded))}
		if err := proxy.Connect(p, parse(t, "http://p"), "a:80"); err != os.ErrDeadlineExceeded {
			t.Errorf("%q: %v", answer[:n], err)
		}
	}
}

// A failingWriter fails from its nth write on.
type failingWriter struct {
	io.Reader
	n int
}

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

func TestConnectWriteFails(t *testing.T) {
	if err := proxy.Connect(&failingWriter{strings.NewReader(""), 0}, parse(t, "http://p"), "a:80"); err != os.ErrDeadlineExceeded {
		t.Error(err)
	}
}

// FuzzConnect looks for an answer that is read too far or too short, or repeated at length.
func FuzzConnect(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\nrest")
	f.Add("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\nX: y\n z\n\nrest")
	f.Add("HTTP/1.1 200 OK\r\nContent-Length: 7, 8\r\nTransfer-Encoding: gzip\r\n\r\n")
	u := parse(f, "http://user:secret@p")
	f.Fuzz(func(t *testing.T, answer string) {
		p := answering(answer)
		err := proxy.Connect(p, u, "a:80")
		checkRead(t, answer, p.rest(), err, func(rw io.ReadWriter) error { return proxy.Connect(rw, u, "a:80") })
	})
}

// checkRead checks that what was read of an answer is all of it that counts, and that an error is
// short.
func checkRead(t *testing.T, answer, rest string, err error, ask func(io.ReadWriter) error) {
	t.Helper()
	read, ok := strings.CutSuffix(answer, rest)
	if !ok {
		t.Fatalf("%q is not the end of %q", rest, answer)
	}
	if err != nil {
		if len(err.Error()) > 300 {
			t.Errorf("the error has %d bytes: %v", len(err.Error()), err)
		}
		return
	}
	if err := ask(answering(read)); err != nil {
		t.Errorf("%q is not enough: %v", read, err)
	}
	if len(read) > 0 && ask(answering(read[:len(read)-1])) == nil {
		t.Errorf("%q is too much", read)
	}
	if err := ask(&peer{Reader: iotest.OneByteReader(strings.NewReader(answer))}); err != nil {
		t.Errorf("byte by byte: %v", err)
	}
}
