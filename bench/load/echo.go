package load

// The echo load: every connection sends a burst of messages in one write, waits until all of them
// are back, and sends the next. A burst of one is "one in flight". Replies arrive in order and
// unfragmented, so checking them is comparing bytes; compressed ones are inflated first.

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
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
	TLS      bool // over TLS, whose certificate is not verified
	HTTP2    bool // all connections are streams of one, over TLS
	Replies  int  // answers to each message, if more than one
	Verbatim bool // expect the very bytes sent, mask included (the floor)
	Receive  int  // bytes of the sockets' receive buffers, if not the kernel's choice
}

// Result counts what a load did.
type Result struct {
	Messages int           // answered, and right
	Bytes    int64         // received
	Elapsed  time.Duration // from the first byte sent to the last received
	Latency  *Histogram    // of messages: from the burst's first byte sent to the last received
}

// Echo is a set of connections to one server.
type Echo struct {
	config EchoConfig
	poll   waiter
	conns  []*echoConn
	buf    []byte
	epoch  time.Time     // when now was zero
	now    time.Duration // when the last burst was sent, or the last bytes received
}

// waiter waits for something to arrive, and calls ready with the index of each connection that it
// may have arrived on.
type waiter interface {
	wait(ready func(index int) error) error
	close()
}

type echoConn struct {
	stream stream
	bursts []burst
	turn   int           // which burst is under way
	sent   time.Duration // when it was sent
	open   int           // messages of it not yet answered
	check  checker
}

// burst is what goes out in one write and what must come back.
type burst struct {
	frames  []byte
	replies []byte   // as bytes on the wire, if known
	payload [][]byte // as messages
}

// checker checks received bytes and tells how many messages they completed.
type checker interface {
	begin(burst)
	check(p []byte) (done int, err error)
}

// DialEcho connects and upgrades every connection.
func DialEcho(addr netip.AddrPort, config EchoConfig) (*Echo, error) {
	w, open, err := opener(addr, config)
	if err != nil {
		return nil, err
	}
	e := &Echo{config: config, poll: w, buf: make([]byte, 256<<10), epoch: time.Now()}
	var shared []burst
	for i := range config.Conns {
		// Small payloads differ between connections. Large ones do not: they would push each other,
		// and the server, out of the caches.
		if i == 0 || config.Size <= 4<<10 {
			shared = makeBursts(config, i)
		}
		s, err := open(i)
		if err != nil {
			e.Close()
			return nil, fmt.Errorf("connection %d of %d: %w", i+1, config.Conns, err)
		}
		c := &echoConn{stream: s, bursts: shared, check: &bytesChecker{}}
		if config.Deflate {
			c.check = newInflateChecker(config.Takeover)
		}
		e.conns = append(e.conns, c)
	}
	return e, nil
}

// opener returns what opens connections, and what waits for all of them.
func opener(addr netip.AddrPort, config EchoConfig) (waiter, func(index int) (stream, error), error) {
	if config.HTTP2 {
		h, err := dialHTTP2(addr)
		if err != nil {
			return nil, nil, err
		}
		return h, h.open, nil
	}
	p, err := newPoller()
	if err != nil {
		return nil, nil, err
	}
	return p, func(index int) (stream, error) {
		fd, s, err := dial(addr, index, offer(config), config.TLS)
		if err != nil {
			return nil, err
		}
		if err := unix.SetNonblock(fd, true); err != nil {
			s.close()
			return nil, fmt.Errorf("O_NONBLOCK: %w", err)
		}
		if config.Receive != 0 {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, config.Receive); err != nil {
				s.close()
				return nil, fmt.Errorf("SO_RCVBUF: %w", err)
			}
		}
		if err := p.add(fd, index); err != nil {
			s.close()
			return nil, err
		}
		return s, nil
	}, nil
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
		c.stream.close()
	}
	e.poll.close()
}

// tick reads the clock.
func (e *Echo) tick() { e.now = time.Since(e.epoch) }

// Run sends bursts for d, then waits for the answers still due.
func (e *Echo) Run(d time.Duration) (Result, error) {
	r := Result{Latency: new(Histogram)}
	e.tick()
	start := e.now
	last := false
	active := len(e.conns)
	for _, c := range e.conns {
		e.tick()
		if err := e.start(c); err != nil {
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
			return e.start(c)
		})
		if err != nil {
			return r, err
		}
		last = last || e.now-start >= d
	}
	r.Elapsed = e.now - start
	return r, nil
}

// start sends the next burst of c.
func (e *Echo) start(c *echoConn) error {
	b := c.bursts[c.turn]
	c.turn = (c.turn + 1) % len(c.bursts)
	e.expect(c, b)
	return c.stream.send(b.frames)
}

// expect has c wait for the replies of b, which is sent now.
func (e *Echo) expect(c *echoConn, b burst) {
	c.sent = e.now
	c.open = len(b.payload)
	c.check.begin(b)
}

// pump sends what is unsent and reads what has arrived.
func (e *Echo) pump(c *echoConn, r *Result) error {
	if err := c.stream.flush(); err != nil {
		return err
	}
	for {
		n, ok, err := c.stream.read(e.buf)
		if err != nil || !ok {
			return err
		}
		done, err := c.check.check(e.buf[:n])
		if err != nil {
			return err
		}
		e.tick()
		c.open -= done
		r.Messages += done
		r.Bytes += int64(n)
		r.Latency.Add(e.now-c.sent, done)
		// A short read has emptied the socket: epoll(7). A TLS record says nothing of the next.
		if c.open == 0 || n < len(e.buf) && !e.config.TLS && !e.config.HTTP2 {
			return nil
		}
	}
}

// makeBursts builds two bursts for one connection, which take turns, so that an answer to the burst
// before is noticed.
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
		if config.Replies > 1 {
			b.replies = bytes.Repeat(b.replies, config.Replies)
			b.payload = slices.Repeat(b.payload, config.Replies)
		}
	}
	return bursts
}

// maskingKey returns a key with four different bytes, none of them zero.
func maskingKey(number int) [4]byte {
	n := byte(number % 60)
	return [4]byte{0x11 + n, 0x51 + n, 0x91 + n, 0xC1 + n}
}

// bytesChecker compares the stream with the replies due, which are of one size.
type bytesChecker struct {
	due  []byte
	size int // of one reply
}

func (c *bytesChecker) begin(b burst) {
	c.due, c.size = b.replies, len(b.replies)/len(b.payload)
}

func (c *bytesChecker) check(p []byte) (int, error) {
	if len(p) > len(c.due) || !bytes.Equal(p, c.due[:len(p)]) {
		return 0, fmt.Errorf("not the bytes sent: got %.64q, due %.64q", p, c.due)
	}
	open := c.open()
	c.due = c.due[len(p):]
	return open - c.open(), nil
}

// open is how many replies are not yet whole.
func (c *bytesChecker) open() int { return (len(c.due) + c.size - 1) / c.size }
