package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
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
			c.wire.lock(never, time.Time{})
			defer c.unlockWire()
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
		{"KeepAlive", func(*Conn) { advance(time.Hour) }, os.ErrDeadlineExceeded},
	} {
		bubble(t, how.name, func(t *testing.T) {
			cfg := wireConfig(true, true, false)
			cfg.keepAlive = KeepAlive{Interval: time.Minute}
			c, p := overPipe(t, cfg)
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

// Shutdown leaves a message to its reader until that has the last of it, though
// nothing of it is left to receive.
func TestShutdownInsideCompressedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, wireConfig(true, true, false))
		data := strings.Repeat("abcdefgh", 4000)
		go p.send(deflatedFrame(data))
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		var b [1000]byte
		got, err := io.ReadFull(r, b[:])
		if err != nil {
			t.Fatal(err)
		}
		done := async(func() error { return c.Shutdown(t.Context(), CloseNormalClosure, "") })
		p.expect(closeFrame(CloseNormalClosure, ""))
		go p.send(closeFrame(CloseNormalClosure, ""))
		for err == nil {
			synctest.Wait()
			var n int
			n, err = r.Read(b[:])
			got += n
		}
		if err != io.EOF || got != len(data) {
			t.Errorf("got %d of %d bytes, %v", got, len(data), err)
		}
		advance(yieldWait)
		if err := ended(t, "Shutdown", done); err != nil {
			t.Error(err)
		}
	})
}
