package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// Many goroutines on one connection: every message arrives whole and in the order of its sender.

// streamed is message n of sender g: a name, and a body that tells where each byte belongs.
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
			return fmt.Errorf("message %s: %w", wiretest.Shortened(data), err)
		}
		if i != next[g] || data != streamed(g, i) {
			return fmt.Errorf("message %s is not number %d of sender %d, whole", wiretest.Shortened(data), next[g], g)
		}
		next[g]++
	}
	return nil
}

const senders, perSender = 20, 20

// streamBothWays has both ends send and read at once. Both see pings between the fragments and
// answer them.
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
	}{{"delayed", false, 0}, {"never delayed", false, -1}, {"deflated", true, 0}} {
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
			t.Errorf("message %s was read and not sent", wiretest.Shortened(m.data))
		}
	}
	sent.Range(func(data, _ any) bool {
		t.Errorf("message %s was lost", wiretest.Shortened(data.(string)))
		return true
	})
}

// Everything at once on a connection that is closed meanwhile: a bubble does not end before every
// goroutine has.
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

// When a reader fails the connection, those behind it get its error, and writers behind an open
// message are told that a close frame is out.
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

// A connection whose network fails at each of its calls in turn. Whatever fails, the conversation
// ends, what was sent is a beginning of what was to be sent, and nothing that Flush has confirmed
// is missing.

var errFault = errors.New("fault")

// A fault is what becomes of one call. Reads and writes are counted apart.
type fault struct {
	name  string
	write bool
	// act passes on a part of p, or none, and returns what the call returns.
	act func(p []byte, pass func([]byte) (int, error)) (int, error)
	// then is the error of all later calls, if any.
	then error
	// harmless: the conversation still comes to its proper end.
	harmless bool
}

// A temporaryTimeout is what a net.Conn returns when its deadline passes.
type temporaryTimeout struct{}

func (temporaryTimeout) Error() string   { return "i/o timeout" }
func (temporaryTimeout) Timeout() bool   { return true }
func (temporaryTimeout) Temporary() bool { return true }
func (temporaryTimeout) Unwrap() error   { return os.ErrDeadlineExceeded }

func failing(err error) func([]byte, func([]byte) (int, error)) (int, error) {
	return func([]byte, func([]byte) (int, error)) (int, error) { return 0, err }
}

// partly passes on a part of what is to be done and returns err with it.
func partly(part func(n int) int, err error) func([]byte, func([]byte) (int, error)) (int, error) {
	return func(p []byte, pass func([]byte) (int, error)) (int, error) {
		n, failure := pass(p[:part(len(p))])
		if failure != nil {
			return n, failure
		}
		return n, err
	}
}

func half1(n int) int { return (n + 1) / 2 }
func one(int) int     { return 1 }
func butOne(n int) int {
	return max(n-1, 0)
}

var faults = []fault{
	{name: "read fails", act: failing(errFault)},
	{name: "read keeps failing", act: failing(errFault), then: errFault},
	{name: "read of one byte", act: partly(one, nil), harmless: true},
	{name: "read of a byte beside an error", act: partly(one, errFault), then: errFault},
	{name: "read of a byte beside EOF", act: partly(one, io.EOF), then: io.EOF},
	{name: "EOF", act: failing(io.EOF), then: io.EOF},
	{name: "read times out", act: failing(temporaryTimeout{})},
	{name: "read of nothing", act: failing(nil), harmless: true},
	{name: "write fails", act: failing(errFault), write: true},
	{name: "write keeps failing", act: failing(errFault), write: true, then: errFault},
	{name: "write of one byte", act: partly(one, errFault), write: true},
	{name: "write of half", act: partly(half1, io.ErrShortWrite), write: true},
	{name: "write of all but one byte", act: partly(butOne, errFault), write: true},
	{name: "write of all, and an error", act: partly(func(n int) int { return n }, errFault), write: true},
	{name: "write times out", act: failing(temporaryTimeout{}), write: true},
	{name: "write of half times out", act: partly(half1, temporaryTimeout{}), write: true},
}

// A faultConn is a script connection with a fault at call number at.
type faultConn struct {
	*wiretest.ScriptConn
	fault fault
	at    int

	mu            sync.Mutex
	reads, writes int
	struck        bool
}

func (c *faultConn) Read(p []byte) (int, error) {
	return c.call(&c.reads, !c.fault.write, p, c.ScriptConn.Read)
}

func (c *faultConn) Write(p []byte) (int, error) {
	return c.call(&c.writes, c.fault.write, p, c.ScriptConn.Write)
}

func (c *faultConn) call(calls *int, meant bool, p []byte, pass func([]byte) (int, error)) (int, error) {
	c.mu.Lock()
	now, later := meant && *calls == c.at, meant && *calls > c.at
	*calls++
	c.struck = c.struck || now
	c.mu.Unlock()
	switch {
	case now:
		return c.fault.act(p, pass)
	case later && c.fault.then != nil:
		return 0, c.fault.then
	}
	return pass(p)
}

// A talk is what an application did on a connection that may fail.
type talk struct {
	got       []wireMessage
	readErr   error
	writeErr  error
	confirmed int // bytes sent when Flush last returned nil
}

// converse echoes what it reads, in all ways there are to write, until the reading has failed for
// good.
func converse(c *Conn, nc *faultConn) (res talk) {
	note := func(err error) {
		if err != nil && res.writeErr == nil {
			res.writeErr = err
		}
	}
	for {
		messageType, p, err := c.ReadMessage()
		if ne, ok := err.(interface{ Temporary() bool }); ok && ne.Temporary() {
			continue // a timeout between messages
		}
		if err != nil {
			res.readErr = err
			break
		}
		res.got = append(res.got, wireMessage{messageType, string(p)})
		before := len(nc.Sent())
		switch len(res.got) % 3 {
		case 0:
			note(c.WriteMessage(messageType, p))
		case 1:
			w, err := c.NextWriter(messageType)
			if err == nil {
				_, err = w.Write(p)
				err = errors.Join(err, w.Close())
			}
			note(err)
		case 2:
			note(c.WriteControl(PingMessage, p[:min(len(p), 125)], time.Now().Add(time.Minute)))
			note(c.WriteMessage(messageType, p))
		}
		err = c.Flush()
		note(err)
		if err == nil && res.writeErr == nil {
			if res.confirmed = len(nc.Sent()); res.confirmed < before+len(p) {
				note(fmt.Errorf("Flush confirmed a message of %d bytes with %d written", len(p), res.confirmed-before))
			}
		}
	}
	c.Close()
	return res
}

func faultScript() []byte {
	return wiretest.Encode([]wireFrame{
		textFrame("one"), pingFrame("a"), binaryFrame(strings.Repeat("two", 2000)), textFrame("three"), textFrame("four"),
		frame(0x01, "fi"), pingFrame("b"), frame(0x80, "ve"), binaryFrame(strings.Repeat("6", 30_000)), pingFrame("c"),
		pongFrame("d"), textFrame(""), textFrame("eight"), closeFrame(1000, "bye"),
	}, true)
}

func runFault(f fault, at int) (*faultConn, talk) {
	rnd := 0
	nc := &faultConn{fault: f, at: at, ScriptConn: &wiretest.ScriptConn{Script: faultScript(), Size: func() int {
		rnd++
		return []int{7, 4096, 100, 1, 3000}[rnd%5]
	}}}
	c := newConn(nc, connConfig{isServer: true, writeBufferSize: 512})
	return nc, converse(c, nc)
}

func TestFaults(t *testing.T) {
	var whole talk
	var stream []byte
	synctest.Test(t, func(t *testing.T) {
		var nc *faultConn
		nc, whole = runFault(fault{}, -1)
		stream = nc.Sent()
	})
	if len(whole.got) != 8 || !IsCloseError(whole.readErr, 1000) || whole.writeErr != nil {
		t.Fatalf("without a fault: %d messages, %v, %v", len(whole.got), whole.readErr, whole.writeErr)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			for at := 0; ; at++ {
				struck := false
				synctest.Test(t, func(t *testing.T) {
					nc, res := runFault(f, at)
					struck = nc.struck
					if err := checkFault(f, nc.Sent(), &res, stream, &whole); err != nil {
						t.Errorf("at call %d: %v", at, err)
					}
				})
				if !struck || t.Failed() {
					if at < 10 && !t.Failed() {
						t.Errorf("only %d calls", at)
					}
					return
				}
			}
		})
	}
}

func checkFault(f fault, sent []byte, res *talk, stream []byte, whole *talk) error {
	for i, m := range res.got {
		if i >= len(whole.got) || m != whole.got[i] {
			return fmt.Errorf("message %d is %v", i, m)
		}
	}
	if f.harmless || !IsCloseError(res.readErr, 1006) && IsCloseError(res.readErr, 1000) {
		if len(res.got) != len(whole.got) || !IsCloseError(res.readErr, 1000) {
			return fmt.Errorf("%d messages, then %v", len(res.got), res.readErr)
		}
	}
	if !f.write && res.writeErr != nil {
		return fmt.Errorf("writing ended with %v", res.writeErr)
	}
	if f.write && res.writeErr == nil && len(sent) < len(stream)-len("\x88\x02\x03\xe8") {
		return fmt.Errorf("of %d bytes %d were sent, and no write returned an error", len(stream), len(sent))
	}
	if res.confirmed > len(sent) {
		return fmt.Errorf("%d bytes were confirmed, %d are sent", res.confirmed, len(sent))
	}
	if f.harmless && len(sent) < len(stream) {
		return fmt.Errorf("%d bytes were sent, want %d", len(sent), len(stream))
	}
	return checkSent(sent, stream)
}

// checkSent returns an error unless sent is a beginning of stream, but for the pongs, which may
// come a frame later.
func checkSent(sent, stream []byte) error {
	all, _ := wiretest.Decode(stream, false)
	got, _ := wiretest.Decode(sent, false)
	isPong := func(f wireFrame) bool { return f.First == 0x8a }
	others := slices.DeleteFunc(slices.Clone(all), isPong)
	pongs := slices.DeleteFunc(all, func(f wireFrame) bool { return !isPong(f) })
	tail := sent[len(wiretest.Encode(got, false)):]
	for _, f := range got {
		rest := &others
		if isPong(f) {
			rest = &pongs
		}
		if len(*rest) == 0 || (*rest)[0] != f {
			return fmt.Errorf("sent the frame %02x %s, which is not the next", f.First, wiretest.Shortened(f.Payload))
		}
		*rest = (*rest)[1:]
	}
	for _, next := range [][]wireFrame{others, pongs} {
		if len(next) > 0 && bytes.HasPrefix(wiretest.Encode(next[:1], false), tail) {
			return nil
		}
	}
	if len(tail) > 0 {
		return fmt.Errorf("the last %d bytes sent begin no frame", len(tail))
	}
	return nil
}

// Programs keep Conns by value, and tests of programs have Conns without a connection.
func TestConnByValue(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){
		"TCP": overTCP, "TLS": overTLS, "pipe": overPipe,
	} {
		t.Run(name, func(t *testing.T) {
			c, p := over(t, connConfig{isServer: true})
			clone := new(Conn)
			reflect.ValueOf(clone).Elem().Set(reflect.ValueOf(c).Elem())
			go p.send(textFrame("a"), pingFrame("b"), textFrame("c"), textFrame("d"), closeFrame(1000, ""))
			frames := p.collect()
			for {
				_, data, err := clone.ReadMessage()
				if err != nil {
					if !IsCloseError(err, 1000) {
						t.Error(err)
					}
					break
				}
				write(t, clone, string(data))
			}
			clone.Close()
			if got := <-frames; len(got) != 5 {
				t.Errorf("sent %q", wiretest.Payloads(got))
			}
		})
	}
	t.Run("zero", func(t *testing.T) {
		if err := new(Conn).SetWriteDeadline(time.Now()); err != nil {
			t.Error(err)
		}
	})
}
