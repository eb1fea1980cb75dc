package main

// Where things run: the servers on processors of their own, the load generator on another, so that
// the scheduler's choices do not become part of the figures.

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// placement holds the processors; the zero value leaves the choice to the kernel.
type placement struct {
	server, client unix.CPUSet
	fixed          bool
}

// placements chooses among the processors that this process may run on.
type placements struct{ all unix.CPUSet }

// newPlacements binds the calling goroutine to its thread, for placement.use to move.
func newPlacements() (*placements, error) {
	var p placements
	if err := unix.SchedGetaffinity(0, &p.all); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	runtime.LockOSThread()
	return &p, nil
}

// choose gives the last processors to servers with the given GOMAXPROCS and the one before them to
// the client. If they are too few, servers and client share all.
func (p *placements) choose(procs int) placement {
	chosen := placement{server: p.all, client: p.all, fixed: true}
	if p.all.Count() <= procs {
		return chosen
	}
	chosen.server.Zero()
	chosen.client.Zero()
	for cpu := len(p.all)*64 - 1; chosen.client.Count() == 0; cpu-- {
		switch {
		case !p.all.IsSet(cpu):
		case chosen.server.Count() < procs:
			chosen.server.Set(cpu)
		default:
			chosen.client.Set(cpu)
		}
	}
	return chosen
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

// start starts a server on its processors, and leaves the calling thread on the client's.
func (p placement) start(cmd *exec.Cmd) error {
	if err := p.to(&p.server); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), p.to(&p.client))
}
