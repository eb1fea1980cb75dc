package websocket

import "strconv"

// The rules on received frames. frameState.accept checks every header against the state of the
// connection and is the only place that does; advance then moves the state. Neither reads a byte.
// A violation has the text that programs know from gorilla/websocket, where that has one.

// A ProtocolError says that the peer broke the protocol and that the connection was failed for it
// (RFC 6455 §7.1.7). Reading methods return it, as a pointer, from then on; writing methods return
// ErrCloseSent.
type ProtocolError struct {
	// Code is the close code sent to the peer: CloseProtocolError, CloseInvalidFramePayloadData or
	// ClosePolicyViolation; of a Stream CloseUnsupportedData as well.
	Code int
	// Text names the rule that was broken. It was sent as the reason.
	Text string
}

func (e *ProtocolError) Error() string {
	return "websocket: " + e.Text
}

// frameState is the state on which the meaning of the next header depends.
type frameState struct {
	server     bool // this end is the server: frames must come masked
	deflate    bool // permessage-deflate was negotiated: RSV1 has a meaning
	fragmented bool // inside a fragmented message: its last frame had no FIN
}

// accept returns nil if a frame with this header may come now, else the violation. It looks only at
// what the first two bytes of a header tell.
func (s *frameState) accept(h header) *ProtocolError {
	switch h.opcode() {
	case continuationFrame:
		// RFC 6455 §5.4: a message starts with a data opcode.
		if !s.fragmented {
			return violation("continuation after FIN")
		}
	case TextMessage, BinaryMessage:
		// RFC 6455 §5.4: fragments of messages are not interleaved.
		if s.fragmented {
			return violation("data before FIN")
		}
	case CloseMessage, PingMessage, PongMessage:
		// RFC 6455 §5.5: control frames carry at most 125 bytes and are never fragmented.
		if h.length > maxControlPayload {
			return violation("len > 125 for control")
		}
		if !h.fin() {
			return violation("FIN not set on control")
		}
	default:
		// RFC 6455 §5.2: opcodes 3-7 and 11-15 are reserved.
		return violation("bad opcode " + strconv.Itoa(h.opcode()))
	}
	if h.first&(rsv1Bit|rsv2Bit|rsv3Bit) != 0 {
		if err := s.acceptRSV(h); err != nil {
			return err
		}
	}
	// RFC 6455 §5.1: a client masks every frame, a server none.
	if h.masked != s.server {
		return violation("bad MASK")
	}
	return nil
}

func (s *frameState) acceptRSV(h header) *ProtocolError {
	// RFC 6455 §5.2: a reserved bit needs an extension that defines it.
	if h.first&rsv2Bit != 0 {
		return violation("RSV2 set")
	}
	if h.first&rsv3Bit != 0 {
		return violation("RSV3 set")
	}
	if !s.deflate {
		return violation("RSV1 set")
	}
	// RFC 7692 §6: RSV1 is set on the first frame of a compressed message and on no other frame.
	if h.opcode() == continuationFrame {
		return violation("RSV1 set on a continuation frame")
	}
	if isControl(h.opcode()) {
		return violation("RSV1 set on a control frame")
	}
	return nil
}

// advance moves the state past an accepted data frame.
func (s *frameState) advance(h header) { s.fragmented = !h.fin() }

func violation(text string) *ProtocolError {
	return &ProtocolError{CloseProtocolError, text}
}
