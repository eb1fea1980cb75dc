package websocket

import (
	"net"
	"syscall"
	"testing"
)

// A read stops at urgent data. What is behind it is handled too, though no other event comes.
func TestHandleUrgentData(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	called, messages := make(chan string), make(chan string)
	c.Handle(func(c *Conn, m Message, err error) {
		if err == nil {
			called <- string(m.Data)
			<-messages
		}
	})
	p.send(textFrame("a"))
	if m := <-called; m != "a" {
		t.Error(m)
	}
	p.send(textFrame("b"))
	rc, err := p.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = syscall.Sendto(int(fd), []byte{0}, syscall.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	k := c.handler.Load()
	for k.state.And(^uint32(handlerMore))&handlerMore == 0 {
	}
	p.send(textFrame("c"))
	for k.state.Load()&handlerMore == 0 {
	}
	for _, want := range []string{"b", "c"} {
		messages <- ""
		if m := <-called; m != want {
			t.Errorf("message %q, want %q", m, want)
		}
	}
	close(messages)
}

// When Handle is first called there may be no descriptors left, for now.
func TestHandleWithoutDescriptors(t *testing.T) {
	saved := startPollers()
	pollers = nil
	defer func() { pollers = saved }()
	c, p := overTCP(t, connConfig{isServer: true})
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	h := handleConn(t, c, p)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if c.handler.Load().fd != noDescriptor {
		t.Error("in a poller")
	}
	p.send(textFrame("a"))
	h.want(t, "a")
	c, p = overTCP(t, connConfig{isServer: true})
	h = handleConn(t, c, p)
	if c.handler.Load().fd == noDescriptor {
		t.Error("in no poller, though there are descriptors again")
	}
	p.send(textFrame("b"))
	h.want(t, "b")
}
