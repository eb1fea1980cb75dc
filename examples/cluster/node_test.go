package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/tautws/websocket"
)

// A memoryBus is a Bus for one process.
type memoryBus struct {
	mu      sync.Mutex
	epoch   string
	first   uint64
	events  []Event
	changed chan struct{}
}

func newMemoryBus(epoch string, first, last uint64) *memoryBus {
	b := &memoryBus{epoch: epoch, first: first, changed: make(chan struct{})}
	for seq := first; seq <= last; seq++ {
		b.Publish(context.Background(), "", fmt.Appendf(nil, `{"id":"%d"}`, seq))
	}
	return b
}

func (b *memoryBus) Publish(_ context.Context, _ string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, Event{b.first + uint64(len(b.events)), data})
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

func (b *memoryBus) Subscribe(ctx context.Context, since uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			b.mu.Lock()
			next, changed := max(since+1, b.first), b.changed
			if i := next - b.first; i < uint64(len(b.events)) {
				e := b.events[i]
				b.mu.Unlock()
				if since = e.Seq; !yield(e, nil) {
					return
				}
				continue
			}
			b.mu.Unlock()
			select {
			case <-changed:
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

func (b *memoryBus) Bounds(context.Context) (Bounds, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Bounds{b.epoch, b.first, b.first + uint64(len(b.events)) - 1}, nil
}

func (b *memoryBus) Close() {}

// Where a client goes on that has seen a part of the log, which holds 1001 to 5000.
func TestResume(t *testing.T) {
	for _, test := range []struct {
		name, hello string
		since       uint64
		lost        bool
	}{
		{"new client", `{}`, 4950, false},
		{"has all", `{"epoch":"a","since":5000}`, 5000, false},
		{"in the memory of the node", `{"epoch":"a","since":4000}`, 4000, false},
		{"at its end", `{"epoch":"a","since":3000}`, 3000, false},
		{"in the log alone", `{"epoch":"a","since":1500}`, 1500, false},
		{"has all but what the log has", `{"epoch":"a","since":1000}`, 1000, false},
		{"before the log", `{"epoch":"a","since":999}`, 1000, true},
		{"another epoch", `{"epoch":"b","since":4000}`, 5000, true},
		{"ahead of the node", `{"epoch":"a","since":5001}`, 5001, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			bus := newMemoryBus("a", 1001, 5000)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			n, err := startNode(7, bus, l)
			if err != nil {
				t.Fatal(err)
			}
			defer n.kill()
			await(t, "the node is up to date", func() bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				return n.last == 5000
			})
			d := websocket.Dialer{Subprotocols: []string{subprotocol}}
			c, _, err := d.Dial("ws://"+l.Addr().String()+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.WriteMessage(websocket.TextMessage, []byte(test.hello))
			var answer hello
			if err := c.ReadJSON(&answer); err != nil {
				t.Fatal(err)
			}
			if answer.Epoch != "a" || answer.Node != 7 || answer.Lost != test.lost || *answer.Since != test.since {
				t.Fatalf("answer %+v since %d", answer, *answer.Since)
			}
			last := uint64(5002)
			bus.Publish(t.Context(), "", []byte(`{}`))
			await(t, "the node follows", func() bool {
				n.mu.Lock()
				defer n.mu.Unlock()
				return n.last == 5001
			})
			c.WriteJSON(line{ID: "last", Text: "hello"})
			for seq := test.since + 1; seq <= last; seq++ {
				var d delivery
				if err := c.ReadJSON(&d); err != nil || d.Seq != seq {
					t.Fatalf("got %d, want %d; %v", d.Seq, seq, err)
				}
				if want := (line{ID: "last", Text: "hello"}); seq == last {
					var got line
					if json.Unmarshal(d.Line, &got); got != want {
						t.Errorf("got %+v", got)
					}
				}
			}
		})
	}
}

func TestNotResumeV1(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n, err := startNode(1, newMemoryBus("a", 1, 0), l)
	if err != nil {
		t.Fatal(err)
	}
	defer n.kill()
	for _, test := range []struct {
		name      string
		protocols []string
		messages  []string
		code      int
	}{
		{"no subprotocol", nil, nil, websocket.CloseProtocolError},
		{"no JSON", []string{subprotocol}, []string{"hello"}, websocket.ClosePolicyViolation},
		{"another type", []string{subprotocol}, []string{`{"since":"x"}`}, websocket.ClosePolicyViolation},
		{"no id", []string{subprotocol}, []string{`{}`, `{"text":"hello"}`}, websocket.ClosePolicyViolation},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := websocket.Dialer{Subprotocols: test.protocols}
			c, _, err := d.Dial("ws://"+l.Addr().String()+"/ws", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, m := range test.messages {
				c.WriteMessage(websocket.TextMessage, []byte(m))
			}
			for {
				if _, _, err = c.ReadMessage(); err != nil {
					break
				}
			}
			if !websocket.IsCloseError(err, test.code) {
				t.Errorf("got %v, want code %d", err, test.code)
			}
		})
	}
}

// Two nodes on a NATS server that was there before: what is written at one is seen at the other.
func TestExternalBroker(t *testing.T) {
	broker := startBroker(t)
	cl := start(t, broker.ClientURL(), 2)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer running.Wait()
	defer cancel()
	got := make(chan string, 10)
	for i := range 2 {
		c := &client{crowd: new(crowd), dial: anyOf(func() []string { return cl.addrs()[i : i+1] })}
		if i == 1 {
			c.got = func(_ uint64, l *line) { got <- l.Text }
		}
		running.Go(func() { c.run(ctx) })
		await(t, "the client is connected", func() bool { return c.crowd.connected.Load() == 1 })
		if i == 1 {
			running.Go(func() { c.send(ctx, 1, line{Text: "from the second node"}) })
		} else {
			c.send(ctx, 1, line{Text: "from the first node"})
			await(t, "the line is in the log", func() bool { return c.crowd.received.Load() == 1 })
		}
	}
	for _, want := range []string{"from the first node", "from the second node"} {
		if text := <-got; text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// startBroker starts a NATS server that is no part of a cluster. It ends with the test.
func startBroker(t *testing.T) *server.Server {
	t.Helper()
	set, err := newBrokerSet(t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	broker, err := set.start(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopBroker(broker) })
	return broker
}
