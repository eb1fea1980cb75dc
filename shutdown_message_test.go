package websocket

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Shutdown while messages are on their way, in either direction.

// slow is how long a reader takes that Shutdown still waits for.
const slow = 10 * time.Millisecond

// A reader in the middle of a message gets the rest of it if it comes for it,
// and never a part that looks like all.
func TestShutdownInsideMessage(t *testing.T) {
	for _, late := range []time.Duration{0, slow, time.Second} {
		bubble(t, fmt.Sprint("reader comes after ", late), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			frames := p.collect()
			sent := async(func() int { p.send(frame(0x01, "abc"), frame(0x80, "def"), closeFrame(1000, "")); return 0 })
			_, r, err := c.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 2)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			done := shutdown(context.Background(), c)
			synctest.Wait() // its close frame is out
			<-time.After(late)
			rest, err := io.ReadAll(r)
			if got := string(b) + string(rest); err == nil && got != "abcdef" || late <= slow && err != nil {
				t.Errorf("read %q, %v of a message %q", got, err, "abcdef")
			}
			if late <= slow { // a reader that goes on
				if err := readErr(c); !IsCloseError(err, 1000) {
					t.Error(err)
				}
			}
			if err := <-done; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			<-sent
			if got := <-frames; !sameFrames(got, []wireFrame{byeFrame}) {
				t.Errorf("sent %q", payloads(got))
			}
		})
	}
}

// A reader that has all bytes of a message also gets its end.
func TestShutdownBehindLastByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		go p.send(frame(0x01, "abc"), frame(0x80, "def"), closeFrame(1000, ""))
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatal(err)
		}
		if err := c.Shutdown(t.Context(), 1000, ""); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(b); err != io.EOF {
			t.Errorf("behind the last byte: %v, want io.EOF", err)
		}
	})
}

// A reader that takes its time between messages gets them all.
func TestShutdownSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		read := async(func() (n int) {
			for {
				if err := readErr(c); err != nil {
					return n
				}
				n++
				<-time.After(slow)
			}
		})
		synctest.Wait()
		done := shutdown(context.Background(), c)
		p.expect(byeFrame)
		for i := range 20 {
			p.send(textFrame(fmt.Sprint(i)))
		}
		p.send(closeFrame(1000, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := <-read; n != 20 {
			t.Errorf("the reader got %d of 20 messages", n)
		}
	})
}

// What is unread when the handshake is done does not reset the connection.
func TestShutdownDataFirstOverTCP(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	p.Write(wireBytes(repeated(20, binaryFrame(strings.Repeat("x", 10_000))), true))
	done := shutdown(t.Context(), c)
	p.expect(byeFrame)
	p.send(closeFrame(1000, ""))
	p.expectEOF()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// When nobody reads, what waits is not discarded at a reader's pace.
func TestShutdownBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		start := time.Now()
		done := shutdown(context.Background(), c)
		p.expect(byeFrame)
		p.send(repeated(1000, textFrame("unread"))...)
		p.send(closeFrame(1000, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*yieldWait {
			t.Errorf("took %v for 1000 messages", took)
		}
	})
}

// A message that a writer has begun is cut off by the close frame, and a
// writer that waits for its turn does not hold Shutdown up.
func TestShutdownWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		frames := p.collect()
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, defaultBufferSize+1))
		behind := async(func() error { return c.WriteMessage(TextMessage, nil) })
		synctest.Wait()
		done := shutdown(t.Context(), c)
		synctest.Wait()
		go p.send(closeFrame(1000, ""))
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != ErrCloseSent {
			t.Errorf("the message's Close: %v", err)
		}
		if err := <-behind; err != ErrCloseSent {
			t.Errorf("the message behind: %v", err)
		}
		if got := <-frames; len(got) != 2 || got[1].first != 0x88 {
			t.Errorf("frames %.100q", payloads(got))
		}
	})
}
