package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// optionsKinds are what ends of a connection can agree on.
var optionsKinds = map[string]ConnOptions{
	"plain":            {},
	"compressed":       {EnableCompression: true},
	"context takeover": {EnableCompression: true, Compression: CompressionOptions{ContextTakeover: true}},
	"small buffers":    {ReadBufferSize: 1, WriteBufferSize: 1, WriteDelay: -1},
	"out of range": {
		ReadBufferSize: -1 << 31, WriteBufferSize: -1, EnableCompression: true,
		Compression: CompressionOptions{Level: 99, Threshold: -1 << 31},
		KeepAlive:   KeepAlive{Interval: -1, Timeout: -1},
	},
}

func TestPipe(t *testing.T) {
	for name, o := range optionsKinds {
		bubble(t, name, func(t *testing.T) {
			o.Subprotocol = "chat"
			client, server := Pipe(o)
			for _, ends := range [][2]*Conn{{client, server}, {server, client}} {
				for _, n := range []int{0, 1, 1000, 10_000} {
					text := strings.Repeat("x", n)
					if err := ends[0].WriteMessage(TextMessage, []byte(text)); err != nil {
						t.Fatal(err)
					}
					wantRead(t, ends[1], text)
				}
				if got := ends[0].Subprotocol(); got != "chat" {
					t.Errorf("subprotocol %q", got)
				}
				for _, a := range []net.Addr{ends[0].LocalAddr(), ends[0].RemoteAddr()} {
					if a.Network() != "pipe" || a.String() != "pipe" {
						t.Errorf("address %s %s", a.Network(), a)
					}
				}
				if compress := ends[0].write.deflater != nil; compress != o.EnableCompression {
					t.Errorf("compression %v", compress)
				}
			}
			done := async(func() error { return client.Shutdown(t.Context(), CloseGoingAway, "bye") })
			if err := readErr(server); !IsCloseError(err, CloseGoingAway) {
				t.Error(err)
			}
			server.Close()
			if err := ended(t, "Shutdown", done); err != nil {
				t.Error(err)
			}
		})
	}
}

// A pipe has both roles: what comes unmasked to a server, or masked to a client, is refused.
func TestPipeRoles(t *testing.T) {
	for _, server := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newPipe()
			c := NewConn(a, ConnOptions{Server: server})
			p := newPeer(t, b, server)
			p.send(binaryFrame("right"))
			p.Write(wiretest.Encode([]wireFrame{binaryFrame("wrong")}, !server))
			wantRead(t, c, "right")
			var v *ProtocolError
			if err := readErr(c); !errors.As(err, &v) {
				t.Error(err)
			}
			c.Close()
		})
	}
}

// A message needs no reader until the pipe is full.
func TestPipeIsBuffered(t *testing.T) {
	for _, size := range []int{100, 10_000, pipeSize - maxHeaderSize} {
		synctest.Test(t, func(t *testing.T) {
			client, server := Pipe(ConnOptions{})
			defer client.Close()
			data := make([]byte, size)
			for range pipeSize / (size + maxHeaderSize) {
				if err := client.WriteMessage(BinaryMessage, data); err != nil {
					t.Fatal(err)
				}
			}
			done := async(func() error { return client.WriteMessage(BinaryMessage, make([]byte, size+pipeSize)) })
			stillWaiting(t, "a write to a full pipe", done)
			for range pipeSize / (size + maxHeaderSize) {
				wantRead(t, server, string(data))
			}
			go readOne(server)
			if err := ended(t, "a write to a pipe that is read", done); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPipeDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		defer client.Close()
		client.SetReadDeadline(time.Now().Add(time.Hour))
		wantDeadline(t, readErr(client), false)
		client.SetReadDeadline(time.Time{})
		server.WriteMessage(TextMessage, []byte("after the deadline"))
		wantRead(t, client, "after the deadline")

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, _, err := client.ReadMessageContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		server.WriteMessage(TextMessage, []byte("after the context"))
		wantRead(t, client, "after the context")

		client.SetWriteDeadline(time.Now().Add(time.Hour))
		wantDeadline(t, client.WriteMessage(TextMessage, make([]byte, pipeSize)), false)
	})
}

func TestPipeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		waiting := asyncRead(client)
		synctest.Wait()
		server.WriteMessage(TextMessage, []byte("last"))
		server.Close()
		if got := ended(t, "read", waiting); got.data != "last" || got.err != nil {
			t.Error(got)
		}
		err := readErr(client)
		if !IsCloseError(err, CloseAbnormalClosure) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read after the peer's Close: %v", err)
		}
		if err := readErr(server); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after Close: %v", err)
		}
		if err := server.WriteMessage(TextMessage, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
	})
}

// KeepAlive over a pipe: hours pass at once.
func TestPipeKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{KeepAlive: KeepAlive{Interval: time.Minute}})
		start := time.Now()
		gone := asyncRead(server)
		alive := asyncRead(client)
		advance(time.Hour)
		stillWaiting(t, "a read while the peer reads", gone)
		client.write.mu.Lock(noContext, nil) // from now on the client answers no ping
		wantGone(t, "server", (<-gone).err)
		if d := time.Since(start); d < time.Hour+time.Minute || d > time.Hour+3*time.Minute {
			t.Errorf("found after %v", d)
		}
		<-alive
	})
}

// The net.Conn below, as far as WebSocket does not show it.
func TestPipeConn(t *testing.T) {
	bubble(t, "half-close", func(t *testing.T) {
		a, b := newPipe()
		io.WriteString(a, "question")
		full := async(func() error { _, err := a.Write(make([]byte, 2*pipeSize)); return err })
		stillWaiting(t, "write", full)
		a.CloseWrite()
		for _, err := range []error{ended(t, "write", full), second(a.Write([]byte("x")))} {
			if !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("write after CloseWrite: %v", err)
			}
		}
		if got, err := io.ReadAll(b); !strings.HasPrefix(string(got), "question") || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		io.WriteString(b, "answer")
		b.Close()
		if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := a.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write after CloseWrite: %v", err)
		}
	})
	bubble(t, "the peer's Close", func(t *testing.T) {
		a, b := newPipe()
		full := async(func() error { _, err := a.Write(make([]byte, 2*pipeSize)); return err })
		stillWaiting(t, "write", full)
		b.Close()
		if err := ended(t, "write", full); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("write to a closed end: %v", err)
		}
		if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF && !errors.Is(err, io.EOF) {
			t.Errorf("read: %d, %v", n, err)
		}
	})
	bubble(t, "Close", func(t *testing.T) {
		a, _ := newPipe()
		read := async(func() error { _, err := a.Read(make([]byte, 1)); return err })
		write := async(func() error { _, err := a.Write(make([]byte, 2*pipeSize)); return err })
		stillWaiting(t, "read", read)
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{
			"read in progress":  ended(t, "read", read),
			"write in progress": ended(t, "write", write),
			"Close":             a.Close(),
			"CloseWrite":        a.CloseWrite(),
			"SetDeadline":       a.SetDeadline(time.Time{}),
			"SetReadDeadline":   a.SetReadDeadline(time.Time{}),
		} {
			var op *net.OpError
			if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) || op.Net != "pipe" {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
	bubble(t, "deadlines", func(t *testing.T) {
		a, b := newPipe()
		read := async(func() error { _, err := a.Read(make([]byte, 1)); return err })
		second := async(func() error { _, err := a.Read(make([]byte, 1)); return err })
		a.SetReadDeadline(time.Now().Add(time.Minute))
		advance(time.Second)
		a.SetReadDeadline(time.Now().Add(time.Hour)) // moved
		advance(time.Hour - 1)
		stillWaiting(t, "read", read)
		advance(1)
		for _, read := range []<-chan error{read, second} {
			wantDeadline(t, ended(t, "read", read), true)
		}
		b.Write([]byte("x"))
		_, err := a.Read(make([]byte, 1))
		wantDeadline(t, err, true) // it still holds
		a.SetDeadline(time.Time{})
		if n, err := a.Read(make([]byte, 9)); n != 1 || err != nil {
			t.Errorf("read after the deadline: %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write(make([]byte, 2*pipeSize))
		if n != pipeSize {
			t.Errorf("write: %d bytes", n)
		}
		wantDeadline(t, err, true)
		if n, err := a.Read(nil); n != 0 || err != nil {
			t.Errorf("read of nothing: %d, %v", n, err)
		}
	})
	bubble(t, "writes stay whole", func(t *testing.T) {
		a, b := newPipe()
		const size = pipeSize + 1000
		for i := range 10 {
			go a.Write(bytes.Repeat([]byte{byte(i)}, size))
		}
		for range 10 {
			p := make([]byte, size)
			if _, err := io.ReadFull(b, p); err != nil {
				t.Fatal(err)
			}
			if bytes.Count(p, p[:1]) != size {
				t.Fatal("two writes were mixed")
			}
		}
	})
}

// NewConn over what a program may have, whose handshake was done elsewhere.
func TestNewConn(t *testing.T) {
	transports := map[string]func(t *testing.T) (a, b net.Conn){
		"pipe":     func(t *testing.T) (a, b net.Conn) { return newPipe() },
		"net.Pipe": func(t *testing.T) (a, b net.Conn) { return net.Pipe() },
		"TCP":      func(t *testing.T) (a, b net.Conn) { return tcpPair(t) },
		"TLS": func(t *testing.T) (a, b net.Conn) {
			s := httptest.NewTLSServer(nil)
			defer s.Close()
			a, b = tcpPair(t)
			return tls.Server(a, &tls.Config{Certificates: s.TLS.Certificates}),
				tls.Client(b, &tls.Config{InsecureSkipVerify: true})
		},
	}
	for name, transport := range transports {
		for kind, o := range optionsKinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				a, b := transport(t)
				b.SetDeadline(aLongTimeAgo) // of a handshake, say
				client := NewConn(b, o)
				o.Server = true
				o.Buffered = wiretest.Encode([]wireFrame{textFrame("buffered"), textFrame("too")}, true)
				server := NewConn(a, o)
				clear(o.Buffered) // it was copied
				defer client.Close()
				go func() {
					wantRead(t, server, "buffered")
					wantRead(t, server, "too")
					for m, err := range server.Messages(t.Context()) {
						if err != nil || server.WriteMessage(m.Type, m.Data) != nil {
							break
						}
					}
					server.Close()
				}()
				for _, n := range []int{0, 10, 100_000} {
					text := strings.Repeat("x", n)
					if err := client.WriteMessage(TextMessage, []byte(text)); err != nil {
						t.Fatal(err)
					}
					wantRead(t, client, text)
				}
				if err := client.Shutdown(t.Context(), CloseNormalClosure, ""); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestConnOptionsReadLimit(t *testing.T) {
	for limit, size := range map[int64]int64{0: defaultReadLimit, -1: 1 << 40, 100: 100} {
		for _, n := range []int64{size, size + 1} {
			if n > 1<<40 {
				continue // there is no limit
			}
			a, b := newPipe()
			c := NewConn(a, ConnOptions{Server: true, ReadLimit: limit})
			p := newPeer(t, b, true)
			p.send(binaryFrame("").Claiming(n))
			p.CloseWrite()
			want := "close 1006"
			if n > size {
				want = ErrReadLimit.Error()
			}
			if err := readErr(c); !strings.Contains(fmt.Sprint(err), want) {
				t.Errorf("limit %d, message of %d bytes: %v, want %s", limit, n, err, want)
			}
			c.Close()
		}
	}
}

func (p *peer) CloseWrite() error { return p.Conn.(interface{ CloseWrite() error }).CloseWrite() }

// ConnOptions reach the connection.
func TestConnOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := new(countingPool)
		_, server := Pipe(ConnOptions{WriteBufferPool: pool, WriteBufferSize: 512, ReadBufferSize: 1024, WriteDelay: time.Hour})
		w, err := server.NextWriter(TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		w.Close()
		if pool.got != 1 || pool.put != 1 {
			t.Errorf("%d values taken from the pool, %d put into it", pool.got, pool.put)
		}
		if server.write.size != 512 || server.read.buf.size != 1024 || server.write.delay != time.Hour {
			t.Error(server.write.size, server.read.buf.size, server.write.delay)
		}
	})
}

// Compression is as the options say: with context takeover the second of two equal messages refers
// to the first.
func TestConnOptionsCompression(t *testing.T) {
	for _, takeover := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client, server := Pipe(ConnOptions{
				EnableCompression: true,
				Compression:       CompressionOptions{ContextTakeover: takeover, Threshold: 100},
				WriteDelay:        -1,
			})
			defer client.Close()
			text := strings.Repeat(fmt.Sprintf("%x", noise(500)), 2)
			for _, c := range []*Conn{client, server} {
				out := c.conn.(*pipeConn).out
				var sizes []int
				for _, s := range []string{text[:99], text, text} {
					before := out.w - out.r
					c.WriteMessage(TextMessage, []byte(s))
					sizes = append(sizes, out.w-out.r-before)
				}
				if sizes[0] < 99 || sizes[1] > len(text)*3/4 || sizes[2] < len(text)/4 != takeover {
					t.Errorf("context takeover %v: messages of %d bytes", takeover, sizes)
				}
			}
			for _, c := range []*Conn{client, server} {
				for _, s := range []string{text[:99], text, text} {
					wantRead(t, c, s)
				}
			}
		})
	}
}

// Input from behind a handshake is none of a Pipe's.
func TestPipeIgnoresBuffered(t *testing.T) {
	client, server := Pipe(ConnOptions{Server: true, Buffered: wiretest.Encode([]wireFrame{textFrame("x")}, true)})
	client.WriteMessage(TextMessage, []byte("hello"))
	wantRead(t, server, "hello")
	client.Close()
}

type countingPool struct{ got, put int }

func (p *countingPool) Get() any { p.got++; return nil }
func (p *countingPool) Put(any)  { p.put++ }
