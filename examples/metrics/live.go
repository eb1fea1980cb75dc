package main

// What the page charts: counts since the start, from which a sample is taken every second.

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tautws/websocket"
)

const (
	maxHistory = 60   // samples that a page gets at its start
	maxPings   = 1000 // round trips that are kept until the next sample
)

// A sample is what happened between two ticks. The page reads these names.
type sample struct {
	Time        int64          `json:"time"` // milliseconds since 1970
	Connections int            `json:"connections"`
	Messages    [2]float64     `json:"messages"` // per second, in and out
	Wire        [2]float64     `json:"wire"`     // bytes per second, in and out
	Ratio       [2]float64     `json:"ratio"`    // of the compression, since the start
	RTT         *[2]float64    `json:"rtt"`      // median and 99th percentile, ms; null: no ping
	Codes       map[string]int `json:"codes"`    // connections closed since the start
}

type live struct {
	mu          sync.Mutex
	connections int
	messages    [2]int // since the last sample
	size, wire  [2]int // since the start
	lastWire    [2]int // at the last sample
	pings       []time.Duration
	codes       map[string]int
	last        time.Time
	history     []sample
	next        chan struct{} // closed when there is another sample
}

func newLive(now time.Time) *live {
	return &live{codes: map[string]int{}, last: now, next: make(chan struct{})}
}

func (l *live) trace() *websocket.Trace {
	return &websocket.Trace{
		Opened: func(c *websocket.Conn) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.connections++
		},
		Message: func(c *websocket.Conn, out bool, messageType, size, wire int) {
			l.mu.Lock()
			defer l.mu.Unlock()
			d := directionOf(out)
			l.messages[d]++
			l.size[d] += size
			l.wire[d] += wire
		},
		Ping: func(c *websocket.Conn, rtt time.Duration) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(l.pings) < maxPings {
				l.pings = append(l.pings, rtt)
			}
		},
		Closed: func(c *websocket.Conn, err error) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.connections--
			l.codes[closeCode(err)]++
		},
	}
}

// sample ends a period.
func (l *live) sample(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seconds := now.Sub(l.last).Seconds()
	if seconds <= 0 {
		return
	}
	s := sample{Time: now.UnixMilli(), Connections: l.connections, Codes: maps.Clone(l.codes)}
	for d := range directions {
		s.Messages[d] = float64(l.messages[d]) / seconds
		s.Wire[d] = float64(l.wire[d]-l.lastWire[d]) / seconds
		s.Ratio[d] = ratio(float64(l.size[d]), float64(l.wire[d]))
	}
	if n := len(l.pings); n > 0 {
		slices.Sort(l.pings)
		ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
		s.RTT = &[2]float64{ms(l.pings[n/2]), ms(l.pings[n*99/100])}
	}
	l.last, l.lastWire, l.messages, l.pings = now, l.wire, [2]int{}, l.pings[:0]
	if l.history = append(l.history, s); len(l.history) > maxHistory {
		l.history = slices.Delete(l.history, 0, 1)
	}
	close(l.next)
	l.next = make(chan struct{})
}

// since returns the samples after a time, and a channel that is closed when there are more.
func (l *live) since(t int64) ([]sample, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := len(l.history)
	for i > 0 && l.history[i-1].Time > t {
		i--
	}
	return slices.Clone(l.history[i:]), l.next
}
