package websocket

// Frames for tests: as they are written down, their bytes both ways, and the messages in them. The
// encoder and the decoder share nothing with the package.

import (
	"bufio"
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// A wireFrame is a frame on paper: unmasked, with the length that belongs to the payload unless a
// method changes it.
type wireFrame struct {
	first   byte // FIN, RSV1-3, opcode
	payload string
	length  int64 // claimed; -1: that of the payload
	key     *[4]byte
	size    int // only so many bytes of it are sent; 0: all
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

// keyed gives the masking key for frames of a client.
func (f wireFrame) keyed(a, b, c, d byte) wireFrame { f.key = &[4]byte{a, b, c, d}; return f }

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
	if masked {
		m = 0x80
	}
	switch {
	case length > 65535:
		b = append(b, f.first, m|127)
		b = binary.BigEndian.AppendUint64(b, length)
	case length > 125:
		b = append(b, f.first, m|126)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	default:
		b = append(b, f.first, m|byte(length))
	}
	if masked {
		if f.key != nil {
			key = *f.key
		}
		b = append(b, key[:]...)
	}
	payload := len(b)
	b = append(b, f.payload...)
	if masked {
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
	var b []byte
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

type wireMessage struct {
	messageType int
	data        string
}

func (m wireMessage) String() string {
	return fmt.Sprintf("{%d %s}", m.messageType, shortened(m.data))
}

func shortened(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q... of %d bytes", s[:60], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// sameFrames compares frames as sent.
func sameFrames(a, b []wireFrame) bool {
	return slices.EqualFunc(a, b, func(a, b wireFrame) bool { return a.first == b.first && a.payload == b.payload })
}

// payloads is a short form of frames.
func payloads(frames []wireFrame) []string {
	var s []string
	for _, f := range frames {
		s = append(s, fmt.Sprintf("%02x %s", f.first, f.payload))
	}
	return s
}

// clientFrame returns the bytes of a masked frame.
func clientFrame(first byte, payload []byte) []byte {
	return frame(first, string(payload)).append(nil, true, [4]byte{1, 2, 3, 4})
}

// repeat returns b n times over.
func repeat(b []byte, n int) []byte {
	var all []byte
	for range n {
		all = append(all, b...)
	}
	return all
}
