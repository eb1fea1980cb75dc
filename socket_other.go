//go:build !unix

package websocket

import "net"

// No socket can be waited for without a buffer here: the first bytes of a frame are read into
// readHalf.headBuf instead.

type rawSocket struct{}

func newRawSocket(net.Conn) *rawSocket { return nil }

func (*rawSocket) init() {}

func (*rawSocket) control(func(fd uintptr)) error { panic("websocket: no raw socket") }

func newTLSSocket(net.Conn) *rawSocket { return nil }

func (r *readHalf) readTLS() (int, error) { panic("websocket: no raw socket") }

func (r *readHalf) readSocket() (int, error) { panic("websocket: no raw socket") }

func (w *writeHalf) tryWriteSocket() int { panic("websocket: no raw socket") }

type socketWriter struct{}

func getSocketWriter() *socketWriter { return nil }

func (*socketWriter) release() {}

func (*socketWriter) write(*rawSocket, []byte) int { panic("websocket: no raw socket") }
