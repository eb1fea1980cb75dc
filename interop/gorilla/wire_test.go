package gorilla

// A network in memory: what the peer sends is written down beforehand, what
// the library sends is kept. No goroutine runs and nothing waits, so a run
// depends on its input alone. The handshake goes over the same connection.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
)

// wire is the net.Conn under a connection being tested.
type wire struct {
	mu       sync.Mutex
	change   sync.Cond
	chunks   [][]byte // one Read each; a nil chunk is a timeout
	end      error    // after the chunks; io.EOF when nil
	head     []byte   // sent until the handshake's empty line
	sent     []byte   // sent after it
	writes   int      // calls of Write
	response string   // header lines to add to the client's 101
	dialled  bool     // the bytes of chunks follow a response
	ready    bool
	closed   bool
	failAt   int // Write fails once so many bytes are sent, 0: never
	failWith error
	deadline time.Time // for Read
}

func newWire(chunks ...[]byte) *wire {
	w := &wire{}
	for _, chunk := range chunks {
		if chunk == nil || len(chunk) > 0 {
			w.chunks = append(w.chunks, chunk)
		}
	}
	w.change.L = &w.mu
	return w
}

func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.closed:
			return 0, net.ErrClosed
		case !w.deadline.IsZero() && !w.deadline.After(time.Now()):
			return 0, os.ErrDeadlineExceeded
		case w.dialled && !w.ready:
			w.change.Wait()
			continue
		case len(w.chunks) == 0 && w.end != nil:
			return 0, w.end
		case len(w.chunks) == 0:
			return 0, io.EOF
		case w.chunks[0] == nil:
			w.chunks = w.chunks[1:]
			return 0, os.ErrDeadlineExceeded
		}
		n := copy(p, w.chunks[0])
		if w.chunks[0] = w.chunks[0][n:]; len(w.chunks[0]) == 0 {
			w.chunks = w.chunks[1:]
		}
		return n, nil
	}
}

func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.closed {
		return 0, net.ErrClosed
	}
	if w.ready {
		if w.failAt > 0 && len(w.sent)+len(p) > w.failAt {
			n := w.failAt - len(w.sent)
			w.sent = append(w.sent, p[:n]...)
			return n, w.failWith
		}
		w.sent = append(w.sent, p...)
		return len(p), nil
	}
	w.head = append(w.head, p...)
	if bytes.HasSuffix(w.head, []byte("\r\n\r\n")) {
		w.ready = true
		if w.dialled {
			w.chunks = append([][]byte{w.answer()}, w.chunks...)
		}
		w.change.Broadcast()
	}
	return len(p), nil
}

// answer is the response to the request in head.
func (w *wire) answer() []byte {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(w.head)))
	if err != nil {
		return []byte("HTTP/1.1 400 Bad Request\r\n\r\n")
	}
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n" + w.response + "\r\n")
}

func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	w.closed = true
	w.change.Broadcast()
	return nil
}

func (w *wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	w.change.Broadcast()
	return nil
}

func (w *wire) SetDeadline(t time.Time) error    { return w.SetReadDeadline(t) }
func (*wire) SetWriteDeadline(t time.Time) error { return nil }
func (*wire) LocalAddr() net.Addr                { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1} }
func (*wire) RemoteAddr() net.Addr               { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 2} }

// output returns what was sent after the handshake.
func (w *wire) output() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.sent)
}

// setup says how a connection is made.
type setup struct {
	server  bool // the library is the server
	deflate bool // permessage-deflate, no context takeover either way
	size    int  // both buffer sizes, 0: the default
}

func (s setup) String() string {
	name := "client"
	if s.server {
		name = "server"
	}
	if s.deflate {
		name += " with deflate"
	}
	return name
}

var setups = []setup{{server: true}, {server: false}, {server: true, deflate: true}, {server: false, deflate: true}}

const deflateExtension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// extensions is the header line that accepts compression, or nothing.
func (s setup) extensions() string {
	if !s.deflate {
		return ""
	}
	return "Sec-WebSocket-Extensions: " + deflateExtension + "\r\n"
}

// open performs a handshake over w and returns the connection.
func (l library) open(t testing.TB, w *wire, s setup) conn {
	t.Helper()
	if s.server {
		c, err := l.upgrade(gorilla.Upgrader{ReadBufferSize: s.size, WriteBufferSize: s.size, EnableCompression: s.deflate},
			newHijack(w, 4096), upgradeRequest(), nil)
		if err != nil {
			t.Fatalf("%s: Upgrade: %v", l.name, err)
		}
		return c
	}
	w.dialled = true
	w.response = s.extensions()
	d := &gorilla.Dialer{
		NetDial:        func(string, string) (net.Conn, error) { return w, nil },
		ReadBufferSize: s.size, WriteBufferSize: s.size, EnableCompression: s.deflate,
	}
	c, _, err := l.dial(context.Background(), d, "ws://example.com/", nil)
	if err != nil {
		t.Fatalf("%s: Dial: %v", l.name, err)
	}
	return c
}

func upgradeRequest() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	r.Header.Set("Sec-WebSocket-Extensions", deflateExtension)
	return r
}

// hijack is an http.ResponseWriter whose connection can be taken over.
type hijack struct {
	*httptest.ResponseRecorder
	conn net.Conn
	size int
}

func newHijack(nc net.Conn, size int) *hijack {
	return &hijack{httptest.NewRecorder(), nc, size}
}

func (h *hijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReaderSize(h.conn, h.size), bufio.NewWriterSize(h.conn, h.size)), nil
}

// header returns the value of a field in the handshake the library sent.
func (w *wire) header(name string) string {
	for line := range strings.Lines(string(w.head)) {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
