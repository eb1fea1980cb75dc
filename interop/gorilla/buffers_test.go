package gorilla

// Buffers, prepared messages and writers: what shows on the wire and in pools.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// TestBufferSizes: a streamed message is cut where the buffer is full, and the
// buffer is as large as asked for, or as the http.Server's. gorilla keeps 14
// bytes of the server's buffer for the header of the frame.
func TestBufferSizes(t *testing.T) {
	for _, tt := range []struct{ option, server, want int }{
		{0, 4096, 4096}, {0, 1024, 1024}, {0, 16384, 16384}, {0, 128, 4096}, {512, 4096, 512}, {5000, 1024, 5000},
	} {
		t.Run(fmt.Sprintf("option %d, server %d", tt.option, tt.server), func(t *testing.T) {
			onBoth(t, func(t *testing.T, l library) {
				w := newWire()
				c, err := l.upgrade(gorilla.Upgrader{WriteBufferSize: tt.option}, newHijack(w, tt.server), upgradeRequest(), nil)
				if err != nil {
					t.Fatal(err)
				}
				nw, err := c.NextWriter(binaryType)
				if err != nil {
					t.Fatal(err)
				}
				for range 40000 / 50 {
					nw.Write(make([]byte, 50))
				}
				if err := nw.Close(); err != nil {
					t.Fatal(err)
				}
				first := len(parseFrames(w.output())[0].payload)
				if first > tt.want || first < tt.want-14 {
					t.Errorf("the first frame has %d bytes, expected %d", first, tt.want)
				}
			})
		})
	}
}

// TestPreparedMessage sends one prepared message over connections with
// different roles, extensions, levels and switches.
func TestPreparedMessage(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		for _, kind := range []int{text, binaryType} {
			data := bytes.Repeat([]byte("prepared "), 1000)
			send, err := l.prepare(kind, data)
			if err != nil {
				t.Fatal(err)
			}
			want := message{kind, bytes.Clone(data)}
			copy(data, "overwritten afterwards")
			for _, s := range setups {
				for _, level := range []int{-2, 1, 9} {
					for _, enable := range []bool{true, false} {
						w := newWire()
						c := l.open(t, w, s)
						c.SetCompressionLevel(level)
						c.EnableWriteCompression(enable)
						for range 2 {
							if err := send(c); err != nil {
								t.Error(err)
							}
						}
						frames := parseFrames(w.output())
						got, _, err := assemble(frames)
						if err != nil || !equalMessages(got, []message{want, want}) {
							t.Errorf("%v, level %d, enabled %v: sent %v, %v", s, level, enable, got, err)
						}
						if z := frames[0].first&rsv1 != 0; z != (s.deflate && enable) {
							t.Errorf("%v, level %d, enabled %v: compressed %v", s, level, enable, z)
						}
					}
				}
			}
		}
	})
}

func TestPreparedControlMessage(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		if _, err := l.prepare(ping, make([]byte, 126)); err == nil {
			t.Error("a ping of 126 bytes is prepared")
		}
		if _, err := l.prepare(3, nil); err == nil {
			t.Error("a message without a type is prepared")
		}
		w := newWire()
		c := l.open(t, w, s)
		for _, m := range []message{{ping, []byte("p")}, {closing, []byte("\x03\xe8")}} {
			send, err := l.prepare(m.kind, m.data)
			if err != nil {
				t.Fatal(err)
			}
			l.wants(t, "WritePreparedMessage", send(c), "nil")
			if m.kind == closing {
				l.wants(t, "WritePreparedMessage after a close frame", send(c), "ErrCloseSent")
			}
		}
		_, control, err := assemble(parseFrames(w.output()))
		if err != nil || !equalMessages(control, []message{{ping, []byte("p")}, {closing, []byte("\x03\xe8")}}) {
			t.Errorf("sent %v, %v", control, err)
		}
	})
}

// pool is a BufferPool that counts.
type pool struct {
	values    []any
	got, kept int
}

func (p *pool) Get() any {
	p.got++
	if len(p.values) == 0 {
		return nil
	}
	v := p.values[0]
	p.values = p.values[1:]
	return v
}

func (p *pool) Put(v any) {
	p.kept++
	p.values = append(p.values, v)
}

// TestWriteBufferPool: what a writer takes from the pool it gives back, when
// the message ends and when it fails; foreign values in the pool do no harm.
func TestWriteBufferPool(t *testing.T) {
	onBoth(t, func(t *testing.T, l library) {
		for _, s := range setups[:2] {
			var p pool
			p.values = []any{"not a buffer"}
			w := newWire()
			var c conn
			var err error
			if s.server {
				c, err = l.upgrade(gorilla.Upgrader{WriteBufferPool: &p}, newHijack(w, 4096), upgradeRequest(), nil)
			} else {
				w.dialled = true
				d := &gorilla.Dialer{WriteBufferPool: &p, NetDial: func(string, string) (net.Conn, error) { return w, nil }}
				c, _, err = l.dial(context.Background(), d, "ws://example.com/", nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				nw, err := c.NextWriter(text)
				if err != nil {
					t.Fatal(err)
				}
				if p.got == p.kept {
					t.Error("an open writer holds no buffer of the pool")
				}
				io.WriteString(nw, "hello")
				nw.Close()
				if p.got != p.kept {
					t.Errorf("%d taken, %d given back", p.got, p.kept)
				}
			}
			w.mu.Lock()
			w.failAt, w.failWith = len(w.sent)+1, io.ErrShortWrite
			w.mu.Unlock()
			nw, err := c.NextWriter(text)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(nw, "hello")
			if err := nw.Close(); err != io.ErrShortWrite {
				t.Errorf("Close of the writer: %v, expected the connection's error itself", err)
			}
			if p.got != p.kept {
				t.Errorf("after a failed write %d taken, %d given back", p.got, p.kept)
			}
		}
	})
}

// TestClosedWriter: a writer is good for one message.
func TestClosedWriter(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		c := l.open(t, newWire(), s)
		for _, kind := range []int{text, binaryType, ping, closing} {
			w, err := c.NextWriter(kind)
			if err != nil {
				t.Fatal(err)
			}
			l.wants(t, "Close", w.Close(), "nil")
			l.wants(t, "the second Close", w.Close(), "anonymous")
			_, err = w.Write([]byte("x"))
			l.wants(t, "Write", err, "anonymous")
			_, err = io.WriteString(w, "x")
			l.wants(t, "WriteString", err, "anonymous")
			if _, ok := w.(io.StringWriter); !ok {
				t.Error("no io.StringWriter")
			}
			if _, ok := w.(io.ReaderFrom); !ok {
				t.Error("no io.ReaderFrom")
			}
		}
		_, err := c.NextWriter(text)
		l.wants(t, "NextWriter after a close frame", err, "ErrCloseSent")
	})
}

// TestCallerKeepsBytes: what was handed over to be written is not modified,
// and may be modified once the call has returned.
func TestCallerKeepsBytes(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		for _, size := range []int{10, 5000, 100000} {
			w := newWire()
			c := l.open(t, w, s)
			p := bytes.Repeat([]byte("x"), size)
			want := bytes.Clone(p)
			for range 2 {
				if err := c.WriteMessage(binaryType, p); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(p, want) {
					t.Fatalf("%d bytes were modified", size)
				}
			}
			if err := c.WriteControl(ping, p[:10], time.Time{}); err != nil || !bytes.Equal(p, want) {
				t.Errorf("WriteControl: %v, or it modified the payload", err)
			}
			clear(p)
			c.Close()
			got, _, err := assemble(parseFrames(w.output()))
			if err != nil || !equalMessages(got, []message{{binaryType, want}, {binaryType, want}}) {
				t.Errorf("%d bytes arrive as %v, %v", size, got, err)
			}
		}
	})
}

// TestControlInsideMessage: control frames go between the frames of a message
// that is being written.
func TestControlInsideMessage(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire()
		c := l.open(t, w, s)
		nw, err := c.NextWriter(binaryType)
		if err != nil {
			t.Fatal(err)
		}
		nw.Write(make([]byte, 10000))
		if err := c.WriteControl(ping, []byte("now"), time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		nw.Write(make([]byte, 10000))
		nw.Close()
		var opcodes []int
		for _, f := range parseFrames(w.output()) {
			if op := f.opcode(); len(opcodes) == 0 || opcodes[len(opcodes)-1] != op {
				opcodes = append(opcodes, op)
			}
		}
		if !slices.Equal(opcodes, []int{binaryType, ping, continuation}) && !slices.Equal(opcodes, []int{binaryType, continuation, ping, continuation}) {
			t.Errorf("frames with opcodes %v", opcodes)
		}
	})
}
