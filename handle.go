package websocket

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/poll"
)

// Handle: connections whose messages go to a function. While such a connection is silent it has no
// goroutine, no stack and no buffer: its socket is in a set of a poller, which serves it when bytes
// have come. Whatever cannot be in such a set gets a goroutine instead.
//
// A connection is served by one goroutine at a time, which owns handlerBusy. A goroutine that notes
// something for it, an event or a Close, sets handlerBusy and handlerMore; the one that found
// handlerBusy clear must see to it that serve is called. So nothing is missed, and what is noted
// without reason costs a read that finds nothing.
//
// The reads of serve do not wait: fill returns errNotYet. Between messages that loses nothing, as
// after a deadline; inside a message, what has come of it is in handler.lent, and the next serve
// goes on there. A compressed message is collected before it is inflated, so that one that comes
// slowly holds neither a goroutine nor an inflater.

const (
	handlerBusy = 1 << iota // a goroutine serves the connection, or is about to
	handlerMore             // something was noted since it last looked
	handlerEnd              // the peer will send no more: reads go on to the end
)

// How reads go about an empty socket.
const (
	readWaits   = iota
	readResumes      // they wait, and a deadline inside a message is not permanent
	readNow          // they return errNotYet
	readToEnd        // likewise, and a short read does not mean that nothing more is there
	serveLimit  = 64 // messages of a connection that are handled before others have their turn
)

// errNotYet is the result of a read that does not wait. Nothing is lost.
var errNotYet = errors.New("websocket: not yet")

// A handler is what a connection with Handle needs besides.
type handler struct {
	conn  *Conn
	call  func(c *Conn, m Message, err error)
	lent  lent          // the last message, or what has come of one that is not whole; guarded by read.mu
	alarm *time.Timer   // for the read deadline; guarded by read.deadline.mu
	state atomic.Uint32 // handlerBusy and so on
	fd    int32         // in the pollers; noDescriptor: in none; guarded by read.deadline.mu
}

const noDescriptor = -1

// Handle calls h for every message of the connection and returns at once. It is what a loop over
// Messages in a goroutine is, without the goroutine: while no message comes, the connection has no
// stack and no buffer either.
//
// The calls come one at a time and in the order of the messages. m.Data is valid until h returns. h
// may wait for whatever it likes, which delays the next message of its own connection, and those of
// others by about a millisecond. It may call every method of c, but Ping, whose pong comes behind
// the message: a read in h returns the message after m. Panics in h are not recovered.
//
// A call with an error is the last one, and the connection is closed when it returns. It comes
// exactly once, with the error that ReadMessage would return: a *CloseError when the peer closes,
// one for which errors.Is(err, net.ErrClosed) holds after Close and Shutdown, a timeout when the
// read deadline passes.
//
// Handle may be called once, and then only h may read. On Linux, macOS and the BSDs it serves TCP
// and Unix sockets, with or without TLS by crypto/tls; for other connections and elsewhere a
// goroutine does the same.
func (c *Conn) Handle(h func(c *Conn, m Message, err error)) {
	k := &handler{conn: c, call: h, fd: noDescriptor}
	k.state.Store(handlerBusy) // what happens from now on is noted for the goroutine that begins below
	if h == nil || !c.handler.CompareAndSwap(nil, k) {
		panic("websocket: Handle called twice or with nil")
	}
	if !k.register() {
		go k.loop()
		return
	}
	k.setAlarm()
	// What came with the handshake, or ended the connection since, causes no event.
	go k.serveAll()
}

// loop is Handle without a poller. Nobody else has handlerBusy while it runs.
func (h *handler) loop() {
	returned := false
	defer func() { h.exit(returned) }()
	for {
		messageType, data, err := h.conn.read.readLent(noContext, &h.lent)
		if err != nil {
			// When Shutdown ends, it has serve called.
			if !h.conn.shuttingDown() || !h.state.CompareAndSwap(handlerBusy, 0) {
				h.end(err)
			}
			returned = true
			return
		}
		h.call(h.conn, Message{messageType, data}, nil)
	}
}

// shuttingDown reports whether Shutdown reads. It closes the connection when it is done.
func (c *Conn) shuttingDown() bool {
	return c.read.ending.Load() && c.state.Load() == stateOpen
}

// note notes that there is something to do, and reports whether the caller must see to it that
// serve is called.
func (h *handler) note(bits uint32) bool {
	return h.state.Or(handlerBusy|handlerMore|bits)&handlerBusy == 0
}

// wake has the connection served for a reason other than an event. It may be called on nil.
func (h *handler) wake() {
	if h != nil && h.note(0) {
		go h.serveAll()
	}
}

func (h *handler) serveAll() {
	for h.serve() {
	}
}

// setAlarm has a connection that nobody reads notice that its read deadline has passed. It may be
// called on nil.
func (h *handler) setAlarm() {
	if h == nil {
		return
	}
	d := &h.conn.read.deadline
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.Deadline()
	switch {
	case h.fd == noDescriptor:
	case t.IsZero():
		if h.alarm != nil {
			h.alarm.Stop()
		}
	case h.alarm == nil:
		h.alarm = time.AfterFunc(time.Until(t), h.wake)
	default:
		h.alarm.Reset(time.Until(t))
	}
}

// serve handles what has come, up to serveLimit messages, and reports whether there may be more.
// The caller has handlerBusy, and has it no longer when serve returns false.
func (h *handler) serve() (again bool) {
	returned := false
	defer func() { h.exit(returned) }()
	for {
		s := h.state.And(^uint32(handlerMore)) &^ handlerMore
		err := h.handleMessages(s&handlerEnd != 0)
		switch {
		case err == nil:
			returned = true
			return true
		case err == errNotYet, h.conn.shuttingDown():
		default:
			if err == errShutdown { // a group's, or one that has ended since
				err = h.conn.closeCause("read")
			}
			h.end(err)
			returned = true
			return false // still busy, so it is never served again
		}
		// All there was is read and there was no end: the event was about an earlier socket.
		if h.state.CompareAndSwap(s, s&^(handlerBusy|handlerEnd)) {
			returned = true
			return false
		}
	}
}

// exit closes the connection if the handler, or one for control frames, has panicked or ended its
// goroutine. It is called no more.
func (h *handler) exit(returned bool) {
	if !returned {
		h.conn.abort(errHandlerExit)
		h.unregister()
	}
}

// handleMessages handles whole messages until there is none, or an error, or serveLimit of them.
func (h *handler) handleMessages(end bool) error {
	r := &h.conn.read
	mode := int8(readNow)
	if end {
		mode = readToEnd
	}
	for i := range serveLimit {
		if err := r.lock(noContext); err != nil {
			return err
		}
		if i == 0 && h.conn.socket != nil {
			r.drained = false
		}
		if r.msg.open && r.msg.reader != nil {
			// The handler has left the rest of a message.
			if err := r.discard(); err != nil {
				r.unlock()
				return err
			}
		}
		r.mode = mode
		messageType, data, err := r.readAvailable(&h.lent)
		r.mode = readWaits
		if err == errNotYet && r.deadline.passed() && !r.ending.Load() {
			err = r.readFailed(h.conn.netTimeout("read")) // the net.Conn may learn of it later
		}
		r.unlock()
		if err != nil {
			return err
		}
		h.call(h.conn, Message{messageType, data}, nil)
	}
	return nil
}

// end calls the handler for the last time.
func (h *handler) end(err error) {
	c := h.conn
	h.call(c, Message{}, err)
	c.Close()
	h.unregister()
	if c.read.mu.TryLock() {
		c.read.unlend(&h.lent)
		c.read.unlock()
	}
}

// readAvailable reads the next message into *l, without waiting. With errNotYet *l has what has
// come of it, for the next call to go on with.
func (r *readHalf) readAvailable(l *lent) (messageType int, data []byte, err error) {
	m := &r.msg
	if !m.open {
		r.unlend(l)
		if _, err = r.next(); err != nil {
			r.shrinkBuffer()
			return noFrame, nil, err
		}
		switch {
		case r.payloadBuffered():
			data, err = r.pinPayload(l)
			return int(m.kind), data, err
		case m.compressed && !r.rules.fragmented && r.frame.remaining <= uint64(len(r.buf.buffered())):
			r.inflater.Begin((*payloadReader)(r))
			data, err = r.readUnknown(&l.own)
			return int(m.kind), data, err
		}
		m.collecting = true
	}
	n, err := r.collect(l)
	switch {
	case err == errNotYet:
		r.trim(l, n)
		r.shrinkBuffer()
		return noFrame, nil, err
	case err != io.EOF:
		return noFrame, nil, err
	case m.compressed:
		m.collecting = false
		payload := l.own
		l.own = nil
		r.inflater.Begin(bytes.NewReader(payload.b[:n]))
		data, err = r.readUnknown(&l.own)
		payload.release()
		return int(m.kind), data, err
	}
	return int(m.kind), l.own.b[:n], nil
}

// collect adds the payload that has come to *l. It returns how much *l has, and io.EOF when that is
// the whole message.
func (r *readHalf) collect(l *lent) (n int, err error) {
	m := &r.msg
	for {
		n = int(m.received - int64(r.frame.remaining))
		if l.own == nil || n == len(l.own.b) {
			r.growCollected(l, n)
		}
		if left := r.frame.remaining; r.buf.empty() && left > uint64(r.buf.size) {
			r.buf.nextRead = int32(min(left, maxNextRead))
		}
		var k int
		if m.compressed {
			k, err = r.readPayload(l.own.b[n:])
		} else {
			k, err = r.readData(l.own.b[n:])
		}
		if err != nil {
			return n + k, err
		}
	}
}

// growCollected makes room for more than the n bytes that *l has.
func (r *readHalf) growCollected(l *lent, n int) {
	size := max(2*n, defaultBufferSize)
	if r.sizeKnown() {
		size = int(min(uint64(n)+r.frame.remaining, uint64(max(4*n, maxPrealloc))))
	} else if limit := r.limit.Load(); limit > int64(n) {
		size = int(min(int64(size), limit+1))
	}
	larger := getBuffer(size)
	if l.own != nil {
		copy(larger.b, l.own.b[:n])
		l.own.release()
	}
	l.own = larger
}

// trim leaves a message of which n bytes have come no more memory than these take: a peer may
// announce much and send little.
func (r *readHalf) trim(l *lent, n int) {
	switch {
	case l.own == nil:
	case n == 0:
		l.own.release()
		l.own = nil
	case len(l.own.b) > 4*n && len(l.own.b) > 1<<minBufferBits:
		smaller := getBuffer(2 * n) // so that what is copied here has come since the last time
		copy(smaller.b, l.own.b[:n])
		l.own.release()
		l.own = smaller
	}
}

// shrinkBuffer is readBuffer.shrink for a connection that may stay as it is for long: a part of a
// header or of a control frame gets the smallest buffer.
func (r *readHalf) shrinkBuffer() {
	b := &r.buf
	if n := int(b.w - b.r); b.buf != nil && n <= 1<<(minBufferBits-1) && len(b.buf.b) > 1<<minBufferBits {
		b.compact(getBuffer(1 << minBufferBits))
	}
	b.releaseEmpty()
}

// The pollers, which serve the connections of Handle: one for each processor, with a part of the
// sockets each. A poller's leader is the goroutine that waits for events and, when they come,
// serves the connections one after the other. It calls the application's function itself: that
// takes no other goroutine and no hand-over, as long as the function returns soon.
//
// A function that does not is noticed by a timer: another goroutine becomes the leader, and the old
// one leaves when its call returns. While that keeps happening, a poller serves every connection in
// a goroutine of its own.

const (
	// maxEvents is how many events a poller takes at a time: so many that it seldom leaves any, and
	// goes on to wait.
	maxEvents = 1024

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
	pollersMu sync.Mutex
	pollers   []*poller // guarded by pollersMu while there are none, then constant
)

// startPollers starts the pollers, unless they run, and returns them. There are none where there is
// no poll.Set, and as long as the program has no descriptors left.
func startPollers() []*poller {
	pollersMu.Lock()
	defer pollersMu.Unlock()
	if len(pollers) > 0 {
		return pollers
	}
	var started []*poller
	for range runtime.GOMAXPROCS(0) {
		set, err := poll.Open(maxEvents)
		if err != nil {
			break
		}
		p := &poller{set: set}
		started = append(started, p)
		go p.lead(0)
	}
	pollers = started
	return pollers
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
		s = newTLSSocket(h.conn.conn)
	}
	if s == nil {
		return false
	}
	pollers := startPollers()
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
	if p.serveEvents(term, 0) { // what the last leader has left
		p.set.Serve(func(n int) bool { return p.serveEvents(term, n) })
	}
}

// serveEvents serves the connections that have events, and then those that had more than a turn's
// messages, until the queue is empty. It reports whether its caller is still the leader.
func (p *poller) serveEvents(term uint64, n int) bool {
	p.mu.Lock()
	p.claimLocked(n)
	for round := len(p.queue) - p.next; p.next < len(p.queue); round-- {
		if round == 0 {
			p.mu.Unlock()
			runtime.Gosched()
			n := p.set.Check()
			p.mu.Lock()
			p.claimLocked(n)
			round = len(p.queue)
		}
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
			return false
		}
		p.serving = false
		if again {
			p.queue = append(p.queue, h)
		}
	}
	p.mu.Unlock()
	return true
}

// claimLocked adds the connections of n events to the queue.
func (p *poller) claimLocked(n int) {
	left := copy(p.queue, p.queue[p.next:])
	clear(p.queue[left:]) // so that it keeps no connection that has ended
	p.queue = p.queue[:left]
	p.next = 0
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
