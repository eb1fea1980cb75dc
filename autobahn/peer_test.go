package autobahn

// The fuzzing peer: the far end of a connection, with frame code of its own. It shares nothing with
// the package under test, so it is a second opinion on it. What it reads it judges by the letter of
// RFC 6455 §5; a frame that breaks a rule becomes an event that no case wants.

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
	"unicode/utf8"
)

// patience bounds what a peer does, so that a test that would hang fails.
const patience = 30 * time.Second

// A frame is what a peer sends. Its first byte holds FIN, the reserved bits and the opcode.
type frame struct {
	first   byte
	payload string
}

const (
	fin  = 0x80
	rsv1 = 0x40

	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

func text(s string) frame     { return frame{fin | opText, s} }
func binaries(s string) frame { return frame{fin | opBinary, s} }
func ping(s string) frame     { return frame{fin | opPing, s} }
func pong(s string) frame     { return frame{fin | opPong, s} }

// fragments returns a message in a frame for each part.
func fragments(opcode byte, parts ...string) []frame {
	frames := make([]frame, len(parts))
	for i, part := range parts {
		frames[i] = frame{opContinuation, part}
	}
	frames[0].first = opcode
	frames[len(frames)-1].first |= fin
	return frames
}

// cut returns s in parts of n bytes.
func cut(s string, n int) []string {
	var parts []string
	for len(s) > n {
		parts, s = append(parts, s[:n]), s[n:]
	}
	return append(parts, s)
}

// closing returns a close frame. Without a code it is empty.
func closing(code int, reason string) frame {
	if code == 0 {
		return frame{fin | opClose, ""}
	}
	return frame{fin | opClose, string([]byte{byte(code >> 8), byte(code)}) + reason}
}

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
	client bool // it plays the client: it masks, and the other end does not
	keys   uint32
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

// encode returns the octets of frames.
func (p *peer) encode(frames ...frame) []byte {
	size := 0
	for _, f := range frames {
		size += len(f.payload) + 14
	}
	b := make([]byte, 0, size)
	for _, f := range frames {
		b = p.append(b, f)
	}
	return b
}

func (p *peer) append(b []byte, f frame) []byte {
	length := len(f.payload)
	b = append(b, f.first)
	switch {
	case length <= 125:
		b = append(b, byte(length))
	case length <= 65535:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(length))
	}
	if f.first&0x0f == opClose {
		p.closed = true
	}
	if !p.client {
		return append(b, f.payload...)
	}
	b[len(b)-headerTail(length)] |= 0x80
	p.keys += 0x9e3779b9
	key := binary.BigEndian.AppendUint32(nil, p.keys)
	b = append(b, key...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^key[i%4])
	}
	return b
}

// headerTail is how far the second byte of a header is from its end, before the masking key.
func headerTail(length int) int {
	switch {
	case length <= 125:
		return 1
	case length <= 65535:
		return 3
	}
	return 9
}

// write sends octets, chop at a time, or all at once if chop is 0. Errors are for the events to tell:
// the other end may have closed rightly.
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
		p.write(p.encode(closing(1000, "")), 0)
		p.expectClose(1000)
	} else {
		p.expectClose(codes...)
		if !p.closed {
			p.write(p.encode(closing(codes[0], "")), 0)
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
		first, payload, err := p.readFrame()
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
			return p.message(kind, compressed, data)
		}
	}
}

func (p *peer) message(kind byte, compressed bool, data []byte) event {
	if compressed {
		var err error
		if data, err = p.in.message(data); err != nil {
			return broken("compressed message: %v", err)
		}
	}
	if kind == opBinary {
		return event{kind: gotBinary, data: string(data)}
	}
	if !utf8.Valid(data) {
		return broken("text message is not UTF-8")
	}
	return event{kind: gotText, data: string(data)}
}

func control(first byte, payload []byte) event {
	if len(payload) > 125 || first&fin == 0 || first&rsv1 != 0 {
		return broken("control frame %02x with %d bytes", first, len(payload))
	}
	switch first & 0x0f {
	case opPing:
		return event{kind: gotPing, data: string(payload)}
	case opPong:
		return event{kind: gotPong, data: string(payload)}
	case opClose:
		if len(payload) == 0 {
			return event{kind: gotClose}
		}
		if len(payload) == 1 || !utf8.Valid(payload[2:]) {
			return broken("close frame with payload %q", payload)
		}
		return event{gotClose, int(binary.BigEndian.Uint16(payload)), string(payload[2:])}
	}
	return broken("control frame %02x", first)
}

// readFrame returns the first byte and the payload of the next frame. io.EOF means that there is none.
func (p *peer) readFrame() (first byte, payload []byte, err error) {
	if first, err = p.br.ReadByte(); err != nil {
		return 0, nil, err
	}
	var head [13]byte
	if err = p.readFull(head[:1]); err != nil {
		return 0, nil, err
	}
	masked, length, size, least := head[0]&0x80 != 0, uint64(head[0]&0x7f), 0, uint64(0)
	switch length {
	case 126:
		size, least = 2, 126
	case 127:
		size, least = 8, 65536
	}
	if size > 0 {
		if err = p.readFull(head[8-size : 8]); err != nil {
			return 0, nil, err
		}
		clear(head[:8-size])
		length = binary.BigEndian.Uint64(head[:8])
	}
	if length < least || length > 1<<30 {
		return 0, nil, fmt.Errorf("frame %02x has length %d in %d bytes", first, length, size)
	}
	if masked == p.client {
		return 0, nil, fmt.Errorf("frame %02x: masked is %v", first, masked)
	}
	key := head[8:12]
	if clear(key); masked {
		err = p.readFull(key)
	}
	payload = make([]byte, length)
	if err == nil {
		err = p.readFull(payload)
	}
	if masked {
		for i := range payload {
			payload[i] ^= key[i%4]
		}
	}
	return first, payload, err
}

// readFull is io.ReadFull inside a frame, where the stream must not end.
func (p *peer) readFull(b []byte) error {
	_, err := io.ReadFull(p.br, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
