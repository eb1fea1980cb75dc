package main

// A node: an HTTP server whose WebSocket clients see the log, each from where it left off. Nothing
// here is about a client that is away: all that a node knows of one is the number that it sends
// when it comes back, to this node or to another.
//
// The subprotocol resume.v1 is JSON in text messages.
//
//	client: {"epoch":"…","since":42}            its first message; without since it wants the newest lines
//	server: {"epoch":"…","since":42,"node":2}   what follows begins with 43
//	server: {"epoch":"…","since":90,"node":2,"lost":true}   43 to 90 are not to be had; also later
//	server: {"seq":43,"line":{…}}
//	client: {"id":"…","name":"…","text":"…"}    again after a reconnect, until it comes back as a line

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/tautws/websocket"
)

const (
	subprotocol = "resume.v1"
	tailLength  = 2000 // events that a node has in memory
	history     = 50   // events that a new client gets
	readLimit   = 16 << 10
	helloWait   = 10 * time.Second // for a client's first message, and for a replayed one to leave
	catchUpWait = 10 * time.Second // for the node to get as far as a client that comes from another one
)

// A hello is the first message of a client, and the server's answer.
type hello struct {
	Epoch string  `json:"epoch,omitempty"`
	Since *uint64 `json:"since,omitempty"`
	Node  int     `json:"node,omitempty"`
	Lost  bool    `json:"lost,omitempty"`
}

// A line is an entry of the log, and what a client sends.
type line struct {
	ID   string `json:"id"` // chosen by the client, unique
	Name string `json:"name,omitempty"`
	Text string `json:"text"`
	Kind string `json:"kind,omitempty"`
	Sent int64  `json:"sent,omitempty"` // nanoseconds of the sender's clock
}

// A delivery is a line on its way to a client.
type delivery struct {
	Seq  uint64          `json:"seq"`
	Line json.RawMessage `json:"line"`
}

var (
	errBehind = errors.New("this node is behind")
	errNoID   = errors.New("a line needs an id")
)

type node struct {
	id     int
	bus    Bus
	server http.Server
	cancel context.CancelFunc
	ctx    context.Context
	done   sync.WaitGroup

	// conns has every connection, from its handshake to its end: it shuts them down. lines has
	// those that were sent what they missed. Until its turn comes a client of a node that is
	// shutting down goes on to get lines.
	conns, lines websocket.Group
	upgrader     websocket.Upgrader

	mu    sync.Mutex
	epoch string
	tail  []*websocket.PreparedMessage // events last-len(tail)+1 to last
	last  uint64
	moved chan struct{} // closed when last changes
}

// startNode serves on l. The bus is closed with the node.
func startNode(id int, bus Bus, l net.Listener) (*node, error) {
	n := &node{id: id, bus: bus, moved: make(chan struct{})}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	bounds, err := bus.Bounds(n.ctx)
	if err != nil {
		return nil, err
	}
	n.epoch = bounds.Epoch
	n.last = max(bounds.First, bounds.Last-min(bounds.Last, tailLength)+1) - 1
	n.upgrader = websocket.Upgrader{
		Group: &n.conns, Subprotocols: []string{subprotocol}, ReadLimit: readLimit, CheckOrigin: sameHost,
		KeepAlive: websocket.KeepAlive{Interval: 20 * time.Second},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ws", n.serve)
	n.server.Handler = mux
	n.server.ReadHeaderTimeout = helloWait
	n.done.Go(n.follow)
	n.done.Go(func() { n.server.Serve(l) })
	return n, nil
}

// sameHost has the page connect to the nodes, which differ from its own server in the port.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Hostname() != "" && u.Hostname() == (&url.URL{Host: r.Host}).Hostname()
}

// drain closes the connections of a node that is about to stop, over the given time.
func (n *node) drain(ctx context.Context, spread time.Duration) error {
	n.server.Close() // nobody comes here any more
	n.conns.Spread = spread
	return n.conns.Shutdown(ctx, websocket.CloseServiceRestart, "restarting")
}

// kill stops a node as a crash would: without a word to its clients.
func (n *node) kill() {
	n.server.Close()
	for c := range n.conns.All() {
		c.Close()
	}
	n.cancel()
	n.bus.Close()
	n.done.Wait()
}

// follow hands out the log as it grows.
func (n *node) follow() {
	for {
		bounds, err := n.bus.Bounds(n.ctx)
		if err != nil {
			return
		}
		n.mu.Lock()
		if bounds.Epoch != n.epoch { // the stream was lost
			n.loseLocked(bounds.Epoch, bounds.First-1)
		}
		since := n.last
		n.mu.Unlock()
		for e, err := range n.bus.Subscribe(n.ctx, since) {
			if err != nil {
				break // the broker is away: go on where it stopped
			}
			n.append(e)
		}
		select {
		case <-n.ctx.Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (n *node) append(e Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.Seq <= n.last {
		return
	}
	if e.Seq != n.last+1 { // the stream dropped what this node had yet to get
		n.loseLocked(n.epoch, e.Seq-1)
	}
	pm := prepare(delivery{e.Seq, e.Data})
	if len(n.tail) == tailLength {
		n.tail[0] = nil
		n.tail = n.tail[1:]
	}
	n.tail, n.last = append(n.tail, pm), e.Seq
	close(n.moved)
	n.moved = make(chan struct{})
	n.lines.BroadcastPrepared(pm)
}

// loseLocked goes on after since, which is not where the node was, and tells the clients.
func (n *node) loseLocked(epoch string, since uint64) {
	n.epoch, n.tail, n.last = epoch, nil, since
	n.lines.BroadcastPrepared(prepare(hello{Epoch: epoch, Since: &since, Node: n.id, Lost: true}))
}

// firstLocked returns the number of the first event in the tail.
func (n *node) firstLocked() uint64 { return n.last - uint64(len(n.tail)) + 1 }

// prepare frames a message once, for all that get it.
func prepare(v any) *websocket.PreparedMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only of what this program made
	}
	pm, _ := websocket.NewPreparedMessage(websocket.TextMessage, data)
	return pm
}

func (n *node) serve(w http.ResponseWriter, r *http.Request) {
	c, err := n.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer c.Close()
	if c.Subprotocol() != subprotocol {
		n.goodbye(c, websocket.CloseProtocolError, "the subprotocol is "+subprotocol)
		return
	}
	switch err := n.converse(c); {
	case errors.Is(err, errBehind):
		n.goodbye(c, websocket.CloseTryAgainLater, err.Error())
	case errors.Is(err, errNoID), errors.As(err, new(*json.SyntaxError)), errors.As(err, new(*json.UnmarshalTypeError)):
		n.goodbye(c, websocket.ClosePolicyViolation, "not a message of "+subprotocol)
	case err == nil:
		n.goodbye(c, websocket.CloseNormalClosure, "")
	}
}

func (n *node) goodbye(c *websocket.Conn, code int, text string) {
	ctx, cancel := context.WithTimeout(n.ctx, 2*time.Second)
	defer cancel()
	c.Shutdown(ctx, code, text)
}

// converse is one connection after its handshake. It returns nil if the client leaves.
func (n *node) converse(c *websocket.Conn) error {
	var from hello
	c.SetReadDeadline(time.Now().Add(helloWait))
	if err := c.ReadJSON(&from); err != nil {
		return err
	}
	c.SetReadDeadline(time.Time{})
	if err := n.join(c, from); err != nil {
		return err
	}
	for m, err := range c.Messages(n.ctx) {
		if err != nil {
			return err
		}
		var l line
		if err := json.Unmarshal(m.Data, &l); err != nil {
			return err
		}
		if l.ID == "" {
			return errNoID
		}
		data, err := json.Marshal(l)
		if err != nil {
			return err
		}
		// In order, and none before the one that the client sent first.
		if err := n.bus.Publish(n.ctx, l.ID, data); err != nil {
			return err
		}
	}
	return nil
}

// join sends a client what it missed and makes it a member, with neither a gap nor a repetition
// between the two.
func (n *node) join(c *websocket.Conn, from hello) error {
	since, err := n.answer(c, from)
	if err != nil {
		return err
	}
	behind := time.NewTimer(catchUpWait)
	defer behind.Stop()
	for {
		n.mu.Lock()
		switch first := n.firstLocked(); {
		case since > n.last: // what comes from another node may be ahead of this one
			moved := n.moved
			n.mu.Unlock()
			select {
			case <-moved:
			case <-behind.C:
				return errBehind
			case <-n.ctx.Done():
				return n.ctx.Err()
			}
		case since+1 >= first:
			// The lock keeps append from broadcasting meanwhile, and Add does not wait for the
			// network.
			err := n.lines.Add(c, n.tail[since+1-first:]...)
			n.mu.Unlock()
			return err
		default:
			n.mu.Unlock()
			if since, err = n.replay(c, since, first); err != nil {
				return err
			}
		}
	}
}

// answer tells a client from where it goes on, and returns that.
func (n *node) answer(c *websocket.Conn, from hello) (since uint64, err error) {
	n.mu.Lock()
	h := hello{Epoch: n.epoch, Node: n.id}
	switch {
	case from.Since == nil:
		since = n.last - min(n.last, history)
	case from.Epoch != n.epoch:
		since, h.Lost = n.last, true
	default:
		since = *from.Since
	}
	first := n.firstLocked()
	n.mu.Unlock()
	if since+1 < first {
		bounds, err := n.bus.Bounds(n.ctx)
		if err != nil {
			return 0, err
		}
		if since+1 < bounds.First {
			since, h.Lost = bounds.First-1, from.Since != nil
		}
	}
	h.Since = &since
	return since, c.WriteJSON(h)
}

// replay sends a client what the stream has after since and before first. It returns the number of
// the last event that it sent.
func (n *node) replay(c *websocket.Conn, since, first uint64) (uint64, error) {
	for e, err := range n.bus.Subscribe(n.ctx, since) {
		if err != nil {
			return since, err
		}
		c.SetWriteDeadline(time.Now().Add(helloWait))
		if e.Seq != since+1 {
			since = e.Seq - 1
			if err := c.WriteJSON(hello{Since: &since, Node: n.id, Lost: true}); err != nil {
				return since, err
			}
		}
		if err := c.WriteJSON(delivery{e.Seq, e.Data}); err != nil {
			return since, err
		}
		if since = e.Seq; since+1 >= first {
			break
		}
	}
	c.SetWriteDeadline(time.Time{})
	return since, n.ctx.Err()
}
