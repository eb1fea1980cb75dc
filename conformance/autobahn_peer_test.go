package conformance_test

// The fuzzing peer: the far end of a connection. It checks what it reads by the letter of RFC 6455
// §5; a frame that breaks a rule becomes an event that no case wants.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tautws/websocket/internal/wiretest"
)

// patience bounds what a peer does, so that a test that would hang fails.
const patience = 5 * time.Minute

// An event is what a peer learns from the end under test.
type event struct {
	kind string // one of the constants below, or what is wrong
	code int    // of a close frame, 0 if it has none
	data string
}

const (
	gotText   = "text"
	gotBinary = "binary"
	gotPing   = "ping"
	gotPong   = "pong"
	gotClose  = "close"
	gotEOF    = "end of the stream"
)

func (e event) String() string {
	s := e.kind
	if e.kind == gotClose {
		s = fmt.Sprintf("%s %d", s, e.code)
	}
	if len(e.data) > 40 {
		return fmt.Sprintf("%s %q... of %d bytes", s, e.data[:40], len(e.data))
	}
	return fmt.Sprintf("%s %q", s, e.data)
}

// A peer plays the far end of a connection after the handshake.
type peer struct {
	t      testing.TB
	nc     net.Conn
	br     *bufio.Reader
	client bool      // it plays the client: it masks, and the other end does not
	out    *deflater // nil: permessage-deflate was not agreed on
	in     *inflater
	events chan event
	done   <-chan struct{} // closed when the end under test has returned
	closed bool            // a close frame was sent
}

// start begins to read. The events end with one that is the last of the stream.
func (p *peer) start() {
	p.events = make(chan event, 1<<12)
	go func() {
		defer close(p.events)
		for {
			e := p.read()
			p.events <- e
			if e.kind == gotEOF || e.code < 0 {
				return
			}
		}
	}()
}

// encode returns the bytes of frames.
func (p *peer) encode(frames ...wireFrame) []byte {
	for _, f := range frames {
		p.closed = p.closed || f.First&0x0f == opClose
	}
	return wiretest.Encode(frames, p.client)
}

// write sends bytes, chop at a time, or all at once if chop is 0. Errors are for the events to
// tell: the other end may have closed rightly.
func (p *peer) write(b []byte, chop int) {
	if chop == 0 {
		chop = len(b)
	}
	for len(b) > 0 {
		n := min(chop, len(b))
		if _, err := p.nc.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

// expect takes the next events and compares them.
func (p *peer) expect(want ...event) {
	p.t.Helper()
	for _, w := range want {
		if e := <-p.events; e != w {
			p.t.Fatalf("got %v, want %v", e, w)
		}
	}
}

// expectClose takes the next event, which is to be a close frame with one of the codes.
func (p *peer) expectClose(codes ...int) {
	p.t.Helper()
	e := <-p.events
	for _, code := range codes {
		if e.kind == gotClose && e.code == code {
			return
		}
	}
	p.t.Fatalf("got %v, want close with one of %v", e, codes)
}

// expectNothing reports events that have come, once the end under test waits. In a bubble only.
func (p *peer) expectNothing(wait func(), when string) {
	p.t.Helper()
	wait()
	select {
	case e := <-p.events:
		p.t.Fatalf("%s: got %v, want nothing yet", when, e)
	default:
	}
}

// finish ends the connection as the suite does: with a close frame unless one was sent, then the
// server closes the stream, and the end under test has nothing left to do.
func (p *peer) finish(codes ...int) {
	p.t.Helper()
	if len(codes) == 0 {
		p.write(p.encode(closeFrame(1000, "")), 0)
		p.expectClose(1000)
	} else {
		p.expectClose(codes...)
		if !p.closed {
			p.write(p.encode(closeFrame(codes[0], "")), 0)
		}
	}
	if p.client {
		p.expect(event{kind: gotEOF})
	}
	p.nc.Close()
	<-p.done
}

// broken is an event that ends the reading because a rule is broken.
func broken(format string, args ...any) event {
	return event{kind: fmt.Sprintf(format, args...), code: -1}
}

// read returns the next event.
func (p *peer) read() event {
	kind, compressed, data := byte(0), false, []byte(nil)
	for {
		f, err := wiretest.Read(p.br, !p.client)
		first, payload := f.First, f.Payload
		if err == io.EOF && kind == 0 {
			return event{kind: gotEOF}
		}
		if err != nil {
			return broken("%v", err)
		}
		opcode := first & 0x0f
		switch {
		case first&0x30 != 0:
			return broken("frame %02x has RSV2 or RSV3 set", first)
		case opcode >= 8:
			return control(first, payload)
		case opcode > 2:
			return broken("frame %02x has a reserved opcode", first)
		case (opcode == opContinuation) != (kind != 0):
			return broken("frame %02x is out of order", first)
		case first&rsv1 != 0 && (p.in == nil || opcode == opContinuation):
			return broken("frame %02x has RSV1 set", first)
		}
		if kind == 0 {
			kind, compressed = opcode, first&rsv1 != 0
		}
		data = append(data, payload...)
		if first&fin != 0 {
			return p.message(kind, compressed, string(data))
		}
	}
}

func (p *peer) message(kind byte, compressed bool, data string) event {
	if compressed {
		var err error
		if data, err = p.in.message(data); err != nil {
			return broken("compressed message: %v", err)
		}
	}
	if kind == opBinary {
		return event{kind: gotBinary, data: data}
	}
	if !utf8.ValidString(data) {
		return broken("text message is not UTF-8")
	}
	return event{kind: gotText, data: data}
}

func control(first byte, payload string) event {
	if len(payload) > 125 || first&fin == 0 || first&rsv1 != 0 {
		return broken("control frame %02x with %d bytes", first, len(payload))
	}
	switch first & 0x0f {
	case opPing:
		return event{kind: gotPing, data: payload}
	case opPong:
		return event{kind: gotPong, data: payload}
	case opClose:
		if len(payload) == 0 {
			return event{kind: gotClose}
		}
		if len(payload) == 1 || !utf8.ValidString(payload[2:]) {
			return broken("close frame with payload %q", payload)
		}
		return event{gotClose, int(payload[0])<<8 | int(payload[1]), payload[2:]}
	}
	return broken("control frame %02x", first)
}
