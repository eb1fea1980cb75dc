package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// splice copies between two connections until either ends.
func splice(a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(a, b); a.Close() })
	wg.Go(func() { io.Copy(b, a); b.Close() })
	wg.Wait()
}

// httpProxy serves CONNECT on c. It asks for credentials ("user:password", "" for none), tells asked
// which host is wanted, and connects to target in its place.
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
					if strings.HasPrefix(scheme, "socks") && credentials == "user:" {
						return // SOCKS has no empty passwords
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
					var op *net.OpError
					if strings.HasPrefix(scheme, "http") && (!errors.As(err, &op) || op.Op != "proxyconnect" ||
						!strings.Contains(err.Error(), "refused a tunnel to "+host+": 407 Proxy Authentication Required")) {
						t.Errorf("wrong password: %v", err)
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
	if _, _, err := d.Dial("ws://a", nil); err == nil || !strings.Contains(err.Error(), `"ftp"`) {
		t.Errorf("unknown scheme: %v", err)
	}
	for _, tt := range []struct{ name, answer, text string }{
		{"refused", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "refused a tunnel to a:80: 502 Bad Gateway"},
		{"too talkative", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101", "data behind its answer"},
		{"silent", "", "EOF"},
		{"not HTTP", "hello\r\n\r\n", "malformed"},
		{"switching protocols", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "refused a tunnel to a:80: 101 Switching Protocols"},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: http://q\r\n\r\n", "refused a tunnel to a:80: 302 Found"},
		{"refused after a hint", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", "refused a tunnel to a:80: 403 Forbidden"},
		{"hints without end", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 5000), "EOF"},
		{"endless", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 100<<10), "EOF"},
	} {
		addr := serveConns(t, "tcp", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, tt.answer)
		})
		d := proxied("http://" + addr.String())
		if _, resp, err := d.Dial("ws://a", nil); resp != nil || err == nil || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.text)
		}
	}
}

// RFC 9110 §9.3.6, §15.2: every 2xx opens the tunnel, and 1xx may come before it.
func TestDialProxyAnswers(t *testing.T) {
	for _, ok := range []string{
		"HTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.0 200 Connection established\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 299 Fine\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 201 Created\r\n\r\n",
	} {
		addr := serveConns(t, "tcp", func(c net.Conn) {
			br := bufio.NewReader(c)
			http.ReadRequest(br)
			io.WriteString(c, ok)
			if r, err := http.ReadRequest(br); err == nil {
				io.WriteString(c, answer(r))
			}
		})
		d := Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr.String()})}
		if c, _, err := d.Dial("ws://a", nil); err != nil {
			t.Errorf("%q: %v", ok, err)
		} else {
			c.Close()
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
