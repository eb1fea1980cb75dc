// The echo server of gobwas/ws tuned by hand: no net/http, one reused buffer, header and payload in
// one write. Text is not validated; control frames are answered only as far as an echo needs.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log"
	"net"

	"github.com/gobwas/ws"

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
						defer c.Close()
						if _, err := ws.Upgrade(c); err != nil {
							return
						}
						members.Add(c)
						defer members.Remove(c)
						echo(c)
					}()
				}
			},
			Broadcast: func(payload []byte) {
				frame, err := ws.CompileFrame(ws.NewBinaryFrame(payload))
				if err != nil {
					log.Fatal(err)
				}
				members.Each(func(c net.Conn) {
					if _, err := c.Write(frame); err != nil {
						log.Print(err)
					}
				})
			},
		}
	})
}

var errTooBig = errors.New("message too big")

// echo answers whole frames. The front of buf is room for the header of the answer, so that one
// Write sends both.
func echo(c net.Conn) error {
	in := bufio.NewReader(c)
	buf := make([]byte, ws.MaxHeaderSize, 512)
	var head bytes.Buffer
	for {
		h, err := ws.ReadHeader(in)
		if err != nil {
			return err
		}
		if h.Length > serve.MessageLimit {
			return errTooBig
		}
		need := ws.MaxHeaderSize + int(h.Length)
		if cap(buf) < need {
			buf = make([]byte, need)
		}
		buf = buf[:need]
		payload := buf[ws.MaxHeaderSize:]
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		ws.Cipher(payload, h.Mask, 0)
		answer := h
		answer.Masked = false
		if h.OpCode == ws.OpPing {
			answer.OpCode = ws.OpPong
		}
		head.Reset()
		if err := ws.WriteHeader(&head, answer); err != nil {
			return err
		}
		start := ws.MaxHeaderSize - head.Len()
		copy(buf[start:], head.Bytes())
		if _, err := c.Write(buf[start:need]); err != nil {
			return err
		}
		if h.OpCode == ws.OpClose {
			return nil
		}
	}
}
