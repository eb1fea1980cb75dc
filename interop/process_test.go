package interop

// Programs that the tests start: each in a process group of its own, with its output kept for the
// failure message, and gone when the test ends, even when the test binary itself dies.

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a foreign program. No test measures time with it: it only turns a
// hang into a failure.
const patience = 2 * time.Minute

// guard becomes the program given as its arguments, after leaving behind a watcher that kills the
// whole process group as soon as descriptor 3 reports end of file: the test holds the other end.
const guard = `(read -r _ <&3; kill -KILL 0) </dev/null >/dev/null 2>&1 & exec "$@" 3<&-`

// A process is a running foreign program.
type process struct {
	name   string
	stdin  io.WriteCloser
	stdout io.Reader // nil when the output is only kept
	output *output
	pid    int
}

// output keeps what a program printed.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a program until the test ends. env holds additions to the environment. With lines set,
// the standard output can be read from the process; otherwise it is kept together with the standard
// error.
func start(t testing.TB, env []string, lines bool, name string, args ...string) *process {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		// The daemons of a Debian system live outside an ordinary user's PATH.
		if path, err = exec.LookPath(filepath.Join("/usr/sbin", name)); err != nil {
			t.Fatalf("%s is not installed, run interop/install.sh: %v", name, err)
		}
	}
	alive, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer alive.Close()

	p := &process{name: filepath.Base(name), output: new(output)}
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "sh", path}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = p.output
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if lines {
		if p.stdout, err = cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
	} else {
		cmd.Stdout = p.output
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	p.pid = cmd.Process.Pid
	t.Cleanup(func() {
		hold.Close()
		// Wait returns once nobody holds the standard error any more, which is when the whole group
		// is gone.
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s printed:\n%s", p.name, p.output)
		}
	})
	return p
}

// nextPort walks, from a random start, through ports that no kernel gives to the near end of a
// connection.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32() >> 1) }

// freePort returns a TCP port of the loopback interface that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := strconv.Itoa(20000 + int(nextPort.Add(1)%12000))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	panic("unreachable")
}

// waitListening returns when something accepts connections at address.
func (p *process) waitListening(t testing.TB, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not listen at %s; it printed:\n%s", p.name, address, p.output)
		}
	}
}

// writeFile puts text into a file of the test's temporary directory and returns its path.
func writeFile(t testing.TB, dir, name string, lines ...string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
