package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// All times are those of a synctest bubble, so the waits are exact and cost nothing.

// A redialServer is the far end of every dial. It answers the nth request, counted from 0, by
// calling serve, and notes when each came.
type redialServer struct {
	times []time.Time
	auth  []string
	serve func(n int, c net.Conn, r *http.Request)
}

func (s *redialServer) dialer(t testing.TB) *Dialer {
	return pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
		n := len(s.times)
		s.times = append(s.times, time.Now())
		s.auth = append(s.auth, r.Header.Get("Authorization"))
		s.serve(n, c, r)
	})
}

// refuse answers with a status and header lines.
func refuse(c net.Conn, status int, lines ...string) {
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Length: 0\r\n", status, http.StatusText(status))
	for _, line := range lines {
		io.WriteString(c, line+"\r\n")
	}
	io.WriteString(c, "\r\n")
}

// acceptFor answers with the 101, keeps the connection for a time, unless the client closes it, and
// ends it with frames.
func acceptFor(c net.Conn, r *http.Request, d time.Duration, frames ...wireFrame) {
	io.WriteString(c, answer(r))
	c.SetReadDeadline(time.Now().Add(d))
	io.Copy(io.Discard, c)
	c.SetReadDeadline(time.Time{})
	c.Write(wiretest.Encode(frames, false))
	if len(frames) > 0 {
		io.Copy(io.Discard, c)
	}
}

func wantClosed(t *testing.T, c *Conn) {
	t.Helper()
	if _, err := c.NetConn().Write(nil); err != io.ErrClosedPipe {
		t.Errorf("write to the network connection: %v, want that it is closed", err)
	}
}

// wait returns the time between two attempts.
func (s *redialServer) wait(n int) time.Duration { return s.times[n].Sub(s.times[n-1]) }

// A connection is yielded, used until it fails, closed, and followed by the next.
func TestRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := redialServer{serve: func(n int, c net.Conn, r *http.Request) {
			if n == 1 {
				refuse(c, http.StatusServiceUnavailable)
				return
			}
			acceptFor(c, r, time.Second, textFrame(fmt.Sprint("hello ", n)), closeFrame(CloseNormalClosure, ""))
		}}
		var conns []*Conn
		var got []string
		for c, err := range s.dialer(t).Redial(t.Context(), "ws://server.example/", nil, Backoff{}) {
			if err != nil {
				if c != nil {
					t.Error("a connection came with an error")
				}
				got = append(got, err.Error())
				continue
			}
			if len(conns) > 0 {
				wantClosed(t, conns[len(conns)-1])
			}
			conns = append(conns, c)
			for m, err := range c.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(m.Data))
			}
			if len(conns) == 3 {
				break
			}
		}
		want := "hello 0, websocket: bad handshake: the server answered 503 Service Unavailable, hello 2, hello 3"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("got  %s\nwant %s", s, want)
		}
		wantClosed(t, conns[2])
		if len(s.times) != 4 {
			t.Errorf("%d attempts, want 4", len(s.times))
		}
	})
}

// maxWait returns the longest wait before attempt n, of many.
func maxWait(t *testing.T, n int, b Backoff, serve func(n int, c net.Conn, r *http.Request)) (most time.Duration) {
	const tries = 40 // that none of these is in the upper half happens once in 2^40
	for range tries {
		synctest.Test(t, func(t *testing.T) {
			s := redialServer{serve: serve}
			for c, err := range s.dialer(t).Redial(t.Context(), "ws://server.example/", nil, b) {
				if err == nil {
					readErr(c)
				}
				if len(s.times) > n {
					break
				}
			}
			most = max(most, s.wait(n))
		})
	}
	return most
}

// RFC 6455 §7.2.3: the first wait is random, and they get longer.
func TestRedialWaits(t *testing.T) {
	refused := func(n int, c net.Conn, r *http.Request) { refuse(c, http.StatusBadGateway) }
	dropped := func(n int, c net.Conn, r *http.Request) { acceptFor(c, r, time.Millisecond) }
	wavering := func(n int, c net.Conn, r *http.Request) {
		if n < 3 {
			refuse(c, http.StatusBadGateway)
		} else {
			acceptFor(c, r, 41*time.Second)
		}
	}
	small := Backoff{Min: time.Millisecond, Max: 3 * time.Millisecond}
	for _, row := range []struct {
		name    string
		attempt int
		b       Backoff
		serve   func(n int, c net.Conn, r *http.Request)
		bound   time.Duration
		lived   time.Duration // by the connection before the wait
	}{
		{"refused, first", 1, Backoff{}, refused, 5 * time.Second, 0},
		{"refused, second", 2, Backoff{}, refused, 10 * time.Second, 0},
		{"refused, fourth", 4, Backoff{}, refused, 40 * time.Second, 0},
		{"refused, tenth", 10, Backoff{}, refused, time.Minute, 0},
		{"Min and Max, first", 1, small, refused, time.Millisecond, 0},
		{"Min and Max, second", 2, small, refused, 2 * time.Millisecond, 0},
		{"Min and Max, fifth", 5, small, refused, 3 * time.Millisecond, 0},
		{"Max below Min", 5, Backoff{Min: time.Hour}, refused, time.Hour, 0},
		{"longer than there are clocks", 1, Backoff{Min: 1<<63 - 1, Max: 1<<63 - 1}, refused, 1 << 61, 0},
		{"dropped, third", 3, Backoff{}, dropped, 20 * time.Second, time.Millisecond},
		{"begun anew", 4, Backoff{}, wavering, 5 * time.Second, 41 * time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			wait := maxWait(t, row.attempt, row.b, row.serve) - row.lived
			if wait < row.bound/2 || wait >= row.bound {
				t.Errorf("the longest wait was %v, want one of %v to %v", wait, row.bound/2, row.bound)
			}
		})
	}
}

// RFC 9110 §10.2.3: seconds or a date.
func TestRedialRetryAfter(t *testing.T) {
	// What a bubble's clock says at its start.
	date := func(d time.Duration) string {
		return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(d).Format(http.TimeFormat)
	}
	for _, row := range []struct {
		name  string
		max   time.Duration
		lines []string
		want  time.Duration
	}{
		{"none", 0, nil, 0},
		{"seconds", 0, []string{"Retry-After: 120"}, 2 * time.Minute},
		{"a date", 0, []string{"Retry-After: " + date(10*time.Minute)}, 10 * time.Minute},
		{"a date of another clock", 0, []string{"Date: " + date(-time.Hour), "Retry-After: " + date(-59*time.Minute)}, time.Minute},
		{"a date that has passed", 0, []string{"Retry-After: " + date(-time.Hour)}, 0},
		{"an hour at most", 0, []string{"Retry-After: 99999"}, time.Hour},
		{"or Max", 24 * time.Hour, []string{"Retry-After: 7200"}, 2 * time.Hour},
		{"more than fits", 0, []string{"Retry-After: 99999999999999999999999"}, time.Hour},
		{"more than a Duration", 0, []string{"Retry-After: 99999999999999999"}, time.Hour},
		{"negative", 0, []string{"Retry-After: -5"}, 0},
		{"neither", 0, []string{"Retry-After: soon"}, 0},
	} {
		bubble(t, row.name, func(t *testing.T) {
			s := redialServer{serve: func(n int, c net.Conn, r *http.Request) {
				refuse(c, http.StatusServiceUnavailable, row.lines...)
			}}
			for range s.dialer(t).Redial(t.Context(), "ws://server.example/", nil, Backoff{Min: time.Second, Max: row.max}) {
				if len(s.times) == 2 {
					break
				}
			}
			if w := s.wait(1); w <= row.want || w >= row.want+time.Second {
				t.Errorf("the wait was %v, want %v and less than a second more", w, row.want)
			}
		})
	}
}

func TestRedialFinal(t *testing.T) {
	status := func(code int) func(int, net.Conn, *http.Request) {
		return func(n int, c net.Conn, r *http.Request) { refuse(c, code) }
	}
	closes := func(code int) func(int, net.Conn, *http.Request) {
		return func(n int, c net.Conn, r *http.Request) { acceptFor(c, r, 0, closeFrame(code, "")) }
	}
	fatal := func(err error, resp *http.Response) bool {
		return resp != nil && resp.StatusCode == http.StatusGone || IsCloseError(err, 4001)
	}
	for _, row := range []struct {
		name   string
		fatal  func(error, *http.Response) bool
		serve  func(int, net.Conn, *http.Request)
		url    string
		header http.Header
		final  func(error) bool // nil: none is
	}{
		{name: "401", serve: status(401), final: func(err error) bool { return errors.Is(err, ErrBadHandshake) }},
		{name: "403", serve: status(403), final: func(err error) bool { return errors.Is(err, ErrBadHandshake) }},
		{name: "404", serve: status(404), final: func(err error) bool { return errors.Is(err, ErrBadHandshake) }},
		{name: "410", serve: status(410)},
		{name: "429", serve: status(429)},
		{name: "500", serve: status(500)},
		{name: "410, fatal", fatal: fatal, serve: status(410), final: func(err error) bool { return errors.Is(err, ErrBadHandshake) }},
		{name: "500, not fatal", fatal: fatal, serve: status(500)},
		{name: "1008", serve: closes(1008), final: func(err error) bool { return IsCloseError(err, 1008) }},
		{name: "1000", serve: closes(1000)},
		{name: "1013", serve: closes(1013)},
		{name: "4001", serve: closes(4001)},
		{name: "4001, fatal", fatal: fatal, serve: closes(4001), final: func(err error) bool { return IsCloseError(err, 4001) }},
		{name: "URL", url: "ftp://server.example/", final: func(err error) bool { return err == errMalformedURL }},
		{name: "header", header: http.Header{"Upgrade": {"x"}}, final: func(err error) bool { return strings.Contains(err.Error(), "Upgrade") }},
	} {
		bubble(t, row.name, func(t *testing.T) {
			s := redialServer{serve: row.serve}
			if row.url == "" {
				row.url = "ws://server.example/"
			}
			var errs []error
			for c, err := range s.dialer(t).Redial(t.Context(), row.url, row.header, Backoff{Fatal: row.fatal}) {
				if err == nil {
					readErr(c)
				} else {
					errs = append(errs, err)
				}
				if len(s.times) == 3 {
					break
				}
			}
			switch {
			case row.final == nil && len(s.times) < 3:
				t.Errorf("it ended after %d attempts with %v", len(s.times), errs)
			case row.final != nil && (len(s.times) > 1 || len(errs) != 1 || !row.final(errs[0])):
				t.Errorf("%d attempts, errors %v", len(s.times), errs)
			}
		})
	}
}

// Fatal is asked about each end of a connection and of an attempt, once.
func TestRedialFatalIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := redialServer{serve: func(n int, c net.Conn, r *http.Request) {
			if n%2 == 0 {
				acceptFor(c, r, 0, closeFrame(CloseGoingAway, ""))
			} else {
				refuse(c, http.StatusBadGateway)
			}
		}}
		var asked []string
		fatal := func(err error, resp *http.Response) bool {
			asked = append(asked, fmt.Sprint(err, ", ", resp != nil))
			return len(asked) == 3
		}
		loops := 0
		for c, err := range s.dialer(t).Redial(t.Context(), "ws://server.example/", nil, Backoff{Fatal: fatal}) {
			if loops++; err == nil {
				readErr(c)
			}
		}
		want := "[websocket: close 1001 (going away), false websocket: bad handshake: the server answered 502 Bad Gateway, true " +
			"websocket: close 1001 (going away), false]"
		if got := fmt.Sprint(asked); got != want || loops != 4 {
			t.Errorf("%d turns, asked about %s, want %s", loops, got, want)
		}
	})
}

// The end of the context ends an attempt, a wait and the loop, with one error.
func TestRedialContext(t *testing.T) {
	for _, row := range []struct {
		name  string
		serve func(int, net.Conn, *http.Request)
		turns int
	}{
		{"before", nil, 1},
		{"during an attempt", func(n int, c net.Conn, r *http.Request) { io.Copy(io.Discard, c) }, 1},
		{"during a wait", func(n int, c net.Conn, r *http.Request) { refuse(c, 503, "Retry-After: 3600") }, 2},
		{"during a connection", func(n int, c net.Conn, r *http.Request) { acceptFor(c, r, time.Hour) }, 2},
	} {
		bubble(t, row.name, func(t *testing.T) {
			cause := errors.New("enough")
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
			defer cancel()
			if row.name == "before" {
				time.Sleep(time.Hour)
			}
			start := time.Now()
			s := redialServer{serve: row.serve}
			var last error
			n := 0
			for c, err := range s.dialer(t).Redial(ctx, "ws://server.example/", nil, Backoff{}) {
				if n++; err == nil {
					_, _, err = c.ReadMessageContext(ctx)
				}
				last = err
			}
			if !errors.Is(last, cause) || !errors.Is(last, context.DeadlineExceeded) {
				t.Errorf("the last error is %v", last)
			}
			if d := time.Since(start); d > time.Minute || n != row.turns {
				t.Errorf("it ended after %v and %d turns", d, n)
			}
		})
	}
}

// A body that panics leaves no connection open.
func TestRedialPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := redialServer{serve: func(n int, c net.Conn, r *http.Request) { acceptFor(c, r, time.Hour) }}
		var conn *Conn
		func() {
			defer func() { recover() }()
			for c := range s.dialer(t).Redial(t.Context(), "ws://server.example/", nil, Backoff{}) {
				conn = c
				panic("body")
			}
		}()
		wantClosed(t, conn)
	})
}

// The header of the next attempt is what the body left in it.
func TestRedialHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := redialServer{serve: func(n int, c net.Conn, r *http.Request) { refuse(c, http.StatusBadGateway) }}
		header := http.Header{"Authorization": {"0"}}
		for range s.dialer(t).Redial(t.Context(), "ws://server.example/", header, Backoff{}) {
			n := len(s.times)
			if n == 3 {
				break
			}
			header.Set("Authorization", fmt.Sprint(n))
		}
		if got := strings.Join(s.auth, " "); got != "0 1 2" {
			t.Errorf("the attempts sent %s", got)
		}
	})
}
