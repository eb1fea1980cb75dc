package interop

// A client of HTTP/2 that opens WebSockets by extended CONNECT (RFC 8441), which the standard
// library's cannot. It works on frames, so that it can also behave badly.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tautws/websocket"
)

// An h2Client is one HTTP/2 connection.
type h2Client struct {
	nc       net.Conn
	fr       *http2.Framer
	settings map[http2.SettingID]uint32 // the server's first ones

	mu      sync.Mutex
	changed sync.Cond
	head    bytes.Buffer
	enc     *hpack.Encoder
	next    uint32
	streams map[uint32]*h2Stream
	window  int64 // of the connection, for sending
	err     error // the connection has ended
	goAway  http2.ErrCode
}

// An h2Stream is one request and the response to it.
type h2Stream struct {
	c      *h2Client
	id     uint32
	header http.Header // of the response, with :status
	data   []byte
	err    error // what the stream ended with
	window int64
	greedy bool // takes data and does not open the window again
}

// dialH2 connects to a server, over TLS unless config is nil. The settings are ours.
func dialH2(t testing.TB, address string, config *tls.Config, settings ...http2.Setting) *h2Client {
	t.Helper()
	nc, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"h2"}
		config.ServerName = "localhost"
		nc = tls.Client(nc, config)
	}
	t.Cleanup(func() { nc.Close() })
	c := &h2Client{
		nc: nc, fr: http2.NewFramer(nc, bufio.NewReader(nc)), next: 1, window: 65535,
		streams: map[uint32]*h2Stream{},
	}
	c.changed.L = &c.mu
	c.enc = hpack.NewEncoder(&c.head)
	c.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	io.WriteString(nc, http2.ClientPreface)
	c.fr.WriteSettings(settings...)
	go c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.settings == nil && c.err == nil {
		c.changed.Wait()
	}
	if c.err != nil {
		t.Fatalf("no settings: %v", c.err)
	}
	return c
}

func (c *h2Client) read() {
	for {
		f, err := c.fr.ReadFrame()
		c.mu.Lock()
		if err != nil {
			c.err = err
			for _, s := range c.streams {
				s.finish(err)
			}
		} else {
			c.received(f)
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if err != nil {
			c.nc.Close()
			return
		}
	}
}

func (s *h2Stream) finish(err error) {
	if s.err == nil {
		s.err = err
	}
}

// received works on a frame. c.mu is locked.
func (c *h2Client) received(f http2.Frame) {
	s := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		if c.settings == nil {
			c.settings = map[http2.SettingID]uint32{http2.SettingInitialWindowSize: 65535}
			f.ForeachSetting(func(s http2.Setting) error { c.settings[s.ID] = s.Val; return nil })
		}
		c.fr.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		if s != nil {
			s.window += int64(f.Increment)
		} else if f.StreamID == 0 {
			c.window += int64(f.Increment)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.fr.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.goAway = f.ErrCode
	case *http2.MetaHeadersFrame:
		if s == nil {
			return
		}
		s.header = http.Header{}
		for _, field := range f.Fields {
			s.header.Add(field.Name, field.Value)
		}
		if f.StreamEnded() {
			s.finish(io.EOF)
		}
	case *http2.DataFrame:
		if s == nil {
			return
		}
		s.data = append(s.data, f.Data()...)
		if n := f.Length; n > 0 && !s.greedy {
			c.fr.WriteWindowUpdate(0, n)
			c.fr.WriteWindowUpdate(s.id, n)
		}
		if f.StreamEnded() {
			s.finish(io.EOF)
		}
	case *http2.RSTStreamFrame:
		if s != nil {
			s.finish(http2.StreamError{StreamID: s.id, Code: f.ErrCode})
		}
	}
}

// start sends the header of an extended CONNECT.
func (c *h2Client) start(protocol, path string, header http.Header) *h2Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &h2Stream{c: c, id: c.next, window: int64(c.settings[http2.SettingInitialWindowSize])}
	c.next += 2
	c.streams[s.id] = s
	c.head.Reset()
	for _, field := range [][2]string{
		{":method", "CONNECT"}, {":protocol", protocol}, {":scheme", "https"}, {":path", path}, {":authority", "localhost"},
	} {
		c.enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	for name, values := range header {
		for _, value := range values {
			c.enc.WriteField(hpack.HeaderField{Name: strings.ToLower(name), Value: value})
		}
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: c.head.Bytes(), EndHeaders: true})
	return s
}

// status waits for the response.
func (s *h2Stream) status() (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for s.header == nil && s.err == nil {
		s.c.changed.Wait()
	}
	if s.header == nil {
		return 0, s.err
	}
	return strconv.Atoi(s.header.Get(":status"))
}

func (s *h2Stream) Read(p []byte) (int, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for len(s.data) == 0 && s.err == nil {
		s.c.changed.Wait()
	}
	if len(s.data) == 0 {
		return 0, s.err
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

func (s *h2Stream) Write(p []byte) (n int, err error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for n < len(p) {
		for s.window <= 0 || s.c.window <= 0 {
			if s.err != nil {
				return n, s.err
			}
			s.c.changed.Wait()
		}
		if s.err != nil {
			return n, s.err
		}
		chunk := p[n:]
		chunk = chunk[:min(int64(len(chunk)), s.window, s.c.window, 16<<10)]
		if err := s.c.fr.WriteData(s.id, false, chunk); err != nil {
			return n, err
		}
		n += len(chunk)
		s.window -= int64(len(chunk))
		s.c.window -= int64(len(chunk))
	}
	return n, nil
}

// end sends END_STREAM, reset RST_STREAM.
func (s *h2Stream) end() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.fr.WriteData(s.id, true, nil)
}

func (s *h2Stream) reset() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.finish(net.ErrClosed)
	s.c.fr.WriteRSTStream(s.id, http2.ErrCodeCancel)
	s.c.changed.Broadcast()
}

// dialer returns a Dialer whose connections are streams of c.
func (c *h2Client) dialer() websocket.Dialer {
	return websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go c.tunnel(theirs)
		return ours, nil
	}}
}

// tunnel turns the handshake on nc into that of HTTP/2.
func (c *h2Client) tunnel(nc net.Conn) {
	defer nc.Close()
	br := bufio.NewReader(nc)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		r.Header.Del(name)
	}
	s := c.start("websocket", r.URL.RequestURI(), r.Header)
	status, err := s.status()
	if err != nil {
		return
	}
	var head bytes.Buffer
	if status/100 == 2 {
		sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		fmt.Fprintf(&head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
	} else {
		fmt.Fprintf(&head, "HTTP/1.1 %d Refused\r\n", status)
	}
	delete(s.header, ":status")
	s.header.Write(&head)
	head.WriteString("\r\n")
	nc.Write(head.Bytes())
	go func() {
		io.Copy(s, br)
		s.end()
	}()
	io.Copy(nc, s)
	s.reset()
}
