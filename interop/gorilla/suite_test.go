package gorilla

// gorilla's own tests, made external: what they take from the inside of their
// package comes from testdata/suite/shim_test.go, and tests that are about its
// inside, or that hold it to what the table of differences lists, are left
// out by name. The same sources run against gorilla and against this package.

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// suite lists the files, and why declarations in them are left out.
var suite = map[string]map[string]string{
	"client_server_test.go": {},
	"example_test.go":       {},
	"join_test.go":          {},
	"json_test.go":          {},
	"conn_test.go": {
		"_":                                "about an unexported variable",
		"TestWriteBufferPool":              "looks at the buffer inside",
		"TestWriteBufferPoolError":         "looks at the buffer inside",
		"blockingWriter":                   rowWriters,
		"Write":                            rowWriters,
		"TestConcurrentWritePanic":         rowWriters,
		"TestFailedConnectionReadPanic":    rowPanic,
		"TestWriteAfterMessageWriterClose": rowNextWriter,
		"TestReadLimit":                    rowFraming + ", and " + rowLength,
	},
	"server_test.go": {
		"checkSameOriginTests":    "about an unexported function",
		"TestCheckSameOrigin":     "about an unexported function",
		"reuseTestResponseWriter": "used by TestBufioReuse", "Hijack": "used by TestBufioReuse",
		"bufioReuseTests": "used by TestBufioReuse",
		"TestBufioReuse":  "looks at the buffers inside",
	},
}

// edits replace what a test takes from inside in the middle of it.
var edits = [][2]string{
	{"err == errUnexpectedEOF", "isUnexpectedEOF(err)"},
	{"err != errUnexpectedEOF", "!isUnexpectedEOF(err)"},
	{", err, errUnexpectedEOF)", `, err, "an unexpected EOF")`},
	{"range []bool{false, true} {\n\t\tfor _, isServer", "range []bool{false} {\n\t\tfor _, isServer"},
	// The test sends any bytes: rowText.
	{"wc.NextWriter(TextMessage)\n\t\t\t\t\t\tif", "wc.NextWriter(BinaryMessage)\n\t\t\t\t\t\tif"},
	{"err != nil || opCode != TextMessage", "err != nil || opCode != BinaryMessage"},
	{"wc.newCompressionWriter = compressNoContextTakeover", ""},
	{"rc.newDecompressionReader = decompressNoContextTakeover", ""},
	{`"github.com/gorilla/websocket"`, `websocket "github.com/gorilla/websocket"`},
}

func TestSuite(t *testing.T) {
	for _, name := range []string{"gorilla", "here"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeSuite(t, dir)
			goMod := "module suite\n\ngo 1.25\n\nrequire " + gorillaPath + " v1.5.3\n"
			if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(goMod), 0o600); err != nil {
				t.Fatal(err)
			}
			if name == "gorilla" {
				goTool(t, dir, "mod", "edit", "-replace", gorillaPath+"="+moduleDir(t, gorillaPath))
			} else {
				standIn(t, dir, moduleDir(t, ourPath))
			}
			out := goTool(t, dir, "test", "-timeout", "60s", "-v", ".")
			if n := strings.Count(out, "\n--- PASS: Test"); n < 40 {
				t.Errorf("only %d tests ran:\n%s", n, out)
			}
		})
	}
}

// writeSuite writes the tests to a directory.
func writeSuite(t *testing.T, dir string) {
	t.Helper()
	source := moduleDir(t, gorillaPath)
	for name, excluded := range suite {
		b, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), external(t, string(b), excluded))
	}
	shim, err := os.ReadFile(filepath.Join("testdata", "suite", "shim_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "shim_test.go"), shim)
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// external makes a test file one of package websocket_test and leaves out the
// excluded declarations.
func external(t *testing.T, source string, excluded map[string]string) []byte {
	t.Helper()
	for _, e := range edits {
		source = strings.ReplaceAll(source, e[0], e[1])
	}
	source = strings.Replace(source, "package websocket\n", "package websocket_test\n\nimport . \""+gorillaPath+"\"\n", 1)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.Decls = slices.DeleteFunc(file.Decls, func(d ast.Decl) bool { return excluded[declared(d)] != "" })
	dropUnused(file)
	var b bytes.Buffer
	if err := format.Node(&b, set, file); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// declared returns the first name that a declaration declares.
func declared(d ast.Decl) string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Name.Name
	case *ast.GenDecl:
		switch s := d.Specs[0].(type) {
		case *ast.ValueSpec:
			return s.Names[0].Name
		case *ast.TypeSpec:
			return s.Name.Name
		}
	}
	return ""
}

// dropUnused removes imports that nothing uses any more.
func dropUnused(file *ast.File) {
	used := make(map[string]bool)
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if id, ok := s.X.(*ast.Ident); ok {
				used[id.Name] = true
			}
		}
		return true
	})
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.IMPORT {
			continue
		}
		g.Specs = slices.DeleteFunc(g.Specs, func(s ast.Spec) bool {
			i := s.(*ast.ImportSpec)
			return i.Name == nil && !used[filepath.Base(strings.Trim(i.Path.Value, `"`))]
		})
	}
	file.Decls = slices.DeleteFunc(file.Decls, func(d ast.Decl) bool {
		g, ok := d.(*ast.GenDecl)
		return ok && len(g.Specs) == 0
	})
}
