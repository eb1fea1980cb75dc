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
