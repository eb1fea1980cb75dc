package load

// Idle connections: each echoes one message and then says nothing, over TCP, TLS or HTTP/2.

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Idle is a set of connections with nothing to say.
type Idle struct {
	conns   []net.Conn
	streams []*Echo // a TCP connection each
}

// streamsPerConn is how many idle streams share a TCP connection.
const streamsPerConn = 100

// Grow adds config.Conns connections, each of which has echoed one 64-byte message. The server's
// certificate is not verified.
func (i *Idle) Grow(addr netip.AddrPort, config EchoConfig) error {
	config.Burst, config.Size, config.Kind = 1, 64, Binary
	if config.HTTP2 {
		return i.growHTTP2(addr, config)
	}
	for n := range config.Conns {
		if err := i.open(addr, makeBursts(config, n)[0], config.TLS); err != nil {
			return fmt.Errorf("idle connection %d of %d: %w", n+1, config.Conns, err)
		}
	}
	return nil
}

func (i *Idle) growHTTP2(addr netip.AddrPort, config EchoConfig) error {
	for left := config.Conns; left > 0; left -= streamsPerConn {
		config.Conns = min(left, streamsPerConn)
		e, err := DialEcho(addr, config)
		if err != nil {
			return err
		}
		i.streams = append(i.streams, e)
		if _, err := e.Run(0); err != nil {
			return err
		}
	}
	return nil
}

func (i *Idle) open(addr netip.AddrPort, b burst, overTLS bool) error {
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		return err
	}
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		return err
	}
	if overTLS {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	}
	i.conns = append(i.conns, c)
	if err := c.SetDeadline(time.Now().Add(stall)); err != nil {
		return err
	}
	if _, err := c.Write(request(addr, "")); err != nil {
		return err
	}
	var response []byte
	for buf := make([]byte, 1024); !bytes.HasSuffix(response, []byte("\r\n\r\n")); {
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		response = append(response, buf[:n]...)
	}
	if err := checkResponse(response, ""); err != nil {
		return err
	}
	if _, err := c.Write(b.frames); err != nil {
		return err
	}
	reply := make([]byte, len(b.replies))
	if _, err := io.ReadFull(c, reply); err != nil {
		return err
	}
	if !bytes.Equal(reply, b.replies) {
		return fmt.Errorf("not the bytes sent: got %q, due %q", reply, b.replies)
	}
	return nil
}

// Close closes every connection.
func (i *Idle) Close() {
	for _, c := range i.conns {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn() // no close_notify, which would wait for the peer
		}
		c.Close()
	}
	for _, e := range i.streams {
		e.Close()
	}
}
