package conformance_test

// The rows of the wire table on sizes (RFC 6455 §10.4), and what a claim costs.

import (
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/internal/wiretest"
)

func limitRows() []wireRow {
	const mebi = 1 << 20
	return []wireRow{
		{name: "10.4/default limit", in: []wireFrame{binaryFrame("").Claiming(64*mebi + 1)}, end: endLimit},
		{name: "10.4/default limit not passed", in: []wireFrame{binaryFrame("").Claiming(64 * mebi)}},
		{name: "10.4/largest claim", in: []wireFrame{binaryFrame("").Claiming(1<<63 - 1)}, end: endLimit},
		{name: "10.4/default limit over two frames", in: []wireFrame{frame(0x02, "a"), frame(0x80, "").Claiming(64 * mebi)},
			end: endLimit},
		{name: "10.4/exactly the limit", limit: 5, in: []wireFrame{textFrame("Hello")}, want: texts("Hello")},
		{name: "10.4/one over the limit", limit: 5, in: []wireFrame{textFrame("").Claiming(6)}, end: endLimit},
		{name: "10.4/limit of one byte", limit: 1, in: []wireFrame{textFrame(""), textFrame("a"), textFrame("").Claiming(2)},
			want: texts("", "a"), end: endLimit},
		{name: "10.4/exactly the limit in fragments", limit: 5, in: inFragments(1, "He", "", "llo", ""), want: texts("Hello")},
		{name: "10.4/one over the limit in fragments", limit: 5, in: []wireFrame{frame(0x01, "He"), frame(0x00, "llo"), frame(0x80, "").Claiming(1)},
			end: endLimit},
		{name: "10.4/first fragment over the limit", limit: 5, in: []wireFrame{frame(0x01, "").Claiming(6)}, end: endLimit},
		{name: "10.4/sum of lengths beyond 64 bits", limit: 5, in: []wireFrame{frame(0x02, "a"), frame(0x80, "").Claiming(1<<63 - 1)},
			end: endLimit},
		{name: "10.4/the limit is for each message", limit: 5, in: []wireFrame{textFrame("Hello"), binaryFrame("world"), textFrame("").Claiming(6)},
			want: slices.Concat(texts("Hello"), binaries("world")), end: endLimit},
		{name: "10.4/control frames do not count", limit: 2, in: []wireFrame{pingFrame("12345"), frame(0x01, "a"), pongFrame("12345"), frame(0x80, "b")},
			want: texts("ab"), back: []wireFrame{pongFrame("12345")}},
		{name: "10.4/largest limit", limit: 1<<63 - 1, in: []wireFrame{textFrame("Hello"), frame(0x02, "a"), frame(0x80, "").Claiming(1 << 62)},
			want: texts("Hello")},
		{name: "10.4/no limit", limit: noLimit, in: []wireFrame{textFrame("Hello"), binaryFrame("").Claiming(64*mebi + 1)}, want: texts("Hello")},
		{name: "10.4/no limit, 1<<62 bytes", limit: noLimit, in: []wireFrame{binaryFrame("").Claiming(1 << 62)}},
		{name: "10.4/no limit, more than can be counted", limit: noLimit, in: []wireFrame{binaryFrame("").Claiming(1<<62 + 1)},
			end: endLimit},
		{name: "10.4/no limit, message of many sizes", limit: noLimit, in: inFragments(2, strings.Repeat("a", 300000), "b", strings.Repeat("c", 70000)),
			want: binaries(strings.Repeat("a", 300000) + "b" + strings.Repeat("c", 70000))},
	}
}

// A limit that is set inside a message holds for what is still to come of it.
func TestLimitLoweredInsideMessage(t *testing.T) {
	for _, limit := range []int64{1, 4, 5, 6, 8} {
		c, _, err := setup{server: true}.open(wiretest.Encode(inFragments(2, "Hello", "world"), true))
		if err != nil {
			t.Fatal(err)
		}
		_, r, err := c.NextReader()
		if err != nil {
			t.Fatal(err)
		}
		var b [5]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			t.Fatal(err)
		}
		c.SetReadLimit(limit)
		if p, err := io.ReadAll(r); err != websocket.ErrReadLimit {
			t.Errorf("limit %d set behind 5 of 10 bytes: read %q, %v, want websocket.ErrReadLimit", limit, p, err)
		}
		c.Close()
	}
}

// A peer gets memory for what it sent, not for what it announces.
func TestClaimsCostLittle(t *testing.T) {
	claims := map[string][]wireFrame{
		"one frame":           {binaryFrame("x").Claiming(1 << 40)},
		"second frame":        {frame(0x02, "x"), frame(0x80, "y").Claiming(1 << 40)},
		"4 KiB of it arrives": {binaryFrame(strings.Repeat("x", 4096)).Claiming(1 << 40)},
		"70 kB of it arrive":  {binaryFrame(strings.Repeat("x", 70000)).Claiming(1 << 40)},
	}
	for name, frames := range claims {
		for _, style := range wireStyles {
			for _, server := range []bool{true, false} {
				s := setup{server: server}
				c, nc, err := s.open(wiretest.Encode(frames, server))
				if err != nil {
					t.Fatal(err)
				}
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err = s.readAll(c, nc, noLimit, style)
				runtime.ReadMemStats(&after)
				if err != nil {
					t.Error(err)
				}
				// At most 16 times what has arrived is ever asked for.
				most := 512<<10 + 24*uint64(len(frames[0].Payload))
				if n := after.TotalAlloc - before.TotalAlloc; n > most {
					t.Errorf("%s, %s: a claim of 1 TiB cost %d bytes, want at most %d", name, style.name, n, most)
				}
			}
		}
	}
}
