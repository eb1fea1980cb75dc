// Package mask masks the payload of WebSocket frames (RFC 6455 §5.3): the XOR, which masks and
// unmasks alike, and the keys that a client masks with.
package mask

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"math/bits"
	"sync"
)

// A Key holds the four octets of a masking key, the first of them in the lowest bits.
type Key uint32

// After returns the key for what follows the first n bytes of a payload masked with k.
func (k Key) After(n int) Key {
	return Key(bits.RotateLeft32(uint32(k), -8*(n&3)))
}

// longPayload is the number of bytes from which setting up xorLong pays.
const longPayload = 4096

// XOR sets dst to src masked with key. dst must be at least as long as src, and either begin where
// src does or not overlap it.
//
// Its stack frame is small, because it runs on goroutines that are idle most of the time and whose
// stacks should not grow.
func XOR(dst, src []byte, key Key) {
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
	if len(src) >= longPayload {
		xorLong(dst, src, word)
		return
	}
	// The last word may overlap the one before it, so it is read before that is masked in place.
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

// xorLong is XOR for long payloads: subtle.XORBytes uses the widest registers there are. It is not
// inlined, to keep the pattern out of XOR's stack frame.
//
//go:noinline
func xorLong(dst, src []byte, word uint64) {
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

// A keyBatch holds random bytes, of which the first used have been handed out and are zero. A batch
// belongs to one goroutine at a time, so no two goroutines get the same bytes.
type keyBatch struct {
	random [512]byte
	used   int
}

var keyBatches = sync.Pool{New: func() any { return &keyBatch{used: len(keyBatch{}.random)} }}

// NewKey returns a new unpredictable key. It may be called from any goroutine.
func NewKey() Key {
	// RFC 6455 §5.3 and §10.3: a key is chosen from strong entropy for every frame.
	b := keyBatches.Get().(*keyBatch)
	if b.used == len(b.random) {
		rand.Read(b.random[:]) // never returns an error
		b.used = 0
	}
	next := b.random[b.used:]
	key := binary.LittleEndian.Uint32(next)
	binary.LittleEndian.PutUint32(next, 0)
	b.used += 4
	keyBatches.Put(b)
	return Key(key)
}
