package conformance_test

// The rows of the wire table on close frames and on the end of the stream.

import (
	"fmt"
	"slices"
	"strings"
)

func closeRows() []wireRow {
	long := strings.Repeat("0123456789", 13)[:123]
	badReason := endFail(1007, "invalid utf8 payload in close frame")
	rows := []wireRow{
		{name: "5.5.1/empty body", in: []wireFrame{frame(0x88, "")}, end: endNoStatus},
		{name: "5.5.1/body of one byte", in: []wireFrame{frame(0x88, "\x03")},
			end: endFail(1002, "close frame with a payload of one byte")},
		{name: "5.5.1/code alone", in: []wireFrame{closeFrame(1000, "")}, end: endClose(1000, "")},
		{name: "5.5.1/code and reason", in: []wireFrame{closeFrame(1001, "going")}, end: endClose(1001, "going")},
		{name: "5.5.1/reason of one byte", in: []wireFrame{closeFrame(3333, "x")}, end: endClose(3333, "x")},
		{name: "5.5.1/reason of 123 bytes", in: []wireFrame{closeFrame(1000, long)}, end: endClose(1000, long)},
		{name: "5.5.1/reason in UTF-8", in: []wireFrame{closeFrame(4000, "κόσμε \U0001f310")}, end: endClose(4000, "κόσμε \U0001f310")},
		{name: "5.5.1/reason of 124 bytes", in: []wireFrame{closeFrame(1000, long+"x").Cut(2)},
			end: endFail(1002, "len > 125 for control")},
		{name: "5.5.1/messages before it are delivered", in: []wireFrame{textFrame("a"), binaryFrame("b"), closeFrame(1000, "")},
			want: slices.Concat(texts("a"), binaries("b")), end: endClose(1000, "")},
		{name: "5.5.1/data behind it is ignored", in: []wireFrame{closeFrame(1000, ""), textFrame("late")}, end: endClose(1000, "")},
		{name: "5.5.1/violation behind it is ignored", in: []wireFrame{closeFrame(1000, ""), frame(0xff, "late")}, end: endClose(1000, "")},
		{name: "5.5.1/ping behind it is ignored", in: []wireFrame{closeFrame(1000, ""), pingFrame("late")}, end: endClose(1000, "")},
		{name: "5.5.1/close behind it is ignored", in: []wireFrame{closeFrame(1000, ""), closeFrame(1002, "late")}, end: endClose(1000, "")},
		{name: "5.5.1/two bytes that are not a header behind it", in: []wireFrame{frame(0x88, ""), frame(0x83, "").Cut(2)}, end: endNoStatus},
		{name: "5.5.1/incomplete body", in: []wireFrame{closeFrame(1000, "going").Cut(5)}},
		{name: "7.1.5/stream ends at once"},
		{name: "7.1.5/stream ends behind a message", in: []wireFrame{textFrame("a")}, want: texts("a")},
		{name: "7.1.5/stream ends behind one byte of a header", in: []wireFrame{textFrame("a"), textFrame("b").Cut(1)}, want: texts("a")},
		{name: "7.1.5/stream ends behind two bytes of a header", in: []wireFrame{textFrame("b").Claiming(126).Cut(2)}},
		{name: "7.1.5/stream ends inside a long length", in: []wireFrame{binaryFrame("").Claiming(65536).Cut(9)}},
		{name: "7.1.5/stream ends behind a header", in: []wireFrame{binaryFrame("").Claiming(5)}},
		{name: "7.1.5/stream ends inside a payload", in: []wireFrame{textFrame("a"), binaryFrame("Hel").Claiming(5)}, want: texts("a")},
		{name: "7.1.5/stream ends inside a long payload", in: []wireFrame{binaryFrame(strings.Repeat("a", 70000)).Claiming(1 << 20)}},
		{name: "7.1.5/stream ends inside a ping in a message", in: []wireFrame{frame(0x01, "a"), pingFrame("abc").Claiming(4)}},
		{name: "7.1.7/nothing is read behind a failure",
			in:  []wireFrame{frame(0x83, ""), textFrame("late"), pingFrame("late"), closeFrame(1000, "")},
			end: endFail(1002, "bad opcode 3")},
		{name: "7.1.7/messages before a failure are delivered", in: []wireFrame{textFrame("a"), textFrame("b"), frame(0xf1, "").Cut(2)},
			want: texts("a", "b"), end: endFail(1002, "RSV2 set")},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		rows = append(rows, wireRow{name: fmt.Sprintf("7.4/code %d", code),
			in: []wireFrame{closeFrame(code, "x")}, end: endClose(code, "x")})
	}
	for _, code := range []int{0, 1, 255, 256, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32768, 65535} {
		rows = append(rows, wireRow{name: fmt.Sprintf("7.4/code %d not allowed", code),
			in:  []wireFrame{closeFrame(code, "")},
			end: endFail(1002, fmt.Sprintf("bad close code %d", code))})
	}
	for _, test := range [][2]string{
		{"lone continuation byte", "a\x80"},
		{"cut", "a\xe2\x82"},
		{"overlong", "\xc0\xaf"},
		{"surrogate", "\xed\xa0\x80"},
		{"beyond U+10FFFF", "\xf4\x90\x80\x80"},
		{"cut at 123 bytes", long[:122] + "\xc3"},
	} {
		rows = append(rows, wireRow{name: "5.5.1/reason not UTF-8, " + test[0], in: []wireFrame{closeFrame(1000, test[1])}, end: badReason})
	}
	return rows
}
