package conformance_test

// Compression for the tests (RFC 7692 §7.2), written to RFC 1951. The encoder makes the same bytes
// with every version of Go, and both ends keep to a window of any size: the decoder refuses a
// reference farther back than was agreed on.

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tautws/websocket/internal/wiretest"
)

// A window is what was agreed on for the messages of one end.
type window struct {
	bits     int
	takeover bool
}

// Lengths and distances of references (RFC 1951 §3.2.5): the base of each symbol and the number of
// extra bits behind it.
var (
	lengthBase, lengthExtra     = referenceTable(29, 3, 4)
	distanceBase, distanceExtra = referenceTable(30, 1, 2)
)

// referenceTable has n symbols from first on, in groups of size that share a number of extra bits.
// The first two groups have none.
func referenceTable(n, first, size int) (base []int, extra []uint) {
	next := first
	for i := range n {
		base, extra = append(base, next), append(extra, uint(max(i/size-1, 0)))
		next += 1 << extra[i]
	}
	if size == 4 {
		base[n-1], extra[n-1] = 258, 0 // the longest length has its own symbol
	}
	return base, extra
}

// symbolFor is the last symbol whose base is at most v.
func symbolFor(base []int, v int) int {
	i, found := slices.BinarySearch(base, v)
	if !found {
		i--
	}
	return i
}

// fixedLengths are the code lengths of a block of fixed codes (RFC 1951 §3.2.6).
var (
	fixedLengths = slices.Concat(slices.Repeat([]uint8{8}, 144), slices.Repeat([]uint8{9}, 112),
		slices.Repeat([]uint8{7}, 24), slices.Repeat([]uint8{8}, 8))
	fixedDistances = slices.Repeat([]uint8{5}, 30)

	fixedLiteralCode  = newCode(fixedLengths)
	fixedDistanceCode = newCode(fixedDistances)
)

// A code is a Huffman code (RFC 1951 §3.2.2). Its bits are reversed: the first one is the lowest.
type code struct {
	lengths []uint8
	bits    []uint16 // of each symbol
	longest uint
	table   []int16 // symbols by the next bits of the input, -1: no such code
}

func newCode(lengths []uint8) *code {
	c := &code{lengths: lengths, bits: make([]uint16, len(lengths)), longest: uint(slices.Max(lengths))}
	c.table = slices.Repeat([]int16{-1}, 1<<c.longest)
	next := 0
	for length := uint8(1); length < 16; length++ {
		next <<= 1
		for s, n := range lengths {
			if n != length {
				continue
			}
			if next>>length != 0 {
				panic(errors.New("too many codes"))
			}
			c.bits[s] = bits.Reverse16(uint16(next)) >> (16 - length)
			for i := int(c.bits[s]); i < len(c.table); i += 1 << length {
				c.table[i] = int16(s)
			}
			next++
		}
	}
	return c
}

// A deflater compresses within a window.
type deflater struct {
	window
	data []byte // the window, and the message behind it
	out  []byte
	acc  uint64 // bits that are not in out yet
	n    uint
}

// message returns the payload of a compressed message: one block of fixed codes, and the beginning
// of an empty block without compression (RFC 7692 §7.2.1).
func (d *deflater) message(p string) string {
	d.data = d.data[max(0, len(d.data)-1<<d.bits):]
	if !d.takeover {
		d.data = nil
	}
	from := len(d.data)
	d.data = append(slices.Clip(d.data), p...)
	d.out = make([]byte, 0, len(p)+len(p)/8+8)
	d.put(0b010, 3)
	d.references(from)
	d.literal(256)
	d.put(0, 3)
	d.put(0, (8-d.n%8)%8)
	return string(d.out)
}

// references writes the data from a position on, each string of at least four bytes that is in the
// window as a reference to its latest occurrence.
func (d *deflater) references(from int) {
	const tableBits = 13
	var latest [1 << tableBits]int32 // one more than the position; 0: none
	hash := func(i int) *int32 {
		v := uint32(d.data[i]) | uint32(d.data[i+1])<<8 | uint32(d.data[i+2])<<16 | uint32(d.data[i+3])<<24
		return &latest[v*0x9e3779b1>>(32-tableBits)]
	}
	for i := 0; i < len(d.data); {
		length, back := 1, 0
		if i+4 <= len(d.data) {
			entry := hash(i)
			if at := int(*entry) - 1; at >= 0 && i-at <= 1<<d.bits && i >= from {
				n := 0
				for n < 258 && i+n < len(d.data) && d.data[at+n] == d.data[i+n] {
					n++
				}
				if n >= 4 {
					length, back = n, i-at
				}
			}
			*entry = int32(i + 1)
		}
		switch {
		case i < from:
		case back == 0:
			d.literal(int(d.data[i]))
		default:
			s := symbolFor(lengthBase, length)
			d.literal(257 + s)
			d.put(uint64(length-lengthBase[s]), lengthExtra[s])
			s = symbolFor(distanceBase, back)
			d.put(uint64(fixedDistanceCode.bits[s]), 5)
			d.put(uint64(back-distanceBase[s]), distanceExtra[s])
		}
		i += length
	}
}

func (d *deflater) literal(s int) {
	d.put(uint64(fixedLiteralCode.bits[s]), uint(fixedLengths[s]))
}

// put writes n bits, the first of them lowest.
func (d *deflater) put(v uint64, n uint) {
	d.acc |= v << d.n
	for d.n += n; d.n >= 8; d.n -= 8 {
		d.out = append(d.out, byte(d.acc))
		d.acc >>= 8
	}
}

// deflated is the payload of a compressed message.
func deflated(s string) string {
	return (&deflater{window: window{bits: 15}}).message(s)
}

// stored is a block without compression (RFC 1951 §3.2.4).
func stored(s string) string {
	n := len(s)
	return string([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}) + s
}

// An inflater decompresses within a window.
type inflater struct {
	window
	in  []byte
	acc uint64 // the next n bits
	n   uint
	out []byte
}

var errEnd = errors.New("the data ends too early")

// message returns the inflated message.
func (z *inflater) message(p string) (data string, err error) {
	z.in, z.acc, z.n = append([]byte(p), 0, 0, 0xff, 0xff), 0, 0
	if !z.takeover {
		z.out = z.out[:0]
	}
	if keep := 1 << z.bits; len(z.out) > keep {
		z.out = append(z.out[:0], z.out[len(z.out)-keep:]...)
	}
	start := len(z.out)
	defer func() {
		if r := recover(); r != nil {
			data, err = "", r.(error)
		}
	}()
	for z.n >= 8 || len(z.in) > 0 {
		if final := z.take(1); final == 1 {
			return "", errors.New("block with BFINAL set")
		}
		z.block()
	}
	return string(z.out[start:]), nil
}

// fill makes sure of n bits. Behind the end they are zeros.
func (z *inflater) fill(n uint) {
	for z.n < n && len(z.in) > 0 {
		z.acc |= uint64(z.in[0]) << z.n
		z.n += 8
		z.in = z.in[1:]
	}
}

// take returns the next n bits, the first of them lowest.
func (z *inflater) take(n uint) int {
	z.fill(n)
	v := z.acc & (1<<n - 1)
	z.skip(n)
	return int(v)
}

func (z *inflater) skip(n uint) {
	if n > z.n {
		panic(errEnd)
	}
	z.acc >>= n
	z.n -= n
}

// block inflates a block behind its first bit (RFC 1951 §3.2.3).
func (z *inflater) block() {
	switch z.take(2) {
	case 0:
		z.skip(z.n % 8)
		n, complement := z.take(16), z.take(16)
		if n != complement^0xffff {
			panic(errors.New("block whose length does not match its complement"))
		}
		for range n {
			z.out = append(z.out, byte(z.take(8)))
		}
	case 1:
		z.symbols(fixedLiteralCode, fixedDistanceCode)
	case 2:
		z.symbols(z.dynamic())
	default:
		panic(errors.New("block of a reserved type"))
	}
}

// dynamic reads the codes of a block (RFC 1951 §3.2.7).
func (z *inflater) dynamic() (literals, distances *code) {
	nlit, ndist, nlen := z.take(5)+257, z.take(5)+1, z.take(4)+4
	order := [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	lengths := make([]uint8, 19)
	for _, i := range order[:nlen] {
		lengths[i] = uint8(z.take(3))
	}
	outer := newCode(lengths)
	lengths = nil
	for len(lengths) < nlit+ndist {
		switch s := z.symbol(outer); s {
		case 16:
			lengths = append(lengths, slices.Repeat(lengths[len(lengths)-1:], 3+z.take(2))...)
		case 17:
			lengths = append(lengths, make([]uint8, 3+z.take(3))...)
		case 18:
			lengths = append(lengths, make([]uint8, 11+z.take(7))...)
		default:
			lengths = append(lengths, uint8(s))
		}
	}
	return newCode(lengths[:nlit]), newCode(lengths[nlit:])
}

// symbol reads one symbol of a code.
func (z *inflater) symbol(c *code) int {
	z.fill(c.longest)
	s := c.table[z.acc&(1<<c.longest-1)]
	if s < 0 {
		panic(errors.New("no such symbol"))
	}
	z.skip(uint(c.lengths[s]))
	return int(s)
}

// symbols inflates the body of a compressed block (RFC 1951 §3.2.5).
func (z *inflater) symbols(literals, distances *code) {
	for {
		s := z.symbol(literals)
		switch {
		case s < 256:
			z.out = append(z.out, byte(s))
			continue
		case s == 256:
			return
		case s > 285:
			panic(errors.New("reserved length"))
		}
		s -= 257
		n := lengthBase[s] + z.take(lengthExtra[s])
		s = z.symbol(distances)
		back := distanceBase[s] + z.take(distanceExtra[s])
		if back > 1<<z.bits || back > len(z.out) {
			panic(fmt.Errorf("reference %d bytes back, with a window of %d bits and %d bytes so far",
				back, z.bits, len(z.out)))
		}
		for range n {
			z.out = append(z.out, z.out[len(z.out)-back])
		}
	}
}

// Both directions know the example of RFC 7692 §7.2.3.1, and the decoder those of §7.2.3.2 to
// §7.2.3.5.
func TestDeflateExamples(t *testing.T) {
	if got := deflated("Hello"); got != deflatedHello {
		t.Errorf("% x, want % x", got, deflatedHello)
	}
	z := inflater{window: window{15, true}}
	for _, payload := range []string{
		deflatedHello,
		"\xf2\x00\x11\x00\x00",
		"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
		"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
	} {
		if got, err := z.message(payload); got != "Hello" || err != nil {
			t.Errorf("% x: %q, %v", payload, got, err)
		}
	}
}

// The decoder knows blocks with their own codes.
func TestInflaterDynamic(t *testing.T) {
	z := inflater{window: window{15, false}}
	if got, err := z.message(dynamic); got != dynamicText || err != nil {
		t.Errorf("%q, %v, want %q", got, err, dynamicText)
	}
}

// Both directions agree with each other over all windows, and with compress/flate where they can.
func TestDeflaterAndInflater(t *testing.T) {
	texts := []string{"", "a", "Hello, Hello, Hello", strings.Repeat("a", 1000), "", "Hello"}
	for _, m := range materials() {
		texts = append(texts, m.data[:40_000], m.data[:3000])
	}
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []bool{false, true} {
			w := window{bits, takeover}
			d, z := &deflater{window: w}, &inflater{window: w}
			for _, text := range texts {
				payload := d.message(text)
				if got, err := z.message(payload); got != text || err != nil {
					t.Fatalf("%+v, %s: %s, %v", w, wiretest.Shortened(text), wiretest.Shortened(got), err)
				}
				if takeover {
					continue
				}
				r := flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
				if got, err := io.ReadAll(r); string(got) != text || err != nil {
					t.Fatalf("%+v, %s: compress/flate reads %s, %v", w, wiretest.Shortened(text), wiretest.Shortened(string(got)), err)
				}
			}
		}
	}
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		var b bytes.Buffer
		fw, err := flate.NewWriter(&b, level)
		if err != nil {
			t.Fatal(err)
		}
		z := &inflater{window: window{15, true}}
		for _, text := range texts {
			b.Reset()
			io.WriteString(fw, text)
			fw.Flush()
			payload := strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
			if got, err := z.message(payload); got != text || err != nil {
				t.Fatalf("level %d, %s: %s, %v", level, wiretest.Shortened(text), wiretest.Shortened(got), err)
			}
		}
	}
}

// The decoder refuses a reference that leaves the window, and takes the farthest one in it.
func TestInflaterWindow(t *testing.T) {
	r := rand.New(rand.NewPCG(1951, 7692))
	for _, test := range []struct {
		distance, bits int
		good           bool
	}{{256, 8, true}, {257, 8, false}, {257, 9, true}, {512, 9, true}, {513, 9, false}, {32768, 15, true}} {
		var b strings.Builder
		for range test.distance {
			b.WriteByte(byte(r.Uint32()))
		}
		payload := (&deflater{window: window{bits: 15}}).message(b.String() + b.String())
		if len(payload) > test.distance*5/4+200 {
			t.Fatalf("%d bytes, twice, are compressed to %d", test.distance, len(payload))
		}
		_, err := (&inflater{window: window{bits: test.bits}}).message(payload)
		if (err == nil) != test.good {
			t.Errorf("%d bytes back in a window of %d bits: error %v", test.distance, test.bits, err)
		}
	}
}
