package load

// One thread, one epoll instance, edge-triggered: the cheapest client this side of the kernel,
// which is what keeps it from being the bottleneck.

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// stall is how long the server may answer nothing at all before a measurement fails.
const stall = 10 * time.Second

var errStalled = errors.New("the server stopped answering")

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

type poller struct {
	fd     int
	events []unix.EpollEvent
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	return &poller{fd: fd, events: make([]unix.EpollEvent, 256)}, nil
}

// add watches fd, a non-blocking socket; index comes back with its events.
func (p *poller) add(fd, index int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(index)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wait calls ready with the index of every socket that has become readable or writable.
func (p *poller) wait(ready func(index int) error) error {
	n, err := unix.EpollWait(p.fd, p.events, int(stall.Milliseconds()))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll_wait: %w", err)
	}
	if n == 0 {
		return errStalled
	}
	for _, e := range p.events[:n] {
		if err := ready(int(e.Fd)); err != nil {
			return err
		}
	}
	return nil
}

func (p *poller) close() { unix.Close(p.fd) }

// write writes what the socket takes and returns the rest.
func write(fd int, p []byte) (rest []byte, err error) {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EAGAIN {
			return p, nil
		}
		if err != nil {
			return p, fmt.Errorf("write: %w", err)
		}
		p = p[n:]
	}
	return nil, nil
}
