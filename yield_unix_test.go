//go:build unix

package websocket

import (
	"runtime"
	"testing"
)

func TestYield(t *testing.T) {
	y := yield{on: true, empty: true}
	// next counts the reads without a yield until the next one.
	next := func() (n int) {
		for !y.before() {
			n++
		}
		return n
	}
	for _, want := range []int{0, 1, 3, 7, 15, 31, 63, 63} {
		if n := next(); n != want {
			t.Errorf("%d reads without a yield, want %d", n, want)
		}
		y.learn(true)
	}
	next()
	y.learn(false)
	if n := next(); n != 0 {
		t.Errorf("%d reads without a yield after one that paid", n)
	}
	// What is known to be there is read at once.
	y.empty = false
	if y.before() {
		t.Error("yields with more to read")
	}
	if y = (yield{empty: true}); y.before() {
		t.Error("the zero value yields")
	}
}

func TestYieldProcs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, maxYieldProcs, maxYieldProcs + 1} {
		runtime.GOMAXPROCS(procs)
		if y := newYield(); y.on != (procs <= maxYieldProcs) {
			t.Errorf("%d processors: yields %v", procs, y.on)
		}
	}
}

// A socket that was emptied makes the next read yield, one with more in it
// does not; a yield in vain is noticed.
func TestYieldFollowsTheSocket(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true, readBufferSize: minBufferSize})
	y := &c.raw.yield
	if y.on = true; !y.empty {
		t.Error("a new connection has read everything")
	}
	p.send(textFrame("hello"))
	wantRead(t, c, "hello")
	if !y.empty {
		t.Error("all was read, and the socket does not count as empty")
	}
	read := asyncRead(c) // long before the message
	for c.rd.isFree() {
		runtime.Gosched()
	}
	p.send(repeated(200, textFrame("hello"))...)
	if got := <-read; got.data != "hello" || got.err != nil {
		t.Fatal(got)
	}
	if y.empty {
		t.Error("a full buffer was read, and the socket counts as empty")
	}
	for range 199 {
		wantRead(t, c, "hello")
	}
}
