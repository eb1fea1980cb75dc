package websocket

// Frames and messages for tests.

import (
	"fmt"

	"github.com/tautws/websocket/internal/wiretest"
)

type wireFrame = wiretest.Frame

var (
	frame       = wiretest.New
	textFrame   = wiretest.Text
	binaryFrame = wiretest.Binary
	pingFrame   = wiretest.Ping
	pongFrame   = wiretest.Pong
	closeFrame  = wiretest.Close
)

type wireMessage struct {
	messageType int
	data        string
}

func (m wireMessage) String() string {
	return fmt.Sprintf("{%d %s}", m.messageType, wiretest.Shortened(m.data))
}

// clientFrame returns the bytes of a masked frame.
func clientFrame(first byte, payload []byte) []byte {
	return frame(first, string(payload)).Append(nil, true, [4]byte{1, 2, 3, 4})
}
