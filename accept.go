package websocket

// The server side of the opening handshake. All that can be rejected is rejected as plain HTTP
// before the hijack; after it there is one write, the 101, and then only frames.

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Upgrader holds the parameters for upgrading an HTTP request to a WebSocket connection. The zero
// value is ready to use. Its methods may be called concurrently; its fields must not be changed
// then.
type Upgrader struct {
	// HandshakeTimeout bounds the writing of the response. Zero means no bound.
	HandshakeTimeout time.Duration

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of the buffers used while messages
	// are read and written. Zero means the sizes of the http.Server's buffers, 4096. Sizes below
	// 256 count as 256; for reading at most 1 MiB counts, for writing 1 GiB. They do not limit the
	// size of messages: while larger ones come in, larger buffers are borrowed.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is a pool of buffers for writing. Use one pool per value of WriteBufferSize.
	WriteBufferPool BufferPool

	// Subprotocols are the server's subprotocols in order of preference. If it is not nil, the
	// first one that the client offers is chosen, and none if it offers none of them. If it is nil,
	// the Sec-WebSocket-Protocol of Upgrade's responseHeader is sent. Names are compared as they
	// are, case included. One that is empty or has a comma, white space or a control character is
	// never chosen.
	Subprotocols []string

	// Error answers a request that is rejected. The reason is a HandshakeError; it is meant for a
	// log, as it can tell about the server. If Error is nil, the answer is the status with one
	// sentence. The headers Allow of a 405 and Sec-WebSocket-Version of a wrong version are set in
	// either case.
	Error func(w http.ResponseWriter, r *http.Request, status int, reason error)

	// CheckOrigin decides on the request's Origin header. If it is set, it alone decides and
	// Origins does not count; a request that it returns false for is rejected with status 403. If
	// it is nil, a request passes that has no Origin header, whose origin has the host and port
	// that it is addressed to, or whose origin is among Origins. A request with several Origin
	// headers never passes.
	//
	// Browsers let every page connect to every server and send the user's cookies along. A
	// CheckOrigin that always returns true lets every page act in the user's name.
	CheckOrigin func(r *http.Request) bool

	// EnableCompression lets the client choose compression (RFC 7692). See Compression.
	EnableCompression bool

	// Origins are the origins allowed besides the server's own: "https://app.example.com",
	// "https://*.example.com" for all subdomains of example.com at any depth (but not example.com),
	// "*" for every page. The scheme counts, and the port where it is not the scheme's default. Two
	// origins have no host: "null" of sandboxed pages and of local files in Firefox, "file://" of
	// local files in Chromium. A pattern that can never match, such as "app.example.com" without a
	// scheme or "https://*", makes Upgrade reject every request with status 500.
	Origins []string

	// RequireSubprotocol rejects, with status 400, a client that offers none of Subprotocols.
	RequireSubprotocol bool

	// Compression sets how messages are compressed if EnableCompression is set and the client
	// agrees.
	Compression CompressionOptions

	// KeepAlive sends pings to a silent client and ends the connection if it stays silent. Zero:
	// off.
	KeepAlive KeepAlive

	// WriteDelay bounds how long a small write is delayed to leave with the next one while more
	// messages are waiting to be read. Zero means 200 µs, a negative value that writes are never
	// delayed.
	WriteDelay time.Duration

	// ReadLimit is the largest message, in bytes, that is read from the client, as if set by
	// Conn.SetReadLimit. Zero means the default of 64 MiB, a negative value no limit.
	ReadLimit int64

	// Trace is told what happens on the connections. Nil: off.
	Trace *Trace

	// Group, if it is not nil, gets every connection as a member before Upgrade returns it. After
	// its Shutdown requests are refused with status 503. It also serves to end all connections of a
	// server that broadcasts nothing, see http.Server.RegisterOnShutdown.
	Group *Group
}

// upgrade is what a request and an Upgrader agreed on.
type upgrade struct {
	key         string
	subprotocol string
	extensions  string // value of Sec-WebSocket-Extensions, may be empty
	deflate     deflateParams
}

// Upgrade upgrades the HTTP request to a WebSocket connection and sends the response.
//
// The responseHeader is added to the response, for example to set cookies; it may be nil. A control
// character in a value is sent as a space. Upgrade writes the headers Upgrade and
// Sec-WebSocket-Accept itself and leaves them out of responseHeader, like Content-Length and
// Transfer-Encoding, which a 101 cannot have. A header name that is not a token, a
// Sec-WebSocket-Extensions header and, without Upgrader.Subprotocols, a Sec-WebSocket-Protocol that
// is not one name are errors.
//
// If Upgrade rejects the request it sends an HTTP answer (see Upgrader.Error) and returns a
// HandshakeError. If it cannot write the response to the client it returns the net error; the
// connection is then closed. What the client has sent right behind its request is read as frames.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header) (*Conn, error) {
	agreed, no := u.negotiate(r, responseHeader)
	if no.status == 0 && u.Group.refuses() {
		no = rejection{http.StatusServiceUnavailable, answerShutdown, "websocket: the server is shutting down"}
	}
	if no.status != 0 {
		return nil, u.reject(w, r, no)
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, u.reject(w, r, rejection{http.StatusInternalServerError, answerServer, explainHijack(w, r, err)})
	}
	return u.open(nc, brw, &agreed, responseHeader)
}

// open answers with the 101 and takes over the connection.
//
// The frames of Upgrade and what it calls are kept small: a handler that stays for the life of the
// connection keeps its stack, and this is the deepest part of it.
//
//go:noinline
func (u *Upgrader) open(nc net.Conn, brw *bufio.ReadWriter, agreed *upgrade, responseHeader http.Header) (*Conn, error) {
	cfg := connConfig{
		isServer:        true,
		readBufferSize:  u.ReadBufferSize,
		writeBufferSize: u.WriteBufferSize,
		writePool:       u.WriteBufferPool,
		subprotocol:     agreed.subprotocol,
		deflate:         agreed.deflate,
		compression:     u.Compression,
		keepAlive:       u.KeepAlive,
		writeDelay:      u.WriteDelay,
		readLimit:       u.ReadLimit,
		trace:           u.Trace,
	}
	var response []byte
	if brw != nil && brw.Reader != nil && brw.Writer != nil {
		response = brw.Writer.AvailableBuffer()
		adoptServerBuffers(brw, &cfg)
	}
	response = appendResponse(response, agreed, responseHeader)
	if err := writeResponse(nc, response, u.HandshakeTimeout); err != nil {
		nc.Close()
		return nil, err
	}
	c := newConn(nc, cfg)
	if u.Group != nil {
		return u.Group.open(c)
	}
	return c, nil
}

// negotiate decides on a request without touching the connection.
func (u *Upgrader) negotiate(r *http.Request, responseHeader http.Header) (agreed upgrade, no rejection) {
	if no = checkRequest(r); no.status != 0 {
		return agreed, no
	}
	if no = checkResponseHeader(responseHeader); no.status != 0 {
		return agreed, no
	}
	switch {
	case len(r.Header["Origin"]) > 1:
		// RFC 6454 §7.3: one is all there may be. A proxy and CheckOrigin could each look at
		// another.
		no = rejection{http.StatusForbidden, answerOrigin, "websocket: request origin not allowed: there is more than one Origin header; send one"}
	case u.CheckOrigin == nil:
		if no = checkPatterns(u.Origins); no.status == 0 {
			no = checkOrigin(r, u.Origins)
		}
	case !u.CheckOrigin(r):
		no = rejection{http.StatusForbidden, answerOrigin, "websocket: request origin not allowed by Upgrader.CheckOrigin"}
	}
	if no.status != 0 {
		return agreed, no
	}
	if agreed.key, no = checkKey(r); no.status != 0 {
		return agreed, no
	}
	if agreed.subprotocol, no = chooseSubprotocol(u.Subprotocols, r, responseHeader); no.status != 0 {
		return agreed, no
	}
	if u.RequireSubprotocol && agreed.subprotocol == "" {
		return agreed, rejection{http.StatusBadRequest, answerSubprotocol, fmt.Sprintf("websocket: the client offers the subprotocols %s; "+
			"it must offer one of Upgrader.Subprotocols, which are %q", excerpt(strings.Join(r.Header["Sec-Websocket-Protocol"], ", "), maxExcerpt), u.Subprotocols)}
	}
	if u.EnableCompression {
		agreed.deflate, agreed.extensions = acceptDeflate(r.Header["Sec-Websocket-Extensions"], u.Compression)
	}
	return agreed, rejection{}
}

// reject answers the request and returns the error for the program.
func (u *Upgrader) reject(w http.ResponseWriter, r *http.Request, no rejection) error {
	h := w.Header()
	if no.status == http.StatusMethodNotAllowed {
		h.Set("Allow", http.MethodGet) // RFC 9110 §15.5.6
	}
	if u.Error == nil || no.status == http.StatusUpgradeRequired {
		h.Set("Sec-Websocket-Version", "13") // RFC 6455 §4.4
	}
	if no.status == http.StatusUpgradeRequired {
		h.Set("Upgrade", "websocket") // RFC 9110 §15.5.22
	}
	err := HandshakeError{no.reason}
	if u.Error != nil {
		u.Error(w, r, no.status, err)
	} else {
		http.Error(w, http.StatusText(no.status)+": "+no.answer, no.status)
	}
	return err
}

// explainHijack says which ResponseWriter is in the way, and the remedy.
func explainHijack(w http.ResponseWriter, r *http.Request, err error) string {
	text := err.Error()
	switch {
	case errors.Is(err, http.ErrHijacked):
		return text + "; call Upgrade once for a request, and before anything else takes over its connection"
	case errors.Is(err, http.ErrNotSupported):
		text = "websocket: response does not implement http.Hijacker"
	}
	if r.ProtoMajor >= 2 {
		text += overHTTP2
	}
	const most = 16 // of a chain that may lead back to where it began
	last := ""
	for n := range most {
		last = fmt.Sprintf("%T", w)
		if n == 0 {
			text += "; the http.ResponseWriter is a " + last
		} else {
			text += ", which wraps a " + last
		}
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		if w = wrapper.Unwrap(); w == nil {
			break
		}
	}
	switch last {
	case "*http.timeoutWriter":
		return text + ": http.TimeoutHandler can never be hijacked, so serve this route without it"
	case "*httptest.ResponseRecorder":
		return text + ": it has no connection; use httptest.NewServer"
	}
	return text + ": if that is a wrapper from a middleware, add the method Unwrap() http.ResponseWriter to it; " +
		"http.TimeoutHandler can never be hijacked"
}

// adoptServerBuffers takes over what was buffered behind the request, and the sizes of the server's
// buffers. The http.Server would keep the buffers alive as long as the handler runs, so it loses
// them here.
func adoptServerBuffers(brw *bufio.ReadWriter, cfg *connConfig) {
	const useful = 256 // below this a server's size is no sign of what messages need
	if size := brw.Reader.Size(); cfg.readBufferSize == 0 && size > useful {
		cfg.readBufferSize = size
	}
	if size := brw.Writer.Size(); cfg.writeBufferSize == 0 && size > useful {
		cfg.writeBufferSize = size
	}
	if n := brw.Reader.Buffered(); n > 0 {
		early, _ := brw.Reader.Peek(n)
		cfg.buffered = slices.Clone(early)
	}
	*brw.Reader = bufio.Reader{}
	*brw.Writer = bufio.Writer{}
}

// appendResponse appends the 101 (RFC 6455 §4.2.2).
func appendResponse(p []byte, agreed *upgrade, h http.Header) []byte {
	p = append(p, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	p = appendAccept(p, agreed.key)
	p = append(p, "\r\n"...)
	if agreed.subprotocol != "" {
		p = appendField(p, "Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if agreed.extensions != "" {
		p = appendField(p, "Sec-WebSocket-Extensions", agreed.extensions)
	}
	if len(h) > 0 {
		p = appendFields(p, h)
	}
	return append(p, "\r\n"...)
}

// appendFields appends the application's headers, sorted by name.
func appendFields(p []byte, h http.Header) []byte {
	var buf [8]string
	names := buf[:0]
	for name := range h {
		if !isOurs(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			p = appendField(p, name, value)
		}
	}
	return p
}

// isOurs reports whether a header of the 101 is not the application's to write.
func isOurs(name string) bool {
	switch {
	// RFC 6455 §4.1, §11.3.3 and §11.3.4: a second value makes the client fail the connection.
	case equalFold(name, "Upgrade"), equalFold(name, "Sec-WebSocket-Accept"), equalFold(name, "Sec-WebSocket-Protocol"):
		return true
	// RFC 9110 §8.6, RFC 9112 §6.1: a 1xx response has neither.
	case equalFold(name, "Content-Length"), equalFold(name, "Transfer-Encoding"):
		return true
	}
	return false
}

// appendField appends a header line. RFC 9110 §5.5: a control character in the value could end the
// line and begin another, so it becomes a space.
func appendField(p []byte, name, value string) []byte {
	p = append(p, name...)
	p = append(p, ": "...)
	start := len(p)
	p = append(p, value...)
	for i, c := range p[start:] {
		if c < ' ' || c == 0x7f {
			p[start+i] = ' '
		}
	}
	return append(p, "\r\n"...)
}

// writeResponse writes the 101 and leaves the connection without deadlines.
func writeResponse(nc net.Conn, response []byte, timeout time.Duration) error {
	// A server's deadlines are meant for HTTP; not every Hijacker clears them.
	nc.SetDeadline(time.Time{})
	if timeout > 0 {
		nc.SetWriteDeadline(time.Now().Add(timeout))
	}
	if _, err := nc.Write(response); err != nil {
		return err
	}
	if timeout > 0 {
		nc.SetWriteDeadline(time.Time{})
	}
	return nil
}
