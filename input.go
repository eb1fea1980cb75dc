package websocket

import (
	"context"
	"io"
	"net"
	"strconv"

	"github.com/tautws/websocket/internal/mask"
	"github.com/tautws/websocket/internal/utf8stream"
)

// From the socket to the frames: the read buffer, the next header, the limits.
// Everything here needs the reading half. There is no other way in: whatever
// reads goes through nextHeader and, in payload.go, readPayload.
//
// Header bytes stay in the buffer until the header is whole, and a control
// frame until its payload is, so a wait that ends between messages loses
// nothing.

// maxEmptyFragments is how many fragments without payload a peer may send in a
// row: they cost work and never fill a message (RFC 6455 §10.4).
const maxEmptyFragments = 1000

// mostAsked is how many bytes a read into the buffer may ask for: a message of
// 64 KiB with its header.
const mostAsked = 64<<10 + maxHeaderSize

// lockRead takes the reading half for a call that ends when ctx does. The
// context may be never.
func (c *Conn) lockRead(ctx context.Context) error {
	if !c.rd.tryLock() {
		if err := c.rd.wait(ctx, &c.rbound); err == errWriteTimeout {
			return errReadTimeout
		} else if err != nil {
			return c.whyClosed(err)
		}
	}
	c.reads++
	c.endIfClosed()
	err := c.readErr
	if err == nil && (ctx != nil || c.rbound.watch != nil) {
		err = c.rbound.use(ctx, c.nc, reading)
	}
	if err != nil {
		c.rd.unlock()
	}
	return err
}

// nextHeader handles control frames until the header of a data frame is whole
// at the start of the buffer. It returns the header and its size, and does not
// consume it.
func (c *Conn) nextHeader() (h header, n int, err error) {
	for {
		var v *ProtocolError
		h, n, v = parseHeader(c.input())
		if c.w-c.r >= 2 {
			// What the first two bytes tell is judged first, so the
			// verdict does not depend on how the bytes came in.
			if a := c.in.accept(h); a != nil {
				v = a
			}
		}
		if v != nil {
			return h, 0, c.fail(v)
		}
		if n == 0 {
			if err := c.fill(); err != nil {
				return h, 0, err
			}
			continue
		}
		if !isControl(h.opcode()) {
			return h, n, nil
		}
		n += int(h.length)
		for int(c.w-c.r) < n {
			if err := c.fill(); err != nil {
				return h, 0, err
			}
		}
		p := c.input()[n-int(h.length) : n]
		c.r += int32(n)
		if h.masked {
			mask.XOR(p, p, h.key)
		}
		if err := c.handleControl(h.opcode(), p); err != nil {
			return h, 0, err
		}
	}
}

// beginFrame consumes the header of a data frame and makes its payload current.
func (c *Conn) beginFrame(h header, n int) error {
	if h.opcode() != continuationFrame {
		c.msgType = int8(h.opcode())
		c.inMessage = true
		c.received, c.delivered, c.empties = 0, 0, 0
		c.text = utf8stream.Validator{}
		if c.compressed = h.first&rsv1Bit != 0; c.compressed {
			c.inflater.Begin((*payloadReader)(c))
		}
	}
	// RFC 6455 §10.4: refused at the header, before a byte of it is stored.
	if limit := c.limit.Load(); limit > 0 && h.length > uint64(max(0, limit-c.received)) {
		return c.tooBig(limit)
	}
	if h.length > 1<<62 {
		return c.tooBig(1 << 62) // no sum of lengths may overflow
	}
	if h.length == 0 && !h.fin() {
		if c.empties++; c.empties > maxEmptyFragments {
			return c.fail(&ProtocolError{ClosePolicyViolation, "more than 1000 empty fragments in a row"})
		}
	} else {
		c.empties = 0
	}
	c.r += int32(n)
	c.received += int64(h.length)
	c.remaining = h.length
	c.maskKey = h.key
	c.in.advance(h)
	return nil
}

func (c *Conn) tooBig(limit int64) error {
	return c.failWith(ErrReadLimit, CloseMessageTooBig, "message longer than the limit of "+strconv.FormatInt(limit, 10)+" bytes")
}

// frameAtHand reports whether the buffer holds another whole frame: then the
// next read will not wait, and what is written until then may.
func (c *Conn) frameAtHand() bool {
	in := c.input()
	if len(in) >= 2 && in[1]&^maskBit < 126 {
		need := 2 + int(in[1]&^maskBit) + 4*int(in[1]>>7)
		return len(in) >= need
	}
	h, n, err := parseHeader(in)
	return err == nil && n > 0 && h.length <= uint64(len(in)-n)
}

// input is what is received and not consumed.
func (c *Conn) input() []byte {
	if c.rbuf == nil {
		return nil
	}
	return c.rbuf.b[c.r:c.w]
}

// fill waits for the network and adds at least a byte to the buffer. Between
// messages it holds no buffer while nothing is buffered.
func (c *Conn) fill() error {
	c.beforeWait()
	if c.r == c.w {
		c.dropEmptyBuffer()
	} else if int(c.w) == len(c.rbuf.b) {
		to := c.rbuf
		if c.loans > 0 {
			to = getBuffer(len(to.b))
		}
		c.move(to)
	}
	var n int
	var err error
	if c.raw != nil {
		n, err = c.readRaw()
	} else {
		n, err = c.readBlocking()
	}
	c.w += int32(n)
	return c.afterRead(n, err)
}

// readBlocking reads into the buffer where the network cannot be waited for
// without one. Between messages it waits with a few bytes only.
func (c *Conn) readBlocking() (int, error) {
	if c.rbuf == nil && !c.inMessage {
		n, err := readSome(c.nc, c.tiny[:])
		if n > 0 {
			size := c.readSize
			if n == len(c.tiny) && !isControl(int(c.tiny[0]&0x0f)) {
				size = c.ask
			}
			c.rbuf = getBuffer(int(size))
			copy(c.rbuf.b, c.tiny[:n])
		}
		return n, err
	}
	if c.rbuf == nil {
		c.rbuf = getBuffer(int(c.readSize))
	}
	return readSome(c.nc, c.rbuf.b[c.w:])
}

// readSome reads from a net.Conn, which may return without a byte or an error
// now and then.
func readSome(nc net.Conn, p []byte) (int, error) {
	for range 100 {
		if n, err := nc.Read(p); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// readDirect waits for the network and reads into p, past the buffer.
func (c *Conn) readDirect(p []byte) (int, error) {
	c.beforeWait()
	c.dropEmptyBuffer()
	n, err := readSome(c.nc, p)
	return n, c.afterRead(n, err)
}

func (c *Conn) beforeWait() {
	if c.hold.Load() {
		c.hold.Store(false)
	}
	if c.held.Load() {
		c.flushUnwaiting()
	}
}

func (c *Conn) afterRead(n int, err error) error {
	if n > 0 {
		if c.keep != nil {
			c.keep.heard()
		}
		return nil // an error beside it will come again
	}
	return c.readFailed(err)
}

// dropEmptyBuffer gives the read buffer back if nothing is in it. One that is
// lent stays with the application.
func (c *Conn) dropEmptyBuffer() {
	if c.rbuf != nil && c.r == c.w {
		if c.loans == 0 {
			c.rbuf.free()
		}
		c.rbuf, c.loans = nil, 0
		c.r, c.w = 0, 0
	}
}

// move moves what is buffered to the front of to, which may be the buffer it is
// in, and makes that the read buffer.
func (c *Conn) move(to *buffer) {
	c.r, c.w = 0, int32(copy(to.b, c.input()))
	if to != c.rbuf {
		if c.loans == 0 {
			c.rbuf.free()
		}
		c.rbuf, c.loans = to, 0
	}
}

// settle gives the read buffer back before a wait if nothing is in it, and takes
// a small one for a large one with little in it.
func (c *Conn) settle() {
	if c.r == c.w {
		c.dropEmptyBuffer()
	} else if len(c.rbuf.b) > 2*int(c.readSize) && c.w-c.r <= c.readSize/2 {
		c.move(getBuffer(int(c.readSize)))
	}
}

// dropInput gives back what a connection that has ended still holds.
func (c *Conn) dropInput() {
	c.r, c.w = 0, 0
	c.dropEmptyBuffer()
}

// endIfClosed does what Close leaves to whoever is reading.
func (c *Conn) endIfClosed() {
	if c.closed.Load() == closed && c.readErr == nil {
		c.readErr = c.readClosed()
		c.dropInput()
	}
}

// readFailed translates an error of the network connection. It is permanent
// unless a wait between messages ended.
func (c *Conn) readFailed(err error) error {
	timeout := isTimeout(err)
	err = c.connError(c.rbound.waitError(err))
	switch {
	case timeout && !c.inMessage:
		return err
	case err == io.EOF, err == io.ErrUnexpectedEOF: // the latter from TLS, inside a record
		// RFC 6455 §7.1.5: the stream ended without a close frame.
		err = &CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}
	}
	return c.endReading(permanent(err))
}

// endReading makes err the answer to every read from now on.
func (c *Conn) endReading(err error) error {
	c.readErr = err
	c.dropInput()
	c.keep.stop()
	c.hook().endPings(err)
	return err
}
