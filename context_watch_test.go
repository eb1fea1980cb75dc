package websocket

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// A countingContext counts those who watch it. It is not comparable.
type countingContext struct {
	context.Context
	watching *atomic.Int32
	total    *atomic.Int32
	_        []int
}

func newCounting() (countingContext, func()) {
	ctx, cancel := newCancel()
	return countingContext{Context: ctx, watching: new(atomic.Int32), total: new(atomic.Int32)}, cancel
}

func (c countingContext) Value(any) any { return nil } // what is inside is not to be found

// AfterFunc is what the context package calls instead of starting a goroutine.
func (c countingContext) AfterFunc(f func()) (stop func() bool) {
	c.watching.Add(1)
	c.total.Add(1)
	cancel := context.AfterFunc(c.Context, func() { c.watching.Add(-1); f() })
	return func() bool {
		stopped := cancel()
		if stopped {
			c.watching.Add(-1)
		}
		return stopped
	}
}

type contextKey struct{}

// The same context again is not watched again, nor one made from it that ends
// with it; a connection that is closed watches none.
func TestContextWatchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		p.drain()
		ctx, cancel := newCounting()
		defer cancel()
		for i := range 10 {
			var use context.Context = ctx
			if i%2 == 1 {
				use = context.WithValue(ctx, contextKey{}, i)
			}
			go p.send(textFrame("a"))
			if _, _, err := c.ReadMessageContext(use); err != nil {
				t.Fatal(err)
			}
			if err := c.WriteMessageContext(use, TextMessage, nil); err != nil {
				t.Fatal(err)
			}
		}
		if n := ctx.total.Load(); n != 2 {
			t.Errorf("the context was watched %d times, want once for each half", n)
		}
		go p.send(textFrame("a"))
		wantRead(t, c, "a")
		if n := ctx.watching.Load(); n != 2 {
			t.Errorf("after a read without a context %d watch it, want both halves", n)
		}
		go c.ReadMessageContext(ctx)
		synctest.Wait()
		c.Close()
		synctest.Wait()
		if n := ctx.watching.Load(); n != 0 {
			t.Errorf("%d still watch the context of a closed connection", n)
		}
	})
}

// Nor does a call on a connection that is closed make it watch one.
func TestContextAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := overPipe(t, connConfig{isServer: true})
		c.Close()
		ctx, cancel := newCounting()
		defer cancel()
		for range 2 {
			if _, _, err := c.ReadMessageContext(ctx); err == nil {
				t.Error("read from a closed connection")
			}
			if err := c.WriteMessageContext(ctx, TextMessage, nil); err == nil {
				t.Error("wrote to a closed connection")
			}
		}
		if n := ctx.watching.Load(); n != 0 {
			t.Errorf("%d still watch the context of a closed connection", n)
		}
	})
}
