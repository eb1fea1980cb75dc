package websocket

import (
	"sync/atomic"
	"time"
)

// Delayed writes. While the reader has another whole frame buffered, the answers to the frames
// before it need no system call each: frames stay in pending, and leave as one write when the
// reader is about to wait, when they pass delayLimit, at Flush, Close, Shutdown and any close
// frame, and at the latest writeHalf.delay after the first of them. With one message in flight the
// reader never has another buffered, and nothing is delayed.
//
// Delayed frames leave through flushLocked or, where nothing may wait, tryFlushLocked.

const (
	defaultWriteDelay = 200 * time.Microsecond

	delayLimit = 16 << 10 // bytes of frames that may be delayed

	// writingWait is how long Close waits for a write that has begun, of delayed frames or before
	// queued ones. One that takes longer waits for the peer.
	writingWait = 10 * time.Millisecond
)

// Whether pending has frames that were delayed.
const (
	delayedNone = iota
	delayedPending
	delayedWriting // and a goroutine is writing them
)

// sendLocked sends what is pending, or delays it until the reader's next wait.
func (w *writeHalf) sendLocked() error {
	if w.more.Load() && w.n < delayLimit && w.conn.state.Load() == stateOpen && !w.conn.netConnTaken() {
		if w.delayed.Load() == delayedNone || !w.timerArmed {
			w.delayLocked()
		}
		// The reader stores more and then loads delayed: one of the two sees the other's.
		if w.more.Load() {
			return nil
		}
	}
	return w.flushLocked()
}

// delayLocked leaves what is pending to the reader's next wait, or the timer.
func (w *writeHalf) delayLocked() {
	w.delayed.Store(delayedPending)
	if !w.timerArmed {
		w.startTimerLocked(w.delay)
	}
}

// tryFlushLocked sends what is pending as far as that takes no waiting, and leaves the rest to the
// timer's goroutine.
func (w *writeHalf) tryFlushLocked() {
	if w.n == 0 || w.err != nil {
		return
	}
	if w.conn.socket != nil {
		n := w.tryWriteSocket()
		if n == int(w.n) {
			w.writtenLocked(nil)
			return
		}
		if w.pending.lent {
			w.pending.b = w.pending.b[n:]
			w.n -= int32(n)
		} else {
			w.n = int32(copy(w.pending.b, w.pending.b[n:w.n]))
		}
	}
	w.delayed.Store(delayedPending)
	w.flushApartLocked()
}

// beginWriteLocked is called before pending is written by a call that may wait.
func (w *writeHalf) beginWriteLocked() {
	w.deadline.renew()
	if w.delayed.Load() != delayedNone {
		w.delayed.Store(delayedWriting)
	}
}

// A delayTimer has writeHalf.flushFromTimer run on another goroutine: after some time, or soon.
type delayTimer struct {
	*time.Timer // nil until a write is delayed for some time
	flushApart  func()
	starting    atomic.Bool // a goroutine for flushApart has yet to begin
}

// stopTimerLocked stops the timer if it is armed.
func (w *writeHalf) stopTimerLocked() {
	if w.timerArmed && w.timer.Timer != nil {
		w.timer.Stop()
	}
	w.timerArmed = false
}

// armTimerLocked is called before the timer is started.
func (w *writeHalf) armTimerLocked() {
	if w.timer == nil {
		t := new(delayTimer)
		t.flushApart = func() {
			t.starting.Store(false)
			w.flushFromTimer()
		}
		w.timer = t
	}
	w.timerArmed = true
}

func (w *writeHalf) startTimerLocked(d time.Duration) {
	w.armTimerLocked()
	if w.timer.Timer == nil {
		w.timer.Timer = time.AfterFunc(d, w.flushFromTimer)
	} else {
		w.timer.Reset(d)
	}
}

// flushApartLocked has a goroutine send what is pending. A timer that fires immediately would do
// the same; but with the race detector Go 1.26 crashes on such timers in testing/synctest.
func (w *writeHalf) flushApartLocked() {
	w.stopTimerLocked()
	w.armTimerLocked()
	if !w.timer.starting.Swap(true) {
		go w.timer.flushApart()
	}
}

// flushFromTimer sends delayed frames from a goroutine of its own, that of the timer as a rule.
func (w *writeHalf) flushFromTimer() {
	w.more.Store(false) // until the reader comes back
	if !w.mu.TryLock() {
		w.leaveWork()
		return
	}
	w.timerArmed = false
	if groups := w.groups.Load(); w.n > 0 && w.err == nil && groups != nil && w.groupsWait {
		w.flushBlockedLocked(groups)
	} else if w.n > 0 && w.err == nil {
		// The frames were accepted in time: a deadline that has passed since does not apply to
		// them. One that is set from now on does.
		soon := time.Now().Add(closeWait)
		if d := w.deadline.Deadline(); !d.IsZero() && d.Before(soon) {
			w.deadline.overrideWith(noContext, soon, overrideTimer)
			w.flushLocked()
			w.deadline.restore()
		} else {
			w.flushLocked()
		}
	}
	w.unlock()
}

// tryFlush is the reader's flush: it neither waits for a writer nor for the socket.
func (w *writeHalf) tryFlush() {
	if !w.mu.TryLock() {
		w.leaveWork()
		return
	}
	w.tryFlushLocked()
	w.unlock()
}

// flushBeforeClose sends delayed and queued frames for Close, within closeWait. If another goroutine
// is writing it gives that one a moment, and no more, as the peer may have it wait.
func (w *writeHalf) flushBeforeClose() {
	soon := time.Now().Add(closeWait)
	if !w.mu.TryLock() {
		d := soon
		if w.delayed.Load() != delayedPending {
			d = time.Now().Add(writingWait)
		}
		if w.wait(noContext, until(d)) != nil {
			return
		}
	}
	if w.err == nil {
		w.deadline.overrideWith(noContext, soon, overrideStrict)
		w.appendQueueLocked()
		w.flushLocked()
	}
	w.unlock()
}

// until is a deadline that does not change.
type until time.Time

func (u until) Deadline() time.Time { return time.Time(u) }

// Flush sends at once what earlier writes left to be sent together with later ones. It is needed
// only where even WriteDelay is too long a wait. It returns the error of that write, which is
// permanent, and nil after a close frame.
func (c *Conn) Flush() error {
	w := &c.write
	err := w.lock(noContext)
	if err == nil {
		err = w.flushLocked()
		w.unlock()
	}
	if err == ErrCloseSent {
		return nil // a close frame takes all before it along
	}
	return err
}
