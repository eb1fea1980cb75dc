package conformance_test

// Chapter 9 of the suite: long messages, in one frame, in fragments and in chops, and many short
// ones. The sizes are the suite's. Of the 1,000 short messages 100 are sent, and the race detector,
// which makes everything ten times slower, sees messages cut to 256 KiB.

import (
	"strings"
	"testing"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// A limitCase echoes messages of one kind.
type limitCase struct {
	id       string
	opcode   byte
	size     int // bytes of each message
	fragment int // bytes of each frame; one frame if 0
	chop     int // octets per write; a write per message if 0
	messages int
}

func limitCases() (cases []limitCase) {
	for i, opcode := range []byte{opText, opBinary} {
		for j, size := range []int{64 * kib, 256 * kib, mib, 4 * mib, 8 * mib, 16 * mib} {
			cases = append(cases, limitCase{number(9, 1+i, j+1), opcode, size, 0, 0, 1})
		}
		for j, size := range []int{64, 256, kib, 4 * kib, 16 * kib, 64 * kib, 256 * kib, mib, 4 * mib} {
			cases = append(cases, limitCase{number(9, 3+i, j+1), opcode, 4 * mib, size, 0, 1})
		}
		for j, chop := range []int{64, 128, 256, 512, 1024, 2048} {
			cases = append(cases, limitCase{number(9, 5+i, j+1), opcode, mib, 0, chop, 1})
		}
		for j, size := range []int{0, 16, 64, 256, 1024, 4096} {
			cases = append(cases, limitCase{number(9, 7+i, j+1), opcode, size, 0, 0, 100})
		}
	}
	return cases
}

func TestAutobahnLimits(t *testing.T) {
	for _, c := range limitCases() {
		t.Run(c.id, c.run)
	}
}

func (c limitCase) run(t *testing.T) {
	kind, data := gotText, strings.Repeat("BAsd7&jh23", c.size/10+1)
	if c.opcode == opBinary {
		kind, data = gotBinary, strings.Repeat("\xfe\x00\xff", c.size/3+1)
	}
	data = data[:c.size]
	if raceEnabled() {
		data = data[:min(c.size, 256*kib)]
	}
	fragment := c.fragment
	if fragment == 0 {
		fragment = max(len(data), 1)
	}
	message := inFragments(c.opcode, cutEvery(fragment, data)...)
	for _, m := range meetings {
		t.Run(m.role, func(t *testing.T) {
			p := m.start(t, extensions{})
			for range c.messages {
				p.write(p.encode(message...), c.chop)
				p.expect(gets(kind, data))
			}
			p.finish()
		})
	}
}
