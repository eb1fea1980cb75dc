package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The modules of the tests need no network: a directory stands for gorilla/websocket, and one for
// this library, with tests in the application that tell them apart.
var (
	gorillaModule = map[string]string{
		"gorilla/go.mod": "module github.com/gorilla/websocket\n\ngo 1.20\n",
		"gorilla/websocket.go": `package websocket

func Name() string { return "gorilla" }
func Garbage() []byte { return make([]byte, 1<<16) }
`,
	}
	libraryModule = map[string]string{
		"library/go.mod":       "module github.com/tautws/websocket\n\ngo 1.25\n",
		"library/websocket.go": "package websocket\n\nfunc Name() string { return \"library\" }\n",
		"library/gorilla/go.mod": `module github.com/gorilla/websocket

go 1.25

require github.com/tautws/websocket v0.0.0

replace github.com/tautws/websocket => ../
`,
		"library/gorilla/websocket.go": `package websocket

import "github.com/tautws/websocket"

func Name() string { return websocket.Name() }
func Garbage() []byte { return nil }
`,
	}
	application = map[string]string{
		"app/go.mod": `module example.com/app

go 1.20

require github.com/gorilla/websocket v1.5.3

replace github.com/gorilla/websocket => ../gorilla
`,
		// Were it not for -mod=mod and GOWORK=off, these would be errors.
		"app/vendor/modules.txt": "# example.com/nothing v1.0.0\n",
		"app/go.work":            "go 1.20\n\nuse ./nowhere\n",
		"app/app.go": `package app

import "github.com/gorilla/websocket"

func Name() string { return websocket.Name() }
`,
		"app/app_test.go": `package app

import (
	"net"
	"os"
	"testing"

	"github.com/gorilla/websocket"
)

func TestSame(t *testing.T) {
	t.Run("sub", func(t *testing.T) { Name() })
	os.WriteFile("left", nil, 0o600)
	os.MkdirTemp("", "left")
	os.Mkdir("locked", 0o700)
	os.WriteFile("locked/file", nil, 0o600)
	os.Chmod("locked", 0o500)
}

func TestBad(t *testing.T) { t.Error("bad") }

func TestGorilla(t *testing.T) {
	if Name() != "gorilla" {
		t.Error("the name is", Name())
	}
}

func TestLibrary(t *testing.T) {
	if Name() != "library" {
		t.Error("the name is", Name())
	}
}

func TestSkipped(t *testing.T) { t.Skip() }

func TestBlock(t *testing.T) {
	addr := os.Getenv("TRY_TEST_ADDR")
	if addr == "" {
		return
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.Read(make([]byte, 1))
}

var sink []byte

func BenchmarkGarbage(b *testing.B) {
	for range b.N {
		sink = websocket.Garbage()
	}
}
`,
		"app/through/through.go": "package through\n\nimport \"example.com/app\"\n\nvar Name = app.Name()\n",
		"app/through/through_test.go": `package through

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if Name == "library" && os.Getenv("TRY_TEST_MAIN") != "" {
		code = 3
	}
	os.Exit(code)
}

func TestThrough(t *testing.T) {}
`,
		"app/other/other.go":      "package other\n",
		"app/other/other_test.go": "package other\n\nimport \"testing\"\n\nfunc TestOther(t *testing.T) {}\n",
	}
)

// testsAlone is a file of a package that has no others.
const testsAlone = `package

import (
	"testing"

	"github.com/gorilla/websocket"
)

func TestAlone(t *testing.T) { websocket.Name() }
`

// write writes modules into a new directory. Later ones win; a file without content is left out.
func write(t *testing.T, modules ...map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := make(map[string]string)
	for _, m := range modules {
		for name, content := range m {
			files[name] = content
		}
	}
	for name, content := range files {
		if content == "" {
			continue
		}
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "range b.N", "i := 0; i < b.N; i++")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// state describes all files below a directory.
func state(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		content := ""
		if d.Type().IsRegular() {
			p, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(p)
		}
		fmt.Fprintf(&b, "%s %v %q\n", path, d.Type(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// try compares in a directory below root, and checks that nothing is left behind.
func try(ctx context.Context, t *testing.T, root string, c config) (same bool, out string, err error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("TMP", tmp)
	if c.library == "" {
		c.library = filepath.Join(root, "library")
	}
	if c.packages == nil {
		c.packages = []string{"./..."}
	}
	c.dir, c.count, c.timeout, c.benchtime = filepath.Join(root, c.dir), max(c.count, 1), time.Minute, "10x"
	var b bytes.Buffer
	c.out, c.notes = &b, io.Discard
	before := state(t, root)
	same, err = c.compare(ctx)
	if after := state(t, root); after != before {
		t.Errorf("the files were\n%s\nand are\n%s", before, after)
	}
	if left := strings.Count(state(t, tmp), "\n") - 1; left != 0 {
		t.Errorf("left in the directory for temporary files:\n%s", state(t, tmp))
	}
	return same, b.String(), err
}

func TestCompare(t *testing.T) {
	for _, row := range []struct {
		name    string
		changes map[string]string
		config  config
		env     string
		same    bool
		fails   bool     // compare returns an error
		want    []string // regular expressions of the output
		not     string   // another, that it must not match
	}{
		{
			name: "everything", config: config{dir: "app", bench: ".", verbose: true},
			want: []string{
				`gorilla/websocket v1.5.3 => .* is used directly, tested in 2 packages`,
				`both sides with "go 1.25" in go.mod instead of "go 1.20"`,
				`gorilla/websocket +this library\n`,
				`tests passed +5 +5\n`, `tests failed +2 +2\n`, `tests skipped +1 +1\n`,
				`BenchmarkGarbage, time +\S+s +\S+s +\d+\.\d\d\n  allocations +1 +0 +0\.00\n`,
				`Pass with gorilla/websocket and fail with this library:\n    TestGorilla\n`,
				`app_test.go:\d+: the name is library\n`,
				`Fail with gorilla/websocket and pass with this library:\n    TestLibrary\n`,
				`Fail with both:\n    TestBad\n`,
			},
			not: "TestOther",
		},
		{
			name: "no output", config: config{dir: "app"},
			want: []string{`fail with this library:\n    TestGorilla\n`}, not: "the name is|Benchmark",
		},
		{
			name: "-run", config: config{dir: "app", run: "Same|Library", count: 2}, same: true,
			want: []string{`tests passed +2 +3\n`, `tests failed +1 +0\n`}, not: "Pass with",
		},
		{
			name: "-packages", config: config{dir: "app", packages: []string{"./through", "./other"}}, same: true,
			want: []string{`is used through another package, tested in 1 package\n`, `tests passed +1 +1\n`},
		},
		{
			name: "a directory below go.mod", config: config{dir: "app/through"}, same: true,
			want: []string{`tested in 1 package\n`, `tests passed +1 +1\n`},
		},
		{
			name: "packages of tests alone", config: config{dir: "app/tests"}, same: true,
			changes: map[string]string{
				"app/tests/in/in_test.go":   strings.Replace(testsAlone, "package", "package in", 1),
				"app/tests/out/out_test.go": strings.Replace(testsAlone, "package", "package out_test", 1),
			},
			want: []string{`is used directly, tested in 2 packages\n`, `tests passed +2 +2\n`},
		},
		{
			name: "a package that fails by itself", config: config{dir: "app/through"}, env: "TRY_TEST_MAIN",
			want: []string{`tests passed +1 +1\n`, `tests failed +0 +1\n`, `:\n    through, the package itself\n`},
		},
		{
			name: "tests that a panic keeps from running", config: config{dir: "app", run: "Gorilla|Skipped|Block"},
			changes: map[string]string{"library/websocket.go": "package websocket\n\nfunc Name() string { panic(1) }\n"},
			want:    []string{`fail with this library:\n    TestGorilla\n`, `do not run with this library:\n    TestBlock\n`},
		},
		{
			name: "the library does not build", config: config{dir: "app", bench: "."},
			changes: map[string]string{"library/websocket.go": "package websocket\n"},
			want:    []string{`tests failed +2 +does not build\n`, `Does not build with this library:\n(.*\n)*.*undefined: websocket.Name`},
		},
		{
			name: "a test does not build", config: config{dir: "app"},
			changes: map[string]string{"library/gorilla/websocket.go": "package websocket\n\nfunc Name() string { return \"\" }\n"},
			want:    []string{`tests failed +2 +does not build\n`, `Does not build with this library:\n(.*\n)*.*undefined: websocket.Garbage`},
		},
		{
			name: "the module does not build with gorilla", config: config{dir: "app"},
			changes: map[string]string{"gorilla/websocket.go": "package websocket\n"},
			want:    []string{`Does not build with gorilla/websocket:\n`}, fails: true,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.env != "" {
				t.Setenv(row.env, "1")
			}
			root := write(t, gorillaModule, libraryModule, application, row.changes)
			same, out, err := try(t.Context(), t, root, row.config)
			if (err != nil) != row.fails {
				t.Fatal(err)
			}
			if same != row.same {
				t.Errorf("the result is %t, want %t", same, row.same)
			}
			for _, want := range row.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("nothing matches %s", want)
				}
			}
			if row.not != "" && regexp.MustCompile(row.not).MatchString(out) {
				t.Errorf("something matches %s", row.not)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

// The module in the directory gorilla of this repository is what the copies are pointed to.
func TestCompareWithThisLibrary(t *testing.T) {
	library, err := libraryDir(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root := write(t, map[string]string{
		"gorilla/go.mod":       "module github.com/gorilla/websocket\n\ngo 1.20\n",
		"gorilla/websocket.go": "package websocket\n\nfunc FormatCloseMessage(code int, text string) []byte { return nil }\n",
		"app/go.mod":           application["app/go.mod"],
		"app/app.go":           "package app\n\nimport _ \"github.com/gorilla/websocket\"\n",
		"app/app_test.go": `package app

import (
	"testing"

	"github.com/gorilla/websocket"
)

func TestClose(t *testing.T) {
	if p := websocket.FormatCloseMessage(1000, "x"); string(p) != "\x03\xe8x" {
		t.Errorf("%q", p)
	}
}
`,
	})
	same, out, err := try(t.Context(), t, root, config{dir: "app", library: library})
	if err != nil || !same || !regexp.MustCompile(`tests passed +0 +1\n`).MatchString(out) {
		t.Errorf("%t, %v\n%s", same, err, out)
	}
}

func TestNothingToCompare(t *testing.T) {
	for _, row := range []struct {
		name    string
		config  config
		changes map[string]string
		want    string
	}{
		{name: "no use", config: config{dir: "app/other"}, want: "example.com/app does not use gorilla/websocket"},
		{name: "no go.mod", config: config{dir: "app"}, changes: map[string]string{"app/go.mod": ""}, want: "there is no go.mod"},
		{name: "gorilla/websocket itself", config: config{dir: "gorilla"}, want: "is gorilla/websocket itself"},
		{name: "no directory", config: config{dir: "app/app.go"}, want: "is not a directory"},
		{name: "no such directory", config: config{dir: "nothing"}, want: "no such file|cannot find"},
		{name: "no packages", config: config{dir: "app", packages: []string{"./nothing/..."}}, want: "no package that matches ./nothing/... in"},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := write(t, gorillaModule, libraryModule, application, row.changes)
			_, out, err := try(t.Context(), t, root, row.config)
			if err == nil || !regexp.MustCompile(row.want).MatchString(err.Error()) {
				t.Errorf("error %v, want %s\n%s", err, row.want, out)
			}
		})
	}
}

// An interrupt ends the tests and removes the copies.
func TestInterrupt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	t.Setenv("TRY_TEST_ADDR", ln.Addr().String())
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan error, 1)
	go func() {
		c, err := ln.Accept()
		interrupt()
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		ended <- err
	}()
	root := write(t, gorillaModule, libraryModule, application)
	if _, out, err := try(ctx, t, root, config{dir: "app", run: "Same|Block"}); err == nil {
		t.Errorf("no error\n%s", out)
	}
	ln.Close()
	if err := <-ended; err == nil {
		t.Error("the test was not ended")
	}
}

func TestCopyTree(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	os.Mkdir(filepath.Join(from, "dir"), 0o755)
	os.Mkdir(filepath.Join(from, ".git"), 0o755)
	os.WriteFile(filepath.Join(from, "dir", "file"), []byte("text"), 0o400)
	os.Symlink("dir/file", filepath.Join(from, "inside"))
	os.Symlink(filepath.Join(from, "dir"), filepath.Join(from, "absolute"))
	os.Symlink(filepath.Dir(from), filepath.Join(from, "outside"))
	os.Chmod(filepath.Join(from, "dir"), 0o500)
	defer os.Chmod(filepath.Join(from, "dir"), 0o700)
	if err := copyTree(t.Context(), to, from); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"inside": filepath.Join(to, "dir", "file"), "absolute": filepath.Join(to, "dir"), "outside": filepath.Dir(from),
	} {
		if got, err := os.Readlink(filepath.Join(to, name)); got != want {
			t.Errorf("%s points to %q, %v; want %q", name, got, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(to, ".git")); err == nil {
		t.Error(".git was copied")
	}
	if err := os.WriteFile(filepath.Join(to, "dir", "file"), nil, 0o600); err != nil {
		t.Error("a copy cannot be written:", err)
	}
}

func TestFormatTime(t *testing.T) {
	for ns, want := range map[float64]string{
		0.5134: "0.513ns", 7.5: "7.5ns", 123.4: "123ns", 12345: "12.3µs", 1234567: "1.23ms", 2.5e9: "2.5s",
	} {
		if got := formatTime(ns); got != want {
			t.Errorf("%v: %q, want %q", ns, got, want)
		}
	}
}
