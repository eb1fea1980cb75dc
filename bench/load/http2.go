package load

// HTTP/2: connections are streams of one TCP connection over TLS, each opened by an extended
// CONNECT (RFC 8441). Reads and writes wait. The server reads at any time, so no write waits for
// long.

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	maxWindow    = 1<<31 - 1 // what the server may send before it waits
	firstWindow  = 1<<16 - 1 // RFC 9113 §6.9.2: what a connection begins with
	maxFrameSize = 16 << 10  // of data sent, as browsers do
)

// http2Conn is a TCP connection with its streams. Its wait is that of a poller.
type http2Conn struct {
	authority string
	shut      func()
	out       *bufio.Writer // its errors stay, until Flush returns them
	framer    *http2.Framer
	block     bytes.Buffer // of headers
	encoder   *hpack.Encoder
	streams   map[uint32]*http2Stream
	nextID    uint32
	settled   bool // the server's settings have come
	connect   bool // it takes extended CONNECT
	initial   int  // window of a new stream
	window    int  // how much may still be sent
	received  int  // since the server's window was last renewed
}

type http2Stream struct {
	conn     *http2Conn
	id       uint32
	index    int
	status   string // of the response, once it has come
	unsent   []byte
	unread   []byte
	window   int
	received int
}

// dialHTTP2 connects, and waits for the server's settings.
func dialHTTP2(addr netip.AddrPort) (*http2Conn, error) {
	s, err := connect(addr, 0)
	if err != nil {
		return nil, err
	}
	t, err := newTLSStream(s, "h2")
	if err != nil {
		s.close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	h := newHTTP2Conn(t.conn, addr.String())
	h.shut = t.close
	h.out.WriteString(http2.ClientPreface)
	h.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	h.framer.WriteWindowUpdate(0, maxWindow-firstWindow)
	err = h.out.Flush()
	for err == nil && !h.settled {
		err = h.wait(notYet)
	}
	if err == nil && !h.connect {
		err = errors.New("the server does not announce extended CONNECT, which needs GODEBUG=http2xconnect=1")
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func newHTTP2Conn(rw io.ReadWriter, authority string) *http2Conn {
	h := &http2Conn{authority: authority, out: bufio.NewWriterSize(rw, 64<<10), streams: make(map[uint32]*http2Stream),
		nextID: 1, initial: firstWindow, window: firstWindow}
	h.framer = http2.NewFramer(h.out, bufio.NewReaderSize(rw, 64<<10))
	h.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.framer.SetReuseFrames()
	h.encoder = hpack.NewEncoder(&h.block)
	return h
}

func notYet(int) error { return errors.New("data on a stream before any was sent") }

// open opens a stream, whose index comes back from wait.
func (h *http2Conn) open(index int) (stream, error) {
	s := &http2Stream{conn: h, id: h.nextID, index: index, window: h.initial}
	h.nextID += 2
	h.streams[s.id] = s
	h.block.Reset()
	for _, field := range [][2]string{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/echo"},
		{":authority", h.authority}, {"sec-websocket-version", "13"},
	} {
		h.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	h.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: h.block.Bytes(), EndHeaders: true})
	err := h.out.Flush()
	for err == nil && s.status == "" {
		err = h.wait(notYet)
	}
	if err == nil && s.status != "200" {
		err = fmt.Errorf("the extended CONNECT got status %s", s.status)
	}
	return s, err
}

// close ends the connection, and with it its streams.
func (h *http2Conn) close() { h.shut() }

// wait reads one frame, and calls ready if it has data for a stream.
func (h *http2Conn) wait(ready func(index int) error) error {
	frame, err := h.framer.ReadFrame()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	if err != nil {
		return fmt.Errorf("HTTP/2: %w", err)
	}
	s := h.streams[frame.Header().StreamID] // nil: of the connection, or of a stream that was closed
	switch f := frame.(type) {
	case *http2.DataFrame:
		return h.data(s, f, ready)
	case *http2.MetaHeadersFrame:
		if s != nil {
			s.status = f.PseudoValue("status")
		}
	case *http2.SettingsFrame:
		return h.settings(f)
	case *http2.WindowUpdateFrame:
		return h.windowUpdate(s, f)
	case *http2.PingFrame:
		h.framer.WritePing(true, f.Data)
		return h.out.Flush()
	case *http2.RSTStreamFrame:
		if s != nil {
			return fmt.Errorf("the server reset the stream: %v", f.ErrCode)
		}
	case *http2.GoAwayFrame:
		return fmt.Errorf("the server ends the connection: %v %q", f.ErrCode, f.DebugData())
	}
	return nil
}

func (h *http2Conn) data(s *http2Stream, f *http2.DataFrame, ready func(index int) error) error {
	h.renew(0, &h.received, int(f.Length))
	if s == nil {
		return nil
	}
	if f.StreamEnded() || len(s.unread) > 0 {
		return errors.New("the server ended the stream, or sent more replies than messages")
	}
	h.renew(s.id, &s.received, int(f.Length))
	s.unread = f.Data()
	return ready(s.index)
}

// renew counts n bytes received, and opens the server's window again when it is half used. The next
// Flush sends that.
func (h *http2Conn) renew(id uint32, received *int, n int) {
	if *received += n; *received > maxWindow/2 {
		h.framer.WriteWindowUpdate(id, uint32(*received))
		*received = 0
	}
}

func (h *http2Conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	h.settled = true
	if v, ok := f.Value(http2.SettingEnableConnectProtocol); ok {
		h.connect = v == 1
	}
	if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
		for _, s := range h.streams {
			s.window += int(v) - h.initial
		}
		h.initial = int(v)
	}
	h.framer.WriteSettingsAck()
	return h.out.Flush()
}

func (h *http2Conn) windowUpdate(s *http2Stream, f *http2.WindowUpdateFrame) error {
	if f.StreamID == 0 {
		h.window += int(f.Increment)
		for _, s := range h.streams {
			if err := s.flush(); err != nil {
				return err
			}
		}
	} else if s != nil {
		s.window += int(f.Increment)
		return s.flush()
	}
	return nil
}

func (s *http2Stream) send(p []byte) error {
	s.unsent = p
	return s.flush()
}

// flush sends what the windows allow.
func (s *http2Stream) flush() error {
	h := s.conn
	for n := 1; n > 0; {
		if n = min(len(s.unsent), maxFrameSize, s.window, h.window); n > 0 {
			h.framer.WriteData(s.id, false, s.unsent[:n])
			s.unsent = s.unsent[n:]
			s.window -= n
			h.window -= n
		}
	}
	return h.out.Flush()
}

func (s *http2Stream) read(buf []byte) (n int, ok bool, err error) {
	n = copy(buf, s.unread)
	s.unread = s.unread[n:]
	return n, n > 0, nil
}

// close resets the stream.
func (s *http2Stream) close() {
	delete(s.conn.streams, s.id)
	s.conn.framer.WriteRSTStream(s.id, http2.ErrCodeCancel)
	s.conn.out.Flush() // an error comes back from the next
}
