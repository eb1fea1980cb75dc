package websocket

import (
	"io"

	"github.com/tautws/websocket/internal/mask"
)

// From the payload of frames to the data of a message: unmasked, inflated,
// within the limit and judged as UTF-8, each byte where it passes by. All of
// it needs the reading half.
//
// Invariant: remaining > 0 only inside a message.

// readPayload reads payload of the current message as it was sent, across
// frames. It returns io.EOF with the message's last bytes.
func (c *Conn) readPayload(p []byte) (int, error) {
	for c.remaining == 0 {
		if !c.in.fragment {
			return 0, io.EOF
		}
		h, n, err := c.nextHeader()
		if err == nil {
			err = c.beginFrame(h, n)
		}
		if err != nil {
			return 0, err
		}
	}
	if uint64(len(p)) > c.remaining {
		p = p[:c.remaining]
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	switch {
	case c.r == c.w && len(p) >= int(c.readSize):
		var err error
		if n, err = c.readDirect(p); err != nil {
			return 0, err
		}
		if c.in.server {
			mask.XOR(p[:n], p[:n], c.maskKey)
		}
	default:
		if c.r == c.w {
			if err := c.fill(); err != nil {
				return 0, err
			}
		}
		src := c.input()
		n = min(len(p), len(src))
		if c.in.server {
			mask.XOR(p[:n], src[:n], c.maskKey)
		} else {
			copy(p, src[:n])
		}
		c.r += int32(n)
	}
	c.maskKey = c.maskKey.After(n)
	c.remaining -= uint64(n)
	if c.remaining == 0 && !c.in.fragment {
		return n, io.EOF
	}
	return n, nil
}

// payloadReader is the Conn as the inflater sees it.
type payloadReader Conn

func (r *payloadReader) Read(p []byte) (int, error) { return (*Conn)(r).readPayload(p) }

// payloadAtHand reports whether a message that has just begun lies whole in the
// read buffer: in one frame and not compressed.
func (c *Conn) payloadAtHand() bool {
	return c.remaining <= uint64(c.w-c.r) && c.sizeKnown()
}

// takePayload reads such a message into p, which is as long as it is. p may be
// the very bytes in the read buffer.
func (c *Conn) takePayload(p []byte) error {
	src := c.input()[:len(p)]
	if c.in.server {
		mask.XOR(p, src, c.maskKey)
	} else {
		copy(p, src)
	}
	c.r += int32(len(p))
	c.remaining = 0
	if c.msgType == TextMessage {
		if err := c.judge(p, true); err != nil {
			return err
		}
	}
	c.endMessage()
	return nil
}

// readData reads the current message as the application gets it: inflated,
// within the limit, and UTF-8 if it is text. It returns io.EOF with the last
// bytes or behind them.
func (c *Conn) readData(p []byte) (n int, err error) {
	if c.compressed {
		n, err = c.inflate(p)
	} else {
		n, err = c.readPayload(p)
	}
	if err != nil && err != io.EOF {
		return 0, err // reading has ended: nothing else is wrong any more
	}
	if c.msgType == TextMessage {
		if err := c.judge(p[:n], err == io.EOF); err != nil {
			return 0, err
		}
	}
	if err == io.EOF {
		c.endMessage()
	}
	return n, err
}

// judge fails the connection if these bytes, the last of the message if end is
// set, cannot continue its text.
func (c *Conn) judge(p []byte, end bool) error {
	// RFC 6455 §8.1: failed at the first byte that cannot be right.
	if len(p) > 0 && !c.text.Write(p) || end && !c.text.Complete() {
		c.endInflate()
		return c.fail(&ProtocolError{CloseInvalidFramePayloadData, "text message is not valid UTF-8"})
	}
	return nil
}

func (c *Conn) inflate(p []byte) (int, error) {
	n, err := c.inflater.Read(p)
	c.delivered += int64(n)
	if limit := c.limit.Load(); limit > 0 && c.delivered > limit {
		n, err = 0, c.tooBig(limit)
	}
	if err != nil && err != io.EOF {
		if c.readErr == nil {
			// What ended it was not the connection, so it was the data.
			err = c.fail(&ProtocolError{CloseInvalidFramePayloadData, err.Error()})
		}
		c.endInflate()
	}
	return n, err
}

func (c *Conn) endInflate() {
	if c.compressed {
		c.compressed = false
		c.inflater.End()
	}
}

func (c *Conn) endMessage() {
	c.inMessage = false
	c.reader = nil
	c.endInflate()
	c.foresee()
	if hold := c.r < c.w && c.writeDelay > 0 && c.frameAtHand(); hold != c.hold.Load() {
		c.hold.Store(hold)
	}
}

// foresee sets how much the next reads ask for: enough for a message like the
// one that has just ended. Beyond mostAsked it is better read past the buffer.
func (c *Conn) foresee() {
	if size := c.received + maxHeaderSize; size <= int64(c.readSize) || size > mostAsked {
		c.ask = c.readSize
	} else {
		c.ask = int32(size)
	}
}

// discard reads the rest of a message that the application did not want.
func (c *Conn) discard() error {
	c.reader = nil
	b := getBuffer(defaultBufferSize)
	defer b.free()
	for {
		if _, err := c.readData(b.b); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}
