package websocket

import (
	"context"
	"os"
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
type right struct {
	state atomic.Uint32 // rightFree, rightHeld or rightContended
	mu    sync.Mutex    // guards first
	first *waiter       // invariant: not empty only while rightContended
}

const (
	rightFree = iota
	rightHeld
	rightContended // held, and there may be waiters
)

type waiter struct {
	granted chan struct{} // closed when the right is handed over
	next    *waiter
}

func (r *right) tryLock() bool { return r.state.CompareAndSwap(rightFree, rightHeld) }

func (r *right) isFree() bool { return r.state.Load() == rightFree }

// lock takes the right. It fails, with nothing taken, when ctx ends or the
// deadline passes first; never and a zero deadline do not.
func (r *right) lock(ctx context.Context, deadline time.Time) error {
	if r.tryLock() {
		return nil
	}
	return r.wait(ctx, deadline)
}

func (r *right) wait(ctx context.Context, deadline time.Time) error {
	r.mu.Lock()
	if r.state.Swap(rightContended) == rightFree {
		r.mu.Unlock()
		return nil
	}
	w := &waiter{granted: make(chan struct{})}
	last := &r.first
	for *last != nil {
		last = &(*last).next
	}
	*last = w
	r.mu.Unlock()

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
	var err error
	select {
	case <-w.granted:
		return nil
	case <-expired:
		err = errWriteTimeout
	case <-ended:
		err = contextError(ctx)
	}
	if !r.leave(w) {
		// The right was handed over while we gave up: pass it on.
		r.unlock()
	}
	return err
}

// leave takes w out of the queue and reports whether it was still there.
func (r *right) leave(w *waiter) bool {
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

func (r *right) unlock() {
	if !r.state.CompareAndSwap(rightHeld, rightFree) {
		r.handOver()
	}
}

// handOver gives a contended right to the first waiter.
func (r *right) handOver() {
	r.mu.Lock()
	w := r.first
	if w == nil {
		r.state.Store(rightFree)
	} else {
		r.first = w.next
		close(w.granted)
	}
	r.mu.Unlock()
}

// A deadline passed while waiting for another goroutine. Nothing was sent or
// read, so unlike a timeout of the network these are not permanent.
var (
	errWriteTimeout error = &timeoutError{"websocket: write timeout"}
	errReadTimeout  error = &timeoutError{"websocket: read timeout"}
)

// A timeoutError is a net.Error for which errors.Is(err,
// os.ErrDeadlineExceeded) holds.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
func (e *timeoutError) Unwrap() error   { return os.ErrDeadlineExceeded }
