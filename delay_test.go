package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

func TestHeldTogether(t *testing.T) {
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

func TestNotHeldOneInFlight(t *testing.T) {
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

// A part of the next frame is no reason to hold: the reader would wait for the
// rest of it.
func TestNotHeldForPartOfFrame(t *testing.T) {
	next := wireBytes([]wireFrame{textFrame(strings.Repeat("x", 200))}, true)
	for _, cut := range []int{1, 3, 7, 8, 100, len(next) - 1} {
		bubble(t, fmt.Sprint(cut), func(t *testing.T) {
			a, _ := overPipe(t, connConfig{})
			s := &sink{Conn: a.nc}
			c := newConn(s, connConfig{isServer: true, buffered: append(wireBytes([]wireFrame{textFrame("a")}, true), next[:cut]...)})
			if err := echoes[0].echo(c, 1); err != nil {
				t.Fatal(err)
			}
			s.wantWrites(t, false, "a")
			c.Close()
		})
	}
}

func TestNotHeldAfterNegativeDelay(t *testing.T) {
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

// holding returns a connection whose application has read one message with
// another at hand, so that writes are held.
func holding(t testing.TB, cfg connConfig) (*Conn, *sink, *peer) {
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
func TestHeldNoLongerThanDelay(t *testing.T) {
	for _, test := range []struct{ set, want time.Duration }{
		{0, 200 * time.Microsecond}, {1, 1}, {5 * time.Millisecond, 5 * time.Millisecond},
	} {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%v, server %v", test.want, server), func(t *testing.T) {
				c, s, _ := holding(t, connConfig{isServer: server, writeDelay: test.set})
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
func TestHeldUntil(t *testing.T) {
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
		{"the last message at hand", func(c *Conn) error {
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
				c, s, _ := holding(t, connConfig{isServer: server})
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
				s.wantWrites(t, !server, test.want)
			})
		}
	}
}

// What looked like a message to come was none: once the reader waits, what
// other goroutines write is not held.
func TestNotHeldWhileReaderWaits(t *testing.T) {
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

// Over a socket the reader itself sends what is held.
func TestHeldUntilReaderWaitsOverTCP(t *testing.T) {
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

func TestHeldUpToLimit(t *testing.T) {
	for _, size := range []int{100, 1000, 4000, 8000} {
		bubble(t, fmt.Sprint(size), func(t *testing.T) {
			c, s, _ := holding(t, connConfig{isServer: true})
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

// A write after its deadline fails though it could be held.
func TestPastDeadlineIsNotHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go p.send(textFrame("a"), textFrame("b"))
		wantRead(t, c, "a")
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		write(t, c, "in time")
		if c.write.delayed.Load() == delayedNone {
			t.Error("a write before its deadline is not held")
		}
		c.SetWriteDeadline(aLongTimeAgo)
		wantDeadline(t, c.WriteMessage(TextMessage, []byte("late")), false)
	})
}
