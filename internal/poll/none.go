//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package poll

// A Set cannot be had on this system.
type Set struct{}

// Open returns ErrUnsupported.
func Open(size int) (*Set, error) { return nil, ErrUnsupported }

func (*Set) Close() error           { return ErrUnsupported }
func (*Set) Add(fd int) error       { return ErrUnsupported }
func (*Set) Serve(func(n int) bool) {}
func (*Set) Check() int             { return 0 }
func (*Set) Event(i int) Event      { return Event{} }
