package gorilla

// Control frame handlers: what they get, what the defaults do, and what their
// errors mean.

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

func TestHandlers(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		var got []string
		hear := func(name string) func(string) error {
			return func(p string) error { got = append(got, name+" "+p); return nil }
		}
		w := newWire(s.stream(pingFrame("1"), pongFrame("2"), textFrame("3"), closeFrame("\x03\xe8why")))
		c := l.open(t, w, s)
		c.SetPingHandler(hear("ping"))
		c.SetPongHandler(hear("pong"))
		c.SetCloseHandler(func(code int, text string) error {
			if code == 1000 {
				got = append(got, "close "+text)
			}
			return nil
		})
		c.ReadMessage()
		_, _, err := c.ReadMessage()
		l.wants(t, "ReadMessage", err, `CloseError 1000 "why"`)
		if want := []string{"ping 1", "pong 2", "close why"}; !slices.Equal(got, want) {
			t.Errorf("handlers were called with %q, expected %q", got, want)
		}
		if len(w.output()) > 0 {
			t.Errorf("%x was sent beside the handlers", w.output())
		}
		c.PingHandler()("x")
		c.PongHandler()("y")
		c.CloseHandler()(1000, "z")
		if want := []string{"ping x", "pong y", "close z"}; !slices.Equal(got[3:], want) {
			t.Errorf("the getters' functions said %q, expected %q", got[3:], want)
		}
	})
}

// TestDefaultHandlers: nil restores the defaults, and the getters return them.
func TestDefaultHandlers(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := l.openPipe(t, nc, peer, s)
		defer c.Close()
		sent := make(chan []frame)
		go func() {
			p, _ := io.ReadAll(peer)
			sent <- parseFrames(p)
		}()
		c.SetPingHandler(nil)
		c.SetPongHandler(nil)
		c.SetCloseHandler(nil)
		for _, err := range []error{c.PingHandler()("hi"), c.PongHandler()("hi")} {
			if err != nil {
				t.Error(err)
			}
		}
		// A pong may wait for the next call that writes: this is one.
		if err := c.WriteMessage(text, []byte("after")); err != nil {
			t.Error(err)
		}
		if err := c.CloseHandler()(1001, "reason"); err != nil {
			t.Error(err)
		}
		if err := c.PingHandler()("late"); err != nil {
			t.Errorf("the default ping handler fails after a close frame: %v", err)
		}
		c.Close()
		var list []string
		for _, f := range <-sent {
			list = append(list, string(rune('0'+f.opcode()))+" "+string(f.payload))
		}
		slices.Sort(list[:min(2, len(list))])
		if want := []string{"1 after", ": hi", "8 \x03\xe9"}; !slices.Equal(list, want) {
			t.Errorf("sent %q, expected %q", list, want)
		}
	})
}

// TestHandlerErrors: what a handler returns ends the reading, for good.
func TestHandlerErrors(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		boom := errors.New("boom")
		fail := func(string) error { return boom }
		for name, f := range map[string]frame{"ping": pingFrame(""), "pong": pongFrame(""), "close": closeFrame("")} {
			c := l.open(t, newWire(s.stream(f, textFrame("after"))), s)
			c.SetPingHandler(fail)
			c.SetPongHandler(fail)
			c.SetCloseHandler(func(int, string) error { return boom })
			for range 2 {
				if _, _, err := c.ReadMessage(); err != boom {
					t.Errorf("%s: %v, expected the handler's error itself", name, err)
				}
			}
		}
	})
}

// TestHandlersWrite: handlers may write, and see control frames between the
// fragments of a message while it is being read.
func TestHandlersWrite(t *testing.T) {
	onBothRoles(t, func(t *testing.T, l library, s setup) {
		w := newWire(s.stream(frame{first: text, payload: []byte("a")}, pingFrame("p"), frame{first: fin, payload: []byte("b")}))
		c := l.open(t, w, s)
		c.SetPingHandler(func(p string) error {
			if err := c.WriteMessage(binaryType, []byte(p)); err != nil {
				return err
			}
			return c.WriteControl(pong, []byte(p), time.Now().Add(time.Second))
		})
		if _, p, err := c.ReadMessage(); string(p) != "ab" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
		c.Close()
		data, control, err := assemble(parseFrames(w.output()))
		if err != nil || !equalMessages(data, []message{{binaryType, []byte("p")}}) || !equalMessages(control, []message{{pong, []byte("p")}}) {
			t.Errorf("sent %v and %v, %v", data, control, err)
		}
	})
}
