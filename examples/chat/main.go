// Chat is rooms in which people see each other's lines, with a page that finds its way back after
// any interruption:
//
//	go run ./examples/chat
package main

// This file starts and ends the server and joins HTTP to the hub: hub.go knows rooms and members
// but no sockets, client.go is one connection, page/ is what the browser runs.

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/tautws/websocket"
)

//go:embed page
var pages embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:12346", "listen on this `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.

	ln, err := net.Listen("tcp", *addr)
	if err == nil {
		err = serve(ctx, ln, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

type server struct {
	hub      *hub
	upgrader websocket.Upgrader // its Group has all members of all rooms
	mux      *http.ServeMux
	members  sync.WaitGroup // running connections
}

func newServer() *server {
	s := &server{
		hub: newHub(),
		upgrader: websocket.Upgrader{
			Group:     new(websocket.Group),
			KeepAlive: websocket.KeepAlive{Interval: 30 * time.Second, Timeout: 10 * time.Second},
			ReadLimit: readLimit,
		},
		mux: http.NewServeMux(),
	}
	page, err := fs.Sub(pages, "page")
	if err != nil {
		panic(err) // The directory is embedded above.
	}
	s.mux.Handle("/", http.FileServerFS(page))
	s.mux.HandleFunc("/ws", s.join)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	s.mux.ServeHTTP(w, r)
}

// join takes the room and the name from the query and stays until the member leaves.
func (s *server) join(w http.ResponseWriter, r *http.Request) {
	s.members.Add(1)
	defer s.members.Done()
	query := r.URL.Query()
	room := clean(query.Get("room"), maxName)
	name := clean(query.Get("name"), maxName)
	if room == "" || name == "" {
		http.Error(w, "Say who you are and where you want to go: /ws?room=lobby&name=Ada", http.StatusBadRequest)
		return
	}
	c, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	defer c.Close()
	converse(r.Context(), c, s.hub, room, name)
}

// serve announces the URL and serves until ctx ends. It returns nil after a clean end.
func serve(ctx context.Context, ln net.Listener, out io.Writer) error {
	s := newServer()
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	fmt.Fprintf(out, "chat: open http://%s/ in two windows\n", ln.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	s.upgrader.Group.Shutdown(ctx, websocket.CloseGoingAway, "the server is going away")
	if srv.Shutdown(ctx) != nil {
		srv.Close() // A browser's spare connection has not sent its request yet.
	}
	s.members.Wait()
	return nil
}
