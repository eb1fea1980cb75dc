package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
)

// The reading methods: whole messages, messages as streams, and the iterator. All of them are built
// on next and readData.

// ErrReadLimit is returned by reads of a message larger than the read limit, after the connection
// was failed with close code 1009.
var ErrReadLimit = errors.New("websocket: read limit exceeded")

const noFrame = -1 // the message type that comes with an error

// How memory for a message grows (RFC 6455 §10.4). A peer gets at most maxPrealloc bytes for
// announcing a length; beyond it a message of known length gets at most maxGrowth times what has
// arrived. One of unknown length, which is compressed or fragmented, is collected in pieces up to a
// quarter of the read limit, and then gets memory for the limit: so at no time it takes more than
// 1.3 times the limit, what was outgrown included.
const (
	maxPrealloc = 64 << 10
	maxGrowth   = 16
	maxPieces   = 16 << 20 // bytes, if there is no limit
)

// next begins the next message and returns its type. What is left of the one before is discarded.
func (r *readHalf) next() (int, error) {
	if r.msg.open {
		if err := r.discard(); err != nil {
			return noFrame, err
		}
	}
	h, n, err := r.nextHeader()
	if err == nil {
		err = r.beginFrame(h, n)
	}
	if err != nil {
		r.endInflate()
		return noFrame, err
	}
	return int(r.msg.kind), nil
}

// ReadMessage reads the next message. The slice belongs to the caller.
//
// The error is a *CloseError, a *ProtocolError, ErrReadLimit, a timeout or a net error. All are
// permanent, and repeated by every later call, but for a deadline that passed between messages. If
// an error comes inside a message, what was read of it is returned as well.
func (c *Conn) ReadMessage() (messageType int, p []byte, err error) {
	return c.read.readMessage(noContext)
}

// ReadMessageContext is ReadMessage that also ends when ctx does, with an error for which errors.Is
// finds context.Cause(ctx). A context that ends between messages leaves the connection usable;
// inside a message the error is permanent. Passing the same context to every call costs nothing.
func (c *Conn) ReadMessageContext(ctx context.Context) (messageType int, p []byte, err error) {
	return c.read.readMessage(cancelable(ctx))
}

func (r *readHalf) readMessage(ctx context.Context) (int, []byte, error) {
	if err := r.lock(ctx); err != nil {
		return noFrame, nil, err
	}
	if err := r.await(); err != nil {
		return noFrame, nil, r.unlockAfter(ctx, err)
	}
	messageType, p, err := r.readWhole()
	return messageType, p, r.unlockAfter(ctx, err)
}

// await waits for the first byte of the next message. An idle connection waits here, where its
// goroutine's stack is not yet deep: the smallest stack has room for this, and what was once needed
// of it is kept.
func (r *readHalf) await() error {
	if !r.buf.empty() || r.msg.open {
		return nil
	}
	return r.fill()
}

// readWhole reads the next message into new memory.
func (r *readHalf) readWhole() (messageType int, p []byte, err error) {
	if messageType, err = r.next(); err != nil {
		return noFrame, nil, err
	}
	switch {
	case r.payloadBuffered():
		p = make([]byte, r.frame.remaining)
		if err = r.takePayload(p); err != nil {
			p = p[:0]
		}
	case !r.sizeKnown():
		p, err = r.readUnknown(nil)
	case r.frame.remaining > maxPrealloc:
		p, err = r.readLong()
	default:
		p = make([]byte, r.frame.remaining)
		var n int
		n, _, err = r.readUpTo(p)
		p = p[:n]
	}
	return messageType, p, err
}

// readUpTo reads the current message until p is full or the message ends.
func (r *readHalf) readUpTo(p []byte) (n int, done bool, err error) {
	for n < len(p) || r.frame.remaining == 0 && r.sizeKnown() {
		m, err := r.readData(p[n:])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// readLong reads a message of known length that is longer than a peer is trusted to send. It begins
// in borrowed memory, so that a message up to maxGrowth times that large costs one allocation.
func (r *readHalf) readLong() ([]byte, error) {
	b := getBuffer(maxPrealloc)
	n, done, err := r.readUpTo(b.b)
	size := n
	if !done && err == nil {
		size = r.nextSize(n)
	}
	p := make([]byte, size)
	copy(p, b.b[:n])
	b.release()
	for !done && err == nil {
		if n == len(p) {
			if size = r.nextSize(n); size == n {
				return p, r.tooBig()
			}
			larger := make([]byte, size)
			copy(larger, p)
			p = larger
		}
		var m int
		m, done, err = r.readUpTo(p[n:])
		n += m
	}
	return p[:n], err
}

// nextSize is how much memory a message of known length gets after n bytes of it arrived.
func (r *readHalf) nextSize(n int) int {
	return int(min(uint64(n)+r.frame.remaining, uint64(n)*maxGrowth, math.MaxInt))
}

// readUnknown reads a message whose length is not known. It is put into *into, which is borrowed,
// or into new memory if into is nil.
func (r *readHalf) readUnknown(into **buffer) ([]byte, error) {
	limit := r.limit.Load()
	most := maxPieces
	if limit > 0 {
		most = int(min(max(limit/4, maxPrealloc), math.MaxInt))
	}
	var few [4]*buffer
	pieces := append(few[:0], getBuffer(maxPrealloc))
	n, done, err := r.readUpTo(pieces[0].b)
	for !done && err == nil && n < most {
		b := getBuffer(min(n, 1<<maxBufferBits))
		var m int
		m, done, err = r.readUpTo(b.b[:min(len(b.b), most-n)])
		n += m
		pieces = append(pieces, b)
	}
	size := n
	if !done && err == nil {
		size = 2 * n
		if limit >= int64(n) {
			size = int(min(limit, math.MaxInt-1)) + 1 // a byte more than it takes is room for the end
		}
	}
	p := joinPieces(pieces, n, size, into)
	for !done && err == nil {
		if n == len(p) { // there is no limit, or it was raised
			larger := make([]byte, 2*n)
			copy(larger, p)
			p = larger
			if into != nil {
				*into = &buffer{b: p}
			}
		}
		var m int
		m, done, err = r.readUpTo(p[n:])
		n += m
	}
	return p[:n], err
}

// joinPieces gives pieces, which hold n bytes, back and returns these bytes at the start of a slice
// of size bytes.
func joinPieces(pieces []*buffer, n, size int, into **buffer) []byte {
	var p []byte
	switch {
	case into == nil:
		p = make([]byte, size)
	case len(pieces) == 1 && size == n:
		*into = pieces[0]
		return pieces[0].b[:n]
	case size == n:
		*into = getBuffer(n)
		p = (*into).b[:n]
	default:
		*into = &buffer{b: make([]byte, size)}
		p = (*into).b
	}
	copied := 0
	for _, b := range pieces {
		copied += copy(p[copied:n], b.b)
		b.release()
	}
	return p
}

// NextReader returns the next message as a stream, which ends with io.EOF. The rest of the message
// before it is discarded, and its reader returns io.EOF. A reader is not to be used by two
// goroutines at a time.
//
// Errors are those of ReadMessage.
func (c *Conn) NextReader() (messageType int, r io.Reader, err error) {
	return c.read.nextReader(noContext)
}

// NextReaderContext is NextReader that also ends when ctx does, and so do the reads from r. See
// ReadMessageContext for what that means; a context that ends between two reads from r ends that
// reader alone, and the next message can be read.
func (c *Conn) NextReaderContext(ctx context.Context) (messageType int, r io.Reader, err error) {
	return c.read.nextReader(cancelable(ctx))
}

func (r *readHalf) nextReader(ctx context.Context) (int, io.Reader, error) {
	if err := r.lock(ctx); err != nil {
		return noFrame, nil, err
	}
	messageType, err := r.next()
	if err != nil {
		return noFrame, nil, r.unlockAfter(ctx, err)
	}
	reader := &messageReader{half: r, ctx: ctx}
	r.msg.reader = reader
	r.unlock()
	return messageType, reader, nil
}

type messageReader struct {
	half *readHalf
	ctx  context.Context
	done bool // the message was read to its end
}

func (m *messageReader) Read(p []byte) (int, error) {
	r := m.half
	if m.done {
		return 0, io.EOF
	}
	if err := r.lock(m.ctx); err != nil {
		return 0, err
	}
	n, err := 0, io.EOF
	if r.msg.reader == m {
		n, err = r.readData(p)
	}
	err = r.unlockAfter(m.ctx, err)
	if m.done = err == io.EOF; m.done && n > 0 {
		err = nil
	}
	return n, err
}

// Close does nothing. It is here for programs that look for an io.Closer.
func (m *messageReader) Close() error { return nil }

// A Message is a data message as Messages yields it.
type Message struct {
	// Type is TextMessage or BinaryMessage.
	Type int
	// Data is valid until the next turn of the loop.
	Data []byte
}

// Messages ranges over the incoming messages. The loop ends by itself when the peer closes normally
// (codes 1000 and 1001); when ctx ends or the connection fails or closes otherwise it yields one
// last pair with that error. Breaking out of the loop leaves the connection usable.
//
// Data is valid until the next turn of the loop and not after it: copy what is to be kept. No
// memory is allocated per message.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	ctx = cancelable(ctx)
	return func(yield func(Message, error) bool) {
		r := &c.read
		var l lent
		for {
			messageType, data, err := r.readLent(ctx, &l)
			if err != nil {
				if !IsCloseError(err, CloseNormalClosure, CloseGoingAway) {
					yield(Message{}, err)
				}
				break
			}
			if !yield(Message{messageType, data}, nil) {
				break
			}
		}
		if r.mu.TryLock() {
			r.unlend(&l)
			r.unlock()
		}
	}
}

// The memory of a message that is lent to the application until it asks for the next: the pinned
// read buffer where the message is whole in it, else another buffer.
type lent struct{ pinned, own *buffer }

func (r *readHalf) unlend(l *lent) {
	if l.own != nil {
		l.own.release()
	}
	r.buf.unpin(l.pinned)
	*l = lent{}
}

// readLent reads a message into lent memory, which the next call gives back before it waits.
func (r *readHalf) readLent(ctx context.Context, l *lent) (messageType int, data []byte, err error) {
	if err = r.lock(ctx); err != nil {
		return noFrame, nil, err
	}
	r.unlend(l)
	if err = r.await(); err == nil {
		messageType, data, err = r.readInto(l)
	}
	return messageType, data, r.unlockAfter(ctx, err)
}

// pinPayload lends a message that is whole in the read buffer.
func (r *readHalf) pinPayload(l *lent) (data []byte, err error) {
	size := r.frame.remaining
	data = r.buf.buffered()[:size:size] // what is behind it is not the application's
	l.pinned = r.buf.pin()
	return data, r.takePayload(data)
}

// readInto reads the next message into *l.
func (r *readHalf) readInto(l *lent) (messageType int, data []byte, err error) {
	if messageType, err = r.next(); err != nil {
		return noFrame, nil, err
	}
	if r.payloadBuffered() {
		data, err = r.pinPayload(l)
		return messageType, data, err
	}
	if !r.sizeKnown() {
		data, err = r.readUnknown(&l.own)
		return messageType, data, err
	}
	l.own = getBuffer(int(min(r.frame.remaining, maxPrealloc)))
	n, done, err := r.readUpTo(l.own.b)
	for !done && err == nil {
		size := r.nextSize(n)
		if size == n {
			return noFrame, nil, r.tooBig()
		}
		larger := getBuffer(size)
		copy(larger.b, l.own.b[:n])
		l.own.release()
		l.own = larger
		var m int
		m, done, err = r.readUpTo(l.own.b[n:])
		n += m
	}
	return messageType, l.own.b[:n], err
}
