package gorilla

// Frames as a peer may send them, right or wrong, and as the libraries send
// them. Random streams come from a grammar that knows messages, so that most
// of a stream is valid and one thing at a time goes wrong.

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
)

const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10

	continuation = 0
	text         = 1
	binaryType   = 2
	closing      = 8
	ping         = 9
	pong         = 10
)

// frame is one frame. When it is encoded the length takes form bytes behind
// the second one, at least as many as it needs.
type frame struct {
	first   byte // FIN, reserved bits, opcode
	payload []byte
	masked  bool
	form    int
}

func (f frame) opcode() int { return int(f.first & 0x0f) }
func (f frame) fin() bool   { return f.first&fin != 0 }

// encode appends the frame to b.
func (f frame) encode(b []byte) []byte {
	var mask byte
	if f.masked {
		mask = 0x80
	}
	form := f.form
	if n := len(f.payload); n > 0xffff {
		form = 8
	} else if n > 125 {
		form = max(form, 2)
	}
	switch form {
	case 8:
		b = append(b, f.first, mask|127)
		b = binary.BigEndian.AppendUint64(b, uint64(len(f.payload)))
	case 2:
		b = append(b, f.first, mask|126)
		b = binary.BigEndian.AppendUint16(b, uint16(len(f.payload)))
	default:
		b = append(b, f.first, mask|byte(len(f.payload)))
	}
	if !f.masked {
		return append(b, f.payload...)
	}
	key := [4]byte{0x37, 0xfa, 0x21, byte(len(f.payload))}
	b = append(b, key[:]...)
	for i, c := range f.payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// header reads the header of a frame, the key included. It returns a size of
// zero if b holds less.
func header(b []byte) (f frame, length uint64, key [4]byte, size int) {
	if len(b) < 2 {
		return f, 0, key, 0
	}
	f.first, f.masked = b[0], b[1]&0x80 != 0
	length, size = uint64(b[1]&0x7f), 2
	switch length {
	case 126:
		if len(b) < 4 {
			return f, length, key, 0
		}
		f.form, size, length = 2, 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return f, length, key, 0
		}
		f.form, size, length = 8, 10, binary.BigEndian.Uint64(b[2:])
	}
	if f.masked {
		if len(b) < size+4 {
			return f, length, key, 0
		}
		key = [4]byte(b[size:])
		size += 4
	}
	return f, length, key, size
}

func unmask(p []byte, key [4]byte) []byte {
	p = bytes.Clone(p)
	for i := range p {
		p[i] ^= key[i%4]
	}
	return p
}

// parseFrames reads what a library sent. Only whole frames count.
func parseFrames(b []byte) (frames []frame) {
	for {
		f, length, key, size := header(b)
		if size == 0 || uint64(len(b)-size) < length {
			return frames
		}
		f.payload = b[size : size+int(length)]
		if f.masked {
			f.payload = unmask(f.payload, key)
		}
		frames = append(frames, f)
		b = b[size+int(length):]
	}
}

// message is a data message or a control frame, as an application sees it.
type message struct {
	kind int
	data []byte
}

func (m message) String() string {
	if len(m.data) > 40 {
		return fmt.Sprintf("{%d %q... %d bytes}", m.kind, m.data[:40], len(m.data))
	}
	return fmt.Sprintf("{%d %q}", m.kind, m.data)
}

func equalMessages(a, b []message) bool {
	return slices.EqualFunc(a, b, func(x, y message) bool { return x.kind == y.kind && bytes.Equal(x.data, y.data) })
}

// assemble turns frames into messages: data whole and inflated, control frames
// in a list of their own, as their place among fragments is free.
func assemble(frames []frame) (data, control []message, err error) {
	var current *message
	compressed := false
	for _, f := range frames {
		switch op := f.opcode(); {
		case op >= closing:
			control = append(control, message{op, f.payload})
			continue
		case op == continuation && current == nil:
			return data, control, fmt.Errorf("continuation frame outside a message")
		case op == continuation:
			current.data = append(current.data, f.payload...)
		case current != nil:
			return data, control, fmt.Errorf("message inside a message")
		default:
			current = &message{op, bytes.Clone(f.payload)}
			compressed = f.first&rsv1 != 0
		}
		if f.fin() {
			if compressed {
				if current.data, err = inflate(current.data); err != nil {
					return data, control, err
				}
			}
			data = append(data, *current)
			current = nil
		}
	}
	return data, control, nil
}

func deflate(p []byte, level int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		panic(err)
	}
	w.Write(p)
	w.Flush()
	return b.Bytes()[:b.Len()-4]
}

// inflate inflates a whole message. RFC 7692 §7.2.2: a message ends behind the
// header of an empty stored block, whose lengths were taken away. With other
// lengths in their place it would have one more byte: that tells it from a
// message in which they would pass for something else.
func inflate(p []byte) ([]byte, error) {
	const final = "\x01\x00\x00\xff\xff"
	out, err := inflateAll(p, "\x00\x00\xff\xff"+final)
	if err != nil {
		return nil, err
	}
	if more, err := inflateAll(p, "\x01\x00\xfe\xffX"+final); err != nil || string(more) != string(out)+"X" {
		return nil, errors.New("message cut inside a block")
	}
	return out, nil
}

func inflateAll(p []byte, tail string) ([]byte, error) {
	in := bytes.NewReader(append(bytes.Clone(p), tail...))
	out, err := io.ReadAll(flate.NewReader(in))
	if err == nil && in.Len() > 0 {
		err = fmt.Errorf("%d bytes behind the last block", in.Len())
	}
	return out, err
}

// inflatePart returns what the start of a compressed message inflates to, and
// io.ErrUnexpectedEOF if more may follow.
func inflatePart(p []byte) ([]byte, error) {
	return io.ReadAll(flate.NewReader(bytes.NewReader(p)))
}

// grammar makes random streams for one setup.
type grammar struct {
	*rand.Rand
	setup
}

func (g grammar) one(in int) bool { return g.IntN(in) == 0 }

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// stream returns a stream of messages, of which something may be wrong.
func (g grammar) stream() []byte {
	var frames []frame
	for range 1 + g.IntN(6) {
		frames = append(frames, g.item()...)
	}
	if g.one(3) {
		frames = append(frames, frame{first: fin | closing, payload: g.closeBody()})
		if g.one(4) {
			frames = append(frames, g.item()...)
		}
	}
	if g.one(2) {
		g.spoil(&frames[g.IntN(len(frames))])
	}
	var b []byte
	for _, f := range frames {
		f.masked = f.masked != g.server
		b = f.encode(b)
	}
	if g.one(10) {
		b[g.IntN(len(b))] ^= 1 << g.IntN(8)
	}
	if g.one(3) {
		b = b[:g.IntN(len(b)+1)]
	}
	return b
}

// item returns a message with control frames between its fragments, or a
// control frame. In this file's frames masked means: not as the role demands.
func (g grammar) item() []frame {
	if g.one(4) {
		return []frame{g.control()}
	}
	opcode := pick(g.Rand, byte(text), binaryType)
	data := g.data(opcode)
	first := opcode
	if g.deflate && !g.one(3) {
		data = g.deflated(data)
		first |= rsv1
	}
	var frames []frame
	for !g.one(3) {
		n := g.IntN(len(data) + 1)
		frames = append(frames, frame{first: first, payload: data[:n]})
		data, first = data[n:], continuation
		if g.one(3) {
			frames = append(frames, g.control())
		}
	}
	return append(frames, frame{first: fin | first, payload: data})
}

func (g grammar) control() frame {
	return frame{first: fin | pick(g.Rand, byte(ping), ping, pong), payload: g.bytes(pick(g.Rand, 0, 1, 5, 124, 125))}
}

func (g grammar) data(opcode byte) []byte {
	size := pick(g.Rand, 0, 1, 2, 5, 30, 100, 125, 126, 127, 128, 200, 300)
	if g.one(50) {
		size = pick(g.Rand, 4095, 4096, 4097, 65535, 65536, 70000)
	}
	if opcode == binaryType {
		return g.bytes(size)
	}
	p := g.text(size)
	if g.one(8) && len(p) > 0 {
		at := g.IntN(len(p))
		bad := pick(g.Rand, "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82", "\xf0\x9f\x98")
		p = slices.Concat(p[:at], []byte(bad), p[at:])
	}
	return p
}

func (g grammar) text(size int) []byte {
	var p []byte
	for len(p) < size {
		p = append(p, pick(g.Rand, "a", "zz", "ä", "€", "\U0001f600", "\x00", "{}")...)
	}
	return p
}

func (g grammar) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(g.IntN(256))
	}
	return p
}

// deflated compresses p, or makes something that only looks compressed.
func (g grammar) deflated(p []byte) []byte {
	z := deflate(p, pick(g.Rand, 0, 1, 6, 9, flate.HuffmanOnly))
	switch g.IntN(20) {
	case 0:
		z[g.IntN(len(z))] ^= 1 << g.IntN(8)
	case 1:
		z = z[:g.IntN(len(z))]
	case 2:
		return g.bytes(g.IntN(20))
	}
	return z
}

func (g grammar) closeBody() []byte {
	if g.one(5) {
		return g.bytes(g.IntN(2))
	}
	code := uint16(pick(g.Rand, 1000, 1000, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1013, 1014, 1015, 1016,
		2999, 3000, 4999, 5000, 0, 999, 65535))
	body := append(binary.BigEndian.AppendUint16(nil, code), g.text(pick(g.Rand, 0, 3, 100))...)
	if g.one(10) {
		body = append(body, 0xff)
	}
	return body
}

// spoil breaks one rule of framing.
func (g grammar) spoil(f *frame) {
	switch g.IntN(7) {
	case 0:
		f.first ^= pick(g.Rand, byte(rsv1), rsv1, rsv2, rsv3, rsv1|rsv2|rsv3)
	case 1:
		f.first ^= fin
	case 2:
		f.first = f.first&0xf0 | byte(g.IntN(16))
	case 3:
		f.masked = true
	case 4, 5:
		f.form = pick(g.Rand, 2, 8)
	case 6:
		f.payload = g.bytes(pick(g.Rand, 0, 1, 2, 126, 300))
	}
}

// chunks cuts a stream as a network may.
func (g grammar) chunks(b []byte) [][]byte {
	var chunks [][]byte
	if g.one(4) && len(b) > 0 {
		return append(chunks, bytes.Clone(b))
	}
	most := pick(g.Rand, 1, 2, 7, 100, 5000)
	for len(b) > 0 {
		n := min(len(b), 1+g.IntN(most))
		chunks = append(chunks, bytes.Clone(b[:n]))
		b = b[n:]
	}
	return chunks
}
