package autobahn

// The fuzzing peer's compression (RFC 7692 §7.2). What it receives it inflates with a decoder of its
// own, written to RFC 1951, because that of the standard library knows one window size: this one
// refuses a reference farther back than was agreed on.

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"slices"
)

// A window is what was agreed on for the messages of one end.
type window struct {
	bits     int
	takeover bool
}

// A deflater compresses within a window.
type deflater struct {
	window
	out bytes.Buffer
	fw  *flate.Writer
}

func newDeflater(w window) *deflater {
	d := &deflater{window: w}
	level := 2 // the lowest that looks into earlier messages
	if w.bits < 15 {
		level = 1 // cheap to start anew
	}
	d.fw, _ = flate.NewWriter(&d.out, level)
	return d
}

// message returns a compressed message. compress/flate has a window of 32 KiB; a smaller one is kept
// by starting anew before it would be left.
func (d *deflater) message(p []byte) string {
	d.out.Reset()
	small := d.bits < 15
	if small || !d.takeover {
		d.fw.Reset(&d.out)
	}
	for small && len(p) > 1<<d.bits {
		d.fw.Write(p[:1<<d.bits])
		d.fw.Flush()
		d.fw.Reset(&d.out)
		p = p[1<<d.bits:]
	}
	d.fw.Write(p)
	d.fw.Flush()
	return string(bytes.TrimSuffix(d.out.Bytes(), []byte("\x00\x00\xff\xff")))
}

// An inflater decompresses within a window.
type inflater struct {
	window
	in      []byte
	bit     uint // bits of in that are consumed
	out     []byte
	history int // where in out this message begins
}

var errEnd = errors.New("the data ends too early")

// message returns the inflated message.
func (z *inflater) message(p []byte) (data []byte, err error) {
	z.in, z.bit = append(slices.Clone(p), 0, 0, 0xff, 0xff), 0
	if !z.takeover {
		z.out = z.out[:0]
	}
	if keep := 1 << z.bits; len(z.out) > keep {
		z.out = append(z.out[:0], z.out[len(z.out)-keep:]...)
	}
	z.history = len(z.out)
	defer func() {
		if r := recover(); r != nil {
			data, err = nil, r.(error)
		}
	}()
	for z.bit < uint(len(z.in))*8 {
		if final := z.take(1); final == 1 {
			return nil, errors.New("block with BFINAL set")
		}
		z.block()
	}
	return slices.Clone(z.out[z.history:]), nil
}

// take returns the next n bits, the first of them lowest.
func (z *inflater) take(n uint) (v int) {
	if z.bit+n > uint(len(z.in))*8 {
		panic(errEnd)
	}
	for i := range n {
		v |= int(z.in[z.bit>>3]>>(z.bit&7)&1) << i
		z.bit++
	}
	return v
}

// block inflates a block behind its first bit (RFC 1951 §3.2.3).
func (z *inflater) block() {
	switch z.take(2) {
	case 0:
		z.bit = (z.bit + 7) &^ 7
		n, complement := z.take(16), z.take(16)
		if n != complement^0xffff || z.bit>>3+uint(n) > uint(len(z.in)) {
			panic(errEnd)
		}
		z.out = append(z.out, z.in[z.bit>>3:][:n]...)
		z.bit += uint(n) * 8
	case 1:
		lengths := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112),
			slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
		z.symbols(newCode(lengths), newCode(slices.Repeat([]int{5}, 30)))
	case 2:
		z.symbols(z.dynamic())
	default:
		panic(errors.New("block of a reserved type"))
	}
}

// dynamic reads the codes of a block (RFC 1951 §3.2.7).
func (z *inflater) dynamic() (literals, distances *code) {
	nlit, ndist, nlen := z.take(5)+257, z.take(5)+1, z.take(4)+4
	var order = [...]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	lengths := make([]int, 19)
	for _, i := range order[:nlen] {
		lengths[i] = z.take(3)
	}
	outer := newCode(lengths)
	lengths = nil
	for len(lengths) < nlit+ndist {
		switch s := z.symbol(outer); s {
		case 16:
			lengths = append(lengths, slices.Repeat(lengths[len(lengths)-1:], 3+z.take(2))...)
		case 17:
			lengths = append(lengths, make([]int, 3+z.take(3))...)
		case 18:
			lengths = append(lengths, make([]int, 11+z.take(7))...)
		default:
			lengths = append(lengths, s)
		}
	}
	return newCode(lengths[:nlit]), newCode(lengths[nlit:])
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
		}
		n := 258
		if s < 265 {
			n = s - 254
		} else if s < 285 {
			extra := uint(s-261) / 4
			n = 3 + (4+(s-261)%4)<<extra + z.take(extra)
		}
		s = z.symbol(distances)
		back := s + 1
		if s >= 4 {
			extra := uint(s-2) / 2
			back = 1 + (2+s%2)<<extra + z.take(extra)
		}
		if back > 1<<z.bits || back > len(z.out) {
			panic(fmt.Errorf("reference %d bytes back, with a window of %d bits and %d bytes so far", back, z.bits, len(z.out)))
		}
		for range n {
			z.out = append(z.out, z.out[len(z.out)-back])
		}
	}
}

// A code is a Huffman code: how many symbols there are of each length, and the symbols in order.
type code struct {
	count   [16]int
	symbols []int
}

func newCode(lengths []int) *code {
	c := new(code)
	for length := 1; length < 16; length++ {
		for s, n := range lengths {
			if n == length {
				c.count[length]++
				c.symbols = append(c.symbols, s)
			}
		}
	}
	return c
}

// symbol reads one symbol of a code (RFC 1951 §3.2.2).
func (z *inflater) symbol(c *code) int {
	value, first, index := 0, 0, 0
	for _, count := range c.count[1:] {
		value |= z.take(1)
		if value-first < count {
			return c.symbols[index+value-first]
		}
		index, first, value = index+count, (first+count)<<1, value<<1
	}
	panic(errors.New("no such symbol"))
}
