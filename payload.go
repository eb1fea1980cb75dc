package websocket

import "io"

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
			err = c.beginFrame(&h, n)
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
			mask(p[:n], p[:n], c.maskKey, int(c.maskPos))
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
			mask(p[:n], src[:n], c.maskKey, int(c.maskPos))
		} else {
			copy(p, src[:n])
		}
		c.r += int32(n)
	}
	c.maskPos = (c.maskPos + uint8(n)) & 3
	c.remaining -= uint64(n)
	if c.remaining == 0 && !c.in.fragment {
		return n, io.EOF
	}
	return n, nil
}

// payloadReader is the Conn as the inflater sees it.
type payloadReader Conn

func (r *payloadReader) Read(p []byte) (int, error) { return (*Conn)(r).readPayload(p) }

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
		// RFC 6455 §8.1: failed at the first byte that cannot be right.
		if n > 0 && !c.text.write(p[:n]) || err == io.EOF && !c.text.complete() {
			c.endInflate()
			return 0, c.fail(&ProtocolError{CloseInvalidFramePayloadData, "text message is not valid UTF-8"})
		}
	}
	if err == io.EOF {
		c.endMessage()
	}
	return n, err
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
		c.inflater.end()
	}
}

func (c *Conn) endMessage() {
	c.inMessage = false
	c.reader = nil
	c.endInflate()
	if hold := c.r < c.w && c.writeDelay > 0 && c.frameAtHand(); hold != c.hold.Load() {
		c.hold.Store(hold)
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
