package websocket

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

func BenchmarkCompress(b *testing.B) {
	const size = 4096
	text := deflateText("json", 256*size) // so much that no window knows the next message
	for _, takeover := range []bool{false, true} {
		for _, bits := range []int{8, 10, 12, 15} {
			level := firstLevel(0, bits, takeover)
			b.Run(fmt.Sprintf("takeover=%v/bits=%d/level=%d", takeover, bits, level), func(b *testing.B) {
				b.ReportAllocs()
				d := newDeflater(bits, takeover, level)
				var dst []byte
				i, sent := 0, 0
				for b.Loop() {
					dst = d.compress(dst[:0], text[i%256*size:][:size])
					i++
					sent += len(dst)
				}
				b.ReportMetric(float64(sent)/float64(i*size), "ratio")
			})
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, n := range []int{100, 4096} {
		payload := newDeflater(15, false, 1).compress(nil, deflateText("json", n))
		for _, takeover := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d bytes/takeover=%v", n, takeover), func(b *testing.B) {
				b.ReportAllocs()
				z := newInflater(takeover)
				src, p := bytes.NewReader(nil), make([]byte, 8192)
				for b.Loop() {
					src.Reset(payload)
					z.begin(src)
					for {
						if _, err := z.Read(p); err == io.EOF {
							break
						} else if err != nil {
							b.Fatal(err)
						}
					}
					z.end()
				}
			})
		}
	}
}
