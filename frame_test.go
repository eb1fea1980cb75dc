package websocket

// Headers: their bytes both ways, each prefix of them, and what they cost.

import (
	"bytes"
	"slices"
	"testing"

	"github.com/tautws/websocket/internal/mask"
)

type headerTest struct {
	name   string
	bytes  string
	first  byte
	length uint64
	masked bool
}

// headerKey is the masking key of the masked ones.
const headerKey mask.Key = 0x3d21fa37

var headerTests = []headerTest{
	{"empty text", "\x81\x00", 0x81, 0, false},
	{"text of one byte", "\x81\x01", 0x81, 1, false},
	{"text of one byte, masked", "\x81\x81\x37\xfa\x21\x3d", 0x81, 1, true},
	{"empty binary, masked", "\x82\x80\x37\xfa\x21\x3d", 0x82, 0, true},
	{"first fragment", "\x01\x03", 0x01, 3, false},
	{"last fragment", "\x80\x02", 0x80, 2, false},
	{"ping", "\x89\x05", 0x89, 5, false},
	{"pong, masked", "\x8a\x85\x37\xfa\x21\x3d", 0x8a, 5, true},
	{"close", "\x88\x02", 0x88, 2, false},
	{"compressed text", "\xc1\x07", 0xc1, 7, false},
	{"all reserved bits", "\x72\x00", 0x72, 0, false},
	{"all bits", "\xff\x00", 0xff, 0, false},
	{"longest short length", "\x82\x7d", 0x82, 125, false},
	{"shortest length of 16 bits", "\x82\x7e\x00\x7e", 0x82, 126, false},
	{"127 bytes, masked", "\x82\xfe\x00\x7f\x37\xfa\x21\x3d", 0x82, 127, true},
	{"256 bytes", "\x82\x7e\x01\x00", 0x82, 256, false},
	{"longest length of 16 bits", "\x82\x7e\xff\xff", 0x82, 65535, false},
	{"shortest length of 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 0x82, 65536, false},
	{"65537 bytes, masked", "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01\x37\xfa\x21\x3d", 0x82, 65537, true},
	{"2 GiB less one byte", "\x82\x7f\x00\x00\x00\x00\x7f\xff\xff\xff", 0x82, 1<<31 - 1, false},
	{"4 GiB", "\x82\x7f\x00\x00\x00\x01\x00\x00\x00\x00", 0x82, 1 << 32, false},
	{"every length byte, masked", "\x82\xff\x01\x23\x45\x67\x89\xab\xcd\xef\x37\xfa\x21\x3d", 0x82, 0x0123456789abcdef, true},
	{"longest length", "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 0x82, 1<<63 - 1, false},
}

func (test *headerTest) header() header {
	h := header{
		first:  test.first,
		masked: test.masked,
		length: test.length,
	}
	if test.masked {
		h.key = headerKey
	}
	return h
}

func TestParseHeader(t *testing.T) {
	for _, test := range headerTests {
		h, n, err := parseHeader([]byte(test.bytes + "payload"))
		if err != nil || n != len(test.bytes) || h != test.header() {
			t.Errorf("%s: %+v, %d, %v, want %+v, %d", test.name, h, n, err, test.header(), len(test.bytes))
		}
		for i := range test.bytes {
			h, n, err := parseHeader([]byte(test.bytes[:i]))
			if n != 0 || err != nil {
				t.Errorf("%s: %d bytes of it: %+v, %d, %v", test.name, i, h, n, err)
			}
			if i < 2 {
				continue
			}
			// What the first two bytes tell is known.
			want := test.header()
			h.key, want.key = 0, 0
			if h.length >= 126 && want.length >= 126 {
				h.length = want.length
			}
			if h != want {
				t.Errorf("%s: %d bytes of it: %+v, want %+v", test.name, i, h, want)
			}
		}
	}
}

// RFC 6455 §5.2: lengths that no header may have.
func TestParseHeaderErrors(t *testing.T) {
	for _, test := range []struct{ bytes, text string }{
		{"\x82\x7e\x00\x00", "payload length 0 not minimally encoded"},
		{"\x82\x7e\x00\x7d", "payload length 125 not minimally encoded"},
		{"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x00", "payload length 0 not minimally encoded"},
		{"\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x7e", "payload length 126 not minimally encoded"},
		{"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "payload length 65535 not minimally encoded"},
		{"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "most significant bit of a 64-bit payload length set"},
		{"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "most significant bit of a 64-bit payload length set"},
	} {
		// The masking key need not be there.
		for _, mask := range []byte{0, 0x80} {
			b := []byte(test.bytes)
			b[1] |= mask
			_, _, err := parseHeader(b)
			if err == nil || err.Code != CloseProtocolError || err.Text != test.text {
				t.Errorf("% x: error %v, want %s", b, err, test.text)
			}
			if _, n, err := parseHeader(b[:len(b)-1]); n != 0 || err != nil {
				t.Errorf("% x cut by a byte: %d, %v", b, n, err)
			}
		}
	}
}

func TestAppendHeader(t *testing.T) {
	for _, test := range headerTests {
		length := int(test.length)
		if uint64(length) != test.length {
			continue // no payload of that length can be sent from here
		}
		got := appendHeader([]byte("before"), test.first, length, test.masked, headerKey)
		if want := "before" + test.bytes; string(got) != want {
			t.Errorf("%s: % x, want % x", test.name, got, want)
		}
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	var lengths []int
	for _, around := range []int{0, 125, 126, 256, 32768, 65536, 1 << 24, 1<<31 - 4} {
		for d := range 7 {
			if n := around + d - 3; n >= 0 {
				lengths = append(lengths, n)
			}
		}
	}
	for first := range 256 {
		for _, length := range lengths {
			for _, masked := range []bool{false, true} {
				want := headerTest{first: byte(first), length: uint64(length), masked: masked}
				b := appendHeader(nil, byte(first), length, masked, headerKey)
				h, n, err := parseHeader(b)
				if err != nil || n != len(b) || h != want.header() {
					t.Fatalf("% x: %+v, %d, %v, want %+v", b, h, n, err, want.header())
				}
				if b2 := frame(byte(first), "").Claiming(int64(length)).Keyed(0x37, 0xfa, 0x21, 0x3d).Append(nil, masked, [4]byte{}); !bytes.Equal(b, b2) {
					t.Fatalf("appended % x, want % x", b, b2)
				}
			}
		}
	}
}

func TestHeaderAllocatesNothing(t *testing.T) {
	b := make([]byte, 0, maxHeaderSize)
	if n := testing.AllocsPerRun(100, func() {
		for i := range headerTests {
			test := &headerTests[i]
			b = appendHeader(b[:0], test.first, int(test.length&0x7fffffff), test.masked, headerKey)
			if _, _, err := parseHeader(b); err != nil {
				t.Error(err)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzHeader(f *testing.F) {
	for _, test := range headerTests {
		f.Add([]byte(test.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := parseHeader(b)
		switch {
		case err != nil:
			if err.Code != CloseProtocolError || err.Text == "" {
				t.Errorf("% x: error %+v", b, err)
			}
			return
		case n == 0:
			// Any further bytes make it whole or wrong.
			if h, n, err := parseHeader(append(slices.Clone(b), make([]byte, maxHeaderSize)...)); n == 0 && err == nil {
				t.Errorf("% x and zeros: %+v", b, h)
			}
			return
		case n > len(b) || n > maxHeaderSize:
			t.Fatalf("% x: header of %d bytes", b, n)
		}
		// There is one header for each value.
		if length := int(h.length); uint64(length) == h.length {
			if got := appendHeader(nil, b[0], length, h.masked, h.key); !bytes.Equal(got, b[:n]) {
				t.Errorf("% x is read as %+v, which is written % x", b[:n], h, got)
			}
		}
		for i := range n {
			if _, n, err := parseHeader(b[:i]); n != 0 || err != nil {
				t.Errorf("%d bytes of % x: %d, %v", i, b, n, err)
			}
		}
	})
}
