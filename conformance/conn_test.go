package conformance_test

// Connections under test: their net.Conn plays a script, and they come about by Upgrade and by
// Dial.

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

// A scriptWriter is the http.ResponseWriter of a request that came over nc.
type scriptWriter struct {
	http.ResponseWriter // nil: it is to be hijacked at once
	nc                  net.Conn
	buf                 *bufio.ReadWriter
}

func (w *scriptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.nc, w.buf, nil }

// A chunking is how a script arrives.
type chunking struct {
	name  string
	early bool // its beginning comes with the server's answer
	size  func(script []byte) func() int
}

var (
	whole = chunking{name: "whole", size: func([]byte) func() int { return nil }}
	early = chunking{name: "with the handshake", early: true, size: whole.size}
	// bytewise is one byte at a time, but for an occasional larger piece of a long script.
	bytewise = chunking{name: "byte by byte", size: func(script []byte) func() int {
		i := 0
		return func() int {
			if i++; i%20 == 0 && len(script) > 8000 {
				return 4000
			}
			return 1
		}
	}}
)

// write writes a script in pieces.
func (c chunking) write(w io.Writer, script []byte) {
	if size := c.size(script); size != nil {
		for len(script) > 0 {
			n := min(size(), len(script))
			if _, err := w.Write(script[:n]); err != nil {
				return
			}
			script = script[n:]
		}
	}
	w.Write(script)
}

// chunkings are the ways in which a script arrives at a server or a client. Nothing comes early to
// a server: a client has to wait for its answer (RFC 6455 §4.1).
func chunkings(server bool) []chunking {
	if server {
		return []chunking{whole, bytewise}
	}
	return []chunking{whole, early, bytewise}
}

// A setup says how a connection under test comes about.
type setup struct {
	server          bool // it is the server
	deflate         bool // permessage-deflate is negotiated
	takeover        bool // with context takeover
	writeBufferSize int
	chunking        chunking // the zero value: whole
	beforeRead      func()   // called before each read behind the handshake; may be nil
}

// The key of RFC 6455 §1.3.
const exampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// acceptKey is the proof of RFC 6455 §4.2.2.
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// extensions is the Sec-WebSocket-Extensions of both ends.
func (s setup) extensions() string {
	switch {
	case !s.deflate:
		return ""
	case s.takeover:
		return "permessage-deflate"
	}
	return "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
}

func (s setup) upgrader() *websocket.Upgrader {
	return &websocket.Upgrader{EnableCompression: s.deflate, WriteBufferSize: s.writeBufferSize,
		Compression: websocket.CompressionOptions{ContextTakeover: s.takeover}}
}

func (s setup) dialer() *websocket.Dialer {
	return &websocket.Dialer{EnableCompression: s.deflate, WriteBufferSize: s.writeBufferSize,
		Compression: websocket.CompressionOptions{ContextTakeover: s.takeover}}
}

// open returns a connection whose peer sends the script.
func (s setup) open(script []byte) (*websocket.Conn, *wiretest.ScriptConn, error) {
	nc := &wiretest.ScriptConn{Script: script}
	if s.chunking.size != nil {
		nc.Size = s.chunking.size(script)
	}
	var c *websocket.Conn
	var err error
	if s.server {
		c, err = s.upgrade(nc)
	} else {
		c, err = s.dial(nc)
	}
	nc.Forget()
	nc.BeforeRead = s.beforeRead
	return c, nc, err
}

// upgrade opens the server's end of nc.
func (s setup) upgrade(nc *wiretest.ScriptConn) (*websocket.Conn, error) {
	r, err := http.NewRequest(http.MethodGet, "http://example.com/", nil)
	if err != nil {
		return nil, err
	}
	r.Header = http.Header{
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Key":     {exampleKey},
		"Sec-Websocket-Version": {"13"},
	}
	if s.deflate {
		r.Header.Set("Sec-WebSocket-Extensions", s.extensions())
	}
	buf := bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc))
	return s.upgrader().Upgrade(&scriptWriter{nc: nc, buf: buf}, r, nil)
}

// dial opens the client's end of nc.
func (s setup) dial(nc *wiretest.ScriptConn) (*websocket.Conn, error) {
	nc.Response, nc.Early = s.response, s.chunking.early
	d := s.dialer()
	d.NetDialContext = func(context.Context, string, string) (net.Conn, error) { return nc, nil }
	c, _, err := d.Dial("ws://example.com/", nil)
	return c, err
}

// response is the answer to a client's request with that key.
func (s setup) response(key string) string {
	return switching(key, s.extensions())
}

// switching is the answer to a request with that key (RFC 6455 §4.2.2).
func switching(key, extensions string) string {
	response := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + acceptKey(key) + "\r\n"
	if extensions != "" {
		response += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	return response + "\r\n"
}

// request is what a client asks for, with exampleKey.
func request(extensions string) string {
	r := "GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + exampleKey + "\r\n"
	if extensions != "" {
		r += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	return r + "\r\n"
}

// serve has an http.Server serve one connection, until it is closed or hijacked.
func serve(nc net.Conn, handler http.HandlerFunc) {
	server := &http.Server{Handler: handler}
	ln := &oneListener{Conn: nc, accept: make(chan net.Conn, 1)}
	ln.accept <- nc
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateHijacked || state == http.StateClosed {
			ln.Close()
		}
	}
	go server.Serve(ln)
}

// A oneListener is a listener for one connection.
type oneListener struct {
	net.Conn
	accept chan net.Conn
	once   sync.Once
}

func (l *oneListener) Accept() (net.Conn, error) {
	if nc, ok := <-l.accept; ok {
		return nc, nil
	}
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.accept) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return l.LocalAddr() }

// tcpPair returns the two ends of a connection over TCP.
func tcpPair() (ours, theirs net.Conn, err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	if ours, err = ln.Accept(); err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

// raceEnabled reports whether the race detector is on, which makes everything ten times slower.
var raceEnabled = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})
