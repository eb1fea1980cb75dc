package websocket

import (
	"encoding/binary"
	"strconv"

	"github.com/tautws/websocket/internal/mask"
)

// A frame header as a value: bytes to header and back, with no I/O and no state (RFC 6455 §5.2).
// protocol.go checks what a header may say at a given moment. The length and the masking key are
// checked here, because only their shape can be wrong.

// The message types are the data and control opcodes of RFC 6455 §11.8.
const (
	// TextMessage is a message of UTF-8 text.
	TextMessage = 1

	// BinaryMessage is a message of bytes.
	BinaryMessage = 2

	// CloseMessage is a close control frame. Its payload is empty or what FormatCloseMessage
	// returns.
	CloseMessage = 8

	// PingMessage is a ping control frame of at most 125 bytes.
	PingMessage = 9

	// PongMessage is a pong control frame of at most 125 bytes.
	PongMessage = 10
)

const (
	continuationFrame = 0 // opcode of every frame of a message but the first

	finBit  = 1 << 7 // first byte: last frame of the message
	rsv1Bit = 1 << 6
	rsv2Bit = 1 << 5
	rsv3Bit = 1 << 4
	maskBit = 1 << 7 // second byte

	maxHeaderSize     = 2 + 8 + 4
	maxControlPayload = 125 // RFC 6455 §5.5
)

// A header is what precedes the payload of a frame. It has no more fields than the compiler keeps
// in registers.
type header struct {
	length uint64 // of the payload, in bytes
	key    mask.Key
	first  byte // FIN, RSV1 to RSV3 and the opcode, as sent
	masked bool
}

func (h header) opcode() int { return int(h.first & 0x0f) }

func (h header) fin() bool { return h.first&finBit != 0 }

func isControl(opcode int) bool { return opcode >= CloseMessage && opcode <= PongMessage }

func isData(opcode int) bool { return opcode == TextMessage || opcode == BinaryMessage }

// parseHeader reads the header at the start of b. The result n is the header's size, or zero while
// b holds only a part of it. Unless n is set all but the key is right as far as the first two bytes
// tell: a length that is to be 126 or more is at least that.
func parseHeader(b []byte) (h header, n int, err *ProtocolError) {
	if len(b) < 2 {
		return h, 0, nil
	}
	h.first = b[0]
	h.masked = b[1]&maskBit != 0
	h.length = uint64(b[1] &^ maskBit)
	length := h.length
	n = 2
	switch length {
	case 126:
		if len(b) < 4 {
			return h, 0, nil
		}
		n = 4
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		if length < 126 {
			return h, 0, errNotMinimal(length)
		}
	case 127:
		if len(b) < 10 {
			return h, 0, nil
		}
		n = 10
		length = binary.BigEndian.Uint64(b[2:])
		if length>>63 != 0 {
			// RFC 6455 §5.2: the most significant bit MUST be 0.
			return h, 0, violation("most significant bit of a 64-bit payload length set")
		}
		if length < 1<<16 {
			return h, 0, errNotMinimal(length)
		}
	}
	if h.masked {
		if len(b) < n+4 {
			return h, 0, nil
		}
		h.key = mask.Key(binary.LittleEndian.Uint32(b[n:]))
		n += 4
	}
	h.length = length
	return h, n, nil
}

// RFC 6455 §5.2: the minimal number of bytes MUST be used to encode the length.
func errNotMinimal(length uint64) *ProtocolError {
	return violation("payload length " + strconv.FormatUint(length, 10) + " not minimally encoded")
}

// appendHeader appends a frame header: its first byte as given, the length in its minimal encoding,
// and the masking key if masked is set.
func appendHeader(b []byte, first byte, length int, masked bool, key mask.Key) []byte {
	var m byte
	if masked {
		m = maskBit
	}
	switch {
	case length < 126:
		b = append(b, first, m|byte(length))
	case length < 1<<16:
		b = append(b, first, m|126, byte(length>>8), byte(length))
	default:
		b = append(b, first, m|127)
		b = binary.BigEndian.AppendUint64(b, uint64(length))
	}
	if masked {
		b = binary.LittleEndian.AppendUint32(b, uint32(key))
	}
	return b
}
