package main

// One of the two copies: the go command in it, and what its tests and benchmarks gave.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

type side struct {
	name     string
	dir      string // where the go command runs
	tmp      string // for temporary files of the go command and the tests
	packages []string
	builds   []string // those that can be built: not those of tests alone

	broken     string // what a build or vet said that failed
	tests      map[string]*test
	seconds    float64 // that the tests took
	benchmarks map[string]*benchmark
	order      []string // of the benchmarks' names
	benchError string   // what was said instead of a benchmark's result
}

// A test has run once or more.
type test struct {
	passed, failed, skipped int
	running                 bool
	output                  strings.Builder
}

// A benchmark has the values of its runs by their units, "ns/op" and others.
type benchmark struct{ values map[string][]float64 }

// goCommand prepares a go command that does not see a go.work file.
func goCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "PWD="+dir)
	// The go command and all that it has started end together.
	inGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func (s *side) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := goCommand(ctx, s.dir, args...)
	cmd.Env = append(cmd.Env, "TMPDIR="+s.tmp, "TMP="+s.tmp, "TEMP="+s.tmp)
	return cmd
}

// test builds the packages and runs their tests. It fails only if that could not be done at all.
func (s *side) test(ctx context.Context, c *config) error {
	s.tests = make(map[string]*test)
	if len(s.builds) > 0 {
		build := s.command(ctx, slices.Concat([]string{"build", "-mod=mod", "-buildvcs=false", "-o", os.DevNull}, s.builds)...)
		if out, err := build.CombinedOutput(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.broken = string(bytes.TrimSpace(out))
			return nil
		}
	}

	// No vet: it would complain about the code under test, and of more with a later go line.
	args := []string{"test", "-mod=mod", "-buildvcs=false", "-vet=off", "-json",
		"-count=" + strconv.Itoa(c.count), "-timeout=" + c.timeout.String(), "-run=" + c.run}
	cmd := s.command(ctx, slices.Concat(args, s.packages)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	s.readEvents(stdout)
	err = cmd.Wait()
	s.seconds = time.Since(start).Seconds()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil && s.broken == "" && len(s.tests) == 0 {
		return fmt.Errorf("go test with %s: %w", s.name, withOutput(err, stderr.Bytes()))
	}
	return nil
}

// readEvents reads the output of go test -json.
func (s *side) readEvents(r io.Reader) {
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			s.add(&e)
		}
		if err != nil {
			break
		}
	}
	// A test whose end was not told has taken its process with it.
	for _, t := range s.tests {
		if t.running {
			t.running = false
			t.failed++
		}
	}
}

type event struct{ Action, Package, ImportPath, Test, Output, FailedBuild string }

func (s *side) add(e *event) {
	switch e.Action {
	case "build-output":
		s.broken += e.Output
		return
	case "build-fail":
		if s.broken == "" {
			s.broken = e.ImportPath + " does not build"
		}
		return
	}
	name := e.Package + " " + e.Test
	t := s.tests[name]
	if t == nil {
		t = new(test)
		s.tests[name] = t
	}
	switch e.Action {
	case "run":
		t.running = true
	case "output":
		t.output.WriteString(e.Output)
	case "pass":
		t.passed++
		t.running = false
	case "skip":
		t.skipped++
		t.running = false
	case "fail":
		t.running = false
		if e.Test != "" {
			t.failed++
		} else if e.FailedBuild == "" && !s.failedIn(e.Package) {
			t.failed++ // in TestMain, for example, or in a race
		}
	}
}

// failedIn reports whether a test of a package has failed, or was running when its process ended.
func (s *side) failedIn(pkg string) bool {
	for name, t := range s.tests {
		if p, test, _ := strings.Cut(name, " "); p == pkg && test != "" && (t.failed > 0 || t.running) {
			return true
		}
	}
	return false
}

// counts returns how many tests and subtests passed, failed and were skipped. A package counts only
// if it failed by itself.
func (s *side) counts() (passed, failed, skipped int) {
	for name, t := range s.tests {
		switch {
		case t.failed > 0:
			failed++
		case strings.HasSuffix(name, " "):
		case t.passed > 0:
			passed++
		case t.skipped > 0:
			skipped++
		}
	}
	return
}

func (s *side) benchmark(ctx context.Context, c *config) error {
	s.benchmarks = make(map[string]*benchmark)
	if s.broken != "" {
		return nil
	}
	// One package after the other, or they would slow each other down.
	args := []string{"test", "-mod=mod", "-buildvcs=false", "-vet=off", "-p=1", "-run=^$", "-benchmem",
		"-bench=" + c.bench, "-benchtime=" + c.benchtime,
		"-count=" + strconv.Itoa(c.count), "-timeout=" + c.timeout.String()}
	out, err := s.command(ctx, slices.Concat(args, s.packages)...).CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.parseBenchmarks(bytes.NewReader(out))
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		s.benchError = string(bytes.TrimSpace(out))
		return nil
	}
	return err
}

// parseBenchmarks reads lines such as "BenchmarkEcho-8  1000  1234 ns/op  56 B/op  7 allocs/op".
func (s *side) parseBenchmarks(r io.Reader) {
	pkg := ""
	br := bufio.NewReader(r)
	for {
		line, err := br.ReadString('\n')
		if after, ok := strings.CutPrefix(line, "pkg: "); ok {
			pkg = strings.TrimSpace(after)
		}
		s.addBenchmark(pkg, strings.Fields(line))
		if err != nil {
			return
		}
	}
}

func (s *side) addBenchmark(pkg string, fields []string) {
	if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
		return
	}
	if _, err := strconv.ParseInt(fields[1], 10, 64); err != nil {
		return
	}
	values := make(map[string]float64)
	for i := 2; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return
		}
		values[fields[i+1]] = v
	}
	name := pkg + " " + strings.TrimSuffix(fields[0], "-"+strconv.Itoa(runtime.GOMAXPROCS(0)))
	b := s.benchmarks[name]
	if b == nil {
		b = &benchmark{values: make(map[string][]float64)}
		s.benchmarks[name] = b
		s.order = append(s.order, name)
	}
	for unit, v := range values {
		b.values[unit] = append(b.values[unit], v)
	}
}

// median returns the median of a benchmark's values, and false if it has none in that unit.
func (b *benchmark) median(unit string) (float64, bool) {
	if b == nil || len(b.values[unit]) == 0 {
		return 0, false
	}
	v := slices.Sorted(slices.Values(b.values[unit]))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2, true
}
