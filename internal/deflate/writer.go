package deflate

import (
	"compress/flate"
	"sync"
)

// A Writer compresses a sequence of messages. It keeps none of the slices that it is given or that
// it returns. Its methods are not to be called by two goroutines at a time.
//
// Its output has no distance larger than its window, nor, without context takeover, one that
// reaches into an earlier message. With context takeover a message may refer to all that follow the
// last Reset. A message directly after a Reset refers to none: a Reader that has seen no message
// yet can begin with it, and one that has seen all of them can go on with it. So one Writer can
// feed many Readers that begin at different times.
type Writer struct {
	windowBits int
	takeover   bool
	level      int
	windowLeft int         // bytes that the current chunk may still take; only if chunked
	c          *compressor // nil between messages, unless the window is kept
}

// NewWriter returns a Writer for a window of 2^windowBits bytes, MinWindowBits to MaxWindowBits.
// takeover allows messages to refer to earlier ones (RFC 7692 §7.1.1). The level is one of
// compress/flate, for which see ValidLevel.
func NewWriter(windowBits int, takeover bool, level int) *Writer {
	return &Writer{windowBits: windowBits, takeover: takeover, level: level}
}

// WindowBits returns the base-2 logarithm of the window's size.
func (w *Writer) WindowBits() int { return w.windowBits }

// SetLevel sets the level of the messages that begin after it.
func (w *Writer) SetLevel(level int) { w.level = level }

// TakesOver reports whether messages may refer to earlier ones: with context takeover and a window
// that is not chunked. It never changes.
func (w *Writer) TakesOver() bool { return w.takeover && !w.chunked() }

// chunked reports whether messages are compressed in chunks of the size of the window.
//
// RFC 7692 §7.1.2: a peer may ask for a window smaller than the 32 KiB that compress/flate always
// uses. A flate.Writer that is reset after as many bytes as the window has finds no match farther
// back. The price is some 60 bytes per chunk: of JSON, a quarter with chunks of 256 bytes.
func (w *Writer) chunked() bool { return w.windowBits < MaxWindowBits }

// keepsWindow reports whether messages refer to earlier ones. Two levels never look for matches.
func (w *Writer) keepsWindow() bool {
	return w.TakesOver() && w.level != flate.NoCompression && w.level != flate.HuffmanOnly
}

// AppendMessage compresses the message p, appends the result to dst and returns the extended slice.
func (w *Writer) AppendMessage(dst, p []byte) []byte {
	w.Begin()
	return w.Finish(w.Append(dst, p))
}

// Begin begins a message, which Append continues and Finish ends. To give it up, call Reset.
func (w *Writer) Begin() {
	if w.c != nil && w.c.level != w.level {
		w.Reset() // a message may always do without the earlier ones
	}
	if w.c == nil {
		w.c = newCompressor(w.level)
	}
	w.windowLeft = 1 << w.windowBits
}

// Append compresses p as the next part of the message. It appends to dst what output is ready,
// which may be nothing, and returns the extended slice.
func (w *Writer) Append(dst, p []byte) []byte {
	c := w.c
	if c == nil {
		return dst // no message: it was given up
	}
	c.out = dst
	if w.chunked() {
		for len(p) > w.windowLeft {
			c.fw.Write(p[:w.windowLeft])
			c.fw.Flush()
			c.fw.Reset(c)
			p = p[w.windowLeft:]
			w.windowLeft = 1 << w.windowBits
		}
		w.windowLeft -= len(p)
	}
	c.fw.Write(p)
	dst, c.out = c.out, nil
	return dst
}

// Finish ends the message, appends the rest of its output to dst and returns the extended slice.
func (w *Writer) Finish(dst []byte) []byte {
	c := w.c
	if c == nil {
		return dst
	}
	c.out = dst
	c.fw.Flush()
	// RFC 7692 §7.2.1: the end of what a flush writes is not sent.
	dst, c.out = c.out[:len(c.out)-len(syncTail)], nil
	if !w.keepsWindow() {
		w.Reset()
	}
	return dst
}

// Reset gives up the message in progress, if there is one, and makes the next message independent
// of all earlier ones. It must be called after a message that was not sent as it was compressed, or
// of which only a part was sent; and after one that was sent compressed by something else, since
// the window of the receiver has moved on without w.
func (w *Writer) Reset() {
	if w.c != nil {
		w.c.release()
		w.c = nil
	}
}

// Release gives back the memory that w holds, in whatever state w is. It is to be called when the
// connection ends, and may be called again.
func (w *Writer) Release() { w.Reset() }

// A compressor is a flate.Writer together with the slice that it appends to.
type compressor struct {
	fw    *flate.Writer
	level int
	out   []byte
}

// compressorPools holds the compressors, by level, that belong to no Writer.
var compressorPools [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool // of *compressor

// newCompressor returns a compressor with an empty window.
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

// Write appends the output of the flate.Writer. It never fails, and so Write and Flush of the
// flate.Writer never do.
func (c *compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}
