package websocket

// The names that are kept for programs that still use them.

import (
	"net"
	"net/http"
	"net/url"
)

// Upgrade upgrades the HTTP request to a WebSocket connection with buffers of the given sizes in
// bytes. It neither checks the request's origin nor answers a request that it refuses: both are
// left to the caller. It returns a HandshakeError if the request is not a WebSocket handshake.
//
// Deprecated: Use [Upgrader], which does both.
func Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header, readBufSize, writeBufSize int) (*Conn, error) {
	u := Upgrader{
		ReadBufferSize:  readBufSize,
		WriteBufferSize: writeBufSize,
		Error:           func(http.ResponseWriter, *http.Request, int, error) {},
		CheckOrigin:     func(*http.Request) bool { return true },
	}
	return u.Upgrade(w, r, responseHeader)
}

// NewClient performs the client's opening handshake for the URL on an existing connection, which it
// closes if the handshake fails. The other parameters and results are those of [Dialer.Dial].
//
// Deprecated: Use [Dialer] with NetDialContext.
func NewClient(netConn net.Conn, u *url.URL, requestHeader http.Header, readBufSize, writeBufSize int) (c *Conn, response *http.Response, err error) {
	d := Dialer{
		ReadBufferSize:  readBufSize,
		WriteBufferSize: writeBufSize,
		NetDial:         func(network, addr string) (net.Conn, error) { return netConn, nil },
	}
	c, response, err = d.Dial(u.String(), requestHeader)
	if err != nil {
		netConn.Close() // if it was not even dialled
	}
	return c, response, err
}

// ReadJSON reads the next JSON-encoded message of c.
//
// Deprecated: Use [Conn.ReadJSON].
func ReadJSON(c *Conn, v any) error { return c.ReadJSON(v) }

// WriteJSON sends the JSON encoding of v.
//
// Deprecated: Use [Conn.WriteJSON].
func WriteJSON(c *Conn, v any) error { return c.WriteJSON(v) }

// UnderlyingConn returns the connection underneath.
//
// Deprecated: Use [Conn.NetConn].
func (c *Conn) UnderlyingConn() net.Conn { return c.NetConn() }
