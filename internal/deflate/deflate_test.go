package deflate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// What the tests of both directions share. Every message of a Writer is read by the independent
// decoder of decode_test.go as well as by a Reader. No test depends on the bytes that
// compress/flate chooses: what a test must know byte by byte it gives to a Reader, and does not
// expect of a Writer.

var sampleKinds = []string{"json", "zeros", "words", "random"}

// sampleText returns n bytes of a kind; equal arguments give equal bytes.
func sampleText(kind string, n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 0, n+100)
	for len(p) < n {
		switch kind {
		case "json":
			p = fmt.Appendf(p, `{"id":%d,"side":%q,"price":%.2f,"symbol":"WSKT"},`,
				r.IntN(1e6), []string{"buy", "sell"}[r.IntN(2)], r.Float64()*100)
		case "zeros":
			p = append(p, make([]byte, n-len(p))...)
		case "words":
			p = append(p, "the quick brown fox "...)
		case "random":
			p = append(p, byte(r.Uint32()))
		}
	}
	return p[:n]
}

// compressed returns text as a message that refers to no other.
func compressed(level int, text []byte) []byte {
	return NewWriter(MaxWindowBits, false, level).AppendMessage(nil, text)
}

// readMessage reads a whole message in pieces of at most size bytes.
func readMessage(z *Reader, src io.Reader, size int) ([]byte, error) {
	z.Begin(src)
	defer z.End()
	var text []byte
	for p := make([]byte, size); ; {
		n, err := z.Read(p)
		text = append(text, p[:n]...)
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return text, err
		}
		if n == 0 {
			return text, errors.New("Read returned 0, nil")
		}
	}
}

// A pair reads every message of a Writer with the independent decoder and with a Reader.
type pair struct {
	w       *Writer
	z       *Reader
	history []byte
	r       *rand.Rand
}

func newPair(windowBits int, takeover bool, level int) *pair {
	return &pair{
		w: NewWriter(windowBits, takeover, level),
		z: NewReader(takeover),
		r: rand.New(rand.NewPCG(3, 4)),
	}
}

// send compresses the text, in pieces if pieces > 1, and returns the payload.
func (p *pair) send(text []byte, pieces int) ([]byte, error) {
	var payload []byte
	if pieces <= 1 {
		payload = p.w.AppendMessage(nil, text)
	} else {
		p.w.Begin()
		rest := text
		for i := range pieces {
			n := len(rest)
			if i < pieces-1 {
				n = p.r.IntN(n + 1)
			}
			payload = p.w.Append(payload, rest[:n])
			rest = rest[n:]
		}
		payload = p.w.Finish(payload)
	}
	return payload, p.receive(payload, text)
}

func (p *pair) receive(payload, text []byte) error {
	got, final, err := decode(payload, p.history, p.w.windowBits, len(text))
	if err != nil || final > 0 || !bytes.Equal(got, text) {
		return fmt.Errorf("decoder: %d of %d bytes, %d final blocks, %v",
			len(got), len(text), final, err)
	}
	var src io.Reader = bytes.NewReader(payload)
	if p.r.IntN(8) == 0 {
		src = iotest.OneByteReader(src)
	}
	got, err = readMessage(p.z, src, []int{1 + p.r.IntN(100), 4096, 1 << 17}[p.r.IntN(3)])
	if err != nil || !bytes.Equal(got, text) {
		return fmt.Errorf("Reader: %d of %d bytes, %v", len(got), len(text), err)
	}
	if p.w.takeover {
		p.history = append(p.history, text...)
		p.history = p.history[max(0, len(p.history)-maxWindowSize):]
	}
	return nil
}

func TestValidLevel(t *testing.T) {
	for level := -4; level <= 11; level++ {
		if got := ValidLevel(level); got != (-2 <= level && level <= 9) {
			t.Errorf("level %d: %v", level, got)
		}
	}
}
