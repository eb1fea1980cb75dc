package gorilla

// Both libraries behind one set of functions. Options are written as gorilla's
// structs and copied field by field into ours, and *Conn of either satisfies
// conn as it is: nothing here adapts behaviour.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"testing"
	"time"

	gorilla "github.com/gorilla/websocket"
	websocket "github.com/tautws/websocket"
)

// conn lists gorilla's methods on *Conn, less the one that names another type
// of its package.
type conn interface {
	Close() error
	CloseHandler() func(code int, text string) error
	EnableWriteCompression(enable bool)
	LocalAddr() net.Addr
	NetConn() net.Conn
	NextReader() (messageType int, r io.Reader, err error)
	NextWriter(messageType int) (io.WriteCloser, error)
	PingHandler() func(appData string) error
	PongHandler() func(appData string) error
	ReadJSON(v any) error
	ReadMessage() (messageType int, p []byte, err error)
	RemoteAddr() net.Addr
	SetCloseHandler(h func(code int, text string) error)
	SetCompressionLevel(level int) error
	SetPingHandler(h func(appData string) error)
	SetPongHandler(h func(appData string) error)
	SetReadDeadline(t time.Time) error
	SetReadLimit(limit int64)
	SetWriteDeadline(t time.Time) error
	Subprotocol() string
	UnderlyingConn() net.Conn
	WriteControl(messageType int, data []byte, deadline time.Time) error
	WriteJSON(v any) error
	WriteMessage(messageType int, data []byte) error
}

type library struct {
	name string

	upgrade   func(o gorilla.Upgrader, w http.ResponseWriter, r *http.Request, h http.Header) (conn, error)
	upgradeFn func(w http.ResponseWriter, r *http.Request, h http.Header, readSize, writeSize int) (conn, error)
	dial      func(ctx context.Context, o *gorilla.Dialer, url string, h http.Header) (conn, *http.Response, error)
	newClient func(nc net.Conn, u *url.URL, h http.Header, readSize, writeSize int) (conn, *http.Response, error)

	// prepare returns a function that writes the prepared message.
	prepare func(messageType int, data []byte) (func(conn) error, error)

	joinMessages       func(c conn, term string) io.Reader
	writeJSON          func(c conn, v any) error
	readJSON           func(c conn, v any) error
	formatClose        func(code int, text string) []byte
	isCloseError       func(err error, codes ...int) bool
	isUnexpectedClose  func(err error, codes ...int) bool
	subprotocols       func(r *http.Request) []string
	isWebSocketUpgrade func(r *http.Request) bool

	errCloseSent, errReadLimit, errBadHandshake error

	// By type assertion, as programs do it, not by errors.As.
	closeError     func(err error) (code int, text string, ok bool)
	handshakeError func(err error) bool
}

var libraries = []library{theirs, ours}

var theirs = library{
	name: "gorilla",
	upgrade: func(o gorilla.Upgrader, w http.ResponseWriter, r *http.Request, h http.Header) (conn, error) {
		c, err := o.Upgrade(w, r, h)
		return orNil(c), err
	},
	upgradeFn: func(w http.ResponseWriter, r *http.Request, h http.Header, readSize, writeSize int) (conn, error) {
		c, err := gorilla.Upgrade(w, r, h, readSize, writeSize)
		return orNil(c), err
	},
	dial: func(ctx context.Context, o *gorilla.Dialer, url string, h http.Header) (conn, *http.Response, error) {
		c, resp, err := o.DialContext(ctx, url, h)
		return orNil(c), resp, err
	},
	newClient: func(nc net.Conn, u *url.URL, h http.Header, readSize, writeSize int) (conn, *http.Response, error) {
		c, resp, err := gorilla.NewClient(nc, u, h, readSize, writeSize)
		return orNil(c), resp, err
	},
	prepare: func(messageType int, data []byte) (func(conn) error, error) {
		pm, err := gorilla.NewPreparedMessage(messageType, data)
		return func(c conn) error { return c.(*gorilla.Conn).WritePreparedMessage(pm) }, err
	},
	joinMessages:       func(c conn, term string) io.Reader { return gorilla.JoinMessages(c.(*gorilla.Conn), term) },
	writeJSON:          func(c conn, v any) error { return gorilla.WriteJSON(c.(*gorilla.Conn), v) },
	readJSON:           func(c conn, v any) error { return gorilla.ReadJSON(c.(*gorilla.Conn), v) },
	formatClose:        gorilla.FormatCloseMessage,
	isCloseError:       gorilla.IsCloseError,
	isUnexpectedClose:  gorilla.IsUnexpectedCloseError,
	subprotocols:       gorilla.Subprotocols,
	isWebSocketUpgrade: gorilla.IsWebSocketUpgrade,
	errCloseSent:       gorilla.ErrCloseSent,
	errReadLimit:       gorilla.ErrReadLimit,
	errBadHandshake:    gorilla.ErrBadHandshake,
	closeError: func(err error) (int, string, bool) {
		e, ok := err.(*gorilla.CloseError)
		if !ok {
			return 0, "", false
		}
		return e.Code, e.Text, true
	},
	handshakeError: func(err error) bool { _, ok := err.(gorilla.HandshakeError); return ok },
}

var ours = library{
	name: "here",
	upgrade: func(o gorilla.Upgrader, w http.ResponseWriter, r *http.Request, h http.Header) (conn, error) {
		var u websocket.Upgrader
		copyFields(&u, &o)
		c, err := u.Upgrade(w, r, h)
		return orNil(c), err
	},
	upgradeFn: func(w http.ResponseWriter, r *http.Request, h http.Header, readSize, writeSize int) (conn, error) {
		c, err := websocket.Upgrade(w, r, h, readSize, writeSize)
		return orNil(c), err
	},
	dial: func(ctx context.Context, o *gorilla.Dialer, url string, h http.Header) (conn, *http.Response, error) {
		var d *websocket.Dialer
		if o != nil {
			d = new(websocket.Dialer)
			copyFields(d, o)
		}
		c, resp, err := d.DialContext(ctx, url, h)
		return orNil(c), resp, err
	},
	newClient: func(nc net.Conn, u *url.URL, h http.Header, readSize, writeSize int) (conn, *http.Response, error) {
		c, resp, err := websocket.NewClient(nc, u, h, readSize, writeSize)
		return orNil(c), resp, err
	},
	prepare: func(messageType int, data []byte) (func(conn) error, error) {
		pm, err := websocket.NewPreparedMessage(messageType, data)
		return func(c conn) error { return c.(*websocket.Conn).WritePreparedMessage(pm) }, err
	},
	joinMessages:       func(c conn, term string) io.Reader { return websocket.JoinMessages(c.(*websocket.Conn), term) },
	writeJSON:          func(c conn, v any) error { return websocket.WriteJSON(c.(*websocket.Conn), v) },
	readJSON:           func(c conn, v any) error { return websocket.ReadJSON(c.(*websocket.Conn), v) },
	formatClose:        websocket.FormatCloseMessage,
	isCloseError:       websocket.IsCloseError,
	isUnexpectedClose:  websocket.IsUnexpectedCloseError,
	subprotocols:       websocket.Subprotocols,
	isWebSocketUpgrade: websocket.IsWebSocketUpgrade,
	errCloseSent:       websocket.ErrCloseSent,
	errReadLimit:       websocket.ErrReadLimit,
	errBadHandshake:    websocket.ErrBadHandshake,
	closeError: func(err error) (int, string, bool) {
		e, ok := err.(*websocket.CloseError)
		if !ok {
			return 0, "", false
		}
		return e.Code, e.Text, true
	},
	handshakeError: func(err error) bool { _, ok := err.(websocket.HandshakeError); return ok },
}

// orNil keeps a nil *Conn from becoming an interface that is not nil.
func orNil[C interface {
	comparable
	conn
}](c C) conn {
	var none C
	if c == none {
		return nil
	}
	return c
}

// copyFields sets every field of dst that src has too.
func copyFields(dst, src any) {
	d, s := reflect.ValueOf(dst).Elem(), reflect.ValueOf(src).Elem()
	for i := range s.NumField() {
		field := d.FieldByName(s.Type().Field(i).Name)
		field.Set(s.Field(i).Convert(field.Type()))
	}
}

// class names what a program can learn about an error without reading its
// text: identity, dynamic type, what errors.Is finds. A violation of the
// protocol is one class, though gorilla has no type for it.
func (l library) class(err error) string {
	var netErr net.Error
	var violation *websocket.ProtocolError
	switch {
	case err == nil:
		return "nil"
	case err == l.errCloseSent:
		return "ErrCloseSent"
	case err == l.errReadLimit:
		return "ErrReadLimit"
	case err == l.errBadHandshake:
		return "ErrBadHandshake"
	case l.handshakeError(err):
		return "HandshakeError"
	case err == io.EOF:
		return "io.EOF"
	case err == io.ErrUnexpectedEOF:
		return "io.ErrUnexpectedEOF"
	case errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return "closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	case errors.As(err, &violation), reflect.TypeOf(err) == reflect.TypeFor[*net.OpError]():
		return fmt.Sprintf("other %T", errors.Unwrap(err))
	}
	if code, text, ok := l.closeError(err); ok {
		return fmt.Sprintf("CloseError %d %q", code, text)
	}
	if reflect.TypeOf(err) == reflect.TypeOf(errors.New("")) {
		return "anonymous"
	}
	return fmt.Sprintf("%T", err)
}

// onBoth runs a test on either library.
func onBoth(t *testing.T, test func(t *testing.T, l library)) {
	t.Helper()
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) { test(t, l) })
	}
}
