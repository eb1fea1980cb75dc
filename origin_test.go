package websocket

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// RFC 6455 §4.2.2 and §10.2.
func TestOrigin(t *testing.T) {
	app := []string{"https://app.example.com"}
	subs := []string{"https://*.example.com"}
	near := []string{"http://example.com", "http://*.example.com", "http://*.com", "http://[::1]"} // of what is malformed
	for _, tt := range []struct {
		origins []string // the header's lines
		host    string
		tls     bool
		allowed []string
		ok      bool
	}{
		{nil, "example.com", false, nil, true},
		{nil, "example.com", true, app, true},
		// The same origin.
		{[]string{"http://example.com"}, "example.com", false, nil, true},
		{[]string{"https://example.com"}, "example.com", false, nil, true},
		{[]string{"https://example.com"}, "example.com", true, nil, true},
		{[]string{"http://example.com"}, "example.com", true, nil, true}, // behind a proxy
		{[]string{"http://example.com:443"}, "example.com", true, nil, false},
		{[]string{"wss://example.com"}, "example.com", true, nil, true},
		{[]string{"HTTPS://EXAMPLE.com"}, "example.COM", true, nil, true},
		{[]string{"http://example.com:80"}, "example.com", false, nil, true},
		{[]string{"http://example.com"}, "example.com:80", false, nil, true},
		{[]string{"https://example.com"}, "example.com:443", false, nil, true},
		{[]string{"https://example.com:443"}, "example.com", true, nil, true},
		{[]string{"http://example.com"}, "example.com:443", false, nil, false},
		{[]string{"https://example.com"}, "example.com:80", false, nil, false},
		{[]string{"http://example.com:8080"}, "example.com:8080", false, nil, true},
		{[]string{"http://example.com:8080"}, "example.com", false, nil, false},
		{[]string{"http://example.com"}, "example.com:8080", false, nil, false},
		{[]string{"http://example.com:8081"}, "example.com:8080", false, nil, false},
		{[]string{"http://127.0.0.1:8080"}, "127.0.0.1:8080", false, nil, true},
		{[]string{"http://[::1]:8080"}, "[::1]:8080", false, nil, true},
		{[]string{"http://[::1]"}, "[::1]", false, nil, true},
		{[]string{"http://[::1]"}, "[::2]", false, nil, false},
		{[]string{"http://example.com/"}, "example.com", false, nil, true},
		{[]string{"ws://example.com:80/a?b"}, "example.com", false, nil, true},
		// Another origin.
		{[]string{"http://other.com"}, "example.com", false, nil, false},
		{[]string{"http://example.com.evil.com"}, "example.com", false, nil, false},
		{[]string{"http://sub.example.com"}, "example.com", false, nil, false},
		{[]string{"http://xexample.com"}, "example.com", false, nil, false},
		// Patterns.
		{[]string{"https://app.example.com"}, "example.com", false, app, true},
		{[]string{"https://app.example.com:443"}, "example.com", false, app, true},
		{[]string{"HTTPS://APP.example.com"}, "example.com", true, app, true},
		{[]string{"https://app.example.com"}, "example.com", false, []string{"HTTPS://App.Example.com:443/"}, true},
		{[]string{"http://app.example.com"}, "example.com", false, app, false},
		{[]string{"http://app.example.com:443"}, "example.com", false, app, false},
		{[]string{"https://app.example.com:8443"}, "example.com", false, app, false},
		{[]string{"https://app.example.com:8443"}, "example.com", false, []string{"https://app.example.com:8443"}, true},
		{[]string{"https://app.example.com.evil.com"}, "example.com", false, app, false},
		{[]string{"https://a.example.com"}, "other.com", false, subs, true},
		{[]string{"https://a.b.example.com"}, "other.com", false, subs, true},
		{[]string{"https://example.com"}, "other.com", false, subs, false},
		{[]string{"https://.example.com"}, "other.com", false, subs, false},
		{[]string{"https://another-example.com"}, "other.com", false, subs, false},
		{[]string{"http://a.example.com"}, "other.com", false, subs, false},
		{[]string{"https://a.example.com:1"}, "other.com", false, subs, false},
		{[]string{"https://a.example.com:1"}, "other.com", false, []string{"https://*.example.com:1"}, true},
		{[]string{"https://a.example.com"}, "other.com", false, []string{"x", "https://b.com", "https://*.example.com"}, true},
		{[]string{"https://anything.at.all:1"}, "example.com", true, []string{"*"}, true},
		{[]string{"https://a.com"}, "example.com", false, []string{"a.com", "//a.com", "https://*", "https://*.", "*.com", ""}, false},
		// No origin to speak of, malformed.
		{[]string{"null"}, "example.com", false, nil, false},
		{[]string{"null"}, "null", false, nil, false},
		{[]string{"null"}, "example.com", false, []string{"null"}, true},
		{[]string{"null"}, "example.com", false, []string{"*"}, true},
		{[]string{""}, "example.com", false, near, false},
		{[]string{"example.com"}, "example.com", false, near, false},
		{[]string{"http://"}, "example.com", false, near, false},
		{[]string{"http:///"}, "example.com", false, near, false},
		{[]string{"://example.com"}, "example.com", false, near, false},
		{[]string{"http://example.com http://example.com"}, "example.com", false, near, false},
		{[]string{"http://user@example.com"}, "example.com", false, near, true},
		{[]string{"http://user@example.com"}, "other.com", false, near, false},
		{[]string{"http://example.com:x"}, "example.com", false, near, false},
		{[]string{"http://example.com:123456"}, "example.com", false, near, false},
		{[]string{"http://exa%6dple.com"}, "example.com", false, near, false},
		{[]string{`http://example.com\.evil.com`}, "example.com", false, near, false},
		{[]string{"http://[::1"}, "[::1]", false, near, false},
		{[]string{"http://[::1]x"}, "[::1]", false, near, false},
		{[]string{"http://[]"}, "[::1]", false, near, false},
		{[]string{"http://a]"}, "a", false, near, false},
		// Literally, parsed or not.
		{[]string{"file://"}, "example.com", false, nil, false},
		{[]string{"file://"}, "example.com", false, []string{"*"}, true},
		{[]string{"file://"}, "example.com", true, []string{"https://a.com", "file://"}, true},
		{[]string{"file://"}, "example.com", false, []string{"null", "file:", "file:///", "File://"}, false},
		{[]string{"http://b\u00fccher.example"}, "example.com", false, near, false},
		{[]string{"http://b\u00fccher.example"}, "example.com", false, []string{"*"}, true},
		{[]string{"http://b\u00fccher.example"}, "example.com", false, []string{"http://b\u00fccher.example"}, false},
		{[]string{"http://b\u00fccher.example"}, "b\u00fccher.example", false, nil, true},
		{[]string{"http://b\xfccher.example"}, "example.com", false, []string{"*"}, true},
		{[]string{""}, "example.com", false, []string{"*"}, true},
	} {
		r := &http.Request{Host: tt.host, Header: http.Header{"Origin": tt.origins}}
		if tt.origins == nil {
			r.Header = http.Header{}
		}
		if tt.tls {
			r.TLS = new(tls.ConnectionState)
		}
		no := checkOrigin(r, tt.allowed)
		if want := map[bool]int{true: 0, false: 403}[tt.ok]; no.status != want {
			t.Errorf("Origin %q at %q (TLS %v) with %q: %d %s", tt.origins, tt.host, tt.tls, tt.allowed, no.status, no.reason)
		}
	}
}

// The error names the pattern that would have let the request pass.
func TestOriginRemedy(t *testing.T) {
	for _, value := range []string{"https://App.Example.com", "http://example.com:8080/x", "https://[::1]:1", "null", "app://local", "file://", "app+x://"} {
		r := &http.Request{Host: "server", Header: http.Header{"Origin": {value}}}
		no := checkOrigin(r, nil)
		quoted, _ := strconv.QuotedPrefix(no.reason[strings.Index(no.reason, `"`):])
		pattern, err := strconv.Unquote(quoted)
		if err != nil || !strings.Contains(no.reason, "add it to Upgrader.Origins") || checkPatterns([]string{pattern}).status != 0 ||
			checkOrigin(r, []string{pattern}).status != 0 {
			t.Errorf("Origin %q: the remedy %q does not help: %s", value, pattern, no.reason)
		}
	}
	for _, value := range []string{"", "*", "a.example", "http://b\u00fccher.example", "http://b\xfccher.example", "http://a:99999"} {
		r := &http.Request{Host: "server", Header: http.Header{"Origin": {value}}}
		if no := checkOrigin(r, nil); !strings.Contains(no.reason, strconv.Quote(value)+" is malformed; to allow it set Upgrader.CheckOrigin") {
			t.Errorf("Origin %q: %s", value, no.reason)
		}
	}
}

// RFC 6454 §6.2: what an origin can look like, and so a pattern.
func TestOriginPatterns(t *testing.T) {
	for _, pattern := range []string{"*", "null", "file://", "https://example.com", "HTTPS://Example.com/", "http://localhost:3000", "https://*.example.com",
		"https://*.example.com:8443", "http://127.0.0.1", "http://[::1]:80", "ws://example.com", "chrome-extension://abcdefghijklmnop", "app://.", "http://a:65535"} {
		if no := checkPatterns([]string{pattern}); no.status != 0 {
			t.Errorf("%q: %s", pattern, no.reason)
		}
	}
	for _, tt := range []struct{ pattern, text string }{
		{"", "no scheme"},
		{"app.example.com", "no scheme"},
		{"*.example.com", "no scheme"},
		{"localhost:3000", "no scheme"},
		{"//example.com", "no scheme"},
		{"://example.com", "no scheme"},
		{"*://example.com", "no scheme"},
		{"http*://example.com", "no scheme"},
		{" https://example.com", "no scheme"},
		{"file:", "no scheme"},
		{"NULL", "no scheme"},
		{"https://example.com/app", "no path"},
		{"https://example.com/*", "no path"},
		{"https://example.com//", "no path"},
		{"https://example.com?", "no path"},
		{"https://example.com#top", "no path"},
		{"https://user@example.com", "no user name"},
		{"http://*", "for every page"},
		{"http://*/", "for every page"},
		{"https://*.", "for every page"},
		{"https://*.*.example.com", "whole of the first label"},
		{"https://app-*.example.com", "whole of the first label"},
		{"https://app.*", "whole of the first label"},
		{"https://*:8443", "whole of the first label"},
		{"http://localhost:*", "whole of the first label"},
		{"https://", "malformed"},
		{"file:///", "malformed"},
		{"https://exa mple.com", "malformed"},
		{"https://example.com ", "malformed"},
		{"https://example.com:https", "malformed"},
		{"https://example.com:65536", "malformed"},
		{"https://example.com:4434343", "malformed"},
		{"https://::1", "malformed"},
		{"https://[::1", "malformed"},
		{"https://*.[::1]", "no subdomains"},
		{"https://b\u00fccher.example", "xn--"},
	} {
		no := checkPatterns([]string{"https://good.example", tt.pattern, "bad as well"})
		want := "the pattern " + strconv.Quote(tt.pattern) + " in Upgrader.Origins can never match: "
		if no.status != 500 || no.answer != answerServer || !strings.Contains(no.reason, want) || !strings.Contains(no.reason, tt.text) || strings.Contains(no.reason, "bad as well") {
			t.Errorf("%q: got %d %s, want %q", tt.pattern, no.status, no.reason, tt.text)
		}
		// It is the truth: no origin of the same host passes.
		for _, origin := range []string{"https://example.com", "http://app.example.com", "https://localhost:3000", "http://[::1]"} {
			if checkOrigin(&http.Request{Host: "server", Header: http.Header{"Origin": {origin}}}, []string{tt.pattern}).status == 0 {
				t.Errorf("%q matches %q", tt.pattern, origin)
			}
		}
	}
}
