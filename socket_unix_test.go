//go:build unix

package websocket

import (
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A message as long as the one before it takes one read.
func TestLongMessageIsReadAtOnce(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	want := strings.Repeat("x", 30_000)
	for range 100 { // it may come in pieces, but hardly every time
		p.send(textFrame(want))
		wantRead(t, c, want)
		if c.socket.n == 30_000+8 {
			return
		}
	}
	t.Errorf("the last read into the buffer took %d bytes of the message", c.socket.n)
}

// A peer that stops after the first bytes of a frame ties up no large buffer, whatever it sent
// before.
func TestLargeBufferIsGivenBack(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	large := strings.Repeat("x", 60_000)
	for range 2 {
		go p.send(textFrame(large))
		wantRead(t, c, large)
	}
	p.Write([]byte("\x81"))
	for c.read.buf.r == c.read.buf.w {
		c.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		if err := readErr(c); !isTimeout(err) {
			t.Fatal(err)
		}
	}
	if n := len(c.read.buf.buf.b); n > defaultBufferSize {
		t.Errorf("a byte is kept in a buffer of %d bytes", n)
	}
	c.SetReadDeadline(time.Time{})
	go p.Write([]byte("\x82\x00\x00\x00\x00hi"))
	wantRead(t, c, "hi")
}

// Through the raw path of a socket. The delay is never waited for.
func TestDelayedTogetherOverTCP(t *testing.T) {
	frames, joined := numbered(16)
	c, p := overTCP(t, connConfig{isServer: true, writeDelay: time.Hour})
	s := &sink{Conn: c.conn}
	c.conn = s
	p.send(frames...)
	if err := echoes[0].echo(c, 16); err != nil {
		t.Fatal(err)
	}
	s.wantWrites(t, false, joined)
}

// A member that leaves its group while a message is written to it gets the rest of the frame that
// was cut.
func TestGroupLeaveDuringWrite(t *testing.T) {
	g := Group{Slow: SkipSlow}
	a, b := thinPair(t)
	c, p := play(t, a, b, connConfig{isServer: true})
	c.socket.rc = &busyConn{c.socket.rc, func() { g.Remove(c) }}
	add(t, &g, c)
	data := marked(1, 300_000) // more than the socket takes at once
	broadcast(t, &g, data)
	g.flushed()
	if g.Len() != 0 {
		t.Fatal("it did not leave")
	}
	go c.WriteMessage(BinaryMessage, []byte("own"))
	p.expect(binaryFrame(string(data)), binaryFrame("own"))
}

// In a busyConn something happens while the socket is written to.
type busyConn struct {
	syscall.RawConn
	meanwhile func()
}

func (c *busyConn) Write(f func(fd uintptr) bool) error {
	defer c.meanwhile()
	return c.RawConn.Write(f)
}

// Programs find the file descriptor by reflection, as they do with gorilla/websocket's Conn.
func TestDescriptorByReflection(t *testing.T) {
	c, _ := overTCP(t, connConfig{})
	tcp := reflect.Indirect(reflect.ValueOf(c)).FieldByName("conn").Elem()
	netFD := reflect.Indirect(tcp).FieldByName("conn").FieldByName("fd")
	fd := int(reflect.Indirect(netFD).FieldByName("pfd").FieldByName("Sysfd").Int())
	if err := c.socket.control(func(want uintptr) {
		if fd != int(want) {
			t.Errorf("descriptor %d, want %d", fd, want)
		}
	}); err != nil {
		t.Error(err)
	}
}
