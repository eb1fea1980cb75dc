package websocket

// The incoming half of RFC 7692 §7.2.
//
// Memory and time are bounded by what the peer has sent: a decompressor of fixed size works while a message is read,
// and a taken-over window holds at most the last 32 KiB of output.

import (
	"compress/flate"
	"io"
	"sync"
)

// An inflater inflates the incoming messages of one connection. The reading half guards it.
type inflater struct {
	takeover bool
	window   []byte        // the last output of earlier messages, at most maxWindowSize bytes; only with takeover
	d        *decompressor // nil between messages
	err      error         // why Read goes no further
}

// A decompressor is what inflating one message needs. A message may hold several DEFLATE streams (see nextStream),
// and the later ones refer to output of the earlier ones, which compress/flate does not give out a second time. So
// output is staged in recent, and moves to the window when recent is full and when the window is needed.
type decompressor struct {
	fr      io.ReadCloser // a flate reader on payload
	payload deflatePayload
	started bool   // fr is in the middle of a stream
	streams int64  // begun in this message
	window  []byte // used in place of inflater.window if nothing is taken over
	recent  []byte // output not yet in the window
}

var decompressorPool = sync.Pool{New: func() any {
	d := &decompressor{recent: make([]byte, 0, maxWindowSize)}
	d.fr = flate.NewReader(&d.payload)
	return d
}}

func newInflater(takeover bool) *inflater { return &inflater{takeover: takeover} }

// begin starts a message whose compressed payload src yields, up to io.EOF. It must end in end.
func (z *inflater) begin(src io.Reader) {
	z.err = nil
	z.d = decompressorPool.Get().(*decompressor)
	z.d.payload.src = src
}

// end gives the pooled state back. With takeover the window stays for the next message.
func (z *inflater) end() {
	d := z.d
	if d == nil {
		return
	}
	if z.takeover {
		z.slide()
	}
	d.payload.reset()
	d.started, d.streams = false, 0
	d.window, d.recent = d.window[:0], d.recent[:0]
	decompressorPool.Put(d)
	z.d, z.err = nil, io.EOF
}

// Read returns inflated bytes, and io.EOF with or after the last of them. Errors of src are returned unchanged; data
// that cannot be inflated is errCorruptDeflate. An error is final for this message.
func (z *inflater) Read(p []byte) (int, error) {
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
			z.err = d.payload.verdict()
		case d.payload.whole && n < len(p): // n < len(p) tells that no output is left
			z.err = io.EOF
		}
		if n > 0 {
			return n, z.err
		}
	}
	return 0, z.err
}

// streamCost is how many bytes of payload pay for one more stream. Its start costs about a microsecond, and without
// a bound a stream of 2 bytes could ask for that.
const streamCost = 32

// nextStream starts the next DEFLATE stream: the first of the message or, RFC 7692 §7.2.3.4, the one behind a block
// with BFINAL set. It returns io.EOF if the payload ends here. That is lenient: a message that is empty, or whose
// last block is final, ought to have the header of one more block.
func (z *inflater) nextStream() error {
	d := z.d
	if err := d.payload.peek(); err != nil {
		return err
	}
	if d.streams++; d.streams > 8+d.payload.taken/streamCost {
		return errCorruptDeflate
	}
	d.started = true
	return d.fr.(flate.Resetter).Reset(&d.payload, z.slide()) // never fails
}

// keep stages output that later data may refer to.
func (z *inflater) keep(p []byte) {
	d := z.d
	for len(p) > 0 {
		if len(d.recent) == cap(d.recent) {
			z.slide()
		}
		n := min(len(p), cap(d.recent)-len(d.recent))
		d.recent = append(d.recent, p[:n]...)
		p = p[n:]
	}
}

// slide moves the recent output to the window and returns the window.
func (z *inflater) slide() []byte {
	d := z.d
	w := &d.window
	if z.takeover {
		w = &z.window
	}
	*w = appendWindow(*w, d.recent)
	d.recent = d.recent[:0]
	return *w
}

// appendWindow appends p, of at most maxWindowSize bytes, to the window w and keeps the last maxWindowSize bytes of
// the result. The slice grows by doubling up to that size: a window costs what the peer has sent.
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

// A deflatePayload feeds a flate reader with the payload of one message and, at its end, with syncTail. As it has
// ReadByte, the flate reader takes no byte more than it needs.
type deflatePayload struct {
	src      io.Reader
	err      error // of src
	taken    int64 // bytes that src has yielded
	byByte   bool  // the last byte was taken by ReadByte
	whole    bool  // syncTail was taken
	pos, end int   // buf[pos:end] is still to be taken
	buf      [4096]byte
}

// reset leaves buf as it is: clearing it would cost more than the rest.
func (s *deflatePayload) reset() {
	s.src, s.err, s.taken, s.byByte, s.whole, s.pos, s.end = nil, nil, 0, false, false, 0, 0
}

// peek returns nil if a byte is there, else the error of src.
func (s *deflatePayload) peek() error {
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
			s.taken += int64(n)
			return nil
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

func (s *deflatePayload) ReadByte() (byte, error) {
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

// Read is how a flate reader takes LEN and NLEN of a block without compression, right behind the block's header, and
// then the data of that block. All else it takes by ReadByte. RFC 7692 §7.2.2: a message is whole if syncTail becomes
// LEN and NLEN. Anywhere else syncTail would hide that the message was cut, so it is not given out there.
func (s *deflatePayload) Read(p []byte) (int, error) {
	lengths := s.byByte && len(p) == len(syncTail)
	s.byByte = false
	switch err := s.peek(); {
	case err == nil:
		n := copy(p, s.buf[s.pos:s.end])
		s.pos += n
		return n, nil
	case err == io.EOF && lengths:
		s.whole = true
		return copy(p, syncTail), nil
	default:
		return 0, err
	}
}

// verdict tells what an error of the flate reader means for the message.
func (s *deflatePayload) verdict() error {
	switch {
	case s.err != nil && s.err != io.EOF:
		return s.err
	case s.whole: // it asked for the block after the last
		return io.EOF
	}
	return errCorruptDeflate
}
