package gorilla

// Programs in the habits of the field, in testdata/habits: a hub with pumps, a client that
// reconnects on errors by value, by type and by text, deadlines moved by pong handlers, tunnels by
// io.Copy.

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHabits(t *testing.T) {
	checkout := moduleDir(t, ourPath)
	unchanged := way{"gorilla", func(t *testing.T, dir, _ string) {
		goTool(t, dir, "mod", "edit", "-replace", gorillaPath+"="+moduleDir(t, gorillaPath))
	}}
	for _, way := range append([]way{unchanged}, ways...) {
		t.Run(way.name, func(t *testing.T) {
			dir := t.TempDir()
			copyTree(t, dir, filepath.Join("testdata", "habits"))
			goMod := "module habits\n\ngo 1.25\n\nrequire " + gorillaPath + " v1.5.3\n"
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(goMod), 0o600); err != nil {
				t.Fatal(err)
			}
			way.apply(t, dir, checkout)
			out := goTool(t, dir, "test", "-timeout", "60s", "-v", ".")
			for _, name := range []string{"TestHub", "TestReconnect", "TestPongDeadline", "TestCopyMessages", "TestTunnel"} {
				if !strings.Contains(out, "--- PASS: "+name+" ") {
					t.Errorf("%s did not pass:\n%s", name, out)
				}
			}
		})
	}
}
