// Broadcasts by olahol/melody, a framework on top of gorilla/websocket.
package main

import (
	"log"
	"net/http"
	"time"

	"github.com/olahol/melody"

	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(serve.Options) serve.Program {
		m := melody.New()
		m.Config.PingPeriod = time.Hour // a ping would come between two measurements
		m.Config.PongWait = 2 * time.Hour
		m.Config.MaxMessageSize = serve.MessageLimit
		m.HandleMessageBinary(func(s *melody.Session, p []byte) {
			if err := s.WriteBinary(p); err != nil {
				log.Print(err)
			}
		})
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				if err := m.HandleRequest(w, r); err != nil {
					log.Print(err)
				}
			}),
			Broadcast: func(payload []byte) {
				if err := m.BroadcastBinary(payload); err != nil {
					log.Print(err)
				}
			},
		}
	})
}
