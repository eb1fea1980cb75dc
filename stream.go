package websocket

import (
	"context"
	"net"
	"sync"
	"time"
)

// Stream, a Conn as a net.Conn, whose calls are in streamio.go; CloseRead, for programs that only
// write; Err.

const (
	maxPiece        = 64 << 10        // bytes that a goroutine reads or writes at a time
	streamCloseWait = 5 * time.Second // for the close handshake
)

// Stream returns the connection as a net.Conn, whose bytes are the payloads of messages of one
// type, BinaryMessage as a rule: for protocols that expect a TCP connection.
//
// Read reads across messages; their boundaries and those without payload are not seen. Each Write
// sends one message, and none if it has no bytes. A message of the other type fails the connection
// with code 1003. (A stream of TextMessages needs Writes that are UTF-8 each.) Read returns io.EOF
// when the peer closes normally, with code 1000 or 1001, and any other error as ReadMessage does.
// No message is in memory as a whole, so Stream lifts the read limit; SetReadLimit can set one.
//
// The stream has deadlines of its own, and they never cost it its place. A Read that times out has
// read nothing. A Write that times out with n has sent, or will send, p[:n] and no more, so that
// the program can go on with p[n:]; until that is sent other Writes wait. If n is less than len(p),
// the message ends there.
//
// Close is a close handshake with code 1000 that gives up after 5 seconds; it returns nil only if
// the peer has answered. Reads and writes in progress end at once. What the peer sends meanwhile is
// discarded.
//
// The result also has the method CloseWrite() error: it sends the close frame, and reading goes on.
// RFC 6455 §5.5.1 wants a peer to answer soon, so most peers stop sending when they have read it,
// and their writes fail then. Where the other end is a stream as well and both call
//
//	c.SetCloseHandler(func(int, string) error { return nil })
//
// it is a half-close as TCP has it: no answer goes out until that end calls CloseWrite or Close
// itself, and its writes go on.
//
// Call Stream once, and leave reading and writing data to it from then on. It clears the deadlines
// of c. Control frames, Ping and Shutdown can be used as before.
func (c *Conn) Stream(messageType int) net.Conn {
	c.SetReadLimit(0)
	c.SetWriteDeadline(time.Time{})
	s := &stream{conn: c, messageType: messageType, closed: make(chan struct{})}
	s.in.init(s.closed)
	s.in.done = make(chan struct{}, 1)
	s.in.aside = c.SetReadDeadline(time.Time{}) != nil // some net.Conns have no deadlines
	s.out.init(s.closed)
	s.out.done = make(chan struct{}, 1)
	return s
}

type stream struct {
	conn        *Conn
	messageType int
	closed      chan struct{} // closed by Close
	closing     sync.Once
	closeErr    error
	in          streamReader
	out         streamWriter
}

// CloseWrite sends a close frame behind what was written.
func (s *stream) CloseWrite() error {
	out := &s.out
	if err := out.begin(); err != nil {
		return s.error("close", err)
	}
	defer out.end()
	reached, err := s.settle()
	if err == nil {
		out.start(func() error {
			err := s.conn.WriteMessage(CloseMessage, FormatCloseMessage(CloseNormalClosure, ""))
			if err == ErrCloseSent {
				return nil
			}
			return err
		})
		reached, err = out.finish()
	}
	if !reached {
		err = s.error("close", err)
	}
	return err
}

func (s *stream) Close() error {
	s.closing.Do(func() {
		close(s.closed)
		ctx, cancel := context.WithTimeout(context.Background(), streamCloseWait)
		defer cancel()
		s.conn.SetReadDeadline(aLongTimeAgo) // for a Read in progress
		select {
		case s.in.taken <- struct{}{}:
		case <-ctx.Done(): // it is in a control frame handler
		}
		s.conn.SetReadDeadline(time.Time{})
		s.flush(ctx)
		s.closeErr = s.conn.Shutdown(ctx, CloseNormalClosure, "")
	})
	return s.closeErr
}

// flush waits until what Write has taken is sent.
func (s *stream) flush(ctx context.Context) {
	out := &s.out
	out.taken <- struct{}{} // calls in progress end, and none begins any more
	if !out.working && out.message == nil {
		return
	}
	go s.conn.discardMessages() // the peer may read nothing until what it sends is read
	for {
		if out.working {
			select {
			case <-out.done:
				out.working = false
			case <-ctx.Done():
				return
			}
		}
		if out.err != nil || out.message == nil {
			return
		}
		out.start(s.endMessage)
	}
}

func (s *stream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

func (s *stream) SetReadDeadline(t time.Time) error {
	if err := s.in.setDeadline(t); err != nil {
		return s.error("set", err)
	}
	s.conn.SetReadDeadline(t)
	return nil
}

func (s *stream) SetWriteDeadline(t time.Time) error {
	if err := s.out.setDeadline(t); err != nil {
		return s.error("set", err)
	}
	return nil
}

func (s *stream) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) error(op string, err error) error { return connError(op, s.conn.nc, err) }

// CloseRead reads and discards what the peer sends, in a goroutine, until the connection ends: for
// programs that only write, since pings, pongs and the peer's close frame are handled only while
// someone reads. Nothing else is to read from then on.
//
// The context that it returns ends with ctx, and when the reading ends; then context.Cause is the
// error of the read, a *CloseError if the peer has closed. The end of ctx does not end the reading:
// Close and Shutdown do. So does a read deadline that passes.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { cancel(c.discardMessages()) }()
	return ctx
}

// discardMessages reads messages until an error ends that.
func (c *Conn) discardMessages() error {
	for {
		if _, _, err := c.NextReader(); err != nil {
			return err
		}
	}
}

// Err returns what has ended the reading, the error that every read returns: a *CloseError if the
// peer has closed, whose code Messages, for one, does not tell. It returns nil while the connection
// is open. Err does not read, and it never waits.
func (c *Conn) Err() error {
	k := c.control.Load()
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.pings.err
}
