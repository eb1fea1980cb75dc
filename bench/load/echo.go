package load

// The echo load: every connection sends a burst of messages in one write,
// waits until all of them are back, and sends the next. A burst of one is
// "one in flight". Replies arrive in order and unfragmented, so checking them
// is comparing bytes; compressed ones are inflated first.

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// EchoConfig describes an echo load.
type EchoConfig struct {
	Conns    int  // connections
	Burst    int  // messages in flight on each
	Size     int  // bytes of payload
	Kind     Kind // what the payload is
	Deflate  bool // send and expect compressed messages
	Takeover bool // let the server keep its compression context
	Verbatim bool // expect the very bytes sent, mask included (the floor)
}

// Result counts what a load did.
type Result struct {
	Messages int           // answered, and right
	Bytes    int64         // received
	Elapsed  time.Duration // from the first byte sent to the last received
}

// Echo is a set of connections to one server.
type Echo struct {
	config EchoConfig
	poll   *poller
	conns  []*echoConn
	buf    []byte
}

type echoConn struct {
	fd     int
	bursts []burst
	turn   int // which burst is under way
	unsent []byte
	open   int // messages of the burst not yet answered
	check  checker
}

// burst is what goes out in one write and what must come back.
type burst struct {
	frames  []byte
	replies []byte   // as bytes on the wire, if known
	payload [][]byte // as messages
}

// checker judges received bytes and tells how many messages they completed.
type checker interface {
	begin(burst)
	check(p []byte) (done int, err error)
}

// DialEcho connects and upgrades every connection.
func DialEcho(addr netip.AddrPort, config EchoConfig) (*Echo, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	e := &Echo{config: config, poll: p, buf: make([]byte, 256<<10)}
	var shared []burst
	for i := range config.Conns {
		// Small payloads differ between connections. Large ones do not: they
		// would push each other, and the server, out of the caches.
		if i == 0 || config.Size <= 4<<10 {
			shared = makeBursts(config, i)
		}
		if err := e.dial(addr, shared); err != nil {
			e.Close()
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, config.Conns, err)
		}
	}
	return e, nil
}

func (e *Echo) dial(addr netip.AddrPort, bursts []burst) error {
	fd, err := dial(addr, offer(e.config), stall)
	if err != nil {
		return err
	}
	c := &echoConn{fd: fd, bursts: bursts}
	e.conns = append(e.conns, c)
	if e.config.Deflate {
		c.check = newInflateChecker(e.config.Takeover)
	} else {
		c.check = &bytesChecker{}
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("O_NONBLOCK: %w", err)
	}
	return e.poll.add(fd, len(e.conns)-1)
}

func offer(config EchoConfig) string {
	switch {
	case config.Takeover:
		return OfferTakeover
	case config.Deflate:
		return OfferNoTakeover
	}
	return ""
}

// Close closes every connection.
func (e *Echo) Close() {
	for _, c := range e.conns {
		unix.Close(c.fd)
	}
	e.poll.close()
}

// Run sends bursts for d, then waits for the answers still due.
func (e *Echo) Run(d time.Duration) (Result, error) {
	var r Result
	start := time.Now()
	last := false
	active := len(e.conns)
	for _, c := range e.conns {
		if err := c.start(); err != nil {
			return r, err
		}
	}
	for active > 0 {
		err := e.poll.wait(func(index int) error {
			c := e.conns[index]
			if c.open == 0 {
				return nil
			}
			if err := e.pump(c, &r); err != nil {
				return err
			}
			if c.open > 0 {
				return nil
			}
			if last {
				active--
				return nil
			}
			return c.start()
		})
		if err != nil {
			return r, err
		}
		last = last || time.Since(start) >= d
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// start sends the next burst.
func (c *echoConn) start() (err error) {
	b := c.bursts[c.turn]
	c.turn = (c.turn + 1) % len(c.bursts)
	c.open = len(b.payload)
	c.check.begin(b)
	c.unsent, err = write(c.fd, b.frames)
	return err
}

// pump sends what is unsent and reads what has arrived.
func (e *Echo) pump(c *echoConn, r *Result) (err error) {
	if len(c.unsent) > 0 {
		if c.unsent, err = write(c.fd, c.unsent); err != nil {
			return err
		}
	}
	for {
		n, ok, err := read(c.fd, e.buf)
		if err != nil || !ok {
			return err
		}
		done, err := c.check.check(e.buf[:n])
		if err != nil {
			return err
		}
		c.open -= done
		r.Messages += done
		r.Bytes += int64(n)
		// A short read has emptied the socket: epoll(7).
		if c.open == 0 || n < len(e.buf) {
			return nil
		}
	}
}

// makeBursts builds two bursts for one connection, which take turns, so that
// an answer to the burst before is noticed.
func makeBursts(config EchoConfig, connection int) []burst {
	turns := 2
	if config.Deflate {
		turns = 8
	}
	bursts := make([]burst, turns)
	number := connection * turns * config.Burst
	for t := range bursts {
		b := &bursts[t]
		for range config.Burst {
			number++
			p := config.Kind.payload(config.Size, number)
			k := maskingKey(number)
			b.payload = append(b.payload, p)
			if config.Deflate {
				b.frames = appendFrame(b.frames, config.Kind.opcode()|rsv1Bit, &k, compress(p))
				continue
			}
			b.frames = appendFrame(b.frames, config.Kind.opcode(), &k, p)
			b.replies = appendFrame(b.replies, config.Kind.opcode(), nil, p)
		}
		if config.Verbatim {
			b.replies = b.frames
		}
	}
	return bursts
}

// maskingKey returns a key with four different bytes, none of them zero.
func maskingKey(number int) [4]byte {
	n := byte(number % 60)
	return [4]byte{0x11 + n, 0x51 + n, 0x91 + n, 0xC1 + n}
}

// bytesChecker compares the stream with the replies due.
type bytesChecker struct {
	due   []byte
	count int
}

func (c *bytesChecker) begin(b burst) { c.due, c.count = b.replies, len(b.payload) }

// check counts a burst's messages when the burst is complete: they are of one
// size, and nobody asks in between.
func (c *bytesChecker) check(p []byte) (int, error) {
	if len(p) > len(c.due) || !bytes.Equal(p, c.due[:len(p)]) {
		return 0, fmt.Errorf("not the bytes sent: got %.64q, due %.64q", p, c.due)
	}
	c.due = c.due[len(p):]
	if len(c.due) > 0 {
		return 0, nil
	}
	return c.count, nil
}
