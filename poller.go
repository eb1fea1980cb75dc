package websocket

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/poll"
)

// The pollers, which serve the connections of Handle: one for each processor, with a part of the
// sockets each. A poller's leader is the goroutine that waits for events and, when they come, serves
// the connections one after the other. It calls the application's function itself: that takes no
// other goroutine and no hand-over, as long as the function returns soon.
//
// A function that does not is noticed by a timer: another goroutine becomes the leader, and the old
// one leaves when its call returns. While that keeps happening, a poller serves every connection in
// a goroutine of its own.

const (
	maxEvents = 128

	// stuckAfter is how long a call may take before the poller gets another leader. It bounds how
	// long one connection can delay others.
	stuckAfter = time.Millisecond

	// spreadCalls is how many connections are served in goroutines of their own after a call got
	// stuck.
	spreadCalls = 256
)

type poller struct {
	set *poll.Set

	mu      sync.Mutex
	queue   []*handler // queue[next:] is to be served
	next    int
	term    uint64 // of the leader
	calls   uint64 // connections served by leaders, so that one that is stuck can be told
	serving bool   // the leader serves a connection
	spread  int    // connections still to be served in goroutines of their own
	seen    uint64 // calls when the timer last fired
	armed   bool   // the timer runs
	timer   *time.Timer
}

var (
	pollersOnce sync.Once
	pollers     []*poller // none where there is no poll.Set
)

func startPollers() {
	for range runtime.GOMAXPROCS(0) {
		set, err := poll.Open(maxEvents)
		if err != nil {
			return
		}
		p := &poller{set: set}
		pollers = append(pollers, p)
		go p.lead(0)
	}
}

// handlers has the connections in the pollers by file descriptor.
var handlers [1 << 12]atomic.Pointer[[1 << 10]atomic.Pointer[handler]]

// handlerSlot returns the slot of a descriptor, nil if it is too large a number.
func handlerSlot(fd int) *atomic.Pointer[handler] {
	i, j := fd>>10, fd&(1<<10-1)
	if i >= len(handlers) {
		return nil
	}
	page := handlers[i].Load()
	if page == nil {
		handlers[i].CompareAndSwap(nil, new([1 << 10]atomic.Pointer[handler]))
		page = handlers[i].Load()
	}
	return &page[j]
}

// register has a poller serve the connection, and reports whether one does.
func (h *handler) register() bool {
	s := h.conn.socket
	if s == nil {
		s = newTLSSocket(h.conn.nc)
	}
	if s == nil {
		return false
	}
	pollersOnce.Do(startPollers)
	if len(pollers) == 0 {
		return false
	}
	added := false
	err := s.control(func(fd uintptr) {
		slot := handlerSlot(int(fd))
		if slot == nil {
			return
		}
		slot.Store(h) // before there are events
		if added = pollers[int(fd)%len(pollers)].set.Add(int(fd)) == nil; !added {
			slot.CompareAndSwap(h, nil)
			return
		}
		d := &h.conn.read.deadline
		d.mu.Lock()
		h.fd = int32(fd)
		d.mu.Unlock()
	})
	return err == nil && added
}

// unregister forgets a connection that has ended. Its descriptor may be another's by now.
func (h *handler) unregister() {
	d := &h.conn.read.deadline
	d.mu.Lock()
	fd := h.fd
	h.fd = noDescriptor
	if h.alarm != nil {
		h.alarm.Stop()
	}
	d.mu.Unlock()
	if fd != noDescriptor {
		handlerSlot(int(fd)).CompareAndSwap(h, nil)
	}
}

// lead waits for events and serves connections as the leader of a term.
func (p *poller) lead(term uint64) {
	p.mu.Lock()
	for round := 0; ; {
		if round == 0 {
			// The connections that came into the queue meanwhile are those that had more.
			p.claimLocked()
			round = len(p.queue) - p.next
			continue
		}
		round--
		h := p.queue[p.next]
		p.queue[p.next] = nil
		p.next++
		if p.spread > 0 {
			p.spread--
			go p.serveApart(h)
			continue
		}
		p.calls++
		p.serving = true
		if !p.armed {
			p.armLocked()
		}
		p.mu.Unlock()
		again := h.serve()
		p.mu.Lock()
		if p.term != term {
			p.mu.Unlock()
			if again {
				h.serveAll() // the new leader may be waiting, and does not look at the queue
			}
			return
		}
		p.serving = false
		if again {
			p.queue = append(p.queue, h)
		}
	}
}

// claimLocked adds the connections that have events to the queue. It waits if the queue is empty.
func (p *poller) claimLocked() {
	n := copy(p.queue, p.queue[p.next:])
	clear(p.queue[n:]) // so that it keeps no connection that has ended
	p.queue = p.queue[:n]
	p.next = 0
	p.mu.Unlock()
	if n == 0 {
		n, _ = p.set.Wait()
	} else {
		n = p.set.Check()
	}
	p.mu.Lock()
	for i := range n {
		e := p.set.Event(i)
		bits := uint32(0)
		if e.End {
			bits = handlerEnd
		}
		if h := handlerSlot(e.FD).Load(); h != nil && h.note(bits) {
			p.queue = append(p.queue, h)
		}
	}
}

// serveApart serves a connection in a goroutine of its own.
func (p *poller) serveApart(h *handler) {
	start := time.Now()
	h.serveAll()
	if time.Since(start) >= stuckAfter {
		p.mu.Lock()
		p.spread = spreadCalls
		p.mu.Unlock()
	}
}

func (p *poller) armLocked() {
	p.armed = true
	p.seen = p.calls
	if p.timer == nil {
		p.timer = time.AfterFunc(stuckAfter, p.checkLeader)
	} else {
		p.timer.Reset(stuckAfter)
	}
}

// checkLeader runs on the timer while there is something to do. It replaces a leader that has been
// serving the same connection since it last ran.
func (p *poller) checkLeader() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !p.serving:
		p.armed = false
	case p.calls == p.seen:
		p.armed = false
		p.serving = false
		p.spread = spreadCalls
		p.term++
		go p.lead(p.term)
	default:
		p.armLocked()
	}
}
