//go:build unix

package websocket

import "runtime"

// A yield decides whether a reader lets other goroutines run before it reads.
//
// A reader that comes straight back from its last message rarely finds another:
// it reads in vain, parks, and is woken by the poller. Where other goroutines
// have work that is waste, for by the time they have done it the next message
// has come. So a reader that has emptied its socket yields first, as long as
// that pays: after a yield in vain it reads on without one for a while, up to
// 63 times, and so an otherwise idle program next to never yields.
//
// The zero value does not yield.
type yield struct {
	on    bool
	empty bool  // the last read took all there was
	pause uint8 // how many reads go without a yield after one in vain
	rest  uint8 // how many of them are still to come
}

// maxYieldProcs is how many processors may yield. Those that do wait in the
// scheduler's global queue, and more processors would wait for its lock.
const maxYieldProcs = 8

// newYield returns the yield of a new connection, whose peer has yet to see the
// end of the handshake: nothing has come.
func newYield() yield { return yield{on: runtime.GOMAXPROCS(0) <= maxYieldProcs, empty: true} }

// before is called before a read and reports whether it has yielded.
func (y *yield) before() bool {
	if !y.on || !y.empty {
		return false
	}
	if y.rest > 0 {
		y.rest--
		return false
	}
	runtime.Gosched()
	return true
}

// learn is told whether the read after a yield found nothing at first.
func (y *yield) learn(vain bool) {
	if vain {
		y.pause = min(2*y.pause+1, 63)
	} else {
		y.pause = 0
	}
	y.rest = y.pause
}
