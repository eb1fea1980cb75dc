//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"os"
	"syscall"
)

// A Set is a set of descriptors, in a kqueue. Add may be called at any time, Serve and Check
// by one goroutine at a time.
type Set struct {
	fd  int
	raw []syscall.Kevent_t
	n   int
}

// Open returns an empty Set that reports up to size events at a time.
func Open(size int) (*Set, error) {
	fd, err := syscall.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	syscall.CloseOnExec(fd)
	return &Set{fd: fd, raw: make([]syscall.Kevent_t, size)}, nil
}

// Close closes the Set. Nobody must be in Serve.
func (s *Set) Close() error { return os.NewSyscallError("close", syscall.Close(s.fd)) }

// Add has the Set report fd. The descriptor leaves the Set when the socket is closed.
func (s *Set) Add(fd int) error {
	var change [1]syscall.Kevent_t
	syscall.SetKevent(&change[0], fd, syscall.EVFILT_READ, syscall.EV_ADD|syscall.EV_CLEAR)
	_, err := syscall.Kevent(s.fd, change[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

// Serve calls f with the number of events whenever there are some, until f returns false. A call of
// f that does not return may be replaced by another Serve. A kqueue is not handed to the poller of
// the Go runtime, which would have to wait for one kqueue in another: a thread waits instead.
func (s *Set) Serve(f func(n int) bool) {
	for s.wait(nil) == 0 || f(s.n) {
	}
}

// Check returns the number of events that there are now.
func (s *Set) Check() (n int) { return s.wait(new(syscall.Timespec)) }

func (s *Set) wait(timeout *syscall.Timespec) (n int) {
	n, _ = syscall.Kevent(s.fd, nil, s.raw, timeout) // EINTR is the only error
	s.n = max(n, 0)
	return s.n
}

// Event returns the event i of those that Serve or Check counted last.
func (s *Set) Event(i int) Event {
	return Event{FD: int(s.raw[i].Ident), End: s.raw[i].Flags&(syscall.EV_EOF|syscall.EV_ERROR) != 0}
}
