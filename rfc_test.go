package websocket

// The examples that RFC 6455 and RFC 7692 print, byte for byte.

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// RFC 6455 §1.3.
func TestAcceptKeyExample(t *testing.T) {
	if got, want := string(appendAccept(nil, "dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("Sec-WebSocket-Accept %s, want %s", got, want)
	}
}

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

// A scriptWriter is the http.ResponseWriter of a request that came over a
// scriptConn.
type scriptWriter struct {
	http.ResponseWriter // nil: it is to be hijacked at once
	nc                  net.Conn
	buf                 *bufio.ReadWriter
}

func (w *scriptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.nc, w.buf, nil }

// The handshake of RFC 6455 §1.2 and frames of §5.7 behind it.
func TestExampleConversation(t *testing.T) {
	frames := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + // text "Hello"
		"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + // ping "Hello"
		"\x88\x82\x00\x00\x00\x00\x03\xe8" // close 1000
	synctest.Test(t, func(t *testing.T) {
		nc := &scriptConn{script: []byte(exampleRequest + frames)}
		size := len(exampleRequest)
		nc.size = func() int { n := size; size = len(frames); return n }
		buf := bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc))
		r, err := http.ReadRequest(buf.Reader)
		if err != nil {
			t.Fatal(err)
		}
		u := Upgrader{Subprotocols: []string{"chat"}, Origins: []string{"http://example.com"}}
		c, err := u.Upgrade(&scriptWriter{nc: nc, buf: buf}, r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := string(nc.sent()); got != exampleResponse {
			t.Errorf("response %q, want %q", got, exampleResponse)
		}
		if got := c.Subprotocol(); got != "chat" {
			t.Errorf("subprotocol %q, want chat", got)
		}
		messageType, p, err := c.ReadMessage()
		if messageType != TextMessage || string(p) != "Hello" || err != nil {
			t.Errorf("ReadMessage: %d, %q, %v", messageType, p, err)
		}
		if err := c.WriteMessage(messageType, p); err != nil {
			t.Error(err)
		}
		if _, _, err := c.ReadMessage(); !IsCloseError(err, CloseNormalClosure) {
			t.Errorf("error %v, want close 1000", err)
		}
		want := exampleResponse + "\x81\x05Hello" + "\x8a\x05Hello" + "\x88\x02\x03\xe8"
		if got := string(nc.sent()); got != want {
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
		write    func(c *Conn) error
	}{
		{"single-frame unmasked text", "\x81\x05\x48\x65\x6c\x6c\x6f", false, texts("Hello"), nil,
			func(c *Conn) error { return c.WriteMessage(TextMessage, []byte("Hello")) }},
		{"single-frame masked text", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, texts("Hello"), nil,
			func(c *Conn) error { return c.WriteMessage(TextMessage, []byte("Hello")) }},
		{"fragmented unmasked text", "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", false, texts("Hello"), nil,
			func(c *Conn) error {
				if err := c.write.writeFrame(noContext, TextMessage, []byte("Hel")); err != nil {
					return err
				}
				return c.write.writeFrame(noContext, finBit|continuationFrame, []byte("lo"))
			}},
		{"unmasked ping", "\x89\x05\x48\x65\x6c\x6c\x6f", false, nil, []string{"ping Hello"},
			func(c *Conn) error { return c.WriteMessage(PingMessage, []byte("Hello")) }},
		{"masked pong", "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, nil, []string{"pong Hello"},
			func(c *Conn) error { return c.WriteMessage(PongMessage, []byte("Hello")) }},
		{"256 bytes of binary", "\x82\x7e\x01\x00" + binary256, false, binaries(binary256), nil,
			func(c *Conn) error { return c.WriteMessage(BinaryMessage, []byte(binary256)) }},
		{"64 KiB of binary", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + binary64K, false, binaries(binary64K), nil,
			func(c *Conn) error { return c.WriteMessage(BinaryMessage, []byte(binary64K)) }},
	} {
		t.Run("5.7/"+test.name+", read", func(t *testing.T) {
			c := newConn(&scriptConn{script: []byte(test.bytes)}, connConfig{isServer: test.client})
			defer c.Close()
			var control []string
			c.SetPingHandler(func(s string) error { control = append(control, "ping "+s); return nil })
			c.SetPongHandler(func(s string) error { control = append(control, "pong "+s); return nil })
			messages, err := readByMessage(c)
			if !slices.Equal(messages, test.messages) || !IsCloseError(err, CloseAbnormalClosure) {
				t.Errorf("%v, %v, want %v", messages, err, test.messages)
			}
			if !slices.Equal(control, test.control) {
				t.Errorf("control frames %q, want %q", control, test.control)
			}
		})
		t.Run("5.7/"+test.name+", written", func(t *testing.T) {
			nc := &scriptConn{}
			c := newConn(nc, connConfig{isServer: !test.client})
			defer c.Close()
			if err := test.write(c); err != nil {
				t.Fatal(err)
			}
			got := nc.sent()
			if test.client {
				// Its masking key is new. The RFC's takes its place.
				frames, err := parseWire(got, true)
				if err != nil || len(frames) != 1 {
					t.Fatalf("sent % x: %v", got, err)
				}
				got = frames[0].append(nil, true, [4]byte([]byte(test.bytes)[2:]))
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
				nc := &scriptConn{script: []byte(test.bytes)}
				res, err := runWire(nc, wireConfig(false, true, test.takeover), 0, style)
				if err != nil || !slices.Equal(res.messages, texts(test.want...)) || !IsCloseError(res.err, CloseAbnormalClosure) {
					t.Errorf("%s: %v, %v, %v, want %q", style.name, res.messages, res.err, err, test.want)
				}
			}
		})
	}
}

// What a connection compresses comes in as one frame with RSV1 (RFC 7692 §6.1)
// and inflates by the book.
func TestDeflatedFramesWritten(t *testing.T) {
	for _, server := range []bool{true, false} {
		for _, takeover := range []bool{false, true} {
			nc := &scriptConn{}
			c := newConn(nc, wireConfig(server, true, takeover))
			text := strings.Repeat("Hello, ", 100)
			for range 3 {
				if err := c.WriteMessage(TextMessage, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.WriteMessage(TextMessage, []byte("a")); err != nil {
				t.Fatal(err)
			}
			c.Close()
			sent := nc.sent()
			frames, err := parseWire(sent, !server)
			if err != nil || len(frames) != 4 {
				t.Fatalf("%d frames, %v", len(frames), err)
			}
			var firsts []byte
			for _, f := range frames {
				firsts = append(firsts, f.first)
			}
			// The last one does not get smaller.
			if want := []byte{0xc1, 0xc1, 0xc1, 0x81}; !bytes.Equal(firsts, want) {
				t.Errorf("first bytes % x, want % x", firsts, want)
			}
			res, err := runWire(&scriptConn{script: sent}, wireConfig(!server, true, takeover), 0, wireStyles[0])
			if want := texts(text, text, text, "a"); err != nil || !slices.Equal(res.messages, want) {
				t.Errorf("read %v, %v", res.messages, err)
			}
			if got, shorter := fmt.Sprint(len(frames[1].payload) < len(frames[0].payload)), fmt.Sprint(takeover); got != shorter {
				t.Errorf("takeover %v: payloads of %d and %d bytes", takeover, len(frames[0].payload), len(frames[1].payload))
			}
		}
	}
}
