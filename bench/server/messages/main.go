// The echo server of this module with its own read loop: a range over Messages, which reuses one
// buffer.
package main

import (
	"context"
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
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				c.SetReadLimit(serve.MessageLimit)
				if o.Detached {
					go echo(o, c)
					return
				}
				echo(o, c)
			}),
		}
	})
}

func echo(o serve.Options, c *websocket.Conn) {
	defer c.Close()
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return
		}
		if o.Writers > 0 {
			err = writeFromMany(o, c, m)
		} else {
			err = c.WriteMessage(m.Type, m.Data)
		}
		if err != nil {
			return
		}
	}
}

// writeFromMany writes from many goroutines without a lock of the program's: WriteMessage may be
// called concurrently.
func writeFromMany(o serve.Options, c *websocket.Conn, m websocket.Message) error {
	return o.Write(func() error { return c.WriteMessage(m.Type, m.Data) })
}
