package websocket

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Groups: one message to many connections.
//
// A server's frames are not masked, so all members are sent the same bytes. Broadcast appends one
// frame to the group's log, however many members there are, and a member is a cursor into the log:
// delivering is one write of all that is ahead of the cursor. Nothing is queued or copied per
// member. grouplog.go has the log and the delivery to one member.
//
// The log is written out by flush, which runs while a message is new and visits every member. It
// never waits for one: it writes to a socket as much as that takes, and leaves the rest to the
// timer's goroutine of the connection. A member that is being written to by another goroutine is
// left to that one.
//
// Locks are taken in the order Group.order, write.mu, Group.mu, groupMember.mu. The last two are
// never held during a system call.

const (
	defaultMaxLag = 1 << 20
	visitBlock    = 64 // members that are visited for one locking of Group.mu

	// maxStall is how long a member may take for 64 KiB before it is too slow, however little it
	// lags, where slow members are closed. KeepAlive finds out sooner.
	maxStall = 30 * time.Second

	// workerTime is what the goroutines that write to members have at a time before a broadcast
	// that waits for room goes on without them.
	workerTime = 5 * time.Millisecond
	maxWorkers = 1024 // no more are started before others are done, or have had workerTime
)

// A SlowPolicy says what a Group does with a member that lags.
type SlowPolicy int

const (
	// CloseSlow closes the connection with CloseTryAgainLater. Its reads and writes return
	// ErrSlowMember.
	CloseSlow SlowPolicy = iota
	// SkipSlow has the member miss messages: it goes on with the newest one, or with the latest of
	// every key that was changed meanwhile. A message that is on its way still arrives whole.
	SkipSlow
)

// ErrSlowMember is returned by reads and writes of a connection that a Group closed because it
// lagged.
var ErrSlowMember = errors.New("websocket: closed by its group: too slow")

// ErrGroupClosed is returned by the methods of a Group that was shut down.
var ErrGroupClosed = errors.New("websocket: group is shut down")

// A Group is a set of connections that are sent the same messages. The zero value is ready to use;
// it must not be copied after first use. All methods may be called from any goroutine.
//
// A message is framed, compressed and kept once, however many members there are, and a member that
// is up to date takes no more memory than its membership. Broadcasting never waits for a member:
// one that does not take its messages fast enough lags behind the others, up to MaxLag.
//
// Every member gets the messages in the same order, the order of the broadcasts. A connection's own
// messages go out whole, between those of its groups. What a goroutine writes to a member comes
// after what the same goroutine broadcast before.
//
// A connection may be in several groups. It leaves them when this end closes it, by Close or
// Shutdown; an error alone does not remove it, so that Len and All change when the program, which
// closes every connection that it has no more use for, knows of it. As with all connections some
// goroutine must read for control frames to be seen. Trace.Message is not called for broadcasts.
//
// With context takeover (CompressionOptions) all members share one compressor, whose level is at
// least 6. Messages of their own are sent uncompressed to such members.
type Group struct {
	// MaxLag is how many bytes of frames a member may lag behind. Zero means 1 MiB. It bounds the
	// memory of the group. It must not be changed once the group has members.
	MaxLag int

	// Slow is what happens to a member that lags further. It must not be changed once the group has
	// members.
	Slow SlowPolicy

	// Spread is the time over which Shutdown distributes the ends of the connections, so that not
	// all clients come back at once.
	Spread time.Duration

	order sync.Mutex // one broadcast at a time

	mu       sync.Mutex
	slots    []*groupMember // nil: free
	free     []int32
	streams  []*groupStream // those with members
	closed   bool           // nobody joins any more
	over     bool           // nothing is broadcast any more
	flushing bool
	again    bool          // a message came since the pass began
	room     int           // bytes that may be broadcast before the pass ends
	turn     chan struct{} // closed when the pass ends, if a goroutine waits for that
	shutDown chan struct{} // made when closed is set; closed when Shutdown has ended all connections
	empty    chan struct{} // made when closed is set; closed when the last member leaves after that
	goodbye  []byte        // payload of the close frames of Shutdown; set with closed
	next     int           // slot that the pass comes to next

	latest         map[string]*latestMessage
	oldest, newest *latestMessage // in the order of their last change

	members           int
	messages, bytes   int64
	skipped, expelled int64

	seq     atomic.Int64  // messages so far
	working atomic.Int32  // members in state workerBusy
	idle    chan struct{} // of capacity 1: working has become less; made by awaitWorkers
}

// GroupStats is a snapshot of a Group.
type GroupStats struct {
	Members  int   // now
	Blocked  int   // members now whose connection takes nothing at the moment
	Lag      int64 // bytes by which the slowest member now lags
	Messages int64 // broadcast so far
	Bytes    int64 // of the uncompressed frames of these
	Skipped  int64 // times that a member missed messages
	Expelled int64 // members that were closed because they lagged
}

// A latestMessage is the latest message of its key.
type latestMessage struct {
	prev, next *latestMessage
	seq        int64
	first      byte
	data       []byte
}

// A groupMember is one connection in one group. Its size is a size class of the allocator.
type groupMember struct {
	c *Conn
	g *Group
	s *groupStream

	seen atomic.Int64 // all messages up to this one were taken care of

	mu     sync.Mutex
	cur    frameCursor   // guarded by mu
	seq    int64         // while compact, guarded by mu
	slot   int32         // constant
	stuck  atomic.Bool   // pending has a part of a frame: see blockLocked
	worker atomic.Uint32 // workerNone, workerBusy or workerSlow

	// Guarded by mu.
	compact bool // of the messages after seq only the latest of each key are to come, behind cur
	writing bool // what is ahead of cur is being written without waiting
	ended   bool // nothing more is to be sent

	left bool // it is no member any more; guarded by Group.mu
}

// The states of the goroutine that delivers to a member.
const (
	workerNone = iota
	workerBusy
	workerSlow // it has been at it for more than workerTime
)

func (m *groupMember) behind() bool { return m.seen.Load() < m.g.seq.Load() }

// keeps returns the position from which on m keeps the log, if it does.
func (m *groupMember) keeps() (pos int64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if rest := m.cur.rest(); rest != nil {
		return rest.log.pos(), true
	}
	if m.cur.at == nil || m.compact {
		return 0, false
	}
	return m.cur.pos(), true
}

// lag returns how many bytes of the log m has to keep.
func (m *groupMember) lag() int64 {
	pos, ok := m.keeps()
	if !ok {
		return 0
	}
	return m.s.end.Load() - pos
}

// end ends the delivery to m, and reports whether it had not ended before.
func (m *groupMember) end() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return false
	}
	m.ended, m.cur, m.compact = true, frameCursor{}, false
	m.seen.Store(math.MaxInt64)
	return true
}

func (g *Group) maxLag() int {
	if g.MaxLag > 0 {
		return g.MaxLag
	}
	return defaultMaxLag
}

// Add makes c a member. It is sent first, then the latest message of every key (BroadcastLatest),
// and then all that is broadcast from now on. Add does not wait for the network, so that it may be
// called with a lock that also orders broadcasts. If c is a member already, first is sent before
// what is yet to be delivered. If c is closed Add returns its error.
func (g *Group) Add(c *Conn, first ...*PreparedMessage) error {
	var preface []byte
	for _, pm := range first {
		if !isData(pm.messageType) {
			return errBadWriteType
		}
		preface = append(preface, pm.frame...)
	}
	state := c.write.groupState()
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return ErrGroupClosed
	}
	m := state.member(g)
	if m != nil {
		g.mu.Unlock()
		m.preface(preface)
	} else {
		m = g.addLocked(c, state, preface)
		g.mu.Unlock()
	}
	if c.state.Load() != stateOpen {
		g.leave(m)
		return c.closeCause("write")
	}
	if m.behind() {
		writer := getSocketWriter()
		m.deliver(writer)
		writer.release()
	}
	return nil
}

func (g *Group) addLocked(c *Conn, state *groupState, preface []byte) *groupMember {
	m := &groupMember{c: c, g: g}
	seq := g.seq.Load()
	m.s = g.streamLocked(m, state)
	m.s.members++
	m.s.workers = m.s.workers || !m.hasSocket()
	m.cur = m.s.joinLocked(seq)
	m.seen.Store(seq)
	if g.newest != nil {
		m.cur = g.snapshotLocked(m.s, m.cur)
		m.seen.Store(-1)
	}
	if len(preface) > 0 {
		m.cur = m.cur.before(preface)
		m.seen.Store(-1)
	}
	if n := len(g.free); n > 0 {
		m.slot, g.free = g.free[n-1], g.free[:n-1]
		g.slots[m.slot] = m
	} else {
		m.slot = int32(len(g.slots))
		g.slots = append(g.slots, m)
	}
	g.members++
	state.add(m)
	return m
}

// preface has p sent to a member before all that it is still to get.
func (m *groupMember) preface(p []byte) {
	if len(p) == 0 {
		return
	}
	m.mu.Lock()
	for m.writing { // which takes a system call that does not wait
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	if !m.ended {
		m.cur = m.cur.before(p)
		m.seen.Store(-1)
	}
	m.mu.Unlock()
}

// snapshotLocked returns a cursor to the latest messages, behind which k is. One snapshot serves
// all that join before the next change. A member that waits for the network gives it up: see
// groupMember.leaveSnapshot.
func (g *Group) snapshotLocked(s *groupStream, k frameCursor) frameCursor {
	if s.snapshot == nil {
		size := 0
		for r := g.oldest; r != nil; r = r.next {
			size += frameSize(len(r.data))
		}
		b, seqs := make([]byte, 0, size), make([]int64, 0, len(g.latest))
		for r := g.oldest; r != nil; r = r.next {
			b = appendFrame(b, r.first, r.data)
			seqs = append(seqs, r.seq)
		}
		s.snapshot = k.before(b).at
		s.snapshot.seq, s.snapshot.seqs, s.snapshot.shared = g.seq.Load()+1, seqs, true
		s.snapshot.rest = &joinRest{s.snapshot.seq, k}
	}
	return frameCursor{s.snapshot, 0}
}

// Remove ends the membership of c. What was broadcast before and is not sent yet may be lost. It
// does nothing if c is not a member.
func (g *Group) Remove(c *Conn) {
	if state := c.write.groups.Load(); state != nil {
		if m := state.member(g); m != nil {
			g.leave(m)
		}
	}
}

func (g *Group) leave(m *groupMember) {
	m.end()
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.left {
		return
	}
	m.left = true
	m.c.write.groups.Load().remove(m)
	g.slots[m.slot] = nil
	g.free = append(g.free, m.slot)
	if g.members--; g.members == 0 && g.closed {
		close(g.empty)
	}
	if m.s.members--; m.s.members == 0 {
		g.streams = slices.DeleteFunc(g.streams, func(s *groupStream) bool { return s == m.s })
	}
}

// Len returns the number of members.
func (g *Group) Len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members
}

// All returns the members at the time of the call of the sequence, in no particular order.
func (g *Group) All() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, m := range g.all() {
			if !yield(m.c) {
				return
			}
		}
	}
}

// all returns the members.
func (g *Group) all() []*groupMember {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allLocked()
}

func (g *Group) allLocked() []*groupMember {
	all := make([]*groupMember, 0, g.members)
	for _, m := range g.slots {
		if m != nil {
			all = append(all, m)
		}
	}
	return all
}

// Stats returns what the group is doing and has done. It looks at every member.
func (g *Group) Stats() GroupStats {
	g.mu.Lock()
	all := g.allLocked()
	s := GroupStats{Members: len(all), Messages: g.messages, Bytes: g.bytes,
		Skipped: g.skipped, Expelled: g.expelled}
	g.mu.Unlock()
	for _, m := range all {
		if m.stuck.Load() || m.worker.Load() != workerNone {
			s.Blocked++
		}
		s.Lag = max(s.Lag, m.lag())
	}
	return s
}

// Broadcast sends a message to all members. It copies data, and waits for none of them. While more
// than half of MaxLag has yet to be offered to the members for the first time it waits for that,
// which takes the processor's time, and no more than 5 ms for members that are not sockets.
//
// The error is ErrGroupClosed once Shutdown has begun to end all connections. What becomes of a
// single member is not reported.
func (g *Group) Broadcast(messageType int, data []byte) error {
	return g.broadcast(messageType, data, nil, nil)
}

// BroadcastPrepared is Broadcast of a prepared message.
func (g *Group) BroadcastPrepared(pm *PreparedMessage) error {
	return g.broadcast(pm.messageType, pm.data, pm, nil)
}

// BroadcastLatest is Broadcast of a message that replaces the former one with the same key: members
// that join later, or that lag behind in a Group with SkipSlow, get only the latest of every key,
// in the order of the last changes.
func (g *Group) BroadcastLatest(key string, messageType int, data []byte) error {
	return g.broadcast(messageType, data, nil, &key)
}

// Forget removes the latest message of a key: connections that join later do not get it.
func (g *Group) Forget(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.latest[key]; r != nil {
		g.unlinkLocked(r)
		delete(g.latest, key)
		for _, s := range g.streams {
			s.snapshot = nil
		}
	}
}

func (g *Group) broadcast(messageType int, data []byte, pm *PreparedMessage, key *string) error {
	if !isData(messageType) {
		return errBadWriteType
	}
	size := frameSize(len(data))
	g.order.Lock()
	defer g.order.Unlock()
	g.mu.Lock()
	for g.flushing && g.room <= 0 && !g.over {
		g.waitLocked()
	}
	if g.over {
		g.mu.Unlock()
		return ErrGroupClosed
	}
	first := finBit | byte(messageType)
	message := groupMessage{seq: g.seq.Load() + 1, first: first, data: data, pm: pm}
	for {
		s, isKey := g.uncompressedLocked(&message)
		if s == nil {
			break
		}
		g.mu.Unlock() // compressing takes long
		s.compress(&message, isKey)
		g.mu.Lock()
	}
	if key != nil {
		g.keepLocked(*key, &message)
	}
	for _, s := range g.streams {
		s.appendLocked(&message, g.maxLag(), g.Slow)
	}
	g.seq.Store(message.seq)
	g.messages++
	g.bytes += int64(size)
	g.again = true
	start := !g.flushing && g.members > 0
	if start {
		g.flushing = true
		g.room = g.maxLag() / 2
	}
	g.room -= size
	g.mu.Unlock()
	if start {
		go g.flush()
	}
	return nil
}

// uncompressedLocked returns a stream whose form of the message has yet to be made.
func (g *Group) uncompressedLocked(message *groupMessage) (s *groupStream, isKey bool) {
	for _, s := range g.streams {
		if !s.readyFor(message) {
			return s, s.nextIsKey
		}
	}
	return nil, false
}

// keepLocked makes the message the latest of its key.
func (g *Group) keepLocked(key string, message *groupMessage) {
	if g.latest == nil {
		g.latest = make(map[string]*latestMessage)
	}
	r := g.latest[key]
	if r == nil {
		r = new(latestMessage)
		g.latest[key] = r
	} else {
		g.unlinkLocked(r)
	}
	if cap(r.data) > 2*len(message.data) {
		r.data = nil // a long value does not keep its memory for a short one
	}
	r.seq, r.first, r.data = message.seq, message.first, append(r.data[:0], message.data...)
	if r.prev = g.newest; r.prev != nil {
		r.prev.next = r
	} else {
		g.oldest = r
	}
	g.newest = r
}

func (g *Group) unlinkLocked(r *latestMessage) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		g.oldest = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		g.newest = r.prev
	}
	r.prev, r.next = nil, nil
}

// waitLocked waits for the end of a pass.
func (g *Group) waitLocked() {
	if g.turn == nil {
		g.turn = make(chan struct{})
	}
	turn := g.turn
	g.mu.Unlock()
	<-turn
	g.mu.Lock()
}

// flush visits all members until there is nothing new.
func (g *Group) flush() {
	var done sync.WaitGroup
	for {
		g.mu.Lock()
		if g.turn != nil {
			close(g.turn)
			g.turn = nil
		}
		if !g.again {
			g.flushing = false
			g.mu.Unlock()
			return
		}
		g.again = false
		g.room = g.maxLag() / 2
		g.next = 0
		for _, s := range g.streams {
			s.offered.Store(s.offering)
			s.offering = s.end.Load()
		}
		n := len(g.slots)
		g.mu.Unlock()
		for range min(runtime.GOMAXPROCS(0)-1, n/(2*visitBlock)) {
			done.Go(g.visit)
		}
		g.visit()
		done.Wait()
		g.mu.Lock()
		waits := g.turn != nil
		g.mu.Unlock()
		if waits {
			// What the processor has not come to yet is no sign of a slow member.
			g.awaitWorkers(0)
		}
	}
}

// awaitWorkers gives the goroutines that write to members workerTime to become no more than most,
// which is 0 or maxWorkers/2.
func (g *Group) awaitWorkers(most int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.idle == nil {
		g.idle = make(chan struct{}, 1)
	}
	idle := g.idle
	g.mu.Unlock()
	t := time.NewTimer(workerTime)
	defer t.Stop()
	for timeout := false; g.working.Load() > most && !timeout; {
		select {
		case <-idle:
		case <-t.C:
			timeout = true
		}
	}
	g.mu.Lock()
	if g.working.Load() <= most {
		g.signalIdleLocked() // another call may wait
		return
	}
	for _, m := range g.slots {
		if m != nil && m.worker.CompareAndSwap(workerBusy, workerSlow) {
			g.working.Add(-1)
		}
	}
}

// workerEnded notes that the goroutine that delivers to m is done.
func (m *groupMember) workerEnded() {
	g := m.g
	if m.worker.Swap(workerNone) != workerBusy {
		return
	}
	if n := g.working.Add(-1); n == 0 || n == maxWorkers/2 {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.signalIdleLocked()
	}
}

func (g *Group) signalIdleLocked() {
	if g.idle != nil {
		select {
		case g.idle <- struct{}{}:
		default:
		}
	}
}

// visit visits members, a block at a time, until there are no more.
func (g *Group) visit() {
	writer := getSocketWriter()
	defer writer.release()
	var block [visitBlock]*groupMember
	for {
		g.mu.Lock()
		n := copy(block[:], g.slots[min(g.next, len(g.slots)):])
		g.next += n
		g.mu.Unlock()
		if n == 0 {
			return
		}
		if g.working.Load() > maxWorkers {
			g.awaitWorkers(maxWorkers / 2)
		}
		// From a goroutine that runs for 10 ms without a break the Go runtime takes the processor,
		// in the middle of a system call, and watches it every 20 us from then on. 64 KiB to 200
		// members cost 1.27 times the CPU, and p99 was 1.1 times as long.
		runtime.Gosched()
		for _, m := range block[:n] {
			if m == nil || !m.behind() {
				continue
			}
			if !m.stuck.Load() {
				m.deliver(writer)
			}
			if m.behind() {
				m.checkLag(false)
			}
		}
	}
}

// checkLag acts on a member that lags too far. What it was not offered in an earlier pass yet says
// nothing about it: a message may be longer than MaxLag, and the goroutine that is to send it may
// have to be scheduled first. now is set for one that is about to go on: it may miss that, too.
func (m *groupMember) checkLag(now bool) {
	pos, ok := m.keeps()
	if !ok || m.s.end.Load()-pos <= int64(m.g.maxLag()) {
		return
	}
	if !(now && m.g.Slow == SkipSlow) && pos >= m.s.offered.Load() {
		return
	}
	if m.g.Slow == CloseSlow {
		m.g.expel(m)
	} else {
		m.g.skip(m)
	}
}

// skip moves the cursor of a member that lags to the newest message.
func (g *Group) skip(m *groupMember) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended || m.writing { // in the latter case the next pass sees how far that got
		return
	}
	if m.compact && m.cur.rest() == nil {
		return // it is on its way to the newest message
	}
	seq := m.cur.seq() - 1
	if m.compact {
		m.compact, seq = false, min(seq, m.seq)
	}
	if g.newest != nil {
		m.compactFrom(seq)
	} else if m.cur.pos() < (frameCursor{m.s.log.last, m.s.log.newest}).pos() {
		m.cur = m.cur.skipTo(m.s.newestLocked(g.seq.Load()))
	} else {
		return
	}
	g.skipped++
}

// compactFrom has m get, of the messages after seq, only the latest of each key. m.mu is held.
func (m *groupMember) compactFrom(seq int64) {
	m.seq, m.compact = seq, true
	m.cur = m.cur.skipTo(frameCursor{})
}

// leaveSnapshot has a member that has yet to get a snapshot, or the rest of it from the message
// after seq on, take that from the group's latest messages: it keeps no snapshot while it waits.
// m.mu is held.
func (m *groupMember) leaveSnapshot(seq int64, rest *joinRest) {
	m.seq, m.compact = seq, true
	list := &logChunk{base: rest.log.pos(), seq: rest.seq, side: true, seqs: []int64{}, rest: rest}
	m.cur = m.cur.skipTo(frameCursor{list, 0})
}

// compactLocked moves the cursor to some of the latest messages that m has yet to get. Behind the
// last ones it goes on with the log. m.mu is held, and released meanwhile.
func (m *groupMember) compactLocked() {
	const batch = 32 << 10
	g := m.g
	m.mu.Unlock()
	g.mu.Lock()
	m.mu.Lock()
	defer g.mu.Unlock()
	if m.ended || !m.compact || len(m.cur.ahead()) > 0 { // in the latter case by a second Add
		return
	}
	rest, upTo := m.cur.rest(), int64(math.MaxInt64)
	if rest != nil {
		upTo = rest.seq
	}
	var r *latestMessage
	for o := g.newest; o != nil && o.seq > m.seq; o = o.prev {
		if o.seq < upTo {
			r = o
		}
	}
	var b []byte
	var seqs []int64
	for ; r != nil && r.seq < upTo && len(b) < batch; r = r.next {
		b = appendFrame(b, r.first, r.data)
		seqs = append(seqs, r.seq)
		m.seq = r.seq
	}
	m.compact = r != nil && r.seq < upTo
	behind := frameCursor{}
	switch {
	case m.compact:
	case rest != nil:
		behind = rest.log
	default:
		behind = m.s.joinLocked(g.seq.Load())
	}
	m.cur = behind.before(b)
	m.cur.at.seqs, m.cur.at.rest = seqs, rest
	if m.compact {
		m.cur.at.seq = m.seq + 1
	}
}

// expel closes the connection of a member that lags.
func (g *Group) expel(m *groupMember) {
	if !m.end() {
		return
	}
	g.mu.Lock()
	g.expelled++
	g.mu.Unlock()
	m.c.closeSlow()
}

// closeSlow closes the connection with CloseTryAgainLater. It does not wait, and reads in progress
// fail at once; the peer has closeWait to take the close frame and to answer it.
func (c *Conn) closeSlow() {
	bye := c.beginGoodbye(nil, ErrSlowMember)
	if bye == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		bye.say(ctx, c, closePayload(CloseTryAgainLater, "too slow"), ErrSlowMember)
	}()
}

// A goodbye is a close handshake on behalf of a group. Unlike Conn.Shutdown it is not cut short when
// the goroutine that reads, whose read fails now, closes the connection.
type goodbye struct {
	group *Group        // that the connection leaves at its end; nil: none
	done  chan struct{} // closed at its end
}

// beginGoodbye begins a close handshake. It returns nil if the connection is ending already. Until
// its end the connection remains a member of g, unless that is nil. cause, unless nil, is what reads
// and writes return from now on.
func (c *Conn) beginGoodbye(g *Group, cause error) *goodbye {
	state := c.write.groupState()
	bye := &goodbye{g, make(chan struct{})}
	if !state.goodbye.CompareAndSwap(nil, bye) {
		return nil
	}
	if cause != nil {
		c.abortErr.CompareAndSwap(nil, &cause)
	}
	ending := c.read.ending.Swap(true) // before state, or a read would fail for good
	if !c.state.CompareAndSwap(stateOpen, stateAborted) {
		c.read.ending.Store(ending)
		state.goodbye.Store(nil)
		close(bye.done)
		return nil
	}
	if !ending {
		c.read.deadline.expire()
		c.handler.Load().wake()
	}
	return bye
}

// goodbye returns the close handshake that a group has begun, in progress or ended; nil: none.
func (c *Conn) goodbye() *goodbye {
	if groups := c.write.groups.Load(); groups != nil {
		return groups.goodbye.Load()
	}
	return nil
}

// saysGoodbye reports whether a group's close handshake is in progress.
func (c *Conn) saysGoodbye() bool {
	bye := c.goodbye()
	if bye == nil {
		return false
	}
	select {
	case <-bye.done:
		return false
	default:
		return true
	}
}

// awaitGoodbye waits for the end of another group's close handshake, if there is one. It reports
// false if ctx ends before.
func (c *Conn) awaitGoodbye(ctx context.Context) bool {
	bye := c.goodbye()
	if bye == nil {
		return true
	}
	select {
	case <-bye.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// goodbyeCause is what beginGoodbye was given by the group that closes the connection, if one does.
func (c *Conn) goodbyeCause() error {
	if c.goodbye() != nil {
		return c.abortCause()
	}
	return nil
}

// say goes on with the close handshake, until ctx ends.
func (bye *goodbye) say(ctx context.Context, c *Conn, payload []byte, cause error) {
	defer close(bye.done)
	ctx = cancelable(ctx)
	if ctx != nil {
		defer context.AfterFunc(ctx, func() { c.release(0) })()
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		err := c.write.closeWith(ctx, payload, cause)
		if err != nil && err != ErrCloseSent { // the program may have sent one itself
			c.release(0) // no answer will come
		}
	}()
	c.read.discardUntilClose(ctx)
	<-sent
	c.release(closeWait)
}

// Shutdown ends the connections of all members with the close handshake, all at the same time or
// distributed over Spread. Each gets before its close frame what was broadcast before. What the
// peers still send is discarded, and reads fail with an error for which errors.Is(err,
// net.ErrClosed) holds; closing the connection then does not cut the handshake short. When ctx
// ends, the connections that are left are closed without it, and Shutdown returns an error for
// which errors.Is finds context.Cause(ctx). Otherwise it returns nil.
//
// From its call on nobody can join. What is broadcast still goes to those whose turn is yet to
// come; when there are none, and without Spread at once, nothing can be broadcast any more.
// Shutdown may be called more than once and from any goroutine but those of control frame handlers:
// every call waits for the end of all connections, or of its own ctx.
func (g *Group) Shutdown(ctx context.Context, code int, text string) error {
	if code != CloseNoStatusReceived && !validCode(code) {
		return errors.New("websocket: close code " + strconv.Itoa(code) + " not allowed in a close frame")
	}
	if ctx == nil {
		ctx = context.Background()
	}
	g.mu.Lock()
	first := !g.closed
	if first {
		g.closed, g.shutDown, g.empty = true, make(chan struct{}), make(chan struct{})
		g.over = g.Spread <= 0
		g.goodbye = closePayload(code, text)
	}
	for g.flushing && g.over {
		g.waitLocked()
	}
	all := g.allLocked()
	g.mu.Unlock()
	if !first {
		return g.awaitShutdown(ctx)
	}

	rand.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	payload, begin := g.goodbye, time.Now()
	var cut atomic.Bool
	var ends sync.WaitGroup
	for i, m := range all {
		if g.Spread > 0 {
			g.awaitTurn(ctx, begin.Add(time.Duration(float64(g.Spread)*float64(i)/float64(len(all)))))
		}
		ends.Go(func() {
			c := m.c
			if bye := c.beginGoodbye(g, nil); bye != nil {
				bye.say(ctx, c, payload, ErrCloseSent)
				if ctx.Err() != nil && !c.peerClosed() {
					cut.Store(true)
				}
			} else if !c.awaitGoodbye(ctx) {
				c.closeNow()
				cut.Store(true)
			}
			g.leave(m)
		})
	}
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	ends.Wait()
	close(g.shutDown)
	if cut.Load() {
		return contextError(ctx)
	}
	return nil
}

// awaitShutdown waits for another call of Shutdown. If ctx ends before, it closes all connections.
func (g *Group) awaitShutdown(ctx context.Context) error {
	select {
	case <-g.shutDown:
		return nil
	case <-ctx.Done():
	}
	for _, m := range g.all() {
		m.c.closeNow()
		g.leave(m)
	}
	return contextError(ctx)
}

// awaitTurn waits for the time at which the next connection is to end, or until none is left.
func (g *Group) awaitTurn(ctx context.Context, at time.Time) {
	if d := time.Until(at); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-g.empty:
		case <-ctx.Done():
		}
	}
}

// refuses reports whether the group takes no more members. It may be called on nil.
func (g *Group) refuses() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// open adds the connection of an Upgrader. If the group was shut down since the request came the
// client gets the close frame that the members got.
func (g *Group) open(c *Conn) (*Conn, error) {
	if err := g.Add(c); err != nil {
		g.mu.Lock()
		goodbye := g.goodbye
		g.mu.Unlock()
		c.WriteControl(CloseMessage, goodbye, time.Now().Add(closeWait))
		c.Close()
		return nil, err
	}
	return c, nil
}

// leaveGroups ends the memberships of a connection that is closed. It reports whether a group is
// closing it already, with a close handshake: that group's Shutdown ends the membership, as its
// messages go out before the close frame.
func (c *Conn) leaveGroups() (goodbye bool) {
	state := c.write.groups.Load()
	if state == nil {
		return false
	}
	bye := state.goodbye.Load()
	for _, m := range state.members() {
		if bye == nil || bye.group != m.g {
			m.g.leave(m)
		}
	}
	return bye != nil
}
