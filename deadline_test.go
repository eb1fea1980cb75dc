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

	"github.com/tautws/websocket/internal/wiretest"
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

// A stream whose second message begins behind 4 control frames and has a header of 8 bytes. Cut
// anywhere before the payload of that message, a read waits between two messages.
var (
	cutMessage = strings.Repeat("0123456789", 20)
	cutFrames  = []wireFrame{textFrame("first"), pingFrame(""), pongFrame("pong"), pingFrame("abc"), textFrame(cutMessage)}
)

func TestReadDeadlineBetweenMessages(t *testing.T) {
	b := wiretest.Encode(cutFrames, true)
	behind := len(b) - len(cutMessage) // the header is whole
	for _, method := range readMethods {
		t.Run(method.name, func(t *testing.T) {
			for cut := len(wiretest.Encode(cutFrames[:1], true)); cut < behind; cut++ {
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
					if got := <-frames; !wiretest.Equal(got, []wireFrame{pongFrame(""), pongFrame("abc")}) {
						t.Errorf("replies %q", wiretest.Payloads(got))
					}
				})
			}
		})
	}
}

// In real time, where the raw path and TLS records matter.
func TestReadDeadlineKeepsTheStream(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		b := wiretest.Encode(cutFrames[3:], true)
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
	b := wiretest.Encode(frames, true)
	first, last := 6, len(wiretest.Encode(frames[:3], true))
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
					t.Errorf("then %v, want the same error again", again)
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
		go p.Write(wiretest.Encode([]wireFrame{frame(0x01, "abc").Claiming(100)}, true))
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
		if n := len(got); n != 3 || got[2].Payload != "in time" {
			t.Errorf("%d frames arrived: %.100q", n, wiretest.Payloads(got))
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
						t.Errorf("then %v, want the same error again", again)
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

// It acts on a write that waits for another goroutine's message as well, and on a read that waits
// for another reader.
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
		if got := <-frames; len(got) != 1 || string(got[0].Payload) != "yes" {
			t.Errorf("sent %q", wiretest.Payloads(got))
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
		if n := nc.reads.Load(); n != 0 {
			t.Errorf("%d read deadlines were set", n)
		}
		// A net.Conn of an unknown type gets one for each write, with or without a context.
		if n := nc.writes.Load(); n != 3 {
			t.Errorf("%d write deadlines were set by 3 writes", n)
		}
		c.Close()
	})
}

type countingDeadlines struct {
	net.Conn
	reads, writes atomic.Int32
}

func (c *countingDeadlines) SetReadDeadline(d time.Time) error {
	c.reads.Add(1)
	return c.Conn.SetReadDeadline(d)
}

func (c *countingDeadlines) SetWriteDeadline(d time.Time) error {
	c.writes.Add(1)
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

var errCause = errors.New("the cause")

// wantContext checks the error of a context that was cancelled with errCause.
func wantContext(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, errCause) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v (%T), want the context's error and its cause", err, err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v is os.ErrDeadlineExceeded, no deadline passed", err)
	}
}

func newCancel() (ctx context.Context, cancel func()) {
	ctx, cause := context.WithCancelCause(context.Background())
	return ctx, func() { cause(errCause) }
}

// contextReads are the ways to read one message under a context.
var contextReads = []struct {
	name string
	read func(ctx context.Context, c *Conn) (string, error)
}{
	{"ReadMessageContext", func(ctx context.Context, c *Conn) (string, error) {
		_, p, err := c.ReadMessageContext(ctx)
		return string(p), err
	}},
	{"NextReaderContext", func(ctx context.Context, c *Conn) (string, error) {
		_, r, err := c.NextReaderContext(ctx)
		if err != nil {
			return "", err
		}
		p, err := io.ReadAll(r)
		return string(p), err
	}},
	{"Messages", func(ctx context.Context, c *Conn) (string, error) {
		for m, err := range c.Messages(ctx) {
			return string(m.Data), err
		}
		return "", io.EOF
	}},
}

var contextWrites = []struct {
	name  string
	write func(ctx context.Context, c *Conn, data string) error
}{
	{"WriteMessageContext", func(ctx context.Context, c *Conn, data string) error {
		return c.WriteMessageContext(ctx, TextMessage, []byte(data))
	}},
	{"NextWriterContext", func(ctx context.Context, c *Conn, data string) error {
		w, err := c.NextWriterContext(ctx, TextMessage)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, data); err != nil {
			return err
		}
		return w.Close()
	}},
	{"ping by WriteMessageContext", func(ctx context.Context, c *Conn, data string) error {
		return c.WriteMessageContext(ctx, PingMessage, []byte(data[:min(len(data), 125)]))
	}},
}

// Between messages the end of a context costs nothing: cancelled before the read, while it waits
// for the network, and behind another reader.
func TestReadContextBetweenMessages(t *testing.T) {
	for _, method := range contextReads {
		bubble(t, method.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			b := wiretest.Encode(cutFrames[1:], true) // four control frames, a message
			behind := len(b) - len(cutMessage)        // the header is whole
			for i := range behind - 1 {
				ctx, cancel := newCancel()
				done := async(func() error { _, err := method.read(ctx, c); return err })
				stillWaiting(t, "the read", done)
				p.Write(b[i : i+1])
				stillWaiting(t, "the read", done)
				queued := async(func() error { _, err := method.read(ctx, c); return err })
				synctest.Wait()
				cancel()
				wantContext(t, <-done)
				wantContext(t, <-queued)
				_, err := method.read(ctx, c)
				wantContext(t, err)
			}
			go p.Write(b[behind-1:])
			wantRead(t, c, cutMessage)
			ctx, _ := newCancel()
			go p.send(textFrame("again"))
			if data, err := method.read(ctx, c); data != "again" || err != nil {
				t.Errorf("under a fresh context: %q, %v", data, err)
			}
		})
	}
}

func TestReadContextInRealTime(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		for range 20 {
			ctx, cancel := newCancel()
			done := async(func() error { _, _, err := c.ReadMessageContext(ctx); return err })
			cancel()
			wantContext(t, <-done)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Millisecond)
		defer cancel()
		_, _, err := c.ReadMessageContext(ctx)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		go p.send(textFrame("plain"))
		wantRead(t, c, "plain")
	})
}

func TestReadContextInsideMessage(t *testing.T) {
	for _, method := range contextReads {
		bubble(t, method.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			ctx, cancel := newCancel()
			done := async(func() error { _, err := method.read(ctx, c); return err })
			p.send(frame(0x01, "abc"))
			stillWaiting(t, "the read", done)
			cancel()
			err := <-done
			wantContext(t, err)
			go p.Write(wiretest.Encode([]wireFrame{frame(0x80, "def")}, true))
			if again := readErr(c); again != err {
				t.Errorf("then %v, want the same error again", again)
			}
		})
	}
}

// The reader of NextReaderContext, and it alone, ends with the context.
func TestNextReaderContextEndsItsReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go p.send(frame(0x01, "abc"))
		ctx, cancel := newCancel()
		_, r, err := c.NextReaderContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 3)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		done := async(func() error { _, err := r.Read(b); return err })
		stillWaiting(t, "the reader", done)
		cancel()
		wantContext(t, <-done)
		wantContext(t, readErr(c))
	})
}

// While nothing was sent, the end of a context costs nothing.
func TestWriteContextBeforeWriting(t *testing.T) {
	for _, method := range contextWrites {
		for _, taken := range []string{"write.msg", "write.mu"} {
			bubble(t, method.name+" behind "+taken, func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				ended, cancel := newCancel()
				cancel()
				wantContext(t, method.write(ended, c, "never"))

				r := &c.write.msg
				if taken == "write.mu" {
					r = &c.write.mu
				} else if strings.HasPrefix(method.name, "ping") {
					return // it does not wait for messages
				}
				r.Lock(noContext, nil)
				ctx, cancel := newCancel()
				done := async(func() error { return method.write(ctx, c, strings.Repeat("x", 5000)) })
				stillWaiting(t, "the write", done)
				cancel()
				wantContext(t, <-done)
				r.Unlock()

				frames := p.collect()
				if err := c.WriteMessage(TextMessage, []byte("sent")); err != nil {
					t.Error(err)
				}
				c.Close()
				if got := <-frames; !wiretest.Equal(got, []wireFrame{textFrame("sent")}) {
					t.Errorf("frames %q arrived", wiretest.Payloads(got))
				}
			})
		}
	}
}

func TestWriteContextWhileWriting(t *testing.T) {
	for _, method := range contextWrites {
		bubble(t, method.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			ctx, cancel := newCancel()
			done := async(func() error { return method.write(ctx, c, "cut") })
			io.ReadFull(p.Conn, make([]byte, 3))
			stillWaiting(t, "the write", done)
			cancel()
			err := <-done
			wantContext(t, err)
			if again := c.WriteMessage(TextMessage, nil); again != err {
				t.Errorf("then %v, want the same error again", again)
			}
			go p.send(textFrame("a"))
			wantRead(t, c, "a")
		})
	}
}

// RFC 6455 §5.4: after the first fragment no other message may begin until the last, so a message
// that is given up in between is the last on the connection.
func TestWriteContextBetweenFragments(t *testing.T) {
	for _, wait := range []string{"", "for write.mu"} {
		bubble(t, "cancelled while it waits "+wait, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			frames := p.collect()
			ctx, cancel := newCancel()
			w, err := c.NextWriterContext(ctx, BinaryMessage)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(make([]byte, defaultBufferSize+1)); err != nil {
				t.Fatal(err)
			}
			if wait != "" {
				c.write.mu.Lock(noContext, nil)
			} else {
				cancel()
			}
			queued := async(func() error { return c.WriteMessage(TextMessage, []byte("queued")) })
			synctest.Wait()
			done := async(func() error { _, err := w.Write(make([]byte, defaultBufferSize+1)); return err })
			synctest.Wait()
			cancel()
			wantContext(t, <-done)
			if wait != "" {
				c.write.unlock()
			}
			wantContext(t, <-queued)
			wantContext(t, c.WriteMessage(TextMessage, []byte("inside the message")))
			other, err := c.NextWriter(TextMessage)
			if err == nil {
				_, err = other.Write(make([]byte, 2*defaultBufferSize))
			}
			wantContext(t, err)
			pm, _ := NewPreparedMessage(TextMessage, []byte("prepared"))
			wantContext(t, c.WritePreparedMessage(pm))
			wantContext(t, w.Close())
			c.Close()
			got := <-frames
			if len(got) != 1 {
				t.Errorf("behind the first fragment came %q", wiretest.Payloads(got[1:]))
			}
		})
	}
}

// A message that was given up in between ends the writing, and nothing else.
func TestReadBehindWriteGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := keepAliveConn(t, time.Minute, time.Minute)
		p.drain()
		ctx, cancel := newCancel()
		w, err := c.NextWriterContext(ctx, BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, defaultBufferSize+1)); err != nil {
			t.Fatal(err)
		}
		cancel()
		wantContext(t, w.Close())
		c.SetReadDeadline(time.Now().Add(time.Second))
		wantDeadline(t, readErr(c), false)
		c.SetReadDeadline(time.Time{})
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
		wantGone(t, "read", readErr(c))
	})
}

// The deadline that the application set is in force again behind a context.
func TestContextThenDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		start := time.Now()
		c.SetReadDeadline(start.Add(time.Minute))
		for range 3 {
			ctx, cancel := newCancel()
			time.AfterFunc(time.Second, cancel)
			_, _, err := c.ReadMessageContext(ctx)
			wantContext(t, err)
			_, _, err = c.ReadMessageContext(ctx)
			wantContext(t, err)
		}
		// Set while a context has interrupted the half.
		c.SetReadDeadline(start.Add(2 * time.Minute))
		wantDeadline(t, readErr(c), false)
		if took := time.Since(start); took != 2*time.Minute {
			t.Errorf("the deadline passed after %v", took)
		}
		// A deadline also ends a read under a context.
		c.SetReadDeadline(time.Now().Add(time.Second))
		ctx, _ := newCancel()
		_, _, err := c.ReadMessageContext(ctx)
		wantDeadline(t, err, false)
		c.SetReadDeadline(time.Time{})
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
	})
}

func TestContextsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		first, cancelFirst := newCancel()
		second, cancelSecond := newCancel()
		for i, ctx := range []context.Context{first, second, first, context.Background(), second} {
			go p.send(textFrame(fmt.Sprint(i)))
			if _, data, err := c.ReadMessageContext(ctx); string(data) != fmt.Sprint(i) || err != nil {
				t.Errorf("read %d: %q, %v", i, data, err)
			}
		}
		done := async(func() error { _, _, err := c.ReadMessageContext(second); return err })
		synctest.Wait()
		cancelFirst()
		stillWaiting(t, "a read under the second context", done)
		cancelSecond()
		wantContext(t, <-done)
	})
}

// A message that was cut between its fragments ends all later ones, which says nothing of trying
// again.
func TestContextBetweenFragmentsIsPermanent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w, err := c.NextWriterContext(ctx, BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		advance(time.Minute)
		if _, err := w.Write(make([]byte, 10_000)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		for range 2 {
			err := c.WriteMessage(TextMessage, []byte("x"))
			var ne net.Error
			//lint:ignore SA1019 Old programs ask, so the answer must be right.
			if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &ne) || ne.Temporary() {
				t.Errorf("%T %v", err, err)
			}
		}
	})
}

// A countingContext counts those who watch it. It is not comparable.
type countingContext struct {
	context.Context
	watching *atomic.Int32
	total    *atomic.Int32
	_        []int
}

func newCounting() (countingContext, func()) {
	ctx, cancel := newCancel()
	return countingContext{Context: ctx, watching: new(atomic.Int32), total: new(atomic.Int32)}, cancel
}

func (c countingContext) Value(any) any { return nil } // what is inside is not to be found

// AfterFunc is what the context package calls instead of starting a goroutine.
func (c countingContext) AfterFunc(f func()) (stop func() bool) {
	c.watching.Add(1)
	c.total.Add(1)
	cancel := context.AfterFunc(c.Context, func() { c.watching.Add(-1); f() })
	return func() bool {
		stopped := cancel()
		if stopped {
			c.watching.Add(-1)
		}
		return stopped
	}
}

type contextKey struct{}

// The same context again is not watched again, nor one made from it that ends with it; a connection
// that is closed watches none.
func TestContextWatchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		ctx, cancel := newCounting()
		defer cancel()
		for i := range 10 {
			var use context.Context = ctx
			if i%2 == 1 {
				use = context.WithValue(ctx, contextKey{}, i)
			}
			go p.send(textFrame("a"))
			if _, _, err := c.ReadMessageContext(use); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteMessageContext(use, TextMessage, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := ctx.total.Load(); n != 2 {
			t.Errorf("the context was watched %d times, want once for each half", n)
		}
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
		if n := ctx.watching.Load(); n != 2 {
			t.Errorf("after a read without a context %d watch it, want both halves", n)
		}
		go c.ReadMessageContext(ctx)
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if n := ctx.watching.Load(); n != 0 {
			t.Errorf("%d still watch the context of a closed connection", n)
		}
	})
}

// Nor does a call on a connection that is closed make it watch one.
func TestContextAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := overPipe(t, connConfig{isServer: true})
		c.Close()
		ctx, cancel := newCounting()
		defer cancel()
		for range 2 {
			if _, _, err := c.ReadMessageContext(ctx); err == nil {
				t.Error("read from a closed connection")
			}
			if err := c.WriteMessageContext(ctx, TextMessage, nil); err == nil {
				t.Error("wrote to a closed connection")
			}
		}
		if n := ctx.watching.Load(); n != 0 {
			t.Errorf("%d still watch the context of a closed connection", n)
		}
	})
}

// An idling net.Conn ends when nothing is read for a while, by a deadline for both directions.
type idling struct{ net.Conn }

func (c idling) Read(p []byte) (int, error) {
	c.SetDeadline(time.Now().Add(time.Minute))
	return c.Conn.Read(p)
}

// A deadline that others have set on the net.Conn does not end a write that begins after it.
func TestDeadlinesOfOthers(t *testing.T) {
	for name, set := range map[string]func(c *Conn, p *peer){
		"a net.Conn that sets its own": func(c *Conn, p *peer) {
			go p.send(textFrame("a"))
			wantRead(t, c, "a")
		},
		"NetConn": func(c *Conn, p *peer) { c.NetConn().SetDeadline(time.Now().Add(time.Minute)) },
		"NetConn, ending a read": func(c *Conn, p *peer) {
			read := async(func() error { return readErr(c) })
			synctest.Wait()
			c.NetConn().SetDeadline(time.Now())
			wantDeadline(t, ended(t, "ReadMessage", read), false)
		},
	} {
		bubble(t, name, func(t *testing.T) {
			a, b := net.Pipe()
			c, p := play(t, idling{a}, b, connConfig{isServer: true})
			set(c, p)
			advance(time.Hour)
			large := strings.Repeat("b", 2*copyLimit)
			done := async(func() bool {
				p.expect(textFrame("a"), textFrame(large), textFrame("c"), pingFrame(""))
				return true
			})
			pm, err := NewPreparedMessage(TextMessage, []byte("c"))
			if err := errors.Join(err, c.WriteMessage(TextMessage, []byte("a")), c.WriteMessage(TextMessage, []byte(large)),
				c.WritePreparedMessage(pm), c.WriteControl(PingMessage, nil, soon())); err != nil {
				t.Error(err)
				c.Close()
			}
			<-done
			if t.Failed() {
				return
			}
			c.SetWriteDeadline(soon())
			wantDeadline(t, c.WriteMessage(TextMessage, nil), false)
			c.Close()
		})
	}
}
