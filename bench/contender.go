package main

// The programs that are compared.

// Names of the contenders the ratios and the report refer to.
const (
	floor    = "floor"
	gorilla  = "gorilla"
	plain    = "websocket"
	messages = "websocket Messages"
)

// contender is one line of every table.
type contender struct {
	name    string
	program string   // directory below server/
	args    []string // always passed
	module  string   // whose version the record names
}

var contenders = []contender{
	{name: floor, program: "floor"},
	{name: gorilla, program: "gorilla", module: "github.com/gorilla/websocket"},
	{name: "gorilla+utf8.Valid", program: "gorilla", args: []string{"-utf8"}},
	{name: plain, program: "websocket"},
	{name: messages, program: "messages"},
	{name: "coder", program: "coder", module: "github.com/coder/websocket"},
	{name: "gws", program: "gws", module: "github.com/lxzan/gws"},
	{name: "gobwas", program: "gobwas", module: "github.com/gobwas/ws"},
	{name: "node ws", program: "node"},
}
