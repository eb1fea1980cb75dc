package lock

// Waiters returns how many goroutines wait for m.
func Waiters(m *Mutex) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	if m.queue != nil {
		for range m.queue.all() {
			n++
		}
	}
	return n
}

// UnlockBefore unlocks m and calls f before the waiter that Unlock chose is woken.
func UnlockBefore(m *Mutex, f func()) {
	w := m.choose(m.state.Add(^uint32(0)))
	f()
	if w != nil {
		w.wake()
	}
}
