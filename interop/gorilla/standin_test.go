package gorilla

// The module in ../../gorilla, which stands in for gorilla/websocket: it has every name of
// gorilla's with the same kind, value and type, and a program and its dependency that import
// different paths use one package.

import (
	"fmt"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestStandInNames compares the stand-in with gorilla v1.5.3 by the descriptions of
// TestExportedNames, which begin with the kind of a name and end with the value of a constant.
func TestStandInNames(t *testing.T) {
	theirPackage, ourPackage := bothPackages(t)
	checkout := moduleDir(t, ourPath)
	standIn := exportedPackages(t, filepath.Join(checkout, "gorilla"), gorillaPath)[0]
	theirs, stands, ours := load(t, theirPackage), load(t, standIn), load(t, ourPackage)
	closeError, _ := structType(theirPackage.Scope().Lookup("CloseError"))
	if names := len(theirs) + closeError.NumFields(); names != 93 {
		t.Errorf("%d names found in %s, expected 93", names, gorillaPath)
	}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		if got := stands[name]; got != theirs[name] {
			t.Errorf("%s\n\tgorilla  %s\n\tstand-in %s", name, theirs[name], got)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if got := stands[name]; got != ours[name] {
			t.Errorf("%s\n\there     %s\n\tstand-in %s", name, ours[name], got)
		}
	}
	// Parameters have the same names too, which editors show.
	for _, name := range theirPackage.Scope().Names() {
		f, ok := theirPackage.Scope().Lookup(name).(*types.Func)
		if !ok || !f.Exported() {
			continue
		}
		g, ok := standIn.Scope().Lookup(name).(*types.Func)
		if !ok {
			t.Errorf("%s is no function", name)
			continue
		}
		if want, got := paramNames(f), paramNames(g); want != got {
			t.Errorf("%s has the parameters %s, in gorilla %s", name, got, want)
		}
	}
}

func paramNames(f *types.Func) string {
	var names []string
	for v := range f.Signature().Params().Variables() {
		names = append(names, v.Name())
	}
	return fmt.Sprint(names)
}

// A dependency that imports one path, in a module of its own.
const dependency = `package dependency

import "IMPORT"

type Peer struct{ Conn *websocket.Conn }

func Greet(c *websocket.Conn) error {
	return c.WriteMessage(websocket.TextMessage, []byte("hello"))
}

func Gone(err error) bool { return websocket.IsCloseError(err, websocket.CloseGoingAway) }

var ErrCloseSent = websocket.ErrCloseSent
`

// A program that imports the other path and passes values to and fro.
const dependent = `package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"example.com/dependency"
	"IMPORT"
)

func main() {
	sent := make(chan bool, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u websocket.Upgrader
		c, err := u.Upgrade(w, r, nil)
		if err != nil {
			panic(err)
		}
		defer c.Close()
		peer := dependency.Peer{Conn: c}
		if err := dependency.Greet(peer.Conn); err != nil {
			panic(err)
		}
		c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, ""))
		err = c.WriteMessage(websocket.TextMessage, nil)
		sent <- err == dependency.ErrCloseSent
		c.ReadMessage()
	}))
	c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		panic(err)
	}
	_, p, err := c.ReadMessage()
	fmt.Println(string(p), err)
	_, _, err = c.ReadMessage()
	_, ok := err.(*websocket.CloseError)
	fmt.Println(ok, dependency.Gone(err), <-sent)
	c.Close()
	server.Close()
}
`

// TestStandInShared builds and runs the program with the replace lines of MIGRATING.md.
func TestStandInShared(t *testing.T) {
	checkout := moduleDir(t, ourPath)
	for _, paths := range [][2]string{{gorillaPath, ourPath}, {ourPath, gorillaPath}, {gorillaPath, gorillaPath}} {
		name := "dependency " + filepath.Base(filepath.Dir(paths[0])) + ", program " + filepath.Base(filepath.Dir(paths[1]))
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string) {
				t.Helper()
				if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				writeFile(t, filepath.Join(dir, name), []byte(text))
			}
			write("dependency/go.mod", "module example.com/dependency\n\ngo 1.25\n\nrequire "+paths[0]+" "+requiredVersion(paths[0])+"\n")
			write("dependency/dependency.go", strings.ReplaceAll(dependency, "IMPORT", paths[0]))
			write("program/go.mod", "module example.com/program\n\ngo 1.25\n\nrequire "+paths[1]+" "+requiredVersion(paths[1])+
				"\n\nrequire example.com/dependency v0.0.0\n\nreplace example.com/dependency => ../dependency\n")
			write("program/main.go", strings.ReplaceAll(dependent, "IMPORT", paths[1]))
			program := filepath.Join(dir, "program")
			goTool(t, program, append([]string{"mod", "edit"}, migratingReplace(t, checkout)...)...)
			goTool(t, program, "mod", "tidy")
			const want = "hello <nil>\ntrue true true"
			if got := goTool(t, program, "run", "."); got != want {
				t.Errorf("printed %q, expected %q", got, want)
			}
			packages := goTool(t, program, "list", "-deps", "-f", "{{.ImportPath}} {{.Dir}}", ".")
			for path, dir := range map[string]string{gorillaPath: filepath.Join(checkout, "gorilla"), ourPath: checkout} {
				if !strings.Contains(packages+"\n", "\n"+path+" "+dir+"\n") {
					t.Errorf("%s does not come from %s", path, dir)
				}
			}
		})
	}
}

func requiredVersion(path string) string {
	if path == gorillaPath {
		return "v1.5.3"
	}
	return "v0.0.0-00010101000000-000000000000"
}

// migratingReplace returns the flags of the command that MIGRATING.md shows, with the directory of
// this checkout. README.md shows the same command, and neither shows another that replaces
// gorilla/websocket.
func migratingReplace(t *testing.T, checkout string) []string {
	t.Helper()
	commands := make(map[string]bool)
	for _, name := range []string{"README.md", "MIGRATING.md"} {
		b, err := os.ReadFile(filepath.Join(checkout, name))
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "-replace "+gorillaPath+"=") {
				commands[strings.TrimSpace(line)] = true
				found++
			}
		}
		if found != 1 {
			t.Fatalf("%s has %d commands that replace %s", name, found, gorillaPath)
		}
	}
	if len(commands) != 1 {
		t.Fatalf("the documents show different commands: %q", slices.Collect(maps.Keys(commands)))
	}
	command := slices.Collect(maps.Keys(commands))[0]
	flags, ok := strings.CutPrefix(command, "go mod edit ")
	if !ok || !strings.Contains(flags, "=../websocket/gorilla ") {
		t.Fatalf("the documents show %q", command)
	}
	return strings.Fields(strings.ReplaceAll(flags, "=../websocket", "="+checkout))
}
