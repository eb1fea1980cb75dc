// Shout answers every line in capitals and tells the time in between.
package main

import (
	"bytes"
	"context"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/tautws/websocket"
)

const (
	writeWait  = 10 * time.Second
	maxMessage = 4096 // bytes
)

var every = time.Second

var upgrader = websocket.Upgrader{
	Origins:   []string{"https://app.example"}, // besides the same origin
	KeepAlive: websocket.KeepAlive{Interval: 50 * time.Second, Timeout: 10 * time.Second},
}

func main() {
	addr := flag.String("addr", "127.0.0.1:12349", "listen on this `address`")
	flag.Parse()
	http.HandleFunc("/", shout)
	log.Printf("serving ws://%s/", *addr)
	log.Fatal(http.ListenAndServe(*addr, nil))
}

func shout(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go tell(ctx, c)

	c.SetReadLimit(maxMessage)
	for message, err := range c.Messages(ctx) {
		if err != nil {
			log.Print(err)
			return
		}
		if err := write(ctx, c, message.Type, bytes.ToUpper(message.Data)); err != nil {
			return
		}
	}
}

// tell writes beside the loop above, without a lock between them.
func tell(ctx context.Context, c *websocket.Conn) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			if write(ctx, c, websocket.TextMessage, now.AppendFormat(nil, "it is 15:04:05")) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func write(ctx context.Context, c *websocket.Conn, messageType int, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	return c.WriteMessageContext(ctx, messageType, data)
}
