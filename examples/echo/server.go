package main

// The server. echo is all that the protocol asks of a program; the rest serves the page and says
// goodbye: http.Server.Shutdown knows nothing of a connection that Upgrade has taken over, so the
// upgrader's Group has all of them.

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/tautws/websocket"
)

//go:embed index.html
var page []byte

// goodbyeWait bounds the close handshake with a peer that does not answer.
const goodbyeWait = 2 * time.Second

type server struct {
	upgrader websocket.Upgrader
	handle   bool           // no goroutine for each connection
	handlers sync.WaitGroup // running ServeHTTPs
}

func newServer() *server {
	return &server{upgrader: websocket.Upgrader{Group: new(websocket.Group)}}
}

func (s *server) echo(w http.ResponseWriter, r *http.Request) {
	c, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	if s.handle {
		c.Handle(reply)
		return
	}
	defer c.Close()
	for {
		messageType, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(messageType, message); err != nil {
			return
		}
	}
}

// reply is called for every message of a connection, and once when it has ended.
func reply(c *websocket.Conn, m websocket.Message, err error) {
	if err == nil {
		c.WriteMessage(m.Type, m.Data) // if that fails, the next call tells
	}
}

// ServeHTTP answers on / alone: a WebSocket handshake with an echo, anything else with the page.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	switch {
	case r.URL.Path != "/":
		http.NotFound(w, r)
	case websocket.IsWebSocketUpgrade(r):
		s.echo(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This is a page and a WebSocket: GET it.", http.StatusMethodNotAllowed)
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy",
			"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self' ws: wss:; img-src data:")
		w.Write(page)
	}
}

// shutdown sends 1001 to every open connection and waits, for a bounded time, for the answers.
func (s *server) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	s.upgrader.Group.Shutdown(ctx, websocket.CloseGoingAway, "the server is going away")
}

// listenAndServe serves on addr until ctx ends, with TLS if cert is not empty.
func listenAndServe(ctx context.Context, s *server, addr, cert, key string, out io.Writer) error {
	if (cert == "") != (key == "") {
		return errors.New("-cert and -key belong together: give both or neither")
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(ctx, s, ln, cert, key, out)
}

// serve announces the URLs and serves until ctx ends. It returns nil after a clean end.
func serve(ctx context.Context, s *server, ln net.Listener, cert, key string, out io.Writer) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	srv.RegisterOnShutdown(s.shutdown)
	failed := make(chan error, 1)
	if cert != "" {
		fmt.Fprintf(out, "echo: page at https://%[1]s/, WebSocket at wss://%[1]s/\n", ln.Addr())
		go func() { failed <- srv.ServeTLS(ln, cert, key) }()
	} else {
		fmt.Fprintf(out, "echo: page at http://%[1]s/, WebSocket at ws://%[1]s/\n", ln.Addr())
		go func() { failed <- srv.Serve(ln) }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close() // A browser's spare connection has not sent its request yet.
	}
	s.shutdown() // srv.Shutdown does not wait for the functions that it calls
	s.handlers.Wait()
	return nil
}
