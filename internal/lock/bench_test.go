package lock_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket/internal/lock"
)

type locker interface {
	Lock()
	Unlock()
}

// A plain is a Mutex without deadlines or contexts.
type plain struct{ lock.Mutex }

func (m *plain) Lock() { m.Mutex.Lock(noContext, nil) }

// A bounded is a Mutex with a deadline that does not pass.
type bounded struct {
	lock.Mutex
	deadline
}

func (m *bounded) Lock() { m.Mutex.Lock(noContext, &m.deadline) }

var sink atomic.Uint64

// work takes about 300 ns.
func work(seed uint64) uint64 {
	for range 260 {
		seed = seed*6364136223846793005 + 1442695040888963407
	}
	return seed
}

func BenchmarkWork(b *testing.B) {
	var s uint64
	for b.Loop() {
		s = work(s)
	}
	sink.Add(s)
}

// The cost of one Lock, 300 ns of work and Unlock.
func BenchmarkContended(b *testing.B) {
	for _, n := range []int{1, 2, 64, 1000} {
		for _, kind := range []struct {
			name string
			new  func() locker
		}{
			{"sync", func() locker { return new(sync.Mutex) }},
			{"lock", func() locker { return new(plain) }},
			{"deadline", func() locker {
				m := new(bounded)
				m.set(time.Now().Add(time.Hour))
				return m
			}},
		} {
			b.Run(fmt.Sprintf("goroutines=%d/%s", n, kind.name), func(b *testing.B) {
				b.ReportAllocs()
				contend(b, n, kind.new())
			})
		}
	}
}

func contend(b *testing.B, n int, m locker) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	var shared uint64
	for range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				m.Lock()
				shared = work(shared)
				m.Unlock()
			}
		})
	}
	wg.Wait()
	sink.Add(shared)
}

// The time until so many goroutines wait, and until all of them have had their turn.
func BenchmarkQueue(b *testing.B) {
	const n = 16000
	var queueing, serving time.Duration
	for range b.N {
		var m lock.Mutex
		m.TryLock()
		var begun, served sync.WaitGroup
		begun.Add(n)
		served.Add(n)
		from := time.Now()
		for range n {
			go func() {
				begun.Done()
				m.Lock(noContext, nil)
				m.Unlock()
				served.Done()
			}()
		}
		begun.Wait()
		for lock.Waiters(&m) < n {
			runtime.Gosched()
		}
		queueing += time.Since(from)
		from = time.Now()
		m.Unlock()
		served.Wait()
		serving += time.Since(from)
	}
	b.ReportMetric(float64(queueing.Milliseconds())/float64(b.N), "ms-queueing")
	b.ReportMetric(float64(serving.Milliseconds())/float64(b.N), "ms-serving")
}

// How long a goroutine waits for a mutex that another one locks and unlocks in a tight loop.
func BenchmarkStarving(b *testing.B) {
	for _, kind := range []struct {
		name string
		m    locker
	}{{"sync", new(sync.Mutex)}, {"lock", new(plain)}} {
		b.Run(kind.name, func(b *testing.B) {
			var done atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() {
				var s uint64
				for !done.Load() {
					kind.m.Lock()
					s = work(s)
					kind.m.Unlock()
				}
				sink.Add(s)
			})
			var longest time.Duration
			for range b.N {
				from := time.Now()
				kind.m.Lock()
				longest = max(longest, time.Since(from))
				kind.m.Unlock()
				time.Sleep(100 * time.Microsecond)
			}
			b.ReportMetric(float64(longest.Microseconds()), "µs-longest")
			done.Store(true)
			wg.Wait()
		})
	}
}
