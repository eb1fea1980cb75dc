// The echo server of this module over both HTTP/1.1 and HTTP/2, as the client likes.
package main

import (
	"log"
	"net/http"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(serve.Options) serve.Program {
		upgrader := websocket.Upgrader{ReadLimit: serve.MessageLimit}
		echo := func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				log.Print(err)
				return
			}
			defer c.Close()
			for m, err := range c.Messages(r.Context()) {
				if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
					return
				}
			}
		}
		server := http.Server{
			Handler: websocket.HTTP2Handler(http.HandlerFunc(echo)),
			// As docs/http2.md advises.
			HTTP2: &http.HTTP2Config{
				MaxReceiveBufferPerConnection: 4<<20 - 1,
				MaxReceiveBufferPerStream:     64 << 10,
			},
		}
		return serve.Program{Serve: server.Serve}
	})
}
