package interop

// WebSocket by hand: a handshake and frames as bytes on a net.Conn, for peers that look closer than
// a library lets them, or behave worse.

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// rawKey is the Sec-WebSocket-Key of RFC 6455 §1.3.
const rawKey = "dGhlIHNhbXBsZSBub25jZQ=="

// A rawConn is a connection behind the opening handshake.
type rawConn struct {
	net.Conn
	r          *bufio.Reader
	extensions string // of the answer
}

// rawRequest is an opening handshake for ws://host/.
func rawRequest(host, extensions string) string {
	lines := "GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + rawKey + "\r\n"
	if extensions != "" {
		lines += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	return lines + "\r\n"
}

// rawDial opens a connection to a ws:// URL, offering the given extensions.
func rawDial(target, extensions string) (*rawConn, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	nc, err := net.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(patience))
	c := &rawConn{Conn: nc, r: bufio.NewReader(nc)}
	if _, err := io.WriteString(c, rawRequest(u.Host, extensions)); err != nil {
		nc.Close()
		return nil, err
	}
	response, err := http.ReadResponse(c.r, nil)
	if err == nil && response.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %s", response.Status)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	c.extensions = response.Header.Get("Sec-WebSocket-Extensions")
	return c, nil
}

// rawAccept answers an opening handshake on nc with the given extensions.
func rawAccept(nc net.Conn, extensions string) (*rawConn, error) {
	nc.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(nc)
	request, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	c := &rawConn{Conn: nc, r: r, extensions: extensions}
	return c, c.answer(request)
}

// answer accepts an opening handshake.
func (c *rawConn) answer(request *http.Request) error {
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	text := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if c.extensions != "" {
		text += "Sec-WebSocket-Extensions: " + c.extensions + "\r\n"
	}
	_, err := io.WriteString(c, text+"\r\n")
	return err
}

// readFrame reads one frame: its first byte, and its payload unmasked.
func (c *rawConn) readFrame() (first byte, payload []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.r, h[:2]); err != nil {
		return 0, nil, err
	}
	first = h[0]
	masked, n := h[1]&0x80 != 0, uint64(h[1]&0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(c.r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(c.r, h[:8])
		n = binary.BigEndian.Uint64(h[:])
	}
	if err != nil {
		return 0, nil, err
	}
	if n > 64<<20 {
		return 0, nil, fmt.Errorf("a frame of %d bytes", n)
	}
	var key [4]byte
	if masked {
		if _, err := io.ReadFull(c.r, key[:]); err != nil {
			return 0, nil, err
		}
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return first, payload, nil
}

// readMessage reads the frames of one data message as they are on the wire: still compressed where
// they say so.
func (c *rawConn) readMessage(t testing.TB) (compressed bool, payload []byte) {
	t.Helper()
	for fragment := 0; ; fragment++ {
		first, p, err := c.readFrame()
		if err != nil {
			t.Fatalf("read frame: %v", err)
		}
		if first&0x08 != 0 {
			t.Fatalf("received control frame %#x %q", first, p)
		}
		if fragment == 0 {
			compressed = first&0x40 != 0
		}
		payload = append(payload, p...)
		if first&0x80 != 0 {
			return compressed, payload
		}
	}
}

// frame returns a masked frame whose length field is the true one.
func frame(first byte, payload string) []byte {
	return append(lyingHeader(first, uint64(len(payload))), payload...)
}

// lyingHeader returns the header of a masked frame, its key zero, that claims n bytes of payload.
func lyingHeader(first byte, n uint64) []byte {
	p := []byte{first}
	switch {
	case n <= 125:
		p = append(p, 0x80|byte(n))
	case n <= 65535:
		p = binary.BigEndian.AppendUint16(append(p, 0x80|126), uint16(n))
	default:
		p = binary.BigEndian.AppendUint64(append(p, 0x80|127), n)
	}
	return append(p, 0, 0, 0, 0)
}

// hostOf returns the host and port of a URL.
func hostOf(target string) string {
	_, rest, _ := strings.Cut(target, "//")
	host, _, _ := strings.Cut(rest, "/")
	return host
}
