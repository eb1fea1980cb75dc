package main

// The feed: one publisher and any number of subscribers, which are the members of a Group. One that
// is slow misses samples, but never the newest, and nobody else notices. Invariant: the group's
// latest sample is the last of history, so joining and publishing are ordered by mu.

import (
	"encoding/json"
	"slices"
	"sync"

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
	Subscribers int     `json:"subscribers"`
}

type feed struct {
	subscribers websocket.Group

	mu      sync.Mutex
	history []sample
}

func newFeed() *feed {
	return &feed{subscribers: websocket.Group{Slow: websocket.SkipSlow, MaxLag: 1}}
}

// publish encodes and frames s once, however many listen.
func (f *feed) publish(s sample) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, s)
	if extra := len(f.history) - maxHistory; extra > 0 {
		f.history = slices.Delete(f.history, 0, extra)
	}
	return f.subscribers.BroadcastLatest("sample", websocket.TextMessage, encode(s))
}

// subscribe gives c the past, and then, as the latest message does, the newest sample.
func (f *feed) subscribe(c *websocket.Conn) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	past, err := websocket.NewPreparedMessage(websocket.TextMessage, encode(f.history[:max(0, len(f.history)-1)]...))
	if err != nil {
		return err
	}
	return f.subscribers.Add(c, past)
}

func encode(samples ...sample) []byte {
	if samples == nil {
		samples = []sample{}
	}
	data, err := json.Marshal(samples)
	if err != nil {
		panic(err) // A sample is numbers.
	}
	return data
}
