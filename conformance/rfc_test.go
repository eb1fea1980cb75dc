package conformance_test

// The examples that RFC 6455 and RFC 7692 print, byte for byte.

import (
	"bufio"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

// exampleRequest is the handshake of RFC 6455 §1.2.
const exampleRequest = "GET /chat HTTP/1.1\r\n" +
	"Host: server.example.com\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Origin: http://example.com\r\n" +
	"Sec-WebSocket-Protocol: chat, superchat\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"\r\n"

// exampleResponse is the answer to it.
const exampleResponse = "HTTP/1.1 101 Switching Protocols\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
	"Sec-WebSocket-Protocol: chat\r\n" +
	"\r\n"

// The handshake of RFC 6455 §1.2 and frames of §5.7 behind it.
func TestExampleConversation(t *testing.T) {
	frames := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + // text "Hello"
		"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + // ping "Hello"
		"\x88\x82\x00\x00\x00\x00\x03\xe8" // close 1000
	synctest.Test(t, func(t *testing.T) {
		nc := &wiretest.ScriptConn{Script: []byte(exampleRequest + frames)}
		size := len(exampleRequest)
		nc.Size = func() int { n := size; size = len(frames); return n }
		buf := bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc))
		r, err := http.ReadRequest(buf.Reader)
		if err != nil {
			t.Fatal(err)
		}
		u := websocket.Upgrader{Subprotocols: []string{"chat"}, Origins: []string{"http://example.com"}}
		c, err := u.Upgrade(&scriptWriter{nc: nc, buf: buf}, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := string(nc.Sent()); got != exampleResponse {
			t.Errorf("response %q, want %q", got, exampleResponse)
		}
		if got := c.Subprotocol(); got != "chat" {
			t.Errorf("subprotocol %q, want chat", got)
		}
		messageType, p, err := c.ReadMessage()
		if messageType != websocket.TextMessage || string(p) != "Hello" || err != nil {
			t.Errorf("ReadMessage: %d, %q, %v", messageType, p, err)
		}
		if err := c.WriteMessage(messageType, p); err != nil {
			t.Error(err)
		}
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("error %v, want close 1000", err)
		}
		want := exampleResponse + "\x81\x05Hello" + "\x8a\x05Hello" + "\x88\x02\x03\xe8"
		if got := string(nc.Sent()); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

// The frames of RFC 6455 §5.7, in both directions.
func TestFrameExamples(t *testing.T) {
	binary256 := strings.Repeat("\x00\x01\xfe\xff", 64)
	binary64K := strings.Repeat("\x00\x01\xfe\xff", 16384)
	for _, test := range []struct {
		name     string
		bytes    string
		client   bool
		messages []wireMessage
		control  []string // as handlers see it
		write    func(c *websocket.Conn) error
	}{
		{"single-frame unmasked text", "\x81\x05\x48\x65\x6c\x6c\x6f", false, texts("Hello"), nil,
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, []byte("Hello")) }},
		{"single-frame masked text", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, texts("Hello"), nil,
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.TextMessage, []byte("Hello")) }},
		{"fragmented unmasked text", "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", false, texts("Hello"), nil,
			nil},
		{"unmasked ping", "\x89\x05\x48\x65\x6c\x6c\x6f", false, nil, []string{"ping Hello"},
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.PingMessage, []byte("Hello")) }},
		{"masked pong", "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, nil, []string{"pong Hello"},
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.PongMessage, []byte("Hello")) }},
		{"256 bytes of binary", "\x82\x7e\x01\x00" + binary256, false, binaries(binary256), nil,
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.BinaryMessage, []byte(binary256)) }},
		{"64 KiB of binary", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + binary64K, false, binaries(binary64K), nil,
			func(c *websocket.Conn) error { return c.WriteMessage(websocket.BinaryMessage, []byte(binary64K)) }},
	} {
		t.Run("5.7/"+test.name+", read", func(t *testing.T) {
			c, _, err := setup{server: test.client}.open([]byte(test.bytes))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			var control []string
			c.SetPingHandler(func(s string) error { control = append(control, "ping "+s); return nil })
			c.SetPongHandler(func(s string) error { control = append(control, "pong "+s); return nil })
			messages, err := readByMessage(c)
			if !slices.Equal(messages, test.messages) || !websocket.IsCloseError(err, websocket.CloseAbnormalClosure) {
				t.Errorf("%v, %v, want %v", messages, err, test.messages)
			}
			if !slices.Equal(control, test.control) {
				t.Errorf("control frames %q, want %q", control, test.control)
			}
		})
		if test.write == nil {
			continue // a program does not choose where its messages are cut
		}
		t.Run("5.7/"+test.name+", written", func(t *testing.T) {
			c, nc, err := setup{server: !test.client}.open(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := test.write(c); err != nil {
				t.Fatal(err)
			}
			got := nc.Sent()
			if test.client {
				// Its masking key is new. The RFC's takes its place.
				frames, err := wiretest.Decode(got, true)
				if err != nil || len(frames) != 1 {
					t.Fatalf("sent % x: %v", got, err)
				}
				got = frames[0].Append(nil, true, [4]byte([]byte(test.bytes)[2:]))
			}
			if string(got) != test.bytes {
				t.Errorf("sent % .40x, want % .40x", got, test.bytes)
			}
		})
	}
}

// The compressed messages of RFC 7692 §7.2.3, as frames.
func TestDeflateFrameExamples(t *testing.T) {
	for _, test := range []struct {
		name     string
		takeover bool
		bytes    string
		want     []string
	}{
		{"7.2.3.1/one block", false, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", []string{"Hello"}},
		{"7.2.3.1/two frames", false, "\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", []string{"Hello"}},
		{"7.2.3.2/window not shared", false,
			"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", []string{"Hello", "Hello"}},
		{"7.2.3.2/window shared", true,
			"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00", []string{"Hello", "Hello"}},
		{"7.2.3.3/no compression", false, "\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", []string{"Hello"}},
		{"7.2.3.4/BFINAL", false, "\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", []string{"Hello"}},
		{"7.2.3.5/two blocks", false, "\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", []string{"Hello"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, style := range wireStyles {
				res, err := setup{deflate: true, takeover: test.takeover}.play([]byte(test.bytes), 0, style)
				if err != nil || !slices.Equal(res.messages, texts(test.want...)) || !websocket.IsCloseError(res.err, websocket.CloseAbnormalClosure) {
					t.Errorf("%s: %v, %v, %v, want %q", style.name, res.messages, res.err, err, test.want)
				}
			}
		})
	}
}

// A message that outgrows the writer's buffer leaves in fragments (RFC 6455 §5.4).
func TestFragmentsWritten(t *testing.T) {
	for _, server := range []bool{true, false} {
		c, nc, err := setup{server: server, writeBufferSize: 256}.open(nil)
		if err != nil {
			t.Fatal(err)
		}
		w, err := c.NextWriter(websocket.TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Repeat("Hello, world. ", 100)
		for _, part := range cutEvery(14, want) {
			if _, err := io.WriteString(w, part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		frames, err := wiretest.Decode(nc.Sent(), !server)
		if err != nil || len(frames) < 3 {
			t.Fatalf("%d frames, %v", len(frames), err)
		}
		var got strings.Builder
		for i, f := range frames {
			first := byte(opContinuation)
			if i == 0 {
				first = opText
			}
			if i == len(frames)-1 {
				first |= fin
			}
			if f.First != first {
				t.Errorf("frame %d of %d begins with %02x, want %02x", i, len(frames), f.First, first)
			}
			got.WriteString(f.Payload)
		}
		if got.String() != want {
			t.Errorf("sent %s, want %s", wiretest.Shortened(got.String()), wiretest.Shortened(want))
		}
		c.Close()
	}
}

// A compressed message leaves with RSV1 on its first frame (RFC 7692 §6.1). It is inflated with no
// window but the one that was agreed on, and with takeover refers to earlier messages.
func TestDeflatedFramesWritten(t *testing.T) {
	text := strings.Repeat("Hello, ", 100)
	for _, server := range []bool{true, false} {
		for _, takeover := range []bool{false, true} {
			c, nc, err := setup{server: server, deflate: true, takeover: takeover}.open(nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			// No compressed form is shorter than this one.
			if err := c.WriteMessage(websocket.TextMessage, []byte("a")); err != nil {
				t.Fatal(err)
			}
			c.Close()
			frames, err := wiretest.Decode(nc.Sent(), !server)
			if err != nil || len(frames) != 4 {
				t.Fatalf("%d frames, %v", len(frames), err)
			}
			z := inflater{window: window{15, takeover}}
			for i, f := range frames[:3] {
				if f.First != 0xc1 {
					t.Errorf("message %d begins with %02x, want c1", i, f.First)
				}
				if got, err := z.message(f.Payload); got != text || err != nil {
					t.Errorf("message %d: %s, %v", i, wiretest.Shortened(got), err)
				}
				alone := inflater{window: window{15, false}}
				if _, err := alone.message(f.Payload); (err != nil) != (takeover && i > 0) {
					t.Errorf("takeover %v, message %d inflated without the earlier ones: %v", takeover, i, err)
				}
			}
			if f := frames[3]; f.First != 0x81 || f.Payload != "a" {
				t.Errorf("frame %02x %s, want 81 a", f.First, f.Payload)
			}
		}
	}
}
