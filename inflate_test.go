package websocket

// Inflating: the examples of RFC 7692 §7.2.3, data that is cut, wrong or hostile, and sources that fail.

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

func TestInflateExamples(t *testing.T) {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
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
		{"7.2.3.2 no takeover", false, []message{{payload: hello, text: "Hello"}, {payload: hello, text: "Hello"}}},
		{"7.2.3.2 sharing the window", true, []message{
			{payload: hello, text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
		}},
		{"7.2.3.2 window not shared", false, []message{
			{payload: hello, text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "H", err: errCorruptDeflate},
		}},
		{"7.2.3.3 no compression", false, []message{{payload: "\x00\x05\x00\xfa\xffHello\x00", text: "Hello"}}},
		{"7.2.3.4 BFINAL", false, []message{{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", text: "Hello"}}},
		{"7.2.3.4 BFINAL, then a reference behind it", false, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", text: "HelloHello"},
		}},
		{"7.2.3.4 BFINAL, then a shared window", true, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
		}},
		{"7.2.3.4 nothing behind BFINAL", true, []message{
			{payload: "\xf3\x48\xcd\xc9\xc9\x07\x00", text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
		}},
		{"7.2.3.4 BFINAL on the last block", true, []message{
			{payload: "\x00\x05\x00\xfa\xffHello\x01", text: "Hello"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
		}},
		{"7.2.3.5 two blocks", false, []message{
			{payload: "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", text: "Hello"},
		}},
		{"7.2.3.6 empty message", true, []message{
			{payload: "\x00"}, {payload: hello, text: "Hello"}, {payload: "\x00"},
			{payload: "\xf2\x00\x11\x00\x00", text: "Hello"},
		}},
		{"7.2.3.6 empty message of two octets", false, []message{{payload: "\x02\x00"}}},
		{"7.2.3.6 empty payload", false, []message{{payload: ""}, {payload: hello, text: "Hello"}}},
		{"7.2.2 tail sent", false, []message{{payload: hello + syncTail, text: "Hello", err: errCorruptDeflate}}},
		{"7.2.2 stored block cut by as much as the tail", false, []message{
			{payload: "\x00\x05\x00\xfa\xffH", text: "H", err: errCorruptDeflate},
		}},
		{"block type 3", false, []message{{payload: "\x06\x00", err: errCorruptDeflate}}},
	} {
		for cut, src := range map[string]func(string) io.Reader{
			"whole":         func(s string) io.Reader { return strings.NewReader(s) },
			"bytes":         func(s string) io.Reader { return iotest.OneByteReader(strings.NewReader(s)) },
			"EOF with data": func(s string) io.Reader { return iotest.DataErrReader(strings.NewReader(s)) },
		} {
			t.Run(test.name+"/"+cut, func(t *testing.T) {
				for _, size := range []int{1, 4096} {
					z := newInflater(test.takeover)
					for i, m := range test.messages {
						text, err := inflateMessage(z, src(m.payload), size)
						if string(text) != m.text || err != m.err {
							t.Errorf("message %d in reads of %d: %q, %v; want %q, %v", i, size, text, err, m.text, m.err)
						}
					}
				}
			})
		}
	}
}

// judgeInflate compares the inflater with the checker on any payload.
func judgeInflate(payload []byte, src io.Reader, limit int) error {
	want, final, wantErr := checkInflate(payload, nil, maxWindowBits, limit)
	z := newInflater(false)
	z.begin(src)
	defer z.end()
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
	case err == errCorruptDeflate && wantErr != nil && wantErr != errCheckLimit && bytes.HasPrefix(want, got):
	case len(got) > limit && wantErr == errCheckLimit && bytes.HasPrefix(got, want):
	case err == errCorruptDeflate && final > 8: // too many streams
	default:
		return fmt.Errorf("% x: inflater %d bytes, %v; checker %d bytes, %v", payload, len(got), err, len(want), wantErr)
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
			payloads = append(payloads, newDeflater(15, false, level).compress(nil, deflateText(kind, 200)))
			payloads = append(payloads, newDeflater(8, false, level).compress(nil, deflateText(kind, 260)))
		}
	}
	return append(payloads, newDeflater(15, false, 1).compress(nil, deflateText("random", 40)))
}

// RFC 7692 §7.2.2: a message that was cut anywhere passes only where the rest is a whole message by itself.
func TestInflateCut(t *testing.T) {
	for _, payload := range shortPayloads() {
		for n := range payload {
			for _, src := range []io.Reader{bytes.NewReader(payload[:n]), iotest.OneByteReader(bytes.NewReader(payload[:n]))} {
				if err := judgeInflate(payload[:n], src, 1<<20); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestInflateBitFlips(t *testing.T) {
	for _, payload := range shortPayloads() {
		for bit := range len(payload) * 8 {
			payload[bit/8] ^= 1 << (bit % 8)
			if err := judgeInflate(payload, bytes.NewReader(payload), 1<<20); err != nil {
				t.Error(err)
			}
			payload[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestInflateSourceErrors(t *testing.T) {
	errSource := errors.New("source")
	payload := newDeflater(15, false, 6).compress(nil, deflateText("json", 1000))
	z := newInflater(true)
	for n := range payload {
		_, err := inflateMessage(z, io.MultiReader(bytes.NewReader(payload[:n]), iotest.ErrReader(errSource)), 100)
		if err != errSource {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}

	z.begin(iotest.ErrReader(errSource))
	for range 3 {
		if n, err := z.Read(make([]byte, 10)); n != 0 || err != errSource {
			t.Errorf("read again: %d, %v", n, err)
		}
	}
	z.end()
	z.end()
	if n, err := z.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("read after end: %d, %v", n, err)
	}

	if _, err := inflateMessage(z, emptyReads{1 << 30, bytes.NewReader(payload)}.reader(), 100); err != io.ErrNoProgress {
		t.Errorf("a source that only returns 0, nil: %v", err)
	}
	if text, err := inflateMessage(z, emptyReads{5, bytes.NewReader(payload)}.reader(), 100); err != nil || len(text) != 1000 {
		t.Errorf("a source that returns 0, nil five times: %d bytes, %v", len(text), err)
	}
}

// emptyReads returns 0, nil n times before it reads from r.
type emptyReads struct {
	n int
	r io.Reader
}

func (e emptyReads) reader() io.Reader { return &e }

func (e *emptyReads) Read(p []byte) (int, error) {
	if e.n--; e.n >= 0 {
		return 0, nil
	}
	return e.r.Read(p)
}

// Many DEFLATE streams in a message are right, but their number is bounded by the payload's length.
func TestInflateManyStreams(t *testing.T) {
	block := "\x01\x1b\x00\xe4\xff" + "twenty-seven bytes of text." // final, 32 bytes
	text, err := inflateMessage(newInflater(false), strings.NewReader(strings.Repeat(block, 5000)+"\x00"), 4096)
	if err != nil || len(text) != 27*5000 {
		t.Errorf("%d bytes, %v", len(text), err)
	}

	payload := strings.NewReader(strings.Repeat("\x03\x00", 1<<20)) // empty final blocks
	if _, err := inflateMessage(newInflater(true), payload, 4096); err != errCorruptDeflate {
		t.Errorf("a storm of final blocks: %v", err)
	}
	if n := 2<<20 - payload.Len(); n > 64<<10 {
		t.Errorf("a storm of final blocks was read for %d bytes", n)
	}
}

// A bomb costs the reader's buffer and a decompressor, not the size of its text.
func TestInflateBombMemory(t *testing.T) {
	payload := newDeflater(15, false, 6).compress(nil, make([]byte, 10<<20))
	if len(payload) > 16<<10 {
		t.Fatalf("the bomb has %d bytes", len(payload))
	}
	var before, after runtime.MemStats
	z := newInflater(true)
	p := make([]byte, 4096)
	runtime.ReadMemStats(&before)
	z.begin(bytes.NewReader(payload))
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
	z.end()
	runtime.ReadMemStats(&after)
	if total != 10<<20 {
		t.Errorf("%d bytes", total)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 512<<10 {
		t.Errorf("%d bytes allocated", n)
	}
}

func TestAppendWindow(t *testing.T) {
	text := deflateText("random", 4*maxWindowSize)
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
