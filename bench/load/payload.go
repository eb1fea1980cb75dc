package load

// Payloads are made from a fixed seed, so two runs send the same bytes.

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Kind names what a scenario sends.
type Kind string

const (
	Binary    Kind = "binary"
	ASCII     Kind = "ASCII text"
	Multibyte Kind = "multi-byte text"
	JSON      Kind = "JSON"
)

func (k Kind) opcode() byte {
	if k == Binary {
		return opBinary
	}
	return opText
}

// payload returns the message of the given number, exactly size bytes long.
func (k Kind) payload(size, number int) []byte {
	rng := rand.New(rand.NewPCG(uint64(number), 6455))
	switch k {
	case ASCII:
		return fill(size, rng, "the quick brown fox jumps over the lazy dog, 0123456789 times. ")
	case Multibyte:
		return fill(size, rng, "Съешь же ещё этих мягких булок 春眠不覺曉，處處聞啼鳥。いろはにほへと ちりぬるを 키스의 고유조건은 ")
	case JSON:
		return trades(size, number)
	}
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// fill repeats text from a random rune on and pads the end, where a rune may not fit, with full
// stops.
func fill(size int, rng *rand.Rand, text string) []byte {
	runes := []rune(text)
	p := make([]byte, 0, size)
	for i := rng.IntN(len(runes)); ; i++ {
		s := string(runes[i%len(runes)])
		if len(p)+len(s) > size {
			break
		}
		p = append(p, s...)
	}
	return append(p, strings.Repeat(".", size-len(p))...)
}

// trades is a page of a market feed: the same fields and names in every message, about one figure
// in eight changed since the message before.
func trades(size, number int) []byte {
	var b strings.Builder
	b.WriteString(`{"channel":"trades","items":[`)
	for row := 0; b.Len() < size-140; row++ {
		if row > 0 {
			b.WriteByte(',')
		}
		age := (number + row) / 8
		rng := rand.New(rand.NewPCG(uint64(row), uint64(age)))
		fmt.Fprintf(&b, `{"symbol":"SYM-%03d","price":%d.%02d,"quantity":%d,"side":"%s","venue":"XNAS"}`,
			row, 10+rng.IntN(990), rng.IntN(100), 1+rng.IntN(5000), [...]string{"buy", "sell"}[rng.IntN(2)])
	}
	b.WriteString(`],"more":"`)
	pad := size - b.Len() - len(`"}`)
	b.WriteString(strings.Repeat("-", pad))
	b.WriteString(`"}`)
	return []byte(b.String())
}
