// Package websocket has the names of github.com/tautws/websocket under the path of
// github.com/gorilla/websocket, for programs and dependencies that import the latter. A go.mod file
// puts this module in its place:
//
//	go mod edit -replace github.com/gorilla/websocket=../websocket/gorilla -replace github.com/tautws/websocket=../websocket
//
// where ../websocket stands for a checkout of the repository.
//
// Nothing is implemented here. The types are aliases, so a value made by a package that imports one
// path can be passed to a package that imports the other. The variables are copies made when the
// program starts: the Dialer that DefaultDialer points to and the errors are the same under both
// paths, but an assignment to a variable is not seen under the other path.
package websocket

import (
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/tautws/websocket"
)

// The types, which are those of [websocket].
type (
	Backoff            = websocket.Backoff
	BufferPool         = websocket.BufferPool
	CloseError         = websocket.CloseError
	CompressionOptions = websocket.CompressionOptions
	Conn               = websocket.Conn
	ConnOptions        = websocket.ConnOptions
	Dialer             = websocket.Dialer
	Group              = websocket.Group
	GroupStats         = websocket.GroupStats
	HandshakeError     = websocket.HandshakeError
	KeepAlive          = websocket.KeepAlive
	Message            = websocket.Message
	PreparedMessage    = websocket.PreparedMessage
	ProtocolError      = websocket.ProtocolError
	SlowPolicy         = websocket.SlowPolicy
	Trace              = websocket.Trace
	Upgrader           = websocket.Upgrader
)

// The close codes.
const (
	CloseNormalClosure           = websocket.CloseNormalClosure
	CloseGoingAway               = websocket.CloseGoingAway
	CloseProtocolError           = websocket.CloseProtocolError
	CloseUnsupportedData         = websocket.CloseUnsupportedData
	CloseNoStatusReceived        = websocket.CloseNoStatusReceived
	CloseAbnormalClosure         = websocket.CloseAbnormalClosure
	CloseInvalidFramePayloadData = websocket.CloseInvalidFramePayloadData
	ClosePolicyViolation         = websocket.ClosePolicyViolation
	CloseMessageTooBig           = websocket.CloseMessageTooBig
	CloseMandatoryExtension      = websocket.CloseMandatoryExtension
	CloseInternalServerErr       = websocket.CloseInternalServerErr
	CloseServiceRestart          = websocket.CloseServiceRestart
	CloseTryAgainLater           = websocket.CloseTryAgainLater
	CloseBadGateway              = websocket.CloseBadGateway
	CloseTLSHandshake            = websocket.CloseTLSHandshake
)

// The message types.
const (
	TextMessage   = websocket.TextMessage
	BinaryMessage = websocket.BinaryMessage
	CloseMessage  = websocket.CloseMessage
	PingMessage   = websocket.PingMessage
	PongMessage   = websocket.PongMessage
)

// What a [Group] does with members that lag.
const (
	CloseSlow = websocket.CloseSlow
	SkipSlow  = websocket.SkipSlow
)

// DefaultDialer is [websocket.DefaultDialer].
var DefaultDialer = websocket.DefaultDialer

// The errors that are values.
var (
	ErrBadHandshake = websocket.ErrBadHandshake
	ErrCloseSent    = websocket.ErrCloseSent
	ErrGroupClosed  = websocket.ErrGroupClosed
	ErrReadLimit    = websocket.ErrReadLimit
	ErrSlowMember   = websocket.ErrSlowMember
)

// FormatCloseMessage is [websocket.FormatCloseMessage].
func FormatCloseMessage(closeCode int, text string) []byte {
	return websocket.FormatCloseMessage(closeCode, text)
}

// IsCloseError is [websocket.IsCloseError].
func IsCloseError(err error, codes ...int) bool { return websocket.IsCloseError(err, codes...) }

// IsUnexpectedCloseError is [websocket.IsUnexpectedCloseError].
func IsUnexpectedCloseError(err error, expectedCodes ...int) bool {
	return websocket.IsUnexpectedCloseError(err, expectedCodes...)
}

// IsWebSocketUpgrade is [websocket.IsWebSocketUpgrade].
func IsWebSocketUpgrade(r *http.Request) bool { return websocket.IsWebSocketUpgrade(r) }

// Subprotocols is [websocket.Subprotocols].
func Subprotocols(r *http.Request) []string { return websocket.Subprotocols(r) }

// JoinMessages is [websocket.JoinMessages].
func JoinMessages(c *Conn, term string) io.Reader { return websocket.JoinMessages(c, term) }

// NewConn is [websocket.NewConn].
func NewConn(nc net.Conn, o ConnOptions) *Conn { return websocket.NewConn(nc, o) }

// Pipe is [websocket.Pipe].
func Pipe(o ConnOptions) (client, server *Conn) { return websocket.Pipe(o) }

// NewPreparedMessage is [websocket.NewPreparedMessage].
func NewPreparedMessage(messageType int, data []byte) (*PreparedMessage, error) {
	return websocket.NewPreparedMessage(messageType, data)
}

// HTTP2Handler is [websocket.HTTP2Handler].
func HTTP2Handler(h http.Handler) http.Handler { return websocket.HTTP2Handler(h) }

// NewClient is [websocket.NewClient].
//
// Deprecated: Use [Dialer] with NetDialContext.
func NewClient(netConn net.Conn, u *url.URL, requestHeader http.Header, readBufSize, writeBufSize int) (c *Conn, response *http.Response, err error) {
	return websocket.NewClient(netConn, u, requestHeader, readBufSize, writeBufSize)
}

// Upgrade is [websocket.Upgrade].
//
// Deprecated: Use [Upgrader], which checks the origin and answers a request that it refuses.
func Upgrade(w http.ResponseWriter, r *http.Request, responseHeader http.Header, readBufSize, writeBufSize int) (*Conn, error) {
	return websocket.Upgrade(w, r, responseHeader, readBufSize, writeBufSize)
}

// ReadJSON is [websocket.ReadJSON].
//
// Deprecated: Use [Conn.ReadJSON].
func ReadJSON(c *Conn, v any) error { return websocket.ReadJSON(c, v) }

// WriteJSON is [websocket.WriteJSON].
//
// Deprecated: Use [Conn.WriteJSON].
func WriteJSON(c *Conn, v any) error { return websocket.WriteJSON(c, v) }
