package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// inFlight is how many pings wait for their pong.
func inFlight(c *Conn) int {
	h := c.controls()
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pings.waiting)
}

func TestPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		asyncRead(c)
		done := async(func() error { return c.Ping(t.Context()) })
		f, err := p.next()
		if err != nil || f.First != 0x89 {
			t.Fatalf("frame %02x, %v, want a ping", f.First, err)
		}
		stillWaiting(t, "Ping", done)
		for _, foreign := range []string{"", "x", f.Payload + "x", f.Payload[1:], strings.Repeat("x", len(f.Payload))} {
			p.send(pongFrame(foreign))
		}
		stillWaiting(t, "Ping after pongs to other pings", done)
		p.send(pongFrame(f.Payload))
		if err := ended(t, "Ping", done); err != nil {
			t.Error(err)
		}
		p.send(pongFrame(f.Payload)) // once more does no harm
		synctest.Wait()
	})
}

func TestPingsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		asyncRead(c)
		const n = 8
		var done [n]<-chan error
		var sent [n]string
		seen := map[string]bool{}
		for i := range n {
			done[i] = async(func() error { return c.Ping(context.Background()) })
			f, err := p.next()
			if err != nil {
				t.Fatal(err)
			}
			sent[i], seen[f.Payload] = f.Payload, true
		}
		if len(seen) != n {
			t.Fatalf("%d different payloads for %d pings", len(seen), n)
		}
		// RFC 6455 §5.5.3: a pong answers the pings before its own as well.
		for i, answered := range []int{0, 1, 4, 7} {
			p.send(pongFrame(sent[answered]))
			first := []int{0, 1, 2, 5}[i]
			for k := first; k <= answered; k++ {
				if err := ended(t, fmt.Sprint("ping ", k), done[k]); err != nil {
					t.Error(err)
				}
			}
			for k := answered + 1; k < n; k++ {
				stillWaiting(t, fmt.Sprint("ping ", k), done[k])
			}
		}
	})
}

// What ends a ping that is not answered.
func TestPingEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *Conn, p *peer, cancel func())
		want error
	}{
		{"context", func(c *Conn, p *peer, cancel func()) { cancel() }, errCause},
		{"Close", func(c *Conn, p *peer, cancel func()) { c.Close() }, net.ErrClosed},
		{"end of the stream", func(c *Conn, p *peer, cancel func()) { p.Close() }, io.ErrUnexpectedEOF},
		{"close frame", func(c *Conn, p *peer, cancel func()) { p.send(closeFrame(1000, "")) }, &CloseError{Code: 1000}},
		{"protocol error", func(c *Conn, p *peer, cancel func()) { p.send(frame(0x83, "")) }, violation("bad opcode 3")},
	} {
		bubble(t, test.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			asyncRead(c)
			ctx, cancel := newCancel()
			one := async(func() error { return c.Ping(ctx) })
			two := async(func() error { return c.Ping(ctx) })
			synctest.Wait()
			test.end(c, p, cancel)
			for _, done := range []<-chan error{one, two} {
				err := ended(t, "Ping", done)
				if !errors.Is(err, test.want) && fmt.Sprint(err) != fmt.Sprint(test.want) {
					t.Errorf("Ping: %v, want %v", err, test.want)
				}
			}
			if err := async(func() error { return c.Ping(ctx) }); test.name != "context" {
				if ended(t, "a ping behind the end", err) == nil {
					t.Error("a ping behind the end returned no error")
				}
			}
		})
	}
}

// Close also ends the pings of a connection that no one reads.
func TestPingEndsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		done := async(func() error { return c.Ping(context.Background()) })
		stillWaiting(t, "Ping", done)
		c.Close()
		if err := ended(t, "Ping", done); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Ping: %v", err)
		}
	})
}

// No one reads: the ping is sent, and its pong waits for a reader.
func TestPingBeforeReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		done := async(func() error { return c.Ping(context.Background()) })
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		go p.send(pongFrame(f.Payload), textFrame("a"))
		stillWaiting(t, "Ping", done)
		wantRead(t, c, "a")
		if err := ended(t, "Ping", done); err != nil {
			t.Error(err)
		}
	})
}

// Given up before it was sent, a ping leaves nothing behind.
func TestPingGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		ctx, cancel := newCancel()
		cancel()
		wantContext(t, c.Ping(ctx))
		writing := async(func() error { return c.WriteMessage(TextMessage, nil) })
		synctest.Wait()
		waiting, cancel := newCancel()
		time.AfterFunc(time.Second, cancel)
		wantContext(t, c.Ping(waiting))
		if n := inFlight(c); n != 0 {
			t.Errorf("%d pings are still listed", n)
		}
		p.expect(textFrame(""))
		if err := <-writing; err != nil {
			t.Error(err)
		}
	})
}

// The reading ends just before the ping is listed: it must not wait forever.
func TestPingBehindLastRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, _ := sunk(t, connConfig{isServer: true})
		c.read.mu.Lock(noContext, nil) // as the reader that meets the error
		c.read.end(io.ErrUnexpectedEOF)
		done := async(func() error { return c.Ping(context.Background()) })
		synctest.Wait()
		c.read.unlock()
		if err := ended(t, "Ping", done); err != io.ErrUnexpectedEOF {
			t.Errorf("Ping: %v", err)
		}
	})
}

// A close handler runs while the reading half is taken; a ping that is sent meanwhile, or shortly
// after, ends with the connection's error.
func TestPingDuringCloseHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, p := sunk(t, connConfig{isServer: true})
		var done <-chan error
		c.SetCloseHandler(func(int, string) error {
			done = async(func() error { return c.Ping(context.Background()) })
			synctest.Wait()
			return nil
		})
		go p.send(closeFrame(1000, ""))
		readErr(c)
		if err := ended(t, "Ping", done); !IsCloseError(err, 1000) {
			t.Errorf("Ping: %v", err)
		}
	})
}

// Pings of others go out behind a Ping, and the peer answers the last alone.
func TestPingBehindOtherPings(t *testing.T) {
	for name, other := range map[string]func(c *Conn){
		"WriteControl": func(c *Conn) { c.WriteControl(PingMessage, []byte("x"), time.Time{}) },
		"WriteMessage": func(c *Conn) { c.WriteMessage(PingMessage, nil) },
		"KeepAlive":    func(*Conn) { time.Sleep(time.Minute) },
		"more than are remembered": func(c *Conn) {
			for i := range 2 * maxUntracked {
				c.WriteControl(PingMessage, fmt.Append(nil, i), time.Time{})
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}})
			asyncRead(c)
			done := async(func() error { return c.Ping(t.Context()) })
			frames := make(chan wireFrame, 100)
			go func() {
				for {
					f, err := p.next()
					if err != nil {
						return
					}
					frames <- f
				}
			}()
			synctest.Wait()
			other(c)
			synctest.Wait()
			var last wireFrame
			for len(frames) > 0 {
				last = <-frames
			}
			stillWaiting(t, "Ping", done)
			p.send(pongFrame(last.Payload))
			if err := ended(t, "Ping", done); err != nil {
				t.Error(err)
			}
		})
	}
}

// What counts is the order in which pings go out, not the one in which they were asked for.
func TestPingOrder(t *testing.T) {
	var h control
	var f [3]pendingPing
	for i := range f {
		f[i] = pendingPing{payload: [8]byte{byte(i)}, done: make(chan error, 1)}
		if err := h.addPing(&f[i]); err != nil {
			t.Fatal(err)
		}
	}
	h.pingSent(f[1].payload[:])
	h.pingSent([]byte("other"))
	h.pingSent(f[0].payload[:])
	h.pongReceived(f[2].payload[:]) // not out yet
	h.pongReceived([]byte("another"))
	if n := len(f[0].done) + len(f[1].done) + len(f[2].done); n != 0 {
		t.Errorf("%d pings ended by pongs to no ping", n)
	}
	h.pongReceived([]byte("other"))
	if len(f[0].done) != 0 || len(f[1].done) != 1 || len(f[2].done) != 0 {
		t.Error("a pong to another's ping ends those before it, and only those")
	}
	h.pingSent(f[2].payload[:])
	h.pongReceived(f[2].payload[:])
	if len(f[0].done) != 1 || len(f[1].done) != 1 || len(f[2].done) != 1 {
		t.Error("a pong ends those before its own")
	}
	if h.pings.waiting != nil || h.pings.untracked != nil {
		t.Errorf("remembered for nobody: %+v", h.pings)
	}
}

func TestPingWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		asyncRead(c)
		done := async(func() error { return c.Ping(noContext) })
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		p.send(pongFrame(f.Payload))
		if err := ended(t, "Ping", done); err != nil {
			t.Error(err)
		}
	})
}

// A KeepAlive's ping has its own payload, so a pong that nobody asked for ends no Ping.
func TestPingBehindKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Second, Timeout: time.Hour}})
		asyncRead(c)
		done := async(func() error { return c.Ping(t.Context()) })
		f, _ := p.next()
		kept, err := p.next() // a second later
		if err != nil || kept.First != 0x89 || len(kept.Payload) == 0 {
			t.Fatalf("the ping of KeepAlive is %+v, %v", kept, err)
		}
		p.send(pongFrame(""))
		stillWaiting(t, "Ping behind an unsolicited pong", done)
		p.send(pongFrame(f.Payload))
		if err := ended(t, "Ping", done); err != nil {
			t.Error(err)
		}
	})
}

// Any number of pings may be in flight: what one costs does not depend on how many there are.
func TestPingMany(t *testing.T) {
	var k control
	pings := make([]pendingPing, 200_000)
	for i := range pings {
		p := &pings[i]
		p.done = make(chan error, 1)
		binary.LittleEndian.PutUint64(p.payload[:], uint64(i))
		if err := k.addPing(p); err != nil {
			t.Fatal(err)
		}
		k.pingSent(p.payload[:])
	}
	for i := range pings {
		if i%3 == 0 {
			k.removePing(&pings[i]) // its context has ended
		}
	}
	for i := range pings {
		k.pongReceived(pings[i].payload[:])
		if got, want := len(pings[i].done), min(1, i%3); got != want {
			t.Fatalf("ping %d: ended %d times, want %d", i, got, want)
		}
	}
	if k.pings.waiting != nil || k.pings.sent != nil {
		t.Error("pings are still listed")
	}
}
