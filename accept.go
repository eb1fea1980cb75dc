package websocket

// The server side of the opening handshake. Everything that can be refused is refused as plain HTTP
// before the hijack; after it there is one write, the 101, and then only frames.

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// Upgrader holds the parameters for upgrading an HTTP request to a WebSocket connection. The zero
// value is ready to use. Its methods may be called concurrently; its fields must not be changed then.
type Upgrader struct {
	// HandshakeTimeout bounds the writing of the response. Zero means no bound.
	HandshakeTimeout time.Duration

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of the buffers used while messages
	// are read and written. Zero means the sizes of the http.Server's buffers, 4096. Sizes below 256
	// count as 256; for reading at most 1 MiB counts, for writing 1 GiB. They do not limit the size of
	// messages: while larger ones come in, larger buffers are borrowed.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is a pool of buffers for writing. Use one pool per value of WriteBufferSize.
	WriteBufferPool BufferPool

	// Subprotocols are the server's subprotocols in order of preference. If it is not nil, the first
	// one that the client offers is chosen, and none if it offers none of them. If it is nil, the
	// Sec-WebSocket-Protocol of Upgrade's responseHeader is sent.
	Subprotocols []string

	// Error answers a request that is refused. The reason is a HandshakeError. If Error is nil, the
	// answer is the reason's text with the status. A header that the status demands (Allow, Upgrade,
	// Sec-WebSocket-Version) is set in either case.
	Error func(w http.ResponseWriter, r *http.Request, status int, reason error)

	// CheckOrigin decides on the request's Origin header. If it is set, it alone decides and Origins
	// does not count; a request that it returns false for is refused with status 403. If it is nil, a
	// request passes that has no Origin header, that comes from the host it is addressed to, or whose
	// origin is among Origins. A request with several Origin headers never passes.
	//
	// Browsers let every page connect to every server and send the user's cookies along. A CheckOrigin
	// that always returns true lets every page act in the user's name.
	CheckOrigin func(r *http.Request) bool

	// EnableCompression lets the client choose compression (RFC 7692). See Compression.
	EnableCompression bool

	// Origins are the origins allowed besides the server's own: "https://app.example.com",
	// "https://*.example.com" for all subdomains of example.com at any depth (but not example.com),
	// "*" for every page. The scheme counts, and the port where it is not the scheme's default. The
	// Origin header may also be given literally: "null" for sandboxed pages and for local files in
	// Firefox, "file://" for local files in Chromium.
	Origins []string

	// RequireSubprotocol refuses, with status 400, a client that offers none of Subprotocols.
	RequireSubprotocol bool

	// Compression sets how messages are compressed if EnableCompression is set and the client agrees.
	Compression CompressionOptions

	// KeepAlive sends pings to a silent client and ends the connection if it stays silent. Zero: off.
	KeepAlive KeepAlive

	// WriteDelay bounds how long a small write is held to leave with the next one while more messages
	// are waiting to be read. Zero means 200 µs, a negative value that writes are never held.
	WriteDelay time.Duration

	// Group, if it is not nil, gets every connection as a member before Upgrade returns it. After its
	// Shutdown requests are refused with status 503. It also serves to end all connections of a server
	// that broadcasts nothing, see http.Server.RegisterOnShutdown.
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
// The responseHeader is added to the response, for example to set cookies; it may be nil. Upgrade
// writes the headers Connection, Upgrade and Sec-WebSocket-Accept itself and leaves them out of
// responseHeader, like Content-Length and Transfer-Encoding, which a 101 cannot have. A header
// name that is not a token, a value with a control character, a Sec-WebSocket-Extensions header,
// and, without Upgrader.Subprotocols, a Sec-WebSocket-Protocol that is not one token are errors.
//
// If Upgrade refuses the request it sends an HTTP answer (see Upgrader.Error) and returns a
// HandshakeError. If it cannot write the response to the client it returns the net error; the
// connection is then closed.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header) (*Conn, error) {
	agreed, refused := u.negotiate(r, responseHeader)
	if refused.status == 0 && u.Group.refuses() {
		refused = refusal{http.StatusServiceUnavailable, "websocket: the server is shutting down"}
	}
	if refused.status != 0 {
		return nil, u.refuse(w, r, refused)
	}
	nc, brw, err := http.NewResponseController(w).Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return nil, u.refuse(w, r, refusal{http.StatusInternalServerError, noHijack(w)})
	}
	if err != nil {
		return nil, u.refuse(w, r, refusal{http.StatusInternalServerError, "websocket: cannot take over the connection: " + err.Error()})
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
	}
	var response []byte
	if brw != nil && brw.Reader != nil && brw.Writer != nil {
		response = brw.Writer.AvailableBuffer()
		takeBuffers(brw, &cfg)
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
func (u *Upgrader) negotiate(r *http.Request, responseHeader http.Header) (agreed upgrade, refused refusal) {
	agreed.key, refused = checkRequest(r)
	if refused.status != 0 {
		return agreed, refused
	}
	if refused = checkResponseHeader(responseHeader); refused.status != 0 {
		return agreed, refused
	}
	switch {
	case len(r.Header["Origin"]) > 1:
		// RFC 6454 §7.3: one is all there may be. A proxy and CheckOrigin could each look at another.
		refused = refusal{http.StatusForbidden, "websocket: request origin not allowed: more than one Origin header"}
	case u.CheckOrigin == nil:
		refused = checkOrigin(r, u.Origins)
	case !u.CheckOrigin(r):
		refused = refusal{http.StatusForbidden, "websocket: request origin not allowed by Upgrader.CheckOrigin"}
	}
	if refused.status != 0 {
		return agreed, refused
	}
	if u.Subprotocols != nil {
		agreed.subprotocol = selectSubprotocol(u.Subprotocols, r)
	} else if agreed.subprotocol = headerValue(responseHeader, "Sec-WebSocket-Protocol"); agreed.subprotocol != "" && !isToken(agreed.subprotocol) {
		return agreed, refusal{http.StatusInternalServerError,
			fmt.Sprintf("websocket: the subprotocol %q in the response header is not a token", agreed.subprotocol)}
	}
	if u.RequireSubprotocol && agreed.subprotocol == "" {
		return agreed, refusal{http.StatusBadRequest, fmt.Sprintf("websocket: the client offers the subprotocols %q and must offer one of %q",
			Subprotocols(r), u.Subprotocols)}
	}
	if u.EnableCompression {
		agreed.deflate, agreed.extensions = acceptDeflate(r.Header["Sec-Websocket-Extensions"], u.Compression)
	}
	return agreed, refusal{}
}

// headerValue returns the first value of a header, whatever the case of its name in h.
func headerValue(h http.Header, name string) string {
	for k, values := range h {
		if len(values) > 0 && equalFold(k, name) {
			return values[0]
		}
	}
	return ""
}

// refuse answers the request and returns the answer's text as the error.
func (u *Upgrader) refuse(w http.ResponseWriter, r *http.Request, no refusal) error {
	h := w.Header()
	switch no.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodGet)
	case http.StatusUpgradeRequired:
		// RFC 6455 §4.4: name the version that is understood. RFC 9110 §15.5.22: a 426 needs an Upgrade header.
		h.Set("Sec-Websocket-Version", "13")
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
	}
	err := HandshakeError{no.reason}
	if u.Error != nil {
		u.Error(w, r, no.status, err)
		return err
	}
	h.Set("Sec-Websocket-Version", "13")
	http.Error(w, no.reason, no.status)
	return err
}

// noHijack explains which ResponseWriter stands in the way.
func noHijack(w http.ResponseWriter) string {
	chain := fmt.Sprintf("%T", w)
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		if w = wrapper.Unwrap(); w == nil {
			break
		}
		chain += fmt.Sprintf(", which wraps %T", w)
	}
	return "websocket: cannot take over the connection: response does not implement http.Hijacker: it is " + chain +
		". If that is a wrapper from a middleware, add the method `Unwrap() http.ResponseWriter` to it; " +
		"a route behind http.TimeoutHandler can never be upgraded"
}

// takeBuffers takes over what was buffered behind the request and the sizes of the buffers. The
// http.Server would keep the buffers alive as long as the handler runs, so it loses them here.
func takeBuffers(brw *bufio.ReadWriter, cfg *connConfig) {
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
	case equalFold(name, "Connection"), equalFold(name, "Upgrade"), equalFold(name, "Sec-WebSocket-Accept"), equalFold(name, "Sec-WebSocket-Protocol"):
		return true
	// RFC 9110 §8.6, RFC 9112 §6.1: a 1xx response has neither.
	case equalFold(name, "Content-Length"), equalFold(name, "Transfer-Encoding"):
		return true
	}
	return false
}

func appendField(p []byte, name, value string) []byte {
	p = append(p, name...)
	p = append(p, ": "...)
	p = append(p, value...)
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
