package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// How a connection ends: close codes and bodies, the close handshake from both
// sides, and fail, the one door out for a peer that broke a rule.

// Close codes, RFC 6455 §7.4.1 and the IANA registry. CloseNoStatusReceived,
// CloseAbnormalClosure and CloseTLSHandshake are never sent: they stand for a
// close frame without a code, for no close frame at all, and for a failed TLS
// handshake.
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

// A CloseError is the close frame that the peer sent. Reading methods return
// it unwrapped, for ever after. Code is CloseNoStatusReceived if the frame had
// no code, and CloseAbnormalClosure if the stream ended without a close frame.
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
	CloseServiceRestart:          " (service restart)",
	CloseTryAgainLater:           " (try again later)",
	CloseBadGateway:              " (bad gateway)",
	CloseTLSHandshake:            " (TLS handshake error)",
}

func (e *CloseError) Error() string {
	s := "websocket: close " + strconv.Itoa(e.Code) + closeNames[e.Code]
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}

// Unwrap returns io.ErrUnexpectedEOF if the stream ended without a close
// frame, else nil.
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

// IsUnexpectedCloseError reports whether err is a *CloseError with none of the
// expected codes.
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	var e *CloseError
	return errors.As(err, &e) && !IsCloseError(err, expectedCodes...)
}

// FormatCloseMessage returns the payload of a close frame. For
// CloseNoStatusReceived it is empty. The text is not checked: it must be UTF-8
// of at most 123 bytes to be sent.
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

// validCode reports whether a close frame may carry the code (RFC 6455 §7.4
// and the IANA registry).
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
		return 0, "", violation("close code " + strconv.Itoa(code) + " not allowed in a close frame")
	}
	if !utf8.Valid(p[2:]) {
		return 0, "", &ProtocolError{CloseInvalidFramePayloadData, "reason in a close frame is not valid UTF-8"}
	}
	return code, string(p[2:]), nil
}

// handleClose acts on a close frame: nothing is read after it.
func (c *Conn) handleClose(p []byte) error {
	code, text, v := parseClose(p)
	if v != nil {
		return c.fail(v)
	}
	c.peerClosed.Store(true)
	more := c.r < c.w
	if err := c.CloseHandler()(code, text); err != nil {
		return c.endReading(permanent(err))
	}
	err := c.endReading(&CloseError{Code: code, Text: text})
	if more && c.closeSent() {
		c.linger() // RFC 6455 §1.4: data after a close frame is discarded
	}
	return err
}

// closeSent reports whether a close frame is out.
func (c *Conn) closeSent() bool {
	if !c.wire.tryLock() {
		return false
	}
	sent := c.writeErr == ErrCloseSent
	c.unlockWire()
	return sent
}

// SetCloseHandler sets what is called for the peer's close frame, with
// CloseNoStatusReceived if it has no code; nil restores the default, which
// answers with the same code. Reads return the *CloseError afterwards. See
// SetPingHandler for what handlers may do.
func (c *Conn) SetCloseHandler(h func(code int, text string) error) {
	k := c.hook()
	k.mu.Lock()
	k.onClose = h
	k.mu.Unlock()
}

// CloseHandler returns the current close handler.
func (c *Conn) CloseHandler() func(code int, text string) error {
	if h := c.hooks.Load(); h != nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.onClose != nil {
			return h.onClose
		}
	}
	return func(code int, _ string) error {
		c.sendClose(code, "")
		return nil
	}
}

// sendClose sends a close frame, best effort, and reports whether one is out.
func (c *Conn) sendClose(code int, text string) bool {
	err := c.WriteControl(CloseMessage, closePayload(code, text), time.Now().Add(closeWait))
	return err == nil || err == ErrCloseSent
}

// fail fails the connection (RFC 6455 §7.1.7): the peer gets a close frame,
// every later read the error.
func (c *Conn) fail(v *ProtocolError) error { return c.failWith(v, v.Code, v.Text) }

func (c *Conn) failWith(err error, code int, text string) error {
	if c.readErr != nil {
		return c.readErr // the first wins, and a close frame for it is out
	}
	c.endReading(err)
	if c.sendClose(code, text) {
		c.linger()
	}
	c.abandon()
	return err
}

// linger lets a close frame arrive. Closing a socket with unread input resets
// the connection, which can destroy the frame on its way: so the sending side
// is closed first, and for a short time what comes is thrown away.
func (c *Conn) linger() {
	s, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || s.CloseWrite() != nil {
		return
	}
	c.rbound.begin(never, time.Now().Add(closeWait), c.nc, reading)
	b := getBuffer(defaultBufferSize)
	defer b.free()
	for total := 0; total < 16<<20; {
		n, err := c.nc.Read(b.b)
		if err != nil {
			return
		}
		total += n
	}
}

// yieldWait is how long Shutdown leaves a data message to whoever reads.
const yieldWait = 20 * time.Millisecond

// Shutdown ends the connection with the close handshake (RFC 6455 §7.1.2) and
// then closes it. It sends a close frame with the code and reason, which is cut
// to 123 bytes, waits for the peer's close frame, and lets the server close the
// network connection first (§7.1.1). It returns nil only if the peer's close
// frame came; if ctx ends before, the connection is closed all the same.
//
// Messages still coming go to whoever is reading; if no one is, they are
// discarded. Shutdown may be called more than once and from any goroutine, but
// not from a control frame handler. Code CloseNoStatusReceived sends a close
// frame without a code. A code that a close frame may not carry (RFC 6455 §7.4)
// is an error; nothing is sent and the connection stays open.
func (c *Conn) Shutdown(ctx context.Context, code int, text string) error {
	if code != CloseNoStatusReceived && !validCode(code) {
		return errors.New("websocket: close code " + strconv.Itoa(code) + " not allowed in a close frame")
	}
	ended := effective(ctx)
	err := c.controlWithin(ended, time.Time{}, CloseMessage, closePayload(code, text))
	if err == nil || err == ErrCloseSent {
		err = c.awaitClose(ended)
	}
	if err == nil && !c.in.server {
		c.awaitEOF(ended)
	}
	c.Close()
	if c.peerClosed.Load() {
		return nil
	}
	return err
}

// awaitClose reads until the peer's close frame and returns nil if it came.
// Data it leaves to a reader; if none comes it discards the data, and all that
// follows until one does.
func (c *Conn) awaitClose(ctx context.Context) error {
	alone := false // no reader came for the last data message
	for seen := uint32(0); ; {
		if err := c.rd.lock(ctx, time.Time{}); err != nil {
			return c.whyClosed(err)
		}
		err := c.readErr
		if alone = alone && seen == c.reads; err == nil && alone {
			err = c.skip(ctx)
		}
		if err == nil {
			err = c.awaitFrame(ctx)
		}
		seen = c.reads
		c.rd.unlock()
		if c.peerClosed.Load() {
			return nil
		}
		if err != errDataAhead {
			return err
		}
		if !alone {
			if err := pause(ctx, yieldWait); err != nil {
				return err
			}
			alone = true
		}
	}
}

// errDataAhead: the next frame is a data frame.
var errDataAhead = errors.New("websocket: data ahead")

// awaitFrame handles control frames until an error or a data frame.
func (c *Conn) awaitFrame(ctx context.Context) error {
	c.rbound.begin(ctx, time.Time{}, c.nc, reading)
	defer c.rbound.end(c.nc, reading)
	if c.remaining > 0 || c.inMessage && !c.in.fragment {
		return errDataAhead // the last of it may have come and still be inflated
	}
	if _, _, err := c.nextHeader(); err != nil {
		return err
	}
	return errDataAhead
}

// skip discards one data message, or the rest of one.
func (c *Conn) skip(ctx context.Context) error {
	c.rbound.begin(ctx, time.Time{}, c.nc, reading)
	defer c.rbound.end(c.nc, reading)
	if !c.inMessage {
		if _, err := c.next(); err != nil {
			return err
		}
	}
	return c.discard()
}

// awaitEOF waits for the server to close the network connection.
func (c *Conn) awaitEOF(ctx context.Context) {
	if c.rd.lock(ctx, time.Now().Add(closeWait)) != nil {
		return
	}
	defer c.rd.unlock()
	c.rbound.begin(ctx, time.Now().Add(closeWait), c.nc, reading)
	var b [64]byte
	for {
		if _, err := c.nc.Read(b[:]); err != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	var ended <-chan struct{}
	if ctx != nil {
		ended = ctx.Done()
	}
	select {
	case <-t.C:
		return nil
	case <-ended:
		return contextError(ctx)
	}
}
