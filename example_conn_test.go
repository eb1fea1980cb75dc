package websocket

// Runnable examples of the methods of Conn; see example_test.go for exampleConn.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

func ExampleConn_Messages() {
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		c.WriteMessage(TextMessage, []byte("one"))
		c.WriteMessage(TextMessage, []byte("two"))
		c.Shutdown(context.Background(), CloseNormalClosure, "")
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
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
	defer stop()

	// Nothing comes, so the context ends the wait.
	ctx, cancel := context.WithTimeoutCause(context.Background(), time.Millisecond, errors.New("nobody spoke"))
	defer cancel()
	_, _, err := c.ReadMessageContext(ctx)
	fmt.Println(err, errors.Is(err, context.DeadlineExceeded))

	// The connection has lost nothing by it.
	c.WriteMessage(TextMessage, []byte("still here"))
	_, p, err := c.ReadMessageContext(context.Background())
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// websocket: nobody spoke true
	// still here <nil>
}

func ExampleConn_NextReaderContext() {
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		c.WriteMessage(BinaryMessage, make([]byte, 1<<20))
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
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
	defer stop()

	// A message on its way: it holds the connection until its writer is closed.
	w, _ := c.NextWriter(BinaryMessage)
	w.Write(make([]byte, 100_000))

	// This one gives up waiting for it. Nothing of it was sent.
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err := c.WriteMessageContext(ctx, TextMessage, []byte("too late"))
	fmt.Println(err)

	w.Close()
	err = c.WriteMessageContext(context.Background(), TextMessage, []byte("in time"))
	fmt.Println(err)
	// Output:
	// websocket: context deadline exceeded
	// <nil>
}

func ExampleConn_NextWriterContext() {
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
	defer stop()

	w, err := c.NextWriterContext(context.Background(), TextMessage)
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
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
	defer stop()

	// Any goroutine may write; no lock is needed.
	for range 10 {
		go c.WriteMessage(TextMessage, []byte("hello"))
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
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				return
			}
			c.WriteMessage(TextMessage, []byte("working"))
			c.Flush() // it may not wait for the work
			c.WriteMessage(m.Type, []byte(strings.ToUpper(string(m.Data))))
		}
	})
	defer stop()

	c.WriteMessage(TextMessage, []byte("shout"))
	for range 2 {
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
	}
	// Output:
	// working <nil>
	// SHOUT <nil>
}

func ExampleConn_Ping() {
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
	defer stop()
	go c.ReadMessage() // whoever reads sees the pong

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(c.Ping(ctx))
	// Output: <nil>
}

func ExampleConn_Shutdown() {
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		_, _, err := c.ReadMessage()
		fmt.Println("server:", err)
	})
	defer stop()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.Shutdown(ctx, CloseGoingAway, "back at noon"); err != nil {
		fmt.Println("no close frame came back:", err)
	}
	// Output: server: websocket: close 1001 (going away): back at noon
}

func ExampleConn_SetReadLimit() {
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
		c.SetReadLimit(1000)
		_, _, err := c.ReadMessage()
		fmt.Println("server:", err, err == ErrReadLimit)
	})
	c.WriteMessage(TextMessage, make([]byte, 1001))
	_, _, err := c.ReadMessage()
	stop()
	fmt.Println("client:", err)
	// Output:
	// server: websocket: read limit exceeded true
	// client: websocket: close 1009 (message too big): message longer than the limit of 1000 bytes
}

func ExampleConn_WriteJSON() {
	type move struct {
		From, To string
	}
	c, stop := exampleConn(&Upgrader{}, exampleEcho)
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
	var room Group
	welcome, err := NewPreparedMessage(TextMessage, []byte("welcome"))
	if err != nil {
		fmt.Println(err)
		return
	}
	c, stop := exampleConn(&Upgrader{}, func(c *Conn) {
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
	c.WriteMessage(TextMessage, []byte("is anybody here?"))
	for range 2 {
		_, p, err := c.ReadMessage()
		fmt.Printf("%s %v\n", p, err)
	}
	// Output:
	// welcome <nil>
	// is anybody here? <nil>
}

// http.Server.Shutdown does not know of the connections that Upgrade took over. Their Group ends them.
func ExampleGroup_Shutdown() {
	var conns Group
	upgrader := Upgrader{Group: &conns}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		c.WriteMessage(TextMessage, []byte("hello"))
		c.ReadMessage() // fails when the connection ends
	}))
	defer srv.Close()
	goodbye := func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		conns.Shutdown(ctx, CloseGoingAway, "back at noon")
	}
	srv.Config.RegisterOnShutdown(goodbye)

	c, _, err := DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
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
