package websocket

// The client side of the opening handshake. An http.Transport of its own does each one: dialling,
// proxies, TLS, httptrace and the HTTP exchange (set up in transport.go). After the 101 the Conn sits
// on the real net.Conn and nothing of the Transport is left.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Dialer holds the parameters for connecting to a WebSocket server. The zero value is ready to use;
// a nil *Dialer is [DefaultDialer] as it was at the start. Its methods may be called concurrently; its
// fields must not be changed then.
type Dialer struct {
	// NetDial makes the TCP connection if NetDialContext is nil. If both are nil, a net.Dialer does.
	// It may run on another goroutine than the caller's; a panic in it is one of Dial all the same.
	NetDial func(network, addr string) (net.Conn, error)

	// NetDialContext makes the TCP connection. It may run on another goroutine than the caller's; a
	// panic in it is one of Dial all the same.
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// NetDialTLSContext makes the TLS connection to a wss server or to an https proxy, handshake
	// included; TLSClientConfig then does not apply to it. If it is nil, the connection is made
	// as without TLS and the handshake follows. A server behind a proxy is not dialled with it. It may
	// run on another goroutine than the caller's; a panic in it is one of Dial all the same.
	NetDialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy for a request, nil for none; an error ends the dial. The request's URL
	// has the scheme http or https for ws and wss. Proxies with the schemes http, https, socks5 and
	// socks5h are understood, user and password included. If Proxy is nil, no proxy is used.
	Proxy func(*http.Request) (*url.URL, error)

	// TLSClientConfig is the TLS configuration for wss servers and https proxies. It is not modified.
	// Its NextProtos do not count: HTTP/1.1 is what is offered.
	TLSClientConfig *tls.Config

	// HandshakeTimeout bounds the whole of a dial, from the name lookup to the response. Zero means
	// that only the context does.
	HandshakeTimeout time.Duration

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of the buffers used while messages
	// are read and written. Zero means 4096. Sizes below 256 count as 256; for reading at
	// most 1 MiB counts, for writing 1 GiB. They do not limit the size of messages: while larger ones
	// come in, larger buffers are borrowed.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is a pool of buffers for writing. Use one pool per value of WriteBufferSize.
	WriteBufferPool BufferPool

	// Subprotocols are the subprotocols to offer, the preferred one first. Each must be a token; one
	// that is repeated is offered once.
	Subprotocols []string

	// EnableCompression offers compression to the server (RFC 7692). See Compression.
	EnableCompression bool

	// Jar has the cookies to send and receives those of the response. If it is nil, cookies are sent
	// only if the request header has them.
	Jar http.CookieJar

	// Compression sets how messages are compressed if EnableCompression is set and the server agrees.
	Compression CompressionOptions

	// KeepAlive sends pings to a silent server and ends the connection if it stays silent. Zero: off.
	KeepAlive KeepAlive

	// WriteDelay bounds how long a small write is held to leave with the next one while more messages
	// are waiting to be read. Zero means 200 µs, a negative value that writes are never held.
	WriteDelay time.Duration

	// Trace is told what happens on the connections. Nil: off.
	Trace *Trace
}

// DefaultDialer takes the proxy from the environment (see http.ProxyFromEnvironment) and gives up
// after 45 seconds.
var DefaultDialer = &Dialer{
	Proxy:            http.ProxyFromEnvironment,
	HandshakeTimeout: 45 * time.Second,
}

var nilDialer = *DefaultDialer

// Dial is DialContext without a context.
func (d *Dialer) Dial(urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	return d.DialContext(context.Background(), urlStr, requestHeader)
}

// DialContext connects to a ws, wss, http or https URL and performs the opening handshake. The
// context bounds that, together with HandshakeTimeout; once DialContext has returned it has no effect.
//
// The requestHeader is sent along: Origin, Cookie, Authorization and so on; Host replaces the URL's
// host in the request. Sec-WebSocket-Protocol offers subprotocols if the Dialer has none. The headers
// of the handshake itself are an error.
//
// If the server answers but does not upgrade, the error is ErrBadHandshake (see there) and the
// response is not nil, so that redirects, which are not followed, authentication and so on can be
// handled. Its body has at most the first 1024 bytes and need not be closed. If no answer came, the
// response is nil and the error is what the dial, the TLS handshake or the context returned; for a
// connection that ended first it Is io.ErrUnexpectedEOF, for one that broke it is a net.Error.
func (d *Dialer) DialContext(ctx context.Context, urlStr string, requestHeader http.Header) (*Conn, *http.Response, error) {
	if d == nil {
		d = &nilDialer
	}
	u, err := parseURL(urlStr)
	if err != nil {
		return nil, nil, err
	}
	if d.HandshakeTimeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d.HandshakeTimeout, handshakeTimeoutError{d.HandshakeTimeout})
		defer cancel()
	}
	key := newKey()
	header, offered, err := d.requestHeader(u, key, requestHeader)
	if err != nil {
		return nil, nil, err
	}

	nc, resp, err := d.roundTrip(ctx, u, header)
	if err != nil {
		return nil, nil, err
	}
	if d.Jar != nil {
		if cookies := resp.Cookies(); len(cookies) > 0 {
			d.Jar.SetCookies(u, cookies)
		}
	}
	cfg := connConfig{
		readBufferSize:  d.ReadBufferSize,
		writeBufferSize: d.WriteBufferSize,
		writePool:       d.WriteBufferPool,
		compression:     d.Compression,
		keepAlive:       d.KeepAlive,
		writeDelay:      d.WriteDelay,
		trace:           d.Trace,
	}
	if cfg.subprotocol, err = checkResponse(resp, key, offered); err == nil {
		cfg.deflate, err = checkDeflate(resp.Header["Sec-Websocket-Extensions"], d.EnableCompression, d.Compression)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrBadHandshake, err)
		}
	}
	if _, ok := resp.Body.(io.Writer); err == nil && !ok {
		err = newBadHandshake(badUpgrade) // an empty Upgrade header came before the right one
	}
	if err != nil {
		keepBody(resp)
		return nil, resp, err
	}
	nc, cfg.buffered = takeBuffered(nc, resp.Body)
	resp.Body = http.NoBody
	return newConn(nc, cfg), resp, nil
}

// parseURL parses a WebSocket URL and gives it its HTTP scheme.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	const malformed = "websocket: malformed ws or wss URL: "
	switch u.Scheme {
	case "ws", "http":
		u.Scheme = "http"
	case "wss", "https":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf(malformed+"the scheme is %q, it must be ws or wss", u.Scheme)
	}
	switch {
	case u.Host == "":
		return nil, errors.New(malformed + "it has no host")
	case u.User != nil:
		// RFC 6455 §3: the URI has no place for a user.
		return nil, errors.New(malformed + "it has a user name; send an Authorization header instead")
	case strings.Contains(s, "#"):
		// RFC 6455 §3: no fragments; a # in a path or query is escaped.
		return nil, errors.New(malformed + "it has a fragment; write %23 for a # in the path or query")
	}
	return u, nil
}

// requestHeader returns the header of the request, a Host in it included, and the subprotocols that
// it offers (RFC 6455 §4.1). Upgrade and Connection are left to roundTrip.
func (d *Dialer) requestHeader(u *url.URL, key string, from http.Header) (h http.Header, offered []string, err error) {
	h = make(http.Header, len(from)+6)
	if d.Jar != nil {
		cookies := http.Request{Header: h}
		for _, cookie := range d.Jar.Cookies(u) {
			cookies.AddCookie(cookie)
		}
	}
	for _, s := range d.Subprotocols {
		if !isToken(s) {
			return nil, nil, fmt.Errorf("websocket: the subprotocol %q in Dialer.Subprotocols is not a token", s)
		}
		// RFC 6455 §4.1: all are unique.
		if !slices.Contains(offered, s) {
			offered = append(offered, s)
		}
	}
	// These names are spelled as in the RFC, past http.Header.Set: some servers compare them exactly.
	if len(offered) > 0 {
		h["Sec-WebSocket-Protocol"] = []string{strings.Join(offered, ", ")}
	}
	for name, values := range from {
		switch canonical := http.CanonicalHeaderKey(name); {
		case canonical == "Upgrade", canonical == "Connection", canonical == "Sec-Websocket-Key",
			canonical == "Sec-Websocket-Version", canonical == "Sec-Websocket-Extensions",
			canonical == "Sec-Websocket-Protocol" && len(d.Subprotocols) > 0:
			return nil, nil, errors.New("websocket: duplicate header not allowed: " + name)
		case canonical == "Host":
			h["Host"] = values
		case canonical == "Sec-Websocket-Protocol":
			h["Sec-WebSocket-Protocol"] = values
			offered = listElements(values)
		default:
			h[name] = values
		}
	}
	h["Sec-WebSocket-Key"] = []string{key}
	h["Sec-WebSocket-Version"] = []string{"13"}
	if d.EnableCompression {
		h["Sec-WebSocket-Extensions"] = []string{offerDeflate(d.Compression)}
	}
	return h, offered, nil
}

// roundTrip sends the request and returns the response with the connection that it came on.
func (d *Dialer) roundTrip(ctx context.Context, u *url.URL, header http.Header) (nc net.Conn, resp *http.Response, err error) {
	req := &http.Request{
		Method:     http.MethodGet,
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     header,
		Host:       u.Host,
	}
	if host, ok := header["Host"]; ok {
		delete(header, "Host")
		if len(host) > 0 {
			req.Host = host[0]
		}
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			nc = info.Conn
			// Seen any earlier these two would make the Transport leave ALPN out of the TLS
			// handshake, and a server with other protocols on the port needs it.
			header["Upgrade"] = []string{"websocket"}
			header["Connection"] = []string{"Upgrade"}
		},
	})
	req = req.WithContext(ctx)
	tr, err := d.transport(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	defer tr.CloseIdleConnections() // ends a dial that is still under way
	resp, err = tr.RoundTrip(req)
	var escaped *dialPanic
	if errors.As(err, &escaped) {
		panic(escaped.value)
	}
	if err != nil {
		return nil, nil, dialError(ctx, nc, err)
	}
	return nc, resp, nil
}

// handshakeTimeoutError says that HandshakeTimeout has passed.
type handshakeTimeoutError struct{ after time.Duration }

func (e handshakeTimeoutError) Error() string {
	return "websocket: no opening handshake within the HandshakeTimeout of " + e.after.String()
}
func (e handshakeTimeoutError) Timeout() bool   { return true }
func (e handshakeTimeoutError) Temporary() bool { return true }
func (e handshakeTimeoutError) Is(target error) bool {
	return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
}

// dialError returns the cause of a failed dial: the end of ctx if that came first, else err, which
// is explained if the server was spoken to in the wrong protocol.
func dialError(ctx context.Context, nc net.Conn, err error) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // the connection's deadline may be noticed first
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if nc == nil {
		return err // from the dial function, the proxy or the TLS handshake
	}
	// A stream that ends before the request is written has no exported error in net/http.
	if errors.Is(err, io.EOF) || err.Error() == "http: server closed idle connection" {
		err = io.ErrUnexpectedEOF
	}
	text := "websocket: the server gave no valid response to the opening handshake"
	if tc, ok := nc.(*tls.Conn); ok {
		if proto := tc.ConnectionState().NegotiatedProtocol; proto != "" && proto != "http/1.1" {
			text = fmt.Sprintf("websocket: the TLS connection was made for protocol %q, not for HTTP/1.1; "+
				"set NextProtos to http/1.1 where NetDialTLSContext makes it", proto)
		}
	}
	err = fmt.Errorf("%s: %w", text, err)
	var cause net.Error
	if errors.As(err, &cause) {
		return brokenDial{err, cause}
	}
	return err
}

// A brokenDial is an error of the network with an explanation. It is a net.Error without errors.As,
// because programs that retry ask for one by type assertion.
type brokenDial struct {
	error
	cause net.Error
}

func (e brokenDial) Unwrap() error { return e.error }
func (e brokenDial) Timeout() bool { return e.cause.Timeout() }
func (e brokenDial) Temporary() bool {
	//lint:ignore SA1019 It is what the cause says.
	return e.cause.Temporary()
}

// keepBody replaces the body of a refusal by its first KiB, so that the connection can be closed.
func keepBody(resp *http.Response) {
	var kept []byte
	if resp.StatusCode != http.StatusSwitchingProtocols { // else the rest of the stream is no body
		kept, _ = io.ReadAll(io.LimitReader(resp.Body, 1024))
	}
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(kept))
}

// takeBuffered returns the connection without a deadline and the bytes that the Transport read from
// it behind the response. They are in body, which goes on to read the connection after them, so it
// must be kept from waiting: a deadline in the past does that where deadlines can be relied on.
// Another connection is returned with the body around it.
func takeBuffered(nc net.Conn, body io.ReadCloser) (net.Conn, []byte) {
	defer nc.SetDeadline(time.Time{})
	if !hasDeadlines(nc) {
		return &bodyConn{nc, body}, nil
	}
	nc.SetReadDeadline(aLongTimeAgo)
	var p [transportBuffer]byte
	n, _ := body.Read(p[:])
	return nc, slices.Clone(p[:n])
}

// hasDeadlines reports whether a read with a past deadline surely returns at once and harms nothing.
func hasDeadlines(nc net.Conn) bool {
	switch nc := nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	case *tls.Conn:
		return hasDeadlines(nc.NetConn())
	}
	return false
}

// bodyConn is a connection that is read through the body of its 101 response: first what the
// Transport had read, then the connection.
type bodyConn struct {
	net.Conn
	body io.Reader
}

func (c *bodyConn) Read(p []byte) (int, error) { return c.body.Read(p) }
