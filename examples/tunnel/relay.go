package main

// The relay, the same at both ends. TCP's bytes travel in binary messages, whose boundaries mean
// nothing; an empty message ends one direction, as a FIN does, for WebSocket itself cannot be half
// closed. A direction that is slow holds up its sender through TCP's own flow control. Invariant:
// after the end of a direction the peer's frames are still read, for its pings and its close.

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket"
)

const (
	chunk       = 32 << 10        // bytes read from TCP at a time, and so sent in a message
	goodbyeWait = 2 * time.Second // for the close handshake
)

var (
	errBothEnded = errors.New("both directions have ended")
	errNotBinary = errors.New("the tunnel carries binary messages only")
	errAfterEnd  = errors.New("a message after the end of its direction")
)

// relay carries bytes both ways until both directions have ended, one has failed, or ctx ends. It
// closes both connections: cleanly after two ends, else with a code on the one side and a reset on
// the other, so that nobody takes a part for the whole.
func relay(ctx context.Context, c *websocket.Conn, tcp *net.TCPConn) error {
	c.SetReadLimit(0) // No message is held in memory, however long.
	ctx, end := context.WithCancelCause(ctx)
	var open atomic.Int32 // directions
	open.Store(2)
	endDirection := func() {
		if open.Add(-1) == 0 {
			end(errBothEnded)
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := send(c, tcp); err != nil {
			end(err)
		} else {
			endDirection()
		}
	})
	running.Go(func() { end(receive(tcp, c, endDirection)) })

	<-ctx.Done()
	err := context.Cause(ctx)
	if err != errBothEnded {
		tcp.SetLinger(0)
	}
	tcp.Close()
	code, reason := farewell(err)
	goodbye(c, code, reason)
	running.Wait()
	if err == errBothEnded {
		return nil
	}
	return err
}

// send turns what tcp says into messages, and its end into an empty one.
func send(c *websocket.Conn, tcp io.Reader) error {
	// The wrapper hides ReadFrom and WriteTo, which would not use the buffer.
	if _, err := io.CopyBuffer(messages{c}, struct{ io.Reader }{tcp}, make([]byte, chunk)); err != nil {
		return err
	}
	_, err := messages{c}.Write(nil)
	return err
}

// messages is a Writer that makes a message of each Write.
type messages struct{ c *websocket.Conn }

func (m messages) Write(p []byte) (int, error) {
	w, err := m.c.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.Close()
}

// receive turns messages into bytes for tcp, and an empty one into the end of tcp's input. It then
// calls ended, and goes on reading until the connection ends, since pings want their answers. It
// returns errBothEnded if the peer is the first to see that, and why no more can be read otherwise.
func receive(tcp *net.TCPConn, c *websocket.Conn, ended func()) error {
	buf := make([]byte, chunk)
	for end := false; ; {
		messageType, r, err := c.NextReader()
		switch {
		case end && websocket.IsCloseError(err, websocket.CloseNormalClosure):
			return errBothEnded
		case err != nil:
			return err
		case messageType != websocket.BinaryMessage:
			return errNotBinary
		case end:
			return errAfterEnd
		}
		n, err := io.CopyBuffer(struct{ io.Writer }{tcp}, r, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := tcp.CloseWrite(); err != nil {
				return err
			}
			end = true
			ended()
		}
	}
}

// farewell is the close code and reason for what ended a relay.
func farewell(err error) (code int, reason string) {
	switch {
	case errors.Is(err, errBothEnded):
		return websocket.CloseNormalClosure, ""
	case errors.Is(err, errGoingAway):
		return websocket.CloseGoingAway, err.Error()
	case errors.Is(err, errNotBinary):
		return websocket.CloseUnsupportedData, err.Error()
	case errors.Is(err, errAfterEnd):
		return websocket.ClosePolicyViolation, err.Error()
	default:
		return websocket.CloseInternalServerErr, "the connection behind the tunnel failed"
	}
}

// goodbye does the close handshake. Its error says only that the peer did not answer in time.
func goodbye(c *websocket.Conn, code int, reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeWait)
	defer cancel()
	c.Shutdown(ctx, code, reason)
}
