package websocket

// The negotiation of permessage-deflate (RFC 7692 §5 and §7.1), both roles, and the grammar of the
// Sec-WebSocket-Extensions header (RFC 6455 §9.1). Pure functions: header lines in, deflateParams
// out. Wherever deflateParams are enabled, 8 <= serverMaxWindowBits, clientMaxWindowBits <= 15.

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tautws/websocket/internal/deflate"
)

const deflateName = "permessage-deflate"

// deflateParams is an agreed permessage-deflate; its zero value means none.
type deflateParams struct {
	enabled                 bool
	serverNoContextTakeover bool
	clientNoContextTakeover bool
	serverMaxWindowBits     int // 8..15, set whenever enabled
	clientMaxWindowBits     int // 8..15, set whenever enabled
}

// deflateOffer is a permessage-deflate element of an offer or of an answer, as it was sent.
type deflateOffer struct {
	serverNoContextTakeover bool
	clientNoContextTakeover bool
	serverMaxWindowBits     int // 0: absent
	clientMaxWindowBits     int // 0: absent, anyWindowBits: present without a value
}

const anyWindowBits = -1

// parseDeflate reads the parameters of RFC 7692 §7.1. An unknown, repeated or invalid one is an
// error.
func parseDeflate(params []extensionParam) (o deflateOffer, err error) {
	for i, p := range params {
		for _, earlier := range params[:i] {
			// RFC 7692 §7.1: no parameter may stand twice.
			if earlier.name == p.name {
				return o, fmt.Errorf("%s has parameter %s more than once", deflateName, excerpt(p.name, maxExcerpt))
			}
		}
		ok := false
		switch p.name {
		case "server_no_context_takeover":
			o.serverNoContextTakeover, ok = true, !p.hasValue
		case "client_no_context_takeover":
			o.clientNoContextTakeover, ok = true, !p.hasValue
		case "server_max_window_bits":
			o.serverMaxWindowBits, ok = parseWindowBits(p.value)
		case "client_max_window_bits":
			o.clientMaxWindowBits, ok = parseWindowBits(p.value)
			if !p.hasValue {
				o.clientMaxWindowBits, ok = anyWindowBits, true
			}
		default:
			return o, fmt.Errorf("%s has the unknown parameter %s", deflateName, excerpt(p.name, maxExcerpt))
		}
		if !ok {
			return o, fmt.Errorf("%s has parameter %s with the invalid value %s", deflateName, p.name, excerpt(p.value, maxExcerpt))
		}
	}
	return o, nil
}

// parseWindowBits parses a base-2 logarithm of a window size.
func parseWindowBits(s string) (bits int, ok bool) {
	// RFC 7692 §7.1.2.1: a decimal integer from 8 to 15 without leading zeros.
	switch s {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		bits, _ = strconv.Atoi(s)
		return bits, true
	}
	return 0, false
}

// acceptDeflate answers the offers of a client: it takes the first permessage-deflate that is
// acceptable and returns the value for Sec-WebSocket-Extensions, "" if there is none. An offer that
// cannot be accepted is declined and the next one tried; no offer makes the handshake fail (RFC
// 7692 §5.1).
//
//	offered                       answered, when contexts are kept    and otherwise
//	                              -                                   server_no_..., client_no_context_takeover
//	server_no_context_takeover    server_no_context_takeover          the same
//	client_no_context_takeover    client_no_context_takeover          the same
//	server_max_window_bits=N      server_max_window_bits=N            the same
//	client_max_window_bits        -                                   the same
//	client_max_window_bits=N      client_max_window_bits=N            the same
//
// Every N can be promised for the server's own window, so it is taken as offered. The client keeps
// to the window it announced, and asked for no smaller one: any is inflated alike.
func acceptDeflate(lines []string, opts CompressionOptions) (p deflateParams, answer string) {
	offers, _ := parseExtensions(lines) // of a malformed line the offers before the mistake count
	for _, ext := range offers {
		if ext.name != deflateName {
			continue
		}
		offer, err := parseDeflate(ext.params)
		if err != nil {
			continue
		}
		p = deflateParams{
			enabled:                 true,
			serverNoContextTakeover: offer.serverNoContextTakeover || !opts.ContextTakeover,
			clientNoContextTakeover: offer.clientNoContextTakeover || !opts.ContextTakeover,
			serverMaxWindowBits:     maxWindowBits,
			clientMaxWindowBits:     maxWindowBits,
		}
		b := make([]byte, 0, 128)
		b = append(b, deflateName...)
		if p.serverNoContextTakeover {
			b = append(b, "; server_no_context_takeover"...)
		}
		if p.clientNoContextTakeover {
			b = append(b, "; client_no_context_takeover"...)
		}
		if offer.serverMaxWindowBits > 0 {
			p.serverMaxWindowBits = offer.serverMaxWindowBits
			b = append(b, "; server_max_window_bits="...)
			b = strconv.AppendInt(b, int64(p.serverMaxWindowBits), 10)
		}
		// RFC 7692 §7.1.2.2: only in answer to an offer that has it.
		if offer.clientMaxWindowBits > 0 {
			p.clientMaxWindowBits = offer.clientMaxWindowBits
			b = append(b, "; client_max_window_bits="...)
			b = strconv.AppendInt(b, int64(p.clientMaxWindowBits), 10)
		}
		return p, string(b)
	}
	return deflateParams{}, ""
}

// offerDeflate returns what a client offers in Sec-WebSocket-Extensions. Keeping contexts it can
// obey every client window that the server may ask for, so it lets the server ask.
func offerDeflate(opts CompressionOptions) string {
	if opts.ContextTakeover {
		return deflateName + "; client_max_window_bits"
	}
	return deflateName + "; server_no_context_takeover; client_no_context_takeover"
}

// checkDeflate checks the server's answer to what the client offered: offerDeflate(opts), or
// nothing. No answer is a valid one: the connection then goes without compression.
//
//	answered                      offered with contexts kept    offered without    nothing offered
//	no extension                  plain                         plain              plain
//	another extension             fail                          fail               fail
//	permessage-deflate            as answered                   see the next       fail
//	server_no_context_takeover    as answered                   must be there      fail
//	client_no_context_takeover    as answered                   holds anyway       fail
//	server_max_window_bits=N      N                             N                  fail
//	client_max_window_bits=N      N                             fail               fail
func checkDeflate(lines []string, offered bool, opts CompressionOptions) (p deflateParams, err error) {
	list, err := parseExtensions(lines)
	if err != nil {
		return p, err
	}
	for _, ext := range list {
		// RFC 6455 §4.1: an extension that was not offered fails the connection.
		if !offered || ext.name != deflateName {
			return p, fmt.Errorf("the server chose extension %s, which was not offered", excerpt(ext.name, maxExcerpt))
		}
	}
	if len(list) == 0 {
		return p, nil
	}
	// RFC 7692 §5: one element answers one offer.
	if len(list) > 1 {
		return p, fmt.Errorf("the server chose %s more than once", deflateName)
	}
	answer, err := parseDeflate(list[0].params)
	switch {
	case err != nil:
		return p, err
	case answer.clientMaxWindowBits == anyWindowBits:
		return p, fmt.Errorf("%s has parameter client_max_window_bits without a value", deflateName)
	case answer.clientMaxWindowBits > 0 && !opts.ContextTakeover:
		// RFC 7692 §7.1.2.2: the answer may have it only if the offer had it.
		return p, fmt.Errorf("%s has parameter client_max_window_bits, which was not offered", deflateName)
	case !answer.serverNoContextTakeover && !opts.ContextTakeover:
		// RFC 7692 §7.1.1.1: a server accepts this parameter by repeating it.
		return p, fmt.Errorf("%s lacks server_no_context_takeover, which was asked for; with Compression.ContextTakeover "+
			"the Dialer does not ask for it", deflateName)
	}
	p = deflateParams{
		enabled:                 true,
		serverNoContextTakeover: answer.serverNoContextTakeover,
		// RFC 7692 §7.1.1.2: what the client announced about itself holds without an answer.
		clientNoContextTakeover: answer.clientNoContextTakeover || !opts.ContextTakeover,
		serverMaxWindowBits:     maxWindowBits,
		clientMaxWindowBits:     maxWindowBits,
	}
	if answer.serverMaxWindowBits > 0 {
		p.serverMaxWindowBits = answer.serverMaxWindowBits
	}
	if answer.clientMaxWindowBits > 0 {
		p.clientMaxWindowBits = answer.clientMaxWindowBits
	}
	return p, nil
}

// extension is one element of a Sec-WebSocket-Extensions list.
type extension struct {
	name   string
	params []extensionParam
}

// extensionParam is one parameter of an extension. Its value is unquoted.
type extensionParam struct {
	name, value string
	hasValue    bool
}

var errExtensionSyntax = errors.New("the Sec-WebSocket-Extensions header does not follow the grammar of RFC 6455 §9.1")

// parseExtensions parses the list over all header lines. Where a line stops following the grammar
// the rest of that line is left out, and the error says so beside the elements that were read.
func parseExtensions(lines []string) (list []extension, err error) {
	for _, line := range lines {
		for rest := line; ; rest = rest[1:] {
			if rest = skipOWS(rest); rest == "" {
				break
			}
			if rest[0] == ',' {
				continue
			}
			var ext extension
			var ok bool
			ext, rest, ok = parseExtension(rest)
			if !ok || rest != "" && rest[0] != ',' {
				err = errExtensionSyntax
				break
			}
			list = append(list, ext)
			if rest == "" {
				break
			}
		}
	}
	return list, err
}

// parseExtension parses one element. What follows it begins with a comma, if it is well-formed.
func parseExtension(s string) (ext extension, rest string, ok bool) {
	// RFC 6455 §9.1: extension = extension-token *( ";" extension-param )
	n := tokenLen(s)
	if n == 0 {
		return ext, s, false
	}
	ext.name, s = s[:n], skipOWS(s[n:])
	for s != "" && s[0] == ';' {
		s = skipOWS(s[1:])
		if n = tokenLen(s); n == 0 {
			return ext, s, false
		}
		param := extensionParam{name: s[:n]}
		if s = skipOWS(s[n:]); s != "" && s[0] == '=' {
			param.hasValue = true
			if param.value, s, ok = parseValue(skipOWS(s[1:])); !ok {
				return ext, s, false
			}
			s = skipOWS(s)
		}
		ext.params = append(ext.params, param)
	}
	return ext, s, true
}

// parseValue parses a token or a quoted string that contains a token.
func parseValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		n := tokenLen(s)
		return s[:n], s[n:], n > 0
	}
	var unquoted []byte
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			// RFC 6455 §9.1: the value after unescaping must be a token.
			value = string(unquoted)
			return value, s[i+1:], isToken(value)
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		unquoted = append(unquoted, s[i])
	}
	return "", "", false
}

func skipOWS(s string) string { return strings.TrimLeft(s, " \t") }

// CompressionOptions tunes permessage-deflate (RFC 7692) where it is enabled and the peer agrees to
// it. The zero value is right for most programs.
type CompressionOptions struct {
	// ContextTakeover keeps the LZ77 window from message to message, in both directions (RFC 7692
	// §7.1.1). Short messages that resemble each other become several times smaller. It costs a
	// connection that has sent a compressed message 0.8 to 1.2 MB, the state of compress/flate
	// (nothing at levels 0 and -2 or if the peer asked for a window below 32 KiB), and one that has
	// received one at most 32 KiB.
	ContextTakeover bool

	// Threshold is a message length in bytes: shorter messages are sent plain. One that outgrows
	// the buffer of a NextWriter counts as long enough.
	Threshold int

	// Level is a level of compress/flate: 1 (fastest) to 9 (smallest), -1 for its default, -2 for
	// Huffman coding alone. Zero means 1 or, with ContextTakeover, the fastest level that makes use
	// of earlier messages however short they are: 2, or 7 if the program is built with Go 1.27 or
	// later. Any other value is taken as zero. Conn.SetCompressionLevel also takes a literal 0, no
	// compression.
	Level int
}

const maxWindowBits = deflate.MaxWindowBits

// firstLevel returns the level that CompressionOptions.Level means for a connection whose outgoing
// messages have these parameters.
func firstLevel(option, bits int, takeover bool) int {
	switch {
	case option != 0 && deflate.ValidLevel(option):
		return option
	case takeover && bits == maxWindowBits:
		return deflate.TakeoverLevel
	}
	return 1
}
