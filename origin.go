package websocket

// Which pages may open a connection (RFC 6455 §4.2.2 and §10.2). A browser names the page's origin
// in the Origin header and lets any page connect anywhere, cookies included: the server alone can refuse.

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
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

// checkOrigin decides on a request by its Origin header, of which there is one at most: none passes,
// so does the origin that the request is addressed to, and so does one that a pattern of allowed matches.
func checkOrigin(r *http.Request, allowed []string) refusal {
	lines := r.Header["Origin"]
	if len(lines) == 0 {
		return refusal{} // not a browser
	}
	value := lines[0]
	// Literally first: a page can have an origin that does not parse, such as Chromium's "file://".
	if slices.Contains(allowed, "*") || slices.Contains(allowed, value) {
		return refusal{}
	}
	if value == "null" {
		// RFC 6454 §7.3: a page whose origin is not to be told.
		return refusal{http.StatusForbidden, "websocket: request origin not allowed: \"null\" is the origin of " +
			"sandboxed pages and, in Firefox, of local files; to allow all of them add \"null\" to Upgrader.Origins"}
	}
	from, ok := parseOrigin(value)
	if !ok {
		return refusal{http.StatusForbidden, fmt.Sprintf("websocket: request origin not allowed: the Origin header %q is malformed; "+
			"to allow it all the same add %[1]q, literally, to Upgrader.Origins", value)}
	}
	if isSameOrigin(from, r) {
		return refusal{}
	}
	for _, pattern := range allowed {
		if matchOrigin(pattern, from) {
			return refusal{}
		}
	}
	return refusal{http.StatusForbidden, fmt.Sprintf("websocket: request origin not allowed: %q is not the origin of the host %q; "+
		"to allow it add %[1]q to Upgrader.Origins", from, r.Host)}
}

// isSameOrigin reports whether a page of that origin came from the server that the request is addressed to.
func isSameOrigin(from origin, r *http.Request) bool {
	host, port, ok := splitHostPort(r.Host)
	if !ok || host != from.host {
		return false
	}
	// Without TLS here a proxy may have ended it, so either scheme can be the page's. Then a Host
	// without a port means the default port of the page's scheme.
	scheme := from.scheme
	if r.TLS != nil {
		scheme = "https"
		if from.scheme != "https" && from.scheme != "wss" {
			return false
		}
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	return port == from.port
}

// matchOrigin reports whether a pattern of Upgrader.Origins allows an origin. A pattern is an origin
// whose host may begin with "*.", which stands for one or more labels.
func matchOrigin(pattern string, from origin) bool {
	scheme, rest, ok := strings.Cut(pattern, "://")
	if !ok {
		return false
	}
	rest, anySub := strings.CutPrefix(rest, "*.")
	p, ok := parseOrigin(scheme + "://" + rest)
	if !ok || p.scheme != from.scheme || p.port != from.port {
		return false
	}
	if anySub {
		return len(from.host) > len(p.host)+1 && strings.HasSuffix(from.host, "."+p.host)
	}
	return from.host == p.host
}

// parseOrigin parses the value of an Origin header and fills in the default port. Browsers send no
// path; some other clients do, and it does not count.
func parseOrigin(s string) (o origin, ok bool) {
	o.scheme, s, ok = strings.Cut(s, "://")
	if !ok || !isToken(o.scheme) {
		return o, false
	}
	o.scheme = strings.ToLower(o.scheme)
	if end := strings.IndexAny(s, "/?#"); end >= 0 {
		s = s[:end]
	}
	if o.host, o.port, ok = splitHostPort(s); !ok {
		return o, false
	}
	if o.port == "" {
		o.port = defaultPort(o.scheme)
	}
	return o, true
}

// splitHostPort splits a host, an IPv6 address in brackets included, from a port that may be missing.
// The host is returned in lower case.
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
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) <= 5
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
