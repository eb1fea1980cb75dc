package websocket

// Runnable examples, one for each thing a program does. Every one talks over a
// real connection, and none depends on time to come out right.
//
// They are inside the package, as a test file that imported it by its path
// would pull that path into every program where this module replaces another.

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
)

// exampleServer serves each connection with handle until the returned function is
// called, which waits for the handlers to return.
func exampleServer(u *Upgrader, handle func(*Conn)) (url string, stop func()) {
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

// exampleConn is exampleServer with one connection to it, which stop closes
// first.
func exampleConn(u *Upgrader, handle func(*Conn)) (c *Conn, stop func()) {
	url, stopServer := exampleServer(u, handle)
	c, _, err := DefaultDialer.Dial(url, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.Close()
		stopServer()
	}
}

// exampleEcho sends every message back.
func exampleEcho(c *Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
			return
		}
	}
}

func ExampleUpgrader() {
	var upgrader Upgrader
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
	url, stop := exampleServer(&Upgrader{
		Origins: []string{"https://app.example.com", "https://*.example.org"},
	}, exampleEcho)
	defer stop()
	for _, origin := range []string{
		"https://app.example.com",
		"http://app.example.com", // the scheme counts
		"https://a.b.example.org",
		"https://example.org", // not below example.org
		"https://evil.example",
	} {
		c, resp, err := DefaultDialer.Dial(url, http.Header{"Origin": {origin}})
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
	url, stop := exampleServer(&Upgrader{
		Subprotocols:       []string{"chat.v2", "chat.v1"},
		RequireSubprotocol: true,
	}, exampleEcho)
	defer stop()

	_, resp, err := DefaultDialer.Dial(url, nil)
	fmt.Println(resp.StatusCode, err == ErrBadHandshake)

	d := Dialer{Subprotocols: []string{"chat.v1", "chat.v2"}}
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
	c, stop := exampleConn(&Upgrader{WriteDelay: -1}, exampleEcho)
	defer stop()
	for i := range 3 {
		c.WriteMessage(TextMessage, fmt.Append(nil, "message ", i))
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
	url, stop := exampleServer(&Upgrader{}, exampleEcho)
	defer stop()

	d := Dialer{HandshakeTimeout: 10 * time.Second}
	c, _, err := d.DialContext(context.Background(), url, http.Header{"Authorization": {"Bearer token"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	if err := c.WriteMessage(TextMessage, []byte("hello")); err != nil {
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

	_, resp, err := DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if errors.Is(err, ErrBadHandshake) {
		body, _ := io.ReadAll(resp.Body)
		fmt.Printf("%v\n%s", err, body)
	}
	// Output:
	// websocket: bad handshake
	// 404 page not found
}

func ExampleKeepAlive() {
	gone := make(chan struct{})
	url, stop := exampleServer(&Upgrader{}, func(*Conn) {
		<-gone // reads nothing, so it answers no ping
	})
	defer stop()
	defer close(gone)

	d := Dialer{KeepAlive: KeepAlive{Interval: 10 * time.Millisecond}}
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
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		_, _, err := c.ReadMessage()
		var broken *ProtocolError
		if errors.As(err, &broken) {
			fmt.Println("server:", broken.Code, broken.Text)
		}
	})
	c.WriteMessage(TextMessage, []byte("caf\xe9")) // Latin-1, not UTF-8
	_, _, err := c.ReadMessage()
	stop()
	fmt.Println("client:", err)
	// Output:
	// server: 1007 text message is not valid UTF-8
	// client: websocket: close 1007 (invalid payload data): text message is not valid UTF-8
}

func ExampleCompressionOptions() {
	options := CompressionOptions{ContextTakeover: true, Threshold: 128}
	url, stop := exampleServer(&Upgrader{EnableCompression: true, Compression: options}, exampleEcho)
	defer stop()

	d := Dialer{EnableCompression: true, Compression: options}
	c, resp, err := d.Dial(url, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Println(resp.Header["Sec-Websocket-Extensions"])

	c.EnableWriteCompression(false) // for a message with a secret in it
	c.WriteMessage(TextMessage, []byte("secret"))
	c.EnableWriteCompression(true)
	c.WriteMessage(TextMessage, []byte(strings.Repeat("status ", 100)))
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
	news, err := NewPreparedMessage(TextMessage, []byte("to all"))
	if err != nil {
		fmt.Println(err)
		return
	}
	url, stop := exampleServer(&Upgrader{}, func(c *Conn) {
		c.WritePreparedMessage(news) // framed once, whatever the number of connections
	})
	defer stop()
	for range 3 {
		c, _, _ := DefaultDialer.Dial(url, nil)
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
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		for _, line := range []string{`{"n":1}`, `{"n":2}`} {
			c.WriteMessage(TextMessage, []byte(line))
		}
		c.Shutdown(context.Background(), CloseNormalClosure, "that was all")
	})
	defer stop()

	values := json.NewDecoder(JoinMessages(c, "\n"))
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
