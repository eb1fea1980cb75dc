package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	testClients    = 1000
	testPublishers = 3
	steadyLines    = 100 // of each publisher, before anything happens
	publishPause   = 50 * time.Millisecond
)

// A witness checks by what the publishers wrote that a client got each of their lines once and in
// order. The numbers of the stream are no part of that.
type witness struct {
	client
	next     [testPublishers]int
	total    atomic.Int64
	wrong    string
	latency  []time.Duration
	measured *atomic.Bool
}

func (w *witness) see(_ uint64, l *line) {
	var publisher, number int
	if _, err := fmt.Sscanf(l.Text, "%d:%d", &publisher, &number); err != nil || w.next[publisher] != number {
		if w.wrong == "" {
			w.wrong = fmt.Sprintf("line %s, and of that publisher %d was next", l.Text, w.next[publisher])
		}
	} else {
		w.next[publisher]++
	}
	if w.measured.Load() {
		w.latency = append(w.latency, time.Duration(time.Now().UnixNano()-l.Sent))
	}
	w.total.Add(1)
}

// A thousand clients and three publishers on three nodes, of which one is killed and started again,
// and then all are restarted in turn: every client gets every line once, in the order in which it was
// written.
func TestNothingLostNothingRepeated(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var addrs []string
	for range 3 {
		addr, err := freeAddr("127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	cl, err := startCluster(ctx, "", t.TempDir(), addrs)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.close()

	var cr crowd
	var measured atomic.Bool
	measured.Store(true)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	witnesses := make([]*witness, testClients)
	for i := range witnesses {
		w := &witness{measured: &measured}
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
	arrived := func() bool {
		return !slices.ContainsFunc(witnesses, func(w *witness) bool { return w.total.Load() < written.Load() })
	}

	await(t, "the publishers are connected", func() bool {
		return !slices.ContainsFunc(publishers, func(p *client) bool { return p.crowd.connected.Load() == 0 })
	})
	start := time.Now()
	publish(4, 0, func(n int) bool { return n < steadyLines })()
	await(t, "all lines have arrived", arrived)
	took := time.Since(start)
	measured.Store(false)

	var stop atomic.Bool
	wait := publish(64, publishPause, func(int) bool { return !stop.Load() })
	t.Log("kill")
	cr.reset()
	if err := cl.kill(1); err != nil {
		t.Fatal(err)
	}
	await(t, "all clients are back", func() bool { return cr.connected.Load() == testClients })
	killed := summary(&cr)
	t.Log("restart", time.Since(start))
	if err := cl.restart(ctx, 1); err != nil {
		t.Fatal(err)
	}
	t.Log("roll", time.Since(start))
	if err := cl.roll(ctx, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	t.Log("rolled", time.Since(start))
	await(t, "all clients are back", func() bool { return cr.connected.Load() == testClients })
	stop.Store(true)
	wait()
	await(t, "all lines have arrived", arrived)
	t.Log("end", time.Since(start))
	cancel()
	running.Wait()

	if lost, repeated := cr.lost.Load(), cr.repeated.Load(); lost > 0 || repeated > 0 {
		t.Errorf("%d lost, %d repeated", lost, repeated)
	}
	var latency []time.Duration
	for i, w := range witnesses {
		if w.wrong != "" || w.total.Load() != written.Load() {
			t.Errorf("client %d: %d of %d lines; %s", i, w.total.Load(), written.Load(), w.wrong)
		}
		latency = append(latency, w.latency...)
	}
	slices.Sort(latency)
	t.Logf("%d clients on 3 nodes: %.0f deliveries/s, p50 %v, p99 %v; after a kill %s; %d lines, %d reconnects, 0 lost, 0 repeated",
		testClients, float64(len(latency))/took.Seconds(), latency[len(latency)/2], latency[len(latency)*99/100],
		killed, written.Load(), cr.reconnects.Load())
}

func summary(cr *crowd) string {
	cr.mu.Lock()
	defer cr.mu.Unlock()
	slices.Sort(cr.recoveries)
	n := len(cr.recoveries)
	if n == 0 {
		return "nobody was gone"
	}
	return fmt.Sprintf("%d clients were back after %v at most, half of them after %v", n, cr.recoveries[n-1], cr.recoveries[n/2])
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for !condition() {
		select {
		case <-t.Context().Done():
			t.Fatalf("the test ended before %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
