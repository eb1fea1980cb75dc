package main

// The tables on standard output.

import (
	"fmt"
	"io"
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
	fmt.Fprint(t, "\tKiB/connection\tto gorilla\tto floor\tof it heap\t")
	if o.scenario.kind == crowdLoad {
		fmt.Fprint(t, "kernel, both ends\tbroadcast to all\t")
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t%.1f\t", l.contender, figure(l.samples, residentOf).Median/1024,
			o.compare(l, gorilla, residentOf), o.compare(l, floor, residentOf), figure(l.samples, heapOf).Median/1024)
		if o.scenario.kind == crowdLoad {
			fmt.Fprintf(t, "%.1f\t%s\t", figure(l.samples, kernelOf).Median/1024,
				rounded(1e9*figure(l.samples, secondsOf).Median))
		}
		fmt.Fprintln(t)
	}
}

func (o outcome) printCost(w io.Writer) {
	t := newTable(w)
	defer t.Flush()
	unit := o.scenario.unit
	fmt.Fprintf(t, "\t%s/s\tCPU/%s\tto gorilla\tto floor\tbusy\t", plural(unit), unit)
	if o.scenario.echo.Deflate {
		fmt.Fprint(t, "reply bytes\t")
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%s\t%s\t%.0f%%\t", l.contender,
			figure(l.samples, rateOf).Median, rounded(figure(l.samples, cpuOf).Median),
			o.compare(l, gorilla, cpuOf), o.compare(l, floor, cpuOf), 100*figure(l.samples, busyOf).Median)
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
	for _, q := range latencies {
		fmt.Fprintf(t, "%s\tto gorilla\t", q.name)
	}
	fmt.Fprintln(t)
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t", l.contender)
		for _, q := range latencies {
			fmt.Fprintf(t, "%s\t%s\t", rounded(figure(l.samples, q.of).Median), o.compare(l, gorilla, q.of))
		}
		fmt.Fprintln(t)
	}
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
