package websocket

import (
	"bytes"
	"context"
	"slices"
	"sync/atomic"
	"time"
)

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
	goodbye     atomic.Bool                 // a group closes the connection: see beginGoodbye
	blocked     bool                        // a group's frame is pending; guarded by write.mu
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
// own messages are not to be compressed.
func (w *writeHalf) sharesWindow() bool {
	s := w.groups.Load()
	return s != nil && s.window.Load() != nil
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
		state.blocked = false
	}
	var writer *socketWriter
	for _, m := range state.members() {
		if m.stuck.Load() && !state.blocked {
			m.stuck.Store(false)
			m.checkLag() // before the newest message is another one
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
			m.blockLocked(state)
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
		m.mu.Unlock()
		n := writer.write(m.c.socket, p)
		begin, end, frames := cut(p, n)
		if n < len(p) {
			m.blockLocked(state)
			w.lendLocked(p[n:end], m.g.Slow == SkipSlow && end-begin < len(m.cur.at.b))
		} else {
			w.conn.keep.progressed()
		}
		m.mu.Lock()
		m.writing = false
		switch {
		case m.ended:
		case n < len(p) && len(m.cur.at.seqs) > 0:
			// It keeps nothing but the frame that is pending.
			m.compactFrom(m.cur.at.seqs[len(m.cur.at.seqs)-countFrames(p)+frames])
		default:
			m.cur.off += end
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
func (m *groupMember) blockLocked(state *groupState) {
	state.blocked = true
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
	w.startTimerLocked(0)
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
	target := m.s.end.Load()
	for {
		p, more := m.take(target)
		if len(p) == 0 {
			return nil
		}
		if forGroup {
			m.wait(len(p))
		}
		var err error
		if w.server {
			if err = w.flushLocked(); err == nil {
				err = w.writtenLocked(w.writeChunks(p))
			}
		} else {
			header, _ := firstFrame(p)
			err = w.frameLocked(p[0], p[header:])
		}
		if err != nil || !more {
			return err
		}
		if forGroup && m.g.Slow == SkipSlow {
			m.checkLag()
		}
	}
}

// take returns what is ahead, of a client's one frame, and moves the cursor behind it: it will be
// sent, or the connection is lost. more is not set once target is reached.
func (m *groupMember) take(target int64) (p []byte, more bool) {
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
		if !m.c.write.server {
			_, size := firstFrame(p)
			p = p[:size]
		}
		m.cur.off += len(p)
		more := m.compact || m.cur.at.side || m.s.window || m.cur.pos() < target
		if !m.compact && len(m.cur.ahead()) == 0 {
			m.seen.Store(seq)
			more = false
		}
		return p, more
	}
	return nil, false
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
	if state.stale.Load() {
		state.stale.Store(false)
		w.deflater.Reset()
	}
	return nil
}

// catchUpBeforeCloseLocked sends what was broadcast before a close frame, unless a message of the
// connection's own is being sent.
func (w *writeHalf) catchUpBeforeCloseLocked() error {
	state := w.groups.Load()
	if state == nil {
		return nil
	}
	for _, m := range state.members() {
		if m.behind() && m.mayDeliverLocked(state) {
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
