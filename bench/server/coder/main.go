// The echo server of coder/websocket: Read and Write.
package main

import (
	"context"
	"log"
	"net/http"

	"github.com/coder/websocket"

	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		options := websocket.AcceptOptions{CompressionMode: compression(o)}
		group := serve.NewGroup[*websocket.Conn](o)
		echo := func(ctx context.Context, c *websocket.Conn) {
			defer c.CloseNow()
			group.Add(c)
			defer group.Remove(c)
			for {
				messageType, p, err := c.Read(ctx)
				if err != nil {
					return
				}
				if err := c.Write(ctx, messageType, p); err != nil {
					return
				}
			}
		}
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Accept(w, r, &options)
				if err != nil {
					log.Print(err)
					return
				}
				c.SetReadLimit(serve.MessageLimit)
				if o.Detached {
					go echo(context.Background(), c)
					return
				}
				echo(r.Context(), c)
			}),
			// The library has no prepared messages: one Write per connection.
			Broadcast: func(payload []byte) {
				group.Each(func(c *websocket.Conn) {
					if err := c.Write(context.Background(), websocket.MessageBinary, payload); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}

func compression(o serve.Options) websocket.CompressionMode {
	switch {
	case o.Takeover:
		return websocket.CompressionContextTakeover
	case o.Deflate:
		return websocket.CompressionNoContextTakeover
	}
	return websocket.CompressionDisabled
}
