// Echo is a WebSocket server that sends every message back, with a page to try it from, and the
// client to match:
//
//	go run ./examples/echo
//	go run ./examples/echo -dial ws://127.0.0.1:12345/
package main

// This file reads the flags; server.go is the server, whose heart is the function echo, and
// client.go is the client.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: it returns the exit status, and ends early, but in good order, when ctx does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var (
		s = newServer()
		c = client{in: stdin, out: stdout, notes: stderr}
	)
	flags := flag.NewFlagSet("echo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:12345", "listen on this `address`")
	cert := flags.String("cert", "", "serve TLS with the certificate in this PEM `file`")
	key := flags.String("key", "", "the certificate's private key, a PEM `file`")
	compress := flags.Bool("compress", false, "offer or accept permessage-deflate")
	flags.BoolVar(&s.handle, "handle", false, "server: have no goroutine for each connection")
	flags.StringVar(&c.url, "dial", "", "be a client of the server at this `url` (ws or wss)")
	flags.Func("H", "client: send the header `\"Name: value\"`; may be repeated", c.addHeader)
	flags.Func("subprotocol", "client: offer the subprotocol `name`; may be repeated", c.addSubprotocol)
	flags.IntVar(&c.pings, "ping", 0, "client: send `n` pings and print the round-trip times")
	flags.DurationVar(&c.interval, "interval", time.Second, "client: time between two pings")
	flags.BoolVar(&c.reconnect, "reconnect", false, "client: connect again when the connection ends or cannot be made")
	flags.StringVar(&c.ca, "ca", "", "client: trust the certificates in this PEM `file` instead of the system's")
	flags.BoolVar(&c.insecure, "insecure", false, "client: accept any certificate")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "echo: unexpected argument %q\n", flags.Arg(0))
		return 2
	}

	var err error
	if c.url != "" {
		c.compress = *compress
		err = c.run(ctx)
	} else {
		s.upgrader.EnableCompression = *compress
		err = listenAndServe(ctx, s, *addr, *cert, *key, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "echo:", err)
		return 1
	}
	return 0
}
