package websocket

import (
	"math/bits"
	"sync"
)

// A readBuffer holds what was received and not consumed:
//
//	buf.b   | consumed | buffered | free |
//	        0          r          w      len(buf.b)
//
// Invariants: 0 <= r <= w <= len(buf.b). While nothing is buffered and the connection waits for the
// network there is no buf. While the application uses messages that are in buf it is pinned: bytes
// before r stay where they are, and buf does not go back to the pool.
type readBuffer struct {
	buf      *buffer
	r, w     int32
	pinned   int32 // messages in buf that the application still uses
	size     int32 // bytes asked of the network at a time, at least
	nextRead int32 // bytes to ask of the network: size, or more among larger messages
}

// maxNextRead is how many bytes a read into the buffer may ask for: a message of 64 KiB with its
// header.
const maxNextRead = 64<<10 + maxHeaderSize

// buffered returns what is received and not consumed.
func (b *readBuffer) buffered() []byte {
	if b.buf == nil {
		return nil
	}
	return b.buf.b[b.r:b.w]
}

func (b *readBuffer) empty() bool { return b.r == b.w }

// prepend makes p, which came behind the handshake, the first input.
func (b *readBuffer) prepend(p []byte) {
	if len(p) > 0 {
		b.buf = getBuffer(max(len(p), int(b.size)))
		b.w = int32(copy(b.buf.b, p))
	}
}

// free returns the part of buf that a read may fill, and borrows a buf if there is none.
func (b *readBuffer) free() []byte {
	if b.buf == nil {
		b.buf = getBuffer(int(b.nextRead))
	}
	return b.buf.b[b.w:]
}

// makeRoom sees to it that a read can add to what is buffered. It gives buf back if it is empty.
func (b *readBuffer) makeRoom() {
	if b.empty() {
		b.releaseEmpty()
	} else if int(b.w) == len(b.buf.b) {
		to := b.buf
		if b.pinned > 0 {
			to = getBuffer(len(to.b))
		}
		b.compact(to)
	}
}

// releaseEmpty gives buf back if nothing is in it. One that is pinned stays with the application.
func (b *readBuffer) releaseEmpty() {
	if b.buf != nil && b.empty() {
		if b.pinned == 0 {
			b.buf.release()
		}
		b.buf, b.pinned = nil, 0
		b.r, b.w = 0, 0
	}
}

// release drops what is buffered.
func (b *readBuffer) release() {
	b.r, b.w = 0, 0
	b.releaseEmpty()
}

// compact moves what is buffered to the front of to, which may be buf itself, and makes that buf.
func (b *readBuffer) compact(to *buffer) {
	b.r, b.w = 0, int32(copy(to.b, b.buffered()))
	if to != b.buf {
		if b.pinned == 0 {
			b.buf.release()
		}
		b.buf, b.pinned = to, 0
	}
}

// shrink gives buf back before a wait if nothing is in it, and takes a small one for a large one
// with little in it.
func (b *readBuffer) shrink() {
	if b.empty() {
		b.releaseEmpty()
	} else if len(b.buf.b) > 2*int(b.size) && b.w-b.r <= b.size/2 {
		b.compact(getBuffer(int(b.size)))
	}
}

// adapt sets how much the next reads ask for: enough for a message like the one that has just
// ended, of n bytes. A message beyond maxNextRead is better read past the buffer.
func (b *readBuffer) adapt(n int64) {
	if n += maxHeaderSize; n <= int64(b.size) || n > maxNextRead {
		b.nextRead = b.size
	} else {
		b.nextRead = int32(n)
	}
}

// pin keeps buf where it is until unpin.
func (b *readBuffer) pin() *buffer {
	b.pinned++
	return b.buf
}

// unpin ends the use of a message in buf, as pin returned it.
func (b *readBuffer) unpin(buf *buffer) {
	if buf != nil && buf == b.buf {
		b.pinned--
	}
}

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
