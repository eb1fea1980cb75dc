package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// marked returns a message that says which one it is, and whose bytes follow from that.
func marked(i, size int) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(i))
	for k := 4; k < size; k++ {
		b = append(b, byte(i+k*k/7))
	}
	return b
}

func markOf(t testing.TB, b []byte) int {
	t.Helper()
	if len(b) < 4 {
		t.Fatalf("a message of %d bytes", len(b))
	}
	i := int(binary.BigEndian.Uint32(b))
	if !bytes.Equal(b, marked(i, len(b))) {
		t.Fatalf("message %d of %d bytes is damaged", i, len(b))
	}
	return i
}

func add(t testing.TB, g *Group, c *Conn, first ...*PreparedMessage) {
	t.Helper()
	if err := g.Add(c, first...); err != nil {
		t.Fatal(err)
	}
}

func broadcast(t testing.TB, g *Group, data []byte) {
	t.Helper()
	if err := g.Broadcast(BinaryMessage, data); err != nil {
		t.Fatal(err)
	}
}

func prepared(t testing.TB, s string) *PreparedMessage {
	t.Helper()
	pm, err := NewPreparedMessage(TextMessage, []byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return pm
}

func unixPair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("unix", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// thinPair is a connection that buffers little. A Unix socket, unlike TCP, buffers nothing at the
// far end, and goes on as soon as that reads.
func thinPair(t testing.TB) (server, client net.Conn) {
	server, client = unixPair(t)
	server.(*net.UnixConn).SetWriteBuffer(4 << 10)
	return server, client
}

// Every kind of connection can be a member, and gets every message once and in order.
func TestGroupMembers(t *testing.T) {
	pipe := func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }
	takeover := wireConfig(true, true, true)
	noTakeover := wireConfig(true, true, false)
	for name, row := range map[string]struct {
		pair   func(testing.TB) (net.Conn, net.Conn)
		cfg    connConfig
		client bool // the member is the client
		handle bool
	}{
		"TCP":             {pair: tcpPair},
		"Unix, thin":      {pair: thinPair}, // where long frames are cut
		"Unix":            {pair: unixPair},
		"pipe":            {pair: pipe},
		"TLS":             {},
		"KeepAlive":       {pair: tcpPair, cfg: connConfig{keepAlive: KeepAlive{Interval: time.Hour}}},
		"Handle":          {pair: tcpPair, handle: true},
		"deflate":         {pair: tcpPair, cfg: noTakeover},
		"takeover":        {pair: tcpPair, cfg: takeover},
		"takeover, pipe":  {pair: pipe, cfg: takeover},
		"client":          {pair: tcpPair, client: true},
		"client, pipe":    {pair: pipe, client: true},
		"client, deflate": {pair: tcpPair, cfg: noTakeover, client: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := Group{MaxLag: 8 << 20} // the readers look at every byte
			var readers sync.WaitGroup
			const messages = 200
			size := func(i int) int { return []int{4, 100, 125, 126, 1000, 9000, 66_000}[i%7] }
			for range 3 {
				var member, other *Conn
				cfg, far := row.cfg, row.cfg
				cfg.isServer, far.isServer = !row.client, row.client
				if row.pair == nil {
					c, p := overTLS(t, cfg)
					member, other = c, newConn(p.Conn, far)
				} else {
					a, b := row.pair(t)
					member, other = newConn(a, cfg), newConn(b, far)
				}
				t.Cleanup(func() { member.Close(); other.Close() })
				if row.handle {
					member.Handle(func(*Conn, Message, error) {})
				}
				add(t, &g, member)
				readers.Go(func() {
					for i := range messages {
						_, p, err := other.ReadMessage()
						if err != nil {
							t.Error(err)
							return
						}
						if got := markOf(t, p); got != i || len(p) != size(i) {
							t.Errorf("message %d of %d bytes, want %d", got, len(p), i)
							return
						}
					}
				})
			}
			for i := range messages {
				if i%3 == 0 {
					pm, _ := NewPreparedMessage(BinaryMessage, marked(i, size(i)))
					if err := g.BroadcastPrepared(pm); err != nil {
						t.Fatal(err)
					}
				} else {
					broadcast(t, &g, marked(i, size(i)))
				}
			}
			readers.Wait()
			s := g.Stats()
			if len(g.streams) != 1 || s.Messages != messages || s.Members != 3 || s.Expelled+s.Skipped != 0 {
				t.Errorf("%d streams, %+v", len(g.streams), s)
			}
		})
	}
}

// Messages arrive in the order in which one goroutine broadcasts and writes them.
func TestGroupOrderWithOwnMessages(t *testing.T) {
	for name, cfg := range map[string]connConfig{
		"plain":    {},
		"deflate":  wireConfig(true, true, false),
		"takeover": wireConfig(true, true, true),
	} {
		t.Run(name, func(t *testing.T) {
			var g, other Group
			a, b := tcpPair(t)
			far := cfg
			cfg.isServer, far.isServer = true, false
			server, client := newConn(a, cfg), newConn(b, far)
			add(t, &g, server)
			add(t, &other, server)
			const messages = 7 * 286
			text := func(i int) string { return fmt.Sprint(i, strings.Repeat(" and so on", i%9)) }
			pm := make([]*PreparedMessage, messages)
			for i := range pm {
				pm[i] = prepared(t, text(i))
			}
			go func() {
				for i := range messages {
					switch i % 7 {
					case 0, 1:
						g.Broadcast(TextMessage, []byte(text(i)))
					case 2:
						server.WriteMessage(TextMessage, []byte(text(i)))
					case 3:
						w, _ := server.NextWriter(TextMessage)
						io.WriteString(w, text(i))
						w.Close()
					case 4:
						other.Broadcast(TextMessage, []byte(text(i)))
						server.WriteControl(PingMessage, nil, time.Time{})
						server.WritePreparedMessage(pm[i+1])
					case 6:
						if i%3 == 0 {
							g.Broadcast(TextMessage, []byte(text(i)))
							server.WriteMessage(TextMessage, []byte("ordered"))
							other.Remove(server)
							g.Remove(server)
							server.WriteMessage(TextMessage, []byte("compressed by itself"))
							g.Add(server)
							other.Add(server)
						} else {
							server.WriteMessage(TextMessage, []byte(text(i)))
						}
					}
				}
			}()
			for i := range messages {
				wantRead(t, client, text(i))
				if i%7 == 6 && i%3 == 0 {
					wantRead(t, client, "ordered")
					wantRead(t, client, "compressed by itself")
				}
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// RFC 6455 §5.4: nothing but control frames goes between the fragments of a message. The other
// members do not wait for its end.
func TestGroupFragments(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		var g Group
		other, q := overTCP(t, connConfig{isServer: true})
		add(t, &g, c)
		add(t, &g, other)
		writer := async(func() io.WriteCloser {
			w, err := overflow(c)
			if err != nil {
				t.Error(err)
			}
			return w
		})
		f, err := p.next()
		if err != nil || f.First != BinaryMessage {
			t.Fatal(f.First, err)
		}
		w := <-writer
		broadcast(t, &g, []byte("hello"))
		q.expect(binaryFrame("hello"))
		go c.WriteControl(PingMessage, []byte("between"), time.Time{})
		p.expect(pingFrame("between"))
		go w.Close()
		for first := byte(0); first != finBit; first = f.First {
			if f, err = p.next(); err != nil || f.First&^finBit != 0 {
				t.Fatal(f.First, err)
			}
		}
		p.expect(binaryFrame("hello"))
	})
}

// first comes before what is broadcast later, of a member too; a closed connection leaves.
func TestGroupAdd(t *testing.T) {
	var g, other Group
	for i := range 10 {
		c, p := overTCP(t, connConfig{isServer: true})
		broadcast(t, &g, []byte("missed"))
		add(t, &g, c, prepared(t, "one"), prepared(t, "two"))
		add(t, &other, c)
		broadcast(t, &g, []byte("hello"))
		p.expect(textFrame("one"), textFrame("two"), binaryFrame("hello"))
		add(t, &g, c, prepared(t, "again"))
		broadcast(t, &g, []byte("all"))
		p.expect(textFrame("again"), binaryFrame("all"))
		other.Broadcast(TextMessage, []byte("other"))
		p.expect(textFrame("other"))
		p.drain()
		switch i % 3 {
		case 0:
			c.Close()
			if err := g.Add(c); !errors.Is(err, net.ErrClosed) {
				t.Errorf("joined when it was closed: %v", err)
			}
		case 1:
			g.Remove(c)
			g.Remove(c)
		}
	}
	if g.Len() != 3 || other.Len() != 6 || len(slices.Collect(g.All())) != 3 {
		t.Errorf("%d and %d members, want 3 and 6", g.Len(), other.Len())
	}
	ping, _ := NewPreparedMessage(PingMessage, nil)
	if g.Add(new(Conn), ping) == nil || g.BroadcastPrepared(ping) == nil || g.Broadcast(CloseMessage, nil) == nil {
		t.Error("took a control message")
	}
}

// With CloseSlow the peer gets a close frame with 1013, reads and writes return ErrSlowMember at
// once, and Len falls when the program closes the connection.
func TestGroupCloseSlow(t *testing.T) {
	for _, reads := range []bool{true, false} {
		bubble(t, fmt.Sprintf("peer reads at last %v", reads), func(t *testing.T) {
			g := Group{MaxLag: 10_000}
			slow, p := overPipe(t, connConfig{isServer: true})
			quick, q := overPipe(t, connConfig{isServer: true})
			add(t, &g, slow)
			add(t, &g, quick)
			read := async(func() error { return readErr(slow) })
			for i := range 20 {
				broadcast(t, &g, marked(i, 1000))
				q.expect(binaryFrame(string(marked(i, 1000))))
				synctest.Wait()
			}
			begin := time.Now()
			if err := ended(t, "the read", read); err != ErrSlowMember || time.Since(begin) != 0 {
				t.Errorf("read: %v after %v", err, time.Since(begin))
			}
			for range 2 {
				slow.Close() // as a program does; the goodbye goes on
			}
			if s := g.Stats(); s.Expelled != 1 || s.Members != 1 || s.Lag != 0 {
				t.Errorf("%+v", s)
			}
			if reads {
				// What was on its way arrives whole.
				f, err := p.next()
				for i := 0; err == nil && f.First == finBit|BinaryMessage; i++ {
					if markOf(t, []byte(f.Payload)) != i {
						t.Errorf("not message %d", i)
					}
					f, err = p.next()
				}
				if f.First != finBit|CloseMessage || !strings.HasPrefix(f.Payload, "\x03\xf5") {
					t.Errorf("frame %02x %q, %v", f.First, f.Payload, err)
				}
				p.send(closeFrame(CloseTryAgainLater, ""))
			}
			p.expectEnd()
			if d := time.Since(begin); d > closeWait {
				t.Errorf("ended after %v", d)
			}
		})
	}
}

func TestGroupCloseSlowErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{MaxLag: 1000}
		c, p := overPipe(t, connConfig{isServer: true})
		add(t, &g, c)
		write := func() error { return c.WriteMessage(TextMessage, nil) }
		for i := range 3 {
			broadcast(t, &g, marked(i, 1000))
			synctest.Wait()
		}
		if g.Len() != 1 {
			t.Error("left before it was closed")
		}
		done := async(write)
		p.expectEnd()
		for _, err := range []error{<-done, write(), readErr(c), readErr(c)} {
			if err != ErrSlowMember {
				t.Errorf("%v, want ErrSlowMember", err)
			}
		}
	})
}

// What ended a member that was too slow is told by Err at once and by Trace once, whatever the peer
// does then, and stays what reads return when the program has closed the connection.
func TestGroupCloseSlowIsTheCause(t *testing.T) {
	for _, answers := range []bool{true, false} {
		bubble(t, fmt.Sprintf("peer answers %v", answers), func(t *testing.T) {
			var traced []error
			g := Group{MaxLag: 1000}
			c, p := overPipe(t, connConfig{isServer: true, trace: &Trace{
				Closed: func(_ *Conn, err error) { traced = append(traced, err) },
			}})
			add(t, &g, c)
			read := async(func() error { return readErr(c) })
			for i := range 3 {
				broadcast(t, &g, marked(i, 1000))
				synctest.Wait()
			}
			if err := ended(t, "the read", read); err != ErrSlowMember || c.Err() != ErrSlowMember {
				t.Errorf("read: %v, Err: %v", err, c.Err())
			}
			c.Close()
			if answers {
				p.send(closeFrame(CloseTryAgainLater, ""))
			}
			after := async(func() error { return readErr(c) })
			p.expectEnd()
			advance(closeWait)
			if err := ended(t, "a read after Close", after); err != ErrSlowMember || c.Err() != ErrSlowMember {
				t.Errorf("read after Close: %v, Err: %v", err, c.Err())
			}
			if len(traced) != 1 || traced[0] != ErrSlowMember {
				t.Errorf("Trace.Closed: %v", traced)
			}
		})
	}
}

// A read that begins after Close, while a group still says goodbye, fails at once.
func TestGroupShutdownReadAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		c, p := overPipe(t, connConfig{isServer: true})
		add(t, &g, c)
		shutdown := async(func() error { return g.Shutdown(t.Context(), CloseGoingAway, "") })
		synctest.Wait()
		c.Close()
		read := async(func() error { return readErr(c) })
		if err := ended(t, "the read", read); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		p.expect(closeFrame(CloseGoingAway, ""))
		p.send(closeFrame(CloseGoingAway, ""))
		if err := ended(t, "Shutdown", shutdown); err != nil {
			t.Error(err)
		}
		p.expectEnd()
	})
}

// A member that takes nothing is slow in the end, even if it lags by nothing but one message.
func TestGroupStalled(t *testing.T) {
	for name, pair := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"pipe": overPipe} {
		bubble(t, name, func(t *testing.T) {
			var g Group
			c, _ := pair(t, connConfig{isServer: true})
			c.SetWriteDeadline(time.Now().Add(time.Second)) // for a message of its own
			add(t, &g, c)
			read := async(func() error { return readErr(c) })
			broadcast(t, &g, []byte("hello"))
			advance(maxStall - time.Second)
			stillWaiting(t, "the read", read)
			advance(2 * time.Second)
			if err := ended(t, "the read", read); err != ErrSlowMember {
				t.Error(err)
			}
		})
	}
}

// With SkipSlow a member that lags goes on with the newest message.
func TestGroupNewest(t *testing.T) {
	for name, cfg := range map[string]connConfig{
		"server": {isServer: true}, "client": {}, "takeover": wireConfig(true, true, true),
	} {
		bubble(t, name, func(t *testing.T) {
			g := Group{MaxLag: 1, Slow: SkipSlow}
			a, b := net.Pipe()
			c := newConn(a, cfg)
			cfg.isServer = !cfg.isServer
			far := newConn(b, cfg)
			add(t, &g, c)
			for i := range 9 {
				broadcast(t, &g, []byte(fmt.Sprint(i)))
				synctest.Wait() // the first is on its way, which it blocks
			}
			wantRead(t, far, "0")
			wantRead(t, far, "8")
			broadcast(t, &g, []byte("9"))
			wantRead(t, far, "9")
			if n := g.Stats().Skipped; n != 7 {
				t.Errorf("skipped %d times, want 7", n)
			}
			c.Close()
			far.Close()
		})
	}
}

// A socket that stalls gets whole messages, and after the stall the newest one.
func TestGroupSkipSocket(t *testing.T) {
	g := Group{MaxLag: 20_000, Slow: SkipSlow}
	a, b := thinPair(t)
	c, p := play(t, a, b, connConfig{isServer: true})
	add(t, &g, c)
	const last = 3_000
	for i := range last + 1 {
		broadcast(t, &g, marked(i, 1000+i%9*1000))
	}
	previous := -1
	for n := 0; previous != last; n++ {
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		i := markOf(t, []byte(f.Payload))
		if i <= previous {
			t.Fatalf("%d after %d", i, previous)
		}
		previous = i
	}
	if g.Stats().Skipped == 0 {
		t.Error("nothing was skipped")
	}
	broadcast(t, &g, []byte("on"))
	p.expect(binaryFrame("on"))
}

// A member that joins gets the latest of every key in the order of the last changes.
func TestGroupLatest(t *testing.T) {
	var g Group
	for i := range 100 {
		g.BroadcastLatest(fmt.Sprint(i%4), TextMessage, []byte(fmt.Sprint(i)))
	}
	g.Forget("2")
	g.Forget("none")
	for _, latest := range []string{"96 97 99", "97 99 96"} {
		c, p := overTCP(t, connConfig{isServer: true})
		add(t, &g, c, prepared(t, "first"))
		g.BroadcastLatest("0", TextMessage, []byte("96"))
		p.expect(textFrame("first"))
		for _, s := range strings.Fields(latest) {
			p.expect(textFrame(s))
		}
		p.expect(textFrame("96"))
		c.Close()
		g.BroadcastLatest("0", TextMessage, []byte("96"))
		g.BroadcastLatest("1", TextMessage, []byte("97"))
		g.BroadcastLatest("3", TextMessage, []byte("99"))
		g.BroadcastLatest("0", TextMessage, []byte("96"))
	}
}

// A member that was stalled gets the latest of every key, each once and in order, then all that
// comes.
func TestGroupLatestAfterStall(t *testing.T) {
	const keys, size, updates = 50, 500, 5_000
	for name, cfg := range map[string]connConfig{"plain": {}, "takeover": wireConfig(true, true, true)} {
		t.Run(name, func(t *testing.T) {
			g := Group{Slow: SkipSlow, MaxLag: 32 << 10}
			a, b := thinPair(t)
			cfg.isServer = true
			c := newConn(a, cfg)
			cfg.isServer = false
			far := newConn(b, cfg)
			defer c.Close()
			defer far.Close()
			add(t, &g, c)
			for i := range updates {
				if err := g.BroadcastLatest(fmt.Sprint(i%keys), BinaryMessage, marked(i, size)); err != nil {
					t.Fatal(err)
				}
			}
			got, previous, n := map[int]int{}, -1, 0
			for ; previous != updates-1; n++ {
				_, p, err := far.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				i := markOf(t, p)
				if i <= previous {
					t.Fatalf("%d after %d", i, previous)
				}
				previous = i
				got[i%keys] = i
			}
			for k := range keys {
				if got[k] != updates-keys+k {
					t.Errorf("key %d: %d", k, got[k])
				}
			}
			if n == updates {
				t.Error("nothing was skipped")
			}
			broadcast(t, &g, []byte("on"))
			wantRead(t, far, "on")
		})
	}
}

// What is broadcast while a member's connection is busy leaves with one write.
func TestGroupOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		c, s, _ := sunk(t, connConfig{isServer: true})
		add(t, &g, c)
		c.write.mu.Lock(noContext, nil)
		for i := range 8 {
			broadcast(t, &g, []byte{byte('a' + i)})
		}
		synctest.Wait()
		s.wantWrites(t, false)
		c.write.unlock()
		synctest.Wait()
		s.wantWrites(t, false, "a b c d e f g h")
		large := make([]byte, 64<<10)
		for range 3 { // the first times there is less room in the log
			s.take(t, false)
			c.write.mu.Lock(noContext, nil)
			for range 8 {
				broadcast(t, &g, large)
			}
			c.write.unlock()
			synctest.Wait()
		}
		if writes := s.take(t, false); len(writes) > 2 {
			t.Errorf("8 large messages took %d writes", len(writes))
		}
		for range 2 {
			broadcast(t, &g, []byte("a"))
			synctest.Wait()
			s.wantWrites(t, false, "a")
		}
	})
}

// RFC 6455 §7.1.2: all members get the close frame behind what was broadcast.
func TestGroupShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		var peers []*peer
		for range 20 {
			c, p := overPipe(t, connConfig{isServer: true})
			add(t, &g, c)
			peers = append(peers, p)
			go readErr(c)
		}
		synctest.Wait() // in all reads
		broadcast(t, &g, []byte("last"))
		shutdown := func() error { return g.Shutdown(t.Context(), CloseGoingAway, "bye") }
		done, again := async(shutdown), async(shutdown)
		for _, p := range peers {
			p.expect(binaryFrame("last"), closeFrame(CloseGoingAway, "bye"))
		}
		for _, p := range peers {
			stillWaiting(t, "Shutdown", done)
			stillWaiting(t, "the other Shutdown", again)
			p.send(textFrame("not read any more"), closeFrame(CloseGoingAway, ""))
			p.expectEOF()
		}
		if err := errors.Join(ended(t, "Shutdown", done), ended(t, "the other Shutdown", again)); err != nil {
			t.Error(err)
		}
		c, _ := overPipe(t, connConfig{isServer: true})
		if err := g.Add(c); err != ErrGroupClosed || g.Len() != 0 {
			t.Errorf("%v, %d members", err, g.Len())
		}
		if err := g.Broadcast(TextMessage, nil); err != ErrGroupClosed {
			t.Error(err)
		}
		if g.Shutdown(t.Context(), 1005, "") != nil || g.Shutdown(t.Context(), 1006, "") == nil {
			t.Error("wrong about the code")
		}
	})
}

// While Shutdown spreads, those whose turn is yet to come get what is broadcast, and nobody
// anything behind its close frame.
func TestGroupShutdownSpreadBroadcast(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "pipe": overPipe} {
		run := func(t *testing.T) {
			const members = 10
			g := Group{Spread: 10 * time.Millisecond}
			if name == "pipe" {
				g.Spread = members * time.Second
			}
			got := make(chan int, members)
			for range members {
				c, p := over(t, connConfig{isServer: true})
				add(t, &g, c)
				go func() {
					for n := 0; ; n++ {
						f, err := p.next()
						if err == nil && f.First == finBit|CloseMessage {
							p.send(f)
							p.expectEOF()
							got <- n
							return
						}
						if err != nil || f.Payload != fmt.Sprint(n) {
							t.Errorf("message %q, %v, want %d", f.Payload, err, n)
						}
					}
				}()
			}
			done := async(func() error { return g.Shutdown(t.Context(), CloseServiceRestart, "") })
			sent := 0
			for g.Broadcast(TextMessage, fmt.Append(nil, sent)) == nil {
				sent++
				if name == "pipe" {
					advance(time.Second)
					c, _ := over(t, connConfig{isServer: true})
					if err := g.Add(c); err != ErrGroupClosed {
						t.Errorf("Add: %v", err)
					}
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			most := 0
			for range members {
				most = max(most, <-got)
			}
			if most == 0 || most > sent || name == "pipe" && most < members-1 {
				t.Errorf("a member got %d messages of %d", most, sent)
			}
		}
		t.Run(name, func(t *testing.T) {
			if name == "pipe" {
				synctest.Test(t, run)
			} else {
				run(t)
			}
		})
	}
}

// Members that do not answer are cut when the context ends, and no other waits for them.
func TestGroupShutdownCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		for i := range 10 {
			c, p := overPipe(t, connConfig{isServer: true})
			add(t, &g, c)
			if i%2 == 0 {
				go func() {
					p.expect(binaryFrame("last"), closeFrame(CloseGoingAway, ""))
					p.send(closeFrame(CloseGoingAway, ""))
				}()
			}
		}
		broadcast(t, &g, []byte("last"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begin := time.Now()
		done := async(func() error { return g.Shutdown(ctx, CloseGoingAway, "") })
		advance(workerTime) // the broadcast may wait that long for members that take nothing
		stillWaiting(t, "Shutdown", done)
		if n := g.Len(); n != 5 {
			t.Errorf("%d members are left, want 5", n)
		}
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		synctest.Wait()
		if g.Len() != 0 {
			t.Errorf("%d members", g.Len())
		}
	})
}

// Without a deadline KeepAlive ends a handshake that the peer does not complete.
func TestGroupShutdownKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}})
		add(t, &g, c)
		p.drain()
		done := async(func() error { return g.Shutdown(context.Background(), CloseGoingAway, "") })
		advance(time.Second)
		stillWaiting(t, "Shutdown", done)
		advance(5 * time.Minute)
		ended(t, "Shutdown", done)
	})
}

func TestGroupShutdownSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{Spread: time.Minute}
		times := make(chan time.Duration, 60)
		begin := time.Now()
		for range cap(times) {
			c, p := overPipe(t, connConfig{isServer: true})
			add(t, &g, c)
			go func() {
				p.expect(closeFrame(CloseServiceRestart, ""))
				times <- time.Since(begin)
				p.send(closeFrame(CloseServiceRestart, ""))
			}()
		}
		if err := g.Shutdown(t.Context(), CloseServiceRestart, ""); err != nil {
			t.Error(err)
		}
		for i := range cap(times) {
			if d := <-times; d != time.Duration(i)*time.Second {
				t.Errorf("end %d after %v", i, d)
			}
		}
	})
}

func TestUpgraderGroup(t *testing.T) {
	var g Group
	up := Upgrader{Group: &g}
	end, upgraded := make(chan struct{}), make(chan struct{})
	var handlers sync.WaitGroup
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		handlers.Go(func() {
			defer c.Close()
			readErr(c)
		})
		upgraded <- struct{}{}
	})}
	srv.RegisterOnShutdown(func() {
		g.Shutdown(context.Background(), CloseGoingAway, "")
		close(end)
	})
	l := servePipes(t, srv)
	d := Dialer{NetDial: func(string, string) (net.Conn, error) { return l.dial(), nil }}
	var conns []*Conn
	for range 3 {
		c, _, err := d.Dial("ws://server.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		<-upgraded
	}
	if g.Len() != 3 {
		t.Errorf("%d members", g.Len())
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, c := range conns {
		if err := readErr(c); !IsCloseError(err, CloseGoingAway) {
			t.Error(err)
		}
		c.Close()
	}
	<-end
	handlers.Wait()
	w := &rejectedWriter{header: http.Header{}}
	r, _ := http.NewRequest("GET", "http://server.test/", nil)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(k, v)
	}
	if _, err := up.Upgrade(w, r, nil); err == nil || w.status != http.StatusServiceUnavailable {
		t.Errorf("status %d, %v", w.status, err)
	}
}

// A rejectedWriter is a ResponseWriter that cannot be hijacked.
type rejectedWriter struct {
	header http.Header
	status int
}

func (w *rejectedWriter) Header() http.Header         { return w.header }
func (w *rejectedWriter) WriteHeader(status int)      { w.status = status }
func (w *rejectedWriter) Write(p []byte) (int, error) { return len(p), nil }

// An inflater is a peer's, made by compress/flate alone.
type inflater struct{ window []byte }

func (f *inflater) inflate(t testing.TB, p string) []byte {
	t.Helper()
	const end = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"
	out, err := io.ReadAll(flate.NewReaderDict(strings.NewReader(p+end), f.window))
	if err != nil {
		t.Fatalf("inflating: %v", err)
	}
	f.window = append(f.window, out...)
	f.window = f.window[max(0, len(f.window)-1<<15):]
	return out
}

// tick returns a message of about 192 bytes that differs from the others in its numbers.
func tick(i int) []byte {
	return fmt.Appendf(nil, `{"type":"tick","seq":%d,"symbol":"SYM%03d","bid":%d.%04d,"ask":%d.%04d,"volume":%d,`+
		`"exchange":"XNAS","currency":"USD","flags":["live","primary"],"time":"2024-05-06T07:08:%02d.%03dZ"}`,
		i, i*7%100, 100+i*13%57, i*7919%10000, 101+i*13%57, i*6101%10000, i*104729%100000, i/50%60, i*37%1000)
}

// With context takeover all members are fed by one compressor, however they join, skip and get
// messages of their own.
func TestGroupSharedWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{Slow: SkipSlow, MaxLag: 500}
		const messages = 600
		cfg := wireConfig(true, true, true)
		type member struct {
			c    *Conn
			p    *peer
			last int // number of the last tick
			inflater
		}
		var members []*member
		read := func(m *member, until int) {
			for m.last < until {
				f, err := m.p.next()
				if err != nil {
					t.Fatal(err)
				}
				data := []byte(f.Payload)
				if f.First&rsv1Bit != 0 {
					data = m.inflate(t, f.Payload)
				}
				if string(data) == "private, private, private, private" {
					if f.First&rsv1Bit != 0 {
						t.Error("a message of its own is compressed")
					}
					continue
				}
				var i int
				if _, err := fmt.Sscanf(string(data), `{"type":"tick","seq":%d`, &i); err != nil || !bytes.Equal(data, tick(i)) || i <= m.last {
					t.Fatalf("after %d: %q", m.last, data)
				}
				m.last = i
			}
		}
		for i := 1; i <= messages; i++ {
			if i%23 == 1 {
				c, p := overPipe(t, cfg)
				add(t, &g, c)
				members = append(members, &member{c: c, p: p, last: i - 1})
			}
			if err := g.Broadcast(TextMessage, tick(i)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for k, m := range members {
				if (i/40+k)%5 != 0 { // the others do not read for a while
					read(m, i)
				}
				if (i+k)%31 == 0 {
					go m.c.WriteMessage(TextMessage, []byte("private, private, private, private"))
				}
			}
		}
		for _, m := range members {
			read(m, messages)
		}
		if s := g.Stats(); s.Skipped == 0 {
			t.Error("nothing was skipped")
		}
		for _, m := range members {
			m.c.Close()
		}
	})
}

// One compressor with context takeover makes much less of small messages than one per message.
func TestGroupSharedWindowSize(t *testing.T) {
	bytesOf := func(cfg connConfig) (n int) {
		synctest.Test(t, func(t *testing.T) {
			var g Group
			c, s, _ := sunk(t, cfg)
			add(t, &g, c)
			for i := range 1000 {
				g.Broadcast(TextMessage, tick(i))
				synctest.Wait()
			}
			for _, frames := range s.take(t, false) {
				for _, f := range frames {
					n += len(f.Payload)
				}
			}
		})
		return n
	}
	alone, shared := bytesOf(wireConfig(true, true, false)), bytesOf(wireConfig(true, true, true))
	ratio := float64(shared) / float64(alone)
	t.Logf("%d bytes alone, %d shared: %.2f", alone/1000, shared/1000, ratio)
	if ratio > 0.35 {
		t.Errorf("%.2f of the bytes, want at most 0.35", ratio)
	}
}

// What a group keeps, what it costs, and everything at once.

func TestLogFrames(t *testing.T) {
	tail := newLogTail(1000, 7)
	k := tail.end()
	want := []byte{}
	sizes := []int{0, 125, 126, 3000, 3000, 1 << 16, 1 << 16, 70_000, 5}
	for i, size := range sizes {
		tail.append(int64(7+i), finBit|BinaryMessage, marked(i, max(size, 4))[:size], i == 4, 1<<20)
		want = appendFrame(want, finBit|BinaryMessage, marked(i, max(size, 4))[:size])
	}
	var got []byte
	seq := int64(7)
	for p := k.ahead(); len(p) > 0; p = k.ahead() {
		if k.pos() != 1000+int64(len(got)) || k.seq() != seq {
			t.Errorf("position %d, message %d; want %d, %d", k.pos(), k.seq(), 1000+len(got), seq)
		}
		got = append(got, p...)
		k.off += len(p)
		seq += int64(countFrames(p))
	}
	if !bytes.Equal(got, want) || seq != int64(7+len(sizes)) || tail.end() != k {
		t.Errorf("%d bytes, %d messages; want %d, %d", len(got), seq-7, len(want), len(sizes))
	}
	for n := range len(want) {
		if n > 5000 && n%997 != 0 {
			continue
		}
		begin, end, frames := cut(want, n)
		if n < begin || n >= end || countFrames(want[:begin]) != frames || countFrames(want[begin:end]) != 1 {
			t.Fatalf("%d is in the frame from %d to %d, behind %d others", n, begin, end, frames)
		}
	}
}

// Those that join get nothing that was broadcast before but the latest message of every key, however
// short a while after others.
func TestGroupSnapshot(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		var g Group
		g.BroadcastLatest("topic", TextMessage, []byte("topic 1"))
		for i := range 3 {
			c, p := overTCP(t, wireConfig(true, compressed, true))
			add(t, &g, c, prepared(t, "history"))
			p.expect(textFrame("history"), textFrame(fmt.Sprint("topic ", i+1)))
			p.drain()
			broadcast(t, &g, []byte("chat"))
			g.BroadcastLatest("topic", TextMessage, fmt.Append(nil, "topic ", i+2))
		}
	}
}

// A memberConn is a net.Conn that takes everything or, stalled, nothing.
type memberConn struct {
	loopConn
	closed chan struct{} // nil unless it is stalled
	once   sync.Once
	taken  atomic.Int64
}

func (c *memberConn) Write(p []byte) (int, error) {
	if c.closed != nil {
		<-c.closed
		return 0, net.ErrClosed
	}
	c.taken.Add(int64(len(p)))
	return len(p), nil
}

func (c *memberConn) Close() error {
	if c.closed != nil {
		c.once.Do(func() { close(c.closed) })
	}
	return nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The memory of a group is bounded whatever its members do, and those that take nothing delay the
// others by no more than the time in which they are recognized.
func TestGroupMemory(t *testing.T) {
	for name, slow := range map[string]SlowPolicy{"close": CloseSlow, "skip": SkipSlow} {
		bubble(t, name, func(t *testing.T) {
			const size, messages, keys = 8000, 40, 2
			members := 10_000
			if raceEnabled() {
				members = 1000 // it does not measure memory then
			}
			g := Group{MaxLag: 64 << 10, Slow: slow}
			conns, ncs := make([]*Conn, members), make([]*memberConn, members)
			for i := range conns {
				ncs[i] = new(memberConn)
				if i%10 == 0 {
					ncs[i].closed = make(chan struct{})
				}
				conns[i] = newConn(ncs[i], connConfig{isServer: true})
			}
			stop := make(chan struct{})
			for range 4 * maxWorkers { // package runtime keeps what belongs to a goroutine
				go func() { <-stop }()
			}
			synctest.Wait()
			close(stop)
			before := heap()
			for _, c := range conns {
				if err := g.Add(c); err != nil {
					t.Fatal(err)
				}
			}
			if n := (heap() - before) / int64(members); n > 160 && !raceEnabled() {
				t.Errorf("a member takes %d bytes, want at most 160", n)
			}
			sent := int64(0)
			for i := range messages {
				sent += int64(frameSize(size))
				g.BroadcastLatest(fmt.Sprint(i%keys), BinaryMessage, marked(i, size))
				advance(2 * workerTime)
				for k, nc := range ncs {
					if n := nc.taken.Load(); n != sent && nc.closed == nil {
						t.Fatalf("member %d has %d bytes, want %d", k, n, sent)
					}
				}
			}
			if slow == CloseSlow {
				advance(2 * closeWait) // the end of the close handshakes
			}
			bound := int64(members*160 + g.MaxLag + g.MaxLag/2 + keys*size + maxLogChunk)
			bound += int64(members / 10 * 512) // what a goroutine that waits in Write takes of the heap
			if n := heap() - before; n > bound && !raceEnabled() {
				t.Errorf("the group takes %d bytes, want at most %d", n, bound)
			}
			s := g.Stats()
			if want := int64(members / 10); slow == CloseSlow && s.Expelled != want || slow == SkipSlow && s.Skipped != want || s.Members != members {
				t.Errorf("%+v", s)
			}
			for _, c := range conns {
				c.Close()
			}
			if g.Len() != 0 {
				t.Errorf("%d members are left", g.Len())
			}
			advance(2 * closeWait)
		})
	}
}

// A counter counts the bytes that are written to it.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// sharedSockets returns connections whose frames are drained, several to a socket.
func sharedSockets(t *testing.T, sockets, each int, drain *counter) (conns []*Conn) {
	for range sockets {
		a, b := unixPair(t)
		t.Cleanup(func() { a.Close(); b.Close() })
		go io.Copy(drain, b)
		for range each {
			conns = append(conns, newConn(a, connConfig{isServer: true}))
		}
	}
	return conns
}

// flushed waits until no flusher runs.
func (g *Group) flushed() {
	g.mu.Lock()
	for g.flushing {
		g.waitLocked()
	}
	g.mu.Unlock()
}

// A broadcast allocates nothing per member.
func TestGroupAllocs(t *testing.T) {
	var g Group
	const members = 10_000
	var drained counter
	for _, c := range sharedSockets(t, 100, members/100, &drained) {
		add(t, &g, c)
	}
	data := marked(1, 100)
	if raceEnabled() {
		return // sync.Pool drops values at random under the race detector
	}
	sent := int64(0)
	n := testing.AllocsPerRun(5, func() {
		broadcast(t, &g, data)
		g.flushed()
		for sent += members * int64(frameSize(len(data))); drained.n.Load() < sent; {
			runtime.Gosched() // no socket is full when the next one comes
		}
	})
	if n > members/50 {
		t.Errorf("%v allocations for a broadcast to %d members", n, members)
	}
}

// Everything at once: members of every kind join, leave, stall and are closed while several
// goroutines broadcast, and write to them. Every peer sees whole messages.
func TestGroupStorm(t *testing.T) {
	const joins = 240
	g := Group{Slow: SkipSlow, MaxLag: 8 << 10}
	other := Group{MaxLag: 1 << 30} // CloseSlow, and nobody is slow
	stop := make(chan struct{})
	var publishers, members sync.WaitGroup
	publish := func(f func()) {
		publishers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					f()
					runtime.Gosched()
				}
			}
		})
	}
	for range 2 {
		publish(func() { g.Broadcast(BinaryMessage, marked(1, 4+rand.IntN(3000))) })
	}
	publish(func() { other.Broadcast(BinaryMessage, marked(2, 100)) })
	publish(func() { g.BroadcastLatest("k", BinaryMessage, marked(3, 20_000)) })
	publish(func() { g.Stats(); g.Forget("k"); other.Len() })
	join := func(i int) {
		a, b := net.Pipe()
		if i%3 > 0 {
			a, b = thinPair(t)
		}
		takeover := i%4 == 0
		cfg := wireConfig(true, i%2 == 0, takeover)
		cfg.writeBufferSize = 300
		c := newConn(a, cfg)
		cfg.isServer = false
		far := newConn(b, cfg)
		g.Add(c)
		other.Add(c)
		members.Go(func() {
			for c.WriteMessage(BinaryMessage, marked(4, 50)) == nil {
				w, err := c.NextWriter(BinaryMessage)
				if err != nil {
					return
				}
				io.Copy(w, bytes.NewReader(marked(5, 2000)))
				w.Close()
				c.WriteControl(PingMessage, nil, time.Time{})
			}
		})
		for n := range 20 + i%50 {
			_, p, err := far.ReadMessage()
			if err != nil {
				if i%5 != 0 {
					t.Error(err)
				}
				break
			}
			if k := int(binary.BigEndian.Uint32(p)); !bytes.Equal(p, marked(k, len(p))) {
				t.Errorf("a message of %d bytes is damaged", len(p))
			}
			if n == 15 && i%5 == 0 {
				c.Close()
			}
			if n == 15 && i%7 == 0 {
				g.Remove(c)
				g.Add(c)
			}
		}
		far.Close()
		c.Close()
	}
	var next atomic.Int64
	for range 8 {
		members.Go(func() {
			for i := next.Add(1); i <= joins; i = next.Add(1) {
				join(int(i))
			}
		})
	}
	members.Wait()
	close(stop)
	publishers.Wait()
	if g.Len()+other.Len() != 0 {
		t.Errorf("%d and %d members are left", g.Len(), other.Len())
	}
	t.Logf("%+v", g.Stats())
}

func TestGroupMemberSize(t *testing.T) {
	if size := reflect.TypeFor[groupMember]().Size(); size > 80 {
		t.Errorf("a groupMember takes %d bytes", size)
	}
}

// Connections join and leave while messages are broadcast: each gets a run of them without a gap.
func TestGroupJoins(t *testing.T) {
	joins := 10_000
	if raceEnabled() {
		joins = 2000
	}
	g := Group{MaxLag: 1 << 30} // however slow the machine is, nobody is slow
	stop := make(chan struct{})
	published := async(func() (n int) {
		for ; ; n++ {
			select {
			case <-stop:
				return n
			default:
				g.Broadcast(BinaryMessage, marked(n, 20))
				runtime.Gosched()
			}
		}
	})
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for next.Add(1) <= int64(joins) {
				nc := new(recordConn)
				c := newConn(nc, connConfig{isServer: true})
				if err := g.Add(c, &PreparedMessage{messageType: TextMessage, frame: appendFrame(nil, finBit|TextMessage, []byte("first"))}); err != nil {
					t.Error(err)
				}
				for nc.size() < 100 {
					runtime.Gosched()
				}
				c.Close()
				frames, err := wiretest.Decode([]byte(nc.take()), false)
				if err != nil || frames[0].Payload != "first" {
					t.Errorf("%v, %v", err, frames)
					return
				}
				for i, f := range frames[2:] {
					if a, b := markOf(t, []byte(frames[i+1].Payload)), markOf(t, []byte(f.Payload)); b != a+1 {
						t.Errorf("%d after %d", b, a)
					}
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	if n := <-published; n == 0 || g.Len() != 0 {
		t.Errorf("%d messages, %d members are left", n, g.Len())
	}
}

// A recordConn is a net.Conn that keeps what is written to it.
type recordConn struct {
	loopConn
	mu sync.Mutex
	b  []byte
}

func (c *recordConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.b = append(c.b, p...)
	return len(p), nil
}

func (c *recordConn) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.b)
}

func (c *recordConn) take() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.b)
}
