package conformance_test

// A valid stream, cut at every byte and with every bit flipped.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

// A wireStream is a valid stream and the messages in it. They are given with the number of the
// frame that ends them.
type wireStream struct {
	name     string
	deflate  bool
	frames   []wireFrame
	messages []wireMessage
	ends     []int
}

var wireStreams = []wireStream{
	{
		name: "plain",
		frames: slices.Concat(
			[]wireFrame{textFrame("κόσμε"), pingFrame("p"), frame(0x02, "ab"), pongFrame("q"), frame(0x00, ""), frame(0x80, "c")},
			[]wireFrame{textFrame(""), binaryFrame(strings.Repeat("x", 130)), frame(0x01, "\xe2"), frame(0x80, "\x82\xac")},
		),
		messages: slices.Concat(texts("κόσμε"), binaries("abc"), texts(""), binaries(strings.Repeat("x", 130)), texts("\u20ac")),
		ends:     []int{0, 5, 6, 7, 9},
	},
	{
		name: "deflate", deflate: true,
		frames: slices.Concat(
			[]wireFrame{frame(0xc1, deflatedHello), textFrame("a")},
			inFragments(0x42, "\xf2\x48\x05\x00\x00", "", "\x00\xff\xff\xca\xc9\xc9\x07\x00"),
			[]wireFrame{pingFrame("p"), frame(0xc1, "\x00"), frame(0xc1, deflated("κόσμε"))},
		),
		messages: slices.Concat(texts("Hello", "a"), binaries("Hello"), texts("", "κόσμε")),
		ends:     []int{0, 1, 4, 6, 7},
	},
}

// whole is how many messages the first n bytes of the stream hold.
func (s *wireStream) whole(n int, server bool) int {
	for i, end := range s.ends {
		if len(wiretest.Encode(s.frames[:end+1], server)) > n {
			return i
		}
	}
	return len(s.ends)
}

// play reads what a peer sends in place of the stream.
func (s *wireStream) play(b []byte, server bool, chunks chunking, style wireStyle) (wireResult, error) {
	res, err := setup{server: server, deflate: s.deflate, chunking: chunks}.play(b, 1<<20, style)
	if err == nil {
		err = res.check()
	}
	return res, err
}

// each runs f for the streams in both roles.
func (s *wireStream) each(t *testing.T, f func(t *testing.T, b []byte, server bool)) {
	for _, server := range []bool{true, false} {
		t.Run(fmt.Sprintf("%s, server %v", s.name, server), func(t *testing.T) { f(t, wiretest.Encode(s.frames, server), server) })
	}
}

// RFC 6455 §7.1.5: a stream that ends without a close frame is code 1006.
func TestEveryTruncation(t *testing.T) {
	for _, s := range wireStreams {
		s.each(t, func(t *testing.T, b []byte, server bool) {
			for n := range len(b) + 1 {
				want := s.messages[:s.whole(n, server)]
				for _, style := range wireStyles {
					for _, chunks := range chunkings(server) {
						res, err := s.play(b[:n], server, chunks, style)
						if err != nil {
							t.Fatalf("%d bytes, %s: %v", n, style.name, err)
						}
						if e, ok := res.err.(*websocket.CloseError); !ok || *e != *endEOF.err.(*websocket.CloseError) {
							t.Fatalf("%d bytes, %s: error %v, want %v", n, style.name, res.err, endEOF.err)
						}
						if !slices.Equal(res.messages, want) {
							t.Fatalf("%d bytes, %s: messages %v, want %v", n, style.name, res.messages, want)
						}
					}
				}
			}
		})
	}
}

// Whatever one wrong bit means, the messages before it stay what they are, and the end is orderly.
func TestEveryBitFlip(t *testing.T) {
	for _, s := range wireStreams {
		s.each(t, func(t *testing.T, b []byte, server bool) {
			for bit := range len(b) * 8 {
				flipped := slices.Clone(b)
				flipped[bit/8] ^= 1 << (bit % 8)
				want := s.messages[:s.whole(bit/8, server)]
				style, chunks := wireStyles[bit%len(wireStyles)], chunkings(server)
				res, err := s.play(flipped, server, chunks[bit/8%len(chunks)], style)
				if err != nil {
					t.Fatalf("bit %d, %s: %v", bit, style.name, err)
				}
				if got := res.messages[:min(len(want), len(res.messages))]; !slices.Equal(got, want) {
					t.Fatalf("bit %d, %s: messages %v, want %v first", bit, style.name, res.messages, want)
				}
			}
		})
	}
}
