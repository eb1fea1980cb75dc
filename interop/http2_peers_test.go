package interop

// Clients of HTTP/2 that other people wrote hold the conversation with the Upgrader behind
// HTTP2Handler: node, python3-h2 with wsproto, browsers, and HAProxy in front of the server. The
// server's log shows which connections they used.

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// acceptH2 is accept for a server that has HTTP/2 as well, and a page for all other requests.
func acceptH2(t *testing.T, u websocket.Upgrader, ca *authority) (*acceptor, *h2Server) {
	t.Helper()
	a := &acceptor{conns: make(chan *websocket.Conn, 1)}
	u.CheckOrigin = func(*http.Request) bool { return true }
	s := serveH2(t, ca, websocket.HTTP2Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/echo":
			echoOf(t)(w, r)
			return
		case !websocket.IsWebSocketUpgrade(r):
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, "<!DOCTYPE html><title>%s</title>", r.Proto)
			return
		}
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade %v: %v", r.Header, err)
			return
		}
		deadline := time.Now().Add(patience)
		conn.SetReadDeadline(deadline)
		conn.SetWriteDeadline(deadline)
		a.conns <- conn
	})), nil, func(server *httptest.Server) {
		server.Listener = &h2Listener{server.Listener, a}
	})
	scheme := "ws"
	if ca != nil {
		scheme = "wss"
	}
	a.url = scheme + "://" + s.address + "/"
	return a, s
}

// An h2Listener counts the bytes of its connections for the meter that is set at the time: they are
// used again and again.
type h2Listener struct {
	net.Listener
	a *acceptor
}

func (l *h2Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return h2Metered{nc, l.a}, nil
}

type h2Metered struct {
	net.Conn
	a *acceptor
}

func (c h2Metered) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if m := c.a.meter.Load(); m != nil {
		m.read.Add(int64(n))
	}
	return n, err
}

func (c h2Metered) Write(p []byte) (int, error) {
	// Before, as the answer may be there before the Write returns.
	if m := c.a.meter.Load(); m != nil {
		m.written.Add(int64(len(p)))
	}
	return c.Conn.Write(p)
}

// expectOneConnection checks that all WebSockets came by extended CONNECT on one connection.
func (s *h2Server) expectOneConnection(t *testing.T, atLeast int) {
	t.Helper()
	var sockets []h2Request
	for _, r := range s.requests() {
		if r.protocol != "" {
			sockets = append(sockets, r)
		}
	}
	for _, r := range sockets {
		if r.method != "CONNECT" || r.proto != "HTTP/2.0" || r.protocol != "websocket" || r.remote != sockets[0].remote {
			t.Errorf("the server's log has %+v", r)
		}
	}
	if len(sockets) < atLeast {
		t.Errorf("the server's log has %d WebSockets over HTTP/2, want at least %d: %+v", len(sockets), atLeast, s.requests())
		return
	}
	t.Logf("the server's log: %d WebSockets on %s over HTTP/2", len(sockets), sockets[0].remote)
}

func TestHTTP2Node(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	testHTTP2Peer(t, "node", "peer_ws.mjs", "permessage-deflate")
}

func TestHTTP2Python(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	testHTTP2Peer(t, python, "peer_http2.py", "permessage-deflate; client_max_window_bits=15; server_max_window_bits=15")
}

func testHTTP2Peer(t *testing.T, program, script, extensions string) {
	ca := newAuthority(t)
	for name, authority := range map[string]*authority{"TLS": ca, "h2c": nil} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []variant{
				{name: "plain"},
				{name: "small buffers", bufferSize: 256},
				{name: "takeover", enable: true, compression: takeover, deflate: `{}`, want: extensions},
			} {
				t.Run(v.name, func(t *testing.T) {
					p := startPeer(t, nil, program, script)
					a, s := acceptH2(t, v.upgrader(), authority)
					dial := command{
						HTTP2: true, Subprotocols: offeredSubprotocols, Deflate: v.options(),
					}
					if authority != nil {
						dial.CAFile = ca.caFile
					}
					conversation{
						peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
						noEmptyClose: program == python, noPingInside: program == python && v.enable, overHTTP2: true,
					}.run(t)
					s.expectOneConnection(t, 10)
				})
			}
		})
	}
}

// TestHTTP2HAProxy has HAProxy between clients and a server that it speaks HTTP/2 with.
func TestHTTP2HAProxy(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	ca := newAuthority(t)
	v := variant{enable: true, compression: takeover, deflate: `{}`, want: "permessage-deflate"}
	for _, back := range []struct {
		name, options string
		ca            *authority
	}{
		{"h2 behind", " proto h2 ws h2", nil},
		{"h2 over TLS behind", " ssl verify none alpn h2 ws h2", ca},
	} {
		t.Run(back.name, func(t *testing.T) {
			a, s := acceptH2(t, v.upgrader(), back.ca)
			plain, secure := startH2HAProxy(t, ca, s.address+back.options)
			for _, front := range []struct {
				name string
				dial command
			}{
				{"HTTP/1.1 before", command{URL: "ws://" + plain}},
				{"HTTP/2 before", command{URL: "wss://" + secure, CAFile: ca.caFile, HTTP2: true}},
			} {
				t.Run(front.name, func(t *testing.T) {
					before := len(s.requests())
					p := startPeer(t, nil, "node", "peer_ws.mjs")
					front.dial.Subprotocols, front.dial.Deflate = offeredSubprotocols, v.options()
					conversation{
						peer: p, open: accepting(p, a, front.dial), subprotocol: "interop.v1", extensions: v.want,
						overHTTP2: true,
					}.run(t)
					for _, r := range s.requests()[before:] {
						if r.method != "CONNECT" || r.proto != "HTTP/2.0" || r.protocol != "websocket" {
							t.Errorf("the server's log has %+v", r)
						}
					}
				})
			}
		})
	}
}

// startH2HAProxy starts HAProxy with HTTP/2 before it, over TLS, and before a backend with the
// given options.
func startH2HAProxy(t *testing.T, ca *authority, backend string) (plain, secure string) {
	plain, secure = "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	config := writeFile(t, t.TempDir(), "haproxy.cfg",
		"defaults",
		" mode http",
		" timeout connect 60s",
		" timeout client 60s",
		" timeout server 60s",
		" timeout tunnel 60s",
		"frontend front",
		" bind "+plain,
		" bind "+secure+" ssl crt "+ca.certFile+" alpn h2,http/1.1",
		" default_backend back",
		"backend back",
		" server back "+backend,
	)
	p := start(t, nil, false, "haproxy", "-db", "-q", "-f", config)
	p.waitListening(t, plain)
	return plain, secure
}

// TestHTTP2Browser has a page, which came over HTTP/2, open WebSockets and fetch on the page's
// connection.
func TestHTTP2Browser(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	for _, b := range browsers {
		t.Run(b.program, func(t *testing.T) {
			t.Parallel()
			p := startBrowser(t, b.kind, b.program)
			ca := newAuthority(t)
			v := variant{enable: true, compression: takeover, want: "permessage-deflate"}
			a, s := acceptH2(t, v.upgrader(), ca)
			p.visit(t, "peer", "https"+strings.TrimPrefix(a.url, "wss"))
			conversation{
				peer: p, open: accepting(p, a, command{Subprotocols: offeredSubprotocols}), subprotocol: "interop.v1",
				extensions: v.want, browser: true, opaque: b.opaque,
			}.run(t)

			before := len(s.requests())
			got := p.ask(t, "peer", `(async () => {
				const socket = (i) => new Promise((resolve, reject) => {
					const ws = new WebSocket(location.origin.replace('https', 'wss') + '/echo?' + i);
					const sent = ['', 'x'.repeat(140000), 'Grüße', 'x'.repeat(1 << 20), 'end'];
					const received = [];
					ws.onopen = () => sent.forEach((s) => ws.send(s));
					ws.onmessage = (e) => { if (received.push(e.data) === sent.length) ws.close(4000 + i, 'bye'); };
					ws.onerror = () => reject(new Error('socket ' + i));
					ws.onclose = (e) => resolve([received.every((s, j) => s === sent[j]), e.code, e.reason, e.wasClean].join());
				});
				const page = async (i) => (await (await fetch('/page?' + i)).text()).includes('HTTP/2.0');
				const all = [];
				for (let i = 0; i < 8; i++) all.push(socket(i), page(i));
				return (await Promise.all(all)).join(' ');
			})()`)
			var want []string
			for i := range 8 {
				want = append(want, fmt.Sprintf("true,%d,,true true", 4000+i))
			}
			if got != strings.Join(want, " ") {
				t.Errorf("the page saw %s", got)
			}
			sockets, fetches := 0, 0
			page := s.requests()[before:]
			for _, r := range page {
				switch {
				case r.remote != page[0].remote || r.proto != "HTTP/2.0":
					t.Errorf("the server's log has %+v", r)
				case r.protocol == "websocket":
					sockets++
				default:
					fetches++
				}
			}
			if sockets != 8 || fetches != 8 {
				t.Errorf("the server's log has %d WebSockets and %d fetches", sockets, fetches)
			}
			t.Logf("the server's log: %d WebSockets and %d fetches on %s", sockets, fetches, page[0].remote)
			s.expectOneConnection(t, 20)
		})
	}
}
