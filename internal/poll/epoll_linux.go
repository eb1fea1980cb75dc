package poll

import (
	"os"
	"runtime"
	"syscall"
	"time"
)

// A Set is a set of descriptors, in an epoll instance. Add may be called at any time, Serve and
// Check by one goroutine at a time.
type Set struct {
	fd  int
	raw []syscall.EpollEvent
	n   int
}

// Open returns an empty Set that reports up to size events at a time.
func Open(size int) (*Set, error) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &Set{fd: fd, raw: make([]syscall.EpollEvent, size)}, nil
}

// Close closes the Set. Nobody must be in Serve.
func (s *Set) Close() error { return os.NewSyscallError("close", syscall.Close(s.fd)) }

// Add has the Set report fd. The descriptor leaves the Set when the socket is closed.
func (s *Set) Add(fd int) error {
	const epollET = 1 << 31
	const events = syscall.EPOLLIN | syscall.EPOLLPRI | syscall.EPOLLRDHUP | epollET
	ev := syscall.EpollEvent{Events: events, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(s.fd, syscall.EPOLL_CTL_ADD, fd, &ev))
}

// Serve calls f with the number of events whenever there are some, until f returns false. A call of
// f that does not return may be replaced by another Serve.
func (s *Set) Serve(f func(n int) bool) {
	file, rc, err := s.openReader()
	for err != nil {
		// There are too many descriptors, for now.
		time.Sleep(time.Millisecond)
		if s.Check() > 0 && !f(s.n) {
			return
		}
		file, rc, err = s.openReader()
	}
	defer file.Close()
	// Between two calls the goroutine parks although there may be events already. If it ran on,
	// nothing but a timer would have the Go runtime poll for others, and after 10 ms the runtime
	// would take its processor away: 64 B to 100 connections cost 1.25 times the CPU, and p99 was
	// 1.7 times as long.
	rc.Read(func(uintptr) bool {
		for s.Check() > 0 {
			if !f(s.n) {
				return true
			}
			if s.n < len(s.raw) {
				break // none was left, and the runtime learns of what has come since
			}
			runtime.Gosched()
		}
		return false
	})
}

// openReader returns the Set as a file of its own. An epoll descriptor can be waited for like any
// other: a goroutine is parked, and no thread waits.
func (s *Set) openReader() (*os.File, syscall.RawConn, error) {
	fd, err := syscall.Dup(s.fd)
	if err != nil {
		return nil, nil, os.NewSyscallError("dup", err)
	}
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		syscall.Close(fd)
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "epoll")
	// The runtime may have refused it.
	if err := file.SetReadDeadline(time.Time{}); err != nil {
		file.Close()
		return nil, nil, err
	}
	rc, err := file.SyscallConn()
	return file, rc, err
}

// Check returns the number of events that there are now.
func (s *Set) Check() (n int) {
	for {
		n, err := syscall.EpollWait(s.fd, s.raw, 0)
		if err != syscall.EINTR {
			s.n = max(n, 0)
			return s.n
		}
	}
}

// Event returns the event i of those that Serve or Check counted last.
func (s *Set) Event(i int) Event {
	const end = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	e := s.raw[i]
	// A read stops short at urgent data though more is there.
	return Event{FD: int(e.Fd), End: e.Events&(end|syscall.EPOLLPRI) != 0}
}
