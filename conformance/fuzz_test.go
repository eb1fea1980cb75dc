package conformance_test

// Fuzzing what a peer can send, from the bytes of the wire table.

import (
	"errors"
	"fmt"
	"runtime/metrics"
	"strings"
	"testing"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

// The bits of a fuzzed configuration. Those above them choose a style of reading.
const (
	fuzzServer = 1 << iota
	fuzzDeflate
	fuzzTakeover
	fuzzStyles
)

// fuzzLimit is the read limit of compressed messages. Others have none, so that every claim is
// tried.
func fuzzLimit(flags byte) int64 {
	if flags&fuzzDeflate != 0 {
		return 1 << 17
	}
	return noLimit
}

func fuzzStyle(flags byte) wireStyle {
	return wireStyles[int(flags/fuzzStyles)%len(wireStyles)]
}

func fuzzSetup(flags byte) setup {
	return setup{server: flags&fuzzServer != 0, deflate: flags&fuzzDeflate != 0, takeover: flags&fuzzTakeover != 0}
}

// addWireTable adds the rows in both roles.
func addWireTable(f *testing.F, args ...any) {
	for i, row := range wireTable() {
		for _, server := range row.roles() {
			flags := byte(i%len(wireStyles)) * fuzzStyles
			if server {
				flags |= fuzzServer
			}
			if row.deflate {
				flags |= fuzzDeflate
			}
			if row.takeover {
				flags |= fuzzTakeover
			}
			if b := wiretest.Encode(row.in, server); len(b) < 2000 {
				f.Add(append([]any{b, flags}, args...)...)
			}
		}
	}
	for _, s := range wireStreams {
		flags := byte(fuzzServer)
		if s.deflate {
			flags |= fuzzDeflate
		}
		f.Add(append([]any{wiretest.Encode(s.frames, true), flags}, args...)...)
		f.Add(append([]any{wiretest.Encode(s.frames, false), flags &^ fuzzServer}, args...)...)
	}
}

// allocated is how many bytes the process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Whatever a peer sends, the end is orderly: one lasting error, at most one close frame that says
// what the error says and nothing behind it, frames that are well formed, and memory in proportion
// to what was received.
func FuzzReader(f *testing.F) {
	addWireTable(f)
	f.Fuzz(func(t *testing.T, b []byte, flags byte) {
		s := fuzzSetup(flags)
		c, nc, err := s.open(b)
		if err != nil {
			t.Fatal(err)
		}
		before := allocated()
		res, err := s.readAll(c, nc, fuzzLimit(flags), fuzzStyle(flags))
		cost := allocated() - before
		if err == nil {
			err = res.check()
		}
		if err != nil {
			t.Error(err)
		}
		total := 0
		for _, m := range res.messages {
			total += len(m.data)
			if m.messageType != websocket.TextMessage && m.messageType != websocket.BinaryMessage {
				t.Errorf("message type %d", m.messageType)
			}
			if limit := fuzzLimit(flags); limit != noLimit && int64(len(m.data)) > limit {
				t.Errorf("message of %d bytes", len(m.data))
			}
		}
		if flags&fuzzDeflate == 0 && total > len(b) {
			t.Errorf("%d bytes of messages in %d bytes", total, len(b))
		}
		// The runtime's count is off by up to 4 MiB. A frame costs a few hundred bytes, a pong with
		// a buffer among them, and a compressed message that fails up to three times the limit.
		if most := uint64(8<<20 + 2048*len(b) + 8*total); cost > most {
			t.Errorf("%d bytes allocated for %d bytes and messages of %d, want at most %d", cost, len(b), total, most)
		}
	})
}

// What is read does not depend on how the network cuts it.
func FuzzChunking(f *testing.F) {
	addWireTable(f, []byte{0, 3, 1, 200, 6})
	f.Fuzz(func(t *testing.T, b []byte, flags byte, sizes []byte) {
		want := readChunks(t, b, flags, whole)
		for _, chunks := range append(chunkings(flags&fuzzServer != 0), piecesOf(sizes)) {
			if got := readChunks(t, b, flags, chunks); got != want {
				t.Errorf("%s:\n%s, want\n%s", chunks.name, got, want)
			}
		}
	})
}

// piecesOf is a chunking by sizes, over and over.
func piecesOf(sizes []byte) chunking {
	return chunking{name: fmt.Sprintf("in pieces of %v", sizes), size: func([]byte) func() int {
		i := 0
		return func() int {
			if len(sizes) == 0 {
				return 2
			}
			i++
			return 1 + int(sizes[i%len(sizes)])
		}
	}}
}

// readChunks tells what becomes of b. Pings and pongs are seen by handlers: a reader may answer
// only the latest of several pings (RFC 6455 §5.5.3).
func readChunks(t *testing.T, b []byte, flags byte, chunks chunking) string {
	s := fuzzSetup(flags)
	s.chunking = chunks
	c, nc, err := s.open(b)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(fuzzLimit(flags))
	var control []string
	c.SetPingHandler(func(s string) error { control = append(control, "ping "+s); return nil })
	c.SetPongHandler(func(s string) error { control = append(control, "pong "+s); return nil })
	messages, err := fuzzStyle(flags).read(c)
	c.Close()
	sent, wrong := wiretest.Decode(nc.Sent(), flags&fuzzServer == 0)
	var all strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&all, "%d %q\n", m.messageType, m.data)
	}
	fmt.Fprintf(&all, "%q\n%T %v\n%q %v", control, err, err, wiretest.Payloads(sent), wrong)
	return all.String()
}

// Handle, which leaves a message that is not whole and goes on with it, gives what Messages gives.
func FuzzHandle(f *testing.F) {
	addWireTable(f, []byte{0, 3, 1, 200, 6})
	f.Fuzz(func(t *testing.T, b []byte, flags byte, sizes []byte) {
		s := fuzzSetup(flags)
		c, _, err := s.open(b)
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(fuzzLimit(flags))
		want, wantErr := readByRange(c)
		c.Close()
		s.chunking = piecesOf(sizes)
		c, done, err := s.openTCP(b)
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(fuzzLimit(flags))
		got, gotErr := readByHandle(c)
		<-done
		if early := (*websocket.ProtocolError)(nil); s.deflate && errors.As(wantErr, &early) &&
			early.Code == websocket.CloseInvalidFramePayloadData && websocket.IsCloseError(gotErr, websocket.CloseAbnormalClosure) {
			return // a compressed message was cut that was wrong already: see wireRow.early
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
			t.Errorf("Handle: %.200q, %v; Messages: %.200q, %v", got, gotErr, want, wantErr)
		}
	})
}
