package main

// The tables on standard output.

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// print writes the table of o.
func (o outcome) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s)\n", o.scenario.title, o.scenario.name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer t.Flush()
	idle := o.scenario.kind == idleLoad
	reply := o.scenario.echo.Deflate
	switch {
	case idle:
		fmt.Fprint(t, "\tKiB/connection\tto gorilla\tto floor\t\n")
	case reply:
		fmt.Fprintf(t, "\t%s/s\tCPU/%s\tto gorilla\tto floor\tbusy\treply bytes\t\n", plural(o.scenario.unit), o.scenario.unit)
	default:
		fmt.Fprintf(t, "\t%s/s\tCPU/%s\tto gorilla\tto floor\tbusy\t\n", plural(o.scenario.unit), o.scenario.unit)
	}
	for _, l := range o.lines {
		fmt.Fprintf(t, "%s\t", l.contender)
		if idle {
			fmt.Fprintf(t, "%.1f\t", figure(l.samples, residentOf).Median/1024)
		} else {
			fmt.Fprintf(t, "%.0f\t%s\t", figure(l.samples, rateOf).Median,
				rounded(figure(l.samples, cpuOf).Median))
		}
		fmt.Fprintf(t, "%s\t%s\t", o.compare(l, gorilla), o.compare(l, floor))
		if !idle {
			fmt.Fprintf(t, "%.0f%%\t", 100*figure(l.samples, busyOf).Median)
		}
		if reply {
			fmt.Fprintf(t, "%.0f\t", figure(l.samples, replyOf).Median)
		}
		fmt.Fprintln(t)
	}
}

// compare returns the ratio of l to the named contender as "median [quartiles]".
func (o outcome) compare(l line, name string) string {
	base := o.samples(name)
	if base == nil {
		return "-"
	}
	r := ratio(l.samples, base, o.scenario.figure())
	if len(l.samples) == 1 {
		return fmt.Sprintf("%.3f", r.Median)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", r.Median, r.Lower, r.Upper)
}

// rounded formats nanoseconds with three significant figures.
func rounded(ns float64) string {
	d := time.Duration(ns)
	switch {
	case d < 10*time.Microsecond:
		return d.Round(time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(100 * time.Nanosecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

func plural(unit string) string {
	if unit == "delivery" {
		return "deliveries"
	}
	return unit + "s"
}
