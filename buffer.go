package websocket

import (
	"math/bits"
	"sync"
)

// Buffers are borrowed for as long as bytes are in work: an idle connection
// holds none. They come in powers of two from 512 bytes to 1 MiB.

const (
	minBufferBits = 9
	maxBufferBits = 20
)

// A buffer is borrowed memory. b has the full capacity as its length when the
// buffer is handed out, and may be replaced by a larger slice.
type buffer struct{ b []byte }

var buffers [maxBufferBits - minBufferBits + 1]sync.Pool

// getBuffer returns a buffer of at least n bytes, with undefined contents.
func getBuffer(n int) *buffer {
	class := 0
	if n > 1<<minBufferBits {
		class = bits.Len(uint(n-1)) - minBufferBits
	}
	if class >= len(buffers) {
		return &buffer{newMemory(n)}
	}
	if b, ok := buffers[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{newMemory(1 << (class + minBufferBits))}
}

// newMemory returns n new bytes. Many of them do not begin a page, which would
// make the kernel slow to copy a payload in them: see collidesLocked.
func newMemory(n int) []byte {
	const large = 32 << 10 // from here on make returns whole pages
	if n < large {
		return make([]byte, n)
	}
	return make([]byte, pageOffset+n)[pageOffset:]
}

// free gives the buffer back. Nothing may refer to its bytes any more.
func (b *buffer) free() {
	b.b = b.b[:cap(b.b)]
	class := bits.Len(uint(len(b.b))) - 1 - minBufferBits
	if class >= 0 && len(b.b) <= 1<<maxBufferBits {
		buffers[class].Put(b)
	}
}
