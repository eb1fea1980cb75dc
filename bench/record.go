package main

// The record: everything measured, and on what, as JSON.

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

type record struct {
	Date      string            `json:"date"`
	Go        string            `json:"go"`
	System    string            `json:"system"`
	Processor string            `json:"processor"`
	CPUs      int               `json:"cpus"`
	Versions  map[string]string `json:"versions"`
	Rounds    int               `json:"rounds"`
	Seconds   float64           `json:"seconds_per_measurement"`
	Scenarios []scenarioRecord  `json:"scenarios"`
}

type scenarioRecord struct {
	Name       string            `json:"name"`
	Title      string            `json:"title"`
	Unit       string            `json:"unit"`
	Procs      int               `json:"gomaxprocs"`
	Contenders []contenderRecord `json:"contenders"`
}

type contenderRecord struct {
	Name      string                   `json:"name"`
	CPU       *statistic               `json:"cpu_ns,omitempty"`
	Rate      *statistic               `json:"per_second,omitempty"`
	Resident  *statistic               `json:"resident_bytes_per_connection,omitempty"`
	Heap      *statistic               `json:"heap_bytes_per_connection,omitempty"`
	ToGorilla *statistic               `json:"to_gorilla,omitempty"`
	ToFloor   *statistic               `json:"to_floor,omitempty"`
	ToHTTP1   *statistic               `json:"to_http1,omitempty"`
	Latency   map[string]latencyRecord `json:"latency,omitempty"` // by p50, p99, p999
	Rounds    []sample                 `json:"rounds"`
}

type latencyRecord struct {
	Time      statistic  `json:"ns"`
	ToGorilla *statistic `json:"to_gorilla,omitempty"`
	ToHTTP1   *statistic `json:"to_http1,omitempty"`
}

// writeRecord writes outcomes to file; dir holds the servers.
func writeRecord(file, dir string, set settings, outcomes []outcome) error {
	r := record{
		Date:      time.Now().UTC().Format(time.DateOnly),
		Go:        runtime.Version(),
		System:    runtime.GOOS + "/" + runtime.GOARCH,
		Processor: processor(),
		CPUs:      runtime.NumCPU(),
		Versions:  versions(dir),
		Rounds:    set.rounds,
		Seconds:   set.time.Seconds(),
	}
	for _, o := range outcomes {
		r.Scenarios = append(r.Scenarios, o.record())
	}
	out, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(out, '\n'), 0o644)
}

func (o outcome) record() scenarioRecord {
	r := scenarioRecord{Name: o.scenario.name, Title: o.scenario.title, Unit: o.scenario.unit, Procs: o.scenario.procs}
	for _, l := range o.lines {
		c := contenderRecord{Name: l.contender, Rounds: l.samples}
		if o.scenario.parked() {
			c.Resident = new(figure(l.samples, residentOf))
			c.Heap = new(figure(l.samples, heapOf))
		} else {
			c.CPU = new(figure(l.samples, cpuOf))
			c.Rate = new(figure(l.samples, rateOf))
		}
		c.ToGorilla = o.ratio(l, gorilla, o.scenario.figure())
		c.ToFloor = o.ratio(l, floor, o.scenario.figure())
		c.ToHTTP1 = o.ratio(l, http1, o.scenario.figure())
		if o.scenario.latency() {
			c.Latency = make(map[string]latencyRecord)
			for _, q := range latencies {
				c.Latency[q.name] = latencyRecord{figure(l.samples, q.of), o.ratio(l, gorilla, q.of), o.ratio(l, http1, q.of)}
			}
		}
		r.Contenders = append(r.Contenders, c)
	}
	return r
}

// ratio compares l with the named contender, if that took part.
func (o outcome) ratio(l line, name string, f func(sample) float64) *statistic {
	base := o.samples(name)
	if base == nil {
		return nil
	}
	return new(ratio(l.samples, base, f))
}

// versions reads the libraries' versions out of the servers that use them.
func versions(dir string) map[string]string {
	v := make(map[string]string)
	for _, c := range contenders {
		info, err := buildinfo.ReadFile(filepath.Join(dir, c.program))
		if c.module == "" || err != nil {
			continue
		}
		for _, d := range info.Deps {
			if d.Path == c.module {
				v[c.name] = d.Version
			}
		}
	}
	return v
}

var modelName = regexp.MustCompile(`(?m)^model name\s*:\s*(.*)$`)

func processor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if m := modelName.FindSubmatch(info); err == nil && m != nil {
		return strings.TrimSpace(string(m[1]))
	}
	return "unknown"
}
