package websocket

import (
	"net"
	"testing"
)

// A writer whose last frame fails gives each buffer back once: two connections
// must never be lent the same one.
func TestWriterFreesOnce(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		a, b := net.Pipe()
		c := newConn(a, connConfig{isServer: true, deflate: deflateParams{enabled: true,
			serverNoContextTakeover: !takeover, serverMaxWindowBits: 15, clientMaxWindowBits: 15}})
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, 5000)); err != nil {
			t.Fatal(err)
		}
		b.Close()
		if err := w.Close(); err == nil {
			t.Error("the message went out to nobody")
		}
		lent := make(map[*buffer]bool)
		for range 8 {
			for _, size := range []int{512, 4096, 16384} {
				x := getBuffer(size)
				if lent[x] {
					t.Fatalf("a buffer of %d bytes is lent twice", len(x.b))
				}
				lent[x] = true
			}
		}
		c.Close()
	}
}

// What came behind the peer's close frame is thrown away only once the answer
// is out: an application that answers late can still do so.
func TestCloseAnsweredLate(t *testing.T) {
	server, client := tcpPair(t)
	c := newConn(server, connConfig{isServer: true})
	c.SetCloseHandler(func(int, string) error { return nil })
	closing := clientFrame(finBit|CloseMessage, FormatCloseMessage(CloseNormalClosure, ""))
	if _, err := client.Write(append(closing, clientFrame(finBit|TextMessage, []byte("late"))...)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); !IsCloseError(err, CloseNormalClosure) {
		t.Fatal(err)
	}
	if err := c.WriteMessage(CloseMessage, FormatCloseMessage(CloseNormalClosure, "")); err != nil {
		t.Errorf("the answer: %v", err)
	}
}
