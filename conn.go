package websocket

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/deflate"
)

// Conn: what it is made of, its settings, its states and Close. The two halves are in readhalf.go
// and writehalf.go, and what they want of each other in halves.go.

const (
	defaultBufferSize = 4096
	minBufferSize     = 256     // more than the longest control frame
	maxWriteSize      = 1 << 30 // what fits is promised to leave in one frame, so it may be large
	defaultReadLimit  = 64 << 20

	// closeWait bounds each step for a connection that is ending: the writing of a close frame, of
	// the frames before it, of the goodbye of TLS, and the reading of what the peer still sends.
	closeWait = time.Second
)

// A Conn is a WebSocket connection. Upgrader.Upgrade and Dialer.DialContext return one.
//
// All methods may be called from any goroutine. Data messages sent at the same time go out one
// after the other, each whole; control frames go out between the frames of a message. Reads are
// served one after the other as well.
type Conn struct {
	// Locks are taken in the order read.mu, write.msg, write.mu.
	read  readHalf
	write writeHalf

	// Constant.
	conn        net.Conn   // so named in gorilla/websocket: programs reflect on it
	socket      *rawSocket // nil unless conn can be waited for without a buffer
	subprotocol string
	keep        *keepAlive // nil: off

	// Atomic.
	control  atomic.Pointer[control] // handlers and pings in flight, made at first use
	handler  atomic.Pointer[handler] // of Handle
	abortErr atomic.Pointer[error]   // why the library closed conn
	state    atomic.Uint32           // stateOpen, stateAborted or stateClosed
	marks    atomic.Uint32           // markPeerClosed and so on
}

const (
	markPeerClosed = 1 << iota // the peer's close frame was read
	markShared                 // the deadlines of conn may be set by others
	markTaken                  // NetConn was called: the program may write to conn, or end it
)

// connConfig is what a handshake knows.
type connConfig struct {
	isServer        bool
	readBufferSize  int // bytes; 0: default
	writeBufferSize int // bytes; 0: default
	writePool       BufferPool
	subprotocol     string
	deflate         deflateParams // zero: permessage-deflate not negotiated
	compression     CompressionOptions
	keepAlive       KeepAlive
	writeDelay      time.Duration // 0: default
	readLimit       int64         // bytes; 0: default; negative: none
	buffered        []byte        // arrived behind the handshake; owned by the Conn
	shared          bool          // the program has the net.Conn, and may set its deadlines
	trace           *Trace
}

func newConn(nc net.Conn, cfg connConfig) *Conn {
	c := &Conn{conn: nc, subprotocol: cfg.subprotocol}
	c.read.init(c, cfg)
	c.write.init(c, cfg)
	if c.socket = newRawSocket(nc); c.socket != nil {
		c.socket.init()
	}
	if cfg.deflate.enabled {
		c.initCompression(cfg)
	}
	if cfg.trace != nil {
		c.startTrace(cfg.trace)
	}
	c.startKeepAlive(cfg.keepAlive)
	if cfg.shared || !ownDeadlines(nc) {
		c.marks.Store(markShared)
	}
	return c
}

// ownDeadlines reports whether nc is of a type that sets no deadlines by itself.
func ownDeadlines(nc net.Conn) bool {
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn, *pipeConn, *http2Conn:
		return true
	}
	return false
}

func (c *Conn) peerClosed() bool { return c.marks.Load()&markPeerClosed != 0 }

func (c *Conn) deadlinesShared() bool { return c.marks.Load()&markShared != 0 }

func (c *Conn) netConnTaken() bool { return c.marks.Load()&markTaken != 0 }

func (c *Conn) initCompression(cfg connConfig) {
	d := cfg.deflate
	// RFC 7692 §7.1: a parameter is named for the end whose messages it is about.
	bits, noTakeover, peerNoTakeover := d.clientMaxWindowBits, d.clientNoContextTakeover, d.serverNoContextTakeover
	if cfg.isServer {
		bits, noTakeover, peerNoTakeover = d.serverMaxWindowBits, d.serverNoContextTakeover, d.clientNoContextTakeover
	}
	level := firstLevel(cfg.compression.Level, bits, !noTakeover)
	c.write.compression.Store(int32(level) << 1)
	c.write.deflater = deflate.NewWriter(bits, !noTakeover, level)
	c.read.inflater = deflate.NewReader(!peerNoTakeover)
}

// bufferSize returns the size in bytes that a configured one means.
func bufferSize(n, most int) int32 {
	if n <= 0 {
		return defaultBufferSize
	}
	return int32(min(max(n, minBufferSize), most))
}

// Subprotocol returns the subprotocol agreed on in the handshake, or "".
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the local network address.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the remote network address. Behind a reverse proxy, and for a client that
// dials through a proxy, it is the proxy's.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// NetConn returns the connection underneath: a *net.TCPConn, a *tls.Conn or whatever the server or
// the dial function provided. Reading from it or writing to it corrupts the WebSocket connection. A
// write deadline that is set on it ends a write in progress; the next write sets that of
// SetWriteDeadline again. Delayed frames are sent first, as far as that takes no waiting, and from
// then on no write is delayed. Close it by Close of the Conn: a Conn with Handle does not notice
// otherwise.
func (c *Conn) NetConn() net.Conn {
	c.marks.Or(markShared | markTaken)
	if c.write.delayed.Load() != delayedNone {
		c.write.tryFlush()
	}
	return c.conn
}

// SetReadDeadline sets the time at which reads give up with an error for which errors.Is(err,
// os.ErrDeadlineExceeded) holds; the zero value means never. It also acts on a read in progress.
//
// A deadline that passes between messages leaves the connection usable: set a later one and read
// on. One that passes inside a message is permanent. The error is that of the net.Conn, which may
// have no deadlines.
func (c *Conn) SetReadDeadline(t time.Time) error {
	err := c.read.deadline.set(t)
	c.read.mu.DeadlineChanged(t)
	c.handler.Load().setAlarm()
	return err
}

// SetWriteDeadline sets the time at which writes give up with an error for which errors.Is(err,
// os.ErrDeadlineExceeded) holds; the zero value means never. It also acts on a write in progress. A
// write that times out after its first byte is permanent: all later writes fail. One whose deadline
// had passed before leaves the connection usable. The error is always nil.
//
// The deadline applies to the writes of all goroutines. To bound one write alone use
// WriteMessageContext.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.write.deadline.set(t)
	c.write.msg.DeadlineChanged(t)
	c.write.mu.DeadlineChanged(t)
	return nil
}

// SetReadLimit sets the largest message, in bytes, that is read from the peer. The default is 64
// MiB; zero or less lifts the limit. It counts the bytes received as well as those they inflate to.
// A message beyond it fails the connection with close code 1009, and reads return ErrReadLimit. It
// may be called at any time and acts on a message in progress from its next frame on.
func (c *Conn) SetReadLimit(limit int64) { c.read.limit.Store(limit) }

// The states of a Conn. What ended one direction alone is the err of that half: a close frame, the
// end of the stream or a violation ends reading, a close frame of ours or a network error writing.
//
//	state    reads return    writes return              entered by
//	open
//	aborted  abortErr        abortErr or ErrCloseSent   abort
//	closed   net.ErrClosed   net.ErrClosed              Close
//
// The first error of a half is the one that it goes on to return.
const (
	stateOpen = iota
	stateAborted
	stateClosed
)

// Close closes the network connection at once, without a close handshake; Shutdown does the
// handshake. Frames that earlier writes accepted are sent first. Reads and writes in progress fail,
// as do later ones, with errors for which errors.Is(err, net.ErrClosed) holds. It may be called
// more than once; after the first time it may return such an error itself.
func (c *Conn) Close() error {
	aborted := c.state.Swap(stateClosed) == stateAborted
	if c.leaveGroups() || aborted {
		return nil
	}
	if c.write.delayed.Load() != delayedNone || c.write.hasQueued() {
		c.write.flushBeforeClose()
	}
	return c.release(closeWait)
}

// abort closes the network connection on behalf of the library. err is what reads and writes return
// from now on.
func (c *Conn) abort(err error) {
	err = permanent(err)
	c.abortErr.CompareAndSwap(nil, &err)
	if c.state.CompareAndSwap(stateOpen, stateAborted) {
		c.release(closeWait)
	} else if c.goodbye() != nil {
		c.release(0) // the close handshake of a Group will not be completed
	}
}

// abortCause is what abort was given, or a group that closes the connection; nil if neither was.
func (c *Conn) abortCause() error {
	if err := c.abortErr.Load(); err != nil {
		return *err
	}
	return nil
}

// release closes conn and gives back what the connection holds. The goodbye of TLS may take as long
// as wait.
func (c *Conn) release(wait time.Duration) error {
	c.keep.stop()
	c.read.deadline.close()
	c.write.deadline.close()
	// An open writer or a running handler can hold write.msg or read.mu indefinitely, so the
	// goroutines that wait for them fail now. write.mu needs no such care: the goroutine that holds
	// it is in conn.Write, which fails as conn is closed. Nor does read.mu once reading has ended:
	// the goroutines that wait for it get the error that ended it.
	c.write.msg.Close()
	cause := c.closeCause("read")
	ended := c.endPings(cause)
	if ended {
		c.read.mu.Close()
	}
	if c.socket == nil {
		c.conn.SetReadDeadline(aLongTimeAgo) // a read in progress need not wait for the goodbye of TLS
	}
	err := closeNetConn(c.conn, wait)
	c.read.releaseIfIdle()
	c.write.releaseIfIdle()
	c.handler.Load().wake()
	if t := c.trace(); ended && t != nil && t.Closed != nil {
		t.Closed(c, cause)
	}
	return err
}

// closeCause is the error of a read or write, as op says, of a connection that this end has closed.
// That of Close is as package net has it: programs ask for its type. The error of a member that was
// too slow stays when the program has closed it.
func (c *Conn) closeCause(op string) error {
	if err := c.endCause(); err != nil {
		return err
	}
	return c.netClosed(op)
}

// endCause is why the library has ended a connection that is not open; nil: the program has.
func (c *Conn) endCause() error {
	if c.state.Load() == stateAborted {
		return c.abortCause()
	}
	return c.goodbyeCause()
}

// netClosed is the error of package net for an operation on a connection that is closed.
func (c *Conn) netClosed(op string) error { return connError(op, c.conn, net.ErrClosed) }

// netTimeout is the error of package net for an operation whose deadline has passed, but that it
// does not call itself temporary.
func (c *Conn) netTimeout(op string) error {
	return permanent(connError(op, c.conn, os.ErrDeadlineExceeded))
}

// netError translates an error of conn if this end closed it.
func (c *Conn) netError(op string, err error) error {
	switch state := c.state.Load(); {
	case state == stateAborted, state == stateClosed && c.goodbyeCause() != nil:
		return c.closeCause(op)
	case state == stateClosed && (err == io.EOF || isTimeout(err)):
		return c.closeCause(op)
	case state == stateClosed && !errors.Is(err, net.ErrClosed):
		return &closedError{err}
	}
	return err
}

// A closedError makes net.ErrClosed of what a net.Conn that is not one of package net's says when
// it is closed.
type closedError struct{ err error }

func (e *closedError) Error() string   { return e.err.Error() }
func (e *closedError) Unwrap() []error { return []error{net.ErrClosed, e.err} }
