// Command bench measures this module beside other WebSocket libraries, each in an echo server of
// its own, against a raw TCP echo as the floor. It needs Linux and the go command, and is run in
// its own directory: go run .
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == shardCommand {
		if err := shardMain(os.Args[2:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	rounds    int
	time      time.Duration
	scenarios []scenario
	who       []contender
	syscalls  bool
	json      string
	chart     string
}

func run() error {
	set, err := parseFlags()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-servers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := host{dir: dir}
	if err := h.build(); err != nil {
		return err
	}
	if err := installNode(); err != nil {
		fmt.Fprintln(os.Stderr, "WITHOUT npm ws:", err)
		set.who = without(set.who, "node")
	}
	if h.places, err = newPlacements(); err != nil {
		return err
	}
	if set.syscalls {
		return h.countSyscalls(set)
	}
	var outcomes []outcome
	for _, s := range set.scenarios {
		o, err := h.run(s, set.who, set.rounds, set.time)
		if err != nil {
			return err
		}
		o.print(os.Stdout)
		outcomes = append(outcomes, o)
	}
	if set.json != "" {
		if err := writeRecord(set.json, dir, set, outcomes); err != nil {
			return err
		}
	}
	if set.chart != "" {
		return writeChart(set.chart, outcomes)
	}
	return nil
}

func parseFlags() (settings, error) {
	var s settings
	flag.IntVar(&s.rounds, "rounds", 15, "rounds of every scenario")
	flag.DurationVar(&s.time, "time", 200*time.Millisecond, "length of one measurement")
	which := flag.String("scenario", "", "run only scenarios whose name matches this regular expression")
	lib := flag.String("lib", "", "run only libraries whose name matches this regular expression")
	procs := flag.String("procs", "1,2", "GOMAXPROCS of the servers, by commas; with more than one only echoes and broadcasts are run")
	crowded := flag.Int("crowd", 0, "also park so many connections with each library, in as many processes as it takes")
	quick := flag.Bool("quick", false, "five rounds of 150ms, 2,000 idle connections, GOMAXPROCS=1 alone")
	flag.BoolVar(&s.syscalls, "syscalls", false, "count system calls per message with strace instead of measuring time")
	flag.StringVar(&s.json, "json", "", "write everything measured to this file")
	flag.StringVar(&s.chart, "chart", "", "draw a chart into this file (.svg or .png)")
	flag.Parse()
	if flag.NArg() > 0 {
		return s, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	if *quick {
		s.rounds, s.time, *procs = 5, 150*time.Millisecond, "1"
	}
	if s.rounds < 1 {
		return s, fmt.Errorf("-rounds %d: at least one is needed", s.rounds)
	}
	var counts []int
	for field := range strings.SplitSeq(*procs, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return s, fmt.Errorf("-procs %q: not a list of numbers of processors", *procs)
		}
		counts = append(counts, n)
	}
	all := scenarios
	if *crowded > 0 {
		all = append(slices.Clone(all), crowd(*crowded))
	}
	return s, s.choose(all, *which, *lib, counts, *quick)
}

// choose fills in those of all scenarios and of the contenders that the patterns match.
func (s *settings) choose(all []scenario, which, lib string, procs []int, quick bool) error {
	scenarioPattern, err := regexp.Compile(which)
	if err != nil {
		return err
	}
	libPattern, err := regexp.Compile(lib)
	if err != nil {
		return err
	}
	for _, sc := range all {
		if quick && sc.kind == idleLoad && sc.conns > 2_000 {
			sc.conns = 2_000
			sc.title += " (2,000 of them)"
		}
		for _, n := range procs {
			if sc, ok := sc.with(n); ok && scenarioPattern.MatchString(sc.name) {
				s.scenarios = append(s.scenarios, sc)
			}
		}
	}
	for _, c := range contenders {
		if libPattern.MatchString(c.name) {
			s.who = append(s.who, c)
		}
	}
	if len(s.scenarios) == 0 || len(s.who) == 0 {
		return fmt.Errorf("-scenario %q and -lib %q leave nothing to run", which, lib)
	}
	return s.checkFiles()
}

// checkFiles compares the limit on open files with what is to be run.
func (s *settings) checkFiles() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for _, sc := range s.scenarios {
		need := uint64(sc.connections()*len(s.who) + 100)
		if sc.kind == idleLoad {
			need = uint64(sc.conns + 100)
		}
		if sc.kind == crowdLoad {
			need = uint64(min(sc.conns, shardLimit) + 100)
		}
		if limit.Max < need {
			return fmt.Errorf("scenario %s needs %d open files, the hard limit is %d (ulimit -Hn)", sc.name, need, limit.Max)
		}
	}
	return nil
}

func without(who []contender, program string) []contender {
	var rest []contender
	for _, c := range who {
		if c.program != program {
			rest = append(rest, c)
		}
	}
	return rest
}
