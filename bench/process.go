package main

// Server processes: built once, started afresh for every measurement, and
// asked the kernel what they cost.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// host is where servers run.
type host struct {
	dir   string // of the compiled programs
	place placement
}

// process is a running server.
type process struct {
	cmd    *exec.Cmd
	addr   netip.AddrPort
	stdin  *bufio.Writer
	close  func() error
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// build compiles every server program.
func (h host) build() error {
	out, err := exec.Command("go", "build", "-o", h.dir+string(filepath.Separator), "./server/...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the servers: %w\n%s", err, out)
	}
	return nil
}

// start runs the server of c with the given arguments added to its own.
func (h host) start(c contender, args []string) (*process, error) {
	args = append(append([]string{}, c.args...), args...)
	p := &process{cmd: exec.Command(filepath.Join(h.dir, c.program), args...)}
	if c.program == "node" {
		p.cmd = exec.Command("node", append([]string{"--expose-gc", nodeProgram}, args...)...)
	}
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	p.cmd.Stderr = &p.stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.stdout, p.close = bufio.NewWriter(in), bufio.NewReader(out), in.Close
	if err := h.place.start(p.cmd); err != nil {
		return nil, err
	}
	line, err := p.stdout.ReadString('\n')
	if err == nil {
		p.addr, err = netip.ParseAddrPort(strings.TrimSpace(line))
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// command has the server obey line.
func (p *process) command(line string) error {
	p.stdin.WriteString(line + "\n")
	if err := p.stdin.Flush(); err != nil {
		return err
	}
	answer, err := p.stdout.ReadString('\n')
	if err != nil || answer != "ok\n" {
		return fmt.Errorf("the server answered %q to %.32q: %w", answer, line, err)
	}
	return nil
}

// stop ends the server; what it wrote to standard error becomes an error.
func (p *process) stop() error {
	p.close()
	err := p.cmd.Wait()
	if p.stderr.Len() > 0 {
		return fmt.Errorf("the server said: %.400s", p.stderr.Bytes())
	}
	return err
}

// cpu returns the user and system time all threads of the server have used.
// The kernel keeps it in nanoseconds.
func (p *process) cpu() (time.Duration, error) {
	// The CPU-time clock of another process: clock_getcpuclockid(3).
	const schedulerClock = 2
	clock := int32(^p.cmd.Process.Pid)<<3 | schedulerClock
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("CPU clock of the server: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// resident returns the server's resident memory in bytes, after a garbage
// collection.
func (p *process) resident() (int64, error) {
	if err := p.command("gc"); err != nil {
		return 0, err
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(rollup, []byte("Rss:"))
	var kib int64
	if _, err := fmt.Sscan(string(rest), &kib); err != nil {
		return 0, fmt.Errorf("smaps_rollup: %w", err)
	}
	return kib << 10, nil
}
