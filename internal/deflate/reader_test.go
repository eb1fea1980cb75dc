package deflate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// hello is the message "Hello" of RFC 7692 §7.2.3.1, and helloAgain that of §7.2.3.2, which refers
// to it.
const (
	hello      = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	helloAgain = "\xf2\x00\x11\x00\x00"
)

// A bitWriter makes messages bit by bit. A Huffman code is given as RFC 1951 prints it, any other
// value with its lowest bit first.
type bitWriter struct {
	p []byte
	n int // bits
}

func (w *bitWriter) bits(s string) {
	for _, bit := range s {
		if w.n%8 == 0 {
			w.p = append(w.p, 0)
		}
		w.p[w.n/8] |= byte(bit-'0') << (w.n % 8)
		w.n++
	}
}

const (
	fixedBlock = "0" + "10"                // not final, fixed Huffman codes (RFC 1951 §3.2.6)
	length258  = "11000101"                // symbol 285
	endOfBlock = "0000000"                 // symbol 256
	endOfData  = "0" + "00"                // the header of the block whose lengths are the tail
	zeroByte   = "00110000"                // the literal 0
	distance1  = "00000"                   // code 0
	farthest   = "11101" + "1111111111111" // code 29: 24577 + 8191 = 32768
)

func TestReaderExamples(t *testing.T) {
	type message struct {
		payload, text string
		err           error
	}
	for _, test := range []struct {
		name     string
		takeover bool
		messages []message
	}{
		{"7.2.3.1 one block", false, []message{{payload: hello, text: "Hello"}}},
		{"7.2.3.2 no takeover", false, []message{
			{payload: hello, text: "Hello"}, {payload: hello, text: "Hello"},
		}},
		{"7.2.3.2 sharing the window", true, []message{
			{payload: hello, text: "Hello"},
			{payload: helloAgain, text: "Hello"},
			{payload: helloAgain, text: "Hello"},
		}},
		{"7.2.3.2 window not shared", false, []message{
			{payload: hello, text: "Hello"},
			{payload: helloAgain, text: "H", err: ErrCorrupt},
		}},
		{"7.2.3.3 no compression", false, []message{
			{payload: "\x00\x05\x00\xfa\xffHello\x00", text: "Hello"},
		}},
		{"7.2.3.4 BFINAL", false, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", text: "Hello"},
		}},
		{"7.2.3.4 BFINAL, then a reference behind it", false, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", text: "HelloHello"},
		}},
		{"7.2.3.4 BFINAL, then a shared window", true, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", text: "Hello"},
			{payload: helloAgain, text: "Hello"},
		}},
		{"7.2.3.4 nothing behind BFINAL", true, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00", text: "Hello"},
			{payload: helloAgain, text: "Hello"},
		}},
		{"7.2.3.4 BFINAL on the last block", true, []message{
			{payload: "\x00\x05\x00\xfa\xffHello\x01", text: "Hello"},
			{payload: helloAgain, text: "Hello"},
		}},
		{"7.2.3.5 two blocks", false, []message{
			{payload: "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", text: "Hello"},
		}},
		{"7.2.3.6 empty message", true, []message{
			{payload: "\x00"}, {payload: hello, text: "Hello"}, {payload: "\x00"},
			{payload: helloAgain, text: "Hello"},
		}},
		{"7.2.3.6 empty message of two octets", false, []message{{payload: "\x02\x00"}}},
		{"7.2.3.6 empty payload", false, []message{{payload: ""}, {payload: hello, text: "Hello"}}},
		{"7.2.2 tail sent", false, []message{
			{payload: hello + syncTail, text: "Hello", err: ErrCorrupt},
		}},
		{"7.2.2 stored block cut by as much as the tail", false, []message{
			{payload: "\x00\x05\x00\xfa\xffH", text: "H", err: ErrCorrupt},
		}},
		{"block type 3", false, []message{{payload: "\x06\x00", err: ErrCorrupt}}},
	} {
		for cut, src := range map[string]func(string) io.Reader{
			"whole": func(s string) io.Reader {
				return strings.NewReader(s)
			},
			"bytes": func(s string) io.Reader {
				return iotest.OneByteReader(strings.NewReader(s))
			},
			"EOF with data": func(s string) io.Reader {
				return iotest.DataErrReader(strings.NewReader(s))
			},
		} {
			t.Run(test.name+"/"+cut, func(t *testing.T) {
				for _, size := range []int{1, 4096} {
					z := NewReader(test.takeover)
					for i, m := range test.messages {
						text, err := readMessage(z, src(m.payload), size)
						if string(text) != m.text || err != m.err {
							t.Errorf("message %d in reads of %d: %q, %v; want %q, %v",
								i, size, text, err, m.text, m.err)
						}
					}
				}
			})
		}
	}
}

// checkReader compares a Reader with the decoder of decode_test.go on any payload.
func checkReader(payload []byte, src io.Reader, limit int) error {
	want, final, wantErr := decode(payload, nil, MaxWindowBits, limit)
	z := NewReader(false)
	z.Begin(src)
	defer z.End()
	var got []byte
	var err error
	for p := make([]byte, 1000); err == nil; {
		var n int
		n, err = z.Read(p)
		if got = append(got, p[:n]...); len(got) > limit {
			break
		}
	}
	switch {
	case err == io.EOF && wantErr == nil && bytes.Equal(got, want):
	case err == ErrCorrupt && wantErr != nil && wantErr != errDecodeLimit &&
		bytes.HasPrefix(want, got):
	case len(got) > limit && wantErr == errDecodeLimit && bytes.HasPrefix(got, want):
	case err == ErrCorrupt && final > 8: // too many streams
	default:
		return fmt.Errorf("% x: Reader %d bytes, %v; decoder %d bytes, %v",
			payload, len(got), err, len(want), wantErr)
	}
	return nil
}

// shortPayloads are messages with every type of block.
func shortPayloads() [][]byte {
	payloads := [][]byte{
		[]byte("\x00\x05\x00\xfa\xffHello\x00"),
		[]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00"),
		[]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
		[]byte("\x03\x00\x03\x00\x01\x00\x00\xff\xff\x00"),
	}
	for _, level := range []int{-2, 1, 2} {
		for _, kind := range []string{"json", "words"} {
			small := NewWriter(8, false, level).AppendMessage(nil, sampleText(kind, 260))
			payloads = append(payloads, compressed(level, sampleText(kind, 200)), small)
		}
	}
	return append(payloads, compressed(1, sampleText("random", 40)))
}

// RFC 7692 §7.2.2: a message that was cut passes only where what is left of it is a message by
// itself.
func TestReaderCut(t *testing.T) {
	for _, payload := range shortPayloads() {
		for n := range payload {
			whole := bytes.NewReader(payload[:n])
			single := iotest.OneByteReader(bytes.NewReader(payload[:n]))
			for _, src := range []io.Reader{whole, single} {
				if err := checkReader(payload[:n], src, 1<<20); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestReaderBitFlips(t *testing.T) {
	for _, payload := range shortPayloads() {
		for bit := range len(payload) * 8 {
			payload[bit/8] ^= 1 << (bit % 8)
			if err := checkReader(payload, bytes.NewReader(payload), 1<<20); err != nil {
				t.Error(err)
			}
			payload[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestReaderSourceErrors(t *testing.T) {
	errSource := errors.New("source")
	payload := compressed(6, sampleText("json", 1000))
	z := NewReader(true)
	for n := range payload {
		src := io.MultiReader(bytes.NewReader(payload[:n]), iotest.ErrReader(errSource))
		_, err := readMessage(z, src, 100)
		if err != errSource {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}

	z.Begin(iotest.ErrReader(errSource))
	for range 3 {
		if n, err := z.Read(make([]byte, 10)); n != 0 || err != errSource {
			t.Errorf("read again: %d, %v", n, err)
		}
	}
	z.End()
	z.End()
	if n, err := z.Read(make([]byte, 10)); n != 0 || err != errSource {
		t.Errorf("read after End: %d, %v", n, err)
	}

	_, err := readMessage(z, &emptyReads{1 << 30, bytes.NewReader(payload)}, 100)
	if err != io.ErrNoProgress {
		t.Errorf("a source that only returns 0, nil: %v", err)
	}
	text, err := readMessage(z, &emptyReads{5, bytes.NewReader(payload)}, 100)
	if err != nil || len(text) != 1000 {
		t.Errorf("a source that returns 0, nil five times: %d bytes, %v", len(text), err)
	}
}

// emptyReads returns 0, nil n times before it reads from r.
type emptyReads struct {
	n int
	r io.Reader
}

func (e *emptyReads) Read(p []byte) (int, error) {
	if e.n--; e.n >= 0 {
		return 0, nil
	}
	return e.r.Read(p)
}

// Many DEFLATE streams in a message are right, but their number is bounded by the payload's length.
func TestReaderManyStreams(t *testing.T) {
	block := "\x01\x1b\x00\xe4\xff" + "twenty-seven bytes of text." // final, 32 bytes
	src := strings.NewReader(strings.Repeat(block, 5000) + "\x00")
	text, err := readMessage(NewReader(false), src, 4096)
	if err != nil || len(text) != 27*5000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}

	payload := strings.NewReader(strings.Repeat("\x03\x00", 1<<20)) // empty final blocks
	if _, err := readMessage(NewReader(true), payload, 4096); err != ErrCorrupt {
		t.Errorf("many final blocks: %v", err)
	}
	if n := 2<<20 - payload.Len(); n > 64<<10 {
		t.Errorf("of many final blocks %d bytes were read", n)
	}
}

// A distance of exactly 32 KiB, into a message before that is longer than the window; and one of as
// much where there is less to refer to.
func TestReaderWholeWindow(t *testing.T) {
	text := sampleText("random", 40000)
	var w bitWriter
	w.bits(fixedBlock + length258 + farthest + endOfBlock + endOfData)
	z := NewReader(true)
	if _, err := readMessage(z, bytes.NewReader(compressed(0, text)), 4096); err != nil {
		t.Fatal(err)
	}
	want := text[len(text)-maxWindowSize:][:258]
	got, err := readMessage(z, bytes.NewReader(w.p), 4096)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	for _, n := range []int{0, 100, maxWindowSize - 1} {
		z := NewReader(true)
		if _, err := readMessage(z, bytes.NewReader(compressed(0, text[:n])), 4096); err != nil {
			t.Fatal(err)
		}
		got, err := readMessage(z, bytes.NewReader(w.p), 4096)
		if err != ErrCorrupt || len(got) > 0 {
			t.Errorf("after %d bytes: got %d bytes, %v", n, len(got), err)
		}
	}
}

// A message that expands a lot costs its reader's slice and a decompressor, not the size of its
// text.
func TestReaderBombMemory(t *testing.T) {
	const matches = 40_000
	var w bitWriter
	w.bits(fixedBlock + zeroByte + strings.Repeat(length258+distance1, matches))
	w.bits(endOfBlock + endOfData)
	var before, after runtime.MemStats
	z := NewReader(true)
	p := make([]byte, 4096)
	runtime.ReadMemStats(&before)
	z.Begin(bytes.NewReader(w.p))
	total := 0
	for {
		n, err := z.Read(p)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	z.End()
	runtime.ReadMemStats(&after)
	if want := 1 + 258*matches; total != want {
		t.Errorf("%d bytes of %d", total, want)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 256<<10 {
		t.Errorf("%d bytes allocated for a message of %d", n, len(w.p))
	}
}

// Between messages a Reader holds nothing but the window, if its next message may refer to it.
func TestReaderIdle(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		z := NewReader(takeover)
		received := 0
		for _, n := range []int{100, 1000, 30000, 40000, 200000, 10} {
			text := sampleText("json", n)
			got, err := readMessage(z, bytes.NewReader(compressed(1, text)), 100000)
			if err != nil || !bytes.Equal(got, text) {
				t.Fatal(len(got), err)
			}
			if z.d != nil {
				t.Errorf("takeover %v, after %d bytes: holds a decompressor", takeover, n)
			}
			received += n
			size, most := min(received, maxWindowSize), min(max(512, 2*received), maxWindowSize)
			if !takeover {
				size, most = 0, 0
			}
			if len(z.window) != size || cap(z.window) > most {
				t.Errorf("takeover %v, after %d bytes: a window of %d bytes in %d",
					takeover, n, len(z.window), cap(z.window))
			}
		}
	}
}

func TestReaderRelease(t *testing.T) {
	text := sampleText("json", 5000)
	payload := compressed(1, text)
	begin := func(z *Reader, n int) {
		z.Begin(bytes.NewReader(payload))
		if got, err := io.ReadFull(z, make([]byte, n)); got != n {
			t.Fatal(got, err)
		}
	}
	for name, prepare := range map[string]func(z *Reader){
		"new":          func(z *Reader) {},
		"begun":        func(z *Reader) { begin(z, 0) },
		"in a message": func(z *Reader) { begin(z, 1000) },
		"at its end":   func(z *Reader) { begin(z, len(text)); z.Read(make([]byte, 1)) },
		"failed": func(z *Reader) {
			z.Begin(strings.NewReader("\x06"))
			z.Read(make([]byte, 1))
		},
		"idle":        func(z *Reader) { begin(z, len(text)); z.End() },
		"released":    func(z *Reader) { begin(z, 1000); z.Release() },
		"begun twice": func(z *Reader) { begin(z, 1000); begin(z, 1000) },
	} {
		for _, takeover := range []bool{false, true} {
			z := NewReader(takeover)
			prepare(z)
			z.Release()
			if z.d != nil || z.window != nil {
				t.Errorf("%s, takeover %v: holds a decompressor: %v, a window: %v",
					name, takeover, z.d != nil, z.window != nil)
			}
			// A message that was cut must not look like one that has ended.
			n, err := z.Read(make([]byte, 10))
			if n != 0 || err == nil || err == io.EOF && name != "at its end" {
				t.Errorf("%s, takeover %v: read %d bytes, %v", name, takeover, n, err)
			}
			got, err := readMessage(z, bytes.NewReader(payload), 4096)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s, takeover %v: next message: %d of %d bytes, %v",
					name, takeover, len(got), len(text), err)
			}
			z.Release()
			z.Release()
		}
	}
}

func TestAppendWindow(t *testing.T) {
	text := sampleText("random", 4*maxWindowSize)
	for _, step := range []int{1, 7, 511, 513, 4096, 5000, maxWindowSize - 1, maxWindowSize} {
		var w []byte
		for n := 0; n+step <= min(len(text), 100*step); n += step {
			w = appendWindow(w, text[n:n+step])
			if !bytes.Equal(w, text[max(0, n+step-maxWindowSize):n+step]) {
				t.Fatalf("steps of %d: wrong window after %d bytes", step, n+step)
			}
			if cap(w) > maxWindowSize || cap(w) > max(512, 2*(n+step)) {
				t.Fatalf("steps of %d: capacity %d after %d bytes", step, cap(w), n+step)
			}
		}
	}
}
