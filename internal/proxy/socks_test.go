package proxy_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tautws/websocket/internal/proxy"
)

const (
	noAuthentication = "\x05\x00"
	passwordAccepted = "\x05\x02\x01\x00"
	connected        = "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
)

// RFC 1928 §3, §4, RFC 1929 §2: what is sent, byte for byte.
func TestSOCKS5Request(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct{ name, proxy, addr, answer, want string }{
		{"name", "socks5://p", "example.com:80", noAuthentication,
			"\x05\x01\x00" + "\x05\x01\x00\x03\x0bexample.com\x00\x50"},
		{"IPv4", "socks5://p", "192.0.2.1:443", noAuthentication,
			"\x05\x01\x00" + "\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"},
		{"IPv6", "socks5h://p", "[2001:db8::1]:65535", noAuthentication,
			"\x05\x01\x00" + "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff"},
		{"longest name", "socks5h://p", long + ":1", noAuthentication,
			"\x05\x01\x00" + "\x05\x01\x00\x03\xff" + long + "\x00\x01"},
		{"credentials", "socks5://user:pass%20word@p", "a:80", passwordAccepted,
			"\x05\x02\x00\x02" + "\x01\x04user\x09pass word" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"credentials not asked for", "socks5://user:secret@p", "a:80", noAuthentication,
			"\x05\x02\x00\x02" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"no password", "socks5://user@p", "a:80", passwordAccepted,
			"\x05\x02\x00\x02" + "\x01\x04user\x00" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"longest credentials", "socks5://" + long + ":" + long + "@p", "a:80", passwordAccepted,
			"\x05\x02\x00\x02" + "\x01\xff" + long + "\xff" + long + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"no user", "socks5://:secret@p", "a:80", noAuthentication, "\x05\x01\x00" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"user too long", "socks5://x" + long + "@p", "a:80", noAuthentication, "\x05\x01\x00" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"password too long", "socks5://user:x" + long + "@p", "a:80", noAuthentication, "\x05\x01\x00" + "\x05\x01\x00\x03\x01a\x00\x50"},
		{"version 5 of the password reply", "socks5://user:@p", "a:80", "\x05\x02\x05\x00",
			"\x05\x02\x00\x02" + "\x01\x04user\x00" + "\x05\x01\x00\x03\x01a\x00\x50"},
	} {
		p := answering(tt.answer + connected)
		if err := proxy.SOCKS5(p, parse(t, tt.proxy), tt.addr); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := p.got.String(); got != tt.want {
			t.Errorf("%s:\ngot  %q\nwant %q", tt.name, got, tt.want)
		}
	}
}

// RFC 1928 §6: the bound address may be of any kind, and what follows it is the other end's.
func TestSOCKS5Reply(t *testing.T) {
	for _, reply := range []string{
		connected,
		"\x05\x00\x00\x04" + strings.Repeat("\x00", 16) + "\x00\x00",
		"\x05\x00\x00\x03\x00\x00\x00",
		"\x05\x00\x00\x03\x0bexample.com\x00\x50",
		"\x05\x00\x00\x03\xff" + strings.Repeat("x", 255) + "\x00\x50",
	} {
		p := answering(noAuthentication + reply + "rest")
		if err := proxy.SOCKS5(p, parse(t, "socks5://p"), "a:80"); err != nil || p.rest() != "rest" {
			t.Errorf("%.20q: %v", reply, err)
		}
	}
}

func TestSOCKS5Refused(t *testing.T) {
	const at = "proxy: SOCKS5 proxy at p:1 "
	for _, tt := range []struct{ answer, text string }{
		{"\x04\x00", at + "has unexpected version 4"},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", at + "has unexpected version 72"},
		{"\x05\xff", at + "requires authentication"},
		{"\x05\x01", at + "selected method 1, which was not offered"},
		{"\x05\x80", at + "selected method 128, which was not offered"},
		{"\x05\x02\x01\x01", at + "rejected username/password"},
		{"\x05\x02\x01\xff", at + "rejected username/password"},
		{noAuthentication + "\x05\x01\x00\x01", at + "failed to connect: general SOCKS server failure"},
		{noAuthentication + "\x05\x02\x00\x01", at + "failed to connect: connection not allowed by ruleset"},
		{noAuthentication + "\x05\x03\x00\x01", at + "failed to connect: network unreachable"},
		{noAuthentication + "\x05\x04\x00\x01", at + "failed to connect: host unreachable"},
		{noAuthentication + "\x05\x05\x00\x01", at + "failed to connect: connection refused"},
		{noAuthentication + "\x05\x06\x00\x01", at + "failed to connect: TTL expired"},
		{noAuthentication + "\x05\x07\x00\x01", at + "failed to connect: command not supported"},
		{noAuthentication + "\x05\x08\x00\x01", at + "failed to connect: address type not supported"},
		{noAuthentication + "\x05\x09\x00\x01", at + "failed to connect: unknown error 9"},
		{noAuthentication + "\x05\xff\x00\x01", at + "failed to connect: unknown error 255"},
		{noAuthentication + "\x04\x00\x00\x01", at + "has unexpected version 4"},
		{noAuthentication + "\x05\x00\x00\x02", "proxy: got unknown address type 2 from SOCKS5 proxy at p:1"},
		{noAuthentication + "\x05\x00\x00\x00", "proxy: got unknown address type 0 from SOCKS5 proxy at p:1"},
	} {
		err := proxy.SOCKS5(answering(tt.answer), parse(t, "socks5://user:secret@p:1"), "a:80")
		if err == nil || err.Error() != tt.text {
			t.Errorf("%q: %v, want %s", tt.answer, err, tt.text)
		}
	}
	// Method 2 without credentials to follow it.
	if err := proxy.SOCKS5(answering(passwordAccepted+connected), parse(t, "socks5://p:1"), "a:80"); err == nil ||
		err.Error() != at+"selected method 2, which was not offered" {
		t.Error(err)
	}
	// A zone in the proxy's own address is no verb.
	if err := proxy.SOCKS5(answering("\x05\xff"), parse(t, "socks5://[fe80::1%25d]:1"), "a:80"); err == nil ||
		err.Error() != "proxy: SOCKS5 proxy at [fe80::1%d]:1 requires authentication" {
		t.Error(err)
	}
}

// What cannot be asked for is not asked for.
func TestSOCKS5Address(t *testing.T) {
	for _, tt := range []struct{ addr, text string }{
		{"a", "address a: missing port in address"},
		{"a:0", "proxy: port number out of range: 0"},
		{"a:65536", "proxy: port number out of range: 65536"},
		{"a:http", "proxy: port number out of range: http"},
		{strings.Repeat("x", 256) + ":80", "proxy: destination host name too long: " + strings.Repeat("x", 256)},
	} {
		p := answering(noAuthentication + connected)
		if err := proxy.SOCKS5(p, parse(t, "socks5://p"), tt.addr); err == nil || err.Error() != tt.text {
			t.Errorf("%s: %v, want %s", tt.addr, err, tt.text)
		}
		if p.got.Len() > 0 {
			t.Errorf("%s: sent %q", tt.addr, p.got.String())
		}
	}
}

// An answer that ends anywhere else is an error that says where, and wraps that of the connection.
func TestSOCKS5Truncated(t *testing.T) {
	for _, reply := range []string{connected, "\x05\x00\x00\x03\x01a\x00\x50", "\x05\x00\x00\x04" + strings.Repeat("\x00", 18)} {
		answer := passwordAccepted + reply
		for n := range len(answer) {
			where := "port"
			switch {
			case n < 2:
				where = "greeting"
			case n < 4:
				where = "authentication reply"
			case n < 8:
				where = "connect reply"
			case n < 9 && reply[3] == 3:
				where = "domain length"
			case n < len(answer)-2:
				where = "address"
			}
			want := fmt.Sprintf("proxy: failed to read %s from SOCKS5 proxy at p: ", where)
			u := parse(t, "socks5://user:secret@p")
			err := proxy.SOCKS5(answering(answer[:n]), u, "a:80")
			if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%q: %v, want %s", answer[:n], err, want)
			}
			p := &peer{Reader: io.MultiReader(strings.NewReader(answer[:n]), iotest.ErrReader(os.ErrDeadlineExceeded))}
			if err := proxy.SOCKS5(p, u, "a:80"); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q: %v", answer[:n], err)
			}
		}
	}
}

func TestSOCKS5WriteFails(t *testing.T) {
	for n, what := range []string{"greeting", "authentication request", "connect request"} {
		err := proxy.SOCKS5(&failingWriter{strings.NewReader(passwordAccepted + connected), n}, parse(t, "socks5://user:secret@p"), "a:80")
		want := "proxy: failed to write " + what + " to SOCKS5 proxy at p: "
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// FuzzSOCKS5 looks for an answer that is read too far or too short.
func FuzzSOCKS5(f *testing.F) {
	f.Add(noAuthentication + connected + "rest")
	f.Add(passwordAccepted + "\x05\x00\x00\x03\x01a\x00\x50rest")
	f.Add(passwordAccepted + "\x05\x00\x00\x04" + strings.Repeat("\x00", 18))
	f.Add(noAuthentication + "\x05\x05\x00\x01")
	f.Add("\x05\xff")
	u := parse(f, "socks5://user:secret@p")
	f.Fuzz(func(t *testing.T, answer string) {
		p := answering(answer)
		err := proxy.SOCKS5(p, u, "a:80")
		checkRead(t, answer, p.rest(), err, func(rw io.ReadWriter) error { return proxy.SOCKS5(rw, u, "a:80") })
	})
}
