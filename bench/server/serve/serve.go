// Package serve is what the echo servers share: flags, the listener, the answers to the benchmark's
// commands. A server announces its address on standard output, obeys one command per line of
// standard input, and exits when that ends, so no server outlives the benchmark.
//
//	gc                collect garbage, return memory to the system, say "ok" and the bytes of live heap
//	broadcast N TEXT  send TEXT to every connection as a binary message, N times, say "ok"
//
// The first byte of TEXT grows by one with every message.
package serve

import (
	"bufio"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// MessageLimit is the size in bytes every server accepts.
const MessageLimit = 16 << 20

// CallTimeout is what bounds a call where each has a context of its own: far away.
const CallTimeout = time.Minute

// Options say how a server is to run.
type Options struct {
	Detached bool // run the loop in its own goroutine, so that the HTTP handler returns
	Deflate  bool // negotiate permessage-deflate
	Takeover bool // with context takeover, where the library can
	Register bool // register connections for broadcasts
	Skip     bool // members that do not keep up miss messages, instead of being closed
	UTF8     bool // validate text in the application, for a library that does not
	Contexts bool // a context of its own for every call, where the library takes one
	Writers  int  // answer a message from so many goroutines, if not zero
	Writes   int  // and so many times from each
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
	flag.BoolVar(&o.Register, "register", false, "register connections for broadcasts")
	flag.BoolVar(&o.Skip, "skip", false, "let members that do not keep up miss messages")
	flag.BoolVar(&o.UTF8, "utf8", false, "validate text in the application")
	flag.BoolVar(&o.Contexts, "contexts", false, "a context of its own for every call")
	flag.IntVar(&o.Writers, "writers", 0, "goroutines that answer a message")
	flag.IntVar(&o.Writes, "writes", 1, "answers of each")
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
	// A blocking read would keep the processor from what a broadcast has started, until the Go
	// runtime notices.
	if err := syscall.SetNonblock(syscall.Stdin, true); err != nil {
		log.Fatal(err)
	}
	in := bufio.NewReaderSize(os.NewFile(uintptr(syscall.Stdin), "stdin"), 1<<16)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		command, argument, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		answer := "ok"
		switch {
		case command == "gc":
			// Several times: a sync.Pool keeps its content for one collection more, and a stack
			// shrinks by half at each.
			for range 4 {
				debug.FreeOSMemory()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			answer = fmt.Sprint("ok ", m.HeapAlloc)
		case command == "broadcast" && p.Broadcast != nil:
			number, text, _ := strings.Cut(argument, " ")
			times, err := strconv.Atoi(number)
			if err != nil {
				log.Fatal(err)
			}
			// Before it, so that the answer wakes nobody who measures.
			fmt.Println(answer)
			for i := range times {
				payload := []byte(text)
				payload[0] += byte(i)
				p.Broadcast(payload)
			}
			continue
		default:
			log.Fatalf("unknown command %q", command)
		}
		fmt.Println(answer)
	}
}
