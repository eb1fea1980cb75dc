// Command try runs the tests and the benchmarks of a module that uses gorilla/websocket, once with
// gorilla/websocket and once with this library in its place, and prints the results in one table:
//
//	go run ./tools/try [flags] DIR
//
// DIR is a directory of the module. Of the packages in it and below it, those are tested that
// import gorilla/websocket, themselves or through another package. Everything happens in temporary
// copies of the module that differ in the replace directives of their go.mod; they are removed at
// the end, at an interrupt as well, and DIR stays as it is.
//
// The exit status is 1 if the module does not build with this library, or if a test fails with it
// that passes with gorilla/websocket, and 2 if there is nothing to compare.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	gorillaPath = "github.com/gorilla/websocket"
	libraryPath = "github.com/tautws/websocket"
)

type config struct {
	dir              string
	library          string // the directory of this library's module
	packages         []string
	run              string
	bench, benchtime string // no benchmarks without bench
	count            int
	timeout          time.Duration
	verbose          bool

	out, notes io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A broken pipe must not end the program before it has removed its copies. Unlike
	// signal.Ignore, Notify leaves the default to the programs that this one starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	status := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// command returns the exit status.
func command(ctx context.Context, args []string, out, notes io.Writer) int {
	c := config{out: out, notes: notes}
	flags := flag.NewFlagSet("try", flag.ContinueOnError)
	flags.SetOutput(notes)
	flags.Usage = func() {
		fmt.Fprintln(notes, "usage: go run ./tools/try [flags] DIR")
		flags.PrintDefaults()
	}
	flags.StringVar(&c.run, "run", "", "run only the tests that match this `regexp`")
	flags.StringVar(&c.bench, "bench", ".", "run only the benchmarks that match this `regexp`; none if empty")
	flags.StringVar(&c.benchtime, "benchtime", "100ms", "how long a benchmark runs, a `duration` or a count such as 100x")
	flags.IntVar(&c.count, "count", 1, "run each test and benchmark `n` times; the table has medians of benchmarks")
	flags.DurationVar(&c.timeout, "timeout", 2*time.Minute, "how long the tests of a package may take")
	packages := flags.String("packages", "./...", "the packages to test, as `patterns` separated by commas, relative to DIR")
	flags.BoolVar(&c.verbose, "v", false, "print the output of tests that fail with only one of the two")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() != 1 {
		flags.Usage()
		return 2
	}
	c.dir, c.packages = flags.Arg(0), strings.Split(*packages, ",")

	var err error
	c.library, err = libraryDir(ctx)
	same := false
	if err == nil {
		same, err = c.compare(ctx)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(notes, "interrupted")
		return 2
	case err != nil:
		fmt.Fprintln(notes, err)
		return 2
	case !same:
		return 1
	}
	return 0
}

// libraryDir asks the go command where this library is, so that the command works from any module
// that requires it.
func libraryDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", libraryPath).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return "", fmt.Errorf("run this command in a checkout of %s: go list -m does not find that module here", libraryPath)
	}
	return dir, nil
}

// compare runs everything and prints the table. The result is false if this library does worse.
func (c *config) compare(ctx context.Context) (same bool, err error) {
	m, err := findModule(ctx, c.dir)
	if err != nil {
		return false, err
	}
	sides, err := c.sides(ctx, m)
	if err != nil {
		return false, err
	}
	return c.report(m, sides[0], sides[1])
}

// sides makes the copies, runs the tests and benchmarks in them and removes them.
func (c *config) sides(ctx context.Context, m *module) (sides [2]*side, err error) {
	tmp, err := os.MkdirTemp("", "try-")
	if err != nil {
		return sides, err
	}
	defer func() { err = errors.Join(err, removeAll(tmp)) }()

	goVersion, err := m.goVersion(ctx, c.library)
	if err != nil {
		return sides, err
	}
	for i, name := range []string{"gorilla/websocket", "this library"} {
		library := ""
		if i == 1 {
			library = c.library
		}
		fmt.Fprintf(c.notes, "%s: copying %s\n", name, m.Root)
		if sides[i], err = m.copyTo(ctx, tmp, name, goVersion, library); err != nil {
			return sides, err
		}
	}
	if err := m.findUsers(ctx, sides[0], c.packages); err != nil {
		return sides, err
	}
	for _, s := range sides {
		s.packages, s.builds = m.users, m.builds
		fmt.Fprintf(c.notes, "%s: testing %s\n", s.name, plural(len(s.packages), "package"))
		if err := s.test(ctx, c); err != nil {
			return sides, err
		}
	}
	if c.bench == "" {
		return sides, nil
	}
	for _, s := range sides {
		fmt.Fprintf(c.notes, "%s: benchmarks\n", s.name)
		if err := s.benchmark(ctx, c); err != nil {
			return sides, err
		}
	}
	return sides, nil
}
