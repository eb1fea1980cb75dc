package interop

// Programs of the documents, run as they stand there but for addresses and times.

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// startDocumentProgram builds and starts the program of a document, with each of the replacements
// made, which are pairs of old and new texts.
func startDocumentProgram(t *testing.T, document string, replacements ...string) *process {
	t.Helper()
	doc, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```$").FindSubmatch(doc)
	if found == nil {
		t.Fatalf("%s has no program", document)
	}
	program := string(found[1])
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(program, replacements[i]) {
			t.Fatalf("the program of %s lacks %q", document, replacements[i])
		}
		program = strings.ReplaceAll(program, replacements[i], replacements[i+1])
	}
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	const path = "github.com/tautws/websocket"
	writeFile(t, dir, "main.go", program)
	writeFile(t, dir, "go.mod", "module program", "", "go 1.25", "",
		"require "+path+" v0.0.0", "", fmt.Sprintf("replace %s => %q", path, checkout))
	cmd := exec.Command("go", "build", "-o", "program", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return start(t, nil, true, filepath.Join(dir, "program"))
}

// TestDocumentedShutdown ends the server of docs/closing.md as a service manager would: every
// client gets the close frame and the program ends.
func TestDocumentedShutdown(t *testing.T) {
	address := "127.0.0.1:" + freePort(t)
	p := startDocumentProgram(t, "../docs/closing.md", `":8080"`, `"`+address+`"`, "20 * time.Second", "200 * time.Millisecond")
	p.waitListening(t, address)
	var conns []*websocket.Conn
	for range 5 {
		c, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+address, http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetReadDeadline(time.Now().Add(patience))
		echoOnce(t, c)
		conns = append(conns, c)
	}
	if err := syscall.Kill(p.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		expectClose(t, c, websocket.CloseError{Code: websocket.CloseServiceRestart})
	}
	ended := make(chan error, 1)
	go func() {
		_, err := p.stdout.Read(make([]byte, 1)) // until the program ends
		ended <- err
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the program goes on")
	}
	if text := p.output.String(); text != "" {
		t.Errorf("it printed %q", text)
	}
}
