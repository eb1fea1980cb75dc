package main

// The module under test: where it is, what in it uses gorilla/websocket, and copies of it.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

type module struct {
	Root string // the directory of go.mod
	Sub  string // DIR, relative to Root

	Path    string   // of the module
	Go      string   // the version on its go line
	users   []string // the packages that import gorilla/websocket
	builds  []string // those of them that are more than tests
	direct  bool     // one of them does so itself
	gorilla string   // the version of gorilla/websocket
	raised  string   // the go line of the copies, if it is another
	replace []replacement
}

type replacement struct {
	Old, New struct{ Path, Version string }
}

func findModule(ctx context.Context, dir string) (*module, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// Paths in the module are compared with what the file system says.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	m := &module{Root: dir}
	for {
		if info, err := os.Stat(filepath.Join(m.Root, "go.mod")); err == nil && info.Mode().IsRegular() {
			break
		}
		parent := filepath.Dir(m.Root)
		if parent == m.Root {
			return nil, fmt.Errorf("there is no go.mod in %s nor above it", dir)
		}
		m.Root = parent
	}
	m.Sub, _ = filepath.Rel(m.Root, dir)

	var mod struct {
		Module  struct{ Path string }
		Go      string
		Replace []replacement
	}
	if err := readMod(ctx, m.Root, &mod); err != nil {
		return nil, err
	}
	m.Path, m.Go, m.replace = mod.Module.Path, mod.Go, mod.Replace
	if m.Path == gorillaPath {
		return nil, fmt.Errorf("%s is gorilla/websocket itself, not a module that uses it", m.Root)
	}
	return m, nil
}

// readMod reads a go.mod file. It only reads: go mod edit -json writes nothing.
func readMod(ctx context.Context, dir string, to any) error {
	out, err := goCommand(ctx, dir, "mod", "edit", "-json").Output()
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, "go.mod"), withOutput(err, nil))
	}
	return json.Unmarshal(out, to)
}

// goVersion returns the version for the go lines of both copies. A module cannot depend on one with
// a later go line than its own; and as the line chooses among the language's semantics, the
// comparison is only fair if both copies have the same.
func (m *module) goVersion(ctx context.Context, library string) (string, error) {
	v := m.Go
	if v == "" {
		v = "1.16" // what the go command takes for a module without the line
	}
	for _, dir := range []string{library, filepath.Join(library, "gorilla")} {
		var mod struct{ Go string }
		if err := readMod(ctx, dir, &mod); err != nil {
			return "", err
		}
		if version.Compare("go"+mod.Go, "go"+v) > 0 {
			v, m.raised = mod.Go, mod.Go
		}
	}
	return v, nil
}

// copyTo copies the module below tmp and edits the copy's go.mod: replace directives, and a go line
// if the library needs a later one. With an empty library gorilla/websocket remains.
func (m *module) copyTo(ctx context.Context, tmp, name, goVersion, library string) (*side, error) {
	place := "gorilla"
	if library != "" {
		place = "library"
	}
	// The base name is kept, as tests may look at it. The tests' own temporary files go into tmp as
	// well, so that they are removed even if the tests are killed.
	root := filepath.Join(tmp, place, filepath.Base(m.Root))
	tests := filepath.Join(tmp, place+".tmp")
	for _, dir := range []string{root, tests} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	s := &side{name: name, dir: filepath.Join(root, m.Sub), tmp: tests}
	if err := copyTree(ctx, root, m.Root); err != nil {
		return nil, err
	}

	edit := []string{"mod", "edit"}
	if m.raised != "" {
		edit = append(edit, "-go="+goVersion, "-toolchain=none")
	}
	for _, r := range m.replace {
		old := r.Old.Path
		if r.Old.Version != "" {
			old += "@" + r.Old.Version
		}
		switch {
		case library != "" && (r.Old.Path == gorillaPath || r.Old.Path == libraryPath):
			edit = append(edit, "-dropreplace="+old)
		case r.New.Version == "" && !filepath.IsAbs(r.New.Path):
			if target := filepath.Join(m.Root, r.New.Path); !within(m.Root, target) {
				edit = append(edit, "-replace="+old+"="+target)
			}
		}
	}
	if library != "" {
		edit = append(edit, "-replace="+gorillaPath+"="+filepath.Join(library, "gorilla"),
			"-replace="+libraryPath+"="+library)
	}
	if len(edit) == 2 {
		return s, nil
	}
	if out, err := goCommand(ctx, root, edit...).CombinedOutput(); err != nil {
		return nil, withOutput(err, out)
	}
	return s, nil
}

// findUsers finds the packages that use gorilla/websocket, in the copy that still has it.
func (m *module) findUsers(ctx context.Context, s *side, patterns []string) error {
	cmd := s.command(ctx, slices.Concat([]string{"list", "-mod=mod", "-e", "-test",
		"-json=ImportPath,GoFiles,CgoFiles,Imports,TestImports,XTestImports,Deps,ForTest"}, patterns)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return withOutput(err, stderr.Bytes())
	}
	var sources []string // the packages that are more than tests
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath, ForTest                      string
			GoFiles, CgoFiles                        []string
			Imports, TestImports, XTestImports, Deps []string
		}
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		// Beside a package there are its variants for a test, "p [p.test]", and the test, "p.test".
		path := strings.TrimSuffix(p.ImportPath, ".test")
		if p.ForTest != "" || strings.Contains(path, " ") {
			continue
		}
		if slices.Contains(p.Deps, gorillaPath) && !slices.Contains(m.users, path) {
			m.users = append(m.users, path)
		}
		if path == p.ImportPath && len(p.GoFiles)+len(p.CgoFiles) > 0 {
			sources = append(sources, path)
		}
		m.direct = m.direct || slices.Contains(slices.Concat(p.Imports, p.TestImports, p.XTestImports), gorillaPath)
	}
	if len(m.users) == 0 {
		return fmt.Errorf("%s does not use gorilla/websocket: no package that matches %s in %s imports it, itself or through another",
			m.Path, strings.Join(patterns, " "), filepath.Join(m.Root, m.Sub))
	}
	for _, path := range m.users {
		if slices.Contains(sources, path) {
			m.builds = append(m.builds, path)
		}
	}
	cmd = s.command(ctx, "list", "-mod=mod", "-m", "-f",
		"{{.Version}}{{with .Replace}} => {{.Path}} {{.Version}}{{end}}", gorillaPath)
	if out, err = cmd.Output(); err != nil {
		return withOutput(err, nil)
	}
	m.gorilla = strings.TrimSpace(string(out))
	return nil
}

// within reports whether path is dir or below it.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// copyTree copies a module's files, without the repository's history. Symbolic links into the
// module point to the copy, all others to the same place as before.
func copyTree(ctx context.Context, to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case d.Name() == ".git":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(target, 0o755) // whatever the mode was: in a module cache it is 0555
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			if !filepath.IsAbs(link) {
				link = filepath.Join(filepath.Dir(path), link)
			}
			if within(from, link) {
				rel, _ := filepath.Rel(from, link)
				link = filepath.Join(to, rel)
			}
			return os.Symlink(link, target)
		case !d.Type().IsRegular():
			return nil // sockets, pipes, devices
		}
		return copyFile(target, path)
	})
}

func copyFile(to, from string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return err
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// removeAll removes a directory, also after tests have made parts of it read-only.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// withOutput adds what a command said to the error that it ended with.
func withOutput(err error, out []byte) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && len(out) == 0 {
		out = exit.Stderr
	}
	if out = bytes.TrimSpace(out); len(out) > 0 {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
