package websocket_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	gorilla "github.com/gorilla/websocket"
	"github.com/tautws/websocket"
)

const (
	gorillaPath = "github.com/gorilla/websocket"
	ourPath     = "github.com/tautws/websocket"
)

// TestComplete holds both packages to the same exported names with identical types and values, and
// says which line is missing.
func TestComplete(t *testing.T) {
	gorilla, ours := bothPackages(t)
	for _, name := range ours.Scope().Names() {
		our := ours.Scope().Lookup(name)
		if !our.Exported() {
			continue
		}
		their := gorilla.Scope().Lookup(name)
		if their == nil {
			t.Errorf("gorilla/websocket.go lacks: %s", forward(our))
			continue
		}
		if a, b := fmt.Sprintf("%T", their), fmt.Sprintf("%T", our); a != b {
			t.Errorf("%s is a %s under %s and a %s under %s", name, a, gorillaPath, b, ourPath)
		}
		if !types.Identical(their.Type(), our.Type()) {
			t.Errorf("%s has the types %s and %s", name, their.Type(), our.Type())
		}
		switch our := our.(type) {
		case *types.Const:
			if a, b := their.(*types.Const).Val().ExactString(), our.Val().ExactString(); a != b {
				t.Errorf("%s has the values %s and %s", name, a, b)
			}
		case *types.TypeName:
			if !their.(*types.TypeName).IsAlias() {
				t.Errorf("%s is not an alias", name)
			}
		}
	}
	for _, name := range gorilla.Scope().Names() {
		if gorilla.Scope().Lookup(name).Exported() && ours.Scope().Lookup(name) == nil {
			t.Errorf("%s is exported by gorilla/websocket.go alone", name)
		}
	}
}

// forward returns the declaration that gives a name to the other path.
func forward(o types.Object) string {
	switch o := o.(type) {
	case *types.Const:
		return fmt.Sprintf("const %s = websocket.%[1]s", o.Name())
	case *types.Var:
		return fmt.Sprintf("var %s = websocket.%[1]s", o.Name())
	case *types.TypeName:
		return fmt.Sprintf("type %s = websocket.%[1]s", o.Name())
	default:
		return types.ObjectString(o, func(p *types.Package) string {
			if p.Path() == ourPath {
				return ""
			}
			return p.Name()
		})
	}
}

// bothPackages reads the types of both packages from the compiler's export data, with one importer,
// so that the types they share are identical.
func bothPackages(t *testing.T) (gorilla, ours *types.Package) {
	t.Helper()
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", gorillaPath)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	if gorilla, err = imp.Import(gorillaPath); err != nil {
		t.Fatal(err)
	}
	if ours, err = imp.Import(ourPath); err != nil {
		t.Fatal(err)
	}
	return gorilla, ours
}

// TestDeprecated holds the functions that are deprecated under one path to be so under the other.
func TestDeprecated(t *testing.T) {
	gorilla, ours := deprecated(t, "."), deprecated(t, "..")
	if len(ours) < 4 {
		t.Errorf("only %d functions are deprecated", len(ours))
	}
	for name := range ours {
		if !gorilla[name] {
			t.Errorf("%s is not deprecated", name)
		}
	}
	for name := range gorilla {
		if !ours[name] {
			t.Errorf("%s is deprecated under %s alone", name, gorillaPath)
		}
	}
}

// deprecated returns the functions of a package whose comments say that they are deprecated.
func deprecated(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), ".go") || strings.HasSuffix(name.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, dir+"/"+name.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(set, files, ourPath)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]bool)
	funcs := p.Funcs
	for _, typ := range p.Types {
		funcs = append(funcs, typ.Funcs...)
	}
	for _, f := range funcs {
		if strings.Contains(f.Doc, "\nDeprecated: ") {
			found[f.Name] = true
		}
	}
	return found
}

// TestValues compares what go/types does not know, the values of variables.
func TestValues(t *testing.T) {
	for name, same := range map[string]bool{
		"DefaultDialer":   gorilla.DefaultDialer == websocket.DefaultDialer,
		"ErrBadHandshake": gorilla.ErrBadHandshake == websocket.ErrBadHandshake,
		"ErrCloseSent":    gorilla.ErrCloseSent == websocket.ErrCloseSent,
		"ErrReadLimit":    gorilla.ErrReadLimit == websocket.ErrReadLimit,
	} {
		if !same {
			t.Errorf("%s has another value under %s", name, gorillaPath)
		}
	}
}

// Functions of programs that import one path or the other.
func sendByGorilla(c *gorilla.Conn, v any) error { return gorilla.WriteJSON(c, v) }
func sendByOurs(c *websocket.Conn, v any) error  { return websocket.WriteJSON(c, v) }
func readByGorilla(c *gorilla.Conn, v any) error { return gorilla.ReadJSON(c, v) }
func readByOurs(c *websocket.Conn, v any) error  { return websocket.ReadJSON(c, v) }

// TestConn passes connections made under either path to functions written for the other.
func TestConn(t *testing.T) {
	served := make(chan error, 1)
	upgrader := gorilla.Upgrader{Subprotocols: []string{"two", "one"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var c *websocket.Conn // the Upgrader is of the other path
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			served <- err
			return
		}
		defer c.Close()
		var v string
		served <- errors.Join(readByGorilla(c, &v), sendByOurs(c, v+" back"), readByOurs(c, &v), sendByGorilla(c, v+" again"))
	}))
	defer server.Close()

	dialer := websocket.Dialer{Subprotocols: []string{"one", "two"}}
	var c *gorilla.Conn
	c, _, err := dialer.Dial("ws"+strings.TrimPrefix(server.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := c.Subprotocol(); got != "two" {
		t.Errorf("subprotocol %q, expected two", got)
	}
	var there, again string
	if err := errors.Join(sendByGorilla(c, "there"), readByOurs(c, &there), sendByOurs(c, there), readByGorilla(c, &again)); err != nil {
		t.Fatal(err)
	}
	if there != "there back" || again != "there back again" {
		t.Errorf("read %q and %q", there, again)
	}
	if err := <-served; err != nil {
		t.Errorf("server: %v", err)
	}

	_, _, err = c.ReadMessage()
	var closed *websocket.CloseError
	if _, same := err.(*gorilla.CloseError); !same || !errors.As(err, &closed) {
		t.Errorf("the connection ends with a %T", err)
	}
	if !gorilla.IsCloseError(err, websocket.CloseAbnormalClosure) || !gorilla.IsUnexpectedCloseError(err) {
		t.Errorf("%v is not a close error with code 1006", err)
	}
}

// TestForward calls the remaining functions.
func TestForward(t *testing.T) {
	if got := string(gorilla.FormatCloseMessage(gorilla.CloseGoingAway, "bye")); got != "\x03\xe9bye" {
		t.Errorf("FormatCloseMessage returned %q", got)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if gorilla.IsWebSocketUpgrade(r) {
		t.Error("a plain request is taken for an upgrade")
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {"a, b"}}
	if !gorilla.IsWebSocketUpgrade(r) {
		t.Error("an upgrade is not recognized")
	}
	if got := gorilla.Subprotocols(r); len(got) != 2 || got[0] != "a" || got[1] != "b" {
		t.Errorf("Subprotocols returned %q", got)
	}
	var refused gorilla.HandshakeError
	_, err := gorilla.Upgrade(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), nil, 0, 0)
	if !errors.As(err, &refused) {
		t.Errorf("Upgrade returned %v", err)
	}
	if _, err := gorilla.NewPreparedMessage(gorilla.TextMessage, []byte("x")); err != nil {
		t.Errorf("NewPreparedMessage returned %v", err)
	}
}
