// Broadcasts as gorilla/websocket's chat example has them: a hub that owns the members, and for
// each of them a channel and a goroutine that writes. The messages are prepared, and each is sent
// as it is, where the example joins those that wait into one.
package main

import (
	"log"
	"net/http"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tautws/websocket/bench/server/serve"
)

const (
	queue     = 256 // messages a member may be behind
	writeWait = 10 * time.Second
	pingEvery = time.Hour // the example's 54 s would come between two measurements
)

type member struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
}

type hub struct {
	join, leave chan *member
	broadcast   chan *websocket.PreparedMessage
}

func main() {
	serve.Main(func(serve.Options) serve.Program {
		h := &hub{make(chan *member), make(chan *member), make(chan *websocket.PreparedMessage)}
		go h.run()
		var upgrader websocket.Upgrader
		return serve.Program{
			Serve: serve.Handler(func(w http.ResponseWriter, r *http.Request) {
				c, err := upgrader.Upgrade(w, r, nil)
				if err != nil {
					log.Print(err)
					return
				}
				m := &member{conn: c, send: make(chan *websocket.PreparedMessage, queue)}
				h.join <- m
				go m.write()
				go m.read(h)
			}),
			Broadcast: func(payload []byte) { h.broadcast <- prepare(websocket.BinaryMessage, payload) },
		}
	})
}

func prepare(messageType int, payload []byte) *websocket.PreparedMessage {
	message, err := websocket.NewPreparedMessage(messageType, payload)
	if err != nil {
		log.Fatal(err)
	}
	return message
}

// run owns the members; one that has fallen too far behind is dropped.
func (h *hub) run() {
	members := make(map[*member]bool)
	drop := func(m *member) {
		if members[m] {
			delete(members, m)
			close(m.send)
		}
	}
	for {
		select {
		case m := <-h.join:
			members[m] = true
		case m := <-h.leave:
			drop(m)
		case message := <-h.broadcast:
			for m := range members {
				select {
				case m.send <- message:
				default:
					drop(m)
				}
			}
		}
	}
}

// read echoes what the member says.
func (m *member) read(h *hub) {
	defer func() {
		h.leave <- m
		m.conn.Close()
	}()
	m.conn.SetReadLimit(serve.MessageLimit)
	for {
		messageType, p, err := m.conn.ReadMessage()
		if err != nil {
			return
		}
		m.send <- prepare(messageType, p)
	}
}

func (m *member) write() {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	defer m.conn.Close()
	for {
		var err error
		select {
		case message, ok := <-m.send:
			if !ok {
				return
			}
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			err = m.conn.WritePreparedMessage(message)
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			err = m.conn.WriteMessage(websocket.PingMessage, nil)
		}
		if err != nil {
			return
		}
	}
}
