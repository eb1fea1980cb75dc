package load

// The opening load: one WebSocket after another, over TLS. Over HTTP/1.1 each takes a TCP
// connection and a TLS handshake, over HTTP/2 a stream of one connection.

import (
	"net/netip"
	"time"
)

// Opener opens WebSockets.
type Opener struct {
	open  func() (stream, error)
	close func()
}

// NewOpener returns an Opener for a server, which is connected to if it is to talk HTTP/2.
func NewOpener(addr netip.AddrPort, overHTTP2 bool) (*Opener, error) {
	if overHTTP2 {
		h, err := dialHTTP2(addr)
		if err != nil {
			return nil, err
		}
		return &Opener{func() (stream, error) { return h.open(0) }, h.close}, nil
	}
	open := func() (stream, error) {
		_, s, err := dial(addr, 0, "", true)
		return s, err
	}
	return &Opener{open, func() {}}, nil
}

// Run opens and closes for d. The latency is the time from the first byte sent to the end of the
// response, TCP connection and TLS handshake included.
func (o *Opener) Run(d time.Duration) (Result, error) {
	r := Result{Latency: new(Histogram)}
	start := time.Now()
	for r.Messages == 0 || time.Since(start) < d {
		began := time.Now()
		s, err := o.open()
		if err != nil {
			return r, err
		}
		r.Latency.Add(time.Since(began), 1)
		r.Messages++
		s.close()
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

// Close ends the connection of an Opener over HTTP/2.
func (o *Opener) Close() { o.close() }
