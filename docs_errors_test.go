package websocket_test

// docs/troubleshooting.md is held to the code: it has every text of an error, a rejection or a close
// frame that the sources can produce.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tautws/websocket"
)

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
	"extension.go":           "a bad answer is ErrBadHandshake, a bad offer is declined",
	"internal/lock/mutex.go": "the halves translate them",
	"internal/poll/poll.go":  "Handle uses a goroutine instead",
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
