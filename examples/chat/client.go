package main

// One connection, as its reader sees it: the hub writes.

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tautws/websocket"
)

const (
	goodbyeWait = 2 * time.Second // for the close handshake
	readLimit   = 16 << 10        // bytes: maxText runes of JSON, escapes included
	burst       = 20              // messages at once, and then
	pace        = 200 * time.Millisecond
)

var (
	errTooFast = errors.New("you write too fast")
	errNotJSON = errors.New(`a message looks like {"text":"hello"}`)
)

// converse is one membership from beginning to end.
func converse(ctx context.Context, c *websocket.Conn, h *hub, room, name string) {
	m, err := h.join(room, name, c)
	if err == nil {
		err = listen(ctx, c, func(text string) { h.say(m, text) })
		h.leave(m)
	}
	goodbye(c, err)
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

// goodbye tells the peer why it ends; if the connection has ended already, this is only a Close.
func goodbye(c *websocket.Conn, err error) {
	code := websocket.CloseNormalClosure
	switch err {
	case errFull:
		code = websocket.CloseTryAgainLater
	case errTooFast:
		code = websocket.ClosePolicyViolation
	case errNotJSON:
		code = websocket.CloseUnsupportedData
	default:
		c.Close()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, err.Error())
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
