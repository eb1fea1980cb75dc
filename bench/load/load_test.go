package load

// The checks must fail when the server is wrong: each test corrupts a right answer.

import (
	"bytes"
	"compress/flate"
	"testing"
	"unicode/utf8"
)

func TestPayloads(t *testing.T) {
	for _, k := range []Kind{Binary, ASCII, Multibyte, JSON} {
		p, again, next := k.payload(4096, 7), k.payload(4096, 7), k.payload(4096, 8)
		if len(p) != 4096 || !bytes.Equal(p, again) || bytes.Equal(p, next) {
			t.Errorf("%s: %d bytes, repeatable %t, distinct %t", k, len(p), bytes.Equal(p, again), !bytes.Equal(p, next))
		}
		if k != Binary && !utf8.Valid(p) {
			t.Errorf("%s: invalid UTF-8", k)
		}
	}
}

func TestFrame(t *testing.T) {
	// RFC 6455 §5.7: a masked and an unmasked text message "Hello".
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	masked := appendFrame(nil, opText, &key, []byte("Hello"))
	if want := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"; string(masked) != want {
		t.Errorf("masked frame %x, want %x", masked, want)
	}
	for _, size := range []int{0, 125, 126, 65535, 65536} {
		frame := appendFrame(nil, opBinary, nil, make([]byte, size))
		h, ok := parseHeader(frame)
		if !ok || h.length != size || h.size+size != len(frame) {
			t.Errorf("%d bytes: header %+v, %t", size, h, ok)
		}
		if _, ok := parseHeader(frame[:h.size-1]); ok {
			t.Errorf("%d bytes: a header cut short was accepted", size)
		}
	}
}

func TestBytesCheckerNoticesEveryByte(t *testing.T) {
	for _, verbatim := range []bool{false, true} {
		b := makeBursts(EchoConfig{Burst: 3, Size: 64, Kind: Binary, Verbatim: verbatim}, 0)[0]
		if done, err := receive(&bytesChecker{}, b, b.replies); err != nil || done != 3 {
			t.Fatalf("right replies: %d done, %v", done, err)
		}
		size := len(b.replies) / 3
		for cut, want := range map[int]int{1: 0, size - 1: 0, size: 1, 2*size - 1: 1, 3*size - 1: 2} {
			if done, err := receive(&bytesChecker{}, b, b.replies[:cut]); err != nil || done != want {
				t.Errorf("%d bytes of replies of %d: %d done, want %d (%v)", cut, size, done, want, err)
			}
		}
		for i := range b.replies {
			wrong := bytes.Clone(b.replies)
			wrong[i] ^= 0x20
			if _, err := receive(&bytesChecker{}, b, wrong); err == nil {
				t.Fatalf("byte %d is wrong and was not noticed", i)
			}
		}
		if _, err := receive(&bytesChecker{}, b, append(bytes.Clone(b.replies), b.replies...)); err == nil {
			t.Error("every reply came twice, which was not noticed")
		}
	}
}

func TestInflateCheckerNoticesEveryByte(t *testing.T) {
	b := makeBursts(EchoConfig{Burst: 1, Size: 512, Kind: JSON, Deflate: true}, 0)[0]
	c := newInflateChecker(false)
	for i := range b.payload[0] {
		wrong := bytes.Clone(b.payload[0])
		wrong[i] ^= 0x20
		if _, err := receive(c, b, appendFrame(nil, opText|rsv1Bit, nil, compress(wrong))); err == nil {
			t.Fatalf("byte %d is wrong and was not noticed", i)
		}
		c = newInflateChecker(false)
	}
	right := appendFrame(nil, opText|rsv1Bit, nil, compress(b.payload[0]))
	for range 2 {
		if done, err := receive(c, b, right); err != nil || done != 1 {
			t.Fatalf("right reply: %d done, %v", done, err)
		}
	}
	if _, err := receive(c, b, append(bytes.Clone(right), right...)); err == nil {
		t.Error("the reply came twice, which was not noticed")
	}
	if _, err := receive(c, b, appendFrame(nil, opText, nil, b.payload[0])); err == nil {
		t.Error("an uncompressed reply was accepted")
	}
}

// receive feeds c the stream in pieces.
func receive(c checker, b burst, stream []byte) (done int, err error) {
	c.begin(b)
	for len(stream) > 0 && err == nil {
		n := min(7, len(stream))
		var d int
		d, err = c.check(stream[:n])
		done += d
		stream = stream[n:]
	}
	return done, err
}

func TestInflateCheckerWithTakeover(t *testing.T) {
	config := EchoConfig{Burst: 2, Size: 4096, Kind: JSON, Deflate: true, Takeover: true}
	b := makeBursts(config, 0)[0]
	var alone, shared bytes.Buffer
	d := newTestDeflater()
	for _, p := range b.payload {
		alone.Write(appendFrame(nil, opText|rsv1Bit, nil, compress(p)))
		shared.Write(appendFrame(nil, opText|rsv1Bit, nil, d(p)))
	}
	for name, stream := range map[string][]byte{"alone": alone.Bytes(), "shared": shared.Bytes()} {
		if done, err := receive(newInflateChecker(true), b, stream); err != nil || done != 2 {
			t.Errorf("%s: %d done, %v", name, done, err)
		}
	}
	if _, err := receive(newInflateChecker(false), b, shared.Bytes()); err == nil {
		t.Error("a reference to the message before was accepted without takeover")
	}
}

// newTestDeflater returns a compressor that keeps its context.
func newTestDeflater() func(p []byte) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return func(p []byte) []byte {
		out.Reset()
		w.Write(p)
		w.Flush()
		return bytes.TrimSuffix(bytes.Clone(out.Bytes()), []byte(tail[:4]))
	}
}
