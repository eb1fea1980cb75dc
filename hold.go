package websocket

import "time"

// Held writes. While the reader has another whole frame at hand, the answers
// to the frames before it need no system call of their own: frames stay in
// pending, and leave as one write when the reader is about to wait, when they
// pass holdLimit, at Flush, Close, Shutdown and any close frame, and at the
// latest writeDelay after the first of them. With one message in flight the
// reader never has another at hand, and nothing is held.
//
// What is held leaves through flushLocked or, where nothing may wait,
// pushLocked.

const (
	defaultWriteDelay = 200 * time.Microsecond

	holdLimit = 16 << 10 // bytes of frames that may be held
)

// sendLocked sends what is pending, or holds it for the reader's next wait.
func (c *Conn) sendLocked() error {
	if c.hold.Load() && c.npending < holdLimit && c.closed.Load() == open &&
		!(c.wbound.bounded.Load() && c.wbound.passed()) {
		if !c.held.Load() || !c.timing {
			c.holdLocked()
		}
		// The reader stores hold and then loads held: one of the two sees
		// the other's.
		if c.hold.Load() {
			return nil
		}
	}
	return c.flushLocked()
}

// holdLocked leaves what is pending to the reader's next wait, or the timer.
func (c *Conn) holdLocked() {
	c.held.Store(true)
	if !c.timing {
		c.startTimerLocked(c.writeDelay)
	}
}

// pushLocked sends what is pending as far as that takes no waiting, and leaves
// the rest to the timer's goroutine.
func (c *Conn) pushLocked() {
	if c.npending == 0 || c.writeErr != nil {
		return
	}
	if c.raw != nil {
		n := c.writeRaw()
		if n == int(c.npending) {
			c.writtenLocked(nil)
			return
		}
		c.npending = int32(copy(c.pending.b, c.pending.b[n:c.npending]))
	}
	c.held.Store(true)
	c.startTimerLocked(0)
}

func (c *Conn) startTimerLocked(d time.Duration) {
	c.timing = true
	if c.timer == nil {
		c.timer = time.AfterFunc(d, c.flushLate)
	} else {
		c.timer.Reset(d)
	}
}

// flushLate sends held frames from the timer's goroutine.
func (c *Conn) flushLate() {
	c.hold.Store(false) // until the reader comes back
	if !c.wire.tryLock() {
		c.leave(choreFlush)
		return
	}
	c.timing = false
	if c.npending > 0 && c.writeErr == nil {
		// The frames were accepted in time; a deadline that passed since
		// does not apply to them, nor does a context.
		if d := c.wbound.get(); d.IsZero() {
			c.wbound.use(never, c.nc, writing)
			c.flushLocked()
		} else {
			if soon := time.Now().Add(closeWait); d.Before(soon) {
				d = soon
			}
			c.wbound.begin(never, d, c.nc, writing)
			c.flushLocked()
			c.wbound.end(c.nc, writing)
		}
	}
	c.unlockWire()
}

// flushUnwaiting is the reader's flush: it neither waits for a writer nor for
// the socket.
func (c *Conn) flushUnwaiting() {
	if !c.wire.tryLock() {
		c.leave(choreFlush)
		return
	}
	c.pushLocked()
	c.unlockWire()
}

// flushBeforeClose sends held frames for Close, within closeWait.
func (c *Conn) flushBeforeClose() {
	if !c.wire.tryLock() && c.waitWire(never, &bound{deadline: time.Now().Add(yieldWait)}) != nil {
		return // who holds it is stuck
	}
	c.wbound.begin(never, time.Now().Add(closeWait), c.nc, writing)
	c.flushLocked()
	c.unlockWire()
}

// Flush sends at once what earlier writes left to be sent together with later
// ones. It is needed only where even WriteDelay is too long a wait.
// It returns the error of that write, which is permanent, and nil after a close
// frame.
func (c *Conn) Flush() error {
	err := c.lockWire(never)
	if err == nil {
		err = c.flushLocked()
		c.unlockWire()
	}
	if err == ErrCloseSent {
		return nil // a close frame takes all before it along
	}
	return err
}
