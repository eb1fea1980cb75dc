package websocket

import (
	"bytes"
	"io"
	"testing"
)

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

// The inflater agrees with the checker on every payload, however it is cut, and never goes on without an end.
func FuzzInflate(f *testing.F) {
	for _, payload := range shortPayloads() {
		f.Add(payload, uint32(1))
	}
	f.Fuzz(func(t *testing.T, payload []byte, seed uint32) {
		if err := judgeInflate(payload, &cutReader{payload, seed}, 1<<18); err != nil {
			t.Error(err)
		}
	})
}

// Every sequence of messages, sent by any of the methods, arrives and stays in its window. An octet of script stands
// for a message: its length, its cuts and what happens before it.
func FuzzDeflateRoundTrip(f *testing.F) {
	for bits := 8; bits <= maxWindowBits; bits++ {
		for level := -2; level <= 9; level += 3 {
			f.Add([]byte("\x00\x91\x52\xf3\x44\x85\x06\xff"), deflateText("json", 500), uint8(bits), int8(level), bits%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, script, text []byte, bits uint8, level int8, takeover bool) {
		pair := newDeflatePair(8+int(bits)%8, takeover, int(uint8(level))%12-2)
		for _, op := range script[:min(len(script), 20)] {
			switch op >> 6 {
			case 1:
				pair.d.forget()
			case 2:
				pair.d.setLevel(int(op)%12 - 2)
			case 3:
				pair.d.compress(nil, text)
				pair.d.forget()
			}
			message := bytes.Repeat(text, int(op>>3)%8)
			message = message[:min(len(message), 1<<17)]
			if _, err := pair.send(message, int(op)%8); err != nil {
				t.Fatal(err)
			}
		}
	})
}
