// Broadcasts by this module's Group, whose members are connections with Conn.Handle.
package main

import (
	"log"
	"net/http"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		group := websocket.Group{MaxLag: 8 << 20}
		if o.Skip {
			group.Slow, group.MaxLag = websocket.SkipSlow, 0 // the default
		}
		upgrader := websocket.Upgrader{Group: &group, ReadLimit: serve.MessageLimit}
		echo := func(c *websocket.Conn, m websocket.Message, err error) {
			if err == nil {
				c.WriteMessage(m.Type, m.Data)
			}
		}
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				c.Handle(echo)
			}),
			Broadcast: func(payload []byte) {
				if err := group.Broadcast(websocket.BinaryMessage, payload); err != nil {
					log.Print(err)
				}
			},
		}
	})
}
