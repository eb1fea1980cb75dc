package websocket

import (
	"sync/atomic"
	"time"
)

// KeepAlive makes the connection notice a peer that is gone. Any received byte
// counts as life, so a peer that is busy sending is never taken for dead. Nor is
// one that is busy receiving a long frame, which no ping can overtake, while it
// takes 64 KiB of it within every Timeout. The zero value is off.
//
// It costs a timer and no goroutine. As with all control frames someone must
// be reading for pongs to be seen; while no one is, bytes that wait to be read
// count.
type KeepAlive struct {
	// Interval is the silence after which a ping is sent.
	Interval time.Duration
	// Timeout is the further silence after which the connection fails, with
	// an error for which errors.Is(err, os.ErrDeadlineExceeded) holds; zero
	// means Interval. The peer sees the ping behind what was written before
	// it and lies in the system's buffers.
	Timeout time.Duration
}

// A keepAlive is the state of a connection's KeepAlive. All methods may be
// called on nil.
type keepAlive struct {
	KeepAlive
	timer  *time.Timer
	start  time.Time
	last   atomic.Int64 // when a byte was last received, since start
	pinged atomic.Int64 // when a ping was sent since then; 0: none was
	unsent atomic.Bool  // it is still to be sent: pinged is when a write last got on
	ended  atomic.Bool
}

// A writePiece is how much is written at a time with a KeepAlive, so that it is
// seen how a long frame gets on.
const writePiece = 64 << 10

func (c *Conn) startKeepAlive(k KeepAlive) {
	if k.Interval <= 0 {
		return
	}
	if k.Timeout <= 0 {
		k.Timeout = k.Interval
	}
	c.keep = &keepAlive{KeepAlive: k, start: time.Now()}
	c.keep.timer = time.AfterFunc(1<<62, c.checkAlive)
	c.keep.timer.Reset(k.Interval) // it may fire at once: not before timer is set
}

func (k *keepAlive) now() time.Duration { return time.Since(k.start) }

func (k *keepAlive) heard() { k.last.Store(int64(k.now())) }

// wrote notes that a write got on and reports whether a ping is to be sent.
func (k *keepAlive) wrote() bool {
	if !k.unsent.Load() {
		return false
	}
	k.pinged.Store(int64(k.now()))
	return true
}

// copyPiece returns how much of a payload is copied and written at a time.
func (c *Conn) copyPiece() int {
	if c.keep == nil {
		return copyPiece
	}
	return writePiece
}

// piece returns how much of p is written at a time.
func (c *Conn) piece(p []byte) int {
	if c.keep == nil {
		return len(p)
	}
	return min(len(p), writePiece)
}

// writeLarge writes what is too large to be copied into pending.
func (c *Conn) writeLarge(p []byte) error {
	for {
		n := c.piece(p)
		if _, err := c.nc.Write(p[:n]); err != nil || n == len(p) {
			return err
		}
		c.keep.wrote()
		p = p[n:]
	}
}

// writeGathered is writeLarge with a header before p.
func (c *Conn) writeGathered(header, p []byte) error {
	n := c.piece(p)
	if err := gather(c.nc, header, p[:n]); err != nil || n == len(p) {
		return err
	}
	c.keep.wrote()
	return c.writeLarge(p[n:])
}

func (k *keepAlive) stop() {
	if k != nil {
		k.ended.Store(true)
		k.timer.Stop()
	}
}

// checkAlive runs on the timer: it sends the ping, ends the connection, or
// looks again when either would be due.
func (c *Conn) checkAlive() {
	k := c.keep
	if k.ended.Load() {
		return
	}
	now := k.now()
	last, pinged := time.Duration(k.last.Load()), time.Duration(k.pinged.Load())
	next := k.Interval - (now - last)
	switch {
	case next > 0:
	case pinged <= last:
		k.pinged.Store(int64(now))
		k.unsent.Store(true)
		c.leave(chorePing)
		next = min(k.Timeout, k.Interval) // life may come before the timeout
	case now-pinged < k.Timeout:
		next = min(k.Timeout-(now-pinged), k.Interval)
	case c.inputWaits():
		k.heard()
		next = k.Interval
	default:
		c.kill(&timeoutError{"websocket: peer is gone: nothing received for " +
			(k.Interval + k.Timeout).String() + ", nor a pong to the ping in between"})
		return
	}
	k.timer.Reset(next)
	if k.ended.Load() {
		k.timer.Stop()
	}
}

// pingLocked sends the ping that is due, unless that would take writing.
func (c *Conn) pingLocked() {
	if c.offerLocked(PingMessage, nil) {
		c.hooks.Load().started(nil)
		c.keep.pinged.Store(int64(c.keep.now()))
		c.keep.unsent.Store(false)
	}
}

// inputWaits reports whether bytes wait to be read that nobody reads. If they
// wait in the socket it takes them into the buffer, to be sure.
func (c *Conn) inputWaits() bool {
	if !c.rd.tryLock() {
		return false // a reader waits: it would have them
	}
	defer c.rd.unlock()
	if c.r < c.w {
		return true
	}
	if c.readErr != nil {
		return false
	}
	if _, ok := c.nc.(*timeless); ok {
		// A look could only be ended by closing the connection. A peer that
		// takes the pings gets the benefit of the doubt.
		return !c.keep.unsent.Load()
	}
	c.rbound.begin(never, time.Now().Add(time.Millisecond), c.nc, reading)
	defer c.rbound.end(c.nc, reading)
	c.dropEmptyBuffer()
	b := getBuffer(int(c.readSize))
	n, _ := c.nc.Read(b.b)
	if n == 0 {
		b.free()
		return false
	}
	c.rbuf, c.r, c.w = b, 0, int32(n)
	return true
}
