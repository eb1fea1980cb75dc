package websocket_test

// Runnable examples of what makes something else of a Conn, or a Conn of something else.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tautws/websocket"
)

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
