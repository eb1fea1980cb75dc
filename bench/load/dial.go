package load

// Connecting and the opening handshake, on bare sockets: a non-blocking descriptor for the event
// loop, blocking until the 101 has been read.

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/netip"

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

// portsPerAddress is how many connections have one source address: the search for a free port takes
// long when few are left.
const portsPerAddress = 5_000

// socket returns a TCP socket that has begun to connect. It is the connection of the load with the
// given index.
func socket(addr netip.AddrPort, index, flags int) (int, error) {
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
	if err := bind(fd, index); err != nil {
		unix.Close(fd)
		return -1, err
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

// bind gives fd its source address; connecting chooses the port.
func bind(fd, index int) error {
	if index < portsPerAddress {
		return nil // the kernel's choice
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return fmt.Errorf("IP_BIND_ADDRESS_NO_PORT: %w", err)
	}
	source := [4]byte{127, 0, 0, byte(1 + index/portsPerAddress)}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source}); err != nil {
		return fmt.Errorf("bind to %v: %w", netip.AddrFrom4(source), err)
	}
	return nil
}

// connect connects. Reads from the stream wait, and find nothing after stall.
func connect(addr netip.AddrPort, index int) (*socketStream, error) {
	fd, err := socket(addr, index, 0)
	if err != nil {
		return nil, err
	}
	tv := unix.NsecToTimeval(int64(stall))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return &socketStream{fd: fd}, nil
}

// dial connects and upgrades, with TLS below if overTLS says so.
func dial(addr netip.AddrPort, index int, offer string, overTLS bool) (fd int, s stream, err error) {
	below, err := connect(addr, index)
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
