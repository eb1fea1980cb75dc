package conformance_test

// The wire table: one row for each rule on received frames, named by the section that states it.
// The rows of a chapter run with
//
//	go test ./conformance -run 'TestWire/5\.5'
//
// Every row runs in every style of reading, whole and byte by byte, as a server and as a client, to
// which it also comes with the handshake. What must end a connection is the last byte of its row,
// so a rule that is enforced late fails as an end of the stream.

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tautws/websocket/internal/wiretest"
)

func wireTable() []wireRow {
	return slices.Concat(lengthRows(), headerRows(), maskRows(), fragmentRows(), controlRows(),
		closeRows(), textRows(), limitRows(), deflateRows())
}

func TestWire(t *testing.T) {
	seen := map[string]bool{}
	for _, row := range wireTable() {
		if seen[row.name] {
			t.Errorf("two rows are called %q", row.name)
		}
		seen[row.name] = true
		t.Run(row.name, row.runAll)
	}
}

func lengthRows() []wireRow {
	rows := []wireRow{
		{name: "5.2/nothing at all"},
		{name: "5.2/text", in: []wireFrame{textFrame("Hello")}, want: texts("Hello")},
		{name: "5.2/binary", in: []wireFrame{binaryFrame("\x00\xff")}, want: binaries("\x00\xff")},
		{name: "5.2/empty text", in: []wireFrame{textFrame("")}, want: texts("")},
		{name: "5.2/several messages",
			in:   []wireFrame{textFrame("a"), binaryFrame(""), textFrame(""), binaryFrame("b")},
			want: slices.Concat(texts("a"), binaries(""), texts(""), binaries("b"))},
		{name: "5.2/most significant bit of the length",
			in:  []wireFrame{binaryFrame("").MSB().Cut(10)},
			end: endFail(1002, "most significant bit of a 64-bit payload length set")},
		{name: "5.2/most significant bit of a short length",
			in:   []wireFrame{textFrame("Hello"), binaryFrame("Hello").MSB().Cut(10)},
			want: texts("Hello"),
			end:  endFail(1002, "most significant bit of a 64-bit payload length set")},
	}
	for _, n := range []int{0, 1, 125, 126, 127, 255, 256, 4095, 4096, 4097, 65535, 65536, 65537, 200000} {
		data := strings.Repeat("0123456789abcde", n/15+1)[:n]
		rows = append(rows, wireRow{
			name: fmt.Sprintf("5.2/length %d", n),
			in:   []wireFrame{binaryFrame(data), textFrame("next")},
			want: append(binaries(data), texts("next")...),
		})
	}
	for _, test := range []struct {
		form, size int
		lengths    []int64
	}{
		{126, 4, []int64{0, 1, 125}},
		{127, 10, []int64{0, 1, 125, 126, 65535}},
	} {
		for _, n := range test.lengths {
			rows = append(rows, wireRow{
				name: fmt.Sprintf("5.2/length %d as %d", n, test.form),
				in:   []wireFrame{binaryFrame("").Claiming(n).As(test.form).Cut(test.size)},
				end:  endFail(1002, fmt.Sprintf("payload length %d not minimally encoded", n)),
			})
		}
	}
	return rows
}

func headerRows() []wireRow {
	var rows []wireRow
	for _, opcode := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		end := endFail(1002, fmt.Sprintf("bad opcode %d", opcode))
		rows = append(rows,
			wireRow{name: fmt.Sprintf("5.2/reserved opcode %d", opcode),
				in: []wireFrame{frame(0x80|opcode, "").Cut(2)}, end: end},
			wireRow{name: fmt.Sprintf("5.2/reserved opcode %d inside a message", opcode),
				in: []wireFrame{frame(0x01, "He"), frame(0x80|opcode, "llo").Cut(2)}, end: end},
			wireRow{name: fmt.Sprintf("5.2/reserved opcode %d without FIN", opcode),
				in: []wireFrame{frame(opcode, "").Claiming(126).Cut(2)}, end: end},
		)
	}
	for _, kind := range []struct {
		name  string
		first byte
	}{{"text", 0x81}, {"binary", 0x82}, {"first fragment", 0x01}, {"close", 0x88}, {"ping", 0x89}, {"pong", 0x8a}} {
		for _, deflate := range []bool{false, true} {
			with := "without deflate"
			if deflate {
				with = "with deflate"
			}
			rows = append(rows,
				wireRow{name: fmt.Sprintf("5.2/RSV2 on %s %s", kind.name, with), deflate: deflate,
					in: []wireFrame{frame(kind.first|0x20, "").Cut(2)}, end: endFail(1002, "RSV2 set")},
				wireRow{name: fmt.Sprintf("5.2/RSV3 on %s %s", kind.name, with), deflate: deflate,
					in: []wireFrame{frame(kind.first|0x10, "").Cut(2)}, end: endFail(1002, "RSV3 set")},
			)
		}
		rows = append(rows, wireRow{name: "5.2/RSV1 on " + kind.name + " without deflate",
			in:  []wireFrame{frame(kind.first|0x40, "").Cut(2)},
			end: endFail(1002, "RSV1 set")})
	}
	for _, bit := range []struct {
		name, text string
		first      byte
	}{
		{"RSV1", "RSV1 set", 0xc0},
		{"RSV2", "RSV2 set", 0xa0},
		{"RSV3", "RSV3 set", 0x90},
	} {
		rows = append(rows, wireRow{name: "5.2/" + bit.name + " on the last fragment",
			in: []wireFrame{frame(0x01, "a"), frame(bit.first, "b").Cut(2)}, end: endFail(1002, bit.text)})
	}
	return rows
}

func maskRows() []wireRow {
	badMask := endFail(1002, "bad MASK")
	var rows []wireRow
	for _, kind := range []struct {
		name   string
		frames []wireFrame
	}{
		{"text", []wireFrame{textFrame("Hello")}},
		{"empty binary", []wireFrame{binaryFrame("")}},
		{"ping", []wireFrame{pingFrame("x")}},
		{"close", []wireFrame{closeFrame(1000, "")}},
		{"long message", []wireFrame{binaryFrame("").Claiming(70000)}},
		{"last fragment", []wireFrame{frame(0x01, "a"), frame(0x80, "b")}},
	} {
		last := len(kind.frames) - 1
		in := append(slices.Clone(kind.frames[:last]), kind.frames[last].FromWrongEnd().Cut(2))
		rows = append(rows,
			wireRow{name: "5.1/" + kind.name + " from a client, not masked", only: serverRole, in: in, end: badMask},
			wireRow{name: "5.1/" + kind.name + " from a server, masked", only: clientRole, in: in, end: badMask},
		)
	}
	return append(rows,
		wireRow{name: "5.1/masking key of zeros",
			in: []wireFrame{textFrame("Hello").Keyed(0, 0, 0, 0), textFrame("x")}, want: texts("Hello", "x")},
		wireRow{name: "5.1/masking key of ones",
			in: []wireFrame{binaryFrame("Hello").Keyed(255, 255, 255, 255)}, want: binaries("Hello")},
		wireRow{name: "5.3/another key for each fragment and control frame",
			in: []wireFrame{frame(0x01, "Hel").Keyed(1, 2, 3, 4), pingFrame("abcde").Keyed(5, 6, 7, 8),
				frame(0x00, "lo, ").Keyed(9, 10, 11, 12), frame(0x80, "world").Keyed(13, 14, 15, 16)},
			want: texts("Hello, world"), back: []wireFrame{pongFrame("abcde")}},
		wireRow{name: "5.3/the key starts anew with each frame",
			in: inFragments(2, "a", "bc", "def", "ghij", "klmno"), want: binaries("abcdefghijklmno")},
	)
}

func fragmentRows() []wireRow {
	outside := endFail(1002, "continuation after FIN")
	inside := endFail(1002, "data before FIN")
	tooMany := endFail(1008, "more than 1000 empty fragments in a row")
	first, empty := frame(0x01, ""), frame(0x00, "")
	last := frame(0x80, "")
	return []wireRow{
		{name: "5.4/two fragments", in: inFragments(1, "Hel", "lo"), want: texts("Hello")},
		{name: "5.4/three fragments", in: inFragments(2, "H", "ell", "o"), want: binaries("Hello")},
		{name: "5.4/a fragment for each byte", in: inFragments(1, eachByte("Hello, world")...), want: texts("Hello, world")},
		{name: "5.4/300 fragments", in: inFragments(2, eachByte(strings.Repeat("abc", 100))...),
			want: binaries(strings.Repeat("abc", 100))},
		{name: "5.4/long fragments", in: inFragments(2, strings.Repeat("a", 5000), strings.Repeat("b", 126), strings.Repeat("c", 5001)),
			want: binaries(strings.Repeat("a", 5000) + strings.Repeat("b", 126) + strings.Repeat("c", 5001))},
		{name: "5.4/first fragment empty", in: inFragments(1, "", "Hello"), want: texts("Hello")},
		{name: "5.4/middle fragment empty", in: inFragments(1, "Hel", "", "lo"), want: texts("Hello")},
		{name: "5.4/last fragment empty", in: inFragments(1, "Hello", ""), want: texts("Hello")},
		{name: "5.4/all fragments empty", in: inFragments(2, "", "", ""), want: binaries("")},
		{name: "5.4/fragmented messages in a row", in: slices.Concat(inFragments(1, "a", "b"), inFragments(2, "c", "d"), inFragments(1, "", "e")),
			want: slices.Concat(texts("ab"), binaries("cd"), texts("e"))},
		{name: "5.4/control frames between fragments",
			in:   []wireFrame{frame(0x01, "a"), pingFrame("1"), pongFrame("2"), frame(0x00, "b"), pingFrame("3"), frame(0x80, "c")},
			want: texts("abc"), back: []wireFrame{pongFrame("1"), pongFrame("3")}},
		{name: "5.4/close between fragments", in: []wireFrame{frame(0x01, "a"), closeFrame(1001, "bye")}, end: endClose(1001, "bye")},
		{name: "5.4/continuation first", in: []wireFrame{frame(0x80, "a").Cut(2)}, end: outside},
		{name: "5.4/continuation first, without FIN", in: []wireFrame{frame(0x00, "a").Cut(2)}, end: outside},
		{name: "5.4/continuation behind a message", in: []wireFrame{textFrame("a"), frame(0x80, "b").Cut(2)},
			want: texts("a"), end: outside},
		{name: "5.4/continuation behind a fragmented message", in: append(inFragments(1, "a", "b"), frame(0x00, "c").Cut(2)),
			want: texts("ab"), end: outside},
		{name: "5.4/continuation behind a ping", in: []wireFrame{pingFrame("a"), frame(0x80, "b").Cut(2)},
			back: []wireFrame{pongFrame("a")}, end: outside},
		{name: "5.4/text inside a message", in: []wireFrame{frame(0x01, "a"), textFrame("b").Cut(2)}, end: inside},
		{name: "5.4/binary inside a message", in: []wireFrame{frame(0x01, "a"), binaryFrame("b").Cut(2)}, end: inside},
		{name: "5.4/fragment of another message inside a message", in: []wireFrame{frame(0x02, "a"), frame(0x02, "b").Cut(2)}, end: inside},
		{name: "5.4/text inside a message behind a ping", in: []wireFrame{frame(0x01, "a"), pingFrame("x"), textFrame("b").Cut(2)},
			back: []wireFrame{pongFrame("x")}, end: inside},
		{name: "5.4/stream ends between fragments", in: []wireFrame{frame(0x01, "a")}, end: endEOF},
		{name: "10.4/1000 empty fragments", in: slices.Concat([]wireFrame{first}, wiretest.Repeat(999, empty), []wireFrame{frame(0x80, "a")}),
			want: texts("a")},
		{name: "10.4/1000 empty fragments and an empty last one", in: slices.Concat([]wireFrame{first}, wiretest.Repeat(999, empty), []wireFrame{last}),
			want: texts("")},
		{name: "10.4/1001 empty fragments", in: slices.Concat([]wireFrame{first}, wiretest.Repeat(1000, empty)), end: tooMany},
		{name: "10.4/1001 empty fragments behind one with payload",
			in: slices.Concat([]wireFrame{frame(0x01, "a")}, wiretest.Repeat(1001, empty)), end: tooMany},
		{name: "10.4/1000 empty fragments, twice",
			in: slices.Concat([]wireFrame{frame(0x01, "a")}, wiretest.Repeat(1000, empty), []wireFrame{frame(0x00, "b")}, wiretest.Repeat(1000, empty),
				[]wireFrame{frame(0x80, "c")}),
			want: texts("abc")},
		{name: "10.4/1000 empty fragments in each of two messages",
			in:   slices.Concat([]wireFrame{first}, wiretest.Repeat(999, empty), []wireFrame{last, first}, wiretest.Repeat(999, empty), []wireFrame{last}),
			want: texts("", "")},
		{name: "10.4/1500 empty messages", in: wiretest.Repeat(1500, binaryFrame("")), want: slices.Repeat(binaries(""), 1500)},
		{name: "10.4/control frames do not interrupt empty fragments",
			in: slices.Concat([]wireFrame{first}, wiretest.Repeat(999, empty), []wireFrame{pongFrame("")}, []wireFrame{empty}), end: tooMany},
	}
}

func controlRows() []wireRow {
	long := strings.Repeat("0123456789", 13)
	tooLong := endFail(1002, "len > 125 for control")
	notFIN := endFail(1002, "FIN not set on control")
	rows := []wireRow{
		{name: "5.5.2/ping inside a message", in: []wireFrame{frame(0x02, "a"), pingFrame("now"), frame(0x80, "b")},
			want: binaries("ab"), back: []wireFrame{pongFrame("now")}},
		{name: "5.5.2/ping alone", in: []wireFrame{pingFrame("x")}, back: []wireFrame{pongFrame("x")}},
		{name: "5.5.2/pings in a row", in: []wireFrame{pingFrame("1"), pingFrame("2"), pingFrame("3"), textFrame("a"), pingFrame("4")},
			want: texts("a"), back: []wireFrame{pongFrame("1"), pongFrame("2"), pongFrame("3"), pongFrame("4")}},
		{name: "5.5.2/pongs leave before the close frame", in: []wireFrame{pingFrame("1"), pingFrame("2"), closeFrame(1000, "")},
			back: []wireFrame{pongFrame("1"), pongFrame("2")}, end: endClose(1000, "")},
		{name: "5.5.2/pongs leave before a failure", in: []wireFrame{pingFrame("1"), pingFrame("2"), frame(0x83, "").Cut(2)},
			back: []wireFrame{pongFrame("1"), pongFrame("2")}, end: endFail(1002, "bad opcode 3")},
		{name: "5.5.2/payload need not be UTF-8", in: []wireFrame{pingFrame("\xff\xfe\x00")}, back: []wireFrame{pongFrame("\xff\xfe\x00")}},
		{name: "5.5.2/incomplete ping", in: []wireFrame{pingFrame("12345").Cut(6)}},
		{name: "5.5.3/unsolicited pong", in: []wireFrame{pongFrame(""), textFrame("a"), pongFrame("12345678")}, want: texts("a")},
		{name: "5.5.3/pong inside a message", in: []wireFrame{frame(0x01, "a"), pongFrame("x"), frame(0x80, "b")}, want: texts("ab")},
	}
	for _, n := range []int{0, 1, 4, 124, 125} {
		rows = append(rows,
			wireRow{name: fmt.Sprintf("5.5.2/ping of %d bytes", n), in: []wireFrame{pingFrame(long[:n])},
				back: []wireFrame{pongFrame(long[:n])}},
			wireRow{name: fmt.Sprintf("5.5.3/pong of %d bytes", n), in: []wireFrame{pongFrame(long[:n]), textFrame("a")},
				want: texts("a")},
		)
	}
	for _, kind := range []struct {
		name  string
		first byte
	}{{"close", 0x88}, {"ping", 0x89}, {"pong", 0x8a}} {
		rows = append(rows,
			wireRow{name: "5.5/" + kind.name + " of 126 bytes", in: []wireFrame{frame(kind.first, long[:126]).Cut(2)}, end: tooLong},
			wireRow{name: "5.5/" + kind.name + " of 126 bytes, sent to the end",
				in: []wireFrame{frame(kind.first, long[:126]), textFrame("a")}, end: tooLong},
			wireRow{name: "5.5/" + kind.name + " of 65536 bytes", in: []wireFrame{frame(kind.first, "").Claiming(65536).Cut(2)}, end: tooLong},
			wireRow{name: "5.5/" + kind.name + " with a short length in long form",
				in: []wireFrame{frame(kind.first, "\x03\xe8").As(126), textFrame("a")}, end: tooLong},
			wireRow{name: "5.5/" + kind.name + " without FIN", in: []wireFrame{frame(kind.first&0x7f, "").Cut(2)}, end: notFIN},
			wireRow{name: "5.5/" + kind.name + " without FIN inside a message",
				in: []wireFrame{frame(0x01, "a"), frame(kind.first&0x7f, "b").Cut(2)}, end: notFIN},
		)
	}
	return rows
}
