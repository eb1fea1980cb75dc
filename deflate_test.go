package websocket

// Deflating: the examples of RFC 7692 §7.2.3, windows of all sizes, and the methods that make the deflater forget.

import (
	"fmt"
	"testing"
)

func TestDeflateExamples(t *testing.T) {
	for _, test := range []struct {
		name          string
		level         int
		text, payload string
	}{
		{"7.2.3.1 one block", 2, "Hello", "\xf2\x48\xcd\xc9\xc9\x07\x00"},
		{"7.2.3.3 no compression", 0, "Hello", "\x00\x05\x00\xfa\xffHello\x00"},
		{"7.2.3.6 empty message", 1, "", "\x00"},
		{"7.2.3.6 empty message, level 9", 9, "", "\x00"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDeflater(15, false, test.level)
			if got := d.compress([]byte("before"), []byte(test.text)); string(got) != "before"+test.payload {
				t.Errorf("% x, want % x", got, test.payload)
			}
		})
	}
}

// RFC 7692 §7.1.1 and §7.1.2: no distance leaves the window, whatever its size, level, text and cuts.
func TestDeflateRoundTrip(t *testing.T) {
	for bits := 8; bits <= maxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			for _, level := range []int{-2, 0, 1, 2, 9} {
				t.Run(fmt.Sprintf("bits=%d/takeover=%v/level=%d", bits, takeover, level), func(t *testing.T) {
					t.Parallel()
					window := 1 << bits
					for _, kind := range deflateTexts {
						pair := newDeflatePair(bits, takeover, level)
						for i, n := range []int{0, 1, 16, 127, 200, window, window + window/2, 0, 300} {
							if _, err := pair.send(deflateText(kind, n), 1+i%2*3); err != nil {
								t.Fatalf("%s, %d bytes: %v", kind, n, err)
							}
						}
					}
				})
			}
		}
	}
}

// Distances of exactly 2^15, into a message before that is longer than the window.
func TestDeflateWholeWindow(t *testing.T) {
	pair := newDeflatePair(15, true, 6)
	text := deflateText("random", 40000)
	if _, err := pair.send(text, 1); err != nil {
		t.Fatal(err)
	}
	payload, err := pair.send(text[40000-maxWindowSize:][:200], 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(payload) > 20 {
		t.Errorf("%d bytes for 200 that are all in the window", len(payload))
	}
}

func TestDeflateTakeover(t *testing.T) {
	text := deflateText("json", 1000)
	for _, takeover := range []bool{false, true} {
		pair := newDeflatePair(15, takeover, 2)
		send := func() int {
			payload, err := pair.send(text, 1)
			if err != nil {
				t.Fatal(err)
			}
			return len(payload)
		}
		first, second := send(), send()
		if takeover && second*10 > first {
			t.Errorf("with takeover: %d bytes, then %d", first, second)
		}
		if !takeover && second != first {
			t.Errorf("without takeover: %d bytes, then %d", first, second)
		}

		// What was not sent, or sent by another deflater, must not be referred to.
		other := deflateText("words", 1000)
		pair.d.compress(nil, other)
		pair.d.forget()
		if _, err := pair.send(other, 1); err != nil {
			t.Errorf("takeover %v, after a message not sent: %v", takeover, err)
		}
		if err := pair.receive(newDeflater(15, false, 1).compress(nil, text), text); err != nil {
			t.Fatal(err)
		}
		pair.d.forget()
		if n := send(); n < first {
			t.Errorf("takeover %v, after another deflater's message: %d bytes, then %d", takeover, first, n)
		}
		pair.d.begin()
		pair.d.write(nil, other)
		pair.d.forget()
		if _, err := pair.send(other, 3); err != nil {
			t.Errorf("takeover %v, after a message given up: %v", takeover, err)
		}

		for _, level := range []int{9, 1, 0, -2, 6} {
			pair.d.setLevel(level)
			for range 2 {
				payload, err := pair.send(text, 2)
				if err != nil {
					t.Errorf("takeover %v, level %d: %v", takeover, level, err)
				}
				if plain := len(payload) > len(text); plain != (level == 0) {
					t.Errorf("takeover %v, level %d: %d bytes for %d", takeover, level, len(payload), len(text))
				}
				if pair.d.c != nil && pair.d.c.level != level {
					t.Errorf("takeover %v, level %d: compressor of level %d kept", takeover, level, pair.d.c.level)
				}
			}
		}
	}
}
