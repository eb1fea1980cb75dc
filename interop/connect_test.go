package interop

// How the two ends of a conversation meet: our Dialer with a peer that listens, or a peer that
// dials with our Upgrader, directly or through a proxy.

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// An opener makes a connection between this library and a peer and returns our end, once the peer
// has reported its own, with the Sec-WebSocket-Extensions field of the answer. A meter that is not
// nil counts the bytes below it.
type opener func(t testing.TB, m *meter) (conn *websocket.Conn, extensions string)

// A meter counts the bytes of a connection as the network sees them.
type meter struct{ read, written atomic.Int64 }

type meteredConn struct {
	net.Conn
	*meter
}

func (c meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (c meteredConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// dialling connects our Dialer with a peer that listens at url.
func dialling(p *peer, d websocket.Dialer, url string) opener {
	return func(t testing.TB, m *meter) (*websocket.Conn, string) {
		t.Helper()
		d := d
		if m != nil {
			d.NetDialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return meteredConn{c, m}, nil
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conn, response, err := d.DialContext(ctx, url, nil)
		if err != nil {
			t.Fatalf("dial %s: %v", url, err)
		}
		if e := p.expect(t, "open"); e.Subprotocol != conn.Subprotocol() {
			t.Fatalf("the peer's subprotocol is %q, ours %q", e.Subprotocol, conn.Subprotocol())
		}
		return conn, response.Header.Get("Sec-WebSocket-Extensions")
	}
}

// An acceptor is an HTTP server that upgrades every request and hands out the connections.
type acceptor struct {
	net.Listener
	url   string // ws://127.0.0.1:port/
	conns chan *websocket.Conn
	meter atomic.Pointer[meter]
}

func (a *acceptor) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if m := a.meter.Load(); err == nil && m != nil {
		return meteredConn{c, m}, nil
	}
	return c, err
}

// accept starts an acceptor; ca may be nil.
func accept(t testing.TB, u websocket.Upgrader, ca *authority) *acceptor {
	t.Helper()
	a := &acceptor{conns: make(chan *websocket.Conn, 1)}
	if u.CheckOrigin == nil {
		u.CheckOrigin = func(*http.Request) bool { return true }
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade %v: %v", r.Header, err)
			return
		}
		deadline := time.Now().Add(patience)
		conn.SetReadDeadline(deadline)
		conn.SetWriteDeadline(deadline)
		a.conns <- conn
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // Chromium tries untrusted certificates twice
	a.Listener = server.Listener
	server.Listener = a
	if ca != nil {
		server.TLS = ca.serverConfig()
		server.StartTLS()
	} else {
		server.Start()
	}
	a.url = "ws" + strings.TrimPrefix(server.URL, "http") + "/"
	t.Cleanup(server.Close)
	return a
}

// accepting connects a peer that dials with our Upgrader behind a. The peer dials as the command
// says, whose URL may be that of a proxy.
func accepting(p *peer, a *acceptor, dial command) opener {
	dial.Do = "dial"
	if dial.URL == "" {
		dial.URL = a.url
	}
	return func(t testing.TB, m *meter) (*websocket.Conn, string) {
		t.Helper()
		a.meter.Store(m)
		p.do(t, dial)
		e := p.expect(t, "open")
		conn := <-a.conns
		if e.Subprotocol != conn.Subprotocol() {
			t.Fatalf("the peer's subprotocol is %q, ours %q", e.Subprotocol, conn.Subprotocol())
		}
		return conn, e.Extensions
	}
}
