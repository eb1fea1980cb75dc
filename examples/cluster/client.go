package main

// A client of resume.v1 in Go: it reconnects to any node that answers, goes on after the last event
// that it has, and sends again what has not come back.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket"
)

type client struct {
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	crowd *crowd
	got   func(seq uint64, l *line) // may be nil

	mu      sync.Mutex
	conn    *websocket.Conn // nil until the server has answered
	pending []line          // sent, and not come back yet
	changed chan struct{}   // closed when pending gets shorter
	sent    int
	id      uint64

	epoch  string
	since  uint64
	known  bool // since is valid
	gone   time.Time
	newest time.Time // when the newest line came
}

// A crowd counts what happens to several clients.
type crowd struct {
	connected, received, lost, repeated, reconnects atomic.Int64

	mu         sync.Mutex
	recoveries []time.Duration // from the end of each connection to the answer of the next node
	pause      time.Duration   // the longest between two lines
}

// reset forgets the times, to take those of what happens next.
func (cr *crowd) reset() {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	cr.recoveries, cr.pause = nil, 0
}

// anyOf dials the addresses in random order until one answers, as a load balancer would.
func anyOf(addrs func() []string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		all := addrs()
		err := errors.New("no node is up")
		for _, i := range rand.Perm(len(all)) {
			var nc net.Conn
			if nc, err = new(net.Dialer).DialContext(ctx, network, all[i]); err == nil {
				return nc, nil
			}
		}
		return nil, err
	}
}

// run keeps the client connected until ctx ends.
func (c *client) run(ctx context.Context) {
	c.mu.Lock()
	c.id, c.changed = rand.Uint64(), make(chan struct{})
	c.mu.Unlock()
	d := websocket.Dialer{NetDialContext: c.dial, HandshakeTimeout: 10 * time.Second, Subprotocols: []string{subprotocol}}
	// A node that restarts has said so, and the others are there: no need to wait for long.
	backoff := websocket.Backoff{Min: 250 * time.Millisecond, Max: 5 * time.Second}
	for conn, err := range d.Redial(ctx, "ws://nodes/ws", nil, backoff) {
		if err != nil {
			continue
		}
		c.converse(ctx, conn)
		c.mu.Lock()
		if c.conn != nil {
			c.conn = nil
			c.gone = time.Now()
			c.crowd.connected.Add(-1)
		}
		c.mu.Unlock()
	}
}

func (c *client) converse(ctx context.Context, conn *websocket.Conn) error {
	var from hello
	if c.known {
		from = hello{Epoch: c.epoch, Since: &c.since}
	}
	if err := conn.WriteJSON(from); err != nil {
		return err
	}
	for m, err := range conn.Messages(ctx) {
		if err != nil {
			return err
		}
		var message struct {
			hello
			Seq  uint64
			Line *line
		}
		if err := json.Unmarshal(m.Data, &message); err != nil {
			return err
		}
		switch {
		case message.Line != nil:
			c.receive(message.Seq, message.Line)
		case message.Since != nil:
			if err := c.resume(conn, &message.hello); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume takes the answer of a node, or its word that it lost something.
func (c *client) resume(conn *websocket.Conn, from *hello) error {
	if c.known && from.Lost {
		if from.Epoch == c.epoch && *from.Since > c.since {
			c.crowd.lost.Add(int64(*from.Since - c.since))
		} else {
			c.crowd.lost.Add(1) // nobody knows how many
		}
	}
	if from.Epoch != "" {
		c.epoch = from.Epoch
	}
	c.since, c.known = *from.Since, true
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		return nil
	}
	c.conn = conn
	c.crowd.connected.Add(1)
	if !c.gone.IsZero() {
		c.crowd.reconnects.Add(1)
		c.crowd.mu.Lock()
		c.crowd.recoveries = append(c.crowd.recoveries, time.Since(c.gone))
		c.crowd.mu.Unlock()
	}
	for _, l := range c.pending {
		if err := conn.WriteJSON(l); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) receive(seq uint64, l *line) {
	c.crowd.received.Add(1)
	if seq <= c.since {
		c.crowd.repeated.Add(1)
		return
	}
	c.crowd.lost.Add(int64(seq - c.since - 1))
	c.since = seq
	now := time.Now()
	if !c.newest.IsZero() {
		c.crowd.mu.Lock()
		c.crowd.pause = max(c.crowd.pause, now.Sub(c.newest))
		c.crowd.mu.Unlock()
	}
	c.newest = now
	if c.got != nil {
		c.got(seq, l)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) > 0 && c.pending[0].ID == l.ID {
		c.pending = c.pending[1:]
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// send sends a line, or leaves it for the next connection. It waits while window lines have not
// come back yet.
func (c *client) send(ctx context.Context, window int, l line) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.pending) >= window {
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	c.sent++
	l.ID, l.Sent = fmt.Sprintf("%x-%d", c.id, c.sent), time.Now().UnixNano()
	c.pending = append(c.pending, l)
	if c.conn != nil {
		c.conn.WriteJSON(l) // the end of a connection is seen where it is read
	}
	return nil
}
