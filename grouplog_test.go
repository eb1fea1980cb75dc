package websocket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

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

// What the members that join now are given does not keep the log.
func TestGroupSnapshot(t *testing.T) {
	g := Group{MaxLag: 1000}
	g.BroadcastLatest("key", TextMessage, []byte("value"))
	add(t, &g, newConn(new(memberConn), connConfig{isServer: true}))
	if g.streams[0].snapshot == nil {
		t.Fatal("no snapshot")
	}
	broadcast(t, &g, make([]byte, 300))
	if g.streams[0].snapshot != nil {
		t.Error("a snapshot that is far behind is kept")
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
	var g Group
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
				frames, err := parseWire([]byte(nc.take()), false)
				if err != nil || frames[0].payload != "first" {
					t.Errorf("%v, %v", err, frames)
					return
				}
				for i, f := range frames[2:] {
					if a, b := markOf(t, []byte(frames[i+1].payload)), markOf(t, []byte(f.payload)); b != a+1 {
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
