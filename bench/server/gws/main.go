// The echo server of lxzan/gws: its own echo example, its Broadcaster for broadcasts.
package main

import (
	"compress/flate"
	"log"
	"net/http"

	"github.com/lxzan/gws"

	"github.com/tautws/websocket/bench/server/serve"
)

type handler struct {
	gws.BuiltinEventHandler
	options serve.Options
	members *serve.Members[*gws.Conn]
}

func (h *handler) OnOpen(c *gws.Conn) { h.members.Add(c) }

func (h *handler) OnClose(c *gws.Conn, _ error) { h.members.Remove(c) }

func (h *handler) OnPing(c *gws.Conn, payload []byte) { _ = c.WritePong(payload) }

func (h *handler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if h.options.Writers > 0 {
		_ = h.options.Write(func() error { return c.WriteMessage(m.Opcode, m.Bytes()) })
		return
	}
	_ = c.WriteMessage(m.Opcode, m.Bytes())
}

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		h := &handler{options: o, members: serve.NewMembers[*gws.Conn](o)}
		upgrader := gws.NewUpgrader(h, &gws.ServerOption{
			CheckUtf8Enabled:    true,
			ReadMaxPayloadSize:  serve.MessageLimit,
			WriteMaxPayloadSize: serve.MessageLimit,
			Recovery:            gws.Recovery,
			PermessageDeflate: gws.PermessageDeflate{
				Enabled:               o.Deflate,
				Level:                 flate.BestSpeed,
				ServerContextTakeover: o.Takeover,
				ClientContextTakeover: o.Takeover,
			},
		})
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r)
				if err != nil {
					log.Print(err)
					return
				}
				if o.Detached {
					go c.ReadLoop()
					return
				}
				c.ReadLoop()
			}),
			Broadcast: func(payload []byte) {
				b := gws.NewBroadcaster(gws.OpcodeBinary, payload)
				defer b.Close()
				h.members.Each(func(c *gws.Conn) {
					if err := b.Broadcast(c); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}
