package main

import (
	"net"
	"testing"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/conformance"
)

func TestServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServer()
	defer s.Close()
	go s.Serve(ln)
	c, resp, err := conformance.NewDialer().Dial("ws://"+ln.Addr().String()+"/any/path?x", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != "permessage-deflate" {
		t.Errorf("extensions %q", got)
	}
	for _, messageType := range []int{websocket.TextMessage, websocket.BinaryMessage} {
		if err := c.WriteMessage(messageType, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got, p, err := c.ReadMessage(); got != messageType || string(p) != "hello" || err != nil {
			t.Errorf("echo %d %q, %v, want %d", got, p, err, messageType)
		}
	}
	if err := c.Shutdown(t.Context(), websocket.CloseNormalClosure, ""); err != nil {
		t.Error(err)
	}
}
