package main

// The table, and the names below it.

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// report prints the results. The first result is false if this library does worse.
func (c *config) report(m *module, gorilla, library *side) (same bool, err error) {
	through := "through another package"
	if m.direct {
		through = "directly"
	}
	fmt.Fprintf(c.out, "%s: %s, tested in %s\n", m.Path, "gorilla/websocket "+m.gorilla+" is used "+through,
		plural(len(m.users), "package"))
	if m.raised != "" {
		fmt.Fprintf(c.out, "both sides with \"go %s\" in go.mod instead of %q\n", m.raised, "go "+m.Go)
	}
	fmt.Fprintln(c.out)
	printTable(c.out, c.rows(m, gorilla, library))

	for _, s := range []*side{gorilla, library} {
		if s.broken != "" {
			fmt.Fprintf(c.out, "\nDoes not build with %s:\n%s", s.name, indent(s.broken))
		}
		if s.benchError != "" {
			fmt.Fprintf(c.out, "\nBenchmarks failed with %s:\n%s", s.name, indent(c.cut(s.benchError)))
		}
	}
	if gorilla.broken != "" {
		return false, errors.New("nothing to compare with: the module does not build with gorilla/websocket")
	}
	if library.broken != "" {
		return false, nil
	}
	passes := func(t *test) bool { return t != nil && t.passed > 0 && t.failed == 0 }
	fails := func(t *test) bool { return t != nil && t.failed > 0 }
	worse := c.list(m, gorilla, library, "Pass with gorilla/websocket and fail with this library", passes, fails)
	missing := c.list(m, gorilla, library, "Pass with gorilla/websocket and do not run with this library",
		passes, func(t *test) bool { return t == nil || t.passed+t.failed+t.skipped == 0 })
	c.list(m, gorilla, library, "Fail with gorilla/websocket and pass with this library", fails, passes)
	c.list(m, gorilla, library, "Fail with both", fails, fails)
	if worse+missing > 0 {
		fmt.Fprintln(c.out, "\nTests that fail now and then need more runs to compare: -count 10.")
	}
	return worse+missing == 0 && (library.benchError == "" || gorilla.benchError != ""), nil
}

func (c *config) rows(m *module, gorilla, library *side) [][]string {
	rows := [][]string{{"", gorilla.name, library.name, ""}}
	passed := [2]string{}
	failed, skipped, seconds := passed, passed, passed
	for i, s := range []*side{gorilla, library} {
		if s.broken != "" {
			passed[i], failed[i], skipped[i], seconds[i] = "–", "does not build", "–", "–"
			continue
		}
		p, f, k := s.counts()
		passed[i], failed[i], skipped[i] = strconv.Itoa(p), strconv.Itoa(f), strconv.Itoa(k)
		seconds[i] = strconv.FormatFloat(s.seconds, 'f', 1, 64)
	}
	row := func(name string, cells [2]string) { rows = append(rows, []string{name, cells[0], cells[1], ""}) }
	row("tests passed", passed)
	row("tests failed", failed)
	row("tests skipped", skipped)
	row("seconds, building included", seconds)

	names := slices.Clone(gorilla.order)
	for _, name := range library.order {
		if gorilla.benchmarks[name] == nil {
			names = append(names, name)
		}
	}
	for _, name := range names {
		g, l := gorilla.benchmarks[name], library.benchmarks[name]
		rows = append(rows,
			benchmarkRow(m.short(name)+", time", g, l, "ns/op", formatTime),
			benchmarkRow("  allocations", g, l, "allocs/op", formatCount))
	}
	return rows
}

func benchmarkRow(name string, gorilla, library *benchmark, unit string, format func(float64) string) []string {
	row := []string{name, "–", "–", ""}
	g, inGorilla := gorilla.median(unit)
	l, inLibrary := library.median(unit)
	if inGorilla {
		row[1] = format(g)
	}
	if inLibrary {
		row[2] = format(l)
	}
	if inGorilla && inLibrary && g > 0 {
		row[3] = strconv.FormatFloat(l/g, 'f', 2, 64)
	}
	return row
}

// formatTime writes nanoseconds with three digits.
func formatTime(ns float64) string {
	if ns < 1000 {
		return strconv.FormatFloat(ns, 'g', 3, 64) + "ns"
	}
	d := time.Duration(ns)
	step := time.Duration(1)
	for d/step >= 1000 {
		step *= 10
	}
	return d.Round(step).String()
}

func formatCount(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// printTable aligns the first column to the left and the others to the right.
func printTable(w io.Writer, rows [][]string) {
	var widths [4]int
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		line := ""
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line += cell + space
			} else {
				line += "   " + space + cell
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// list prints the names of the tests for which both conditions hold, and returns their number.
func (c *config) list(m *module, gorilla, library *side, title string, inGorilla, inLibrary func(*test) bool) int {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(gorilla.tests)) {
		if !strings.HasSuffix(name, " ") && inGorilla(gorilla.tests[name]) && inLibrary(library.tests[name]) {
			names = append(names, name)
		}
	}
	// A package that fails by itself has an entry with an empty name of a test.
	for name, t := range library.tests {
		if strings.HasSuffix(name, " ") && t.failed > 0 && inLibrary(t) && inGorilla(orPassed(gorilla.tests[name])) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return 0
	}
	fmt.Fprintf(c.out, "\n%s:\n", title)
	for _, name := range names {
		fmt.Fprintf(c.out, "    %s\n", m.short(name))
		if !c.verbose {
			continue
		}
		for _, s := range []*side{gorilla, library} {
			if t := s.tests[name]; t != nil && t.failed > 0 {
				fmt.Fprintf(c.out, "      with %s:\n%s", s.name, indent(indent(t.output.String())))
			}
		}
	}
	return len(names)
}

// orPassed returns what stands for a package that has no entry of its own: its tests passed.
func orPassed(t *test) *test {
	if t == nil || t.failed == 0 {
		return &test{passed: 1}
	}
	return t
}

// short drops the module's path from the name of a test or benchmark.
func (m *module) short(name string) string {
	pkg, test, _ := strings.Cut(name, " ")
	pkg = strings.TrimPrefix(strings.TrimPrefix(pkg, m.Path), "/")
	switch {
	case test == "" && pkg == "":
		return "the package itself"
	case test == "":
		return pkg + ", the package itself"
	case pkg == "":
		return test
	}
	return pkg + " " + test
}

// cut leaves the last lines of a long output, unless all of it was asked for.
func (c *config) cut(s string) string {
	const most = 15
	lines := strings.Split(s, "\n")
	if c.verbose || len(lines) <= most {
		return s
	}
	return "…\n" + strings.Join(lines[len(lines)-most:], "\n")
}

func indent(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString("    " + strings.TrimRight(line, "\n") + "\n")
	}
	return b.String()
}
