package websocket

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// queue starts n goroutines that wait for r in turn, and returns a function
// that tells in which order they got it.
func queue(r *right, n int) func() []int {
	var served []int
	for i := range n {
		go func() {
			r.lock(never, time.Time{})
			served = append(served, i) // guarded by r
			r.unlock()
		}()
		synctest.Wait()
	}
	return func() []int {
		synctest.Wait()
		return served
	}
}

func TestRightOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r right
		r.lock(never, time.Time{})
		served := queue(&r, 6)
		if got := served(); got != nil {
			t.Fatalf("%v got a right that is held", got)
		}
		r.unlock()
		if got, want := served(), []int{0, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
			t.Errorf("served in the order %v, want %v", got, want)
		}
		if !r.tryLock() {
			t.Error("the right is not free in the end")
		}
	})
}

// A waiter is not overtaken by one who comes while the right changes hands.
func TestRightNotOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r right
		r.lock(never, time.Time{})
		got := async(func() error { return r.lock(never, time.Time{}) })
		synctest.Wait()
		r.unlock()
		if r.tryLock() {
			t.Error("the right was taken away from the one who waited")
		}
		<-got
		r.unlock()
	})
}

func TestRightGivingUp(t *testing.T) {
	cause := errors.New("the cause")
	for position := range 3 {
		for _, test := range []struct {
			name string
			lock func(r *right) error
			want []error
		}{
			{"deadline", func(r *right) error {
				return r.lock(never, time.Now().Add(time.Second))
			}, []error{os.ErrDeadlineExceeded}},
			{"deadline in the past", func(r *right) error {
				return r.lock(never, time.Now().Add(-time.Second))
			}, []error{os.ErrDeadlineExceeded}},
			{"context", func(r *right) error {
				ctx, cancel := context.WithCancelCause(context.Background())
				time.AfterFunc(time.Second, func() { cancel(cause) })
				return r.lock(ctx, time.Time{})
			}, []error{cause, context.Canceled}},
			{"context before the deadline", func(r *right) error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				return r.lock(ctx, time.Now().Add(time.Minute))
			}, []error{context.DeadlineExceeded}},
			{"deadline before the context", func(r *right) error {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				return r.lock(ctx, time.Now().Add(time.Second))
			}, []error{os.ErrDeadlineExceeded}},
		} {
			bubble(t, test.name, func(t *testing.T) {
				var r right
				r.lock(never, time.Time{})
				before := queue(&r, position)
				start := time.Now()
				gone := async(func() error { return test.lock(&r) })
				synctest.Wait()
				after := queue(&r, 2)
				err := <-gone
				for _, want := range test.want {
					if !errors.Is(err, want) {
						t.Errorf("error %v is not %v", err, want)
					}
				}
				if took := time.Since(start); took > time.Second {
					t.Errorf("gave up after %v", took)
				}
				r.unlock()
				if n := len(before()) + len(after()); n != position+2 {
					t.Errorf("%d of %d others were served", n, position+2)
				}
				if !r.tryLock() {
					t.Error("the right is not free in the end")
				}
			})
		}
	}
}

func TestRightWaitErrorIsTemporary(t *testing.T) {
	var r right
	r.lock(never, time.Time{})
	err := r.lock(never, aLongTimeAgo)
	wantDeadline(t, err, true)
	if _, ok := err.(net.Error); !ok {
		t.Errorf("%T is not a net.Error", err)
	}
}

// The right is handed over and the waiter gives up at the same moment: it may
// come out either way, but the right must not get lost.
func TestRightHandOverWhileGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 2000 {
			var r right
			r.lock(never, time.Time{})
			ctx, cancel := context.WithCancel(context.Background())
			got := async(func() error { return r.lock(ctx, time.Time{}) })
			synctest.Wait()
			served := queue(&r, i%2)
			if i%3 == 0 {
				cancel()
				r.unlock()
			} else {
				r.unlock()
				cancel()
			}
			err := <-got
			if err == nil {
				if r.tryLock() {
					t.Fatal("the right was handed over, and is free all the same")
				}
				r.unlock()
			}
			if len(served()) != i%2 {
				t.Fatal("the one behind was not served")
			}
			if !r.tryLock() {
				t.Fatal("the right got lost")
			}
		}
	})
}

// Under the race detector this shows that a right orders memory.
func TestRightExcludes(t *testing.T) {
	var r right
	var wg sync.WaitGroup
	n, want := 0, make(chan int, 8)
	for g := range 8 {
		wg.Go(func() {
			got := 0
			for i := range 500 {
				ctx, cancel := context.WithCancel(context.Background())
				if (g+i)%3 == 0 {
					go cancel()
				}
				if r.lock(ctx, time.Time{}) == nil {
					n++
					got++
					r.unlock()
				}
				cancel()
			}
			want <- got
		})
	}
	wg.Wait()
	sum := 0
	for range 8 {
		sum += <-want
	}
	if n != sum || !r.tryLock() {
		t.Errorf("counted %d under the right, %d outside; then free: %v", n, sum, r.tryLock())
	}
}

// A right that has ended sends its waiters away, and those who come later,
// whether or not its holder ever lets go. Without one it can still be had.
func TestRightEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r right
		r.lock(never, time.Time{})
		lock := func() error { return r.lock(never, time.Now().Add(time.Minute)) }
		waiting := []<-chan error{async(lock), async(lock), async(lock)}
		synctest.Wait()
		r.end()
		for i, done := range waiting {
			if err := ended(t, "a waiter", done); err != errClosed {
				t.Errorf("waiter %d: %v", i, err)
			}
		}
		if err := ended(t, "one who comes later", async(lock)); err != errClosed {
			t.Errorf("one who comes later: %v", err)
		}
		r.end()
		r.unlock()
		for range 2 {
			if err := lock(); err != nil {
				t.Errorf("the right is free: %v", err)
			}
			r.unlock()
		}
	})
}

// However a wait ends when everything happens at once, the right is not lost.
func TestRightEndWhileGivingUp(t *testing.T) {
	for range 500 {
		var r right
		r.lock(never, time.Time{})
		ctx, cancel := context.WithCancel(context.Background())
		waiting := []<-chan error{async(func() error { return r.lock(ctx, time.Time{}) }),
			async(func() error { return r.lock(ctx, time.Time{}) })}
		go cancel()
		go r.end()
		r.unlock()
		for _, done := range waiting {
			if <-done == nil {
				r.unlock()
			}
		}
		if !r.tryLock() {
			t.Fatal("the right got lost")
		}
	}
}

// The deadline of a wait is the one that was set last.
func TestRightDeadlineReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r right
		var b bound
		r.lock(never, time.Time{})
		set := func(at time.Time) {
			b.set(&loopConn{}, writing, at)
			r.remind()
			r.remind() // once more does no harm
		}
		done := async(func() error { return r.wait(never, &b) })
		for _, d := range []time.Duration{time.Minute, time.Second, time.Hour} {
			set(time.Now().Add(d))
			advance(d - 1)
			stillWaiting(t, "a wait before its deadline", done)
		}
		set(time.Time{})
		advance(24 * time.Hour)
		stillWaiting(t, "a wait whose deadline was lifted", done)
		set(time.Now())
		wantDeadline(t, ended(t, "the wait", done), true)
	})
}
