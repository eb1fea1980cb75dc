package conformance_test

// The rows of the wire table on text (RFC 6455 §5.6 and §8.1), and text cut in every way.

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tautws/websocket/internal/wiretest"
)

var endNotUTF8 = endFail(1007, "text message is not valid UTF-8")

// goodTexts have each boundary of the encoding (RFC 3629 §4).
var goodTexts = [][2]string{
	{"NUL", "\x00"},
	{"U+007F", "\x7f"},
	{"U+0080", "\u0080"},
	{"U+07FF", "\u07ff"},
	{"U+0800", "\u0800"},
	{"below the surrogates", "\ud7ff"},
	{"above the surrogates", "\ue000"},
	{"byte order mark", "\ufeff"},
	{"U+FFFE", "\ufffe"},
	{"replacement character", "\ufffd"},
	{"U+FFFF", "\uffff"},
	{"U+10000", "\U00010000"},
	{"U+10FFFF", "\U0010ffff"},
	{"one character of each size", "a\u00e9\u20ac\U0001f310"},
}

// badTexts end with the byte from which on they cannot be UTF-8.
var badTexts = [][2]string{
	{"continuation byte first", "\x80"},
	{"highest continuation byte", "\xbf"},
	{"continuation byte too many", "\u00e9\x80"},
	{"overlong of two", "\xc0"},
	{"overlong of two, second lead", "\xc1"},
	{"overlong of three", "\xe0\x80"},
	{"overlong of three, highest", "\xe0\x9f"},
	{"overlong of four", "\xf0\x80"},
	{"overlong of four, highest", "\xf0\x8f"},
	{"first surrogate", "\xed\xa0"},
	{"last surrogate", "\xed\xbf"},
	{"U+110000", "\xf4\x90"},
	{"lead F5", "\xf5"},
	{"lead F8", "\xf8"},
	{"FE", "\xfe"},
	{"FF", "\xff"},
	{"ASCII for second byte", "\xc3a"},
	{"ASCII for third byte", "\xe2\x82a"},
	{"ASCII for fourth byte", "\xf0\x9f\x8ca"},
	{"lead for second byte", "\xe2\xe2"},
	{"behind text", strings.Repeat("text ", 50) + "\xff"},
	{"behind text of every size", "a\u00e9\u20ac\U0001f310\xed\xa0"},
}

// cutTexts end inside a character.
var cutTexts = [][2]string{
	{"after one of two", "a\xc3"},
	{"after one of three", "\xe2"},
	{"after two of three", "a\xe2\x82"},
	{"after one of four", "\xf0"},
	{"after three of four", "a\xf0\x9f\x8c"},
}

func textRows() []wireRow {
	rows := []wireRow{
		{name: "8.1/binary need not be UTF-8", in: []wireFrame{binaryFrame("\xff\xc0\x80")}, want: binaries("\xff\xc0\x80")},
		{name: "8.1/a binary message forgets nothing", in: []wireFrame{binaryFrame("\xe2\x82"), textFrame("a")},
			want: append(binaries("\xe2\x82"), texts("a")...)},
		{name: "8.1/ping inside a character",
			in:   []wireFrame{frame(0x01, "\xe2"), pingFrame("\xff"), frame(0x00, "\x82"), pongFrame("\xff"), frame(0x80, "\xac")},
			want: texts("\u20ac"), back: []wireFrame{pongFrame("\xff")}},
		{name: "8.1/empty fragment inside a character", in: inFragments(1, "\xe2", "", "\x82\xac"), want: texts("\u20ac")},
		{name: "8.1/close inside a character", in: []wireFrame{frame(0x01, "\xe2"), closeFrame(1000, "")}, end: endClose(1000, "")},
		{name: "8.1/stream ends inside a character", in: []wireFrame{textFrame("\xe2\x82").Claiming(3)}},
		{name: "8.1/the next message starts anew", in: []wireFrame{textFrame("\u20ac"), textFrame("\x82").Claiming(5)},
			want: texts("\u20ac"), end: endNotUTF8},
		{name: "8.1/cut at the end of the last, empty fragment", in: inFragments(1, "a\xe2\x82", ""), end: endNotUTF8},
		{name: "8.1/character cut by an ASCII fragment", in: []wireFrame{frame(0x01, "\xe2\x82"), frame(0x00, "a").Claiming(5)}, end: endNotUTF8},
		{name: "8.1/bad byte far into a long message", end: endNotUTF8,
			in: []wireFrame{textFrame(strings.Repeat("a", 70000) + "\xc3(").Claiming(1 << 20)}},
	}
	for _, test := range goodTexts {
		name, s := test[0], test[1]
		rows = append(rows,
			wireRow{name: "8.1/good, " + name, in: []wireFrame{textFrame(s)}, want: texts(s)},
			wireRow{name: "8.1/good, a fragment for each byte, " + name, in: inFragments(1, eachByte(s)...), want: texts(s)})
	}
	for _, test := range badTexts {
		name, s := test[0], test[1]
		// Five bytes and a last fragment are never sent: the answer does not wait for them.
		split := inFragments(1, eachByte(s+".")...)[:len(s)]
		split[len(s)-1] = split[len(s)-1].Claiming(5)
		rows = append(rows,
			wireRow{name: "8.1/bad, " + name, in: []wireFrame{textFrame(s).Claiming(int64(len(s) + 5))}, end: endNotUTF8},
			wireRow{name: "8.1/bad, a fragment for each byte, " + name, in: split, end: endNotUTF8})
	}
	for _, test := range cutTexts {
		name, s := test[0], test[1]
		rows = append(rows,
			wireRow{name: "8.1/cut " + name, in: []wireFrame{textFrame(s)}, end: endNotUTF8},
			wireRow{name: "8.1/cut " + name + ", in fragments", in: inFragments(1, eachByte(s)...), end: endNotUTF8})
	}
	return rows
}

// A text is good or bad however its fragments cut it.
func TestTextInAnyFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			text string
			end  wireEnd
		}{
			{"a\u00e9\u20ac\U0001f310", endEOF},
			{"\u20ac\xed\xa0\x80", endNotUTF8},
			{"\U0001f310\xf0\x9f\x8c", endNotUTF8},
		} {
			row := wireRow{end: test.end}
			if test.end.reply == nil {
				row.want = texts(test.text)
			}
			for cuts := range 1 << (len(test.text) - 1) {
				row.in = inFragments(1, partsBy(test.text, cuts)...)
				for _, style := range wireStyles {
					if err := row.run(cuts%2 == 0, whole, style); err != nil {
						t.Errorf("%s: %v: %v", fmt.Sprintf("%q", partsBy(test.text, cuts)), style.name, err)
					}
				}
			}
		}
	})
}

// partsBy cuts s behind byte i if bit i of cuts is set.
func partsBy(s string, cuts int) []string {
	var parts []string
	start := 0
	for i := range len(s) {
		if i == len(s)-1 || cuts>>i&1 == 1 {
			parts = append(parts, s[start:i+1])
			start = i + 1
		}
	}
	return parts
}

// Nothing of a chunk of bad text is given out, whether it came with its header or behind it.
func TestBadTextIsNotReturned(t *testing.T) {
	for _, size := range []int{1 << 20, 6} {
		s := setup{server: true, chunking: chunking{size: func([]byte) func() int { return func() int { return size } }}}
		c, _, err := s.open(wiretest.Encode([]wireFrame{textFrame("hello\xff")}, true))
		if err != nil {
			t.Fatal(err)
		}
		if _, p, err := c.ReadMessage(); len(p) > 0 || err == nil {
			t.Errorf("%d bytes at a time: %q, %v", size, p, err)
		}
		c.Close()
	}
}
