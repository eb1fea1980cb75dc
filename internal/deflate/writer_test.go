package deflate

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// Every level, every window and every kind of text; messages that are empty, that fit the window
// and that do not, whole and in pieces.
//
// RFC 7692 §7.1.1 and §7.1.2: no distance leaves the window. §7.2.1: the tail is not sent.
func TestWriterRoundTrip(t *testing.T) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			for _, level := range []int{-2, 0, 1, 2, 9} {
				name := fmt.Sprintf("bits=%d/takeover=%v/level=%d", bits, takeover, level)
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					window := 1 << bits
					for _, kind := range sampleKinds {
						p := newPair(bits, takeover, level)
						sizes := []int{0, 1, 16, 127, 200, window, window + window/2, 0, 300}
						if bits <= 10 { // small windows are for several chunks, large ones for one
							sizes = append(sizes, 4*window)
						} else if kind == "words" {
							sizes = sizes[:5]
						}
						for i, n := range sizes {
							if _, err := p.send(sampleText(kind, n), 1+i%2*3); err != nil {
								t.Fatalf("%s, %d bytes: %v", kind, n, err)
							}
						}
					}
				})
			}
		}
	}
}

func TestWriterAppends(t *testing.T) {
	for level := -2; level <= 9; level++ {
		for _, text := range []string{"", "Hello"} { // RFC 7692 §7.2.3.6 and §7.2.3.1
			got := NewWriter(15, false, level).AppendMessage([]byte("before"), []byte(text))
			payload, ok := bytes.CutPrefix(got, []byte("before"))
			if !ok {
				t.Errorf("level %d, %q: got %q", level, text, got)
			}
			back, final, err := decode(payload, nil, MaxWindowBits, 100)
			if string(back) != text || final > 0 || err != nil {
				t.Errorf("level %d, %q: % x is %q, %d final blocks, %v",
					level, text, payload, back, final, err)
			}
		}
	}
}

// Matches near the far end of the window, in a message before that is longer than the window.
func TestWriterWholeWindow(t *testing.T) {
	for level := 1; level <= 9; level++ {
		p := newPair(15, true, level)
		text := sampleText("random", 40000)
		if _, err := p.send(text, 1); err != nil {
			t.Fatal(err)
		}
		for _, offset := range []int{-200, 0, 300, 10000} {
			from := len(text) - maxWindowSize + offset
			if _, err := p.send(text[from:][:200], 1); err != nil {
				t.Fatalf("level %d, offset %d: %v", level, offset, err)
			}
		}
	}
}

// refersBack reports whether a message cannot be read without those before it.
func refersBack(payload []byte) bool {
	_, _, err := decode(payload, nil, MaxWindowBits, 1<<20)
	return err != nil
}

// RFC 7692 §7.1.1: a message refers to earlier ones only with context takeover, and only to those
// that the receiver has had from this Writer.
func TestWriterTakeover(t *testing.T) {
	text := sampleText("json", 1000)
	for _, takeover := range []bool{false, true} {
		p := newPair(15, takeover, TakeoverLevel)
		send := func(what string, text []byte, pieces int, back bool) {
			t.Helper()
			payload, err := p.send(text, pieces)
			if err != nil || refersBack(payload) != back {
				t.Errorf("takeover %v, %s: refers back: %v, %v",
					takeover, what, refersBack(payload), err)
			}
		}
		send("first", text, 1, false)
		send("second", text, 1, takeover)

		other := sampleText("words", 1000)
		p.w.AppendMessage(nil, other)
		p.w.Reset()
		send("after a message that was not sent", other, 1, false)
		send("and the next", text, 1, false)
		send("and the one after", text, 1, takeover)

		if err := p.receive(compressed(1, text), text); err != nil {
			t.Fatal(err)
		}
		p.w.Reset()
		send("after another Writer's message", text, 1, false)

		p.w.Begin()
		p.w.Append(nil, other)
		p.w.Reset()
		send("after a message that was given up", other, 3, false)

		for _, level := range []int{9, 1, 0, -2, 6} {
			p.w.SetLevel(level)
			send(fmt.Sprintf("level %d", level), text, 2, false)
			looks := level != 0 && level != -2 // for matches
			payload, err := p.send(text, 2)
			if err != nil || refersBack(payload) && !(takeover && looks) {
				t.Errorf("takeover %v, level %d: refers back: %v, %v",
					takeover, level, refersBack(payload), err)
			}
			if plain := len(payload) > len(text); plain != (level == 0) {
				t.Errorf("takeover %v, level %d: %d bytes for %d",
					takeover, level, len(payload), len(text))
			}
			if p.w.c != nil && p.w.c.level != level {
				t.Errorf("takeover %v, level %d: a compressor of level %d",
					takeover, level, p.w.c.level)
			}
		}
	}
}

// Short messages that resemble each other, and between them one that does not, become much smaller.
func TestWriterTakeoverLevel(t *testing.T) {
	text := sampleText("json", 100_000)
	for _, size := range []int{60, 100, 127, 128, 200, 500} {
		sent := func(takeover bool) (n int) {
			p := newPair(MaxWindowBits, takeover, TakeoverLevel)
			for i := range 100 {
				message := text[i*size:][:size]
				if i == 50 {
					message = []byte("hello, world")
				}
				payload, err := p.send(message, 1)
				if err != nil {
					t.Fatal(err)
				}
				n += len(payload)
			}
			return n
		}
		if alone, together := sent(false), sent(true); together*3 > alone*2 {
			t.Errorf("messages of %d bytes: %d bytes, without takeover %d", size, together, alone)
		}
	}
}

// One Writer feeds Readers that begin at different times, each with a message that follows a Reset.
func TestWriterKeyFrames(t *testing.T) {
	for level := -1; level <= 9; level++ {
		if level == 0 {
			continue // never refers to another message
		}
		t.Run(fmt.Sprintf("level=%d", level), func(t *testing.T) {
			t.Parallel()
			w := NewWriter(MaxWindowBits, true, level)
			text := sampleText("json", 20*2500)
			var readers []*Reader
			continued := 0
			var dst []byte
			for i := range 20 {
				key := i == 0 || i%6 == 5
				if key {
					w.Reset()
					readers = append(readers, NewReader(true))
				}
				message := slices.Concat(text[2500*i:][:2500], text[:500])
				dst = w.AppendMessage(dst[:0], message)
				if key && refersBack(dst) {
					t.Fatalf("message %d refers to one before the Reset", i)
				}
				if !key && refersBack(dst) {
					continued++
				}
				for j, z := range readers {
					got, err := readMessage(z, bytes.NewReader(dst), 1000)
					if err != nil || !bytes.Equal(got, message) {
						t.Fatalf("message %d, reader %d: %d of %d bytes, %v",
							i, j, len(got), len(message), err)
					}
				}
			}
			if len(readers) != 4 || level >= 2 && continued != 16 {
				t.Errorf("%d readers; %d of 16 messages refer to earlier ones",
					len(readers), continued)
			}
		})
	}
}

// Between messages a Writer holds nothing, unless its next message may refer to earlier ones.
func TestWriterIdle(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
			w := NewWriter(bits, takeover, 1)
			if w.WindowBits() != bits {
				t.Errorf("WindowBits() = %d, want %d", w.WindowBits(), bits)
			}
			w.AppendMessage(nil, []byte("Hello, Hello"))
			if keeps := takeover && bits == MaxWindowBits; (w.c != nil) != keeps {
				t.Errorf("bits %d, takeover %v: holds a compressor: %v", bits, takeover, w.c != nil)
			}
			if w.c != nil && w.c.out != nil {
				t.Error("holds the output slice")
			}
			w.Reset()
			if w.c != nil {
				t.Error("holds a compressor after Reset")
			}
		}
		for _, level := range []int{0, -2} {
			w := NewWriter(MaxWindowBits, takeover, level)
			if w.AppendMessage(nil, []byte("Hello, Hello")); w.c != nil {
				t.Errorf("level %d: holds a compressor", level)
			}
		}
	}
}

func TestWriterRelease(t *testing.T) {
	text := sampleText("json", 500)
	for name, prepare := range map[string]func(w *Writer){
		"new":            func(w *Writer) {},
		"idle":           func(w *Writer) { w.AppendMessage(nil, text) },
		"begun":          func(w *Writer) { w.Begin() },
		"in a message":   func(w *Writer) { w.Begin(); w.Append(nil, text) },
		"released":       func(w *Writer) { w.AppendMessage(nil, text); w.Release() },
		"level changed":  func(w *Writer) { w.AppendMessage(nil, text); w.SetLevel(9) },
		"small messages": func(w *Writer) { w.windowBits = 8; w.Begin(); w.Append(nil, text) },
	} {
		for _, takeover := range []bool{false, true} {
			w := NewWriter(MaxWindowBits, takeover, 2)
			prepare(w)
			w.Release()
			if w.c != nil {
				t.Errorf("%s, takeover %v: holds a compressor", name, takeover)
			}
			// The goroutine that had the message in progress notices only afterwards.
			if p := w.Finish(w.Append([]byte("x"), text)); string(p) != "x" || w.c != nil {
				t.Errorf("%s, takeover %v: goes on with %d bytes", name, takeover, len(p))
			}
			if p := w.AppendMessage(nil, text); refersBack(p) {
				t.Errorf("%s, takeover %v: refers to what was released", name, takeover)
			}
			w.Release()
		}
	}
}
