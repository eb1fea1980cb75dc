package websocket

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Redial: a client's connection, made again whenever it has ended.

const (
	defaultBackoffMin = 5 * time.Second // RFC 6455 §7.2.3
	defaultBackoffMax = time.Minute

	// maxRetryAfter is for how long a server may keep a client away, unless Backoff.Max is longer.
	maxRetryAfter = time.Hour
)

// Backoff says how long Redial waits before it dials again, and when it gives up. The zero value is
// ready to use.
//
// A wait is a random time between zero and an upper bound, so that the clients of a server that was
// restarted do not come back all at once (RFC 6455 §7.2.3). The bound is Min at first, and doubles
// up to Max with every attempt that fails and every connection that does not last for as long as
// the bound. One that does makes it Min again. If the server's answer has a Retry-After header, the
// wait is longer by the time in it, of which at most an hour, or Max, counts.
type Backoff struct {
	// Min is the upper bound of the first wait. Zero means 5 seconds.
	Min time.Duration

	// Max is the upper bound of all waits. Zero means a minute. Below Min it counts as Min.
	Max time.Duration

	// Fatal reports whether err is final, so that Redial gives up. It is asked about every attempt
	// that failed, with the server's response or nil, and about every connection that ended, with
	// what ended it and nil, except those that are final anyway. It may be nil.
	Fatal func(err error, resp *http.Response) bool
}

// Redial connects to a URL again and again: it yields a connection, closes it when the body of the
// loop ends, waits as b says, and dials for the next. The body uses the connection until it fails:
//
//	for c, err := range d.Redial(ctx, url, nil, websocket.Backoff{}) {
//		if err != nil {
//			log.Print(err)
//			continue
//		}
//		for m, err := range c.Messages(ctx) {
//			...
//		}
//	}
//
// An attempt that fails is yielded as a nil connection and the error of DialContext, to which the
// status of the server's answer is added if there was one, and the loop goes on.
//
// The loop ends by itself after it has yielded an error that is final: when ctx has ended; when the
// server answers 401, 403 or 404; when it has closed the last connection with the code
// ClosePolicyViolation (1008); when there can be no request with the URL or the header; and when
// b.Fatal says so. All other ends of a connection, normal ones too, make it dial again; the body
// can break out of the loop.
//
// The header is read for every attempt, so the body may change it, for instance to renew a token.
// See DialContext for it and for the bounds of an attempt: a HandshakeTimeout is advisable.
func (d *Dialer) Redial(ctx context.Context, url string, header http.Header, b Backoff) iter.Seq2[*Conn, error] {
	return func(yield func(*Conn, error) bool) {
		w := b.waits()
		for {
			after, final := time.Duration(0), d.checkRedial(ctx, url, header)
			if final == nil && ctx.Err() == nil {
				c, resp, err := d.DialContext(ctx, url, header)
				if err == ErrBadHandshake && resp.StatusCode != http.StatusSwitchingProtocols {
					err = fmt.Errorf("%w: the server answered %d %s", err, resp.StatusCode, http.StatusText(resp.StatusCode))
				}
				switch {
				case err == nil:
					start := time.Now()
					more, err := yieldConn(c, yield)
					if !more {
						return
					}
					w.lasted(time.Since(start))
					if b.isFinal(err, nil) {
						final = err
					}
				case ctx.Err() != nil: // sleep returns its error
				case b.isFinal(err, resp):
					final = err
				default:
					if !yield(nil, err) {
						return
					}
					after = min(retryAfter(resp), max(w.most, maxRetryAfter))
				}
			}
			if final == nil {
				final = sleep(ctx, after+w.next())
			}
			if final != nil {
				yield(nil, final)
				return
			}
		}
	}
}

// yieldConn has the body of the loop use a connection, and closes it. It returns what had ended the
// connection by then, nil if nothing had.
func yieldConn(c *Conn, yield func(*Conn, error) bool) (more bool, err error) {
	defer c.Close()
	more = yield(c, nil)
	return more, c.Err()
}

// checkRedial returns the error of a dial that fails however often it is tried.
func (d *Dialer) checkRedial(ctx context.Context, url string, header http.Header) error {
	u, err := parseURL(url)
	if err == nil {
		var check Dialer
		if d != nil {
			check.Subprotocols = d.Subprotocols
		}
		_, _, err = check.request(ctx, u, "", header)
	}
	return err
}

// isFinal reports whether another attempt is pointless after err. resp is the answer that came with
// it, or nil.
func (b *Backoff) isFinal(err error, resp *http.Response) bool {
	if resp != nil {
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			return true
		}
	}
	return IsCloseError(err, ClosePolicyViolation) || err != nil && b.Fatal != nil && b.Fatal(err, resp)
}

// The waits of one Redial.
type waits struct {
	least, most time.Duration
	bound       time.Duration // of the next wait
}

func (b *Backoff) waits() waits {
	const forever = 1 << 61 // a sum of two is a Duration
	w := waits{least: min(b.Min, forever), most: min(b.Max, forever)}
	if w.least <= 0 {
		w.least = defaultBackoffMin
	}
	if w.most <= 0 {
		w.most = defaultBackoffMax
	}
	w.most = max(w.least, w.most)
	w.bound = w.least
	return w
}

// next returns how long to wait now.
func (w *waits) next() time.Duration {
	wait := rand.N(w.bound)
	if w.bound > w.most/2 {
		w.bound = w.most
	} else {
		w.bound *= 2
	}
	return wait
}

// lasted notes how long a connection did. If the waits began anew whatever it is, a server that
// takes connections and drops them would see each client as often as one that is well.
func (w *waits) lasted(d time.Duration) {
	if d >= w.bound {
		w.bound = w.least
	}
}

// retryAfter returns how long the server wants to be left alone (RFC 9110 §10.2.3).
func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	value := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(time.Duration(1<<62)/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	// The server's clock may differ from ours: what counts is the time since its answer.
	now, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, date.Sub(now))
}

// sleep waits. It returns an error if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	return nil
}
