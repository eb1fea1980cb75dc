// Tunnel carries TCP connections over WebSocket messages. The exit, beside the service, accepts
// WebSockets and dials the service; the entry, where the users are, accepts TCP and dials the exit:
//
//	go run ./examples/tunnel -to 127.0.0.1:22
//	go run ./examples/tunnel -addr 127.0.0.1:2222 -via ws://127.0.0.1:12348/
package main

// This file holds the two ends, which differ in who dials what; relay.go is what they share.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/tautws/websocket"
)

const (
	dialTimeout = 10 * time.Second
	acceptPause = 100 * time.Millisecond // while there are no more descriptors
)

var errGoingAway = errors.New("the tunnel is going away")

func main() {
	log.SetFlags(0)
	log.SetPrefix("tunnel: ")
	addr := flag.String("addr", "127.0.0.1:12348", "listen on this `address`")
	to := flag.String("to", "", "be the exit: connect to the service at this TCP `address`")
	via := flag.String("via", "", "be the entry: connect to the exit at this WebSocket `url`")
	flag.Parse()
	if (*to == "") == (*via == "") {
		fmt.Fprintln(os.Stderr, "tunnel: give -to for the exit or -via for the entry")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // A second signal ends the program at once.

	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	if *to != "" {
		log.Printf("exit at ws://%s/, service at %s", ln.Addr(), *to)
		err = (&exit{to: *to}).serve(ctx, ln)
	} else {
		log.Printf("entry at %s, exit at %s", ln.Addr(), *via)
		err = (&entry{via: *via}).serve(ctx, ln)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// exit is the end beside the service.
type exit struct {
	to       string // TCP address
	upgrader websocket.Upgrader
	handlers sync.WaitGroup
}

// ServeHTTP is one connection. r.Context() descends from the context given to serve.
func (x *exit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.handlers.Add(1)
	defer x.handlers.Done()
	c, err := x.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has told the client why.
	}
	defer c.Close()
	tcp, err := dialTCP(r.Context(), x.to)
	if err != nil {
		log.Print(err)
		goodbye(c, websocket.CloseBadGateway, "the service cannot be reached")
		return
	}
	if err := relay(r.Context(), c, tcp); err != nil {
		log.Print(err)
	}
}

// serve accepts WebSockets on ln until ctx ends.
func (x *exit) serve(ctx context.Context, ln net.Listener) error {
	connections, leave := context.WithCancelCause(context.Background())
	defer leave(nil)
	srv := &http.Server{
		Handler:           x,
		ReadHeaderTimeout: dialTimeout,
		BaseContext:       func(net.Listener) context.Context { return connections },
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	leave(errGoingAway)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close()
	}
	x.handlers.Wait()
	return nil
}

// entry is the end where the users are.
type entry struct {
	via      string // WebSocket URL
	dialer   websocket.Dialer
	handlers sync.WaitGroup
}

// serve accepts TCP connections on ln until ctx ends.
func (e *entry) serve(ctx context.Context, ln net.Listener) error {
	defer e.handlers.Wait()
	connections, leave := context.WithCancelCause(context.Background())
	defer leave(errGoingAway)
	stop := context.AfterFunc(ctx, func() { ln.Close() })
	defer stop()
	for {
		tcp, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			// Too many users must not end the connections of those who are there.
			log.Print(err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		if err != nil {
			return err
		}
		e.handlers.Go(func() {
			if err := e.carry(connections, tcp.(*net.TCPConn)); err != nil {
				log.Print(err)
			}
		})
	}
}

// carry is one connection: a user who cannot be served sees a reset.
func (e *entry) carry(ctx context.Context, tcp *net.TCPConn) error {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, resp, err := e.dialer.DialContext(dialing, e.via, nil)
	if err != nil {
		tcp.SetLinger(0)
		tcp.Close()
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return err
	}
	defer c.Close()
	return relay(ctx, c, tcp)
}

func dialTCP(ctx context.Context, addr string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}
