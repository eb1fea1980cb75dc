// Push sends a stream of measurements to everybody who wants it, with a page that draws them live:
//
//	go run ./examples/push
package main

// This file starts and ends the server and takes the measurements, one every period; feed.go is
// what it feeds, page/ what the browser runs.

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
	"runtime/metrics"
	"sync"
	"syscall"
	"time"

	"github.com/tautws/websocket"
)

//go:embed page
var pages embed.FS

const (
	period      = 250 * time.Millisecond
	goodbyeWait = 2 * time.Second // for the close handshakes
)

func main() {
	addr := flag.String("addr", "127.0.0.1:12347", "listen on this `address`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.

	ln, err := net.Listen("tcp", *addr)
	if err == nil {
		s := newServer()
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		go measure(ctx, s.feed, ticker.C)
		err = serve(ctx, s, ln, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "push:", err)
		os.Exit(1)
	}
}

// measure publishes a sample at every tick until ctx ends.
func measure(ctx context.Context, f *feed, ticks <-chan time.Time) {
	values := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	var allocated uint64 // at the previous tick
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case due := <-ticks:
			now := time.Now()
			metrics.Read(values)
			s := sample{
				Time:        now.UnixMilli(),
				Heap:        float64(values[0].Value.Uint64()) / (1 << 20),
				Allocs:      float64(values[1].Value.Uint64()-allocated) / (1 << 10),
				Goroutines:  float64(values[2].Value.Uint64()),
				Lateness:    float64(now.Sub(due)) / float64(time.Millisecond),
				Subscribers: f.subscribers.Len(),
			}
			allocated = values[1].Value.Uint64()
			if !first { // The first tick has no allocation to compare with.
				f.publish(s)
			}
		}
	}
}

type server struct {
	feed     *feed
	upgrader websocket.Upgrader
	mux      *http.ServeMux
	handlers sync.WaitGroup // running subscriptions
}

func newServer() *server {
	s := &server{
		feed: newFeed(),
		upgrader: websocket.Upgrader{
			KeepAlive: websocket.KeepAlive{Interval: 30 * time.Second, Timeout: 10 * time.Second},
		},
		mux: http.NewServeMux(),
	}
	page, err := fs.Sub(pages, "page")
	if err != nil {
		panic(err) // The directory is embedded above.
	}
	s.mux.Handle("/", http.FileServerFS(page))
	s.mux.HandleFunc("/feed", s.subscribe)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	s.mux.ServeHTTP(w, r)
}

// subscribe stays until the subscriber leaves, says anything, or the feed ends.
func (s *server) subscribe(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	c, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	defer c.Close()
	code, reason := websocket.CloseGoingAway, "the server is going away"
	if s.feed.subscribe(c) == nil {
		if _, _, err := c.NextReader(); err != nil {
			return
		}
		code, reason = websocket.ClosePolicyViolation, "this feed takes no messages"
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, reason)
}

// serve announces the URL and serves until ctx ends. It returns nil after a clean end.
func serve(ctx context.Context, s *server, ln net.Listener, out io.Writer) error {
	srv := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	fmt.Fprintf(out, "push: open http://%s/\n", ln.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	s.feed.subscribers.Shutdown(ctx, websocket.CloseGoingAway, "the server is going away")
	if srv.Shutdown(ctx) != nil {
		srv.Close() // A browser's spare connection has not sent its request yet.
	}
	s.handlers.Wait()
	return nil
}
