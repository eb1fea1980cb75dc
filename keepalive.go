package websocket

import (
	"cmp"
	"sync/atomic"
	"time"
)

// KeepAlive makes the connection notice a peer that is gone. Any received byte counts as life, so a
// peer that is busy sending is never taken for dead; over TLS it is any whole record, of up to 16
// KiB. Nor is one that slowly receives a long frame, which no ping can overtake, as long as it
// takes 64 KiB per Timeout. The zero value is off.
//
// Once a close frame is sent no ping can follow it, and no pong. So a peer that then stays silent
// for Interval and Timeout together is taken for gone, whatever it does.
//
// It costs a timer and no goroutine. A goroutine must be reading for pongs to be seen: only silence
// while a read waits for the network is held against the peer.
type KeepAlive struct {
	// Interval is the silence after which a ping is sent.
	Interval time.Duration
	// Timeout is the further silence after which the connection fails, with an error for which
	// errors.Is(err, os.ErrDeadlineExceeded) holds; zero means Interval. The ping queues behind
	// what was written before it and is still in the kernel's buffer: allow for that.
	Timeout time.Duration
}

// A keepAlive is the state of a connection's KeepAlive. Times are since start.
type keepAlive struct {
	KeepAlive
	timer   *time.Timer
	start   time.Time
	payload [8]byte       // of the pings
	seen    uint32        // waits at the last check
	waits   atomic.Uint32 // odd while a read waits for the network; counts both ends of every wait
	due     atomic.Int64  // when the next check is to be
	heard   atomic.Int64  // when a byte was last received
	nothing atomic.Int64  // when a wait last ended without one
	pinged  atomic.Int64  // when a ping was last sent; while it is queued, when a write last progressed
	asked   atomic.Int64  // when the first ping without a pong was sent; 0: all were answered
	queued  atomic.Bool   // the ping is queued behind a frame that is being written
	stopped atomic.Bool
}

func (c *Conn) startKeepAlive(k KeepAlive) {
	if k.Interval <= 0 {
		return
	}
	k.Timeout = cmp.Or(max(k.Timeout, 0), k.Interval)
	c.keep = &keepAlive{KeepAlive: k, start: time.Now(), payload: randomPingPayload()}
	c.keep.due.Store(int64(k.Interval))
	c.keep.timer = time.AfterFunc(1<<62, c.checkAlive)
	c.keep.timer.Reset(k.Interval) // only now: it may fire immediately
}

func (k *keepAlive) now() int64 { return int64(time.Since(k.start)) }

// beforeWait notes that a read begins to wait for the network, or goes on to.
func (k *keepAlive) beforeWait() { k.waits.Or(1) }

// afterWait notes that it has ended, with bytes if received is set.
func (k *keepAlive) afterWait(received bool) {
	last := &k.nothing
	if received {
		last = &k.heard
	}
	last.Store(k.now())
	k.waits.Add(1)
}

// progressed notes that a write has written all that it was given. It may be called on nil.
func (k *keepAlive) progressed() {
	if k != nil && k.queued.Load() {
		k.pinged.Store(k.now())
	}
}

// pingSent notes that the queued ping has gone out.
func (k *keepAlive) pingSent() {
	now := k.now()
	k.pinged.Store(now)
	k.asked.CompareAndSwap(0, now)
	k.queued.Store(false)
}

// stop ends the checks. It may be called on nil.
func (k *keepAlive) stop() {
	if k != nil {
		k.stopped.Store(true)
		k.timer.Stop()
	}
}

// checkAlive runs on the timer: it sends the ping, ends the connection, or looks again later.
func (c *Conn) checkAlive() {
	k := c.keep
	if k.stopped.Load() {
		return
	}
	now, pinged, waits := k.now(), k.pinged.Load(), k.waits.Load()
	waiting, silence, sincePing := waits%2 == 1, time.Duration(now-k.heard.Load()), time.Duration(now-pinged)
	// A read that has only just begun to wait may find bytes that came long ago.
	silent := waiting && waits == k.seen || k.nothing.Load() >= pinged+int64(k.Timeout)
	k.seen = waits
	next := min(k.Interval, k.Timeout)
	switch {
	case silence < k.Interval:
		next = k.Interval - silence
	case sincePing >= silence, !waiting && !k.queued.Load() && sincePing >= k.Interval:
		k.pinged.Store(now)
		if !k.queued.Swap(true) {
			c.write.queueControl(PingMessage, k.payload[:])
		}
	case sincePing < k.Timeout:
		next = min(k.Timeout-sincePing, k.Interval)
	case now-k.due.Load() > int64(next/2):
		// The program was stopped, or has no processor: what has come meanwhile is yet to be read.
	case silent:
		c.abort(&timeoutError{text: "websocket: peer is gone: nothing received for " +
			(k.Interval + k.Timeout).String() + ", nor a pong to the ping in between"})
		return
	}
	k.due.Store(now + int64(next))
	k.timer.Reset(next)
	if k.stopped.Load() {
		k.timer.Stop()
	}
}
