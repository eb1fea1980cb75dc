package interop

// A server whose connections are all in one Group, with every kind of client, from their joining to
// the end of the server.

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/tautws/websocket"
)

// A groupClient is a connection of any library.
type groupClient struct {
	read  func() ([]byte, error)
	write func(p []byte) error
	close func()
}

// groupClientOf is for libraries with gorilla/websocket's methods.
func groupClientOf(c interface {
	ReadMessage() (int, []byte, error)
	WriteMessage(messageType int, data []byte) error
	Close() error
}) *groupClient {
	return &groupClient{
		func() ([]byte, error) { _, p, err := c.ReadMessage(); return p, err },
		func(p []byte) error { return c.WriteMessage(websocket.BinaryMessage, p) },
		func() { c.Close() },
	}
}

// groupCloseCode returns the close code that ended reading, with any library.
func groupCloseCode(err error) int {
	switch e := err.(type) {
	case *websocket.CloseError:
		return e.Code
	case *gorilla.CloseError:
		return e.Code
	}
	return int(coder.CloseStatus(err))
}

// TestGroupServer broadcasts to clients that join and leave all the time and send messages, which
// are echoed. Each gets what is broadcast in order and without a gap, its own messages in between,
// and after the last of both close code 1001 when the server shuts down.
func TestGroupServer(t *testing.T) {
	if !extendedConnect(t) {
		return
	}
	const perKind, own = 12, 20
	ca := newAuthority(t)
	g := websocket.Group{MaxLag: 1 << 30, Spread: 100 * time.Millisecond}
	u := websocket.Upgrader{EnableCompression: true, Compression: takeover, Group: &g}
	var served atomic.Int64
	handler := websocket.HTTP2Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade %v: %v", r.Header, err)
			return
		}
		echo := func(c *websocket.Conn, m websocket.Message, err error) {
			if err == nil && c.WriteMessage(m.Type, m.Data) != nil {
				c.Close()
			}
		}
		if served.Add(1)%2 == 0 {
			c.Handle(echo)
			return
		}
		defer c.Close()
		for m, err := range c.Messages(context.Background()) {
			if echo(c, m, err); err != nil {
				return
			}
		}
	}))
	var servers []*httptest.Server
	for _, secure := range []bool{false, true} {
		s := httptest.NewUnstartedServer(handler)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.Config.RegisterOnShutdown(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := g.Shutdown(ctx, websocket.CloseGoingAway, "restart"); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
		if secure {
			s.EnableHTTP2 = true
			s.TLS = ca.serverConfig()
			s.StartTLS()
		} else {
			s.Start()
		}
		defer s.Close()
		servers = append(servers, s)
	}
	plain := "ws://" + servers[0].Listener.Addr().String()
	secure := "wss://" + servers[1].Listener.Addr().String()

	dialOwn := func(d websocket.Dialer, url string) (*groupClient, error) {
		d.TLSClientConfig = ca.clientConfig()
		c, _, err := d.Dial(url, nil)
		if err != nil {
			return nil, err
		}
		return groupClientOf(c), nil
	}
	streams := dialH2(t, servers[1].Listener.Addr().String(), ca.clientConfig()).dialer()
	kinds := map[string]func() (*groupClient, error){
		"plain": func() (*groupClient, error) { return dialOwn(websocket.Dialer{}, plain) },
		"window": func() (*groupClient, error) {
			return dialOwn(websocket.Dialer{EnableCompression: true, Compression: takeover}, plain)
		},
		"no takeover": func() (*groupClient, error) { return dialOwn(websocket.Dialer{EnableCompression: true}, plain) },
		"TLS":         func() (*groupClient, error) { return dialOwn(websocket.Dialer{}, secure) },
		"TLS, window": func() (*groupClient, error) {
			return dialOwn(websocket.Dialer{EnableCompression: true, Compression: takeover}, secure)
		},
		"HTTP/2": func() (*groupClient, error) { return dialOwn(streams, "ws://localhost/") },
		"gorilla": func() (*groupClient, error) {
			c, _, err := (&gorilla.Dialer{EnableCompression: true}).Dial(plain, nil)
			if err != nil {
				return nil, err
			}
			return groupClientOf(c), nil
		},
		"coder": func() (*groupClient, error) {
			c, _, err := coder.Dial(context.Background(), plain, &coder.DialOptions{CompressionMode: coder.CompressionContextTakeover})
			if err != nil {
				return nil, err
			}
			c.SetReadLimit(-1)
			return &groupClient{
				func() ([]byte, error) { _, p, err := c.Read(context.Background()); return p, err },
				func(p []byte) error { return c.Write(context.Background(), coder.MessageBinary, p) },
				func() { c.CloseNow() },
			}, nil
		},
	}

	var clients sync.WaitGroup
	var ready atomic.Int64 // clients that have all their echoes
	stop := make(chan struct{})
	published := make(chan int)
	var last atomic.Int64
	last.Store(-1)
	go func() {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				last.Store(int64(n - 1))
				published <- n
				return
			default:
			}
			size := 8 + rand.IntN(300)
			if n%100 == 0 {
				size = 40_000
			}
			if err := g.Broadcast(websocket.BinaryMessage, groupMessage(0, n, size)); err != nil {
				t.Errorf("broadcast %d: %v", n, err)
			}
			time.Sleep(200 * time.Microsecond)
			for g.Stats().Lag > 64<<10 { // no faster than the machine
				time.Sleep(time.Millisecond)
			}
		}
	}()
	for name, dial := range kinds {
		for i := range perKind {
			clients.Go(func() {
				leaves := i%4 == 3
				c, err := dial()
				if err != nil {
					t.Errorf("%s: %v", name, err)
					ready.Add(1)
					return
				}
				go func() {
					for k := range own {
						if c.write(groupMessage(1, k, 10+k*300)) != nil {
							return
						}
					}
				}()
				defer c.close()
				next, echoes := -1, 0
				for {
					p, err := c.read()
					if err != nil {
						if code := groupCloseCode(err); code != websocket.CloseGoingAway || int64(next-1) != last.Load() || echoes != own {
							t.Errorf("%s: %v after %d broadcasts of %d and %d echoes", name, err, next, last.Load()+1, echoes)
						}
						return
					}
					kind, n, err := readGroupMessage(p)
					switch {
					case err != nil:
						t.Errorf("%s: %v", name, err)
					case kind == 0 && next >= 0 && n != next, kind == 1 && n != echoes:
						t.Errorf("%s: message %d of kind %d, want %d or %d", name, n, kind, next, echoes)
					}
					if kind == 0 {
						next = n + 1
						continue
					}
					if echoes++; echoes == own {
						ready.Add(1)
						if leaves {
							return
						}
					}
				}
			})
			time.Sleep(time.Millisecond)
		}
	}
	for ready.Load() < int64(len(kinds)*perKind) {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	n := <-published
	for _, s := range servers {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if err := s.Config.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	clients.Wait()
	if err := g.Broadcast(websocket.BinaryMessage, nil); err != websocket.ErrGroupClosed {
		t.Errorf("a broadcast after the end: %v", err)
	}
	if s := g.Stats(); s.Members != 0 || s.Expelled != 0 || s.Skipped != 0 || n == 0 {
		t.Errorf("%d messages, %+v", n, s)
	}
}

// groupMessage returns message n of a kind, which tells when it is damaged.
func groupMessage(kind byte, n, size int) []byte {
	p := bytes.Repeat([]byte{kind, byte(n), byte(n >> 8), byte(size)}, size/4+3)[:size]
	p[0] = kind
	binary.BigEndian.PutUint32(p[1:], uint32(n))
	return p
}

func readGroupMessage(p []byte) (kind byte, n int, err error) {
	if len(p) < 8 {
		return 0, 0, fmt.Errorf("%d bytes", len(p))
	}
	kind, n = p[0], int(binary.BigEndian.Uint32(p[1:]))
	if !bytes.Equal(p, groupMessage(kind, n, len(p))) {
		return kind, n, fmt.Errorf("message %d of kind %d, of %d bytes, is damaged", n, kind, len(p))
	}
	return kind, n, nil
}
