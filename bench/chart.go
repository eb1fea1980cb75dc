package main

// The chart of the README: CPU time or memory against gorilla, a group of bars for each scenario,
// by gonum.org/v1/plot.

import (
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

const (
	barLimit   = 2.0 // longer bars are cut off here
	chartLimit = 2.6 // leaves room for the legend
)

// writeChart draws outcomes; the format follows from the file's extension.
func writeChart(file string, outcomes []outcome) error {
	outcomes = slices.DeleteFunc(slices.Clone(outcomes), func(o outcome) bool {
		return !o.scenario.chart || o.samples(gorilla) == nil
	})
	if len(outcomes) == 0 {
		return fmt.Errorf("nothing to draw: the chart needs gorilla and a scenario that it shows")
	}
	plot.DefaultFont.Typeface, plot.DefaultFont.Variant = "Liberation", "Sans"
	p := plot.New()
	p.Title.Text = "CPU time of the server, or memory where idle, gorilla/websocket = 1 (shorter is better)"
	p.Title.Padding = vg.Points(8)
	p.X.Min, p.X.Max = 0, chartLimit
	p.X.Tick.Marker = plot.ConstantTicks{
		{Value: 0, Label: "0"}, {Value: 0.5, Label: "0.5"}, {Value: 1, Label: "1"},
		{Value: 1.5, Label: "1.5"}, {Value: barLimit, Label: "2 or more"},
	}
	p.Legend.Top = true
	p.BackgroundColor = color.White

	// The first scenario is drawn at the top.
	slices.Reverse(outcomes)
	names := make([]string, len(outcomes))
	for i, o := range outcomes {
		names[i] = o.scenario.name
	}
	p.NominalY(names...)
	width := vg.Points(5)
	charted := charted(outcomes)
	for i, c := range charted {
		bars, err := plotter.NewBarChart(values(outcomes, c.name), width)
		if err != nil {
			return err
		}
		bars.Horizontal = true
		bars.Color = c.color
		bars.LineStyle.Width = 0
		bars.Offset = width * vg.Length((len(charted)-1)/2-i)
		p.Add(bars)
		p.Legend.Add(c.name, bars)
	}
	line := plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(outcomes)) - 0.5}}
	mark, err := plotter.NewLine(line)
	if err != nil {
		return err
	}
	mark.Dashes = []vg.Length{vg.Points(3), vg.Points(3)}
	p.Add(mark)
	height := vg.Points(60) + width*vg.Length((len(charted)+2)*len(outcomes))
	return p.Save(vg.Points(640), height, file)
}

// charted returns the contenders with a color that took part, in drawing order.
func charted(outcomes []outcome) []contender {
	return slices.DeleteFunc(slices.Clone(contenders), func(c contender) bool {
		return c.color == nil || !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.samples(c.name) != nil })
	})
}

// values returns the ratio of the named contender in each outcome; zero, no bar, where it took no
// part.
func values(outcomes []outcome, name string) plotter.Values {
	v := make(plotter.Values, len(outcomes))
	for i, o := range outcomes {
		if s := o.samples(name); s != nil {
			v[i] = min(barLimit, ratio(s, o.samples(gorilla), o.scenario.figure()).Median)
		}
	}
	return v
}
