package load

import (
	"math"
	"testing"
	"time"
)

func TestHistogramIsRightWithinTwoPercent(t *testing.T) {
	for d := time.Duration(0); d < time.Hour; d += 1 + d/7 {
		var h Histogram
		h.Add(d, 1)
		if got := h.Quantile(0.5); math.Abs(float64(got-d)) > 0.02*float64(d) {
			t.Errorf("%d was counted as %d", d, got)
		}
	}
	var h Histogram
	h.Add(-1, 1)
	h.Add(math.MaxInt64, 1)
	if h.Quantile(0.5) != 0 || h.Quantile(1) < math.MaxInt64/100*98 {
		t.Errorf("the ends were counted as %d and %d", h.Quantile(0.5), h.Quantile(1))
	}
}

func TestQuantiles(t *testing.T) {
	var h Histogram
	if got := h.Quantile(0.99); got != 0 {
		t.Errorf("nothing counted, and p99 is %v", got)
	}
	h.Add(10, 989)
	h.Add(20, 10)
	h.Add(30, 1)
	for q, want := range map[float64]time.Duration{0.5: 10, 0.989: 10, 0.99: 20, 0.999: 20, 1: 30} {
		if got := h.Quantile(q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
}
