// Package utf8stream validates UTF-8 as it arrives, in chunks that may be cut anywhere.
//
// A text is valid if utf8.Valid says so. Long text is validated 64 bytes at a time, with the same
// instructions whatever the script: one word per bit of a byte, one bit per byte of the block, no
// table and no branch that depends on the text.
package utf8stream

import (
	"encoding/binary"
	"unicode/utf8"
)

// A Validator validates one text. The zero value is ready; assign Validator{} to begin the next
// text. After Write has returned false its state means nothing.
type Validator struct {
	missing uint8 // continuation bytes that the last sequence still lacks: 0 to 3
	lo, hi  byte  // if missing > 0: the bounds of the next one
}

// Write reports whether p continues the text so far. It is false if p holds a byte that no valid
// text can have there, even if the sequence that the byte belongs to is not complete.
func (v *Validator) Write(p []byte) bool {
	for v.missing > 0 && len(p) > 0 {
		if !v.step(p[0]) {
			return false
		}
		p = p[1:]
	}
	p = skipASCII(p)
	if len(p) < shortText && utf8.Valid(p) { // most messages: no need to look at the end
		return true
	}
	n := len(p) - cutLength(p)
	if !validBlocks(p[:n]) {
		return false
	}
	for _, b := range p[n:] {
		if !v.step(b) {
			return false
		}
	}
	return true
}

// Complete reports whether the text may end here: its last sequence is complete.
func (v *Validator) Complete() bool { return v.missing == 0 }

// step takes one byte. The bounds are those of the Unicode standard's table 3-7.
func (v *Validator) step(b byte) bool {
	if v.missing > 0 {
		ok := v.lo <= b && b <= v.hi
		v.missing--
		v.lo, v.hi = 0x80, 0xBF
		return ok
	}
	v.lo, v.hi = 0x80, 0xBF
	switch {
	case b < 0x80:
		return true
	case b < 0xC2: // a continuation byte, or the overlong C0 and C1
		return false
	case b < 0xE0:
		v.missing = 1
	case b < 0xF0:
		v.missing = 2
	case b < 0xF5:
		v.missing = 3
	default: // above U+10FFFF
		return false
	}
	switch b {
	case 0xE0:
		v.lo = 0xA0 // below: overlong
	case 0xED:
		v.hi = 0x9F // above: surrogates
	case 0xF0:
		v.lo = 0x90 // below: overlong
	case 0xF4:
		v.hi = 0x8F // above: more than U+10FFFF
	}
	return true
}

// cutLength returns the length of the sequence that p ends in the middle of, 0 to 3 bytes.
func cutLength(p []byte) int {
	for n := 1; n <= 3 && n <= len(p); n++ {
		switch b := p[len(p)-n]; {
		case b < 0x80:
			return 0
		case b >= 0xF0, b >= 0xE0 && n < 3, b >= 0xC0 && n < 2:
			return n
		case b >= 0xC0:
			return 0
		}
	}
	return 0
}

const (
	blockSize = 64
	shortText = 32 // utf8.Valid is faster than a padded block on text shorter than this
	notASCII  = 0x8080808080808080
)

// isASCII reports whether a block has no byte above 7F.
func isASCII(b *[blockSize]byte) bool {
	le := binary.LittleEndian
	return (le.Uint64(b[0:])|le.Uint64(b[8:])|le.Uint64(b[16:])|le.Uint64(b[24:])|
		le.Uint64(b[32:])|le.Uint64(b[40:])|le.Uint64(b[48:])|le.Uint64(b[56:]))&notASCII == 0
}

// skipASCII returns p without the words of ASCII it begins with.
func skipASCII(p []byte) []byte {
	all := p
	for len(p) >= blockSize && isASCII((*[blockSize]byte)(p)) {
		p = p[blockSize:]
	}
	for len(p) >= 8 && binary.LittleEndian.Uint64(p)&notASCII == 0 {
		p = p[8:]
	}
	// The last word may overlap the one before it.
	if len(p) < 8 && len(all) >= 8 && binary.LittleEndian.Uint64(all[len(all)-8:])&notASCII == 0 {
		return nil
	}
	return p
}

// validBlocks is utf8.Valid, faster on all but short text. The eight words of a block are
// transposed so that bit 8i+j of word bk is bit k of byte 8j+i. Then one logical operation tests
// all 64 bytes, and what a byte requires of the bytes after it is moved there by toNextByte.
func validBlocks(p []byte) bool {
	const m4, m2, m1 = 0x0F0F0F0F0F0F0F0F, 0x3333333333333333, 0x5555555555555555
	// What the block before requires of this one's first byte. need1: it is a continuation byte;
	// need2: and one more follows; need3: and two more. floor, ceiling: see low and high.
	var need1, need2, need3, floor, ceiling uint64
	var last [blockSize]byte
	le := binary.LittleEndian
	for len(p) > 0 {
		b := &last // padded with NUL, which is valid text but no continuation of a cut sequence
		if len(p) >= blockSize {
			b = (*[blockSize]byte)(p)
			p = p[blockSize:]
			if need1 == 0 && isASCII(b) {
				continue
			}
		} else {
			if need1 == 0 {
				if p = skipASCII(p); len(p) < shortText {
					return utf8.Valid(p)
				}
			}
			p = p[copy(last[:], p):]
		}
		b0, b4 := exchangeBits(le.Uint64(b[0:]), le.Uint64(b[32:]), 4, m4)
		b2, b6 := exchangeBits(le.Uint64(b[16:]), le.Uint64(b[48:]), 4, m4)
		b0, b2 = exchangeBits(b0, b2, 2, m2)
		b4, b6 = exchangeBits(b4, b6, 2, m2)
		b1, b5 := exchangeBits(le.Uint64(b[8:]), le.Uint64(b[40:]), 4, m4)
		b3, b7 := exchangeBits(le.Uint64(b[24:]), le.Uint64(b[56:]), 4, m4)
		b1, b3 = exchangeBits(b1, b3, 2, m2)
		b5, b7 = exchangeBits(b5, b7, 2, m2)
		b6, b7 = exchangeBits(b6, b7, 1, m1)
		b4, b5 = exchangeBits(b4, b5, 1, m1)
		b2, b3 = exchangeBits(b2, b3, 1, m1)
		b0, b1 = exchangeBits(b0, b1, 1, m1)

		lead2 := b7 & b6                                   // leads of two bytes or more,
		lead3 := lead2 & b5                                // of three or more,
		lead4 := lead3 & b4                                // of four
		some := b3 | b2 | b1                               // zero in E0, F0, C0 and C1
		bad := lead2&^(b5|b4|some) | lead4&(b3|b2&(b1|b0)) // C0, C1, F5 to FF

		after4 := toNextByte(lead4, need3)              // second bytes of four
		after3 := toNextByte(lead3|after4, need2)       // of three, third of four
		bad |= toNextByte(lead2|after3, need1) ^ b7&^b6 // required but absent, or the reverse

		// After E0 and F0 (low) the second byte's upper bits must be set, or the form is overlong;
		// after ED and F4 (high) they must not, or it is a surrogate or above U+10FFFF.
		low := lead3 &^ (some | b0)
		high := lead3 & b2 &^ b1 & (b4 ^ b0) & (b4 | b3)
		upper := b5 | after4&b4
		bad |= toNextByte(low, floor)&^upper | toNextByte(high, ceiling)&upper
		if bad != 0 {
			return false
		}
		need1, need2, need3 = (lead2|after3)>>63, (lead3|after4)>>63, lead4>>63
		floor, ceiling = low>>63, high>>63
	}
	return need1 == 0
}

// exchangeBits swaps the bits of a under m<<n with the bits of b under m, one step of a
// transposition.
func exchangeBits(a, b uint64, n uint, m uint64) (uint64, uint64) {
	t := (a>>n ^ b) & m
	return a ^ t<<n, b ^ t
}

// toNextByte moves every byte's bit to the byte after it; carry becomes the bit of the first byte.
func toNextByte(x, carry uint64) uint64 {
	return x<<8 | x>>55&0xFE | carry
}
