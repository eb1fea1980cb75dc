package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tautws/websocket/internal/deflate"
)

// The log of a Group: frames as a server sends them, one behind the other, in a chain of chunks. It
// only grows at its end; the garbage collector takes the chunks that no cursor can reach any more.
// A frame is in one chunk as a whole, so what lies between a cursor and the end of its chunk can be
// written as it is.

const (
	minLogChunk   = 4 << 10
	maxLogChunk   = 64 << 10
	largeLogChunk = 1 << 20 // for frames of which maxLogChunk has less than eight

	// skipLogChunk is the size where members that may miss messages are written to by goroutines,
	// over TLS for example: one that takes nothing keeps the chunk that it is being sent.
	skipLogChunk = 16 << 10
)

// A logChunk is memory that is filled once: b[:n] never changes again.
type logChunk struct {
	b    []byte
	base int64 // position in the stream of b[0]
	seq  int64 // of the first message in it, or of the first one behind a side chunk
	n    atomic.Int64
	next atomic.Pointer[logChunk] // set once the chunk is full: n is final then
	into int                      // where to go on in next

	// A side chunk is not part of the log: members read it before they go on with the log at base.
	side   bool
	seqs   []int64 // of its messages, if they are the latest of some keys; not nil if they can be skipped
	shared bool    // it is the group's snapshot
	rest   *joinRest
}

// A joinRest is what a member that joins gets behind a side chunk: the latest message of every key
// that has not changed since, and then the log.
type joinRest struct {
	seq int64 // messages from this one on come from the log
	log frameCursor
}

// A frameCursor is a place in a stream, at the beginning of a frame.
type frameCursor struct {
	at  *logChunk
	off int
}

// ahead returns what lies ahead in one piece, and moves the cursor to it.
func (k *frameCursor) ahead() []byte {
	if k.at == nil {
		return nil
	}
	for {
		next := k.at.next.Load() // before n, which is final if there is a next one
		p := k.at.b[k.off:k.at.n.Load()]
		if len(p) > 0 || next == nil {
			return p
		}
		k.at, k.off = next, k.at.into
	}
}

// pos returns the position in the stream.
func (k frameCursor) pos() int64 {
	if k.at.side {
		return k.at.base
	}
	return k.at.base + int64(k.off)
}

// seq returns the number of the message that the cursor is at.
func (k frameCursor) seq() int64 {
	if k.at.side && k.off < len(k.at.b) && len(k.at.seqs) > 0 {
		return k.at.seqs[countFrames(k.at.b[:k.off])]
	}
	if k.at.side {
		return k.at.seq
	}
	return k.at.seq + int64(countFrames(k.at.b[:k.off]))
}

// joining returns the side chunk, at or behind k, with what the member that joins gets before the
// log; nil if that was read.
func (k frameCursor) joining() *logChunk {
	for c := k.at; c != nil && c.side; c = c.next.Load() {
		if c.rest != nil {
			return c
		}
	}
	return nil
}

// rest returns what is behind the side chunks that k is at, if the member has yet to join the log.
func (k frameCursor) rest() *joinRest {
	if c := k.joining(); c != nil {
		return c.rest
	}
	return nil
}

// before returns a cursor to p, behind which k is.
func (k frameCursor) before(p []byte) frameCursor {
	side := &logChunk{b: p, side: true, into: k.off}
	side.n.Store(int64(len(p)))
	if k.at != nil {
		side.base, side.seq = k.pos(), k.seq()
		side.next.Store(k.at)
	}
	return frameCursor{side, 0}
}

// skipTo returns a cursor to to or, if k is in side chunks that a member was promised as a whole, to
// the rest of those and then to to.
func (k frameCursor) skipTo(to frameCursor) frameCursor {
	if k.at == nil || !k.at.side || k.at.seqs != nil {
		return to
	}
	seq := k.at.seq
	to = frameCursor{k.at.next.Load(), k.at.into}.skipTo(to)
	k = to.before(k.at.b[k.off:])
	k.at.seq = seq
	return k
}

// appendFrame appends an unmasked frame.
func appendFrame(b []byte, first byte, payload []byte) []byte {
	return append(appendHeader(b, first, len(payload), false, 0), payload...)
}

func frameSize(payload int) int {
	switch {
	case payload < 126:
		return 2 + payload
	case payload < 1<<16:
		return 4 + payload
	}
	return 10 + payload
}

// firstFrame returns the sizes of the header and of the whole of the frame that b begins with,
// which is not masked.
func firstFrame(b []byte) (header, size int) {
	switch b[1] {
	case 126:
		return 4, 4 + int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		return 10, 10 + int(binary.BigEndian.Uint64(b[2:]))
	}
	return 2, 2 + int(b[1])
}

func countFrames(b []byte) (n int) {
	for ; len(b) > 0; n++ {
		_, size := firstFrame(b)
		b = b[size:]
	}
	return n
}

// A logTail is where a chain of chunks grows. Group.mu guards it.
type logTail struct {
	last   *logChunk
	newest int // offset in last of the newest frame
	size   int // of the next chunk
}

func newLogTail(base, seq int64) *logTail {
	return &logTail{last: &logChunk{base: base, seq: seq}, size: minLogChunk}
}

func (t *logTail) end() frameCursor { return frameCursor{t.last, int(t.last.n.Load())} }

// append adds a frame, in a new chunk if fresh is set. No chunk gets larger than limit and a frame,
// or minLogChunk.
func (t *logTail) append(seq int64, first byte, payload []byte, fresh bool, limit int) {
	size := frameSize(len(payload))
	at := int(t.last.n.Load())
	if fresh || at+size > len(t.last.b) {
		most := maxLogChunk
		if size > maxLogChunk/8 {
			most = min(8*size, largeLogChunk) // eight frames leave with one write, too
		}
		room := max(size, min(t.size, most, max(minLogChunk, limit+size)))
		c := &logChunk{b: make([]byte, room), base: t.last.base + int64(at), seq: seq}
		t.size = 2 * room
		c.fill(0, first, payload) // before anybody can see it
		t.last.next.Store(c)
		t.last, t.newest = c, 0
		return
	}
	t.newest = at
	t.last.fill(at, first, payload)
}

func (c *logChunk) fill(at int, first byte, payload []byte) {
	c.n.Store(int64(len(appendFrame(c.b[:at], first, payload))))
}

// The streams of a Group: its log in the form for one set of compression parameters. A message is
// compressed once for each.
//
// With context takeover (RFC 7692 §7.1.1) all members share one compressor: they get the same
// bytes, so their peers have the same window. The first message after a Reset of the compressor, a
// key message, refers to none before it, so members begin with one. Until the next key message is
// due, those that have just joined or that missed messages read a branch of the log, in which every
// message is compressed by itself. It ends where the key message is.
//
// Messages that are compressed by themselves pass the peer's window as well, so the next one of the
// shared compressor that this peer gets must be a key message; what is sent uncompressed leaves the
// window as it is (§7.2.2).

const (
	keyInterval = 64 // compressed messages from one key message to the next
	windowLevel = 6  // of compress/flate, at least: it is paid once for all members
)

// A groupStream is the log in one form.
type groupStream struct {
	streamParams

	// Guarded by Group.order.
	forms, aloneForms messageForm     // of the message being broadcast
	deflater          *deflate.Writer // shared by the members; only if window
	buf               []byte          // its output

	// Guarded by Group.mu.
	members    int
	workers    bool // some members are written to by a goroutine
	log        *logTail
	branch     *logTail  // nil: nobody needs it
	nextIsKey  bool      // the next message that the shared compressor makes is a key message
	age        int       // its messages since the last key message
	newest     []byte    // frame of the newest message, uncompressed; only if window
	newestLent bool      // members read it
	snapshot   *logChunk // of the latest messages, for those that join now; nil until it is needed

	offering int64 // end when the pass began

	end     atomic.Int64 // bytes ever appended to log
	offered atomic.Int64 // end when the pass before this one began: members were visited since
}

// streamParams are what the form of a message depends on. The zero value is: not compressed.
type streamParams struct {
	deflated  bool
	window    bool // one compressor for all, with context takeover
	level     int
	bits      int
	threshold int
}

// A groupMessage is a message being broadcast.
type groupMessage struct {
	seq   int64
	first byte
	data  []byte
	pm    *PreparedMessage // nil until it is needed
}

// A messageForm is a message as a stream has it.
type messageForm struct {
	seq     int64
	first   byte
	payload []byte
	isKey   bool
}

// streamLocked returns the stream for a connection that joins.
func (g *Group) streamLocked(m *groupMember, state *groupState) *groupStream {
	p := paramsFor(m, state)
	for _, s := range g.streams {
		if s.streamParams == p {
			return s
		}
	}
	s := &groupStream{streamParams: p, log: newLogTail(0, g.seq.Load()+1)}
	if p.window {
		s.deflater, s.nextIsKey = deflate.NewWriter(p.bits, true, p.level), true
	}
	g.streams = append(g.streams, s)
	return s
}

func paramsFor(m *groupMember, state *groupState) (p streamParams) {
	w := &m.c.write
	level := w.level()
	if w.deflater == nil || w.compression.Load()&compressionOff != 0 {
		return p
	}
	p = streamParams{deflated: true, level: level, bits: w.deflater.WindowBits(), threshold: int(w.threshold)}
	if !w.deflater.TakesOver() {
		return p
	}
	if level == flate.NoCompression || level == flate.HuffmanOnly || !state.window.CompareAndSwap(nil, m) {
		return streamParams{} // the window is another group's, or not made use of
	}
	if w.msg.TryLock() {
		w.deflater.Release() // not used while it is a member
		w.unlockMessage()
	}
	p.window = true
	if level > 0 {
		p.level = max(level, windowLevel)
	}
	return p
}

// compresses reports whether the stream has the message compressed.
func (s *groupStream) compresses(message *groupMessage) bool {
	return s.deflated && len(message.data) >= s.threshold
}

// readyFor reports whether the stream has the message in the forms that it needs. Group.order and
// Group.mu are held.
func (s *groupStream) readyFor(message *groupMessage) bool {
	if !s.compresses(message) {
		return true
	}
	return s.forms.seq == message.seq && (s.branch == nil || s.aloneForms.seq == message.seq)
}

// compress makes the forms of the message that are missing. Group.order is held.
func (s *groupStream) compress(message *groupMessage, isKey bool) {
	if !s.window {
		s.forms = s.compressAlone(message)
		return
	}
	if s.forms.seq == message.seq {
		s.aloneForms = s.compressAlone(message)
		return
	}
	if isKey {
		s.deflater.Reset()
	}
	s.buf = s.deflater.AppendMessage(s.buf[:0], message.data)
	if len(s.buf) < len(message.data) {
		s.forms = messageForm{message.seq, message.first | rsv1Bit, s.buf, isKey}
	} else {
		s.deflater.Reset() // the peers do not get to see what it has seen
		s.forms = messageForm{message.seq, message.first, message.data, false}
	}
}

// compressAlone compresses the message by itself, once for every set of parameters.
func (s *groupStream) compressAlone(message *groupMessage) messageForm {
	if message.pm == nil {
		message.pm = &PreparedMessage{messageType: int(message.first &^ finBit), data: message.data}
	}
	if d := message.pm.deflate(deflateKey{s.bits, s.level}); d.payload != nil {
		return messageForm{message.seq, message.first | rsv1Bit, d.payload, false}
	}
	return messageForm{message.seq, message.first, message.data, false}
}

// appendLocked adds the message. Group.order is held as well.
func (s *groupStream) appendLocked(message *groupMessage, maxLag int, slow SlowPolicy) {
	form := messageForm{message.seq, message.first, message.data, false}
	alone := form
	if s.compresses(message) {
		form, alone = s.forms, s.aloneForms
		s.forms.payload, s.aloneForms.payload = nil, nil
	}
	limit := maxLag / 2
	if slow == SkipSlow && s.workers {
		limit = min(limit, skipLogChunk)
	}
	if s.branch != nil && !form.isKey {
		s.branch.append(alone.seq, alone.first, alone.payload, false, limit)
	}
	s.log.append(form.seq, form.first, form.payload, form.isKey, limit)
	s.end.Store(s.log.end().pos())
	if s.branch != nil && form.isKey {
		s.branch.last.next.Store(s.log.last)
		s.branch = nil
	}
	s.snapshot = nil
	if !s.window {
		return
	}
	if cap(s.buf) > maxLogChunk {
		s.buf = nil
	}
	if s.newestLent || cap(s.newest) > 2*len(message.data)+maxHeaderSize {
		s.newest, s.newestLent = nil, false
	}
	s.newest = appendFrame(s.newest[:0], message.first, message.data)
	switch {
	case form.isKey:
		s.age, s.nextIsKey = 1, false
	case form.first&rsv1Bit != 0:
		s.age++
		branch := int64(0)
		if s.branch != nil {
			branch = s.branch.end().pos() - s.end.Load()
		}
		s.nextIsKey = s.age >= keyInterval || branch > int64(maxLag/4)
	case s.compresses(message):
		s.nextIsKey = true // it was not made smaller
	}
}

// joinLocked returns where a member goes on that has got none of the messages so far, of which
// there were seq.
func (s *groupStream) joinLocked(seq int64) frameCursor {
	if !s.window || s.nextIsKey {
		return s.log.end()
	}
	if s.branch == nil {
		s.branch = newLogTail(s.end.Load(), seq+1)
	}
	return s.branch.end()
}

// newestLocked returns where a member goes on that skips all messages but the newest, seq.
func (s *groupStream) newestLocked(seq int64) frameCursor {
	if !s.window {
		return frameCursor{s.log.last, s.log.newest}
	}
	k := s.joinLocked(seq).before(s.newest)
	s.newestLent = true
	k.at.base = frameCursor{s.log.last, s.log.newest}.pos()
	k.at.seqs = []int64{} // it may be skipped in turn
	return k
}

// The delivery to one member of a Group: what the writing half of a Conn does about its groups.
//
// Sockets are written to without waiting. If one takes only a part, the frame that was cut, or the
// next one, becomes pending, and the timer's goroutine writes it; then the goroutine that holds
// write.mu goes on with the log. Over any other net.Conn, and for a client, whose frames are masked
// one by one, a goroutine writes while the member is behind.

// A groupState is what the writing half of a connection that has joined a group needs.
type groupState struct {
	list        atomic.Pointer[[]*groupMember]
	window      atomic.Pointer[groupMember] // the membership whose group shares its window
	messageOpen atomic.Bool                 // deliveries wait for the end of the connection's own message
	stale       atomic.Bool                 // the compressor is to be reset
	goodbye     atomic.Pointer[goodbye]     // by which a group closes the connection
}

// groupState returns the state of the half's groups, made at first use.
func (w *writeHalf) groupState() *groupState {
	if s := w.groups.Load(); s != nil {
		return s
	}
	w.groups.CompareAndSwap(nil, new(groupState))
	return w.groups.Load()
}

// sharesWindow reports whether the window of the peer belongs to a group, so that the connection's
// own messages are not to be compressed. If it did the compressor is reset. msg is held.
func (w *writeHalf) sharesWindow() bool {
	s := w.groups.Load()
	if s == nil {
		return false
	}
	if s.window.Load() != nil {
		return true
	}
	if s.stale.Load() { // set before window is cleared
		s.stale.Store(false)
		w.deflater.Reset()
	}
	return false
}

func (s *groupState) members() []*groupMember {
	if list := s.list.Load(); list != nil {
		return *list
	}
	return nil
}

func (s *groupState) member(g *Group) *groupMember {
	for _, m := range s.members() {
		if m.g == g {
			return m
		}
	}
	return nil
}

func (s *groupState) add(m *groupMember) {
	for {
		old := s.list.Load()
		list := []*groupMember{m}
		if old != nil {
			list = append(slices.Clip(*old), m)
		}
		if s.list.CompareAndSwap(old, &list) {
			return
		}
	}
}

func (s *groupState) remove(m *groupMember) {
	for {
		old := s.list.Load()
		if old == nil {
			break
		}
		list := slices.DeleteFunc(slices.Clone(*old), func(o *groupMember) bool { return o == m })
		next := &list
		if len(list) == 0 {
			next = nil
		}
		if s.list.CompareAndSwap(old, next) {
			break
		}
	}
	if s.window.Load() == m {
		s.stale.Store(true) // the peer's window has moved on without it
		s.window.Store(nil)
	}
}

// deliver sends what m lacks as far as that takes no waiting.
func (m *groupMember) deliver(writer *socketWriter) {
	w := &m.c.write
	switch {
	case !m.hasSocket():
		m.startWorker()
	case w.mu.TryLock():
		m.deliverLocked(writer)
		w.unlock()
	default:
		w.leaveWork()
	}
}

func (m *groupMember) hasSocket() bool { return m.c.socket != nil && m.c.write.server }

// deliverLocked is the part of workLocked that is about groups: it sends what the members lack as
// far as that takes no waiting.
func (w *writeHalf) deliverLocked(state *groupState) {
	if w.n == 0 {
		w.groupsWait = false
	}
	var writer *socketWriter
	for _, m := range state.members() {
		if m.stuck.Load() && !w.groupsWait {
			m.stuck.Store(false)
			m.checkLag(true) // before the newest message is another one
		}
		if !m.behind() || m.stuck.Load() {
			continue
		}
		if !m.hasSocket() {
			m.startWorker()
			continue
		}
		if writer == nil {
			writer = getSocketWriter()
		}
		m.deliverLocked(writer)
	}
	if writer != nil {
		writer.release()
	}
}

// mayDeliverLocked reports whether frames of a group may follow. If a message of the connection's
// own is being sent, unlockMessage has the work done later.
func (m *groupMember) mayDeliverLocked(state *groupState) bool {
	w := &m.c.write
	if w.err != nil || w.msgErr.Load() != nil {
		m.end()
		return false
	}
	if !w.msg.TryLock() {
		state.messageOpen.Store(true)
		if !w.msg.TryLock() {
			return false
		}
	}
	w.unlockMessage()
	return true
}

func (m *groupMember) deliverLocked(writer *socketWriter) {
	w := &m.c.write
	state := w.groups.Load()
	if !m.mayDeliverLocked(state) {
		return
	}
	if w.n > 0 {
		if w.tryFlushLocked(); w.n > 0 {
			m.blockLocked()
			return
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.ended {
		seq := m.g.seq.Load()
		p := m.cur.ahead()
		if len(p) == 0 {
			if m.compact {
				m.compactLocked()
				continue
			}
			m.seen.Store(seq)
			return
		}
		m.writing = true
		chunk := m.cur.at // m may leave meanwhile
		m.mu.Unlock()
		n := writer.write(m.c.socket, p)
		begin, end, frames := cut(p, n)
		if n < len(p) {
			m.blockLocked()
			w.lendLocked(p[n:end], (m.g.Slow == SkipSlow || chunk.side) && end-begin < len(chunk.b))
		} else {
			w.conn.keep.progressed()
		}
		m.mu.Lock()
		m.writing = false
		switch {
		case m.ended:
		case n < len(p) && len(chunk.seqs) > 0:
			// It keeps nothing but the frame that is pending.
			seq := chunk.seqs[len(chunk.seqs)-countFrames(p)+frames]
			if chunk.rest != nil {
				m.leaveSnapshot(seq, chunk.rest)
			} else {
				m.compactFrom(seq)
			}
		default:
			m.cur.off += end
			if c := m.cur.joining(); c != nil && c.shared && n < len(p) {
				m.leaveSnapshot(m.cur.seq()-1, c.rest)
			}
		}
		if n < len(p) {
			return
		}
	}
}

// cut returns where the frame begins and ends of which p[n] is a part, and how many frames are
// before it.
func cut(p []byte, n int) (begin, end, frames int) {
	if n == len(p) {
		return n, n, 0
	}
	for {
		_, size := firstFrame(p[begin:])
		if end = begin + size; end > n {
			return begin, end, frames
		}
		begin = end
		frames++
	}
}

// blockLocked has the goroutine that sends what is pending go on with the log.
func (m *groupMember) blockLocked() {
	m.c.write.groupsWait = true
	m.stuck.Store(true)
}

// lendLocked makes p, the rest of a frame in a group's log, what is pending, and has the timer's
// goroutine send it. It is copied where it would keep a chunk of the log for long.
func (w *writeHalf) lendLocked(p []byte, clone bool) {
	if clone {
		p = bytes.Clone(p)
	}
	w.pending, w.n = &buffer{b: p[:len(p):len(p)], lent: true}, int32(len(p))
	w.delayed.Store(delayedPending)
	w.flushApartLocked()
}

// flushBlockedLocked sends what is pending from the timer's goroutine. The application's write
// deadline, which was meant for other messages, does not apply unless it is set from now on.
func (w *writeHalf) flushBlockedLocked(state *groupState) {
	var slow *groupMember
	for _, m := range state.members() {
		if m.stuck.Load() && (slow == nil || m.g.Slow == CloseSlow) {
			slow = m
		}
	}
	if slow == nil { // it has left
		slow = &groupMember{c: w.conn, g: new(Group)}
	}
	slow.wait(int(w.n))
	w.beginWriteLocked()
	err := w.writtenLocked(w.writeChunks(w.pending.b[:w.n]))
	w.deadline.restore()
	slow.failedLocked(err)
}

// wait begins a write of n bytes to m that may wait. write.mu is held.
func (m *groupMember) wait(n int) {
	var until time.Time
	if m.g.Slow == CloseSlow {
		until = time.Now().Add(maxStall * time.Duration(1+n>>16))
	}
	m.c.write.deadline.overrideWith(noContext, until, overrideTimer)
}

// failedLocked ends a connection that could not be written to, if err says so: there may be no
// goroutine that writes to it and would know.
func (m *groupMember) failedLocked(err error) {
	c := m.c
	switch {
	case err == nil || c.state.Load() != stateOpen:
	case isTimeout(err) && m.g.Slow == CloseSlow:
		c.write.err = ErrSlowMember
		m.g.expel(m)
	default:
		m.end()
		go c.abort(err)
	}
}

// startWorker starts a goroutine that delivers to m and may wait for the network, unless there is
// one.
func (m *groupMember) startWorker() {
	if m.worker.CompareAndSwap(workerNone, workerBusy) {
		m.g.working.Add(1)
		go m.work()
	}
}

func (m *groupMember) work() {
	w := &m.c.write
	state := w.groups.Load()
	for {
		w.mu.Lock(noContext, nil)
		may := m.mayDeliverLocked(state)
		if may {
			m.failedLocked(m.catchUpLocked(true))
			w.deadline.restore()
		}
		w.unlock()
		m.workerEnded()
		// If the message that was open has ended meanwhile, nobody else could start a worker.
		if !m.behind() || !may && state.messageOpen.Load() ||
			!m.worker.CompareAndSwap(workerNone, workerBusy) {
			return
		}
		m.g.working.Add(1)
	}
}

// catchUpLocked sends what m lacks at the time of the call. It waits for the network, within the
// bounds of the call that is in progress or those of the group.
func (m *groupMember) catchUpLocked(forGroup bool) error {
	w := &m.c.write
	end, seq := m.s.end.Load(), m.g.seq.Load()
	for {
		p, more := m.take(end, seq)
		if len(p) == 0 {
			return nil
		}
		if forGroup {
			m.wait(len(p))
		}
		var err error
		if w.server {
			err = w.writeBehindLocked(p)
		} else {
			header, _ := firstFrame(p)
			err = w.frameLocked(p[0], p[header:])
		}
		if err != nil || !more {
			return err
		}
		if forGroup && m.g.Slow == SkipSlow {
			m.checkLag(true)
		}
	}
}

// take returns what is ahead, of a client's one frame, and moves the cursor behind it: it will be
// sent, or the connection is lost. more is not set once the message last, which ends the log at end,
// is taken.
func (m *groupMember) take(end, last int64) (p []byte, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.ended {
		seq := m.g.seq.Load()
		p := m.cur.ahead()
		if len(p) == 0 {
			if m.compact {
				m.compactLocked()
				continue
			}
			m.seen.Store(seq)
			return nil, false
		}
		if c := m.cur.joining(); c != nil && c.shared {
			m.leaveSnapshot(m.cur.seq()-1, c.rest)
			continue
		}
		if !m.c.write.server {
			_, size := firstFrame(p)
			p = p[:size]
		}
		m.cur.off += len(p)
		more := !m.past(end, last)
		if !m.compact && len(m.cur.ahead()) == 0 {
			m.seen.Store(seq)
			more = false
		}
		return p, more
	}
	return nil, false
}

// past reports whether what m is yet to get came after the message seq, which ends the log at end.
// m.mu is held.
func (m *groupMember) past(end, seq int64) bool {
	k := m.cur
	switch {
	case k.at.side && k.off < len(k.at.b):
		return len(k.at.seqs) > 0 && k.seq() > seq
	case m.compact:
		return m.seq >= seq
	case m.s.window: // a branch is longer than the log
		return k.seq() > seq
	}
	return k.pos() >= end
}

// catchUp sends, before a message of the connection's own, what was broadcast before it. msg is
// held.
func (w *writeHalf) catchUp(ctx context.Context, state *groupState) error {
	for _, m := range state.members() {
		if !m.behind() {
			continue
		}
		err := w.lock(ctx)
		if err == nil {
			err = m.catchUpLocked(false)
			w.unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// catchUpBeforeCloseLocked sends what was broadcast before a close frame, unless a message of the
// connection's own has begun and not ended.
func (w *writeHalf) catchUpBeforeCloseLocked() error {
	state := w.groups.Load()
	if state == nil || w.fragmented {
		return nil
	}
	for _, m := range state.members() {
		// A goroutine that holds msg has sent nothing of its message yet.
		if m.behind() && w.err == nil && w.msgErr.Load() == nil {
			if err := m.catchUpLocked(false); err != nil {
				return err
			}
		}
	}
	return nil
}

// closeWith sends a close frame. From then on writes return cause.
func (w *writeHalf) closeWith(ctx context.Context, payload []byte, cause error) error {
	err := w.mu.Lock(ctx, nil)
	if err != nil {
		return err
	}
	if err = w.err; err == nil {
		w.deadline.overrideWith(ctx, time.Time{}, overrideStrict)
		err = w.controlLocked(CloseMessage, payload)
		w.deadline.restore()
	}
	if w.err == ErrCloseSent {
		w.err = cause
	}
	w.unlock()
	return err
}
