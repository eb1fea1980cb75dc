// The floor: what echoing bytes over net.Conn costs when there is no WebSocket. It answers the
// handshake, then returns every byte as it came, mask included; the load generator expects exactly
// that of it.
package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"log"
	"net"
	"net/textproto"

	"github.com/tautws/websocket/bench/server/serve"
)

func main() {
	serve.Main(func(o serve.Options) serve.Program {
		members := serve.NewMembers[net.Conn](o)
		return serve.Program{
			Serve: func(ln net.Listener) error {
				for {
					c, err := ln.Accept()
					if err != nil {
						return err
					}
					go func() {
						if err := handshake(c); err != nil {
							c.Close()
							return
						}
						members.Add(c)
						// A new goroutine, because parsing has grown the stack of this one.
						go echo(c, o)
					}()
				}
			},
			Broadcast: func(payload []byte) {
				frame := frame(payload)
				members.Each(func(c net.Conn) {
					if _, err := c.Write(frame); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}

func handshake(c net.Conn) error {
	in := textproto.NewReader(bufio.NewReaderSize(c, 1024))
	if _, err := in.ReadLine(); err != nil {
		return err
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = c.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
	return err
}

func echo(c net.Conn, o serve.Options) {
	defer c.Close()
	buf := make([]byte, o.Buffer)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if o.Writers > 0 {
			err = writeFromMany(o, c, buf[:n])
		} else {
			_, err = c.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func writeFromMany(o serve.Options, c net.Conn, p []byte) error {
	return o.Write(func() error {
		_, err := c.Write(p)
		return err
	})
}

// frame returns payload as a binary message.
func frame(payload []byte) []byte {
	head := []byte{0x82, 127}
	if n := len(payload); n < 1<<16 {
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	} else {
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	return append(head, payload...)
}
