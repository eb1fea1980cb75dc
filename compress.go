package websocket

// Compression (RFC 7692 §7.2): the options, and what deflate.go and inflate.go share.
//
// What one direction needs is large (80 to 110 KB to inflate, 0.7 to 1.2 MB to deflate), so it is pooled and held
// only while a message is in work. With context takeover alone, something stays with an idle connection:
// the inflater's window of at most 32 KiB and the deflater's flate.Writer.

import (
	"compress/flate"
	"errors"
)

// CompressionOptions tunes permessage-deflate (RFC 7692) where it is enabled and the peer agrees to it. The zero
// value is right for most programs.
type CompressionOptions struct {
	// ContextTakeover keeps the LZ77 window from message to message, in both directions (RFC 7692 §7.1.1). Short
	// messages that resemble each other become several times smaller. It costs a connection that has sent a
	// compressed message 0.8 MB, the state of compress/flate (1.2 MB at level 1, nothing at levels 0 and -2 or
	// if the peer asked for a window below 32 KiB), and one that has received one at most 32 KiB.
	ContextTakeover bool

	// Threshold is a message length in bytes: shorter messages are sent plain. One that outgrows the buffer of a
	// NextWriter counts as long enough.
	Threshold int

	// Level is a level of compress/flate: 1 (fastest) to 9 (smallest), -1 for its default, -2 for Huffman coding
	// alone. Zero means 1, or 2 with ContextTakeover, because level 1 makes next to no use of earlier messages.
	// Any other value is taken as zero. Conn.SetCompressionLevel also takes a literal 0, no compression.
	Level int
}

const (
	maxWindowBits = 15
	maxWindowSize = 1 << maxWindowBits // bytes
)

// syncTail ends the output of a sync flush: LEN and NLEN of an empty block without compression. RFC 7692 §7.2.1 and
// §7.2.2: the sender takes it off, the receiver puts it back.
const syncTail = "\x00\x00\xff\xff"

// errCorruptDeflate reports a compressed message that cannot be inflated. Its text is fit for a close reason.
var errCorruptDeflate = errors.New("compressed message is not valid DEFLATE data or ends too early")

func validLevel(level int) bool {
	return flate.HuffmanOnly <= level && level <= flate.BestCompression
}

// firstLevel returns the level that CompressionOptions.Level means for a deflater of these parameters.
func firstLevel(option, bits int, takeover bool) int {
	switch {
	case option != 0 && validLevel(option):
		return option
	case takeover && bits == maxWindowBits:
		return 2
	}
	return flate.BestSpeed
}
