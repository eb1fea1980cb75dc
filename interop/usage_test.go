package interop

// What the process holds: goroutines, file descriptors and memory, to be compared before and after.

import (
	"os"
	"runtime"
	"testing"
	"time"
)

type usage struct {
	goroutines, descriptors int
	heap, reserved          uint64 // bytes in use; bytes that were ever in use at the same time
}

func measure(t testing.TB) usage {
	t.Helper()
	runtime.GC()
	runtime.GC() // what a sync.Pool held survives the first one
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), len(entries), m.HeapAlloc, m.HeapSys}
}

// expectBack waits until the process holds no more than before, but for slack bytes of memory, and
// checks that it never held more than peak bytes above that.
func (before usage) expectBack(t testing.TB, slack, peak uint64) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for {
		now := measure(t)
		if now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.heap <= before.heap+slack {
			if grown := now.reserved - min(before.reserved, now.reserved); grown > peak {
				t.Errorf("the heap grew by %d MiB, want at most %d MiB", grown>>20, peak>>20)
			}
			t.Logf("before %+v, after %+v", before, now)
			return
		}
		select {
		case <-tick.C:
		case <-end:
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("before %+v, after %+v\n%s", before, now, stacks)
		}
	}
}
