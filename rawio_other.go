//go:build !unix

package websocket

import "net"

// No socket can be waited for without a buffer here: the header of the next
// frame is read into a small array in Conn instead.

type rawIO struct{}

func newRawIO(net.Conn) *rawIO { return nil }

func (*rawIO) init(*Conn) {}

func (c *Conn) readRaw() (int, error) { panic("websocket: no raw I/O") }

func (c *Conn) writeRaw() int { panic("websocket: no raw I/O") }
