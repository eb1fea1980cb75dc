package main

import (
	"log/slog"
	"time"

	"github.com/tautws/websocket"
)

// logTrace logs connections. Messages are too many to log.
func logTrace(log *slog.Logger) *websocket.Trace {
	return &websocket.Trace{
		Opened: func(c *websocket.Conn) {
			log.Info("connection opened", "peer", c.RemoteAddr().String(), "subprotocol", c.Subprotocol())
		},
		Message: func(c *websocket.Conn, out bool, messageType, size, wire int) {},
		Ping: func(c *websocket.Conn, rtt time.Duration) {
			log.Debug("ping answered", "peer", c.RemoteAddr().String(), "rtt", rtt)
		},
		Closed: func(c *websocket.Conn, err error) {
			log.Info("connection closed", "peer", c.RemoteAddr().String(), "code", closeCode(err), "reason", err)
		},
	}
}
