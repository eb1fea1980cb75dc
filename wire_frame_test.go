package websocket

// Frames as the tests write them down, and their bytes. The encoder and the
// decoder here share nothing with the package: what is tested does not judge
// itself.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
)

// A wireFrame is a frame on paper: unmasked, with the length that belongs to
// the payload. The methods that follow spoil it.
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

func textFrame(s string) wireFrame   { return frame(0x81, s) }
func binaryFrame(s string) wireFrame { return frame(0x82, s) }
func pingFrame(s string) wireFrame   { return frame(0x89, s) }
func pongFrame(s string) wireFrame   { return frame(0x8a, s) }

func closeFrame(code int, reason string) wireFrame {
	return frame(0x88, string([]byte{byte(code >> 8), byte(code)})+reason)
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
		for i := range len(f.payload) {
			b = append(b, f.payload[i]^key[i%4])
		}
	} else {
		b = append(b, f.payload...)
	}
	if f.size > 0 {
		b = b[:start+f.size]
	}
	return b
}

// wireBytes is what an end sends for the frames: a client masks, each frame
// with another key.
func wireBytes(frames []wireFrame, client bool) []byte {
	var b []byte
	for i, f := range frames {
		b = f.append(b, client, [4]byte{0x37 + byte(i), 0xfa, 0x21, 0x3d - byte(i)})
	}
	return b
}

// parseWire reads the frames in b, which are all whole, of minimal length and
// masked exactly if a client sent them.
func parseWire(b []byte, client bool) ([]wireFrame, error) {
	var frames []wireFrame
	for len(b) > 0 {
		if len(b) < 2 {
			return frames, fmt.Errorf("%d bytes behind the last frame: % x", len(b), b)
		}
		f := frame(b[0], "")
		masked, length, n, least := b[1]>>7 == 1, uint64(b[1]&0x7f), 2, uint64(0)
		switch {
		case length == 126 && len(b) >= 4:
			length, n, least = uint64(binary.BigEndian.Uint16(b[2:])), 4, 126
		case length == 127 && len(b) >= 10:
			length, n, least = binary.BigEndian.Uint64(b[2:]), 10, 65536
		case length >= 126:
			return frames, fmt.Errorf("header cut: % x", b)
		}
		if length < least {
			return frames, fmt.Errorf("length %d not minimal: % x", length, b[:n])
		}
		if masked != client {
			return frames, fmt.Errorf("frame %02x: masked is %v", b[0], masked)
		}
		var key [4]byte
		if masked {
			n += copy(key[:], b[n:])
		}
		if uint64(len(b)-n) < length {
			return frames, fmt.Errorf("frame of %d bytes cut: % x", length, b)
		}
		p := slices.Clone(b[n : n+int(length)])
		for i := range p {
			p[i] ^= key[i%4]
		}
		f.payload = string(p)
		frames = append(frames, f)
		b = b[n+len(p):]
	}
	return frames, nil
}

// repeated is n times the frames.
func repeated(n int, frames ...wireFrame) []wireFrame {
	return slices.Repeat(frames, n)
}

// inFragments is a message with one fragment for each part.
func inFragments(opcode byte, parts ...string) []wireFrame {
	frames := make([]wireFrame, len(parts))
	for i, part := range parts {
		frames[i] = frame(opcode, part)
		opcode = opcode & 0x30 // a continuation
	}
	frames[len(frames)-1].first |= 0x80
	return frames
}

// eachByte is s in parts of one byte.
func eachByte(s string) []string {
	parts := make([]string, len(s))
	for i := range parts {
		parts[i] = s[i : i+1]
	}
	return parts
}

// deflated is the payload of a compressed message.
func deflated(s string) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	w.Write([]byte(s))
	w.Flush()
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
}

// The helper is held against the examples of RFC 6455 §5.7.
func TestWireFrames(t *testing.T) {
	for _, test := range []struct {
		frame  wireFrame
		client bool
		want   string
	}{
		{textFrame("Hello"), false, "\x81\x05\x48\x65\x6c\x6c\x6f"},
		{textFrame("Hello").keyed(0x37, 0xfa, 0x21, 0x3d), true, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{textFrame("").msb(), false, "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"},
		{textFrame("x").as(126), false, "\x81\x7e\x00\x01x"},
		{textFrame("Hello").fromWrongEnd(), true, "\x81\x05Hello"},
		{binaryFrame("").claiming(65536).cut(4), false, "\x82\x7f\x00\x00"},
	} {
		if got := wireBytes([]wireFrame{test.frame}, test.client); string(got) != test.want {
			t.Errorf("%+v: % x, want % x", test.frame, got, test.want)
		}
	}
}
