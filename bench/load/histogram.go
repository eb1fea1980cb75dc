package load

// Latencies are counted in buckets that grow with them, 32 to every power of two: a count costs a
// few instructions and no memory, and a quantile is right within 2 %.

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits   = 5 // a bucket's width is at most 1/32 of what it counts
	subCount  = 1 << subBits
	maxShift  = 64 - subBits - 1
	bucketsOf = (maxShift + 2) * subCount
)

// Histogram counts durations. The zero value is empty.
type Histogram struct {
	counts [bucketsOf]uint32
	total  int
}

// Add counts d as often as times says.
func (h *Histogram) Add(d time.Duration, times int) {
	h.counts[bucket(max(d, 0))] += uint32(times)
	h.total += times
}

// Quantile returns the duration that the share q of all counted does not exceed, zero if there are
// none.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := max(1, int(math.Ceil(q*float64(h.total))))
	seen := 0
	for i, n := range h.counts {
		if seen += int(n); seen >= rank {
			return middle(i)
		}
	}
	return 0
}

// bucket returns the index for d: its leading bits, after those of the power of two.
func bucket(d time.Duration) int {
	shift := max(0, bits.Len64(uint64(d))-subBits-1)
	return shift<<subBits + int(uint64(d)>>shift)
}

// middle returns the duration in the middle of a bucket.
func middle(bucket int) time.Duration {
	shift := max(0, bucket>>subBits-1)
	lower := uint64(bucket-shift<<subBits) << shift
	return time.Duration(lower + 1<<shift/2)
}
