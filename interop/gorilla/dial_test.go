package gorilla

// What a program sees of a dial: the errors, the order of things, the bytes. A case runs on both
// libraries and must tell the same of them.

import (
	"bufio"
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
	"strconv"
	"strings"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// tell describes what a dial returned as a program can ask for it. Ports of the test differ.
func (l library) tell(c conn, resp *http.Response, err error) string {
	if c != nil {
		c.Close()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "conn %v, %q, ErrBadHandshake %v", c != nil, fmt.Sprint(err), err == l.errBadHandshake)
	if op, ok := err.(*net.OpError); ok {
		fmt.Fprintf(&b, ", OpError %s %s", op.Op, op.Net)
	}
	if ne, ok := err.(net.Error); ok {
		fmt.Fprintf(&b, ", Timeout %v, Temporary %v", ne.Timeout(), ne.Temporary())
	}
	for _, is := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrNoProgress, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, is) {
			fmt.Fprintf(&b, ", Is %q", is)
		}
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		b.WriteString(", CertificateVerificationError")
	}
	if resp != nil {
		body, err := io.ReadAll(resp.Body)
		fmt.Fprintf(&b, ", %s, %d bytes, %v", resp.Status, len(body), err)
	}
	return b.String()
}

// listen accepts connections until the test ends.
func listen(t *testing.T, handle func(c net.Conn, br *bufio.Reader)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
				handle(c, bufio.NewReader(c))
			}()
		}
	}()
	return l.Addr().String()
}

// answerWith answers a request with an answer that may have the right Sec-WebSocket-Accept in it.
func answerWith(s string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		if r, err := http.ReadRequest(br); err == nil {
			io.WriteString(c, strings.ReplaceAll(s, "ACCEPT", acceptKey(r.Header.Get("Sec-Websocket-Key"))))
			if c, ok := c.(*net.TCPConn); ok {
				c.CloseWrite()
			}
			io.Copy(io.Discard, br)
		}
	}
}

// socksAnswer answers the greeting and the request of a SOCKS client.
func socksAnswer(greeting, reply string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		io.ReadFull(br, make([]byte, 3))
		io.WriteString(c, greeting+reply)
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, br)
	}
}

func TestDialAlike(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := theirs.upgrade(gorilla.Upgrader{}, w, r, nil); err == nil {
			c.Close()
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: x509.NewCertPool()}
	secure.StartTLS()
	defer secure.Close()
	insecure := &tls.Config{InsecureSkipVerify: true}
	secureURL := "wss" + strings.TrimPrefix(secure.URL, "https")

	const ok = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"
	plain := "ws://" + listen(t, answerWith(ok))
	proxied := func(scheme string, handle func(net.Conn, *bufio.Reader)) func(*http.Request) (*url.URL, error) {
		return http.ProxyURL(&url.URL{Scheme: scheme, Host: listen(t, handle)})
	}
	fails := func(string, string) (net.Conn, error) { return nil, io.ErrNoProgress }

	cases := map[string]func(l library) string{}
	dial := func(name string, o gorilla.Dialer, rawURL string, h http.Header) {
		cases[name] = func(l library) string { return l.tell(l.dial(t.Context(), &o, rawURL, h)) }
	}
	dial("success", gorilla.Dialer{}, plain, nil)
	dial("success over TLS", gorilla.Dialer{TLSClientConfig: insecure}, secureURL, nil)
	dial("refused connection", gorilla.Dialer{}, "ws://127.0.0.1:1", nil)
	for _, u := range []string{"", "a", "ftp://a/", "http://a/", "https://a/", "WS://a", "ws://user:secret@a/", "ws://a b/", "ws://a:b/", "ws:///path", "wss://", "ws://[::1]:81"} {
		cases["URL "+u] = func(l library) string {
			dialled := ""
			o := gorilla.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
				dialled = network + " " + addr
				return nil, io.ErrNoProgress
			}}
			return l.tell(l.dial(t.Context(), &o, u, nil)) + " " + dialled
		}
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		dial("header "+name, gorilla.Dialer{Subprotocols: []string{"a"}}, plain, http.Header{name: {"x"}})
	}
	dial("dial function", gorilla.Dialer{NetDial: fails}, plain, nil)
	dial("dial function for TLS", gorilla.Dialer{NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return fails("", "") }}, secureURL, nil)
	for name, response := range map[string]string{
		"status": "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "long body": "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", 3000),
		"redirect":       "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
		"no Upgrade":     strings.Replace(ok, "Upgrade: websocket\r\n", "", 1),
		"no Connection":  strings.Replace(ok, "Connection: Upgrade\r\n", "", 1),
		"another accept": strings.Replace(ok, "ACCEPT", "x", 1),
		"nothing":        "", "half a status line": "HTTP/1.1", "half a header": ok[:60], "no HTTP": "SSH-2.0-x\r\n", "no status": "HTTP/1.1 abc\r\n\r\n",
		"no header": strings.Replace(ok, "Upgrade: ", "no colon\r\nUpgrade: ", 1), "bad length": "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
	} {
		dial("response "+name, gorilla.Dialer{}, "ws://"+listen(t, answerWith(response)), nil)
	}
	dial("unknown authority", gorilla.Dialer{}, secureURL, nil)
	dial("another name", gorilla.Dialer{TLSClientConfig: &tls.Config{RootCAs: roots(secure), ServerName: "other.example"}}, secureURL, nil)
	dial("client certificate", gorilla.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: secure.TLS.Certificates}}, secureURL, nil)
	dial("TLS to a server without", gorilla.Dialer{}, "wss"+strings.TrimPrefix(plain, "ws"), nil)
	dial("no TLS to a server with", gorilla.Dialer{}, "ws"+strings.TrimPrefix(secureURL, "wss"), nil)
	dial("passed timeout", gorilla.Dialer{HandshakeTimeout: -1}, plain, nil)
	cases["timeout of the response"] = func(l library) string {
		o := gorilla.Dialer{HandshakeTimeout: 10 * time.Millisecond, NetDial: func(string, string) (net.Conn, error) {
			return net.Dial("tcp", listen(t, func(c net.Conn, br *bufio.Reader) { io.Copy(io.Discard, br) }))
		}}
		_, resp, err := l.dial(t.Context(), &o, "ws://a", nil)
		op, ok := err.(*net.OpError)
		return fmt.Sprint(resp, ok, ok && op.Timeout(), ok && op.Temporary()) // "read" there, "dial" here
	}
	cases["canceled"] = func(l library) string {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return l.tell(l.dial(ctx, &gorilla.Dialer{}, plain, nil))
	}
	for _, response := range []string{"407 Proxy Authentication Required", "403 Not at this hour", "502 Bad Gateway", "302 Found"} {
		dial("CONNECT "+response, gorilla.Dialer{Proxy: proxied("http", answerWith("HTTP/1.1 "+response+"\r\n\r\n"))}, plain, nil)
	}
	dial("CONNECT and nothing", gorilla.Dialer{Proxy: proxied("http", answerWith(""))}, plain, nil)
	dial("CONNECT without HTTP", gorilla.Dialer{Proxy: proxied("http", answerWith("x\r\n"))}, plain, nil)
	for _, code := range []int{3, 4, 5, 6, 7, 8} {
		dial("SOCKS reply "+strconv.Itoa(code), gorilla.Dialer{Proxy: proxied("socks5", socksAnswer("\x05\x00", "\x05"+string(rune(code))+"\x00\x01"))}, plain, nil)
	}
	dial("SOCKS version", gorilla.Dialer{Proxy: proxied("socks5", socksAnswer("\x04\x00", ""))}, plain, nil)
	dial("SOCKS credentials", gorilla.Dialer{Proxy: proxied("socks5", socksAnswer("\x05\xff", ""))}, plain, nil)
	dial("SOCKS address type", gorilla.Dialer{Proxy: proxied("socks5", socksAnswer("\x05\x00", "\x05\x00\x00\x02"))}, plain, nil)
	for n := range 8 {
		reply := "\x05\x00\x00\x03\x01a\x00\x50"[:n]
		dial("SOCKS cut at "+strconv.Itoa(n), gorilla.Dialer{Proxy: proxied("socks5", socksAnswer("\x05\x00", reply))}, plain, nil)
	}
	dial("scheme of the proxy", gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "ftp", Host: "a"})}, plain, nil)
	dial("Proxy", gorilla.Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, io.ErrNoProgress }}, plain, nil)

	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			their, our := c(theirs), c(ours)
			if strings.HasPrefix(name, "SOCKS cut") {
				our, _, _ = strings.Cut(our, ", Is ") // the error of the connection is wrapped here
			}
			if their != our {
				t.Errorf("\ngorilla %s\nhere    %s", their, our)
			}
		})
	}
}

func roots(s *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.Certificate())
	return p
}

// TestDialTrace: every event of httptrace, in its order and with its arguments.
func TestDialTrace(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := theirs.upgrade(gorilla.Upgrader{}, w, r, nil); err == nil {
			c.Close()
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	host := secure.Listener.Addr().String()
	tunnel := listen(t, func(c net.Conn, br *bufio.Reader) {
		http.ReadRequest(br)
		out, err := net.Dial("tcp", host)
		if err != nil {
			return
		}
		defer out.Close()
		io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(out, br)
		io.Copy(c, out)
	})
	insecure := &tls.Config{InsecureSkipVerify: true}
	for name, d := range map[string]struct {
		o   gorilla.Dialer
		url string
	}{
		"TLS":     {gorilla.Dialer{TLSClientConfig: insecure}, "wss://" + host},
		"no TLS":  {gorilla.Dialer{}, "ws://" + listen(t, answerWith("HTTP/1.1 403 Forbidden\r\n\r\n"))},
		"proxy":   {gorilla.Dialer{TLSClientConfig: insecure, Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: tunnel})}, "wss://example.com"},
		"refused": {gorilla.Dialer{}, "ws://127.0.0.1:1"},
		"own TLS": {gorilla.Dialer{NetDialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: insecure}).DialContext(ctx, network, addr)
		}}, "wss://" + host},
		"bad certificate": {gorilla.Dialer{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}, "wss://" + host},
		"no response":     {gorilla.Dialer{}, "ws://" + listen(t, func(c net.Conn, br *bufio.Reader) { http.ReadRequest(br) })},
	} {
		t.Run(name, func(t *testing.T) {
			trace := func(l library) string {
				var events, fields []string
				event := func(s ...any) { events = append(events, strings.TrimSpace(fmt.Sprintln(s...))) }
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GetConn: func(hostPort string) { event("GetConn", hostPort) },
					GotConn: func(info httptrace.GotConnInfo) {
						event("GotConn", fmt.Sprintf("%T", info.Conn), info.Reused, info.WasIdle)
					},
					ConnectStart:      func(network, addr string) { event("ConnectStart", network, addr) },
					ConnectDone:       func(network, addr string, err error) { event("ConnectDone", network, addr, err) },
					TLSHandshakeStart: func() { event("TLSHandshakeStart") },
					TLSHandshakeDone: func(s tls.ConnectionState, err error) {
						event("TLSHandshakeDone", s.HandshakeComplete, s.ServerName, err)
					},
					WroteHeaderField:     func(key string, value []string) { fields = append(fields, key) },
					WroteHeaders:         func() { event("WroteHeaders") },
					WroteRequest:         func(info httptrace.WroteRequestInfo) { event("WroteRequest", info.Err) },
					GotFirstResponseByte: func() { event("GotFirstResponseByte") },
				})
				c, _, err := l.dial(ctx, &d.o, d.url, nil)
				if err == nil {
					c.Close()
				}
				return strings.Join(append(events, fmt.Sprint(fields)), "\n")
			}
			if their, our := trace(theirs), trace(ours); their != our {
				t.Errorf("gorilla\n%s\nhere\n%s", their, our)
			}
		})
	}
}

// TestDialRequestAlike: the same bytes, but for the key.
func TestDialRequestAlike(t *testing.T) {
	jar, _ := cookiejar.New(nil)
	jar.SetCookies(&url.URL{Scheme: "http", Host: "a"}, []*http.Cookie{{Name: "k", Value: "v"}, {Name: "l", Value: "w x"}})
	for _, d := range []struct {
		o   gorilla.Dialer
		url string
		h   http.Header
	}{
		{gorilla.Dialer{}, "ws://a", nil},
		{gorilla.Dialer{}, "ws://a:80/x%2fy/../z?q=%23&r#"[:28], nil},
		{gorilla.Dialer{}, "ws:///nowhere", nil},
		{gorilla.Dialer{}, "ws://b\u00fccher.example/\u00e9", nil},
		{gorilla.Dialer{}, "ws://[fe80::1%25eth0]:81/", nil},
		{gorilla.Dialer{EnableCompression: true, Subprotocols: []string{"a", "b/c"}, Jar: jar}, "ws://a/", http.Header{"Origin": {"http://o"}}},
		{gorilla.Dialer{Jar: jar}, "ws://a/", http.Header{"Cookie": {"m=n", "o=p"}}},
		{gorilla.Dialer{}, "ws://a", http.Header{"Host": {"h", "i"}, "User-Agent": {""}}},
		{gorilla.Dialer{}, "ws://a", http.Header{"Host": {}, "User-Agent": {"u", "v"}, "Empty": {""}, "None": {}}},
		{gorilla.Dialer{}, "ws://a", http.Header{"X": {"a\r\nb", " c "}, "no token": {"x"}, "y": {"lower"}, "Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}}},
		{gorilla.Dialer{}, "ws://a", http.Header{"Host": {"h\r\ni"}, "Sec-Websocket-Protocol": {"a, b", "c"}}},
	} {
		request := func(l library) string {
			here, there := net.Pipe()
			d.o.NetDial = func(string, string) (net.Conn, error) { return here, nil }
			errs := make(chan error, 1)
			go func() {
				defer here.Close()
				_, _, err := l.dial(t.Context(), &d.o, d.url, d.h)
				errs <- err
			}()
			var lines []string
			br := bufio.NewReader(there)
			for {
				line, err := br.ReadString('\n')
				if line == "\r\n" || err != nil {
					there.Close()
					return strings.Join(lines, "") + fmt.Sprint(err, " ", <-errs)
				}
				if !strings.HasPrefix(line, "Sec-WebSocket-Key: ") {
					lines = append(lines, line)
				}
			}
		}
		if their, our := request(theirs), request(ours); their != our {
			t.Errorf("%s %v:\ngorilla %q\nhere    %q", d.url, d.h, their, our)
		}
	}
}

// A watched is a connection that notes what is done to it.
type watched struct {
	net.Conn
	done *[]string
}

func (c watched) Read(p []byte) (int, error)  { c.note("Read"); return c.Conn.Read(p) }
func (c watched) Write(p []byte) (int, error) { c.note("Write"); return c.Conn.Write(p) }
func (c watched) Close() error                { c.note("Close"); return c.Conn.Close() }

func (c watched) SetDeadline(t time.Time) error {
	c.note(fmt.Sprintf("SetDeadline zero=%v", t.IsZero()))
	return c.Conn.SetDeadline(t)
}

func (c watched) note(s string) {
	if n := len(*c.done); n == 0 || (*c.done)[n-1] != s {
		*c.done = append(*c.done, s)
	}
}

// TestDialConn: a connection has its deadline before it is used, is closed if the dial fails, and
// is the Conn's own if it does not.
func TestDialConn(t *testing.T) {
	for _, d := range []struct {
		response, url string
		timeout       time.Duration
	}{
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", "ws://a", time.Hour},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n", "ws://a", 0},
		{"HTTP/1.1 403 Forbidden\r\n\r\n", "ws://a", time.Hour},
		{"", "ws://a", time.Hour},
		{"", "wss://a", time.Hour},
	} {
		address := listen(t, answerWith(d.response))
		done := func(l library) string {
			var done []string
			o := gorilla.Dialer{HandshakeTimeout: d.timeout, NetDial: func(string, string) (net.Conn, error) {
				nc, err := net.Dial("tcp", address)
				return watched{nc, &done}, err
			}}
			c, _, err := l.dial(t.Context(), &o, d.url, nil)
			result := fmt.Sprint(done, err == nil)
			if err == nil {
				_, own := c.NetConn().(watched)
				result += fmt.Sprint(own)
				c.Close()
			}
			return result
		}
		if their, our := done(theirs), done(ours); their != our {
			t.Errorf("%.30q:\ngorilla %s\nhere    %s", d.response, their, our)
		}
	}
}

// TestDialGoroutine: the functions of a Dialer run where Dial was called, and their panics come out
// there.
func TestDialGoroutine(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		if got := dialGoroutine(t, l); got != "the caller's" {
			t.Errorf("NetDial ran on %s", got)
		}
		if got := dialPanic(t, l); got != "mine" {
			t.Errorf("recovered %s", got)
		}
	})
}

// TestDialSOCKS: a whole conversation through a proxy.
func TestDialSOCKS(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		if got := throughSOCKS(t, l); got != "hello" {
			t.Error(got)
		}
	})
}
