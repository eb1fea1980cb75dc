package interop

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/tautws/websocket"
)

// conns are ways to get the two ends of a connection.
var conns = map[string]func(t *testing.T, compress bool) (client, server *websocket.Conn){
	"TCP": func(t *testing.T, compress bool) (client, server *websocket.Conn) {
		return dialed(t, httptest.NewServer, compress)
	},
	"TLS": func(t *testing.T, compress bool) (client, server *websocket.Conn) {
		return dialed(t, httptest.NewTLSServer, compress)
	},
	"Pipe": func(t *testing.T, compress bool) (client, server *websocket.Conn) {
		return websocket.Pipe(websocket.ConnOptions{EnableCompression: compress})
	},
	"no deadlines": func(t *testing.T, compress bool) (client, server *websocket.Conn) {
		client, server = websocket.Pipe(websocket.ConnOptions{})
		o := websocket.ConnOptions{EnableCompression: compress}
		client = websocket.NewConn(noDeadlines{client.NetConn()}, o)
		o.Server = true
		return client, websocket.NewConn(noDeadlines{server.NetConn()}, o)
	},
}

func dialed(t *testing.T, listen func(http.Handler) *httptest.Server, compress bool) (client, server *websocket.Conn) {
	t.Helper()
	upgrader := websocket.Upgrader{EnableCompression: compress}
	accepted := make(chan *websocket.Conn, 1)
	srv := listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}))
	defer srv.Close()
	dialer := websocket.Dialer{EnableCompression: compress, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client, _, err := dialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
}

// noDeadlines is a net.Conn as some tunnels are.
type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (noDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (noDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// eachConn runs f over all of them, compressed and not.
func eachConn(t *testing.T, f func(t *testing.T, connect func(t *testing.T) (client, server *websocket.Conn))) {
	for name, connect := range conns {
		for _, compress := range []bool{false, true} {
			if compress {
				name += ", compressed"
			}
			t.Run(name, func(t *testing.T) {
				f(t, func(t *testing.T) (client, server *websocket.Conn) { return connect(t, compress) })
			})
		}
	}
}

func closeBoth(a, b net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { a.Close() })
	wg.Go(func() { b.Close() })
	wg.Wait()
}

func TestStreamIsNetConn(t *testing.T) {
	eachConn(t, func(t *testing.T, connect func(t *testing.T) (client, server *websocket.Conn)) {
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			client, server := connect(t)
			c1, c2 = client.Stream(websocket.BinaryMessage), server.Stream(websocket.BinaryMessage)
			return c1, c2, func() { closeBoth(c1, c2) }, nil
		})
	})
}

// The connection below Pipe is one as well.
func TestPipeIsNetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		client, server := websocket.Pipe(websocket.ConnOptions{})
		c1, c2 = client.NetConn(), server.NetConn()
		return c1, c2, func() { closeBoth(c1, c2) }, nil
	})
}
