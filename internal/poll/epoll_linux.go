package poll

import (
	"os"
	"syscall"
	"time"
)

// A Set is a set of descriptors, in an epoll instance. Add may be called at any time, Wait and
// Check by one goroutine at a time.
type Set struct {
	file *os.File // the epoll descriptor, for the poller of the Go runtime
	rc   syscall.RawConn
	fd   int
	raw  []syscall.EpollEvent
	n    int
	ask  func(fd uintptr) bool
}

// Open returns an empty Set that reports up to size events at a time.
func Open(size int) (*Set, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	// An epoll descriptor can be waited for like any other: the goroutine in Wait is parked, and no
	// thread waits for it.
	s := &Set{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, raw: make([]syscall.EpollEvent, size)}
	if s.rc, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	// The runtime may have refused it, and Wait would fail.
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		s.file.Close()
		return nil, err
	}
	s.ask = func(uintptr) bool { s.askNow(); return s.n != 0 }
	return s, nil
}

// Close closes the Set. It must not be waiting.
func (s *Set) Close() error { return s.file.Close() }

// Add has the Set report fd. The descriptor leaves the Set when the socket is closed.
func (s *Set) Add(fd int) error {
	const epollET = 1 << 31
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLRDHUP | epollET, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(s.fd, syscall.EPOLL_CTL_ADD, fd, &ev))
}

// Wait waits until there are events and returns their number.
func (s *Set) Wait() (n int, err error) {
	if err := s.rc.Read(s.ask); err != nil {
		return 0, err
	}
	return s.n, nil
}

// Check returns the number of events that there are now.
func (s *Set) Check() (n int) {
	s.askNow()
	return s.n
}

func (s *Set) askNow() {
	for {
		n, err := syscall.EpollWait(s.fd, s.raw, 0)
		if err != syscall.EINTR {
			s.n = max(n, 0)
			return
		}
	}
}

// Event returns the event i of the last Wait or Check.
func (s *Set) Event(i int) Event {
	e := s.raw[i]
	return Event{FD: int(e.Fd), End: e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0}
}
