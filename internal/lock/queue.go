package lock

// The waiters of a Mutex, in the order in which they came. Its mu guards the queue and the fields
// of each waiter, except for those that say otherwise. Waiters are kept for the next wait by the
// Mutex rather than by a sync.Pool, because a channel or timer made in a bubble of testing/synctest
// must not be used outside it.

import (
	"context"
	"iter"
	"sync/atomic"
	"time"
)

// maxFree is how many waiters a Mutex keeps for later waits.
const maxFree = 4

type queue struct {
	first  *waiter   // of a ring
	latest time.Time // no waiter has a deadline later than that
	last   *waiter   // granted the lock last, so in use until its goroutine unlocks that
	free   *waiter   // linked by next
	nfree  int
}

type waiter struct {
	ready chan struct{} // of capacity 1: status or deadline changed
	timer *time.Timer   // used by the goroutine that waits; nil until the first wait with a deadline

	next, prev *waiter
	status     atomic.Uint32 // written with the Mutex's mu held
	since      time.Duration // now() when it came
	deadline   time.Time     // it wakes up by then; zero if it does not
}

// Values of waiter.status.
const (
	waiting = iota
	called  // woken to take the lock
	granted // has the lock and is not in the queue
	refused // by Close; not in the queue
)

// append adds a waiter.
func (q *queue) append(deadline time.Time) *waiter {
	w := q.free
	if w == nil {
		w = &waiter{ready: make(chan struct{}, 1)}
	} else {
		q.free = w.next
		q.nfree--
	}
	w.status.Store(waiting)
	w.since = now()
	if q.first == nil {
		w.next, w.prev = w, w
		q.first = w
		q.latest = deadline
	} else {
		w.next, w.prev = q.first, q.first.prev
		w.prev.next, w.next.prev = w, w
	}
	q.setDeadline(w, deadline)
	return w
}

func (q *queue) setDeadline(w *waiter, deadline time.Time) {
	w.deadline = deadline
	if earlier(q.latest, deadline) {
		q.latest = deadline
	}
}

func (q *queue) remove(w *waiter) {
	if q.first == w {
		q.first = w.next
	}
	if q.first == w {
		q.first = nil
	}
	w.prev.next, w.next.prev = w.next, w.prev
	w.next, w.prev = nil, nil
}

// recycle keeps w, which is not in the queue, for a later wait.
func (q *queue) recycle(w *waiter) {
	if q.nfree < maxFree {
		w.next = q.free
		q.free = w
		q.nfree++
	}
}

// recycleLast recycles the waiter that was granted the lock before w is. Its goroutine has left
// Lock, because the lock is free again. That spares those that are granted the lock from taking mu.
func (q *queue) recycleLast(w *waiter) {
	if q.last != nil {
		q.recycle(q.last)
	}
	q.last = w
}

// all returns the waiters in their order.
func (q *queue) all() iter.Seq[*waiter] {
	return func(yield func(*waiter) bool) {
		for w := q.first; w != nil && yield(w); {
			if w = w.next; w == q.first {
				return
			}
		}
	}
}

// wake ends the wait of w, or the next one if there is none. It needs no lock.
func (w *waiter) wake() {
	select {
	case w.ready <- struct{}{}:
	default: // as good as awake
	}
}

// wait returns after a wake, when ctx is done or when the deadline has passed, but perhaps earlier.
func (w *waiter) wait(ctx context.Context, deadline time.Time) {
	var done <-chan struct{}
	if ctx != nil {
		done = ctx.Done()
	}
	if done == nil && deadline.IsZero() {
		<-w.ready
		return
	}
	var expired <-chan time.Time
	if !deadline.IsZero() {
		if w.timer == nil {
			w.timer = time.NewTimer(time.Until(deadline))
		} else {
			w.timer.Reset(time.Until(deadline))
		}
		defer w.timer.Stop()
		expired = w.timer.C
	}
	select {
	case <-w.ready:
	case <-done:
	case <-expired:
	}
}

var start = time.Now()

// now returns the time on a monotonic clock, which is cheaper than that of time.Now.
func now() time.Duration { return time.Since(start) }
