package habits

import (
	"bytes"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// stream makes a byte stream of a connection's binary messages.
type stream struct {
	*websocket.Conn
	r io.Reader
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.r == nil {
			_, r, err := s.NextReader()
			if err != nil {
				if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
					err = io.EOF
				}
				return 0, err
			}
			s.r = r
		}
		n, err := s.r.Read(p)
		if err == io.EOF {
			s.r = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (s *stream) Write(p []byte) (int, error) {
	w, err := s.NextWriter(websocket.BinaryMessage)
	if err != nil {
		return 0, err
	}
	n, err := w.Write(p)
	if err == nil {
		err = w.Close()
	}
	return n, err
}

// end says that no more bytes come.
func (s *stream) end() error {
	return s.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
}

var payload = func() []byte {
	r := rand.New(rand.NewSource(1))
	p := make([]byte, 3<<20)
	for i := range p {
		p[i] = byte(r.Intn(16)) // compresses, but not to nothing
	}
	return p
}()

func serve(t *testing.T, h func(c *websocket.Conn)) (url string) {
	t.Helper()
	upgrader := websocket.Upgrader{EnableCompression: true}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		h(c)
	}))
	t.Cleanup(server.Close)
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func onBoth(t *testing.T, test func(t *testing.T, d *websocket.Dialer)) {
	for name, compressed := range map[string]bool{"plain": false, "compressed": true} {
		t.Run(name, func(t *testing.T) { test(t, &websocket.Dialer{EnableCompression: compressed}) })
	}
}

// TestCopyMessages copies each message from NextReader to NextWriter, without knowing its size.
func TestCopyMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, d *websocket.Dialer) {
		served := make(chan error, 1)
		c, _, err := d.Dial(serve(t, func(c *websocket.Conn) {
			for {
				kind, r, err := c.NextReader()
				if err != nil {
					served <- err
					return
				}
				w, err := c.NextWriter(kind)
				if err != nil {
					served <- err
					return
				}
				if _, err := io.Copy(w, r); err != nil {
					served <- err
					return
				}
				if err := w.Close(); err != nil {
					served <- err
					return
				}
			}
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, size := range []int{0, 1, 125, 126, 4096, 65535, 65536, 1 << 20} {
			written := make(chan error, 1)
			go func() { written <- c.WriteMessage(websocket.BinaryMessage, payload[:size]) }()
			kind, p, err := c.ReadMessage()
			if err != nil || kind != websocket.BinaryMessage || !bytes.Equal(p, payload[:size]) {
				t.Fatalf("%d bytes came back as %d, %v", size, len(p), err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		}
		c.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
		if err := <-served; !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
			t.Errorf("the server ends with %v", err)
		}
	})
}

// TestTunnel carries a TCP connection: io.Copy in either direction at both ends of the WebSocket.
func TestTunnel(t *testing.T) {
	onBoth(t, func(t *testing.T, d *websocket.Dialer) {
		// The far end reads everything and sends it back.
		far, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		go func() {
			nc, err := far.Accept()
			if err != nil {
				return
			}
			defer nc.Close()
			all, _ := io.ReadAll(nc)
			nc.Write(all)
		}()
		url := serve(t, func(c *websocket.Conn) {
			s := &stream{Conn: c}
			nc, err := net.Dial("tcp", far.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			// An empty text message ends what the client sends, and leaves the connection open.
			for {
				kind, r, err := c.NextReader()
				if err != nil {
					t.Error(err)
					return
				}
				if kind == websocket.TextMessage {
					break
				}
				if _, err := io.Copy(nc, r); err != nil {
					t.Error(err)
					return
				}
			}
			nc.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(s, nc); err != nil {
				t.Error(err)
			}
			s.end()
			c.NextReader() // the client's close frame
		})
		c, _, err := d.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s := &stream{Conn: c}
		go func() {
			if _, err := io.Copy(struct{ io.Writer }{s}, bytes.NewReader(payload)); err != nil {
				t.Error(err)
			}
			c.WriteMessage(websocket.TextMessage, nil)
		}()
		back, err := io.ReadAll(s)
		if err != nil || !bytes.Equal(back, payload) {
			t.Errorf("%d of %d bytes came back, %v", len(back), len(payload), err)
		}
	})
}
