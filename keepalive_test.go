package websocket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// All times are those of a synctest bubble: hours pass at once, to the nanosecond.

// nextPing returns how long after start the next frame, a ping, came.
func nextPing(t *testing.T, p *peer, start time.Time) (time.Duration, wireFrame) {
	t.Helper()
	f, err := p.next()
	if err != nil || f.First != 0x89 {
		t.Fatalf("frame %02x, %v, want a ping", f.First, err)
	}
	return time.Since(start), f
}

// wantGone checks the error of a connection whose peer is gone.
func wantGone(t *testing.T, what string, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() ||
		!strings.Contains(err.Error(), "peer is gone") {
		t.Errorf("%s: %v (%T), want a timeout that says that the peer is gone", what, err, err)
	}
}

func keepAliveConn(t testing.TB, interval, timeout time.Duration) (*Conn, *peer) {
	return overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: interval, Timeout: timeout}})
}

// A peer that answers its pings is pinged once in every Interval, for hours.
func TestKeepAliveAnswered(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second, 10 * time.Second, time.Hour} {
		bubble(t, fmt.Sprint("timeout ", timeout), func(t *testing.T) {
			c, p := keepAliveConn(t, 30*time.Second, timeout)
			done := asyncRead(c)
			for range 300 {
				start := time.Now()
				if silence, f := nextPing(t, p, start); silence != 30*time.Second {
					t.Fatalf("pinged after %v of silence", silence)
				} else {
					p.send(pongFrame(f.Payload))
				}
			}
			stillWaiting(t, "the read", done)
		})
	}
}

// Any byte puts the ping off: parts of a frame as well.
func TestKeepAliveAnyByteCounts(t *testing.T) {
	for _, timeout := range []time.Duration{5 * time.Second, 25 * time.Second} {
		bubble(t, fmt.Sprint("timeout ", timeout), func(t *testing.T) {
			c, p := keepAliveConn(t, 10*time.Second, timeout)
			done := asyncRead(c)
			b := wiretest.Encode([]wireFrame{binaryFrame(strings.Repeat("x", 100))}, true)
			start := time.Now()
			go func() {
				for i := range b[:50] {
					<-time.After(9 * time.Second)
					p.Write(b[i : i+1])
				}
			}()
			if at, _ := nextPing(t, p, start); at != 50*9*time.Second+10*time.Second {
				t.Errorf("first ping after %v", at)
			}
			stillWaiting(t, "the read", done)
			// The ping is not answered, but what the peer sends counts.
			advance(timeout - 1)
			p.Write(b[50:51])
			heard := time.Now()
			if at, _ := nextPing(t, p, heard); at != 10*time.Second {
				t.Errorf("next ping %v after the last byte", at)
			}
		})
	}
}

func TestKeepAliveGone(t *testing.T) {
	for _, timeout := range []time.Duration{0, 3 * time.Second, 40 * time.Second} {
		bubble(t, fmt.Sprint("timeout ", timeout), func(t *testing.T) {
			c, p := keepAliveConn(t, 10*time.Second, timeout)
			if timeout == 0 {
				timeout = 10 * time.Second
			}
			p.drain()
			start := time.Now()
			done := asyncRead(c)
			// One pong comes; the wait for it must not delay what follows.
			advance(11 * time.Second)
			p.send(pongFrame(""))
			ping := async(func() error { return c.Ping(t.Context()) })
			err := (<-done).err
			wantGone(t, "read", err)
			if took := time.Since(start); took != 21*time.Second+timeout {
				t.Errorf("gone after %v, want 11s + 10s + %v", took, timeout)
			}
			if again := readErr(c); again != err {
				t.Errorf("second read: %v, want the same error", again)
			}
			wantGone(t, "Ping", <-ping)
			wantGone(t, "write", c.WriteMessage(TextMessage, nil))
			wantGone(t, "WriteControl", c.WriteControl(PingMessage, nil, time.Time{}))
			p.expectEnd()
		})
	}
}

// A peer that takes nothing: the ping cannot be sent, nor what a writer has.
func TestKeepAliveGoneWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := keepAliveConn(t, 10*time.Second, 5*time.Second)
		start := time.Now()
		read := asyncRead(c)
		wantGone(t, "write", c.WriteMessage(TextMessage, []byte("x")))
		wantGone(t, "read", (<-read).err)
		if took := time.Since(start); took != 15*time.Second {
			t.Errorf("gone after %v", took)
		}
	})
}

// largeMessages are the ways to send a message of n bytes in one frame.
var largeMessages = []struct {
	name   string
	server bool
	write  func(c *Conn, n int) error
}{
	{"server", true, func(c *Conn, n int) error { return c.WriteMessage(BinaryMessage, make([]byte, n)) }},
	{"client", false, func(c *Conn, n int) error { return c.WriteMessage(BinaryMessage, make([]byte, n)) }},
	{"prepared", true, func(c *Conn, n int) error {
		pm, err := NewPreparedMessage(BinaryMessage, make([]byte, n))
		if err != nil {
			return err
		}
		return c.WritePreparedMessage(pm)
	}},
}

// A peer that receives one long frame cannot see a ping before its end. As long as it takes some of
// it, it is there; then the ping comes, and has the Timeout.
func TestKeepAliveSlowReceiver(t *testing.T) {
	for _, message := range largeMessages {
		for _, stops := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%s, stops %v", message.name, stops), func(t *testing.T) {
				a, b := net.Pipe()
				c, p := play(t, a, b, connConfig{isServer: message.server,
					keepAlive: KeepAlive{Interval: 10 * time.Second, Timeout: 5 * time.Second}})
				read := asyncRead(c)
				const size = 20 * keepAliveChunk
				wrote := async(func() error { return message.write(c, size) })
				left := len(wiretest.Encode([]wireFrame{binaryFrame(string(make([]byte, size)))}, !message.server))
				if stops {
					left /= 2
				}
				for left > 0 {
					<-time.After(4 * time.Second)
					n, err := p.Read(make([]byte, min(left, keepAliveChunk)))
					if err != nil {
						t.Fatalf("%d bytes before the end: %v", left, err)
					}
					left -= n
				}
				last := time.Now()
				if !stops {
					if err := <-wrote; err != nil {
						t.Errorf("write: %v", err)
					}
					if silence, _ := nextPing(t, p, last); silence > 0 {
						t.Errorf("the ping came %v after the message", silence)
					}
				}
				wantGone(t, "read", (<-read).err)
				if took := time.Since(last); took > 5*time.Second || !stops && took < 5*time.Second {
					t.Errorf("gone %v after its last sign of life", took)
				}
				if stops {
					wantGone(t, "write", <-wrote)
				}
			})
		}
	}
}

// Written in pieces, a frame is what it would be otherwise.
func TestKeepAliveLargeFrames(t *testing.T) {
	data := make([]byte, 5*keepAliveChunk/2)
	for i := range data {
		data[i] = byte(i % 251)
	}
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"pipe": overPipe, "TCP": overTCP, "TLS": overTLS} {
		for _, server := range []bool{true, false} {
			c, p := over(t, connConfig{isServer: server, keepAlive: KeepAlive{Interval: time.Hour}})
			for _, size := range []int{keepAliveChunk - 1, keepAliveChunk, keepAliveChunk + 1, 2 * keepAliveChunk, len(data)} {
				done := async(func() error { return c.WriteMessage(BinaryMessage, data[:size]) })
				p.expect(binaryFrame(string(data[:size])))
				if err := <-done; err != nil {
					t.Errorf("%s, server %v, %d bytes: %v", name, server, size, err)
				}
			}
		}
	}
}

// In the middle of a message too.
func TestKeepAliveGoneInsideMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := keepAliveConn(t, 10*time.Second, 5*time.Second)
		p.drain()
		go p.send(frame(0x01, "abc"))
		_, data, err := c.ReadMessage()
		wantGone(t, "read", err)
		if string(data) != "abc" {
			t.Errorf("of the message %q was returned", data)
		}
	})
}

// A peer that is busy sending is alive, though it never answers a ping.
func TestKeepAliveBusyPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := keepAliveConn(t, 10*time.Second, 5*time.Second)
		p.drain()
		go func() {
			for range 1000 {
				p.send(binaryFrame("busy"))
				<-time.After(14 * time.Second)
			}
			p.send(textFrame("done"))
		}()
		start := time.Now()
		for {
			data, err := readOne(c)
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
			if data == "done" {
				return
			}
		}
	})
}

// An application that does not read while bytes wait does not lose the connection, nor the bytes,
// wherever they wait.
func TestKeepAliveApplicationBusy(t *testing.T) {
	for _, received := range [][]wireFrame{{textFrame("a"), textFrame("b")}, nil} {
		bubble(t, fmt.Sprint(len(received), " in the buffer"), func(t *testing.T) {
			a, b := net.Pipe()
			c, p := play(t, a, b, connConfig{isServer: true, buffered: wiretest.Encode(received, true),
				keepAlive: KeepAlive{Interval: 10 * time.Second, Timeout: 5 * time.Second}})
			p.drain()
			if received == nil {
				go p.send(textFrame("a"), textFrame("b"))
			}
			advance(time.Hour)
			wantRead(t, c, "a")
			advance(time.Hour)
			wantRead(t, c, "b")
			go p.send(textFrame("c"))
			wantRead(t, c, "c")
			// When nothing waits any more and no one reads, it is gone.
			advance(15 * time.Second)
			wantGone(t, "read", readErr(c))
		})
	}
}

// The look for waiting bytes leaves deadlines and contexts as they were.
func TestKeepAliveLeavesBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := keepAliveConn(t, 10*time.Second, 5*time.Second)
		p.drain()
		ctx, cancel := newCancel()
		go p.send(textFrame("a"), textFrame("b"), textFrame("c"))
		if _, _, err := c.ReadMessageContext(ctx); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		advance(30 * time.Second)
		for range 2 {
			if _, _, err := c.ReadMessageContext(ctx); err != nil {
				t.Fatal(err)
			}
		}
		go func() {
			<-time.After(5 * time.Second)
			p.send(pongFrame(""))
			<-time.After(5 * time.Second)
			cancel()
		}()
		_, _, err := c.ReadMessageContext(ctx)
		wantContext(t, err)
		go func() {
			for range 3 {
				p.send(pongFrame(""))
				<-time.After(5 * time.Second)
			}
		}()
		wantDeadline(t, readErr(c), false)
	})
}

// It ends with the connection: a bubble does not end while a timer's goroutine lives, and no ping
// comes behind the end.
func TestKeepAliveStops(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *Conn, p *peer)
	}{
		{"Close", func(c *Conn, p *peer) { c.Close() }},
		{"the peer's close frame", func(c *Conn, p *peer) { p.send(closeFrame(1000, "")) }},
		{"a protocol error", func(c *Conn, p *peer) { p.send(frame(0x83, "")) }},
		{"the end of the stream", func(c *Conn, p *peer) { p.Close() }},
	} {
		bubble(t, test.name, func(t *testing.T) {
			c, p := keepAliveConn(t, 10*time.Second, 5*time.Second)
			frames := p.collect()
			done := asyncRead(c)
			advance(time.Second)
			test.end(c, p)
			err := (<-done).err
			synctest.Wait()
			if c.keep.timer.Stop() {
				t.Error("the timer still runs")
			}
			advance(time.Hour)
			if again := readErr(c); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("an hour later: %v, want %v", again, err)
			}
			c.Close()
			for _, f := range <-frames {
				if f.First == 0x89 {
					t.Error("a ping came behind the end")
				}
			}
		})
	}
}

func TestKeepAliveNeedsNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Hour}})
	}
	if n := runtime.NumGoroutine(); n >= before+100 {
		t.Errorf("%d goroutines for 100 connections", n-before)
	}
}

// A connection that is looked at while it is made.
func TestKeepAliveAtOnce(t *testing.T) {
	c, p := keepAliveConn(t, 1, time.Hour)
	asyncRead(c)
	if f, err := p.next(); err != nil || f.First != 0x89 {
		t.Errorf("frame %02x, %v, want a ping", f.First, err)
	}
}

// A peer that is gone stays gone: no retry will do.
func TestKeepAliveErrorIsPermanent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}})
		p.drain()
		go p.send(frame(BinaryMessage, "hello")) // and noContext the rest
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		advance(time.Hour) // nobody reads meanwhile
		for range 2 {
			wantDeadline(t, readErr(c), false)
			wantDeadline(t, c.Ping(t.Context()), false)
		}
	})
}

// A peer that sends all the time is alive, however long a handler takes.
func TestKeepAliveSlowHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Second, Timeout: time.Second}})
		c.SetPingHandler(func(string) error { <-time.After(10 * time.Second); return nil })
		p.drain()
		go func() {
			for range 10 {
				p.send(pingFrame("x"))
			}
			p.send(textFrame("alive"))
		}()
		wantRead(t, c, "alive")
	})
}

// A reader that polls with a deadline is one that waits, so it notices that the peer is gone.
func TestKeepAlivePollingReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: 10 * time.Second}})
		p.drain()
		start := time.Now()
		for {
			c.SetReadDeadline(time.Now().Add(1100 * time.Millisecond)) // never when it checks
			if err := readErr(c); strings.Contains(err.Error(), "peer is gone") {
				break
			}
			if time.Since(start) > time.Minute {
				t.Fatal("a peer that is gone was not noticed")
			}
		}
	})
}

// Nobody reads: the pongs would not be seen, so silence proves nothing.
func TestKeepAliveWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Second}})
		frames := p.collect()
		advance(time.Minute)
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
		c.Close()
		if n := len(<-frames); n < 30 {
			t.Errorf("%d pings in a minute", n)
		}
	})
}

// A program that was stopped for a while has yet to read the pong that came meanwhile.
func TestKeepAliveStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := keepAliveConn(t, time.Second, time.Second)
		done := asyncRead(c)
		_, ping := nextPing(t, p, time.Now())
		advance(time.Second / 2)
		c.keep.due.Add(-int64(time.Minute)) // the check to come is late
		advance(time.Second)
		stillWaiting(t, "the read", done)
		p.send(pongFrame(ping.Payload))
		nextPing(t, p, time.Now())
		wantGone(t, "without a pong", (<-done).err)
	})
}

// Once a read has told that the peer is gone nothing is written any more, even if the goodbye of TLS
// takes its time.
func TestKeepAliveGoneForWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe()
		defer b.Close()
		nc := &slowClose{a, make(chan struct{})}
		c := newConn(nc, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}})
		go io.Copy(io.Discard, b)
		wantDeadline(t, readErr(c), false)
		wantDeadline(t, c.WriteMessage(TextMessage, []byte("hello")), false)
		close(nc.ready)
		c.Close()
	})
}

// The Close of a slowClose waits for ready.
type slowClose struct {
	net.Conn
	ready chan struct{}
}

func (s *slowClose) Close() error {
	<-s.ready
	return s.Conn.Close()
}
