package mask

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

// checkXOR compares XOR with its definition, copying and in place, and checks the bytes around.
func checkXOR(t *testing.T, payload []byte, key [4]byte, pos, offset int) {
	t.Helper()
	const guard = 0xA5
	framed := func(p []byte) []byte {
		b := bytes.Repeat([]byte{guard}, offset+len(p)+8)
		copy(b[offset:], p)
		return b
	}
	want := make([]byte, len(payload))
	for i := range want {
		want[i] = payload[i] ^ key[(pos+i)%4] // RFC 6455 §5.3: octet i with key octet i modulo 4
	}
	end := offset + len(payload)

	src, dst := framed(payload), framed(nil)
	dst = append(dst, bytes.Repeat([]byte{guard}, len(payload))...)
	XOR(dst[offset:end], src[offset:end], keyOf(key).After(pos))
	if !bytes.Equal(src, framed(payload)) {
		t.Fatalf("length %d, pos %d, offset %d: source changed", len(payload), pos, offset)
	}
	if !bytes.Equal(dst, framed(want)) {
		t.Fatalf("length %d, pos %d, offset %d: wrong copy", len(payload), pos, offset)
	}
	XOR(src[offset:end], src[offset:end], keyOf(key).After(pos))
	if !bytes.Equal(src, framed(want)) {
		t.Fatalf("length %d, pos %d, offset %d: wrong in place", len(payload), pos, offset)
	}
}

// keyOf returns the masking key of four octets as they are sent.
func keyOf(octets [4]byte) Key { return Key(binary.LittleEndian.Uint32(octets[:])) }

func randomPayload(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return p
}

func TestXORDefinition(t *testing.T) {
	var lengths []int
	for n := range 301 {
		lengths = append(lengths, n)
	}
	for _, n := range []int{1024, longPayload, longPayload + 1024, 4 * longPayload} {
		for d := -9; d <= 9; d++ {
			lengths = append(lengths, n+d)
		}
	}
	key := [4]byte{0x37, 0xFA, 0x21, 0x3D}
	for _, n := range lengths {
		payload := randomPayload(n)
		for pos := range 4 {
			for offset := range 9 {
				checkXOR(t, payload, key, pos, offset)
			}
		}
	}
}

// The example of RFC 6455 §5.7: a masked text frame that holds "Hello".
func TestXORRFCExample(t *testing.T) {
	p := []byte("Hello")
	XOR(p, p, keyOf([4]byte{0x37, 0xFA, 0x21, 0x3D}))
	if want := []byte{0x7F, 0x9F, 0x4D, 0x51, 0x58}; !bytes.Equal(p, want) {
		t.Errorf("masked %x, want %x", p, want)
	}
}

// A payload masked in pieces is the payload masked at once.
func TestXORPieces(t *testing.T) {
	key := [4]byte{1, 2, 3, 4}
	payload := randomPayload(3 * longPayload)
	want := make([]byte, len(payload))
	XOR(want, payload, keyOf(key))
	for range 200 {
		got := bytes.Clone(payload)
		for pos := 0; pos < len(got); {
			n := min(1+rand.IntN(1<<rand.IntN(14)), len(got)-pos)
			XOR(got[pos:pos+n], got[pos:pos+n], keyOf(key).After(pos))
			pos += n
		}
		if !bytes.Equal(got, want) {
			t.Fatal("the result depends on the pieces")
		}
	}
}

func TestXORAllocatesNothing(t *testing.T) {
	p := make([]byte, 2*longPayload)
	for _, n := range []int{5, 500, len(p)} {
		if a := testing.AllocsPerRun(100, func() { XOR(p[:n], p[:n], 0x04030201) }); a != 0 {
			t.Errorf("%d bytes: %v allocations", n, a)
		}
	}
}

func FuzzXOR(f *testing.F) {
	f.Add([]byte("Hello"), uint32(0x3D21FA37), byte(0), byte(0))
	f.Add(randomPayload(100), uint32(1), byte(3), byte(1))
	f.Add(randomPayload(longPayload+5), uint32(1<<31), byte(2), byte(7))
	f.Fuzz(func(t *testing.T, payload []byte, k uint32, pos, offset byte) {
		var key [4]byte
		binary.LittleEndian.PutUint32(key[:], k)
		checkXOR(t, payload, key, int(pos), int(offset%16))
	})
}

// RFC 6455 §5.3, §10.3: keys are new and unpredictable. A batch handed to two goroutines, or used
// twice, gives many equal keys; chance gives about five among 200,000.
func TestNewKeyIsRandom(t *testing.T) {
	const goroutines, each = 8, 25_000
	keys := make([][]Key, goroutines)
	var wg sync.WaitGroup
	for g := range keys {
		wg.Go(func() {
			for range each {
				keys[g] = append(keys[g], NewKey())
			}
		})
	}
	wg.Wait()
	seen := make(map[Key]bool, goroutines*each)
	var equal, zero int
	var ones [32]int
	for _, some := range keys {
		for _, key := range some {
			if seen[key] {
				equal++
			}
			seen[key] = true
			if key == 0 {
				zero++
			}
			for i := range ones {
				ones[i] += int(key >> i & 1)
			}
		}
	}
	if equal > 40 || zero > 2 {
		t.Errorf("%d keys were handed out before, %d are zero", equal, zero)
	}
	for i, n := range ones { // ten standard deviations of 224
		if n < 100_000-2240 || n > 100_000+2240 {
			t.Errorf("bit %d is set in %d of 200000 keys", i, n)
		}
	}
}

func TestNewKeyErasesUsedBytes(t *testing.T) {
	for range 300 {
		NewKey()
		b := keyBatches.Get().(*keyBatch)
		if !bytes.Equal(b.random[:b.used], make([]byte, b.used)) {
			t.Fatal("a key that was handed out is still in memory")
		}
		keyBatches.Put(b)
	}
}

func TestNewKeyAllocatesNothing(t *testing.T) {
	if a := testing.AllocsPerRun(1000, func() { NewKey() }); a != 0 {
		t.Errorf("%v allocations per key", a)
	}
}

func BenchmarkXOR(b *testing.B) {
	key := [4]byte{1, 2, 3, 4}
	for _, n := range []int{5, 16, 64, 125, 512, 1024, 4095, 4096, 16384, 65536} {
		p, q := make([]byte, n), make([]byte, n)
		for _, how := range []struct {
			name string
			f    func()
		}{
			{"place", func() { XOR(p, p, keyOf(key).After(1)) }},
			{"copy", func() { XOR(q, p, keyOf(key).After(1)) }},
			{"words", func() { xorByWords(p, key, 1) }},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, how.name), func(b *testing.B) {
				b.SetBytes(int64(n))
				for b.Loop() {
					how.f()
				}
			})
		}
	}
}

// xorByWords is the usual loop, for comparison: a word at a time, the rest by bytes.
func xorByWords(p []byte, key [4]byte, pos int) {
	var k [8]byte
	for i := range k {
		k[i] = key[(pos+i)&3]
	}
	word := binary.LittleEndian.Uint64(k[:])
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= k[i]
	}
}

func BenchmarkNewKey(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			NewKey()
		}
	})
}
