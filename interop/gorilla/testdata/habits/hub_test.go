// Package habits has programs as they are written for gorilla/websocket, in its types and with the
// habits of the field. They run on gorilla/websocket and on what stands in for it.
package habits

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = 20 * time.Millisecond
)

// A member is a connection with a goroutine that reads and one that writes.
type member struct {
	hub   *hub
	conn  *websocket.Conn
	queue chan []byte
}

// A hub passes what one member says to all of them.
type hub struct {
	join, leave chan *member
	say         chan []byte
	done        chan bool
}

func newHub() *hub {
	return &hub{make(chan *member), make(chan *member), make(chan []byte), make(chan bool)}
}

func (h *hub) run() {
	members := make(map[*member]bool)
	remove := func(m *member) {
		if members[m] {
			delete(members, m)
			close(m.queue)
		}
	}
	for {
		select {
		case m := <-h.join:
			members[m] = true
			m.queue <- fmt.Appendf(nil, "you are %d", len(members))
		case m := <-h.leave:
			remove(m)
		case text := <-h.say:
			for m := range members {
				select {
				case m.queue <- text:
				default:
					remove(m) // too slow
				}
			}
		case <-h.done:
			for m := range members {
				remove(m)
			}
			return
		}
	}
}

func (m *member) readPump(ended chan<- error) {
	defer func() {
		m.hub.leave <- m
		m.conn.Close()
	}()
	m.conn.SetReadLimit(512)
	m.conn.SetReadDeadline(time.Now().Add(pongWait))
	m.conn.SetPongHandler(func(string) error {
		m.conn.SetReadDeadline(time.Now().Add(pongWait))
		return nil
	})
	for {
		_, text, err := m.conn.ReadMessage()
		if err != nil {
			if websocket.IsUnexpectedCloseError(err, websocket.CloseGoingAway, websocket.CloseAbnormalClosure) {
				ended <- fmt.Errorf("unexpected: %w", err)
			} else {
				ended <- nil
			}
			return
		}
		m.hub.say <- bytes.ReplaceAll(text, []byte{'\n'}, []byte{' '})
	}
}

func (m *member) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		select {
		case text, ok := <-m.queue:
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				// The reader closes the connection when the answer is there.
				m.conn.WriteMessage(websocket.CloseMessage, []byte{})
				return
			}
			w, err := m.conn.NextWriter(websocket.TextMessage)
			if err != nil {
				m.conn.Close()
				return
			}
			w.Write(text)
			// What waits goes into the same message.
			for range len(m.queue) {
				more, ok := <-m.queue
				if !ok {
					break
				}
				w.Write([]byte{'\n'})
				w.Write(more)
			}
			if err := w.Close(); err != nil {
				m.conn.Close()
				return
			}
		case <-ticker.C:
			m.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if err := m.conn.WriteMessage(websocket.PingMessage, nil); err != nil {
				m.conn.Close()
				return
			}
		}
	}
}

func TestHub(t *testing.T) {
	const people, sayings = 5, 50
	h := newHub()
	stopped := make(chan bool)
	go func() { h.run(); close(stopped) }()
	ended := make(chan error, people)
	upgrader := websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		m := &member{h, c, make(chan []byte, people*sayings+1)}
		h.join <- m
		go m.writePump()
		go m.readPump(ended)
	}))
	defer server.Close()

	type heard struct {
		lines map[string]bool
		err   error
	}
	conns := make([]*websocket.Conn, people)
	for i := range conns {
		c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, p, err := c.ReadMessage(); err != nil || string(p) != fmt.Sprintf("you are %d", i+1) {
			t.Fatalf("read %q, %v", p, err)
		}
		conns[i] = c
	}
	results := make(chan heard, people)
	var writers sync.WaitGroup
	for i, c := range conns {
		writers.Go(func() {
			for n := range sayings {
				if err := c.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, "%d says\n%d", i, n)); err != nil {
					return
				}
			}
		})
		go func() {
			pings := 0
			reply := c.PingHandler()
			c.SetPingHandler(func(data string) error { pings++; return reply(data) })
			lines := make(map[string]bool)
			for len(lines) < people*sayings || pings < 2 {
				_, p, err := c.ReadMessage()
				if err != nil {
					results <- heard{lines, err}
					return
				}
				for line := range strings.SplitSeq(string(p), "\n") {
					lines[line] = true
				}
				if len(lines) == people*sayings && pings < 2 {
					// Pings come while a read waits: the hub says one thing more after each.
					time.AfterFunc(2*pingPeriod, func() { h.say <- []byte("0 says 0") })
				}
			}
			results <- heard{lines, nil}
		}()
	}
	for range people {
		r := <-results
		if r.err != nil || len(r.lines) != people*sayings {
			t.Errorf("a member heard %d sayings, then %v", len(r.lines), r.err)
		}
	}
	writers.Wait()
	// A member that goes leaves the hub; the others are closed by it.
	conns[0].WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for { // its answer is behind what was said before
		if _, _, err := conns[0].ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
				t.Errorf("the first ended with %v", err)
			}
			break
		}
	}
	go func() { // members leave while the hub stops
		for {
			select {
			case <-h.leave:
			case <-h.say:
			}
		}
	}()
	close(h.done)
	<-stopped
	for i, c := range conns[1:] {
		for {
			_, _, err := c.ReadMessage()
			if err == nil {
				continue
			}
			if e, ok := err.(*websocket.CloseError); !ok || e.Code != websocket.CloseNoStatusReceived {
				t.Errorf("member %d ended with %v", i+1, err)
			}
			break
		}
	}
}
