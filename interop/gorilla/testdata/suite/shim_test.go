package websocket_test

// What gorilla's tests take from the inside of their package, made from what
// the package exports.

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"

	. "github.com/gorilla/websocket"
)

func computeAcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func isUnexpectedEOF(err error) bool {
	e, ok := err.(*CloseError)
	return ok && *e == CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()}
}

// newConn returns a connection over nc, as the constructor of that name does:
// the handshake does not reach nc.
func newConn(nc net.Conn, isServer bool, readSize, writeSize int, pool BufferPool, _ *bufio.Reader, _ []byte) *Conn {
	if !isServer {
		d := Dialer{ReadBufferSize: readSize, WriteBufferSize: writeSize, WriteBufferPool: pool}
		d.NetDial = func(string, string) (net.Conn, error) { return &dialled{Conn: nc}, nil }
		c, _, err := d.Dial("ws://example.com/", nil)
		if err != nil {
			panic(err)
		}
		return c
	}
	r := httptest.NewRequest(http.MethodGet, "http://example.com/", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	u := Upgrader{ReadBufferSize: readSize, WriteBufferSize: writeSize, WriteBufferPool: pool}
	h := hijacker{ResponseRecorder: httptest.NewRecorder(), nc: nc}
	response, plain := writer(nc).(*bytes.Buffer)
	if !plain {
		h.nc = &hijacked{Conn: nc}
	}
	c, err := u.Upgrade(h, r, nil)
	if err != nil {
		panic(err)
	}
	if plain {
		response.Reset()
	}
	return c
}

func writer(nc net.Conn) io.Writer {
	switch nc := nc.(type) {
	case fakeNetConn:
		return nc.Writer
	case *fakeNetConn:
		return nc.Writer
	}
	return nil
}

type hijacker struct {
	*httptest.ResponseRecorder
	nc net.Conn
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

// hijacked keeps the response of a server to itself.
type hijacked struct {
	net.Conn
	past bool
}

func (c *hijacked) Write(p []byte) (int, error) {
	if !c.past {
		c.past = bytes.HasSuffix(p, []byte("\r\n\r\n"))
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// dialled answers the request of a client and keeps both to itself.
type dialled struct {
	net.Conn
	once     sync.Once
	answered chan bool
	mu       sync.Mutex
	request  []byte
	response []byte
	past     bool
}

func (c *dialled) init() { c.once.Do(func() { c.answered = make(chan bool) }) }

func (c *dialled) Write(p []byte) (int, error) {
	c.init()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.past {
		return c.Conn.Write(p)
	}
	c.request = append(c.request, p...)
	if bytes.HasSuffix(c.request, []byte("\r\n\r\n")) {
		c.past = true
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.request)))
		if err != nil {
			panic(err)
		}
		c.response = []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Accept: " + computeAcceptKey(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n")
		close(c.answered)
	}
	return len(p), nil
}

func (c *dialled) Read(p []byte) (int, error) {
	c.init()
	<-c.answered
	c.mu.Lock()
	if len(c.response) > 0 {
		n := copy(p, c.response)
		c.response = c.response[n:]
		c.mu.Unlock()
		return n, nil
	}
	c.mu.Unlock()
	return c.Conn.Read(p)
}
