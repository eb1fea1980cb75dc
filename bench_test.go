package websocket

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Micro benchmarks of the hot paths, without a network. bench/ compares whole servers. Masking and
// UTF-8 are measured beside their tests.

var benchSizes = []int{16, 64, 1024, 64 << 10, 1 << 20}

func BenchmarkParseHeader(b *testing.B) {
	frames := map[string][]byte{
		"short": clientFrame(finBit|TextMessage, make([]byte, 100)),
		"16bit": clientFrame(finBit|TextMessage, make([]byte, 1000)),
		"64bit": clientFrame(finBit|TextMessage, make([]byte, 100_000)),
	}
	for _, name := range []string{"short", "16bit", "64bit"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, n, err := parseHeader(frames[name]); n == 0 || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func benchConn(size int, role bool) *Conn {
	frame := clientFrame(finBit|BinaryMessage, make([]byte, size))
	if !role {
		frame, _ = serverFrame(finBit|BinaryMessage, make([]byte, size))
	}
	return newConn(&loopConn{in: bytes.Repeat(frame, 1+4096/len(frame)), step: 1 << 20}, connConfig{isServer: role})
}

func perSize(b *testing.B, f func(b *testing.B, size int)) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			f(b, size)
		})
	}
}

func BenchmarkReadMessage(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		c := benchConn(size, true)
		for b.Loop() {
			if _, _, err := c.ReadMessage(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkMessages(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		c := benchConn(size, true)
		for _, err := range c.Messages(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			if !b.Loop() {
				break
			}
		}
	})
}

func BenchmarkWriteMessage(b *testing.B) {
	for _, role := range []string{"server", "client"} {
		b.Run(role, func(b *testing.B) {
			perSize(b, func(b *testing.B, size int) {
				c := benchConn(size, role == "server")
				data := make([]byte, size)
				for b.Loop() {
					if err := c.WriteMessage(BinaryMessage, data); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkNextWriter(b *testing.B) {
	perSize(b, func(b *testing.B, size int) {
		c := benchConn(size, true)
		data := make([]byte, size)
		for b.Loop() {
			w, err := c.NextWriter(BinaryMessage)
			if err != nil {
				b.Fatal(err)
			}
			w.Write(data)
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkEcho is the loop of an echo server, one message at a time and with sixteen waiting.
func BenchmarkEcho(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			b.ReportAllocs()
			frames := bytes.Repeat(clientFrame(finBit|BinaryMessage, make([]byte, 64)), batch)
			c := newConn(&loopConn{in: frames, step: len(frames)}, connConfig{isServer: true})
			for b.Loop() {
				messageType, p, err := c.ReadMessage()
				if err == nil {
					err = c.WriteMessage(messageType, p)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkUpgrade(b *testing.B) {
	var u Upgrader
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := u.Upgrade(w, r, nil); err == nil {
			c.Close()
		}
	}))
	defer s.Close()
	url := "ws" + s.URL[len("http"):]
	b.ReportAllocs()
	for b.Loop() {
		c, _, err := DefaultDialer.Dial(url, nil)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}
