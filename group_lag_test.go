package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// Members that lag: what they are measured by, what they still get, and what they keep.

// A member is not slow because of a message that it has not been offered, however long that is.
func TestGroupLongMessages(t *testing.T) {
	bubble(t, "busy", func(t *testing.T) {
		server, client := pipeConns(t)
		var g Group
		add(t, &g, server)
		for i := range 3 {
			server.write.mu.Lock(noContext, nil) // it is being written to
			broadcast(t, &g, marked(i, 2*defaultMaxLag))
			synctest.Wait()
			server.write.unlock()
			_, p, err := client.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if n := markOf(t, p); n != i {
				t.Errorf("message %d, want %d", n, i)
			}
		}
		server.write.mu.Lock(noContext, nil)
		for i := range 4 {
			broadcast(t, &g, marked(i, 2*defaultMaxLag))
			synctest.Wait()
		}
		server.write.unlock()
		if s := g.Stats(); s.Expelled != 1 {
			t.Errorf("%+v, want it to be expelled", s)
		}
	})
	t.Run("socket", func(t *testing.T) {
		server, client := tcpConns(t)
		g := Group{MaxLag: 1 << 10}
		add(t, &g, server)
		server.write.mu.Lock(noContext, nil)
		broadcast(t, &g, marked(1, 4<<10))
		g.flushed()
		server.write.unlock()
		if _, _, err := client.ReadMessage(); err != nil {
			t.Error(err)
		}
	})
}

// A member that lags while it is sent its first messages gets the latest of every key behind them.
func TestGroupSkipBehindFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{Slow: SkipSlow, MaxLag: 500}
		c, p := overPipe(t, connConfig{isServer: true})
		g.BroadcastLatest("still", TextMessage, []byte("still"))
		add(t, &g, c, prepared(t, "second"))
		add(t, &g, c, prepared(t, "first"))
		for i := range 20 {
			g.BroadcastLatest("moving", TextMessage, []byte(strings.Repeat("x", 200)+fmt.Sprint(i)))
			synctest.Wait()
		}
		if s := g.Stats(); s.Skipped == 0 {
			t.Error("nothing was skipped")
		}
		var got []string
		frames := p.collect()
		synctest.Wait()
		c.Close()
		for _, f := range <-frames {
			got = append(got, strings.TrimLeft(f.Payload, "x"))
		}
		all := strings.Join(got, " ")
		if all != "second first still 19" && all != "first second still 19" {
			t.Errorf("got %s", all)
		}
	})
}

// A member that stalls among the messages that it joins with gets the rest of them as they are now,
// and then what was broadcast meanwhile.
func TestGroupJoinsAndStalls(t *testing.T) {
	const keys, forgotten = 100, 50
	changed := []int{60, 70, 80}
	for name, test := range map[string]struct {
		pair func(testing.TB) (net.Conn, net.Conn)
		g    *Group
	}{
		"socket":           {thinPair, &Group{}},
		"pipe":             {func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }, &Group{}},
		"socket, SkipSlow": {thinPair, &Group{Slow: SkipSlow}},
		"socket, skipping": {thinPair, &Group{Slow: SkipSlow, MaxLag: 5000}},
		"pipe, skipping":   {func(testing.TB) (net.Conn, net.Conn) { return net.Pipe() }, &Group{Slow: SkipSlow, MaxLag: 5000}},
	} {
		t.Run(name, func(t *testing.T) {
			g := test.g
			latest := func(key, i int) {
				if err := g.BroadcastLatest(fmt.Sprint(key), BinaryMessage, marked(i, 2000)); err != nil {
					t.Fatal(err)
				}
			}
			var want []int
			for k := range keys {
				latest(k, k)
				if k != forgotten && !slices.Contains(changed, k) {
					want = append(want, k)
				}
			}
			a, b := test.pair(t)
			c, p := play(t, a, b, connConfig{isServer: true})
			add(t, g, c, prepared(t, "first"))
			p.expect(textFrame("first"))
			g.Forget(fmt.Sprint(forgotten))
			for _, k := range changed {
				latest(k, k+1000)
				want = append(want, k+1000)
			}
			g.flushed()
			if m := c.write.groups.Load().member(g); !m.behind() {
				t.Fatal("it has not stalled")
			}
			latest(keys, 2000)
			want = append(want, 2000)
			var got []int
			for len(got) == 0 || got[len(got)-1] != 2000 {
				f, err := p.next()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, markOf(t, []byte(f.Payload)))
			}
			if !slices.Equal(got, want) {
				t.Errorf("got  %d\nwant %d", got, want)
			}
			if s := g.Stats(); s.Skipped > 0 != (g.MaxLag == 5000) || s.Expelled > 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A hookConn calls a function for every write.
type hookConn struct {
	loopConn
	hook func()
}

func (c *hookConn) Write(p []byte) (int, error) {
	c.hook()
	return len(p), nil
}

// What is sent before a message of a connection's own is what was broadcast before it, even if more
// comes all the time.
func TestGroupOwnMessageHasItsTurn(t *testing.T) {
	for name, cfg := range map[string]connConfig{"keys": {isServer: true}, "window": wireConfig(true, true, true)} {
		bubble(t, name, func(t *testing.T) {
			g := Group{Slow: SkipSlow, MaxLag: 500}
			writes, seq := 0, 0
			publish := func() {
				for range 200 {
					seq++
					if name == "keys" {
						g.BroadcastLatest(fmt.Sprint(seq%1000), BinaryMessage, marked(seq, 200))
					} else {
						g.Broadcast(BinaryMessage, tick(seq))
					}
				}
			}
			nc := &hookConn{hook: func() {
				if writes++; writes < 1000 {
					publish()
				}
			}}
			c := newConn(nc, cfg)
			defer c.Close()
			add(t, &g, c)
			c.write.mu.Lock(noContext, nil)
			for range 10 {
				publish()
				synctest.Wait()
			}
			if err := c.write.groups.Load().member(&g).catchUpLocked(false); err != nil {
				t.Error(err)
			}
			if writes > 100 {
				t.Errorf("%d writes", writes)
			}
			writes = 1000
			c.write.unlock()
			synctest.Wait()
		})
	}
}

// A compressor that was in use when the connection joined is not used again, even if it leaves when
// a message has its turn already.
func TestGroupSharedWindowLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		c, s, _ := sunk(t, wireConfig(true, true, true))
		own := bytes.Repeat([]byte("a message of its own"), 1000)
		w, err := c.NextWriter(TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(own)
		add(t, &g, c)
		w.Close()
		for i := range 10 {
			g.Broadcast(TextMessage, tick(i))
			synctest.Wait()
		}
		if err := c.write.lockMessage(noContext); err != nil {
			t.Fatal(err)
		}
		g.Remove(c)
		if !c.write.compresses(len(own)) {
			t.Error("it is not compressed")
		}
		c.write.deflatedMessage(noContext, TextMessage, own)
		c.write.unlockMessage()
		var in inflater
		var last []byte
		var message string
		for _, frames := range s.take(t, false) {
			for _, f := range frames {
				message += f.Payload
				if f.First&finBit != 0 {
					last = in.inflate(t, message)
					message = ""
				}
			}
		}
		if !bytes.Equal(last, own) {
			t.Errorf("got %s", wiretest.Shortened(string(last)))
		}
	})
}

// Shutdown tolerates a close frame that is out, and waits for the peer's.
func TestGroupShutdownAfterClose(t *testing.T) {
	for _, name := range []string{"WriteControl", "Shutdown"} {
		bubble(t, name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			var g Group
			add(t, &g, c)
			goodbye := string(FormatCloseMessage(CloseGoingAway, ""))
			sent := async(func() error {
				if name == "Shutdown" {
					return c.Shutdown(t.Context(), CloseGoingAway, "")
				}
				return c.WriteControl(CloseMessage, []byte(goodbye), time.Time{})
			})
			p.expect(wireFrame{First: finBit | CloseMessage, Payload: goodbye})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			done := async(func() error { return g.Shutdown(ctx, CloseGoingAway, "") })
			stillWaiting(t, "Group.Shutdown", done)
			p.send(wireFrame{First: finBit | CloseMessage, Payload: goodbye})
			if err := ended(t, "Group.Shutdown", done); err != nil {
				t.Error(err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		})
	}
}

// Shutdown waits for a connection that another group is closing.
func TestGroupShutdownOfTwoGroups(t *testing.T) {
	for _, cut := range []bool{false, true} {
		bubble(t, fmt.Sprintf("cut=%v", cut), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			var first, second Group
			add(t, &first, c)
			add(t, &second, c)
			frames := p.collect()
			one := async(func() error { return first.Shutdown(t.Context(), CloseGoingAway, "") })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			two := async(func() error { return second.Shutdown(ctx, CloseGoingAway, "") })
			stillWaiting(t, "the first", one)
			stillWaiting(t, "the second", two)
			if cut {
				advance(time.Minute)
				if err := ended(t, "the second", two); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				ended(t, "the first", one)
			} else {
				p.send(closeFrame(CloseGoingAway, ""))
				if err := errors.Join(ended(t, "the first", one), ended(t, "the second", two)); err != nil {
					t.Error(err)
				}
			}
			if n := len(<-frames); n != 1 {
				t.Errorf("%d frames were sent, want one close frame", n)
			}
		})
	}
}

// Shutdown does not wait for the turn of connections that have ended.
func TestGroupShutdownSpreadEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Group{Spread: time.Hour}
		var conns []*Conn
		var peers []*peer
		for range 5 {
			c, p := overPipe(t, connConfig{isServer: true})
			p.drain()
			add(t, &g, c)
			conns, peers = append(conns, c), append(peers, p)
		}
		done := async(func() error { return g.Shutdown(noContext, CloseGoingAway, "") })
		stillWaiting(t, "Shutdown", done)
		for i, c := range conns {
			peers[i].Close()
			c.Close()
		}
		if err := ended(t, "Shutdown", done); err != nil {
			t.Error(err)
		}
	})
}

// Members that stall one after the other do not keep a part of the group's memory each.
func TestGroupStalledMemory(t *testing.T) {
	if raceEnabled() {
		return // it does not measure memory then
	}
	const members, size, keys = 100, 20_000, 100
	first := prepared(t, "first")
	grown := func(t *testing.T, g *Group, cfg connConfig, each func(i int)) int64 {
		conns := make([]*Conn, members)
		before := heap()
		for i := range conns {
			conns[i] = newConn(&memberConn{closed: make(chan struct{})}, cfg)
			if i%2 == 0 {
				add(t, g, conns[i])
			} else {
				add(t, g, conns[i], first)
			}
			synctest.Wait()
			each(i)
		}
		n := heap() - before
		for _, c := range conns {
			c.Close()
		}
		runtime.KeepAlive(g)
		return (n - int64(g.maxLag()*3/2)) / members
	}
	bubble(t, "snapshots", func(t *testing.T) {
		g := Group{Slow: SkipSlow, MaxLag: 64 << 10}
		for k := range keys {
			g.BroadcastLatest(fmt.Sprint(k), BinaryMessage, marked(k, size))
		}
		n := grown(t, &g, connConfig{isServer: true}, func(int) {
			for range 5 {
				g.BroadcastLatest("0", BinaryMessage, marked(0, size))
				synctest.Wait()
			}
		})
		if n > 3*size {
			t.Errorf("a stalled member keeps %d bytes", n)
		}
	})
	bubble(t, "forgotten", func(t *testing.T) {
		var g Group
		for k := range keys {
			g.BroadcastLatest(fmt.Sprint(k), BinaryMessage, marked(k, size))
		}
		n := grown(t, &g, connConfig{isServer: true}, func(int) {
			g.BroadcastLatest("more", BinaryMessage, marked(0, 10))
			g.Forget("more")
			synctest.Wait()
		})
		if n > 3*size {
			t.Errorf("a stalled member keeps %d bytes", n)
		}
	})
	bubble(t, "window", func(t *testing.T) {
		g := Group{Slow: SkipSlow, MaxLag: 64 << 10}
		n := grown(t, &g, wireConfig(true, true, true), func(i int) {
			if i < members-1 {
				return
			}
			for k := range 100 {
				p := marked(k, size)
				for j := range p {
					p[j] *= byte(j >> 8)
				}
				broadcast(t, &g, p)
				synctest.Wait()
			}
		})
		if n > size*3/2 { // the frame that it is being sent
			t.Errorf("a stalled member keeps %d bytes", n)
		}
	})
	t.Run("keys", func(t *testing.T) {
		var g Group
		before := heap()
		for k := range keys {
			g.BroadcastLatest(fmt.Sprint(k), BinaryMessage, marked(k, size))
			g.BroadcastLatest(fmt.Sprint(k), BinaryMessage, marked(k, 10))
		}
		if n := (heap() - before) / keys; n > 1000 {
			t.Errorf("a value of 10 bytes keeps %d", n)
		}
		runtime.KeepAlive(&g)
	})
}

// A reader that closes the connection when its read fails costs the peer nothing of what was
// broadcast before Shutdown.
func TestGroupShutdownReaderCloses(t *testing.T) {
	for name, read := range map[string]func(c *Conn){
		"ReadMessage": func(c *Conn) { readErr(c) },
		"Messages": func(c *Conn) {
			for range c.Messages(context.Background()) {
			}
		},
		"Handle": func(c *Conn) {
			end := make(chan error)
			c.Handle(func(_ *Conn, _ Message, err error) { end <- err })
			if err := <-end; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Handle: %v", err)
			}
		},
	} {
		bubble(t, name, func(t *testing.T) {
			var g, other Group
			c, p := overPipe(t, connConfig{isServer: true})
			add(t, &g, c)
			add(t, &other, c)
			closed := async(func() error {
				read(c)
				return c.Close()
			})
			broadcast(t, &g, []byte("first"))
			synctest.Wait() // it is being written
			broadcast(t, &g, []byte("second"))
			shutdown := async(func() error { return g.Shutdown(t.Context(), CloseGoingAway, "") })
			advance(workerTime) // the pass waits that long for the worker
			ended(t, "the reader", closed)
			if g.Len() != 1 || other.Len() != 0 {
				t.Errorf("%d and %d members", g.Len(), other.Len())
			}
			p.expect(binaryFrame("first"), binaryFrame("second"), closeFrame(CloseGoingAway, ""))
			stillWaiting(t, "Shutdown", shutdown)
			p.send(closeFrame(CloseGoingAway, ""))
			if err := ended(t, "Shutdown", shutdown); err != nil || g.Len() != 0 {
				t.Errorf("%v, %d members", err, g.Len())
			}
			p.expectEOF()
		})
	}
}

// Shutdown that begins inside a control frame handler of a connection with Handle.
func TestGroupShutdownInHandler(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "TLS": overTLS, "pipe": overPipe} {
		t.Run(name, func(t *testing.T) {
			var g Group
			c, p := over(t, connConfig{isServer: true})
			add(t, &g, c)
			begun, goOn := make(chan bool), make(chan bool)
			c.SetPingHandler(func(string) error {
				close(begun)
				<-goOn
				return nil
			})
			end := make(chan error)
			c.Handle(func(_ *Conn, _ Message, err error) { end <- err })
			p.send(frame(0x89, ""))
			<-begun
			shutdown := async(func() error { return g.Shutdown(t.Context(), CloseGoingAway, "") })
			p.expect(closeFrame(CloseGoingAway, ""))
			close(goOn)
			if err := <-end; !errors.Is(err, net.ErrClosed) {
				t.Errorf("Handle: %v", err)
			}
			p.send(closeFrame(CloseGoingAway, ""))
			if err := <-shutdown; err != nil {
				t.Error(err)
			}
		})
	}
}

// What a second Add sends is not lost while a member that was skipped looks for the latest messages.
func TestGroupAddWhileCompacting(t *testing.T) {
	g := Group{Slow: SkipSlow}
	c := newConn(&memberConn{closed: make(chan struct{})}, connConfig{isServer: true})
	defer c.Close()
	add(t, &g, c)
	c.write.mu.Lock(noContext, nil) // nothing is sent meanwhile
	defer c.write.unlock()
	g.BroadcastLatest("key", TextMessage, []byte("value"))
	m := c.write.groups.Load().member(&g)
	m.mu.Lock()
	m.compactFrom(0)
	m.mu.Unlock()

	g.mu.Lock()
	locked := make(chan bool)
	compacted := async(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		close(locked)
		m.compactLocked()
		return nil
	})
	<-locked
	m.preface(prepared(t, "first").frame)
	g.mu.Unlock()
	<-compacted
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.cur.ahead(); string(p) != "\x81\x05first" || !m.compact {
		t.Errorf("%q is ahead", p)
	}
}

// Messages of its own that a connection is sending cost the peer nothing of what was broadcast
// before Shutdown.
func TestGroupShutdownWhileWriting(t *testing.T) {
	const rounds = 50
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "pipe": overPipe} {
		t.Run(name, func(t *testing.T) {
			for range rounds {
				var g Group
				c, p := over(t, connConfig{isServer: true})
				add(t, &g, c)
				frames := p.collect()
				go func() {
					own := make([]byte, 20_000)
					for c.WriteMessage(BinaryMessage, own) == nil {
					}
				}()
				for range 3 {
					broadcast(t, &g, []byte("broadcast"))
				}
				go p.send(closeFrame(CloseGoingAway, ""))
				if err := g.Shutdown(t.Context(), CloseGoingAway, ""); err != nil {
					t.Fatal(err)
				}
				n := 0
				for _, f := range <-frames {
					if f.Payload == "broadcast" {
						n++
					}
				}
				if n != 3 {
					t.Fatalf("%d messages arrived", n)
				}
				p.Close()
			}
		})
	}
}

// Writes of a member that is closed because it lags return ErrSlowMember after Close as well.
func TestGroupCloseSlowWrites(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"TCP": overTCP, "TLS": overTLS} {
		t.Run(name, func(t *testing.T) {
			g := Group{MaxLag: 1000}
			c, _ := over(t, connConfig{isServer: true})
			add(t, &g, c)
			read := async(func() error { return readErr(c) })
			for g.Stats().Expelled == 0 {
				broadcast(t, &g, make([]byte, 100_000))
			}
			if err := <-read; err != ErrSlowMember {
				t.Errorf("read: %v", err)
			}
			c.Close()
			for range 2 {
				if err := c.WriteMessage(TextMessage, nil); err != ErrSlowMember {
					t.Errorf("write: %v", err)
				}
			}
		})
	}
}

// What was about to be written when a member was found too slow is not, nor another close frame than
// that of its group, not even once the program has closed the connection.
func TestGroupCloseSlowComesFirst(t *testing.T) {
	for name, write := range map[string]func(c *Conn) error{
		"message": func(c *Conn) error { return c.WriteMessage(TextMessage, []byte("late")) },
		"control": func(c *Conn) error { return c.WriteControl(PingMessage, nil, time.Time{}) },
		"close frame": func(c *Conn) error {
			return c.WriteControl(CloseMessage, closePayload(CloseNormalClosure, ""), time.Time{})
		},
		"Shutdown": func(c *Conn) error { return c.Shutdown(context.Background(), CloseNormalClosure, "") },
	} {
		bubble(t, name, func(t *testing.T) {
			for _, when := range []string{"before", "before, and Close", "while it waits", "while it waits, and Close"} {
				var g Group
				c, p := overPipe(t, connConfig{isServer: true})
				add(t, &g, c)
				frames := p.collect()
				c.write.mu.Lock(noContext, nil) // somebody writes
				closeSlow := func() {
					c.closeSlow()
					if strings.HasSuffix(when, "Close") {
						c.Close()
					}
				}
				if strings.HasPrefix(when, "before") {
					closeSlow()
				}
				written := async(func() error { return write(c) })
				synctest.Wait()
				if strings.HasPrefix(when, "while") {
					closeSlow()
				}
				c.write.unlock()
				if err := <-written; err != ErrSlowMember {
					t.Errorf("%s: %v", when, err)
				}
				p.send(closeFrame(CloseTryAgainLater, ""))
				if got := <-frames; !wiretest.Equal(got, []wireFrame{closeFrame(CloseTryAgainLater, "too slow")}) {
					t.Errorf("%s: sent %q", when, wiretest.Payloads(got))
				}
			}
		})
	}
}
