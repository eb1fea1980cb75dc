package websocket

// What the two halves of a Conn, and what belongs to both, want of each other. The halves use
// nothing of Conn but what is here, conn and keep.

// beforeWait is called by the reader when nothing further is buffered and it is about to wait for
// the network: what was delayed until then is sent.
func (c *Conn) beforeWait() {
	w := &c.write
	if w.more.Load() {
		w.more.Store(false)
	}
	if w.delayed.Load() != delayedNone {
		w.tryFlush()
	}
	if c.keep != nil {
		c.keep.beforeWait()
	}
}

// moreInput is told at the end of a message whether another whole frame is buffered: then the next
// read will not wait, and what is written until then may be delayed.
func (c *Conn) moreInput(more bool) {
	if more = more && c.write.delay > 0; more != c.write.more.Load() {
		c.write.more.Store(more)
	}
}

// handleControl acts on a control frame that was read. p is valid until it returns. An error ends
// the reading.
func (c *Conn) handleControl(opcode int, p []byte) error {
	r := &c.read
	var onPing, onPong func(string) error
	var err error
	k := c.control.Load()
	if k != nil {
		k.mu.Lock()
		onPing, onPong = k.onPing, k.onPong
		k.mu.Unlock()
	}
	switch opcode {
	case PingMessage:
		if onPing != nil {
			err = r.callHandler(func() error { return onPing(string(p)) })
		} else {
			c.write.sendPong(p, c.write.delay > 0 && r.frameBuffered() && !c.netConnTaken())
		}
	case PongMessage:
		k.pongReceived(p)
		if k != nil && k.trace != nil {
			r.tracePong(k.trace, p)
		}
		if onPong != nil {
			err = r.callHandler(func() error { return onPong(string(p)) })
		}
	case CloseMessage:
		err = c.handleClose(p)
	}
	if err != nil {
		return err
	}
	return r.check()
}

// readingEnded is told the error that every read returns from now on.
func (c *Conn) readingEnded(err error) {
	c.keep.stop()
	if cause := c.goodbyeCause(); cause != nil {
		err = cause // and not the peer's answer, or that none came
	}
	if c.endPings(err) {
		c.read.traceClosed(err)
	}
}

// pingSent is told of every ping that goes out, in the order in which the peer sees them.
func (c *Conn) pingSent(payload []byte) { c.control.Load().pingSent(payload) }

// keepAlivePingSent is pingSent for the ping of KeepAlive.
func (c *Conn) keepAlivePingSent(payload []byte) {
	c.pingSent(payload)
	c.keep.pingSent()
}
