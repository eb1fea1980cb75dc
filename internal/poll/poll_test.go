//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package poll

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// pair returns the two ends of a connection, and the descriptor of the first.
func pair(t *testing.T) (a, b *net.UnixConn, fd int) {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	a, b = c.(*net.UnixConn), s.(*net.UnixConn)
	rc, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(p uintptr) { fd = int(p) })
	return a, b, fd
}

func open(t *testing.T) *Set {
	t.Helper()
	s, err := Open(4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// serve returns the events that Serve reports, which ends when stop is closed and one more comes.
func serve(s *Set, stop chan bool) (events chan Event) {
	events = make(chan Event)
	go s.Serve(func(n int) bool {
		for i := range n {
			select {
			case events <- s.Event(i):
			case <-stop:
				return false
			}
		}
		return true
	})
	return events
}

func TestSet(t *testing.T) {
	s := open(t)
	a, b, fd := pair(t)
	if err := s.Add(fd); err != nil {
		t.Fatal(err)
	}
	if n := s.Check(); n != 0 {
		t.Fatalf("%d events of a silent socket", n)
	}
	want := func(end bool) {
		t.Helper()
		if n := s.Check(); n != 1 {
			t.Fatalf("%d events", n)
		}
		if e := s.Event(0); e.FD != fd || e.End != end {
			t.Fatalf("event %+v, want descriptor %d, end %v", e, fd, end)
		}
		if n := s.Check(); n != 0 {
			t.Fatalf("%d more events", n)
		}
	}
	for range 3 { // every arrival is an event, though nothing is read
		b.Write([]byte("x"))
		want(false)
	}
	b.CloseWrite()
	want(true)
	a.Close() // which takes the descriptor out of the set
	b.Close()
	if n := s.Check(); n != 0 {
		t.Errorf("%d events of a closed socket", n)
	}
}

// Serve reports what was there before, what comes while it waits, and more sockets than fit into
// one batch.
func TestServe(t *testing.T) {
	s := open(t)
	const sockets = 10
	var fds []int
	add := func(write bool) (b *net.UnixConn) {
		_, b, fd := pair(t)
		if err := s.Add(fd); err != nil {
			t.Fatal(err)
		}
		if write {
			b.Write([]byte("x"))
		}
		fds = append(fds, fd)
		return b
	}
	for range sockets {
		add(true)
	}
	stop := make(chan bool)
	events := serve(s, stop)
	want := func() {
		t.Helper()
		seen := map[int]bool{}
		for range fds {
			seen[(<-events).FD] = true
		}
		for _, fd := range fds {
			if !seen[fd] {
				t.Errorf("no event of descriptor %d", fd)
			}
		}
		fds = nil
	}
	want()
	for range sockets {
		add(true)
		want()
	}
	last := add(false)
	close(stop)
	last.Write([]byte("x")) // for which nobody waits
}

// When a call of Serve's function does not return, another Serve takes over.
func TestServeAgain(t *testing.T) {
	s := open(t)
	_, b, fd := pair(t)
	if err := s.Add(fd); err != nil {
		t.Fatal(err)
	}
	called, release, returned := make(chan bool), make(chan bool), make(chan bool)
	for range 3 {
		go func() {
			s.Serve(func(n int) bool {
				called <- true
				<-release
				return false
			})
			returned <- true
		}()
		b.Write([]byte("x"))
		<-called
	}
	close(release)
	for range 3 {
		<-returned
	}
}

func TestAddFails(t *testing.T) {
	s := open(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	fd := int(f.Fd())
	f.Close()
	if err := s.Add(fd); err == nil {
		t.Error("a closed descriptor was added")
	}
}
