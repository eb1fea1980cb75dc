package websocket

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"
)

// Shutdown: the close handshake from this end.

// Shutdown ends the connection with the close handshake (RFC 6455 §7.1.2) and then closes it. It
// sends a close frame with the code and reason, which is cut to 123 bytes, waits for the peer's
// close frame, and lets the server close the network connection first (§7.1.1). It returns nil only
// if the peer's close frame came; if ctx ends before, the connection is closed nevertheless.
//
// From its call on Shutdown does the reading: what still comes is discarded (§1.4), and reads of
// other goroutines, those inside a message too, return when Shutdown does, with an error for which
// errors.Is(err, net.ErrClosed) holds. To lose no message send a close frame by WriteControl, read
// on until the *CloseError, and then call Close.
//
// Shutdown may be called more than once and from any goroutine, but not from a control frame
// handler. Code CloseNoStatusReceived sends a close frame without a code. A code that a close frame
// may not carry (§7.4) is an error; nothing is sent and the connection stays open.
func (c *Conn) Shutdown(ctx context.Context, code int, text string) error {
	if code != CloseNoStatusReceived && !validCode(code) {
		return errors.New("websocket: close code " + strconv.Itoa(code) + " not allowed in a close frame")
	}
	if c.goodbye() != nil {
		err := c.closeCause("write")
		c.Close() // the close handshake of a Group goes on by itself
		return err
	}
	ctx = cancelable(ctx)
	if ctx != nil {
		// Whatever waits ends with ctx: the close frame, the reading, the goodbye of TLS.
		stop := context.AfterFunc(ctx, c.closeNow)
		defer stop()
	}
	if done := c.beginShutdown(); done != nil {
		defer close(done)
	}
	// A peer may read nothing until what it sends is read, so both go on at the same time.
	sent := make(chan struct{})
	var sendErr error
	go func() {
		defer close(sent)
		sendErr = c.write.controlWithin(ctx, time.Time{}, CloseMessage, closePayload(code, text))
		if sendErr != nil && sendErr != ErrCloseSent && !c.saysGoodbye() {
			c.closeNow() // no answer will come
		}
	}()
	err := c.read.discardUntilClose(ctx)
	if c.peerClosed() {
		// A close handler may have left the answer to Shutdown.
		select {
		case <-sent:
		case <-time.After(closeWait):
		}
	}
	c.Close()
	if <-sent; sendErr != nil && sendErr != ErrCloseSent {
		err = sendErr
	}
	switch {
	case c.peerClosed():
		return nil
	case ctx != nil && ctx.Err() != nil:
		return contextError(ctx)
	}
	return err
}

// errShutdown is the result of a read that Shutdown has ended. It returns to the application when
// Shutdown does: a program that closes the connection after the error of a read does not cut the
// close handshake short.
var errShutdown = errors.New("websocket: shutdown")

// awaitShutdown waits for the end of Shutdown and returns the error of a read.
func (r *readHalf) awaitShutdown(ctx context.Context) error {
	c := r.conn
	// A Group's close handshake is not cut short by Close, so nothing waits for it.
	if done := c.controls().shutdownDone(); done != nil && c.state.Load() != stateAborted {
		var ended <-chan struct{}
		if ctx != nil {
			ended = ctx.Done()
		}
		select {
		case <-done:
		case <-ended:
			return contextError(ctx)
		}
	}
	return c.closeCause("read")
}

// beginShutdown ends the reads in progress. It returns a channel to be closed at the end of
// Shutdown, nil if it has begun before.
func (c *Conn) beginShutdown() (done chan struct{}) {
	k := c.controls()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.shutdown != nil {
		return nil
	}
	k.shutdown = make(chan struct{})
	c.read.ending.Store(true)
	// With k.mu held, or it could end the reading of another Shutdown, which must not begin before.
	c.read.deadline.expire()
	return k.shutdown
}

// shutdownDone returns the channel of beginShutdown, nil if there is none.
func (k *control) shutdownDone() <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.shutdown
}

// closeNow is Close without waiting for anything. It also ends a Close in progress.
func (c *Conn) closeNow() {
	c.state.Store(stateClosed)
	c.leaveGroups()
	c.release(0)
}

// discardUntilClose takes over the reading and discards what comes until the peer's close frame. A
// client then waits for the server to close the network connection.
func (r *readHalf) discardUntilClose(ctx context.Context) error {
	if err := r.wait(ctx); err != nil {
		return err
	}
	r.dropping = true
	r.endInflate()
	r.msg.reader = nil
	r.deadline.overrideWith(noContext, time.Time{}, overrideStrict)
	b := getBuffer(defaultBufferSize)
	err := r.check()
	for err == nil {
		err = r.discardFrame(b.b)
	}
	if r.conn.peerClosed() && !r.rules.server {
		r.awaitEOF(b.b)
	}
	b.release()
	r.dropping = false // reads return net.ErrClosed from now on
	r.unlock()
	return err
}

// discardFrame discards the rest of a data frame, or the header of the next.
func (r *readHalf) discardFrame(scratch []byte) error {
	if r.frame.remaining > 0 {
		_, err := r.readPayload(scratch)
		if err == io.EOF {
			err = nil
		}
		return err
	}
	h, n, err := r.nextHeader()
	if err == nil {
		err = r.beginFrame(h, n)
	}
	return err
}

// awaitEOF waits, a limited time, for the server to close the network connection.
func (r *readHalf) awaitEOF(scratch []byte) {
	r.deadline.overrideWith(noContext, time.Now().Add(closeWait), overrideStrict)
	for {
		if _, err := r.conn.conn.Read(scratch); err != nil {
			return
		}
	}
}
