package websocket

import (
	"math/bits"
	"net"
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
		return &buffer{make([]byte, n)}
	}
	if b, ok := buffers[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, 1<<(class+minBufferBits))}
}

// free gives the buffer back. Nothing may refer to its bytes any more.
func (b *buffer) free() {
	b.b = b.b[:cap(b.b)]
	class := bits.Len(uint(len(b.b))) - 1 - minBufferBits
	if class >= 0 && len(b.b) <= 1<<maxBufferBits {
		buffers[class].Put(b)
	}
}

// gathers reports whether one system call can write several slices.
func (c *Conn) gathers() bool {
	switch c.nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// gather writes both slices as one.
func gather(nc net.Conn, header, payload []byte) error {
	v, _ := vectors.Get().(*vector)
	if v == nil {
		v = new(vector)
	}
	v.parts = [2][]byte{header, payload}
	v.buffers = v.parts[:]
	_, err := v.buffers.WriteTo(nc)
	v.parts = [2][]byte{}
	vectors.Put(v)
	return err
}

// A vector is what one gathering write needs.
type vector struct {
	buffers net.Buffers
	parts   [2][]byte
}

var vectors sync.Pool
