package main

// One connection: a goroutine takes the member's queue to the network, the caller reads. Whatever
// ends either side is a cause on one context, and one place turns it into a close frame.

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tautws/websocket"
)

const (
	writeWait   = 10 * time.Second // for one message to leave
	goodbyeWait = 2 * time.Second  // for the close handshake
	readLimit   = 16 << 10         // bytes: maxText runes of JSON, escapes included
	burst       = 20               // messages at once, and then
	pace        = 200 * time.Millisecond
)

var (
	errTooFast = errors.New("you write too fast")
	errNotJSON = errors.New(`a message looks like {"text":"hello"}`)
)

// converse is one membership from beginning to end.
func converse(ctx context.Context, c *websocket.Conn, h *hub, room, name string) {
	ctx, sendAway := context.WithCancelCause(ctx)
	defer sendAway(nil)
	c.SetReadLimit(readLimit)
	m, err := h.join(room, name, sendAway)
	if err != nil {
		goodbye(c, err)
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		sendAway(deliver(c, m.queue))
	}()
	err = listen(ctx, c, func(text string) { h.say(m, text) })
	h.leave(m)
	goodbye(c, err)
	<-written
}

// listen hands on what the member says until the peer leaves (nil), breaks the rules, or ctx ends.
func listen(ctx context.Context, c *websocket.Conn, say func(text string)) error {
	var tokens rate
	for message, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		var said struct{ Text string }
		if message.Type != websocket.TextMessage || json.Unmarshal(message.Data, &said) != nil {
			return errNotJSON
		}
		if !tokens.take(time.Now()) {
			return errTooFast
		}
		if text := clean(said.Text, maxText); text != "" {
			say(text)
		}
	}
	return nil
}

// deliver writes until the queue is closed and empty. A peer that takes nothing for writeWait is lost.
func deliver(c *websocket.Conn, queue <-chan *websocket.PreparedMessage) error {
	for message := range queue {
		c.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.WritePreparedMessage(message); err != nil {
			return err
		}
	}
	return nil
}

// goodbye tells the peer why it ends; if the peer is the one who left, this is only a Close.
func goodbye(c *websocket.Conn, err error) {
	code, reason := websocket.CloseNormalClosure, ""
	switch {
	case err == nil:
	case errors.Is(err, errGoingAway):
		code, reason = websocket.CloseGoingAway, errGoingAway.Error()
	case errors.Is(err, errTooSlow), errors.Is(err, errFull):
		code, reason = websocket.CloseTryAgainLater, err.Error()
	case errors.Is(err, errTooFast):
		code, reason = websocket.ClosePolicyViolation, err.Error()
	case errors.Is(err, errNotJSON):
		code, reason = websocket.CloseUnsupportedData, err.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, reason)
}

// rate is a bucket of burst tokens, refilled by one every pace.
type rate struct{ full time.Time }

// take takes a token at the time now, if there is one. full is when the bucket will be full again.
func (r *rate) take(now time.Time) bool {
	if r.full.Before(now) {
		r.full = now
	}
	if r.full.Sub(now) > (burst-1)*pace {
		return false
	}
	r.full = r.full.Add(pace)
	return true
}
