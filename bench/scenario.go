package main

// What is measured. Every scenario is one of four loads: echo, handshake,
// fan-out, idle.

import (
	"slices"

	"github.com/tautws/websocket/bench/load"
)

type loadKind int

const (
	echoLoad loadKind = iota
	handshakeLoad
	fanoutLoad
	idleLoad
)

type scenario struct {
	name  string
	title string
	kind  loadKind
	unit  string // what one operation is
	echo  load.EchoConfig
	conns int      // handshake: slots; fan-out and idle: connections
	size  int      // fan-out: bytes of payload
	tls   bool     // idle only
	args  []string // for the servers
	only  []string // contenders; empty: all but the one with utf8.Valid
	chart bool     // a group of bars in the chart
}

// detaching are the contenders whose loop may run in the handler of net/http
// or in a goroutine of its own.
var detaching = []string{gorilla, plain, messages, "coder", "gws"}

var scenarios = []scenario{
	echo("64B", "64 B, one in flight on each of 100 connections", 100, 1, 64, load.Binary),
	echo("64B-pipelined", "64 B, sixteen in flight on each of 100 connections", 100, 16, 64, load.Binary),
	echo("512B-1000", "512 B, one in flight on each of 1,000 connections", 1000, 1, 512, load.Binary),
	echo("1KiB", "1 KiB, one in flight on each of 100 connections", 100, 1, 1<<10, load.Binary),
	echo("64KiB", "64 KiB binary, 8 connections", 8, 1, 64<<10, load.Binary),
	validated(echo("64KiB-ascii", "64 KiB of ASCII text, 8 connections", 8, 1, 64<<10, load.ASCII)),
	validated(echo("64KiB-multibyte", "64 KiB of multi-byte text, 8 connections", 8, 1, 64<<10, load.Multibyte)),
	echo("1MiB", "1 MiB binary, 4 connections", 4, 1, 1<<20, load.Binary),
	{name: "handshake", title: "handshakes: connect, upgrade, close", kind: handshakeLoad, unit: "handshake",
		conns: 32, only: []string{floor, gorilla, plain, "coder", "gws", "gobwas", "node ws"}, chart: true},
	{name: "fanout", title: "one prepared message of 512 B to 1,000 connections", kind: fanoutLoad, unit: "delivery",
		conns: 1000, size: 512, args: []string{"-fanout"},
		only: []string{floor, gorilla, plain, "coder", "gws", "gobwas", "node ws"}, chart: true},
	compressed(echo("deflate", "permessage-deflate, 4 KiB of JSON, 50 connections", 50, 1, 4<<10, load.JSON), false),
	compressed(echo("deflate-takeover", "the same with context takeover", 50, 1, 4<<10, load.JSON), true),
	idle("idle-goroutine", "10,000 idle connections, loop in its own goroutine", false, true),
	idle("idle-handler", "10,000 idle connections, loop in the handler", false, false),
	idle("idle-tls-goroutine", "2,000 idle connections over TLS, loop in its own goroutine", true, true),
	idle("idle-tls-handler", "2,000 idle connections over TLS, loop in the handler", true, false),
}

func echo(name, title string, conns, burst, size int, kind load.Kind) scenario {
	s := scenario{name: name, title: title, kind: echoLoad, unit: "message", chart: true,
		echo: load.EchoConfig{Conns: conns, Burst: burst, Size: size, Kind: kind}}
	if size <= 4<<10 {
		s.args = []string{"-buffer=4096"} // what bufio.Reader gives the others
	}
	return s
}

// validated also runs gorilla with utf8.Valid, which is what a program needs
// there to keep RFC 6455 §8.1.
func validated(s scenario) scenario {
	for _, c := range contenders {
		s.only = append(s.only, c.name)
	}
	return s
}

func compressed(s scenario, takeover bool) scenario {
	s.echo.Deflate, s.echo.Takeover = true, takeover
	s.args = []string{"-deflate"}
	s.only = []string{gorilla, plain, messages, "coder", "gws", "node ws"}
	if takeover {
		s.args = append(s.args, "-takeover")
		s.only = []string{messages, "coder", "gws", "node ws"}
		s.chart = false
	}
	return s
}

func idle(name, title string, tls, detached bool) scenario {
	s := scenario{name: name, title: title, kind: idleLoad, conns: 10_000, tls: tls}
	if detached {
		// A small buffer of its own: the floor of memory, not of time.
		s.args = append(s.args, "-detached", "-buffer=512")
		s.only = append(s.only, floor)
	}
	s.only = append(s.only, detaching...)
	if tls {
		s.conns = 2_000 // handshakes take their time
		s.args = append(s.args, "-tls")
		s.only = slices.DeleteFunc(s.only, func(name string) bool { return name == "coder" || name == "gws" })
	} else if detached {
		s.only = append(s.only, "gobwas", "node ws")
	}
	return s
}

// runs tells whether c takes part in s.
func (s scenario) runs(c contender) bool {
	if len(s.only) == 0 {
		return c.name != "gorilla+utf8.Valid"
	}
	return slices.Contains(s.only, c.name)
}

// connections is how many the load holds at once.
func (s scenario) connections() int { return max(s.conns, s.echo.Conns) }
