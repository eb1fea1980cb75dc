package interop

// The conversation that every peer goes through, as server and as client: messages of every length
// class in both directions, fragments from either side, pings from either side, and every way a
// connection ends, with what both ends saw.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// A conversation is one pair of endpoints that can be connected again and again.
type conversation struct {
	peer        *peer
	open        opener
	subprotocol string // negotiated on every connection
	extensions  string // the Sec-WebSocket-Extensions answer, its parameters in alphabetical order

	browser      bool // the peer's API has no pings, no fragments and fewer close codes
	opaque       bool // the peer's API shows the names of extensions without their parameters
	noEmptyClose bool // the peer's API cannot send a close frame without a code
	dataOnly     bool // nothing but data messages, the longest in one piece alone
	noPingInside bool // the peer takes a compressed message for an uncompressed one after a ping in the middle
	overHTTP2    bool // a peer that drops the connection may end its stream or reset it
}

// run holds the whole conversation, up to the first part that fails: after that the peer's reports belong to nothing.
func (c conversation) run(t *testing.T) {
	parts := []struct {
		name   string
		hold   func(*testing.T)
		absent bool
	}{
		{"messages", c.messages, false},
		{"fragments from us", c.fragmentsFromUs, false},
		{"fragments from the peer", c.fragmentsFromPeer, c.browser},
		{"pipelined", c.pipelined, false},
		{"compressed on the wire", c.compressed, c.extensions == ""},
		{"pings from us", c.pingsFromUs, c.dataOnly},
		{"pings from the peer", c.pingsFromPeer, c.dataOnly || c.browser},
		{"we close", c.weClose, c.dataOnly},
		{"peer closes", c.peerCloses, c.dataOnly},
		{"we drop", c.weDrop, c.dataOnly},
		{"peer drops", c.peerDrops, c.dataOnly || c.browser},
	}
	for _, part := range parts {
		if !part.absent && !t.Run(part.name, part.hold) {
			return
		}
	}
}

// connect opens a connection and checks what was negotiated.
func (c conversation) connect(t *testing.T, m *meter) *websocket.Conn {
	t.Helper()
	conn, extensions := c.open(t, m)
	if got := conn.Subprotocol(); got != c.subprotocol {
		t.Fatalf("our subprotocol is %q, want %q", got, c.subprotocol)
	}
	want := c.extensions
	if c.opaque {
		want, _, _ = strings.Cut(want, ";")
	}
	if got := canonical(extensions); got != want {
		t.Fatalf("negotiated extensions %q, want %q", got, want)
	}
	deadline := time.Now().Add(patience)
	if err := conn.SetReadDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetWriteDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// canonical sorts the parameters of one extension.
func canonical(extension string) string {
	name, rest, _ := strings.Cut(extension, ";")
	parameters := strings.Split(rest, ";")
	for i := range parameters {
		parameters[i] = strings.TrimSpace(parameters[i])
	}
	slices.Sort(parameters)
	return strings.TrimSuffix(strings.TrimSpace(name)+"; "+strings.Join(parameters, "; "), "; ")
}

// expectMessage reads a message and compares it.
func expectMessage(t *testing.T, conn *websocket.Conn, kind int, want []byte) {
	t.Helper()
	gotKind, got, err := conn.ReadMessage()
	if err != nil {
		t.Fatalf("read, want a message of %d bytes: %v", len(want), err)
	}
	if gotKind != kind || !bytes.Equal(got, want) {
		t.Fatalf("received a message of type %d and %d bytes, not the one of type %d and %d bytes that was sent",
			gotKind, len(got), kind, len(want))
	}
}

// finish ends a connection in the usual way.
func (c conversation) finish(t *testing.T, conn *websocket.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Shutdown(ctx, websocket.CloseNormalClosure, "done"); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	c.expectClosed(t, websocket.CloseNormalClosure, "done")
}

// expectClosed waits for the peer to report the end of the connection.
func (c conversation) expectClosed(t *testing.T, code int, reason string) {
	t.Helper()
	if e := c.peer.expect(t, "closed"); e.Code != code || e.Reason != reason {
		t.Errorf("the peer saw close code %d, reason %q, want %d, %q", e.Code, e.Reason, code, reason)
	}
}

func (c conversation) messages(t *testing.T) {
	conn := c.connect(t, nil)
	for _, kind := range kinds {
		for _, n := range lengths {
			want := kind.make(n)
			if err := conn.WriteMessage(kind.code, want); err != nil {
				t.Fatalf("write %s of %d bytes: %v", kind.name, n, err)
			}
			expectMessage(t, conn, kind.code, want)
		}
	}
	c.finish(t, conn)
}

// fragmentLengths are the lengths of messages that are sent in fragments.
func (c conversation) fragmentLengths() []int {
	if c.dataOnly {
		return lengths[:len(lengths)-1]
	}
	return lengths
}

func (c conversation) fragmentsFromUs(t *testing.T) {
	conn := c.connect(t, nil)
	for _, kind := range kinds {
		for _, n := range c.fragmentLengths() {
			want := kind.make(n)
			w, err := conn.NextWriter(kind.code)
			if err != nil {
				t.Fatal(err)
			}
			// A ping in the middle must find its way between two fragments.
			for i, piece := range slices.Collect(slices.Chunk(want, max(1, n/7))) {
				if i == 4 && !c.noPingInside {
					if err := conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience)); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.Write(piece); err != nil {
					t.Fatalf("write piece %d of %s of %d bytes: %v", i, kind.name, n, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			expectMessage(t, conn, kind.code, want)
		}
	}
	c.finish(t, conn)
}

func (c conversation) fragmentsFromPeer(t *testing.T) {
	conn := c.connect(t, nil)
	c.peer.do(t, command{Do: "fragments", Fragments: 5})
	// Commands do not travel on the connection: wait until this one has been carried out.
	c.peer.do(t, command{Do: "ping", Data: "fragments"})
	expectMessage(t, conn, websocket.TextMessage, []byte("pong fragments"))
	for _, kind := range kinds {
		for _, n := range c.fragmentLengths() {
			want := kind.make(n)
			if err := conn.WriteMessage(kind.code, want); err != nil {
				t.Fatal(err)
			}
			expectMessage(t, conn, kind.code, want)
		}
	}
	c.finish(t, conn)
}

// pipelined keeps many messages in flight, so that several frames arrive and leave together.
func (c conversation) pipelined(t *testing.T) {
	conn := c.connect(t, nil)
	const count = 500
	message := func(i int) []byte { return fmt.Appendf(nil, "%d %s", i, strings.Repeat("-", i%300)) }
	written := make(chan error, 1)
	go func() {
		for i := range count {
			if err := conn.WriteMessage(websocket.TextMessage, message(i)); err != nil {
				written <- fmt.Errorf("write message %d: %w", i, err)
				return
			}
		}
		written <- nil
	}()
	for i := range count {
		expectMessage(t, conn, websocket.TextMessage, message(i))
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	c.finish(t, conn)
}

func (c conversation) pingsFromUs(t *testing.T) {
	conn := c.connect(t, nil)
	var pongs []string
	conn.SetPongHandler(func(payload string) error {
		pongs = append(pongs, payload)
		return nil
	})
	payloads := []string{"", "ping", strings.Repeat("p", 125)}
	for _, payload := range payloads {
		if err := conn.WriteControl(websocket.PingMessage, []byte(payload), time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		// RFC 6455 §5.5.3 allows a peer to answer only the latest of several pings, so one is in flight at a time.
		if err := conn.WriteMessage(websocket.TextMessage, []byte("after")); err != nil {
			t.Fatal(err)
		}
		expectMessage(t, conn, websocket.TextMessage, []byte("after"))
	}
	if !slices.Equal(pongs, payloads) {
		t.Errorf("pongs %q, want %q", pongs, payloads)
	}

	// Ping waits for its pong while somebody else reads.
	read := make(chan error, 1)
	go func() {
		_, _, err := conn.ReadMessage()
		read <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		t.Errorf("Ping: %v", err)
	}
	if err := conn.WriteMessage(websocket.TextMessage, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Errorf("read while pinging: %v", err)
	}
	c.finish(t, conn)
}

func (c conversation) pingsFromPeer(t *testing.T) {
	conn := c.connect(t, nil)
	for _, payload := range []string{"", "ping", strings.Repeat("p", 125)} {
		c.peer.do(t, command{Do: "ping", Data: payload})
		expectMessage(t, conn, websocket.TextMessage, []byte("pong "+payload))
	}
	c.finish(t, conn)
}

// compressed counts the bytes below the connection: both directions have to be smaller than the message.
func (c conversation) compressed(t *testing.T) {
	m := new(meter)
	conn := c.connect(t, m)
	want := textOf(1 << 16)
	read, written := m.read.Load(), m.written.Load()
	if err := conn.WriteMessage(websocket.TextMessage, want); err != nil {
		t.Fatal(err)
	}
	expectMessage(t, conn, websocket.TextMessage, want)
	read, written = m.read.Load()-read, m.written.Load()-written
	if limit := int64(len(want) / 2); read == 0 || written == 0 || read > limit || written > limit {
		t.Errorf("a message of %d bytes that compresses well took %d bytes out and %d bytes in", len(want), written, read)
	}
	c.finish(t, conn)
}

// endings are close codes and reasons. Browsers may send only 1000 and 3000 to 4999 (WebSockets Standard, close()).
var endings = []websocket.CloseError{
	{Code: websocket.CloseNormalClosure, Text: "done"},
	{Code: websocket.CloseGoingAway, Text: "füße, κόσμε, 世界"},
	{Code: websocket.ClosePolicyViolation},
	{Code: websocket.CloseInternalServerErr, Text: "a"},
	{Code: 3000},
	{Code: 4999, Text: strings.Repeat("reason ", 17) + "1234"}, // 123 bytes
	{Code: websocket.CloseNoStatusReceived},                    // a close frame without a body
}

func (c conversation) weClose(t *testing.T) {
	for _, ending := range endings {
		t.Run(fmt.Sprint(ending.Code), func(t *testing.T) {
			conn := c.connect(t, nil)
			body := websocket.FormatCloseMessage(ending.Code, ending.Text)
			if err := conn.WriteControl(websocket.CloseMessage, body, time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			expectClose(t, conn, ending)
			conn.Close()
			c.expectClosed(t, ending.Code, ending.Text)
		})
	}
}

func (c conversation) peerCloses(t *testing.T) {
	for _, ending := range endings {
		if c.browser && ending.Code != websocket.CloseNormalClosure && ending.Code < 3000 &&
			ending.Code != websocket.CloseNoStatusReceived {
			continue
		}
		if c.noEmptyClose && ending.Code == websocket.CloseNoStatusReceived {
			continue
		}
		t.Run(fmt.Sprint(ending.Code), func(t *testing.T) {
			conn := c.connect(t, nil)
			said := command{Do: "close", Code: ending.Code, Reason: ending.Text}
			if ending.Code == websocket.CloseNoStatusReceived {
				said.Code = 0
			}
			c.peer.do(t, said)
			expectClose(t, conn, ending)
			conn.Close()
			// The answer that the default close handler sends repeats the code alone.
			c.expectClosed(t, ending.Code, "")
		})
	}
}

// expectClose reads until the end of the connection, which has to be the given close frame.
func expectClose(t *testing.T, conn *websocket.Conn, want websocket.CloseError) {
	t.Helper()
	_, p, err := conn.ReadMessage()
	if err == nil {
		t.Fatalf("read a message of %d bytes, want close code %d", len(p), want.Code)
	}
	checkClose(t, err, want)
}

func checkClose(t *testing.T, err error, want websocket.CloseError) {
	t.Helper()
	got, ok := err.(*websocket.CloseError)
	if !ok || *got != want {
		t.Errorf("read failed with %v, want close code %d, reason %q", err, want.Code, want.Text)
	}
}

func (c conversation) weDrop(t *testing.T) {
	conn := c.connect(t, nil)
	conn.Close()
	c.expectClosed(t, websocket.CloseAbnormalClosure, "")
}

func (c conversation) peerDrops(t *testing.T) {
	conn := c.connect(t, nil)
	c.peer.do(t, command{Do: "drop"})
	if _, _, err := conn.ReadMessage(); !c.overHTTP2 || websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
		checkClose(t, err, websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: "unexpected EOF"})
	} else if reset := new(net.OpError); !errors.As(err, &reset) || reset.Timeout() {
		t.Errorf("read failed with %v, want a reset", err)
	}
	conn.Close()
	c.expectClosed(t, websocket.CloseAbnormalClosure, "")
}
