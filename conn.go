package websocket

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/deflate"
	"github.com/tautws/websocket/internal/mask"
	"github.com/tautws/websocket/internal/utf8stream"
)

// Conn, what it is made of and how it ends.

const (
	defaultBufferSize = 4096
	minBufferSize     = 256     // more than the longest control frame
	maxWriteSize      = 1 << 30 // what fits is promised to leave in one frame, so it may be large
	defaultReadLimit  = 64 << 20

	// closeWait bounds everything done for a connection that is ending: the
	// writing of a close frame, and the reading of what the peer still sends.
	closeWait = time.Second
)

// A Conn is a WebSocket connection. Upgrader.Upgrade and Dialer.DialContext
// return one.
//
// All methods may be called from any goroutine. Data messages sent at the same
// time go out one after the other, each whole; control frames go out between
// the frames of a message. Reads are served one after the other as well.
type Conn struct {
	// The three rights are taken in this order, and never an earlier one by
	// a goroutine that holds a later one.
	rd   right // the reading half: one Read, Next or reader.Read; Shutdown's drain
	msg  right // the right to send data frames: one message, first frame to FIN
	wire right // nc.Write: one frame

	// Constant.
	nc          net.Conn
	raw         *rawIO // nil unless nc is a socket that can be waited for without a buffer
	subprotocol string
	writePool   BufferPool
	writeDelay  time.Duration // how long a write may be held; negative: never
	keep        *keepAlive    // nil: off
	readSize    int32         // bytes asked of the network at a time, at least
	writeSize   int32         // bytes that a message writer buffers
	threshold   int32         // shorter messages are not compressed

	// Guarded by rd.
	reads      uint32  // calls that took the reading half
	rbuf       *buffer // nil while nothing is buffered
	r, w       int32   // rbuf.b[r:w] is received and not consumed; 0 <= r <= w <= len(rbuf.b)
	ask        int32   // bytes to ask of the network: readSize, or more among larger messages
	loans      int32   // messages in rbuf that the application still uses
	in         inbound
	msgType    int8
	maskKey    mask.Key             // of the payload still to come
	inMessage  bool                 // a data message has begun and its end was not delivered
	compressed bool                 // it is compressed
	text       utf8stream.Validator // of a text message so far
	empties    int16                // empty fragments in a row
	tiny       [maxHeaderSize]byte
	remaining  uint64          // payload bytes of the frame still to come
	received   int64           // payload bytes of the message, as received
	delivered  int64           // payload bytes of the message, inflated
	reader     *messageReader  // the current one
	inflater   *deflate.Reader // nil: permessage-deflate not negotiated
	readErr    error           // first permanent error
	rbound     bound

	// Guarded by msg.
	deflater *deflate.Writer // nil: permessage-deflate not negotiated

	// Guarded by wire.
	pending  *buffer // nil while no frame is held
	npending int32   // bytes of frames in pending
	timing   bool    // timer runs
	timer    *time.Timer
	writeErr error // first permanent error; ErrCloseSent after a close frame
	wbound   bound

	// Atomic.
	limit      atomic.Int64 // of a message, in bytes; none if not positive
	hold       atomic.Bool  // the reader has a whole frame at hand: writes may be held
	held       atomic.Bool  // pending has frames
	chores     atomic.Uint32
	plain      atomic.Bool  // write compression disabled
	level      atomic.Int32 // compress/flate level
	peerClosed atomic.Bool  // the peer's close frame was read
	closed     atomic.Uint32
	fatal      atomic.Pointer[error] // why the library itself closed nc
	cut        atomic.Pointer[error] // why a message ended between its fragments
	hooks      atomic.Pointer[hooks] // control frame handlers and pings in flight
}

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
	buffered        []byte        // arrived behind the handshake; owned by the Conn
}

func newConn(nc net.Conn, cfg connConfig) *Conn {
	c := &Conn{
		nc:          nc,
		raw:         newRawIO(nc),
		subprotocol: cfg.subprotocol,
		writePool:   cfg.writePool,
		writeDelay:  cfg.writeDelay,
		readSize:    bufferSize(cfg.readBufferSize, 1<<maxBufferBits),
		writeSize:   bufferSize(cfg.writeBufferSize, maxWriteSize),
		threshold:   int32(min(cfg.compression.Threshold, 1<<30)),
		in:          inbound{server: cfg.isServer, deflate: cfg.deflate.enabled},
	}
	c.ask = c.readSize
	if c.raw != nil {
		c.raw.init(c)
	} else {
		c.nc = withDeadlines(nc, c)
	}
	if c.writeDelay == 0 {
		c.writeDelay = defaultWriteDelay
	}
	c.limit.Store(defaultReadLimit)
	if cfg.deflate.enabled {
		c.initCompression(cfg)
	}
	if len(cfg.buffered) > 0 {
		c.rbuf = getBuffer(max(len(cfg.buffered), int(c.readSize)))
		c.w = int32(copy(c.rbuf.b, cfg.buffered))
	}
	c.startKeepAlive(cfg.keepAlive)
	return c
}

func (c *Conn) initCompression(cfg connConfig) {
	d := cfg.deflate
	// RFC 7692 §7.1: a parameter is named for the end whose messages it is about.
	bits, fresh, peerFresh := d.clientMaxWindowBits, d.clientNoContextTakeover, d.serverNoContextTakeover
	if cfg.isServer {
		bits, fresh, peerFresh = d.serverMaxWindowBits, d.serverNoContextTakeover, d.clientNoContextTakeover
	}
	level := firstLevel(cfg.compression.Level, bits, !fresh)
	c.level.Store(int32(level))
	c.deflater = deflate.NewWriter(bits, !fresh, level)
	c.inflater = deflate.NewReader(!peerFresh)
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
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the remote network address. Behind a reverse proxy, and
// for a client that dials through a proxy, it is the proxy's.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// NetConn returns the connection underneath: a *net.TCPConn, a *tls.Conn or
// whatever the server or the dial function provided. Reading from it, writing
// to it or setting its deadlines corrupts the WebSocket connection.
func (c *Conn) NetConn() net.Conn {
	nc := c.nc
	if t, ok := nc.(*timeless); ok {
		nc = t.Conn
	}
	if b, ok := nc.(*bodyConn); ok {
		nc = b.Conn
	}
	return nc
}

// SetReadDeadline sets the time at which reads give up with an error for which
// errors.Is(err, os.ErrDeadlineExceeded) holds; the zero value means never. It
// also acts on a read in progress.
//
// A deadline that passes between messages leaves the connection usable: set a
// later one and read on. One that passes inside a message is permanent.
func (c *Conn) SetReadDeadline(t time.Time) error {
	err := c.rbound.set(c.nc, reading, t)
	c.rd.remind()
	return err
}

// SetWriteDeadline sets the time at which writes give up with an error for
// which errors.Is(err, os.ErrDeadlineExceeded) holds; the zero value means
// never. It also acts on a write in progress. A write that has begun and timed
// out is permanent: all later writes fail.
//
// The deadline applies to the writes of all goroutines. To bound one write
// alone use WriteMessageContext.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	err := c.wbound.set(c.nc, writing, t)
	c.msg.remind()
	c.wire.remind()
	return err
}

// SetReadLimit sets the largest message, in bytes, that is read from the peer.
// The default is 64 MiB; zero or less lifts the limit. It counts the bytes
// received as well as those they inflate to. A message beyond it fails the
// connection with close code 1009, and reads return ErrReadLimit. It may be
// called at any time and acts on a message in progress from its next frame on.
func (c *Conn) SetReadLimit(limit int64) { c.limit.Store(limit) }

// The states of Conn.closed.
const (
	open      = iota
	abandoned // by the library, after a failure; Close was not called
	closed    // by Close
)

// Close closes the network connection at once, without a close handshake;
// Shutdown does the handshake. Frames that earlier writes accepted are sent
// first. Reads and writes in progress fail, as do later ones, with errors for
// which errors.Is(err, net.ErrClosed) holds. It may be called more than once;
// after the first time it may return such an error itself.
func (c *Conn) Close() error {
	if c.closed.Swap(closed) == abandoned {
		return nil
	}
	if c.held.Load() {
		c.flushBeforeClose()
	}
	return c.release()
}

// abandon closes the network connection on behalf of the library.
func (c *Conn) abandon() {
	if c.closed.CompareAndSwap(open, abandoned) {
		c.release()
	}
}

func (c *Conn) release() error {
	err := c.nc.Close()
	c.rbound.release()
	c.wbound.release()
	c.keep.stop()
	// The application may keep a right for as long as it likes: that of the
	// message in an open writer, the reading half in a handler. So those who
	// wait do so no longer. The wire is only held by who writes, and once
	// reading has ended the reading half only by who is about to let go: then
	// the others get the error that ended it.
	c.msg.end()
	if c.hook().endPings(c.connError(net.ErrClosed)) {
		c.rd.end()
	}
	if c.rd.tryLock() {
		if c.readErr == nil {
			c.readErr = c.readClosed() // though TLS, for one, would go on
		}
		c.dropInput()
		c.endInflate()
		c.rd.unlock()
	}
	return err
}

// readClosed is the error of a read of a connection that this end has closed,
// as package net has it: programs ask for its type.
func (c *Conn) readClosed() error {
	err := &net.OpError{Op: "read", Source: c.nc.LocalAddr(), Addr: c.nc.RemoteAddr(), Err: net.ErrClosed}
	if err.Source != nil {
		err.Net = err.Source.Network()
	}
	return c.connError(err)
}

// kill closes the network connection because of err, which reads and writes
// return from now on.
func (c *Conn) kill(err error) {
	err = permanent(err)
	c.fatal.CompareAndSwap(nil, &err)
	c.abandon()
}

// connError translates an error of the network connection if this end closed it.
func (c *Conn) connError(err error) error {
	switch state := c.closed.Load(); {
	case state == abandoned && c.fatal.Load() != nil:
		return *c.fatal.Load()
	case state == closed && err != io.EOF && !errors.Is(err, net.ErrClosed):
		return &closedError{err}
	}
	return err
}

// whyClosed says why the connection is closed if err is that it is.
func (c *Conn) whyClosed(err error) error {
	if err == errClosed {
		err = permanent(c.connError(err))
	}
	return err
}

// A closedError makes net.ErrClosed of what a net.Conn says that is not one of
// package net's.
type closedError struct{ err error }

func (e *closedError) Error() string   { return "websocket: " + e.err.Error() }
func (e *closedError) Unwrap() []error { return []error{net.ErrClosed, e.err} }
