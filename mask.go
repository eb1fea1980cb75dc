package websocket

// Masking (RFC 6455 §5.3): the XOR, which is the same both ways, and the keys a client masks with.
// The short path keeps a small stack frame, for it runs on goroutines that are idle most of the time.

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"sync"
)

// longMask is the number of bytes from which setting up maskLong pays.
const longMask = 4096

// A maskingKey is the four octets of a masking key, the first in the lowest bits.
type maskingKey uint32

// after returns the key for the payload behind its first n bytes.
func (k maskingKey) after(n int) maskingKey {
	return maskingKey(bits.RotateLeft32(uint32(k), -8*(n&3)))
}

// mask XORs src with the masking key into dst (RFC 6455 §5.3).  dst and src have the same length
// and are the same slice or do not overlap.
func mask(dst, src []byte, key maskingKey) {
	le := binary.LittleEndian
	word := uint64(key)<<32 | uint64(key)
	dst = dst[:len(src)]
	if len(src) < 8 {
		for i := range src {
			dst[i] = src[i] ^ byte(word)
			word >>= 8
		}
		return
	}
	if len(src) >= longMask {
		maskLong(dst, src, word)
		return
	}
	// The last word may overlap the one before it, so it is taken before that one is masked in place.
	end := dst[len(dst)-8:]
	last := le.Uint64(src[len(src)-8:]) ^ bits.RotateLeft64(word, -8*(len(src)&3))
	for len(src) >= 64 && len(dst) >= 64 {
		d, s := (*[64]byte)(dst), (*[64]byte)(src)
		le.PutUint64(d[0:], le.Uint64(s[0:])^word)
		le.PutUint64(d[8:], le.Uint64(s[8:])^word)
		le.PutUint64(d[16:], le.Uint64(s[16:])^word)
		le.PutUint64(d[24:], le.Uint64(s[24:])^word)
		le.PutUint64(d[32:], le.Uint64(s[32:])^word)
		le.PutUint64(d[40:], le.Uint64(s[40:])^word)
		le.PutUint64(d[48:], le.Uint64(s[48:])^word)
		le.PutUint64(d[56:], le.Uint64(s[56:])^word)
		dst, src = dst[64:], src[64:]
	}
	for len(src) > 8 && len(dst) > 8 {
		le.PutUint64(dst, le.Uint64(src)^word)
		dst, src = dst[8:], src[8:]
	}
	le.PutUint64(end, last)
}

// maskLong is mask for many bytes: XORBytes uses the widest registers there are.  It is not
// inlined, to keep the pattern out of mask's stack frame.
//
//go:noinline
func maskLong(dst, src []byte, word uint64) {
	var pattern [1024]byte
	binary.LittleEndian.PutUint64(pattern[:], word)
	for n := 8; n < len(pattern); n *= 2 {
		copy(pattern[n:], pattern[:n])
	}
	for len(src) > 0 {
		n := subtle.XORBytes(dst, src, pattern[:])
		dst, src = dst[n:], src[n:]
	}
}

// keyBatch holds random bytes; those before used are spent and zero.  A batch belongs to one
// goroutine at a time, so no two draw the same bytes.
type keyBatch struct {
	random [512]byte
	used   int
}

var keyBatches = sync.Pool{New: func() any { return &keyBatch{used: len(keyBatch{}.random)} }}

// newMaskKey returns a fresh unpredictable key (RFC 6455 §5.3, §10.3).  Any goroutine may call it.
func newMaskKey() maskingKey {
	b := keyBatches.Get().(*keyBatch)
	if b.used == len(b.random) {
		rand.Read(b.random[:]) // never fails: it ends the program instead
		b.used = 0
	}
	next := b.random[b.used:]
	key := binary.LittleEndian.Uint32(next)
	binary.LittleEndian.PutUint32(next, 0)
	b.used += 4
	keyBatches.Put(b)
	return maskingKey(key)
}
