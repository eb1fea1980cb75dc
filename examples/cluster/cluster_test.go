package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testNodes      = 3
	testClients    = 1000
	testPublishers = 3
	steadyLines    = 60 // of each publisher, before anything happens
	publishPause   = 100 * time.Millisecond
)

// A witness checks by what the publishers wrote that a client got each of their lines once and in
// order. The numbers of the stream are no part of that.
type witness struct {
	client
	next     [testPublishers]int
	total    atomic.Int64
	wrong    string        // the first line that was not the next one
	allWrong *atomic.Int64 // of all witnesses
	latency  []time.Duration
	measured *atomic.Bool
}

func (w *witness) see(_ uint64, l *line) {
	before, after, _ := strings.Cut(l.Text, ":")
	publisher, _ := strconv.Atoi(before)
	number, err := strconv.Atoi(after)
	switch {
	case err == nil && w.next[publisher] == number:
		w.next[publisher]++
	case w.wrong == "":
		w.wrong = fmt.Sprintf("line %s came where %d was next of that publisher", l.Text, w.next[publisher])
		w.allWrong.Add(1)
	}
	if w.measured.Load() {
		w.latency = append(w.latency, time.Duration(time.Now().UnixNano()-l.Sent))
	}
	w.total.Add(1)
}

// A thousand clients and three publishers on three nodes, of which one is killed and started again,
// and then all are restarted in turn: every client gets every line once, in the order in which it
// was written.
func TestNothingLostNothingRepeated(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cl := start(t, "", testNodes)

	var cr crowd
	var measured atomic.Bool
	var wrong atomic.Int64
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	witnesses := make([]*witness, testClients)
	for i := range witnesses {
		w := &witness{measured: &measured, allWrong: &wrong}
		w.client = client{crowd: &cr, got: w.see, dial: anyOf(cl.addrs)}
		witnesses[i] = w
		running.Go(func() { w.run(ctx) })
	}
	await(t, "all clients are connected", func() bool { return cr.connected.Load() == testClients })

	publishers := make([]*client, testPublishers)
	var written atomic.Int64
	for i := range publishers {
		publishers[i] = &client{crowd: new(crowd), dial: anyOf(cl.addrs)}
		running.Go(func() { publishers[i].run(ctx) })
	}
	publish := func(window int, pause time.Duration, more func(n int) bool) func() {
		var done sync.WaitGroup
		for i := range publishers {
			p := publishers[i]
			done.Go(func() {
				for n := 0; more(n); n++ {
					p.mu.Lock()
					text := fmt.Sprintf("%d:%d", i, p.sent)
					p.mu.Unlock()
					if p.send(ctx, window, line{Text: text}) != nil {
						return
					}
					written.Add(1)
					time.Sleep(pause)
				}
			})
		}
		return done.Wait
	}
	// A line that is missing or comes twice ends the wait, too.
	arrived := func() bool {
		return cr.lost.Load()+cr.repeated.Load()+wrong.Load() > 0 ||
			!slices.ContainsFunc(witnesses, func(w *witness) bool { return w.total.Load() < written.Load() })
	}
	await(t, "the publishers are connected", func() bool {
		return !slices.ContainsFunc(publishers, func(p *client) bool { return p.crowd.connected.Load() == 0 })
	})
	start := time.Now()
	publish(4, 0, func(n int) bool { return n < steadyLines })()
	await(t, "all lines have arrived", arrived)
	rate := float64(written.Load()*testClients) / time.Since(start).Seconds()

	measured.Store(true)
	publish(4, publishPause, func(n int) bool { return n < 10 })()
	await(t, "all lines have arrived", arrived)
	measured.Store(false)

	var stop atomic.Bool
	wait := publish(100, publishPause, func(int) bool { return !stop.Load() })
	cr.reset()
	gone := int64(cl.at(1).node.lines.Len()-testPublishers) + cr.reconnects.Load() // of its members some may be publishers
	if err := cl.kill(1); err != nil {
		t.Fatal(err)
	}
	await(t, "all clients are back", func() bool {
		return cr.reconnects.Load() >= gone && cr.connected.Load() == testClients
	})
	killed := summary(&cr)
	if err := cl.restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := cl.roll(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	await(t, "all clients are back", func() bool { return cr.connected.Load() == testClients })
	stop.Store(true)
	wait()
	await(t, "all lines have arrived", arrived)
	cancel()
	running.Wait()

	var latency []time.Duration
	for i, w := range witnesses {
		if !t.Failed() && (w.wrong != "" || w.total.Load() != written.Load()) { // one is enough
			t.Errorf("client %d: %d of %d lines; %s", i, w.total.Load(), written.Load(), w.wrong)
		}
		latency = append(latency, w.latency...)
	}
	if lost, repeated := cr.lost.Load(), cr.repeated.Load(); lost > 0 || repeated > 0 {
		t.Errorf("%d lost, %d repeated", lost, repeated)
	}
	slices.Sort(latency)
	t.Logf("%d clients on %d nodes: %.0f messages/s delivered; at %.0f/s p50 %v, p99 %v; after a kill %s; %d lines, %d reconnects, %d lost, %d repeated",
		testClients, testNodes, rate, testPublishers*testClients/publishPause.Seconds(), rounded(latency[len(latency)/2]),
		rounded(latency[len(latency)*99/100]), killed, written.Load(), cr.reconnects.Load(), cr.lost.Load(), cr.repeated.Load())
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// start starts a cluster that ends with the test.
func start(t *testing.T, url string, n int) *cluster {
	t.Helper()
	var addrs []string
	for range n {
		addr, err := freeAddr("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	cl, err := startCluster(t.Context(), url, t.TempDir(), addrs, func(addr string) (net.Listener, error) {
		return net.Listen("tcp", addr)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.close)
	return cl
}

func summary(cr *crowd) string {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	slices.Sort(cr.recoveries)
	n := len(cr.recoveries)
	if n == 0 {
		return "nobody was gone"
	}
	return fmt.Sprintf("%d clients were back after %v at most, half of them after %v", n, rounded(cr.recoveries[n-1]), rounded(cr.recoveries[n/2]))
}

// await returns when a condition is true. Only the deadline of all tests bounds it.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline, bounded := t.Deadline()
	for !condition() {
		if bounded && time.Until(deadline) < 5*time.Second {
			t.Fatalf("it did not come about that %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
