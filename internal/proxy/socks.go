package proxy

import (
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
)

// RFC 1928 §3 to §5, RFC 1929 §2.
const (
	socksVersion    = 5
	passwordVersion = 1

	noAuthentication = 0
	usernamePassword = 2
	noAcceptable     = 0xff

	commandConnect = 1

	addressIPv4   = 1
	addressDomain = 3
	addressIPv6   = 4
)

// socksReplies are the meanings of the REP field, RFC 1928 §6.
var socksReplies = [...]string{
	1: "general SOCKS server failure",
	2: "connection not allowed by ruleset",
	3: "network unreachable",
	4: "host unreachable",
	5: "connection refused",
	6: "TTL expired",
	7: "command not supported",
	8: "address type not supported",
}

// SOCKS5 asks the SOCKS proxy at the other end of rw for a connection to addr, a host and a port. A
// name is sent to the proxy, which looks it up. The credentials are those of the proxy's URL; they
// are not offered if they are longer than RFC 1929 lets them be.
func SOCKS5(rw io.ReadWriter, proxy *url.URL, addr string) error {
	s := &socks{rw, proxy}
	request, err := connectRequest(addr)
	if err != nil {
		return err
	}
	if err := s.authenticate(); err != nil {
		return err
	}
	return s.connect(request)
}

type socks struct {
	rw    io.ReadWriter
	proxy *url.URL
}

// authenticate agrees on a method (RFC 1928 §3) and follows it.
func (s *socks) authenticate() error {
	user := s.proxy.User.Username()
	password, _ := s.proxy.User.Password()
	// RFC 1929 §2: the length of each is one byte.
	hasPassword := user != "" && len(user) <= 255 && len(password) <= 255

	greeting := []byte{socksVersion, 1, noAuthentication}
	if hasPassword {
		greeting = []byte{socksVersion, 2, noAuthentication, usernamePassword}
	}
	if err := s.write("greeting", greeting); err != nil {
		return err
	}
	var answer [2]byte // VER, METHOD
	if err := s.read("greeting", answer[:]); err != nil {
		return err
	}
	switch method := answer[1]; {
	case answer[0] != socksVersion:
		return s.errorf("has unexpected version %d", answer[0])
	case method == noAcceptable:
		return s.errorf("requires authentication")
	case method == noAuthentication:
		return nil
	case method != usernamePassword || !hasPassword:
		return s.errorf("selected method %d, which was not offered", method)
	}

	request := append([]byte{passwordVersion, byte(len(user))}, user...)
	request = append(append(request, byte(len(password))), password...)
	if err := s.write("authentication request", request); err != nil {
		return err
	}
	// The version is not looked at: proxies are known that repeat that of SOCKS.
	if err := s.read("authentication reply", answer[:]); err != nil { // VER, STATUS
		return err
	}
	if answer[1] != 0 {
		return s.errorf("rejected username/password")
	}
	return nil
}

// connectRequest returns the request for a connection to addr, RFC 1928 §4.
func connectRequest(addr string) ([]byte, error) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil || port == 0 {
		return nil, fmt.Errorf("proxy: port number out of range: %s", service)
	}
	request := []byte{socksVersion, commandConnect, 0}
	ip := net.ParseIP(host)
	switch ip4 := ip.To4(); {
	case ip4 != nil:
		request = append(append(request, addressIPv4), ip4...)
	case ip != nil:
		request = append(append(request, addressIPv6), ip...)
	case len(host) > 255:
		return nil, fmt.Errorf("proxy: destination host name too long: %s", host)
	default:
		request = append(append(request, addressDomain, byte(len(host))), host...)
	}
	return append(request, byte(port>>8), byte(port)), nil
}

// connect sends the request and reads the reply, RFC 1928 §6.
func (s *socks) connect(request []byte) error {
	if err := s.write("connect request", request); err != nil {
		return err
	}
	var reply [4]byte // VER, REP, RSV, ATYP
	if err := s.read("connect reply", reply[:]); err != nil {
		return err
	}
	switch rep := int(reply[1]); {
	case reply[0] != socksVersion:
		return s.errorf("has unexpected version %d", reply[0])
	case rep >= len(socksReplies):
		return s.errorf("failed to connect: unknown error %d", rep)
	case rep != 0:
		return s.errorf("failed to connect: %s", socksReplies[rep])
	}
	// BND.ADDR is of no use, but it has to be read.
	var bound [256]byte
	n := 0
	switch reply[3] {
	case addressIPv4:
		n = net.IPv4len
	case addressIPv6:
		n = net.IPv6len
	case addressDomain:
		if err := s.read("domain length", bound[:1]); err != nil {
			return err
		}
		n = int(bound[0])
	default:
		return fmt.Errorf("proxy: got unknown address type %d from SOCKS5 proxy at %s", reply[3], s.proxy.Host)
	}
	if err := s.read("address", bound[:n]); err != nil {
		return err
	}
	return s.read("port", bound[:2]) // BND.PORT
}

func (s *socks) write(what string, p []byte) error {
	if _, err := s.rw.Write(p); err != nil {
		return fmt.Errorf("proxy: failed to write %s to SOCKS5 proxy at %s: %w", what, s.proxy.Host, err)
	}
	return nil
}

func (s *socks) read(what string, p []byte) error {
	if _, err := io.ReadFull(s.rw, p); err != nil {
		return fmt.Errorf("proxy: failed to read %s from SOCKS5 proxy at %s: %w", what, s.proxy.Host, err)
	}
	return nil
}

func (s *socks) errorf(format string, args ...any) error {
	return fmt.Errorf("proxy: SOCKS5 proxy at %s %s", s.proxy.Host, fmt.Sprintf(format, args...))
}
