package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// shutdown calls Shutdown(ctx, 1000, "bye") in a goroutine.
func shutdown(ctx context.Context, c *Conn) <-chan error {
	return async(func() error { return c.Shutdown(ctx, CloseNormalClosure, "bye") })
}

var byeFrame = closeFrame(1000, "bye")

// The peer answers; whether anyone reads, and whether data comes first, makes no difference to the
// result.
func TestShutdown(t *testing.T) {
	for _, server := range []bool{true, false} {
		for _, reader := range []bool{true, false} {
			for _, data := range []int{0, 1, 3} {
				bubble(t, fmt.Sprintf("server %v, reader %v, %d messages first", server, reader, data), func(t *testing.T) {
					c, p := overPipe(t, connConfig{isServer: server})
					var read <-chan []wireMessage
					if reader {
						read = async(func() []wireMessage { m, _ := readByMessage(c); return m })
						synctest.Wait()
					}
					start := time.Now()
					done := shutdown(context.Background(), c)
					p.expect(byeFrame)
					for i := range data {
						p.send(textFrame(fmt.Sprint(i)))
					}
					p.send(closeFrame(1000, ""))
					if !server {
						stillWaiting(t, "a client that waits for the server to close", done)
						p.Close()
					}
					if err := <-done; err != nil {
						t.Errorf("Shutdown: %v", err)
					}
					if took := time.Since(start); took > 0 {
						t.Errorf("took %v", took)
					}
					if reader {
						if got := <-read; len(got) != 0 {
							t.Errorf("the reader got %v", got)
						}
					}
					if err := readErr(c); !errors.Is(err, net.ErrClosed) {
						t.Errorf("a later read: %v", err)
					}
					if err := c.WriteMessage(TextMessage, nil); err != ErrCloseSent {
						t.Errorf("a later write: %v", err)
					}
				})
			}
		}
	}
}

// A peer that does not answer, or takes nothing at all, is waited for as long as ctx allows, and
// the connection is closed nevertheless.
func TestShutdownWithoutAnswer(t *testing.T) {
	for _, takes := range []bool{true, false} {
		for _, reader := range []bool{true, false} {
			bubble(t, fmt.Sprintf("peer reads %v, reader %v", takes, reader), func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				if takes {
					p.drain()
				}
				var read <-chan outcome
				if reader {
					read = asyncRead(c)
				}
				ctx, cancel := newCancel()
				time.AfterFunc(time.Minute, cancel)
				start := time.Now()
				wantContext(t, c.Shutdown(ctx, 1000, ""))
				if took := time.Since(start); took != time.Minute {
					t.Errorf("took %v, want all of ctx", took)
				}
				if reader {
					if err := ended(t, "the reader", read).err; !errors.Is(err, net.ErrClosed) {
						t.Errorf("the reader: %v", err)
					}
				}
				p.expectEnd()
			})
		}
	}
}

// A peer that floods instead of answering does not outlive ctx either.
func TestShutdownFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		flood := async(func() error {
			for {
				if _, err := p.Write(wiretest.Encode([]wireFrame{textFrame("more"), pingFrame("")}, true)); err != nil {
					return err
				}
				<-time.After(5 * time.Millisecond)
			}
		})
		ctx, cancel := newCancel()
		time.AfterFunc(10*time.Second, cancel)
		start := time.Now()
		wantContext(t, c.Shutdown(ctx, 1000, ""))
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		<-flood
	})
}

// The connection ends without the peer's close frame.
func TestShutdownFails(t *testing.T) {
	for _, test := range []struct {
		name string
		last func(p *peer)
		want func(err error) bool
	}{
		{"EOF", func(p *peer) { p.Close() }, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"cut message", func(p *peer) { p.send(textFrame("abc").Cut(7)); p.Close() },
			func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"protocol error", func(p *peer) { p.send(frame(0x83, "")) },
			func(err error) bool { var pe *ProtocolError; return errors.As(err, &pe) }},
	} {
		for _, reader := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s, reader %v", test.name, reader), func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				if reader {
					asyncRead(c)
				}
				done := shutdown(context.Background(), c)
				p.expect(byeFrame)
				test.last(p)
				if err := <-done; !test.want(err) {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}
	}
}

// Both ends at once, each several times, together with Close.
func TestShutdownTogether(t *testing.T) {
	for _, readers := range []bool{true, false} {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprintf("readers %v, Close %v", readers, closing), func(t *testing.T) {
				server, client := tcpConns(t)
				var done []<-chan error
				for _, c := range []*Conn{server, client} {
					if readers {
						asyncRead(c)
					}
					for range 2 {
						done = append(done, shutdown(t.Context(), c))
					}
					if closing {
						go c.Close()
					}
				}
				for i, err := range done {
					if err := <-err; err != nil && !closing {
						t.Errorf("Shutdown %d: %v", i, err)
					}
				}
				for _, c := range []*Conn{server, client} {
					if err := c.Shutdown(t.Context(), 1000, ""); err != nil && !closing {
						t.Errorf("once more: %v", err)
					}
				}
			})
		}
	}
}

// The first of several calls ends the reads in progress before another one begins to read.
func TestShutdownTwice(t *testing.T) {
	server, client := pipeConns(t)
	asyncRead(client)
	server.read.deadline.mu.Lock()
	done := shutdown(t.Context(), server)
	for !server.read.ending.Load() {
		runtime.Gosched()
	}
	if k := server.controls(); k.mu.TryLock() {
		t.Error("another Shutdown may begin")
		k.mu.Unlock()
	}
	server.read.deadline.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// From the reading goroutine, after its error.
func TestShutdownAfterError(t *testing.T) {
	server, client := tcpConns(t)
	var wg sync.WaitGroup
	for _, c := range []*Conn{server, client} {
		wg.Go(func() {
			err := readErr(c)
			if !IsCloseError(err, 1001) {
				t.Error(err)
			}
			if err := c.Shutdown(t.Context(), 1000, ""); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		})
	}
	server.WriteControl(CloseMessage, FormatCloseMessage(1001, ""), time.Time{})
	wg.Wait()
}

// RFC 6455 §7.1.1: the server closes TCP first, and the client waits for it.
func TestShutdownOrder(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	done := shutdown(t.Context(), c)
	p.expect(byeFrame)
	p.send(closeFrame(1000, ""))
	p.expectEOF()
	if err := <-done; err != nil {
		t.Error(err)
	}
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{})
		start := time.Now()
		done := shutdown(t.Context(), c)
		p.expect(byeFrame)
		p.send(closeFrame(1000, ""))
		advance(closeWait / 2)
		stillWaiting(t, "the client", done)
		if err := <-done; err != nil { // the server noContext closes
			t.Error(err)
		}
		if took := time.Since(start); took != closeWait {
			t.Errorf("the client waited for %v, want %v", took, closeWait)
		}
		p.expectEnd()
	})
}

func TestShutdownCodes(t *testing.T) {
	for _, code := range []int{-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536 + 1000} {
		synctest.Test(t, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			if err := c.Shutdown(t.Context(), code, ""); err == nil {
				t.Errorf("code %d was accepted", code)
			}
			go p.send(textFrame("a")) // nothing happened
			wantRead(t, c, "a")
		})
	}
	for code, want := range map[int]wireFrame{
		1000: closeFrame(1000, strings.Repeat("é", 61)), 1014: closeFrame(1014, strings.Repeat("é", 61)),
		3000: closeFrame(3000, strings.Repeat("é", 61)), 1005: frame(0x88, ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			done := async(func() error { return c.Shutdown(t.Context(), code, strings.Repeat("é", 100)) })
			p.expect(want)
			p.send(want)
			if err := <-done; err != nil {
				t.Errorf("code %d: %v", code, err)
			}
		})
	}
}

// From the call of Shutdown on nobody else reads: a reader in the middle of a message, however it
// reads and whenever it comes, gets net.ErrClosed and never an end that makes the part look whole.
func TestShutdownInsideMessage(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		for _, late := range []bool{false, true} {
			bubble(t, fmt.Sprintf("compressed %v, reader comes late %v", compressed, late), func(t *testing.T) {
				c, p := overPipe(t, wireConfig(true, compressed, false))
				p.drain()
				message := []wireFrame{frame(0x01, "abc"), frame(0x80, "def")}
				if compressed {
					message = []wireFrame{deflatedFrame(strings.Repeat("abcdefgh", 4000))}
				}
				go p.send(message...)
				_, r, err := c.NextReader()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
				done := shutdown(context.Background(), c)
				synctest.Wait()
				read := func() error { _, err := io.ReadAll(r); return err }
				reader := make(<-chan error)
				if !late {
					reader = async(read)
					stillWaiting(t, "the reader", reader)
				}
				p.send(closeFrame(1000, ""))
				if err := ended(t, "Shutdown", done); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if !late {
					if err := ended(t, "the reader", reader); !errors.Is(err, net.ErrClosed) {
						t.Errorf("the reader: %v", err)
					}
				}
				if err := read(); !errors.Is(err, net.ErrClosed) {
					t.Errorf("a late reader: %v", err)
				}
			})
		}
	}
}

// A handler that closes the connection when its read fails does not cut the handshake short.
func TestShutdownBesideHandler(t *testing.T) {
	for range 50 {
		c, p := overTCP(t, connConfig{isServer: true})
		reading := make(chan bool)
		go func() {
			defer c.Close()
			close(reading)
			readByMessage(c)
		}()
		<-reading
		done := shutdown(t.Context(), c)
		p.expect(byeFrame)
		p.send(byeFrame)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// A loop that is slow to come for its messages gets none from the call of Shutdown on, whatever the
// time that it takes.
func TestShutdownSlowLoop(t *testing.T) {
	for _, turn := range []time.Duration{0, time.Millisecond, time.Hour} {
		bubble(t, fmt.Sprint("a turn takes ", turn), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			began, proceed := make(chan bool), make(chan bool)
			loop := async(func() (got []string) {
				for m, err := range c.Messages(context.Background()) {
					if err != nil {
						return append(got, fmt.Sprint(errors.Is(err, net.ErrClosed)))
					}
					got = append(got, string(m.Data))
					began <- true
					<-proceed
					<-time.After(turn)
				}
				return got
			})
			go p.send(textFrame("1"), textFrame("2"), textFrame("3"), closeFrame(1000, ""))
			<-began
			done := shutdown(context.Background(), c)
			synctest.Wait()
			proceed <- true
			if err := <-done; err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if got := <-loop; len(got) != 2 || got[1] != "true" {
				t.Errorf("the loop got %q, want one message and net.ErrClosed", got)
			}
		})
	}
}

// Shutdown ends with its context, whatever it is doing then.
func TestShutdownEndsWithContext(t *testing.T) {
	for name, play := range map[string]func(p *peer){
		"the peer reads nothing":               func(p *peer) {},
		"the peer answers nothing":             func(p *peer) { p.drain() },
		"a violation, and more":                func(p *peer) { p.drain(); p.send(frame(0x83, "")); p.send(textFrame("x")) },
		"a close frame, with data behind it":   func(p *peer) { p.drain(); p.send(closeFrame(1000, ""), textFrame("x")) },
		"the server does not close the stream": func(p *peer) { p.drain(); p.send(closeFrame(1000, "")) },
	} {
		for _, server := range []bool{true, false} {
			bubble(t, fmt.Sprintf("%s, server %v", name, server), func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: server})
				go play(p)
				ctx, cancel := context.WithTimeout(t.Context(), closeWait/10)
				defer cancel()
				start := time.Now()
				c.Shutdown(ctx, 1000, "")
				if took := time.Since(start); took > closeWait/10 {
					t.Errorf("took %v, longer than its context", took)
				}
			})
		}
	}
}

// A peer that reads nothing over TLS holds up neither Close nor a violation nor Shutdown longer
// than the documents say, and a read in progress not at all: crypto/tls would wait for 5 s.
func TestEndOverTLS(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(t *testing.T, c *Conn, p *peer)
		most time.Duration
	}{
		"Close":     {func(t *testing.T, c *Conn, p *peer) { c.Close() }, closeWait},
		"violation": {func(t *testing.T, c *Conn, p *peer) { readErr(c) }, 3 * closeWait},
		"Shutdown": {func(t *testing.T, c *Conn, p *peer) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := c.Shutdown(ctx, 1000, ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}, time.Second},
	} {
		bubble(t, name, func(t *testing.T) {
			c, p := unreadTLS(t, connConfig{isServer: true})
			if name == "violation" {
				go p.send(frame(0x83, ""))
			} else {
				read := asyncRead(c)
				synctest.Wait()
				defer func() {
					if err := ended(t, "the reader", read).err; !errors.Is(err, net.ErrClosed) {
						t.Errorf("the reader: %v", err)
					}
				}()
			}
			start := time.Now()
			test.end(t, c, p)
			if took := time.Since(start); took > test.most {
				t.Errorf("took %v, want at most %v", took, test.most)
			}
		})
	}
}

// Where a close handler does not answer the peer's close frame, Shutdown does, with its own code.
func TestShutdownAnswers(t *testing.T) {
	for _, o := range []ConnOptions{{}, {EnableCompression: true}} {
		for range 20 {
			synctest.Test(t, func(t *testing.T) {
				client, server := Pipe(o)
				server.SetCloseHandler(func(int, string) error { return nil })
				done := async(func() error { return client.Shutdown(t.Context(), CloseNormalClosure, "") })
				if err := readErr(server); !IsCloseError(err, CloseNormalClosure) {
					t.Error(err)
				}
				stillWaiting(t, "the peer's Shutdown", done)
				if err := server.WriteMessage(TextMessage, []byte("one more")); err != nil {
					t.Error(err)
				}
				if err := server.Shutdown(t.Context(), CloseTryAgainLater, ""); err != nil {
					t.Error(err)
				}
				if err := ended(t, "the peer's Shutdown", done); err != nil {
					t.Error(err)
				}
				if err := client.Err(); !IsCloseError(err, CloseTryAgainLater) {
					t.Errorf("the answer: %v", err)
				}
			})
		}
	}
}

// It does not wait for long for a peer that has closed and takes nothing any more.
func TestShutdownAnswerNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		server.SetCloseHandler(func(int, string) error { return nil })
		write := async(func() error { return server.WriteMessage(BinaryMessage, make([]byte, 2*pipeSize)) })
		stillWaiting(t, "the write", write)
		client.WriteControl(CloseMessage, nil, time.Time{})
		readErr(server)
		start := time.Now()
		if err := server.Shutdown(context.Background(), CloseNormalClosure, ""); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > 2*closeWait {
			t.Errorf("Shutdown took %v", d)
		}
		client.Close()
		<-write
	})
}
