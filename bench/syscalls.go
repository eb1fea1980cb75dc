package main

// System calls per message, counted by strace. Attached to a server it makes everything slow, so
// nothing is timed here.

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// counted are the scenarios and contenders of this mode.
var (
	countedScenarios  = []string{"64B", "64B-pipelined"}
	countedContenders = []string{floor, gorilla, plain, messages, "websocket Handle"}
)

// countSyscalls prints a table for each scenario.
func (h host) countSyscalls(set settings) error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("-syscalls needs strace: %w", err)
	}
	for _, s := range set.scenarios {
		if !slices.Contains(countedScenarios, s.name) {
			continue
		}
		fmt.Printf("\n%s: system calls per message\n", s.title)
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprint(t, "\tread\twrite, writev\tepoll\tothers\tall\t\n")
		for _, c := range set.who {
			if !slices.Contains(countedContenders, c.name) {
				continue
			}
			n, err := h.trace(c, s, set.time)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			fmt.Fprintf(t, "%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t\n", c.name,
				n.read, n.write, n.epoll, n.other, n.read+n.write+n.epoll+n.other)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// calls are system calls per message, by kind.
type calls struct{ read, write, epoll, other float64 }

// trace runs s against c's server under strace.
func (h host) trace(c contender, s scenario, d time.Duration) (n calls, err error) {
	sub, err := h.subject(c, s)
	if err != nil {
		return n, err
	}
	file := filepath.Join(h.dir, "strace.txt")
	strace := exec.Command("strace", "-c", "-f", "-o", file, "-p", strconv.Itoa(sub.cmd.Process.Pid))
	diagnostics, err := strace.StderrPipe()
	if err != nil {
		return n, err
	}
	if err := strace.Start(); err != nil {
		return n, err
	}
	// The first line says that it is attached.
	first := make([]byte, 256)
	if k, err := diagnostics.Read(first); err != nil || !bytes.Contains(first[:k], []byte("attached")) {
		return n, fmt.Errorf("strace: %q: %w", first[:k], err)
	}
	r, err := sub.run(d)
	if err != nil {
		return n, err
	}
	if err := strace.Process.Signal(os.Interrupt); err != nil {
		return n, err
	}
	for err == nil {
		_, err = diagnostics.Read(first)
	}
	strace.Wait() // ends by the signal it was sent
	if err := sub.end(); err != nil {
		return n, err
	}
	return parseCounts(file, r.Messages)
}

// parseCounts reads the table of strace -c:
//
//	% time     seconds  usecs/call     calls    errors syscall
func parseCounts(file string, count int) (n calls, err error) {
	table, err := os.ReadFile(file)
	if err != nil {
		return n, err
	}
	for row := range strings.Lines(string(table)) {
		columns := strings.Fields(row)
		if len(columns) < 5 || columns[len(columns)-1] == "total" {
			continue
		}
		number, err := strconv.Atoi(columns[3])
		if err != nil {
			continue // the head of the table
		}
		each := float64(number) / float64(count)
		switch name := columns[len(columns)-1]; {
		case name == "read":
			n.read += each
		case name == "write" || name == "writev":
			n.write += each
		case strings.HasPrefix(name, "epoll"):
			n.epoll += each
		default:
			n.other += each
		}
	}
	if n == (calls{}) {
		return n, fmt.Errorf("no counts in strace's table:\n%s", table)
	}
	return n, nil
}
