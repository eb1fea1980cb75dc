package websocket

// Which pages may open a connection (RFC 6455 §4.2.2 and §10.2). A browser names the page's origin
// in the Origin header and lets every page connect to every server, cookies included, so it is the
// server that has to check.

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// origin is a serialized origin (RFC 6454 §6.2) in lower case.
type origin struct {
	scheme, host string
	port         string // "" where the scheme has no default port and none was given
}

func (o origin) String() string {
	s := o.scheme + "://" + o.host
	if o.port != "" && o.port != defaultPort(o.scheme) {
		s += ":" + o.port
	}
	return s
}

// checkOrigin decides on a request by its Origin header, of which there is one at most: a request
// passes that has none, one from the origin that it is addressed to, and one from an origin that a
// pattern of allowed matches.
func checkOrigin(r *http.Request, allowed []string) rejection {
	lines := r.Header["Origin"]
	if len(lines) == 0 {
		return rejection{} // not a browser
	}
	value := lines[0]
	from, ok := parseOrigin(value)
	if ok && isSameOrigin(from, r.Host) {
		return rejection{}
	}
	for _, pattern := range allowed {
		p, fault := parsePattern(pattern)
		if fault == "" && (pattern == "*" || p.literal && pattern == value || ok && p.matches(from)) {
			return rejection{}
		}
	}
	if isSameHost(value, r.Host) {
		return rejection{}
	}
	return rejection{http.StatusForbidden, answerOrigin, "websocket: request origin not allowed by Upgrader.CheckOrigin or Upgrader.Origins: " +
		explainOrigin(value, from, ok, r.Host)}
}

// explainOrigin says why an origin may not connect, and the remedy.
func explainOrigin(value string, from origin, ok bool, host string) string {
	if value == "null" {
		// RFC 6454 §7.3: a page whose origin is not to be told.
		return `"null" is the origin of sandboxed pages and, in Firefox, of local files; to allow all of them add it to Upgrader.Origins`
	}
	if p, fault := parsePattern(value); fault == "" && p.literal && value != "*" && len(value) <= maxExcerpt {
		return strconv.Quote(value) + " is the origin of all pages of this scheme; to allow them add it to Upgrader.Origins"
	}
	if !ok {
		return "the Origin header " + excerpt(value, maxExcerpt) + " is malformed; to allow it set Upgrader.CheckOrigin"
	}
	name := from.String()
	// Both are the peer's, so they share the bound.
	text := excerpt(name, maxExcerpt) + " is not the origin of the request's host"
	if left := maxExcerpt - len(name); left > 0 {
		text += " " + excerpt(host, left)
	}
	return text + "; to allow it add it to Upgrader.Origins, or let a proxy that replaces the Host header pass the client's"
}

// isSameHost reports whether the host and port of an origin are those of the Host header as they
// are written, without filling in a default port.
func isSameHost(value, host string) bool {
	u, err := url.Parse(value)
	return err == nil && equalFold(u.Host, host)
}

// isSameOrigin reports whether an origin is that of the Host header. The scheme does not count,
// because TLS may end at a proxy, but for the port: a missing one is the default port of the page's
// scheme.
func isSameOrigin(from origin, host string) bool {
	host, port, ok := splitHostPort(host)
	if port == "" {
		port = defaultPort(from.scheme)
	}
	return ok && host == from.host && port == from.port
}

// An originPattern is what a pattern of Upgrader.Origins allows.
type originPattern struct {
	origin
	literal bool // "*", "null" and such as "file://", which are compared with the header as they are
	anySub  bool // for "*." before the host: one or more labels
}

func (p originPattern) matches(from origin) bool {
	switch {
	case p.literal || p.scheme != from.scheme || p.port != from.port:
		return false
	case p.anySub:
		return len(from.host) > len(p.host)+1 && strings.HasSuffix(from.host, "."+p.host)
	}
	return from.host == p.host
}

// checkPatterns rejects every request where a pattern can never match, so that the mistake is not
// taken for a page that may not connect.
func checkPatterns(patterns []string) rejection {
	for _, pattern := range patterns {
		if _, fault := parsePattern(pattern); fault != "" {
			return rejection{http.StatusInternalServerError, answerServer, "websocket: the pattern " + strconv.Quote(pattern) +
				" in Upgrader.Origins can never match: " + fault}
		}
	}
	return rejection{}
}

// parsePattern parses a pattern of Upgrader.Origins. The fault says why none of the origins that
// browsers send can match, with the remedy; it is "" for a good pattern.
func parsePattern(pattern string) (p originPattern, fault string) {
	if pattern == "*" || pattern == "null" {
		return originPattern{literal: true}, ""
	}
	scheme, rest, ok := strings.Cut(pattern, "://")
	if !ok || !isScheme(scheme) {
		return p, `it has no scheme; write it like "https://app.example.com" or "https://*.example.com"`
	}
	if rest == "" && defaultPort(strings.ToLower(scheme)) == "" {
		return originPattern{literal: true}, "" // "file://" is an origin without a host
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, "/?#") {
		// RFC 6454 §6.2: scheme, host and port.
		return p, "an origin has no path, query or fragment; end it behind the host or port"
	}
	if strings.Contains(rest, "@") {
		return p, "an origin has no user name; begin the host behind the @"
	}
	rest, p.anySub = strings.CutPrefix(rest, "*.")
	switch {
	case rest == "*" || p.anySub && rest == "":
		return p, `a * stands for the labels before a domain, as in "https://*.example.com"; for every page write "*" alone`
	case strings.Contains(rest, "*"):
		return p, `a * can only be the whole of the first label, as in "https://*.example.com"`
	}
	if p.origin, ok = makeOrigin(scheme, rest); !ok {
		for i := range len(rest) {
			if rest[i] >= utf8.RuneSelf {
				return p, "browsers send the ASCII form of a host; write it with xn-- labels"
			}
		}
		return p, `its host or port is malformed; write it like "https://app.example.com:8443"`
	}
	if p.anySub && p.host[0] == '[' {
		return p, "an IPv6 address has no subdomains"
	}
	return p, ""
}

// isScheme reports whether s is the scheme of a URI (RFC 3986 §3.1).
func isScheme(s string) bool {
	for i := range len(s) {
		c := lower(s[i])
		if !('a' <= c && c <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// parseOrigin parses the value of an Origin header and fills in the default port. Browsers send no
// path; some other clients do, and it does not count.
func parseOrigin(s string) (o origin, ok bool) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !isScheme(scheme) {
		return o, false
	}
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		rest = rest[:end]
	}
	return makeOrigin(scheme, rest)
}

func makeOrigin(scheme, hostPort string) (o origin, ok bool) {
	o.scheme = strings.ToLower(scheme)
	if o.host, o.port, ok = splitHostPort(hostPort); !ok {
		return origin{}, false
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, true
}

// splitHostPort splits a host, an IPv6 address in brackets included, from a port that may be
// missing. The host is returned in lower case.
func splitHostPort(s string) (host, port string, ok bool) {
	end := strings.IndexByte(s, ']') + 1
	if end == 0 {
		end = len(s)
		if colon := strings.IndexByte(s, ':'); colon >= 0 {
			end = colon
		}
	}
	host = s[:end]
	if rest := s[end:]; rest != "" {
		if port = rest[1:]; rest[0] != ':' || !isPort(port) {
			return "", "", false
		}
	}
	return strings.ToLower(host), port, isHost(host)
}

func isPort(s string) bool {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' || i == 5 {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n < 1<<16
}

// isHost reports whether s is a host without the characters that could make it mean another one.
func isHost(s string) bool {
	if strings.HasPrefix(s, "[") {
		address, ok := strings.CutSuffix(s[1:], "]")
		return ok && address != "" && strings.Trim(address, "0123456789abcdefABCDEF:.") == ""
	}
	for i := range len(s) {
		// RFC 3986 §2.3: the unreserved characters. Other names come as punycode.
		if c := s[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

func defaultPort(scheme string) string {
	switch scheme {
	case "http", "ws":
		return "80"
	case "https", "wss":
		return "443"
	}
	return ""
}
