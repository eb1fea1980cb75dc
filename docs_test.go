package websocket_test

// The documents are held to the code: what they show compiles, where they point there is something,
// and the layout they describe is the layout.

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tautws/websocket"
)

const (
	modulePath  = "github.com/tautws/websocket"
	gorillaPath = "github.com/gorilla/websocket"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A snippet is a piece of Go in a document.
type snippet struct{ where, code string }

var fence = regexp.MustCompile("(?ms)^```go\n(.*?)^```$")

func snippets(t *testing.T) (all []snippet) {
	names, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, "README.md", "MIGRATING.md") {
		if filepath.Base(name) == "testing.md" {
			continue // its blocks are one file, see TestDocsTesting
		}
		found := fence.FindAllStringSubmatch(readDoc(t, name), -1)
		if len(found) == 0 {
			t.Errorf("%s shows no code", name)
		}
		for i, m := range found {
			all = append(all, snippet{fmt.Sprintf("%s, block %d", name, i+1), m[1]})
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range new(comment.Parser).Parse(f.Doc.Text()).Content {
		// The other blocks are a table and a command.
		if code, ok := block.(*comment.Code); ok && strings.Contains(code.Text, "websocket.") {
			all = append(all, snippet{fmt.Sprintf("doc.go, paragraph %d", i+1), code.Text})
		}
	}
	return all
}

// What a snippet may use without importing or declaring it.
var (
	snippetImports = []string{"bytes", "context", "crypto/tls", "crypto/x509", "encoding/json", "errors", "expvar", "fmt", "io", "log", "log/slog", "net", "net/http", "os", "os/signal", "strings", "sync", "syscall", "testing", "testing/synctest", "time", "unicode/utf8", modulePath}
	snippetNames   = map[string]string{
		"ctx":           "context.Context",
		"c":             "*websocket.Conn",
		"w":             "http.ResponseWriter",
		"r":             "*http.Request",
		"mux":           "*http.ServeMux",
		"srv":           "*http.Server",
		"upgrader":      "websocket.Upgrader",
		"data":          "[]byte",
		"handle":        "func([]byte)",
		"closeAll":      "func(code int)",
		"session":       "func(*http.Request) (user string, ok bool)",
		"verify":        "func(token string) (user string, expires time.Time, err error)",
		"serve":         "func(c *websocket.Conn)",
		"group":         "*websocket.Group",
		"readLoopEnded": "chan struct{}",
	}
)

var returnsError = regexp.MustCompile(`(?m)^\s*return err$|^return \S`)

// program makes a whole file of a snippet: declarations get a package clause and imports,
// statements a function around them as well.
func program(code string) (string, error) {
	code = strings.ReplaceAll(code, gorillaPath, modulePath)
	if strings.HasPrefix(code, "package ") {
		return code, nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", "package snippet\n"+code, 0)
	if err != nil {
		result, end := "", ""
		if returnsError.MatchString(code) {
			result, end = "error", "return nil\n"
		}
		code = "func _() " + result + " {\nif true {\n" + code + "}\n" + end + "}\n"
		if f, err = parser.ParseFile(token.NewFileSet(), "", "package snippet\n"+code, 0); err != nil {
			return "", err
		}
	}
	var vars strings.Builder
	for name, typ := range snippetNames {
		if unresolved(f, name) {
			fmt.Fprintf(&vars, "var %s %s\n", name, typ)
		}
	}
	code += vars.String()
	if f, err = parser.ParseFile(token.NewFileSet(), "", "package snippet\n"+code, 0); err != nil {
		return "", err
	}
	head := "package snippet\n"
	for _, path := range snippetImports {
		if unresolved(f, path[strings.LastIndexByte(path, '/')+1:]) {
			head += fmt.Sprintf("import %q\n", path)
		}
	}
	return head + code, nil
}

func unresolved(f *ast.File, name string) bool {
	for _, id := range f.Unresolved {
		if id.Name == name {
			return true
		}
	}
	return false
}

// A snippetModule is a module that requires this one.
type snippetModule struct {
	t   *testing.T
	dir string
}

func newSnippetModule(t *testing.T) *snippetModule {
	t.Helper()
	checkout, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	m := &snippetModule{t, t.TempDir()}
	m.write("go.mod", fmt.Sprintf("module snippets\n\ngo 1.25\n\nrequire %[1]s v0.0.0\n\nreplace %[1]s => %[2]q\n", modulePath, checkout))
	return m
}

func (m *snippetModule) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		m.t.Fatal(err)
	}
}

// run runs the go command in the module.
func (m *snippetModule) run(args ...string) {
	m.t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir = m.dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOARCH=", "GOWORK=off", "GOPROXY=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Every snippet compiles, and go vet has nothing to say about it; what is shown as the code before
// a migration does so as well, with the new import path.
func TestDocsCompile(t *testing.T) {
	m := newSnippetModule(t)
	for i, s := range snippets(t) {
		text, err := program(s.code)
		if err != nil {
			t.Errorf("%s: %v", s.where, err)
			continue
		}
		m.write(fmt.Sprintf("s%d/%s.go", i, strings.NewReplacer(" ", "_", ",", "").Replace(s.where)), text)
	}
	m.run("vet", "./...")
}

// The code of docs/testing.md is one file of tests, which pass.
func TestDocsTesting(t *testing.T) {
	var code strings.Builder
	for _, m := range fence.FindAllStringSubmatch(readDoc(t, "docs/testing.md"), -1) {
		code.WriteString(m[1])
	}
	text, err := program(code.String())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(text, "\nfunc Test") < 6 {
		t.Error("tests are missing")
	}
	m := newSnippetModule(t)
	m.write("testing_test.go", text)
	m.run("vet")
	m.run("test")
}

// The README stays short.
func TestDocsReadme(t *testing.T) {
	if lines := strings.Count(readDoc(t, "README.md"), "\n"); lines > 250 {
		t.Errorf("README.md has %d lines, it may have 250", lines)
	}
}

// The README lists every guide.
func TestDocsGuides(t *testing.T) {
	guides, err := filepath.Glob("docs/*.md")
	if err != nil || len(guides) == 0 {
		t.Fatal(guides, err)
	}
	readme := readDoc(t, "README.md")
	for _, name := range guides {
		if !strings.Contains(readme, "]("+filepath.ToSlash(name)+"): ") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Every relative link leads to a file.
func TestDocsLinks(t *testing.T) {
	var names []string
	for _, pattern := range []string{"*.md", "*/*.md", "*/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	for _, name := range names {
		if strings.Contains(name, "node_modules") {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(readDoc(t, name), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}

// README.md and MIGRATING.md show the same table of differences.
func TestDocsTable(t *testing.T) {
	rows := func(name string) string {
		_, table, _ := strings.Cut(readDoc(t, name), "| gorilla/websocket | here |\n")
		table, _, _ = strings.Cut(table, "\n\n")
		return table
	}
	if readme := rows("README.md"); readme == "" || readme != rows("MIGRATING.md") {
		t.Error("the tables of differences in README.md and MIGRATING.md are not the same")
	}
}

// The table of CONTRIBUTING.md has every source file and every internal package, and no other file.
func TestDocsLayout(t *testing.T) {
	layout := readDoc(t, "CONTRIBUTING.md")
	for _, pattern := range []string{"*.go", "internal/*"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, names, err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") && !strings.Contains(layout, name) {
				t.Errorf("CONTRIBUTING.md does not say what lives in %s", name)
			}
		}
	}
	for _, name := range regexp.MustCompile(`\b[a-z0-9_]+\.go\b`).FindAllString(layout, -1) {
		if _, err := os.Stat(name); err != nil {
			t.Errorf("CONTRIBUTING.md speaks of %s, which is gone", name)
		}
	}
}

var example = regexp.MustCompile(`#example-([A-Za-z0-9.-]+)`)

// Every link to an example leads to one.
func TestDocsExamples(t *testing.T) {
	names, err := filepath.Glob("example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range names {
		code.WriteString(readDoc(t, name))
	}
	links := example.FindAllStringSubmatch(readDoc(t, "README.md"), -1)
	if len(links) == 0 {
		t.Error("README.md links to no example")
	}
	for _, m := range links {
		name, suffix, _ := strings.Cut(strings.ReplaceAll(m[1], ".", "_"), "-")
		if suffix != "" {
			name += "_" + strings.ToLower(suffix[:1]) + suffix[1:]
		}
		if !strings.Contains(code.String(), "\nfunc Example"+name+"() {") {
			t.Errorf("README.md links to the example %s, which does not exist", m[1])
		}
	}
}

// docs/troubleshooting.md is held to the code: it has every text of an error, a rejection or a
// close frame that the sources can produce.

// Texts that no program sees.
var unseenErrors = map[string]string{
	"websocket: message is compressed": "a read of a stream that goes on in a goroutine",
	"websocket: not yet":               "a read that does not wait, inside Handle",
	"websocket: shutdown":              "a read that Shutdown has ended, which returns another error",
	"websocket: no raw socket":         "a method of systems without raw sockets, which nothing calls there",
	"deflate: no message to read":      "a state that the reading half does not let come about",
}

// Files whose errors are not returned to a program.
var unseenErrorFiles = map[string]string{
	"extension.go":               "a bad answer is ErrBadHandshake, a bad offer is declined",
	"internal/lock/mutex.go":     "the halves translate them",
	"internal/poll/poll.go":      "Handle uses a goroutine instead",
	"internal/wiretest/frame.go": "only tests use it",
}

// An unknown is what stands for a value in the text of an error.
const unknown = "\x00"

var verb = regexp.MustCompile(`%[-+# 0]*[0-9.]*[a-zA-Z]`)

// errorTexts collects texts of errors from files of one package.
type errorTexts struct {
	files  map[string]*ast.File
	consts map[string]ast.Expr
	locals map[string][]ast.Expr // assigned in the function that is visited
	active map[string]bool       // names that are being evaluated
	texts  map[string]string     // where each is from
}

func parseErrorTexts(t *testing.T, pattern string, texts map[string]string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	c := &errorTexts{map[string]*ast.File{}, map[string]ast.Expr{}, nil, map[string]bool{}, texts}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || unseenErrorFiles[filepath.ToSlash(name)] != "" {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.files[name] = f
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Names) == len(spec.Values) {
				for i, id := range spec.Names {
					if id.Name != "text" { // several functions have one
						c.consts[id.Name] = spec.Values[i]
					}
				}
			}
			return true
		})
	}
	for name, f := range c.files {
		for _, d := range f.Decls {
			c.declaration(name, d)
		}
	}
}

// declaration collects the texts in a function or in a declaration of variables.
func (c *errorTexts) declaration(file string, d ast.Decl) {
	c.locals = map[string][]ast.Expr{}
	fn, _ := d.(*ast.FuncDecl)
	explains := fn != nil && (strings.HasPrefix(fn.Name.Name, "explain") || fn.Name.Name == "parsePattern")
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, ok := left.(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) && n.Tok != token.ADD_ASSIGN {
					c.locals[id.Name] = append(c.locals[id.Name], n.Rhs[i])
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if i < len(n.Values) {
					c.locals[id.Name] = append(c.locals[id.Name], n.Values[i])
				}
			}
		}
		return true
	})
	if explains {
		clear(c.locals) // each part is a text of its own
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit, *ast.BinaryExpr:
			for _, text := range c.eval(n.(ast.Expr)) {
				if strings.HasPrefix(text, "websocket: ") || strings.HasPrefix(text, "proxy: ") {
					c.add(file, text)
				}
			}
			_, sum := n.(*ast.BinaryExpr)
			return !sum || !c.isText(n.(ast.Expr))
		case *ast.CallExpr:
			if name := called(n); len(n.Args) > 0 && (name == "errors.New" || name == "fmt.Errorf" ||
				name == "violation" || name == "errorf" || name == "fail" && len(n.Args) == 3) {
				arg := n.Args[0]
				if name == "fail" {
					arg = n.Args[2]
				}
				c.add(file, c.eval(arg)...)
			}
		case *ast.CompositeLit:
			if id, ok := n.Type.(*ast.Ident); ok && len(n.Elts) > 1 && (id.Name == "ProtocolError" || id.Name == "rejection") {
				for _, e := range n.Elts[1:] {
					c.add(file, c.eval(e)...)
				}
			}
			if id, ok := d.(*ast.GenDecl); ok && id.Tok == token.VAR && file == filepath.FromSlash("internal/proxy/socks.go") {
				for _, e := range n.Elts {
					if kv, ok := e.(*ast.KeyValueExpr); ok {
						c.add(file, c.eval(kv.Value)...)
					}
				}
			}
		case *ast.ReturnStmt:
			if explains {
				for _, e := range n.Results {
					c.add(file, c.eval(e)...)
				}
			}
		}
		return true
	})
}

// isText reports whether a sum begins with a text that is collected as a whole.
func (c *errorTexts) isText(e ast.Expr) bool {
	for _, text := range c.eval(e) {
		if strings.HasPrefix(text, "websocket: ") || strings.HasPrefix(text, "proxy: ") {
			return true
		}
	}
	return false
}

func called(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.Ident:
		return fn.Name
	case *ast.SelectorExpr:
		if x, ok := fn.X.(*ast.Ident); ok && (x.Name == "errors" || x.Name == "fmt") {
			return x.Name + "." + fn.Sel.Name
		}
		return fn.Sel.Name
	}
	return ""
}

// eval returns the texts that an expression can have.
func (c *errorTexts) eval(e ast.Expr) []string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			if text, err := strconv.Unquote(e.Value); err == nil {
				return []string{verb.ReplaceAllString(text, unknown)}
			}
		}
	case *ast.ParenExpr:
		return c.eval(e.X)
	case *ast.BinaryExpr:
		var sums []string
		for _, x := range c.eval(e.X) {
			for _, y := range c.eval(e.Y) {
				sums = append(sums, x+y)
			}
		}
		return sums
	case *ast.CallExpr:
		if called(e) == "fmt.Sprintf" {
			return c.eval(e.Args[0])
		}
	case *ast.Ident:
		values := c.locals[e.Name]
		if len(values) == 0 && c.consts[e.Name] != nil {
			values = []ast.Expr{c.consts[e.Name]}
		}
		if len(values) == 0 || c.active[e.Name] {
			break
		}
		c.active[e.Name] = true
		defer delete(c.active, e.Name)
		var all []string
		for _, value := range values {
			all = append(all, c.eval(value)...)
		}
		return all
	}
	return []string{unknown}
}

var letters = regexp.MustCompile(`[A-Za-z]{3}`)

// add keeps the texts that say something. What is behind a semicolon is the remedy.
func (c *errorTexts) add(file string, texts ...string) {
	for _, text := range texts {
		text, _, _ = strings.Cut(text, "; ")
		if rest := strings.TrimPrefix(text, "websocket: "); letters.MatchString(rest) && unseenErrors[text] == "" {
			c.texts[text] = file
		}
	}
}

var (
	codeSpan    = regexp.MustCompile("`([^`]+)`")
	unknownRuns = regexp.MustCompile(unknown + "+")
)

// An error's text, up to its remedy, stands in docs/troubleshooting.md between backquotes, with any
// text for each value.
func TestDocsErrors(t *testing.T) {
	texts := map[string]string{}
	parseErrorTexts(t, "*.go", texts)
	parseErrorTexts(t, "internal/*/*.go", texts)
	if len(texts) < 80 {
		t.Fatalf("only %d texts were found", len(texts))
	}
	for code := websocket.CloseNormalClosure; code <= websocket.CloseTLSHandshake; code++ {
		text := (&websocket.CloseError{Code: code}).Error()
		if strings.Contains(text, "(") {
			texts[text] = "close.go"
		}
	}
	var spans []string
	for _, m := range codeSpan.FindAllStringSubmatch(fence.ReplaceAllString(readDoc(t, "docs/troubleshooting.md"), ""), -1) {
		spans = append(spans, strings.Join(strings.Fields(m[1]), " "))
	}
	all := strings.Join(spans, "\n")
	for text, file := range texts {
		text = strings.Trim(unknownRuns.ReplaceAllString(text, unknown), unknown+" :")
		text = strings.Join(strings.Fields(text), " ")
		pattern := strings.ReplaceAll(regexp.QuoteMeta(text), unknown, ".+?")
		if !regexp.MustCompile(pattern).MatchString(all) {
			t.Errorf("docs/troubleshooting.md lacks, of %s: %s", file, strings.ReplaceAll(text, unknown, "…"))
		}
	}
}
