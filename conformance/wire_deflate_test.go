package conformance_test

// The rows of the wire table on compressed messages (RFC 7692).

import (
	"slices"
	"strings"
)

// deflatedHello is the example of RFC 7692 §7.2.3.1.
const deflatedHello = "\xf2\x48\xcd\xc9\xc9\x07\x00"

// helloAgain repeats the five bytes before it, RFC 7692 §7.2.3.2.
const helloAgain = "\xf2\x00\x11\x00\x00"

// dynamicText is the content of dynamic, a block with its own codes (RFC 1951 §3.2.7).
const (
	dynamicText = "eetteeateteetae aetteeeeetteeanee ete nt  eeteeetaee eaeeeeeaeetanee aeet teeentttteet " +
		"eaen eeeetteeaeeeteeeeattt ee ttete aeeteteeeet ttaet eatteetae"
	dynamic = "\x3c\x8e\xb1\x11\x45\x31\x08\xc3\x56\xf1\x6a\x14\x6a\xa9\xb4\xff\xfd\x33\xf9\xf7\xba\xd8\x91" +
		"\x00\x50\x18\x11\x1c\x32\x97\xf9\xd7\x0b\x41\xb2\x26\x14\x29\x43\x98\x43\xa6\xb1\x48\x1f\xe9" +
		"\xef\x6a\x3d\x4b\x6c\xbe\x31\x3c\x97\x51\x03\xb1\xeb\xce\x7a\xbd\xd1\x39\xcb\x77\xc6\x0f"
)

func deflateRows() []wireRow {
	corrupt := endFail(1007, "compressed message is not valid DEFLATE data or ends too early")
	onContinuation := endFail(1002, "RSV1 set on a continuation frame")
	a1000 := deflated(strings.Repeat("a", 1000))
	long := strings.Repeat("the quick brown fox ", 10000)
	rows := []wireRow{
		{name: "7692-6/compressed text", in: []wireFrame{frame(0xc1, deflatedHello)}, want: texts("Hello")},
		{name: "7692-6/compressed binary", in: []wireFrame{frame(0xc2, deflatedHello)}, want: binaries("Hello")},
		{name: "7692-6/not compressed", in: []wireFrame{textFrame("Hello"), binaryFrame("\xf2")}, want: append(texts("Hello"), binaries("\xf2")...)},
		{name: "7692-6/compressed and not, in turn", in: []wireFrame{frame(0xc1, deflatedHello), textFrame("a"), frame(0xc2, deflatedHello), textFrame("")},
			want: slices.Concat(texts("Hello", "a"), binaries("Hello"), texts(""))},
		{name: "7692-6.1/two fragments", in: inFragments(0x41, deflatedHello[:3], deflatedHello[3:]), want: texts("Hello")},
		{name: "7692-6.1/a fragment for each byte", in: inFragments(0x42, eachByte(deflatedHello)...), want: binaries("Hello")},
		{name: "7692-6.1/empty fragments", in: inFragments(0x41, "", deflatedHello, "", ""), want: texts("Hello")},
		{name: "7692-6.1/control frames between fragments",
			in:   []wireFrame{frame(0x41, "\xf2\x48"), pingFrame("x"), frame(0x00, "\xcd\xc9\xc9"), pongFrame("y"), frame(0x80, "\x07\x00")},
			want: texts("Hello"), back: []wireFrame{pongFrame("x")}},
		{name: "7692-6/RSV1 on the last fragment", in: []wireFrame{frame(0x41, "\xf2\x48"), frame(0xc0, "").Cut(2)}, end: onContinuation},
		{name: "7692-6/RSV1 on a middle fragment", in: []wireFrame{frame(0x41, "\xf2\x48"), frame(0x40, "").Cut(2)}, end: onContinuation},
		{name: "7692-6/RSV1 on a fragment of a plain message", in: []wireFrame{frame(0x01, "a"), frame(0xc0, "").Cut(2)}, end: onContinuation},
		{name: "7692-6/RSV1 on a continuation outside a message", in: []wireFrame{frame(0xc0, "").Cut(2)},
			end: endFail(1002, "continuation after FIN")},
		{name: "7692-6/RSV1 on a reserved opcode", in: []wireFrame{frame(0xc3, "").Cut(2)}, end: endFail(1002, "bad opcode 3")},
		{name: "7692-6/compressed message inside a message", in: []wireFrame{frame(0x41, "\xf2"), frame(0xc1, "").Cut(2)},
			end: endFail(1002, "data before FIN")},
		{name: "7692-7.2.1/empty message", in: []wireFrame{frame(0xc1, "\x00"), frame(0xc2, "\x02\x00")}, want: append(texts(""), binaries("")...)},
		{name: "7692-7.2.1/empty message in fragments", in: inFragments(0x41, "", "\x00", ""), want: texts("")},
		{name: "7692-7.2.2/long message", in: []wireFrame{frame(0xc1, deflated(long)), textFrame("a")}, want: texts(long, "a")},
		{name: "7692-7.2.2/without a window", in: []wireFrame{frame(0xc1, deflatedHello), frame(0xc1, helloAgain)},
			want: texts("Hello"), end: corrupt},
		{name: "7692-7.2.2/with the window", takeover: true, in: []wireFrame{frame(0xc1, deflatedHello), frame(0xc1, helloAgain)},
			want: texts("Hello", "Hello")},
		{name: "7692-7.2.2/plain messages are not in the window", takeover: true,
			in:   []wireFrame{frame(0xc1, deflatedHello), textFrame("other"), frame(0xc2, helloAgain)},
			want: append(texts("Hello", "other"), binaries("Hello")...)},
		{name: "7692-7.2.3.4/BFINAL", in: []wireFrame{frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), frame(0xc1, deflatedHello)},
			want: texts("Hello", "Hello")},
		{name: "7692-7.2.3.4/BFINAL inside a message", in: []wireFrame{frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00"+deflatedHello)},
			want: texts("HelloHello")},
		{name: "7692-7.2.3.4/distance across BFINAL", in: []wireFrame{frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00"+helloAgain)},
			want: texts("HelloHello")},
		{name: "7692-7.2.3.4/distance across BFINAL, with the window", takeover: true,
			in:   []wireFrame{frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00"+helloAgain), frame(0xc1, helloAgain)},
			want: texts("HelloHello", "Hello")},
		{name: "7692-7.2.3.4/stored block with BFINAL inside a message", in: inFragments(0x41, "\x01\x03\x00\xfc\xffab", "c"+deflatedHello),
			want: texts("abcHello")},
		{name: "7692-7.2.3.5/two blocks in fragments", in: inFragments(0x41, "\xf2\x48\x05\x00\x00\x00\xff\xff", "\xca\xc9\xc9\x07\x00"),
			want: texts("Hello")},
		{name: "7692-7.2.2/dynamic codes", in: []wireFrame{frame(0xc1, dynamic), frame(0xc1, deflatedHello)}, want: texts(dynamicText, "Hello")},
		{name: "7692-7.2.2/dynamic codes, a fragment for each byte", in: inFragments(0x42, eachByte(dynamic)...), want: binaries(dynamicText)},
		{name: "7692-7.2.2/dynamic codes, then fixed codes and none", in: []wireFrame{frame(0xc1, dynamic+"\x00\x00\xff\xff"+
			deflatedHello+"\x00\x00\xff\xff"+stored("abc")+"\x00")}, want: texts(dynamicText + "Helloabc")},
		{name: "7692-7.2.2/dynamic codes cut", in: []wireFrame{frame(0xc1, dynamic[:30])}, end: corrupt},
		{name: "7692-7.2.2/not DEFLATE", in: []wireFrame{frame(0xc1, "\xff\xff\xff")}, end: corrupt},
		{name: "7692-7.2.2/not DEFLATE, known before the end", in: []wireFrame{frame(0xc2, "\xff").Claiming(100)}, end: corrupt, early: true},
		{name: "7692-7.2.2/cut", in: []wireFrame{frame(0xc2, deflatedHello[:4])}, end: corrupt},
		{name: "7692-7.2.2/cut in fragments", in: inFragments(0x42, deflatedHello[:2], deflatedHello[2:4]), end: corrupt},
		{name: "7692-7.2.2/distance before the start", in: []wireFrame{frame(0xc2, helloAgain)}, end: corrupt},
		{name: "7692-7.2.2/reserved block type behind data", in: []wireFrame{frame(0xc2, stored("Hello")+"\x06")}, end: corrupt},
		{name: "7692-7.2.2/stored block with lengths that disagree", in: []wireFrame{frame(0xc2, "\x00\x01\x00\xfe\xfea\x00")}, end: corrupt},
		{name: "7692-7.2.1/the tail was not removed", in: []wireFrame{frame(0xc1, deflatedHello+"\x00\x00\xff\xff")}, end: corrupt},
		{name: "7692-7.2.2/stored block cut", in: []wireFrame{frame(0xc2, stored("Hello")[:7])}, end: corrupt},
		{name: "7692-7.2.2/stream ends inside a message", in: []wireFrame{frame(0xc1, deflatedHello).Claiming(100)}},
		{name: "7692-7.2.2/stream ends between fragments", in: []wireFrame{frame(0x41, deflatedHello)}},
		{name: "7692-7.2.2/close inside a message", in: []wireFrame{frame(0x41, deflatedHello), closeFrame(1000, "")}, end: endClose(1000, "")},
		{name: "7692-7.2.2/limit counts what comes out", limit: 999, in: []wireFrame{frame(0xc1, a1000)}, end: endLimit},
		{name: "7692-7.2.2/exactly the limit comes out", limit: 1000, in: []wireFrame{frame(0xc1, a1000), frame(0xc1, a1000)},
			want: texts(strings.Repeat("a", 1000), strings.Repeat("a", 1000))},
		{name: "7692-7.2.2/limit counts over fragments", limit: 999, in: inFragments(0x42, eachByte(a1000)...), end: endLimit},
		{name: "7692-7.2.2/limit counts what goes in", limit: 10, in: []wireFrame{frame(0xc1, "").Claiming(11)}, end: endLimit},
		{name: "7692-7.2.2/limit counts blocks without content", limit: 10,
			in: []wireFrame{frame(0x41, "\x00\x00\x00\xff\xff\x00\x00\x00\xff\xff"), frame(0x80, "").Claiming(1)}, end: endLimit},
		{name: "7692-7.2.2/bomb", limit: 1 << 20, in: []wireFrame{frame(0xc2, deflated(strings.Repeat("\x00", 1<<21)))}, end: endLimit},
		{name: "7692-7.2.2/no limit", limit: noLimit, in: []wireFrame{frame(0xc1, a1000)}, want: texts(strings.Repeat("a", 1000))},
		{name: "8.1/not UTF-8 inflated", deflate: true, in: []wireFrame{frame(0xc1, deflated("a\xff"))}, end: endNotUTF8},
		{name: "8.1/not UTF-8 inflated, fragments", deflate: true, in: inFragments(0x41, eachByte(deflated("Hello\xed\xa0\x80"))...), end: endNotUTF8},
		{name: "8.1/cut character inflated", deflate: true, in: []wireFrame{frame(0xc1, deflated("a\xe2\x82"))}, end: endNotUTF8},
		{name: "8.1/character in three blocks", in: []wireFrame{frame(0xc1, stored("\xe2")+stored("\x82")+stored("\xac")+"\x00")}, want: texts("\u20ac")},
		{name: "8.1/binary inflated need not be UTF-8", deflate: true, in: []wireFrame{frame(0xc2, deflated("\xff"))}, want: binaries("\xff")},
		{name: "8.1/UTF-8 inflated", deflate: true, in: []wireFrame{frame(0xc1, deflated("κόσμε\U0001f310"))}, want: texts("κόσμε\U0001f310")},
		// The first rule that is seen broken is the one that the peer is told.
		{name: "7692-7.2.2/violation behind text that is not UTF-8", in: []wireFrame{frame(0x41, stored("\xff")), textFrame("").Cut(2)},
			end: endFail(1002, "data before FIN")},
		{name: "7692-7.2.2/not DEFLATE behind text that is not UTF-8", in: []wireFrame{frame(0xc1, stored("\xff")+"\xff\xff")}, end: corrupt},
		{name: "7692-7.2.2/stream ends behind text that is not UTF-8", in: []wireFrame{frame(0x41, stored("\xff"))}},
	}
	for i, kind := range []string{"close", "ping", "pong"} {
		f, end := frame(0xc8+byte(i), "").Cut(2), endFail(1002, "RSV1 set on a control frame")
		rows = append(rows,
			wireRow{name: "7692-6/RSV1 on " + kind, in: []wireFrame{f}, end: end},
			wireRow{name: "7692-6/RSV1 on " + kind + " inside a message", in: []wireFrame{frame(0x41, "\xf2"), f}, end: end})
	}
	for i := range rows {
		rows[i].deflate = true
	}
	return rows
}
