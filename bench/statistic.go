package main

// Medians with their spread.

import "slices"

// statistic sums up the rounds of one figure: the median and the quartiles.
type statistic struct {
	Median float64 `json:"median"`
	Lower  float64 `json:"lower_quartile"`
	Upper  float64 `json:"upper_quartile"`
}

// summarize sums up values, of which there must be one at least.
func summarize(values []float64) statistic {
	v := slices.Sorted(slices.Values(values))
	return statistic{Median: quantile(v, 0.5), Lower: quantile(v, 0.25), Upper: quantile(v, 0.75)}
}

// quantile interpolates between the two nearest of the sorted values.
func quantile(v []float64, q float64) float64 {
	at := q * float64(len(v)-1)
	i := int(at)
	if i == len(v)-1 {
		return v[i]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// figure applies f to each sample and sums up.
func figure(samples []sample, f func(sample) float64) statistic {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(s)
	}
	return summarize(values)
}

// ratio compares round with round, which cancels what slowed down both.
func ratio(samples, base []sample, f func(sample) float64) statistic {
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = f(s) / f(base[i])
	}
	return summarize(values)
}

func cpuOf(s sample) float64      { return s.CPU }
func rateOf(s sample) float64     { return float64(s.Operations) / s.Seconds }
func busyOf(s sample) float64     { return s.Busy }
func replyOf(s sample) float64    { return s.ReplyBytes }
func p50Of(s sample) float64      { return s.P50 }
func p99Of(s sample) float64      { return s.P99 }
func p999Of(s sample) float64     { return s.P999 }
func residentOf(s sample) float64 { return s.Resident }
func heapOf(s sample) float64     { return s.Heap }
func kernelOf(s sample) float64   { return s.Kernel }
func secondsOf(s sample) float64  { return s.Seconds }

// latencies are the figures of the time from a message to its answer or delivery.
var latencies = []struct {
	name string
	of   func(sample) float64
}{{"p50", p50Of}, {"p99", p99Of}, {"p999", p999Of}}

// figure is what the ratios of a scenario compare.
func (s scenario) figure() func(sample) float64 {
	if s.parked() {
		return residentOf
	}
	return cpuOf
}
