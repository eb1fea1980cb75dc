package deflate

import (
	"bytes"
	"io"
	"testing"
)

// Both targets use no more of their input than takes a fraction of a millisecond, because a fuzzer
// finds little with few executions. The other tests have what needs long input.

// cutReader returns its data in pieces of 1 to 16 bytes.
type cutReader struct {
	data []byte
	seed uint32
}

func (r *cutReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	r.seed = r.seed*1664525 + 1013904223
	n := copy(p, r.data[:min(len(r.data), 1+int(r.seed>>28))])
	r.data = r.data[n:]
	return n, nil
}

// A Reader agrees with the decoder of decode_test.go on every payload, however it is cut.
func FuzzReader(f *testing.F) {
	for _, payload := range shortPayloads() {
		f.Add(payload, uint32(1))
	}
	f.Fuzz(func(t *testing.T, payload []byte, seed uint32) {
		payload = payload[:min(len(payload), 1<<10)]
		if err := checkReader(payload, &cutReader{payload, seed}, 1<<14); err != nil {
			t.Error(err)
		}
	})
}

// Every sequence of messages, sent by any of the methods, arrives and stays in its window. An octet
// of script stands for a message: its length, its pieces and what happens before it.
func FuzzWriter(f *testing.F) {
	for bits := MinWindowBits; bits <= MaxWindowBits; bits++ {
		for level := -2; level <= 9; level += 3 {
			script, text := []byte("\x00\x91\x52\xf3\x44"), sampleText("json", 100)
			f.Add(script, text, uint8(bits), int8(level), bits%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, script, text []byte, bits uint8, level int8, takeover bool) {
		text = text[:min(len(text), 200)]
		p := newPair(MinWindowBits+int(bits)%8, takeover, int(uint8(level))%12-2)
		for _, op := range script[:min(len(script), 5)] {
			switch op >> 6 {
			case 1:
				p.w.Reset()
			case 2:
				p.w.SetLevel(int(op)%12 - 2)
			case 3:
				p.w.AppendMessage(nil, text)
				p.w.Reset()
			}
			message := bytes.Repeat(text, int(op>>3)%8)
			if _, err := p.send(message, int(op)%8); err != nil {
				t.Fatal(err)
			}
		}
	})
}
