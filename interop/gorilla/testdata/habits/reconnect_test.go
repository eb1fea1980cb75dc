package habits

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// reason tells, as a client that reconnects does it, what an error of Dial or of a read means: by
// value, by type, by text.
func reason(err error, resp *http.Response) (text string, again bool) {
	var netErr net.Error
	switch e, closed := err.(*websocket.CloseError); {
	case err == websocket.ErrBadHandshake && resp != nil && resp.StatusCode == http.StatusServiceUnavailable:
		return "unavailable", true
	case err == websocket.ErrBadHandshake:
		return "refused for good: " + err.Error() + ": " + resp.Status, false
	case websocket.IsCloseError(err, websocket.CloseServiceRestart, websocket.CloseTryAgainLater):
		return "restart", true
	case closed && e.Code == websocket.CloseNormalClosure:
		return "normal: " + e.Text, false
	case websocket.IsUnexpectedCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) && strings.Contains(err.Error(), "close 1006"):
		return "lost", true
	case strings.Contains(err.Error(), "connection refused"):
		return "not there", true
	case strings.Contains(err.Error(), "connection reset by peer"):
		return "reset", true
	case strings.Contains(err.Error(), "i/o timeout") && errors.As(err, &netErr) && netErr.Timeout():
		return "silent", true
	case strings.Contains(err.Error(), "use of closed network connection"):
		return "closed here", true
	}
	return err.Error(), false
}

func TestReconnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close() // nobody listens at first
	steps := []func(w http.ResponseWriter, c *websocket.Conn){
		func(w http.ResponseWriter, c *websocket.Conn) { http.Error(w, "later", http.StatusServiceUnavailable) },
		func(w http.ResponseWriter, c *websocket.Conn) { c.Close() },
		func(w http.ResponseWriter, c *websocket.Conn) {
			c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseServiceRestart, "restart"))
			c.ReadMessage()
			c.Close()
		},
		func(w http.ResponseWriter, c *websocket.Conn) { c.ReadMessage(); c.Close() },
		func(w http.ResponseWriter, c *websocket.Conn) {
			c.UnderlyingConn().(*net.TCPConn).SetLinger(0)
			c.Close()
		},
		func(w http.ResponseWriter, c *websocket.Conn) { c.ReadMessage(); c.Close() },
		func(w http.ResponseWriter, c *websocket.Conn) {
			c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "bye"))
			c.ReadMessage()
			c.Close()
		},
	}
	step := 0
	server := &http.Server{Addr: addr, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do := steps[step]
		if step++; step == 1 {
			do(w, nil)
			return
		}
		var upgrader websocket.Upgrader
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		do(w, c)
	})}

	var reasons []string
	for again := true; again; {
		c, resp, err := websocket.DefaultDialer.Dial("ws://"+addr+"/", nil)
		if err == nil {
			switch len(reasons) {
			case 4:
				c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			case 6:
				c.Close()
			}
			_, _, err = c.ReadMessage()
			c.Close()
		}
		var text string
		text, again = reason(err, resp)
		if reasons = append(reasons, text); len(reasons) == 1 {
			if ln, err = net.Listen("tcp", addr); err != nil {
				t.Fatal(err)
			}
			go server.Serve(ln)
			defer server.Close()
		}
	}
	want := []string{"not there", "unavailable", "lost", "restart", "silent", "reset", "closed here", "normal: bye"}
	if !slices.Equal(reasons, want) {
		t.Errorf("reconnected because of %q, expected %q", reasons, want)
	}
}
