package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

func TestClosePayload(t *testing.T) {
	for _, test := range []struct {
		code       int
		text, want string
	}{
		{1000, "", "\x03\xe8"},
		{1005, "", ""},
		{4999, "bye", "\x13\x87bye"},
		{1000, strings.Repeat("x", 123), "\x03\xe8" + strings.Repeat("x", 123)},
		{1000, strings.Repeat("x", 124), "\x03\xe8" + strings.Repeat("x", 123)},
		// RFC 6455 §5.5.1: the reason is UTF-8, so it is cut at a rune.
		{1000, strings.Repeat("é", 62), "\x03\xe8" + strings.Repeat("é", 61)},
		{1000, "x" + strings.Repeat("é", 62), "\x03\xe8x" + strings.Repeat("é", 61)},
		{1000, strings.Repeat("€", 50), "\x03\xe8" + strings.Repeat("€", 41)},
		{1000, "x" + strings.Repeat("😀", 50), "\x03\xe8x" + strings.Repeat("😀", 30)},
		{1000, strings.Repeat("\x80", 200), "\x03\xe8"},
	} {
		if got := closePayload(test.code, test.text); string(got) != test.want {
			t.Errorf("%d %.10q: %q, want %q", test.code, test.text, got, test.want)
		}
	}
}

// After Close everything fails with net.ErrClosed, every time and without a panic.
func TestAfterClose(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for name, call := range map[string]func() error{
			"ReadMessage":  func() error { return readErr(c) },
			"NextReader":   func() error { _, _, err := c.NextReader(); return err },
			"WriteMessage": func() error { return c.WriteMessage(TextMessage, []byte("x")) },
			"large":        func() error { return c.WriteMessage(TextMessage, make([]byte, 100_000)) },
			"WriteControl": func() error { return c.WriteControl(PingMessage, nil, time.Time{}) },
			"Ping":         func() error { return c.Ping(context.Background()) },
			"Shutdown":     func() error { return c.Shutdown(context.Background(), 1000, "") },
			"WriteJSON":    func() error { return c.WriteJSON(1) },
			"Messages": func() error {
				for _, err := range c.Messages(context.Background()) {
					return err
				}
				return nil
			},
		} {
			for range 2 {
				if err := call(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v (%T), want net.ErrClosed", name, err, err)
				}
			}
		}
		for range 2000 {
			if err := readErr(c); err == nil {
				t.Fatal("read from a closed connection")
			}
		}
		c.Flush()
		c.Close()
		c.SetReadDeadline(time.Now())
		c.SetWriteDeadline(time.Now())
		p.expectEnd()
	})
}

// A connection that died of itself goes on to return its first error.
func TestReadsOfDeadConnection(t *testing.T) {
	for name, last := range map[string][]byte{
		"EOF":            nil,
		"close frame":    wiretest.Encode([]wireFrame{closeFrame(1000, "")}, true),
		"protocol error": wiretest.Encode([]wireFrame{frame(0x83, "")}, true),
		"cut":            wiretest.Encode([]wireFrame{textFrame("abc").Cut(8)}, true),
	} {
		t.Run(name, func(t *testing.T) {
			c, p := overTCP(t, connConfig{isServer: true})
			p.Write(last)
			p.Conn.(*net.TCPConn).CloseWrite()
			first := readErr(c)
			for range 2000 {
				if err := readErr(c); err != first || err == nil {
					t.Fatalf("%v behind %v", err, first)
				}
			}
		})
	}
}

// Close ends a read and a write that wait for a peer, which does nothing.
func TestCloseEndsWaits(t *testing.T) {
	for _, server := range []bool{true, false} {
		bubble(t, fmt.Sprint("server ", server), func(t *testing.T) {
			c, _ := overPipe(t, connConfig{isServer: server})
			first, second := asyncRead(c), asyncRead(c)
			writes := []<-chan error{
				async(func() error { return c.WriteMessage(TextMessage, make([]byte, 100_000)) }),
				async(func() error { return c.WriteMessage(TextMessage, nil) }),
				async(func() error { return c.WriteControl(PingMessage, nil, time.Time{}) }),
			}
			synctest.Wait()
			start := time.Now()
			c.Close()
			for i, done := range []<-chan outcome{first, second} {
				if err := (<-done).err; !errors.Is(err, net.ErrClosed) {
					t.Errorf("read %d: %v", i, err)
				}
			}
			for i, done := range writes {
				if err := <-done; !errors.Is(err, net.ErrClosed) {
					t.Errorf("write %d: %v", i, err)
				}
			}
			if took := time.Since(start); took > closeWait {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCloseEndsWaitsOverTCP(t *testing.T) {
	c, _ := overTCP(t, connConfig{isServer: true})
	read := asyncRead(c)
	write := async(func() error {
		for {
			if err := c.WriteMessage(BinaryMessage, make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	})
	c.Close()
	if err := (<-read).err; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if err := <-write; !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
}

// Frames that are delayed when the connection is closed reach the peer, unless it takes nothing;
// then the wait for it is bounded.
func TestCloseSendsDelayed(t *testing.T) {
	for _, takes := range []bool{true, false} {
		bubble(t, fmt.Sprint("peer reads ", takes), func(t *testing.T) {
			a, b := net.Pipe()
			c, p := play(t, a, b, connConfig{isServer: true, buffered: wiretest.Encode(wiretest.Repeat(2, textFrame("a")), true)})
			wantRead(t, c, "a")
			write(t, c, "delayed")
			start := time.Now()
			done := async(func() error { return c.Close() })
			if takes {
				p.expect(textFrame("delayed"))
				p.expectEOF()
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > closeWait || takes && took > 0 {
				t.Errorf("Close took %v", took)
			}
		})
	}
}

// Many at once, from everywhere.
func TestCloseConcurrently(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		p.drain()
		var done []<-chan error
		for range 4 {
			done = append(done, async(func() error { return readErr(c) }),
				async(func() error { return errors.Join(c.WriteMessage(TextMessage, nil), net.ErrClosed) }),
				async(func() error { c.Close(); return net.ErrClosed }))
		}
		for _, err := range done {
			if err := <-err; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		}
	})
}

// A violation followed by much that is never read: the close frame arrives nevertheless, then
// the end of the stream and no reset.
func TestFailArrives(t *testing.T) {
	junk := bytes.Repeat([]byte("junk"), 1<<18)
	for _, server := range []bool{true, false} {
		t.Run(fmt.Sprint("server ", server), func(t *testing.T) {
			for range 5 {
				c, p := overTCP(t, connConfig{isServer: server})
				read := asyncRead(c)
				sent := async(func() error {
					_, err := p.Write(append(wiretest.Encode([]wireFrame{frame(0x83, "")}, server), junk...))
					return err
				})
				if err := <-sent; err != nil {
					t.Errorf("the peer could not send: %v", err)
				}
				p.expect(closeFrame(1002, "bad opcode 3"))
				p.expectEOF()
				p.Close()
				var pe *ProtocolError
				if err := (<-read).err; !errors.As(err, &pe) || pe.Code != 1002 {
					t.Errorf("read: %v", err)
				}
				if err := c.WriteMessage(TextMessage, nil); err != ErrCloseSent {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
}

// Data behind a close frame does not destroy the answer either.
func TestCloseAnswerArrives(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	p.Write(append(wiretest.Encode([]wireFrame{closeFrame(1000, "bye")}, true), bytes.Repeat([]byte("junk"), 1<<16)...))
	read := asyncRead(c)
	p.expect(closeFrame(1000, ""))
	p.expectEOF()
	p.Close()
	if err := (<-read).err; !IsCloseError(err, 1000) {
		t.Error(err)
	}
}

// A failure is bounded though the peer reads nothing and another goroutine's write has write.mu.
func TestFailBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		writing := async(func() error { return c.WriteMessage(TextMessage, []byte("stuck")) })
		synctest.Wait()
		start := time.Now()
		go p.send(frame(0x83, ""))
		var pe *ProtocolError
		if err := readErr(c); !errors.As(err, &pe) {
			t.Error(err)
		}
		if err := <-writing; err == nil {
			t.Error("the write that was stuck returned no error")
		}
		if took := time.Since(start); took > 2*closeWait {
			t.Errorf("took %v", took)
		}
	})
}

// Nothing follows a close frame (RFC 6455 §5.5.1), not even what was begun.
func TestWriteBehindClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		frames := p.collect()
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, strings.Repeat("x", defaultBufferSize+1))
		behind := async(func() error { return c.WriteMessage(TextMessage, nil) })
		synctest.Wait()
		if err := c.WriteControl(CloseMessage, nil, time.Time{}); err != nil {
			t.Error(err)
		}
		for name, err := range map[string]error{
			"NextWriter's Close": w.Close(), "the message behind": <-behind, "another close frame": c.WriteMessage(CloseMessage, nil),
			"ping": c.WriteControl(PingMessage, nil, time.Time{}), "Ping": c.Ping(context.Background()),
		} {
			if err != ErrCloseSent {
				t.Errorf("%s: %v, want ErrCloseSent", name, err)
			}
		}
		if _, err := c.NextWriter(TextMessage); err != ErrCloseSent {
			t.Errorf("NextWriter: %v, want ErrCloseSent", err)
		}
		if err := c.Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		// Pings that come are not answered any more.
		go p.send(pingFrame("x"), textFrame("a"))
		wantRead(t, c, "a")
		synctest.Wait()
		c.Close()
		if got := <-frames; len(got) != 2 || got[1].First != 0x88 {
			t.Errorf("frames %.100q", wiretest.Payloads(got))
		}
	})
}

// TLS that ends inside a record was cut: crypto/tls tells that from an end of the stream.
func TestTLSCutInsideRecord(t *testing.T) {
	c, p := overTLS(t, connConfig{isServer: true})
	raw := p.Conn.(*tls.Conn).NetConn()
	raw.Write([]byte{23, 3, 3, 0, 100, 1, 2, 3})
	raw.Close()
	if err := readErr(c); err != io.ErrUnexpectedEOF {
		t.Errorf("%T %v, want that of crypto/tls", err, err)
	}
}

// Close does not wait for a frame that the peer does not take.
func TestCloseBehindStuckPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		read := asyncRead(c)
		go p.send(pingFrame("x"), pingFrame("y")) // and reads no pong
		synctest.Wait()
		advance(time.Millisecond)
		start := time.Now()
		c.Close()
		if d := time.Since(start); d > 20*time.Millisecond {
			t.Errorf("Close took %v", d)
		}
		<-read
	})
}

// What was received and not read is not delivered after Close, also where a handler calls it or
// somebody is reading.
func TestReadAfterClose(t *testing.T) {
	for name, set := range map[string]func(c *Conn){
		"handler": func(c *Conn) {
			c.SetPingHandler(func(string) error { return c.Close() })
		},
		"connection that goes on": func(c *Conn) { // as TLS does with what it has decrypted
			wantRead(t, c, "first")
			nc := c.conn.(*wiretest.ScriptConn)
			rest := nc.Script
			c.Close()
			*nc = wiretest.ScriptConn{Script: rest, Size: nc.Size}
		},
		"reader": func(c *Conn) {
			wantRead(t, c, "first")
			c.read.mu.Lock(noContext, nil) // somebody reads
			c.Close()
			c.read.unlock()
		},
	} {
		frames := []wireFrame{textFrame("first"), pingFrame(""), textFrame("a"), textFrame("b")}
		if name == "handler" {
			frames = frames[1:]
		}
		c := newConn(&wiretest.ScriptConn{Script: wiretest.Encode(frames, true), Size: func() int { return 20 }}, connConfig{isServer: true})
		set(c)
		for range 2 {
			data, err := readOne(c)
			if _, ok := err.(*net.OpError); !ok || !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: read %q, %v after Close", name, data, err)
			}
		}
	}
}
