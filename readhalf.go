package websocket

import (
	"context"
	"io"
	"net"
	"sync/atomic"

	"github.com/tautws/websocket/internal/deflate"
	"github.com/tautws/websocket/internal/lock"
	"github.com/tautws/websocket/internal/mask"
	"github.com/tautws/websocket/internal/utf8stream"
)

// The reading half of a Conn: from the bytes of the network to the data of a message. There is no
// other way in: all reading goes through nextHeader and readPayload.
//
// The bytes of a header stay in the buffer until it is whole, and those of a control frame until
// its payload is, so a wait that ends between messages loses nothing. Invariant: frame.remaining >
// 0 only inside a message.

// maxEmptyFragments is how many fragments without payload a peer may send in a row: they cost work
// and never fill a message (RFC 6455 §10.4).
const maxEmptyFragments = 1000

// A readHalf is the receiving direction of a Conn. mu guards all of it but what is constant or
// atomic.
type readHalf struct {
	conn     *Conn      // constant
	mu       lock.Mutex // one call that reads
	buf      readBuffer
	rules    frameState
	headBuf  [maxHeaderSize]byte // where the first bytes of a frame go if there is no rawSocket
	dropping bool                // Shutdown reads, and drops data
	mode     int8                // readWaits, readResumes, readNow or readToEnd
	drained  bool                // the last read took all there was; over TLS: all there was was read
	ending   atomic.Bool         // Shutdown has taken over: nobody else reads
	frame    currentFrame
	msg      currentMessage
	inflater *deflate.Reader // nil: permessage-deflate not negotiated
	err      error           // the first permanent error
	deadline ioDeadline

	limit atomic.Int64 // of a message, in bytes; none if not positive
}

// The currentFrame is the data frame whose payload is being read.
type currentFrame struct {
	remaining uint64   // payload bytes still to come
	key       mask.Key // of those
}

// The currentMessage is the data message that has begun and whose end was not delivered, if open.
type currentMessage struct {
	received   int64                // payload bytes, as received
	delivered  int64                // payload bytes, inflated
	reader     *messageReader       // that of NextReader, if it was used
	headers    uint32               // bytes of frame headers
	text       utf8stream.Validator // of a text message so far
	empty      int16                // empty fragments in a row
	kind       int8                 // TextMessage or BinaryMessage
	open       bool
	compressed bool
	collecting bool // its payload is collected before it is inflated
}

func (r *readHalf) init(c *Conn, cfg connConfig) {
	r.conn, r.deadline.conn, r.deadline.direction = c, c, reading
	r.rules = frameState{server: cfg.isServer, deflate: cfg.deflate.enabled}
	r.buf.size = bufferSize(cfg.readBufferSize, 1<<maxBufferBits)
	r.buf.nextRead = r.buf.size
	r.buf.prepend(cfg.buffered)
	limit := cfg.readLimit
	if limit == 0 {
		limit = defaultReadLimit
	}
	r.limit.Store(limit)
}

// lock takes the half for a call that ends when ctx, which may be noContext, does.
func (r *readHalf) lock(ctx context.Context) error {
	if r.ending.Load() {
		return r.awaitShutdown(ctx)
	}
	if !r.mu.TryLock() {
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
	err := r.check()
	if err == nil && ctx != nil {
		err = r.deadline.start(ctx)
	}
	if err != nil {
		err = r.unlockAfter(ctx, err)
	}
	return err
}

// unlockAfter unlocks the half after a call that had the result err, and returns what the
// application gets.
func (r *readHalf) unlockAfter(ctx context.Context, err error) error {
	r.unlock()
	if err == errShutdown {
		err = r.awaitShutdown(ctx)
	}
	return err
}

// wait takes the half when it is locked.
func (r *readHalf) wait(ctx context.Context) error {
	err := r.mu.Lock(ctx, &r.deadline)
	switch {
	case err == nil:
		return nil
	case err == lock.ErrClosed:
		return r.conn.closeCause("read")
	case err == lock.ErrDeadline:
		return errReadTimeout
	}
	return contextError(ctx)
}

// check returns the error of a read that begins, or goes on, now.
func (r *readHalf) check() error {
	if r.ending.Load() && !r.dropping {
		return errShutdown
	}
	if r.err == nil && r.conn.state.Load() != stateOpen && !r.dropping {
		r.end(r.conn.closeCause("read"))
	}
	return r.err
}

// isOver reports whether nothing more is to be read: not while a group waits for the peer's close
// frame.
func (r *readHalf) isOver() bool {
	return r.conn.state.Load() != stateOpen && !r.conn.saysGoodbye()
}

func (r *readHalf) unlock() {
	r.deadline.finish()
	if r.isOver() {
		r.releaseLocked()
	}
	r.mu.Unlock()
	if r.isOver() {
		r.releaseIfIdle()
	}
}

// releaseIfIdle gives back what the half of a closed connection holds, unless it is in use: then
// unlock does.
func (r *readHalf) releaseIfIdle() {
	if r.mu.TryLock() {
		r.releaseLocked()
		r.mu.Unlock()
	}
}

func (r *readHalf) releaseLocked() {
	if r.err == nil {
		r.err = r.conn.closeCause("read") // though TLS, for one, would go on
	}
	r.buf.release()
	r.endInflate()
	if r.inflater != nil {
		r.inflater.Release()
	}
}

// nextHeader handles control frames until the header of a data frame is whole at the start of the
// buffer. It returns the header and its size, and does not consume it.
func (r *readHalf) nextHeader() (h header, n int, err error) {
	for {
		if r.ending.Load() && !r.dropping {
			return h, 0, errShutdown
		}
		var v *ProtocolError
		in := r.buf.buffered()
		h, n, v = parseHeader(in)
		if len(in) >= 2 {
			// What the first two bytes tell is checked first, so the result does not depend on how
			// the bytes came in.
			if a := r.rules.accept(h); a != nil {
				v = a
			}
		}
		if v != nil {
			return h, 0, r.conn.fail(v, v.Code, v.Text)
		}
		if n == 0 {
			if err := r.fill(); err != nil {
				return h, 0, err
			}
			continue
		}
		if !isControl(h.opcode()) {
			return h, n, nil
		}
		n += int(h.length)
		for len(r.buf.buffered()) < n {
			if err := r.fill(); err != nil {
				return h, 0, err
			}
		}
		p := r.buf.buffered()[n-int(h.length) : n]
		r.buf.r += int32(n)
		if h.masked {
			mask.XOR(p, p, h.key)
		}
		if err := r.conn.handleControl(h.opcode(), p); err != nil {
			return h, 0, err
		}
	}
}

// beginFrame consumes the header of a data frame and makes its payload current.
func (r *readHalf) beginFrame(h header, n int) error {
	m := &r.msg
	if h.opcode() != continuationFrame {
		*m = currentMessage{kind: int8(h.opcode()), open: true, compressed: h.first&rsv1Bit != 0 && !r.dropping}
		if m.compressed && r.mode < readNow {
			r.inflater.Begin((*payloadReader)(r))
		}
	}
	if !r.dropping {
		// RFC 6455 §10.4: refused at the header, before a byte of it is stored.
		if limit := r.limit.Load(); limit > 0 && h.length > uint64(max(0, limit-m.received)) {
			return r.tooBig()
		}
		if h.length > 1<<62 {
			return r.tooBig() // no sum of lengths may overflow
		}
	}
	if h.length == 0 && !h.fin() {
		if m.empty++; m.empty > maxEmptyFragments {
			const text = "more than 1000 empty fragments in a row"
			return r.conn.fail(&ProtocolError{ClosePolicyViolation, text}, ClosePolicyViolation, text)
		}
	} else {
		m.empty = 0
	}
	r.buf.r += int32(n)
	m.headers += uint32(n)
	m.received += int64(h.length)
	r.frame = currentFrame{remaining: h.length, key: h.key}
	r.rules.advance(h)
	return nil
}

// tooBig fails the connection. The close frame has no reason: programs compare the text of the error
// that their peer makes of it.
func (r *readHalf) tooBig() error { return r.conn.fail(ErrReadLimit, CloseMessageTooBig, "") }

// frameBuffered reports whether the buffer holds another whole frame: then the next read will not
// wait, and what is written until then may.
func (r *readHalf) frameBuffered() bool {
	in := r.buf.buffered()
	if len(in) >= 2 && in[1]&^maskBit < 126 {
		need := 2 + int(in[1]&^maskBit) + 4*int(in[1]>>7)
		return len(in) >= need
	}
	h, n, err := parseHeader(in)
	return err == nil && n > 0 && h.length <= uint64(len(in)-n)
}

// fill waits for the network and adds at least a byte to the buffer. Between messages it holds no
// buffer while nothing is buffered.
func (r *readHalf) fill() error {
	if err := r.beforeWait(); err != nil {
		return err
	}
	r.buf.makeRoom()
	var n int
	var err error
	if r.conn.socket != nil {
		n, err = r.readSocket()
	} else if r.mode >= readNow {
		n, err = r.readTLS()
	} else {
		n, err = r.readBlocking()
	}
	if err == errNotYet {
		return err
	}
	r.buf.w += int32(n)
	return r.afterRead(n, err)
}

// readBlocking reads into the buffer where the network cannot be waited for without one. Between
// messages it waits with a few bytes only.
func (r *readHalf) readBlocking() (int, error) {
	nc, b := r.conn.conn, &r.buf
	if b.buf == nil && !r.msg.open {
		n, err := readSome(nc, r.headBuf[:])
		if n > 0 {
			size := b.size
			if n == len(r.headBuf) && !isControl(int(r.headBuf[0]&0x0f)) {
				size = b.nextRead
			}
			b.buf = getBuffer(int(size))
			copy(b.buf.b, r.headBuf[:n])
		}
		return n, err
	}
	if b.buf == nil {
		b.buf = getBuffer(int(b.size))
	}
	return readSome(nc, b.free())
}

// readSome reads from a net.Conn. Read may return 0, nil: it is called a bounded number of times,
// as in package bufio.
func readSome(nc net.Conn, p []byte) (int, error) {
	for range 100 {
		if n, err := nc.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// readDirect waits for the network and reads into p, past the buffer.
func (r *readHalf) readDirect(p []byte) (int, error) {
	if err := r.beforeWait(); err != nil {
		return 0, err
	}
	r.buf.releaseEmpty()
	n, err := readSome(r.conn.conn, p)
	return n, r.afterRead(n, err)
}

func (r *readHalf) beforeWait() error {
	if r.ending.Load() && !r.dropping {
		return errShutdown
	}
	r.conn.beforeWait()
	return nil
}

func (r *readHalf) afterRead(n int, err error) error {
	if keep := r.conn.keep; keep != nil {
		keep.afterWait(n > 0)
	}
	if n > 0 {
		return nil // an error returned along with data is reported by the next read
	}
	return r.readFailed(err)
}

// readFailed translates an error of the network connection. It is permanent unless a wait between
// messages ended, or one of a call that can go on inside a message.
func (r *readHalf) readFailed(err error) error {
	timeout := isTimeout(err)
	if timeout && r.ending.Load() && !r.dropping {
		return errShutdown // which has ended the wait
	}
	err = permanent(r.conn.netError("read", r.deadline.waitError(err)))
	switch {
	case timeout && (!r.msg.open || r.mode == readResumes) && r.conn.state.Load() == stateOpen:
		return err
	case err == io.EOF:
		// RFC 6455 §7.1.5: the stream ended without a close frame.
		err = &CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}
	}
	return r.end(err)
}

// end makes err the result of every read from now on.
func (r *readHalf) end(err error) error {
	if r.err == nil {
		r.err = err
		r.buf.release()
		r.conn.readingEnded(err)
	}
	return r.err
}

// readPayload reads payload of the current message as it was sent, across frames. It returns io.EOF
// with the message's last bytes.
func (r *readHalf) readPayload(p []byte) (int, error) {
	f := &r.frame
	for f.remaining == 0 {
		if !r.rules.fragmented {
			return 0, io.EOF
		}
		h, n, err := r.nextHeader()
		if err == nil {
			err = r.beginFrame(h, n)
		}
		if err != nil {
			return 0, err
		}
	}
	if uint64(len(p)) > f.remaining {
		p = p[:f.remaining]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	if r.buf.empty() && len(p) >= int(r.buf.size) && r.mode < readNow {
		var err error
		if n, err = r.readDirect(p); err != nil {
			return 0, err
		}
		if r.rules.server {
			mask.XOR(p[:n], p[:n], f.key)
		}
	} else {
		if r.buf.empty() {
			if err := r.fill(); err != nil {
				return 0, err
			}
		}
		src := r.buf.buffered()
		n = min(len(p), len(src))
		if r.rules.server {
			mask.XOR(p[:n], src[:n], f.key)
		} else {
			copy(p, src[:n])
		}
		r.buf.r += int32(n)
	}
	f.key = f.key.After(n)
	f.remaining -= uint64(n)
	if f.remaining == 0 && !r.rules.fragmented {
		return n, io.EOF
	}
	return n, nil
}

// A payloadReader is the readHalf as the inflater sees it.
type payloadReader readHalf

func (r *payloadReader) Read(p []byte) (int, error) { return (*readHalf)(r).readPayload(p) }

// sizeKnown reports whether the current frame ends the message and its length is the message's.
func (r *readHalf) sizeKnown() bool { return !r.msg.compressed && !r.rules.fragmented }

// payloadBuffered reports whether a message that has just begun is whole in the read buffer: in one
// frame and not compressed.
func (r *readHalf) payloadBuffered() bool {
	return r.frame.remaining <= uint64(r.buf.w-r.buf.r) && r.sizeKnown()
}

// takePayload reads such a message into p, which is as long as it is. p may be the very bytes in
// the read buffer.
func (r *readHalf) takePayload(p []byte) error {
	src := r.buf.buffered()[:len(p)]
	if r.rules.server {
		mask.XOR(p, src, r.frame.key)
	} else {
		copy(p, src)
	}
	r.buf.r += int32(len(p))
	r.frame.remaining = 0
	if r.msg.kind == TextMessage {
		if err := r.checkText(p, true); err != nil {
			return err
		}
	}
	r.endMessage()
	return nil
}

// readData reads the current message as the application gets it: inflated, within the limit, and
// UTF-8 if it is text. It returns io.EOF with the last bytes or behind them.
func (r *readHalf) readData(p []byte) (n int, err error) {
	if r.msg.compressed && !r.msg.collecting {
		n, err = r.inflate(p)
	} else {
		n, err = r.readPayload(p)
	}
	if err != nil && err != io.EOF {
		return 0, err // reading has ended: nothing else is wrong any more
	}
	if r.msg.kind == TextMessage {
		if err := r.checkText(p[:n], err == io.EOF); err != nil {
			return 0, err
		}
	}
	if err == io.EOF {
		r.endMessage()
	}
	return n, err
}

// checkText fails the connection if these bytes, the last of the message if end is set, cannot
// continue its text.
func (r *readHalf) checkText(p []byte, end bool) error {
	// RFC 6455 §8.1: failed at the first byte that cannot be right.
	if len(p) > 0 && !r.msg.text.Write(p) || end && !r.msg.text.Complete() {
		r.endInflate()
		const text = "text message is not valid UTF-8"
		return r.conn.fail(&ProtocolError{CloseInvalidFramePayloadData, text}, CloseInvalidFramePayloadData, text)
	}
	return nil
}

func (r *readHalf) inflate(p []byte) (int, error) {
	n, err := r.inflater.Read(p)
	r.msg.delivered += int64(n)
	if limit := r.limit.Load(); limit > 0 && r.msg.delivered > limit {
		n, err = 0, r.tooBig()
	}
	if err != nil && err != io.EOF {
		if err == deflate.ErrCorrupt && r.err == nil {
			text := err.Error()
			err = r.conn.fail(&ProtocolError{CloseInvalidFramePayloadData, text}, CloseInvalidFramePayloadData, text)
		}
		r.endInflate()
	}
	return n, err
}

func (r *readHalf) endInflate() {
	if r.msg.compressed {
		r.msg.compressed = false
		r.inflater.End()
	}
}

func (r *readHalf) endMessage() {
	compressed := r.msg.compressed
	r.msg.open = false
	r.msg.reader = nil
	r.endInflate()
	r.buf.adapt(r.msg.received)
	r.conn.moreInput(!r.buf.empty() && r.frameBuffered())
	if t := r.conn.trace(); t != nil {
		r.traceMessage(t, compressed)
	}
}

// discard reads the rest of a message that the application did not want.
func (r *readHalf) discard() error {
	r.msg.reader = nil
	b := getBuffer(defaultBufferSize)
	defer b.release()
	for {
		if _, err := r.readData(b.b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
