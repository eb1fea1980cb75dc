package websocket

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Control frames as they come in, the handlers for them, and the queue of those that go out. The
// reader answers a ping without waiting for a writer: if another goroutine is writing, the pong is
// queued and sent when that goroutine releases write.mu.

// A control is what a connection needs once it does more with control frames than answer them.
type control struct {
	mu      sync.Mutex
	onPing  func(appData string) error
	onPong  func(appData string) error
	onClose func(code int, text string) error
	pings   pings
	trace   *Trace // constant

	shutdown chan struct{} // closed when Shutdown ends; made before readHalf.ending is set
}

// controls returns the connection's control, made at first use.
func (c *Conn) controls() *control {
	if k := c.control.Load(); k != nil {
		return k
	}
	c.control.CompareAndSwap(nil, new(control))
	return c.control.Load()
}

// errHandlerExit ends the reading of a connection whose control frame handler, or function of
// Trace, did not return.
var errHandlerExit = errors.New("websocket: a handler or a function of Trace panicked or ended its goroutine")

// callHandler calls a handler of the application on the goroutine that reads. If it panics or ends
// the goroutine, read.mu, which nobody is left to release, is released and reading has ended.
func (r *readHalf) callHandler(handler func() error) error {
	returned := false
	defer func() {
		if !returned {
			r.mode = readWaits
			r.end(errHandlerExit)
			r.unlock()
		}
	}()
	err := handler()
	returned = true
	if err != nil {
		return r.end(permanent(err))
	}
	return nil
}

// SetPingHandler sets what is called for every ping read, with its payload; nil restores the
// default, which answers with a pong. Handlers run on the goroutine that reads, inside its call:
// they may write, but neither read nor call Shutdown. An error they return ends the reading with
// that error.
func (c *Conn) SetPingHandler(h func(appData string) error) {
	k := c.controls()
	k.mu.Lock()
	k.onPing = h
	k.mu.Unlock()
}

// PingHandler returns the current ping handler.
func (c *Conn) PingHandler() func(appData string) error {
	k := c.controls()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.onPing != nil {
		return k.onPing
	}
	return func(appData string) error {
		c.write.sendPong([]byte(appData[:min(len(appData), maxControlPayload)]), false)
		return nil
	}
}

// SetPongHandler sets what is called for every pong read, with its payload; nil restores the
// default, which does nothing. See SetPingHandler for what handlers may do.
func (c *Conn) SetPongHandler(h func(appData string) error) {
	k := c.controls()
	k.mu.Lock()
	k.onPong = h
	k.mu.Unlock()
}

// PongHandler returns the current pong handler.
func (c *Conn) PongHandler() func(appData string) error {
	k := c.controls()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.onPong != nil {
		return k.onPong
	}
	return func(string) error { return nil }
}

// maxQueuedPongs is how many pongs are queued. With one more the oldest is dropped: RFC 6455 §5.5.3
// lets an endpoint answer the latest of several pings alone.
const maxQueuedPongs = 16

// A controlQueue holds the control frames that found write.mu taken, or pending full: pongs and at
// most one ping of KeepAlive.
type controlQueue struct {
	some atomic.Bool // frames is not empty

	mu     sync.Mutex
	frames []byte // the oldest first, each as its opcode, its length and its payload
	pongs  int
}

// add queues a frame.
func (q *controlQueue) add(opcode byte, payload []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if opcode == PongMessage {
		if q.pongs == maxQueuedPongs {
			q.dropOldestPong()
		}
		q.pongs++
	}
	q.frames = append(append(q.frames, opcode, byte(len(payload))), payload...)
	q.some.Store(true)
}

// hasQueued reports whether control frames are queued.
func (w *writeHalf) hasQueued() bool {
	q := w.queue.Load()
	return q != nil && q.some.Load()
}

func (q *controlQueue) dropOldestPong() {
	for i := 0; i < len(q.frames); i += 2 + int(q.frames[i+1]) {
		if q.frames[i] == PongMessage {
			q.frames = append(q.frames[:i], q.frames[i+2+int(q.frames[i+1]):]...)
			q.pongs--
			return
		}
	}
}

// queueControl queues a control frame for the goroutine that holds mu, or sends it.
func (w *writeHalf) queueControl(opcode byte, payload []byte) {
	if w.queue.Load() == nil {
		w.queue.CompareAndSwap(nil, new(controlQueue))
	}
	w.queue.Load().add(opcode, payload)
	w.leaveWork()
}

// appendQueueLocked adds queued frames to pending as far as it has room, and reports whether the
// queue is empty.
func (w *writeHalf) appendQueueLocked() bool {
	if !w.hasQueued() {
		return true
	}
	q := w.queue.Load()
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) > 0 {
		opcode, end := q.frames[0], 2+int(q.frames[1])
		payload := q.frames[2:end]
		if !w.tryAppendControlLocked(opcode, payload) {
			return false
		}
		if opcode == PingMessage {
			w.conn.keepAlivePingSent(payload)
		} else {
			q.pongs--
		}
		q.frames = q.frames[:copy(q.frames, q.frames[end:])]
	}
	q.some.Store(false)
	return true
}

// sendPong answers a ping with its payload (RFC 6455 §5.5.3). It may delay the pong if the reader
// has another frame buffered.
func (w *writeHalf) sendPong(p []byte, mayDelay bool) {
	if w.mu.TryLock() {
		// The pong of an older ping does not come after this one.
		sent := w.appendQueueLocked() && w.tryAppendControlLocked(PongMessage, p)
		if sent && mayDelay && w.n < delayLimit {
			w.delayLocked()
		} else {
			w.tryFlushLocked()
		}
		w.unlock()
		if sent {
			return
		}
	}
	w.queueControl(PongMessage, p)
}
