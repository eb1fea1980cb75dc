package main

// Where things run: the servers on one processor, the load generator on
// another, so that the scheduler's choices do not become part of the figures.

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// placement holds the two processors; the zero value leaves the choice to the
// kernel.
type placement struct {
	server, client unix.CPUSet
	fixed          bool
}

// place picks the last two processors this process may run on and moves the
// calling goroutine, from now on bound to its thread, to the client's.
func place() (placement, error) {
	var p placement
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return p, fmt.Errorf("sched_getaffinity: %w", err)
	}
	if all.Count() < 2 {
		return p, nil
	}
	p.fixed = true
	found := 0
	for cpu := len(all)*64 - 1; found < 2; cpu-- {
		if !all.IsSet(cpu) {
			continue
		}
		found++
		if found == 1 {
			p.server.Set(cpu)
		} else {
			p.client.Set(cpu)
		}
	}
	runtime.LockOSThread()
	return p, p.to(&p.client)
}

// to moves the calling thread, and what it starts, to set.
func (p placement) to(set *unix.CPUSet) error {
	if !p.fixed {
		return nil
	}
	if err := unix.SchedSetaffinity(0, set); err != nil {
		return fmt.Errorf("sched_setaffinity: %w", err)
	}
	return nil
}

// start starts a server on its processor.
func (p placement) start(cmd *exec.Cmd) error {
	if err := p.to(&p.server); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), p.to(&p.client))
}
