package deflate

import (
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// A Reader decompresses a sequence of messages. Its methods are not to be called by two goroutines
// at a time.
//
// Its memory and time are bounded by what the peer has sent: a decompressor of fixed size works
// while a message is read, and a window that is kept between messages holds at most the last 32 KiB
// of output.
type Reader struct {
	takeover bool
	window   []byte        // the last output of earlier messages, at most maxWindowSize bytes
	d        *decompressor // nil between messages
	err      error         // why Read goes no further
}

// errNoMessage is what Read returns when no message has begun, or one was ended before its end.
var errNoMessage = errors.New("deflate: no message to read")

// A decompressor is what one message needs. A message may consist of several DEFLATE streams (see
// nextStream), of which the later ones refer to output of the earlier ones, and compress/flate does
// not give out its window. So output is collected in recent, and moves to the window when recent is
// full and when the window is needed.
type decompressor struct {
	fr      io.ReadCloser // a flate reader of payload
	payload payloadReader
	started bool   // fr is in the middle of a stream
	streams int64  // begun in this message
	window  []byte // used in place of Reader.window without context takeover
	recent  []byte // output that is not yet in the window
}

var decompressorPool = sync.Pool{New: func() any {
	d := &decompressor{recent: make([]byte, 0, maxWindowSize)}
	d.fr = flate.NewReader(&d.payload)
	return d
}}

// NewReader returns a Reader. takeover says that messages may refer to earlier ones (RFC 7692
// §7.1.1). A window of any size that the peer may use is read alike.
func NewReader(takeover bool) *Reader {
	return &Reader{takeover: takeover, err: errNoMessage}
}

// Begin begins a message, whose compressed payload is what src yields up to io.EOF. Read reads it,
// and End must follow.
func (z *Reader) Begin(src io.Reader) {
	z.End()
	z.err = nil
	z.d = decompressorPool.Get().(*decompressor)
	z.d.payload.src = src
}

// End ends the message, read to its end or not, and gives back what it needed. With context
// takeover the window is kept for the next message.
func (z *Reader) End() {
	d := z.d
	if d == nil {
		return
	}
	if z.takeover {
		z.updateWindow()
	}
	d.payload.reset()
	d.started, d.streams = false, 0
	d.window, d.recent = d.window[:0], d.recent[:0]
	decompressorPool.Put(d)
	z.d = nil
	if z.err == nil {
		z.err = errNoMessage
	}
}

// Release gives back the memory that z holds, in whatever state z is, the window included. It is to
// be called when the connection ends, and may be called again.
func (z *Reader) Release() {
	z.End()
	z.window = nil
}

// Read returns decompressed bytes, and io.EOF with or after the last of them. Errors of src are
// returned unchanged; for data that cannot be decompressed the error is ErrCorrupt. An error is
// final for its message.
func (z *Reader) Read(p []byte) (int, error) {
	for z.err == nil && len(p) > 0 {
		d := z.d
		if !d.started {
			if z.err = z.nextStream(); z.err != nil {
				break
			}
		}
		n, err := d.fr.Read(p)
		z.keep(p[:n])
		switch {
		case err == io.EOF: // behind a block with BFINAL set, which is not the end of the message
			d.started = false
		case err != nil:
			z.err = d.payload.result()
		case d.payload.tailRead && n < len(p): // n < len(p) tells that no output is left
			z.err = io.EOF
		}
		if n > 0 {
			return n, z.err
		}
	}
	return 0, z.err
}

// streamCost is how many bytes of payload pay for one more stream. To begin one costs about a
// microsecond, and without a bound a stream of 2 bytes could ask for that.
const streamCost = 32

// nextStream begins the next DEFLATE stream: the first of the message or, RFC 7692 §7.2.3.4, the
// one behind a block with BFINAL set. It returns io.EOF if the payload ends here. That is lenient:
// a message that is empty, or whose last block is final, ought to have the header of one more
// block.
func (z *Reader) nextStream() error {
	d := z.d
	if err := d.payload.peek(); err != nil {
		return err
	}
	if d.streams++; d.streams > 8+d.payload.consumed/streamCost {
		return ErrCorrupt
	}
	d.started = true
	return d.fr.(flate.Resetter).Reset(&d.payload, z.updateWindow()) // never fails
}

// keep saves output that later data may refer to.
func (z *Reader) keep(p []byte) {
	d := z.d
	for len(p) > 0 {
		if len(d.recent) == cap(d.recent) {
			z.updateWindow()
		}
		n := min(len(p), cap(d.recent)-len(d.recent))
		d.recent = append(d.recent, p[:n]...)
		p = p[n:]
	}
}

// updateWindow moves the recent output to the window and returns the window.
func (z *Reader) updateWindow() []byte {
	d := z.d
	w := &d.window
	if z.takeover {
		w = &z.window
	}
	*w = appendWindow(*w, d.recent)
	d.recent = d.recent[:0]
	return *w
}

// appendWindow appends p, of at most maxWindowSize bytes, to the window w and keeps the last
// maxWindowSize bytes of the result. The slice grows by doubling up to that size: a window costs
// what the peer has sent.
func appendWindow(w, p []byte) []byte {
	if need := len(w) + len(p); need > cap(w) && cap(w) < maxWindowSize {
		grown := make([]byte, len(w), min(max(need, 2*cap(w), 512), maxWindowSize))
		copy(grown, w)
		w = grown
	}
	if drop := len(w) + len(p) - maxWindowSize; drop > 0 {
		w = w[:copy(w, w[drop:])]
	}
	return append(w, p...)
}

// A payloadReader gives a flate reader the payload of one message and, at its end, syncTail.
// Because it has ReadByte the flate reader reads no byte more than it needs.
type payloadReader struct {
	src      io.Reader
	err      error // of src
	consumed int64 // bytes read from src
	byByte   bool  // the last byte was read by ReadByte
	tailRead bool  // syncTail was read
	pos, end int   // buf[pos:end] is still to be read
	buf      [4096]byte
}

// reset leaves buf as it is: to clear it would cost more than the rest.
func (s *payloadReader) reset() {
	s.src, s.err, s.consumed, s.byByte, s.tailRead, s.pos, s.end = nil, nil, 0, false, false, 0, 0
}

// peek returns nil if there is a byte to read, else the error of src.
func (s *payloadReader) peek() error {
	if s.pos < s.end {
		return nil
	}
	for range 100 { // empty reads in a row, as many as bufio accepts
		if s.err != nil {
			return s.err
		}
		var n int
		n, s.err = s.src.Read(s.buf[:])
		if n > 0 {
			s.pos, s.end = 0, n
			s.consumed += int64(n)
			return nil
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

func (s *payloadReader) ReadByte() (byte, error) {
	if s.pos == s.end {
		if err := s.peek(); err != nil {
			return 0, err
		}
	}
	c := s.buf[s.pos]
	s.pos++
	s.byByte = true
	return c, nil
}

// Read is how a flate reader reads LEN and NLEN of a block without compression, right behind the
// header of the block, and then the data of that block. All else it reads by ReadByte. RFC 7692
// §7.2.2: a message is complete if syncTail becomes LEN and NLEN. Anywhere else syncTail would hide
// that the message was cut, so it is not given out there.
func (s *payloadReader) Read(p []byte) (int, error) {
	lengths := s.byByte && len(p) == len(syncTail)
	s.byByte = false
	switch err := s.peek(); {
	case err == nil:
		n := copy(p, s.buf[s.pos:s.end])
		s.pos += n
		return n, nil
	case err == io.EOF && lengths:
		s.tailRead = true
		return copy(p, syncTail), nil
	default:
		return 0, err
	}
}

// result tells what an error of the flate reader means for the message.
func (s *payloadReader) result() error {
	switch {
	case s.err != nil && s.err != io.EOF:
		return s.err
	case s.tailRead: // it asked for the block after the last
		return io.EOF
	}
	return ErrCorrupt
}
