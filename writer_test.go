package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"testing"
	"testing/synctest"
)

// A writer whose last frame fails gives each buffer back once: two connections must never be lent
// the same one.
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

// What fits into the buffer leaves in one frame, and the sizes asked for are the sizes there are,
// up to the bounds.
func TestBufferSizes(t *testing.T) {
	for _, tt := range []struct{ asked, read, write int }{
		{-1, 4096, 4096},
		{0, 4096, 4096},
		{1, 256, 256},
		{256, 256, 256},
		{5000, 5000, 5000},
		{1 << 20, 1 << 20, 1 << 20},
		{1<<20 + 1, 1 << 20, 1<<20 + 1},
		{1 << 30, 1 << 20, 1 << 30},
		{math.MaxInt, 1 << 20, 1 << 30},
	} {
		a, _ := net.Pipe()
		c := newConn(a, connConfig{readBufferSize: tt.asked, writeBufferSize: tt.asked})
		if int(c.read.buf.size) != tt.read || int(c.write.size) != tt.write {
			t.Errorf("of %d: %d to read, %d to write", tt.asked, c.read.buf.size, c.write.size)
		}
		c.Close()
	}

	const size = 1<<20 + 512<<10
	server, client := tcpPair(t)
	c := newConn(server, connConfig{isServer: true, writeBufferSize: 2 << 20})
	defer c.Close()
	go func() {
		w, err := c.NextWriter(BinaryMessage)
		if err != nil {
			t.Error(err)
			return
		}
		for range size / (64 << 10) {
			w.Write(make([]byte, 64<<10))
		}
		w.Close()
	}()
	want := binary.BigEndian.AppendUint64([]byte{finBit | BinaryMessage, 127}, size)
	header := make([]byte, len(want))
	if _, err := io.ReadFull(client, header); err != nil || !bytes.Equal(header, want) {
		t.Errorf("header % x, %v; want % x", header, err, want)
	}
	io.CopyN(io.Discard, client, size)
}

// What came behind the peer's close frame is thrown away only once the answer is out: an
// application that answers late can still do so.
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

// Errors of a writer stay what they were, and Write says how much it took.
func TestWriterErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, _ := sunk(t, connConfig{isServer: true, writeBufferSize: 256})
		failure := errors.New("failure")
		small, _ := c.NextWriter(BinaryMessage)
		small.Write(make([]byte, 10))
		large, _ := c.NextWriter(BinaryMessage)
		s.fail(failure)
		if n, err := large.Write(make([]byte, 100)); n != 100 || err != nil {
			t.Errorf("Write of what fits: %d, %v", n, err)
		}
		if n, err := large.Write(make([]byte, 400)); n != 156 || !errors.Is(err, failure) {
			t.Errorf("Write of what overflows: %d, %v, want 156 and the failure", n, err)
		}
		for range 2 {
			if err := large.Close(); !errors.Is(err, failure) {
				t.Errorf("Close after a failed Write: %v", err)
			}
			if err := small.Close(); !errors.Is(err, failure) {
				t.Errorf("Close: %v", err)
			}
		}
	})
}
