package gorilla

// Both libraries read the same bytes, valid and not, in both roles. What they
// deliver, how they end and what they send back must be the same, or differ as
// a rule predicts.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"testing/iotest"

	websocket "github.com/tautws/websocket"
)

// result is what a program and its peer learn from one connection.
type result struct {
	messages []message
	partial  []byte // of the message that failed
	kind     int    // message type returned with the error
	class    string // of the error that ended the reading
	again    string // of the next read
	err      error
	sent     []frame
}

func (r result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "messages %v, then type %d with %d bytes, %s (%v), then %s; sent",
		r.messages, r.kind, len(r.partial), r.class, r.err, r.again)
	for _, f := range r.sent {
		fmt.Fprintf(&b, " %d:%q", f.opcode(), f.payload)
	}
	return b.String()
}

// readClass is class with the code of a violation. gorilla's are anonymous and
// always 1002.
func (l library) readClass(err error) string {
	if v, ok := err.(*websocket.ProtocolError); ok {
		return violationClass(v.Code)
	}
	class := l.class(err)
	if class == "anonymous" && l.name == theirs.name {
		return violationClass(1002)
	}
	return class
}

// A style is a way to read a message.
type style func(c conn) (kind int, p []byte, err error)

var styles = []style{
	func(c conn) (int, []byte, error) { return c.ReadMessage() },
	func(c conn) (int, []byte, error) {
		kind, r, err := c.NextReader()
		if err != nil {
			return kind, nil, err
		}
		p, err := io.ReadAll(iotest.OneByteReader(r))
		return kind, p, err
	},
	func(c conn) (int, []byte, error) {
		kind, r, err := c.NextReader()
		if err != nil {
			return kind, nil, err
		}
		var b bytes.Buffer
		_, err = io.CopyBuffer(struct{ io.Writer }{&b}, r, make([]byte, 37))
		return kind, b.Bytes(), err
	},
}

// read reads a stream to its end.
func (l library) read(t testing.TB, p plan, stream []byte) (r result) {
	t.Helper()
	w := newWire(p.cut(stream)...)
	r = l.readFrom(l.open(t, w, p.setup), p)
	r.sent = parseFrames(w.output())
	return r
}

// readTCP is read over TCP, where a connection may wait in other ways.
func (l library) readTCP(t testing.TB, p plan, stream []byte) (r result) {
	t.Helper()
	nc, peer := tcpPair(t)
	c := l.openPipe(t, nc, peer, p.setup)
	sent := make(chan []byte)
	go func() {
		for _, chunk := range p.cut(stream) {
			peer.Write(chunk)
		}
		peer.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(peer)
		sent <- b
	}()
	// Closing a socket with unread input would destroy what was sent.
	r = l.readFrom(lingering{c, nc}, p)
	r.sent = parseFrames(<-sent)
	return r
}

// lingering leaves what was sent to the peer when it is closed.
type lingering struct {
	conn
	nc net.Conn
}

func (c lingering) Close() error {
	c.nc.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c.nc)
	return c.conn.Close()
}

// readFrom reads a connection to its end.
func (l library) readFrom(c conn, p plan) (r result) {
	if p.limit != 0 {
		c.SetReadLimit(max(p.limit, 0))
	}
	for {
		kind, data, err := p.read(c)
		if err != nil {
			r.kind, r.partial, r.class, r.err = kind, data, l.readClass(err), err
			if strings.HasPrefix(r.class, "flate.") {
				// gorilla goes on behind a message that cannot be inflated.
				break
			}
			_, _, next := c.ReadMessage()
			r.again = l.readClass(next)
			break
		}
		r.messages = append(r.messages, message{kind, data})
	}
	c.Close()
	return r
}

// compareReading runs a stream through both libraries and returns what is
// wrong, or nil.
func compareReading(t testing.TB, p plan, stream []byte, read func(library, testing.TB, plan, []byte) result) error {
	t.Helper()
	their, our := read(theirs, t, p, stream), read(ours, t, p, stream)
	d := walk(stream, p.setup, p.limit)
	var err error
	switch {
	case d == nil:
		err = same(p, their, our)
	case d.also && same(p, their, our) == nil:
	default:
		err = d.check(their, our)
	}
	if err != nil {
		row := "none"
		if d != nil {
			row = fmt.Sprintf("%+v", *d)
		}
		return fmt.Errorf("%v, limit %d: %w\nstream %x\nrule    %s\ngorilla %v\nhere    %v", p.setup, p.limit, err, stream, row, their, our)
	}
	return nil
}

// same compares two results where no rule applies.
func same(p plan, their, our result) error {
	switch {
	case !equalMessages(their.messages, our.messages):
		return errors.New("different messages")
	case their.class != our.class:
		return errors.New("different errors")
	case our.again != our.class:
		return errors.New("the error is not permanent")
	case !p.deflate && !bytes.Equal(their.partial, our.partial):
		return errors.New("different parts of the message that failed")
	case their.kind != our.kind:
		return errors.New("different message type beside the error")
	case !sameAnswers(their.sent, our.sent):
		return errors.New("different answers")
	}
	return nil
}

// sameAnswers compares what was sent: pongs, and of a close frame the code, as
// its reason is for people. RFC 6455 §5.5.3: of several pings that came before
// a pong could leave, the last alone may be answered.
func sameAnswers(their, our []frame) bool {
	their, theirCode := splitClose(their)
	our, ourCode := splitClose(our)
	return theirCode == ourCode && isSubsequence(our, their)
}

// splitClose takes a close frame off the end and returns its code, 0 if there
// is none.
func splitClose(frames []frame) ([]frame, int) {
	if n := len(frames); n > 0 && frames[n-1].opcode() == closing {
		return frames[:n-1], closeCode(frames[n-1].payload)
	}
	return frames, 0
}

// isSubsequence reports whether all frames of part are in whole, in order.
func isSubsequence(part, whole []frame) bool {
	for _, f := range whole {
		if len(part) > 0 && f.first == part[0].first && f.masked == part[0].masked && bytes.Equal(f.payload, part[0].payload) {
			part = part[1:]
		}
	}
	return len(part) == 0
}

func closeCode(p []byte) int {
	if len(p) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(p))
}

// check compares two results where a rule applies: they agree up to there, and
// here it ends as the rule says.
func (d *deviation) check(their, our result) error {
	n := d.messages
	if len(their.messages) < n || len(our.messages) < n || !equalMessages(their.messages[:n], our.messages[:n]) {
		return errors.New("different messages before the deviation")
	}
	if d.open {
		return nil
	}
	if len(our.messages) != n {
		return errors.New("messages delivered after the deviation")
	}
	if !d.allows(our.class) || our.again != our.class {
		return fmt.Errorf("expected one of %q, permanently", d.classes)
	}
	pongs, code := splitClose(our.sent)
	if !isSubsequence(pongs, their.sent[:min(d.pongs, len(their.sent))]) {
		return errors.New("different answers before the deviation")
	}
	want := 1009 // for ErrReadLimit
	fmt.Sscanf(strings.NewReplacer("violation", "", "CloseError", "").Replace(our.class), "%d", &want)
	if code != want {
		return fmt.Errorf("expected a close frame with code %d at the end", want)
	}
	return nil
}

// A plan is how one stream is read, derived from a number.
type plan struct {
	setup
	limit int64
	read  style
	cut   func([]byte) [][]byte
}

func newPlan(n uint64) plan {
	r := rand.New(rand.NewPCG(n, 6455))
	p := plan{
		setup: setups[n%uint64(len(setups))],
		limit: int64(pick(r, 0, 0, 0, -1, 125, 200, 4096)),
		read:  pick(r, styles...),
	}
	p.cut = func(b []byte) [][]byte { return grammar{rand.New(rand.NewPCG(n, 7692)), p.setup}.chunks(b) }
	return p
}

func TestReadingRandomStreams(t *testing.T) {
	rows := make(map[string]int)
	for n := range uint64(2000) {
		p := newPlan(n)
		stream := grammar{rand.New(rand.NewPCG(n, 1)), p.setup}.stream()
		if err := compareReading(t, p, stream, library.read); err != nil {
			t.Fatalf("stream %d: %v", n, err)
		}
		row := "none"
		if d := walk(stream, p.setup, p.limit); d != nil {
			row = d.row
		}
		rows[row]++
	}
	for _, row := range []string{"none", rowText, rowLimit, rowFrames, rowLength, rowDeflate} {
		if rows[row] == 0 {
			t.Errorf("no stream in which row %q applies", row)
		}
	}
}

func TestReadingOverTCP(t *testing.T) {
	for n := range uint64(200) {
		p := newPlan(n)
		stream := grammar{rand.New(rand.NewPCG(n, 7)), p.setup}.stream()
		if err := compareReading(t, p, stream, library.readTCP); err != nil {
			t.Fatalf("stream %d: %v", n, err)
		}
	}
}

// TestFirstErrorWins: an inflater reads ahead, and may meet a violation in the
// next frame before the bytes it has already inflated are judged. Whatever is
// reported, the close frame and all later reads say the same.
func TestFirstErrorWins(t *testing.T) {
	bad := deflate([]byte(strings.Repeat("valid ", 20)+"\xff"), 6)
	long := deflate([]byte(strings.Repeat("long ", 1000)), 6)
	for i, next := range []frame{{first: fin | 4}, {first: fin | rsv2 | ping}, {first: fin | rsv1 | continuation}, {first: fin | text}} {
		for n := range uint64(40) {
			p := newPlan(n)
			if !p.deflate {
				continue
			}
			for payload, limit := range map[string]int64{string(bad): 0, string(long): 200} {
				p.limit = limit
				stream := p.stream(frame{first: rsv1 | text, payload: []byte(payload)}, next)
				if err := compareReading(t, p, stream, library.read); err != nil {
					t.Fatalf("frame %d, plan %d: %v", i, n, err)
				}
			}
		}
	}
}

func FuzzReading(f *testing.F) {
	for n := range uint64(64) {
		f.Add(grammar{rand.New(rand.NewPCG(n, 2)), setups[n%4]}.stream(), n)
	}
	f.Fuzz(func(t *testing.T, stream []byte, n uint64) {
		if err := compareReading(t, newPlan(n), stream, library.read); err != nil {
			t.Fatal(err)
		}
	})
}
