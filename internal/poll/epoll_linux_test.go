package poll

import (
	"syscall"
	"testing"
)

// A process that has as many descriptors as it may is served still.
func TestServeWithoutDescriptor(t *testing.T) {
	s := open(t)
	_, b, fd := pair(t)
	if err := s.Add(fd); err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.openReader(); err == nil {
		t.Fatal("there is a descriptor left")
	}
	stop := make(chan bool)
	events := serve(s, stop)
	b.Write([]byte("x"))
	if e := <-events; e.FD != fd {
		t.Errorf("event %+v, want descriptor %d", e, fd)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.Write([]byte("x"))
		<-events
	}
	close(stop)
	b.Write([]byte("x"))
}
