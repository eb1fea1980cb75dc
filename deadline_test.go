package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// soon is a deadline that passes while a test waits for it in real time.
func soon() time.Time { return time.Now().Add(2 * time.Millisecond) }

// readMethods are the ways to read one message.
var readMethods = []struct {
	name string
	read func(c *Conn) (string, error)
}{
	{"ReadMessage", readOne},
	{"NextReader", func(c *Conn) (string, error) {
		_, r, err := c.NextReader()
		if err != nil {
			return "", err
		}
		p, err := io.ReadAll(r)
		return string(p), err
	}},
	{"Messages", func(c *Conn) (string, error) {
		for m, err := range c.Messages(noContext) {
			return string(m.Data), err
		}
		return "", io.EOF
	}},
}

// A stream whose second message begins behind 4 control frames and has a
// header of 8 bytes. Cut anywhere before the payload of that message, a read
// waits between two messages.
var (
	cutMessage = strings.Repeat("0123456789", 20)
	cutFrames  = []wireFrame{textFrame("first"), pingFrame(""), pongFrame("pong"), pingFrame("abc"), textFrame(cutMessage)}
)

func TestReadDeadlineBetweenMessages(t *testing.T) {
	b := wireBytes(cutFrames, true)
	behind := len(b) - len(cutMessage) // the header is whole
	for _, method := range readMethods {
		t.Run(method.name, func(t *testing.T) {
			for cut := len(wireBytes(cutFrames[:1], true)); cut < behind; cut++ {
				bubble(t, fmt.Sprint("cut at ", cut), func(t *testing.T) {
					c, p := overPipe(t, connConfig{isServer: true})
					frames := p.collect()
					go p.Write(b[:cut])
					if data, err := method.read(c); data != "first" || err != nil {
						t.Fatalf("first message %q, %v", data, err)
					}
					for range 2 {
						c.SetReadDeadline(time.Now().Add(time.Second))
						_, err := method.read(c)
						wantDeadline(t, err, false)
					}
					c.SetReadDeadline(time.Time{})
					go p.Write(b[cut:])
					if data, err := method.read(c); data != cutMessage || err != nil {
						t.Errorf("read %q, %v behind the deadline", data, err)
					}
					synctest.Wait()
					c.Close()
					if got := <-frames; !sameFrames(got, []wireFrame{pongFrame(""), pongFrame("abc")}) {
						t.Errorf("replies %q", payloads(got))
					}
				})
			}
		})
	}
}

// In real time, where the raw path and TLS records matter.
func TestReadDeadlineKeepsTheStream(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		b := wireBytes(cutFrames[3:], true)
		p.drain()
		for pos := 0; ; pos += 5 {
			for range 2 {
				c.SetReadDeadline(soon())
				wantDeadline(t, readErr(c), false)
			}
			c.SetReadDeadline(aLongTimeAgo)
			wantDeadline(t, readErr(c), false)
			if pos == 15 {
				break
			}
			sent := async(func() error { _, err := p.Write(b[pos : pos+5]); return err })
			for len(sent) == 0 { // over a pipe it takes a reader
				c.SetReadDeadline(soon())
				wantDeadline(t, readErr(c), false)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
		c.SetReadDeadline(time.Time{})
		go p.Write(b[15:])
		wantRead(t, c, cutMessage)
	})
}

// RFC 6455 §5.4: what a deadline cuts off a message cannot be made up for.
func TestReadDeadlineInsideMessage(t *testing.T) {
	frames := []wireFrame{frame(0x01, "abcdef"), pingFrame("ping"), frame(0x80, "ghi"), textFrame("next")}
	b := wireBytes(frames, true)
	first, last := 6, len(wireBytes(frames[:3], true))
	for cut := first; cut < last; cut++ {
		bubble(t, fmt.Sprint("cut at ", cut), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			go p.Write(b[:cut])
			synctest.Wait()
			c.SetReadDeadline(time.Now().Add(time.Second))
			data, err := readOne(c)
			wantDeadline(t, err, false)
			if !strings.HasPrefix("abcdefghi", data) || cut >= 12 && len(data) < 6 {
				t.Errorf("what was read of the message is %q", data)
			}
			c.SetReadDeadline(time.Time{})
			for range 3 {
				if again := readErr(c); again != err {
					t.Errorf("then %v, want the same error for ever", again)
				}
			}
			if err := c.WriteMessage(TextMessage, []byte("still")); err != nil {
				t.Errorf("writing failed as well: %v", err)
			}
		})
	}
}

func TestReadDeadlineInsideMessageInRealTime(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		go p.Write(wireBytes([]wireFrame{frame(0x01, "abc").claiming(100)}, true))
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(soon())
		data, err := io.ReadAll(r)
		wantDeadline(t, err, false)
		if string(data) != "abc" {
			t.Errorf("read %q before the deadline", data)
		}
		c.SetReadDeadline(time.Time{})
		if _, again := r.Read(make([]byte, 1)); again != err {
			t.Errorf("the reader's next error is %v, want %v", again, err)
		}
		if again := readErr(c); again != err {
			t.Errorf("the next read's error is %v, want %v", again, err)
		}
	})
}

func TestSetReadDeadlineActsOnBlockedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		for name, d := range map[string]time.Duration{"past": -time.Second, "now": 0, "future": time.Second} {
			done := asyncRead(c)
			stillWaiting(t, "a read without a deadline", done)
			start := time.Now()
			c.SetReadDeadline(start.Add(d))
			wantDeadline(t, (<-done).err, false)
			if took := time.Since(start); took != max(d, 0) {
				t.Errorf("%s: the read ended after %v", name, took)
			}
			c.SetReadDeadline(time.Time{})
		}
		// Moved, then lifted.
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Second))
		done := asyncRead(c)
		synctest.Wait()
		c.SetReadDeadline(start.Add(time.Minute))
		advance(2 * time.Second)
		stillWaiting(t, "a read whose deadline was moved", done)
		c.SetReadDeadline(time.Time{})
		advance(time.Hour)
		stillWaiting(t, "a read whose deadline was lifted", done)
		p.send(textFrame("at last"))
		if got := <-done; got.data != "at last" || got.err != nil {
			t.Errorf("read %q, %v", got.data, got.err)
		}
	})
}

func TestSetReadDeadlineActsOnBlockedReadInRealTime(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		for range 10 {
			done := asyncRead(c)
			c.SetReadDeadline(aLongTimeAgo)
			wantDeadline(t, (<-done).err, false)
			c.SetReadDeadline(time.Time{})
		}
		go p.send(textFrame("still here"))
		wantRead(t, c, "still here")
	})
}

// A deadline also ends the wait behind another reader.
func TestReadDeadlineBehindReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		first := asyncRead(c)
		synctest.Wait()
		c.SetReadDeadline(time.Now().Add(time.Second))
		second := asyncRead(c)
		advance(time.Second)
		for _, got := range []outcome{<-first, <-second} {
			wantDeadline(t, got.err, false)
			if strings.Contains(got.err.Error(), "write") {
				t.Errorf("the error of a read speaks of writing: %v", got.err)
			}
		}
		c.SetReadDeadline(time.Time{})
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
	})
}

func TestWriteDeadlineBehindMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		frames := p.collect()
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, strings.Repeat("a", defaultBufferSize+1))
		start := time.Now()
		c.SetWriteDeadline(start.Add(time.Second))
		err = c.WriteMessage(TextMessage, []byte("late"))
		wantDeadline(t, err, false)
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %v", took)
		}
		c.SetWriteDeadline(time.Time{})
		if err := w.Close(); err != nil {
			t.Errorf("the message that was waited for: %v", err)
		}
		if err := c.WriteMessage(TextMessage, []byte("in time")); err != nil {
			t.Errorf("the message behind: %v", err)
		}
		c.Close()
		got := <-frames
		if n := len(got); n != 3 || got[2].payload != "in time" {
			t.Errorf("%d frames arrived: %.100q", n, payloads(got))
		}
	})
}

func TestWriteDeadlineWhileWriting(t *testing.T) {
	for _, test := range []struct {
		name  string
		write func(c *Conn) error
	}{
		{"WriteMessage", func(c *Conn) error { return c.WriteMessage(TextMessage, []byte("x")) }},
		{"large WriteMessage", func(c *Conn) error { return c.WriteMessage(TextMessage, make([]byte, 100_000)) }},
		{"NextWriter", func(c *Conn) error {
			w, err := c.NextWriter(TextMessage)
			if err != nil {
				return err
			}
			io.WriteString(w, "x")
			return w.Close()
		}},
		{"ping by WriteMessage", func(c *Conn) error { return c.WriteMessage(PingMessage, nil) }},
		{"WriteJSON", func(c *Conn) error { return c.WriteJSON("x") }},
	} {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprint(test.name, ", server ", server), func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: server})
				start := time.Now()
				c.SetWriteDeadline(start.Add(time.Second))
				err := test.write(c)
				wantDeadline(t, err, false)
				if took := time.Since(start); took != time.Second {
					t.Errorf("gave up after %v", took)
				}
				c.SetWriteDeadline(time.Time{})
				for range 2 {
					if again := test.write(c); again != err {
						t.Errorf("then %v, want the same error for ever", again)
					}
				}
				if again := c.WriteControl(PingMessage, nil, time.Time{}); again != err {
					t.Errorf("WriteControl: %v, want the same error", again)
				}
				go p.send(textFrame("reading goes on"))
				wantRead(t, c, "reading goes on")
			})
		}
	}
}

func TestSetWriteDeadlineActsOnBlockedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := overPipe(t, connConfig{isServer: true})
		done := async(func() error { return c.WriteMessage(TextMessage, []byte("x")) })
		stillWaiting(t, "a write that nobody reads", done)
		c.SetWriteDeadline(time.Now())
		wantDeadline(t, ended(t, "the write", done), false)
	})
}

// A wrapping is a net.Conn that dresses its errors.
type wrapping struct{ net.Conn }

func (c wrapping) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("tunnel: %w", err)
	}
	return n, err
}

// A timeout is one however it is dressed.
func TestWrappedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, p := play(t, wrapping{a}, b, connConfig{isServer: true})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, _, err := c.ReadMessageContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("context: %v", err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if err := readErr(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
		c.SetReadDeadline(time.Time{})
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
	})
}

// It acts on a write that waits for another goroutine's message as well, and on
// a read that waits for another reader.
func TestSetDeadlineActsOnWaitForTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		w, err := overflow(c)
		if err != nil {
			t.Fatal(err)
		}
		writes := []<-chan error{
			async(func() error { return c.WriteMessage(TextMessage, []byte("x")) }),
			async(func() error { _, err := overflow(c); return err }),
		}
		c.SetPingHandler(func(string) error {
			<-time.After(time.Minute)
			return nil
		})
		busy := asyncRead(c)
		p.send(pingFrame(""))
		synctest.Wait()
		read := asyncRead(c)
		advance(time.Second)
		stillWaiting(t, "a read behind another", read)
		c.SetReadDeadline(time.Now())
		wantDeadline(t, ended(t, "the read", read).err, false)
		for _, done := range writes {
			stillWaiting(t, "a write behind a message", done)
		}
		c.SetWriteDeadline(time.Now())
		for _, done := range writes {
			wantDeadline(t, ended(t, "the write", done), false)
		}
		c.SetWriteDeadline(time.Time{})
		if err := w.Close(); err != nil {
			t.Errorf("the message that was waited for: %v", err)
		}
		wantDeadline(t, (<-busy).err, false)
	})
}

// ETIMEDOUT calls itself a timeout, but it is no deadline: the network has given the connection up.
func TestETIMEDOUT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		lost := &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}
		c := newConn(&failingReads{Conn: a, err: lost}, connConfig{isServer: true})
		ping := async(func() error { return c.Ping(t.Context()) })
		go io.Copy(io.Discard, b)
		for range 2 {
			if err := readErr(c); !errors.Is(err, syscall.ETIMEDOUT) || IsCloseError(err, CloseAbnormalClosure) {
				t.Errorf("read: %v", err)
			}
		}
		if err := ended(t, "Ping", ping); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("Ping: %v", err)
		}
	})
}

// failingReads is a net.Conn whose first read fails, and whose later ones say something else.
type failingReads struct {
	net.Conn
	err error
}

func (f *failingReads) Read([]byte) (int, error) {
	err := f.err
	f.err = io.EOF
	return 0, err
}

// A write whose deadline had passed before its first byte sends nothing and leaves the connection
// usable.
func TestPastWriteDeadline(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		frames := p.collect()
		prepared, _ := NewPreparedMessage(TextMessage, []byte("no"))
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		for name, err := range map[string]error{
			"WriteMessage":         c.WriteMessage(TextMessage, []byte("no")),
			"large":                c.WriteMessage(TextMessage, make([]byte, 1<<20)),
			"WriteJSON":            c.WriteJSON("no"),
			"WritePreparedMessage": c.WritePreparedMessage(prepared),
		} {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		}
		c.SetWriteDeadline(time.Time{})
		if err := c.WriteMessage(TextMessage, []byte("yes")); err != nil {
			t.Error(err)
		}
		c.Close()
		if got := <-frames; len(got) != 1 || string(got[0].payload) != "yes" {
			t.Errorf("sent %q", payloads(got))
		}
	})
}

// A context acts on the net.Conn only while a call with it is in progress: its end, before or
// after, sets no deadline, and a context for each call costs no deadlines.
func TestContextSetsNoDeadlineWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		nc := &countingDeadlines{Conn: a}
		c, p := newConn(nc, connConfig{isServer: true}), newPeer(t, b, true)
		p.drain()
		for range 3 {
			ctx, cancel := context.WithCancel(context.Background())
			go p.send(textFrame("a"))
			if _, _, err := c.ReadMessageContext(ctx); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteMessageContext(ctx, TextMessage, []byte("b")); err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			if _, _, err := c.ReadMessageContext(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if n := nc.n.Load(); n != 0 {
			t.Errorf("%d deadlines were set", n)
		}
		c.Close()
	})
}

type countingDeadlines struct {
	net.Conn
	n atomic.Int32
}

func (c *countingDeadlines) SetReadDeadline(d time.Time) error {
	c.n.Add(1)
	return c.Conn.SetReadDeadline(d)
}

func (c *countingDeadlines) SetWriteDeadline(d time.Time) error {
	c.n.Add(1)
	return c.Conn.SetWriteDeadline(d)
}

// Where a net.Conn has no deadlines, a wait that must end is ended by closing it.
func TestNoDeadlines(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, c *Conn) error{
		"read":  func(ctx context.Context, c *Conn) error { _, _, err := c.ReadMessageContext(ctx); return err },
		"write": func(ctx context.Context, c *Conn) error { return c.WriteMessageContext(ctx, TextMessage, nil) },
		"WriteControl": func(ctx context.Context, c *Conn) error {
			d, _ := ctx.Deadline()
			return c.WriteControl(PingMessage, nil, d)
		},
		"Shutdown": func(ctx context.Context, c *Conn) error { return c.Shutdown(ctx, 1000, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			c := newConn(noDeadlines{a}, connConfig{isServer: true})
			if err := c.SetReadDeadline(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
				t.Errorf("SetReadDeadline: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			if err := call(ctx, c); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
			if took := time.Since(start); took != time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (noDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (noDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
