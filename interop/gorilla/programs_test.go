package gorilla

// Programs written for gorilla/websocket, built and run in both ways a program
// can move: with the import path changed, and unchanged with replace lines.
// They come from the module cache, gorilla's examples as well as modules of
// others with their own tests.

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// patience bounds waiting for a program: it turns a hang into a failure.
const patience = 30 * time.Second

// goTool runs the go command in a directory.
func goTool(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// moduleDir returns where the source of a module lies.
func moduleDir(t *testing.T, path string) string {
	t.Helper()
	return goTool(t, ".", "list", "-m", "-f", "{{.Dir}}", path)
}

// A way is how a program comes to use this package instead of gorilla's.
type way struct {
	name  string
	apply func(t *testing.T, dir, checkout string)
}

var ways = []way{
	{"import path changed", func(t *testing.T, dir, checkout string) {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, bytes.ReplaceAll(source, []byte(`"`+gorillaPath+`"`), []byte(`"`+ourPath+`"`)), 0o600)
		})
		if err != nil {
			t.Fatal(err)
		}
		goTool(t, dir, "mod", "edit", "-droprequire", gorillaPath, "-require", ourPath+"@v0.0.0", "-replace", ourPath+"="+checkout)
	}},
	{"replace", standIn},
}

// copyTree copies a directory out of the module cache, where files are read-only.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestExamplePrograms(t *testing.T) {
	checkout := moduleDir(t, ourPath)
	examples := filepath.Join(moduleDir(t, gorillaPath), "examples")
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, dir, examples)
			goMod := "module examples\n\ngo 1.25\n\nrequire " + gorillaPath + " v1.5.3\n"
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(goMod), 0o600); err != nil {
				t.Fatal(err)
			}
			way.apply(t, dir, checkout)
			bin := t.TempDir() + string(os.PathSeparator)
			goTool(t, dir, "build", "-o", bin, "./chat", "./command", "./filewatch", "./autobahn")
			goTool(t, dir, "build", "-o", bin+"echo-server", "echo/server.go")
			goTool(t, dir, "build", "-o", bin+"echo-client", "echo/client.go")
			t.Run("echo", func(t *testing.T) { runEcho(t, bin) })
			t.Run("chat", func(t *testing.T) { runChat(t, bin) })
			t.Run("command", func(t *testing.T) { runCommand(t, bin) })
			t.Run("filewatch", func(t *testing.T) { runFilewatch(t, bin) })
			t.Run("autobahn", func(t *testing.T) { runAutobahn(t, bin) })
		})
	}
}

// program is a running program and what it has printed.
type program struct {
	*exec.Cmd
	mu      sync.Mutex
	printed bytes.Buffer
	change  chan bool
	exited  chan error
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printed.Write(b)
	select {
	case p.change <- true:
	default:
	}
	return len(b), nil
}

func (p *program) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.String()
}

// run starts a program that ends with the test at the latest.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	p := &program{Cmd: exec.Command(name, args...), change: make(chan bool, 1), exited: make(chan error, 1)}
	p.Stdout, p.Stderr = p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.exited <- p.Wait() }()
	t.Cleanup(func() {
		p.Process.Kill()
		select {
		case <-p.exited:
		case <-time.After(patience):
			t.Errorf("%s does not end", name)
		}
		if t.Failed() {
			t.Logf("%s printed:\n%s", filepath.Base(name), p.output())
		}
	})
	return p
}

// waitFor waits until the program has printed s.
func (p *program) waitFor(t *testing.T, s string) {
	t.Helper()
	expired := time.After(patience)
	for !strings.Contains(p.output(), s) {
		select {
		case <-p.change:
		case <-expired:
			t.Fatalf("%q is not printed", s)
		}
	}
}

// serve starts a program that listens at the address given with -addr.
func serve(t *testing.T, name string, args ...string) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = ln.Addr().String()
	ln.Close()
	p := run(t, name, append([]string{"-addr", addr}, args...)...)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for expired := time.After(patience); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return addr
		}
		select {
		case <-tick.C:
		case err := <-p.exited:
			p.exited <- err
			t.Fatalf("%s: %v", name, err)
		case <-expired:
			t.Fatalf("%s does not listen", name)
		}
	}
}

// connect dials a program with gorilla's client.
func connect(t *testing.T, addr, path string) *gorilla.Conn {
	t.Helper()
	d := gorilla.Dialer{HandshakeTimeout: patience, EnableCompression: true}
	c, _, err := d.DialContext(context.Background(), "ws://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetReadDeadline(time.Now().Add(patience))
	return c
}

func send(t *testing.T, c *gorilla.Conn, kind int, p string) {
	t.Helper()
	if err := c.WriteMessage(kind, []byte(p)); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c *gorilla.Conn, kind int, want string) {
	t.Helper()
	k, p, err := c.ReadMessage()
	if err != nil || k != kind || string(p) != want {
		if len(want) > 100 {
			t.Fatalf("read %d, %d bytes, %v", k, len(p), err)
		}
		t.Fatalf("read %d, %q, %v; expected %d, %q", k, p, err, kind, want)
	}
}

func runEcho(t *testing.T, bin string) {
	addr := serve(t, bin+"echo-server")
	client := run(t, bin+"echo-client", "-addr", addr)
	client.waitFor(t, "recv: ")
	if err := client.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	client.waitFor(t, "read: websocket: close 1000 (normal)")
	err := <-client.exited
	if client.exited <- err; err != nil {
		t.Errorf("the client ends with %v", err)
	}
}

func runChat(t *testing.T, bin string) {
	addr := serve(t, bin+"chat")
	one, two := connect(t, addr, "/ws"), connect(t, addr, "/ws")
	// The hub knows a client once its own message came back.
	send(t, one, text, "first")
	expect(t, one, text, "first")
	send(t, two, text, "second\nline")
	expect(t, one, text, "second line")
	for {
		_, p, err := two.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(p), "second line") {
			break
		}
	}
}

func runCommand(t *testing.T, bin string) {
	c := connect(t, serve(t, bin+"command", "cat"), "/ws")
	for _, line := range []string{"hello", "", "w\u00f6rld"} {
		send(t, c, text, line)
		expect(t, c, text, line)
	}
}

func runFilewatch(t *testing.T, bin string) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("contents"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, bin+"filewatch", file)
	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(page, []byte("contents")) {
		t.Errorf("page %q, %v", page, err)
	}
	c := connect(t, addr, "/ws?lastMod=0")
	send(t, c, closing, "\x03\xe8")
	if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 1000) {
		t.Errorf("ended with %v", err)
	}
}

func runAutobahn(t *testing.T, bin string) {
	addr := serve(t, bin+"autobahn")
	for _, path := range []string{"/c", "/f", "/r", "/m", "/p"} {
		c := connect(t, addr, path)
		for _, p := range []string{"", "hello", strings.Repeat("long \u20ac ", 20000)} {
			for _, kind := range []int{text, binaryType} {
				send(t, c, kind, p)
				expect(t, c, kind, p)
			}
		}
		w, err := c.NextWriter(text)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			io.WriteString(w, strings.Repeat("x", 5000))
		}
		w.Close()
		expect(t, c, text, strings.Repeat("x", 15000))
		send(t, c, closing, "\x03\xe8")
		if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 1000) {
			t.Errorf("%s: ended with %v", path, err)
		}
	}
}
