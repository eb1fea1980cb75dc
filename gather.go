package websocket

import (
	"net"
	"reflect"
	"sync"
)

// Gathering writes: header and payload in one system call, the payload from
// where the application has it.

// gathers reports whether the connection can write several slices at once.
func (c *Conn) gathers() bool {
	switch c.nc.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

const (
	pageSize   = 4096
	pageOffset = 64 // where in a page our own payloads begin
)

// collidesLocked reports whether the payload is better copied than gathered.
//
// The kernel copies what it is given to the beginning of a page, the payload
// right behind its header. Where the copy lies 1 to 15 bytes further into its
// page than the original into its own, x86 processors copy several times slower:
// to them each read seems to wait for a write just before it. A payload that
// begins a page always lies so, and make returns whole pages from 32 KiB on.
func (c *Conn) collidesLocked(payload []byte) bool {
	header := 4
	if len(payload) >= 1<<16 {
		header = 10
	}
	ahead := (int(c.npending) + header - int(reflect.ValueOf(&payload[0]).Pointer())) & (pageSize - 1)
	return 0 < ahead && ahead < 16
}

// gatherLocked sends a server's frame without copying its payload.
func (c *Conn) gatherLocked(first byte, payload []byte) error {
	if err := c.reserveLocked(maxHeaderSize); err != nil {
		return err
	}
	c.appendHeaderLocked(first, len(payload))
	return c.writtenLocked(c.writeGathered(c.pending.b[:c.npending], payload))
}

// gather writes both slices as one.
func gather(nc net.Conn, header, payload []byte) error {
	v, _ := vectors.Get().(*vector)
	if v == nil {
		v = new(vector)
	}
	v.parts = [2][]byte{header, payload}
	v.buffers = v.parts[:]
	_, err := v.buffers.WriteTo(nc)
	v.parts = [2][]byte{}
	vectors.Put(v)
	return err
}

// A vector is what one gathering write needs.
type vector struct {
	buffers net.Buffers
	parts   [2][]byte
}

var vectors sync.Pool
