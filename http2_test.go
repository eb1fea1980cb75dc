package websocket_test

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
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

// A streamBody is the body of an extended CONNECT as net/http's server has it: a Read waits until
// there is something to read, even if it asks for nothing.
type streamBody struct {
	mu   sync.Mutex
	more sync.Cond
	data []byte
	err  error // once data is empty
	shut bool
}

func newStreamBody(early string) *streamBody {
	b := &streamBody{data: []byte(early)}
	b.more.L = &b.mu
	return b
}

func (b *streamBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		switch {
		case b.shut:
			return 0, http.ErrBodyReadAfterClose
		case len(b.data) > 0:
			n := copy(p, b.data)
			b.data = b.data[n:]
			return n, nil
		case b.err != nil:
			return 0, b.err
		}
		b.more.Wait()
	}
}

func (b *streamBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	b.more.Broadcast()
	return nil
}

// receive has data and, behind it, err come from the peer.
func (b *streamBody) receive(data string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = append(b.data, data...)
	b.err = err
	b.more.Broadcast()
}

var errStreamReset = errors.New("the stream was reset")

// A streamWriter is the ResponseWriter of an extended CONNECT. As that of net/http's server it
// fails for good when a write deadline has passed.
type streamWriter struct {
	t       *testing.T
	header  http.Header
	stall   chan struct{} // not nil: a Write waits for it, or for a reset
	deaf    bool          // the reset cannot be sent, as the whole connection is stalled
	flushes int           // of the final response

	mu       sync.Mutex
	status   int
	interim  []int
	sent     http.Header // with the status
	body     bytes.Buffer
	reset    chan struct{}
	resets   int
	returned bool // no use is allowed any more
}

func newStreamWriter(t *testing.T) *streamWriter {
	return &streamWriter{t: t, header: http.Header{}, reset: make(chan struct{})}
}

func (w *streamWriter) used() {
	if w.returned {
		w.t.Error("the ResponseWriter is used after the handler has returned")
	}
}

func (w *streamWriter) Header() http.Header { return w.header }

func (w *streamWriter) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used()
	if status < 200 {
		w.interim = append(w.interim, status)
		return
	}
	if w.status == 0 {
		w.status, w.sent = status, w.header.Clone()
	}
}

func (w *streamWriter) Write(p []byte) (int, error) {
	if w.stall != nil {
		reset := w.reset
		if w.deaf {
			reset = nil
		}
		select {
		case <-w.stall:
		case <-reset:
		}
	}
	w.WriteHeader(http.StatusOK)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.reset:
		if !w.deaf {
			return 0, errStreamReset
		}
	default:
	}
	return w.body.Write(p)
}

func (w *streamWriter) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used()
	w.flushes++
	select {
	case <-w.reset:
		return errStreamReset
	default:
		return nil
	}
}

func (w *streamWriter) SetReadDeadline(t time.Time) error {
	w.used()
	if !t.IsZero() {
		w.t.Error("the read deadline of the stream is set: it would end the stream for good")
	}
	return nil
}

func (w *streamWriter) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used()
	switch {
	case t.IsZero():
	case t.After(time.Now()):
		w.t.Error("the write deadline of the stream is set: it would end the stream even between writes")
	default:
		if w.resets++; w.resets == 1 {
			close(w.reset)
		}
	}
	return nil
}

func (w *streamWriter) resetCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.resets
}

func (w *streamWriter) written() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.body.String()
}

// connectRequest returns an extended CONNECT as net/http's server gives it to a handler.
func connectRequest(ctx context.Context, body io.ReadCloser) *http.Request {
	r := httptest.NewRequestWithContext(ctx, "GET", "/chat?room=1", body)
	r.Method, r.TLS = http.MethodConnect, new(tls.ConnectionState)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.ContentLength = -1
	r.Header = http.Header{
		":protocol":             {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Origin":                {"https://example.com"},
		"Cookie":                {"a=b"},
	}
	return r
}

// serveConnect has h answer an extended CONNECT.
func serveConnect(t *testing.T, h http.HandlerFunc, body *streamBody) *streamWriter {
	w := newStreamWriter(t)
	serveConnectTo(w, h, connectRequest(t.Context(), body))
	return w
}

func serveConnectTo(w *streamWriter, h http.Handler, r *http.Request) {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.returned = true
	}()
	websocket.HTTP2Handler(h).ServeHTTP(w, r)
}

func hijack(t *testing.T, w http.ResponseWriter) net.Conn {
	t.Helper()
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	return nc
}

// RFC 8441 §5: what a handler sees is what it would have seen over HTTP/1.1.
func TestHTTP2Request(t *testing.T) {
	keys := map[string]bool{}
	for range 2 {
		r := connectRequest(t.Context(), newStreamBody(""))
		r.Header["Sec-Websocket-Key"] = []string{"the client's"}
		h := http.HandlerFunc(func(w http.ResponseWriter, got *http.Request) {
			if got.Method != "GET" || got.Proto != "HTTP/1.1" || !got.ProtoAtLeast(1, 1) || got.ProtoAtLeast(2, 0) {
				t.Errorf("%s %s", got.Method, got.Proto)
			}
			if got.Host != "example.com" || got.URL.Path != "/chat" || got.URL.RawQuery != "room=1" || got.RequestURI != "/chat?room=1" {
				t.Errorf("host %s, URL %v, RequestURI %s", got.Host, got.URL, got.RequestURI)
			}
			if n, err := got.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF || got.ContentLength != 0 {
				t.Errorf("a body: %d, %v, length %d", n, err, got.ContentLength)
			}
			key := got.Header.Get("Sec-WebSocket-Key")
			if keys[key] || len(key) != 24 {
				t.Errorf("key %q", key)
			}
			keys[key] = true
			want := r.Header.Clone()
			delete(want, ":protocol")
			want["Sec-Websocket-Key"] = []string{key}
			want["Upgrade"] = []string{"websocket"}
			want["Connection"] = []string{"Upgrade"}
			if fmt.Sprint(got.Header) != fmt.Sprint(want) {
				t.Errorf("header %v, want %v", got.Header, want)
			}
			http.Error(w, "", http.StatusForbidden)
		})
		serveConnectTo(newStreamWriter(t), h, r)
		if r.Method != "CONNECT" || r.Header[":protocol"] == nil || r.Header["Upgrade"] != nil {
			t.Error("the server's own request was changed")
		}
	}
}

// Every other request reaches the handler as it is.
func TestHTTP2Others(t *testing.T) {
	for _, test := range []struct {
		name, method string
		major        int
		protocol     []string
	}{
		{"GET over HTTP/1.1", "GET", 1, nil},
		{"GET over HTTP/2", "GET", 2, nil},
		{"POST over HTTP/2", "POST", 2, nil},
		{"CONNECT over HTTP/1.1", "CONNECT", 1, nil},
		{"CONNECT over HTTP/2", "CONNECT", 2, nil},
		{"GET with a header of that name", "GET", 2, []string{"websocket"}},
		{"CONNECT over HTTP/1.1 with a header of that name", "CONNECT", 1, []string{"websocket"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/", nil)
			r.Method, r.ProtoMajor = test.method, test.major
			if test.protocol != nil {
				r.Header[":protocol"] = test.protocol
			}
			called := false
			websocket.HTTP2Handler(http.HandlerFunc(func(gotW http.ResponseWriter, gotR *http.Request) {
				called = gotW == http.ResponseWriter(w) && gotR == r
			})).ServeHTTP(w, r)
			if !called {
				t.Error("the handler did not get the request as it was")
			}
		})
	}
}

func TestHTTP2Refuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(r *http.Request)
		status int
	}{
		{"RFC 9220 §3, another protocol", func(r *http.Request) { r.Header[":protocol"] = []string{"connect-udp"} }, 501},
		{"two protocols", func(r *http.Request) { r.Header[":protocol"] = []string{"websocket", "websocket"} }, 501},
		{"an empty protocol", func(r *http.Request) { r.Header[":protocol"] = []string{""} }, 501},
		{"a stream that has ended", func(r *http.Request) { r.ContentLength = 0 }, 400},
		{"a Content-Length", func(r *http.Request) { r.ContentLength = 10 }, 400},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newStreamWriter(t)
			r := connectRequest(t.Context(), newStreamBody(""))
			test.change(r)
			serveConnectTo(w, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it reached the handler") }), r)
			if w.status != test.status || w.written() == "" {
				t.Errorf("status %d, body %q, want %d", w.status, w.written(), test.status)
			}
		})
	}
}

// rawResponse returns a handler that hijacks, writes the pieces and closes.
func rawResponse(t *testing.T, pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		nc := hijack(t, w)
		defer nc.Close()
		for _, p := range pieces {
			if n, err := nc.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("Write: %d, %v", n, err)
			}
		}
	}
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"

// RFC 8441 §5: a 2xx takes the place of the 101. RFC 9113 §8.2.2: no connection-specific fields.
func TestHTTP2Response(t *testing.T) {
	bytewise := strings.Split(switching+"Sec-WebSocket-Protocol: chat\r\n\r\nframes", "")
	for _, test := range []struct {
		name    string
		h       http.HandlerFunc
		status  int
		header  string // the field names of the response, sorted
		body    string
		interim string
	}{
		{"101 in bytes", rawResponse(t, switching+"\r\n", "fra", "mes"), 200, "", "frames", ""},
		{"101 and frames in one write", rawResponse(t, switching+"Set-Cookie: a=b\r\n\r\nframes"), 200, "Set-Cookie", "frames", ""},
		{"101 one byte at a time", rawResponse(t, bytewise...), 200, "Sec-Websocket-Protocol", "frames", ""},
		{
			"101 with fields that it cannot have",
			rawResponse(t, switching+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\nKeep-Alive: 5\r\n\r\n", "frames"),
			200, "", "frames", "",
		},
		{"101 behind another interim response", rawResponse(t, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+switching+"\r\nframes"), 200, "", "frames", ""},
		{"101 by WriteHeader", func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Upgrade", "websocket")
			h.Set("Connection", "Upgrade")
			h.Set("Sec-WebSocket-Accept", "x")
			h.Set("Sec-WebSocket-Protocol", "chat")
			w.WriteHeader(http.StatusSwitchingProtocols)
			if _, err := w.Write([]byte("no frame")); err != http.ErrBodyNotAllowed {
				t.Errorf("Write after 101: %v", err)
			}
			nc := hijack(t, w)
			defer nc.Close()
			io.WriteString(nc, "frames")
		}, 200, "Sec-Websocket-Protocol", "frames", ""},
		{"101 by the buffers of Hijack", func(w http.ResponseWriter, r *http.Request) {
			nc, brw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			brw.WriteString(switching + "\r\nframes")
			brw.Flush()
		}, 200, "", "frames", ""},
		{"a header that was set before the hijack", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Not-Sent", "as over HTTP/1.1")
			rawResponse(t, switching+"X-Sent: y\r\n\r\n")(w, r)
		}, 200, "X-Sent", "", ""},
		{"Early Hints", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusEarlyHints)
			rawResponse(t, switching+"\r\n")(w, r)
		}, 200, "", "", "[103]"},
		{"403", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) },
			403, "Content-Type X-Content-Type-Options", "no\n", ""},
		{"RFC 9110 §15.5.22, 426 with its Upgrade field", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Sec-WebSocket-Version", "13")
			w.WriteHeader(http.StatusUpgradeRequired)
			io.WriteString(w, "version")
		}, 400, "Sec-Websocket-Version", "version", ""},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Location", "/"); w.WriteHeader(307) },
			307, "Location", "", ""},
		{"the page of a handler that knows no WebSocket", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") },
			501, "", "<html>", ""},
		{"204", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204); w.WriteHeader(200) }, 501, "", "", ""},
		{"Flush", func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush() }, 501, "", "", ""},
		{"nothing", func(w http.ResponseWriter, r *http.Request) {}, 501, "", "", ""},
		{"Connection: close", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			w.WriteHeader(503)
		},
			503, "", "", ""},
		{"a refusal in bytes", rawResponse(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\nX: y\r\n\r\nno"),
			400, "X", "no", ""},
		{"426 in bytes", rawResponse(t, "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\r\n"), 400, "", "", ""},
		{"200 in bytes", rawResponse(t, "HTTP/1.1 200 OK\r\n\r\npage"), 501, "", "page", ""},
		{"a refusal in chunks", rawResponse(t, "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"),
			400, "", "", ""},
		{"hijacked and closed", rawResponse(t), 500, "", "", ""},
		{"half a response", rawResponse(t, switching), 500, "", "", ""},
		{"not a response", func(w http.ResponseWriter, r *http.Request) {
			nc := hijack(t, w)
			defer nc.Close()
			for range 2 {
				if _, err := io.WriteString(nc, "hello\r\n\r\n"); err == nil || !strings.Contains(err.Error(), "begin with a response") {
					t.Errorf("Write: %v", err)
				}
			}
		}, 500, "", "", ""},
		{"a head without an end", func(w http.ResponseWriter, r *http.Request) {
			nc := hijack(t, w)
			defer nc.Close()
			if _, err := nc.Write(make([]byte, 2<<20)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
				t.Errorf("Write: %v", err)
			}
		}, 500, "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serveConnect(t, test.h, newStreamBody(""))
			var names []string
			for name := range w.sent {
				names = append(names, name)
			}
			slices.Sort(names)
			header := strings.Join(names, " ")
			if w.status != test.status || header != test.header || w.written() != test.body {
				t.Errorf("status %d, header %q, body %q, want %d, %q, %q", w.status, header, w.written(), test.status, test.header, test.body)
			}
			if interim := strings.TrimPrefix(fmt.Sprint(w.interim), "[]"); interim != test.interim {
				t.Errorf("interim responses %s, want %s", interim, test.interim)
			}
		})
	}
}

// The ResponseWriter behaves as that of HTTP/1.1, before the hijack and after it.
func TestHTTP2ResponseWriter(t *testing.T) {
	serveConnect(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if err := errors.Join(rc.SetReadDeadline(time.Now()), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex()); err != nil {
			t.Error(err)
		}
		if _, ok := w.(http.Pusher); ok {
			t.Error("HTTP/1.1 has no push")
		}
		nc := hijack(t, w)
		if _, _, err := rc.Hijack(); err != http.ErrHijacked {
			t.Errorf("a second Hijack: %v", err)
		}
		if _, err := w.Write(nil); err != http.ErrHijacked {
			t.Errorf("Write: %v", err)
		}
		if err := rc.Flush(); err != http.ErrHijacked {
			t.Errorf("Flush: %v", err)
		}
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("A", "b") // does not panic
		past := time.Now().Add(-time.Second)
		rc.SetReadDeadline(past)
		rc.SetWriteDeadline(past)
		if _, err := nc.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("Read: %v", err)
		}
		if _, err := nc.Write(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("Write: %v", err)
		}
		nc.Close()
	}, newStreamBody(""))
}

// upgrading returns a handler that calls f with its WebSocket.
func upgrading(t *testing.T, f func(c *websocket.Conn, r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		f(c, r)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// A ResponseWriter outside of HTTP2Handler that hides what is needed is named.
func TestHTTP2NoDeadlines(t *testing.T) {
	w := httptest.NewRecorder()
	websocket.HTTP2Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err == nil || !strings.Contains(err.Error(), "ResponseRecorder") || !strings.Contains(err.Error(), "Unwrap") {
			t.Error(err)
		}
	})).ServeHTTP(w, connectRequest(t.Context(), newStreamBody("")))
	if w.Code != http.StatusInternalServerError {
		t.Errorf("status %d", w.Code)
	}
}

// What the library refuses is refused over HTTP/2 with a response that HTTP/2 can have.
func TestHTTP2UpgradeRefuses(t *testing.T) {
	for _, test := range []struct {
		name, field, value string
		status             int
	}{
		{"version", "Sec-WebSocket-Version", "12", 400},
		{"origin", "Origin", "https://example.org", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newStreamWriter(t)
			r := connectRequest(t.Context(), newStreamBody(""))
			r.Header.Set(test.field, test.value)
			serveConnectTo(w, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
					t.Error("accepted")
				}
			}), r)
			if w.status != test.status || w.sent["Upgrade"] != nil || w.sent["Connection"] != nil {
				t.Errorf("status %d, header %v", w.status, w.sent)
			}
		})
	}
}

func FuzzHTTP2Response(f *testing.F) {
	for _, seed := range []string{
		switching + "\r\nframes", "HTTP/1.1 103 \r\n\r\n" + switching + "\r\n", "HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "HTTP/1.1 000 \r\n\r\n", "\r\n\r\n",
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(0))
	}
	f.Fuzz(func(t *testing.T, response []byte, size uint8) {
		if len(response) > 4096 {
			return
		}
		w := newStreamWriter(t)
		accepted := 0
		var failed error
		h := func(rw http.ResponseWriter, r *http.Request) {
			nc := hijack(t, rw)
			defer nc.Close()
			for accepted < len(response) && failed == nil {
				end := len(response)
				if size > 0 {
					end = min(accepted+int(size), end)
				}
				var n int
				n, failed = nc.Write(response[accepted:end])
				accepted += n
			}
		}
		serveConnectTo(w, http.HandlerFunc(h), connectRequest(t.Context(), newStreamBody("")))

		// What net/http's client would make of the response decides.
		rest := response
		var want *http.Response
		for want == nil {
			head, behind, whole := bytes.Cut(rest, []byte("\r\n\r\n"))
			if !whole {
				break
			}
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(append(bytes.Clone(head), "\r\n\r\n"...))), nil)
			if err != nil {
				break
			}
			rest = behind
			if resp.StatusCode == 101 || resp.StatusCode >= 200 {
				want = resp
			}
		}
		switch {
		case want == nil:
			if w.status != 500 || w.written() != "" {
				t.Errorf("status %d, body %q for no response", w.status, w.written())
			}
			return
		case failed != nil:
			t.Fatalf("Write: %v", failed)
		case (w.status == 200) != (want.StatusCode == 101):
			t.Errorf("status %d for %d", w.status, want.StatusCode)
		case w.written() != string(rest) && len(want.TransferEncoding) == 0:
			t.Errorf("body %q, want %q", w.written(), rest)
		}
		for _, name := range []string{"Connection", "Upgrade", "Transfer-Encoding", "Keep-Alive", "Proxy-Connection"} {
			if w.sent[name] != nil {
				t.Errorf("the response has the field %s", name)
			}
		}
	})
}
