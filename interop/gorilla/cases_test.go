package gorilla

// What the cases in differences_test.go do, beyond reading a stream.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"
	websocket "github.com/tautws/websocket"
)

// concurrentWriters writes from two goroutines at a time: the second write
// begins while the first is in the middle of its frame.
func concurrentWriters(t *testing.T, l library) (result string) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := l.openPipe(t, nc, peer, server)
		go c.WriteMessage(text, []byte("first"))
		synctest.Wait()
		second := make(chan any)
		go func() {
			defer func() { second <- recover() }()
			if err := c.WriteMessage(text, []byte("second")); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		var got []byte
		done := make(chan bool)
		go func() {
			got, _ = io.ReadAll(peer)
			close(done)
		}()
		if <-second != nil {
			result = "panic"
		}
		synctest.Wait()
		c.Close()
		<-done
		if data, _, err := assemble(parseFrames(got)); result == "" && err == nil && len(data) == 2 {
			result = "both whole"
		}
	})
	return result
}

// twoWriters opens a writer while another is open.
func twoWriters(t *testing.T, l library) string {
	w := newWire()
	c := l.open(t, w, server)
	first, err := c.NextWriter(text)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(first, "half-")
	second, err := c.NextWriter(binaryType)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(first, "whole")
	io.WriteString(second, "second")
	second.Close()
	first.Close()
	c.Close()
	data, _, err := assemble(parseFrames(w.output()))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, m := range data {
		list = append(list, fmt.Sprintf("%d:%s", m.kind, m.data))
	}
	return strings.Join(list, " ")
}

// abandonedWriter writes a message while a writer whose buffer has overflowed
// stays open.
func abandonedWriter(t *testing.T, l library) (result string) {
	synctest.Test(t, func(t *testing.T) {
		c := l.open(t, newWire(), server)
		first, err := c.NextWriter(text)
		if err != nil {
			t.Fatal(err)
		}
		first.Write(make([]byte, 10000))
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		result = l.class(c.WriteMessage(text, nil))
		first.Close()
	})
	return result
}

// timeoutAt lets a read time out n bytes into a message, or before it and
// behind a ping if n is negative.
func timeoutAt(n int) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		b := server.stream(textFrame("hello"))
		chunks := [][]byte{b[:max(n, 0)], nil, b[max(n, 0):]}
		if n < 0 {
			chunks[0] = server.stream(pingFrame(""))
		}
		c := l.open(t, newWire(chunks...), server)
		_, _, first := c.ReadMessage()
		_, p, err := c.ReadMessage()
		if err == nil {
			return fmt.Sprintf("%s, %q", l.class(first), p)
		}
		return l.class(first) + ", " + l.class(err)
	}
}

func thousandReads(t *testing.T, l library) (result string) {
	c := l.open(t, newWire(), server)
	n := 0
	defer func() {
		if recover() != nil {
			result = fmt.Sprintf("panic at read %d", n)
		}
	}()
	for n < 1001 {
		n++
		_, _, err := c.ReadMessage()
		result = l.class(err)
	}
	return result
}

// discardCut asks for the next message when the stream ends inside this one.
func discardCut(t *testing.T, l library) string {
	b := server.stream(textFrame("hello world"))
	c := l.open(t, newWire(b[:10]), server)
	_, r, err := c.NextReader()
	if err != nil {
		t.Fatal(err)
	}
	r.Read(make([]byte, 2))
	_, _, err = c.NextReader()
	return l.class(err)
}

// discardLimit discards a fragment of 3 bytes and reads a message of 5.
func discardLimit(t *testing.T, l library) string {
	c := l.open(t, newWire(server.stream(frame{first: text, payload: []byte("12")}, frame{first: fin, payload: []byte("123")}, textFrame("12345"))), server)
	c.SetReadLimit(5)
	if _, _, err := c.NextReader(); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.ReadMessage()
	return l.class(err)
}

// pingsBehindWriter reads pings and a message while a write is blocked.
func pingsBehindWriter(t *testing.T, l library) (result string) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := l.openPipe(t, nc, peer, server)
		go c.WriteMessage(text, []byte("blocked"))
		synctest.Wait()
		go peer.Write(server.stream(pingFrame("1"), pingFrame("2"), pingFrame("3"), textFrame("message")))
		start := time.Now()
		if _, _, err := c.ReadMessage(); err != nil {
			t.Error(err)
		}
		after := time.Since(start)
		var got []byte
		done := make(chan bool)
		go func() {
			got, _ = io.ReadAll(peer)
			close(done)
		}()
		synctest.Wait()
		c.Close()
		<-done
		_, control, err := assemble(parseFrames(got))
		if err != nil {
			t.Error(err)
		}
		var pongs []string
		for _, m := range control {
			pongs = append(pongs, string(m.data))
		}
		result = fmt.Sprintf("read after %v, pongs %v", after, pongs)
	})
	return result
}

func clientFrames(t *testing.T, l library) string {
	w := newWire()
	if err := l.open(t, w, client).WriteMessage(binaryType, make([]byte, 10000)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d frames", len(parseFrames(w.output())))
}

func unencodable(t *testing.T, l library) string {
	w := newWire()
	c := l.open(t, w, server)
	err := c.WriteJSON(make(chan int))
	c.Close()
	return fmt.Sprintf("%T, %d frames", err, len(parseFrames(w.output())))
}

func wrappedClose(t *testing.T, l library) string {
	c := l.open(t, newWire(server.stream(closeFrame("\x03\xe8"))), server)
	_, _, err := c.ReadMessage()
	err = fmt.Errorf("reading: %w", err)
	return fmt.Sprint(l.isCloseError(err, 1000), l.isUnexpectedClose(err, 1001))
}

// earlyFrame upgrades a request behind which a frame was already read.
func earlyFrame(t *testing.T, l library) string {
	c, err := l.upgrade(gorilla.Upgrader{}, early{newHijack(newWire(server.stream(textFrame("early"))), 4096)}, upgradeRequest(), nil)
	if err != nil {
		return err.Error()
	}
	_, p, err := c.ReadMessage()
	if err != nil {
		return err.Error()
	}
	return string(p)
}

// early hands out a reader that has read ahead.
type early struct{ *hijack }

func (e early) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := e.hijack.Hijack()
	brw.Peek(1)
	return nc, brw, err
}

func violationType(t *testing.T, l library) string {
	c := l.open(t, newWire(server.stream(frame{first: fin | 3})), server)
	_, _, err := c.ReadMessage()
	if v, ok := err.(*websocket.ProtocolError); ok {
		return fmt.Sprintf("%T %d", err, v.Code)
	}
	return fmt.Sprintf("%T", err)
}

// failed sends a frame that fails the connection, and closes its own end when the other is closed.
func failed(f frame) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		nc, peer := tcpPair(t)
		c := l.openPipe(t, nc, peer, server)
		c.SetReadLimit(4)
		peer.Write(server.stream(f))
		go func() {
			io.Copy(io.Discard, peer)
			peer.Close()
		}()
		if _, _, err := c.ReadMessage(); err == nil {
			t.Error("no error")
		}
		if _, err := nc.Write([]byte("x")); errors.Is(err, net.ErrClosed) {
			return "the connection is closed"
		} else if err != nil {
			return err.Error()
		}
		return "the connection is open"
	}
}

func skipCorrupt(t *testing.T, l library) string {
	c := l.open(t, newWire(serverDeflate.stream(frame{first: fin | rsv1 | text, payload: []byte("\xff\xff\xff")}, textFrame("next"))), serverDeflate)
	_, _, first := c.ReadMessage()
	_, p, err := c.ReadMessage()
	if err == nil {
		return fmt.Sprintf("%T, then %q", first, p)
	}
	return fmt.Sprintf("%T, then %T", first, err)
}

func emptyFragments(n int) []frame {
	frames := []frame{{first: text}}
	for range n - 1 {
		frames = append(frames, frame{first: continuation})
	}
	return append(frames, frame{first: fin | continuation})
}

// pipelined echoes three messages that arrived together. underlying has it call UnderlyingConn.
func pipelined(underlying bool) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) (result string) {
		synctest.Test(t, func(t *testing.T) {
			w := newWire(server.stream(textFrame("message one"), textFrame("message two"), textFrame("message three")))
			c := l.open(t, w, server)
			before := w.writes
			for range 3 {
				kind, p, err := c.ReadMessage()
				if err != nil {
					t.Fatal(err)
				}
				if underlying {
					c.UnderlyingConn()
				}
				if err := c.WriteMessage(kind, p); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			result = fmt.Sprintf("%d writes", w.writes-before)
		})
		return result
	}
}
