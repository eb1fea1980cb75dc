// The server that the testsuite's fuzzing client examines. It echoes on every path.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/tautws/websocket/conformance"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "listen on this `address`")
	flag.Parse()
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening at ws://%s/\n", ln.Addr())
	log.Fatal(newServer().Serve(ln))
}

func newServer() *http.Server {
	return &http.Server{Handler: http.HandlerFunc(conformance.Serve), ReadHeaderTimeout: 10 * time.Second}
}
