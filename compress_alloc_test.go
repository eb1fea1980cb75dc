//go:build !race

package websocket

// Under the race detector sync.Pool forgets on purpose, so what is pooled is allocated again.

import (
	"bytes"
	"io"
	"runtime"
	"testing"
)

func TestCompressAllocs(t *testing.T) {
	text := deflateText("json", 4096)
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 11, 15} {
			for level := -2; level <= 9; level++ {
				d := newDeflater(bits, takeover, level)
				dst := make([]byte, 0, 8192)
				if n := testing.AllocsPerRun(20, func() { d.compress(dst, text) }); n != 0 {
					t.Errorf("compress, %d bits, takeover %v, level %d: %v allocations", bits, takeover, level, n)
				}
				if n := testing.AllocsPerRun(20, func() {
					d.begin()
					d.finish(d.write(d.write(dst, text[:1000]), text[1000:2000]))
				}); n != 0 {
					t.Errorf("write, %d bits, takeover %v, level %d: %v allocations", bits, takeover, level, n)
				}
			}
		}
		// compress/flate itself allocates for a block whose Huffman codes are longer than 9 bits; these have none.
		for _, text := range []string{"Hello", "", "Hello Hello Hello Hello"} {
			payload := newDeflater(15, false, 2).compress(nil, []byte(text))
			z := newInflater(takeover)
			src, p := bytes.NewReader(nil), make([]byte, 4096)
			if n := testing.AllocsPerRun(100, func() {
				src.Reset(payload)
				z.begin(src)
				for {
					if _, err := z.Read(p); err == io.EOF {
						break
					} else if err != nil {
						t.Fatal(err)
					}
				}
				z.end()
			}); n != 0 {
				t.Errorf("inflate %q, takeover %v: %v allocations", text, takeover, n)
			}
		}
	}
}

// A message in work holds what the documentation says.
func TestInflateMemory(t *testing.T) {
	for _, tt := range []struct{ size, most int }{{1000, 80 << 10}, {1 << 20, 110 << 10}} {
		for _, kind := range []string{"json", "random", "zeros"} {
			payload := newDeflater(15, false, 1).compress(nil, deflateText(kind, tt.size))
			p := make([]byte, 8192)
			heap := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // the pools are empty
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			const n = 50
			var inflaters [n]*inflater
			before := heap()
			for i := range inflaters {
				z := newInflater(true)
				z.begin(bytes.NewReader(payload))
				for range 20 {
					z.Read(p)
				}
				inflaters[i] = z
			}
			if got := (heap() - before) / n; got > tt.most {
				t.Errorf("a message of %d bytes, %s: %d bytes", tt.size, kind, got)
			}
			for _, z := range inflaters {
				z.end()
			}
		}
	}
}
