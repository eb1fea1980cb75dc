package interop

// The programs under examples/, built once and run as a user would run them.

import (
	"bufio"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
)

// built holds the examples that are compiled already; dir lives as long as the test binary.
var built struct {
	mu       sync.Mutex
	dir      string
	programs map[string]error
}

// build compiles one example and returns the program's path.
func build(name string) (path string, err error) {
	built.mu.Lock()
	defer built.mu.Unlock()
	path = filepath.Join(built.dir, name)
	err, done := built.programs[name]
	if !done {
		cmd := exec.Command("go", "build", "-o", path, "./examples/"+name)
		cmd.Dir = ".." // the root module
		var out []byte
		if out, err = cmd.CombinedOutput(); err != nil {
			err = fmt.Errorf("build examples/%s: %w\n%s", name, err, out)
		}
		built.programs[name] = err
	}
	return path, err
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "examples")
	if err != nil {
		log.Fatal(err)
	}
	built.dir, built.programs = dir, make(map[string]error)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// An example is a running program of examples/.
type example struct {
	*process
	url string // of its page
}

var pageURL = regexp.MustCompile(`https?://[^\s,]+`)

// startExample runs an example with -addr and the given further arguments until the test ends.
func startExample(t testing.TB, name string, args ...string) *example {
	t.Helper()
	path, err := build(name)
	if err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	p := start(t, nil, true, path, args...)
	line, err := bufio.NewReader(p.stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s does not print its URL: %v; it printed:\n%s", name, err, p.output)
	}
	url := pageURL.FindString(line)
	if url == "" {
		t.Fatalf("%s prints %q, which holds no URL", name, line)
	}
	return &example{p, url}
}

// interrupt asks the program to end, as a service manager would.
func (e *example) interrupt(t testing.TB) {
	t.Helper()
	if err := syscall.Kill(e.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
