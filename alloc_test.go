package websocket

import (
	"bytes"
	"context"
	"net"
	"reflect"
	"testing"
	"time"
)

// Allocations are exact, so they are pinned. AllocsPerRun averages, which hides the pools' rare
// misses after a collection but no allocation per call.

func pinAllocs(t *testing.T, name string, want float64, f func()) {
	t.Helper()
	if raceEnabled() {
		return // sync.Pool drops values at random under the race detector
	}
	for range 10 {
		f()
	}
	if got := testing.AllocsPerRun(200, f); got > want {
		t.Errorf("%s: %v allocations, want %v", name, got, want)
	}
}

func TestAllocs(t *testing.T) {
	for _, size := range []int{0, 5, 125, 1000, 4096, 70000} {
		nc := &loopConn{in: clientFrame(finBit|BinaryMessage, make([]byte, size)), step: 1 << 20}
		c := newConn(nc, connConfig{isServer: true})
		data := make([]byte, size)
		want := 1.0
		if size == 0 {
			want = 0
		}
		pinAllocs(t, "ReadMessage", want, func() { c.ReadMessage() })
		pinAllocs(t, "WriteMessage", 0, func() { c.WriteMessage(BinaryMessage, data) })
		pinAllocs(t, "NextWriter", 1, func() {
			w, _ := c.NextWriter(BinaryMessage)
			w.Write(data)
			w.Close()
		})
		client := newConn(nc, connConfig{})
		pinAllocs(t, "client WriteMessage", 0, func() { client.WriteMessage(BinaryMessage, data) })
		turns := 0
		for m, err := range c.Messages(context.Background()) {
			if err != nil || len(m.Data) != size {
				t.Fatal(len(m.Data), err)
			}
			if turns++; turns == 2 {
				break
			}
		}
	}
}

// A large WriteBufferSize is for large messages.
func TestAllocsLargeWriteBuffer(t *testing.T) {
	c := newConn(&loopConn{step: 1}, connConfig{isServer: true, writeBufferSize: 4 << 20})
	data := []byte("x")
	pinAllocs(t, "NextWriter with a large buffer", 1, func() {
		w, _ := c.NextWriter(BinaryMessage)
		w.Write(data)
		w.Close()
	})
}

func TestAllocsMessages(t *testing.T) {
	nc := &loopConn{in: bytes.Repeat(clientFrame(finBit|TextMessage, []byte("hello, world")), 16), step: 1 << 20}
	c := newConn(nc, connConfig{isServer: true})
	const turns = 1000
	loop := func() {
		n := 0
		for m, err := range c.Messages(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			c.WriteMessage(m.Type, m.Data)
			if n++; n == turns {
				break
			}
		}
	}
	pinAllocs(t, "Messages, whole loop", 10, loop)
}

func TestAllocsControl(t *testing.T) {
	ping := clientFrame(finBit|PingMessage, []byte("are you there?"))
	nc := &loopConn{in: append(bytes.Clone(ping), clientFrame(finBit|BinaryMessage, []byte("x"))...), step: 1 << 20}
	c := newConn(nc, connConfig{isServer: true})
	pinAllocs(t, "ping answered", 1, func() { c.ReadMessage() })
	pong := []byte("I am")
	pinAllocs(t, "queued pong", 0, func() {
		c.write.mu.Lock(noContext, nil) // somebody writes
		c.write.sendPong(pong, false)
		c.write.unlock()
	})
	data := []byte("payload")
	deadline := time.Now().Add(time.Hour)
	pinAllocs(t, "WriteControl", 0, func() { c.WriteControl(PingMessage, data, deadline) })
	pinAllocs(t, "WriteMessage of a ping", 0, func() { c.WriteMessage(PingMessage, data) })
}

func TestAllocsContext(t *testing.T) {
	nc := &loopConn{in: clientFrame(finBit|BinaryMessage, []byte("x")), step: 1 << 20}
	c := newConn(nc, connConfig{isServer: true})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	data := []byte("payload")
	pinAllocs(t, "ReadMessageContext", 1, func() { c.ReadMessageContext(ctx) })
	pinAllocs(t, "WriteMessageContext", 0, func() { c.WriteMessageContext(ctx, BinaryMessage, data) })
}

func TestAllocsPrepared(t *testing.T) {
	c := newConn(&loopConn{step: 1}, connConfig{isServer: true})
	pm, err := NewPreparedMessage(TextMessage, []byte("to all"))
	if err != nil {
		t.Fatal(err)
	}
	pinAllocs(t, "WritePreparedMessage", 0, func() { c.WritePreparedMessage(pm) })
}

// Over TCP the raw path reads and the socket's writes gather.
func TestAllocsTCP(t *testing.T) {
	for _, size := range []int{64, 100_000} {
		a, b := tcpPair(t)
		c := newConn(a, connConfig{isServer: true})
		frame := clientFrame(finBit|BinaryMessage, make([]byte, size))
		reply := make([]byte, size+maxHeaderSize)
		data := make([]byte, size)
		pinAllocs(t, "ReadMessage over TCP", 1, func() {
			b.Write(frame)
			c.ReadMessage()
		})
		pinAllocs(t, "WriteMessage over TCP", 0, func() {
			c.WriteMessage(BinaryMessage, data)
			for n := 0; n < size+2; {
				m, _ := b.Read(reply)
				n += m
			}
		})
	}
}

// A connection is as large as a size class of the allocator: one more field would cost an idle
// connection 32 bytes.
func TestConnSize(t *testing.T) {
	if size := reflect.TypeFor[Conn]().Size(); size > 512 {
		t.Errorf("a Conn takes %d bytes", size)
	}
	if size := reflect.TypeFor[rawSocket]().Size(); size > 48 {
		t.Errorf("its rawSocket takes %d bytes", size)
	}
}

// tcpPair returns the two ends of a TCP connection, closed with the test.
func tcpPair(t testing.TB) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return server, client
}
