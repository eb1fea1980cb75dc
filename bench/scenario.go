package main

// What is measured. Every scenario is one of six loads: echo, handshake, opening, broadcast, idle,
// crowd.

import (
	"fmt"
	"slices"

	"github.com/tautws/websocket/bench/load"
)

type loadKind int

const (
	echoLoad loadKind = iota
	handshakeLoad
	openLoad
	broadcastLoad
	idleLoad
	crowdLoad
)

type scenario struct {
	name  string
	title string
	kind  loadKind
	unit  string // what one operation is
	echo  load.EchoConfig
	conns int      // handshake: slots; broadcast and idle: connections
	size  int      // broadcast: bytes of payload
	many  int      // broadcast: messages in flight
	tls   bool     // idle only; of echoes it is in echo
	args  []string // for the servers
	only  []string // contenders; empty: all those without scenarios of their own
	bases []string // contenders that the others are compared with, the first in everything
	chart bool     // a group of bars in the chart
	procs int      // GOMAXPROCS of the servers
}

// detaching are the contenders whose loop may run in the handler of net/http or in a goroutine of
// its own.
var detaching = []string{gorilla, plain, messages, "coder", "gws"}

var scenarios = []scenario{
	echo("64B", "64 B, one in flight on each of 100 connections", 100, 1, 64, load.Binary),
	echo("64B-pipelined", "64 B, sixteen in flight on each of 100 connections", 100, 16, 64, load.Binary),
	echo("512B-1000", "512 B, one in flight on each of 1,000 connections", 1000, 1, 512, load.Binary),
	echo("1KiB-10", "1 KiB, one in flight on each of 10 connections", 10, 1, 1<<10, load.Binary),
	echo("1KiB", "1 KiB, one in flight on each of 100 connections", 100, 1, 1<<10, load.Binary),
	echo("64KiB", "64 KiB binary, 8 connections", 8, 1, 64<<10, load.Binary),
	echo("64KiB-ascii", "64 KiB of ASCII text, 8 connections", 8, 1, 64<<10, load.ASCII),
	echo("64KiB-multibyte", "64 KiB of multi-byte text, 8 connections", 8, 1, 64<<10, load.Multibyte),
	echo("1MiB", "1 MiB binary, 4 connections", 4, 1, 1<<20, load.Binary),
	overTLS(echo("64B-tls", "64 B over TLS, one in flight on each of 100 connections", 100, 1, 64, load.Binary)),
	contexts(echo("64B-contexts", "64 B, 100 connections, a context for each call and none", 100, 1, 64, load.Binary)),
	writers(echo("64B-writers", "64 B from 64 goroutines to one connection", 1, 1, 64, load.Binary), 64, 64),
	writers(echo("64B-writers-1000", "64 B from 1,000 goroutines to one connection", 1, 1, 64, load.Binary), 1000, 4),
	{name: "handshake", title: "handshakes: connect, upgrade, close", kind: handshakeLoad, unit: "handshake",
		conns: 32, only: []string{floor, gorilla, plain, "coder", "gws", "gobwas", "node ws"}, chart: true},
	broadcast("broadcast", "512 B to 1,000 connections, one message in flight", 1000, 1, 512),
	broadcast("broadcast-8", "512 B to 1,000 connections, 8 messages in flight", 1000, 8, 512),
	broadcast("broadcast-64", "512 B to 1,000 connections, 64 messages in flight", 1000, 64, 512),
	broadcast("broadcast-64KiB-8", "64 KiB to 200 connections, 8 messages in flight", 200, 8, 64<<10),
	compressed(echo("deflate", "permessage-deflate, 4 KiB of JSON, 50 connections", 50, 1, 4<<10, load.JSON), false),
	compressed(echo("deflate-takeover", "the same with context takeover", 50, 1, 4<<10, load.JSON), true),
	idle("idle-goroutine", "10,000 idle connections, loop in its own goroutine", false, true),
	idle("idle-handler", "10,000 idle connections, loop in the handler", false, false),
	idle("idle-tls-goroutine", "2,000 idle connections over TLS, loop in its own goroutine", true, true),
	idle("idle-tls-handler", "2,000 idle connections over TLS, loop in the handler", true, false),
	overHTTP2(echo("http2-64B-1", "64 B over TLS, one in flight on one connection or stream", 1, 1, 64, load.Binary)),
	overHTTP2(echo("http2-64B-50", "64 B over TLS, one in flight on each of 50 connections or streams", 50, 1, 64, load.Binary)),
	overHTTP2(echo("http2-64B-pipelined", "64 B over TLS, sixteen in flight on one connection or stream", 1, 16, 64, load.Binary)),
	overHTTP2(echo("http2-16KiB", "16 KiB over TLS, one in flight on each of 4 connections or streams", 4, 1, 16<<10, load.Binary)),
	overHTTP2(echo("http2-1MiB", "1 MiB over TLS, one in flight on each of 4 connections or streams", 4, 1, 1<<20, load.Binary)),
	overHTTP2(scenario{name: "http2-open", title: "opening over TLS, one at a time: connect, shake hands and upgrade, or a stream",
		kind: openLoad, unit: "opening"}),
	overHTTP2(scenario{name: "http2-idle", title: "1,000 idle connections over TLS, or streams, 100 to a connection",
		kind: idleLoad, unit: "connection", conns: 1000}),
}

func echo(name, title string, conns, burst, size int, kind load.Kind) scenario {
	s := scenario{name: name, title: title, kind: echoLoad, unit: "message", chart: true,
		echo: load.EchoConfig{Conns: conns, Burst: burst, Size: size, Kind: kind}}
	if size <= 4<<10 {
		s.args = []string{"-buffer=4096"} // what bufio.Reader gives the others
	}
	return s
}

// overTLS leaves out npm's ws, whose server here has no TLS.
func overTLS(s scenario) scenario {
	s.echo.TLS = true
	s.args = append(s.args, "-tls")
	s.only = []string{floor, gorilla, plain, messages, "coder", "gws", "gobwas"}
	return s
}

// overHTTP2 compares HTTP/2 with HTTP/1.1, both over TLS, of one server.
func overHTTP2(s scenario) scenario {
	s.tls, s.echo.TLS, s.args = true, true, []string{"-tls"}
	s.bases = []string{http1}
	s.only = s.bases
	s.chart = false // whose bars are compared with gorilla
	return s
}

// contexts sets the contenders that take a context for each call beside those without.
func contexts(s scenario) scenario {
	s.only = []string{gorilla, plain, "coder"}
	s.chart = false
	return s
}

// writers has every message answered from so many goroutines, so many times from each.
func writers(s scenario, goroutines, times int) scenario {
	s.echo.Replies = goroutines * times
	s.args = append(s.args, fmt.Sprintf("-writers=%d", goroutines), fmt.Sprintf("-writes=%d", times))
	s.only = []string{floor, gorilla, plain, "coder", "gws"}
	return s
}

func broadcast(name, title string, conns, many, size int) scenario {
	s := scenario{name: name, title: title, kind: broadcastLoad, unit: "delivery", conns: conns, many: many,
		size: size, args: []string{"-register"}, chart: true,
		only: []string{floor, gorilla, plain, "gws"}}
	if many == 1 {
		s.only = append(s.only, "coder", "gobwas", "node ws")
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
	s := scenario{name: name, title: title, kind: idleLoad, unit: "connection", conns: 10_000, tls: tls}
	if detached {
		// A small buffer of its own: the floor of memory, not of time.
		s.args = append(s.args, "-detached", "-buffer=512")
		s.chart = true
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

// comparedWith returns the contenders that the others are compared with.
func (s scenario) comparedWith() []string {
	if s.bases == nil {
		return []string{gorilla, floor}
	}
	return s.bases
}

// with returns s for servers with the given GOMAXPROCS; ok is false where more than one would be no
// news: only broadcasts and uncompressed echoes over HTTP/1.1 are run with more.
func (s scenario) with(procs int) (_ scenario, ok bool) {
	s.procs = procs
	if procs == 1 {
		return s, true
	}
	s.name = fmt.Sprintf("%s-procs%d", s.name, procs)
	s.title = fmt.Sprintf("%s, GOMAXPROCS=%d", s.title, procs)
	s.chart = false
	return s, s.kind == broadcastLoad || s.kind == echoLoad && !s.echo.Deflate && s.bases == nil
}

// connections is how many the load holds at once.
func (s scenario) connections() int { return max(s.conns, s.echo.Conns) }

// latency tells whether the time from a message to its answer or delivery, or that of an opening,
// means something.
func (s scenario) latency() bool {
	return s.kind == echoLoad && s.echo.Replies == 0 || s.kind == broadcastLoad || s.kind == openLoad
}

// parked tells whether s is about memory and not about time.
func (s scenario) parked() bool { return s.kind == idleLoad || s.kind == crowdLoad }
