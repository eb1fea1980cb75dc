package conformance_test

// Chapters 12 and 13 of the suite: permessage-deflate, each parameter of it agreed on and lived up
// to. The suite's texts, pictures and documents have stand-ins of the same kind. Of the 1,000
// messages a few are sent, enough for contexts to be taken over; and the race detector, which makes
// everything ten times slower, sees those above 4 KiB in 13.3 only.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// material is what messages are cut from: 128 KiB, again and again.
type material struct {
	opcode byte
	kind   string
	data   string
}

const most = 128 * kib

// materials are the sections of chapter 12: JSON, a picture, prose, HTML, a document that is
// compressed already.
func materials() []material {
	r := rand.New(rand.NewPCG(6455, 7692))
	fill := func(next func() string) string {
		var b strings.Builder
		for b.Len() < most {
			b.WriteString(next())
		}
		return b.String()[:most]
	}
	words := strings.Fields("Habe nun ach Philosophie Juristerei und Medizin und leider auch Theologie durchaus studiert " +
		"mit heissem Bemuehn Da steh ich nun ich armer Tor und bin so klug als wie zuvor")
	word := func() string { return words[r.IntN(len(words))] }
	grey := byte(128)
	return []material{
		{opText, gotText, fill(func() string {
			return fmt.Sprintf(`{"id":%d,"name":"%s %s","tags":["%s"],"on":%v},`, r.IntN(1e6), word(), word(), word(), r.IntN(2) == 0)
		})},
		{opBinary, gotBinary, fill(func() string {
			grey += byte(r.IntN(7)) - 3
			return string([]byte{grey})
		})},
		{opBinary, gotBinary, fill(func() string { return word() + " " })},
		{opText, gotText, fill(func() string { return `<p class="` + word() + `">` + word() + " " + word() + "</p>\n" })},
		{opBinary, gotBinary, fill(func() string { return string([]byte{byte(r.Uint32())}) })},
	}
}

// shapes are the cases of each section: bytes of a message, and of its fragments.
var shapes = []struct{ size, fragment int }{
	{16, 0}, {64, 0}, {256, 0}, {1024, 0}, {4096, 0}, {8192, 0}, {16384, 0}, {32768, 0}, {65536, 0}, {131072, 0},
	{8192, 256}, {16384, 256}, {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768},
}

// agreements are the sections of chapter 13, and behind them some that the suite does not know.
// What a fuzzing client offers and a fuzzing server replies is what the suite's does.
var agreements = []struct {
	id string
	extensions
}{
	{"13.1", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits",
		"permessage-deflate; client_no_context_takeover",
		"permessage-deflate"}},
	{"13.2", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; client_no_context_takeover"}},
	{"13.3", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=9",
		"permessage-deflate; client_no_context_takeover; server_max_window_bits=9",
		"permessage-deflate; client_max_window_bits=9"}},
	{"13.4", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_max_window_bits=15",
		"permessage-deflate; client_no_context_takeover; server_max_window_bits=15",
		"permessage-deflate; client_max_window_bits=15"}},
	{"13.5", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; " +
		"server_no_context_takeover; server_max_window_bits=9",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
		"permessage-deflate; client_no_context_takeover; client_max_window_bits=9"}},
	{"13.6", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; " +
		"server_no_context_takeover; server_max_window_bits=15",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15",
		"permessage-deflate; client_no_context_takeover; client_max_window_bits=15"}},
	{"13.7", extensions{"permessage-deflate; client_no_context_takeover; client_max_window_bits; " +
		"server_no_context_takeover; server_max_window_bits=9, " +
		"permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover, " +
		"permessage-deflate; client_no_context_takeover; client_max_window_bits",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9",
		"permessage-deflate; client_no_context_takeover; client_max_window_bits=9"}},
	{"contexts kept", extensions{"permessage-deflate", "permessage-deflate", "permessage-deflate"}},
	{"server contexts not kept", extensions{"permessage-deflate; server_no_context_takeover",
		"permessage-deflate; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"}},
	{"windows of 256 bytes", extensions{"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
		"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8",
		"permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"}},
	{"windows of different sizes", extensions{"permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
		"permessage-deflate; server_max_window_bits=12; client_max_window_bits=10",
		"permessage-deflate; server_max_window_bits=12; client_max_window_bits=10"}},
}

func TestAutobahnCompression(t *testing.T) {
	all := materials()
	for i, m := range all {
		converse(t, number(12, i+1), m, agreements[0].extensions)
	}
	for _, a := range agreements {
		converse(t, a.id, all[0], a.extensions)
	}
}

// converse runs the cases of a section.
func converse(t *testing.T, section string, what material, ext extensions) {
	for i, shape := range shapes {
		if raceEnabled() && shape.size > 4*kib && section != "13.3" {
			continue
		}
		for _, m := range meetings {
			t.Run(fmt.Sprintf("%s.%d/%s", section, i+1, m.role), func(t *testing.T) {
				t.Parallel()
				p := m.start(t, ext)
				for j := range messages(shape.size) {
					from := j * shape.size % (most - shape.size + 1)
					data := what.data[from:][:shape.size]
					p.write(p.encode(p.compressed(what.opcode, data, shape.fragment)...), 0)
					p.expect(gets(what.kind, data))
				}
				p.finish()
			})
		}
	}
}

// messages is how many messages of a size are sent.
func messages(size int) int {
	if size < 16*kib {
		return 4
	}
	return 2
}

// compressed returns a compressed message in frames of at most fragment bytes.
func (p *peer) compressed(opcode byte, data string, fragment int) []wireFrame {
	z := p.out.message(data)
	if fragment == 0 {
		fragment = len(z)
	}
	frames := inFragments(opcode, cutEvery(fragment, z)...)
	frames[0].First |= rsv1
	return slices.Clip(frames)
}
