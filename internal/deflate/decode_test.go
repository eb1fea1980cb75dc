package deflate

// A second, independent decoder of RFC 1951, slow and strict, with which the tests compare what a
// Writer writes and what a Reader accepts. It shares no code with either, nor with compress/flate.

import (
	"errors"
	"slices"
)

type decodeError string

// A decoder decodes one message. Output goes behind the history in out.
type decoder struct {
	in     []byte
	pos    int // in bits
	out    []byte
	window int // largest distance allowed
	limit  int // largest len(out) allowed
	final  int // blocks with BFINAL set
}

var errDecodeLimit = errors.New("output limit")

// decode decodes a whole message (RFC 7692 §7.2.2) and returns its text and how many final blocks
// it has. It refuses distances above 2^windowBits and any that reach before the history.
func decode(message, history []byte, windowBits, limit int) (text []byte, final int, err error) {
	c := &decoder{
		in:     message,
		out:    append([]byte(nil), history...),
		window: 1 << windowBits,
		limit:  len(history) + limit,
	}
	defer func() {
		switch e := recover().(type) {
		case nil:
		case decodeError:
			err = errors.New(string(e))
		case error:
			if e != errDecodeLimit {
				panic(e)
			}
			err = e
		default:
			panic(e)
		}
		text, final = c.out[len(history):], c.final
	}()
	// A message may end behind a final block; otherwise it ends in an empty block whose lengths are
	// not sent.
	for streamStart := true; !streamStart || c.pos < len(message)*8; {
		c.in = message
		streamStart = c.block()
		if !streamStart && c.pos == (len(message)+4)*8 {
			return
		}
	}
	return
}

// block decodes one block and reports whether it was final.
func (c *decoder) block() bool {
	final := c.bits(1) == 1
	switch c.bits(2) {
	case 0:
		c.stored()
	case 1:
		var lit [288]int
		for i := range lit {
			lit[i] = 8
			if 144 <= i && i < 256 {
				lit[i] = 9
			} else if 256 <= i && i < 280 {
				lit[i] = 7
			}
		}
		c.symbols(newHuffmanCode(lit[:]), newHuffmanCode(slices.Repeat([]int{5}, 32)))
	case 2:
		c.symbols(c.codes())
	default:
		panic(decodeError("block type 3"))
	}
	if final {
		c.final++
		c.pos = (c.pos + 7) &^ 7
	}
	return final
}

func (c *decoder) bits(n int) int {
	v := 0
	for i := range n {
		if c.pos >= len(c.in)*8 {
			panic(decodeError("cut short"))
		}
		v |= int(c.in[c.pos/8]>>(c.pos%8)&1) << i
		c.pos++
	}
	return v
}

func (c *decoder) emit(b byte) {
	if len(c.out) >= c.limit {
		panic(errDecodeLimit)
	}
	c.out = append(c.out, b)
}

func (c *decoder) stored() {
	c.pos = (c.pos + 7) &^ 7
	if c.pos == len(c.in)*8 {
		c.in = append(c.in[:len(c.in):len(c.in)], 0, 0, 0xff, 0xff) // for this block alone
	}
	n, nlen := c.bits(16), c.bits(16)
	if n != nlen^0xffff {
		panic(decodeError("NLEN is not the complement of LEN"))
	}
	for range n {
		if c.pos >= len(c.in)*8 {
			panic(decodeError("cut short"))
		}
		c.emit(c.in[c.pos/8])
		c.pos += 8
	}
}

// A huffmanCode is a canonical Huffman code: how many symbols have a code of each length, and the
// symbols in the order of their codes.
type huffmanCode struct {
	count  [16]int
	symbol []int
}

func newHuffmanCode(lengths []int) *huffmanCode {
	code := &huffmanCode{}
	free, longest := 1, 0 // free: unused codes of the current length
	for n := 1; n <= 15; n++ {
		for symbol, m := range lengths {
			if m == n {
				code.count[n]++
				code.symbol = append(code.symbol, symbol)
				longest = n
			}
		}
		if free = 2*free - code.count[n]; free < 0 {
			panic(decodeError("too many codes"))
		}
	}
	if free > 0 && longest > 0 && (longest > 1 || len(code.symbol) > 1) {
		panic(decodeError("too few codes"))
	}
	return code
}

func (c *decoder) symbol(code *huffmanCode) int {
	value, first, index := 0, 0, 0 // first: the first code of n bits; index: of its symbol
	for n := 1; n <= 15; n++ {
		value = value<<1 | c.bits(1)
		first <<= 1
		if value-first < code.count[n] {
			return code.symbol[index+value-first]
		}
		first += code.count[n]
		index += code.count[n]
	}
	panic(decodeError("no such code"))
}

func (c *decoder) codes() (lit, dist *huffmanCode) {
	nlit, ndist, nlen := c.bits(5)+257, c.bits(5)+1, c.bits(4)+4
	if nlit > 286 || ndist > 30 {
		panic(decodeError("too many symbols"))
	}
	order := []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	meta := make([]int, 19)
	for _, i := range order[:nlen] {
		meta[i] = c.bits(3)
	}
	code := newHuffmanCode(meta)
	var lengths []int
	for len(lengths) < nlit+ndist {
		value, repeat := 0, 1
		switch s := c.symbol(code); {
		case s < 16:
			value = s
		case s == 16 && len(lengths) == 0:
			panic(decodeError("nothing to repeat"))
		case s == 16:
			value, repeat = lengths[len(lengths)-1], 3+c.bits(2)
		case s == 17:
			repeat = 3 + c.bits(3)
		default:
			repeat = 11 + c.bits(7)
		}
		for range repeat {
			lengths = append(lengths, value)
		}
	}
	if len(lengths) != nlit+ndist {
		panic(decodeError("too many lengths"))
	}
	return newHuffmanCode(lengths[:nlit]), newHuffmanCode(lengths[nlit:])
}

func (c *decoder) symbols(lit, dist *huffmanCode) {
	for {
		s := c.symbol(lit)
		if s == 256 {
			return
		}
		if s < 256 {
			c.emit(byte(s))
			continue
		}
		length := c.length(s - 257)
		distance := c.distance(c.symbol(dist))
		if distance > c.window {
			panic(decodeError("distance above the window"))
		}
		if distance > len(c.out) {
			panic(decodeError("reference to before the start"))
		}
		for range length {
			c.emit(c.out[len(c.out)-distance])
		}
	}
}

// length is the table of lengths in RFC 1951 §3.2.5: 3 to 10 stand alone, then there are four codes
// for each number of extra bits.
func (c *decoder) length(i int) int {
	switch {
	case i < 8:
		return i + 3
	case i == 28:
		return 258
	case i > 28:
		panic(decodeError("no such length"))
	}
	extra := i/4 - 1
	return 3 + (4+i%4)<<extra + c.bits(extra)
}

// distance is the table of distances in the same section, with two codes for each number of extra
// bits.
func (c *decoder) distance(i int) int {
	switch {
	case i < 4:
		return i + 1
	case i >= 30:
		panic(decodeError("no such distance"))
	}
	extra := i/2 - 1
	return 1 + (2+i%2)<<extra + c.bits(extra)
}
