package interop

// nginx and HAProxy in front of servers; CONNECT and SOCKS5 proxies in front of our Dialer.

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// A reverseProxy starts in front of a backend and returns its own addresses, the second one for
// TLS.
type reverseProxy func(t *testing.T, ca *authority, backend string) (plain, secure string)

var reverseProxies = map[string]reverseProxy{
	"nginx":   startNginx,
	"haproxy": startHAProxy,
}

func startNginx(t *testing.T, ca *authority, backend string) (plain, secure string) {
	dir := t.TempDir()
	plain, secure = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	config := writeFile(t, dir, "nginx.conf",
		"daemon off;",
		"worker_processes 1;",
		"error_log stderr;",
		"pid "+filepath.Join(dir, "pid")+";",
		"events {}",
		"http {",
		"access_log off;",
		"client_body_temp_path "+dir+"/body;",
		"proxy_temp_path "+dir+"/proxy;",
		"fastcgi_temp_path "+dir+"/fastcgi;",
		"uwsgi_temp_path "+dir+"/uwsgi;",
		"scgi_temp_path "+dir+"/scgi;",
		"server {",
		"listen "+plain+";",
		"listen "+secure+" ssl;",
		"ssl_certificate "+ca.certFile+";",
		"ssl_certificate_key "+ca.certFile+";",
		"location / {",
		"proxy_pass http://"+backend+";",
		"proxy_http_version 1.1;",
		"proxy_set_header Upgrade $http_upgrade;",
		"proxy_set_header Connection upgrade;",
		"proxy_set_header Host $http_host;",
		"} } }",
	)
	p := start(t, nil, false, "nginx", "-e", "stderr", "-p", dir, "-c", config)
	p.waitListening(t, plain)
	return plain, secure
}

func startHAProxy(t *testing.T, ca *authority, backend string) (plain, secure string) {
	plain, secure = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	config := writeFile(t, t.TempDir(), "haproxy.cfg",
		"global",
		" maxconn 100",
		"defaults",
		" mode http",
		" timeout connect 60s",
		" timeout client 60s",
		" timeout server 60s",
		" timeout tunnel 60s",
		"frontend front",
		" bind "+plain,
		" bind "+secure+" ssl crt "+ca.certFile,
		" default_backend back",
		"backend back",
		" server back "+backend,
	)
	p := start(t, nil, false, "haproxy", "-db", "-q", "-f", config)
	p.waitListening(t, plain)
	return plain, secure
}

func TestReverseProxy(t *testing.T) {
	ca := newAuthority(t)
	v := variant{enable: true, compression: takeover, deflate: `{"threshold":0}`, want: "permessage-deflate"}
	dialer := v.dialer()
	dialer.TLSClientConfig = ca.clientConfig()

	for name, reverse := range reverseProxies {
		t.Run(name+", npm ws behind", func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, "node", "peer_ws.mjs")
			p.do(t, command{Do: "listen", Subprotocols: subprotocols, Deflate: v.options()})
			plain, secure := reverse(t, ca, hostOf(p.expect(t, "listening").URL))
			for _, url := range []string{"ws://" + plain, "wss://" + secure} {
				t.Run(url[:strings.Index(url, ":")], func(t *testing.T) {
					conversation{
						peer: p, open: dialling(p, dialer, url), subprotocol: "interop.v1", extensions: v.want,
					}.run(t)
				})
			}
		})
		t.Run(name+", npm ws before", func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, "node", "peer_ws.mjs")
			a := accept(t, v.upgrader(), nil)
			plain, secure := reverse(t, ca, hostOf(a.url))
			for _, url := range []string{"ws://" + plain, "wss://" + secure} {
				t.Run(url[:strings.Index(url, ":")], func(t *testing.T) {
					dial := command{
						URL: url, Subprotocols: offeredSubprotocols, Deflate: v.options(), CAFile: ca.caFile,
					}
					conversation{
						peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
					}.run(t)
				})
			}
		})
		t.Run(name+", examples/echo behind", func(t *testing.T) {
			t.Parallel()
			e := startExample(t, "echo", "-compress")
			plain, secure := reverse(t, ca, hostOf(e.url))
			urls := []string{"ws://" + plain, "wss://" + secure}
			for _, url := range urls {
				t.Run(url[:strings.Index(url, ":")], func(t *testing.T) { talkToEcho(t, dialer, url) })
			}
			var conns []*websocket.Conn
			for _, url := range urls {
				conns = append(conns, dialEcho(t, dialer, url))
			}
			e.interrupt(t)
			for _, conn := range conns {
				expectClose(t, conn, websocket.CloseError{
					Code: websocket.CloseGoingAway, Text: "the server is going away",
				})
			}
		})
	}
}

func dialEcho(t *testing.T, d websocket.Dialer, url string) *websocket.Conn {
	t.Helper()
	conn, _, err := d.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Fatalf("dial %s: %v", url, err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(patience))
	conn.SetWriteDeadline(time.Now().Add(patience))
	return conn
}

// talkToEcho holds as much of the conversation as a server that only echoes can.
func talkToEcho(t *testing.T, d websocket.Dialer, url string) {
	for _, ending := range endings {
		conn := dialEcho(t, d, url)
		pongs := 0
		conn.SetPongHandler(func(string) error { pongs++; return nil })
		for _, kind := range kinds {
			for _, n := range lengths {
				want := kind.make(n)
				if err := conn.WriteMessage(kind.code, want); err != nil {
					t.Fatal(err)
				}
				expectMessage(t, conn, kind.code, want)
			}
		}
		want := binaryOf(50000)
		w, err := conn.NextWriter(websocket.BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(want[:20000]); err != nil {
			t.Fatal(err)
		}
		if err := conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(want[20000:]); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		expectMessage(t, conn, websocket.BinaryMessage, want)
		if pongs != 1 {
			t.Errorf("%d pongs, want 1", pongs)
		}
		body := websocket.FormatCloseMessage(ending.Code, ending.Text)
		if err := conn.WriteControl(websocket.CloseMessage, body, time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		expectClose(t, conn, websocket.CloseError{Code: ending.Code})
	}
}

// A forwardProxy starts a proxy, with credentials where user is not nil, and returns its URL
// without them.
type forwardProxy func(t *testing.T, ca *authority, user *url.Userinfo) *url.URL

var forwardProxies = map[string]forwardProxy{
	"CONNECT":           startTinyproxy,
	"CONNECT over TLS":  startSecureTinyproxy,
	"SOCKS5":            startMicrosocks("socks5"),
	"SOCKS5, its names": startMicrosocks("socks5h"),
	dante:               startDante,
}

const dante = "SOCKS5 of dante"

func startTinyproxy(t *testing.T, _ *authority, user *url.Userinfo) *url.URL {
	port := freePort(t)
	lines := []string{"Listen 127.0.0.1", "Port " + port, "Timeout 600", "MaxClients 100", "LogLevel Connect"}
	if user != nil {
		password, _ := user.Password()
		lines = append(lines, "BasicAuth "+user.Username()+" "+password)
	}
	config := writeFile(t, t.TempDir(), "tinyproxy.conf", lines...)
	p := start(t, nil, false, "tinyproxy", "-d", "-c", config)
	p.waitListening(t, "127.0.0.1:"+port)
	return &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}
}

// startSecureTinyproxy has HAProxy terminate TLS in front of the proxy.
func startSecureTinyproxy(t *testing.T, ca *authority, user *url.Userinfo) *url.URL {
	inner := startTinyproxy(t, ca, user)
	address := "127.0.0.1:" + freePort(t)
	config := writeFile(t, t.TempDir(), "haproxy.cfg",
		"defaults",
		" mode tcp",
		" timeout connect 60s",
		" timeout client 60s",
		" timeout server 60s",
		"listen proxy",
		" bind "+address+" ssl crt "+ca.certFile,
		" server proxy "+inner.Host,
	)
	p := start(t, nil, false, "haproxy", "-db", "-q", "-f", config)
	p.waitListening(t, address)
	return &url.URL{Scheme: "https", Host: address}
}

func startMicrosocks(scheme string) forwardProxy {
	return func(t *testing.T, _ *authority, user *url.Userinfo) *url.URL {
		port := freePort(t)
		args := []string{"-i", "127.0.0.1", "-p", port}
		if user != nil {
			password, _ := user.Password()
			args = append(args, "-u", user.Username(), "-P", password)
		}
		p := start(t, nil, false, "microsocks", args...)
		p.waitListening(t, "127.0.0.1:"+port)
		return &url.URL{Scheme: scheme, Host: "127.0.0.1:" + port}
	}
}

// startDante starts a proxy that lets connections out to this machine's IPv4 addresses alone,
// except for port 1 of 127.0.0.2.
func startDante(t *testing.T, _ *authority, _ *url.Userinfo) *url.URL {
	port := freePort(t)
	config := writeFile(t, t.TempDir(), "danted.conf",
		"logoutput: stderr",
		"internal: 127.0.0.1 port = "+port,
		"external: lo",
		"clientmethod: none",
		"socksmethod: none",
		"client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }",
		"socks block { from: 0.0.0.0/0 to: 127.0.0.2/32 port = 1 }",
		"socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 protocol: tcp }",
	)
	p := start(t, nil, false, "danted", "-f", config, "-p", filepath.Join(t.TempDir(), "pid"))
	p.waitListening(t, "127.0.0.1:"+port)
	return &url.URL{Scheme: "socks5", Host: "127.0.0.1:" + port}
}

// TestProxyRefusals checks the words in which a dial reports what the proxy could not do.
func TestProxyRefusals(t *testing.T) {
	closed := "127.0.0.1:" + freePort(t)
	for _, tt := range []struct {
		name    string
		forward forwardProxy
		texts   map[string]string // by address
	}{
		{"tinyproxy", startTinyproxy, map[string]string{closed: "Unable to connect"}},
		{"microsocks", startMicrosocks("socks5"), map[string]string{
			closed:               "connection refused",
			"name.invalid:80":    "general SOCKS server failure",
			"255.255.255.255:80": "network unreachable",
		}},
		{"dante", startDante, map[string]string{
			closed:            "connection refused",
			"127.0.0.2:1":     "connection not allowed by ruleset",
			"name.invalid:80": "host unreachable",
			"[::1]:80":        "connection not allowed by ruleset",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			through := tt.forward(t, nil, nil)
			d := websocket.Dialer{Proxy: http.ProxyURL(through)}
			for address, want := range tt.texts {
				if through.Scheme == "socks5" {
					want = "proxy: SOCKS5 proxy at " + through.Host + " failed to connect: " + want
				}
				if _, _, err := d.DialContext(t.Context(), "ws://"+address, nil); err == nil || err.Error() != want {
					t.Errorf("%s: %v, want %s", address, err, want)
				}
			}
		})
	}
}

func TestForwardProxy(t *testing.T) {
	ca := newAuthority(t)
	v := variant{} // a tunnel does not see what passes through it: compression would only cost time
	servers := []struct{ name, certFile string }{{"ws", ""}, {"wss", ca.certFile}}
	users := map[string]*url.Userinfo{"open": nil, "with credentials": url.UserPassword("user", "secret")}

	for name, forward := range forwardProxies {
		for access, user := range users {
			if name == dante && user != nil {
				continue // it knows the users of the machine only
			}
			t.Run(name+", "+access, func(t *testing.T) {
				t.Parallel()
				through := forward(t, ca, user)
				d := v.dialer()
				d.TLSClientConfig = ca.clientConfig()
				for _, server := range servers {
					t.Run(server.name, func(t *testing.T) {
						p := startPeer(t, nil, "node", "peer_ws.mjs")
						p.do(t, command{
							Do: "listen", Subprotocols: subprotocols, Deflate: v.options(), CertFile: server.certFile,
						})
						target := p.expect(t, "listening").URL
						d := d
						d.Proxy = http.ProxyURL(withUser(through, user))
						conversation{
							peer: p, open: remoteIs(through.Host, dialling(p, d, target)),
							subprotocol: "interop.v1", extensions: v.want,
						}.run(t)
						if user != nil {
							refusesStrangers(t, d, through, target)
						}
					})
				}
			})
		}
	}
}

func withUser(u *url.URL, user *url.Userinfo) *url.URL {
	c := *u
	c.User = user
	return &c
}

// remoteIs checks that connections really lead to the given address.
func remoteIs(address string, open opener) opener {
	return func(t testing.TB, m *meter) (*websocket.Conn, string) {
		t.Helper()
		conn, extensions := open(t, m)
		if got := conn.RemoteAddr().String(); got != address {
			t.Fatalf("the connection leads to %s, not to the proxy at %s", got, address)
		}
		return conn, extensions
	}
}

// refusesStrangers checks that the proxy's refusal of missing and wrong credentials ends the dial.
func refusesStrangers(t *testing.T, d websocket.Dialer, through *url.URL, target string) {
	t.Helper()
	for _, user := range []*url.Userinfo{nil, url.UserPassword("user", "wrong")} {
		d.Proxy = http.ProxyURL(withUser(through, user))
		conn, _, err := d.DialContext(t.Context(), target, nil)
		if err == nil {
			conn.Close()
			t.Errorf("connected through the proxy as %v", user)
		}
	}
}

// TestTLSStateBehindProxies checks that a connection over TLS still shows what was negotiated.
func TestTLSStateBehindProxies(t *testing.T) {
	ca := newAuthority(t)
	e := startExample(t, "echo", "-cert", ca.certFile, "-key", ca.certFile)
	target := "wss" + strings.TrimPrefix(e.url, "https")
	for name, forward := range forwardProxies {
		t.Run(name, func(t *testing.T) {
			through := forward(t, ca, nil)
			d := websocket.Dialer{TLSClientConfig: ca.clientConfig(), Proxy: http.ProxyURL(through)}
			conn := dialEcho(t, d, target)
			secured, ok := conn.NetConn().(*tls.Conn)
			if !ok {
				t.Fatalf("NetConn is a %T", conn.NetConn())
			}
			if state := secured.ConnectionState(); state.PeerCertificates[0].Subject.CommonName != "localhost" {
				t.Errorf("the peer's certificate is for %v", state.PeerCertificates[0].Subject)
			}
			if _, port, _ := net.SplitHostPort(conn.RemoteAddr().String()); port != through.Port() {
				t.Errorf("the connection leads to %v, not to the proxy at %v", conn.RemoteAddr(), through.Host)
			}
		})
	}
}
