package conformance_test

// How a row of the wire table runs: over a connection that plays a script, in every style of
// reading and every chunking, as a server and as a client.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

// A wireRow is one rule of the protocol: what comes in, and all that follows.
type wireRow struct {
	name string
	in   []wireFrame // ends with the byte that breaks the rule: no later one is needed to tell
	want []wireMessage
	back []wireFrame // the replies, but for the close frame that end implies
	end  wireEnd

	only     wireRole // the roles for which the row is meant
	deflate  bool     // permessage-deflate was negotiated
	takeover bool     // with context takeover
	limit    int64    // for SetReadLimit; 0: the default, noLimit: SetReadLimit(0)

	// early says that what is wrong with a compressed message is known before its end. Handle on a
	// socket collects the message first, and sees only that it ends too early.
	early bool
}

const noLimit = -1

type wireRole int

const (
	bothRoles wireRole = iota
	serverRole
	clientRole
)

type wireMessage struct {
	messageType int
	data        string
}

func (m wireMessage) String() string {
	return fmt.Sprintf("{%d %s}", m.messageType, wiretest.Shortened(m.data))
}

func texts(data ...string) []wireMessage    { return wireMessages(websocket.TextMessage, data) }
func binaries(data ...string) []wireMessage { return wireMessages(websocket.BinaryMessage, data) }

func wireMessages(messageType int, data []string) []wireMessage {
	messages := make([]wireMessage, len(data))
	for i := range data {
		messages[i] = wireMessage{messageType, data[i]}
	}
	return messages
}

// A wireEnd is how the reading ends: with which error, and with which close frame sent.
type wireEnd struct {
	err   error
	reply []wireFrame
}

// The zero wireEnd: the stream ends without a close frame.
var endEOF = wireEnd{err: &websocket.CloseError{Code: 1006, Text: "unexpected EOF"}}

// endClose: the peer closes, and gets its code back.
func endClose(code int, reason string) wireEnd {
	return wireEnd{&websocket.CloseError{Code: code, Text: reason}, []wireFrame{closeFrame(code, "")}}
}

// endNoStatus: the peer closes without a code.
var endNoStatus = wireEnd{&websocket.CloseError{Code: 1005}, []wireFrame{frame(0x88, "")}}

// endFail: the peer broke a rule, and is told which.
func endFail(code int, text string) wireEnd {
	return wireEnd{&websocket.ProtocolError{Code: code, Text: text}, []wireFrame{closeFrame(code, text)}}
}

// endLimit: the message is too big.
var endLimit = wireEnd{websocket.ErrReadLimit, []wireFrame{closeFrame(1009, "")}}

// A wireStyle reads messages until an error.
type wireStyle struct {
	name   string
	read   func(c *websocket.Conn) ([]wireMessage, error)
	closes bool // the connection is closed behind that
}

var wireStyles = []wireStyle{
	{name: "ReadMessage", read: readByMessage},
	{name: "NextReader", read: readByReader},
	{name: "Messages", read: readByRange},
	{name: "ReadMessageContext, then Close", read: readAndClose, closes: true},
	handleStyle,
}

var handleStyle = wireStyle{name: "Handle", read: readByHandle, closes: true}

func readByMessage(c *websocket.Conn) (messages []wireMessage, err error) {
	for {
		messageType, p, err := c.ReadMessage()
		if err != nil {
			return messages, err
		}
		messages = append(messages, wireMessage{messageType, string(p)})
	}
}

// readByReader reads in pieces of 1, 2, 4 ... 1024, 1, 2 ... bytes.
func readByReader(c *websocket.Conn) (messages []wireMessage, err error) {
	var data []byte
	var b [1024]byte
	for {
		messageType, r, err := c.NextReader()
		if err != nil {
			return messages, err
		}
		data = data[:0]
		for i := 0; ; i++ {
			n, err := r.Read(b[:1<<(i%11)])
			data = append(data, b[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				if _, again := r.Read(b[:]); again != err {
					return messages, fmt.Errorf("the reader's second error is %v, the first was %v", again, err)
				}
				return messages, err
			}
		}
		if n, err := r.Read(b[:]); n != 0 || err != io.EOF {
			return messages, fmt.Errorf("behind the end the reader returned %d, %v", n, err)
		}
		messages = append(messages, wireMessage{messageType, string(data)})
	}
}

func readByRange(c *websocket.Conn) (messages []wireMessage, err error) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return messages, err
		}
		messages = append(messages, wireMessage{m.Type, string(m.Data)})
	}
	// It ends without an error only after a normal close.
	_, _, err = c.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway) {
		err = fmt.Errorf("Messages ended without an error before %v", err)
	}
	return messages, err
}

func readByHandle(c *websocket.Conn) (messages []wireMessage, err error) {
	done := make(chan error, 1)
	c.Handle(func(c *websocket.Conn, m websocket.Message, err error) {
		if err != nil {
			c.Close() // which Handle does anyway, behind this call
			done <- err
			return
		}
		messages = append(messages, wireMessage{m.Type, string(m.Data)})
	})
	err = <-done
	return messages, err
}

// readAndClose closes the connection at once: that must not keep a reply from the peer.
func readAndClose(c *websocket.Conn) (messages []wireMessage, err error) {
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		messageType, p, err := c.ReadMessageContext(ctx)
		if err != nil {
			return messages, err
		}
		messages = append(messages, wireMessage{messageType, string(p)})
	}
}

// A wireResult is what became of a script.
type wireResult struct {
	style    wireStyle
	messages []wireMessage
	err      error
	again    error       // of the read after the one that returned err
	writeErr error       // of a write behind that
	sent     []wireFrame // all that was written
}

// play has the connection read a script to its end.
func (s setup) play(script []byte, limit int64, style wireStyle) (wireResult, error) {
	c, nc, err := s.open(script)
	if err != nil {
		return wireResult{}, fmt.Errorf("handshake: %w", err)
	}
	return s.readAll(c, nc, limit, style)
}

func setLimit(c *websocket.Conn, limit int64) {
	switch {
	case limit > 0:
		c.SetReadLimit(limit)
	case limit == noLimit:
		c.SetReadLimit(0)
	}
}

// readAll reads until the connection ends.
func (s setup) readAll(c *websocket.Conn, nc *wiretest.ScriptConn, limit int64, style wireStyle) (wireResult, error) {
	setLimit(c, limit)
	res := wireResult{style: style}
	res.messages, res.err = style.read(c)
	_, _, res.again = c.ReadMessage()
	if s.beforeRead != nil {
		s.beforeRead()
	}
	c.Flush()
	before := nc.Sent()
	res.writeErr = c.WriteMessage(websocket.TextMessage, []byte("late"))
	if res.writeErr != nil {
		if err := res.lateWrites(c); err != nil {
			return res, err
		}
		if after := nc.Sent(); !bytes.Equal(before, after) {
			return res, fmt.Errorf("a refused write wrote % x", after[len(before):])
		}
	}
	c.Close()
	var err error
	res.sent, err = wiretest.Decode(before, !s.server)
	return res, err
}

// lateWrites returns an error unless every way to write is closed.
func (r *wireResult) lateWrites(c *websocket.Conn) error {
	if r.style.closes {
		return nil
	}
	for name, err := range map[string]error{
		"WriteControl(ping)":  c.WriteControl(websocket.PingMessage, nil, time.Time{}),
		"WriteControl(close)": c.WriteControl(websocket.CloseMessage, nil, time.Time{}),
		"WriteMessage(close)": c.WriteMessage(websocket.CloseMessage, nil),
		"WriteJSON":           c.WriteJSON(1),
	} {
		if err != websocket.ErrCloseSent {
			return fmt.Errorf("%s returned %v, want websocket.ErrCloseSent", name, err)
		}
	}
	w, err := c.NextWriter(websocket.TextMessage)
	if err == nil {
		err = w.Close() // at the latest
	}
	if err != websocket.ErrCloseSent {
		return fmt.Errorf("NextWriter returned %v, want websocket.ErrCloseSent", err)
	}
	return nil
}

// check returns an error unless the result is one that any input may have: the error lasts, and at
// most one close frame is the last one sent and says what the error says.
func (r *wireResult) check() error {
	sticky := r.again == r.err || r.style.closes && errors.Is(r.again, net.ErrClosed)
	if r.err == nil || !sticky {
		return fmt.Errorf("second read: %v (%T), first: %v (%T)", r.again, r.again, r.err, r.err)
	}
	if r.style.closes && r.writeErr == nil {
		return errors.New("no error from a write after Close")
	}
	for i, f := range r.sent {
		if f.First == 0x88 && i < len(r.sent)-1 {
			return fmt.Errorf("frames behind the close frame: %q", wiretest.Payloads(r.sent[i+1:]))
		}
		if f.First != 0x88 && f.First != 0x8a {
			return fmt.Errorf("reply with first byte %02x", f.First)
		}
		if len(f.Payload) > 125 {
			return fmt.Errorf("control frame of %d bytes", len(f.Payload))
		}
	}
	var want []wireFrame
	var pe *websocket.ProtocolError
	var ce *websocket.CloseError
	switch {
	case errors.As(r.err, &pe):
		want = endFail(pe.Code, pe.Text).reply
	case r.err == websocket.ErrReadLimit:
		// Its reason has the limit, which the error has not.
		want = []wireFrame{closeFrame(1009, "")}
	case errors.As(r.err, &ce) && ce.Code == 1005:
		want = endNoStatus.reply
	case errors.As(r.err, &ce) && ce.Code != 1006:
		want = endClose(ce.Code, "").reply
	case ce == nil:
		return fmt.Errorf("unexpected error %v", r.err)
	}
	if errors.Is(r.err, io.ErrUnexpectedEOF) != (want == nil) {
		return fmt.Errorf("errors.Is(%v, io.ErrUnexpectedEOF) is %v", r.err, want != nil)
	}
	var got []wireFrame
	if n := len(r.sent); n > 0 && r.sent[n-1].First == 0x88 {
		got = r.sent[n-1:]
	}
	if len(got) != len(want) || len(got) > 0 && !strings.HasPrefix(got[0].Payload, want[0].Payload) {
		return fmt.Errorf("close frame %q for the error %v", wiretest.Payloads(got), r.err)
	}
	if want != nil && !r.style.closes && r.writeErr != websocket.ErrCloseSent {
		return fmt.Errorf("write behind the close frame: %v, want websocket.ErrCloseSent", r.writeErr)
	}
	return nil
}

// run runs the row in one way, inside a bubble, and returns what is wrong.
func (row *wireRow) run(server bool, chunks chunking, style wireStyle) error {
	s := setup{server: server, deflate: row.deflate, takeover: row.takeover, chunking: chunks}
	if len(row.back) > 0 {
		s.beforeRead = synctest.Wait
	}
	res, err := s.play(wiretest.Encode(row.in, server), row.limit, style)
	if err == nil {
		err = res.check()
	}
	if err != nil {
		return err
	}
	if err := row.checkRead(res.messages, res.err); err != nil {
		return err
	}
	if want := slices.Concat(row.back, row.ending().reply); !wiretest.Equal(res.sent, want) {
		return fmt.Errorf("sent %q, want %q", wiretest.Payloads(res.sent), wiretest.Payloads(want))
	}
	return nil
}

// ending is how the reading ends.
func (row *wireRow) ending() wireEnd {
	if row.end.err == nil {
		return endEOF
	}
	return row.end
}

// checkRead compares what was read with what the row wants.
func (row *wireRow) checkRead(messages []wireMessage, err error) error {
	if !slices.Equal(messages, row.want) {
		return fmt.Errorf("messages %v, want %v", messages, row.want)
	}
	end := row.ending()
	if got, want := fmt.Sprintf("%T %+v", err, err), fmt.Sprintf("%T %+v", end.err, end.err); got != want {
		return fmt.Errorf("error %s, want %s", got, want)
	}
	if end.err == websocket.ErrReadLimit && err != websocket.ErrReadLimit {
		return errors.New("the error is not websocket.ErrReadLimit itself")
	}
	return nil
}

func (row *wireRow) roles() []bool {
	switch row.only {
	case serverRole:
		return []bool{true}
	case clientRole:
		return []bool{false}
	}
	return []bool{true, false}
}

// runAll runs the row in all ways. Within a bubble a read can wait for every timer that is due, so
// which pongs are sent does not depend on the scheduler.
func (row *wireRow) runAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, server := range row.roles() {
			for _, style := range wireStyles {
				for _, chunks := range chunkings(server) {
					if err := row.run(server, chunks, style); err != nil {
						t.Fatalf("server %v, %s, %s: %v", server, style.name, chunks.name, err)
					}
				}
			}
		}
	})
}
