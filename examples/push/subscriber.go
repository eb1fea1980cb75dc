package main

// One connection. The caller of send writes; a second goroutine reads, since pongs and the peer's
// close frame are seen by a reader only. Whatever ends either is a cause on one context.

import (
	"context"
	"errors"
	"time"

	"github.com/tautws/websocket"
)

const (
	writeWait   = 5 * time.Second // for one message to leave; after that the subscriber is lost
	goodbyeWait = 2 * time.Second // for the close handshake
)

var errNotAsked = errors.New("this feed takes no messages")

// send gives the subscriber the past and then the newest sample, again and again, until it leaves,
// takes nothing for writeWait, or ctx ends.
func send(ctx context.Context, c *websocket.Conn, f *feed) {
	f.subscribers.Add(1)
	defer f.subscribers.Add(-1)
	ctx, end := context.WithCancelCause(ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		end(listen(ctx, c))
	}()

	message, next := f.past()
	for ctx.Err() == nil {
		c.SetWriteDeadline(time.Now().Add(writeWait))
		if err := c.WritePreparedMessage(message); err != nil {
			end(err)
			break
		}
		select {
		case <-next:
			message, next = f.newest()
		case <-ctx.Done():
		}
	}
	<-read
	goodbye(c, context.Cause(ctx))
}

// listen returns when the subscriber leaves, says anything, or ctx ends.
func listen(ctx context.Context, c *websocket.Conn) error {
	for _, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		return errNotAsked
	}
	return nil
}

// goodbye tells the peer why it ends; if the peer is the one who left, this is only a Close.
func goodbye(c *websocket.Conn, cause error) {
	code, reason := websocket.CloseNormalClosure, ""
	switch {
	case errors.Is(cause, errGoingAway):
		code, reason = websocket.CloseGoingAway, errGoingAway.Error()
	case errors.Is(cause, errNotAsked):
		code, reason = websocket.ClosePolicyViolation, errNotAsked.Error()
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, reason)
}
