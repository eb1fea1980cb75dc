package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// numbered returns n text messages, "m0" and so on, and their payloads.
func numbered(n int) (frames []wireFrame, joined string) {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("m%d", i))
		frames = append(frames, textFrame(names[i]))
	}
	return frames, strings.Join(names, " ")
}

// echoes are ways to read a message and to answer it, n times.
var echoes = []struct {
	name string
	echo func(c *Conn, n int) error
}{
	{"ReadMessage, WriteMessage", func(c *Conn, n int) error {
		for range n {
			messageType, p, err := c.ReadMessage()
			if err == nil {
				err = c.WriteMessage(messageType, p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"NextReader, NextWriter", func(c *Conn, n int) error {
		for range n {
			messageType, r, err := c.NextReader()
			if err != nil {
				return err
			}
			w, err := c.NextWriter(messageType)
			if err != nil {
				return err
			}
			_, err = io.Copy(w, r)
			if err := errors.Join(err, w.Close()); err != nil {
				return err
			}
		}
		return nil
	}},
	{"Messages, WriteMessageContext", func(c *Conn, n int) error {
		for m, err := range c.Messages(context.Background()) {
			if err == nil {
				err = c.WriteMessageContext(context.Background(), m.Type, m.Data)
			}
			if n--; n == 0 || err != nil {
				return err
			}
		}
		return nil
	}},
	{"ReadMessage, WritePreparedMessage", func(c *Conn, n int) error {
		for range n {
			messageType, p, err := c.ReadMessage()
			if err != nil {
				return err
			}
			pm, err := NewPreparedMessage(messageType, p)
			if err == nil {
				err = c.WritePreparedMessage(pm)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}},
}

func TestDelayedTogether(t *testing.T) {
	for _, test := range echoes {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s, server %v", test.name, server), func(t *testing.T) {
				frames, joined := numbered(16)
				c, s, p := sunk(t, connConfig{isServer: server}, frames...)
				if err := test.echo(c, 16); err != nil {
					t.Fatal(err)
				}
				s.wantWrites(t, !server, joined)
				// Two at a time; the others reach the buffer in one piece.
				go p.send(frames[:2]...)
				if err := test.echo(c, 2); err != nil {
					t.Fatal(err)
				}
				if n := len(s.take(t, !server)); n > 2 {
					t.Errorf("two answers took %d writes", n)
				}
			})
		}
	}
}

func TestNotDelayedOneInFlight(t *testing.T) {
	for _, test := range echoes {
		bubble(t, test.name, func(t *testing.T) {
			c, s, p := sunk(t, connConfig{isServer: true})
			start := time.Now()
			for i := range 5 {
				go p.send(textFrame(fmt.Sprintf("message %d", i)))
				if err := test.echo(c, 1); err != nil {
					t.Fatal(err)
				}
				s.wantWrites(t, false, fmt.Sprintf("message %d", i))
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("took %v", took)
			}
		})
	}
}

// A part of the next frame is no reason to hold: the reader would wait for the rest of it.
func TestNotDelayedForPartOfFrame(t *testing.T) {
	next := wiretest.Encode([]wireFrame{textFrame(strings.Repeat("x", 200))}, true)
	for _, cut := range []int{1, 3, 7, 8, 100, len(next) - 1} {
		bubble(t, fmt.Sprint(cut), func(t *testing.T) {
			a, _ := overPipe(t, connConfig{})
			s := &sink{Conn: a.conn}
			c := newConn(s, connConfig{isServer: true, buffered: append(wiretest.Encode([]wireFrame{textFrame("a")}, true), next[:cut]...)})
			if err := echoes[0].echo(c, 1); err != nil {
				t.Fatal(err)
			}
			s.wantWrites(t, false, "a")
			c.Close()
		})
	}
}

func TestNotDelayedAfterNegativeDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frames, _ := numbered(3)
		c, s, _ := sunk(t, connConfig{isServer: true, writeDelay: -1}, frames...)
		for i := range 3 {
			if err := echoes[0].echo(c, 1); err != nil {
				t.Fatal(err)
			}
			s.wantWrites(t, false, fmt.Sprintf("m%d", i))
		}
	})
}

// delaying returns a connection whose application has read one message with another buffered, so
// that writes are delayed.
func delaying(t testing.TB, cfg connConfig) (*Conn, *sink, *peer) {
	c, s, p := sunk(t, cfg, textFrame("a"), textFrame("b"))
	if data, err := readOne(c); data != "a" || err != nil {
		t.Fatal(data, err)
	}
	return c, s, p
}

// write sends messages and fails if they are not accepted.
func write(t testing.TB, c *Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := c.WriteMessage(TextMessage, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

// An application that stops reading is answered for after WriteDelay.
func TestDelayedNoLongerThanDelay(t *testing.T) {
	for _, test := range []struct{ set, want time.Duration }{
		{0, 200 * time.Microsecond}, {1, 1}, {5 * time.Millisecond, 5 * time.Millisecond},
	} {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%v, server %v", test.want, server), func(t *testing.T) {
				c, s, _ := delaying(t, connConfig{isServer: server, writeDelay: test.set})
				start := time.Now()
				write(t, c, "1")
				advance(test.want / 2)
				write(t, c, "2") // the first one counts
				s.wantWrites(t, !server)
				advance(test.want - test.want/2)
				if len(s.times) != 1 || s.times[0].Sub(start) != test.want {
					t.Errorf("sent at %v, want %v later", s.times, test.want)
				}
				s.wantWrites(t, !server, "1 2")
				// The application has shown that it does not read: no hold.
				write(t, c, "3")
				s.wantWrites(t, !server, "3")
				wantRead(t, c, "b")
				write(t, c, "4")
				s.wantWrites(t, !server, "4")
			})
		}
	}
}

// What ends a hold at once.
func TestDelayedUntil(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *Conn) error
		want string
	}{
		{"Flush", (*Conn).Flush, "1 2"},
		{"Close", (*Conn).Close, "1 2"},
		{"Shutdown", func(c *Conn) error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(1, cancel) // once Shutdown waits
			c.Shutdown(ctx, CloseGoingAway, "bye")
			return nil
		}, "1 2 \x03\xe9bye"},
		{"close frame by WriteControl", func(c *Conn) error {
			return c.WriteControl(CloseMessage, FormatCloseMessage(1000, ""), time.Time{})
		}, "1 2 \x03\xe8"},
		{"close frame by WriteMessage", func(c *Conn) error {
			return c.WriteMessage(CloseMessage, nil)
		}, "1 2 "},
		{"answer to a close frame", func(c *Conn) error {
			c.handleClose(FormatCloseMessage(1001, "bye"))
			return nil
		}, "1 2 \x03\xe9"},
		{"failing", func(c *Conn) error {
			c.fail(violation("broken"), CloseProtocolError, "broken")
			return nil
		}, "1 2 \x03\xeabroken"},
		{"the last message buffered", func(c *Conn) error {
			if _, err := readOne(c); err != nil {
				return err
			}
			return c.WriteMessage(TextMessage, []byte("3"))
		}, "1 2 3"},
		{"a reader that is about to wait", func(c *Conn) error {
			if _, err := readOne(c); err != nil {
				return err
			}
			go readOne(c)
			return nil
		}, "1 2"},
	} {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s, server %v", test.name, server), func(t *testing.T) {
				c, s, _ := delaying(t, connConfig{isServer: server})
				start := time.Now()
				write(t, c, "1", "2")
				s.wantWrites(t, !server)
				if err := test.end(c); err != nil {
					t.Error(err)
				}
				for s.count() == 0 && time.Since(start) == 0 {
					synctest.Wait()
					advance(1)
				}
				if at := s.times[0].Sub(start); at != 0 {
					t.Errorf("sent after %v, want at once", at)
				}
				if test.name == "Shutdown" { // which reads and writes at the same time
					frames := slices.Concat(s.take(t, !server)...)
					var got []string
					for _, f := range frames {
						got = append(got, string(f.Payload))
					}
					if strings.Join(got, " ") != test.want {
						t.Errorf("sent %q, want %q", got, test.want)
					}
					return
				}
				s.wantWrites(t, !server, test.want)
			})
		}
	}
}

// What looked like a message to come was none: once the reader waits, what other goroutines write
// is not delayed.
func TestNotDelayedWhileReaderWaits(t *testing.T) {
	for _, last := range []wireFrame{pongFrame(""), frame(0x01, "b")} {
		synctest.Test(t, func(t *testing.T) {
			c, s, _ := sunk(t, connConfig{isServer: true}, textFrame("a"), last)
			wantRead(t, c, "a")
			asyncRead(c)
			synctest.Wait()
			write(t, c, "1")
			s.wantWrites(t, false, "1")
		})
	}
}

// Over a socket the reader itself sends what is delayed.
func TestDelayedUntilReaderWaitsOverTCP(t *testing.T) {
	for _, deadline := range []time.Time{{}, time.Now().Add(time.Hour)} {
		c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
		c.SetWriteDeadline(deadline)
		p.send(textFrame("a"), textFrame("b"), textFrame("c"))
		done := async(func() error {
			for range 2 {
				if err := echoes[0].echo(c, 1); err != nil {
					return err
				}
			}
			readOne(c) // no answer
			return readErr(c)
		})
		p.expect(textFrame("a"), textFrame("b"))
		p.send(closeFrame(1000, ""))
		if err := <-done; !IsCloseError(err, 1000) {
			t.Error(err)
		}
	}
}

// A program may close the net.Conn behind its last message.
func TestDelayedUntilNetConn(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	p.send(textFrame("a"), textFrame("b"))
	wantRead(t, c, "a")
	write(t, c, "1", "2")
	c.NetConn().Close()
	p.expect(textFrame("1"), textFrame("2"))
}

// A program that has the net.Conn may write to it, or end it, behind any message.
func TestNotDelayedAfterNetConn(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	nc := c.NetConn().(*net.TCPConn)
	p.send(textFrame("a"), pingFrame("b"), textFrame("c"), textFrame("d"))
	wantRead(t, c, "a")
	write(t, c, "1")
	nc.Write(wiretest.Encode([]wireFrame{textFrame("2")}, false))
	wantRead(t, c, "c")
	write(t, c, "3")
	nc.CloseWrite()
	p.expect(textFrame("1"), textFrame("2"), pongFrame("b"), textFrame("3"))
}

func TestDelayedUpToLimit(t *testing.T) {
	for _, size := range []int{100, 1000, 4000, 8000} {
		bubble(t, fmt.Sprint(size), func(t *testing.T) {
			c, s, _ := delaying(t, connConfig{isServer: true})
			const total = 200_000
			for range total / size {
				write(t, c, strings.Repeat("x", size))
			}
			c.Flush()
			for _, w := range s.writes[:len(s.writes)-1] {
				if len(w) < 16<<10 || len(w) >= 16<<10+size+4 {
					t.Errorf("a write of %d bytes", len(w))
				}
			}
			messages := 0
			for _, frames := range s.take(t, false) {
				messages += len(frames)
			}
			if messages != total/size {
				t.Errorf("%d messages left, want %d", messages, total/size)
			}
		})
	}
}

// A write after its deadline fails though it could be delayed.
func TestPastDeadlineIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go p.send(textFrame("a"), textFrame("b"))
		wantRead(t, c, "a")
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		write(t, c, "in time")
		if c.write.delayed.Load() == delayedNone {
			t.Error("a write before its deadline is not delayed")
		}
		c.SetWriteDeadline(aLongTimeAgo)
		wantDeadline(t, c.WriteMessage(TextMessage, []byte("late")), false)
	})
}

// Delayed writes beside other writers, errors, deadlines, large messages and a peer that does not
// read.

func TestDelayedFromManyWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := delaying(t, connConfig{isServer: true})
		var wg sync.WaitGroup
		var want []string
		for i := range 10 {
			data, ping := strings.Repeat(string(rune('a'+i)), 100), string(rune('A'+i))
			wg.Go(func() { c.WriteMessage(TextMessage, []byte(data)) })
			wg.Go(func() { c.WriteControl(PingMessage, []byte(ping), time.Time{}) })
			want = append(want, data, ping)
		}
		wg.Wait()
		if n := s.count(); n != 0 {
			t.Errorf("%d writes before the delay", n)
		}
		advance(defaultWriteDelay)
		writes := s.take(t, false)
		if len(writes) != 1 {
			t.Fatalf("%d writes, want 1", len(writes))
		}
		var got []string
		for _, f := range writes[0] {
			got = append(got, f.Payload)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("sent %.300q, want %.300q", got, want)
		}
	})
}

// The error of a delayed write is that of the next call.
func TestDelayedWriteFails(t *testing.T) {
	failure := errors.New("broken wire")
	for _, test := range []struct {
		name string
		next func(c *Conn) error
	}{
		{"WriteMessage", func(c *Conn) error { return c.WriteMessage(TextMessage, nil) }},
		{"WriteControl", func(c *Conn) error { return c.WriteControl(PingMessage, nil, time.Time{}) }},
		{"close frame", func(c *Conn) error { return c.WriteControl(CloseMessage, nil, time.Time{}) }},
		{"NextWriter", func(c *Conn) error { _, err := c.NextWriter(TextMessage); return err }},
		{"Flush", (*Conn).Flush},
		{"Ping", func(c *Conn) error { return c.Ping(context.Background()) }},
		{"Shutdown", func(c *Conn) error { return c.Shutdown(context.Background(), 1000, "") }},
	} {
		bubble(t, test.name, func(t *testing.T) {
			c, s, _ := delaying(t, connConfig{isServer: true})
			write(t, c, "1")
			s.fail(failure)
			advance(defaultWriteDelay)
			if err := test.next(c); !errors.Is(err, failure) {
				t.Errorf("error %v, want that of the delayed write", err)
			}
			if test.name != "Shutdown" {
				wantRead(t, c, "b") // reading goes on
			}
		})
	}
}

func TestDelayedWriteFailsAtFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("broken wire")
		c, s, _ := delaying(t, connConfig{isServer: true})
		write(t, c, "1")
		s.fail(failure)
		for range 2 {
			if err := c.Flush(); !errors.Is(err, failure) {
				t.Errorf("Flush: %v", err)
			}
		}
	})
}

// A deadline or a context that passes while a write is delayed is of no account: the write was
// accepted in time.
func TestDelayedPastDeadline(t *testing.T) {
	for _, passed := range []string{"deadline", "context", "deadline moved to the past"} {
		bubble(t, passed, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			go p.send(textFrame("the first is cut by the small read"), textFrame("a"), textFrame("b"))
			for range 2 {
				readOne(c)
			}
			ctx := context.Background()
			switch passed {
			case "deadline":
				c.SetWriteDeadline(time.Now().Add(defaultWriteDelay / 2))
			case "context":
				var cancel func()
				ctx, cancel = context.WithTimeout(ctx, defaultWriteDelay/2)
				defer cancel()
			}
			if err := c.WriteMessageContext(ctx, TextMessage, []byte("1")); err != nil {
				t.Fatal(err)
			}
			if passed == "deadline moved to the past" {
				c.SetWriteDeadline(aLongTimeAgo)
			}
			p.expect(textFrame("1")) // waits for the delay
			c.SetWriteDeadline(time.Time{})
			go c.WriteMessage(TextMessage, []byte("2"))
			p.expect(textFrame("2"))
		})
	}
}

func TestDelayedKeepsOrder(t *testing.T) {
	big := []string{strings.Repeat("x", 9000), strings.Repeat("y", 70_000), strings.Repeat("z", 300_000)}
	for _, server := range []bool{true, false} {
		bubble(t, fmt.Sprint("server ", server), func(t *testing.T) {
			c, s, _ := delaying(t, connConfig{isServer: server})
			var want []wireFrame
			for i, b := range big {
				name := fmt.Sprint("small ", i)
				pm, _ := NewPreparedMessage(TextMessage, []byte(name))
				largePM, _ := NewPreparedMessage(TextMessage, []byte(b))
				write(t, c, name, b, name)
				if err := errors.Join(c.WritePreparedMessage(pm), c.WritePreparedMessage(largePM),
					c.WriteMessage(PingMessage, []byte(name)), c.WritePreparedMessage(pm)); err != nil {
					t.Fatal(err)
				}
				small, large := textFrame(name), textFrame(b)
				want = append(want, small, large, small, small, large, pingFrame(name), small)
			}
			advance(defaultWriteDelay)
			all := strings.Join(s.writes, "")
			got, err := wiretest.Decode([]byte(all), !server)
			if err != nil || !wiretest.Equal(got, want) {
				t.Errorf("%d frames, want %d, %v", len(got), len(want), err)
			}
		})
	}
}

// The fragments of a message are delayed like others, and stay in order.
func TestDelayedFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := delaying(t, connConfig{isServer: true, writeBufferSize: 256})
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			part := strings.Repeat(string(rune('a'+i)), 300)
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteControl(PongMessage, []byte{byte(i)}, time.Time{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s.wantWrites(t, false)
		advance(defaultWriteDelay)
		writes := s.take(t, false)
		if len(writes) != 1 {
			t.Fatalf("%d writes, want 1", len(writes))
		}
		var data, pongs string
		for i, f := range writes[0] {
			switch {
			case f.First == 0x8a:
				pongs += f.Payload
			case (f.First&15 == BinaryMessage) == (i == 0):
				data += f.Payload
			default:
				t.Errorf("frame %d begins with %02x", i, f.First)
			}
		}
		if len(data) != 1200 || pongs != "\x00\x01\x02\x03" {
			t.Errorf("%d bytes of data, pongs %q", len(data), pongs)
		}
	})
}

// The reader does not wait for a peer that does not read.
func TestDelayedReaderDoesNotWait(t *testing.T) {
	for _, deadline := range []time.Duration{0, time.Hour} {
		bubble(t, fmt.Sprint("write deadline ", deadline), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			if deadline > 0 {
				c.SetWriteDeadline(time.Now().Add(deadline))
			}
			readOneByOne(t, c, p)
			start := time.Now()
			p.expect(textFrame("answer"))
			// RFC 6455 §5.5.3: the last ping is answered, those before it may be.
			for {
				f, err := p.next()
				if err != nil || f.First != 0x8a {
					t.Fatalf("frame %02x, %v, want a pong", f.First, err)
				}
				if f.Payload == "last" {
					break
				}
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("the answers took %v once the peer read", took)
			}
		})
	}
}

// readOneByOne has an answer delayed, then reads messages and pings of a peer that takes nothing.
func readOneByOne(t *testing.T, c *Conn, p *peer) {
	go p.send(textFrame("the first is cut by the small read"), textFrame("a"), textFrame("b"))
	for range 2 {
		if _, err := readOne(c); err != nil {
			t.Fatal(err)
		}
	}
	write(t, c, "answer")
	wantRead(t, c, "b")
	for i := range 5 {
		go p.send(pingFrame([]string{"first", "2", "3", "4", "last"}[i]), textFrame("still read"))
		wantRead(t, c, "still read")
	}
}

// The same over TCP with a full send buffer, where the reader writes itself.
func TestDelayedReaderDoesNotWaitOverTCP(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	nc := c.conn.(*net.TCPConn)
	nc.SetWriteBuffer(4 << 10)
	nc.SetWriteDeadline(soon())
	filled, junk := 0, make([]byte, 1<<20)
	for {
		n, err := nc.Write(junk)
		filled += n
		if err != nil {
			break
		}
	}
	nc.SetWriteDeadline(time.Time{})

	p.send(textFrame("a"), textFrame("b"))
	wantRead(t, c, "a")
	// More than the socket takes in one go, but less than makes the write wait.
	answer := strings.Repeat("x", 8000)
	write(t, c, answer)
	wantRead(t, c, "b")
	for range 100 {
		p.send(pingFrame("ping"), textFrame("still read"))
		wantRead(t, c, "still read")
	}
	if _, err := io.CopyN(io.Discard, p.br, int64(filled)); err != nil {
		t.Fatal(err)
	}
	p.expect(textFrame(answer), pongFrame("ping"))
	go c.WriteMessage(TextMessage, []byte("behind"))
	for {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Payload == "behind" {
			break
		}
		if f.First != 0x8a || f.Payload != "ping" {
			t.Errorf("frame %02x %s", f.First, wiretest.Shortened(f.Payload))
		}
	}
}

// Close gives a write of delayed frames that has begun on the timer a moment.
func TestCloseWhileDelayedAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe()
		c, p := play(t, &slowWrites{a, time.Millisecond}, b, connConfig{isServer: true})
		p.send(textFrame("1"), textFrame("2"), textFrame("3"), textFrame("4"))
		for range 3 {
			c.ReadMessage()
		}
		frames := p.collect()
		if err := c.WriteMessage(TextMessage, []byte("answer")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * defaultWriteDelay)
		if c.write.delayed.Load() != delayedWriting {
			t.Fatal("they are not being written")
		}
		c.Close()
		if got := <-frames; len(got) != 1 {
			t.Errorf("%d frames arrived, want 1", len(got))
		}
	})
}
