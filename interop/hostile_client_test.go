package interop

// Thousands of clients that lie, stall, flood and vanish, against our Upgrader, with honest
// connections beside them. Whatever they do, the server ends them by itself and holds nothing
// afterwards.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

const (
	hostiles  = 2000    // connections in all
	atATime   = 64      // connections
	readLimit = 1 << 16 // bytes, of the server's messages
)

var keepAlive = websocket.KeepAlive{Interval: time.Second, Timeout: time.Second}

// deflated returns n zero bytes as the payload of a compressed message.
func deflated(n int) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	for zeros := make([]byte, 1<<16); n > 0; n -= len(zeros) {
		zeros = zeros[:min(n, len(zeros))]
		w.Write(zeros)
	}
	w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

var (
	bomb      = deflated(64 << 20)
	smallBomb = deflated(readLimit + 1)
	bigFill   = deflated(readLimit)
)

func repeat(n int, p []byte) []byte { return bytes.Repeat(p, n) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// An attack is what a hostile client sends behind a proper handshake.
type attack struct {
	name  string
	code  int // of the close frame that answers it, if one does; 0: none
	bytes func(r *rand.Rand) []byte
}

func fixed(p []byte) func(*rand.Rand) []byte { return func(*rand.Rand) []byte { return p } }

var attacks = []attack{
	{"a length beyond the limit", 1009, fixed(append(lyingHeader(0x82, 1<<62), "few bytes"...))},
	{"the greatest length", 1009, fixed(lyingHeader(0x82, 1<<63-1))},
	{"a length with its top bit set", 1002, fixed(lyingHeader(0x82, 1<<63))},
	{"a length that is not minimal", 1002, fixed([]byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'x'})},
	{"a length within the limit, and nothing", 0, fixed(lyingHeader(0x82, readLimit))},
	{"a length within the limit, and half", 0, fixed(append(lyingHeader(0x82, readLimit), make([]byte, readLimit/2)...))},
	{"fragments that add up", 1009, fixed(join(
		frame(0x02, strings.Repeat("x", readLimit/2)), repeat(3, frame(0x00, strings.Repeat("x", readLimit/2)))))},
	{"one byte", 0, fixed([]byte{0x82})},
	{"half a header", 0, fixed(lyingHeader(0x82, 1<<40)[:9])},
	{"half a close frame", 0, fixed(frame(0x88, "\x03\xe8bye")[:7])},
	{"a close frame, and silence", 1000, fixed(frame(0x88, "\x03\xe8bye"))},
	{"a close frame, and more", 1000, fixed(append(frame(0x88, "\x03\xe8bye"), repeat(5000, frame(0x82, "more"))...))},
	{"a close frame of one byte", 1002, fixed(frame(0x88, "\x03"))},
	{"a control frame that is too long", 1002, fixed(frame(0x89, strings.Repeat("x", 126)))},
	{"a flood of pings", 0, fixed(repeat(20000, frame(0x89, strings.Repeat("p", 125))))},
	{"a flood of pongs", 0, fixed(repeat(20000, frame(0x8a, strings.Repeat("p", 125))))},
	{"a flood of pings inside a message", 0, fixed(append(frame(0x01, "a"), repeat(20000, frame(0x89, ""))...))},
	{"a flood of empty fragments", 1008, fixed(append(frame(0x01, "a"), repeat(5000, frame(0x00, ""))...))},
	{"a flood of messages", 0, fixed(repeat(20000, frame(0x81, "flood")))},
	{"no mask", 1002, fixed([]byte{0x81, 2, 'h', 'i'})},
	{"a reserved opcode", 1002, fixed(frame(0x83, "x"))},
	{"RSV2", 1002, fixed(frame(0xa2, "x"))},
	{"a continuation of nothing", 1002, fixed(frame(0x80, "x"))},
	{"text that is not UTF-8", 1007, fixed(frame(0x81, "caf\xe9"))},
	{"a bomb", 1009, fixed(frame(0xc2, bomb))},
	{"a small bomb", 1009, fixed(frame(0xc2, smallBomb))},
	{"bombs that stay within the limit", 0, fixed(repeat(300, frame(0xc2, bigFill)))},
	{"a bomb in fragments of one byte", 1009, func(*rand.Rand) (p []byte) {
		first := byte(0x42)
		for i := range len(smallBomb) {
			p = append(p, frame(first, smallBomb[i:i+1])...)
			first = 0x00
		}
		return p
	}},
	{"compressed nonsense", 1007, fixed(frame(0xc2, "\xff\xff\xff\xff"))},
	{"noise", -1, func(r *rand.Rand) []byte {
		p := make([]byte, r.IntN(4096))
		for i := range p {
			p[i] = byte(r.Uint32())
		}
		return p
	}},
}

// attackOnce makes one hostile connection. How it goes on after its bytes, or after some of them,
// is left to chance.
func attackOnce(url string, a attack, r *rand.Rand) error {
	p, offer := a.bytes(r), ""
	if len(p) > 0 && p[0]&0x40 != 0 {
		offer = "permessage-deflate"
	}
	c, err := rawDial(url, offer)
	if err != nil {
		return fmt.Errorf("%s: handshake: %w", a.name, err)
	}
	defer c.Close()
	switch r.IntN(4) {
	case 0: // all, and then wait for the server to end it
		code, ended := waitForEnd(c, p)
		if !ended {
			return fmt.Errorf("%s: the server did not end the connection", a.name)
		}
		if code != 0 && a.code > 0 && code != a.code {
			return fmt.Errorf("%s: close code %d, want %d", a.name, code, a.code)
		}
		return nil
	case 1: // some, and then wait for the server to end it
		if _, ended := waitForEnd(c, p[:r.IntN(len(p)+1)]); !ended {
			return fmt.Errorf("%s, cut: the server did not end the connection", a.name)
		}
		return nil
	case 2: // some, and then reset
		c.Write(p[:r.IntN(len(p)+1)])
		c.Conn.(*net.TCPConn).SetLinger(0)
	case 3: // some, read nothing, and go
		c.Write(p[:r.IntN(len(p)+1)])
	}
	return nil
}

// waitForEnd writes p, reads nothing until it is written, and then reads until the server ends the
// connection. It returns the code of the server's close frame, 0 for none.
func waitForEnd(c *rawConn, p []byte) (code int, ended bool) {
	_, err := c.Write(p)
	for err == nil || !isTimeout(err) {
		var first byte
		var payload []byte
		if first, payload, err = c.readFrame(); err != nil {
			break
		}
		if first == 0x88 && len(payload) >= 2 {
			code = int(binary.BigEndian.Uint16([]byte(payload)))
		}
	}
	return code, !isTimeout(err)
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

// halfHandshakes are requests that never become a connection.
var halfHandshakes = []string{
	"", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
	"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2<<20),
	strings.Replace(rawRequest("x", ""), "Version: 13", "Version: 8", 1),
	strings.Replace(rawRequest("x", ""), rawKey, "short", 1),
	rawRequest("x", strings.Repeat("a;b=c,", 50000)),
}

// shakeHalf sends one of them and waits for the server to end the connection.
func shakeHalf(address, request string) error {
	nc, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(patience))
	io.WriteString(nc, request)
	if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
		return fmt.Errorf("the server keeps waiting for the rest of %.40q", request)
	}
	return nil
}

// startVictim is an echo server with the bounds that a careful application sets.
func startVictim(t *testing.T) (url string) {
	u := websocket.Upgrader{
		EnableCompression: true,
		KeepAlive:         keepAlive,
		HandshakeTimeout:  keepAlive.Interval,
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := u.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetReadLimit(readLimit)
		for {
			kind, p, err := conn.ReadMessage()
			if err != nil {
				return
			}
			conn.SetWriteDeadline(time.Now().Add(keepAlive.Timeout))
			if err := conn.WriteMessage(kind, p); err != nil {
				return
			}
		}
	}))
	server.Config.ReadHeaderTimeout = keepAlive.Interval
	server.Config.IdleTimeout = keepAlive.Interval
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

// beHonest sends messages and compares their echoes until done is closed. It counts the round
// trips.
func beHonest(t *testing.T, url string, compressed bool, trips *atomic.Int64, done <-chan struct{}) {
	d := websocket.Dialer{EnableCompression: compressed}
	conn, _, err := d.DialContext(t.Context(), url, nil)
	if err != nil {
		t.Errorf("an honest client cannot connect: %v", err)
		return
	}
	defer conn.Close()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
		}
		want := textOf(i % 3000)
		conn.SetReadDeadline(time.Now().Add(patience))
		if err := conn.WriteMessage(websocket.TextMessage, want); err != nil {
			t.Errorf("the honest connection cannot write after %d round trips: %v", i, err)
			return
		}
		if _, got, err := conn.ReadMessage(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the honest connection read %d bytes after %d round trips, want %d: %v", len(got), i, len(want), err)
			return
		}
		trips.Add(1)
	}
}

func TestHostileClients(t *testing.T) {
	url := startVictim(t)
	var trips atomic.Int64
	done := make(chan struct{})
	var honest sync.WaitGroup
	for _, compressed := range []bool{false, true} {
		honest.Go(func() { beHonest(t, url, compressed, &trips, done) })
	}
	defer honest.Wait()
	defer close(done)

	assault := func(count int) {
		var crowd sync.WaitGroup
		places := make(chan struct{}, atATime)
		for i := range count {
			places <- struct{}{}
			crowd.Go(func() {
				defer func() { <-places }()
				r := rand.New(rand.NewPCG(7, uint64(i)))
				var err error
				if i%10 == 0 {
					err = shakeHalf(hostOf(url), halfHandshakes[i/10%len(halfHandshakes)])
				} else {
					err = attackOnce(url, attacks[i%len(attacks)], r)
				}
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
				}
			})
			if i%atATime == atATime-1 {
				// However many attack, the honest connections go on.
				last := trips.Load()
				waitUntil(t, func() bool { return t.Failed() || trips.Load() > last })
			}
		}
		crowd.Wait()
	}
	assault(2 * len(attacks)) // fills caches and pools
	before := measure(t)
	first := trips.Load()
	assault(hostiles)
	before.expectBack(t, 4<<20, 128<<20)
	t.Logf("%d honest round trips beside %d hostile connections", trips.Load()-first, hostiles)
}

// waitUntil returns when the condition holds.
func waitUntil(t testing.TB, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("the condition did not come to hold in time")
		}
	}
}
