package websocket_test

// Runnable examples, one for each thing a program does. Every one talks over a real connection, and
// none depends on time to come out right.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket"
)

// exampleServer serves each connection with handle until the returned function is called, which
// waits for the handlers to return.
func exampleServer(u *websocket.Upgrader, handle func(*websocket.Conn)) (url string, stop func()) {
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

// exampleConn is exampleServer with one connection to it, which stop closes first.
func exampleConn(u *websocket.Upgrader, handle func(*websocket.Conn)) (c *websocket.Conn, stop func()) {
	url, stopServer := exampleServer(u, handle)
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		panic(err)
	}
	return c, func() {
		c.Close()
		stopServer()
	}
}

// exampleEcho sends every message back.
func exampleEcho(c *websocket.Conn) {
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
	url, stop := exampleServer(&websocket.Upgrader{
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
	url, stop := exampleServer(&websocket.Upgrader{
		Subprotocols:       []string{"chat.v2", "chat.v1"},
		RequireSubprotocol: true,
	}, exampleEcho)
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
	// Replies to messages that arrived together leave together. A server that wants each reply on
	// its way at once says so.
	c, stop := exampleConn(&websocket.Upgrader{WriteDelay: -1}, exampleEcho)
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
	url, stop := exampleServer(&websocket.Upgrader{}, exampleEcho)
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
	// websocket: bad handshake
	// 404 page not found
}

func ExampleKeepAlive() {
	gone := make(chan struct{})
	url, stop := exampleServer(&websocket.Upgrader{}, func(*websocket.Conn) {
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
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
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
	url, stop := exampleServer(&websocket.Upgrader{EnableCompression: true, Compression: options}, exampleEcho)
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
	url, stop := exampleServer(&websocket.Upgrader{}, func(c *websocket.Conn) {
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
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
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

// Runnable examples of the methods of Conn; see example_test.go for exampleConn.

func ExampleConn_Messages() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.WriteMessage(websocket.TextMessage, []byte("one"))
		c.WriteMessage(websocket.TextMessage, []byte("two"))
		c.Shutdown(context.Background(), websocket.CloseNormalClosure, "")
	})
	defer stop()

	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err) // not for a normal close
			return
		}
		fmt.Printf("%s\n", m.Data)
	}
	fmt.Println("closed")
	// Output:
	// one
	// two
	// closed
}

func ExampleConn_ReadMessageContext() {
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()

	// Nothing comes, so the context ends the wait.
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, errors.New("nobody spoke"))
	defer cancel()
	_, _, err := c.ReadMessageContext(ctx)
	fmt.Println(err, errors.Is(err, context.DeadlineExceeded))

	// The connection has lost nothing by it.
	c.WriteMessage(websocket.TextMessage, []byte("still here"))
	_, p, err := c.ReadMessageContext(context.Background())
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// websocket: nobody spoke true
	// still here <nil>
}

func ExampleConn_NextReaderContext() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.WriteMessage(websocket.BinaryMessage, make([]byte, 1<<20))
		c.ReadMessage() // until the client is done
	})
	defer stop()

	_, r, err := c.NextReaderContext(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := io.Copy(io.Discard, r) // noContext the whole message in memory
	fmt.Println(n, err)
	// Output: 1048576 <nil>
}

func ExampleConn_WriteMessageContext() {
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()

	// A message on its way: it holds the connection until its writer is closed.
	w, _ := c.NextWriter(websocket.BinaryMessage)
	w.Write(make([]byte, 100_000))

	// This one gives up waiting for it. Nothing of it was sent.
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := c.WriteMessageContext(ctx, websocket.TextMessage, []byte("too late"))
	fmt.Println(err)

	w.Close()
	err = c.WriteMessageContext(context.Background(), websocket.TextMessage, []byte("in time"))
	fmt.Println(err)
	// Output:
	// websocket: context deadline exceeded
	// <nil>
}

func ExampleConn_NextWriterContext() {
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()

	w, err := c.NextWriterContext(context.Background(), websocket.TextMessage)
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		fmt.Fprintf(w, "%d ", i)
	}
	if err := w.Close(); err != nil { // the message is sent here
		fmt.Println(err)
		return
	}
	_, p, err := c.ReadMessage()
	fmt.Printf("%s%v\n", p, err)
	// Output: 0 1 2 <nil>
}

func ExampleConn_WriteMessage() {
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()

	// Any goroutine may write; no lock is needed.
	for range 10 {
		go c.WriteMessage(websocket.TextMessage, []byte("hello"))
	}
	for range 10 {
		if _, p, err := c.ReadMessage(); err != nil || string(p) != "hello" {
			fmt.Println(p, err)
			return
		}
	}
	fmt.Println("ten whole messages")
	// Output: ten whole messages
}

func ExampleConn_Flush() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return
			}
			c.WriteMessage(websocket.TextMessage, []byte("working"))
			c.Flush() // it may not wait for the work
			c.WriteMessage(m.Type, []byte(strings.ToUpper(string(m.Data))))
		}
	})
	defer stop()

	c.WriteMessage(websocket.TextMessage, []byte("shout"))
	for range 2 {
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
	}
	// Output:
	// working <nil>
	// SHOUT <nil>
}

func ExampleConn_Handle() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		ended := make(chan error)
		c.Handle(func(c *websocket.Conn, m websocket.Message, err error) {
			if err != nil {
				ended <- err // the last call
				return
			}
			c.WriteMessage(m.Type, bytes.ToUpper(m.Data))
		})
		// A handler of HTTP requests would return here. This one waits to print the end.
		fmt.Println("server:", <-ended)
	})
	defer stop()

	c.WriteMessage(websocket.TextMessage, []byte("shout"))
	_, p, err := c.ReadMessage()
	fmt.Println(string(p), err)
	fmt.Println(c.Shutdown(context.Background(), websocket.CloseNormalClosure, "bye"))
	// Unordered output:
	// SHOUT <nil>
	// server: websocket: close 1000 (normal): bye
	// <nil>
}

func ExampleConn_Ping() {
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()
	go c.ReadMessage() // the goroutine that reads sees the pong

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(c.Ping(ctx))
	// Output: <nil>
}

func ExampleConn_Shutdown() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		_, _, err := c.ReadMessage()
		fmt.Println("server:", err)
	})
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx, websocket.CloseGoingAway, "back at noon"); err != nil {
		fmt.Println("no close frame came back:", err)
	}
	// Output: server: websocket: close 1001 (going away): back at noon
}

func ExampleConn_SetReadLimit() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.SetReadLimit(1000)
		_, _, err := c.ReadMessage()
		fmt.Println("server:", err, err == websocket.ErrReadLimit)
	})
	c.WriteMessage(websocket.TextMessage, make([]byte, 1001))
	_, _, err := c.ReadMessage()
	stop()
	fmt.Println("client:", err)
	// Output:
	// server: websocket: read limit exceeded true
	// client: websocket: close 1009 (message too big)
}

func ExampleConn_WriteJSON() {
	type move struct {
		From, To string
	}
	c, stop := exampleConn(&websocket.Upgrader{}, exampleEcho)
	defer stop()
	if err := c.WriteJSON(move{"e2", "e4"}); err != nil {
		fmt.Println(err)
		return
	}
	var m move
	err := c.ReadJSON(&m)
	fmt.Println(m.From, m.To, err)
	// Output: e2 e4 <nil>
}

// Clients of a chat: what one says all get.
func ExampleGroup() {
	var room websocket.Group
	welcome, err := websocket.NewPreparedMessage(websocket.TextMessage, []byte("welcome"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		room.Add(c, welcome)
		for {
			messageType, p, err := c.ReadMessage()
			if err != nil {
				return // the connection is closed now, and leaves the group
			}
			room.Broadcast(messageType, p)
		}
	})
	defer stop()
	c.WriteMessage(websocket.TextMessage, []byte("is anybody here?"))
	for range 2 {
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
	}
	// Output:
	// welcome <nil>
	// is anybody here? <nil>
}

// http.Server.Shutdown does not know of the connections that Upgrade took over. Their Group ends
// them.
func ExampleGroup_Shutdown() {
	var conns websocket.Group
	upgrader := websocket.Upgrader{Group: &conns}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.WriteMessage(websocket.TextMessage, []byte("hello"))
		c.ReadMessage() // fails when the connection ends
	}))
	defer srv.Close()
	goodbye := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		conns.Shutdown(ctx, websocket.CloseGoingAway, "back at noon")
	}
	srv.Config.RegisterOnShutdown(goodbye)

	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	c.ReadMessage()

	read := make(chan error)
	go func() {
		_, _, err := c.ReadMessage()
		read <- err
	}()
	srv.Config.Shutdown(context.Background())
	goodbye() // Server.Shutdown does not wait for the functions that it calls
	fmt.Println(<-read)
	// Output: websocket: close 1001 (going away): back at noon
}

// Runnable examples of what makes something else of a Conn, or a Conn of something else.

// A protocol made for TCP, here one of lines, over messages.
func ExampleConn_Stream() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		nc := c.Stream(websocket.BinaryMessage)
		defer nc.Close()
		for lines := bufio.NewScanner(nc); lines.Scan(); {
			fmt.Fprintf(nc, "you said %s\n", lines.Text())
		}
	})
	defer stop()

	nc := c.Stream(websocket.BinaryMessage)
	fmt.Fprint(nc, "hel")
	fmt.Fprint(nc, "lo\nbye\n") // boundaries of messages mean nothing
	replies := bufio.NewScanner(nc)
	for range 2 {
		replies.Scan()
		fmt.Println(replies.Text())
	}

	// A deadline costs nothing but the wait.
	nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := nc.Read(make([]byte, 100))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))

	fmt.Println(nc.Close()) // the close handshake
	// Output:
	// you said hello
	// you said bye
	// true
	// <nil>
}

// A server that only writes, until the client is gone.
func ExampleConn_CloseRead() {
	ended := make(chan error, 1)
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		ctx := c.CloseRead(context.Background())
		for tick := time.Tick(time.Millisecond); ; {
			select {
			case <-tick:
				c.WriteMessage(websocket.TextMessage, []byte("tick"))
			case <-ctx.Done():
				ended <- context.Cause(ctx)
				return
			}
		}
	})
	defer stop()

	_, p, _ := c.ReadMessage()
	fmt.Printf("%s\n", p)
	c.Shutdown(context.Background(), websocket.CloseNormalClosure, "enough")
	fmt.Println(<-ended)
	// Output:
	// tick
	// websocket: close 1000 (normal): enough
}

// Messages ends by itself when the server closes normally. Whether to connect again depends on how.
func ExampleConn_Err() {
	c, stop := exampleConn(&websocket.Upgrader{}, func(c *websocket.Conn) {
		c.Shutdown(context.Background(), websocket.CloseGoingAway, "restart")
	})
	defer stop()

	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println("failed:", err)
			return
		}
		fmt.Printf("%s\n", m.Data)
	}
	if websocket.IsCloseError(c.Err(), websocket.CloseGoingAway) {
		fmt.Println("connect again:", c.Err())
	}
	// Output: connect again: websocket: close 1001 (going away): restart
}

// Two processes with a Unix socket between them need no opening handshake.
func ExampleNewConn() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ln, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		server := websocket.NewConn(nc, websocket.ConnOptions{Server: true, EnableCompression: true})
		defer server.Close()
		exampleEcho(server)
	}()

	nc, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	client := websocket.NewConn(nc, websocket.ConnOptions{EnableCompression: true})
	client.WriteMessage(websocket.TextMessage, []byte("hello"))
	_, p, err := client.ReadMessage()
	fmt.Printf("%s %v\n", p, err)
	fmt.Println(client.Shutdown(context.Background(), websocket.CloseNormalClosure, ""))
	// Output:
	// hello <nil>
	// <nil>
}

// A test of a function that serves a connection, without a network.
func ExamplePipe() {
	shout := func(c *websocket.Conn) {
		defer c.Close()
		for m, err := range c.Messages(context.Background()) {
			if err != nil || c.WriteMessage(m.Type, append(m.Data, '!')) != nil {
				return
			}
		}
	}

	client, server := websocket.Pipe(websocket.ConnOptions{})
	go shout(server)
	client.WriteMessage(websocket.TextMessage, []byte("hello"))
	_, p, err := client.ReadMessage()
	fmt.Printf("%s %v\n", p, err)
	fmt.Println(client.Shutdown(context.Background(), websocket.CloseNormalClosure, ""))
	// Output:
	// hello! <nil>
	// <nil>
}

// Runnable examples of Trace and Redial; see example_test.go for exampleServer.

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
