// Metrics is a WebSocket server that measures its connections by websocket.Trace: for Prometheus,
// for OpenTelemetry, in a log, and on a page that charts them:
//
//	cd examples/metrics && go run .
package main

// This file starts and ends the server. Each way to export is one file: prometheus.go, otel.go and
// log.go; live.go has what page/ charts.

import (
	"context"
	"embed"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/tautws/websocket"
)

//go:embed page
var pages embed.FS

const (
	period       = time.Second     // of the samples on the page
	pingInterval = 2 * time.Second // of each connection
)

func main() {
	addr := flag.String("addr", "127.0.0.1:12348", "listen on this `address`")
	level := slog.LevelInfo
	flag.TextVar(&level, "log", level, "log what is at least at this `level`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if err := run(ctx, *addr, log); err != nil {
		log.Error("metrics", "reason", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, log *slog.Logger) error {
	meter := noop.NewMeterProvider().Meter("")
	provider, err := otlpProvider(ctx)
	if err != nil {
		return err
	}
	if provider != nil {
		meter = provider.Meter("github.com/tautws/websocket/examples/metrics")
		defer provider.Shutdown(context.Background()) // It sends what is left.
	}
	s, err := newServer(meter, log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("metrics: open http://%s/\n", ln.Addr())
	return s.serve(ctx, ln)
}

type server struct {
	log      *slog.Logger
	live     *live
	measured websocket.Upgrader // of the connections that are measured
	viewers  websocket.Upgrader // of those of pages
	mux      *http.ServeMux
	handlers sync.WaitGroup
}

func newServer(meter metric.Meter, log *slog.Logger) (*server, error) {
	reg := prometheus.NewRegistry()
	otel, err := otelTrace(meter)
	if err != nil {
		return nil, err
	}
	s := &server{log: log, live: newLive(time.Now()), mux: http.NewServeMux()}
	s.measured = websocket.Upgrader{
		EnableCompression: true,
		Compression:       websocket.CompressionOptions{ContextTakeover: true},
		KeepAlive:         websocket.KeepAlive{Interval: 30 * time.Second},
		Trace:             join(prometheusTrace(reg), otel, logTrace(log), s.live.trace()),
	}
	s.viewers.KeepAlive.Interval = 30 * time.Second
	page, err := fs.Sub(pages, "page")
	if err != nil {
		return nil, err
	}
	s.mux.Handle("/", http.FileServerFS(page))
	s.mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	s.mux.HandleFunc("/echo", s.echo)
	s.mux.HandleFunc("/live", s.view)
	return s, nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; img-src data:")
	s.mux.ServeHTTP(w, r)
}

// echo is what is measured: it sends every message back.
func (s *server) echo(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	c, err := s.measured.Upgrade(w, r, nil)
	if err != nil {
		s.log.Warn("handshake refused", "peer", r.RemoteAddr, "reason", err)
		return
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go ping(ctx, c)
	for m, err := range c.Messages(ctx) {
		if ctx.Err() != nil {
			bye(c)
			return
		}
		if err != nil || c.WriteMessage(m.Type, m.Data) != nil {
			return
		}
	}
}

// ping takes a sample of the round trip every pingInterval, for Trace.Ping.
func ping(ctx context.Context, c *websocket.Conn) {
	for c.Ping(ctx) == nil {
		select {
		case <-time.After(pingInterval):
		case <-ctx.Done():
			return
		}
	}
}

// view sends a page its samples.
func (s *server) view(w http.ResponseWriter, r *http.Request) {
	s.handlers.Add(1)
	defer s.handlers.Done()
	c, err := s.viewers.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	left := c.CloseRead(r.Context())
	last := int64(0)
	for {
		samples, next := s.live.since(last)
		if len(samples) > 0 {
			last = samples[len(samples)-1].Time
			c.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if c.WriteJSON(samples) != nil {
				return
			}
		}
		select {
		case <-next:
		case <-left.Done():
			bye(c)
			return
		}
	}
}

// bye ends a connection because the server ends; the peer's end has ended it already otherwise.
func bye(c *websocket.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.Shutdown(ctx, websocket.CloseGoingAway, "the server is going away")
}

func (s *server) takeSamples(ctx context.Context) {
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	for {
		select {
		case now := <-ticks.C:
			s.live.sample(now)
		case <-ctx.Done():
			return
		}
	}
}

// serve serves until ctx ends.
func (s *server) serve(ctx context.Context, ln net.Listener) error {
	go s.takeSamples(ctx)
	connections, leave := context.WithCancel(context.Background())
	defer leave()
	srv := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return connections },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	leave()
	soon, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(soon) != nil {
		srv.Close() // A browser's spare connection has not sent its request yet.
	}
	s.handlers.Wait()
	return nil
}
