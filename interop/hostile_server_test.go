package interop

// Servers that lie, stall and vanish, against our Dialer: every dial and every read ends by itself,
// with an error, and nothing is left behind.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// A trap is what a server does once it has read the request. The connection is closed when it
// returns.
type trap struct {
	name  string
	dials bool // the opening handshake may succeed
	serve func(c net.Conn, request *http.Request, r *rand.Rand)
}

// say returns a trap that answers and goes away.
func say(answer string) func(net.Conn, *http.Request, *rand.Rand) {
	return func(c net.Conn, _ *http.Request, _ *rand.Rand) { io.WriteString(c, answer) }
}

// sayAndStall returns a trap that answers and then waits for the client to give up.
func sayAndStall(answer string) func(net.Conn, *http.Request, *rand.Rand) {
	return func(c net.Conn, _ *http.Request, _ *rand.Rand) {
		io.WriteString(c, answer)
		io.Copy(io.Discard, c)
	}
}

// sayForEver returns a trap that repeats the end of its answer as long as anybody listens.
func sayForEver(answer, end string) func(net.Conn, *http.Request, *rand.Rand) {
	return func(c net.Conn, _ *http.Request, _ *rand.Rand) {
		end := strings.Repeat(end, 100)
		for _, err := io.WriteString(c, answer); err == nil; {
			_, err = io.WriteString(c, end)
		}
	}
}

func reset(c net.Conn, _ *http.Request, _ *rand.Rand) { c.(*net.TCPConn).SetLinger(0) }

// afterHandshake returns a trap that accepts properly, sends p or some of it, and stalls, closes or
// resets.
func afterHandshake(p []byte) func(net.Conn, *http.Request, *rand.Rand) {
	return func(c net.Conn, request *http.Request, r *rand.Rand) {
		raw := &rawConn{Conn: c, extensions: noTakeover}
		if raw.answer(request) != nil {
			return
		}
		switch r.IntN(3) {
		case 0:
			c.Write(p)
			io.Copy(io.Discard, c)
		case 1:
			c.Write(p[:r.IntN(len(p)+1)])
		case 2:
			c.Write(p[:r.IntN(len(p)+1)])
			reset(c, nil, nil)
		}
	}
}

// unmasked returns the frames of a client as a server sends them.
func unmasked(first byte, payload string) []byte {
	p := frame(first, payload)
	body := p[len(p)-len(payload):]
	header := p[:len(p)-len(payload)-4]
	header[1] &^= 0x80
	return append(header[:len(header):len(header)], body...)
}

// noTakeover is an answer that every offer of permessage-deflate allows.
const noTakeover = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

var traps = []trap{
	{"closes", false, say("")},
	{"resets", false, reset},
	{"says nothing", false, sayAndStall("")},
	{"stalls in the status line", false, sayAndStall("HTTP/1.1 10")},
	{"stalls in the header", false, sayAndStall(switching + "Sec-WebSocket-Acc")},
	{"ends in the header", false, say(switching)},
	{"talks nonsense", false, say("SSH-2.0-OpenSSH_9.2\r\n")},
	{"accepts another key", false, sayAndStall(switching + "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n")},
	{"redirects", false, say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")},
	{"interim answers without end", false, sayForEver("", "HTTP/1.1 100 Continue\r\n\r\n")},
	{"a header without end", false, sayForEver(switching, "X-More: and more\r\n")},
	{"a field without end", false, sayForEver(switching+"X-More: ", "and more ")},
	{"a body without end", false, sayForEver("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", "and more ")},
	{"a body that stalls", false, sayAndStall("HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\nno")},
	{"a length beyond the limit", true, afterHandshake([]byte{0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 'x'})},
	{"half a header", true, afterHandshake([]byte{0x82, 127, 0x40})},
	{"half a message", true, afterHandshake([]byte{0x82, 126, 0xff, 0xff, 'x'})},
	{"half a close frame", true, afterHandshake([]byte{0x88, 3, 3})},
	{"a masked frame", true, afterHandshake(frame(0x81, "x"))},
	{"a bomb", true, afterHandshake(unmasked(0xc2, bomb))},
	{"empty fragments", true, afterHandshake(append(unmasked(0x01, ""), repeat(5000, unmasked(0x00, ""))...))},
	{"pings", true, afterHandshake(repeat(20000, unmasked(0x89, strings.Repeat("p", 125))))},
	{"silence", true, afterHandshake(nil)},
}

func TestHostileServers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var serving sync.WaitGroup
	serving.Go(func() {
		for i := uint64(0); ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				request, err := http.ReadRequest(bufio.NewReader(c))
				if err != nil {
					return
				}
				number, err := strconv.Atoi(request.URL.Path[1:])
				if err != nil {
					t.Errorf("unexpected request for %s", request.URL)
					return
				}
				traps[number].serve(c, request, rand.New(rand.NewPCG(11, i)))
			})
		}
	})
	defer serving.Wait()
	defer l.Close()

	var entered atomic.Int64 // dials that succeeded
	visit := func(count int) {
		var crowd sync.WaitGroup
		places := make(chan struct{}, atATime)
		for i := range count {
			places <- struct{}{}
			crowd.Go(func() {
				defer func() { <-places }()
				if err := walkInto(t.Context(), l.Addr().String(), i%len(traps), &entered); err != nil {
					t.Error(err)
				}
			})
		}
		crowd.Wait()
	}
	visit(2 * len(traps))
	before := measure(t)
	visit(hostiles / 2)
	before.expectBack(t, 4<<20, 128<<20)
	if entered.Load() < hostiles/8 {
		t.Errorf("only %d handshakes succeeded", entered.Load())
	}
}

// walkInto dials a trap and reads until the end.
func walkInto(ctx context.Context, address string, number int, entered *atomic.Int64) error {
	set := traps[number]
	d := websocket.Dialer{EnableCompression: true, KeepAlive: keepAlive, HandshakeTimeout: keepAlive.Interval}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, _, err := d.DialContext(ctx, fmt.Sprintf("ws://%s/%d", address, number), nil)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: the dial did not end by itself", set.name)
	}
	if err != nil {
		return nil
	}
	defer conn.Close()
	if !set.dials {
		return fmt.Errorf("%s: the dial succeeded", set.name)
	}
	entered.Add(1)
	conn.SetReadLimit(readLimit)
	for {
		if _, _, err := conn.ReadMessageContext(ctx); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("%s: reading did not end by itself", set.name)
			}
			return nil
		}
	}
}
