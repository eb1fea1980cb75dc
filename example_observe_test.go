package websocket_test

// Runnable examples of Trace and Redial; see example_test.go for exampleServer.

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket"
)

func ExampleTrace() {
	var sent, received atomic.Int64
	closed := make(chan error, 1)
	url, stop := exampleServer(&websocket.Upgrader{Trace: &websocket.Trace{
		Message: func(c *websocket.Conn, out bool, messageType, size, wire int) {
			if out {
				sent.Add(int64(wire))
			} else {
				received.Add(int64(wire))
			}
		},
		Closed: func(c *websocket.Conn, err error) { closed <- err },
	}}, exampleEcho)
	defer stop()

	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.WriteMessage(websocket.TextMessage, []byte("hello"))
	c.ReadMessage()
	c.Shutdown(context.Background(), 4000, "done")
	err = <-closed
	fmt.Println(received.Load(), "bytes received,", sent.Load(), "sent;", err)
	// Output:
	// 11 bytes received, 7 sent; websocket: close 4000: done
}

func ExampleDialer_Redial() {
	url, stop := exampleServer(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.WriteMessage(websocket.TextMessage, []byte("news"))
		c.Shutdown(context.Background(), websocket.CloseServiceRestart, "")
	})
	defer stop()

	backoff := websocket.Backoff{
		Min: time.Millisecond, // a real client leaves it zero
		Fatal: func(err error, resp *http.Response) bool {
			return resp != nil && resp.StatusCode == http.StatusGone
		},
	}
	connections := 0
	for c, err := range websocket.DefaultDialer.Redial(context.Background(), url, nil, backoff) {
		if err != nil {
			fmt.Println(err) // the next attempt follows
			continue
		}
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
		if connections++; connections == 3 {
			break
		}
	}
	// Output:
	// news <nil>
	// news <nil>
	// news <nil>
}
