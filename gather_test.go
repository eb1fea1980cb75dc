package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"reflect"
	"testing"
	"time"
)

// inPage returns n bytes that begin at an offset in a page.
func inPage(offset, n int) []byte {
	b := make([]byte, 2*pageSize+n)
	at := int(reflect.ValueOf(&b[0]).Pointer()) & (pageSize - 1)
	b = b[(pageSize+offset-at)&(pageSize-1):][:n]
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestCollides(t *testing.T) {
	c := newConn(&loopConn{}, connConfig{isServer: true})
	for _, test := range []struct {
		offset, n, pending int
		want               bool
	}{
		{0, 10_000, 0, true}, // 4 bytes ahead
		{0, 65535, 0, true},
		{0, 65536, 0, true}, // 10 bytes ahead
		{3, 10_000, 0, true},
		{4, 10_000, 0, false}, // side by side
		{5, 10_000, 0, false},
		{10, 65536, 0, false},
		{pageSize - 6, 65536, 0, false}, // 16 bytes ahead
		{pageSize - 5, 65536, 0, true},
		{pageOffset, 65536, 0, false},
		{0, 10_000, 11, true}, // held frames come first
		{0, 10_000, 12, false},
		{pageOffset, 10_000, 61, true},
	} {
		c.npending = int32(test.pending)
		if got := c.collidesLocked(inPage(test.offset, test.n)); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// However a payload lies in memory, it arrives whole and stays as it was.
func TestLargeFrames(t *testing.T) {
	for _, over := range []struct {
		name string
		dial func(testing.TB, connConfig) (*Conn, *peer)
	}{{"pipe", overPipe}, {"TCP", overTCP}, {"TLS", overTLS}} {
		for _, server := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/server %v", over.name, server), func(t *testing.T) {
				for _, keep := range []KeepAlive{{}, {Interval: time.Hour}} {
					c, p := over.dial(t, connConfig{isServer: server, keepAlive: keep})
					for _, size := range []int{copyLimit, copyLimit + 1, 65535, 65536, copyPiece - 1, copyPiece, copyPiece + 1, 3*copyPiece + 5} {
						for _, offset := range []int{0, 4, pageSize - 1} {
							data := inPage(offset, size)
							want := bytes.Clone(data)
							wrote := async(func() error { return c.WriteMessage(BinaryMessage, data) })
							f, err := p.next()
							if err != nil || f.first != finBit|BinaryMessage || f.payload != string(want) {
								t.Fatalf("%d bytes at %d: %02x, %d bytes, %v", size, offset, f.first, len(f.payload), err)
							}
							if err := <-wrote; err != nil || !bytes.Equal(data, want) {
								t.Errorf("%d bytes at %d: %v, unchanged %v", size, offset, err, bytes.Equal(data, want))
							}
						}
					}
				}
			})
		}
	}
}

// What is read can be sent on as it lies.
func TestReadPayloadsDoNotCollide(t *testing.T) {
	for _, size := range []int{32 << 10, 60_000, 64 << 10, 100_000, 1 << 20, 3 << 20} {
		for name, read := range map[string]func(c *Conn) ([]byte, error){
			"ReadMessage": func(c *Conn) ([]byte, error) { _, p, err := c.ReadMessage(); return p, err },
			"Messages": func(c *Conn) ([]byte, error) {
				for m, err := range c.Messages(context.Background()) {
					return m.Data, err
				}
				return nil, io.EOF
			},
		} {
			c, p := overTCP(t, connConfig{isServer: true})
			for range 2 { // the second is expected
				go p.send(binaryFrame(string(make([]byte, size))))
				data, err := read(c)
				if err != nil || len(data) != size {
					t.Fatal(len(data), err)
				}
				if c.collidesLocked(data) {
					t.Errorf("%s: %d bytes lie badly", name, size)
				}
			}
		}
	}
}
