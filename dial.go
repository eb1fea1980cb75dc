package websocket

// The client side of the opening handshake: the connection, the tunnel through a proxy, TLS, the
// request and the response. The rules for headers are in handshake.go and extension.go, the
// protocols of proxies in internal/proxy.
//
// Everything happens on the goroutine that dials. The application's functions are called there, so
// their panics are its own.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/tautws/websocket/internal/proxy"
)

// Dialer holds the parameters for connecting to a WebSocket server. The zero value is ready to use;
// a nil *Dialer is [DefaultDialer] as it was at the start. Its methods may be called concurrently;
// its fields must not be changed then.
type Dialer struct {
	// NetDial makes the TCP connection if NetDialContext is nil. If both are nil, a net.Dialer
	// does. It learns of no context: a dial takes as long as it does.
	NetDial func(network, addr string) (net.Conn, error)

	// NetDialContext makes the TCP connection, to the proxy if there is one. Its context ends with
	// that of the dial or when HandshakeTimeout has passed.
	NetDialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// NetDialTLSContext makes the TLS connection to a wss server or to an https proxy, handshake
	// included; TLSClientConfig then does not apply to it. If it is nil, the connection is made as
	// without TLS and the handshake follows. A server behind a proxy is not dialled with it.
	NetDialTLSContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the proxy for a request, nil for none; an error ends the dial. The request's
	// URL has the scheme http or https for ws and wss. Proxies with the schemes http, https, socks5
	// and socks5h are understood, user and password included. If Proxy is nil, no proxy is used.
	Proxy func(*http.Request) (*url.URL, error)

	// TLSClientConfig is the TLS configuration for wss servers and https proxies. It is not
	// modified. Its NextProtos do not count: HTTP/1.1 is what is offered.
	TLSClientConfig *tls.Config

	// HandshakeTimeout bounds the whole of a dial, from the name lookup to the response. Zero means
	// that only the context does.
	HandshakeTimeout time.Duration

	// ReadBufferSize and WriteBufferSize are the sizes in bytes of the buffers used while messages
	// are read and written. Zero means 4096. Sizes below 256 count as 256; for reading at most 1
	// MiB counts, for writing 1 GiB. They do not limit the size of messages: while larger ones come
	// in, larger buffers are borrowed.
	ReadBufferSize, WriteBufferSize int

	// WriteBufferPool is a pool of buffers for writing. Use one pool per value of WriteBufferSize.
	WriteBufferPool BufferPool

	// Subprotocols are the subprotocols to offer, the preferred one first. None has a comma, white
	// space or a control character in it; one that is repeated is offered once.
	Subprotocols []string

	// EnableCompression offers compression to the server (RFC 7692). See Compression.
	EnableCompression bool

	// Jar has the cookies to send and receives those of the response. If it is nil, cookies are
	// sent only if the request header has them.
	Jar http.CookieJar

	// Compression sets how messages are compressed if EnableCompression is set and the server
	// agrees.
	Compression CompressionOptions

	// KeepAlive sends pings to a silent server and ends the connection if it stays silent. Zero:
	// off.
	KeepAlive KeepAlive

	// WriteDelay bounds how long a small write is delayed to leave with the next one while more
	// messages are waiting to be read. Zero means 200 µs, a negative value that writes are never
	// delayed.
	WriteDelay time.Duration

	// ReadLimit is the largest message, in bytes, that is read from the server, as if set by
	// Conn.SetReadLimit. Zero means the default of 64 MiB, a negative value no limit.
	ReadLimit int64

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

// DialContext connects to a ws or wss URL and performs the opening handshake. The context bounds
// that, together with HandshakeTimeout; once DialContext has returned it has no effect.
//
// The requestHeader is sent along: Origin, Cookie, Authorization and so on; Host replaces the URL's
// host in the request. Sec-WebSocket-Protocol offers subprotocols if the Dialer has none. The
// headers of the handshake itself are an error.
//
// If the server answers but does not upgrade, the error is ErrBadHandshake and the response is not
// nil, so that redirects, which are not followed, authentication and so on can be handled. Its body
// has at most the first 1024 bytes and need not be closed.
//
// Otherwise the response is nil, and the error is that of the dial function, the proxy, TLS or the
// network, as it came. If the context has ended, errors.Is finds both its cause and its Err. If its
// deadline or HandshakeTimeout has passed, the error is a *net.OpError with the Op "dial", a
// timeout and os.ErrDeadlineExceeded.
func (d *Dialer) DialContext(ctx context.Context, urlStr string, requestHeader http.Header) (c *Conn, resp *http.Response, err error) {
	if d == nil {
		d = &nilDialer
	}
	u, err := parseURL(urlStr)
	if err != nil {
		return nil, nil, err
	}
	key := newKey()
	req, offered, err := d.request(ctx, u, key, requestHeader)
	if err != nil {
		return nil, nil, err
	}
	if d.HandshakeTimeout != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.HandshakeTimeout)
		defer cancel()
	}
	proxyURL, err := d.proxyFor(req)
	if err != nil {
		return nil, nil, err
	}

	// The first connection leads to the proxy, or else to the server.
	server, secure := hostPort(u), u.Scheme == "https"
	first, firstSecure := server, secure
	if proxyURL != nil {
		first, firstSecure = hostPort(proxyURL), proxyURL.Scheme == "https"
	}
	fail := func(err error) (*Conn, *http.Response, error) { return nil, nil, dialError(ctx, first, err) }
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	if trace.GetConn != nil {
		trace.GetConn(server)
	}
	dialed, err := d.dial(ctx, first, firstSecure)
	if err != nil {
		return fail(err)
	}

	// Until the response has come, the end of ctx closes the connection.
	nc := dialed // or TLS over it
	stop := context.AfterFunc(ctx, func() { closeNow(dialed) })
	defer func() {
		switch {
		case c != nil:
		case ctx.Err() == nil:
			nc.Close() // TLS writes once more, so ctx still counts
			stop()
		case stop():
			closeNow(dialed)
		}
	}()
	if proxyURL != nil {
		if nc, err = d.tunnel(ctx, nc, proxyURL, server); err != nil {
			return fail(err)
		}
	}
	if trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{Conn: nc})
	}
	if secure && (proxyURL != nil || d.NetDialTLSContext == nil) {
		if nc, err = d.startTLS(ctx, nc, u, trace); err != nil {
			return fail(err)
		}
	}
	resp, buffered, err := roundTrip(nc, req, trace)
	if err != nil {
		return fail(err)
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
		readLimit:       d.ReadLimit,
		buffered:        buffered,
		shared:          d.NetDial != nil || d.NetDialContext != nil || d.NetDialTLSContext != nil,
		trace:           d.Trace,
	}
	cfg.subprotocol, err = checkResponse(resp, key, offered)
	if err == nil {
		cfg.deflate, err = checkDeflate(resp.Header["Sec-Websocket-Extensions"], d.EnableCompression, d.Compression)
	}
	if err != nil {
		keepBody(resp)
		return nil, resp, ErrBadHandshake
	}
	resp.Body = http.NoBody
	if !stop() {
		return fail(ctx.Err())
	}
	dialed.SetDeadline(time.Time{})
	return newConn(nc, cfg), resp, nil
}

// errMalformedURL has this text for programs that look for it.
var errMalformedURL = errors.New("malformed ws or wss URL")

// parseURL parses a WebSocket URL and gives it its HTTP scheme. The host may be empty: it is left
// to the dial function what that means.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, errMalformedURL
	}
	// RFC 6455 §3: "//" and a host follow the scheme, without a user. There is no fragment, so that
	// a "#" is escaped.
	switch {
	case u.Opaque != "" || u.User != nil:
		return nil, errMalformedURL
	case strings.Contains(s, "#"):
		return nil, fmt.Errorf("%w: it has a fragment; a # in the path or query is written %%23", errMalformedURL)
	}
	u.RawQuery = escapeQuery(u.RawQuery)
	return u, nil
}

// escapeQuery escapes what a query cannot have in a request (RFC 3986 §3.4), as far as browsers do.
// Package net/url leaves it as it is; a space would end the request target.
func escapeQuery(query string) string {
	const hex = "0123456789ABCDEF"
	var escaped []byte
	for i := range len(query) {
		switch c := query[i]; {
		case c <= ' ' || c >= 0x7f || c == '"' || c == '<' || c == '>':
			escaped = append(escaped, '%', hex[c>>4], hex[c&15])
		default:
			escaped = append(escaped, c)
		}
	}
	return string(escaped)
}

// hostPort returns the address that the URL of a server or a proxy means.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "http":
			port = "80"
		case "https":
			port = "443"
		default:
			port = "1080" // RFC 1928 §3
		}
	}
	return net.JoinHostPort(asciiHost(u), port)
}

// asciiHost returns the host of a URL with internationalized labels as DNS has them.
func asciiHost(u *url.URL) string {
	host := u.Hostname()
	if strings.IndexFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return host
	}
	// Package net/http converts a Host header, but has no function for it.
	var head bytes.Buffer
	if err := (&http.Request{URL: &url.URL{Host: host}}).Write(&head); err != nil {
		return host
	}
	req, err := http.ReadRequest(bufio.NewReader(&head))
	if err != nil || req.Host == "" {
		return host
	}
	return req.Host
}

// request returns the request of the opening handshake (RFC 6455 §4.1) and the subprotocols that it
// offers.
func (d *Dialer) request(ctx context.Context, u *url.URL, key string, from http.Header) (req *http.Request, offered []string, err error) {
	req = (&http.Request{
		Method:     http.MethodGet,
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     make(http.Header, len(from)+7),
		Host:       u.Host,
	}).WithContext(ctx)
	if d.Jar != nil {
		for _, cookie := range d.Jar.Cookies(u) {
			req.AddCookie(cookie)
		}
	}
	for _, s := range d.Subprotocols {
		if !isSubprotocol(s) {
			return nil, nil, fmt.Errorf("websocket: Dialer.Subprotocols has %q, which cannot be the name of a subprotocol", s)
		}
		// RFC 6455 §4.1: all are unique.
		if !slices.Contains(offered, s) {
			offered = append(offered, s)
		}
	}
	// These names are spelled as in the RFC, past http.Header.Set: some servers compare them
	// exactly.
	h := req.Header
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
			if len(values) > 0 {
				req.Host = values[0]
			}
		case canonical == "Sec-Websocket-Protocol":
			h["Sec-WebSocket-Protocol"] = values
			offered = listElements(values)
		default:
			h[name] = values
		}
	}
	h["Upgrade"] = []string{"websocket"}
	h["Connection"] = []string{"Upgrade"}
	h["Sec-WebSocket-Key"] = []string{key}
	h["Sec-WebSocket-Version"] = []string{"13"}
	if d.EnableCompression {
		h["Sec-WebSocket-Extensions"] = []string{offerDeflate(d.Compression)}
	}
	return req, offered, nil
}

// proxyFor returns the proxy for the request, nil for none.
func (d *Dialer) proxyFor(req *http.Request) (*url.URL, error) {
	if d.Proxy == nil {
		return nil, nil
	}
	u, err := d.Proxy(req)
	if err != nil || u == nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, errors.New("proxy: unknown scheme: " + u.Scheme)
}

// dial makes the first connection, TLS included if the application has a function for that, and
// gives it the deadline of ctx.
func (d *Dialer) dial(ctx context.Context, addr string, secure bool) (net.Conn, error) {
	var nc net.Conn
	var err error
	switch {
	case secure && d.NetDialTLSContext != nil:
		nc, err = d.NetDialTLSContext(ctx, "tcp", addr)
	case d.NetDialContext != nil:
		nc, err = d.NetDialContext(ctx, "tcp", addr)
	case d.NetDial != nil:
		nc, err = d.NetDial("tcp", addr)
	default:
		var nd net.Dialer
		nc, err = nd.DialContext(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	if nc == nil {
		return nil, errors.New("websocket: the dial function returned neither a connection nor an error")
	}
	if deadline, ok := ctx.Deadline(); ok {
		nc.SetDeadline(deadline) // a connection without deadlines is closed then
	}
	return nc, nil
}

// tunnel returns the connection to the server that the proxy at the other end of nc makes; in any
// case one to close.
func (d *Dialer) tunnel(ctx context.Context, nc net.Conn, proxyURL *url.URL, server string) (net.Conn, error) {
	if proxyURL.Scheme == "https" && d.NetDialTLSContext == nil {
		var err error
		if nc, err = d.startTLS(ctx, nc, proxyURL, &httptrace.ClientTrace{}); err != nil {
			return nc, err
		}
	}
	if strings.HasPrefix(proxyURL.Scheme, "socks") {
		return nc, proxy.SOCKS5(nc, proxyURL, server)
	}
	return nc, proxy.Connect(nc, proxyURL, server)
}

// startTLS returns a TLS connection over nc to the host of the URL; in any case one to close.
func (d *Dialer) startTLS(ctx context.Context, nc net.Conn, u *url.URL, trace *httptrace.ClientTrace) (net.Conn, error) {
	cfg := d.TLSClientConfig.Clone()
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.ServerName == "" {
		cfg.ServerName = asciiHost(u)
	}
	// A configuration shared with an http.Client names h2, where there is no Upgrade header.
	cfg.NextProtos = []string{"http/1.1"}
	tc := tls.Client(nc, cfg)
	if trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := tc.HandshakeContext(ctx)
	if trace.TLSHandshakeDone != nil {
		trace.TLSHandshakeDone(tc.ConnectionState(), err)
	}
	return tc, err
}

// Bounds of what is read for a response, in bytes. That of the head, interim responses included, is
// the one that net/http's servers have for requests.
const (
	maxResponseHead = 1 << 20
	maxResponseBody = 64 << 10 // as it is encoded
	maxKeptBody     = 1 << 10
)

// roundTrip sends the request and returns the response, and what was received behind it.
func roundTrip(nc net.Conn, req *http.Request, trace *httptrace.ClientTrace) (resp *http.Response, buffered []byte, err error) {
	if err := req.Write(nc); err != nil {
		return nil, nil, err
	}
	r := &boundedReader{nc: nc, left: maxResponseHead}
	br := bufio.NewReader(r)
	if _, err := br.Peek(1); err == nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	resp, err = http.ReadResponse(br, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		// RFC 9110 §15.2: any number of interim responses may come first.
		if trace.Got1xxResponse != nil {
			if err := trace.Got1xxResponse(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
				return nil, nil, err
			}
		}
		resp, err = http.ReadResponse(br, req)
	}
	tc, secure := nc.(*tls.Conn)
	if err != nil {
		switch text := err.Error(); {
		case r.err != nil && r.err != io.EOF:
			err = r.err // not what is wrong with half a line
		case len(text) > maxExcerpt:
			err = errors.New(strings.ToValidUTF8(text[:maxExcerpt], "") + "...")
		}
		if secure {
			if proto := tc.ConnectionState().NegotiatedProtocol; proto != "" && proto != "http/1.1" {
				err = fmt.Errorf("websocket: the TLS connection was made for protocol %q, not for HTTP/1.1; "+
					"set NextProtos to http/1.1 where NetDialTLSContext makes it: %w", proto, err)
			}
		}
		return nil, nil, err
	}
	if secure {
		state := tc.ConnectionState()
		resp.TLS = &state
	}
	r.left = maxResponseBody
	buffered, _ = br.Peek(br.Buffered())
	return resp, buffered, nil
}

// A boundedReader reads up to left bytes of a connection.
type boundedReader struct {
	nc   net.Conn
	left int
	err  error // what ended the reading, if anything did
}

var errLongResponse = errors.New("websocket: the response to the opening handshake is too long")

func (r *boundedReader) Read(p []byte) (n int, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.left == 0:
		r.err = errLongResponse
		return 0, r.err
	}
	n, r.err = r.nc.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, r.err
}

// keepBody replaces the body by its beginning, so that the connection can be closed.
func keepBody(resp *http.Response) {
	kept, _ := io.ReadAll(io.LimitReader(resp.Body, maxKeptBody))
	resp.Body = io.NopCloser(bytes.NewReader(kept))
}

// closeNow closes a connection without what TLS would write first.
func closeNow(nc net.Conn) {
	for tc, ok := nc.(*tls.Conn); ok; tc, ok = nc.(*tls.Conn) {
		nc = tc.NetConn()
	}
	nc.Close()
}

// dialError returns the error of a dial of addr that failed with err: err itself, unless ctx has
// ended.
func dialError(ctx context.Context, addr string, err error) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done() // the deadline of the connection may have passed first
	}
	end := ctx.Err()
	if end == nil {
		return err
	}
	cause := context.Cause(ctx)
	if end != context.DeadlineExceeded && errors.Is(err, end) && errors.Is(err, cause) {
		return err
	}
	op := &net.OpError{Op: "dial", Net: "tcp", Addr: dialAddr(addr)}
	var failed *net.OpError
	if errors.As(err, &failed) && failed.Addr != nil {
		op.Net, op.Source, op.Addr = failed.Net, failed.Source, failed.Addr
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		err = end // which closed the connection
	}
	op.Err = &dialEnd{end, cause, err}
	return op
}

// A dialAddr is the address that was given to a dial function.
type dialAddr string

func (dialAddr) Network() string  { return "tcp" }
func (a dialAddr) String() string { return string(a) }

// A dialEnd is the end of the context of a dial. Its texts are those of package net.
type dialEnd struct{ end, cause, err error }

func (e *dialEnd) Error() string {
	switch {
	case e.cause != e.end:
		return e.cause.Error()
	case e.Timeout():
		return "i/o timeout"
	}
	return "operation was canceled"
}

func (e *dialEnd) Unwrap() []error      { return []error{e.cause, e.end, e.err} }
func (e *dialEnd) Is(target error) bool { return target == os.ErrDeadlineExceeded && e.Timeout() }
func (e *dialEnd) Timeout() bool        { return e.end == context.DeadlineExceeded }
func (e *dialEnd) Temporary() bool      { return e.Timeout() }
