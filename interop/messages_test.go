package interop

// What is sent: messages of every length class, the same each time, that say more than their length
// when they arrive damaged.

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"unicode/utf8"

	"github.com/tautws/websocket"
)

// lengths are the sizes at which a frame header changes its form, their neighbours, and one beyond
// every buffer.
var lengths = []int{0, 1, 125, 126, 65535, 65536, 1 << 20}

// kinds are the data messages.
var kinds = []struct {
	name string
	code int
	make func(n int) []byte
}{
	{"text", websocket.TextMessage, textOf},
	{"binary", websocket.BinaryMessage, binaryOf},
}

// textOf returns n bytes of UTF-8 that compress well and hold characters of one to four bytes.
func textOf(n int) []byte {
	const verse = "Füchse, κόσμε, мир, 世界, 𝄞 and plain words; "
	p := []byte(strings.Repeat(verse, n/len(verse)+1))[:n]
	for !utf8.Valid(p) { // the cut went through a character
		p = p[:len(p)-1]
	}
	return append(p, bytes.Repeat([]byte("x"), n-len(p))...)
}

// binaryOf returns n bytes in which a compressor finds matches at every distance that RFC 1951
// knows: noise, repeated from 200 to 32,000 bytes behind.
func binaryOf(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	p := make([]byte, 0, n+64)
	for len(p) < n {
		for range 32 {
			p = append(p, byte(r.Uint32()))
		}
		if back := 200 + r.IntN(31800); back < len(p) {
			at := len(p) - back
			p = append(p, p[at:at+32]...)
		}
	}
	return p[:n]
}
