package main

// The tables on standard output.

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// print writes the tables of o.
func (o outcome) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s)\n", o.scenario.title, o.scenario.name)
	if o.scenario.parked() {
		o.printMemory(w)
	} else {
		o.printCost(w)
	}
	if o.scenario.latency() {
		o.printLatency(w)
	}
}

// newTable aligns cells that end in tabs.
func newTable(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
}

func (o outcome) printMemory(w io.Writer) {
	t := newTable(w)
	defer t.Flush()
	bases := o.scenario.comparedWith()
	fmt.Fprintf(t, "\tKiB/connection\t%sof it heap\t", heads(bases))
	if o.scenario.kind == crowdLoad {
		fmt.Fprint(t, "kernel, both ends\tbroadcast to all\ta million: GiB\tbroadcast\t")
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		resident, kernel := figure(l.samples, residentOf).Median, figure(l.samples, kernelOf).Median
		fmt.Fprintf(t, "%s\t%.2f\t%s%.2f\t", l.contender, resident/1024, o.compareAll(l, bases, residentOf),
			figure(l.samples, heapOf).Median/1024)
		if o.scenario.kind == crowdLoad {
			seconds := figure(l.samples, secondsOf).Median
			million := 1e6 / float64(o.scenario.conns)
			fmt.Fprintf(t, "%.2f\t%s\t%.1f\t%s\t", kernel/1024, rounded(1e9*seconds),
				1e6*(resident+kernel)/(1<<30), rounded(1e9*seconds*million))
		}
		fmt.Fprintln(t)
	}
	if o.scenario.kind == crowdLoad {
		fmt.Fprintf(t, "A million are in proportion, in %d servers of %d connections: their memory and the kernel's for "+
			"both ends.\n", (1_000_000+shardLimit-1)/shardLimit, shardLimit)
	}
}

func (o outcome) printCost(w io.Writer) {
	t := newTable(w)
	defer t.Flush()
	unit := o.scenario.unit
	bases := o.scenario.comparedWith()
	fmt.Fprintf(t, "\t%s/s\tCPU/%s\t%sbusy\t", plural(unit), unit, heads(bases))
	if o.scenario.echo.Deflate {
		fmt.Fprint(t, "reply bytes\t")
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s%.0f%%\t", l.contender,
			figure(l.samples, rateOf).Median, rounded(figure(l.samples, cpuOf).Median),
			o.compareAll(l, bases, cpuOf), 100*figure(l.samples, busyOf).Median)
		if o.scenario.echo.Deflate {
			fmt.Fprintf(t, "%.0f\t", figure(l.samples, replyOf).Median)
		}
		fmt.Fprintln(t)
	}
}

func (o outcome) printLatency(w io.Writer) {
	t := newTable(w)
	defer t.Flush()
	fmt.Fprint(t, "\t")
	bases := o.scenario.comparedWith()[:1]
	for _, q := range latencies {
		fmt.Fprintf(t, "%s\t%s", q.name, heads(bases))
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t", l.contender)
		for _, q := range latencies {
			fmt.Fprintf(t, "%s\t%s", rounded(figure(l.samples, q.of).Median), o.compareAll(l, bases, q.of))
		}
		fmt.Fprintln(t)
	}
}

// heads are the heads of the columns of ratios.
func heads(bases []string) string {
	var cells strings.Builder
	for _, name := range bases {
		fmt.Fprintf(&cells, "to %s\t", name)
	}
	return cells.String()
}

// compareAll returns the cells of the ratios of l to bases.
func (o outcome) compareAll(l line, bases []string, f func(sample) float64) string {
	var cells strings.Builder
	for _, name := range bases {
		cells.WriteString(o.compare(l, name, f) + "\t")
	}
	return cells.String()
}

// compare returns the ratio of l to the named contender in f as "median [quartiles]".
func (o outcome) compare(l line, name string, f func(sample) float64) string {
	r := o.ratio(l, name, f)
	if r == nil {
		return "-"
	}
	if len(l.samples) == 1 {
		return fmt.Sprintf("%.3f", r.Median)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", r.Median, r.Lower, r.Upper)
}

// rounded formats nanoseconds with three significant figures.
func rounded(ns float64) string {
	for _, unit := range []string{"ns", "µs", "ms"} {
		switch {
		case ns < 9.995:
			return fmt.Sprintf("%.2f%s", ns, unit)
		case ns < 99.95:
			return fmt.Sprintf("%.1f%s", ns, unit)
		case ns < 999.5:
			return fmt.Sprintf("%.0f%s", ns, unit)
		}
		ns /= 1000
	}
	return fmt.Sprintf("%.2fs", ns)
}

func plural(unit string) string {
	if unit == "delivery" {
		return "deliveries"
	}
	return unit + "s"
}
