package websocket

// The opening handshake as functions from headers to verdicts (RFC 6455 §4): nothing here reads or
// writes a connection. A verdict that refuses says what was wrong and what to do about it. The rules
// of origins are in origin.go, those of extensions in extension.go.

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// HandshakeError is the error, as a value, of an [Upgrader.Upgrade] that refused the request. Its text is also
// the body of the HTTP answer, unless Upgrader.Error wrote another one.
type HandshakeError struct {
	message string
}

func (e HandshakeError) Error() string { return e.message }

// ErrBadHandshake is returned by a [Dialer] when the server's response is not a WebSocket
// handshake. The text of a returned error adds which rule of RFC 6455 §4.1 the response broke.
//
// The returned error is identical (err == ErrBadHandshake) when the status is not 101, or the
// Upgrade, Connection or Sec-WebSocket-Accept header is missing or wrong. When the server chose a
// subprotocol or an extension that was not offered, errors.Is(err, ErrBadHandshake) reports true.
var ErrBadHandshake error = badHandshake{}

// badHandshake tells why a response was refused, though all its values are equal: a zero and a
// negative zero compare equal in Go, so the signs carry the reason (the bits of a number, lowest
// first) past every err == ErrBadHandshake. A reason is a status code or one of the constants.
type badHandshake struct {
	signs [10]float32
}

const (
	badUpgrade    = 1
	badConnection = 2
	badAccept     = 3
)

func newBadHandshake(reason int) error {
	var e badHandshake
	for i := range e.signs {
		if reason>>i&1 == 1 {
			e.signs[i] = float32(math.Copysign(0, -1))
		}
	}
	return e
}

func (e badHandshake) Error() string {
	reason := 0
	for i, zero := range e.signs {
		if math.Signbit(float64(zero)) {
			reason |= 1 << i
		}
	}
	const text = "websocket: bad handshake"
	switch reason {
	case 0:
		return text
	case badUpgrade:
		return text + ": the response has no 'websocket' token in its Upgrade header"
	case badConnection:
		return text + ": the response has no 'upgrade' token in its Connection header"
	case badAccept:
		return text + ": Sec-WebSocket-Accept in the response does not answer the key that was sent"
	}
	return strings.TrimSpace(text + ": the server answered " + strconv.Itoa(reason) + " " + http.StatusText(reason))
}

// IsWebSocketUpgrade reports whether the client asks to upgrade to the WebSocket protocol: the
// Connection header has the token "upgrade" and the Upgrade header the token "websocket".
func IsWebSocketUpgrade(r *http.Request) bool {
	return hasToken(r.Header["Connection"], "upgrade") && hasToken(r.Header["Upgrade"], "websocket")
}

// Subprotocols returns the subprotocols that the client offers in its Sec-WebSocket-Protocol
// headers, in the client's order of preference.
func Subprotocols(r *http.Request) []string {
	return listElements(r.Header["Sec-Websocket-Protocol"])
}

// listElements returns the elements of a comma-separated list that may span several header lines.
func listElements(lines []string) []string {
	var elements []string
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			if element = trimOWS(element); element != "" {
				elements = append(elements, element)
			}
		}
	}
	return elements
}

// hasToken reports whether the list over all header lines has the token, in any case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for more := true; more; {
			var element string
			element, line, more = strings.Cut(line, ",")
			if equalFold(trimOWS(element), token) {
				return true
			}
		}
	}
	return false
}

// trimOWS removes optional white space as RFC 9110 §5.6.3 defines it.
func trimOWS(s string) string { return strings.Trim(s, " \t") }

// equalFold compares ASCII without regard to case. Unlike strings.EqualFold it does not let
// U+212A, the Kelvin sign, pass for a k.
func equalFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func isTokenByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

func tokenLen(s string) int {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	return n
}

// newKey returns a fresh Sec-WebSocket-Key.
func newKey() string {
	// RFC 6455 §4.1: 16 bytes chosen at random for each connection, base64-encoded.
	var nonce [16]byte
	rand.Read(nonce[:])
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// keyLen is the length of 16 bytes in base64.
const keyLen = 24

// isValidKey reports whether a Sec-WebSocket-Key decodes to 16 bytes.
func isValidKey(key string) bool {
	// RFC 6455 erratum 3150: the RFC's own sample key has padding bits that are not zero, so the
	// decoding is not strict about them.
	var encoded [keyLen]byte
	if len(key) != keyLen {
		return false
	}
	copy(encoded[:], key)
	var decoded [keyLen / 4 * 3]byte
	n, err := base64.StdEncoding.Decode(decoded[:], encoded[:])
	return err == nil && n == 16
}

// appendAccept appends the Sec-WebSocket-Accept value that answers a key (RFC 6455 §4.2.2, 5.4).
func appendAccept(p []byte, key string) []byte {
	var buf [64]byte
	challenge := append(append(buf[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)
	sum := sha1.Sum(challenge)
	return base64.StdEncoding.AppendEncode(p, sum[:])
}

// refusal is an HTTP answer to a request that is not upgraded; status 0 means no objection.
type refusal struct {
	status int
	reason string
}

const notWebSocket = "websocket: the client is not using the websocket protocol: "

// checkRequest applies RFC 6455 §4.2.1 to a request and returns its Sec-WebSocket-Key.
func checkRequest(r *http.Request) (key string, no refusal) {
	if r.ProtoMajor >= 2 {
		return "", refusal{http.StatusHTTPVersionNotSupported, notWebSocket + "the request came over " + r.Proto +
			", which has no Upgrade; offer only HTTP/1.1 here (http.Server.Protocols with HTTP1 alone, or " +
			"TLSConfig.NextProtos = {\"http/1.1\"}): clients that get no extended CONNECT (RFC 8441) then use HTTP/1.1"}
	}
	const proxies = "; if a proxy stands in front, let it pass on the Connection and Upgrade headers over HTTP/1.1"
	if !hasToken(r.Header["Connection"], "upgrade") {
		return "", refusal{http.StatusBadRequest, notWebSocket + "'upgrade' token not found in 'Connection' header" + proxies}
	}
	if !hasToken(r.Header["Upgrade"], "websocket") {
		return "", refusal{http.StatusBadRequest, notWebSocket + "'websocket' token not found in 'Upgrade' header" + proxies}
	}
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		return "", refusal{http.StatusHTTPVersionNotSupported, notWebSocket + "the request came over HTTP/1.0, HTTP/1.1 is needed" + proxies}
	}
	if r.Method != http.MethodGet {
		return "", refusal{http.StatusMethodNotAllowed, notWebSocket + "request method is not GET"}
	}
	if r.Host == "" {
		return "", refusal{http.StatusBadRequest, notWebSocket + "the Host header is missing"}
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		// The body's bytes would be taken for frames.
		return "", refusal{http.StatusBadRequest, notWebSocket + "the request has a body; send it without Content-Length and Transfer-Encoding"}
	}
	versions := r.Header["Sec-Websocket-Version"]
	if len(versions) > 1 {
		// RFC 6455 §11.3.5: not more than once in a request.
		return "", refusal{http.StatusBadRequest, "websocket: more than one Sec-WebSocket-Version header"}
	}
	if len(versions) == 0 || versions[0] != "13" {
		return "", refusal{http.StatusUpgradeRequired, "websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header"}
	}
	keys := r.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !isValidKey(keys[0]) {
		// RFC 6455 §11.3.1: not more than once in a request.
		return "", refusal{http.StatusBadRequest, "websocket: not a websocket handshake: there must be one " +
			"'Sec-WebSocket-Key' header, the Base64 encoded value of 16 bytes"}
	}
	return keys[0], refusal{}
}

// checkResponseHeader refuses headers that the application cannot have in the response.
func checkResponseHeader(h http.Header) refusal {
	for name, values := range h {
		if equalFold(name, "Sec-WebSocket-Extensions") {
			return refusal{http.StatusInternalServerError, "websocket: application specific 'Sec-WebSocket-Extensions' headers are unsupported"}
		}
		if !isToken(name) {
			return refusal{http.StatusInternalServerError, fmt.Sprintf("websocket: the response header name %q is not a token", name)}
		}
		for _, value := range values {
			if !isFieldValue(value) {
				return refusal{http.StatusInternalServerError, fmt.Sprintf("websocket: the value of the response header %s has a control "+
					"character; a line break in it would begin a header of its own", name)}
			}
		}
	}
	return refusal{}
}

// isFieldValue reports whether s may stand behind the colon of a header line (RFC 9110 §5.5).
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// selectSubprotocol returns the first of the server's subprotocols that the client offers. A server
// that names none leaves the choice to its response header, which is not looked at here.
func selectSubprotocol(server []string, r *http.Request) string {
	if len(server) == 0 {
		return ""
	}
	offered := Subprotocols(r)
	for _, s := range server {
		for _, o := range offered {
			// RFC 6455 §4.1: subprotocol names compare case-sensitively.
			if s == o {
				return s
			}
		}
	}
	return ""
}

// checkResponse applies RFC 6455 §4.1 to the server's response to a request that carried the key and
// offered the subprotocols. It returns the chosen subprotocol; extensions are judged in extension.go.
func checkResponse(resp *http.Response, key string, offered []string) (subprotocol string, err error) {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return "", newBadHandshake(resp.StatusCode)
	}
	if !hasToken(resp.Header["Upgrade"], "websocket") {
		return "", newBadHandshake(badUpgrade)
	}
	if !hasToken(resp.Header["Connection"], "upgrade") {
		return "", newBadHandshake(badConnection)
	}
	var accept [28]byte
	values := resp.Header["Sec-Websocket-Accept"]
	// RFC 6455 §11.3.3: not more than once in a response.
	if len(values) != 1 || values[0] != string(appendAccept(accept[:0], key)) {
		return "", newBadHandshake(badAccept)
	}
	chosen := resp.Header["Sec-Websocket-Protocol"]
	if len(chosen) == 0 {
		return "", nil
	}
	// RFC 6455 §11.3.4: not more than once in a response.
	if len(chosen) > 1 {
		return "", fmt.Errorf("%w: the server sent %d Sec-WebSocket-Protocol headers instead of one", ErrBadHandshake, len(chosen))
	}
	for _, o := range offered {
		if o == chosen[0] {
			return o, nil
		}
	}
	return "", fmt.Errorf("%w: the server chose subprotocol %q, which was not offered; offer it in Dialer.Subprotocols", ErrBadHandshake, chosen[0])
}
