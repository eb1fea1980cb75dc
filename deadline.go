package websocket

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// How a deadline or a context ends a wait for the network. Each half of a
// connection has one bound, which alone sets the deadline of its net.Conn.
// Invariant: unless the half is interrupted or overridden, the net.Conn has
// the deadline that the application asked for.

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

type bound struct {
	mu       sync.Mutex
	bounded  atomic.Bool // deadline is set
	override bool        // another deadline is in force: an interruption or a control frame's
	released bool        // no context is watched any more
	deadline time.Time   // asked for by the application
	watch    *watch      // the context in force, if any. Written with mu and the half's right, read with either
}

// A watch interrupts one half when its context ends, unless it was replaced.
// Contexts are told apart by their Done channel: not all are comparable.
type watch struct {
	ctx  context.Context
	done <-chan struct{}
	stop func() bool
}

// The two halves differ only in which deadline of the net.Conn they set.
type half bool

const (
	reading half = false
	writing half = true
)

func (h half) setDeadline(nc net.Conn, t time.Time) error {
	if h == writing {
		return nc.SetWriteDeadline(t)
	}
	return nc.SetReadDeadline(t)
}

// set makes t the application's deadline. It acts on a wait for the network in
// progress; for those that wait for a right see right.remind.
func (b *bound) set(nc net.Conn, h half, t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deadline = t
	b.bounded.Store(!t.IsZero())
	if b.override {
		return nil
	}
	return h.setDeadline(nc, t)
}

func (b *bound) get() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.deadline
}

// passed reports whether the application's deadline, which is set, has passed.
func (b *bound) passed() bool { return time.Until(b.get()) <= 0 }

// unset reports whether the net.Conn has no deadline.
func (b *bound) unset() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.deadline.IsZero() && !b.override
}

// use lets ctx, unless it is never, end the waits from now on; the right of the
// half is held. The same context again costs a comparison.
func (b *bound) use(ctx context.Context, nc net.Conn, h half) error {
	if ctx == nil {
		if b.watch != nil {
			b.change(never, nc, h)
		}
		return nil
	}
	if b.watch == nil || ctx.Done() != b.watch.done {
		b.change(ctx, nc, h)
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return nil
}

// change puts ctx in the place of the context in force and ends an override.
func (b *bound) change(ctx context.Context, nc net.Conn, h half) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watch != nil {
		b.watch.stop()
		b.watch = nil
	}
	if b.override {
		b.override = false
		h.setDeadline(nc, b.deadline)
	}
	b.watchLocked(ctx, nc, h)
}

func (b *bound) watchLocked(ctx context.Context, nc net.Conn, h half) {
	if ctx == nil || b.released {
		return
	}
	w := &watch{ctx: ctx, done: ctx.Done()}
	b.watch = w
	w.stop = context.AfterFunc(ctx, func() { b.interrupt(w, nc, h) })
}

func (b *bound) interrupt(w *watch, nc net.Conn, h half) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.watch == w {
		b.override = true
		h.setDeadline(nc, aLongTimeAgo)
	}
}

// begin puts t and ctx in the place of the application's deadline and context
// until end. The right of the half is held.
func (b *bound) begin(ctx context.Context, t time.Time, nc net.Conn, h half) {
	b.change(never, nc, h)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.override = true
	h.setDeadline(nc, t)
	b.watchLocked(ctx, nc, h)
}

func (b *bound) end(nc net.Conn, h half) { b.change(never, nc, h) }

// release stops watching a context, so that it no longer refers to the
// connection, which is closed.
func (b *bound) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	if b.watch != nil {
		b.watch.stop()
	}
}

// waitError says whose end the timeout err of a read or write was.
func (b *bound) waitError(err error) error {
	if b.watch != nil && b.watch.ctx.Err() != nil && isTimeout(err) {
		return contextError(b.watch.ctx)
	}
	return err
}

// never is no context: that of a call which only a deadline ends.
var never context.Context

// effective returns ctx, or never if ctx cannot end.
func effective(ctx context.Context) context.Context {
	if ctx == nil || ctx.Done() == nil {
		return never
	}
	return ctx
}

// A contextEnded is the error of a call whose context ended. errors.Is finds
// both the context's error and its cause.
type contextEnded struct{ err, cause error }

func contextError(ctx context.Context) error {
	return &contextEnded{ctx.Err(), context.Cause(ctx)}
}

func (e *contextEnded) Error() string   { return "websocket: " + e.cause.Error() }
func (e *contextEnded) Unwrap() []error { return []error{e.cause, e.err} }
func (e *contextEnded) Timeout() bool   { return e.err == context.DeadlineExceeded }
func (e *contextEnded) Temporary() bool { return e.Timeout() }

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// A permanentError is a timeout, or another error that calls itself temporary,
// that cost the connection its place in the stream: no retry will do.
type permanentError struct{ Err net.Error }

func (e permanentError) Error() string   { return e.Err.Error() }
func (e permanentError) Timeout() bool   { return e.Err.Timeout() }
func (e permanentError) Temporary() bool { return false }
func (e permanentError) Unwrap() error   { return e.Err }

// permanent returns err without any claim of being temporary.
func permanent(err error) error {
	//lint:ignore SA1019 Loops that retry what is temporary must not spin.
	if ne, ok := err.(net.Error); ok && ne.Temporary() {
		return permanentError{ne}
	}
	return err
}
