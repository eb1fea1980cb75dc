// Package deflate compresses and decompresses the messages of the permessage-deflate extension (RFC
// 7692 §7.2): a Writer those that one end of a connection sends, a Reader those that it receives.
//
// What a message in progress needs is large (up to 1.2 MB to compress, 80 to 110 KB to decompress),
// so it comes from pools and is given back when the message ends. Only with context takeover does
// anything stay between messages: a flate.Writer in the Writer, and in the Reader a window of at
// most 32 KiB.
package deflate

import (
	"compress/flate"
	"errors"
)

const (
	// MinWindowBits and MaxWindowBits are the base-2 logarithms of the smallest and the largest
	// window (RFC 7692 §7.1.2).
	MinWindowBits = 8
	MaxWindowBits = 15

	maxWindowSize = 1 << MaxWindowBits // bytes
)

// syncTail ends the output of a sync flush: LEN and NLEN of an empty block without compression. RFC
// 7692 §7.2.1, §7.2.2: the sender removes it, the receiver puts it back.
const syncTail = "\x00\x00\xff\xff"

// ErrCorrupt reports a message that cannot be decompressed. Its text is fit for the reason of a
// close frame.
var ErrCorrupt = errors.New("compressed message is not valid DEFLATE data or ends too early")

// ValidLevel reports whether compress/flate has this level.
func ValidLevel(level int) bool {
	return flate.HuffmanOnly <= level && level <= flate.BestCompression
}
