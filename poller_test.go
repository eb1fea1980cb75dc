//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket/internal/poll"
	"github.com/tautws/websocket/internal/wiretest"
)

// pollerOf returns the poller that serves the connection.
func pollerOf(c *Conn) *poller {
	d := &c.read.deadline
	for {
		d.mu.Lock()
		fd := c.handler.Load().fd
		d.mu.Unlock()
		if fd != noDescriptor {
			return pollers[int(fd)%len(pollers)]
		}
		runtime.Gosched()
	}
}

// awaitTerm returns when the poller has another leader than that of the term.
func (p *poller) awaitTerm(term uint64) {
	for {
		p.mu.Lock()
		now := p.term
		p.mu.Unlock()
		if now != term {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// A connection that has used up its turn when its leader was replaced is served on, though nothing
// more comes.
func TestPollerReplacedLeader(t *testing.T) {
	const messages = 3*serveLimit + 1
	c, p := overTCP(t, connConfig{isServer: true})
	started, release := make(chan bool), make(chan bool)
	got, n := make(chan int, messages), 0
	c.Handle(func(_ *Conn, m Message, err error) {
		if err != nil {
			return
		}
		if n++; n == 2 { // behind the message that the poller has certainly delivered
			close(started)
			<-release
		}
		got <- n
	})
	po := pollerOf(c)
	p.send(textFrame("first"))
	<-got
	for c.handler.Load().state.Load()&handlerBusy != 0 { // the goroutine of Handle may have served it
		runtime.Gosched()
	}
	po.mu.Lock()
	po.spread = 0 // since the tests before
	term := po.term
	po.mu.Unlock()
	p.send(append(make100(textFrame("x")), make100(textFrame("x"))...)...)
	<-started
	po.awaitTerm(term)
	close(release)
	for i := 2; i <= messages; i++ {
		if j := <-got; j != i {
			t.Fatalf("message %d, want %d", j, i)
		}
	}
}

// The connections that a replaced leader had yet to serve are served by the next one, though
// nothing more comes.
func TestPollerReplacedLeaderLeavesQueue(t *testing.T) {
	set, err := poll.Open(1)
	if err != nil {
		t.Fatal(err)
	}
	po := &poller{set: set}
	release, got := make(chan bool), make(chan string)
	for _, name := range []string{"stuck", "behind"} {
		c, p := overTCP(t, connConfig{isServer: true})
		c.socket.control(func(fd uintptr) { set.Add(int(fd)) })
		p.send(textFrame(name))
		for set.Check() == 0 {
			runtime.Gosched()
		}
		k := &handler{conn: c, fd: noDescriptor, call: func(_ *Conn, m Message, _ error) {
			if name == "stuck" {
				<-release
			}
			got <- string(m.Data)
		}}
		k.state.Store(handlerBusy)
		c.handler.Store(k)
		po.queue = append(po.queue, k)
	}
	go po.lead(0)
	if s := <-got; s != "behind" {
		t.Errorf("message %q first", s)
	}
	close(release)
	if s := <-got; s != "stuck" {
		t.Errorf("message %q second", s)
	}
}

// A descriptor that is used again belongs to the new connection, whatever is still noted about the
// old one.
func TestPollerDescriptorReuse(t *testing.T) {
	for range 50 {
		c, p := overTCP(t, connConfig{isServer: true})
		old := handleConn(t, c, p)
		pollerOf(c)
		k := c.handler.Load()
		c.Close()
		<-old.done
		c, p = overTCP(t, connConfig{isServer: true})
		h := handleConn(t, c, p)
		pollerOf(c)
		now := c.handler.Load()
		// The old one may forget its descriptor only now.
		late := &handler{conn: old.c, fd: now.fd}
		late.unregister()
		if handlerSlot(int(now.fd)).Load() != now {
			t.Fatal("the slot is not the new connection's")
		}
		// An event about the old socket: it ended.
		if k.note(handlerEnd) {
			t.Fatal("a connection that has ended is to be served")
		}
		if now.note(handlerEnd) {
			now.serveAll()
		}
		p.send(textFrame("a"))
		h.want(t, "a")
		p.Close()
		if err := <-h.done; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	}
	if handlerSlot(len(handlers)<<10) != nil {
		t.Error("a descriptor beyond the table has a slot")
	}
}

// A connection that has ended is in no table.
func TestPollerForgets(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	h := handleConn(t, c, p)
	pollerOf(c)
	k := c.handler.Load()
	fd := int(k.fd)
	c.Close()
	<-h.done
	for handlerSlot(fd).Load() == k {
		runtime.Gosched()
	}
}

// At most one goroutine serves a connection, and none of its messages waits for another: two ends
// answer each other, and between two messages both are parked.
func TestPollerPingPong(t *testing.T) {
	const conns, messages = 50, 200
	var done sync.WaitGroup
	for range conns {
		done.Add(1)
		server, client := tcpConns(t)
		for _, c := range []*Conn{server, client} {
			var running atomic.Int32
			n := 0
			c.Handle(func(c *Conn, m Message, err error) {
				if running.Add(1) != 1 {
					t.Error("two calls at a time")
				}
				defer running.Add(-1)
				if n++; err != nil || n == messages && c == server {
					if err == nil {
						done.Done()
					}
					return
				}
				if n%7 == 0 {
					runtime.Gosched()
				}
				c.WriteMessage(m.Type, m.Data)
			})
		}
		client.WriteMessage(TextMessage, []byte("x"))
	}
	done.Wait()
}

// A handler that ends its goroutine ends its connection, and holds up no other.
func TestPollerHandlerExits(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "pipe": overPipe} {
		for _, in := range []string{"handler", "ping handler", "last call"} {
			t.Run(name+"/"+in, func(t *testing.T) {
				c, p := over(t, connConfig{isServer: true})
				c.SetPingHandler(func(string) error { runtime.Goexit(); return nil })
				c.Handle(func(c *Conn, m Message, err error) {
					if err == nil || in == "last call" {
						runtime.Goexit()
					}
				})
				p.drain()
				switch in {
				case "handler":
					p.send(textFrame("a"))
				case "ping handler":
					p.send(pingFrame("a"))
				default:
					p.send(closeFrame(1000, ""))
				}
				for c.state.Load() == stateOpen {
					runtime.Gosched()
				}
				if _, _, err := c.ReadMessage(); err == nil {
					t.Error("a read after it succeeds")
				}
				for range 2 * max(1, len(pollers)) {
					c, p := overTCP(t, connConfig{isServer: true})
					h := handleConn(t, c, p)
					p.send(textFrame("b"))
					h.want(t, "b")
				}
			})
		}
	}
}

// Whatever happens while Handle is called, there is one last call.
func TestHandleAgainstClose(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "pipe": overPipe} {
		t.Run(name, func(t *testing.T) {
			for i := range 300 {
				c, p := over(t, connConfig{isServer: true})
				var calls atomic.Int32
				last := make(chan error, 2)
				var both sync.WaitGroup
				both.Go(func() {
					c.Handle(func(_ *Conn, _ Message, err error) {
						calls.Add(1)
						last <- err
					})
				})
				both.Go(func() {
					switch i % 4 {
					case 0:
						c.Close()
					case 1:
						c.abort(errHandlerExit)
					case 2:
						p.Close()
					case 3:
						c.SetReadDeadline(time.Now())
					}
				})
				both.Wait()
				if err := <-last; err == nil {
					t.Error("a call without an error")
				}
				for c.state.Load() != stateClosed {
					runtime.Gosched()
				}
				c.Close()
				if n := calls.Load(); n != 1 {
					t.Fatalf("%d: %d calls", i, n)
				}
			}
		})
	}
}

// Close, and the end of the connection, while the handler waits: its next call is the last.
func TestHandleClosedWhileItWaits(t *testing.T) {
	handleWaits := map[string]func(c *Conn, p *peer){
		"Close":         func(c *Conn, _ *peer) { c.Close() },
		"abort":         func(c *Conn, _ *peer) { c.abort(errHandlerExit) },
		"end of stream": func(_ *Conn, p *peer) { p.Close() },
		"deadline":      func(c *Conn, _ *peer) { c.SetReadDeadline(aLongTimeAgo) },
	}
	for name, end := range handleWaits {
		t.Run(name, func(t *testing.T) {
			c, p := overTCP(t, connConfig{isServer: true})
			entered, release, last := make(chan bool), make(chan bool), make(chan error, 2)
			c.Handle(func(_ *Conn, m Message, err error) {
				if err != nil {
					last <- err
					return
				}
				entered <- true
				<-release
			})
			p.send(textFrame("a"))
			<-entered
			end(c, p)
			if len(last) != 0 {
				t.Error("the last call comes during another")
			}
			close(release)
			<-last
		})
	}
}

// The last call waits until a Shutdown from elsewhere is done: it would close the connection.
func TestHandleAgainstShutdown(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){
		"TCP": overTCP, "TLS": overTLS, "pipe": overPipe,
	} {
		for _, part := range []string{"", "inside a message", "waiting handler"} {
			t.Run(name+"/"+part, func(t *testing.T) {
				c, p := over(t, connConfig{isServer: true})
				entered, release, last := make(chan bool, 10), make(chan bool), make(chan error, 2)
				c.Handle(func(_ *Conn, m Message, err error) {
					if err != nil {
						last <- err
						return
					}
					entered <- true
					if part == "waiting handler" {
						<-release
					}
				})
				p.send(textFrame("a"))
				<-entered
				if part == "inside a message" {
					p.send(textFrame("abcdef").Cut(7))
				}
				done := async(func() error { return c.Shutdown(context.Background(), 1000, "bye") })
				p.expect(closeFrame(1000, "bye"))
				close(release)
				for range 100 {
					runtime.Gosched()
				}
				if len(last) != 0 {
					t.Error("the last call comes before the end of Shutdown")
				}
				if part == "inside a message" {
					p.Write([]byte("bcdef"))
				}
				p.send(textFrame("dropped"), closeFrame(1000, ""))
				if err := <-done; err != nil {
					t.Errorf("Shutdown: %v", err)
				}
				if err := <-last; !errors.Is(err, net.ErrClosed) {
					t.Errorf("the last call has %v", err)
				}
			})
		}
	}
}

// The end of the stream that comes together with messages is seen, even if the handler reads the
// last of these.
func TestHandleEndWithMessages(t *testing.T) {
	for _, reads := range []bool{true, false} {
		c, p := overTCP(t, connConfig{isServer: true, readBufferSize: 256})
		last := make(chan error, 1)
		c.Handle(func(c *Conn, m Message, err error) {
			switch {
			case err != nil:
				last <- err
			case reads:
				if data, err := readOne(c); err != nil || len(data) != 300 {
					t.Errorf("read %q, %v", data, err)
				}
			}
		})
		pollerOf(c)
		k := c.handler.Load()
		for !k.note(0) {
			runtime.Gosched()
		}
		// Longer than the buffer, so that what is behind it is read by another call.
		p.send(textFrame(strings.Repeat("a", 500)), textFrame(strings.Repeat("b", 300)))
		p.Close()
		for k.state.Load()&handlerEnd == 0 {
			runtime.Gosched()
		}
		k.serveAll()
		if err := <-last; !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatal(err)
		}
	}
}

// A thousand peers that send a byte at a time cost neither goroutines nor inflaters nor more memory
// than what they have sent.
func TestHandleManySlowPeers(t *testing.T) {
	const peers = 1000
	text := strings.Repeat("some text ", 20)
	frames := [][]wireFrame{
		{textFrame(text)},
		{deflatedFrame(text)},
		{frame(0x01, "some "), pingFrame("x"), frame(0x80, "text")},
	}
	var got sync.WaitGroup
	type slow struct {
		c     *Conn
		p     *peer
		bytes []byte
	}
	all := make([]slow, peers)
	before := runtime.NumGoroutine()
	for i := range all {
		c, p := overTCP(t, wireConfig(true, true, false))
		all[i] = slow{c, p, wiretest.Encode(frames[i%len(frames)], true)}
		got.Add(1)
		c.Handle(func(_ *Conn, m Message, err error) {
			if err == nil {
				if s := string(m.Data); s != text && s != "some text" {
					t.Errorf("message %q", s)
				}
				got.Done()
			}
		})
	}
	for step := 0; ; step++ {
		more := false
		for i := range all {
			if s := &all[i]; len(s.bytes) > 1 {
				s.p.Write(s.bytes[:1])
				s.bytes = s.bytes[1:]
				more = true
			}
		}
		if !more {
			break
		}
	}
	// All but the last bytes are there, and once they are read, nobody is at work.
	for _, s := range all {
		for s.c.handler.Load().state.Load()&handlerBusy != 0 {
			runtime.Gosched()
		}
	}
	limit := before + peers/10
	for runtime.NumGoroutine() > limit {
		runtime.Gosched()
	}
	for i := range all {
		c := all[i].c
		c.read.mu.Lock(noContext, nil)
		if m := &c.read.msg; m.open && m.compressed && !m.collecting {
			t.Error("a message that is not whole holds an inflater")
		}
		if own := c.handler.Load().lent.own; own != nil && len(own.b) > 512 {
			t.Errorf("a message that is not whole holds %d bytes", len(own.b))
		}
		c.read.mu.Unlock()
		all[i].p.Write(all[i].bytes)
	}
	got.Wait()
}

// A handler whose writes do not get on has them ended by a deadline or a context, and holds up
// nobody meanwhile.
func TestHandleStuckWrites(t *testing.T) {
	for name, write := range map[string]func(c *Conn, p []byte) error{
		"deadline": func(c *Conn, p []byte) error {
			c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
			return c.WriteMessage(BinaryMessage, p)
		},
		"context": func(c *Conn, p []byte) error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			return c.WriteMessageContext(ctx, BinaryMessage, p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, p := overTCP(t, connConfig{isServer: true})
			result := make(chan error, 1)
			c.Handle(func(c *Conn, m Message, err error) {
				if err == nil {
					result <- write(c, make([]byte, 32<<20)) // more than the kernel takes
				}
			})
			p.send(textFrame("a"))
			other, q := overTCP(t, connConfig{isServer: true})
			h := handleConn(t, other, q)
			for i := range 10 {
				q.send(textFrame(fmt.Sprint(i)))
				h.want(t, fmt.Sprint(i))
			}
			wantDeadline(t, <-result, false)
		})
	}
}

// A deadline counts as passed though the net.Conn does not know it yet: the timers of both are
// independent.
func TestHandleDeadlineNotYetInNetConn(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	h := handleConn(t, c, p)
	p.send(textFrame("a"))
	h.want(t, "a")
	c.read.deadline.at.Store(1)
	c.handler.Load().wake()
	wantDeadline(t, <-h.done, false)
}

// A gate is a net.Conn that keeps what is written to it, or passes it on a byte at a time.
type gate struct {
	net.Conn
	bytewise, closed bool
	kept             []byte
}

func (g *gate) Write(p []byte) (int, error) {
	if g.closed {
		g.kept = append(g.kept, p...)
		return len(p), nil
	}
	for g.bytewise && len(p) > 1 {
		if _, err := g.Conn.Write(p[:1]); err != nil {
			return 0, err
		}
		p = p[1:]
	}
	return g.Conn.Write(p)
}

// awaitParked returns when a connection over TLS has read all that has come and nobody serves it,
// or it has ended.
func awaitParked(c *Conn) {
	for c.state.Load() == stateOpen {
		c.read.mu.Lock(noContext, nil)
		idle := !c.read.socketReadable() && c.handler.Load().state.Load()&handlerBusy == 0
		c.read.mu.Unlock()
		if idle {
			return
		}
		runtime.Gosched()
	}
}

// Wherever records of TLS are cut, what is whole is handled, and the rest when it has come.
func TestHandleTLSRecords(t *testing.T) {
	for name, test := range map[string]struct {
		send func(p *peer)
		want []string
		ends bool
	}{
		"one":     {func(p *peer) { p.send(textFrame("a")) }, []string{"a"}, false},
		"several": {func(p *peer) { p.send(textFrame("a")); p.send(textFrame("b")) }, []string{"a", "b"}, false},
		"message in two": {func(p *peer) {
			b := wiretest.Encode([]wireFrame{textFrame("abc")}, true)
			p.Write(b[:8])
			p.Write(b[8:])
		}, []string{"abc"}, false},
		"close_notify": {func(p *peer) {
			p.send(textFrame("a"))
			p.Conn.(*tls.Conn).CloseWrite()
			p.SetWriteDeadline(time.Time{}) // CloseWrite has set one
		}, []string{"a"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var h *handled
			var g *gate
			for cut := 0; g == nil || cut <= len(g.kept); cut++ {
				if h == nil || test.ends {
					a, b := tcpPair(t)
					g = &gate{Conn: b}
					c, p := playTLS(t, a, g, connConfig{isServer: true})
					h = handleConn(t, c, p)
					pollerOf(c)
					g.closed = true
				}
				g.kept = nil
				test.send(h.p)
				g.Conn.Write(g.kept[:cut])
				awaitParked(h.c)
				g.Conn.Write(g.kept[cut:])
				for _, want := range test.want {
					h.want(t, want)
				}
				if test.ends {
					if err := <-h.done; !errors.Is(err, io.ErrUnexpectedEOF) {
						t.Errorf("cut at %d: %v", cut, err)
					}
				}
			}
		})
	}
}

// The tickets of TLS, which come behind the handshake, are no end and no message.
func TestHandleTLSTickets(t *testing.T) {
	a, b := tcpPair(t)
	c, p := playTLS(t, &gate{Conn: b, bytewise: true}, a, connConfig{isServer: true})
	// The peer is the client of TLS, and the end that handles messages: it is the client's.
	client := newConn(p.Conn, connConfig{})
	h := handleConn(t, client, p)
	pollerOf(client)
	for i := range 20 {
		c.WriteMessage(TextMessage, []byte(fmt.Sprint(i)))
		h.want(t, fmt.Sprint(i))
	}
}
