package websocket

import (
	"math"
	"time"
)

// Trace: what a program is told about its connections, for metrics and logs. The pointer is in
// control, which every connection with a Trace has from its start.

// A Trace is a set of functions that are told what happens on a connection. It is given to an
// Upgrader or a Dialer; any of its functions may be nil. It costs nothing that could be measured
// where it is nil, and allocates nothing per message where it is not.
//
// The functions are called by the goroutine that did what they tell of, and it waits for them: they
// should return soon. Those about reading (Message with out false, Closed, and Ping for the pings
// of KeepAlive) may be called in the middle of a read: they may write to the connection and close
// it, but neither read from it nor call Shutdown. Several functions may run at the same time, for
// one connection too.
type Trace struct {
	// Opened is called once for every connection, before Upgrade or DialContext return it. The
	// network connection's addresses and the subprotocol can be asked for.
	Opened func(c *Conn)

	// Message is called for every data message: an incoming one when its end was read, or skipped
	// because the application began to read the next, and an outgoing one when its last frame was
	// accepted, which is when the write returns nil. messageType is TextMessage or BinaryMessage.
	//
	// size is the length of the message in bytes, and wire what it took on the connection: the
	// headers of its frames, and its payload as it was sent, compressed if it was. A message that
	// was given up is not reported, nor are control frames.
	Message func(c *Conn, out bool, messageType, size, wire int)

	// Ping is called for every pong that answers a ping of Conn.Ping or of KeepAlive with the time
	// that it took since the ping was sent.
	Ping func(c *Conn, rtt time.Duration)

	// Closed is called once, when the connection has ended: no message will be read from it any
	// more. err is the reason: the first permanent error of reading, for instance a *CloseError
	// with the peer's close code, or an error for which errors.Is(err, net.ErrClosed) holds if the
	// program closed it before.
	Closed func(c *Conn, err error)
}

// trace returns the connection's Trace, nil if it has none.
func (c *Conn) trace() *Trace {
	if k := c.control.Load(); k != nil {
		return k.trace
	}
	return nil
}

// startTrace is called when the connection is complete and nobody uses it yet.
func (c *Conn) startTrace(t *Trace) {
	if t == nil {
		return
	}
	c.controls().trace = t
	if t.Opened != nil {
		t.Opened(c)
	}
}

// traceMessage is called for every data message that was read to its end.
func (r *readHalf) traceMessage(t *Trace, compressed bool) {
	if t.Message == nil {
		return
	}
	m := &r.msg
	size, wire := m.received, m.received+int64(m.headers)
	if compressed {
		size = m.delivered
	}
	c, kind := r.conn, int(m.kind)
	r.callTrace(func() { t.Message(c, false, kind, saturated(size), saturated(wire)) })
}

// saturated is n as an int, which a stream may be too long for where an int has 32 bits.
func saturated(n int64) int { return int(min(n, math.MaxInt)) }

// tracePong is called for every pong read: Conn.Ping reports its own.
func (r *readHalf) tracePong(t *Trace, payload []byte) {
	c := r.conn
	if rtt, ok := c.keep.answered(payload); ok && t.Ping != nil {
		r.callTrace(func() { t.Ping(c, rtt) })
	}
}

// traceClosed is called when reading has ended.
func (r *readHalf) traceClosed(err error) {
	if t := r.conn.trace(); t != nil && t.Closed != nil {
		r.callTrace(func() { t.Closed(r.conn, err) })
	}
}

// callTrace calls a function of Trace with mu locked. If the function panics or ends the goroutine,
// mu, which nobody is left to release, is released, and reading has ended.
func (r *readHalf) callTrace(f func()) {
	returned := false
	defer func() {
		if !returned {
			r.end(errHandlerExit)
			r.unlock()
		}
	}()
	f()
	returned = true
}

// traceMessage is called without a lock for every data message that was sent. size is its length,
// and wire that of its frames.
func (w *writeHalf) traceMessage(messageType, size, wire int) {
	if t := w.conn.trace(); t != nil && t.Message != nil {
		t.Message(w.conn, true, messageType, size, wire)
	}
}

// wireSize is the length of a frame with its header.
func (w *writeHalf) wireSize(payload int) int {
	n := 2 + payload
	switch {
	case payload > math.MaxUint16:
		n += 8
	case payload > 125:
		n += 2
	}
	if !w.server {
		n += 4
	}
	return n
}

// answered returns how long ago the ping was sent that the pong with payload p answers, if it does.
// It may be called on nil.
func (k *keepAlive) answered(p []byte) (rtt time.Duration, ok bool) {
	if k == nil || string(p) != string(k.payload[:]) {
		return 0, false
	}
	sent := k.asked.Swap(0)
	return time.Duration(k.now() - sent), sent != 0
}
