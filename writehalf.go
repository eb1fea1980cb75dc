package websocket

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/deflate"
	"github.com/tautws/websocket/internal/lock"
	"github.com/tautws/websocket/internal/mask"
)

// The writing half of a Conn: from messages to frames to the bytes of the network. Every frame goes
// through frameLocked or, finished beforehand, finishedFrameLocked. Small ones are collected in
// pending and leave through sendLocked, which can delay them a little: see delay.go.

const (
	copyLimit  = 8 << 10   // larger payloads of a server need not be copied
	chunkLimit = 256 << 10 // what is copied is copied at most this much at a time

	// keepAliveChunk is how much is written at a time with a KeepAlive, so that it sees how a long
	// frame progresses.
	keepAliveChunk = 64 << 10
)

// ErrCloseSent is returned by writes after a close frame was sent: nothing may follow one (RFC 6455
// §5.5.1).
var ErrCloseSent = errors.New("websocket: close sent")

// A writeHalf is the sending direction of a Conn. msg is held for one message, from its first frame
// to its last, and mu for one frame. So control frames, which need mu alone, go out between two
// frames of a message.
type writeHalf struct {
	conn    *Conn // constant
	msg, mu lock.Mutex

	// Constant.
	pool      BufferPool
	delay     time.Duration // how long a write may be delayed; negative: never
	size      int32         // bytes that a message writer buffers
	threshold int32         // shorter messages are not compressed
	server    bool

	// Guarded by mu.
	timerArmed bool
	groupsWait bool        // pending is a part of a group's frame, or what the groups' frames wait for
	fragmented bool        // the last frame of a message has yet to come
	n          int32       // pending.b[:n] is not yet written
	pending    *buffer     // nil while no frame is pending
	timer      *delayTimer // made at first use
	err        error       // the first permanent error; ErrCloseSent after a close frame
	deadline   ioDeadline

	// Guarded by msg.
	deflater *deflate.Writer // nil: permessage-deflate not negotiated

	// Atomic.
	queue       atomic.Pointer[controlQueue] // made at first use
	groups      atomic.Pointer[groupState]   // made when it first joins a Group
	msgErr      atomic.Pointer[error]        // what ended a message between its fragments
	work        atomic.Bool                  // for the goroutine that holds mu: see unlock
	more        atomic.Bool                  // the reader has a whole frame buffered: writes may be delayed
	delayed     atomic.Uint32                // delayedNone, delayedPending or delayedWriting
	compression atomic.Int32                 // twice the level of compress/flate, plus compressionOff
}

func (w *writeHalf) init(c *Conn, cfg connConfig) {
	w.conn, w.deadline.conn, w.deadline.direction = c, c, writing
	w.server = cfg.isServer
	w.pool = cfg.writePool
	w.size = bufferSize(cfg.writeBufferSize, maxWriteSize)
	w.threshold = int32(min(cfg.compression.Threshold, 1<<30))
	if w.delay = cfg.writeDelay; w.delay == 0 {
		w.delay = defaultWriteDelay
	}
}

// lock takes mu for a call that ends when ctx, which may be noContext, does.
func (w *writeHalf) lock(ctx context.Context) error {
	if !w.mu.TryLock() {
		if err := w.wait(ctx, &w.deadline); err != nil {
			return err
		}
	}
	err := w.endedLocked()
	if err == nil && w.deadline.passed() {
		err = w.conn.netTimeout("write") // nothing is begun that cannot be ended
	}
	if err == nil && ctx != nil {
		err = w.deadline.start(ctx)
	}
	if err != nil {
		w.unlock()
	}
	return err
}

// endedLocked returns what ended writing, nil if nothing did.
func (w *writeHalf) endedLocked() error {
	err := w.err
	if err == nil && w.conn.state.Load() != stateOpen {
		err = w.conn.endCause() // conn may not be closed yet, nor a slow member's close frame sent
	}
	return err
}

// wait takes mu when it is locked. It fails when ctx ends or d passes first.
func (w *writeHalf) wait(ctx context.Context, d lock.Deadline) error {
	return lockError(ctx, w.mu.Lock(ctx, d))
}

// lockError translates an error of lock.Mutex for a write.
func lockError(ctx context.Context, err error) error {
	switch err {
	case nil, lock.ErrClosed:
		return err
	case lock.ErrDeadline:
		return errWriteTimeout
	}
	return contextError(ctx)
}

// unlock does the work that was left for the goroutine that holds mu, and releases mu. Queued
// control frames are such work, and delayed frames for which the reader does not wait any longer.
func (w *writeHalf) unlock() {
	w.deadline.finish()
	if w.work.Load() {
		w.workLocked() // a waiter that takes the lock next should find the control frames sent
	}
	w.mu.Unlock()
	if w.work.Load() {
		w.doWork()
	}
}

// doWork does the work that is left, unless another goroutine holds mu: then that one does.
func (w *writeHalf) doWork() {
	for w.work.Load() && w.mu.TryLock() {
		w.workLocked()
		w.mu.Unlock()
	}
}

func (w *writeHalf) workLocked() {
	w.work.Store(false)
	w.appendQueueLocked()
	w.tryFlushLocked()
	if groups := w.groups.Load(); groups != nil {
		w.deliverLocked(groups)
	}
}

// leaveWork has the goroutine that holds mu look for work, or does it.
func (w *writeHalf) leaveWork() {
	w.work.Store(true)
	w.doWork()
}

// lockMessage takes msg.
func (w *writeHalf) lockMessage(ctx context.Context) error {
	if !w.msg.TryLock() {
		err := lockError(ctx, w.msg.Lock(ctx, &w.deadline))
		if err == lock.ErrClosed {
			return w.closedError(ctx)
		}
		if err != nil {
			return err
		}
	}
	// RFC 6455 §5.4: no other message may follow the fragments of one that was given up; control
	// frames still may.
	if err := w.msgErr.Load(); err != nil {
		w.unlockMessage()
		return *err
	}
	if groups := w.groups.Load(); groups != nil {
		if err := w.catchUp(ctx, groups); err != nil {
			w.unlockMessage()
			return err
		}
	}
	return nil
}

func (w *writeHalf) unlockMessage() {
	w.msg.Unlock()
	if groups := w.groups.Load(); groups != nil && groups.messageOpen.Swap(false) {
		w.leaveWork() // a group's messages wait for the end of this one
	}
	if w.conn.state.Load() != stateOpen {
		w.releaseIfIdle()
	}
}

// closedError returns the error of a message that was still waiting for its turn when the
// connection was closed: that of any later one.
func (w *writeHalf) closedError(ctx context.Context) error {
	// A goroutine that holds mu is writing to a closed connection, which ends.
	if !w.mu.TryLock() {
		if err := w.wait(ctx, nil); err != nil {
			return err
		}
	}
	err := w.err
	w.unlock()
	if err == nil {
		err = w.conn.closeCause("write")
	}
	return err
}

// releaseIfIdle gives the compressor of a closed connection back, unless a message is being sent:
// then unlockMessage does.
func (w *writeHalf) releaseIfIdle() {
	if w.deflater != nil && w.msg.TryLock() {
		w.deflater.Release()
		w.msg.Unlock()
	}
}

// writeFrame sends one frame. first is its first byte: opcode and flags.
func (w *writeHalf) writeFrame(ctx context.Context, first byte, payload []byte) error {
	if err := w.lock(ctx); err != nil {
		return err
	}
	if !isControl(int(first & 0x0f)) {
		w.fragmented = first&finBit == 0
	}
	err := w.frameLocked(first, payload)
	w.unlock()
	return err
}

func (w *writeHalf) frameLocked(first byte, payload []byte) error {
	if w.server && len(payload) > copyLimit {
		if !w.hasWritev() {
			return w.unbufferedLocked(first, payload)
		}
		return w.writevLocked(first, payload)
	}
	if len(payload) > w.chunkLimit() {
		return w.chunkedLocked(first, payload)
	}
	if n := maxHeaderSize + len(payload); w.pending == nil || int(w.n)+n > len(w.pending.b) {
		if err := w.growLocked(n); err != nil {
			return err
		}
	}
	w.appendFrameLocked(first, payload)
	return w.sendLocked()
}

// appendFrameLocked adds a frame to pending, which has the room.
func (w *writeHalf) appendFrameLocked(first byte, payload []byte) {
	if w.server { // the same without a call
		b := appendHeader(w.pending.b[:w.n], first, len(payload), false, 0)
		w.n = int32(len(b) + copy(w.pending.b[len(b):], payload))
		return
	}
	key := w.appendHeaderLocked(first, len(payload))
	w.appendPayloadLocked(payload, key)
}

// appendHeaderLocked adds a header to pending and returns its masking key.
func (w *writeHalf) appendHeaderLocked(first byte, length int) (key mask.Key) {
	masked := !w.server
	if masked {
		key = mask.NewKey()
	}
	w.n = int32(len(appendHeader(w.pending.b[:w.n], first, length, masked, key)))
	return key
}

// appendPayloadLocked adds payload to pending. The caller's bytes are never modified.
func (w *writeHalf) appendPayloadLocked(p []byte, key mask.Key) {
	dst := w.pending.b[w.n:][:len(p)]
	if w.server {
		copy(dst, p)
	} else {
		mask.XOR(dst, p, key)
	}
	w.n += int32(len(p))
}

// chunkedLocked sends a frame that is too long to be copied as a whole.
func (w *writeHalf) chunkedLocked(first byte, payload []byte) error {
	size := w.chunkLimit()
	if err := w.growLocked(size); err != nil {
		return err
	}
	key := w.appendHeaderLocked(first, len(payload))
	for {
		n := min(len(payload), size-int(w.n))
		w.appendPayloadLocked(payload[:n], key)
		key, payload = key.After(n), payload[n:]
		if err := w.flushLocked(); err != nil || len(payload) == 0 {
			return err
		}
		w.pending = getBuffer(size)
	}
}

// unbufferedLocked sends a server's frame where each write is one record, as over TLS: the first
// gets what it has room for, the rest is not copied.
func (w *writeHalf) unbufferedLocked(first byte, payload []byte) error {
	if err := w.growLocked(delayLimit); err != nil {
		return err
	}
	w.appendHeaderLocked(first, len(payload))
	n := min(len(payload), len(w.pending.b)-int(w.n))
	w.appendPayloadLocked(payload[:n], 0)
	if err := w.flushLocked(); err != nil || n == len(payload) {
		return err
	}
	return w.writtenLocked(w.writeChunks(payload[n:]))
}

// hasWritev reports whether the connection can write several slices with one system call.
func (w *writeHalf) hasWritev() bool {
	switch w.conn.conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// writevLocked sends a server's frame without copying its payload: the header and the payload from
// where the application has it leave with one system call.
func (w *writeHalf) writevLocked(first byte, payload []byte) error {
	if err := w.growLocked(maxHeaderSize); err != nil {
		return err
	}
	w.appendHeaderLocked(first, len(payload))
	n := w.chunk(payload)
	w.beginWriteLocked()
	err := writev(w.conn.conn, w.pending.b[:w.n], payload[:n])
	if err == nil && n < len(payload) {
		w.conn.keep.progressed()
		err = w.writeChunks(payload[n:])
	}
	return w.writtenLocked(err)
}

// writev writes both slices as one.
func writev(nc net.Conn, header, payload []byte) error {
	v, _ := iovecs.Get().(*iovec)
	if v == nil {
		v = new(iovec)
	}
	v.parts = [2][]byte{header, payload}
	v.buffers = v.parts[:]
	_, err := v.buffers.WriteTo(nc)
	v.parts = [2][]byte{}
	iovecs.Put(v)
	return err
}

// An iovec is what one call of writev needs.
type iovec struct {
	buffers net.Buffers
	parts   [2][]byte
}

var iovecs sync.Pool

// finishedFrameLocked sends a frame that was made beforehand.
func (w *writeHalf) finishedFrameLocked(frame []byte) error {
	if len(frame) > copyLimit || w.n == 0 && !w.more.Load() {
		return w.writeBehindLocked(frame)
	}
	if err := w.growLocked(len(frame)); err != nil {
		return err
	}
	w.n += int32(copy(w.pending.b[w.n:], frame))
	return w.sendLocked()
}

// chunkLimit returns how much of a payload is copied and written at a time.
func (w *writeHalf) chunkLimit() int {
	if w.conn.keep == nil {
		return chunkLimit
	}
	return keepAliveChunk
}

// chunk returns how much of p, which is not copied, is written at a time.
func (w *writeHalf) chunk(p []byte) int {
	if w.conn.keep == nil {
		return len(p)
	}
	return min(len(p), keepAliveChunk)
}

// writeChunks writes p, which is not copied into pending.
func (w *writeHalf) writeChunks(p []byte) error {
	for {
		n := w.chunk(p)
		if _, err := w.conn.conn.Write(p[:n]); err != nil || n == len(p) {
			return err
		}
		w.conn.keep.progressed()
		p = p[n:]
	}
}

// writeBehindLocked writes what is pending and then p, which is not copied.
func (w *writeHalf) writeBehindLocked(p []byte) error {
	if err := w.flushLocked(); err != nil {
		return err
	}
	w.beginWriteLocked()
	return w.writtenLocked(w.writeChunks(p))
}

// growLocked makes room for n more bytes in pending, sending what is there if it must.
func (w *writeHalf) growLocked(n int) error {
	if w.tryGrowLocked(n) {
		return nil
	}
	if err := w.flushLocked(); err != nil {
		return err
	}
	w.pending = getBuffer(n)
	return nil
}

// tryGrowLocked makes room for n more bytes in pending if that takes no writing.
func (w *writeHalf) tryGrowLocked(n int) bool {
	switch {
	case w.pending == nil:
		if w.more.Load() {
			n = max(n, delayLimit)
		}
		w.pending = getBuffer(n)
	case int(w.n)+n > len(w.pending.b):
		if int(w.n)+n > 2*delayLimit {
			return false
		}
		larger := getBuffer(2 * delayLimit)
		copy(larger.b, w.pending.b[:w.n])
		w.pending.release()
		w.pending = larger
	}
	return true
}

// flushLocked writes what is pending and waits for it.
func (w *writeHalf) flushLocked() error {
	if w.n == 0 {
		return nil
	}
	w.beginWriteLocked()
	_, err := w.conn.conn.Write(w.pending.b[:w.n])
	return w.writtenLocked(err)
}

// writtenLocked ends a write: pending is empty, or lost.
func (w *writeHalf) writtenLocked(err error) error {
	if w.pending != nil {
		w.pending.release()
		w.pending, w.n = nil, 0
	}
	if w.timerArmed {
		w.stopTimerLocked()
	}
	if w.delayed.Load() != delayedNone {
		w.delayed.Store(delayedNone)
	}
	if groups := w.groups.Load(); groups != nil && (w.groupsWait || err != nil) {
		w.work.Store(true) // the groups' messages that waited for this one
	}
	if err != nil {
		// Part of a frame may be on its way: no other can follow it.
		err = permanent(w.conn.netError("write", w.deadline.waitError(err)))
		if w.err == nil {
			w.err = err
		}
		return err
	}
	w.conn.keep.progressed()
	if w.hasQueued() {
		w.work.Store(true) // it found no room before
	}
	return nil
}

// tryAppendControlLocked adds a control frame to pending unless that would take writing.
func (w *writeHalf) tryAppendControlLocked(opcode byte, payload []byte) bool {
	if w.err != nil {
		return true // never to be sent
	}
	if !w.tryGrowLocked(maxHeaderSize + len(payload)) {
		return false
	}
	w.appendFrameLocked(finBit|opcode, payload)
	return true
}
