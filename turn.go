package websocket

import (
	"net"
	"os"
	"sync"
	"time"
)

// A turn is what the calls in one direction of a net.Conn of this package wait with, that of Stream
// and that of Pipe: one call at a time is in progress, and all of them end when the deadline passes
// or the net.Conn is closed. It waits on channels alone.
type turn struct {
	taken  chan struct{} // of capacity 1: full while a call is in progress
	closed chan struct{} // closed with the net.Conn

	mu      sync.Mutex
	expired chan struct{} // closed once the deadline has passed
	timer   *time.Timer   // nil if no deadline is to come
}

func (t *turn) init(closed chan struct{}) {
	t.taken, t.closed, t.expired = make(chan struct{}, 1), closed, make(chan struct{})
}

// setDeadline acts on waits in progress as well.
func (t *turn) setDeadline(at time.Time) error {
	if isClosed(t.closed) {
		return net.ErrClosed
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if isClosed(t.expired) {
		t.expired = make(chan struct{})
	}
	if at.IsZero() {
		return nil
	}
	wait := time.Until(at)
	if wait <= 0 {
		close(t.expired)
		return nil
	}
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.timer == timer { // no other deadline was set meanwhile
			t.timer = nil
			close(t.expired)
		}
	})
	t.timer = timer
	return nil
}

// deadline returns a channel that is closed when the deadline passes, unless it is moved before.
func (t *turn) deadline() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.expired
}

// check returns the error of a call that begins, or goes on, now.
func (t *turn) check() error {
	switch {
	case isClosed(t.closed):
		return net.ErrClosed
	case isClosed(t.deadline()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// begin begins a call, which has no effect if there is an error.
func (t *turn) begin() error {
	if err := t.check(); err != nil {
		return err
	}
	select {
	case t.taken <- struct{}{}:
		return nil
	case <-t.deadline():
		return os.ErrDeadlineExceeded
	case <-t.closed:
		return net.ErrClosed
	}
}

func (t *turn) end() { <-t.taken }

// wait waits, as a part of a call, until something is received from ready.
func (t *turn) wait(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-t.deadline():
		return os.ErrDeadlineExceeded
	case <-t.closed:
		return net.ErrClosed
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// connError is an error of an operation on nc as package net has it.
func connError(op string, nc net.Conn, err error) error {
	e := &net.OpError{Op: op, Source: nc.LocalAddr(), Addr: nc.RemoteAddr(), Err: err}
	if e.Source != nil {
		e.Net = e.Source.Network()
	}
	return e
}
