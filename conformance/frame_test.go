package conformance_test

// Frames as the tests write them down, and their bytes both ways. The codec is that of the wire
// table, of the RFCs' examples and of the cases of the Autobahn testsuite. It shares nothing with
// the package under test.

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// The first byte of a header: FIN, RSV1 and the opcodes.
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

// A wireFrame is a frame on paper: unmasked, with the length that belongs to the payload. The
// methods change it to a frame that breaks a rule.
type wireFrame struct {
	first    byte // FIN, RSV1-3, opcode
	payload  string
	length   int64 // claimed; -1: that of the payload
	form     int   // 126 or 127: length in that form, minimal or not
	key      *[4]byte
	wrongEnd bool // masked by a server, not masked by a client
	size     int  // only so many bytes of it are sent; 0: all
}

func frame(first byte, payload string) wireFrame {
	return wireFrame{first: first, payload: payload, length: -1}
}

func textFrame(s string) wireFrame   { return frame(fin|opText, s) }
func binaryFrame(s string) wireFrame { return frame(fin|opBinary, s) }
func pingFrame(s string) wireFrame   { return frame(fin|opPing, s) }
func pongFrame(s string) wireFrame   { return frame(fin|opPong, s) }

func closeFrame(code int, reason string) wireFrame {
	return frame(fin|opClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// claiming makes the header announce n bytes of payload.
func (f wireFrame) claiming(n int64) wireFrame { f.length = n; return f }

// msb sets the most significant bit of a 64-bit length of zero.
func (f wireFrame) msb() wireFrame { f.length, f.form = -1<<63, 127; return f }

// as gives the length the form 126 or 127.
func (f wireFrame) as(form int) wireFrame { f.form = form; return f }

// keyed gives the masking key for frames of a client.
func (f wireFrame) keyed(a, b, c, d byte) wireFrame { f.key = &[4]byte{a, b, c, d}; return f }

// fromWrongEnd masks the frame if and only if it must not be.
func (f wireFrame) fromWrongEnd() wireFrame { f.wrongEnd = true; return f }

// cut sends only the first n bytes of the frame.
func (f wireFrame) cut(n int) wireFrame { f.size = n; return f }

// append appends the bytes of the frame.
func (f wireFrame) append(b []byte, masked bool, key [4]byte) []byte {
	start := len(b)
	length := uint64(f.length)
	if f.length == -1 {
		length = uint64(len(f.payload))
	}
	var m byte
	if masked != f.wrongEnd {
		m = 0x80
	}
	switch {
	case f.form == 127 || f.form == 0 && length > 65535:
		b = append(b, f.first, m|127)
		b = binary.BigEndian.AppendUint64(b, length)
	case f.form == 126 || f.form == 0 && length > 125:
		b = append(b, f.first, m|126)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b = append(b, f.first, m|byte(length))
	}
	if m != 0 {
		if f.key != nil {
			key = *f.key
		}
		b = append(b, key[:]...)
	}
	payload := len(b)
	b = append(b, f.payload...)
	if m != 0 {
		xor(b[payload:], key)
	}
	if f.size > 0 {
		b = b[:start+f.size]
	}
	return b
}

// xor masks and unmasks b (RFC 6455 §5.3).
func xor(b []byte, key [4]byte) {
	var keys [1024]byte
	for i := range keys {
		keys[i] = key[i%4]
	}
	for len(b) > 0 {
		b = b[subtle.XORBytes(b, b, keys[:]):]
	}
}

// wireBytes is what an end sends for the frames: a client masks, each frame with another key.
func wireBytes(frames []wireFrame, client bool) []byte {
	size := 0
	for _, f := range frames {
		size += len(f.payload) + 14
	}
	b := make([]byte, 0, size)
	for i, f := range frames {
		b = f.append(b, client, [4]byte{0x37 + byte(i), 0xfa, 0x21, 0x3d - byte(i)})
	}
	return b
}

// maxLength is the longest payload that readFrame takes.
const maxLength = 1 << 30

// readFrame reads the next frame, which has to be whole, of minimal length and masked exactly if a
// client sent it. The error io.EOF means that there is none.
func readFrame(br *bufio.Reader, client bool) (wireFrame, error) {
	first, err := br.ReadByte()
	if err != nil {
		return wireFrame{}, err
	}
	f := frame(first, "")
	var head [8]byte
	if err := readFull(br, head[:1]); err != nil {
		return f, err
	}
	masked, length, size, least := head[0]>>7 == 1, uint64(head[0]&0x7f), 0, uint64(0)
	switch length {
	case 126:
		size, least = 2, 126
	case 127:
		size, least = 8, 65536
	}
	if size > 0 {
		clear(head[:])
		if err := readFull(br, head[8-size:]); err != nil {
			return f, err
		}
		length = binary.BigEndian.Uint64(head[:])
	}
	if length < least || length > maxLength {
		return f, fmt.Errorf("frame %02x has length %d in %d bytes", first, length, size)
	}
	if masked != client {
		return f, fmt.Errorf("frame %02x: masked is %v", first, masked)
	}
	var key [4]byte
	if masked {
		if err := readFull(br, key[:]); err != nil {
			return f, err
		}
	}
	payload := make([]byte, length)
	if err := readFull(br, payload); err != nil {
		return f, fmt.Errorf("frame %02x of %d bytes: %w", first, length, err)
	}
	if masked {
		xor(payload, key)
	}
	f.payload = string(payload)
	return f, nil
}

// readFull is io.ReadFull inside a frame, where the stream must not end.
func readFull(br *bufio.Reader, b []byte) error {
	_, err := io.ReadFull(br, b)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// parseWire reads the frames in b.
func parseWire(b []byte, client bool) ([]wireFrame, error) {
	br := bufio.NewReader(bytes.NewReader(b))
	var frames []wireFrame
	for {
		f, err := readFrame(br, client)
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

// repeated is n times the frames.
func repeated(n int, frames ...wireFrame) []wireFrame {
	return slices.Repeat(frames, n)
}

// inFragments is a message with one fragment for each part.
func inFragments(first byte, parts ...string) []wireFrame {
	frames := make([]wireFrame, len(parts))
	for i, part := range parts {
		frames[i] = frame(opContinuation, part)
	}
	frames[0].first = first
	frames[len(frames)-1].first |= fin
	return frames
}

// cutEvery returns s in parts of n bytes.
func cutEvery(n int, s string) []string {
	var parts []string
	for len(s) > n {
		parts, s = append(parts, s[:n]), s[n:]
	}
	return append(parts, s)
}

// eachByte is s in parts of one byte.
func eachByte(s string) []string { return cutEvery(1, s) }

// payloads is a short form of frames.
func payloads(frames []wireFrame) []string {
	var s []string
	for _, f := range frames {
		s = append(s, fmt.Sprintf("%02x %s", f.first, shortened(f.payload)))
	}
	return s
}

// shortened quotes s, or the beginning of it.
func shortened(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q... of %d bytes", s[:60], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// sameFrames compares frames as sent.
func sameFrames(a, b []wireFrame) bool {
	return slices.EqualFunc(a, b, func(a, b wireFrame) bool {
		return a.first == b.first && a.payload == b.payload
	})
}

// The encoder makes the examples of RFC 6455 §5.7.
func TestFramesEncoded(t *testing.T) {
	for _, test := range []struct {
		frame  wireFrame
		client bool
		want   string
	}{
		{textFrame("Hello"), false, "\x81\x05\x48\x65\x6c\x6c\x6f"},
		{textFrame("Hello").keyed(0x37, 0xfa, 0x21, 0x3d), true,
			"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{binaryFrame(strings.Repeat("x", 256)), false, "\x82\x7e\x01\x00" + strings.Repeat("x", 256)},
		{textFrame("").msb(), false, "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"},
		{textFrame("x").as(126), false, "\x81\x7e\x00\x01x"},
		{textFrame("Hello").fromWrongEnd(), true, "\x81\x05Hello"},
		{binaryFrame("").claiming(65536).cut(4), false, "\x82\x7f\x00\x00"},
	} {
		got := wireBytes([]wireFrame{test.frame}, test.client)
		if string(got) != test.want {
			t.Errorf("%+v: % x, want % x", test.frame, got, test.want)
		}
	}
}

// The decoder takes what the encoder makes of frames that break no rule, and nothing else.
func TestFramesDecoded(t *testing.T) {
	var good []wireFrame
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 70001} {
		good = append(good, binaryFrame(strings.Repeat("0123456789", n/10+1)[:n]), pingFrame("x"))
	}
	for _, client := range []bool{true, false} {
		b := wireBytes(good, client)
		if got, err := parseWire(b, client); err != nil || !sameFrames(got, good) {
			t.Errorf("client %v: %q, %v", client, payloads(got), err)
		}
		for _, f := range []wireFrame{
			textFrame("x").as(126), textFrame("x").as(127), binaryFrame("").msb(),
			textFrame("Hello").fromWrongEnd(), textFrame("").claiming(5), textFrame("Hello").cut(1),
			textFrame("Hello").cut(3), binaryFrame("").claiming(70000).cut(7),
		} {
			got, err := parseWire(wireBytes([]wireFrame{pongFrame("x"), f}, client), client)
			if err == nil || len(got) != 1 {
				t.Errorf("client %v, %+v: %q, %v, want an error", client, f, payloads(got), err)
			}
		}
	}
}
