package serve

// Members is the set of connections a broadcast goes to, for a library that has none. There is none
// unless the server was started for broadcasts: elsewhere a registry would be measured with the
// library.

import "sync"

// Members is a set of connections, safe for concurrent use. A nil *Members is empty and ignores Add
// and Remove.
type Members[C comparable] struct {
	mu    sync.Mutex
	conns map[C]struct{}
}

// NewMembers returns an empty set, or nil unless o asks for a register.
func NewMembers[C comparable](o Options) *Members[C] {
	if !o.Register {
		return nil
	}
	return &Members[C]{conns: make(map[C]struct{})}
}

// Add adds c.
func (m *Members[C]) Add(c C) {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.conns[c] = struct{}{}
	m.mu.Unlock()
}

// Remove removes c.
func (m *Members[C]) Remove(c C) {
	if m == nil {
		return
	}
	m.mu.Lock()
	delete(m.conns, c)
	m.mu.Unlock()
}

// Lock keeps broadcasts out until Unlock, for a library whose connections allow no two writers. A
// nil *Members has no broadcasts and no lock.
func (m *Members[C]) Lock() {
	if m != nil {
		m.mu.Lock()
	}
}

// Unlock lets broadcasts in again.
func (m *Members[C]) Unlock() {
	if m != nil {
		m.mu.Unlock()
	}
}

// Each calls f for every member.
func (m *Members[C]) Each(f func(C)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		f(c)
	}
}
