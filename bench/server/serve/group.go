package serve

// Group is the set of connections a broadcast goes to. It stays empty unless
// the server was started for fan-out: elsewhere a registry would be measured
// with the library.

import "sync"

// Group is a set of connections, safe for concurrent use. A nil *Group
// ignores Add and Remove.
type Group[C comparable] struct {
	mu      sync.Mutex
	members map[C]struct{}
}

// NewGroup returns an empty group, or nil unless o asks for fan-out.
func NewGroup[C comparable](o Options) *Group[C] {
	if !o.Fanout {
		return nil
	}
	return &Group[C]{members: make(map[C]struct{})}
}

// Add adds c.
func (g *Group[C]) Add(c C) {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.members[c] = struct{}{}
	g.mu.Unlock()
}

// Remove removes c.
func (g *Group[C]) Remove(c C) {
	if g == nil {
		return
	}
	g.mu.Lock()
	delete(g.members, c)
	g.mu.Unlock()
}

// Each calls f for every member.
func (g *Group[C]) Each(f func(C)) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.members {
		f(c)
	}
}
