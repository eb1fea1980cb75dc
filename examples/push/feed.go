package main

// The feed: one publisher, any number of subscribers, no list of them and no queue. A subscriber
// waits for the next message and takes the newest; one that was slow has missed some, and nobody
// else notices. Invariant: latest and next change together, under mu.

import (
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tautws/websocket"
)

// maxHistory is how many samples a new subscriber is given, so that its chart is full at once.
const maxHistory = 240

// sample is one measurement of this very process. The page reads these names.
type sample struct {
	Time        int64   `json:"time"`       // milliseconds since 1970
	Heap        float64 `json:"heap"`       // MiB
	Allocs      float64 `json:"allocs"`     // KiB since the sample before
	Goroutines  float64 `json:"goroutines"` // count
	Lateness    float64 `json:"lateness"`   // ms between the tick and its handling
	Subscribers int64   `json:"subscribers"`
}

type feed struct {
	subscribers atomic.Int64

	mu      sync.Mutex
	history []sample
	latest  *websocket.PreparedMessage
	next    chan struct{} // closed when latest is replaced
}

func newFeed() *feed {
	return &feed{history: []sample{}, next: make(chan struct{})}
}

// publish encodes and frames s once, whoever listens.
func (f *feed) publish(s sample) {
	message := prepare([]sample{s})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, s)
	if extra := len(f.history) - maxHistory; extra > 0 {
		f.history = slices.Delete(f.history, 0, extra)
	}
	f.latest = message
	close(f.next)
	f.next = make(chan struct{})
}

// past returns what was published so far, and a channel that is closed when there is more.
func (f *feed) past() (*websocket.PreparedMessage, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return prepare(f.history), f.next
}

// newest returns what was published last, and a channel that is closed when there is more.
func (f *feed) newest() (*websocket.PreparedMessage, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest, f.next
}

func prepare(samples []sample) *websocket.PreparedMessage {
	data, err := json.Marshal(samples)
	if err == nil {
		var message *websocket.PreparedMessage
		if message, err = websocket.NewPreparedMessage(websocket.TextMessage, data); err == nil {
			return message
		}
	}
	panic(err) // Neither can fail: a sample is numbers.
}
