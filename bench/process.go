package main

// Server processes: built once, started afresh for every measurement, and asked the kernel what
// they cost.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// host is where servers run.
type host struct {
	dir    string // of the compiled programs
	places *placements
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

// place returns where to run servers with the given GOMAXPROCS.
func (h host) place(procs int) placement {
	if h.places == nil {
		return placement{}
	}
	return h.places.choose(procs)
}

// build compiles every server program.
func (h host) build() error {
	out, err := exec.Command("go", "build", "-o", h.dir+string(filepath.Separator), "./server/...").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the servers: %w\n%s", err, out)
	}
	return nil
}

// start runs the server of c for s.
func (h host) start(c contender, s scenario) (*process, error) {
	args := slices.Concat(c.args, s.args)
	p := &process{cmd: exec.Command(filepath.Join(h.dir, c.program), args...)}
	if c.program == "node" {
		p.cmd = exec.Command("node", append([]string{"--expose-gc", nodeProgram}, args...)...)
	}
	p.cmd.Env = slices.Concat(os.Environ(), c.env, []string{fmt.Sprint("GOMAXPROCS=", s.procs)})
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
	if err := h.place(s.procs).start(p.cmd); err != nil {
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

// command has the server obey line and returns what it answers after "ok".
func (p *process) command(line string) (string, error) {
	p.stdin.WriteString(line + "\n")
	if err := p.stdin.Flush(); err != nil {
		return "", err
	}
	answer, err := p.stdout.ReadString('\n')
	rest, ok := strings.CutPrefix(answer, "ok")
	if err != nil || !ok {
		return "", fmt.Errorf("the server answered %q to %.32q: %w", answer, line, err)
	}
	return strings.TrimSpace(rest), nil
}

// broadcast is a [load.Server].
func (p *process) broadcast(times int, text string) error {
	_, err := p.command(fmt.Sprintf("broadcast %d %s", times, text))
	return err
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

// cpu returns the user and system time all threads of the server have used. The kernel keeps it in
// nanoseconds.
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

// memory returns the bytes of resident memory and of live heap, after a garbage collection.
func (p *process) memory() (resident, heap int64, err error) {
	answer, err := p.command("gc")
	if err != nil {
		return 0, 0, err
	}
	if heap, err = strconv.ParseInt(answer, 10, 64); err != nil {
		return 0, 0, err
	}
	rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, _ := bytes.Cut(rollup, []byte("Rss:"))
	if _, err := fmt.Sscan(string(rest), &resident); err != nil {
		return 0, 0, fmt.Errorf("smaps_rollup: %w", err)
	}
	return resident << 10, heap, nil
}
