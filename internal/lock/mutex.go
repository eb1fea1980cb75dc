// Package lock provides a mutex whose waiters can give up.
package lock

// A free lock goes to the goroutine that asks first, even if others wait: one that still has to be
// scheduled would leave it idle. Once a waiter has been overtaken for a millisecond, Unlock hands
// it the lock instead, and goes on so with the others that waited long. Invariant: while the lock
// is free and there are waiters, one of them was woken to take it, or a call of Unlock is about to
// choose one.

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrDeadline is the error of a Lock whose deadline passed.
	ErrDeadline = errors.New("lock: deadline passed")
	// ErrClosed is the error of a Lock that would have to wait for a closed Mutex.
	ErrClosed = errors.New("lock: mutex closed")
)

// A Deadline bounds a wait.
type Deadline interface {
	// Deadline returns the time at which the wait ends, or the zero time if it has no bound. It
	// must not panic or use the Mutex.
	Deadline() time.Time
}

// A Mutex is a mutual exclusion lock. The zero value is unlocked. It must not be copied after first
// use. As with a [sync.Mutex], any goroutine may unlock it, and Unlock synchronizes before the next
// TryLock or Lock that takes it.
type Mutex struct {
	state atomic.Uint32 // of the bits below; queued, woken and starving are guarded by mu

	mu     sync.Mutex
	closed bool   // guarded by mu
	queue  *queue // guarded by mu; nil until the first wait
}

const (
	locked   = 1 << iota
	queued   // there are waiters
	woken    // a waiter was woken to take the lock, so Unlock need not wake another
	starving // Unlock hands the lock to the first waiter; never together with woken

	starvation = time.Millisecond // a waiter overtaken for longer starves

	// Having begun to hand over the lock, Unlock goes on while the first waiter waited longer than
	// this. With a thousand waiters, stopping only at starvation would mean never to stop.
	longWait = 4 * starvation
)

// TryLock takes m if it is free and has no waiters, and reports whether it did. If not, some call
// of Unlock has yet to return, unless m is closed: a goroutine that looks for work after each
// Unlock finds what was left to it before TryLock.
func (m *Mutex) TryLock() bool { return m.state.CompareAndSwap(0, locked) }

// Lock takes m. It waits until m is free, ctx is done, the deadline of d passes or m is closed, and
// returns ctx.Err(), [ErrDeadline] or [ErrClosed] if m was not taken; then m did not pass through
// the hands of this goroutine either. Both ctx and d may be nil. None of the three conditions
// matters if m is free. The deadline is read when the wait begins and once more after
// [Mutex.DeadlineChanged].
func (m *Mutex) Lock(ctx context.Context, d Deadline) error {
	if m.state.CompareAndSwap(0, locked) {
		return nil
	}
	return m.lockSlow(ctx, d)
}

// Unlock releases m. It panics if m is not locked.
func (m *Mutex) Unlock() {
	if state := m.state.Add(^uint32(0)); state != 0 { // subtracts locked
		m.unlockSlow(state)
	}
}

// DeadlineChanged has the waiters observe that the deadline of any of them is now t. It costs
// nothing more than a look unless t is earlier than before: the others learn of it when their
// former deadline passes.
func (m *Mutex) DeadlineChanged(t time.Time) {
	// A waiter reads its deadline again after it set queued.
	if m.state.Load()&queued == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue
	if q.first == nil || !earlier(t, q.latest) {
		return
	}
	for w := range q.all() {
		if earlier(t, w.deadline) {
			w.deadline = t
			w.wake()
		}
	}
	q.latest = t
}

// Close makes every Lock that waits, and from now on every Lock that would have to, return
// [ErrClosed]. A goroutine that holds m is not affected, and a free m can still be taken.
func (m *Mutex) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	if m.queue == nil {
		return
	}
	for m.queue.first != nil {
		w := m.queue.first
		m.queue.remove(w)
		w.status.Store(refused)
		w.wake()
	}
	m.state.And(locked)
}

// barge takes m if it is free and no waiter starves.
func (m *Mutex) barge() bool {
	for {
		state := m.state.Load()
		if state&(locked|starving) != 0 {
			return false
		}
		if m.state.CompareAndSwap(state, state|locked) {
			return true
		}
	}
}

func (m *Mutex) lockSlow(ctx context.Context, d Deadline) error {
	if m.barge() {
		return nil
	}
	deadline := read(d)
	m.mu.Lock()
	if taken, err := m.bargeOrQueueLocked(); taken || err != nil {
		m.mu.Unlock()
		return err
	}
	w := m.queue.append(deadline)
	for {
		m.mu.Unlock()
		// The deadline may have changed before DeadlineChanged could see that of w.
		if t := read(d); earlier(t, deadline) {
			deadline = t
		}
		w.wait(ctx, deadline)
		if w.status.Load() == granted {
			return nil
		}
		deadline = read(d)
		m.mu.Lock()
		if over, err := m.checkLocked(w, ctx, deadline); over {
			if w.status.Load() != granted {
				m.queue.recycle(w)
			}
			m.mu.Unlock()
			return err
		}
		m.queue.setDeadline(w, deadline)
	}
}

// bargeOrQueueLocked takes m or announces a waiter.
func (m *Mutex) bargeOrQueueLocked() (taken bool, err error) {
	for {
		state := m.state.Load()
		switch {
		case state&(locked|starving) == 0:
			if m.state.CompareAndSwap(state, state|locked) {
				return true, nil
			}
		case m.closed:
			return false, ErrClosed
		case state&queued != 0 || m.state.CompareAndSwap(state, state|queued):
			if m.queue == nil {
				m.queue = new(queue)
			}
			return false, nil
		}
	}
}

// checkLocked reports whether the wait of w is over, and how it ended. A waiter that was woken to
// take the lock gives up only if another goroutine holds it, so that it never stays free because of
// that.
func (m *Mutex) checkLocked(w *waiter, ctx context.Context, deadline time.Time) (over bool, err error) {
	switch w.status.Load() {
	case granted:
		return true, nil
	case refused:
		return true, ErrClosed
	case called:
		if m.takeLocked(w) {
			return true, nil
		}
	}
	switch {
	case ctx != nil && ctx.Err() != nil:
		err = ctx.Err()
	case !deadline.IsZero() && time.Until(deadline) <= 0:
		err = ErrDeadline
	default:
		return false, nil
	}
	m.removeLocked(w)
	return true, err
}

// takeLocked takes m for w, which was woken for that, unless another goroutine was faster.
func (m *Mutex) takeLocked(w *waiter) bool {
	starved := false
	for {
		state := m.state.Load()
		next := state&^woken | locked
		if state&locked != 0 && (starved || now()-w.since > starvation) {
			starved = true
			next |= starving
		}
		if !m.state.CompareAndSwap(state, next) {
			continue
		}
		w.status.Store(waiting)
		if state&locked != 0 {
			return false
		}
		m.removeLocked(w)
		return true
	}
}

// removeLocked removes w, which is not called, from the queue.
func (m *Mutex) removeLocked(w *waiter) {
	m.queue.remove(w)
	if m.queue.first == nil {
		m.state.And(^uint32(queued | starving))
	}
}

func (m *Mutex) unlockSlow(state uint32) {
	if w := m.choose(state); w != nil {
		// By now w may wait for something else, which tolerates being woken without reason.
		w.wake()
	}
}

// choose returns the waiter that is to be woken, if any, now that Unlock made the state be state.
func (m *Mutex) choose(state uint32) *waiter {
	if (state+locked)&locked == 0 {
		panic("lock: Unlock of an unlocked Mutex")
	}
	if state&woken != 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.chooseLocked()
}

func (m *Mutex) chooseLocked() *waiter {
	for {
		state := m.state.Load()
		switch {
		case state&queued == 0 || state&(locked|woken) != 0:
			return nil // another goroutine took m and will unlock it, or will take it
		case state&starving == 0:
			if m.state.CompareAndSwap(state, state|woken) {
				w := m.queue.first
				w.status.Store(called)
				return w
			}
		default:
			w := m.queue.first
			m.state.Or(locked)
			m.removeLocked(w)
			m.queue.recycleLast(w)
			w.status.Store(granted)
			if now()-w.since <= longWait {
				m.state.And(^uint32(starving))
			}
			return w
		}
	}
}

// read returns the deadline of d, which may be nil.
func read(d Deadline) time.Time {
	if d == nil {
		return time.Time{}
	}
	return d.Deadline()
}

// earlier reports whether t is before u, where zero is after all other times.
func earlier(t, u time.Time) bool { return !t.IsZero() && (u.IsZero() || t.Before(u)) }
