//go:build !race

package deflate

// The race detector makes sync.Pool drop values at random, and what was dropped is allocated again.

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestWriterAllocs(t *testing.T) {
	text := sampleText("json", 4096)
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 11, 15} {
			for level := -2; level <= 9; level++ {
				w := NewWriter(bits, takeover, level)
				dst := make([]byte, 0, 8192)
				for name, f := range map[string]func(){
					"AppendMessage": func() { w.AppendMessage(dst, text) },
					"Append": func() {
						w.Begin()
						w.Finish(w.Append(w.Append(dst, text[:1000]), text[1000:2000]))
					},
					"Reset": func() { w.Begin(); w.Append(dst, text); w.Reset() },
				} {
					if n := testing.AllocsPerRun(20, f); n != 0 {
						t.Errorf("%s, %d bits, takeover %v, level %d: %v allocations",
							name, bits, takeover, level, n)
					}
				}
			}
		}
	}
}

func TestReaderAllocs(t *testing.T) {
	// compress/flate itself allocates for a block with Huffman codes longer than 9 bits. These have
	// none.
	for name, payload := range map[string]string{
		"fixed": hello, "stored": "\x00\x05\x00\xfa\xffHello\x00", "empty": "\x00",
	} {
		for _, takeover := range []bool{false, true} {
			z := NewReader(takeover)
			src, p := strings.NewReader(""), make([]byte, 4096)
			if n := testing.AllocsPerRun(100, func() {
				src.Reset(payload)
				z.Begin(src)
				for {
					if _, err := z.Read(p); err == io.EOF {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
				z.End()
			}); n != 0 {
				t.Errorf("%s, takeover %v: %v allocations", name, takeover, n)
			}
			if n := testing.AllocsPerRun(100, func() {
				src.Reset(payload)
				z.Begin(src)
				src.Reset(payload)
				z.Begin(src)
				z.Read(p[:1])
				z.Release()
			}); n > 1 || !takeover && n != 0 { // a new window
				t.Errorf("%s, takeover %v, released: %v allocations", name, takeover, n)
			}
		}
	}
}

// A message in progress holds what the package documentation says.
func TestReaderMemory(t *testing.T) {
	for _, tt := range []struct{ size, most int }{{1000, 80 << 10}, {1 << 20, 110 << 10}} {
		for _, kind := range []string{"json", "random", "zeros"} {
			payload := compressed(1, sampleText(kind, tt.size))
			p := make([]byte, 8192)
			heap := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // the pools are empty
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			const n = 50
			var readers [n]*Reader
			before := heap()
			for i := range readers {
				z := NewReader(true)
				z.Begin(bytes.NewReader(payload))
				for range 20 {
					z.Read(p)
				}
				readers[i] = z
			}
			if got := (heap() - before) / n; got > tt.most {
				t.Errorf("a message of %d bytes, %s: %d bytes", tt.size, kind, got)
			}
			for _, z := range readers {
				z.End()
			}
		}
	}
}
