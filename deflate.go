package websocket

// The outgoing half of RFC 7692 §7.2.
//
// A deflater's output never refers farther back than its window, nor, unless the context is taken over, to before
// the message. A compressor that belongs to no message and keeps no window is in its pool.

import (
	"compress/flate"
	"sync"
)

// A compressor is a flate.Writer together with the slice it appends to.
type compressor struct {
	fw    *flate.Writer
	level int
	out   []byte
}

var compressorPools [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool // of *compressor, by level

// newCompressor returns a compressor that remembers nothing of earlier data.
func newCompressor(level int) *compressor {
	if c, _ := compressorPools[level-flate.HuffmanOnly].Get().(*compressor); c != nil {
		c.fw.Reset(c)
		return c
	}
	c := &compressor{level: level}
	c.fw, _ = flate.NewWriter(c, level) // fails for invalid levels only
	return c
}

func (c *compressor) release() {
	c.out = nil
	compressorPools[c.level-flate.HuffmanOnly].Put(c)
}

// Write appends the output of the flate.Writer. It never fails, and so Write and Flush of the flate.Writer do not.
func (c *compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// A deflater compresses the outgoing messages of one connection. The message right guards it. It keeps none of the
// slices it is given or returns.
type deflater struct {
	bits     int
	takeover bool
	level    int
	room     int         // bytes the current chunk may still take; only if chunked
	c        *compressor // nil between messages unless the window is kept
}

// newDeflater returns a deflater whose output has no distance above 2^bits bytes, and none into an earlier message
// unless takeover is set. The level is one of compress/flate, zero included.
func newDeflater(bits int, takeover bool, level int) *deflater {
	return &deflater{bits: bits, takeover: takeover, level: level}
}

// setLevel takes effect with the next message.
func (d *deflater) setLevel(level int) { d.level = level }

// chunked reports whether messages are compressed in chunks of 2^bits bytes. RFC 7692 §7.1.2: a peer may ask for a
// smaller window than the 32 KiB that compress/flate always uses. A writer that is reset after every 2^bits bytes
// finds no match farther back than that. The price is some 60 bytes per chunk: of JSON, a quarter with 256 byte chunks.
func (d *deflater) chunked() bool { return d.bits < maxWindowBits }

// keepsWindow reports whether messages refer to earlier ones. Two levels never look for matches.
func (d *deflater) keepsWindow() bool {
	return d.takeover && !d.chunked() && d.level != flate.NoCompression && d.level != flate.HuffmanOnly
}

// compress appends the whole message p to dst in compressed form.
func (d *deflater) compress(dst, p []byte) []byte {
	d.begin()
	return d.finish(d.write(dst, p))
}

// begin starts a message that write continues and finish ends. A message that is not finished must end in forget.
func (d *deflater) begin() {
	if d.c != nil && d.c.level != d.level {
		d.forget() // a fresh window is always right: the peer only has to keep what we may refer to
	}
	if d.c == nil {
		d.c = newCompressor(d.level)
	}
	d.room = 1 << d.bits
}

// write compresses p and appends to dst what output is ready, which may be nothing.
func (d *deflater) write(dst, p []byte) []byte {
	c := d.c
	c.out = dst
	if d.chunked() {
		for len(p) > d.room {
			c.fw.Write(p[:d.room])
			c.fw.Flush()
			c.fw.Reset(c)
			p = p[d.room:]
			d.room = 1 << d.bits
		}
		d.room -= len(p)
	}
	c.fw.Write(p)
	dst, c.out = c.out, nil
	return dst
}

// finish ends the message and appends the rest of its output to dst.
func (d *deflater) finish(dst []byte) []byte {
	c := d.c
	c.out = dst
	c.fw.Flush()
	// RFC 7692 §7.2.1: the end of what a flush writes is not sent.
	dst, c.out = c.out[:len(c.out)-len(syncTail)], nil
	if !d.keepsWindow() {
		d.forget()
	}
	return dst
}

// forget makes the next message independent of all earlier ones and gives the pooled state back. It is to be called
// when a message was compressed but not sent in that form, when one was sent that this deflater did not compress,
// when a message is given up, and when the connection ends.
func (d *deflater) forget() {
	if d.c != nil {
		d.c.release()
		d.c = nil
	}
}
