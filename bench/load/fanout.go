package load

// The fan-out load: many connections that only listen. One broadcast at a
// time: it is over when every connection has it.

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Fanout is a set of listening connections.
type Fanout struct {
	echo *Echo
	size int
}

// DialFanout connects and upgrades conns connections for broadcasts of size
// bytes of payload. Each echoes one message first, after which the server is
// sure to have registered it.
func DialFanout(addr netip.AddrPort, conns, size int, verbatim bool) (*Fanout, error) {
	e, err := DialEcho(addr, EchoConfig{Conns: conns, Burst: 1, Size: 1, Kind: Binary, Verbatim: verbatim})
	if err != nil {
		return nil, err
	}
	if _, err := e.Run(0); err != nil {
		e.Close()
		return nil, err
	}
	return &Fanout{echo: e, size: size}, nil
}

// Close closes every connection.
func (f *Fanout) Close() { f.echo.Close() }

// Run calls send with one payload after another for d, each time waiting
// until every connection has received it. The result counts deliveries.
func (f *Fanout) Run(d time.Duration, send func(payload string) error) (Result, error) {
	var r Result
	start := time.Now()
	for number := 0; number == 0 || time.Since(start) < d; number++ {
		payload := fmt.Sprintf("%08d %s", number, strings.Repeat("x", f.size-9))
		if err := f.broadcast(payload, &r, send); err != nil {
			return r, err
		}
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

func (f *Fanout) broadcast(payload string, r *Result, send func(string) error) error {
	b := burst{payload: [][]byte{[]byte(payload)}}
	b.replies = appendFrame(nil, opBinary, nil, b.payload[0])
	for _, c := range f.echo.conns {
		c.check.begin(b)
		c.open = 1
	}
	if err := send(payload); err != nil {
		return err
	}
	for open := len(f.echo.conns); open > 0; {
		err := f.echo.poll.wait(func(index int) error {
			c := f.echo.conns[index]
			if c.open == 0 {
				return nil
			}
			if err := f.echo.pump(c, r); err != nil {
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
