// The echo server of this module with a context of its own for every call.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(serve.Options) serve.Program {
		var upgrader websocket.Upgrader
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				defer c.Close()
				c.SetReadLimit(serve.MessageLimit)
				for err == nil {
					err = echoOne(r.Context(), c)
				}
			}),
		}
	})
}

func echoOne(ctx context.Context, c *websocket.Conn) error {
	reading, cancel := context.WithTimeout(ctx, serve.CallTimeout)
	messageType, p, err := c.ReadMessageContext(reading)
	cancel()
	if err != nil {
		return err
	}
	writing, cancel := context.WithTimeout(ctx, serve.CallTimeout)
	defer cancel()
	return c.WriteMessageContext(writing, messageType, p)
}
