package main

// The relay, the same at both ends: two copies between a TCP connection and the stream that a
// WebSocket connection is. A direction that is slow holds up its sender through TCP's own flow
// control.

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/tautws/websocket"
)

const goodbyeWait = 2 * time.Second // for the close handshake

// A half can be copied to, up to an end.
type half interface {
	io.Writer
	CloseWrite() error
}

// relay carries bytes both ways until both directions have ended, one has failed, or ctx ends. It
// closes both connections: cleanly after two ends, else with a code on the one side and a reset on
// the other, so that nobody takes a part for the whole.
func relay(ctx context.Context, c *websocket.Conn, tcp *net.TCPConn) error {
	// The close frame of the peer ends its direction. The answer is that of the other direction.
	c.SetCloseHandler(func(int, string) error { return nil })
	stream := c.Stream(websocket.BinaryMessage)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(aborted)
		tcp.SetLinger(0)
		tcp.Close()
		code, reason := farewell(context.Cause(ctx))
		goodbye(c, code, reason)
	})
	var running sync.WaitGroup
	direction := func(to half, from io.Reader) func() {
		return func() {
			if err := carry(to, from); err != nil {
				cancel(err)
			}
		}
	}
	running.Go(direction(stream.(half), tcp))
	running.Go(direction(tcp, incoming{stream, c}))
	running.Wait()
	if !stop() {
		<-aborted
		return context.Cause(ctx)
	}
	tcp.Close()
	return stream.Close()
}

// carry copies one direction and passes its end on.
func carry(to half, from io.Reader) error {
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	return to.CloseWrite()
}

// incoming is the reading side of a stream, for which only code 1000 is an end.
type incoming struct {
	stream io.Reader
	c      *websocket.Conn
}

func (r incoming) Read(p []byte) (int, error) {
	n, err := r.stream.Read(p)
	if err == io.EOF && !websocket.IsCloseError(r.c.Err(), websocket.CloseNormalClosure) {
		err = r.c.Err()
	}
	return n, err
}

// farewell is the close code and reason for what ended a relay.
func farewell(err error) (code int, reason string) {
	if errors.Is(err, errGoingAway) {
		return websocket.CloseGoingAway, err.Error()
	}
	return websocket.CloseInternalServerErr, "the connection behind the tunnel failed"
}

// goodbye does the close handshake. Its error says only that the peer did not answer in time.
func goodbye(c *websocket.Conn, code int, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, reason)
}
