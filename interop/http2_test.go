package interop

// WebSocket over HTTP/2: HTTP2Handler with other libraries' handlers behind it, and with clients
// that are not Go's.
//
// net/http announces extended CONNECT only to the clients of a program that was started with
// GODEBUG=http2xconnect=1. A test that needs it starts itself once more, so that a plain run has
// both.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"golang.org/x/net/http2"

	"github.com/tautws/websocket"
)

// extendedConnect reports whether the server announces extended CONNECT. If not, it runs the test
// in a process whose server does.
func extendedConnect(t *testing.T) bool {
	t.Helper()
	settings := os.Getenv("GODEBUG")
	if strings.Contains(settings, "http2xconnect=1") {
		return true
	}
	if settings != "" {
		settings += ","
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "GODEBUG="+settings+"http2xconnect=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("with GODEBUG=http2xconnect=1: %v\n%s", err, out)
	} else if testing.Verbose() {
		t.Logf("with GODEBUG=http2xconnect=1:\n%s", out)
	}
	return false
}

// An h2Server is a server that logs what reaches it.
type h2Server struct {
	address string
	mu      sync.Mutex
	log     []h2Request
}

// An h2Request is a line of the server's log.
type h2Request struct{ remote, method, proto, protocol, path string }

// serveH2 serves h over HTTP/2, over TLS if ca is not nil.
func serveH2(t testing.TB, ca *authority, h http.Handler, config *http.HTTP2Config, change ...func(*httptest.Server)) *h2Server {
	t.Helper()
	s := new(h2Server)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		protocol := strings.Join(r.Header[":protocol"], ",")
		s.log = append(s.log, h2Request{r.RemoteAddr, r.Method, r.Proto, protocol, r.URL.Path})
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // browsers try untrusted certificates twice
	server.Config.HTTP2 = config
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	for _, f := range change {
		f(server)
	}
	if ca != nil {
		server.Config.Protocols.SetHTTP2(true)
		server.EnableHTTP2 = true
		server.TLS = ca.serverConfig()
		server.StartTLS()
	} else {
		server.Config.Protocols.SetUnencryptedHTTP2(true)
		server.Start()
	}
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.address = server.Listener.Addr().String()
	return s
}

func (s *h2Server) requests() []h2Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]h2Request(nil), s.log...)
}

// TestHTTP2Announced shows what a server says and does with the setting, and without it.
func TestHTTP2Announced(t *testing.T) {
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			if on != strings.Contains(os.Getenv("GODEBUG"), "http2xconnect=1") {
				// The setting counts when the program starts.
				settings := "http2xconnect=0"
				if on {
					settings = "http2xconnect=1"
				}
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHTTP2Announced$/^"+fmt.Sprint(on)+"$")
				cmd.Env = append(os.Environ(), "GODEBUG="+settings)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("with GODEBUG=%s: %v\n%s", settings, err, out)
				}
				return
			}
			s := serveH2(t, nil, websocket.HTTP2Handler(echoOf(t)), nil)
			c := dialH2(t, s.address, nil)
			if got := c.settings[http2.SettingEnableConnectProtocol]; got == 1 != on {
				t.Errorf("SETTINGS_ENABLE_CONNECT_PROTOCOL is %d", got)
			}
			header := http.Header{"Sec-Websocket-Version": {"13"}}
			status, err := c.start("websocket", "/", header).status()
			var reset http2.StreamError
			switch {
			case on && status != 200:
				t.Errorf("status %d, %v", status, err)
			case !on && (!errors.As(err, &reset) || reset.Code != http2.ErrCodeProtocol):
				t.Errorf("status %d, %v, want RST_STREAM PROTOCOL_ERROR", status, err)
			}
			if on {
				// RFC 9220 §3: another protocol gets 501.
				if status, err := c.start("connect-udp", "/", nil).status(); status != 501 {
					t.Errorf("status %d, %v", status, err)
				}
			}
			// HTTP/1.1 works beside it.
			conn, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			echoes(t, conn)
		})
	}
}

func echoOf(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{EnableCompression: true, CheckOrigin: func(*http.Request) bool { return true }}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, p, err := c.ReadMessage()
			if err != nil || c.WriteMessage(kind, p) != nil {
				return
			}
		}
	}
}

func echoes(t testing.TB, c *websocket.Conn) {
	t.Helper()
	for n := 0; n <= 200_000; n = n*3 + 1 {
		want := bytes.Repeat([]byte{'x'}, n)
		if err := c.WriteMessage(websocket.TextMessage, want); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, %v, want %d", len(got), err, n)
		}
	}
}

// gwsEcho is a handler of gws, which is told of messages.
type gwsEcho struct{ gws.BuiltinEventHandler }

func (gwsEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes())
}

// libraries are handlers that echo. Some return before their connection ends.
func libraries(t *testing.T) map[string]http.Handler {
	anyOrigin := func(*http.Request) bool { return true }
	gorillaEcho := func(w http.ResponseWriter, r *http.Request, run func(func())) {
		u := gorilla.Upgrader{CheckOrigin: anyOrigin, EnableCompression: true}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		run(func() {
			defer c.Close()
			for {
				c.SetReadDeadline(time.Now().Add(patience))
				kind, p, err := c.ReadMessage()
				if err != nil {
					return
				}
				c.SetWriteDeadline(time.Now().Add(patience))
				if c.WriteMessage(kind, p) != nil {
					return
				}
			}
		})
	}
	coderEcho := func(w http.ResponseWriter, r *http.Request, run func(func())) {
		c, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true, CompressionMode: coder.CompressionContextTakeover})
		if err != nil {
			t.Error(err)
			return
		}
		c.SetReadLimit(-1)
		run(func() {
			defer c.CloseNow()
			for {
				kind, p, err := c.Read(context.Background())
				if err != nil || c.Write(context.Background(), kind, p) != nil {
					return
				}
			}
		})
	}
	gwsEcho := func(w http.ResponseWriter, r *http.Request, run func(func())) {
		u := gws.NewUpgrader(gwsEcho{}, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{Enabled: true}})
		c, err := u.Upgrade(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		run(c.ReadLoop)
	}
	proxied := httptest.NewServer(echoOf(t))
	t.Cleanup(proxied.Close)
	target, err := url.Parse(proxied.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}

	stay := func(h func(http.ResponseWriter, *http.Request, func(func()))) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, func(f func()) { f() }) })
	}
	leave := func(h func(http.ResponseWriter, *http.Request, func(func()))) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h(w, r, func(f func()) { go f() }) })
	}
	return map[string]http.Handler{
		"tautws":                echoOf(t),
		"gorilla":               stay(gorillaEcho),
		"gorilla, returning":    leave(gorillaEcho),
		"coder":                 stay(coderEcho),
		"coder, returning":      leave(coderEcho),
		"gws":                   stay(gwsEcho),
		"gws, returning":        leave(gwsEcho),
		"httputil.ReverseProxy": proxy,
	}
}

// TestHTTP2Libraries has several WebSockets of one connection talk to the handler of each library.
func TestHTTP2Libraries(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	ca := newAuthority(t)
	for name, h := range libraries(t) {
		t.Run(name, func(t *testing.T) {
			// A route for GET shows that the handler sees the method of HTTP/1.1.
			mux := http.NewServeMux()
			mux.Handle("GET /", h)
			s := serveH2(t, ca, websocket.HTTP2Handler(mux), nil)
			c := dialH2(t, s.address, ca.clientConfig())
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() {
					d := c.dialer()
					d.EnableCompression = i%2 == 0
					conn, resp, err := d.DialContext(t.Context(), "ws://localhost/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					if got := resp.Header.Get("Sec-WebSocket-Extensions"); (got != "") != d.EnableCompression {
						t.Errorf("extensions %q", got)
					}
					echoes(t, conn)
					err = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4001, ""), time.Now().Add(patience))
					if err != nil {
						t.Error(err)
					}
					conn.SetReadDeadline(time.Now().Add(patience))
					if _, _, err := conn.ReadMessage(); !websocket.IsCloseError(err, 4001) {
						t.Errorf("the close handshake: %v", err)
					}
				})
			}
			wg.Wait()
			for _, r := range s.requests() {
				if r.method != "CONNECT" || r.proto != "HTTP/2.0" || r.protocol != "websocket" || r.remote != s.requests()[0].remote {
					t.Errorf("the server's log has %+v", r)
				}
			}
		})
	}
}

// TestHTTP2WithoutHandler shows what happens to a server that announces extended CONNECT and has no
// HTTP2Handler.
func TestHTTP2WithoutHandler(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	reasons := make(chan error, 1)
	s := serveH2(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		reasons <- err
	}), nil)
	status, err := dialH2(t, s.address, nil).start("websocket", "/", http.Header{"Sec-Websocket-Version": {"13"}}).status()
	if status < 400 {
		t.Errorf("status %d, %v", status, err)
	}
	if err := <-reasons; err == nil || !strings.Contains(err.Error(), "HTTP2Handler") {
		t.Errorf("the rejection does not name HTTP2Handler: %v", err)
	}
}

// TestHTTP2RapidResets opens streams and resets them at once, more than the server takes at the
// same time.
func TestHTTP2RapidResets(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	s := serveH2(t, nil, websocket.HTTP2Handler(echoOf(t)), nil)
	before := measure(t)
	c := dialH2(t, s.address, nil)
	header := http.Header{"Sec-Websocket-Version": {"13"}}
	for range 20_000 {
		stream := c.start("websocket", "/", header)
		stream.Write([]byte("\x81\x85\x00\x00\x00\x00hello"))
		stream.reset()
	}
	c.mu.Lock()
	t.Logf("the server ended the connection: %v, %v", c.err, c.goAway)
	c.mu.Unlock()
	c.nc.Close()

	// Others are served, and nothing is left.
	other := dialH2(t, s.address, nil)
	d := other.dialer()
	conn, _, err := d.DialContext(t.Context(), "ws://localhost/", nil)
	if err != nil {
		t.Fatal(err)
	}
	echoes(t, conn)
	conn.Close()
	other.nc.Close()
	before.expectBack(t, 16<<20, 256<<20)
}

// TestHTTP2StalledWindows has 1,000 streams whose windows never open, and a connection that is not
// read at all: write deadlines and Close work, and nothing is left.
func TestHTTP2StalledWindows(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	var ended, timedOut atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ended.Add(1)
		defer c.Close()
		c.SetWriteDeadline(time.Now().Add(time.Second))
		for err == nil {
			err = c.WriteMessage(websocket.BinaryMessage, make([]byte, 10_000))
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			timedOut.Add(1)
		}
	})
	header := http.Header{"Sec-Websocket-Version": {"13"}}
	config := &http.HTTP2Config{MaxConcurrentStreams: 1000}
	for _, test := range []struct {
		name    string
		streams int32
		deaf    bool
	}{
		{"windows", 1000, false},
		{"the connection", 10, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			ended.Store(0)
			timedOut.Store(0)
			s := serveH2(t, nil, websocket.HTTP2Handler(h), config)
			before := measure(t)
			window := uint32(1000)
			if test.deaf {
				window = 1<<31 - 1
			}
			c := dialH2(t, s.address, nil, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
			if test.deaf {
				// Nothing but the connection's window stops the server, and then nobody reads.
				c.mu.Lock()
				c.fr.WriteWindowUpdate(0, 1<<31-1-65535)
				defer c.mu.Unlock()
			}
			for range test.streams {
				if test.deaf {
					c.mu.Unlock()
				}
				stream := c.start("websocket", "/", header)
				if test.deaf {
					c.mu.Lock() // what has been read is the last
				}
				stream.greedy = true
			}
			deadline := time.Now().Add(patience)
			for ended.Load() < test.streams && time.Now().Before(deadline) {
				time.Sleep(10 * time.Millisecond)
			}
			if ended.Load() != test.streams || timedOut.Load() != test.streams {
				t.Errorf("of %d handlers %d ended, %d by their deadline", test.streams, ended.Load(), timedOut.Load())
			}
			c.nc.Close()
			if test.deaf {
				c.mu.Unlock()
				defer c.mu.Lock()
			}
			before.expectBack(t, 16<<20, 256<<20)
		})
	}
}
