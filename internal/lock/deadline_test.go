package lock_test

import (
	"sync"
	"time"
)

// A deadline can be changed.
type deadline struct {
	mu sync.Mutex
	at time.Time
}

func (d *deadline) Deadline() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = at
}
