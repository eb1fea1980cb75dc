package websocket

import (
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// Close codes, the bodies of close frames, the answer to the peer's, and fail, which every protocol
// violation goes through.

// Close codes, RFC 6455 §7.4.1 and the IANA registry. CloseNoStatusReceived, CloseAbnormalClosure
// and CloseTLSHandshake are never sent: they stand for a close frame without a code, for no close
// frame at all, and for a failed TLS handshake.
const (
	CloseNormalClosure           = 1000
	CloseGoingAway               = 1001
	CloseProtocolError           = 1002
	CloseUnsupportedData         = 1003
	CloseNoStatusReceived        = 1005
	CloseAbnormalClosure         = 1006
	CloseInvalidFramePayloadData = 1007
	ClosePolicyViolation         = 1008
	CloseMessageTooBig           = 1009
	CloseMandatoryExtension      = 1010
	CloseInternalServerErr       = 1011
	CloseServiceRestart          = 1012
	CloseTryAgainLater           = 1013
	CloseBadGateway              = 1014
	CloseTLSHandshake            = 1015
)

// A CloseError is the close frame that the peer sent. Reading methods return it, unwrapped, from
// then on. Code is CloseNoStatusReceived if the frame had no code, and CloseAbnormalClosure if the
// stream ended without a close frame.
type CloseError struct {
	// Code is the close code, RFC 6455 §7.4.
	Code int
	// Text is the reason, which may be empty.
	Text string
}

var closeNames = map[int]string{
	CloseNormalClosure:           " (normal)",
	CloseGoingAway:               " (going away)",
	CloseProtocolError:           " (protocol error)",
	CloseUnsupportedData:         " (unsupported data)",
	CloseNoStatusReceived:        " (no status)",
	CloseAbnormalClosure:         " (abnormal closure)",
	CloseInvalidFramePayloadData: " (invalid payload data)",
	ClosePolicyViolation:         " (policy violation)",
	CloseMessageTooBig:           " (message too big)",
	CloseMandatoryExtension:      " (mandatory extension missing)",
	CloseInternalServerErr:       " (internal server error)",
	CloseTLSHandshake:            " (TLS handshake error)",
}

func (e *CloseError) Error() string {
	s := "websocket: close " + strconv.Itoa(e.Code) + closeNames[e.Code]
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns io.ErrUnexpectedEOF if the stream ended without a close frame, else nil.
func (e *CloseError) Unwrap() error {
	if e.Code == CloseAbnormalClosure {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// IsCloseError reports whether err is a *CloseError with one of the codes.
func IsCloseError(err error, codes ...int) bool {
	var e *CloseError
	if errors.As(err, &e) {
		for _, code := range codes {
			if e.Code == code {
				return true
			}
		}
	}
	return false
}

// IsUnexpectedCloseError reports whether err is a *CloseError with none of the expected codes.
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	var e *CloseError
	return errors.As(err, &e) && !IsCloseError(err, expectedCodes...)
}

// FormatCloseMessage returns the payload of a close frame. For CloseNoStatusReceived it is empty.
// The text is not checked: it must be UTF-8 of at most 123 bytes to be sent.
func FormatCloseMessage(closeCode int, text string) []byte {
	if closeCode == CloseNoStatusReceived {
		return []byte{} // RFC 6455 §7.4.1: it stands for the absence of a code
	}
	return append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(text)), uint16(closeCode)), text...)
}

// closePayload is FormatCloseMessage with the text made to fit.
func closePayload(code int, text string) []byte {
	// RFC 6455 §5.5: 125 bytes, of which the code takes two.
	if limit := maxControlPayload - 2; len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = text[:limit]
	}
	return FormatCloseMessage(code, text)
}

// validCode reports whether a close frame may carry the code (RFC 6455 §7.4 and the IANA registry).
func validCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// parseClose reads the payload of a close frame (RFC 6455 §5.5.1).
func parseClose(p []byte) (code int, text string, err *ProtocolError) {
	if len(p) == 0 {
		return CloseNoStatusReceived, "", nil
	}
	if len(p) == 1 {
		return 0, "", violation("close frame with a payload of one byte")
	}
	code = int(binary.BigEndian.Uint16(p))
	if !validCode(code) {
		return 0, "", violation("bad close code " + strconv.Itoa(code))
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", &ProtocolError{CloseInvalidFramePayloadData, "invalid utf8 payload in close frame"}
	}
	return code, string(p[2:]), nil
}

// handleClose acts on a close frame: nothing is read after it.
func (c *Conn) handleClose(p []byte) error {
	r := &c.read
	code, text, v := parseClose(p)
	if v != nil {
		return c.fail(v, v.Code, v.Text)
	}
	c.marks.Or(markPeerClosed)
	more := !r.buf.empty()
	handler := c.CloseHandler()
	if err := r.callHandler(func() error { return handler(code, text) }); err != nil {
		return err
	}
	err := r.end(&CloseError{Code: code, Text: text})
	if more && c.write.closeSent() {
		r.linger(time.Now().Add(closeWait)) // RFC 6455 §1.4: data after a close frame is discarded
	}
	return err
}

// SetCloseHandler sets what is called for the peer's close frame, with CloseNoStatusReceived if it
// has no code; nil restores the default, which answers with the same code. Reads return the
// *CloseError afterwards. See SetPingHandler for what handlers may do.
func (c *Conn) SetCloseHandler(h func(code int, text string) error) {
	k := c.controls()
	k.mu.Lock()
	k.onClose = h
	k.mu.Unlock()
}

// CloseHandler returns the current close handler.
func (c *Conn) CloseHandler() func(code int, text string) error {
	if k := c.control.Load(); k != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.onClose != nil {
			return k.onClose
		}
	}
	return func(code int, _ string) error {
		c.sendClose(code, "", time.Now().Add(closeWait))
		return nil
	}
}

// sendClose sends a close frame, best effort, and reports whether one is out.
func (c *Conn) sendClose(code int, text string, deadline time.Time) bool {
	err := c.WriteControl(CloseMessage, closePayload(code, text), deadline)
	return err == nil || err == ErrCloseSent
}

// fail fails the connection (RFC 6455 §7.1.7): the peer gets a close frame, every later read err.
func (c *Conn) fail(err error, code int, text string) error {
	r := &c.read
	if r.err != nil {
		return r.err // the first wins, and a close frame for it is out
	}
	r.end(err)
	if c.sendClose(code, text, time.Now().Add(closeWait)) {
		r.linger(time.Now().Add(closeWait))
	}
	c.abort(err)
	return err
}

// linger lets a close frame arrive. Closing a socket with unread input resets the connection, which
// can destroy the frame on its way: so the sending side is closed first, and until the deadline
// what comes is discarded.
func (r *readHalf) linger(deadline time.Time) {
	nc := r.conn.conn
	s, ok := nc.(interface{ CloseWrite() error })
	if !ok {
		return
	}
	defer boundTLS(nc, time.Until(deadline))()
	if s.CloseWrite() != nil {
		return
	}
	r.deadline.overrideWith(noContext, deadline, overrideStrict)
	b := getBuffer(defaultBufferSize)
	defer b.release()
	for total := 0; total < 16<<20; {
		n, err := nc.Read(b.b)
		if err != nil {
			return
		}
		total += n
	}
}
