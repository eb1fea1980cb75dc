package websocket

import (
	"math"
	"testing"
)

// The memory that a message gets grows by what has come, and never wraps around.
func TestNextSize(t *testing.T) {
	for _, test := range []struct {
		remaining  uint64
		compressed bool
		n, want    uint64
	}{
		{1 << 19, false, 64 << 10, 64<<10 + 1<<19},
		{1 << 30, false, 64 << 10, 1 << 20},
		{1 << 30, true, 64 << 10, 128 << 10},
		{3 << 30, false, 256 << 20, 256<<20 + 3<<30},
		{3 << 30, false, math.MaxInt32, math.MaxInt32 + 3<<30},
		{0, true, math.MaxInt32, 2 * math.MaxInt32},
	} {
		c := &Conn{remaining: test.remaining, compressed: test.compressed}
		if want := int(min(test.want, math.MaxInt)); c.nextSize(int(test.n)) != want {
			t.Errorf("%+v: %d, want %d", test, c.nextSize(int(test.n)), want)
		}
	}
}
