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
		n, err := s.Wait()
		if n != 1 || err != nil {
			t.Fatalf("%d events, %v", n, err)
		}
		if e := s.Event(0); e.FD != fd || e.End != end {
			t.Fatalf("event %+v, want descriptor %d, end %v", e, fd, end)
		}
	}
	for range 3 { // every arrival is an event, though nothing is read
		b.Write([]byte("x"))
		want(false)
		if n := s.Check(); n != 0 {
			t.Fatalf("%d more events", n)
		}
	}
	b.CloseWrite()
	want(true)
	a.Close() // which takes the descriptor out of the set
	b.Close()
	if n := s.Check(); n != 0 {
		t.Errorf("%d events of a closed socket", n)
	}
}

// A Wait that has begun sees what comes later, from whatever goroutine, and more sockets than fit
// into one batch.
func TestSetMany(t *testing.T) {
	s := open(t)
	const sockets = 10
	seen := make(chan int)
	go func() {
		for range sockets {
			n, err := s.Wait()
			if err != nil {
				t.Error(err)
			}
			for i := range n {
				seen <- s.Event(i).FD
			}
		}
	}()
	for range sockets {
		_, b, fd := pair(t)
		if err := s.Add(fd); err != nil {
			t.Fatal(err)
		}
		b.Write([]byte("x"))
		if got := <-seen; got != fd {
			t.Fatalf("event of descriptor %d, want %d", got, fd)
		}
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
