package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket/internal/deflate"
)

func TestFirstLevel(t *testing.T) {
	for _, test := range []struct {
		option   int
		bits     int
		takeover bool
		level    int
	}{
		{0, 15, false, 1}, {0, 15, true, deflate.TakeoverLevel}, {0, 14, true, 1},
		{1, 15, true, 1}, {9, 15, false, 9}, {-1, 15, false, -1}, {-2, 15, false, -2},
		{10, 15, false, 1}, {-3, 15, true, deflate.TakeoverLevel},
	} {
		if level := firstLevel(test.option, test.bits, test.takeover); level != test.level {
			t.Errorf("option %d, %d bits, takeover %v: level %d, want %d",
				test.option, test.bits, test.takeover, level, test.level)
		}
	}
}

// takeoverConfig is a connection that compresses with context takeover.
func takeoverConfig(server bool) connConfig {
	return connConfig{
		isServer:    server,
		deflate:     deflateParams{enabled: true, serverMaxWindowBits: 15, clientMaxWindowBits: 15},
		compression: CompressionOptions{ContextTakeover: true},
	}
}

// A message that was compressed and never sent is none that later ones refer to.
func TestTakeoverAfterMessageGivenUp(t *testing.T) {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 200)
	for name, giveUp := range map[string]func(c *Conn, ctx context.Context, cancel func()) error{
		"WriteMessageContext": func(c *Conn, ctx context.Context, cancel func()) error {
			cancel()
			return c.WriteMessageContext(ctx, TextMessage, []byte(text))
		},
		"NextWriterContext": func(c *Conn, ctx context.Context, cancel func()) error {
			w, err := c.NextWriterContext(ctx, TextMessage)
			if err != nil {
				return err
			}
			if _, err = io.WriteString(w, text); err != nil {
				return err
			}
			cancel()
			return w.Close()
		},
		"deadline": func(c *Conn, _ context.Context, _ func()) error {
			c.write.mu.Lock(noContext, nil)
			defer c.write.unlock()
			c.SetWriteDeadline(time.Now().Add(time.Millisecond))
			defer c.SetWriteDeadline(time.Time{})
			return c.WriteMessage(TextMessage, []byte(text))
		},
	} {
		bubble(t, name, func(t *testing.T) {
			a, b := net.Pipe()
			c, far := newConn(a, takeoverConfig(true)), newConn(b, takeoverConfig(false))
			defer far.Close()
			defer c.Close()
			ctx, cancel := newCancel()
			defer cancel()
			read := asyncRead(far)
			if err := giveUp(c, ctx, cancel); err == nil {
				t.Fatal("the message was not given up")
			}
			if err := c.WriteMessage(TextMessage, []byte(text)); err != nil {
				t.Fatal("after a message of which nothing was sent:", err)
			}
			if got := ended(t, "read", read); got.data != text || got.err != nil {
				t.Errorf("read %s, %v", shortened(got.data), got.err)
			}
		})
	}
}

func deflatedFrame(data string) wireFrame {
	payload := deflate.NewWriter(15, false, 6).AppendMessage(nil, []byte(data))
	return frame(finBit|rsv1Bit|BinaryMessage, string(payload))
}

// The reader of a message whose connection was closed does not take what it
// has for the whole.
func TestCompressedReaderOfClosedConn(t *testing.T) {
	data := strings.Repeat("abcdefgh", 4000)
	for _, how := range []struct {
		name string
		end  func(c *Conn)
		want error
	}{
		{"Close", func(c *Conn) { c.Close() }, net.ErrClosed},
		{"abort", func(c *Conn) { c.abort(&timeoutError{text: "gone"}) }, os.ErrDeadlineExceeded},
	} {
		bubble(t, how.name, func(t *testing.T) {
			c, p := overPipe(t, wireConfig(true, true, false))
			go p.send(deflatedFrame(data))
			_, r, err := c.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			how.end(c)
			if rest, err := io.ReadAll(r); !errors.Is(err, how.want) {
				t.Errorf("%d bytes of %d, %v, want %v", 10+len(rest), len(data), err, how.want)
			}
			if err := readErr(c); !errors.Is(err, how.want) {
				t.Errorf("next: %v, want %v", err, how.want)
			}
		})
	}
}

// A closed connection holds nothing for its compression, in whatever state it was closed.
func TestClosedConnHoldsNoCompression(t *testing.T) {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog; ", 1000)
	payload := deflate.NewWriter(15, false, 6).AppendMessage(nil, []byte(text))
	frame := clientFrame(finBit|rsv1Bit|BinaryMessage, payload)
	for name, use := range map[string]func(c *Conn){
		"message read": func(c *Conn) {
			if _, p, err := c.ReadMessage(); err != nil || string(p) != text {
				t.Error(len(p), err)
			}
			c.Close()
		},
		"inside a message read": func(c *Conn) {
			_, r, err := c.NextReader()
			if err != nil {
				t.Fatal(err)
			}
			io.ReadFull(r, make([]byte, 10))
			c.Close()
		},
		"message written": func(c *Conn) {
			if err := c.WriteMessage(TextMessage, []byte(text)); err != nil {
				t.Error(err)
			}
			c.Close()
		},
		"inside a message written": func(c *Conn) {
			w, err := c.NextWriter(TextMessage)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, text)
			c.Close()
			w.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			heap := func() int {
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // the pools are empty
				runtime.ReadMemStats(&m)
				return int(m.HeapAlloc)
			}
			var conns [100]*Conn
			before := heap()
			for i := range conns {
				conns[i] = newConn(&loopConn{in: frame, step: 1 << 20}, takeoverConfig(true))
				use(conns[i])
			}
			if n := (heap() - before) / len(conns); n > 8<<10 {
				t.Errorf("%d bytes per closed connection", n)
			}
			runtime.KeepAlive(conns)
		})
	}
}
