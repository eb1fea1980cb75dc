// The echo server of gorilla/websocket: its own echo example without the log
// lines. server/websocket is this file with another import path.
package main

import (
	"log"
	"net/http"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		upgrader := websocket.Upgrader{EnableCompression: o.Deflate}
		group := serve.NewGroup[*websocket.Conn](o)
		echo := func(c *websocket.Conn) {
			defer c.Close()
			group.Add(c)
			defer group.Remove(c)
			for {
				messageType, p, err := c.ReadMessage()
				if err != nil {
					return
				}
				if o.UTF8 && messageType == websocket.TextMessage && !utf8.Valid(p) {
					return
				}
				if err := c.WriteMessage(messageType, p); err != nil {
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
				group.Each(func(c *websocket.Conn) {
					if err := c.WritePreparedMessage(message); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}
