package websocket

// Messages lends its data: the read buffer itself where a message lies whole in it. Whatever else
// happens to the connection during a turn of the loop must leave the data of that turn alone.

import (
	"context"
	"fmt"
	"io"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// spoil overwrites what the pools have to lend, so that memory given back too early shows.
func spoil() {
	var all []*buffer
	for size := 512; size <= 2*defaultBufferSize; size *= 2 {
		for range 2 {
			b := getBuffer(size)
			for i := range b.b {
				b.b[i] = '!'
			}
			all = append(all, b)
		}
	}
	for _, b := range all {
		b.release()
	}
}

// longRow returns messages that take several buffers, and a ping before each: messages, headers and
// pings lie across the ends of the buffers.
func longRow(n int) (frames []wireFrame, data []string) {
	for i := range n {
		s := fmt.Sprintf("%d %s", i, strings.Repeat(string(rune('a'+i%26)), 37*i%500))
		frames = append(frames, frame(finBit|PingMessage, strings.Repeat("p", maxControlPayload)), textFrame(s))
		data = append(data, s)
	}
	return frames, data
}

func TestMessagesDataStays(t *testing.T) {
	frames, want := longRow(100)
	stream := wiretest.Encode(frames, true)
	readSome := func(n int) func(c *Conn) int {
		return func(c *Conn) int {
			for range n {
				if _, _, err := c.ReadMessage(); err != nil {
					return n
				}
			}
			return n
		}
	}
	for _, interlude := range []struct {
		name string
		do   func(c *Conn) (consumed int)
		ends bool
	}{
		{"nothing", func(*Conn) int { return 0 }, false},
		{"a message is read", readSome(1), false},
		{"the rest is read", readSome(len(want)), true},
		{"a loop inside", func(c *Conn) int {
			n := 0
			for m, err := range c.Messages(context.Background()) {
				data := string(m.Data)
				spoil()
				if err != nil || string(m.Data) != data {
					t.Errorf("inner loop: %s, %v, want %s", wiretest.Shortened(string(m.Data)), err, wiretest.Shortened(data))
				}
				if n++; n == 3 {
					break
				}
			}
			return n
		}, false},
		{"a stream is begun", func(c *Conn) int {
			if _, r, err := c.NextReader(); err == nil {
				r.Read(make([]byte, 1))
				return 1
			}
			return 0
		}, false},
		{"a broken read", func(c *Conn) int {
			c.SetReadLimit(1)
			c.ReadMessage()
			return len(want)
		}, true},
		{"Close", func(c *Conn) int { c.Close(); return len(want) }, true},
		{"Shutdown", func(c *Conn) int {
			c.Shutdown(context.Background(), CloseNormalClosure, "")
			return len(want)
		}, true},
	} {
		for _, size := range []int{1, 700, 4096, 1 << 20} {
			t.Run(fmt.Sprintf("%s/%d", interlude.name, size), func(t *testing.T) {
				c := newConn(&wiretest.ScriptConn{Script: stream, Size: func() int { return size }}, connConfig{isServer: true})
				i := 0
				for m, err := range c.Messages(context.Background()) {
					if err != nil {
						if i < len(want) && !interlude.ends {
							t.Errorf("message %d: %v", i, err)
						}
						break
					}
					if string(m.Data) != want[i] {
						t.Fatalf("message %d: %s, want %s", i, wiretest.Shortened(string(m.Data)), wiretest.Shortened(want[i]))
					}
					n := interlude.do(c)
					spoil()
					if string(m.Data) != want[i] {
						t.Fatalf("message %d became %s, was %s", i, wiretest.Shortened(string(m.Data)), wiretest.Shortened(want[i]))
					}
					i += 1 + n
				}
				if i < len(want) {
					t.Errorf("the loop ended at message %d of %d", i, len(want))
				}
				if c.read.buf.pinned != 0 {
					t.Errorf("%d loans after the loop", c.read.buf.pinned)
				}
			})
		}
	}
}

// To append to the data of a message is not to write into the next.
func TestMessagesDataAppended(t *testing.T) {
	frames, want := longRow(20)
	c := newConn(&wiretest.ScriptConn{Script: wiretest.Encode(frames, true)}, connConfig{isServer: true})
	i := 0
	for m, err := range c.Messages(context.Background()) {
		if i == len(want) {
			break
		}
		if err != nil || string(m.Data) != want[i] {
			t.Fatalf("message %d: %s, %v, want %s", i, wiretest.Shortened(string(m.Data)), err, wiretest.Shortened(want[i]))
		}
		_ = append(m.Data, strings.Repeat("!", 1000)...)
		i++
	}
}

// A loop that is left while another goroutine waits for a message does not wait for that one.
func TestMessagesLeftWhileAnotherReads(t *testing.T) {
	bubble(t, "pipe", func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go p.send(textFrame("one"), textFrame("two"))
		var other <-chan outcome
		for m, err := range c.Messages(context.Background()) {
			if err != nil || string(m.Data) != "one" {
				t.Fatal(string(m.Data), err)
			}
			wantRead(t, c, "two")
			other = asyncRead(c)
			stillWaiting(t, "the other read", other)
			spoil()
			if string(m.Data) != "one" {
				t.Errorf("message became %q", m.Data)
			}
			break
		}
		go p.send(textFrame("three"))
		if got := ended(t, "the other read", other); got.data != "three" || got.err != nil {
			t.Errorf("the other read %v", got)
		}
	})
}

// Reads ask for a message as long as the last one, up to 64 KiB and its header.
func TestAskFollowsMessages(t *testing.T) {
	for name, read := range map[string]func(c *Conn) error{
		"ReadMessage": readErr,
		"NextReader": func(c *Conn) error {
			_, r, err := c.NextReader()
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		},
		"Messages": func(c *Conn) error {
			for _, err := range c.Messages(context.Background()) {
				return err
			}
			return io.EOF
		},
	} {
		c := newConn(&loopConn{}, connConfig{isServer: true})
		for _, step := range []struct{ size, ask int }{
			{100, 4096},
			{4082, 4096},
			{4083, 4083 + maxHeaderSize},
			{64 << 10, 64<<10 + maxHeaderSize},
			{30_000, 30_000 + maxHeaderSize},
			{64<<10 + 1, 4096}, // it is better read past the buffer
			{64 << 10, 64<<10 + maxHeaderSize},
			{0, 4096},
		} {
			c.conn = &wiretest.ScriptConn{Script: wiretest.Encode([]wireFrame{binaryFrame(strings.Repeat("x", step.size))}, true)}
			if err := read(c); err != nil || int(c.read.buf.nextRead) != step.ask {
				t.Errorf("%s: after %d bytes reads ask for %d, %v, want %d", name, step.size, c.read.buf.nextRead, err, step.ask)
			}
		}
	}
}

// The first bytes of a ping that never ends do not tie up a buffer for the message that was
// expected, where the connection cannot be waited for without one.
func TestPartOfPingTakesSmallBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go p.send(textFrame(strings.Repeat("x", 60_000)))
		if err := readErr(c); err != nil || c.read.buf.nextRead <= c.read.buf.size {
			t.Fatal(err, c.read.buf.nextRead)
		}
		go p.Write(wiretest.Encode([]wireFrame{pingFrame(strings.Repeat("p", 100))}, true)[:maxHeaderSize])
		c.SetReadDeadline(time.Now().Add(time.Minute))
		wantDeadline(t, readErr(c), false)
		if n := len(c.read.buf.buf.b); n > defaultBufferSize {
			t.Errorf("%d bytes are kept in a buffer of %d bytes", c.read.buf.w-c.read.buf.r, n)
		}
	})
}

// The memory of a message of unknown length ends at the read limit, whatever it inflates to or
// however it is cut.
func TestPeakMemory(t *testing.T) {
	const limit = 16 << 20
	var bomb []byte // inflates to 64 MiB
	zeros := deflatedFrame(strings.Repeat("\x00", 64<<20))
	bomb = wiretest.Encode([]wireFrame{zeros}, true)
	piece := frame(0x00, strings.Repeat("x", 1<<20))
	fragments := wiretest.Encode([]wireFrame{frame(0x02, "")}, true)
	for range 17 {
		fragments = append(fragments, wiretest.Encode([]wireFrame{piece}, true)...)
	}
	for name, stream := range map[string][]byte{"compressed": bomb, "fragmented": fragments} {
		for method, read := range map[string]func(c *Conn) error{
			"ReadMessage": readErr,
			"Messages": func(c *Conn) error {
				for _, err := range c.Messages(t.Context()) {
					return err
				}
				return nil
			},
		} {
			t.Run(name+" "+method, func(t *testing.T) {
				runtime.GC()
				var before, m runtime.MemStats
				runtime.ReadMemStats(&before)
				c := newConn(&wiretest.ScriptConn{Script: stream}, wireConfig(true, true, false))
				c.SetReadLimit(limit)
				if err := read(c); err != ErrReadLimit {
					t.Fatal(err)
				}
				runtime.ReadMemStats(&m)
				// Nothing that was allocated may have been collected, so this is more than the
				// peak.
				if n := m.TotalAlloc - before.TotalAlloc; n > limit*13/10 {
					t.Errorf("allocated %d MiB, want at most 1.3 times %d", n>>20, limit>>20)
				}
			})
		}
	}
}

// The memory that a message gets grows by what has come, and never wraps around.
func TestNextSize(t *testing.T) {
	for _, test := range []struct{ remaining, n, want uint64 }{
		{1 << 19, 64 << 10, 64<<10 + 1<<19},
		{1 << 30, 64 << 10, 1 << 20},
		{3 << 30, 256 << 20, 256<<20 + 3<<30},
		{3 << 30, math.MaxInt32, math.MaxInt32 + 3<<30},
	} {
		r := &readHalf{frame: currentFrame{remaining: test.remaining}}
		if want := int(min(test.want, math.MaxInt)); r.nextSize(int(test.n)) != want {
			t.Errorf("%+v: %d, want %d", test, r.nextSize(int(test.n)), want)
		}
	}
}
