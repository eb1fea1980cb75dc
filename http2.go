package websocket

// WebSocket over HTTP/2, RFC 8441, the server's half: the extended CONNECT request becomes the
// upgrade request that it would have been over HTTP/1.1, and the response to that becomes the one
// that HTTP/2 has. What the handler hijacks is in http2stream.go.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// HTTP2Handler returns a handler that serves WebSocket over HTTP/2 (RFC 8441), too.
//
// An extended CONNECT request for a WebSocket reaches h as the upgrade request that it would have
// been over HTTP/1.1, with a ResponseWriter that can be hijacked. This serves Upgrade, other
// WebSocket libraries and reverse proxies. The stream ends when the hijacked connection is closed;
// h may return before. All other requests reach h unchanged.
//
// Use it for the handler of the whole server. Clients send extended CONNECT only to a server that
// announces it, and net/http does so only if the environment variable GODEBUG contains
// http2xconnect=1 when the program starts. See docs/http2.md.
func HTTP2Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol := r.Header[":protocol"]
		switch {
		case r.ProtoMajor < 2 || r.Method != http.MethodConnect || len(protocol) == 0:
			h.ServeHTTP(w, r)
		case len(protocol) > 1 || !equalFold(protocol[0], "websocket"):
			// RFC 9220 §3: 501 where the protocol is not supported.
			http.Error(w, "websocket: the :protocol of this extended CONNECT is not supported", http.StatusNotImplemented)
		case r.ContentLength >= 0:
			// RFC 9113 §8.5: DATA frames are the tunnel, so they have no length known beforehand.
			http.Error(w, "websocket: an extended CONNECT has no Content-Length and leaves the stream open", http.StatusBadRequest)
		default:
			u := &http2Upgrade{w: w, rc: http.NewResponseController(w), r: r, header: w.Header()}
			u.serve(h)
		}
	})
}

// maxUpgradeHead bounds what is kept of a response whose head does not end. It comes from the
// server's own program, perhaps from a server behind that.
const maxUpgradeHead = 1 << 20

// An http2Upgrade is the ResponseWriter of an upgrade request that came by extended CONNECT. Until
// the hijack it belongs to the handler, afterwards what concerns the response belongs to the
// stream's Write.
type http2Upgrade struct {
	w      http.ResponseWriter
	rc     *http.ResponseController // of w
	r      *http.Request            // the extended CONNECT
	header http.Header              // of w, which may be gone when a handler asks

	stream  atomic.Pointer[http2Stream] // not nil: hijacked
	started bool                        // the final response has been given to w
	noBody  bool                        // what comes behind the response's head is left out
	head    []byte                      // of a response in HTTP/1.1 that is not complete
}

// serve has h answer the upgrade request, and returns when the stream is no longer used.
func (u *http2Upgrade) serve(h http.Handler) {
	// A ReadTimeout is for a request's body, which an upgrade request does not have. It would end
	// the stream.
	u.rc.SetReadDeadline(time.Time{})
	// Over HTTP/1.1 the context of a hijacked connection does not end with the connection: what has
	// arrived can still be read.
	base := u.r.Context()
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(base))
	stop := context.AfterFunc(base, func() {
		if s := u.stream.Load(); s == nil || !s.ends() {
			cancel(context.Cause(base))
		}
	})
	returned := false
	defer func() {
		stop()
		cancel(nil)
		u.finish(returned)
	}()
	h.ServeHTTP(u, u.request(ctx))
	returned = true
}

// request returns the request as it would have been over HTTP/1.1.
func (u *http2Upgrade) request(ctx context.Context) *http.Request {
	r := u.r.WithContext(ctx)
	r.Method = http.MethodGet
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.Header = u.r.Header.Clone()
	delete(r.Header, ":protocol")
	r.Header["Connection"] = []string{"Upgrade"}
	r.Header["Upgrade"] = []string{"websocket"}
	// RFC 8441 §5: no Sec-WebSocket-Key. One that is sent nevertheless means nothing.
	r.Header["Sec-Websocket-Key"] = []string{newKey()}
	r.Body, r.ContentLength, r.TransferEncoding, r.Trailer = http.NoBody, 0, nil, nil
	return r
}

// finish waits until nothing uses the ResponseWriter any more: net/http gives it to other requests
// when the handler returns, and a use after that panics.
func (u *http2Upgrade) finish(returned bool) {
	s := u.stream.Load()
	if s != nil {
		if !returned { // the handler panics
			s.Close()
		}
		<-s.done
	}
	switch {
	case !returned || u.started:
	case s == nil:
		u.WriteHeader(http.StatusOK) // over HTTP/1.1 net/http would have written it
	default:
		u.start(http.StatusInternalServerError)
	}
}

func (u *http2Upgrade) Header() http.Header { return u.header }

func (u *http2Upgrade) WriteHeader(status int) {
	switch {
	case u.stream.Load() != nil || u.started:
	case status == http.StatusSwitchingProtocols:
		u.start(status)
		u.rc.Flush()
	case 100 <= status && status <= 199:
		u.removeConnectionFields()
		u.w.WriteHeader(status)
	default:
		u.start(status)
	}
}

func (u *http2Upgrade) Write(p []byte) (int, error) {
	if u.stream.Load() != nil {
		return 0, http.ErrHijacked
	}
	if !u.started {
		u.start(http.StatusOK)
	}
	if u.noBody {
		return 0, http.ErrBodyNotAllowed
	}
	return u.w.Write(p)
}

func (u *http2Upgrade) Flush() { u.FlushError() }

func (u *http2Upgrade) FlushError() error {
	if u.stream.Load() != nil {
		return http.ErrHijacked
	}
	if !u.started {
		u.start(http.StatusOK)
	}
	return u.rc.Flush()
}

// SetReadDeadline and SetWriteDeadline are for http.ResponseController. As over HTTP/1.1 they reach
// the hijacked connection, too. Before there is nothing to read.
func (u *http2Upgrade) SetReadDeadline(t time.Time) error {
	if s := u.stream.Load(); s != nil {
		s.read.set(t)
	}
	return nil
}

func (u *http2Upgrade) SetWriteDeadline(t time.Time) error {
	if s := u.stream.Load(); s != nil {
		s.write.set(t)
		return nil
	}
	return u.rc.SetWriteDeadline(t)
}

func (u *http2Upgrade) EnableFullDuplex() error { return nil }

// start begins the final response with the fields of u.header. RFC 8441 §5: 2xx takes the place of
// the 101, so no other response may have such a status.
func (u *http2Upgrade) start(status int) {
	u.started = true
	u.removeConnectionFields()
	switch {
	case status == http.StatusSwitchingProtocols:
		status = http.StatusOK
		u.noBody = u.stream.Load() == nil // frames are written to the hijacked connection alone
		for _, name := range [...]string{"Sec-Websocket-Accept", "Content-Length", "Trailer"} {
			delete(u.header, name)
		}
	case status == http.StatusUpgradeRequired: // which needs an Upgrade field, RFC 9110 §15.5.22
		status = http.StatusBadRequest
	case 200 <= status && status <= 299:
		status = http.StatusNotImplemented
	}
	u.w.WriteHeader(status)
}

// removeConnectionFields applies RFC 9113 §8.2.2: no connection-specific header fields.
func (u *http2Upgrade) removeConnectionFields() {
	for _, name := range [...]string{"Connection", "Upgrade", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding"} {
		delete(u.header, name)
	}
}

// Hijack hands over the stream. As over HTTP/1.1, what is written to it first is the response,
// unless that has been written already.
func (u *http2Upgrade) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if u.stream.Load() != nil {
		return nil, nil, http.ErrHijacked
	}
	// The server's time-outs are for requests.
	err := u.rc.SetReadDeadline(time.Time{})
	if err == nil {
		err = u.rc.SetWriteDeadline(time.Time{})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the ResponseWriter outside of HTTP2Handler, a %T, has no deadlines (%v); "+
			"if it is a wrapper from a middleware, add the method `Unwrap() http.ResponseWriter` to it", u.w, err)
	}
	s := newHTTP2Stream(u.r.Body)
	s.send = u.send
	s.probe = u.probe
	s.reset = func() { u.rc.SetWriteDeadline(time.Unix(1, 0)) }
	s.local, _ = u.r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	s.remote = remoteAddr(u.r.RemoteAddr)
	if !u.stream.CompareAndSwap(nil, s) {
		return nil, nil, http.ErrHijacked
	}
	u.noBody = false
	c := newHTTP2Conn(s)
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// probe returns an error if the stream has ended and the response has been started.
func (u *http2Upgrade) probe() error {
	if !u.started {
		return nil
	}
	return u.rc.Flush()
}

// send sends what was written to the hijacked connection: the response in HTTP/1.1, then frames.
func (u *http2Upgrade) send(p []byte) error {
	if !u.started {
		var err error
		if p, err = u.translate(p); err != nil || !u.started {
			return err
		}
	}
	if len(p) > 0 && !u.noBody {
		if _, err := u.w.Write(p); err != nil {
			return err
		}
	}
	return u.rc.Flush()
}

// translate starts the response when p completes its head, and returns what is behind the head.
func (u *http2Upgrade) translate(p []byte) (rest []byte, err error) {
	u.head = append(u.head, p...)
	for {
		end := bytes.Index(u.head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(u.head) > maxUpgradeHead {
				return nil, errors.New("websocket: the response has a head of more than 1 MiB")
			}
			return nil, nil
		}
		head := u.head[:end+4]
		u.head = u.head[end+4:]
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
		if err != nil {
			return nil, fmt.Errorf("websocket: what is written to a hijacked connection has to begin with a response: %w", err)
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // the interim responses before the final one
		}
		clear(u.header)
		for name, values := range resp.Header {
			u.header[name] = values
		}
		if resp.StatusCode != http.StatusSwitchingProtocols {
			delete(u.header, "Content-Length") // the handler need not write as much
			// Chunks would have to be decoded. The body explains a refusal, so it can be left out.
			u.noBody = len(resp.TransferEncoding) > 0
		}
		u.start(resp.StatusCode)
		rest, u.head = u.head, nil
		return rest, nil
	}
}

// remoteAddr returns the address that s, a Request.RemoteAddr, is the text of.
func remoteAddr(s string) net.Addr {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return textAddr(s)
	}
	return net.TCPAddrFromAddrPort(ap)
}

// A textAddr is a Request.RemoteAddr that is no IP address with a port.
type textAddr string

func (a textAddr) Network() string { return "tcp" }
func (a textAddr) String() string  { return string(a) }
