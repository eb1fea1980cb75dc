package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// A handled connection and what its handler was called with.
type handled struct {
	c    *Conn
	p    *peer
	got  chan string // messages; closed by the last call
	done chan error  // the last call
}

// handleConn hands a connection to a handler that keeps what it gets.
func handleConn(t testing.TB, c *Conn, p *peer) *handled {
	h := &handled{c: c, p: p, got: make(chan string, 1000), done: make(chan error, 2)}
	c.Handle(func(_ *Conn, m Message, err error) {
		if err != nil {
			h.done <- err
			close(h.got)
			return
		}
		h.got <- string(m.Data)
	})
	return h
}

func (h *handled) want(t *testing.T, want string) {
	t.Helper()
	got, ok := <-h.got
	if !ok {
		t.Fatalf("the last call has %v, want message %.100q", <-h.done, want)
	}
	if got != want {
		t.Fatalf("message %.100q, want %.100q", got, want)
	}
}

// handleEach runs f over what a poller serves and what it does not.
func handleEach(t *testing.T, cfg connConfig, f func(t *testing.T, h *handled)) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){
		"TCP": overTCP, "TLS": overTLS, "pipe": overPipe,
	} {
		t.Run(name, func(t *testing.T) {
			c, p := over(t, cfg)
			f(t, handleConn(t, c, p))
		})
	}
}

func TestHandle(t *testing.T) {
	handleEach(t, connConfig{isServer: true}, func(t *testing.T, h *handled) {
		long := strings.Repeat("long ", 100_000)
		frames := h.p.collect()
		go func() {
			h.p.send(textFrame("a"), frame(0x01, "b"), pingFrame("x"), frame(0x80, "c"), textFrame(""))
			h.p.send(textFrame(long))
			h.p.send(closeFrame(1000, "bye"))
		}()
		for _, want := range []string{"a", "bc", "", long} {
			h.want(t, want)
		}
		if err := <-h.done; !IsCloseError(err, 1000) {
			t.Error(err)
		}
		if got := <-frames; !wiretest.Equal(got, []wireFrame{pongFrame("x"), closeFrame(1000, "")}) {
			t.Errorf("sent %q", wiretest.Payloads(got))
		}
		if err := readErr(h.c); !IsCloseError(err, 1000) {
			t.Errorf("a later read: %v", err)
		}
		if err := h.c.WriteMessage(TextMessage, nil); err == nil {
			t.Error("the connection is not closed")
		}
	})
}

// Whatever comes a byte at a time is handled like what comes whole, and what is not whole holds no
// goroutine and little memory.
func TestHandleBytewise(t *testing.T) {
	cfg := wireConfig(true, true, true)
	for name, frames := range map[string][]wireFrame{
		"text":       {textFrame("héllo"), pingFrame("ping"), textFrame(strings.Repeat("é", 300))},
		"fragments":  {frame(0x01, "a"), frame(0x00, ""), pingFrame(""), frame(0x00, "é"), frame(0x80, "b")},
		"compressed": {deflatedFrame(strings.Repeat("abcdefgh", 100)), textFrame("x"), deflatedFrame("y")},
	} {
		t.Run(name, func(t *testing.T) {
			var want []string
			c, _ := overTCP(t, cfg)
			c.Close()
			whole, p := overPipe(t, cfg)
			p.drain()
			go func() { p.send(frames...); p.Close() }()
			for m, err := range whole.Messages(t.Context()) {
				if err != nil {
					break
				}
				want = append(want, string(m.Data))
			}
			c, p = overTCP(t, cfg)
			p.drain()
			h := handleConn(t, c, p)
			go func() {
				for _, b := range wiretest.Encode(frames, true) {
					p.Write([]byte{b})
				}
			}()
			for _, w := range want {
				h.want(t, w)
			}
			if len(want) == 0 {
				t.Error("no messages")
			}
		})
	}
}

// A handler that waits holds up no other connection.
func TestHandleBlocked(t *testing.T) {
	release := make(chan bool)
	var blocked sync.WaitGroup
	for range 50 {
		c, p := overTCP(t, connConfig{isServer: true})
		blocked.Add(1)
		c.Handle(func(_ *Conn, m Message, err error) {
			if err == nil {
				blocked.Done()
				<-release
			}
		})
		p.send(textFrame("wait"))
	}
	blocked.Wait()
	c, p := overTCP(t, connConfig{isServer: true})
	h := handleConn(t, c, p)
	for i := range 100 {
		p.send(textFrame(fmt.Sprint(i)))
		h.want(t, fmt.Sprint(i))
	}
	close(release)
}

// A connection that floods does not keep others of its poller waiting.
func TestHandleFlood(t *testing.T) {
	var stop atomic.Bool
	defer stop.Store(true)
	for range 2 * max(1, len(pollers)) {
		c, p := overTCP(t, connConfig{isServer: true})
		c.Handle(func(*Conn, Message, error) {})
		go func() {
			b := wiretest.Encode(make100(textFrame("flood")), true)
			for !stop.Load() {
				if _, err := p.Write(b); err != nil {
					return
				}
			}
		}()
	}
	c, p := overTCP(t, connConfig{isServer: true})
	h := handleConn(t, c, p)
	for i := range 20 {
		p.send(textFrame(fmt.Sprint(i)))
		h.want(t, fmt.Sprint(i))
	}
}

func make100(f wireFrame) (frames []wireFrame) {
	for range 100 {
		frames = append(frames, f)
	}
	return frames
}

// The last call comes once, with what a read would return, and the connection is closed after it.
func TestHandleEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(h *handled)
		want func(err error) bool
	}{
		"close frame": {func(h *handled) { h.p.send(closeFrame(1001, "")) }, func(err error) bool { return IsCloseError(err, 1001) }},
		"end of stream": {func(h *handled) { h.p.Close() }, func(err error) bool {
			return IsCloseError(err, CloseAbnormalClosure) && errors.Is(err, io.ErrUnexpectedEOF)
		}},
		"inside a message": {func(h *handled) { h.p.send(textFrame("abc").Cut(7)); h.p.Close() },
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		"violation": {func(h *handled) { h.p.send(frame(0x83, "")); h.p.Close() },
			func(err error) bool { var pe *ProtocolError; return errors.As(err, &pe) }},
		"too big": {func(h *handled) { h.c.SetReadLimit(3); h.p.send(textFrame("abcd")); h.p.Close() },
			func(err error) bool { return err == ErrReadLimit }},
		"Close":    {func(h *handled) { h.c.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		"abort":    {func(h *handled) { h.c.abort(errHandlerExit) }, func(err error) bool { return err == errHandlerExit }},
		"deadline": {func(h *handled) { h.c.SetReadDeadline(time.Now()) }, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
		"later deadline": {func(h *handled) { h.c.SetReadDeadline(time.Now().Add(time.Millisecond)) },
			func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
		"Shutdown": {func(h *handled) {
			go h.c.Shutdown(context.Background(), 1000, "")
			for !h.c.read.ending.Load() {
				runtime.Gosched()
			}
			h.p.send(textFrame("dropped"), closeFrame(1000, ""))
		}, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
	} {
		t.Run(name, func(t *testing.T) {
			handleEach(t, connConfig{isServer: true}, func(t *testing.T, h *handled) {
				h.p.send(textFrame("a"))
				h.want(t, "a")
				h.p.drain()
				test.end(h)
				if err := <-h.done; !test.want(err) {
					t.Errorf("the last call has %v", err)
				}
				for h.c.state.Load() != stateClosed {
					runtime.Gosched()
				}
				if len(h.done) != 0 {
					t.Error("called again after the last call")
				}
			})
		})
	}
}

// From inside the handler, everything works.
func TestHandleInside(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(c *Conn) error
		want error
	}{
		"Close":    {func(c *Conn) error { c.Close(); return nil }, net.ErrClosed},
		"Shutdown": {func(c *Conn) error { return c.Shutdown(context.Background(), 1000, "") }, net.ErrClosed},
		"read": {func(c *Conn) error {
			if _, p, err := c.ReadMessage(); string(p) != "second" {
				return fmt.Errorf("read %q, %v", p, err)
			}
			return nil
		}, io.ErrUnexpectedEOF},
		"part of a message": {func(c *Conn) error {
			_, r, err := c.NextReader()
			if err == nil {
				_, err = io.ReadFull(r, make([]byte, 3))
			}
			return err
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			for _, over := range []func(testing.TB, connConfig) (*Conn, *peer){overTCP, overTLS, overPipe} {
				c, p := over(t, wireConfig(true, true, false))
				result, last := make(chan error, 10), make(chan error, 1)
				c.Handle(func(c *Conn, m Message, err error) {
					switch {
					case err != nil:
						last <- err
					case string(m.Data) == "first":
						result <- test.do(c)
					}
				})
				p.drain()
				go func() {
					p.send(textFrame("first"))
					p.send(textFrame("second"), textFrame("third"), closeFrame(1000, ""))
					p.Close()
				}()
				if err := <-result; err != nil {
					t.Error(err)
				}
				if err := <-last; !errors.Is(err, test.want) && !IsCloseError(err, 1000) {
					t.Errorf("the last call has %v, want %v", err, test.want)
				}
			}
		})
	}
}

// Answers to pipelined messages leave before the connection waits for more.
func TestHandleFlushesDelayed(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	c.Handle(func(c *Conn, m Message, err error) {
		if err == nil {
			c.WriteMessage(m.Type, m.Data)
		}
	})
	p.send(textFrame("a"), textFrame("b"), textFrame("c"))
	p.expect(textFrame("a"), textFrame("b"), textFrame("c"))
}

// KeepAlive ends a parked connection whose peer is gone, and leaves one alone that answers.
func TestHandleKeepAlive(t *testing.T) {
	for _, answers := range []bool{true, false} {
		keep := KeepAlive{Interval: 5 * time.Millisecond}
		if answers {
			keep.Timeout = time.Hour // however slow the machine is
		}
		c, p := overTCP(t, connConfig{isServer: true, keepAlive: keep})
		h := handleConn(t, c, p)
		for range 5 {
			f, err := p.next()
			if err != nil {
				break
			}
			if answers {
				p.send(pongFrame(f.Payload))
			}
		}
		if answers {
			p.send(textFrame("a"))
			h.want(t, "a")
		} else if err := <-h.done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the last call has %v", err)
		}
	}
}

// Ping from another goroutine sees the pong that a poller reads.
func TestHandlePing(t *testing.T) {
	handleEach(t, connConfig{isServer: true}, func(t *testing.T, h *handled) {
		go func() {
			for {
				f, err := h.p.next()
				if err != nil {
					return
				}
				h.p.send(pongFrame(f.Payload))
			}
		}()
		for range 10 {
			if err := h.c.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// What came with the handshake is handled though no bytes follow.
func TestHandleBuffered(t *testing.T) {
	for name, frames := range map[string][]wireFrame{
		"messages": {textFrame("a"), textFrame("b")}, "none": nil,
	} {
		t.Run(name, func(t *testing.T) {
			c, p := overTCP(t, connConfig{isServer: true, buffered: wiretest.Encode(frames, true)})
			h := handleConn(t, c, p)
			for _, f := range frames {
				h.want(t, string(f.Payload))
			}
			p.send(textFrame("c"))
			h.want(t, "c")
		})
	}
}

// A peer that announces much and sends little costs what it has sent, and no goroutine.
func TestHandleSlowPeers(t *testing.T) {
	for name, head := range map[string][]byte{
		"message":    wiretest.Encode([]wireFrame{textFrame(strings.Repeat("x", 60_000))}, true)[:60],
		"compressed": wiretest.Encode([]wireFrame{deflatedFrame(strings.Repeat("xyz", 5_000))}, true)[:12],
		"header":     wiretest.Encode([]wireFrame{textFrame(strings.Repeat("x", 60_000))}, true)[:3],
	} {
		t.Run(name, func(t *testing.T) {
			c, p := overTCP(t, wireConfig(true, true, false))
			h := handleConn(t, c, p)
			p.send(textFrame("a"))
			h.want(t, "a")
			p.Write(head)
			r := &c.read
			for {
				r.mu.Lock(noContext, nil)
				had := !r.buf.empty() || h.lentBytes() > 0
				size := h.lentBytes()
				if r.buf.buf != nil {
					size += len(r.buf.buf.b)
				}
				inflating := r.msg.compressed && !r.msg.collecting
				r.mu.Unlock()
				if had {
					if size > 4*len(head)+2<<minBufferBits {
						t.Errorf("%d bytes cost %d bytes of buffers", len(head), size)
					}
					if inflating {
						t.Error("the message holds an inflater")
					}
					return
				}
				runtime.Gosched()
			}
		})
	}
}

// lentBytes is how much memory a message that is not whole holds.
func (h *handled) lentBytes() int {
	if own := h.c.handler.Load().lent.own; own != nil {
		return len(own.b)
	}
	return 0
}

// Handle is the loop over Messages in every call from a bubble, too.
func TestHandlePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := overPipe(t, connConfig{isServer: true})
		c.Handle(func(*Conn, Message, error) {})
		for name, h := range map[string]func(*Conn, Message, error){"twice": func(*Conn, Message, error) {}, "nil": nil} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("Handle %s does not panic", name)
					}
				}()
				c.Handle(h)
			}()
		}
	})
}

// The messages of many connections, with pings and closes in between, arrive in order and once.
func TestHandleOrder(t *testing.T) {
	const conns, messages = 40, 100
	var wg sync.WaitGroup
	for i := range conns {
		server, client := tcpConns(t)
		next := 0
		last := make(chan error, 1)
		server.Handle(func(c *Conn, m Message, err error) {
			if err != nil {
				last <- err
				return
			}
			if string(m.Data) != fmt.Sprint(next) {
				t.Errorf("connection %d: message %q, want %d", i, m.Data, next)
			}
			next++
			c.WriteMessage(m.Type, m.Data)
		})
		client.Handle(func(c *Conn, m Message, err error) {})
		wg.Go(func() {
			for j := range messages {
				if err := client.WriteMessage(TextMessage, []byte(fmt.Sprint(j))); err != nil {
					t.Error(err)
				}
				if j%10 == 0 {
					server.Ping(t.Context())
				}
			}
			client.Shutdown(t.Context(), 1000, "")
			if err := <-last; !IsCloseError(err, 1000) || next != messages {
				t.Errorf("connection %d: %d messages, %v", i, next, err)
			}
		})
	}
	wg.Wait()
}
