// The echo server of gorilla/websocket: its own echo example without the log lines.
// server/websocket is this file with another import path.
package main

import (
	"log"
	"net/http"
	"sync"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		upgrader := websocket.Upgrader{EnableCompression: o.Deflate}
		members := serve.NewMembers[*websocket.Conn](o)
		echo := func(c *websocket.Conn) {
			defer c.Close()
			members.Add(c)
			defer members.Remove(c)
			for {
				messageType, p, err := c.ReadMessage()
				if err != nil {
					return
				}
				if o.UTF8 && messageType == websocket.TextMessage && !utf8.Valid(p) {
					return
				}
				if o.Writers > 0 {
					err = writeFromMany(o, c, messageType, p)
				} else {
					members.Lock()
					err = c.WriteMessage(messageType, p)
					members.Unlock()
				}
				if err != nil {
					return
				}
			}
		}
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				c.SetReadLimit(serve.MessageLimit)
				if o.Detached {
					go echo(c)
					return
				}
				echo(c)
			}),
			Broadcast: func(payload []byte) {
				message, err := websocket.NewPreparedMessage(websocket.BinaryMessage, payload)
				if err != nil {
					log.Fatal(err)
				}
				members.Each(func(c *websocket.Conn) {
					if err := c.WritePreparedMessage(message); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}

// writeFromMany writes from many goroutines, which take turns by a mutex.
func writeFromMany(o serve.Options, c *websocket.Conn, messageType int, p []byte) error {
	var mu sync.Mutex
	return o.Write(func() error {
		mu.Lock()
		defer mu.Unlock()
		return c.WriteMessage(messageType, p)
	})
}
