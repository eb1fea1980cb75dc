package websocket

// What the tests of both directions share, and what holds for both: every message of a deflater is judged by the
// checker of inflate_check_test.go as well as by the inflater, and nothing stays behind but the windows.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

var deflateTexts = []string{"json", "zeros", "words", "random"}

// deflateText returns n bytes of a kind; equal arguments give equal bytes.
func deflateText(kind string, n int) []byte {
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

// inflateMessage reads a whole message in pieces of at most size bytes.
func inflateMessage(z *inflater, src io.Reader, size int) ([]byte, error) {
	z.begin(src)
	defer z.end()
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

// A deflatePair checks every message of a deflater by the checker and by an inflater.
type deflatePair struct {
	d       *deflater
	z       *inflater
	history []byte
	r       *rand.Rand
}

func newDeflatePair(bits int, takeover bool, level int) *deflatePair {
	return &deflatePair{d: newDeflater(bits, takeover, level), z: newInflater(takeover), r: rand.New(rand.NewPCG(3, 4))}
}

// send compresses the text, streamed in pieces if pieces > 1, and returns the payload.
func (p *deflatePair) send(text []byte, pieces int) ([]byte, error) {
	var payload []byte
	if pieces <= 1 {
		payload = p.d.compress(nil, text)
	} else {
		p.d.begin()
		rest := text
		for i := range pieces {
			n := len(rest)
			if i < pieces-1 {
				n = p.r.IntN(n + 1)
			}
			payload = p.d.write(payload, rest[:n])
			rest = rest[n:]
		}
		payload = p.d.finish(payload)
	}
	return payload, p.receive(payload, text)
}

func (p *deflatePair) receive(payload, text []byte) error {
	got, final, err := checkInflate(payload, p.history, p.d.bits, len(text))
	if err != nil || final > 0 || !bytes.Equal(got, text) {
		return fmt.Errorf("checker: %d of %d bytes, %d final blocks, %v", len(got), len(text), final, err)
	}
	var src io.Reader = bytes.NewReader(payload)
	if p.r.IntN(8) == 0 {
		src = iotest.OneByteReader(src)
	}
	got, err = inflateMessage(p.z, src, []int{1 + p.r.IntN(100), 4096, 1 << 17}[p.r.IntN(3)])
	if err != nil || !bytes.Equal(got, text) {
		return fmt.Errorf("inflater: %d of %d bytes, %v", len(got), len(text), err)
	}
	if p.d.takeover {
		p.history = append(p.history, text...)
		p.history = p.history[max(0, len(p.history)-maxWindowSize):]
	}
	return nil
}

func TestFirstLevel(t *testing.T) {
	for _, test := range []struct {
		option   int
		bits     int
		takeover bool
		level    int
	}{
		{0, 15, false, 1}, {0, 15, true, 2}, {0, 14, true, 1},
		{1, 15, true, 1}, {9, 15, false, 9}, {-1, 15, false, -1}, {-2, 15, false, -2},
		{10, 15, false, 1}, {-3, 15, true, 2},
	} {
		if level := firstLevel(test.option, test.bits, test.takeover); level != test.level {
			t.Errorf("option %d, %d bits, takeover %v: level %d, want %d", test.option, test.bits, test.takeover, level, test.level)
		}
	}
}

func TestCompressIdle(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		for bits := 8; bits <= maxWindowBits; bits++ {
			d := newDeflater(bits, takeover, 1)
			d.compress(nil, []byte("Hello, Hello"))
			if keeps := takeover && bits == maxWindowBits; (d.c != nil) != keeps {
				t.Errorf("bits %d, takeover %v: compressor kept: %v", bits, takeover, d.c != nil)
			}
			if d.c != nil && d.c.out != nil {
				t.Error("the output slice is kept")
			}
			d.forget()
			if d.c != nil {
				t.Error("compressor kept after forget")
			}
		}
		for _, level := range []int{0, -2} {
			d := newDeflater(maxWindowBits, takeover, level)
			if d.compress(nil, []byte("Hello, Hello")); d.c != nil {
				t.Errorf("level %d keeps a compressor", level)
			}
		}

		z := newInflater(takeover)
		payload := newDeflater(15, false, 1).compress(nil, deflateText("json", 100))
		if _, err := inflateMessage(z, bytes.NewReader(payload), 4096); err != nil {
			t.Fatal(err)
		}
		if z.d != nil || !takeover && z.window != nil || takeover && (len(z.window) != 100 || cap(z.window) > 512) {
			t.Errorf("takeover %v: decompressor kept: %v; window of %d, %d", takeover, z.d != nil, len(z.window), cap(z.window))
		}
		for _, n := range []int{1000, 30000, 40000, 200000, 10} {
			payload := newDeflater(15, false, 1).compress(nil, deflateText("json", n))
			if _, err := inflateMessage(z, bytes.NewReader(payload), 100000); err != nil {
				t.Fatal(err)
			}
			if cap(z.window) > maxWindowSize {
				t.Errorf("after %d bytes the window has %d", n, cap(z.window))
			}
		}
	}
}
