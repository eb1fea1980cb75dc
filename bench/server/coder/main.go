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
		members := serve.NewMembers[*websocket.Conn](o)
		echo := func(ctx context.Context, c *websocket.Conn) {
			defer c.CloseNow()
			members.Add(c)
			defer members.Remove(c)
			echoOne := echoOne
			if o.Contexts {
				echoOne = echoOneInTime
			}
			for {
				if err := echoOne(ctx, o, c); err != nil {
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
				members.Each(func(c *websocket.Conn) {
					if err := c.Write(context.Background(), websocket.MessageBinary, payload); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}

func echoOne(ctx context.Context, o serve.Options, c *websocket.Conn) error {
	messageType, p, err := c.Read(ctx)
	if err != nil {
		return err
	}
	if o.Writers > 0 {
		return o.Write(func() error { return c.Write(ctx, messageType, p) })
	}
	return c.Write(ctx, messageType, p)
}

// echoOneInTime is echoOne with a context of its own for each call.
func echoOneInTime(ctx context.Context, _ serve.Options, c *websocket.Conn) error {
	reading, cancel := context.WithTimeout(ctx, serve.CallTimeout)
	messageType, p, err := c.Read(reading)
	cancel()
	if err != nil {
		return err
	}
	writing, cancel := context.WithTimeout(ctx, serve.CallTimeout)
	defer cancel()
	return c.Write(writing, messageType, p)
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
