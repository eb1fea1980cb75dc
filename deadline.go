package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// How a deadline or a context ends a wait for the network. Each half of a Conn has one ioDeadline,
// which sets the deadline of that direction of the net.Conn. Invariant: unless a call was
// interrupted or the deadline is overridden, the net.Conn has the deadline that the application
// asked for, or one that others have set and that the next write replaces: see renew. A context
// acts on the net.Conn only while a call with that context is in progress.

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

type ioDeadline struct {
	conn *Conn
	mu   sync.Mutex

	// Written with mu, read with mu or the half's lock.
	watch *watch // the context in force, if any

	// Guarded by mu.
	override override
	closed   bool // no context is watched any more

	direction direction // constant

	call atomic.Uint32 // callIdle, callWatched or callInterrupted
	at   atomic.Int64  // the application's deadline, in nanoseconds since processStart; 0: none
}

// A direction says which deadline of the net.Conn an ioDeadline sets.
type direction bool

const (
	reading direction = false
	writing direction = true
)

// An override says whether another deadline than the application's is in force.
type override uint8

const (
	overrideNone   override = iota
	overrideTimer           // that of the delayed writes; the application's next deadline replaces it
	overrideStrict          // that of a control frame, of an interruption or of an ending connection
)

// The states of a call that has a context.
const (
	callIdle        = iota // there is none
	callWatched            // its context may interrupt it
	callInterrupted        // its context has done so: the deadline of the net.Conn has passed
)

// A watch interrupts the call in progress when its context ends, unless it was replaced. Contexts
// are told apart by their Done channel: not all of them are comparable.
type watch struct {
	ctx  context.Context
	done <-chan struct{}
	stop func() bool
}

var processStart = time.Now()

// setNetConn sets the deadline of the net.Conn.
func (d *ioDeadline) setNetConn(t time.Time) error {
	if d.conn == nil {
		return nil // of a zero Conn, which programs have in tests
	}
	if d.direction == writing {
		return d.conn.conn.SetWriteDeadline(t)
	}
	return d.conn.conn.SetReadDeadline(t)
}

// set makes t the application's deadline. It acts on a wait for the network in progress; for waits
// for a lock see lock.Mutex.DeadlineChanged.
func (d *ioDeadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := int64(0)
	if !t.IsZero() {
		monotonic := t
		if t == t.Round(0) {
			// It has no monotonic reading, and the wall clock may have been set since processStart.
			now := time.Now()
			monotonic = now.Add(t.Sub(now))
		}
		if at = int64(monotonic.Sub(processStart)); at == 0 {
			at = 1
		}
	}
	d.at.Store(at)
	switch d.override {
	case overrideStrict:
		return nil
	case overrideTimer:
		d.override = overrideNone
	}
	return d.setNetConn(t)
}

// Deadline returns the application's deadline, or the zero time.
func (d *ioDeadline) Deadline() time.Time {
	at := d.at.Load()
	if at == 0 {
		return time.Time{}
	}
	return processStart.Add(time.Duration(at))
}

// isSet reports whether the application has set a deadline.
func (d *ioDeadline) isSet() bool { return d.at.Load() != 0 }

// passed reports whether the application has set a deadline that has passed.
func (d *ioDeadline) passed() bool {
	at := d.at.Load()
	return at != 0 && int64(time.Since(processStart)) >= at
}

// start lets ctx interrupt the call that begins, until finish. The lock of the half is held. The
// same context again costs a comparison. If ctx has ended it returns the error for that.
func (d *ioDeadline) start(ctx context.Context) error {
	d.watchCall(ctx)
	if ctx.Err() != nil { // its function may have run before the call was watched
		d.finish()
		return contextError(ctx)
	}
	return nil
}

func (d *ioDeadline) watchCall(ctx context.Context) {
	if d.watch == nil || ctx.Done() != d.watch.done {
		d.replaceWatch(ctx)
	}
	d.call.Store(callWatched)
}

func (d *ioDeadline) replaceWatch(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch != nil {
		d.watch.stop()
		d.watch = nil
	}
	if d.closed {
		return
	}
	w := &watch{ctx: ctx, done: ctx.Done()}
	d.watch = w
	w.stop = context.AfterFunc(ctx, func() { d.interrupt(w) })
}

// interrupt ends the wait of a call whose context has ended. A net.Conn without deadlines is closed
// for that.
func (d *ioDeadline) interrupt(w *watch) {
	d.mu.Lock()
	var err error
	if w != nil && d.watch == w && d.call.CompareAndSwap(callWatched, callInterrupted) {
		d.override = overrideStrict
		err = d.setNetConn(aLongTimeAgo)
	}
	d.mu.Unlock()
	if err != nil {
		d.conn.abort(contextError(w.ctx))
	}
}

// finish ends what start began. It does nothing if there was no start.
func (d *ioDeadline) finish() {
	if d.call.Load() == callIdle || d.call.CompareAndSwap(callWatched, callIdle) {
		return
	}
	d.mu.Lock()
	d.call.Store(callIdle)
	d.restoreLocked()
	d.mu.Unlock()
}

// overrideWith puts t and ctx, which may be noContext, in the place of the application's deadline
// and of the context of the call, until restore. The lock of the half is held.
func (d *ioDeadline) overrideWith(ctx context.Context, t time.Time, kind override) {
	d.finish()
	d.mu.Lock()
	d.override = kind
	err := d.setNetConn(t)
	d.mu.Unlock()
	if err != nil && !t.IsZero() {
		// Without deadlines a context of that duration stands in.
		if ctx == nil {
			ctx = context.Background()
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, t)
		context.AfterFunc(ctx, cancel) // it ends with its deadline, which is near
	}
	if ctx != nil {
		d.watchCall(ctx)
		if ctx.Err() != nil {
			d.interrupt(d.watch)
		}
	}
}

// expire ends the wait in progress, whatever its deadline, and those that follow until restore.
func (d *ioDeadline) expire() { d.limit(aLongTimeAgo) }

// limit ends the wait in progress, whatever its deadline, and those that follow until restore, at
// t.
func (d *ioDeadline) limit(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.override = overrideStrict
	d.setNetConn(t)
}

// restore puts the application's deadline back.
func (d *ioDeadline) restore() {
	d.mu.Lock()
	d.call.Store(callIdle)
	d.restoreLocked()
	d.mu.Unlock()
}

// renew sets the deadline of the net.Conn once more if others may have set another: one that ends
// its connections when they are idle, or a program that has ended a read by it.
func (d *ioDeadline) renew() {
	if !d.conn.deadlinesShared() {
		return
	}
	d.mu.Lock()
	if d.override == overrideNone && !d.closed {
		d.setNetConn(d.Deadline())
	}
	d.mu.Unlock()
}

func (d *ioDeadline) restoreLocked() {
	if d.override != overrideNone && !d.closed {
		d.override = overrideNone
		d.setNetConn(d.Deadline())
	}
}

// close stops watching a context, so that it no longer refers to the connection, which is closed.
func (d *ioDeadline) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	if d.watch != nil {
		d.watch.stop()
	}
}

// waitError says whose end the timeout err of a read or write was.
func (d *ioDeadline) waitError(err error) error {
	if d.call.Load() != callIdle && d.watch != nil && d.watch.ctx.Err() != nil && isTimeout(err) {
		return contextError(d.watch.ctx)
	}
	return err
}

// noContext is the context of a call that only a deadline ends.
var noContext context.Context

// cancelable returns ctx, or noContext if ctx cannot end.
func cancelable(ctx context.Context) context.Context {
	if ctx == nil || ctx.Done() == nil {
		return noContext
	}
	return ctx
}

// A contextEnded is the error of a call whose context ended. errors.Is finds both the context's
// error and its cause, and os.ErrDeadlineExceeded if it was the context's deadline that passed.
type contextEnded struct{ err, cause error }

func contextError(ctx context.Context) error {
	return &contextEnded{ctx.Err(), context.Cause(ctx)}
}

func (e *contextEnded) Error() string   { return "websocket: " + e.cause.Error() }
func (e *contextEnded) Timeout() bool   { return e.err == context.DeadlineExceeded }
func (e *contextEnded) Temporary() bool { return false }
func (e *contextEnded) Unwrap() []error { return []error{e.cause, e.err} }
func (e *contextEnded) Is(target error) bool {
	return target == os.ErrDeadlineExceeded && e.Timeout()
}

// A timeoutError is a net.Error for which errors.Is(err, os.ErrDeadlineExceeded) holds.
type timeoutError struct {
	text      string
	temporary bool
}

func (e *timeoutError) Error() string   { return e.text }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return e.temporary }
func (e *timeoutError) Unwrap() error   { return os.ErrDeadlineExceeded }

// A deadline passed before anything was sent or read: these are not permanent.
var (
	errReadTimeout    error = &timeoutError{text: "websocket: read timeout"}
	errWriteTimeout   error = &timeoutError{text: "websocket: write timeout"}
	errControlTimeout error = &timeoutError{text: "websocket: write timeout", temporary: true} // of WriteControl
)

// isTimeout reports whether err says that a deadline has passed. The error ETIMEDOUT of a system
// call also calls itself a timeout, but it means that the network has given the connection up.
func isTimeout(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	var ne net.Error
	var sys *os.SyscallError
	return errors.As(err, &ne) && ne.Timeout() && !errors.As(err, &sys)
}

// A permanentError is a timeout, or another error that calls itself temporary, that cost the
// connection its place in the stream: no retry will do.
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

// closeNetConn closes nc. Closing a *tls.Conn begins with a goodbye that crypto/tls lets take 5 s
// if the peer does not read: here it may take as long as wait.
func closeNetConn(nc net.Conn, wait time.Duration) error {
	defer boundTLS(nc, wait)()
	return nc.Close()
}

// boundTLS closes what lies below nc, if that is a *tls.Conn, after wait, unless the function that
// it returns is called before.
func boundTLS(nc net.Conn, wait time.Duration) (stop func()) {
	tc, ok := nc.(*tls.Conn)
	if !ok {
		return func() {}
	}
	if wait <= 0 {
		tc.NetConn().Close()
		return func() {}
	}
	t := time.AfterFunc(wait, func() { tc.NetConn().Close() })
	return func() { t.Stop() }
}
