package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Many goroutines on one connection: every message arrives whole and in the
// order of its sender.

// streamed is message n of sender g: a name, and a body that tells where each
// byte belongs.
func streamed(g, n int) string {
	name := fmt.Sprintf("%d/%d:", g, n)
	return name + strings.Repeat(string(rune('a'+g)), 300*n%2000)
}

// sendStreamed sends the messages of sender g in one of the ways there are.
func sendStreamed(c *Conn, g, n int) error {
	rnd := rand.New(rand.NewPCG(uint64(g), 1))
	for i := range n {
		data := streamed(g, i)
		if g%4 == 3 {
			if err := c.WriteMessage(TextMessage, []byte(data)); err != nil {
				return err
			}
			continue
		}
		w, err := c.NextWriterContext(context.Background(), TextMessage)
		if err != nil {
			return err
		}
		for data != "" {
			k := min(len(data), 1+rnd.IntN(700))
			if _, err := io.WriteString(w, data[:k]); err != nil {
				return err
			}
			data = data[k:]
			if g%5 == 0 {
				if err := c.WriteControl(PingMessage, []byte{byte(g), byte(i)}, time.Time{}); err != nil {
					return err
				}
			}
			runtime.Gosched()
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
	return nil
}

// readStreamed checks the messages of the senders until all are there.
func readStreamed(c *Conn, senders, n int) error {
	next := make([]int, senders)
	for range senders * n {
		data, err := readOne(c)
		if err != nil {
			return err
		}
		var g, i int
		if _, err := fmt.Sscanf(data, "%d/%d:", &g, &i); err != nil || g < 0 || g >= senders {
			return fmt.Errorf("message %s: %w", shortened(data), err)
		}
		if i != next[g] || data != streamed(g, i) {
			return fmt.Errorf("message %s is not number %d of sender %d, whole", shortened(data), next[g], g)
		}
		next[g]++
	}
	return nil
}

const senders, perSender = 20, 20

// streamBothWays has both ends send and read at once. Both see pings between
// the fragments and answer them.
func streamBothWays(t *testing.T, ends ...*Conn) {
	var wg sync.WaitGroup
	for _, c := range ends {
		for g := range senders {
			wg.Go(func() {
				if err := sendStreamed(c, g, perSender); err != nil {
					t.Errorf("sender %d: %v", g, err)
				}
			})
		}
		wg.Go(func() {
			if err := readStreamed(c, senders, perSender); err != nil {
				t.Errorf("reader: %v", err)
				c.Close()
			}
		})
	}
	wg.Wait()
}

func TestConcurrentMessages(t *testing.T) {
	for _, cfg := range []struct {
		name    string
		deflate bool
		delay   time.Duration
	}{{"held", false, 0}, {"never held", false, -1}, {"deflated", true, 0}} {
		dial := func(t *testing.T, pair func(testing.TB, connConfig) (*Conn, *peer)) []*Conn {
			c := wireConfig(true, cfg.deflate, true)
			c.writeBufferSize, c.writeDelay = 512, cfg.delay
			server, p := pair(t, c)
			c.isServer = false
			client := newConn(p.Conn, c)
			t.Cleanup(func() { client.Close() })
			return []*Conn{server, client}
		}
		bubble(t, cfg.name+", pipe", func(t *testing.T) { streamBothWays(t, dial(t, overPipe)...) })
		t.Run(cfg.name+", TCP", func(t *testing.T) { streamBothWays(t, dial(t, overTCP)...) })
	}
}

// Pings, in flight while messages stream, all return.
func TestConcurrentPings(t *testing.T) {
	server, client := tcpConns(t)
	var wg, readers sync.WaitGroup
	for _, c := range []*Conn{server, client} {
		readers.Go(func() { readByMessage(c) })
		for range 10 {
			wg.Go(func() {
				for range 20 {
					if err := errors.Join(c.Ping(context.Background()), c.WriteMessage(BinaryMessage, make([]byte, 1000))); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	for _, c := range []*Conn{server, client} {
		if n := inFlight(c); n != 0 {
			t.Errorf("%d pings are still listed", n)
		}
	}
	server.Close()
	client.Close()
	readers.Wait()
}

// Readers share the messages; none is lost or seen twice.
func TestConcurrentReaders(t *testing.T) {
	server, client := tcpConns(t)
	const messages = 400
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[string]int{}
	for range 8 {
		wg.Go(func() {
			got, err := readByMessage(server)
			if !IsCloseError(err, 1000) {
				t.Error(err)
			}
			server.Close() // the client waits for it
			mu.Lock()
			defer mu.Unlock()
			for _, m := range got {
				seen[m.data]++
			}
		})
	}
	for i := range messages {
		write(t, client, fmt.Sprint(i))
	}
	if err := client.Shutdown(t.Context(), 1000, ""); err != nil {
		t.Error(err)
	}
	wg.Wait()
	for i := range messages {
		if n := seen[fmt.Sprint(i)]; n != 1 {
			t.Errorf("message %d was read %d times", i, n)
		}
	}
}

// Writers of which some give up: what remains is whole messages.
func TestConcurrentGivingUp(t *testing.T) {
	server, client := tcpConns(t)
	var wg sync.WaitGroup
	var sent sync.Map
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				ctx, cancel := context.WithCancel(context.Background())
				if i%2 == 0 {
					cancel() // before: the message is noContext begun
				}
				data := streamed(g, i)
				if err := server.WriteMessageContext(ctx, TextMessage, []byte(data)); err == nil {
					sent.Store(data, true)
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	go func() {
		wg.Wait()
		server.WriteControl(CloseMessage, FormatCloseMessage(1000, ""), time.Time{})
	}()
	got, err := readByMessage(client)
	if !IsCloseError(err, 1000) {
		t.Error(err)
	}
	for _, m := range got {
		if _, ok := sent.LoadAndDelete(m.data); !ok {
			t.Errorf("message %s was read and not sent", shortened(m.data))
		}
	}
	sent.Range(func(data, _ any) bool {
		t.Errorf("message %s was lost", shortened(data.(string)))
		return true
	})
}

// Everything at once on a connection that is closed meanwhile: a bubble does
// not end before every goroutine has.
func TestConcurrentEverything(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			server, client := pipeConns(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
			defer cancel()
			for _, c := range []*Conn{server, client} {
				go readByMessage(c)
				go func() {
					for _, err := range c.Messages(ctx) {
						if err != nil {
							return
						}
					}
				}()
				go sendStreamed(c, i, perSender)
				go c.Ping(ctx)
				go c.WriteMessageContext(ctx, BinaryMessage, make([]byte, 10_000))
				go c.SetReadDeadline(time.Now().Add(time.Hour))
				go c.SetWriteDeadline(time.Now().Add(time.Hour))
				go c.SetPingHandler(nil)
				go c.Flush()
			}
			<-time.After(time.Duration(i) * time.Millisecond)
			go server.Shutdown(ctx, 1000, "")
			go client.Shutdown(ctx, 1001, "")
			<-ctx.Done()
			server.Close()
			client.Close()
		})
	}
}

// Connections leave no goroutine behind, and have none while they are idle.
func TestNoGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	var conns []*Conn
	for range 50 {
		server, client := tcpConns(t)
		conns = append(conns, server, client)
		done := async(func() error { return readErr(server) })
		if err := client.WriteMessage(TextMessage, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		if err := server.WriteMessageContext(ctx, TextMessage, nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.ReadMessageContext(ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	if n := runtime.NumGoroutine(); n > before+50 {
		t.Errorf("%d goroutines for 100 idle connections", n-before)
	}
	for _, c := range conns {
		c.Close()
	}
}

// A goroutine that waits to write behind a writer that is left open, or to read behind a handler
// that does not return, need not wait for those when the connection is closed. The error is that of
// any later call.
func TestCloseEndsWaitsForTurn(t *testing.T) {
	prepared, _ := NewPreparedMessage(TextMessage, []byte("x"))
	gone := &timeoutError{text: "gone"}
	for _, test := range []struct {
		name  string
		close func(c *Conn)
		want  error // of reads
		sent  error // of writes
	}{
		{"Close", func(c *Conn) { c.Close() }, net.ErrClosed, net.ErrClosed},
		{"close frame", func(c *Conn) { c.sendClose(1000, "", time.Now().Add(closeWait)); c.Close() }, net.ErrClosed, ErrCloseSent},
		{"a failure", func(c *Conn) { c.abort(gone) }, gone, gone},
	} {
		bubble(t, test.name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			handling := make(chan bool)
			c.SetPingHandler(func(string) error { <-handling; return nil })
			first := asyncRead(c)
			p.send(pingFrame(""))
			w, err := overflow(c)
			if err != nil {
				t.Fatal(err)
			}
			writes := map[string]func() error{
				"WriteMessage":         func() error { return c.WriteMessage(TextMessage, nil) },
				"WriteMessageContext":  func() error { return c.WriteMessageContext(t.Context(), TextMessage, nil) },
				"NextWriter":           func() error { _, err := overflow(c); return err },
				"WritePreparedMessage": func() error { return c.WritePreparedMessage(prepared) },
			}
			waiting := map[string]<-chan error{}
			for name, write := range writes {
				waiting[name] = async(write)
			}
			read := asyncRead(c)
			synctest.Wait()
			test.close(c)
			for name, write := range writes {
				for _, done := range []<-chan error{waiting[name], async(write)} {
					if err := ended(t, name, done); !errors.Is(err, test.sent) {
						t.Errorf("%s: %v, want %v", name, err, test.sent)
					}
				}
			}
			for _, done := range []<-chan outcome{read, asyncRead(c)} {
				if err := ended(t, "the read", done).err; !errors.Is(err, test.want) {
					t.Errorf("read: %v, want %v", err, test.want)
				}
			}
			close(handling)
			if err := (<-first).err; !errors.Is(err, test.want) {
				t.Errorf("the reader whose handler returned: %v, want %v", err, test.want)
			}
			if err := w.Close(); !errors.Is(err, test.sent) {
				t.Errorf("the open writer: %v, want %v", err, test.sent)
			}
		})
	}
}

// When a reader fails the connection, those behind it get its error, and
// writers behind an open message are told that a close frame is out.
func TestFailEndsWaitsForTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		if _, err := overflow(c); err != nil {
			t.Fatal(err)
		}
		waiting := async(func() error { return c.WriteMessage(TextMessage, nil) })
		reads := []<-chan outcome{asyncRead(c), asyncRead(c), asyncRead(c)}
		synctest.Wait()
		p.send(frame(0x83, ""))
		if err := ended(t, "the write", waiting); err != ErrCloseSent {
			t.Errorf("write: %v, want ErrCloseSent", err)
		}
		for i, done := range reads {
			var pe *ProtocolError
			if err := ended(t, "a read", done).err; !errors.As(err, &pe) {
				t.Errorf("read %d: %v", i, err)
			}
		}
	})
}
