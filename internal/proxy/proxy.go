// Package proxy asks proxies for connections to other hosts: HTTP proxies with CONNECT (RFC 9110
// §9.3.6), SOCKS proxies with version 5 of their protocol (RFC 1928, RFC 1929).
//
// The functions work on a connection to the proxy that the caller has made; to bound the time they
// take, and to close the connection, is left to the caller. They read the proxy's answer and not a
// byte more: what follows it comes from the other host.
package proxy

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxHead bounds what is read of an answer to CONNECT, in bytes, interim responses included.
const maxHead = 64 << 10

var errLongHead = fmt.Errorf("proxy: the answer to CONNECT is longer than %d bytes", maxHead)

// Connect asks the HTTP proxy at the other end of rw for a connection to addr, a host and a port.
// The credentials are those of the proxy's URL, if there is a password in it. If the proxy refuses,
// the error is the reason phrase of its answer.
func Connect(rw io.ReadWriter, proxy *url.URL, addr string) error {
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if password, ok := proxy.User.Password(); ok {
		// RFC 7617 §2: user-id and password, with a colon between them.
		credentials := base64.StdEncoding.EncodeToString([]byte(proxy.User.Username() + ":" + password))
		req.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	if err := req.Write(rw); err != nil {
		return err
	}
	r := &byteReader{r: rw, left: maxHead}
	br := bufio.NewReader(r)
	resp, err := http.ReadResponse(br, req)
	for err == nil && resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
		// RFC 9110 §15.2: any number of interim responses may come first.
		resp, err = http.ReadResponse(br, req)
	}
	switch {
	case err != nil && r.err != nil && r.err != io.EOF:
		return r.err // not what is wrong with half a line
	case err != nil && len(err.Error()) > maxExcerpt:
		return errors.New(excerpt(err.Error()))
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return errors.New(reason(resp))
	}
	// RFC 9110 §9.3.6: any 2xx opens the tunnel, which begins right behind the header section.
	return nil
}

// A byteReader reads one byte at a time, so that a bufio.Reader holds nothing beyond the line that
// it was asked for.
type byteReader struct {
	r    io.Reader
	left int   // bytes that may still be read
	err  error // what ended the reading, if anything did
}

func (r *byteReader) Read(p []byte) (n int, err error) {
	switch {
	case r.err != nil:
		return 0, r.err
	case r.left == 0:
		r.err = errLongHead
		return 0, r.err
	}
	n, r.err = r.r.Read(p[:min(len(p), 1)])
	r.left -= n
	return n, r.err
}

// reason returns the reason phrase of a response, or what stands for it if there is none.
func reason(resp *http.Response) string {
	if _, phrase, _ := strings.Cut(resp.Status, " "); phrase != "" {
		return excerpt(phrase)
	}
	if text := http.StatusText(resp.StatusCode); text != "" {
		return text
	}
	return "status code " + strconv.Itoa(resp.StatusCode)
}

// maxExcerpt is how many bytes an error repeats at most of what a proxy sent.
const maxExcerpt = 100

// excerpt returns the beginning of what a proxy sent, with a question mark for what does not print.
func excerpt(s string) string {
	end := ""
	if len(s) > maxExcerpt {
		s, end = s[:maxExcerpt], "..."
	}
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "")) + end
}
