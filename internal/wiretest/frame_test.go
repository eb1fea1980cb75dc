package wiretest

import (
	"strings"
	"testing"
)

// The encoder makes the examples of RFC 6455 §5.7.
func TestFramesEncoded(t *testing.T) {
	for _, test := range []struct {
		frame  Frame
		client bool
		want   string
	}{
		{Text("Hello"), false, "\x81\x05\x48\x65\x6c\x6c\x6f"},
		{Text("Hello").Keyed(0x37, 0xfa, 0x21, 0x3d), true,
			"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{Binary(strings.Repeat("x", 256)), false, "\x82\x7e\x01\x00" + strings.Repeat("x", 256)},
		{Text("").MSB(), false, "\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00"},
		{Text("x").As(126), false, "\x81\x7e\x00\x01x"},
		{Text("Hello").FromWrongEnd(), true, "\x81\x05Hello"},
		{Binary("").Claiming(65536).Cut(4), false, "\x82\x7f\x00\x00"},
	} {
		got := Encode([]Frame{test.frame}, test.client)
		if string(got) != test.want {
			t.Errorf("%+v: % x, want % x", test.frame, got, test.want)
		}
	}
}

// The decoder takes what the encoder makes of frames that break no rule, and nothing else.
func TestFramesDecoded(t *testing.T) {
	var good []Frame
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 70001} {
		good = append(good, Binary(strings.Repeat("0123456789", n/10+1)[:n]), Ping("x"))
	}
	for _, client := range []bool{true, false} {
		b := Encode(good, client)
		if got, err := Decode(b, client); err != nil || !Equal(got, good) {
			t.Errorf("client %v: %q, %v", client, Payloads(got), err)
		}
		for _, f := range []Frame{
			Text("x").As(126), Text("x").As(127), Binary("").MSB(),
			Text("Hello").FromWrongEnd(), Text("").Claiming(5), Text("Hello").Cut(1),
			Text("Hello").Cut(3), Binary("").Claiming(70000).Cut(7),
		} {
			got, err := Decode(Encode([]Frame{Pong("x"), f}, client), client)
			if err == nil || len(got) != 1 {
				t.Errorf("client %v, %+v: %q, %v, want an error", client, f, Payloads(got), err)
			}
		}
	}
}
