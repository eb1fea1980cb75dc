package websocket_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/tautws/websocket"
)

// The handler of the whole server is wrapped. Clients without HTTP/2, and all clients while
// GODEBUG=http2xconnect=1 is not set, are served as before.
func ExampleHTTP2Handler() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /echo", func(w http.ResponseWriter, r *http.Request) {
		var upgrader websocket.Upgrader
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
				return
			}
		}
	})
	srv := httptest.NewUnstartedServer(websocket.HTTP2Handler(mux))
	srv.EnableHTTP2 = true
	// A WebSocket that is not read does not hold up the others of its HTTP/2 connection.
	srv.Config.HTTP2 = &http.HTTP2Config{
		MaxReceiveBufferPerConnection: 4<<20 - 1,
		MaxReceiveBufferPerStream:     64 << 10,
	}
	srv.StartTLS()
	defer srv.Close()

	d := websocket.Dialer{TLSClientConfig: srv.Client().Transport.(*http.Transport).TLSClientConfig}
	c, _, err := d.Dial("wss"+strings.TrimPrefix(srv.URL, "https")+"/echo", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	_, p, err := c.ReadMessage()
	fmt.Println(string(p), err)
	// Output: hello <nil>
}
