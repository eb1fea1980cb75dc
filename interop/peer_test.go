package interop

// The Go end of the pipe to a helper program: commands go out, events come in, one JSON object per
// line.

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"
	"time"
)

// A command tells a peer what to do. Only the fields that the verb needs are set.
type command struct {
	Do           string          `json:"do"`
	URL          string          `json:"url,omitempty"`
	Subprotocols []string        `json:"subprotocols,omitempty"`
	Deflate      json.RawMessage `json:"deflate,omitempty"` // permessage-deflate in the words of the peer's own API
	Data         string          `json:"data,omitempty"`
	Fragments    int             `json:"fragments,omitempty"`
	Bits         int             `json:"bits,omitempty"`
	Code         int             `json:"code,omitempty"`
	Reason       string          `json:"reason,omitempty"`
	CAFile       string          `json:"caFile,omitempty"`   // PEM, trusted when dialling
	CertFile     string          `json:"certFile,omitempty"` // PEM with the key, to serve TLS
	HTTP2        bool            `json:"http2,omitempty"`    // dial by extended CONNECT
	Page         string          `json:"page,omitempty"`
	Selector     string          `json:"selector,omitempty"`
}

// An event is what a peer reports.
type event struct {
	Event       string `json:"event"`
	URL         string `json:"url"`
	Subprotocol string `json:"subprotocol"`
	Extensions  string `json:"extensions"` // the Sec-WebSocket-Extensions header field that a dialling peer received
	Code        int    `json:"code"`
	Reason      string `json:"reason"`
	Data        string `json:"data"`
}

// A peer is a helper program that speaks WebSocket with somebody else's code.
type peer struct {
	*process
	events chan event
}

// startPeer runs a helper program until the test ends.
func startPeer(t testing.TB, env []string, name string, args ...string) *peer {
	t.Helper()
	p := &peer{process: start(t, env, true, name, args...), events: make(chan event)}
	ended := t.Context().Done()
	go func() {
		defer close(p.events)
		lines := bufio.NewScanner(p.stdout)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var e event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				e = event{Event: "error", Data: "not a line of JSON: " + lines.Text()}
			}
			select {
			case p.events <- e:
			case <-ended:
				io.Copy(io.Discard, p.stdout)
				return
			}
		}
	}()
	return p
}

// do sends a command to the peer.
func (p *peer) do(t testing.TB, c command) {
	t.Helper()
	line, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s does not take commands: %v; it printed:\n%s", p.name, err, p.output)
	}
}

// expect returns the peer's next event, which has to be of the given kind.
func (p *peer) expect(t testing.TB, kind string) event {
	t.Helper()
	select {
	case e, ok := <-p.events:
		if !ok {
			t.Fatalf("%s ended instead of reporting %q; it printed:\n%s", p.name, kind, p.output)
		}
		if e.Event != kind {
			t.Fatalf("%s reported %+v, want %q", p.name, e, kind)
		}
		return e
	case <-time.After(patience):
		t.Fatalf("%s reported nothing, want %q; it printed:\n%s", p.name, kind, p.output)
	}
	panic("unreachable")
}
