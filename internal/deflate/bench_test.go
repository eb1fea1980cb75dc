package deflate

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

func BenchmarkWriter(b *testing.B) {
	const size = 4096
	text := sampleText("json", 256*size) // more than any window holds
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 10, 12, 15} {
			level := 1
			if takeover && bits == MaxWindowBits {
				level = TakeoverLevel
			}
			name := fmt.Sprintf("takeover=%v/bits=%d/level=%d", takeover, bits, level)
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				w := NewWriter(bits, takeover, level)
				var dst []byte
				i, sent := 0, 0
				for b.Loop() {
					dst = w.AppendMessage(dst[:0], text[i%256*size:][:size])
					i++
					sent += len(dst)
				}
				b.ReportMetric(float64(sent)/float64(i*size), "ratio")
			})
		}
	}
}

func BenchmarkReader(b *testing.B) {
	for _, n := range []int{100, 4096} {
		payload := compressed(1, sampleText("json", n))
		for _, takeover := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d bytes/takeover=%v", n, takeover), func(b *testing.B) {
				b.ReportAllocs()
				z := NewReader(takeover)
				src, p := bytes.NewReader(nil), make([]byte, 8192)
				for b.Loop() {
					src.Reset(payload)
					z.Begin(src)
					for {
						if _, err := z.Read(p); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
					z.End()
				}
			})
		}
	}
}
