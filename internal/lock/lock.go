package lock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A right is a lock whose waiters can give up. Taking a free right and
// releasing one that nobody waits for is one atomic operation each; waiters
// are served in the order in which they came.
//
// A connection has three, always taken in this order: the reading half, the
// message, the wire. See the comment on Conn.
type Mutex struct {
	state atomic.Uint32 // rightFree, rightHeld or rightContended
	ended bool          // nobody may wait any more
	mu    sync.Mutex    // guards first and ended
	first *waiter       // invariant: not empty only while rightContended
}

const (
	rightFree = iota
	rightHeld
	rightContended // held, and there may be waiters
)

type waiter struct {
	done     chan struct{} // closed when the right is handed over or refused
	deadline chan struct{} // of capacity 1: there may be another
	refused  bool          // by end. Written before done is closed
	next     *waiter
}

// ErrClosed is the error of a wait for a right of a connection that is closed.
var ErrClosed = errors.New("closed")
var ErrDeadline = errors.New("deadline")

type Deadline interface{ Deadline() time.Time }

func get(d Deadline) time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.Deadline()
}

func (r *Mutex) TryLock() bool { return r.state.CompareAndSwap(rightFree, rightHeld) }

func (r *Mutex) isFree() bool { return r.state.Load() == rightFree }

// wait is lock with the deadline that b has, also if it gets another meanwhile.
func (r *Mutex) Lock(ctx context.Context, b Deadline) error {
	if r.TryLock() {
		return nil
	}
	r.mu.Lock()
	if r.state.Swap(rightContended) == rightFree {
		r.mu.Unlock()
		return nil
	}
	if r.ended {
		r.mu.Unlock()
		return ErrClosed
	}
	w := &waiter{done: make(chan struct{}), deadline: make(chan struct{}, 1)}
	last := &r.first
	for *last != nil {
		last = &(*last).next
	}
	*last = w
	r.mu.Unlock()

	err := w.wait(ctx, b)
	if err != nil && !r.leave(w) && !w.refused {
		// The right was handed over while we gave up: pass it on.
		r.Unlock()
	}
	if err == nil && w.refused {
		err = ErrClosed
	}
	return err
}

func (w *waiter) wait(ctx context.Context, b Deadline) error {
	for {
		if over, err := w.waitUntil(ctx, get(b)); over {
			return err
		}
	}
}

// waitUntil reports whether the wait is over, which it is not when there is
// another deadline.
func (w *waiter) waitUntil(ctx context.Context, deadline time.Time) (over bool, err error) {
	var expired <-chan time.Time
	if !deadline.IsZero() {
		t := time.NewTimer(time.Until(deadline))
		defer t.Stop()
		expired = t.C
	}
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	select {
	case <-w.done:
		return true, nil
	case <-expired:
		return true, ErrDeadline
	case <-ended:
		return true, ctx.Err()
	case <-w.deadline:
		return false, nil
	}
}

// leave takes w out of the queue and reports whether it was still there.
func (r *Mutex) leave(w *waiter) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := &r.first; *p != nil; p = &(*p).next {
		if *p == w {
			*p = w.next
			return true
		}
	}
	return false
}

func (r *Mutex) Unlock() {
	if !r.state.CompareAndSwap(rightHeld, rightFree) {
		r.handOver()
	}
}

// handOver gives a contended right to the first waiter.
func (r *Mutex) handOver() {
	r.mu.Lock()
	w := r.first
	if w == nil {
		r.state.Store(rightFree)
	} else {
		r.first = w.next
		close(w.done)
	}
	r.mu.Unlock()
}

// remind has those who wait for the right look at their deadline again.
func (r *Mutex) WakeAll() {
	if r.state.Load() != rightContended {
		return
	}
	r.mu.Lock()
	for w := r.first; w != nil; w = w.next {
		select {
		case w.deadline <- struct{}{}:
		default: // they will
		}
	}
	r.mu.Unlock()
}

// end sends away all who wait for the right, and from now on all who would
// have to, with ErrClosed. Whoever holds it need not let go for that.
func (r *Mutex) Close() {
	r.mu.Lock()
	r.ended = true
	for w := r.first; w != nil; w = w.next {
		w.refused = true
		close(w.done)
	}
	r.first = nil
	r.mu.Unlock()
}
