package conformance_test

// The cases of the Autobahn testsuite, chapters 1 to 5, 7 and 10, by their numbers:
//
//	go test ./conformance -run 'TestAutobahn/5\.15'
//
// What each case wants is what the suite calls OK. Where the suite leaves a choice, of codes or of
// dropping the connection, the case wants what RFC 6455 asks for: a close frame with its code.

import (
	"slices"
	"strings"
	"testing"
)

// A testCase sends frames and wants events, in rounds, and a certain end.
type testCase struct {
	id     string
	chop   int     // octets per write; all of a round at once if 0; perFrame
	rounds []round // one after the other
	codes  []int   // of the other end's close frame, any of them; none: the peer closes with 1000
}

type round struct {
	send []wireFrame
	want []event
}

const perFrame = -1

func (c testCase) run(t *testing.T) {
	for _, m := range meetings {
		t.Run(m.role, func(t *testing.T) {
			t.Parallel()
			p := m.start(t, extensions{})
			for _, r := range c.rounds {
				if c.chop == perFrame {
					for _, f := range r.send {
						p.write(p.encode(f), 0)
					}
				} else {
					p.write(p.encode(r.send...), c.chop)
				}
				p.expect(r.want...)
			}
			p.finish(c.codes...)
		})
	}
}

func TestAutobahn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range slices.Concat(framingCases(), pingCases(), reservedCases(), opcodeCases(), fragmentCases(),
		fragmentOrderCases(), textCases(), closeCases(), closeCodeCases()) {
		if seen[c.id] {
			t.Errorf("two cases %s", c.id)
		}
		seen[c.id] = true
		t.Run(c.id, c.run)
	}
}

// once is a case of one round.
func once(id string, chop int, send []wireFrame, want []event, codes ...int) testCase {
	return testCase{id, chop, []round{{send, want}}, codes}
}

// wellFormed is a case whose frames are all right: the peer gets want, and closes.
func wellFormed(id string, chop int, send []wireFrame, want ...event) testCase {
	return once(id, chop, send, want)
}

// violation is a case of a broken rule: the peer gets want, and then a close frame with the code.
func violation(id string, chop int, code int, send []wireFrame, want ...event) testCase {
	return once(id, chop, send, want, code)
}

func frames(f ...wireFrame) []wireFrame { return f }

func gets(kind, data string) event { return event{kind: kind, data: data} }

const (
	hello  = "Hello, world!"
	octets = "\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
)

func framingCases() (cases []testCase) {
	for i, kind := range []struct {
		opcode     byte
		kind, fill string
	}{{opText, gotText, "*"}, {opBinary, gotBinary, "\xfe"}} {
		for j, size := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
			chop := 0
			if j == 7 {
				chop = 997
			}
			data := strings.Repeat(kind.fill, size)
			cases = append(cases, wellFormed(number(1, i+1, j+1), chop,
				frames(frame(fin|kind.opcode, data)), gets(kind.kind, data)))
		}
	}
	return cases
}

func pingCases() []testCase {
	full := strings.Repeat("\xfe", 125)
	var ten []wireFrame
	var tenPongs []event
	for i := range 10 {
		data := "payload-" + string(rune('0'+i))
		ten = append(ten, pingFrame(data))
		tenPongs = append(tenPongs, gets(gotPong, data))
	}
	return []testCase{
		wellFormed("2.1", 0, frames(pingFrame("")), gets(gotPong, "")),
		wellFormed("2.2", 0, frames(pingFrame(hello)), gets(gotPong, hello)),
		wellFormed("2.3", 0, frames(pingFrame(octets)), gets(gotPong, octets)),
		wellFormed("2.4", 0, frames(pingFrame(full)), gets(gotPong, full)),
		violation("2.5", 0, 1002, frames(pingFrame(full+"\xfe"))),
		wellFormed("2.6", 1, frames(pingFrame(full)), gets(gotPong, full)),
		wellFormed("2.7", 0, frames(pongFrame(""))),
		wellFormed("2.8", 0, frames(pongFrame("unsolicited"))),
		wellFormed("2.9", 0, frames(pongFrame("unsolicited"), pingFrame("ping")), gets(gotPong, "ping")),
		wellFormed("2.10", 0, ten, tenPongs...),
		wellFormed("2.11", 1, ten, tenPongs...),
	}
}

func reservedCases() []testCase {
	// withRSV sets the three reserved bits to a number from 1 to 7.
	withRSV := func(f wireFrame, rsv byte) wireFrame { return frame(f.First|rsv<<4, f.Payload) }
	first := func(rsv byte) []wireFrame {
		return frames(textFrame(hello), withRSV(textFrame(hello), rsv), pingFrame(""))
	}
	return []testCase{
		violation("3.1", 0, 1002, frames(withRSV(textFrame(hello), 1))),
		violation("3.2", 0, 1002, first(2), gets(gotText, hello)),
		violation("3.3", perFrame, 1002, first(3), gets(gotText, hello)),
		violation("3.4", 1, 1002, first(4), gets(gotText, hello)),
		violation("3.5", 0, 1002, frames(withRSV(binaryFrame(octets), 5))),
		violation("3.6", 0, 1002, frames(withRSV(pingFrame(hello), 6))),
		violation("3.7", 0, 1002, frames(withRSV(closeFrame(1000, ""), 7))),
	}
}

func opcodeCases() []testCase {
	reserved := func(opcode byte, payload string) wireFrame { return frame(fin|opcode, payload) }
	behind := func(f wireFrame) []wireFrame { return frames(textFrame(hello), f, pingFrame("")) }
	var cases []testCase
	for i, opcode := range []byte{3, 11} {
		cases = append(cases,
			violation(number(4, i+1, 1), 0, 1002, frames(reserved(opcode, ""))),
			violation(number(4, i+1, 2), 0, 1002, frames(reserved(opcode+1, "reserved opcode"))),
			violation(number(4, i+1, 3), 0, 1002, behind(reserved(opcode+2, "")), gets(gotText, hello)),
			violation(number(4, i+1, 4), 0, 1002, behind(reserved(opcode+3, hello)), gets(gotText, hello)),
			violation(number(4, i+1, 5), 1, 1002, behind(reserved(opcode+4, hello)), gets(gotText, hello)),
		)
	}
	return cases
}

func fragmentCases() []testCase {
	two := inFragments(opText, "fragment1", "fragment2")
	both := gets(gotText, "fragment1fragment2")
	between := slices.Insert(slices.Clone(two), 1, pingFrame("ping"))
	first := []round{
		{append(inFragments(opText, "fragment1", "fragment2", "")[:2], pingFrame("pongme 1!")),
			[]event{gets(gotPong, "pongme 1!")}},
		{frames(frame(opContinuation, "fragment3"), frame(opContinuation, "fragment4"), pingFrame("pongme 2!"),
			frame(fin|opContinuation, "fragment5")),
			[]event{gets(gotPong, "pongme 2!"), gets(gotText, "fragment1fragment2fragment3fragment4fragment5")}},
	}
	return []testCase{
		violation("5.1", 0, 1002, inFragments(opPing, "fragment1", "fragment2")),
		violation("5.2", 0, 1002, inFragments(opPong, "fragment1", "fragment2")),
		wellFormed("5.3", 0, two, both),
		wellFormed("5.4", perFrame, two, both),
		wellFormed("5.5", 1, two, both),
		wellFormed("5.6", 0, between, gets(gotPong, "ping"), both),
		wellFormed("5.7", perFrame, between, gets(gotPong, "ping"), both),
		wellFormed("5.8", 1, between, gets(gotPong, "ping"), both),
		{id: "5.19", rounds: first},
		{id: "5.20", chop: perFrame, rounds: first},
	}
}

// fragmentOrderCases are about frames that continue nothing.
func fragmentOrderCases() []testCase {
	two := inFragments(opText, "fragment1", "fragment2")
	var cases []testCase
	chops := []int{0, perFrame, 1}
	for i, final := range []byte{fin, 0} {
		stray := frames(frame(opContinuation|final, "non-continuation payload"), textFrame(hello))
		for j, chop := range chops {
			cases = append(cases, violation(number(5, 9+3*i+j), chop, 1002, stray))
		}
	}
	behind := append(slices.Clone(two), frame(opContinuation, "fragment3"), textFrame("fragment4"))
	before := func(final byte) []wireFrame {
		once := append(frames(frame(opContinuation|final, "fragment1")), inFragments(opText, "fragment2", "fragment3")...)
		return slices.Repeat(once, 2)
	}
	return append(cases,
		violation("5.15", 0, 1002, behind, gets(gotText, "fragment1fragment2")),
		violation("5.16", 0, 1002, before(0)),
		violation("5.17", 0, 1002, before(fin)),
		violation("5.18", 0, 1002, frames(frame(opText, "fragment1"), textFrame("fragment2"))),
	)
}

func closeCases() []testCase {
	normal := closeFrame(1000, "")
	reason := strings.Repeat("*", 123)
	split := inFragments(opText, "fragment1", "fragment2")
	big := strings.Repeat("BAsd7&jh23", 256<<10/10)
	return []testCase{
		{id: "7.1.1", rounds: []round{{frames(textFrame("Hello World!")), []event{gets(gotText, "Hello World!")}}}},
		once("7.1.2", 0, frames(normal, normal), nil, 1000),
		once("7.1.3", 0, frames(normal, pingFrame("")), nil, 1000),
		once("7.1.4", 0, frames(normal, textFrame("Hello World!")), nil, 1000),
		once("7.1.5", 0, frames(split[0], normal, split[1]), nil, 1000),
		once("7.1.6", 0, frames(textFrame(big), textFrame("Hello World!"), normal, pingFrame("")),
			[]event{gets(gotText, big), gets(gotText, "Hello World!")}, 1000),
		once("7.3.1", 0, frames(frame(fin|opClose, "")), nil, 0, 1000),
		once("7.3.2", 0, frames(frame(fin|opClose, "a")), nil, 1002),
		once("7.3.3", 0, frames(normal), nil, 1000),
		once("7.3.4", 0, frames(closeFrame(1000, "Hello World!")), nil, 1000),
		once("7.3.5", 0, frames(closeFrame(1000, reason)), nil, 1000),
		once("7.3.6", 0, frames(closeFrame(1000, reason+"*")), nil, 1002),
		once("7.5.1", 0, frames(closeFrame(1000, kosme+"\xed\xa0\x80"+edited)), nil, 1002, 1007),
		// Unread input must not destroy the close frame on its way (RFC 6455 §7.1.1); the suite
		// sends too little.
		once("failure with input behind it", 0, frames(frame(fin|3, ""), textFrame(big), textFrame(big)), nil, 1002),
		once("close with input behind it", 0, frames(normal, textFrame(big), textFrame(big)), nil, 1000),
		// The suite only takes note of these two.
		once("7.13.1", 0, frames(closeFrame(5000, "")), nil, 1002),
		once("7.13.2", 0, frames(frame(fin|opClose, "\x00\x01\x00\x00")), nil, 1002),
	}
}

func closeCodeCases() (cases []testCase) {
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		cases = append(cases, once(number(7, 7, i+1), 0, frames(closeFrame(code, "")), nil, 1000, code))
	}
	// An empty close frame is what closing makes of 0, and code 0 is not that.
	cases = append(cases, once("7.9.1", 0, frames(frame(fin|opClose, "\x00\x00")), nil, 1002))
	for i, code := range []int{999, 1004, 1005, 1006, 1016, 1100, 2000, 2999} {
		cases = append(cases, once(number(7, 9, i+2), 0, frames(closeFrame(code, "")), nil, 1002))
	}
	data := strings.Repeat("*", 65536)
	return append(cases, wellFormed("10.1.1", 0, inFragments(opText, cutEvery(1300, data)...), gets(gotText, data)))
}
