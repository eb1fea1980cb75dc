// Shout answers every line in capitals and tells the time in between.
package main

import (
	"bytes"
	"flag"
	"log"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tautws/websocket"
)

const (
	writeWait  = 10 * time.Second
	pongWait   = 60 * time.Second
	pingPeriod = 50 * time.Second // less than pongWait
	maxMessage = 4096             // bytes
)

var every = time.Second

var upgrader = websocket.Upgrader{CheckOrigin: checkOrigin}

func main() {
	addr := flag.String("addr", "127.0.0.1:12349", "listen on this `address`")
	flag.Parse()
	http.HandleFunc("/", shout)
	log.Printf("serving ws://%s/", *addr)
	log.Fatal(http.ListenAndServe(*addr, nil))
}

func checkOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin == "" || origin == "https://app.example" || origin == "http://"+r.Host
}

// conn adds the lock that writers need: a connection has one writer at a time.
type conn struct {
	*websocket.Conn
	mu sync.Mutex
}

func (c *conn) write(messageType int, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.SetWriteDeadline(time.Now().Add(writeWait))
	return c.WriteMessage(messageType, data)
}

func shout(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	c := &conn{Conn: ws}
	done := make(chan struct{})
	defer close(done)
	go c.ping(done)
	go c.tell(done)

	c.SetReadLimit(maxMessage)
	c.SetReadDeadline(time.Now().Add(pongWait))
	c.SetPongHandler(func(string) error {
		return c.SetReadDeadline(time.Now().Add(pongWait))
	})
	for {
		messageType, message, err := c.ReadMessage()
		if err != nil {
			if websocket.IsUnexpectedCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
				log.Print(err)
			}
			return
		}
		if messageType == websocket.TextMessage && !utf8.Valid(message) {
			c.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseInvalidFramePayloadData, ""))
			return
		}
		if err := c.write(messageType, bytes.ToUpper(message)); err != nil {
			return
		}
	}
}

// tell is one of the two writers.
func (c *conn) tell(done <-chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if c.write(websocket.TextMessage, now.AppendFormat(nil, "it is 15:04:05")) != nil {
				return
			}
		case <-done:
			return
		}
	}
}

// ping makes the peer send pongs, without which the read deadline would pass.
func (c *conn) ping(done <-chan struct{}) {
	ticker := time.NewTicker(pingPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if c.write(websocket.PingMessage, nil) != nil {
				c.Close()
				return
			}
		case <-done:
			return
		}
	}
}
