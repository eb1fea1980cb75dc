package lock_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/lock"
)

// starvation is a little longer than a waiter may be overtaken.
const starvation = time.Millisecond + time.Microsecond

// bubble runs f as a subtest in its own bubble.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// async runs f and sends what it returns.
func async(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	synctest.Wait()
	return c
}

// stillWaits fails the test if c has a value.
func stillWaits(t *testing.T, what string, c <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		t.Fatalf("%s ended with %v", what, err)
	default:
	}
}

// ended returns the value of c, which must be there without time passing.
func ended(t *testing.T, what string, c <-chan error) error {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-c:
		return err
	default:
		t.Fatalf("%s still waits", what)
		return nil
	}
}

// wantFree fails the test if m is locked, has waiters, or either is what its state says.
func wantFree(t *testing.T, m *lock.Mutex) {
	t.Helper()
	if n := lock.Waiters(m); n != 0 {
		t.Fatalf("%d goroutines still wait", n)
	}
	if !m.TryLock() {
		t.Fatal("the mutex is not free in the end")
	}
	m.Unlock()
}

// queue starts n goroutines that wait for m in turn, and returns a function that tells in which
// order they got it.
func queue(m *lock.Mutex, n int) func() []int {
	var mu sync.Mutex
	var served []int
	for i := range n {
		go func() {
			if m.Lock(noContext, nil) != nil {
				return
			}
			mu.Lock()
			served = append(served, i)
			mu.Unlock()
			m.Unlock()
		}()
		synctest.Wait()
	}
	return func() []int {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(served)
	}
}

func TestSize(t *testing.T) {
	if size := reflect.TypeFor[lock.Mutex]().Size(); size > 24 {
		t.Errorf("a Mutex has %d bytes", size)
	}
}

func TestTryLock(t *testing.T) {
	var m lock.Mutex
	for range 2 {
		if !m.TryLock() {
			t.Fatal("a free mutex cannot be had")
		}
		if m.TryLock() {
			t.Fatal("a locked mutex can be had")
		}
		m.Unlock()
	}
	if err := m.Lock(noContext, nil); err != nil {
		t.Fatal(err)
	}
	m.Unlock()
	wantFree(t, &m)
}

func TestUnlockOfUnlocked(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	new(lock.Mutex).Unlock()
}

// A free mutex does not ask for the context or the deadline.
func TestFreeNeedsNoWait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var m lock.Mutex
	if err := m.Lock(ctx, &deadline{at: time.Unix(1, 0)}); err != nil {
		t.Error(err)
	}
}

// Waiters have their turn in the order in which they came, whether they starve or not.
func TestOrder(t *testing.T) {
	for _, waited := range []time.Duration{0, starvation} {
		bubble(t, fmt.Sprint(waited), func(t *testing.T) {
			var m lock.Mutex
			m.TryLock()
			served := queue(&m, 6)
			if got := served(); len(got) != 0 {
				t.Fatalf("%v got a mutex that is locked", got)
			}
			time.Sleep(waited)
			overtake(t, &m)
			m.Unlock()
			if got, want := served(), []int{0, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
				t.Errorf("served in the order %v, want %v", got, want)
			}
			wantFree(t, &m)
		})
	}
}

// overtake unlocks m, which has waiters, and takes it before the one that was woken.
func overtake(t *testing.T, m *lock.Mutex) {
	t.Helper()
	lock.UnlockBefore(m, func() {
		if err := m.Lock(noContext, nil); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

// A goroutine that comes while a waiter is being woken may overtake it, but not one that starves.
func TestHandOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Mutex
		m.TryLock()
		first := async(func() error { return m.Lock(noContext, nil) })
		for range 10 {
			overtake(t, &m)
			stillWaits(t, "a waiter that was overtaken", first)
		}
		time.Sleep(starvation)
		overtake(t, &m)
		stillWaits(t, "a waiter that was overtaken once more", first)

		lock.UnlockBefore(&m, func() {
			if m.TryLock() {
				t.Error("TryLock overtakes a starving waiter")
			}
		})
		second := async(func() error { return m.Lock(noContext, nil) })
		if err := ended(t, "a starving waiter", first); err != nil {
			t.Error(err)
		}
		stillWaits(t, "the second", second)
		// Nobody starves any more.
		overtake(t, &m)
		stillWaits(t, "the second", second)
		m.Unlock()
		if err := ended(t, "the second", second); err != nil {
			t.Error(err)
		}
		m.Unlock()
		wantFree(t, &m)
	})
}

// Once there is one that starves, all that have waited for long are served at once.
func TestHandOffToAll(t *testing.T) {
	for _, test := range []struct {
		waited    time.Duration
		overtaken bool // the second waiter
	}{{2 * time.Millisecond, true}, {5 * time.Millisecond, false}} {
		bubble(t, test.waited.String(), func(t *testing.T) {
			var m lock.Mutex
			m.TryLock()
			wait := func() error { return m.Lock(noContext, nil) }
			first, second := async(wait), async(wait)
			time.Sleep(test.waited)
			overtake(t, &m)
			m.Unlock()
			if err := ended(t, "the first", first); err != nil {
				t.Error(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // wait no longer than needed
			var err error
			lock.UnlockBefore(&m, func() { err = m.Lock(ctx, nil) })
			if overtaken := err == nil; overtaken != test.overtaken {
				t.Errorf("overtaken is %v", overtaken)
			} else if overtaken {
				m.Unlock()
			}
			if err := ended(t, "the second", second); err != nil {
				t.Error(err)
			}
			m.Unlock()
			wantFree(t, &m)
		})
	}
}

// A waiter gives up for each reason at each place in the queue, and the others are served.
func TestGivingUp(t *testing.T) {
	tests := []struct {
		name string
		lock func(m *lock.Mutex) error
		want error
	}{
		{"deadline", func(m *lock.Mutex) error {
			return m.Lock(noContext, &deadline{at: time.Now().Add(time.Second)})
		}, lock.ErrDeadline},
		{"deadline in the past", func(m *lock.Mutex) error {
			return m.Lock(noContext, &deadline{at: time.Now().Add(-time.Second)})
		}, lock.ErrDeadline},
		{"deadline set", func(m *lock.Mutex) error {
			var d deadline
			time.AfterFunc(time.Second, func() { d.change(m, time.Now()) })
			return m.Lock(noContext, &d)
		}, lock.ErrDeadline},
		{"deadline earlier", func(m *lock.Mutex) error {
			d := deadline{at: time.Now().Add(time.Hour)}
			time.AfterFunc(time.Second/2, func() { d.change(m, time.Now().Add(time.Second/2)) })
			return m.Lock(noContext, &d)
		}, lock.ErrDeadline},
		{"context", func(m *lock.Mutex) error {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			return m.Lock(ctx, nil)
		}, context.Canceled},
		{"context done", func(m *lock.Mutex) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return m.Lock(ctx, nil)
		}, context.Canceled},
		{"context before the deadline", func(m *lock.Mutex) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return m.Lock(ctx, &deadline{at: time.Now().Add(time.Minute)})
		}, context.DeadlineExceeded},
		{"deadline before the context", func(m *lock.Mutex) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return m.Lock(ctx, &deadline{at: time.Now().Add(time.Second)})
		}, lock.ErrDeadline},
	}
	for _, test := range tests {
		for position := range 3 {
			for behind := range 3 {
				for _, starving := range []bool{false, true} {
					name := fmt.Sprintf("%s/%d before/%d behind/starving=%v", test.name, position, behind, starving)
					bubble(t, name, func(t *testing.T) {
						var m lock.Mutex
						m.TryLock()
						before := queue(&m, position)
						from := time.Now()
						gone := async(func() error { return test.lock(&m) })
						after := queue(&m, behind)
						if starving && lock.Waiters(&m) > 0 {
							time.Sleep(starvation)
							overtake(t, &m)
						}
						if err := <-gone; err != test.want {
							t.Errorf("error %v, want %v", err, test.want)
						}
						if took := time.Since(from); took > time.Second {
							t.Errorf("gave up after %v", took)
						}
						if n := lock.Waiters(&m); n != position+behind {
							t.Errorf("%d still wait, want %d", n, position+behind)
						}
						m.Unlock()
						if n := len(before()) + len(after()); n != position+behind {
							t.Errorf("%d of %d others were served", n, position+behind)
						}
						wantFree(t, &m)
					})
				}
			}
		}
	}
}

// change sets the deadline and tells the waiters of m.
func (d *deadline) change(m *lock.Mutex, at time.Time) {
	d.set(at)
	m.DeadlineChanged(at)
	m.DeadlineChanged(at) // once more does no harm
}

// The deadline of a wait is the one that was set last.
func TestDeadlineChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Mutex
		var d deadline
		d.change(&m, time.Time{}) // nobody waits
		m.TryLock()
		d.change(&m, time.Time{})
		waiting := make([]<-chan error, 3)
		for i := range waiting {
			waiting[i] = async(func() error { return m.Lock(noContext, &d) })
		}
		other := async(func() error { return m.Lock(noContext, nil) })
		for _, after := range []time.Duration{time.Minute, time.Second, time.Hour, time.Minute} {
			d.change(&m, time.Now().Add(after))
			time.Sleep(after - 1)
			for _, done := range waiting {
				stillWaits(t, "a wait before its deadline", done)
			}
		}
		d.change(&m, time.Time{})
		time.Sleep(24 * time.Hour)
		for _, done := range waiting {
			stillWaits(t, "a wait whose deadline was removed", done)
		}
		d.change(&m, time.Now().Add(time.Hour))
		d.change(&m, time.Now())
		for _, done := range waiting {
			if err := ended(t, "a wait", done); err != lock.ErrDeadline {
				t.Error(err)
			}
		}
		stillWaits(t, "a wait without a deadline", other)
		m.Unlock()
		if err := ended(t, "the wait without a deadline", other); err != nil {
			t.Error(err)
		}
	})
}

// A deadline that changes between two reads is not missed, whichever of them came first.
func TestDeadlineChangedWhileQueueing(t *testing.T) {
	for reads := 1; reads <= 3; reads++ {
		bubble(t, fmt.Sprint(reads), func(t *testing.T) {
			var m lock.Mutex
			m.TryLock()
			from := time.Now()
			d := &changing{m: &m, reads: reads, deadline: deadline{at: from.Add(time.Hour)}}
			done := async(func() error {
				err := m.Lock(noContext, d)
				if took, want := time.Since(from), d.changed.Add(time.Second).Sub(from); took != want {
					t.Errorf("took %v, want %v", took, want)
				}
				return err
			})
			if reads == 3 {
				time.Sleep(time.Minute)
				d.deadline.change(&m, from.Add(2*time.Minute)) // causes the third read
			}
			if err := <-done; err != lock.ErrDeadline {
				t.Error(err)
			}
		})
	}
}

// A changing deadline becomes a second after one of its reads.
type changing struct {
	deadline
	m       *lock.Mutex
	reads   int
	changed time.Time
}

func (d *changing) Deadline() time.Time {
	at := d.deadline.Deadline()
	if d.reads--; d.reads == 0 {
		d.changed = time.Now()
		d.change(d.m, time.Now().Add(time.Second))
	}
	return at
}

// Close sends away those who wait, and those who come later, whether or not the holder unlocks.
func TestClose(t *testing.T) {
	for _, starving := range []bool{false, true} {
		bubble(t, fmt.Sprintf("starving=%v", starving), func(t *testing.T) {
			var m lock.Mutex
			m.TryLock()
			wait := func() error {
				return m.Lock(t.Context(), &deadline{at: time.Now().Add(time.Minute)})
			}
			waiting := []<-chan error{async(wait), async(wait), async(wait)}
			if starving {
				time.Sleep(starvation)
				overtake(t, &m)
			}
			m.Close()
			for i, done := range waiting {
				if err := ended(t, "a waiter", done); err != lock.ErrClosed {
					t.Errorf("waiter %d: %v", i, err)
				}
			}
			if err := ended(t, "one that comes later", async(wait)); err != lock.ErrClosed {
				t.Errorf("one that comes later: %v", err)
			}
			m.Close()
			m.Unlock()
			wantFree(t, &m)
			if err := wait(); err != nil {
				t.Errorf("a free mutex: %v", err)
			}
			m.Unlock()
		})
	}
	t.Run("never contended", func(t *testing.T) {
		var m lock.Mutex
		m.Close()
		wantFree(t, &m)
	})
}

// A waiter that was woken but has not run yet is sent away by Close as well.
func TestCloseWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m lock.Mutex
		m.TryLock()
		done := async(func() error { return m.Lock(noContext, nil) })
		lock.UnlockBefore(&m, m.Close)
		if err := ended(t, "the waiter", done); err != lock.ErrClosed {
			t.Error(err)
		}
		wantFree(t, &m)
	})
}

// However a wait ends when everything happens at once, the mutex is not lost, and nobody behind is
// forgotten.
func TestGivingUpWhileHandedOff(t *testing.T) {
	for i := range 4000 {
		synctest.Test(t, func(t *testing.T) {
			var m lock.Mutex
			var d deadline
			m.TryLock()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := async(func() error { return m.Lock(ctx, &d) })
			served := queue(&m, i%3)
			if i%2 == 0 {
				time.Sleep(starvation)
				overtake(t, &m)
			}
			acts := []func(){m.Unlock, cancel, func() { d.change(&m, time.Now()) }}
			if i%5 == 0 {
				acts = append(acts, m.Close)
			}
			rand.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
			for _, act := range acts {
				if i%7 == 0 {
					act()
				} else {
					go act()
				}
			}
			if err := <-done; err == nil {
				if m.TryLock() {
					t.Fatal("the mutex was taken and is free")
				}
				m.Unlock()
			}
			if n := len(served()); n != i%3 && i%5 != 0 {
				t.Fatalf("%d of %d behind were served", n, i%3)
			}
			wantFree(t, &m)
		})
	}
}

// A counter under the mutex agrees with the number of Locks that succeeded. Under the race detector
// this also shows that the mutex orders memory.
func TestStress(t *testing.T) {
	for round := range 20 {
		var m lock.Mutex
		var d deadline
		var wg sync.WaitGroup
		var n, want int
		var got atomic.Int64
		var inside atomic.Int32
		for range 16 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(rand.Uint64(), 0))
				for range 300 {
					var ctx context.Context
					cancel := func() {}
					if r.IntN(4) == 0 {
						ctx, cancel = context.WithTimeout(t.Context(), time.Duration(r.IntN(200))*time.Microsecond)
					}
					if r.IntN(8) == 0 {
						d.change(&m, time.Now().Add(time.Duration(r.IntN(500)-50)*time.Microsecond))
					}
					var err error
					switch r.IntN(4) {
					case 0:
						if !m.TryLock() {
							err = errors.New("not free")
						}
					case 1:
						err = m.Lock(ctx, nil)
					default:
						err = m.Lock(ctx, &d)
					}
					if err == nil {
						if inside.Add(1) != 1 {
							t.Error("two goroutines hold the mutex")
						}
						n++
						got.Add(1)
						if r.IntN(16) == 0 {
							time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
						}
						inside.Add(-1)
						m.Unlock()
					}
					cancel()
				}
			})
		}
		if round%4 == 3 {
			wg.Go(func() {
				time.Sleep(time.Millisecond)
				m.Close()
			})
		}
		wg.Wait()
		if want = int(got.Load()); n != want {
			t.Errorf("counted %d under the mutex, %d outside", n, want)
		}
		wantFree(t, &m)
	}
}

// Work that is left to the holder of the mutex is done even if those that wait for it give up: a
// Lock that fails need not look for any.
func TestWorkIsNotLeft(t *testing.T) {
	for range 20 {
		var m lock.Mutex
		var left atomic.Int64
		work := func() {
			for left.Load() != 0 && m.TryLock() {
				left.Store(0)
				m.Unlock()
			}
		}
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 300 {
					if g < 3 {
						left.Add(1)
						work()
						runtime.Gosched()
						continue
					}
					d := &deadline{at: time.Now().Add(time.Duration(i%20) * time.Microsecond)}
					if m.Lock(noContext, d) == nil {
						runtime.Gosched()
						m.Unlock()
						work()
					}
				}
			})
		}
		wg.Wait()
		if n := left.Load(); n != 0 {
			t.Fatalf("%d pieces of work were left", n)
		}
	}
}

// Contention does not allocate, once there have been as many waiters before.
func TestContentionDoesNotAllocate(t *testing.T) {
	var m lock.Mutex
	d := &deadline{at: time.Now().Add(time.Hour)}
	turn, done := make(chan bool), make(chan bool)
	go func() {
		for range turn {
			m.Lock(noContext, d)
			m.Unlock()
			done <- true
		}
	}()
	defer close(turn)
	got := testing.AllocsPerRun(100, func() {
		m.TryLock()
		turn <- true
		for lock.Waiters(&m) == 0 {
			runtime.Gosched()
		}
		m.Unlock()
		<-done
	})
	if got > 0 {
		t.Errorf("%v allocations in each wait", got)
	}
}

// noContext is for waits that no context ends.
var noContext context.Context
