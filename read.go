package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
)

// The reading methods: whole messages, messages as streams, and the iterator.
// All of them are next and readData in different clothes.

// ErrReadLimit is returned by reads of a message larger than the read limit,
// after the connection was failed with close code 1009.
var ErrReadLimit = errors.New("websocket: read limit exceeded")

const noFrame = -1 // the message type that comes with an error

// unproven is how much memory a peer gets for announcing a length. Beyond it a
// message gets at most maxGrowth times what has arrived (RFC 6455 §10.4).
const (
	unproven  = 64 << 10
	maxGrowth = 16
)

// next begins the next message and returns its type. What is left of the one
// before is discarded.
func (c *Conn) next() (int, error) {
	if c.inMessage {
		if err := c.discard(); err != nil {
			return noFrame, err
		}
	}
	h, n, err := c.nextHeader()
	if err == nil {
		err = c.beginFrame(h, n)
	}
	if err != nil {
		c.endInflate()
		return noFrame, err
	}
	return int(c.msgType), nil
}

// ReadMessage reads the next message. The slice belongs to the caller.
//
// The error is a *CloseError, a *ProtocolError, ErrReadLimit, a timeout or a net
// error. All are permanent, and repeated by every later call, but for a deadline
// that passed between messages. If an error comes inside a message, what was
// read of it is returned as well.
func (c *Conn) ReadMessage() (messageType int, p []byte, err error) {
	return c.readMessage(never)
}

// ReadMessageContext is ReadMessage that also ends when ctx does, with an
// error for which errors.Is finds context.Cause(ctx). A context that ends
// between messages leaves the connection usable; inside a message the error is
// permanent. Passing the same context to every call costs nothing.
func (c *Conn) ReadMessageContext(ctx context.Context) (messageType int, p []byte, err error) {
	return c.readMessage(effective(ctx))
}

func (c *Conn) readMessage(ctx context.Context) (int, []byte, error) {
	err := c.lockRead(ctx)
	if err != nil {
		return noFrame, nil, err
	}
	if err = c.await(); err != nil {
		c.rd.unlock()
		return noFrame, nil, err
	}
	messageType, p, err := c.readWhole()
	c.rd.unlock()
	return messageType, p, err
}

// await waits for the first byte of the next message. An idle connection waits
// here, where its goroutine's stack is not yet deep: the smallest stack has
// room for this, and what was once needed of it is kept for good.
func (c *Conn) await() error {
	if c.r < c.w || c.inMessage {
		return nil
	}
	return c.fill()
}

// readWhole reads the next message into memory of its own.
func (c *Conn) readWhole() (messageType int, p []byte, err error) {
	if messageType, err = c.next(); err != nil {
		return noFrame, nil, err
	}
	if c.payloadAtHand() {
		p = newMemory(int(c.remaining))
		if err = c.takePayload(p); err != nil {
			p = p[:0]
		}
		return messageType, p, err
	}
	if !c.sizeKnown() || c.remaining > unproven {
		p, err = c.readUnproven()
		return messageType, p, err
	}
	p = newMemory(int(c.remaining))
	n, _, err := c.readUpTo(p)
	return messageType, p[:n], err
}

// sizeKnown reports whether the current frame ends the message and its length
// is the message's.
func (c *Conn) sizeKnown() bool { return !c.compressed && !c.in.fragment }

// readUpTo reads the current message until p is full or the message ends.
func (c *Conn) readUpTo(p []byte) (n int, done bool, err error) {
	for n < len(p) || c.remaining == 0 && c.sizeKnown() {
		m, err := c.readData(p[n:])
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

// readUnproven reads a message whose size is not known or not to be trusted.
// It begins in borrowed memory, so that a message up to maxGrowth times that
// large costs one allocation all the same.
func (c *Conn) readUnproven() ([]byte, error) {
	b := getBuffer(unproven)
	n, done, err := c.readUpTo(b.b)
	size := n
	if !done && err == nil {
		size = c.nextSize(n)
	}
	p := newMemory(size)
	copy(p, b.b[:n])
	b.free()
	for !done && err == nil {
		if n == len(p) {
			if size = c.nextSize(n); size == n {
				return p, c.tooBig(math.MaxInt)
			}
			larger := newMemory(size)
			copy(larger, p)
			p = larger
		}
		var m int
		m, done, err = c.readUpTo(p[n:])
		n += m
	}
	return p[:n], err
}

// nextSize is how much memory a message gets after n bytes of it arrived.
func (c *Conn) nextSize(n int) int {
	size := uint64(n) * 2
	if c.sizeKnown() {
		size = min(uint64(n)+c.remaining, uint64(n)*maxGrowth)
	}
	return int(min(size, math.MaxInt))
}

// NextReader returns the next message as a stream, which ends with io.EOF. The
// rest of the message before it is discarded, and its reader returns io.EOF.
// A reader is not to be used by two goroutines at a time.
//
// Errors are those of ReadMessage.
func (c *Conn) NextReader() (messageType int, r io.Reader, err error) {
	return c.nextReader(never)
}

// NextReaderContext is NextReader that also ends when ctx does, and so do the
// reads from r. See ReadMessageContext for what that means; a context that ends
// between two reads from r ends that reader alone, and the next message can be
// read.
func (c *Conn) NextReaderContext(ctx context.Context) (messageType int, r io.Reader, err error) {
	return c.nextReader(effective(ctx))
}

func (c *Conn) nextReader(ctx context.Context) (int, io.Reader, error) {
	if err := c.lockRead(ctx); err != nil {
		return noFrame, nil, err
	}
	messageType, err := c.next()
	if err != nil {
		c.rd.unlock()
		return noFrame, nil, err
	}
	r := &messageReader{c: c, ctx: ctx}
	c.reader = r
	c.rd.unlock()
	return messageType, r, nil
}

type messageReader struct {
	c    *Conn
	ctx  context.Context
	done bool // the message was read to its end
}

func (r *messageReader) Read(p []byte) (int, error) {
	c := r.c
	if r.done {
		return 0, io.EOF
	}
	if err := c.lockRead(r.ctx); err != nil {
		return 0, err
	}
	n, err := 0, io.EOF
	if c.reader == r {
		n, err = c.readData(p)
	}
	c.rd.unlock()
	if r.done = err == io.EOF; r.done && n > 0 {
		err = nil
	}
	return n, err
}

// A Message is a data message as Messages yields it.
type Message struct {
	// Type is TextMessage or BinaryMessage.
	Type int
	// Data is valid until the next turn of the loop.
	Data []byte
}

// Messages ranges over the incoming messages. The loop ends by itself when the
// peer closes normally (codes 1000 and 1001); when ctx ends or the connection
// fails or closes otherwise it yields one last pair with that error.
// Breaking out of the loop leaves the connection usable.
//
// Data is valid until the next turn of the loop and not after it: copy what is
// to be kept. No memory is allocated per message.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	ctx = effective(ctx)
	return func(yield func(Message, error) bool) {
		var l loan
		for {
			messageType, data, err := c.readBorrowed(ctx, &l)
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
		if c.rd.tryLock() {
			c.takeBack(&l)
			c.rd.unlock()
		}
	}
}

// A loan is the memory of a message that the application may use until it asks
// for the next: the read buffer itself where the message lies whole in it, else
// a buffer of its own.
type loan struct{ lent, own *buffer }

// takeBack ends a loan.
func (c *Conn) takeBack(l *loan) {
	if l.own != nil {
		l.own.free()
	}
	if l.lent != nil && l.lent == c.rbuf {
		c.loans--
	}
	*l = loan{}
}

// readBorrowed reads a message into borrowed memory, which the next call gives
// back before it waits.
func (c *Conn) readBorrowed(ctx context.Context, l *loan) (messageType int, data []byte, err error) {
	if err = c.lockRead(ctx); err != nil {
		return noFrame, nil, err
	}
	c.takeBack(l)
	if err = c.await(); err == nil {
		messageType, data, err = c.readInto(l)
	}
	c.rd.unlock()
	return messageType, data, err
}

// readInto reads the next message into *l.
func (c *Conn) readInto(l *loan) (messageType int, data []byte, err error) {
	if messageType, err = c.next(); err != nil {
		return noFrame, nil, err
	}
	if c.payloadAtHand() {
		data = c.input()[:c.remaining:c.remaining] // what is behind it is not the application's
		l.lent = c.rbuf
		c.loans++
		err = c.takePayload(data)
		return messageType, data, err
	}
	n := 0
	for done := false; err == nil && !done; {
		size := defaultBufferSize
		switch {
		case n > 0:
			if size = c.nextSize(n); size == n {
				return noFrame, nil, c.tooBig(math.MaxInt)
			}
		case c.sizeKnown():
			size = int(min(c.remaining, unproven))
		}
		if l.own == nil {
			l.own = getBuffer(size)
		} else if len(l.own.b) < size {
			larger := getBuffer(size)
			copy(larger.b, l.own.b[:n])
			l.own.free()
			l.own = larger
		}
		var m int
		m, done, err = c.readUpTo(l.own.b[n:])
		n += m
	}
	return messageType, l.own.b[:n], err
}
