package websocket

import (
	"math"
	"testing"
)

// The memory that a message gets grows by what has come, and never wraps around.
func TestNextSize(t *testing.T) {
	for _, test := range []struct{ remaining, n, want uint64 }{
		{1 << 19, 64 << 10, 64<<10 + 1<<19},
		{1 << 30, 64 << 10, 1 << 20},
		{3 << 30, 256 << 20, 256<<20 + 3<<30},
		{3 << 30, math.MaxInt32, math.MaxInt32 + 3<<30},
	} {
		r := &readHalf{frame: currentFrame{remaining: test.remaining}}
		if want := int(min(test.want, math.MaxInt)); r.nextSize(int(test.n)) != want {
			t.Errorf("%+v: %d, want %d", test, r.nextSize(int(test.n)), want)
		}
	}
}
