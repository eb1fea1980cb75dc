package websocket

import "github.com/tautws/websocket/internal/deflate"

// CompressionOptions tunes permessage-deflate (RFC 7692) where it is enabled and the peer agrees to
// it. The zero value is right for most programs.
type CompressionOptions struct {
	// ContextTakeover keeps the LZ77 window from message to message, in both directions (RFC 7692
	// §7.1.1). Short messages that resemble each other become several times smaller. It costs a
	// connection that has sent a compressed message 0.8 to 1.2 MB, the state of compress/flate
	// (nothing at levels 0 and -2 or if the peer asked for a window below 32 KiB), and one that has
	// received one at most 32 KiB.
	ContextTakeover bool

	// Threshold is a message length in bytes: shorter messages are sent plain. One that outgrows
	// the buffer of a NextWriter counts as long enough.
	Threshold int

	// Level is a level of compress/flate: 1 (fastest) to 9 (smallest), -1 for its default, -2 for
	// Huffman coding alone. Zero means 1 or, with ContextTakeover, the fastest level that makes use
	// of earlier messages however short they are: 2, or 7 if the program is built with Go 1.27 or
	// later. Any other value is taken as zero. Conn.SetCompressionLevel also takes a literal 0, no
	// compression.
	Level int
}

const maxWindowBits = deflate.MaxWindowBits

// firstLevel returns the level that CompressionOptions.Level means for a connection whose outgoing
// messages have these parameters.
func firstLevel(option, bits int, takeover bool) int {
	switch {
	case option != 0 && deflate.ValidLevel(option):
		return option
	case takeover && bits == maxWindowBits:
		return deflate.TakeoverLevel
	}
	return 1
}
