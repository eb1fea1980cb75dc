package websocket

// The opening handshake as functions from headers to results (RFC 6455 §4): nothing here reads or
// writes a connection. A rejection has two texts, a short one for the peer and one with the cause
// and the remedy for the program. The rules of origins are in origin.go, those of extensions in
// extension.go.

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HandshakeError is the error, as a value, of an [Upgrader.Upgrade] that rejected the request. Its
// text says what was wrong and, where the server has to change, what to do about it. The client gets
// a shorter answer.
type HandshakeError struct {
	message string
}

func (e HandshakeError) Error() string { return e.message }

// ErrBadHandshake is returned by a [Dialer] when the server's response is not a WebSocket
// handshake: the status is not 101, or the Upgrade, Connection, Sec-WebSocket-Accept,
// Sec-WebSocket-Protocol or Sec-WebSocket-Extensions header breaks a rule of RFC 6455 §4.1. The
// response that is returned with it has the status and the headers.
var ErrBadHandshake = errors.New("websocket: bad handshake")

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

// equalFold compares ASCII without regard to case. Unlike strings.EqualFold it does not let U+212A,
// the Kelvin sign, pass for a k.
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

// isSubprotocol reports whether s can be offered and chosen as a subprotocol. RFC 6455 §4.1 asks
// for a token, but names with a slash, as "SPDY/3.1", are in use. A comma would make two names of
// one, and white space around a name does not count.
func isSubprotocol(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r == ',' || unicode.IsSpace(r) || unicode.IsControl(r)
	}) < 0
}

// maxExcerpt is how many bytes of what the peer sent an error repeats at most.
const maxExcerpt = 100

// excerpt quotes what the peer sent, at most n bytes of it and without a rune cut in two.
func excerpt(s string, n int) string {
	if len(s) <= n {
		return strconv.Quote(s)
	}
	for end := n; end >= 0 && end > n-utf8.UTFMax; end-- {
		if utf8.RuneStart(s[end]) {
			n = end
			break
		}
	}
	return strconv.Quote(s[:n]) + "..."
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

// A rejection is the HTTP answer to a request that is not upgraded; status 0 means that there is
// nothing to reject.
type rejection struct {
	status int
	answer string // to the client: the rule in the words of the RFC, a constant
	reason string // to the program: what was wrong, as gorilla/websocket has it, and the server's remedy
}

// What a client is told, RFC 6455 §4.2.1 and §4.2.2.
const (
	answerConnection  = `the opening handshake needs a Connection header field that includes the token "Upgrade"`
	answerUpgrade     = `the opening handshake needs an Upgrade header field containing the value "websocket"`
	answerGET         = "the opening handshake must be an HTTP/1.1 or higher GET request"
	answerHTTP1       = "the opening handshake must be an HTTP/1.1 GET request here"
	answerHost        = "the opening handshake needs a Host header field containing the server's authority"
	answerBody        = "the opening handshake has no message body"
	answerVersion     = "the opening handshake needs one Sec-WebSocket-Version header field, with a value of 13"
	answerKey         = "the opening handshake needs one Sec-WebSocket-Key header field with a base64-encoded value that, when decoded, is 16 bytes in length"
	answerOrigin      = "the origin of the request is unacceptable to the server"
	answerSubprotocol = "the client requested no subprotocol that the server is ready to use"
	answerServer      = "the server cannot complete the opening handshake"
	answerShutdown    = "the server is shutting down"
)

const notWebSocket = "websocket: the client is not using the websocket protocol: "

// overHTTP2 is the remedy for a request that came over HTTP/2 or later, where there is no Upgrade.
const overHTTP2 = "; the request came over HTTP/2 or later, which has no Upgrade: to serve WebSocket over HTTP/2, " +
	"wrap the server's handler with websocket.HTTP2Handler; otherwise clients must use HTTP/1.1"

// checkRequest applies RFC 6455 §4.2.1 to a request, but for its key, its origin and its
// extensions.
func checkRequest(r *http.Request) rejection {
	// A request that HTTP2Handler translated has these headers.
	if !hasToken(r.Header["Connection"], "upgrade") {
		const missing = notWebSocket + "'upgrade' token not found in 'Connection' header"
		if r.ProtoMajor >= 2 {
			return rejection{http.StatusBadRequest, answerHTTP1, missing + overHTTP2}
		}
		return rejection{http.StatusBadRequest, answerConnection, missing}
	}
	if !hasToken(r.Header["Upgrade"], "websocket") {
		return rejection{http.StatusBadRequest, answerUpgrade, notWebSocket + "'websocket' token not found in 'Upgrade' header"}
	}
	if r.Method != http.MethodGet {
		return rejection{http.StatusMethodNotAllowed, answerGET, notWebSocket + "request method is not GET"}
	}
	// RFC 6455 §4.2.1, item 1: HTTP/1.1 or higher.
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 {
		return rejection{http.StatusHTTPVersionNotSupported, answerGET, notWebSocket + "the request came over HTTP/1.0, HTTP/1.1 is needed; if there is a proxy in front of the server, let it use HTTP/1.1"}
	}
	// RFC 6455 §4.2.1, item 2: the server's authority. A request that no server has received but a
	// program made has no version, or has no remote address if http.ReadRequest read it.
	if r.Host == "" && r.ProtoMajor > 0 && r.RemoteAddr != "" {
		return rejection{http.StatusBadRequest, answerHost, notWebSocket + "the Host header is missing or empty; send the server's host in it"}
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		// RFC 9110 §7.8: the new protocol begins behind the whole request, so a body is no frames.
		return rejection{http.StatusBadRequest, answerBody, notWebSocket + "the request has a body; send it without Content-Length and Transfer-Encoding"}
	}
	// RFC 6455 §4.2.1, item 6: a value of 13; §11.3.5: not more than once in a request.
	if versions := r.Header["Sec-Websocket-Version"]; len(versions) != 1 || versions[0] != "13" {
		return rejection{http.StatusUpgradeRequired, answerVersion,
			"websocket: unsupported version: 13 not found in 'Sec-Websocket-Version' header" + onlyOnce(versions)}
	}
	return rejection{}
}

// checkKey returns the request's Sec-WebSocket-Key.
func checkKey(r *http.Request) (key string, no rejection) {
	keys := r.Header["Sec-Websocket-Key"]
	// RFC 6455 §11.3.1: not more than once in a request.
	if len(keys) != 1 || !isValidKey(keys[0]) {
		return "", rejection{http.StatusBadRequest, answerKey, "websocket: not a websocket handshake: 'Sec-WebSocket-Key' header must be " +
			"Base64 encoded value of 16-byte in length" + onlyOnce(keys)}
	}
	return keys[0], rejection{}
}

// onlyOnce is the remedy for a header that came more than once.
func onlyOnce(values []string) string {
	if len(values) > 1 {
		return "; send that header once"
	}
	return ""
}

// checkResponseHeader rejects headers that the application cannot have in the response.
func checkResponseHeader(h http.Header) rejection {
	for name := range h {
		// RFC 6455 §9.1: extensions are negotiated, and by this package alone.
		if equalFold(name, "Sec-WebSocket-Extensions") {
			return rejection{http.StatusInternalServerError, answerServer,
				"websocket: application specific 'Sec-WebSocket-Extensions' headers are unsupported"}
		}
		// RFC 9110 §5.1: a field name is a token.
		if !isToken(name) {
			return rejection{http.StatusInternalServerError, answerServer,
				"websocket: the name " + excerpt(name, maxExcerpt) + " in the response header is not a token; leave it out of Upgrade's responseHeader"}
		}
	}
	return rejection{}
}

// chooseSubprotocol returns the subprotocol to answer with: the first of the server's that the
// client offers, or, if the server has no list, the one in the response header.
func chooseSubprotocol(server []string, r *http.Request, responseHeader http.Header) (subprotocol string, no rejection) {
	if server != nil {
		return selectSubprotocol(server, r), rejection{}
	}
	subprotocol = trimOWS(headerValue(responseHeader, "Sec-WebSocket-Protocol"))
	// RFC 6455 §4.2.2, item 4: a single value or none.
	if subprotocol != "" && !isSubprotocol(subprotocol) {
		return "", rejection{http.StatusInternalServerError, answerServer,
			"websocket: the Sec-WebSocket-Protocol " + excerpt(subprotocol, maxExcerpt) + " in the response header is not one subprotocol; " +
				"it must be a single name without comma, white space and control characters"}
	}
	return subprotocol, rejection{}
}

// selectSubprotocol returns the first of the server's subprotocols that the client offers.
func selectSubprotocol(server []string, r *http.Request) string {
	if len(server) == 0 {
		return ""
	}
	offered := Subprotocols(r)
	for _, s := range server {
		// RFC 6455 §4.1: subprotocol names compare case-sensitively.
		if isSubprotocol(s) && slices.Contains(offered, s) {
			return s
		}
	}
	return ""
}

// headerValue returns the first value of a header, whatever the case of its name in h.
func headerValue(h http.Header, name string) string {
	for k, values := range h {
		if len(values) > 0 && equalFold(k, name) {
			return values[0]
		}
	}
	return ""
}

// checkResponse applies RFC 6455 §4.1 to the server's response to a request that carried the key
// and offered the subprotocols. It returns the chosen subprotocol; extensions are checked in
// extension.go.
func checkResponse(resp *http.Response, key string, offered []string) (subprotocol string, err error) {
	if resp.StatusCode != http.StatusSwitchingProtocols ||
		!hasToken(resp.Header["Upgrade"], "websocket") || !hasToken(resp.Header["Connection"], "upgrade") {
		return "", ErrBadHandshake
	}
	var accept [28]byte
	values := resp.Header["Sec-Websocket-Accept"]
	// RFC 6455 §11.3.3: not more than once in a response.
	if len(values) != 1 || values[0] != string(appendAccept(accept[:0], key)) {
		return "", ErrBadHandshake
	}
	chosen := resp.Header["Sec-Websocket-Protocol"]
	if len(chosen) == 0 || len(chosen) == 1 && chosen[0] == "" {
		return "", nil // a field without a value names none
	}
	// RFC 6455 §11.3.4: not more than once in a response; §4.1: only what was offered.
	if len(chosen) > 1 || !slices.Contains(offered, chosen[0]) {
		return "", ErrBadHandshake
	}
	return chosen[0], nil
}
