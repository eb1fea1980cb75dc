package gorilla

// Both libraries run the same random sequence of calls. The errors they return
// must be of one class, call by call, and the peer must receive the same
// messages. How a message is cut into frames is free.

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// script is a sequence of calls, read from bytes: each choice takes the next
// byte.
type script struct {
	bytes []byte
	pos   int
}

func (s *script) done() bool { return s.pos >= len(s.bytes) }

func (s *script) next() int {
	if s.done() {
		return 0
	}
	s.pos++
	return int(s.bytes[s.pos-1])
}

func choose[T any](s *script, list ...T) T { return list[s.next()%len(list)] }

func (s *script) size() int {
	return choose(s, 0, 1, 5, 10, 100, 124, 125, 126, 127, 200, 241, 242, 256, 257, 600, 4082, 4096, 4097, 9000, 65535, 65536, 70000)
}

// payload is text, to be sent as any type.
func (s *script) payload() []byte {
	n := s.size()
	return bytes.Repeat([]byte("abcdefg \u00e4\u20ac\n"), n/13+1)[:n]
}

func (s *script) dataType() int { return choose(s, text, binaryType) }

func (s *script) controlType() int { return choose(s, ping, pong, ping, pong, ping, pong, closing) }

func (s *script) controlPayload(kind int) []byte {
	if kind == closing {
		return []byte(choose(s, "", "\x03\xe8", "\x03\xe8bye", "\x0b\xb8"+strings.Repeat("x", 123), strings.Repeat("x", 126), "\x00", "\x03\xee"))
	}
	return s.payload()
}

// writer runs a script on one connection and keeps what every call returned.
type writer struct {
	*script
	library
	conn
	open   io.WriteCloser // the writer last returned; may be closed
	isOpen bool

	isControl bool // of the open writer
	written   int  // to an open control writer
	log       []string
	row       string // the row that ends the comparison
}

func (w *writer) note(call string, err error) {
	w.log = append(w.log, call+": "+w.class(err))
}

// overlap reports whether a message may not begin because a writer is open:
// there the libraries differ, and the script ends.
func (w *writer) overlap() bool {
	if w.isOpen {
		w.row = rowNextWriter
	}
	return w.isOpen
}

// calls are the methods a script may call.
var calls = []func(w *writer){
	func(w *writer) {
		if kind, p := w.dataType(), w.payload(); !w.overlap() {
			w.note("WriteMessage", w.WriteMessage(kind, p))
		}
	},
	func(w *writer) {
		kind := w.controlType()
		if p := w.controlPayload(kind); !w.overlap() {
			w.note("WriteMessage of a control message", w.WriteMessage(kind, p))
		}
	},
	func(w *writer) {
		if kind := choose(w.script, 0, 3, 7, 11, 15, -1, 256); !w.overlap() {
			w.note("WriteMessage of no type", w.WriteMessage(kind, nil))
			_, err := w.NextWriter(kind)
			w.note("NextWriter of no type", err)
		}
	},
	nextWriter, write, write, write, closeWriter, closeWriter,
	func(w *writer) {
		kind := w.controlType()
		p := w.controlPayload(kind)
		deadline := choose(w.script, time.Time{}, time.Now().Add(time.Hour), time.Now().Add(-time.Second), time.Unix(1, 0))
		w.note("WriteControl", w.WriteControl(kind, p, deadline))
	},
	func(w *writer) {
		w.note("WriteControl of no control type", w.WriteControl(choose(w.script, 0, text, binaryType, 3, 7, 11, -1), w.payload(), time.Time{}))
	},
	func(w *writer) {
		kind := choose(w.script, text, binaryType, text, binaryType, ping, pong, closing, 3)
		p := w.payload()
		if kind == closing {
			p = w.controlPayload(kind)
		}
		if w.overlap() {
			return
		}
		send, err := w.prepare(kind, p)
		w.note("NewPreparedMessage", err)
		for range 1 + w.next()%2 {
			if err == nil {
				w.note("WritePreparedMessage", send(w.conn))
			}
		}
	},
	func(w *writer) {
		v := choose[any](w.script, nil, "<&>", 1.5, []int{1}, map[string]string{"k": "v"}, strings.Repeat("j", 5000), make(chan int))
		if w.overlap() {
			return
		}
		if _, unencodable := v.(chan int); unencodable {
			w.row = rowJSON
		}
		w.note("WriteJSON", w.WriteJSON(v))
	},
	func(w *writer) { w.EnableWriteCompression(w.next()%2 == 0) },
	func(w *writer) {
		w.note("SetCompressionLevel", w.SetCompressionLevel(w.next()%16-4))
	},
	func(w *writer) {
		w.note("SetWriteDeadline", w.SetWriteDeadline(choose(w.script, time.Time{}, time.Now().Add(time.Hour))))
	},
	func(w *writer) {
		w.SetPingHandler(nil)
		w.SetPongHandler(nil)
		w.SetCloseHandler(nil)
		w.SetReadLimit(int64(w.next()))
	},
}

func nextWriter(w *writer) {
	kind := w.dataType()
	if w.next()%4 == 0 {
		kind = w.controlType()
	}
	if w.overlap() {
		return
	}
	nw, err := w.NextWriter(kind)
	w.note("NextWriter", err)
	if err == nil {
		w.open, w.isOpen, w.isControl, w.written = nw, true, kind >= closing, 0
	}
}

func write(w *writer) {
	p := w.payload()
	how := w.next() % 4
	if w.open == nil || len(p) == 0 && !w.isOpen {
		return // to copy nothing need not fail
	}
	if w.isControl {
		// Too much for a control message fails when the buffer overflows or at
		// Close: below the size of a buffer it is always at Close.
		if w.written += len(p); w.written > 240 {
			return
		}
	}
	var n int
	var err error
	switch how {
	case 0:
		n, err = io.WriteString(w.open, string(p))
	case 1:
		var m int64
		m, err = io.Copy(w.open, struct{ io.Reader }{bytes.NewReader(p)})
		n = int(m)
	default:
		n, err = w.open.Write(p)
	}
	w.note("Write", err)
	if err != nil {
		w.isOpen = false
	} else if n != len(p) {
		w.log = append(w.log, fmt.Sprintf("short write of %d bytes", n))
	}
}

func closeWriter(w *writer) {
	if w.open != nil {
		w.note("Close of a writer", w.open.Close())
		w.isOpen = false
	}
}

// write runs a script and returns what the calls returned and what was sent.
func (l library) write(t testing.TB, s setup, program []byte) (w *writer, data, control []message) {
	t.Helper()
	nc := newWire()
	w = &writer{script: &script{bytes: program}, library: l, conn: l.open(t, nc, s)}
	for !w.done() && w.row == "" {
		calls[w.next()%len(calls)](w)
	}
	w.note("Close", w.conn.Close())
	frames := parseFrames(nc.output())
	for _, f := range frames {
		if f.masked == s.server {
			t.Fatalf("%s: a frame is masked for the wrong role", l.name)
		}
	}
	data, control, err := assemble(frames)
	if err != nil {
		t.Fatalf("%s: sent what is not RFC 6455: %v\ncalls %q", l.name, err, w.log)
	}
	return w, data, control
}

// compareWriting runs a script on both libraries and returns what is wrong.
func compareWriting(t testing.TB, s setup, program []byte) error {
	t.Helper()
	their, theirData, theirControl := theirs.write(t, s, program)
	our, ourData, ourControl := ours.write(t, s, program)
	if their.row == rowJSON {
		// gorilla sends an empty message for a value without an encoding.
		n := len(their.log) - 2
		if strings.HasSuffix(their.log[n], "ErrCloseSent") {
			their.log[n] = our.log[n]
		} else {
			theirData = theirData[:len(theirData)-1]
		}
	}
	var what string
	switch {
	case !slices.Equal(their.log, our.log):
		what = "different errors"
	case !equalMessages(theirData, ourData):
		what = "different messages"
	case !equalMessages(theirControl, ourControl):
		what = "different control frames"
	default:
		return nil
	}
	return fmt.Errorf("%v: %s\nscript  %x\ngorilla %q\n        sent %v and %v\nhere    %q\n        sent %v and %v",
		s, what, program, their.log, theirData, theirControl, our.log, ourData, ourControl)
}

func writingSetup(n uint64) setup {
	s := setups[n%uint64(len(setups))]
	s.size = []int{0, 0, 256, 1024}[n/4%4]
	return s
}

func TestWritingRandomCalls(t *testing.T) {
	for n := range uint64(800) {
		r := rand.New(rand.NewPCG(n, 3))
		program := grammar{Rand: r}.bytes(20 + r.IntN(60))
		if err := compareWriting(t, writingSetup(n), program); err != nil {
			t.Fatalf("script %d: %v", n, err)
		}
	}
}

func FuzzWriting(f *testing.F) {
	for n := range uint64(32) {
		f.Add(grammar{Rand: rand.New(rand.NewPCG(n, 4))}.bytes(40), n)
	}
	f.Fuzz(func(t *testing.T, program []byte, n uint64) {
		if err := compareWriting(t, writingSetup(n), program); err != nil {
			t.Fatal(err)
		}
	})
}
