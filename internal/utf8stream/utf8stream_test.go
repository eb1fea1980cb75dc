package utf8stream

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// Each row is validated alone, cut in two and three anywhere, and behind and before other text. bad
// is the index of the first byte that cannot be right, -1 if there is none.
var rows = []struct {
	name, text string
	bad        int
	cut        bool
}{
	{"empty", "", -1, false},
	{"ASCII", "a\x00\x7f", -1, false},
	{"U+0080, the first of two bytes", "\xc2\x80", -1, false},
	{"U+07FF, the last of two bytes", "\xdf\xbf", -1, false},
	{"U+0800, the first of three bytes", "\xe0\xa0\x80", -1, false},
	{"U+0FFF", "\xe0\xbf\xbf", -1, false},
	{"U+1000", "\xe1\x80\x80", -1, false},
	{"U+CFFF", "\xec\xbf\xbf", -1, false},
	{"U+D000", "\xed\x80\x80", -1, false},
	{"U+D7FF, the last before the surrogates", "\xed\x9f\xbf", -1, false},
	{"U+E000, the first after the surrogates", "\xee\x80\x80", -1, false},
	{"U+FEFF, a byte order mark", "\xef\xbb\xbf", -1, false},
	{"U+FFFD, the replacement character", "\xef\xbf\xbd", -1, false},
	{"U+FFFF, a noncharacter", "\xef\xbf\xbf", -1, false},
	{"U+10000, the first of four bytes", "\xf0\x90\x80\x80", -1, false},
	{"U+3FFFF", "\xf0\xbf\xbf\xbf", -1, false},
	{"U+40000", "\xf1\x80\x80\x80", -1, false},
	{"U+FFFFF", "\xf3\xbf\xbf\xbf", -1, false},
	{"U+100000", "\xf4\x80\x80\x80", -1, false},
	{"U+10FFFF, the last of all", "\xf4\x8f\xbf\xbf", -1, false},
	{"neighbours of every length", "aé日😀é日a😀日é😀a", -1, false},

	{"cut after one byte of two", "a\xc2", -1, true},
	{"cut after one byte of three", "a\xe0", -1, true},
	{"cut after two bytes of three", "a\xe0\xa0", -1, true},
	{"cut after one byte of four", "a\xf4", -1, true},
	{"cut after two bytes of four", "a\xf4\x8f", -1, true},
	{"cut after three bytes of four", "a\xf4\x8f\xbf", -1, true},

	{"first continuation byte", "a\x80", 1, false},
	{"last continuation byte", "a\xbf", 1, false},
	{"continuation after two bytes", "\xc2\x80\x80", 2, false},
	{"continuation after three bytes", "\xe1\x80\x80\x80", 3, false},
	{"continuation after four bytes", "\xf1\x80\x80\x80\x80", 4, false},
	{"overlong: C0", "a\xc0\x80", 1, false},
	{"overlong: C1", "a\xc1\xbf", 1, false},
	{"overlong: C0 at the end", "a\xc0", 1, false},
	{"overlong: E0 80", "\xe0\x80\x80", 1, false},
	{"overlong: E0 9F", "\xe0\x9f\xbf", 1, false},
	{"overlong: F0 80", "\xf0\x80\x80\x80", 1, false},
	{"overlong: F0 8F", "\xf0\x8f\xbf\xbf", 1, false},
	{"surrogate: U+D800", "\xed\xa0\x80", 1, false},
	{"surrogate: U+DFFF", "\xed\xbf\xbf", 1, false},
	{"surrogate pair", "\xed\xa0\xbd\xed\xb8\x80", 1, false},
	{"U+110000", "\xf4\x90\x80\x80", 1, false},
	{"U+13FFFF", "\xf4\xbf\xbf\xbf", 1, false},
	{"F5", "a\xf5\x80\x80\x80", 1, false},
	{"F7", "a\xf7\xbf\xbf\xbf", 1, false},
	{"F8, five bytes", "a\xf8\x88\x80\x80\x80", 1, false},
	{"FC, six bytes", "a\xfc\x84\x80\x80\x80\x80", 1, false},
	{"FE", "a\xfe", 1, false},
	{"FF", "a\xff", 1, false},
	{"two bytes, second is ASCII", "\xc2a", 1, false},
	{"two bytes, second is a lead", "\xc2\xc2\x80", 1, false},
	{"three bytes, second is ASCII", "\xe1a\x80", 1, false},
	{"three bytes, third is ASCII", "\xe1\x80a", 2, false},
	{"three bytes, third is a lead", "\xe1\x80\xe1\x80\x80", 2, false},
	{"four bytes, second is a lead", "\xf1\xf1\x80\x80\x80", 1, false},
	{"four bytes, third is ASCII", "\xf1\x80a\x80", 2, false},
	{"four bytes, fourth is ASCII", "\xf1\x80\x80a", 3, false},
	{"four bytes, fourth is a lead", "\xf1\x80\x80\xc2\x80", 3, false},
}

// Unicode table 3-7, and RFC 6455 §8.1: the text fails at the first byte that cannot be right.
func TestValidatorTable(t *testing.T) {
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if valid := row.bad < 0 && !row.cut; utf8.ValidString(row.text) != valid {
				t.Fatal("the row is wrong: utf8.Valid says otherwise")
			}
			var v Validator
			bad := -1
			for i := range len(row.text) {
				if !v.Write([]byte{row.text[i]}) {
					bad = i
					break
				}
			}
			if bad != row.bad {
				t.Errorf("byte by byte: first bad byte at %d, want %d", bad, row.bad)
			}
			if bad < 0 && v.Complete() == row.cut {
				t.Errorf("Complete() = %v, want %v", v.Complete(), !row.cut)
			}
			befores := []string{"", "é", "日本語", strings.Repeat("x", 61), strings.Repeat("😀", 16)}
			afters := []string{"", strings.Repeat("y", 70), strings.Repeat("語", 30)}
			for _, before := range befores {
				for _, after := range afters {
					if row.cut && after != "" {
						continue
					}
					checkCuts(t, before+row.text+after)
				}
			}
		})
	}
}

// checkCuts feeds text in two pieces, and in three of which the second is short.
func checkCuts(t *testing.T, text string) {
	t.Helper()
	for i := range len(text) + 1 {
		for n := range 5 {
			j := min(i+n, len(text))
			checkChunks(t, text[:i], text[i:j], text[j:])
		}
	}
}

// checkChunks compares every write with what may begin a valid text.
func checkChunks(t *testing.T, chunks ...string) {
	t.Helper()
	var v Validator
	var sofar string
	for _, c := range chunks {
		sofar += c
		ok := v.Write([]byte(c))
		if want := mayBegin(sofar); ok != want {
			t.Fatalf("%q: Write = %v, want %v", chunks, ok, want)
		}
		if !ok {
			return
		}
		if v.Complete() != utf8.ValidString(sofar) {
			t.Fatalf("%q after %q: Complete() = %v", chunks, sofar, v.Complete())
		}
	}
}

// mayBegin reports whether some valid text begins with s.
func mayBegin(s string) bool {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRuneInString(s)
		}
		s = s[n:]
	}
	return true
}

// Every three bytes that do not begin with ASCII, byte by byte.
func TestValidatorEveryTriple(t *testing.T) {
	var p [3]byte
	for n := 0x800000; n <= 0xFFFFFF; n++ {
		p[0], p[1], p[2] = byte(n>>16), byte(n>>8), byte(n)
		var v Validator
		ok := v.step(p[0]) && v.step(p[1]) && v.step(p[2]) && v.Complete()
		if ok != utf8.Valid(p[:]) {
			t.Fatalf("% x: %v", p, ok)
		}
	}
}

// textAround returns text of 64+40 bytes with a hole of size bytes at offset: two blocks, one of
// them padded. The text is of characters of len(char) bytes, with ASCII where they do not fit.
func textAround(char string, offset, size int) []byte {
	fill := func(n int) string {
		return strings.Repeat(char, n/len(char)) + strings.Repeat(".", n%len(char))
	}
	return []byte(fill(offset) + strings.Repeat("\x00", size) + fill(blockSize+40-offset-size))
}

func checkBlocks(t *testing.T, p []byte) {
	if got, want := validBlocks(p), utf8.Valid(p); got != want {
		t.Fatalf("%q: %v, want %v", p, got, want)
	}
}

// Every two bytes that do not begin with ASCII, at every place of a block and across its end. The
// characters around are whole, so the text is valid if the two bytes are.
func TestValidBlocksEveryPair(t *testing.T) {
	for offset := range blockSize + 2 {
		p := textAround([]string{".", "日", "é", "😀"}[offset/4%4], offset, 2)
		hole := p[offset : offset+2]
		for first := 0x80; first <= 0xFF; first++ {
			// A second byte's low bits say nothing, unless it is a lead: then they take turns.
			for second := offset % 4; second <= 0xFF; second += 4 {
				hole[0], hole[1] = byte(first), byte(second)
				if got, want := validBlocks(p), utf8.Valid(hole); got != want {
					t.Fatalf("% x at %d: %v, want %v", hole, offset, got, want)
				}
			}
		}
	}
}

// Every lead with every second byte, then bytes of every kind, at places that take turns.
func TestValidBlocksLongSequences(t *testing.T) {
	chars := [...]string{".", "é", "日", "😀", "."}
	var texts [len(chars) * (blockSize + 2)][]byte
	for i := range texts {
		texts[i] = textAround(chars[i%len(chars)], i%(blockSize+2), 4)
	}
	turn := 0
	for n := 0xC000; n <= 0xFFFF; n++ {
		for _, third := range []byte{0x7F, 0x80, 0xBF, 0xC2, 0xE0, 0xF0} {
			for _, fourth := range []byte{'.', 0x80, 0xBF, 0xC2} {
				i := turn % len(texts)
				turn += 7
				hole := texts[i][i%(blockSize+2):][:4]
				copy(hole, []byte{byte(n >> 8), byte(n), third, fourth})
				if got, want := validBlocks(texts[i]), utf8.Valid(hole); got != want {
					t.Fatalf("% x at %d: %v, want %v", hole, i%(blockSize+2), got, want)
				}
			}
		}
	}
}

// A sequence cut by the end of a block: what it lacks must come first in the next, if there is one.
func TestValidBlocksCutByBlock(t *testing.T) {
	for _, char := range []string{"é", "日", "😀"} {
		for n := 1; n < len(char); n++ {
			first, rest := strings.Repeat(".", blockSize-n)+char[:n], char[n:]
			for _, dots := range []int{0, 1, 7, 8, 39, 40, blockSize, 2 * blockSize} {
				more := strings.Repeat(".", dots)
				checkBlocks(t, []byte(first+more))
				checkBlocks(t, []byte(first+more+rest))
				checkBlocks(t, []byte(first+rest+more))
				checkBlocks(t, []byte(first+rest[1:]+more))
				checkChunks(t, first+more, rest)
			}
		}
	}
}

// Every code point in turn, and the same text with one bit flipped.
func TestValidatorEveryRune(t *testing.T) {
	var all []byte
	for r := range rune(utf8.MaxRune + 1) {
		if utf8.ValidRune(r) {
			all = utf8.AppendRune(all, r)
		}
	}
	var v Validator
	if !v.Write(all) || !v.Complete() {
		t.Fatal("valid text refused")
	}
	for range 20_000 {
		i := rand.IntN(len(all) - 300)
		p := all[i : i+300]
		for !utf8.RuneStart(p[0]) {
			p = p[1:]
		}
		p = p[:len(p)-cutLength(p)]
		checkBlocks(t, p)
		bit := rand.IntN(8 * len(p))
		p[bit/8] ^= 1 << (bit % 8)
		checkBlocks(t, p)
		p[bit/8] ^= 1 << (bit % 8)
	}
}

// Damaged text of every script in random chunks.
func TestValidatorRandomChunks(t *testing.T) {
	for range 20_000 {
		p := sampleText(sampleTexts[rand.IntN(len(sampleTexts))].text, 1+rand.IntN(400))
		for range rand.IntN(3) {
			p[rand.IntN(len(p))] = byte(rand.Uint32())
		}
		checkChunks(t, randomChunks(string(p), rand.Uint64())...)
	}
}

func randomChunks(s string, seed uint64) (chunks []string) {
	r := rand.New(rand.NewPCG(seed, 0))
	for len(s) > 0 {
		n := min(r.IntN(2<<r.IntN(9)), len(s))
		chunks = append(chunks, s[:n])
		s = s[n:]
	}
	return chunks
}

func TestValidatorIsSmall(t *testing.T) {
	if n := reflect.TypeFor[Validator]().Size(); n > 8 {
		t.Errorf("%d bytes in every connection, want at most 8", n)
	}
	p := sampleText("日本語", 1000)
	if a := testing.AllocsPerRun(100, func() {
		var v Validator
		v.Write(p)
	}); a != 0 {
		t.Errorf("%v allocations", a)
	}
}

func FuzzValidator(f *testing.F) {
	for i, row := range rows {
		f.Add([]byte(row.text), uint64(i))
		f.Add([]byte(strings.Repeat("é", 31)+row.text+strings.Repeat("語", 20)), uint64(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		checkBlocks(t, data)
		checkChunks(t, string(data))
		checkChunks(t, randomChunks(string(data), seed)...)
	})
}

var sampleTexts = []struct{ name, text string }{
	{"ascii", `{"type":"message","id":12345,"body":"the quick brown fox jumps over the lazy dog"}`},
	{"latin", "Le cœur déçu mais l'âme plutôt naïve, " +
		"Louÿs rêva de crapaüter en canoë au delà des îles. "},
	{"cyrillic", "Съешь же ещё этих мягких французских булок, да выпей чаю. "},
	{"greek", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία, και γαζέες μυρτιές δεν θα βρω. "},
	{"cjk", "我能吞下玻璃而不伤身体。天地玄黄，宇宙洪荒；日月盈昃，辰宿列张。"},
	{"hangul", "키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. "},
	{"thai", "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน "},
	{"emoji", "😀😁😂🤣😃🙏👍🚀🎉😅😆😉"},
	{"mixed", "naïve text, русский, 日本語, 한국어, ไทย, 😀 and plain words; "},
}

// sampleText returns n bytes of valid text.
func sampleText(text string, n int) []byte {
	p := []byte(strings.Repeat(text, n/len(text)+1))[:n]
	k := cutLength(p)
	return append(p[:n-k], "..."[:k]...)
}

func BenchmarkValidator(b *testing.B) {
	for _, s := range sampleTexts {
		for _, n := range []int{16, 64, 4096, 65536} {
			p := sampleText(s.text, n)
			b.Run(fmt.Sprintf("%s-%d/Validator", s.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					var v Validator
					if !v.Write(p) || !v.Complete() {
						b.Fatal("valid text refused")
					}
				}
			})
			b.Run(fmt.Sprintf("%s-%d/utf8.Valid", s.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					if !utf8.Valid(p) {
						b.Fatal("valid text refused")
					}
				}
			})
		}
	}
}
