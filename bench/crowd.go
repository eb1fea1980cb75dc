package main

// A crowd is more parked connections than one process may have open files: shards, processes of
// this program with a server each, share them.

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tautws/websocket/bench/load"
)

const (
	shardLimit      = 15_000 // connections of a shard
	crowdBroadcasts = 5
	shardCommand    = "shard" // the first argument of a shard
)

// crowd is the scenario of conns connections.
func crowd(conns int) scenario {
	s := idle("crowd", fmt.Sprintf("%d parked connections", conns), false, true)
	s.kind, s.conns, s.procs, s.many, s.size = crowdLoad, conns, 1, 1, 512
	s.args = append(s.args, "-register")
	s.only = []string{floor, gorilla, plain, "coder", "gws"}
	return s
}

// shardMemory is what a shard reports of its server when all connections are there.
type shardMemory struct{ Resident, Heap int64 }

// shardMain is what a shard does; args are the directory of the servers, the contender's name and
// the number of connections. It broadcasts at every line of standard input, and ends with it.
func shardMain(args []string) error {
	conns, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	who := slices.IndexFunc(contenders, func(c contender) bool { return c.name == args[1] })
	c, s := contenders[who], crowd(conns)
	p, err := host{dir: args[0]}.start(c, s)
	if err != nil {
		return err
	}
	return errors.Join(runShard(p, s, c.name == floor), p.stop())
}

func runShard(p *process, s scenario, verbatim bool) error {
	first, err := load.DialBroadcast(p.addr, 16, s.many, s.size, verbatim)
	if err != nil {
		return err
	}
	defer first.Close()
	residentBefore, heapBefore, err := p.memory()
	if err != nil {
		return err
	}
	all, err := load.DialBroadcast(p.addr, s.conns, s.many, s.size, verbatim)
	if err != nil {
		return err
	}
	defer all.Close()
	resident, heap, err := p.memory()
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(shardMemory{resident - residentBefore, heap - heapBefore}); err != nil {
		return err
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		r, err := all.Run(0, p.broadcast)
		if err != nil {
			return err
		}
		if err := out.Encode(r.Messages); err != nil {
			return err
		}
	}
	return nil
}

// shard is a shard as the program that started it sees it.
type shard struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

func (h host) startShard(c contender, conns int) (*shard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &shard{cmd: exec.Command(self, shardCommand, h.dir, c.name, strconv.Itoa(conns))}
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = json.NewDecoder(out)
	return s, h.place(runtime.NumCPU()).start(s.cmd)
}

// measureCrowd parks s.conns connections with servers of c and broadcasts to all.
func (h host) measureCrowd(c contender, s scenario) (m sample, err error) {
	var shards []*shard
	defer func() {
		for _, shard := range shards {
			shard.in.Close()
		}
		for _, shard := range shards {
			err = errors.Join(err, shard.cmd.Wait())
		}
	}()
	before, err := kernelMemory()
	if err != nil {
		return m, err
	}
	for left := s.conns; left > 0; left -= shardLimit {
		shard, err := h.startShard(c, min(left, shardLimit))
		if err != nil {
			return m, err
		}
		shards = append(shards, shard)
	}
	var total shardMemory
	for _, shard := range shards {
		var memory shardMemory
		if err := shard.out.Decode(&memory); err != nil {
			return m, err
		}
		total.Resident += memory.Resident
		total.Heap += memory.Heap
	}
	after, err := kernelMemory()
	if err != nil {
		return m, err
	}
	var seconds []float64
	for range crowdBroadcasts {
		start := time.Now()
		for _, shard := range shards {
			if _, err := shard.in.Write([]byte("\n")); err != nil {
				return m, err
			}
		}
		m.Operations = 0
		for _, shard := range shards {
			var deliveries int
			if err := shard.out.Decode(&deliveries); err != nil {
				return m, err
			}
			m.Operations += deliveries
		}
		seconds = append(seconds, time.Since(start).Seconds())
	}
	m.Seconds = summarize(seconds).Median
	m.Resident = float64(total.Resident) / float64(s.conns)
	m.Heap = float64(total.Heap) / float64(s.conns)
	m.Kernel = float64(after-before) / float64(s.conns)
	return m, nil
}

var slabSize = regexp.MustCompile(`(?m)^Slab:\s+(\d+) kB$`)
var tcpPages = regexp.MustCompile(`(?m)^TCP: .* mem (\d+)$`)

// kernelMemory returns the bytes that the kernel has for its objects, sockets among them, and for
// what is in the sockets.
func kernelMemory() (int64, error) {
	objects, err := readNumber("/proc/meminfo", slabSize)
	if err != nil {
		return 0, err
	}
	pages, err := readNumber("/proc/net/sockstat", tcpPages)
	return objects<<10 + pages*int64(os.Getpagesize()), err
}

func readNumber(file string, pattern *regexp.Regexp) (int64, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	m := pattern.FindStringSubmatch(string(content))
	if m == nil {
		return 0, fmt.Errorf("%s: nothing like %s in %q", file, pattern, strings.TrimSpace(string(content)))
	}
	return strconv.ParseInt(m[1], 10, 64)
}
