package websocket_test

// Runnable examples, one for each thing a program does. Every one talks over a
// real connection, and none depends on time to come out right.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tautws/websocket"
)

// start serves each connection with handle until the returned function is
// called, which waits for the handlers to return.
func start(u *websocket.Upgrader, handle func(*websocket.Conn)) (url string, stop func()) {
	var handlers sync.WaitGroup
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has answered
		}
		defer c.Close()
		handle(c)
	}))
	return "ws" + strings.TrimPrefix(srv.URL, "http"), func() {
		handlers.Wait()
		srv.Close()
	}
}

// connect is start with one connection to it, which stop closes first.
func connect(u *websocket.Upgrader, handle func(*websocket.Conn)) (c *websocket.Conn, stop func()) {
	url, stopServer := start(u, handle)
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.Close()
		stopServer()
	}
}

// echo sends every message back.
func echo(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
			return
		}
	}
}

func ExampleUpgrader() {
	var upgrader websocket.Upgrader
	echo := func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // Upgrade has told the client why
		}
		defer c.Close()
		for {
			messageType, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(messageType, p); err != nil {
				return
			}
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(echo))
	defer srv.Close()

	resp, err := http.Get(srv.URL) // no handshake: it gets a plain HTTP answer
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	// Output: 400 Bad Request
}

func ExampleUpgrader_origins() {
	url, stop := start(&websocket.Upgrader{
		Origins: []string{"https://app.example.com", "https://*.example.org"},
	}, echo)
	defer stop()
	for _, origin := range []string{
		"https://app.example.com",
		"http://app.example.com", // the scheme counts
		"https://a.b.example.org",
		"https://example.org", // not below example.org
		"https://evil.example",
	} {
		c, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {origin}})
		fmt.Println(resp.StatusCode, origin)
		if err == nil {
			c.Close()
		}
	}
	// Output:
	// 101 https://app.example.com
	// 403 http://app.example.com
	// 101 https://a.b.example.org
	// 403 https://example.org
	// 403 https://evil.example
}

func ExampleUpgrader_requireSubprotocol() {
	url, stop := start(&websocket.Upgrader{
		Subprotocols:       []string{"chat.v2", "chat.v1"},
		RequireSubprotocol: true,
	}, echo)
	defer stop()

	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	fmt.Println(resp.StatusCode, err == websocket.ErrBadHandshake)

	d := websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v2"}}
	c, _, err := d.Dial(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(c.Subprotocol())
	// Output:
	// 400 true
	// chat.v2
}

func ExampleUpgrader_writeDelay() {
	// Replies to messages that arrived together leave together. A server that
	// wants each reply on its way at once says so.
	c, stop := connect(&websocket.Upgrader{WriteDelay: -1}, echo)
	defer stop()
	for i := range 3 {
		c.WriteMessage(websocket.TextMessage, fmt.Append(nil, "message ", i))
	}
	for range 3 {
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
	}
	// Output:
	// message 0 <nil>
	// message 1 <nil>
	// message 2 <nil>
}

func ExampleDialer() {
	url, stop := start(&websocket.Upgrader{}, echo)
	defer stop()

	d := websocket.Dialer{HandshakeTimeout: 10 * time.Second}
	c, _, err := d.DialContext(context.Background(), url, http.Header{"Authorization": {"Bearer token"}})
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
	fmt.Printf("%s %v\n", p, err)
	// Output: hello <nil>
}

func ExampleDialer_refused() {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()

	_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if errors.Is(err, websocket.ErrBadHandshake) {
		body, _ := io.ReadAll(resp.Body)
		fmt.Printf("%v\n%s", err, body)
	}
	// Output:
	// websocket: bad handshake: the server answered 404 Not Found
	// 404 page not found
}

func ExampleKeepAlive() {
	gone := make(chan struct{})
	url, stop := start(&websocket.Upgrader{}, func(*websocket.Conn) {
		<-gone // reads nothing, so it answers no ping
	})
	defer stop()
	defer close(gone)

	d := websocket.Dialer{KeepAlive: websocket.KeepAlive{Interval: 10 * time.Millisecond}}
	c, _, err := d.Dial(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	_, _, err = c.ReadMessage()
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded), err)
	// Output: true websocket: peer is gone: nothing received for 20ms, nor a pong to the ping in between
}

func ExampleProtocolError() {
	c, stop := connect(&websocket.Upgrader{}, func(c *websocket.Conn) {
		_, _, err := c.ReadMessage()
		var broken *websocket.ProtocolError
		if errors.As(err, &broken) {
			fmt.Println("server:", broken.Code, broken.Text)
		}
	})
	c.WriteMessage(websocket.TextMessage, []byte("caf\xe9")) // Latin-1, not UTF-8
	_, _, err := c.ReadMessage()
	stop()
	fmt.Println("client:", err)
	// Output:
	// server: 1007 text message is not valid UTF-8
	// client: websocket: close 1007 (invalid payload data): text message is not valid UTF-8
}

func ExampleCompressionOptions() {
	options := websocket.CompressionOptions{ContextTakeover: true, Threshold: 128}
	url, stop := start(&websocket.Upgrader{EnableCompression: true, Compression: options}, echo)
	defer stop()

	d := websocket.Dialer{EnableCompression: true, Compression: options}
	c, resp, err := d.Dial(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(resp.Header["Sec-Websocket-Extensions"])

	c.EnableWriteCompression(false) // for a message with a secret in it
	c.WriteMessage(websocket.TextMessage, []byte("secret"))
	c.EnableWriteCompression(true)
	c.WriteMessage(websocket.TextMessage, []byte(strings.Repeat("status ", 100)))
	for range 2 {
		_, p, err := c.ReadMessage()
		fmt.Println(len(p), err)
	}
	// Output:
	// [permessage-deflate]
	// 6 <nil>
	// 700 <nil>
}

func ExamplePreparedMessage() {
	news, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte("to all"))
	if err != nil {
		fmt.Println(err)
		return
	}
	url, stop := start(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.WritePreparedMessage(news) // framed once, whatever the number of connections
	})
	defer stop()
	for range 3 {
		c, _, _ := websocket.DefaultDialer.Dial(url, nil)
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
		c.Close()
	}
	// Output:
	// to all <nil>
	// to all <nil>
	// to all <nil>
}

func ExampleJoinMessages() {
	c, stop := connect(&websocket.Upgrader{}, func(c *websocket.Conn) {
		for _, line := range []string{`{"n":1}`, `{"n":2}`} {
			c.WriteMessage(websocket.TextMessage, []byte(line))
		}
		c.Shutdown(context.Background(), websocket.CloseNormalClosure, "that was all")
	})
	defer stop()

	values := json.NewDecoder(websocket.JoinMessages(c, "\n"))
	for {
		var v struct{ N int }
		if err := values.Decode(&v); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(v.N)
	}
	// Output:
	// 1
	// 2
	// websocket: close 1000 (normal): that was all
}
