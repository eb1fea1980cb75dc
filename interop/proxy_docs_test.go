package interop

// The configurations of docs/proxies.md, as they stand there but for addresses and times.

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// documentedConfig returns the block of docs/proxies.md in a language, with each of the
// replacements made, which are pairs of old and new texts.
func documentedConfig(t *testing.T, language string, replacements ...string) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/proxies.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllSubmatch(doc, -1)
	if len(blocks) != 1 {
		t.Fatalf("docs/proxies.md has %d blocks in %s, want 1", len(blocks), language)
	}
	config := string(blocks[0][1])
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(config, replacements[i]) {
			t.Fatalf("the configuration in docs/proxies.md lacks %q", replacements[i])
		}
		config = strings.ReplaceAll(config, replacements[i], replacements[i+1])
	}
	return config
}

// documentedTimeout takes the place of the 60 seconds in the document.
const documentedTimeout = "2s"

var documentedProxies = map[string]struct {
	start       func(t *testing.T, front, back string)
	idleTimeout bool // it ends silent connections
}{
	"nginx": {func(t *testing.T, front, back string) {
		dir := t.TempDir()
		config := documentedConfig(t, "nginx", "127.0.0.1:8080", back, "listen 80;", "listen "+front+";",
			"60s", documentedTimeout)
		// Nothing outside of dir is written.
		for _, temp := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			config = strings.Replace(config, "http {", "http {\n"+temp+"_temp_path "+filepath.Join(dir, temp)+";", 1)
		}
		config = strings.Replace(config, "http {", "http {\naccess_log off;", 1)
		path := writeFile(t, dir, "nginx.conf", config)
		p := start(t, nil, false, "nginx", "-e", "stderr", "-p", dir, "-c", path,
			"-g", "daemon off; pid "+filepath.Join(dir, "pid")+";")
		p.waitListening(t, front)
	}, true},
	"HAProxy": {func(t *testing.T, front, back string) {
		path := writeFile(t, t.TempDir(), "haproxy.cfg", documentedConfig(t, "haproxy",
			"127.0.0.1:8080", back, "bind :80", "bind "+front, "60s", documentedTimeout))
		p := start(t, nil, false, "haproxy", "-db", "-q", "-f", path)
		p.waitListening(t, front)
	}, true},
	"Caddy": {func(t *testing.T, front, back string) {
		_, port, _ := net.SplitHostPort(front)
		dir := t.TempDir()
		path := writeFile(t, dir, "Caddyfile", "{\n\tadmin off\n}", documentedConfig(t, "caddyfile",
			"127.0.0.1:8080", back, ":80 {", "http://:"+port+" {\n\tbind 127.0.0.1"))
		p := start(t, []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, false,
			"caddy", "run", "--adapter", "caddyfile", "--config", path)
		p.waitListening(t, front)
	}, false},
}

// TestDocumentedProxies echoes through each proxy. A connection whose server has KeepAlive is
// silent, but for pings, until the proxy has ended one that came later and whose server has none;
// then it still works.
func TestDocumentedProxies(t *testing.T) {
	for name, proxy := range documentedProxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			front := "127.0.0.1:" + freePort(t)
			proxy.start(t, front, echoBehind(t))
			dial := func(query string) *websocket.Conn {
				// The same origin as the page's: the proxy passes on the Host header.
				header := http.Header{"Origin": {"http://" + front}}
				c, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+front+"/ws"+query, header)
				if err != nil {
					t.Fatal(err, resp)
				}
				t.Cleanup(func() { c.Close() })
				c.SetReadDeadline(time.Now().Add(patience))
				echoOnce(t, c)
				return c
			}
			kept := dial("?keepalive")
			if proxy.idleTimeout {
				pinged := make(chan struct{})
				pong := kept.PingHandler()
				pings := 0
				kept.SetPingHandler(func(data string) error {
					if pings++; pings == 1 {
						close(pinged)
					}
					return pong(data)
				})
				message := readOne(kept)
				silent := dial("")
				if _, _, err := silent.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
					t.Fatalf("a silent connection without KeepAlive: %v, want one that the proxy ended", err)
				}
				select {
				case <-pinged:
				case got := <-message:
					t.Fatalf("a silent connection with KeepAlive, before a ping: %s", got)
				}
				if err := kept.WriteMessage(websocket.TextMessage, []byte("still here")); err != nil {
					t.Fatal(err)
				}
				if got := <-message; got != "still here" {
					t.Errorf("a silent connection with KeepAlive: %s", got)
				}
			}
			if err := kept.Shutdown(t.Context(), websocket.CloseNormalClosure, ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// readOne reads a message, or an error, in a goroutine.
func readOne(c *websocket.Conn) <-chan string {
	message := make(chan string, 1)
	go func() {
		_, p, err := c.ReadMessage()
		if err != nil {
			p = []byte(err.Error())
		}
		message <- string(p)
	}()
	return message
}

func echoOnce(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.ReadMessage(); string(p) != "hello" {
		t.Fatalf("%q, %v", p, err)
	}
}

// echoBehind starts an echo server and returns its address. Its connections have KeepAlive if the
// request says so.
func echoBehind(t *testing.T) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		if r.URL.RawQuery == "keepalive" {
			u.KeepAlive = websocket.KeepAlive{Interval: 500 * time.Millisecond, Timeout: patience}
		}
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for m, err := range c.Messages(t.Context()) {
			if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}
