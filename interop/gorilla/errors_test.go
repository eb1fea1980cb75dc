package gorilla

// Every error of both packages, row by row: its text, its methods, what errors.Is finds and the
// type that a type assertion sees. A row that is not listed as a difference is the same on both.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// An errorRow is one thing that fails.
type errorRow struct {
	name string
	do   func(t *testing.T, l library) error
}

// facts tells all that a program can learn about an error, as one line.
func (l library) facts(err error) string {
	if err == nil {
		return "nil"
	}
	b := fmt.Sprintf("%q %s", changing.Replace(ports.ReplaceAllString(err.Error(), "127.0.0.1:PORT")), typeName(err))
	if e, ok := err.(net.Error); ok {
		b += fmt.Sprintf(" Timeout:%v Temporary:%v", e.Timeout(), e.Temporary())
	}
	for _, is := range []struct {
		name string
		err  error
	}{
		{"net.ErrClosed", net.ErrClosed}, {"os.ErrDeadlineExceeded", os.ErrDeadlineExceeded}, {"io.EOF", io.EOF},
		{"io.ErrUnexpectedEOF", io.ErrUnexpectedEOF}, {"io.ErrClosedPipe", io.ErrClosedPipe}, {"context.Canceled", context.Canceled},
		{"context.DeadlineExceeded", context.DeadlineExceeded}, {"ErrBadHandshake", l.errBadHandshake},
		{"ErrCloseSent", l.errCloseSent}, {"ErrReadLimit", l.errReadLimit}, {"the cause", errCause},
		{"ECONNREFUSED", syscall.ECONNREFUSED}, {"ECONNRESET", syscall.ECONNRESET}, {"EPIPE", syscall.EPIPE},
	} {
		switch {
		case err == is.err:
			b += " is " + is.name
		case errors.Is(err, is.err):
			b += " Is:" + is.name
		}
	}
	return b
}

var (
	compressedText = string(deflate([]byte("a text that is compressed"), 9))

	errCause = errors.New("the cause")
	ports    = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	hidden   = regexp.MustCompile(`^\*?(errors|fmt|websocket|proxy)\.[a-z]`)
	changing = strings.NewReplacer("127.0.0.1:PORT->127.0.0.1:PORT", "PEERS")
)

// typeName names an error's type. The two packages have one name, and a type that no program can
// name is anonymous.
func typeName(err error) string {
	name := fmt.Sprintf("%T", err)
	if hidden.MatchString(name) {
		return "anonymous"
	}
	return name
}

// onRoles returns two rows, one for each role.
func onRoles(name string, do func(t *testing.T, l library, s setup) error) []errorRow {
	var rows []errorRow
	for _, s := range setups[:2] {
		rows = append(rows, errorRow{s.String() + "/" + name, func(t *testing.T, l library) error { return do(t, l, s) }})
	}
	return rows
}

// readError returns the error of reading a stream to its end.
func readError(name string, frames func(s setup) []byte, end error) []errorRow {
	return onRoles(name, func(t *testing.T, l library, s setup) error {
		w := newWire(frames(s))
		w.end = end
		c := l.open(t, w, s)
		c.SetReadLimit(1000)
		for {
			if _, _, err := c.ReadMessage(); err != nil {
				return err
			}
		}
	})
}

// inFrames makes the bytes of frames for either role.
func inFrames(frames ...frame) func(s setup) []byte {
	return func(s setup) []byte { return s.stream(frames...) }
}

// cutBy leaves bytes off the end.
func cutBy(n int, frames ...frame) func(s setup) []byte {
	return func(s setup) []byte {
		b := s.stream(frames...)
		return b[:len(b)-n]
	}
}

// afterOpen returns the error of something done to an open connection over TCP.
func afterOpen(name string, do func(c conn, peer net.Conn, s setup) error) []errorRow {
	return onRoles(name, func(t *testing.T, l library, s setup) error {
		nc, peer := tcpPair(t)
		return do(l.openPipe(t, nc, peer, s), peer, s)
	})
}

// afterClose returns the error of something done after Close.
func afterClose(name string, do func(c conn) error) []errorRow {
	return afterOpen("after Close/"+name, func(c conn, _ net.Conn, _ setup) error {
		c.Close()
		return do(c)
	})
}

// afterGoodbye returns the error of something done after a close frame was sent.
func afterGoodbye(name string, do func(c conn) error) []errorRow {
	return afterOpen("after a close frame/"+name, func(c conn, _ net.Conn, _ setup) error {
		if err := c.WriteMessage(closing, nil); err != nil {
			return err
		}
		return do(c)
	})
}

func readOne(c conn) error {
	_, _, err := c.ReadMessage()
	return err
}

func nextReaderOf(c conn) error {
	_, _, err := c.NextReader()
	return err
}

func nextWriterOf(c conn) error {
	_, err := c.NextWriter(text)
	return err
}

// writesAs lists the ways to write.
var writesAs = map[string]func(c conn) error{
	"WriteMessage":  func(c conn) error { return c.WriteMessage(text, []byte("x")) },
	"close message": func(c conn) error { return c.WriteMessage(closing, nil) },
	"WriteControl":  func(c conn) error { return c.WriteControl(ping, nil, time.Now().Add(time.Minute)) },
	"NextWriter":    nextWriterOf,
	"WriteJSON":     func(c conn) error { return c.WriteJSON("x") },
}

// reset makes the peer's end fail with a reset.
func reset(peer net.Conn) {
	peer.(*net.TCPConn).SetLinger(0)
	peer.Close()
}

// untilError writes until it fails.
func untilError(write func() error) error {
	for {
		if err := write(); err != nil {
			return err
		}
	}
}

func errorRows() []errorRow {
	var rows []errorRow
	add := func(more ...errorRow) { rows = append(rows, more...) }

	// What the peer sends.
	add(readError("close frame/no code", inFrames(closeFrame("")), nil)...)
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 3000, 4000, 4999} {
		body := string(binary.BigEndian.AppendUint16(nil, uint16(code)))
		add(readError(fmt.Sprintf("close frame/%d", code), inFrames(closeFrame(body)), nil)...)
		add(readError(fmt.Sprintf("close frame/%d and a reason", code), inFrames(closeFrame(body+"bye")), nil)...)
	}
	add(readError("stream ends/between messages", inFrames(textFrame("x")), nil)...)
	add(readError("stream ends/in a header", cutBy(2, textFrame("x")), nil)...)
	add(readError("stream ends/in a payload", cutBy(1, textFrame("hello")), nil)...)
	add(readError("stream ends/between fragments", inFrames(frame{first: text, payload: []byte("x")}), nil)...)
	add(readError("the connection's error/between messages", inFrames(textFrame("x")), errCause)...)
	add(readError("the connection's error/in a payload", cutBy(1, textFrame("hello")), errCause)...)
	add(readError("the connection's error/io.ErrUnexpectedEOF", inFrames(textFrame("x")), io.ErrUnexpectedEOF)...)
	add(readError("the connection's error/io.ErrUnexpectedEOF in a payload", cutBy(1, textFrame("hello")), io.ErrUnexpectedEOF)...)
	add(readError("the connection's error/temporary", inFrames(textFrame("x")), temporary{})...)
	add(readError("violation/opcode", inFrames(frame{first: fin | 3}), nil)...)
	add(readError("violation/control opcode", inFrames(frame{first: fin | 11}), nil)...)
	add(readError("violation/RSV1", inFrames(frame{first: fin | rsv1 | text}), nil)...)
	add(readError("violation/RSV2 and RSV3", inFrames(frame{first: fin | rsv2 | rsv3 | text}), nil)...)
	add(readError("violation/fragmented control frame", inFrames(frame{first: ping}), nil)...)
	add(readError("violation/long control frame", inFrames(frame{first: fin | ping, payload: make([]byte, 126)}), nil)...)
	add(readError("violation/continuation of nothing", inFrames(frame{first: fin}), nil)...)
	add(readError("violation/message within a message", inFrames(frame{first: text}, frame{first: fin | text}), nil)...)
	add(readError("violation/masking", func(s setup) []byte { return setup{server: !s.server}.stream(textFrame("x")) }, nil)...)
	add(readError("violation/close code", inFrames(closeFrame("\x03\xed")), nil)...)
	add(readError("violation/close reason", inFrames(closeFrame("\x03\xe8\xff")), nil)...)
	add(readError("message too big", inFrames(textFrame(strings.Repeat("x", 1001))), nil)...)

	for name, payload := range map[string]string{"corrupt": "\xff\xff\xff", "empty": "", "cut": compressedText[:len(compressedText)-4]} {
		add(onRoles("compressed message/"+name, func(t *testing.T, l library, s setup) error {
			s.deflate = true
			w := newWire(s.stream(frame{first: fin | rsv1 | text, payload: []byte(payload)}))
			w.end = errCause
			return readOne(l.open(t, w, s))
		})...)
	}

	// Reading.
	add(afterOpen("read deadline/passed", func(c conn, _ net.Conn, _ setup) error {
		c.SetReadDeadline(time.Now().Add(-time.Second))
		return readOne(c)
	})...)
	add(afterOpen("read deadline/while it waits", func(c conn, _ net.Conn, _ setup) error {
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		return readOne(c)
	})...)
	add(afterOpen("read deadline/again", func(c conn, _ net.Conn, _ setup) error {
		c.SetReadDeadline(time.Now().Add(-time.Second))
		readOne(c)
		return nextReaderOf(c)
	})...)
	add(afterOpen("read deadline/in a message", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(frame{first: text, payload: []byte("x")}))
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		return readOne(c)
	})...)
	add(afterOpen("reset", func(c conn, peer net.Conn, _ setup) error {
		reset(peer)
		return readOne(c)
	})...)
	add(afterOpen("reader/at the end of its message", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(textFrame("x")))
		_, r, err := c.NextReader()
		if err != nil {
			return err
		}
		io.Copy(io.Discard, r)
		_, err = r.Read(make([]byte, 1))
		return err
	})...)
	add(afterOpen("reader/behind the next", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(textFrame("x"), textFrame("y")))
		_, r, err := c.NextReader()
		if err != nil {
			return err
		}
		c.NextReader()
		_, err = r.Read(make([]byte, 1))
		return err
	})...)
	add(afterOpen("ReadJSON/empty message", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(textFrame("")))
		return c.ReadJSON(new(int))
	})...)
	add(afterOpen("ReadJSON/no JSON", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(textFrame("{]")))
		return c.ReadJSON(new(int))
	})...)
	add(afterOpen("ReadJSON/cut JSON", func(c conn, peer net.Conn, s setup) error {
		peer.Write(s.stream(textFrame("[1,")))
		return c.ReadJSON(new([]int))
	})...)
	add(afterOpen("handler's error", func(c conn, peer net.Conn, s setup) error {
		c.SetPingHandler(func(string) error { return errCause })
		peer.Write(s.stream(pingFrame("")))
		return readOne(c)
	})...)
	add(afterOpen("close handler's error", func(c conn, peer net.Conn, s setup) error {
		c.SetCloseHandler(func(int, string) error { return errCause })
		peer.Write(s.stream(closeFrame("")))
		return readOne(c)
	})...)

	// Writing.
	add(afterOpen("write deadline/passed", func(c conn, _ net.Conn, _ setup) error {
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		return c.WriteMessage(text, nil)
	})...)
	add(afterOpen("write deadline/while it waits", func(c conn, _ net.Conn, _ setup) error {
		c.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		return untilError(func() error { return c.WriteMessage(binaryType, make([]byte, 1<<20)) })
	})...)
	add(onRoles("write deadline/again", func(t *testing.T, l library, s setup) error {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := l.openPipe(t, nc, peer, s)
		go func() {
			io.ReadFull(peer, make([]byte, 1)) // the write has begun
			nc.SetWriteDeadline(time.Unix(1, 0))
		}()
		c.WriteMessage(text, make([]byte, 100))
		nc.SetWriteDeadline(time.Time{})
		return c.WriteMessage(text, nil)
	})...)
	add(onRoles("WriteControl/deadline passed", func(t *testing.T, l library, s setup) error {
		c := l.open(t, newWire(), s)
		return c.WriteControl(ping, nil, time.Now().Add(-time.Second))
	})...)
	add(onRoles("WriteControl/behind a writer", func(t *testing.T, l library, s setup) error {
		c, release := blocked(t, l, s)
		defer release()
		return c.WriteControl(ping, nil, time.Now().Add(5*time.Millisecond))
	})...)
	for n, kind := range map[string]int{"text": text, "7": 7, "-1": -1} {
		add(onRoles("WriteControl/message type "+n, func(t *testing.T, l library, s setup) error {
			return l.open(t, newWire(), s).WriteControl(kind, nil, time.Time{})
		})...)
	}
	add(onRoles("WriteControl/126 bytes", func(t *testing.T, l library, s setup) error {
		return l.open(t, newWire(), s).WriteControl(ping, make([]byte, 126), time.Time{})
	})...)
	for n, kind := range map[string]int{"0": 0, "3": 3, "ping": ping, "-1": -1} {
		add(onRoles("WriteMessage/message type "+n, func(t *testing.T, l library, s setup) error {
			return l.open(t, newWire(), s).WriteMessage(kind, make([]byte, 126))
		})...)
		add(onRoles("NextWriter/message type "+n, func(t *testing.T, l library, s setup) error {
			w, err := l.open(t, newWire(), s).NextWriter(kind)
			if err == nil {
				w.Write(make([]byte, 126))
				err = w.Close()
			}
			return err
		})...)
	}
	add(onRoles("writer/Write after Close", func(t *testing.T, l library, s setup) error {
		w, err := l.open(t, newWire(), s).NextWriter(text)
		if err != nil {
			return err
		}
		w.Close()
		_, err = w.Write([]byte("x"))
		return err
	})...)
	add(onRoles("writer/Close twice", func(t *testing.T, l library, s setup) error {
		w, err := l.open(t, newWire(), s).NextWriter(text)
		if err != nil {
			return err
		}
		w.Close()
		return w.Close()
	})...)
	add(onRoles("write/the connection's error", func(t *testing.T, l library, s setup) error {
		w := newWire()
		c := l.open(t, w, s)
		w.failAt, w.failWith = 1, errCause
		return untilError(func() error { return c.WriteMessage(text, []byte("hello")) })
	})...)
	add(onRoles("write/after the connection's error", func(t *testing.T, l library, s setup) error {
		w := newWire()
		c := l.open(t, w, s)
		w.failAt, w.failWith = 1, errCause
		untilError(func() error { return c.WriteMessage(text, []byte("hello")) })
		return c.WriteControl(ping, nil, time.Time{})
	})...)
	add(onRoles("SetCompressionLevel", func(t *testing.T, l library, s setup) error {
		return l.open(t, newWire(), s).SetCompressionLevel(10)
	})...)
	add(onRoles("WriteJSON/unsupported type", func(t *testing.T, l library, s setup) error {
		return l.open(t, newWire(), s).WriteJSON(make(chan int))
	})...)
	add(onRoles("WriteJSON/unsupported value", func(t *testing.T, l library, s setup) error {
		return l.open(t, newWire(), s).WriteJSON(math.NaN())
	})...)
	add(errorRow{"NewPreparedMessage/message type 7", func(t *testing.T, l library) error {
		_, err := l.prepare(7, nil)
		return err
	}})
	add(errorRow{"NewPreparedMessage/long control message", func(t *testing.T, l library) error {
		_, err := l.prepare(ping, make([]byte, 126))
		return err
	}})
	for name, write := range writesAs {
		add(afterClose(name, write)...)
		add(afterGoodbye(name, write)...)
	}
	add(afterGoodbye("Write of an open writer", func(c conn) error { return nil })...)
	add(afterClose("ReadMessage", readOne)...)
	add(afterClose("NextReader", nextReaderOf)...)
	add(afterClose("SetReadDeadline", func(c conn) error { return c.SetReadDeadline(time.Time{}) })...)
	add(afterClose("SetWriteDeadline", func(c conn) error { return c.SetWriteDeadline(time.Time{}) })...)
	add(afterClose("SetWriteDeadline to come", func(c conn) error { return c.SetWriteDeadline(time.Now().Add(time.Hour)) })...)
	add(afterClose("Close", conn.Close)...)
	add(afterOpen("Close during a read", func(c conn, _ net.Conn, _ setup) error {
		ended := make(chan error)
		go func() { ended <- readOne(c) }()
		c.Close()
		return <-ended
	})...)
	return append(rows, append(dialRows(), upgradeRows()...)...)
}

// dialError returns the error of a dial.
func dialError(l library, d *gorilla.Dialer, address string, h http.Header) error {
	c, _, err := l.dial(context.Background(), d, address, h)
	if c != nil {
		c.Close()
	}
	return err
}

// answered returns the error of a dial whose request is answered with the text.
func answered(answer string) func(t *testing.T, l library) error {
	return func(t *testing.T, l library) error {
		nc, peer := net.Pipe()
		defer nc.Close()
		go func() {
			defer peer.Close()
			r, err := http.ReadRequest(bufio.NewReader(peer))
			if err != nil {
				return
			}
			io.WriteString(peer, strings.ReplaceAll(answer, "ACCEPT", acceptKey(r.Header.Get("Sec-WebSocket-Key"))))
		}()
		d := &gorilla.Dialer{EnableCompression: true, NetDial: func(string, string) (net.Conn, error) { return nc, nil }}
		return dialError(l, d, "ws://example.com/", nil)
	}
}

// silent accepts connections, and neither reads nor writes.
func silent(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// answering accepts connections and answers the first bytes of each with the text, then closes.
func answering(t *testing.T, answer string) (addr string) {
	t.Helper()
	return listen(t, func(nc net.Conn, br *bufio.Reader) {
		br.Read(make([]byte, 4096))
		io.WriteString(nc, answer)
		nc.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, br) // or the rest of the request makes a reset of the end
	})
}

// refusing is an address that refuses connections.
func refusing(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}

func dialRows() []errorRow {
	var rows []errorRow
	add := func(name string, do func(t *testing.T, l library) error) {
		rows = append(rows, errorRow{"dial/" + name, do})
	}
	for name, address := range map[string]string{
		"http": "http://example.com/", "https": "https://example.com/", "ftp": "ftp://example.com/", "no scheme": "example.com",
		"user": "ws://user:pass@example.com/", "space": "ws://exa mple.com/", "escape": "ws://example.com/%zz", "port": "ws://example.com:x/", "colon": ":",
	} {
		add("URL/"+name, func(t *testing.T, l library) error {
			return dialError(l, &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, errCause }}, address, nil)
		})
	}
	for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version", "Sec-Websocket-Extensions", "Sec-Websocket-Protocol"} {
		add("request header/"+name, func(t *testing.T, l library) error {
			d := &gorilla.Dialer{Subprotocols: []string{"a"}, NetDial: func(string, string) (net.Conn, error) { return nil, errCause }}
			return dialError(l, d, "ws://example.com/", http.Header{name: {"x"}})
		})
	}
	for name, answer := range map[string]string{
		"200":        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"301":        "HTTP/1.1 301 Moved Permanently\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
		"401":        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 4\r\n\r\nbody",
		"500":        "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
		"no upgrade": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
		"accept":     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
		"unoffered subprotocol": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n" +
			"Sec-WebSocket-Protocol: chat\r\n\r\n",
		"context takeover": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n" +
			"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
		"nothing":    "",
		"cut status": "HTTP/1.1 101",
		"cut header": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web",
		"garbage":    "garbage\r\n\r\n",
	} {
		add("answer/"+name, answered(answer))
	}
	add("refused", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{}, "ws://"+refusing(t)+"/", nil)
	})
	add("NetDial fails", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return nil, errCause }}, "ws://example.com/", nil)
	})
	add("NetDialContext fails", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{NetDialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errCause }}, "ws://example.com/", nil)
	})
	add("NetDialTLSContext fails", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{NetDialTLSContext: func(context.Context, string, string) (net.Conn, error) { return nil, errCause }}, "wss://example.com/", nil)
	})
	add("HandshakeTimeout/while dialling", func(t *testing.T, l library) error {
		d := &gorilla.Dialer{HandshakeTimeout: 5 * time.Millisecond, NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			<-ctx.Done()
			// What a net.Dialer returns.
			var nd net.Dialer
			return nd.DialContext(ctx, network, "127.0.0.1:1")
		}}
		return dialError(l, d, "ws://example.com/", nil)
	})
	add("HandshakeTimeout/before the answer", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{HandshakeTimeout: 20 * time.Millisecond}, "ws://"+silent(t)+"/", nil)
	})
	add("HandshakeTimeout/before the answer, TLS", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{HandshakeTimeout: 20 * time.Millisecond}, "wss://"+silent(t)+"/", nil)
	})
	add("context/cancelled before", func(t *testing.T, l library) error {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, _, err := l.dial(ctx, &gorilla.Dialer{}, "ws://"+silent(t)+"/", nil)
		return err
	})
	add("context/cancelled before the answer", func(t *testing.T, l library) error {
		ctx, cancel := context.WithCancel(context.Background())
		// gorilla waits for the answer until a timeout.
		d := &gorilla.Dialer{HandshakeTimeout: 500 * time.Millisecond, NetDial: func(network, addr string) (net.Conn, error) {
			nc, err := net.Dial(network, addr)
			return &cancelling{nc, cancel}, err
		}}
		_, _, err := l.dial(ctx, d, "ws://"+silent(t)+"/", nil)
		return err
	})
	add("context/deadline before the answer", func(t *testing.T, l library) error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		_, _, err := l.dial(ctx, &gorilla.Dialer{}, "ws://"+silent(t)+"/", nil)
		return err
	})
	add("context/deadline passed", func(t *testing.T, l library) error {
		ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel()
		_, _, err := l.dial(ctx, &gorilla.Dialer{}, "ws://"+silent(t)+"/", nil)
		return err
	})
	add("reset before the answer", func(t *testing.T, l library) error {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		go func() {
			if nc, err := ln.Accept(); err == nil {
				nc.Read(make([]byte, 4096))
				reset(nc)
			}
		}()
		return dialError(l, &gorilla.Dialer{}, "ws://"+ln.Addr().String()+"/", nil)
	})
	add("TLS/unknown authority", func(t *testing.T, l library) error {
		s := quietTLS()
		defer s.Close()
		return dialError(l, &gorilla.Dialer{}, "wss"+strings.TrimPrefix(s.URL, "https"), nil)
	})
	add("TLS/another name", func(t *testing.T, l library) error {
		s := quietTLS()
		defer s.Close()
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		return dialError(l, &gorilla.Dialer{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "other.test"}}, "wss"+strings.TrimPrefix(s.URL, "https"), nil)
	})
	add("TLS/no TLS server", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{}, "wss://"+answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n")+"/", nil)
	})
	add("TLS/a server that goes away", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{}, "wss://"+answering(t, "")+"/", nil)
	})
	add("TLS/alert", func(t *testing.T, l library) error {
		s := quietTLS()
		defer s.Close()
		s.TLS.ClientAuth = tls.RequireAnyClientCert
		return dialError(l, &gorilla.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}, "wss"+strings.TrimPrefix(s.URL, "https"), nil)
	})
	add("proxy/function fails", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, errCause }}, "ws://example.com/", nil)
	})
	add("proxy/refused", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: refusing(t)})}, "ws://example.com/", nil)
	})
	add("proxy/scheme", func(t *testing.T, l library) error {
		return dialError(l, &gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "gopher", Host: "127.0.0.1:1"})}, "ws://example.com/", nil)
	})
	for name, answer := range map[string]string{
		"407": "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "502": "HTTP/1.1 502 Bad Gateway\r\n\r\n",
		"nothing": "", "garbage": "garbage\r\n\r\n",
	} {
		add("proxy/CONNECT/"+name, func(t *testing.T, l library) error {
			return dialError(l, &gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: answering(t, answer)})}, "ws://example.com/", nil)
		})
	}
	for name, answer := range map[string]string{
		"nothing": "", "version": "\x04\x00", "method": "\x05\xff", "no reply": "\x05\x00", "refused": "\x05\x00\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00",
		"not allowed": "\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00",
	} {
		add("proxy/SOCKS/"+name, func(t *testing.T, l library) error {
			return dialError(l, &gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Host: answering(t, answer)})}, "ws://example.com/", nil)
		})
	}
	return rows
}

// quietTLS is a TLS server that logs nothing.
func quietTLS() *httptest.Server {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	return s
}

// cancelling ends a context once the request is sent.
type cancelling struct {
	net.Conn
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if bytes.HasSuffix(p, []byte("\r\n\r\n")) {
		c.cancel()
	}
	return n, err
}

func upgradeRows() []errorRow {
	var rows []errorRow
	add := func(name string, do func(t *testing.T, l library) error) {
		rows = append(rows, errorRow{"upgrade/" + name, do})
	}
	request := func(name string, change func(r *http.Request), h http.Header) {
		add(name, func(t *testing.T, l library) error {
			r := upgradeRequest()
			change(r)
			_, err := l.upgrade(gorilla.Upgrader{}, newHijack(newWire(), 4096), r, h)
			return err
		})
	}
	request("method", func(r *http.Request) { r.Method = http.MethodPost }, nil)
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Version", "Sec-Websocket-Key"} {
		request("no "+name, func(r *http.Request) { r.Header.Del(name) }, nil)
		request("other "+name, func(r *http.Request) { r.Header.Set(name, "other") }, nil)
	}
	request("origin", func(r *http.Request) { r.Header.Set("Origin", "http://other.example") }, nil)
	request("extensions of the application", func(*http.Request) {}, http.Header{"Sec-Websocket-Extensions": {"x"}})
	add("no Hijacker", func(t *testing.T, l library) error {
		_, err := l.upgrade(gorilla.Upgrader{}, httptest.NewRecorder(), upgradeRequest(), nil)
		return err
	})
	add("Hijack fails", func(t *testing.T, l library) error {
		_, err := l.upgrade(gorilla.Upgrader{}, noConnection{httptest.NewRecorder()}, upgradeRequest(), nil)
		return err
	})
	add("the answer cannot be written", func(t *testing.T, l library) error {
		_, err := l.upgrade(gorilla.Upgrader{}, newHijack(failingWrite{newWire()}, 4096), upgradeRequest(), nil)
		return err
	})
	return rows
}

type noConnection struct{ *httptest.ResponseRecorder }

func (noConnection) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errCause }

type failingWrite struct{ *wire }

func (failingWrite) Write([]byte) (int, error) { return 0, errCause }

// errorDifferences lists the rows that differ, by a pattern of their names; what is seen here
// matches another, in which {there} stands for what gorilla has, {text} for its text alone.
var errorDifferences = []struct{ rows, here, reason string }{
	{`/stream ends/`, `{there} Is:io\.ErrUnexpectedEOF`, "CloseError.Unwrap tells a stream that ended from a close frame"},
	{`/violation/RSV2 and RSV3`, `"websocket: RSV2 set" \*websocket\.ProtocolError`, "the first violation is enough"},
	{`/violation/`, `"{text}" \*websocket\.ProtocolError`, "a violation has a type, with the close code that was sent"},
	{`/compressed message/(corrupt|cut)`, `"websocket: compressed message is not valid DEFLATE data or ends too early" ` +
		`\*websocket\.ProtocolError`, "the same, for RFC 7692 §7.2.2"},
	{`/compressed message/empty`, `nil`, "it is an empty message, RFC 7692 §7.2.2"},
	{`^dial/answer/(unoffered subprotocol|context takeover)`, `"websocket: bad handshake" anonymous is ErrBadHandshake`,
		"a client fails the handshake by RFC 6455 §4.1 and RFC 7692 §7.1.1.1"},
	{`/(read deadline|write deadline)/`, `"(read tcp PEERS: i/o timeout|writev? tcp PEERS: i/o timeout|write pipe: i/o timeout|write tcp PEERS: i/o timeout)" anonymous ` +
		`Timeout:true Temporary:false Is:os\.ErrDeadlineExceeded`, "timeouts are found by errors.Is, as package net's are"},
	{`/WriteControl/(deadline passed|behind a writer)`, `{there} Is:os\.ErrDeadlineExceeded`, "the same"},
	{`^dial/(HandshakeTimeout|context/deadline)`, `"dial tcp (PEERS|127\.0\.0\.1:PORT): i/o timeout" \*net\.OpError ` +
		`Timeout:true Temporary:true Is:os\.ErrDeadlineExceeded Is:context\.DeadlineExceeded`,
		"one error for all steps of a dial; gorilla's depends on which step was interrupted"},
	{`^dial/context/cancelled before the answer`, `"dial tcp PEERS: operation was canceled" \*net\.OpError ` +
		`Timeout:false Temporary:false Is:context\.Canceled`, "gorilla goes on waiting when the context is cancelled"},
	{`^dial/proxy/SOCKS/(nothing|no reply)`, `{there} Is:io\.EOF`, "the cause is wrapped"},
	{`^dial/proxy/SOCKS/not allowed`, `"proxy: SOCKS5 proxy at 127\.0\.0\.1:PORT failed to connect: connection not allowed by ruleset" anonymous`,
		"the words of RFC 1928 for reply code 2"},
	{`^upgrade/(no Hijacker|Hijack fails)`, `"{text}; .+" websocket\.HandshakeError`,
		"the remedy follows the cause"},
	{`^upgrade/origin`, `"websocket: request origin not allowed by Upgrader\.CheckOrigin or .+" websocket\.HandshakeError`,
		"the error names the origin to add"},
}

func TestErrors(t *testing.T) {
	seen := make(map[string]bool)
	used := make([]bool, len(errorDifferences))
	for _, row := range errorRows() {
		t.Run(row.name, func(t *testing.T) {
			if seen[row.name] {
				t.Fatal("two rows have this name")
			}
			seen[row.name] = true
			there, here := theirs.facts(row.do(t, theirs)), ours.facts(row.do(t, ours))
			if there == here {
				return
			}
			for i, d := range errorDifferences {
				if !regexp.MustCompile(d.rows).MatchString(row.name) {
					continue
				}
				used[i] = true
				text, _, _ := strings.Cut(strings.TrimPrefix(there, `"`), `" `)
				pattern := strings.NewReplacer("{there}", regexp.QuoteMeta(there), "{text}", regexp.QuoteMeta(text)).Replace(d.here)
				if !regexp.MustCompile("^" + pattern + "$").MatchString(here) {
					t.Errorf("\n\tgorilla %s\n\there    %s\n\tlisted  %s", there, here, pattern)
				}
				return
			}
			t.Errorf("a difference that is not listed:\n\tgorilla %s\n\there    %s", there, here)
		})
	}
	for i, d := range errorDifferences {
		if !used[i] && !t.Failed() {
			t.Errorf("no row differs as listed for %s", d.rows)
		}
	}
}
