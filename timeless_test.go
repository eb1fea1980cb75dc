package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// A noDeadlines is a connection like an SSH channel.
type noDeadlines struct{ net.Conn }

var errNoDeadlines = errors.New("deadline not supported")

func (noDeadlines) SetDeadline(time.Time) error      { return errNoDeadlines }
func (noDeadlines) SetReadDeadline(time.Time) error  { return errNoDeadlines }
func (noDeadlines) SetWriteDeadline(time.Time) error { return errNoDeadlines }

// A halfCloser has a CloseWrite as well.
type halfCloser struct{ noDeadlines }

func (halfCloser) CloseWrite() error { return nil }

func overTimeless(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := net.Pipe()
	return play(t, noDeadlines{a}, b, cfg)
}

// A context ends a wait for the network, and the connection with it.
func TestTimelessContext(t *testing.T) {
	for _, test := range []struct {
		name string
		call func(ctx context.Context, c *Conn) error
	}{
		{"read", func(ctx context.Context, c *Conn) error { _, _, err := c.ReadMessageContext(ctx); return err }},
		{"write", func(ctx context.Context, c *Conn) error { return c.WriteMessageContext(ctx, TextMessage, nil) }},
		{"Shutdown", func(ctx context.Context, c *Conn) error { return c.Shutdown(ctx, 1000, "") }},
		{"Ping", func(ctx context.Context, c *Conn) error { return c.Ping(ctx) }},
	} {
		bubble(t, test.name, func(t *testing.T) {
			c, p := overTimeless(t, connConfig{isServer: true})
			ctx, cancel := newCancel()
			time.AfterFunc(time.Second, cancel)
			start := time.Now()
			wantContext(t, test.call(ctx, c))
			if took := time.Since(start); took != time.Second {
				t.Errorf("took %v, want the second that the context lasted", took)
			}
			p.expectEnd()
			for range 2 {
				err := readErr(c)
				//lint:ignore SA1019 Old programs ask, so the answer must be right.
				if ne, ok := err.(net.Error); err == nil || ok && ne.Temporary() {
					t.Errorf("then a read: %v, want a permanent error", err)
				}
				if err := c.WriteMessage(TextMessage, nil); err == nil {
					t.Error("then a write: no error")
				}
			}
		})
	}
}

// Shutdown's context bounds the wait for the answer too, and that for a reader.
func TestTimelessShutdown(t *testing.T) {
	for _, server := range []bool{true, false} {
		for _, reader := range []bool{true, false} {
			bubble(t, fmt.Sprintf("server %v, reader %v", server, reader), func(t *testing.T) {
				c, p := overTimeless(t, connConfig{isServer: server})
				p.drain()
				var read <-chan outcome
				if reader {
					read = asyncRead(c)
					synctest.Wait()
				}
				ctx, cancel := newCancel()
				time.AfterFunc(time.Minute, cancel)
				start := time.Now()
				wantContext(t, c.Shutdown(ctx, 1000, ""))
				if took := time.Since(start); took != time.Minute {
					t.Errorf("took %v, want all of ctx", took)
				}
				if reader {
					if err := ended(t, "the reader", read).err; !errors.Is(err, net.ErrClosed) {
						t.Errorf("the reader: %v", err)
					}
				}
			})
		}
	}
	bubble(t, "a server that answers and does not close", func(t *testing.T) {
		c, p := overTimeless(t, connConfig{})
		start := time.Now()
		done := shutdown(t.Context(), c)
		p.expect(byeFrame)
		p.send(closeFrame(1000, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != closeWait {
			t.Errorf("the client waited for %v, want %v", took, closeWait)
		}
	})
}

// A context that ends while no one waits for the network ends nothing.
func TestTimelessContextBetweenCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overTimeless(t, connConfig{isServer: true})
		frames := p.collect()
		for range 3 {
			ctx, cancel := newCancel()
			go p.send(textFrame("a"))
			if _, _, err := c.ReadMessageContext(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteMessageContext(ctx, TextMessage, []byte("b")); err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			_, _, err := c.ReadMessageContext(ctx)
			wantContext(t, err)
			wantContext(t, c.WriteMessageContext(ctx, TextMessage, []byte("not sent")))
		}
		go p.send(textFrame("c"))
		wantRead(t, c, "c")
		write(t, c, "d")
		c.Close()
		if got := <-frames; len(got) != 4 {
			t.Errorf("frames %q", payloads(got))
		}
	})
}

// Deadlines work as well: one that has passed before a read harms nothing, and the
// last that is set counts.
func TestTimelessDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overTimeless(t, connConfig{isServer: true})
		p.drain()
		c.SetReadDeadline(time.Now())
		for range 2 {
			wantDeadline(t, readErr(c), true)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		done := asyncRead(c)
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		advance(time.Minute - 1)
		c.SetReadDeadline(time.Time{})
		advance(time.Hour)
		stillWaiting(t, "a read whose deadline was moved and lifted", done)
		p.send(textFrame("a"))
		if got := <-done; got.data != "a" || got.err != nil {
			t.Errorf("read %q, %v", got.data, got.err)
		}
		advance(time.Hour) // no alarm is left over
		done = asyncRead(c)
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Second))
		wantDeadline(t, (<-done).err, false)
		p.expectEnd()
	})
}

// What the library waits for at the end of a connection has its bound.
func TestTimelessEnd(t *testing.T) {
	for _, half := range []bool{true, false} {
		for _, takes := range []bool{true, false} {
			bubble(t, fmt.Sprintf("CloseWrite %v, peer reads %v", half, takes), func(t *testing.T) {
				a, b := net.Pipe()
				nc := net.Conn(noDeadlines{a})
				if half {
					nc = halfCloser{noDeadlines{a}}
				}
				c, p := play(t, nc, b, connConfig{isServer: true})
				if takes {
					p.drain()
				}
				done := asyncRead(c)
				p.send(frame(0x83, ""))
				start := time.Now()
				var pe *ProtocolError
				if err := (<-done).err; !errors.As(err, &pe) {
					t.Errorf("read: %v, want the violation", err)
				}
				want := closeWait // for the close frame, or for what the peer still sends
				if takes && !half {
					want = 0
				}
				if took := time.Since(start); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
				p.expectEnd()
			})
		}
	}
	bubble(t, "Close with held frames", func(t *testing.T) {
		c, p := overTimeless(t, connConfig{isServer: true, buffered: wireBytes(repeated(2, textFrame("a")), true)})
		wantRead(t, c, "a")
		write(t, c, "held")
		ping := async(func() error { return c.Ping(t.Context()) })
		start := time.Now()
		c.Close()
		if took := time.Since(start); took > closeWait {
			t.Errorf("Close took %v", took)
		}
		if err := <-ping; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Ping: %v", err)
		}
		p.expectEnd()
	})
	bubble(t, "WriteControl", func(t *testing.T) {
		c, p := overTimeless(t, connConfig{isServer: true})
		wantDeadline(t, c.WriteControl(PingMessage, nil, time.Now().Add(time.Second)), false)
		p.expectEnd()
	})
}

// While no one reads KeepAlive does not look for what may wait, which could only
// be ended by closing the connection.
func TestTimelessKeepAlive(t *testing.T) {
	cfg := connConfig{isServer: true, keepAlive: KeepAlive{Interval: 10 * time.Second, Timeout: 5 * time.Second}}
	bubble(t, "application busy", func(t *testing.T) {
		c, p := overTimeless(t, cfg)
		p.drain()
		advance(time.Hour)
		sent := async(func() error { _, err := p.Write(wireBytes([]wireFrame{textFrame("a")}, true)); return err })
		advance(time.Hour)
		wantRead(t, c, "a")
		if err := <-sent; err != nil {
			t.Error(err)
		}
		advance(time.Hour)
		start := time.Now()
		wantGone(t, "read", readErr(c))
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("gone after %v", took)
		}
	})
	bubble(t, "no one reads at either end", func(t *testing.T) {
		c, _ := overTimeless(t, cfg)
		start := time.Now()
		wantGone(t, "write", c.WriteMessage(TextMessage, nil))
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("gone after %v", took)
		}
	})
}

func TestTimelessNetConn(t *testing.T) {
	a, b := net.Pipe()
	nc := noDeadlines{a}
	c, _ := play(t, nc, b, connConfig{})
	if c.NetConn() != nc {
		t.Errorf("NetConn is a %T", c.NetConn())
	}
}

// Over TLS the connection below is closed first: TLS would wait for it.
func TestTimelessTLS(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		server := tls.Server(noDeadlines{a}, &tls.Config{Certificates: s.TLS.Certificates})
		client := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		shaken := async(client.Handshake)
		if err := errors.Join(server.Handshake(), <-shaken); err != nil {
			t.Fatal(err)
		}
		c := newConn(server, connConfig{isServer: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		read := async(func() error { _, _, err := c.ReadMessageContext(ctx); return err })
		advance(time.Minute) // the peer reads nothing
		if err := ended(t, "the read", read); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
