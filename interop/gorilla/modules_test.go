package gorilla

// Modules of others that depend on gorilla/websocket: their own tests run with
// a replace line as the only change.

import (
	"os"
	"path/filepath"
	"testing"

	_ "github.com/googollee/go-socket.io/engineio/transport/websocket"
	_ "github.com/olahol/melody"
	_ "github.com/sourcegraph/jsonrpc2"
	_ "github.com/sourcegraph/jsonrpc2/websocket"
)

func TestModulesOfOthers(t *testing.T) {
	checkout := moduleDir(t, ourPath)
	root := filepath.Dir(goTool(t, ".", "env", "GOMOD"))
	dir := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	goMod := filepath.Join(dir, "go.mod")
	// A directory can stand for one module only.
	goTool(t, root, "mod", "edit", "-droprequire", ourPath, "-dropreplace", ourPath, goMod)
	goTool(t, root, "mod", "edit", "-replace", gorillaPath+"="+checkout, goMod)

	// The skipped tests of melody dial and then look at the other end without
	// waiting for it to be there: they fail with gorilla too.
	const races = "^(TestBroadcast|TestClose|TestLen|TestSessions)$"
	out := goTool(t, root, "test", "-modfile", goMod, "-timeout", "60s", "-skip", races,
		"github.com/olahol/melody", "github.com/sourcegraph/jsonrpc2", "github.com/googollee/go-socket.io/engineio/transport/websocket")
	t.Log(out)
	used := goTool(t, root, "list", "-modfile", goMod, "-f", "{{.Dir}}", gorillaPath)
	if used != checkout {
		t.Errorf("the tests used %s", used)
	}
}
