// Package serve is what the echo servers share: flags, the listener, the
// answers to the benchmark's commands. A server announces its address on
// standard output, obeys one command per line of standard input, and exits
// when that ends, so no server outlives the benchmark.
//
//	gc              collect garbage, return memory to the system, say "ok"
//	broadcast TEXT  send TEXT to every connection as one prepared binary message, say "ok"
package serve

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
)

// MessageLimit is the size in bytes every server accepts.
const MessageLimit = 16 << 20

// Options say how a server is to run.
type Options struct {
	Detached bool // run the loop in its own goroutine, so that the HTTP handler returns
	Deflate  bool // negotiate permessage-deflate
	Takeover bool // with context takeover, where the library can
	Fanout   bool // register connections for broadcasts
	UTF8     bool // validate text in the application, for a library that does not
	Buffer   int  // bytes of the floor's read buffer
}

// Program is one echo server.
type Program struct {
	Serve     func(net.Listener) error
	Broadcast func(payload []byte) // may be nil
}

// Main runs the program that build returns until standard input ends.
func Main(build func(Options) Program) {
	var o Options
	flag.BoolVar(&o.Detached, "detached", false, "run each loop in its own goroutine")
	flag.BoolVar(&o.Deflate, "deflate", false, "negotiate permessage-deflate")
	flag.BoolVar(&o.Takeover, "takeover", false, "with context takeover")
	flag.BoolVar(&o.Fanout, "fanout", false, "register connections for broadcasts")
	flag.BoolVar(&o.UTF8, "utf8", false, "validate text in the application")
	flag.IntVar(&o.Buffer, "buffer", 64<<10, "bytes of the floor's read buffer")
	overTLS := flag.Bool("tls", false, "serve TLS with a fresh self-signed certificate")
	flag.Parse()

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ln.Addr())
	if *overTLS {
		ln = listenTLS(ln)
	}
	program := build(o)
	go func() { log.Fatal(program.Serve(ln)) }()
	obey(program)
}

// Handler serves h on every path.
func Handler(h http.HandlerFunc) func(net.Listener) error {
	return func(ln net.Listener) error { return http.Serve(ln, h) }
}

func obey(p Program) {
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		command, argument, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch {
		case command == "gc":
			// Several times: a sync.Pool keeps its content for one collection
			// more, and a stack shrinks by half at each.
			for range 4 {
				debug.FreeOSMemory()
			}
		case command == "broadcast" && p.Broadcast != nil:
			p.Broadcast([]byte(argument))
		default:
			log.Fatalf("unknown command %q", command)
		}
		fmt.Println("ok")
	}
}
