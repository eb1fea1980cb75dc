package gorilla

// The table of observable differences as rules. walk goes through a stream as
// a lenient reader does and stops where a row of the table applies: up to
// there both libraries must agree, and from there the row says what happens
// here. Where no row applies they must agree to the end.

import (
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// The rows of the tables of differences, by words of their left column.
const (
	rowWriters    = "concurrent writers panic"
	rowNextWriter = "NextWriter closes a writer still open"
	rowText       = "text not validated"
	rowLimit      = "no read limit"
	rowFrames     = "RSV1 on control and continuation frames"
	rowLength     = "non-minimal lengths accepted"
	rowTimeout    = "a read timeout kills the connection"
	rowPanic      = "1000th read of a dead connection panics"
	rowUnoffered  = "client accepts unoffered subprotocol or extension"
	rowRequest    = "two keys, two versions"
	rowViolation  = "an anonymous error for a protocol violation"
	rowWindows    = "window bits and context takeover never negotiated"

	rowDeflate     = "a message that cannot be inflated is skipped"
	rowFragments   = "any number of empty fragments"
	rowDiscard     = "NextReader returns io.EOF"
	rowPing        = "a ping waits for a blocked writer"
	rowFails       = "the read that finds a violation returns at once"
	rowFraming     = "a client cuts messages into frames"
	rowJSON        = "WriteJSON sends an empty message if the value cannot be encoded"
	rowWrapped     = "IsCloseError by type assertion"
	rowEarly       = "a client that sends a frame right behind its request is cut off"
	rowOrigin      = "the same origin is the same host"
	rowHeader      = "responseHeader can have names that are not tokens"
	rowReason      = "the answer to a rejected request is the name of the status"
	rowAllow       = "a 405 has no Allow header"
	rowLists       = "a Connection or Upgrade list is read up to"
	rowInvalid     = "an offer of permessage-deflate with an invalid parameter"
	rowOffers      = "Subprotocols reads one header line"
	rowFragment    = "Dial ignores a fragment in the URL"
	rowQuery       = "a space or another character in the URL's query"
	rowHost        = "a request whose Host is empty"
	rowChosen      = "a Sec-WebSocket-Protocol in responseHeader"
	rowOffered     = "Dialer.Subprotocols are sent as they are"
	rowSpelling    = "a header of the handshake in requestHeader"
	rowHijacker    = "Upgrade needs http.Hijacker on the ResponseWriter itself"
	rowSyscalls    = "every write is a system call"
	rowPastWrite   = "a write whose deadline has passed before it begins"
	rowProxyTLS    = "a proxy for a wss URL is dialled with NetDialTLSContext"
	rowInterim     = "Dial fails on an interim response"
	rowNoDeadlines = "a net.Conn without deadlines cannot be dialled"
)

const defaultLimit = 64 << 20

// deviation is where a row applies.
type deviation struct {
	row      string
	messages int      // delivered before
	pongs    int      // pings answered before, at most
	classes  []string // what the read may return here
	also     bool     // it may be as in gorilla, too: the row depends on how far an inflater got
	open     bool     // what happens from there has cases of its own
}

func (d *deviation) allows(class string) bool {
	for _, c := range d.classes {
		if c == class {
			return true
		}
	}
	return false
}

func violationClass(code int) string { return fmt.Sprintf("violation %d", code) }

// walker is a lenient reader's state.
type walker struct {
	setup
	limit      int64 // 0: never set, negative: lifted
	inMessage  bool  // a message has begun and did not end
	kind       int
	compressed bool
	payload    []byte // of a compressed message
	text       []byte // the start of a rune at the end of what was seen
	received   int64
	messages   int
	pongs      int
}

// walk returns the first deviation in a stream, or nil.
func walk(stream []byte, s setup, limit int64) *deviation {
	w := &walker{setup: s, limit: limit}
	for {
		rest, d, more := w.frame(stream)
		if d != nil || !more {
			return w.settle(d)
		}
		stream = rest
	}
}

func (w *walker) at(row string, classes ...string) *deviation {
	return &deviation{row: row, messages: w.messages, pongs: w.pongs, classes: classes}
}

func (w *walker) open(row string) *deviation {
	d := w.at(row)
	d.open = true
	return d
}

// settle adds what an inflater may have found in a message that came in part.
func (w *walker) settle(d *deviation) *deviation {
	if !w.compressed {
		return d
	}
	out, err := inflatePart(w.payload)
	if err == nil {
		// A final block: gorilla does not wait for the end of the message.
		return w.open(rowDeflate)
	}
	var early []string
	if _, ok := validate(nil, out); w.kind == text && !ok {
		early = append(early, violationClass(1007))
	}
	if w.limit > 0 && int64(len(out)) > w.limit {
		early = append(early, "ErrReadLimit")
	}
	if err != io.ErrUnexpectedEOF {
		early = append(early, violationClass(1007))
	}
	if early == nil {
		return d
	}
	if d == nil {
		d = w.at(rowText)
		d.also = true
	}
	d.classes = append(d.classes, early...)
	return d
}

// frame takes one frame off the stream. There is no more when the stream ends
// or when both libraries refuse what comes.
func (w *walker) frame(b []byte) (rest []byte, d *deviation, more bool) {
	if len(b) < 2 || w.refused(b[0], b[1]) {
		return nil, nil, false
	}
	f, length, key, size := header(b)
	if f.first&rsv1 != 0 && f.opcode() != text && f.opcode() != binaryType {
		return nil, w.at(rowFrames, violationClass(1002)), false
	}
	if d := w.lengthRules(f, length, size); d != nil || size == 0 {
		return nil, d, false
	}
	if d, over := w.limits(f, length); d != nil || over {
		return nil, d, false
	}
	whole := uint64(len(b)-size) >= length
	payload := b[size:]
	if whole {
		payload = b[size : size+int(length)]
	}
	if f.masked {
		payload = unmask(payload, key)
	}
	rest = b[size+len(payload):]
	if f.opcode() >= closing {
		d, more = w.control(f.opcode(), payload, whole)
	} else {
		d, more = w.dataFrame(f, payload, whole)
	}
	return rest, d, more
}

// refused is what both refuse for the first two bytes of a frame.
func (w *walker) refused(b0, b1 byte) bool {
	op, n := b0&0x0f, b1&0x7f
	switch {
	case b0&(rsv2|rsv3) != 0, b0&rsv1 != 0 && !w.deflate, b1&0x80 != 0 != w.server:
		return true
	case op == closing, op == ping, op == pong:
		return n > 125 || b0&fin == 0
	case op == text, op == binaryType:
		return w.inMessage
	case op == continuation:
		return !w.inMessage
	}
	return true
}

func (w *walker) lengthRules(f frame, length uint64, size int) *deviation {
	if f.form == 0 {
		return nil
	}
	var d *deviation
	if length < 126 || f.form == 8 && (length < 1<<16 || length>>63 != 0) {
		// gorilla takes the most significant bit for a length beyond every
		// limit; here it is one more length that §5.2 does not allow.
		d = w.at(rowLength, violationClass(1002))
		d.also = size == 0 // the length is here, the key is not
	}
	return d
}

func (w *walker) limits(f frame, length uint64) (d *deviation, over bool) {
	if f.opcode() >= closing {
		return nil, false
	}
	if !w.inMessage {
		w.received = 0
	}
	limit := w.limit
	switch {
	case limit == 0:
		limit = defaultLimit
	case limit < 0:
		limit = 1 << 62
	}
	if length > uint64(limit-w.received) {
		if w.limit > 0 {
			return nil, true
		}
		return w.at(rowLimit, "ErrReadLimit"), true
	}
	w.received += int64(length)
	return nil, false
}

func (w *walker) control(op int, payload []byte, whole bool) (*deviation, bool) {
	if !whole {
		return nil, false
	}
	switch op {
	case ping:
		w.pongs++
	case closing:
		return w.close(payload), false
	}
	return nil, true
}

func (w *walker) close(p []byte) *deviation {
	if len(p) == 1 {
		return w.at(rowFrames, violationClass(1002))
	}
	if len(p) < 2 {
		return nil
	}
	code, reason := int(binary.BigEndian.Uint16(p)), p[2:]
	known := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1013 || code >= 3000 && code <= 4999
	switch {
	case !known && code != 1014:
		return nil
	case !utf8.Valid(reason):
		return w.at(rowText, violationClass(1007))
	case code == 1014:
		return w.at(rowFrames, fmt.Sprintf("CloseError 1014 %q", reason))
	}
	return nil
}

func (w *walker) dataFrame(f frame, payload []byte, whole bool) (*deviation, bool) {
	if op := f.opcode(); op != continuation {
		w.kind, w.inMessage, w.text, w.payload = op, true, nil, nil
		w.compressed = f.first&rsv1 != 0
	}
	ok := true
	if w.compressed {
		w.payload = append(w.payload, payload...)
	} else if w.kind == text {
		if w.text, ok = validate(w.text, payload); !ok {
			return w.at(rowText, violationClass(1007)), false
		}
	}
	if !whole || !f.fin() {
		return nil, whole
	}
	if w.compressed {
		if d := w.inflated(); d != nil {
			return d, false
		}
	} else if w.kind == text && len(w.text) > 0 {
		return w.at(rowText, violationClass(1007)), false
	}
	w.messages++
	w.inMessage, w.compressed = false, false
	return nil, true
}

// inflated judges a compressed message that came whole.
func (w *walker) inflated() *deviation {
	out, err := inflate(w.payload)
	if err != nil {
		return w.open(rowDeflate)
	}
	d := w.at(rowText)
	if w.limit > 0 && int64(len(out)) > w.limit {
		d.row = rowLimit
		d.classes = append(d.classes, "ErrReadLimit")
	}
	if tail, ok := validate(nil, out); w.kind == text && (!ok || len(tail) > 0) {
		d.classes = append(d.classes, violationClass(1007))
	}
	if d.classes == nil {
		return nil
	}
	return d
}

// validate reports whether p may follow what tail begins, and what it begins
// itself. It fails at the first byte that cannot be right.
func validate(tail, p []byte) ([]byte, bool) {
	p = append(tail, p...)
	for len(p) > 0 && utf8.FullRune(p) {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n == 1 {
			return nil, false
		}
		p = p[n:]
	}
	return p, true
}
