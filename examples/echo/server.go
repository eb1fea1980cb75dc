package main

// The server. echo is all that the protocol asks of a program; the rest serves the page and says
// goodbye: http.Server.Shutdown knows nothing of a connection that Upgrade has taken over, so
// server keeps the set of them. Invariant: once closing is set, nothing is added to open.

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

	mu       sync.Mutex
	open     map[*websocket.Conn]bool
	closing  bool
	goodbyes sync.WaitGroup // running Shutdowns; Add only with mu held
}

func newServer() *server {
	return &server{open: make(map[*websocket.Conn]bool)}
}

func (s *server) echo(w http.ResponseWriter, r *http.Request) {
	c, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	s.add(c)
	if s.handle {
		c.Handle(s.reply)
		return
	}
	defer c.Close()
	defer s.remove(c)
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

// reply is called for every message of a connection, and once with its end. What cannot be sent need
// not be told: the connection ends.
func (s *server) reply(c *websocket.Conn, m websocket.Message, err error) {
	if err != nil {
		s.remove(c)
		return
	}
	c.WriteMessage(m.Type, m.Data)
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

func (s *server) add(c *websocket.Conn) {
	s.mu.Lock()
	closing := s.closing
	if !closing {
		s.open[c] = true
	}
	s.mu.Unlock()
	if closing {
		sayGoodbye(c)
	}
}

// remove returns when c may be closed: a Shutdown that is under way is not cut short.
func (s *server) remove(c *websocket.Conn) {
	s.mu.Lock()
	delete(s.open, c)
	closing := s.closing
	s.mu.Unlock()
	if closing {
		s.goodbyes.Wait()
	}
}

// shutdown sends 1001 to every open connection and waits, for a bounded time, for the answers.
func (s *server) shutdown() {
	s.mu.Lock()
	s.closing = true
	for c := range s.open {
		s.goodbyes.Go(func() { sayGoodbye(c) })
	}
	s.mu.Unlock()
	s.goodbyes.Wait()
}

// sayGoodbye does the close handshake. Its error says only that the peer did not answer in time.
func sayGoodbye(c *websocket.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, websocket.CloseGoingAway, "the server is going away")
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

	s.shutdown()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close() // A browser's spare connection has not sent its request yet.
	}
	s.handlers.Wait()
	return nil
}
