// The echo server of this module without a goroutine for each connection: Conn.Handle.
package main

import (
	"log"
	"net/http"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		upgrader := websocket.Upgrader{
			EnableCompression: o.Deflate,
			Compression:       websocket.CompressionOptions{ContextTakeover: o.Takeover},
		}
		members := serve.NewMembers[*websocket.Conn](o)
		echo := func(c *websocket.Conn, m websocket.Message, err error) {
			if err != nil {
				members.Remove(c)
				return
			}
			c.WriteMessage(m.Type, m.Data)
		}
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				c.SetReadLimit(serve.MessageLimit)
				members.Add(c)
				c.Handle(echo)
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
