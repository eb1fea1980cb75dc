package load

// The handshake load: connect, upgrade, check the 101, close, again, in a fixed number of slots.

import (
	"bytes"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

type handshaker struct {
	addr    netip.AddrPort
	poll    *poller
	request []byte
	slots   []handshakeSlot
	buf     []byte
}

type handshakeSlot struct {
	fd       int // -1: between two connections
	unsent   []byte
	response []byte
}

// Handshakes runs handshakes in the given number of slots for d.
func Handshakes(addr netip.AddrPort, slots int, d time.Duration) (Result, error) {
	var r Result
	p, err := newPoller()
	if err != nil {
		return r, err
	}
	h := &handshaker{addr: addr, poll: p, request: request(addr, ""), buf: make([]byte, 4096)}
	defer h.close()
	h.slots = make([]handshakeSlot, slots)
	for i := range h.slots {
		h.slots[i].fd = -1
	}
	start := time.Now()
	last := false
	active := slots
	for i := range h.slots {
		if err := h.connect(i); err != nil {
			return r, err
		}
	}
	for active > 0 {
		err := h.poll.wait(func(i int) error {
			done, err := h.pump(&h.slots[i], &r)
			if err != nil || !done {
				return err
			}
			r.Messages++
			if last {
				active--
				return nil
			}
			return h.connect(i)
		})
		if err != nil {
			return r, err
		}
		last = last || time.Since(start) >= d
	}
	r.Elapsed = time.Since(start)
	return r, nil
}

func (h *handshaker) connect(i int) error {
	s := &h.slots[i]
	fd, err := socket(h.addr, 0, unix.SOCK_NONBLOCK)
	if err != nil {
		return err
	}
	s.fd = fd
	s.unsent = h.request
	s.response = s.response[:0]
	return h.poll.add(fd, i)
}

// pump moves one slot on; done is true when its connection has been upgraded and closed.
func (h *handshaker) pump(s *handshakeSlot, r *Result) (done bool, err error) {
	if s.fd < 0 {
		return false, nil
	}
	if len(s.unsent) > 0 {
		if s.unsent, err = write(s.fd, s.unsent); err != nil {
			return false, err
		}
	}
	n, ok, err := read(s.fd, h.buf)
	if err != nil || !ok {
		return false, err
	}
	r.Bytes += int64(n)
	s.response = append(s.response, h.buf[:n]...)
	if !bytes.HasSuffix(s.response, []byte("\r\n\r\n")) {
		return false, nil
	}
	unix.Close(s.fd)
	s.fd = -1
	return true, checkResponse(s.response, "")
}

func (h *handshaker) close() {
	for _, s := range h.slots {
		if s.fd >= 0 {
			unix.Close(s.fd)
		}
	}
	h.poll.close()
}
