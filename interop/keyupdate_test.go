package interop

// TLS 1.3 lets either end change its keys at any time (RFC 8446 §4.6.3), and ask the other to do so
// as well. crypto/tls answers from within a read; it cannot itself be made to ask, openssl can.

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

func TestKeyUpdate(t *testing.T) {
	for name, echo := range map[string]func(c *websocket.Conn){
		"ReadMessage": func(c *websocket.Conn) {
			for {
				messageType, p, err := c.ReadMessage()
				if err != nil || c.WriteMessage(messageType, p) != nil {
					return
				}
			}
		},
		// The context of every call has ended when the keys change.
		"contexts": func(c *websocket.Conn) {
			for {
				ctx, cancel := context.WithCancel(context.Background())
				messageType, p, err := c.ReadMessageContext(ctx)
				if err != nil || c.WriteMessageContext(ctx, messageType, p) != nil {
					cancel()
					return
				}
				cancel()
			}
		},
		"Handle": func(c *websocket.Conn) {
			ended := make(chan bool)
			c.Handle(func(c *websocket.Conn, m websocket.Message, err error) {
				if err != nil {
					close(ended)
					return
				}
				c.WriteMessage(m.Type, m.Data)
			})
			<-ended
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var u websocket.Upgrader
				c, err := u.Upgrade(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if r.TLS.Version != tls.VersionTLS13 {
					t.Errorf("TLS %#x", r.TLS.Version)
				}
				echo(c)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{a.cert}}
			server.StartTLS()
			defer server.Close()

			address := server.Listener.Addr().String()
			p := start(t, nil, true, "openssl", "s_client", "-connect", address, "-CAfile", a.caFile, "-tls1_3", "-brief")
			send := func(b []byte) {
				if _, err := p.stdin.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			c := &rawConn{r: bufio.NewReader(p.stdout)}
			send([]byte(rawRequest(address, "")))
			response, err := http.ReadResponse(c.r, nil)
			if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatal(response, err)
			}
			updates := 0
			for i, update := range []string{"", "k", "K", "K", "k", ""} {
				if update != "" {
					// A command is what openssl reads at once: it says when it has obeyed.
					send([]byte(update + "\n"))
					updates++
					for begin := time.Now(); strings.Count(p.output.String(), "KEYUPDATE") < updates; {
						if time.Since(begin) > patience {
							t.Fatal("openssl does not change its keys")
						}
						time.Sleep(time.Millisecond)
					}
				}
				want := fmt.Sprint("message ", i)
				send(frame(0x81, want))
				if first, got, err := c.readFrame(); err != nil || first != 0x81 || string(got) != want {
					t.Fatalf("after %d changes of keys: %#x %q, %v", updates, first, got, err)
				}
			}
			send(frame(0x88, "\x03\xe8"))
			if first, got, err := c.readFrame(); err != nil || first != 0x88 || string(got) != "\x03\xe8" {
				t.Errorf("at the end: %#x %q, %v", first, got, err)
			}
			p.stdin.Close()
			io.Copy(io.Discard, c.r)
		})
	}
}
