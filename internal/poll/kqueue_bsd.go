//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"os"
	"syscall"
)

// A Set is a set of descriptors, in a kqueue. Add may be called at any time, Wait and Check by one
// goroutine at a time.
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

// Close closes the Set. It must not be waiting.
func (s *Set) Close() error { return os.NewSyscallError("close", syscall.Close(s.fd)) }

// Add has the Set report fd. The descriptor leaves the Set when the socket is closed.
func (s *Set) Add(fd int) error {
	var change [1]syscall.Kevent_t
	syscall.SetKevent(&change[0], fd, syscall.EVFILT_READ, syscall.EV_ADD|syscall.EV_CLEAR)
	_, err := syscall.Kevent(s.fd, change[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

// Wait waits until there are events and returns their number. A kqueue is not handed to the poller
// of the Go runtime, which would have to wait for one kqueue in another: a thread waits instead.
func (s *Set) Wait() (n int, err error) { return s.wait(nil) }

// Check returns the number of events that there are now.
func (s *Set) Check() (n int) {
	n, _ = s.wait(new(syscall.Timespec))
	return n
}

func (s *Set) wait(timeout *syscall.Timespec) (int, error) {
	for {
		n, err := syscall.Kevent(s.fd, nil, s.raw, timeout)
		if err == syscall.EINTR {
			continue
		}
		s.n = max(n, 0)
		return s.n, os.NewSyscallError("kevent", err)
	}
}

// Event returns the event i of the last Wait or Check.
func (s *Set) Event(i int) Event {
	return Event{FD: int(s.raw[i].Ident), End: s.raw[i].Flags&(syscall.EV_EOF|syscall.EV_ERROR) != 0}
}
