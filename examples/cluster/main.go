// Cluster is a chat over several nodes that share a log on NATS JetStream. A client that loses its
// node goes on at another one with the line after the last that it has:
//
//	go run . -nodes 3
package main

// This file starts the nodes, clients to watch, and a page that takes the nodes down and shows what
// becomes of the clients. node.go is what a service would take over, client.go its counterpart.

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tautws/websocket"
)

//go:embed page
var pages embed.FS

type config struct {
	addr, nats           string
	nodes, clients, rate int
}

func main() {
	var cfg config
	flag.StringVar(&cfg.addr, "addr", "127.0.0.1:12360", "`address` of the page; the nodes have the ports that follow")
	flag.IntVar(&cfg.nodes, "nodes", 3, "number of nodes")
	flag.StringVar(&cfg.nats, "nats", "", "`URL` of a NATS server with JetStream; by default each node has one in this process")
	flag.IntVar(&cfg.clients, "clients", 300, "number of clients in this process")
	flag.IntVar(&cfg.rate, "rate", 20, "lines per second that one of them writes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	if err := run(ctx, os.Stderr, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

const (
	statusInterval = 250 * time.Millisecond
	loadSize       = 1 << 10  // bytes of a line that the program writes
	burstSize      = 12 << 10 // and of one while a tab is stalled, which fills the buffers on the way to it
	longestPause   = 30       // seconds
)

func run(ctx context.Context, out io.Writer, cfg config) error {
	if cfg.nodes < 1 || cfg.clients < 0 || cfg.rate < 0 {
		return errors.New("-nodes must be at least 1, -clients and -rate at least 0")
	}
	l, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	defer l.Close()
	dir, err := os.MkdirTemp("", "cluster")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	host, port, _ := net.SplitHostPort(l.Addr().String())
	first, _ := strconv.Atoi(port)
	var addrs []string
	for i := range cfg.nodes {
		addrs = append(addrs, net.JoinHostPort(host, strconv.Itoa(first+1+i)))
	}
	fmt.Fprintln(out, "starting", cfg.nodes, "nodes")
	cl, err := startCluster(ctx, cfg.nats, dir, addrs, listenThin)
	if err != nil {
		return err
	}
	defer cl.close()
	ctx, cancel := context.WithCancel(ctx)
	p := &page{cluster: cl, cfg: cfg, ctx: ctx}
	p.watchers.Slow = websocket.SkipSlow // only the newest status counts
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	for i := range cfg.clients {
		c := &client{crowd: &p.crowd, dial: anyOf(cl.addrs)}
		running.Go(func() { c.run(ctx) })
		if i == 0 && cfg.rate > 0 {
			running.Go(func() { p.writeLoad(ctx, c) })
		}
	}
	running.Go(p.publish)
	s := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second}
	running.Go(func() {
		<-ctx.Done()
		goodbye, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		s.Close()
		p.watchers.Shutdown(goodbye, websocket.CloseGoingAway, "the server is going away")
	})
	fmt.Fprintf(out, "open http://%s/\n", l.Addr())
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// A page is the server behind page/.
type page struct {
	cluster  *cluster
	cfg      config
	ctx      context.Context
	crowd    crowd
	watchers websocket.Group
	stalled  atomic.Int32 // tabs

	mu   sync.Mutex
	note string
}

// writeLoad writes lines that pages count but do not show.
func (p *page) writeLoad(ctx context.Context, c *client) {
	text := strings.Repeat(".", burstSize)
	t := time.NewTicker(time.Second / time.Duration(p.cfg.rate))
	for {
		size := loadSize
		if p.stalled.Load() > 0 {
			size = burstSize
		}
		if c.send(ctx, 100, line{Kind: "load", Text: text[:size]}) != nil {
			return
		}
		<-t.C
	}
}

func (p *page) handler() http.Handler {
	files, err := fs.Sub(pages, "page")
	if err != nil {
		panic(err)
	}
	upgrader := websocket.Upgrader{Group: &p.watchers, ReadLimit: 4 << 10}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			var do action
			if err := c.ReadJSON(&do); err != nil {
				return
			}
			go p.do(do)
		}
	})
	// A worker of the page stalls as long as this request takes.
	mux.HandleFunc("GET /pause", func(w http.ResponseWriter, r *http.Request) {
		p.stalled.Add(1)
		defer p.stalled.Add(-1)
		seconds, _ := strconv.Atoi(r.FormValue("seconds"))
		select {
		case <-time.After(time.Duration(min(max(seconds, 0), longestPause)) * time.Second):
		case <-r.Context().Done():
		case <-p.ctx.Done():
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'; connect-src 'self' ws: wss:; img-src data:")
		mux.ServeHTTP(w, r)
	})
}

// An action is what the page asks for.
type action struct {
	Do     string
	Node   int
	Spread int // seconds
}

func (p *page) do(do action) {
	i := do.Node - 1
	if do.Do != "roll" && (i < 0 || i >= p.cfg.nodes) {
		return
	}
	var err error
	switch do.Do {
	case "kill":
		p.crowd.reset()
		if err = p.cluster.kill(i); err == nil {
			p.say("node %d was killed", do.Node)
		}
	case "start":
		p.say("node %d is starting", do.Node)
		if err = p.cluster.restart(p.ctx, i); err == nil {
			p.say("node %d is up again", do.Node)
		}
	case "roll":
		p.crowd.reset()
		spread := time.Duration(min(max(do.Spread, 0), longestPause)) * time.Second
		p.say("restarting the nodes in turn, each over %d s", spread/time.Second)
		if err = p.cluster.roll(p.ctx, spread); err == nil {
			p.say("all nodes were restarted")
		}
	}
	if err != nil {
		p.say("%v", err)
	}
}

func (p *page) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = fmt.Sprintf(format, args...)
}

type nodeStatus struct {
	Node     int    `json:"node"`
	Port     string `json:"port"`
	State    state  `json:"state"`
	Members  int    `json:"members"`
	Blocked  int    `json:"blocked"`
	Lag      int64  `json:"lag"`
	Messages int64  `json:"messages"`
	Expelled int64  `json:"expelled"`
}

type status struct {
	Nodes      []nodeStatus `json:"nodes"`
	Note       string       `json:"note"`
	Clients    int          `json:"clients"`
	Connected  int64        `json:"connected"`
	Received   int64        `json:"received"`
	Lost       int64        `json:"lost"`
	Repeated   int64        `json:"repeated"`
	Reconnects int64        `json:"reconnects"`
	Back       int          `json:"back"`    // clients that reconnected since the last action
	Half       int64        `json:"half"`    // milliseconds after which half of them were back
	Longest    int64        `json:"longest"` // and 99 of 100
	Pause      int64        `json:"pause"`   // milliseconds between two lines, at most
}

// publish tells the pages what is going on.
func (p *page) publish() {
	for t := time.NewTicker(statusInterval); ; {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		}
		data, err := json.Marshal(p.status())
		if err != nil {
			panic(err)
		}
		p.watchers.BroadcastLatest("status", websocket.TextMessage, data)
	}
}

func (p *page) status() status {
	s := status{
		Clients: p.cfg.clients, Connected: p.crowd.connected.Load(), Received: p.crowd.received.Load(),
		Lost: p.crowd.lost.Load(), Repeated: p.crowd.repeated.Load(), Reconnects: p.crowd.reconnects.Load(),
	}
	for i, at := range p.cluster.snapshot() {
		_, port, _ := net.SplitHostPort(at.addr)
		n := nodeStatus{Node: i + 1, Port: port, State: at.state}
		if at.state == up || at.state == draining {
			g := at.node.lines.Stats()
			n.Members, n.Blocked, n.Lag, n.Messages, n.Expelled = g.Members, g.Blocked, g.Lag, g.Messages, g.Expelled
		}
		s.Nodes = append(s.Nodes, n)
	}
	p.mu.Lock()
	s.Note = p.note
	p.mu.Unlock()
	p.crowd.mu.Lock()
	defer p.crowd.mu.Unlock()
	if s.Back = len(p.crowd.recoveries); s.Back > 0 {
		sorted := slices.Sorted(slices.Values(p.crowd.recoveries))
		s.Half, s.Longest = sorted[s.Back/2].Milliseconds(), sorted[s.Back*99/100].Milliseconds()
	}
	s.Pause = p.crowd.pause.Milliseconds()
	return s
}

// listenThin keeps the kernel from taking megabytes for a client that does not read, so that the
// page soon shows the lag of one. A service is better off without it.
func listenThin(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	return thinListener{l}, err
}

type thinListener struct{ net.Listener }

func (l thinListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if tcp, ok := nc.(*net.TCPConn); ok {
		tcp.SetWriteBuffer(32 << 10)
	}
	return nc, err
}
