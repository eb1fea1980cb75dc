package main

// What the exporters share: Traces joined to one, and names for what they tell.

import (
	"errors"
	"strconv"
	"time"

	"github.com/tautws/websocket"
)

// join returns a Trace that tells each of traces, none of whose functions is nil.
func join(traces ...*websocket.Trace) *websocket.Trace {
	return &websocket.Trace{
		Opened: func(c *websocket.Conn) {
			for _, t := range traces {
				t.Opened(c)
			}
		},
		Message: func(c *websocket.Conn, out bool, messageType, size, wire int) {
			for _, t := range traces {
				t.Message(c, out, messageType, size, wire)
			}
		},
		Ping: func(c *websocket.Conn, rtt time.Duration) {
			for _, t := range traces {
				t.Ping(c, rtt)
			}
		},
		Closed: func(c *websocket.Conn, err error) {
			for _, t := range traces {
				t.Closed(c, err)
			}
		},
	}
}

// The directions and types of messages, by index.
var (
	directions = [2]string{"in", "out"}
	types      = [2]string{"text", "binary"}
)

func directionOf(out bool) int {
	if out {
		return 1
	}
	return 0
}

func typeOf(messageType int) int {
	if messageType == websocket.BinaryMessage {
		return 1
	}
	return 0
}

// closeCode names what ended a connection: the close code, of whichever end found the reason, or
// "none". A peer may send any of thousands of codes, and each would be a time series, so those that
// are not registered count as their range.
func closeCode(err error) string {
	var ce *websocket.CloseError
	var pe *websocket.ProtocolError
	switch {
	case errors.As(err, &ce) && ce.Code >= 4000:
		return "4xxx"
	case errors.As(err, &ce) && ce.Code >= 3000:
		return "3xxx"
	case errors.As(err, &ce):
		return strconv.Itoa(ce.Code)
	case errors.As(err, &pe):
		return strconv.Itoa(pe.Code)
	case errors.Is(err, websocket.ErrReadLimit):
		return strconv.Itoa(websocket.CloseMessageTooBig)
	}
	return "none"
}

// ratio is how many bytes of messages there are to a byte on the wire, 1 while there are none.
func ratio(size, wire float64) float64 {
	if wire == 0 {
		return 1
	}
	return size / wire
}
