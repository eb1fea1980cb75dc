package load

// The broadcast load: many connections that only listen. The server is told to broadcast some
// messages, one right after the other, and told again when every connection has all of them.

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Broadcast is a set of listening connections.
type Broadcast struct {
	echo    *Echo
	stalled *Echo // nil: none
	size    int
	many    int
}

// Server has a server broadcast text a number of times, and returns when it is about to. The first
// byte of text is '!', and in every further message the next in ASCII.
type Server func(times int, text string) error

// DialBroadcast connects and upgrades conns connections for broadcasts of size bytes of payload,
// many in flight. Each echoes one message first, after which the server is sure to have registered
// it.
func DialBroadcast(addr netip.AddrPort, conns, many, size int, verbatim bool) (*Broadcast, error) {
	e, err := DialEcho(addr, EchoConfig{Conns: conns, Burst: 1, Size: 1, Kind: Binary, Verbatim: verbatim})
	if err != nil {
		return nil, err
	}
	if _, err := e.Run(0); err != nil {
		e.Close()
		return nil, err
	}
	return &Broadcast{echo: e, size: size, many: many}, nil
}

// Stall connects further connections that read nothing but the answer to their first message. They
// have small buffers, so that the server soon finds them full.
func (b *Broadcast) Stall(addr netip.AddrPort, conns int) error {
	e, err := DialEcho(addr, EchoConfig{Conns: conns, Burst: 1, Size: 1, Kind: Binary, Receive: 2048})
	if err != nil {
		return err
	}
	b.stalled = e
	_, err = e.Run(0)
	return err
}

// Close closes every connection.
func (b *Broadcast) Close() {
	b.echo.Close()
	if b.stalled != nil {
		b.stalled.Close()
	}
}

// Run has server broadcast for d. The result counts deliveries.
func (b *Broadcast) Run(d time.Duration, server Server) (Result, error) {
	r := Result{Latency: new(Histogram)}
	start := time.Now()
	for number := 0; number == 0 || time.Since(start) < d; number++ {
		text := fmt.Sprintf("!%08d %s", number, strings.Repeat("x", b.size-10))
		if err := b.round(text, &r, server); err != nil {
			return r, err
		}
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// round has server broadcast text and waits for every connection to receive its copies.
func (b *Broadcast) round(text string, r *Result, server Server) error {
	var due burst
	for i := range b.many {
		p := []byte(text)
		p[0] += byte(i)
		due.payload = append(due.payload, p)
		due.replies = appendFrame(due.replies, opBinary, nil, p)
	}
	b.echo.tick()
	for _, c := range b.echo.conns {
		b.echo.expect(c, due)
	}
	if err := server(b.many, text); err != nil {
		return err
	}
	for open := len(b.echo.conns); open > 0; {
		err := b.echo.poll.wait(func(index int) error {
			c := b.echo.conns[index]
			if c.open == 0 {
				return nil
			}
			if err := b.echo.pump(c, r); err != nil {
				return err
			}
			if c.open == 0 {
				open--
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
