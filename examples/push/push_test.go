package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket"
)

func start(t *testing.T) (s *server, base string) {
	t.Helper()
	s = newServer()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func dial(t *testing.T, d *websocket.Dialer, base string) *websocket.Conn {
	t.Helper()
	c, _, err := d.Dial("ws"+strings.TrimPrefix(base, "http")+"/feed", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// times reads one message and returns its samples' times.
func times(t *testing.T, c *websocket.Conn) []int64 {
	t.Helper()
	_, data, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	if err := json.Unmarshal(data, &samples); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	all := []int64{}
	for _, s := range samples {
		all = append(all, s.Time)
	}
	return all
}

func expect(t *testing.T, c *websocket.Conn, want ...int64) {
	t.Helper()
	if got := times(t, c); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("samples %v; want %v", got, want)
	}
}

func TestEverySubscriberGetsEverySample(t *testing.T) {
	s, base := start(t)
	early := dial(t, websocket.DefaultDialer, base)
	expect(t, early) // An empty past.
	s.feed.publish(sample{Time: 1})
	expect(t, early, 1)
	s.feed.publish(sample{Time: 2})
	expect(t, early, 2)

	late := dial(t, websocket.DefaultDialer, base)
	expect(t, late, 1)
	expect(t, late, 2) // The newest comes by itself.
	for i := range int64(10) {
		s.feed.publish(sample{Time: 3 + i})
		expect(t, early, 3+i)
		expect(t, late, 3+i)
	}
	if n := s.feed.subscribers.Len(); n != 2 {
		t.Errorf("%d subscribers; want 2", n)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	f := newFeed()
	for i := range int64(maxHistory + 10) {
		f.publish(sample{Time: i})
	}
	if n, first := len(f.history), f.history[0].Time; n != maxHistory || first != 10 {
		t.Errorf("%d samples from %d on; want %d from 10 on", n, first, maxHistory)
	}
}

// pipes is a listener without a network: a connection is a net.Pipe, which buffers nothing and
// whose deadlines belong to the test's clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p pipes) dial(t *testing.T) *websocket.Conn {
	t.Helper()
	d := &websocket.Dialer{NetDial: func(string, string) (net.Conn, error) {
		client, server := net.Pipe()
		p <- server
		return client, nil
	}}
	return dial(t, d, "http://pipe.test")
}

// A subscriber that reads nothing is found by KeepAlive; the other misses no sample meanwhile.
func TestStuckSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := newServer(), make(pipes)
		srv := &http.Server{Handler: s}
		go srv.Serve(network)
		quick := network.dial(t)
		expect(t, quick)
		network.dial(t) // Does not even read the past.

		ticker := time.NewTicker(period)
		ctx, cancel := context.WithCancel(t.Context())
		go measure(ctx, s.feed, ticker.C)
		subscribers := 2
		for begin, last := time.Now(), int64(0); subscribers == 2; {
			var samples []sample
			if err := quick.ReadJSON(&samples); err != nil || len(samples) != 1 {
				t.Fatalf("%d samples, error %v", len(samples), err)
			}
			if gap := samples[0].Time - last; last != 0 && gap != period.Milliseconds() {
				t.Fatalf("%d ms between two samples", gap)
			}
			last, subscribers = samples[0].Time, samples[0].Subscribers
			if d := time.Since(begin); d > time.Minute {
				t.Fatalf("after %v there are still %d subscribers", d, subscribers)
			}
		}
		cancel()
		ticker.Stop()
		quick.Close()
		srv.Close()
		s.handlers.Wait()
	})
}

// A subscriber that lags is sent the newest sample, not what it missed.
func TestSlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, network := newServer(), make(pipes)
		srv := &http.Server{Handler: s}
		go srv.Serve(network)
		slow := network.dial(t)
		expect(t, slow)
		for i := range int64(9) {
			synctest.Wait() // The first is on its way, which it blocks.
			s.feed.publish(sample{Time: 1 + i})
		}
		expect(t, slow, 1)
		expect(t, slow, 9)
		slow.Close()
		srv.Close()
		s.handlers.Wait()
	})
}

func TestListenerThatTalks(t *testing.T) {
	_, base := start(t)
	c := dial(t, websocket.DefaultDialer, base)
	expect(t, c)
	if err := c.WriteMessage(websocket.TextMessage, []byte("me too!")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("%v; want a close frame with 1008", err)
	}
}

func TestMeasure(t *testing.T) {
	s, base := start(t)
	c := dial(t, websocket.DefaultDialer, base)
	expect(t, c)
	ticks := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		measure(ctx, s.feed, ticks)
	}()
	ticks <- time.Now()
	ticks <- time.Now().Add(-time.Second)
	_, data, err := c.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	var got []sample
	if err := json.Unmarshal(data, &got); err != nil || len(got) != 1 {
		t.Fatalf("%s: %v", data, err)
	}
	if got[0].Heap <= 0 || got[0].Goroutines < 1 || got[0].Lateness < 1000 || got[0].Subscribers != 1 {
		t.Errorf("sample %+v", got[0])
	}
	cancel()
	<-ended
}

func TestPage(t *testing.T) {
	_, base := start(t)
	for path, part := range map[string]string{
		"/":         `id="charts"`,
		"/push.js":  "new WebSocket(",
		"/push.css": "canvas",
	} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(part)) {
			t.Errorf("%s: status %d, error %v, %d bytes; want 200 and %q", path, resp.StatusCode, err, len(body), part)
		}
	}
}

// The end of the context, which is what a signal brings about, sends 1001 to every subscriber.
func TestEndOfServing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, newServer(), ln, &out) }()

	base := "http://" + ln.Addr().String()
	var conns []*websocket.Conn
	for range 3 {
		c := dial(t, websocket.DefaultDialer, base)
		expect(t, c)
		conns = append(conns, c)
	}
	cancel()
	for i, c := range conns {
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("subscriber %d: %v; want a close frame with 1001", i, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("serve returned %v", err)
	}
	if !strings.Contains(out.String(), base+"/") {
		t.Errorf("serve said %q, which lacks the page's URL", out.String())
	}
}
