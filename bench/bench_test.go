package main

// A tiny round of every scenario proves that every server works and echoes what it was sent; the
// figures do not matter here.

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket/bench/load"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == shardCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryServerInEveryScenario(t *testing.T) {
	h := host{dir: t.TempDir()}
	if err := h.build(); err != nil {
		t.Fatal(err)
	}
	who := contenders
	if err := installNode(); err != nil {
		t.Logf("WITHOUT npm ws: %v", err)
		who = without(who, "node")
	}
	var outcomes []outcome
	for _, s := range small() {
		t.Run(s.name, func(t *testing.T) {
			o, err := h.run(s, who, 2, 5*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range o.lines {
				for _, m := range l.samples {
					if !s.parked() && (m.Operations == 0 || m.CPU <= 0) {
						t.Errorf("%s: nothing measured: %+v", l.contender, m)
					}
					if s.kind == crowdLoad && m.Operations != s.conns {
						t.Errorf("%s: broadcast to %d of %d connections", l.contender, m.Operations, s.conns)
					}
					if s.latency() && !(0 < m.P50 && m.P50 <= m.P99 && m.P99 <= m.P999) {
						t.Errorf("%s: latencies out of order: %+v", l.contender, m)
					}
				}
			}
			outcomes = append(outcomes, o)
			checkTable(t, o)
		})
	}
	if t.Failed() {
		return
	}
	set := settings{rounds: 2, time: 5 * time.Millisecond}
	checkFile(t, "record.json", `"p999"`, func(file string) error { return writeRecord(file, h.dir, set, outcomes) })
	checkFile(t, "chart.svg", "</svg>", func(file string) error { return writeChart(file, outcomes) })
}

// small returns every scenario with few connections, one for servers with GOMAXPROCS=2, and
// messages over TLS of more than a socket takes at once.
func small() []scenario {
	var small []scenario
	large := overTLS(echo("8MiB-tls", "8 MiB over TLS", 1, 1, 8<<20, load.Binary))
	large.only = []string{gorilla, plain} // one that works shows that the load generator does
	for i, s := range append(slices.Clone(scenarios), large, crowd(5)) {
		s.conns = min(s.conns, 5)
		s.echo.Conns = min(s.echo.Conns, 5)
		for procs := 1; procs <= 2; procs++ {
			if s, ok := s.with(procs); ok && (procs == 1 || i == 0) {
				small = append(small, s)
			}
		}
	}
	return small
}

func checkTable(t *testing.T, o outcome) {
	t.Helper()
	var table bytes.Buffer
	o.print(&table)
	for _, l := range o.lines {
		if !strings.Contains(table.String(), l.contender) {
			t.Errorf("no line for %s in:\n%s", l.contender, &table)
		}
	}
}

func checkFile(t *testing.T, name, content string, write func(string) error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := write(file); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, []byte(content)) {
		t.Errorf("%s lacks %q", name, content)
	}
}

// The "plain" server must stay gorilla's program: the comparison is of two libraries under one
// program.
func TestPlainServerIsGorillasProgram(t *testing.T) {
	read := func(program string) string {
		source, err := os.ReadFile(filepath.Join("server", program, "main.go"))
		if err != nil {
			t.Fatal(err)
		}
		_, code, _ := strings.Cut(string(source), "package main")
		return code
	}
	const imported = `"github.com/%/websocket"`
	want := strings.Replace(read("gorilla"), strings.Replace(imported, "%", "gorilla", 1), strings.Replace(imported, "%", "tautws", 1), 1)
	if read("websocket") != want {
		t.Error("server/websocket/main.go differs from server/gorilla/main.go in more than the import path")
	}
}

func TestSummarize(t *testing.T) {
	got := summarize([]float64{5, 1, 4, 2, 3})
	if want := (statistic{Median: 3, Lower: 2, Upper: 4}); got != want {
		t.Errorf("summarize = %+v, want %+v", got, want)
	}
	got = summarize([]float64{2, 1})
	if want := (statistic{Median: 1.5, Lower: 1.25, Upper: 1.75}); got != want {
		t.Errorf("summarize = %+v, want %+v", got, want)
	}
}

func TestRounded(t *testing.T) {
	for ns, want := range map[float64]string{
		8: "8.00ns", 461.4: "461ns", 999.6: "1.00µs", 7168: "7.17µs", 11_100: "11.1µs", 99_960: "100µs",
		1_130_000: "1.13ms", 465_570_000: "466ms", 1.2e9: "1.20s",
	} {
		if got := rounded(ns); got != want {
			t.Errorf("rounded(%v) = %s, want %s", ns, got, want)
		}
	}
}

func TestParseCounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strace.txt")
	table := `% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 57.20    0.415131        1995       200           nanosleep
 28.18    0.204503          17     10000           write
 12.92    0.093771           4     18000      8000 read
  0.95    0.006929          44       100           epoll_pwait
------ ----------- ----------- --------- --------- ----------------
100.00    0.720000          25     28300      8000 total
`
	if err := os.WriteFile(file, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := parseCounts(file, 10000)
	if err != nil {
		t.Fatal(err)
	}
	if want := (calls{read: 1.8, write: 1, epoll: 0.01, other: 0.02}); got != want {
		t.Errorf("parseCounts = %+v, want %+v", got, want)
	}
}
