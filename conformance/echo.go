// Package conformance holds the two ends that the Autobahn testsuite examines: a server and a
// client that send every message back. The tests beside this file look at the library as a peer
// does, from the bytes that come out of Upgrade and Dial; the README tells what there is.
//
// The package is there for these programs and promises nothing to others.
package conformance

// Both ends are as the library makes them, with two choices: compression is on, and contexts are
// kept, so that each parameter of permessage-deflate can be agreed on (RFC 7692 §7.1).

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tautws/websocket"
)

// goodbyeWait bounds the end of a client's connection.
const goodbyeWait = 5 * time.Second

var compression = websocket.CompressionOptions{ContextTakeover: true}

var upgrader = websocket.Upgrader{EnableCompression: true, Compression: compression}

// Serve is the server: an http.HandlerFunc that upgrades the connection and echoes until it ends.
func Serve(w http.ResponseWriter, r *http.Request) {
	c, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	defer c.Close() // RFC 6455 §7.1.1: the server closes the network connection first.
	echo(c)
}

// NewDialer returns the dialer of the client.
func NewDialer() *websocket.Dialer {
	return &websocket.Dialer{EnableCompression: true, Compression: compression, HandshakeTimeout: 10 * time.Second}
}

// Converse is the client: it dials the URL, echoes until the connection ends, and waits for the
// server to close it. The error says that no connection came about; however it ended, the suite
// sees.
func Converse(ctx context.Context, d *websocket.Dialer, url string) error {
	c, _, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return err
	}
	echo(c)
	ctx, cancel := context.WithTimeout(ctx, goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, websocket.CloseNormalClosure, "")
	return nil
}

// Ask dials the URL and returns the first message. It is nil if the server closed without one.
func Ask(ctx context.Context, d *websocket.Dialer, url string) ([]byte, error) {
	c, _, err := d.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_, p, err := c.ReadMessageContext(ctx)
	if closed := (*websocket.CloseError)(nil); errors.As(err, &closed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p, c.Shutdown(ctx, websocket.CloseNormalClosure, "")
}

// echo sends every message back until the connection ends.
func echo(c *websocket.Conn) {
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
