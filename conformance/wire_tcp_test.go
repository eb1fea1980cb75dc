package conformance_test

// The wire table over TCP: the same rows, with net/http's connections and everything that the
// library does for sockets.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

func TestWireTCP(t *testing.T) {
	for _, row := range wireTable() {
		t.Run(row.name, func(t *testing.T) {
			for _, server := range row.roles() {
				for _, style := range wireStyles {
					if err := row.runTCP(server, style, whole); err != nil {
						t.Fatalf("server %v, %s: %v", server, style.name, err)
					}
				}
				// What comes in pieces has Handle leave messages and go on with them.
				if err := row.runTCP(server, handleStyle, tcpPieces); err != nil {
					t.Fatalf("server %v, Handle, in pieces: %v", server, err)
				}
			}
		})
	}
}

// tcpPieces is one byte at a time, and for all but the shortest scripts pieces of some bytes: each
// is a system call for both ends.
var tcpPieces = chunking{name: "in small pieces", size: func(script []byte) func() int {
	if len(script) < 200 {
		return func() int { return 1 }
	}
	return piecesOf([]byte{0, 1, 12, 40, 0, 100}).size(script)
}}

// A received is what a peer got.
type received struct {
	frames []wireFrame
	err    error
}

// openTCP returns a connection over TCP. Its peer sends the script, in pieces as s.chunking says,
// closes its half, and reads until the other end is closed.
func (s setup) openTCP(script []byte) (*websocket.Conn, <-chan received, error) {
	ours, theirs, err := tcpPair()
	if err != nil {
		return nil, nil, err
	}
	theirs.SetDeadline(time.Now().Add(patience))
	done := make(chan received, 1)
	peer := func(handshake func(br *bufio.Reader) error) {
		defer theirs.Close()
		br := bufio.NewReader(theirs)
		var r received
		defer func() { done <- r }()
		if r.err = handshake(br); r.err != nil {
			return
		}
		s.chunking.write(theirs, script)
		theirs.(*net.TCPConn).CloseWrite()
		for {
			f, err := wiretest.Read(br, !s.server)
			if err == io.EOF {
				return
			}
			// Pieces that come behind the end of the WebSocket find the socket closed, and TCP
			// resets the connection. The reply came before.
			if s.chunking.name == tcpPieces.name && errors.Is(err, syscall.ECONNRESET) {
				return
			}
			if err != nil {
				r.err = err
				return
			}
			r.frames = append(r.frames, f)
		}
	}
	if !s.server {
		go peer(func(br *bufio.Reader) error {
			r, err := http.ReadRequest(br)
			if err == nil {
				_, err = io.WriteString(theirs, s.response(r.Header.Get("Sec-WebSocket-Key")))
			}
			return err
		})
		d := s.dialer()
		d.NetDialContext = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
		c, _, err := d.Dial("ws://example.com/", nil)
		return c, done, err
	}
	type upgraded struct {
		c   *websocket.Conn
		err error
	}
	conns := make(chan upgraded, 1)
	serve(ours, func(w http.ResponseWriter, r *http.Request) {
		c, err := s.upgrader().Upgrade(w, r, nil)
		conns <- upgraded{c, err}
	})
	go peer(func(br *bufio.Reader) error {
		io.WriteString(theirs, request(s.extensions()))
		resp, err := http.ReadResponse(br, nil)
		if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			err = fmt.Errorf("status %s", resp.Status)
		}
		return err
	})
	u := <-conns
	return u.c, done, u.err
}

// runTCP runs the row over TCP and returns what is wrong.
func (row *wireRow) runTCP(server bool, style wireStyle, chunks chunking) error {
	if row.early && style.name == handleStyle.name {
		collected := *row
		collected.end = endEOF
		row = &collected
	}
	s := setup{server: server, deflate: row.deflate, takeover: row.takeover, chunking: chunks}
	c, done, err := s.openTCP(wiretest.Encode(row.in, server))
	if err != nil {
		return fmt.Errorf("handshake: %w", err)
	}
	setLimit(c, row.limit)
	messages, readErr := style.read(c)
	c.Close()
	r := <-done
	if r.err != nil {
		return fmt.Errorf("peer: %w", r.err)
	}
	if err := row.checkRead(messages, readErr); err != nil {
		return err
	}
	// A pong may be left out if a later ping is answered (RFC 6455 §5.5.3).
	isPong := func(f wireFrame) bool { return f.First == fin|opPong }
	pongs := slices.DeleteFunc(slices.Clone(r.frames), func(f wireFrame) bool { return !isPong(f) })
	if want := row.back; len(want) > 0 {
		if !subsequence(pongs, want) || len(pongs) == 0 || pongs[len(pongs)-1].Payload != want[len(want)-1].Payload {
			return fmt.Errorf("pongs %q, want %q", wiretest.Payloads(pongs), wiretest.Payloads(want))
		}
	}
	if got, want := slices.DeleteFunc(r.frames, isPong), row.ending().reply; !wiretest.Equal(got, want) {
		return fmt.Errorf("sent %q, want %q", wiretest.Payloads(got), wiretest.Payloads(want))
	}
	return nil
}

// subsequence reports whether the frames of part are in all, in order.
func subsequence(part, all []wireFrame) bool {
	for _, f := range all {
		if len(part) > 0 && part[0].Payload == f.Payload {
			part = part[1:]
		}
	}
	return len(part) == 0
}
