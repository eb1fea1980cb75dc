package websocket

import (
	"math/bits"
	"sync"
)

// Buffers are borrowed for as long as a message is being processed: an idle connection holds none.
// They come in powers of two from 512 bytes to 1 MiB.

const (
	minBufferBits = 9
	maxBufferBits = 20
)

// A buffer is borrowed memory. b has the full capacity as its length when the buffer is handed out,
// and may be replaced by a larger slice.
type buffer struct {
	b    []byte
	lent bool // b belongs to a Group: it is not to be modified or reused
}

var buffers [maxBufferBits - minBufferBits + 1]sync.Pool

// getBuffer returns a buffer of at least n bytes, with undefined contents.
func getBuffer(n int) *buffer {
	class := 0
	if n > 1<<minBufferBits {
		class = bits.Len(uint(n-1)) - minBufferBits
	}
	if class >= len(buffers) {
		return &buffer{b: make([]byte, n)}
	}
	if b, ok := buffers[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 1<<(class+minBufferBits))}
}

// release gives the buffer back. Nothing may refer to its bytes any more.
func (b *buffer) release() {
	if b.lent {
		return
	}
	b.b = b.b[:cap(b.b)]
	class := bits.Len(uint(len(b.b))) - 1 - minBufferBits
	if class >= 0 && len(b.b) <= 1<<maxBufferBits {
		buffers[class].Put(b)
	}
}
