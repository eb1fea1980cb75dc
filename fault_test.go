package websocket

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A connection whose network fails at each of its calls in turn. Whatever
// fails, the conversation ends, what was sent is a beginning of what was to be
// sent, and nothing that Flush has confirmed is missing.

var errFault = errors.New("fault")

// A fault is what becomes of one call. Reads and writes are counted apart.
type fault struct {
	name  string
	write bool
	// act passes on a part of p, or none, and returns what the call returns.
	act func(p []byte, pass func([]byte) (int, error)) (int, error)
	// then is the error of all later calls, if any.
	then error
	// harmless: the conversation still comes to its proper end.
	harmless bool
}

// A temporaryTimeout is what a net.Conn returns when its deadline passes.
type temporaryTimeout struct{}

func (temporaryTimeout) Error() string   { return "i/o timeout" }
func (temporaryTimeout) Timeout() bool   { return true }
func (temporaryTimeout) Temporary() bool { return true }
func (temporaryTimeout) Unwrap() error   { return os.ErrDeadlineExceeded }

func failing(err error) func([]byte, func([]byte) (int, error)) (int, error) {
	return func([]byte, func([]byte) (int, error)) (int, error) { return 0, err }
}

// partly passes on a part of what is to be done and returns err with it.
func partly(part func(n int) int, err error) func([]byte, func([]byte) (int, error)) (int, error) {
	return func(p []byte, pass func([]byte) (int, error)) (int, error) {
		n, failure := pass(p[:part(len(p))])
		if failure != nil {
			return n, failure
		}
		return n, err
	}
}

func half1(n int) int { return (n + 1) / 2 }
func one(int) int     { return 1 }
func butOne(n int) int {
	return max(n-1, 0)
}

var faults = []fault{
	{name: "read fails", act: failing(errFault)},
	{name: "read keeps failing", act: failing(errFault), then: errFault},
	{name: "read of one byte", act: partly(one, nil), harmless: true},
	{name: "read of a byte beside an error", act: partly(one, errFault), then: errFault},
	{name: "read of a byte beside EOF", act: partly(one, io.EOF), then: io.EOF},
	{name: "EOF", act: failing(io.EOF), then: io.EOF},
	{name: "read times out", act: failing(temporaryTimeout{})},
	{name: "read of nothing", act: failing(nil), harmless: true},
	{name: "write fails", act: failing(errFault), write: true},
	{name: "write keeps failing", act: failing(errFault), write: true, then: errFault},
	{name: "write of one byte", act: partly(one, errFault), write: true},
	{name: "write of half", act: partly(half1, io.ErrShortWrite), write: true},
	{name: "write of all but one byte", act: partly(butOne, errFault), write: true},
	{name: "write of all, and an error", act: partly(func(n int) int { return n }, errFault), write: true},
	{name: "write times out", act: failing(temporaryTimeout{}), write: true},
	{name: "write of half times out", act: partly(half1, temporaryTimeout{}), write: true},
}

// A faultConn is a scriptConn with a fault at call number at.
type faultConn struct {
	*scriptConn
	fault fault
	at    int

	mu            sync.Mutex
	reads, writes int
	struck        bool
}

func (c *faultConn) Read(p []byte) (int, error) {
	return c.call(&c.reads, !c.fault.write, p, c.scriptConn.Read)
}

func (c *faultConn) Write(p []byte) (int, error) {
	return c.call(&c.writes, c.fault.write, p, c.scriptConn.Write)
}

func (c *faultConn) call(calls *int, meant bool, p []byte, pass func([]byte) (int, error)) (int, error) {
	c.mu.Lock()
	now, later := meant && *calls == c.at, meant && *calls > c.at
	*calls++
	c.struck = c.struck || now
	c.mu.Unlock()
	switch {
	case now:
		return c.fault.act(p, pass)
	case later && c.fault.then != nil:
		return 0, c.fault.then
	}
	return pass(p)
}

// A talk is what an application did on a connection that may fail.
type talk struct {
	got       []wireMessage
	readErr   error
	writeErr  error
	confirmed int // bytes sent when Flush last returned nil
}

// converse echoes what it reads, in all ways there are to write, until the
// reading has failed for good.
func converse(c *Conn, nc *faultConn) (res talk) {
	note := func(err error) {
		if err != nil && res.writeErr == nil {
			res.writeErr = err
		}
	}
	for {
		messageType, p, err := c.ReadMessage()
		if ne, ok := err.(interface{ Temporary() bool }); ok && ne.Temporary() {
			continue // a timeout between messages
		}
		if err != nil {
			res.readErr = err
			break
		}
		res.got = append(res.got, wireMessage{messageType, string(p)})
		before := len(nc.sent())
		switch len(res.got) % 3 {
		case 0:
			note(c.WriteMessage(messageType, p))
		case 1:
			w, err := c.NextWriter(messageType)
			if err == nil {
				_, err = w.Write(p)
				err = errors.Join(err, w.Close())
			}
			note(err)
		case 2:
			note(c.WriteControl(PingMessage, p[:min(len(p), 125)], time.Now().Add(time.Minute)))
			note(c.WriteMessage(messageType, p))
		}
		err = c.Flush()
		note(err)
		if err == nil && res.writeErr == nil {
			if res.confirmed = len(nc.sent()); res.confirmed < before+len(p) {
				note(fmt.Errorf("Flush confirmed a message of %d bytes with %d written", len(p), res.confirmed-before))
			}
		}
	}
	c.Close()
	return res
}

func faultScript() []byte {
	return wireBytes([]wireFrame{
		textFrame("one"), pingFrame("a"), binaryFrame(strings.Repeat("two", 2000)), textFrame("three"), textFrame("four"),
		frame(0x01, "fi"), pingFrame("b"), frame(0x80, "ve"), binaryFrame(strings.Repeat("6", 30_000)), pingFrame("c"),
		pongFrame("d"), textFrame(""), textFrame("eight"), closeFrame(1000, "bye"),
	}, true)
}

func runFault(f fault, at int) (*faultConn, talk) {
	rnd := 0
	nc := &faultConn{fault: f, at: at, scriptConn: &scriptConn{script: faultScript(), size: func() int {
		rnd++
		return []int{7, 4096, 100, 1, 3000}[rnd%5]
	}}}
	c := newConn(nc, connConfig{isServer: true, writeBufferSize: 512})
	return nc, converse(c, nc)
}

func TestFaults(t *testing.T) {
	var whole talk
	var stream []byte
	synctest.Test(t, func(t *testing.T) {
		var nc *faultConn
		nc, whole = runFault(fault{}, -1)
		stream = nc.sent()
	})
	if len(whole.got) != 8 || !IsCloseError(whole.readErr, 1000) || whole.writeErr != nil {
		t.Fatalf("without a fault: %d messages, %v, %v", len(whole.got), whole.readErr, whole.writeErr)
	}
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			for at := 0; ; at++ {
				struck := false
				synctest.Test(t, func(t *testing.T) {
					nc, res := runFault(f, at)
					struck = nc.struck
					if err := checkFault(f, nc.sent(), &res, stream, &whole); err != nil {
						t.Errorf("at call %d: %v", at, err)
					}
				})
				if !struck || t.Failed() {
					if at < 10 && !t.Failed() {
						t.Errorf("only %d calls", at)
					}
					return
				}
			}
		})
	}
}

func checkFault(f fault, sent []byte, res *talk, stream []byte, whole *talk) error {
	for i, m := range res.got {
		if i >= len(whole.got) || m != whole.got[i] {
			return fmt.Errorf("message %d is %v", i, m)
		}
	}
	if f.harmless || !IsCloseError(res.readErr, 1006) && IsCloseError(res.readErr, 1000) {
		if len(res.got) != len(whole.got) || !IsCloseError(res.readErr, 1000) {
			return fmt.Errorf("%d messages, then %v", len(res.got), res.readErr)
		}
	}
	if !f.write && res.writeErr != nil {
		return fmt.Errorf("writing ended with %v", res.writeErr)
	}
	if f.write && res.writeErr == nil && len(sent) < len(stream)-len("\x88\x02\x03\xe8") {
		return fmt.Errorf("of %d bytes %d were sent, and no write returned an error", len(stream), len(sent))
	}
	if res.confirmed > len(sent) {
		return fmt.Errorf("%d bytes were confirmed, %d are sent", res.confirmed, len(sent))
	}
	if f.harmless && len(sent) < len(stream) {
		return fmt.Errorf("%d bytes were sent, want %d", len(sent), len(stream))
	}
	return checkSent(sent, stream)
}

// checkSent returns an error unless sent is a beginning of stream, but for the
// pongs, which may come a frame later.
func checkSent(sent, stream []byte) error {
	all, _ := parseWire(stream, false)
	got, _ := parseWire(sent, false)
	isPong := func(f wireFrame) bool { return f.first == 0x8a }
	others := slices.DeleteFunc(slices.Clone(all), isPong)
	pongs := slices.DeleteFunc(all, func(f wireFrame) bool { return !isPong(f) })
	tail := sent[len(wireBytes(got, false)):]
	for _, f := range got {
		rest := &others
		if isPong(f) {
			rest = &pongs
		}
		if len(*rest) == 0 || (*rest)[0] != f {
			return fmt.Errorf("sent the frame %02x %s, which is not the next", f.first, shortened(f.payload))
		}
		*rest = (*rest)[1:]
	}
	for _, next := range [][]wireFrame{others, pongs} {
		if len(next) > 0 && bytes.HasPrefix(wireBytes(next[:1], false), tail) {
			return nil
		}
	}
	if len(tail) > 0 {
		return fmt.Errorf("the last %d bytes sent begin no frame", len(tail))
	}
	return nil
}
