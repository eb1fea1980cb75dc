package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

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

// Between messages the end of a context costs nothing: cancelled before the
// read, while it waits for the network, and behind another reader.
func TestReadContextBetweenMessages(t *testing.T) {
	for _, method := range contextReads {
		bubble(t, method.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			b := wireBytes(cutFrames[1:], true) // four control frames, a message
			behind := len(b) - len(cutMessage)  // the header is whole
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
			go p.Write(wireBytes([]wireFrame{frame(0x80, "def")}, true))
			if again := readErr(c); again != err {
				t.Errorf("then %v, want the same error for ever", again)
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
		for _, held := range []string{"message", "wire"} {
			bubble(t, method.name+" behind the "+held, func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				ended, cancel := newCancel()
				cancel()
				wantContext(t, method.write(ended, c, "never"))

				r := &c.write.msg
				if held == "wire" {
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
				if got := <-frames; !sameFrames(got, []wireFrame{textFrame("sent")}) {
					t.Errorf("frames %q arrived", payloads(got))
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
				t.Errorf("then %v, want the same error for ever", again)
			}
			go p.send(textFrame("a"))
			wantRead(t, c, "a")
		})
	}
}

// RFC 6455 §5.4: after the first fragment no other message may begin until the
// last, so a message that is given up in between is the last on the connection.
func TestWriteContextBetweenFragments(t *testing.T) {
	for _, wait := range []string{"", "for the wire"} {
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
				t.Errorf("behind the first fragment came %q", payloads(got[1:]))
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

// A message that was cut between its fragments ends all later ones, which says
// nothing of trying again.
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
