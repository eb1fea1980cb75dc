package load

// Connecting and the opening handshake, on bare sockets: a non-blocking descriptor for the event
// loop, blocking until the 101 has been read.

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Extension offers for the two ways to compress.
const (
	OfferNoTakeover = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	OfferTakeover   = "permessage-deflate; client_no_context_takeover"
)

const key = "dGhlIHNhbXBsZSBub25jZQ=="

var accept = func() string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}()

// request is the client's half of the handshake; offer may be empty.
func request(addr netip.AddrPort, offer string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /echo HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", addr, key)
	if offer != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", offer)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// checkResponse checks the server's half, which must be whole.
func checkResponse(response []byte, offer string) error {
	lower := bytes.ToLower(response)
	switch {
	case !bytes.HasPrefix(response, []byte("HTTP/1.1 101 ")):
	case !bytes.Contains(response, []byte(": "+accept+"\r\n")):
	case bytes.Contains(lower, []byte("permessage-deflate")) != (offer != ""):
	default:
		return nil
	}
	return fmt.Errorf("handshake refused or wrong: %q", response)
}

// socket returns a TCP socket that has begun to connect.
func socket(addr netip.AddrPort, flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	// Close with a reset: thousands of closed connections would otherwise hold their ports for a
	// minute.
	linger := unix.Linger{Onoff: 1}
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("SO_LINGER: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// connect connects. Reads from the stream wait, and find nothing after timeout.
func connect(addr netip.AddrPort, timeout time.Duration) (*socketStream, error) {
	fd, err := socket(addr, 0)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(timeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return &socketStream{fd: fd}, nil
}

// dial connects and upgrades, with TLS below if overTLS says so.
func dial(addr netip.AddrPort, offer string, overTLS bool, timeout time.Duration) (fd int, s stream, err error) {
	below, err := connect(addr, timeout)
	if err != nil {
		return -1, nil, err
	}
	defer func() {
		if err != nil {
			below.close()
		}
	}()
	s = below
	if overTLS {
		if s, err = newTLSStream(below); err != nil {
			return -1, nil, fmt.Errorf("TLS handshake: %w", err)
		}
	}
	return below.fd, s, upgrade(s, addr, offer)
}

func upgrade(s stream, addr netip.AddrPort, offer string) error {
	if err := s.send(request(addr, offer)); err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	var response []byte
	buf := make([]byte, 4096)
	for !bytes.HasSuffix(response, []byte("\r\n\r\n")) {
		n, ok, err := s.read(buf)
		if err == nil && !ok {
			err = errStalled
		}
		if err != nil {
			return fmt.Errorf("handshake: connection ended after %q: %w", response, err)
		}
		response = append(response, buf[:n]...)
	}
	return checkResponse(response, offer)
}
