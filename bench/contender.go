package main

// The programs that are compared.

import (
	"image/color"
	"regexp"
	"slices"
)

// Names of the contenders the ratios and the report refer to.
const (
	floor    = "floor"
	gorilla  = "gorilla"
	plain    = "websocket"
	messages = "websocket Messages"
	http1    = "HTTP/1.1"
)

// contender is one line of every table.
type contender struct {
	name    string
	program string      // directory below server/
	args    []string    // always passed
	env     []string    // added to the environment
	http2   bool        // the load talks HTTP/2 to it
	stalled bool        // a tenth more connections take nothing
	module  string      // whose version the record names
	color   color.Color // of the bars in the chart; nil: none
	// in matches the names of the scenarios it takes part in; empty: those that list it, or list
	// none.
	in string
}

// extendedConnect has net/http's server announce extended CONNECT (docs/http2.md).
var extendedConnect = []string{"GODEBUG=http2xconnect=1"}

var contenders = []contender{
	{name: floor, program: "floor", color: color.Gray{0xBB}},
	{name: gorilla, program: "gorilla", module: "github.com/gorilla/websocket", color: color.Gray{0x55}},
	{name: "gorilla+utf8.Valid", program: "gorilla", args: []string{"-utf8"}, in: "ascii|multibyte"},
	{name: "gorilla hub", program: "hub", in: "^broadcast"},
	{name: plain, program: "websocket", color: color.RGBA{0x00, 0x5F, 0x9E, 0xFF}},
	{name: messages, program: "messages", color: color.RGBA{0x56, 0xB4, 0xE9, 0xFF}},
	{name: "websocket Handle", program: "handle", in: "^(64B|64B-pipelined|512B-1000|1KiB-10|1KiB|64KiB|1MiB|64B-tls|idle-goroutine|idle-tls-goroutine|crowd)(-procs2)?$",
		color: color.RGBA{0x2E, 0x8B, 0x57, 0xFF}},
	{name: "websocket Group", program: "group", in: "^(broadcast|crowd)", color: color.RGBA{0x8E, 0x44, 0xAD, 0xFF}},
	{name: "websocket Group, stalled members", program: "group", args: []string{"-skip"}, stalled: true, in: "^broadcast"},
	{name: "websocket without mutex", program: "messages", in: "-writers"},
	{name: "websocket contexts", program: "contexts", in: "-contexts"},
	{name: "coder", program: "coder", module: "github.com/coder/websocket", color: color.RGBA{0xCC, 0x79, 0xA7, 0xFF}},
	{name: "coder contexts", program: "coder", args: []string{"-contexts"}, in: "-contexts"},
	{name: "gws", program: "gws", module: "github.com/lxzan/gws", color: color.RGBA{0xE6, 0x9F, 0x00, 0xFF}},
	{name: "gobwas", program: "gobwas", module: "github.com/gobwas/ws", color: color.RGBA{0x00, 0x9E, 0x73, 0xFF}},
	{name: "melody", program: "melody", module: "github.com/olahol/melody", in: "^broadcast"},
	{name: "node ws", program: "node"},
	{name: http1, program: "http2", env: extendedConnect, in: "^http2"},
	{name: "HTTP/2", program: "http2", env: extendedConnect, http2: true, in: "^http2"},
}

// runs tells whether c takes part in s.
func (s scenario) runs(c contender) bool {
	if c.in != "" {
		return regexp.MustCompile(c.in).MatchString(s.name)
	}
	return len(s.only) == 0 || slices.Contains(s.only, c.name)
}
