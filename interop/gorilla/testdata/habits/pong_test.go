package habits

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestPongDeadline: the server's pong handler and the client's ping handler move their read
// deadlines, each for as long as the other is there.
func TestPongDeadline(t *testing.T) {
	const rounds = 30
	type end struct {
		pongs int
		err   error
	}
	served := make(chan end, 1)
	var upgrader websocket.Upgrader
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			served <- end{0, err}
			return
		}
		defer c.Close()
		pongs := 0
		ping := func() error {
			return c.WriteControl(websocket.PingMessage, []byte{byte(pongs)}, time.Now().Add(10*time.Second))
		}
		// A first deadline that is too early for all the rounds together, had nobody moved it.
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		c.SetPongHandler(func(data string) error {
			if data != string([]byte{byte(pongs)}) {
				t.Errorf("pong %q in round %d", data, pongs)
			}
			if pongs++; pongs == rounds {
				// No further ping: nothing moves the deadline any more.
				return c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			}
			if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				return err
			}
			return ping()
		})
		if err := ping(); err != nil {
			served <- end{0, err}
			return
		}
		_, _, err = c.ReadMessage()
		served <- end{pongs, err}
	}))
	defer server.Close()

	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	pings := 0
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	c.SetPingHandler(func(data string) error {
		pings++
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		err := c.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(time.Second))
		if err == websocket.ErrCloseSent {
			return nil
		} else if e, ok := err.(net.Error); ok && e.Timeout() {
			return nil
		}
		return err
	})
	_, _, err = c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
		t.Errorf("the client ends with %v", err)
	}
	e := <-served
	if ne, ok := e.err.(net.Error); !ok || !ne.Timeout() || ne.Temporary() {
		t.Errorf("the server ends with %T %v", e.err, e.err)
	}
	if e.pongs != rounds || pings != rounds {
		t.Errorf("%d pings and %d pongs, expected %d", pings, e.pongs, rounds)
	}
}
