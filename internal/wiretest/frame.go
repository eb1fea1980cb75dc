// Package wiretest has what the tests of this module have in common: frames as they are written
// down, their bytes both ways, and a connection that plays a script. The encoder and the decoder
// share nothing with the code under test.
package wiretest

// Frames, the encoder and the decoder.

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// A Frame is a frame on paper: unmasked, with the length that belongs to the payload. The methods
// change what is sent of it, also to what breaks a rule.
type Frame struct {
	First    byte // FIN, RSV1-3, opcode
	Payload  string
	length   int64 // claimed; -1: that of the payload
	form     int   // 126 or 127: length in that form, minimal or not
	key      *[4]byte
	wrongEnd bool // masked by a server, not masked by a client
	size     int  // only so many bytes of it are sent; 0: all
}

// New returns a frame with this first byte.
func New(first byte, payload string) Frame {
	return Frame{First: first, Payload: payload, length: -1}
}

// These have FIN set, and no other bit but those of the opcode.

func Text(s string) Frame   { return New(0x81, s) }
func Binary(s string) Frame { return New(0x82, s) }
func Ping(s string) Frame   { return New(0x89, s) }
func Pong(s string) Frame   { return New(0x8a, s) }

func Close(code int, reason string) Frame {
	return New(0x88, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// Claiming makes the header announce n bytes of payload.
func (f Frame) Claiming(n int64) Frame { f.length = n; return f }

// MSB sets the most significant bit of a 64-bit length of zero.
func (f Frame) MSB() Frame { f.length, f.form = -1<<63, 127; return f }

// As gives the length the form 126 or 127.
func (f Frame) As(form int) Frame { f.form = form; return f }

// Keyed gives the masking key for frames of a client.
func (f Frame) Keyed(a, b, c, d byte) Frame { f.key = &[4]byte{a, b, c, d}; return f }

// FromWrongEnd masks the frame if and only if it must not be.
func (f Frame) FromWrongEnd() Frame { f.wrongEnd = true; return f }

// Cut sends only the first n bytes of the frame.
func (f Frame) Cut(n int) Frame { f.size = n; return f }

// Append appends the bytes of the frame.
func (f Frame) Append(b []byte, masked bool, key [4]byte) []byte {
	start := len(b)
	length := uint64(f.length)
	if f.length == -1 {
		length = uint64(len(f.Payload))
	}
	var m byte
	if masked != f.wrongEnd {
		m = 0x80
	}
	switch {
	case f.form == 127 || f.form == 0 && length > 65535:
		b = append(b, f.First, m|127)
		b = binary.BigEndian.AppendUint64(b, length)
	case f.form == 126 || f.form == 0 && length > 125:
		b = append(b, f.First, m|126)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b = append(b, f.First, m|byte(length))
	}
	if m != 0 {
		if f.key != nil {
			key = *f.key
		}
		b = append(b, key[:]...)
	}
	payload := len(b)
	b = append(b, f.Payload...)
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

// Encode is what an end sends for the frames: a client masks, each frame with another key.
func Encode(frames []Frame, client bool) []byte {
	size := 0
	for _, f := range frames {
		size += len(f.Payload) + 14
	}
	b := make([]byte, 0, size)
	for i, f := range frames {
		b = f.Append(b, client, [4]byte{0x37 + byte(i), 0xfa, 0x21, 0x3d - byte(i)})
	}
	return b
}

// maxLength is the longest payload that Read takes.
const maxLength = 1 << 30

// Read reads the next frame, which has to be whole, of minimal length and masked exactly if a
// client sent it. The error io.EOF means that there is none.
func Read(br *bufio.Reader, client bool) (Frame, error) {
	first, err := br.ReadByte()
	if err != nil {
		return Frame{}, err
	}
	f := New(first, "")
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
	f.Payload = string(payload)
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

// Decode reads the frames in b.
func Decode(b []byte, client bool) ([]Frame, error) {
	br := bufio.NewReader(bytes.NewReader(b))
	var frames []Frame
	for {
		f, err := Read(br, client)
		if err == io.EOF {
			return frames, nil
		}
		if err != nil {
			return frames, err
		}
		frames = append(frames, f)
	}
}

// Repeat is n times the frames.
func Repeat(n int, frames ...Frame) []Frame { return slices.Repeat(frames, n) }

// Payloads is a short form of frames.
func Payloads(frames []Frame) []string {
	var s []string
	for _, f := range frames {
		s = append(s, fmt.Sprintf("%02x %s", f.First, Shortened(f.Payload)))
	}
	return s
}

// Shortened quotes s, or the beginning of it.
func Shortened(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q... of %d bytes", s[:60], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// Equal compares frames as sent.
func Equal(a, b []Frame) bool {
	return slices.EqualFunc(a, b, func(a, b Frame) bool {
		return a.First == b.First && a.Payload == b.Payload
	})
}
