package conformance_test

// How a fuzzing peer meets the end under test: over TCP or a pipe, as its client or as its server,
// with an opening handshake in plain text.

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket/conformance"
)

// A meeting is a role of the end under test and a kind of connection.
type meeting struct {
	role string
	pair func(t testing.TB) (ours, theirs net.Conn)
	join func(t testing.TB, ours, theirs net.Conn, ext extensions) *peer
}

// The meetings: the end under test is the server or the client.
var meetings = []meeting{
	{"server", overTCP, meetServer},
	{"client", overTCP, meetClient},
}

var pipeMeetings = []meeting{
	{"server", overPipe, meetServer},
	{"client", overPipe, meetClient},
}

// extensions is what is negotiated. A peer that is the client sends offer, and wants answer for it;
// one that is the server wants standing, which is what the client always offers, and sends reply
// for it.
type extensions struct{ offer, answer, reply string }

// standing is what our client offers.
const standing = "permessage-deflate; client_max_window_bits"

func (m meeting) start(t testing.TB, ext extensions) *peer {
	ours, theirs := m.pair(t)
	theirs.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { ours.Close() })
	p := m.join(t, ours, theirs, ext)
	p.start()
	return p
}

func overTCP(t testing.TB) (ours, theirs net.Conn) {
	ours, theirs, err := tcpPair()
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func overPipe(testing.TB) (ours, theirs net.Conn) { return net.Pipe() }

// meetServer returns a peer that is the client of our server.
func meetServer(t testing.TB, ours, theirs net.Conn, ext extensions) *peer {
	done := make(chan struct{})
	serve(ours, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		conformance.Serve(w, r)
	})
	t.Cleanup(func() { theirs.Close() })

	io.WriteString(theirs, request(ext.offer))
	br := bufio.NewReader(theirs)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := resp.Header
	if resp.StatusCode != 101 || h.Get("Sec-WebSocket-Accept") != acceptKey(exampleKey) ||
		!strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade") {
		t.Fatalf("answer %d with %v", resp.StatusCode, h)
	}
	answer := strings.Join(h["Sec-Websocket-Extensions"], ", ")
	if answer != ext.answer {
		t.Fatalf("answer %q to the offer %q, want %q", answer, ext.offer, ext.answer)
	}
	p := &peer{t: t, nc: theirs, br: br, client: true, done: done}
	p.agree(answer)
	return p
}

// meetClient returns a peer that is the server of our client.
func meetClient(t testing.TB, ours, theirs net.Conn, ext extensions) *peer {
	done := make(chan struct{})
	d := conformance.NewDialer()
	d.NetDialContext = func(context.Context, string, string) (net.Conn, error) { return ours, nil }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		theirs.Close()
		<-done
	})
	go func() {
		defer close(done)
		if err := conformance.Converse(ctx, d, "ws://localhost/runCase?case=1"); err != nil {
			t.Error(err)
		}
	}()
	br := bufio.NewReader(theirs)
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Fatal(err)
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 16 || r.Header.Get("Sec-WebSocket-Version") != "13" || r.Method != "GET" {
		t.Fatalf("request %s %s with %v", r.Method, r.URL, r.Header)
	}
	if offer := strings.Join(r.Header["Sec-Websocket-Extensions"], ", "); offer != standing {
		t.Fatalf("offer %q, want %q", offer, standing)
	}
	io.WriteString(theirs, switching(key, ext.reply))
	p := &peer{t: t, nc: theirs, br: br, done: done}
	p.agree(ext.reply)
	return p
}

// agree sets up compression as the server's answer has it.
func (p *peer) agree(answer string) {
	if answer == "" {
		return
	}
	server, client := window{15, true}, window{15, true}
	for _, param := range strings.Split(answer, "; ")[1:] {
		name, value, _ := strings.Cut(param, "=")
		bits := 0
		fmt.Sscan(value, &bits)
		switch name {
		case "server_no_context_takeover":
			server.takeover = false
		case "client_no_context_takeover":
			client.takeover = false
		case "server_max_window_bits":
			server.bits = bits
		case "client_max_window_bits":
			client.bits = bits
		default:
			p.t.Fatalf("parameter %q in %q", name, answer)
		}
	}
	if p.client {
		server, client = client, server
	}
	p.out, p.in = &deflater{window: server}, &inflater{window: client}
}
