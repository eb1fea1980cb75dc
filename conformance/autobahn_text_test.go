package conformance_test

// Chapter 6 of the suite: text is UTF-8. Its byte sequences are those of Markus Kuhn's decoder
// stress test. Every one is sent in one frame, as the suite does, and once more byte by byte over a
// pipe, where it is seen that nothing happens before the byte that cannot be right, and that the
// failure comes with it, before any other byte is sent.

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

// number returns a case number.
func number(parts ...int) string {
	return strings.Join(strings.Fields(strings.Trim(fmt.Sprint(parts), "[]")), ".")
}

const (
	greeting = "Hello-µ@ßöäüàá-UTF-8!!"
	kosme    = "κ\u1f79σμε" // the omicron carries an oxia, so it takes three bytes
	edited   = "edited"
)

// sequences are the texts of sections 6.5 to 6.23.
func sequences() [][]string {
	long := []string{"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80",
		"\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"}
	return [][]string{
		{"hello$world", "hello\u00a2world", "hello\u20acworld", "hello\U00024b62world", kosme},
		prefixes(kosme),
		{"\x00", "\u0080", "\u0800", "\U00010000"},
		{"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"},
		{"\x7f", "\u07ff", "\uffff", "\U0010ffff"},
		{"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\xf4\x90\x80\x80"},
		{"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf",
			each(0x80, 0xbf, "")},
		{each(0xc0, 0xdf, " "), each(0xe0, 0xef, " "), each(0xf0, 0xf7, " "), each(0xf8, 0xfb, " "), each(0xfc, 0xfd, " ")},
		long,
		{strings.Join(long, "")},
		{"\xfe", "\xff", "\xfe\xfe\xff\xff"},
		{"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"},
		{"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"},
		{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"},
		{"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf",
			"\xed\xae\x80\xed\xb0\x80", "\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"},
		noncharacters(),
		{"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"},
	}
}

func prefixes(s string) (all []string) {
	for i := range len(s) {
		all = append(all, s[:i+1])
	}
	return all
}

// each returns the bytes from first to before last, each with a separator behind it.
func each(first, last byte, separator string) string {
	var b strings.Builder
	for c := first; c < last; c++ {
		b.WriteByte(c)
		b.WriteString(separator)
	}
	return b.String()
}

// noncharacters are the last two code points of each plane, which are valid.
func noncharacters() (all []string) {
	for plane := range 17 {
		all = append(all, string(rune(plane<<16|0xfffe)), string(rune(plane<<16|0xffff)))
	}
	return all
}

func textCases() []testCase {
	echo := func(id, data string, parts ...string) testCase {
		return wellFormed(id, 0, inFragments(opText, parts...), gets(gotText, data))
	}
	invalid := kosme + "\xed\xa0\x80" + edited
	cases := []testCase{
		echo("6.1.1", "", ""),
		echo("6.1.2", "", "", "", ""),
		echo("6.1.3", "middle frame payload", "", "middle frame payload", ""),
		echo("6.2.1", greeting, greeting),
		echo("6.2.2", greeting, "Hello-µ@ßöä", "üàá-UTF-8!!"),
		echo("6.2.3", greeting, cutEvery(1, greeting)...),
		echo("6.2.4", kosme, cutEvery(1, kosme)...),
		violation("6.3.1", 0, 1007, inFragments(opText, invalid)),
		violation("6.3.2", 0, 1007, inFragments(opText, cutEvery(1, invalid)...)),
	}
	for i, list := range sequences() {
		for j, s := range list {
			if id := number(6, 5+i, j+1); utf8.ValidString(s) {
				cases = append(cases, echo(id, s, s))
			} else {
				cases = append(cases, violation(id, 0, 1007, inFragments(opText, s)))
			}
		}
	}
	return cases
}

// invalidAfter returns how many bytes of a text must be seen to know that it is not UTF-8, and 0 if
// it is.
func invalidAfter(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError || n != 1 {
			i += n
			continue
		}
		for n = 1; n < len(s)-i && !utf8.FullRuneInString(s[i:i+n]); n++ {
		}
		return i + n
	}
	return 0
}

// TestAutobahnFailFast sends texts in parts and looks at what has come back between any two of
// them. The parts are frames of a message (6.4.1, 6.4.2) or chops of a frame (6.4.3, 6.4.4).
func TestAutobahnFailFast(t *testing.T) {
	out := kosme + "\xf4\x90\x80\x80" + edited
	byOctet := cutEvery(1, out)
	type row struct {
		id      string
		inFrame bool
		parts   []string
	}
	rows := []row{
		{"6.4.1", false, []string{kosme, "\xf4\x90\x80\x80", edited}},
		{"6.4.2", false, []string{out[:12], out[12:13], out[13:]}},
		{"6.4.3", true, []string{kosme, "\xf4\x90\x80\x80", edited}},
		{"6.4.4", true, []string{out[:12], out[12:13], out[13:]}},
		{"6.4.1/octets", false, byOctet},
		{"6.4.3/octets", true, byOctet},
	}
	for i, list := range sequences() {
		for j, s := range list {
			rows = append(rows,
				row{number(6, 5+i, j+1) + "/frames", false, cutEvery(1, s)},
				row{number(6, 5+i, j+1) + "/octets", true, cutEvery(1, s)})
		}
	}
	for _, r := range rows {
		for _, m := range pipeMeetings {
			t.Run(r.id+"/"+m.role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { failFast(t, m, r.inFrame, r.parts) })
			})
		}
	}
}

func failFast(t *testing.T, m meeting, inFrame bool, parts []string) {
	sent := 0
	p := m.start(t, extensions{})
	all := strings.Join(parts, "")
	bad := invalidAfter(all)
	chops := p.encode(textFrame(all))
	head := len(chops) - len(all)
	for i, f := range inFragments(opText, parts...) {
		if inFrame {
			n := head + len(parts[i])
			p.write(chops[:n], 0)
			chops, head = chops[n:], 0
		} else {
			p.write(p.encode(f), 0)
		}
		if sent += len(parts[i]); bad > 0 && sent >= bad {
			break
		}
		if sent < len(all) {
			p.expectNothing(synctest.Wait, fmt.Sprintf("after %d of %d bytes", sent, len(all)))
		}
	}
	if bad > 0 {
		p.finish(1007)
		return
	}
	p.expect(gets(gotText, all))
	p.finish()
}
