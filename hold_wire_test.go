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
)

// Held writes beside other writers, errors, deadlines, large messages and a
// peer that does not read.

func TestHeldFromManyWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := holding(t, connConfig{isServer: true})
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
			got = append(got, f.payload)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("sent %.300q, want %.300q", got, want)
		}
	})
}

// The error of a held write is that of the next call.
func TestHeldWriteFails(t *testing.T) {
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
			c, s, _ := holding(t, connConfig{isServer: true})
			write(t, c, "1")
			s.fail(failure)
			advance(defaultWriteDelay)
			if err := test.next(c); !errors.Is(err, failure) {
				t.Errorf("error %v, want that of the held write", err)
			}
			if test.name != "Shutdown" {
				wantRead(t, c, "b") // reading goes on
			}
		})
	}
}

func TestHeldWriteFailsAtFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("broken wire")
		c, s, _ := holding(t, connConfig{isServer: true})
		write(t, c, "1")
		s.fail(failure)
		for range 2 {
			if err := c.Flush(); !errors.Is(err, failure) {
				t.Errorf("Flush: %v", err)
			}
		}
	})
}

// A deadline or a context that passes while a write is held is of no account:
// the write was accepted in time.
func TestHeldPastDeadline(t *testing.T) {
	for _, held := range []string{"deadline", "context", "deadline moved to the past"} {
		bubble(t, held, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			go p.send(textFrame("the first is cut by the small read"), textFrame("a"), textFrame("b"))
			for range 2 {
				readOne(c)
			}
			ctx := context.Background()
			switch held {
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
			if held == "deadline moved to the past" {
				c.SetWriteDeadline(aLongTimeAgo)
			}
			p.expect(textFrame("1")) // waits for the delay
			c.SetWriteDeadline(time.Time{})
			go c.WriteMessage(TextMessage, []byte("2"))
			p.expect(textFrame("2"))
		})
	}
}

func TestHeldKeepsOrder(t *testing.T) {
	big := []string{strings.Repeat("x", 9000), strings.Repeat("y", 70_000), strings.Repeat("z", 300_000)}
	for _, server := range []bool{true, false} {
		bubble(t, fmt.Sprint("server ", server), func(t *testing.T) {
			c, s, _ := holding(t, connConfig{isServer: server})
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
			got, err := parseWire([]byte(all), !server)
			if err != nil || !sameFrames(got, want) {
				t.Errorf("%d frames, want %d, %v", len(got), len(want), err)
			}
		})
	}
}

// The fragments of a message are held like others, and stay in order.
func TestHeldFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := holding(t, connConfig{isServer: true, writeBufferSize: 256})
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
			case f.first == 0x8a:
				pongs += f.payload
			case (f.first&15 == BinaryMessage) == (i == 0):
				data += f.payload
			default:
				t.Errorf("frame %d begins with %02x", i, f.first)
			}
		}
		if len(data) != 1200 || pongs != "\x00\x01\x02\x03" {
			t.Errorf("%d bytes of data, pongs %q", len(data), pongs)
		}
	})
}

// The reader does not wait for a peer that does not read.
func TestHeldReaderDoesNotWait(t *testing.T) {
	for _, deadline := range []time.Duration{0, time.Hour} {
		bubble(t, fmt.Sprint("write deadline ", deadline), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			if deadline > 0 {
				c.SetWriteDeadline(time.Now().Add(deadline))
			}
			readOneByOne(t, c, p)
			start := time.Now()
			p.expect(textFrame("answer"))
			// RFC 6455 §5.5.3: the last ping is answered, those before it
			// may be.
			for {
				f, err := p.next()
				if err != nil || f.first != 0x8a {
					t.Fatalf("frame %02x, %v, want a pong", f.first, err)
				}
				if f.payload == "last" {
					break
				}
			}
			if took := time.Since(start); took != 0 {
				t.Errorf("the answers took %v once the peer read", took)
			}
		})
	}
}

// readOneByOne has an answer held, then reads messages and pings of a peer
// that takes nothing.
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
func TestHeldReaderDoesNotWaitOverTCP(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	nc := c.nc.(*net.TCPConn)
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
		if f.payload == "behind" {
			break
		}
		if f.first != 0x8a || f.payload != "ping" {
			t.Errorf("frame %02x %s", f.first, shortened(f.payload))
		}
	}
}
