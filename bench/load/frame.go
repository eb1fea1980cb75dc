// Package load is the neutral load generator: a raw WebSocket client made of system calls, with
// frames built before the clock starts. It compares every byte that comes back and does little
// else, so that the server under test is what limits the rate.
package load

import "encoding/binary"

const (
	opText   = 0x1
	opBinary = 0x2
	finBit   = 0x80
	rsv1Bit  = 0x40
	maskBit  = 0x80
)

// appendFrame appends one whole message to dst: masked with key, or unmasked as a server sends it
// if key is nil.
func appendFrame(dst []byte, first byte, key *[4]byte, payload []byte) []byte {
	second := byte(0)
	if key != nil {
		second = maskBit
	}
	dst = append(dst, finBit|first)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, second|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, second|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, second|127), uint64(n))
	}
	if key == nil {
		return append(dst, payload...)
	}
	dst = append(dst, key[:]...)
	for i, b := range payload {
		dst = append(dst, b^key[i%4])
	}
	return dst
}

// header is the part of a server's frame header that the checks need.
type header struct {
	first  byte
	size   int // bytes of the header
	length int // bytes of the payload
}

// parseHeader reads a server's frame header; ok is false while it is incomplete.
func parseHeader(p []byte) (h header, ok bool) {
	if len(p) < 2 {
		return header{}, false
	}
	h = header{first: p[0], size: 2, length: int(p[1] &^ maskBit)}
	switch h.length {
	case 126:
		h.size = 4
		if len(p) < h.size {
			return header{}, false
		}
		h.length = int(binary.BigEndian.Uint16(p[2:]))
	case 127:
		h.size = 10
		if len(p) < h.size {
			return header{}, false
		}
		h.length = int(binary.BigEndian.Uint64(p[2:]))
	}
	return h, true
}
