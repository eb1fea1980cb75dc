package interop

// A Group whose members share one compressor, against the inflaters of the other sides.

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tautws/websocket"
)

// tick returns a message that is mostly like the others.
func tick(i int) []byte {
	return fmt.Appendf(nil, `{"type":"tick","seq":%d,"symbol":"SYM%03d","bid":%d.%04d,"volume":%d,"exchange":"XNAS","flags":["live","primary"]}`,
		i, i*7%100, 100+i*13%57, i*7919%10000, i*104729%100000)
}

// TestGroupWindow has members join in the middle, miss messages, leave, come back and get messages
// of their own. They send back what they inflate.
func TestGroupWindow(t *testing.T) {
	starts := map[string]func(t *testing.T) *peer{
		"ws":         func(t *testing.T) *peer { return startPeer(t, nil, "node", "peer_ws.mjs") },
		"websockets": func(t *testing.T) *peer { return startPeer(t, nil, python, "peer_python.py") },
	}
	for _, b := range browsers {
		starts[b.program] = func(t *testing.T) *peer {
			p := startBrowser(t, b.kind, b.program)
			p.visit(t, "peer", startExample(t, "echo").url)
			return p
		}
	}
	for name, start := range starts {
		t.Run(name, func(t *testing.T) {
			const messages = 400
			g := websocket.Group{Slow: websocket.SkipSlow, MaxLag: 1}
			a := accept(t, websocket.Upgrader{EnableCompression: true, Compression: takeover, Group: &g}, nil)
			p := start(t)
			// There are messages before the peer joins, for a member that is there already.
			first, _, err := websocket.DefaultDialer.Dial(a.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			(<-a.conns).CloseRead(t.Context())
			go func() {
				for {
					if _, _, err := first.ReadMessage(); err != nil {
						return
					}
				}
			}()
			for i := range 10 {
				g.Broadcast(websocket.TextMessage, tick(i))
			}
			dial := command{Do: "dial", URL: a.url}
			if name == "ws" || name == "websockets" {
				dial.Deflate = []byte(`{}`)
			}
			p.do(t, dial)
			if e := p.expect(t, "open"); e.Extensions != "permessage-deflate" {
				t.Fatalf("negotiated %q", e.Extensions)
			}
			conn := <-a.conns
			defer conn.Close()
			echoed, ended := make(chan int, messages), make(chan error, 1)
			go func() { ended <- readTicks(conn, 10, messages-1, echoed) }()
			for i := 10; i < messages; i++ {
				if err := g.Broadcast(websocket.TextMessage, tick(i)); err != nil {
					t.Fatal(err)
				}
				switch i % 50 {
				case 20:
					conn.WriteMessage(websocket.TextMessage, bytes.Repeat([]byte("private "), 50))
				case 30:
					g.Remove(conn)
				case 35:
					g.Add(conn)
				}
				if i%50 < 30 && i%3 > 0 { // it may skip the others, and gets none while it is no member
					for echo := range echoed {
						if echo >= i {
							break
						}
					}
				}
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// readTicks reads ticks in order, though not all, and messages of the connection's own until the
// last tick. It tells their numbers.
func readTicks(c *websocket.Conn, next, last int, numbers chan<- int) error {
	defer close(numbers)
	for next <= last {
		_, data, err := c.ReadMessage()
		if err != nil {
			return err
		}
		if bytes.Equal(data, bytes.Repeat([]byte("private "), 50)) {
			continue
		}
		var i int
		if _, err := fmt.Sscanf(string(data), `{"type":"tick","seq":%d,`, &i); err != nil || i < next || !bytes.Equal(data, tick(i)) {
			return fmt.Errorf("before tick %d: %q", next, data)
		}
		numbers <- i
		next = i + 1
	}
	return nil
}
