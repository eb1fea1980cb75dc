package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// interop/ has the test of net.Conn's contract from golang.org/x/net, over TCP, TLS and Pipe.

// streams returns the ends of a pipe as streams.
func streams(t *testing.T, o ConnOptions) (a, b net.Conn) {
	client, server := Pipe(o)
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client.Stream(BinaryMessage), server.Stream(BinaryMessage)
}

// playedStream returns a stream whose far end is played by hand.
func playedStream(t *testing.T, o ConnOptions) (net.Conn, *peer) {
	a, b := newPipe()
	o.Server = true
	c := NewConn(a, o)
	t.Cleanup(func() {
		b.Close()
		c.Close()
	})
	return c.Stream(BinaryMessage), newPeer(t, b, true)
}

// readString reads once.
func readString(nc net.Conn) (string, error) {
	p := make([]byte, 1000)
	n, err := nc.Read(p)
	return string(p[:n]), err
}

func wantBytes(t *testing.T, r io.Reader, want string) {
	t.Helper()
	p := make([]byte, len(want))
	if _, err := io.ReadFull(r, p); err != nil || string(p) != want {
		t.Errorf("read %s, %v, want %s", wiretest.Shortened(string(p)), err, wiretest.Shortened(want))
	}
}

// timedOut checks the error of a call on a stream whose deadline has passed.
func timedOut(t *testing.T, what string, err error) {
	t.Helper()
	var op *net.OpError
	if !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: %v (%T), want a *net.OpError that is a timeout", what, err, err)
	}
}

// Reads know no boundaries of messages, nor those without payload.
func TestStreamReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 2, 1000} {
			s, p := playedStream(t, ConnOptions{EnableCompression: true})
			p.send(binaryFrame("ab"), binaryFrame(""), frame(0x02, "c"), pingFrame("ping"), frame(0x80, "de"),
				deflatedFrame("fgh"), frame(0x02, ""), frame(0x80, ""), binaryFrame("i"), closeFrame(1000, ""))
			var got []byte
			for buf := make([]byte, size); ; {
				if n, err := s.Read(nil); n != 0 || err != nil {
					t.Fatal(n, err)
				}
				n, err := s.Read(buf)
				if got = append(got, buf[:n]...); err == io.EOF {
					break
				} else if err != nil || n == 0 {
					t.Fatalf("read %d bytes, %v", n, err)
				}
			}
			if string(got) != "abcdefghi" {
				t.Errorf("read %q", got)
			}
			p.expect(pongFrame("ping"), closeFrame(1000, ""))
		}
	})
}

// A stream has no read limit until one is set.
func TestStreamReadLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{ReadLimit: 100})
		a, b := client.Stream(BinaryMessage), server.Stream(BinaryMessage)
		a.Write(make([]byte, 1000))
		wantBytes(t, b, string(make([]byte, 1000)))
		server.SetReadLimit(100)
		a.Write(make([]byte, 101))
		if _, err := readString(b); err != ErrReadLimit {
			t.Error(err)
		}
		if _, err := readString(a); !IsCloseError(err, CloseMessageTooBig) {
			t.Error(err)
		}
		a.Close()
	})
}

// Each Write is one message, however long; none if it is empty.
func TestStreamWrites(t *testing.T) {
	for name, o := range optionsKinds {
		bubble(t, name, func(t *testing.T) {
			client, server := Pipe(o)
			defer server.Close()
			s := client.Stream(BinaryMessage)
			sizes := []int{1, 100, maxPiece, maxPiece + 1, 1 << 20, 1}
			go func() {
				for _, n := range sizes {
					if n, err := s.Write(nil); n != 0 || err != nil {
						t.Error(n, err)
					}
					if m, err := s.Write(bytes.Repeat([]byte("x"), n)); m != n || err != nil {
						t.Errorf("%d of %d bytes, %v", m, n, err)
					}
				}
				s.Close()
			}()
			for _, n := range sizes {
				messageType, p, err := server.ReadMessage()
				if messageType != BinaryMessage || len(p) != n || err != nil {
					t.Fatalf("a message of %d bytes, type %d, %v, want %d", len(p), messageType, err, n)
				}
			}
			if err := readErr(server); !IsCloseError(err, CloseNormalClosure) {
				t.Error(err)
			}
		})
	}
}

// Nobody sees a Write's bytes change after its return, even of one that timed out.
func TestStreamWriteTakesItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := streams(t, ConnOptions{})
		p := bytes.Repeat([]byte("x"), 2*pipeSize)
		a.SetWriteDeadline(time.Now().Add(time.Second))
		n, _ := a.Write(p)
		clear(p)
		wantBytes(t, b, strings.Repeat("x", n))
	})
}

// How a peer closes decides on the end that Read returns.
func TestStreamEnd(t *testing.T) {
	for code, want := range map[int]error{
		CloseNormalClosure:    io.EOF,
		CloseGoingAway:        io.EOF,
		CloseNoStatusReceived: &CloseError{Code: CloseNoStatusReceived},
		CloseTryAgainLater:    &CloseError{Code: CloseTryAgainLater},
		CloseAbnormalClosure:  &CloseError{Code: CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()},
	} {
		bubble(t, fmt.Sprint(code), func(t *testing.T) {
			s, p := playedStream(t, ConnOptions{})
			p.send(binaryFrame("data"))
			switch code {
			case CloseAbnormalClosure:
				p.Close()
			case CloseNoStatusReceived:
				p.send(frame(0x88, ""))
			default:
				p.send(closeFrame(code, ""))
			}
			wantBytes(t, s, "data")
			for range 3 {
				n, err := s.Read(make([]byte, 10))
				var ce *CloseError
				if n != 0 || err != want && (!errors.As(err, &ce) || *ce != *want.(*CloseError)) {
					t.Errorf("read %d bytes, %v, want %v", n, err, want)
				}
			}
		})
	}
}

// RFC 6455 §7.4.1: 1003 for a type of data that cannot be accepted.
func TestStreamOtherType(t *testing.T) {
	for messageType, f := range map[int]wireFrame{BinaryMessage: textFrame("x"), TextMessage: binaryFrame("x")} {
		synctest.Test(t, func(t *testing.T) {
			a, b := newPipe()
			s := NewConn(a, ConnOptions{Server: true}).Stream(messageType)
			p := newPeer(t, b, true)
			p.send(f)
			done := async(func() error { _, err := s.Read(make([]byte, 10)); return err })
			got, err := p.next()
			if err != nil || got.First != 0x88 || !strings.HasPrefix(got.Payload, "\x03\xeb") {
				t.Errorf("the peer got %02x %q, %v, want a close frame with 1003", got.First, got.Payload, err)
			}
			p.Close()
			var v *ProtocolError
			if err := ended(t, "Read", done); !errors.As(err, &v) || v.Code != CloseUnsupportedData {
				t.Errorf("read: %v", err)
			}
			if _, err := s.Write([]byte("x")); err != ErrCloseSent {
				t.Errorf("write: %v", err)
			}
		})
	}
}

// A read deadline loses nothing, wherever in a message it passes. Every byte of the peer comes
// after a Read that has timed out.
func TestStreamReadDeadline(t *testing.T) {
	text := strings.Repeat("abc", 100)
	frames := map[string][]wireFrame{
		"one frame":             {binaryFrame(text)},
		"messages":              {binaryFrame(text[:100]), binaryFrame(""), binaryFrame(text[100:])},
		"fragments":             {frame(0x02, text[:3]), frame(0x00, ""), pingFrame("ping"), frame(0x80, text[3:])},
		"compressed":            {deflatedFrame(text)},
		"compressed, fragments": fragments(deflatedFrame(text), 5),
	}
	for over, play := range map[string]func(testing.TB, net.Conn, net.Conn, connConfig) (*Conn, *peer){
		"pipe": play, "TLS": playTLS, "no deadlines": playWithoutDeadlines,
	} {
		for name, frames := range frames {
			bubble(t, over+", "+name, func(t *testing.T) {
				a, b := newPipe()
				c, p := play(t, a, b, wireConfig(true, true, true))
				s := c.Stream(BinaryMessage)
				p.drain()
				wire := wiretest.Encode(append(frames, closeFrame(1000, "")), true)
				got := ""
				for _, b := range wire {
					s.SetReadDeadline(time.Now().Add(time.Second))
					var part string
					var err error
					for err == nil {
						part, err = readString(s)
						got += part
					}
					timedOut(t, "Read", err)
					p.Write([]byte{b})
					synctest.Wait()
				}
				s.SetReadDeadline(time.Time{})
				rest, err := io.ReadAll(s)
				if got += string(rest); got != text || err != nil {
					t.Errorf("read %q, %v", got, err)
				}
			})
		}
	}
}

func playWithoutDeadlines(t testing.TB, a, b net.Conn, cfg connConfig) (*Conn, *peer) {
	return play(t, noDeadlines{a}, b, cfg)
}

// fragments cuts a frame into n.
func fragments(f wireFrame, n int) (all []wireFrame) {
	first, size := f.First&^finBit, len(f.Payload)/n
	for range n - 1 {
		all = append(all, frame(first, f.Payload[:size]))
		first, f.Payload = 0, f.Payload[size:]
	}
	return append(all, frame(first|finBit, f.Payload))
}

// What Writes that time out say they have taken arrives, once and in order, and nothing else does.
func TestStreamWriteDeadline(t *testing.T) {
	for over, connect := range map[string]func(t *testing.T, o ConnOptions) (client, server *Conn){
		"pipe": func(_ *testing.T, o ConnOptions) (client, server *Conn) { return Pipe(o) },
		"TLS": func(t *testing.T, o ConnOptions) (client, server *Conn) {
			c, p := tlsOverPipe(t, connConfig{})
			o.Server = true
			server = NewConn(p.Conn, o)
			o.Server = false
			return NewConn(c.conn, o), server
		},
	} {
		for name, o := range optionsKinds {
			for _, size := range []int{100, 10*maxPiece + 1} {
				bubble(t, fmt.Sprintf("%s, %s, %d bytes", over, name, size), func(t *testing.T) {
					client, server := connect(t, o)
					a, b := client.Stream(BinaryMessage), server.Stream(BinaryMessage)
					received := async(func() []byte { return readSlowly(b) })
					var sent []byte
					timeouts := 0
					for in := noise(max(5*pipeSize, 2*size)); len(in) > 0; {
						a.SetWriteDeadline(time.Now().Add(time.Millisecond))
						n, err := a.Write(in[:min(size, len(in))])
						sent, in = append(sent, in[:n]...), in[n:]
						if err != nil {
							timedOut(t, "Write", err)
							timeouts++
						}
					}
					if err := a.Close(); err != nil {
						t.Error(err)
					}
					if got := <-received; !bytes.Equal(got, sent) {
						t.Errorf("%d bytes arrived of %d", len(got), len(sent))
					}
					if timeouts == 0 {
						t.Error("no Write has timed out")
					}
				})
			}
		}
	}
}

// Over a socket most Writes need no goroutine; what they send is the same.
func TestStreamOverTCP(t *testing.T) {
	for name, o := range optionsKinds {
		t.Run(name, func(t *testing.T) {
			a, b := tcpPair(t)
			client := NewConn(a, o).Stream(BinaryMessage)
			o.Server = true
			server := NewConn(b, o).Stream(BinaryMessage)
			sent := noise(8 << 20)
			for _, ends := range [][2]net.Conn{{client, server}, {server, client}} {
				received := async(func() []byte {
					p := make([]byte, len(sent))
					for n := 0; n < len(p); {
						k, err := ends[1].Read(p[n:min(n+10_000, len(p))])
						if n += k; err != nil {
							t.Error(err)
							break
						}
					}
					return p
				})
				for n, size := 0, 1; n < len(sent); size = size*7%100_003 + 1 {
					ends[0].SetWriteDeadline(time.Now().Add(time.Minute))
					k, err := ends[0].Write(sent[n:min(n+size, len(sent))])
					if n += k; err != nil {
						t.Fatal(err)
					}
				}
				if !bytes.Equal(<-received, sent) {
					t.Error("other bytes arrived")
				}
			}
			other := async(client.Close)
			if err := errors.Join(server.Close(), <-other); err != nil {
				t.Error(err)
			}
		})
	}
}

// Writes to a socket are compressed where others are.
func TestStreamCompressesOverTCP(t *testing.T) {
	c, p := overTCP(t, ConnOptions{EnableCompression: true}.serverConfig())
	c.Stream(BinaryMessage).Write(bytes.Repeat([]byte("abc"), 1000))
	if f, err := p.next(); err != nil || f.First != finBit|rsv1Bit|BinaryMessage || len(f.Payload) > 100 {
		t.Errorf("frame %02x of %d bytes, %v, want a compressed one", f.First, len(f.Payload), err)
	}
}

func (o ConnOptions) serverConfig() connConfig {
	o.Server = true
	return o.config()
}

// A deadline inside a message is permanent for the other methods, after reads of a stream too.
func TestStreamLeavesReadMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newPipe()
		c, p := play(t, a, b, connConfig{isServer: true})
		p.send(binaryFrame("stream"), binaryFrame("cut").Cut(8))
		wantBytes(t, c.Stream(BinaryMessage), "stream")
		c.SetReadDeadline(time.Now().Add(time.Second))
		wantDeadline(t, readErr(c), false)
		c.SetReadDeadline(time.Time{})
		wantDeadline(t, readErr(c), false)
	})
}

// readSlowly reads to the end, a little every 10 ms.
func readSlowly(nc net.Conn) (all []byte) {
	for p := make([]byte, 20_000); ; time.Sleep(10 * time.Millisecond) {
		n, err := io.ReadFull(nc, p)
		all = append(all, p[:n]...)
		if err != nil {
			nc.Close()
			return all
		}
	}
}

// noise returns n bytes that do not become smaller.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
}

// A Write of several pieces that gives up is ended by the next as a message of what it has taken.
func TestStreamWriteGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		s := client.Stream(BinaryMessage)
		s.SetWriteDeadline(time.Now().Add(time.Second))
		n, err := s.Write(make([]byte, 10*maxPiece))
		timedOut(t, "Write", err)
		if n != maxPiece {
			t.Errorf("taken: %d bytes", n)
		}
		// As long as that one waits, so do others.
		s.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := s.Write([]byte("next")); n != 0 {
			t.Error(n)
		} else {
			timedOut(t, "Write", err)
		}
		s.SetWriteDeadline(time.Time{})
		done := async(func() error { _, err := s.Write([]byte("next")); return err })
		wantRead(t, server, string(make([]byte, n)))
		wantRead(t, server, "next")
		if err := ended(t, "Write", done); err != nil {
			t.Error(err)
		}
	})
}

func TestStreamPassedDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := streams(t, ConnOptions{})
		b.Write([]byte("data"))
		a.SetDeadline(time.Now().Add(-1))
		n, err := a.Read(make([]byte, 10))
		timedOut(t, "Read", err)
		m, err := a.Write([]byte("x"))
		timedOut(t, "Write", err)
		timedOut(t, "CloseWrite", closeWrite(a))
		if n != 0 || m != 0 {
			t.Error(n, m)
		}
		a.SetDeadline(time.Time{})
		wantBytes(t, a, "data")
		read := async(func() error { _, err := a.Read(make([]byte, 10)); return err })
		write := async(func() error { _, err := a.Write(make([]byte, 10*pipeSize)); return err })
		stillWaiting(t, "Read", read)
		stillWaiting(t, "Write", write)
		a.SetDeadline(time.Now()) // acts on both
		timedOut(t, "Read", ended(t, "Read", read))
		timedOut(t, "Write", ended(t, "Write", write))
	})
}

func closeWrite(nc net.Conn) error { return nc.(interface{ CloseWrite() error }).CloseWrite() }

func TestStreamClose(t *testing.T) {
	bubble(t, "answered", func(t *testing.T) {
		a, b := streams(t, ConnOptions{})
		a.Write([]byte("last"))
		ends := async(func() error { return errors.Join(a.Close(), a.Close()) })
		wantBytes(t, b, "last")
		if _, err := readString(b); err != io.EOF {
			t.Errorf("read: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Errorf("Close of the one: %v", err)
		}
		if err := ended(t, "Close", ends); err != nil {
			t.Errorf("Close of the other: %v", err)
		}
		for what, err := range map[string]error{
			"Read":             second(a.Read(make([]byte, 1))),
			"Write":            second(a.Write([]byte("x"))),
			"CloseWrite":       closeWrite(a),
			"SetDeadline":      a.SetDeadline(time.Now()),
			"SetReadDeadline":  a.SetReadDeadline(time.Now()),
			"SetWriteDeadline": a.SetWriteDeadline(time.Now()),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	})
	bubble(t, "both at once", func(t *testing.T) {
		a, b := streams(t, ConnOptions{})
		other := async(a.Close)
		if err := errors.Join(b.Close(), <-other); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "no answer", func(t *testing.T) {
		s, p := playedStream(t, ConnOptions{})
		read := async(func() error { return second(s.Read(make([]byte, 1))) })
		write := async(func() error { return second(s.Write(make([]byte, 10*pipeSize))) })
		stillWaiting(t, "Read", read)
		start := time.Now()
		done := async(s.Close)
		if err := ended(t, "Read", read); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if err := ended(t, "Write", write); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if err := <-done; err == nil {
			t.Error("Close returned nil")
		}
		if d := time.Since(start); d > streamCloseWait+closeWait {
			t.Errorf("Close took %v", d)
		}
		p.Close()
	})
	for name, f := range map[string]wireFrame{
		"plain": binaryFrame(strings.Repeat("abc", 100)), "compressed": deflatedFrame(strings.Repeat("abc", 100)),
	} {
		bubble(t, "inside a message, "+name, func(t *testing.T) {
			s, p := playedStream(t, ConnOptions{EnableCompression: true})
			wire := wiretest.Encode([]wireFrame{f}, true)
			p.Write(wire[:len(wire)-4])
			read := async(func() error {
				_, err := io.Copy(io.Discard, s)
				return err
			})
			stillWaiting(t, "Read", read)
			done := async(s.Close)
			if err := ended(t, "Read", read); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read: %v", err)
			}
			p.expect(closeFrame(CloseNormalClosure, ""))
			p.Write(wire[len(wire)-4:])
			p.send(closeFrame(CloseNormalClosure, ""))
			if err := ended(t, "Close", done); err != nil {
				t.Error(err)
			}
		})
	}
	bubble(t, "in a handler", func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		defer client.Close()
		s := server.Stream(BinaryMessage)
		start := time.Now()
		server.SetPingHandler(func(string) error { return s.Close() })
		client.WriteControl(PingMessage, nil, time.Time{})
		readString(s)
		if d := time.Since(start); d > streamCloseWait+closeWait {
			t.Errorf("Close took %v", d)
		}
	})
	bubble(t, "in a function of Trace", func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		defer client.Close()
		s := server.Stream(BinaryMessage)
		start := time.Now()
		s.(*stream).out.taken <- struct{}{} // as by a Write whose Trace.Message calls Close
		if err := s.Close(); err == nil {
			t.Error("Close returned nil")
		}
		if d := time.Since(start); d > streamCloseWait+closeWait {
			t.Errorf("Close took %v", d)
		}
	})
	bubble(t, "failed before", func(t *testing.T) {
		s, p := playedStream(t, ConnOptions{})
		p.Close()
		if err := s.Close(); err == nil {
			t.Error("Close returned nil")
		}
	})
}

func second(_ int, err error) error { return err }

// What a Write has taken is sent before the close frame, although both directions are full: each
// end reads while it waits.
func TestStreamCloseSendsWhatWasTaken(t *testing.T) {
	for _, size := range []int{pipeSize, 2*maxPiece + 1} {
		synctest.Test(t, func(t *testing.T) {
			client, server := Pipe(ConnOptions{})
			s := client.Stream(BinaryMessage)
			s.SetWriteDeadline(time.Now().Add(time.Second))
			n, err := s.Write(make([]byte, 2*size))
			timedOut(t, "Write", err)
			start := time.Now()
			wrote := async(func() error { return server.WriteMessage(BinaryMessage, make([]byte, 10*pipeSize)) })
			stillWaiting(t, "a write", wrote)
			done := async(s.Close)
			if err := ended(t, "a write", wrote); err != nil {
				t.Error(err)
			}
			wantRead(t, server, string(make([]byte, n)))
			if err := readErr(server); !IsCloseError(err, CloseNormalClosure) {
				t.Error(err)
			}
			server.Close()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("Close took %v", d)
			}
		})
	}
}

func TestStreamCloseWrite(t *testing.T) {
	bubble(t, "answered at once", func(t *testing.T) {
		a, b := streams(t, ConnOptions{})
		b.Write([]byte("on its way"))
		if err := errors.Join(closeWrite(a), closeWrite(a)); err != nil {
			t.Error(err)
		}
		if _, err := a.Write([]byte("x")); err != ErrCloseSent {
			t.Errorf("write after CloseWrite: %v", err)
		}
		if _, err := readString(b); err != io.EOF {
			t.Errorf("read of the peer: %v", err)
		}
		if _, err := b.Write([]byte("x")); err != ErrCloseSent {
			t.Errorf("write of the peer: %v", err)
		}
		wantBytes(t, a, "on its way")
		if _, err := readString(a); err != io.EOF {
			t.Errorf("read: %v", err)
		}
	})
	bubble(t, "half-close", func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		for _, c := range []*Conn{client, server} {
			c.SetCloseHandler(func(int, string) error { return nil })
		}
		a, b := client.Stream(BinaryMessage), server.Stream(BinaryMessage)
		a.Write([]byte("question"))
		closeWrite(a)
		if got, err := io.ReadAll(b); string(got) != "question" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		go func() {
			for range 10 {
				b.Write(make([]byte, pipeSize))
			}
			closeWrite(b)
		}()
		if got, err := io.ReadAll(a); len(got) != 10*pipeSize || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		other := async(a.Close)
		if err := errors.Join(b.Close(), <-other); err != nil {
			t.Error(err)
		}
	})
}

// All methods may be called at the same time: Writes stay whole, and no byte is read twice.
func TestStreamConcurrent(t *testing.T) {
	for name, o := range optionsKinds {
		bubble(t, name, func(t *testing.T) {
			const goroutines, each, size = 8, 20, 3000
			a, b := streams(t, o)
			var writers, readers sync.WaitGroup
			var counts [goroutines]int
			var mu sync.Mutex
			for i := range goroutines {
				writers.Go(func() {
					for range each {
						if _, err := a.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
							t.Error(err)
						}
						a.SetReadDeadline(time.Now().Add(time.Hour))
						a.LocalAddr()
					}
				})
				readers.Go(func() {
					for {
						p := make([]byte, 1+i*100)
						n, err := b.Read(p)
						mu.Lock()
						for _, c := range p[:n] {
							counts[c]++
						}
						mu.Unlock()
						if err != nil {
							return
						}
					}
				})
			}
			writers.Wait()
			closeWrite(a)
			readers.Wait()
			for i, n := range counts {
				if n != each*size {
					t.Errorf("%d bytes of writer %d, want %d", n, i, each*size)
				}
			}
			other := async(a.Close)
			b.Close()
			<-other
		})
	}
}

// A ping handler that ends its goroutine ends the reading, and no call waits for it.
func TestStreamHandlerExit(t *testing.T) {
	for name, aside := range map[string]bool{"on the caller's goroutine": false, "on another": true} {
		bubble(t, name, func(t *testing.T) {
			a, b := newPipe()
			var nc net.Conn = a
			if aside {
				nc = noDeadlines{a}
			}
			c := NewConn(nc, ConnOptions{Server: true})
			c.SetPingHandler(func(string) error {
				runtime.Goexit()
				return nil
			})
			s := c.Stream(BinaryMessage)
			newPeer(t, b, true).send(pingFrame(""))
			returned := make(chan error, 1)
			go func() { returned <- second(s.Read(make([]byte, 1))) }()
			synctest.Wait()
			if aside != (len(returned) == 1) {
				t.Errorf("Read has returned: %v", !aside)
			}
			for range 2 {
				if _, err := readString(s); err != errHandlerExit {
					t.Errorf("read: %v", err)
				}
			}
			b.Close()
			s.Close()
		})
	}
}

func TestCloseRead(t *testing.T) {
	for name, o := range optionsKinds {
		bubble(t, name, func(t *testing.T) {
			client, server := Pipe(o)
			type key struct{}
			ctx := server.CloseRead(context.WithValue(t.Context(), key{}, "value"))
			if ctx.Value(key{}) != "value" {
				t.Error("the values of the context are lost")
			}
			for range 3 {
				if err := client.WriteMessage(TextMessage, make([]byte, 2*pipeSize)); err != nil {
					t.Fatal(err)
				}
			}
			pong := async(func() error { return client.Ping(t.Context()) })
			if err := server.WriteMessage(TextMessage, []byte("news")); err != nil {
				t.Error(err)
			}
			wantRead(t, client, "news")
			go readErr(client)
			if err := ended(t, "Ping", pong); err != nil {
				t.Error(err)
			}
			if ctx.Err() != nil {
				t.Error(context.Cause(ctx))
			}
			done := async(func() error { return client.Shutdown(t.Context(), CloseGoingAway, "enough") })
			<-ctx.Done()
			if err := context.Cause(ctx); !IsCloseError(err, CloseGoingAway) || err != server.Err() {
				t.Errorf("cause %v, Err %v", err, server.Err())
			}
			server.Close()
			<-done
		})
	}
	bubble(t, "the end of its context", func(t *testing.T) {
		client, server := Pipe(ConnOptions{})
		defer server.Close()
		ctx, cancel := context.WithCancel(t.Context())
		ctx = server.CloseRead(ctx)
		cancel()
		if <-ctx.Done(); context.Cause(ctx) != context.Canceled {
			t.Error(context.Cause(ctx))
		}
		// Pings are answered still.
		go readErr(client)
		if err := client.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "Close", func(t *testing.T) {
		_, server := Pipe(ConnOptions{})
		ctx := server.CloseRead(t.Context())
		server.Close()
		if <-ctx.Done(); !errors.Is(context.Cause(ctx), net.ErrClosed) {
			t.Error(context.Cause(ctx))
		}
	})
	bubble(t, "a read deadline", func(t *testing.T) {
		_, server := Pipe(ConnOptions{})
		defer server.Close()
		ctx := server.CloseRead(t.Context())
		server.SetReadDeadline(time.Now().Add(time.Hour))
		<-ctx.Done()
		wantDeadline(t, context.Cause(ctx), false)
	})
}

func TestErr(t *testing.T) {
	for name, end := range map[string]struct {
		end  func(c *Conn, p *peer)
		want func(err error) bool
	}{
		"peer closed":     {func(_ *Conn, p *peer) { p.send(closeFrame(1000, "")) }, func(err error) bool { return IsCloseError(err, 1000) }},
		"peer going away": {func(_ *Conn, p *peer) { p.send(closeFrame(1001, "")) }, func(err error) bool { return IsCloseError(err, 1001) }},
		"end of stream":   {func(_ *Conn, p *peer) { p.Close() }, func(err error) bool { return IsCloseError(err, 1006) }},
		"violation":       {func(_ *Conn, p *peer) { p.send(frame(0x83, "")) }, func(err error) bool { return errors.As(err, new(*ProtocolError)) }},
		"read limit":      {func(c *Conn, p *peer) { c.SetReadLimit(1); p.send(textFrame("ab")) }, func(err error) bool { return err == ErrReadLimit }},
		"Close":           {func(c *Conn, _ *peer) { c.Close() }, func(err error) bool { return errors.Is(err, net.ErrClosed) }},
		"Shutdown": {func(c *Conn, p *peer) {
			go c.Shutdown(context.Background(), 1000, "")
			p.send(closeFrame(1000, ""))
		}, func(err error) bool { return IsCloseError(err, 1000) }},
		"deadline inside a message": {func(c *Conn, p *peer) {
			p.send(textFrame("abc").Cut(7))
			c.SetReadDeadline(time.Now().Add(time.Second))
		}, func(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }},
		"a handler": {func(c *Conn, p *peer) {
			c.SetPingHandler(func(string) error { return errNoAnswer })
			p.send(pingFrame(""))
		}, func(err error) bool { return err == errNoAnswer }},
	} {
		bubble(t, name, func(t *testing.T) {
			a, b := newPipe()
			c := NewConn(a, ConnOptions{Server: true})
			p := newPeer(t, b, true)
			defer p.Close()
			if err := c.Err(); err != nil {
				t.Errorf("before anything: %v", err)
			}
			// A message, and a deadline between messages, end nothing.
			p.send(textFrame("a"))
			wantRead(t, c, "a")
			c.SetReadDeadline(time.Now().Add(time.Second))
			readOne(c)
			c.SetReadDeadline(time.Time{})
			done := asyncRead(c)
			synctest.Wait() // Err does not wait for the read in progress
			if err := c.Err(); err != nil {
				t.Errorf("while it is open: %v", err)
			}
			p.drain()
			end.end(c, p)
			got := <-done
			for range 2 {
				if err := c.Err(); !end.want(err) {
					t.Errorf("Err: %v; the read returned %v", err, got.err)
				}
				synctest.Wait()
				c.Close()
			}
		})
	}
}

var errNoAnswer = errors.New("no answer")

// Err may be called where a read may not.
func TestErrInHandler(t *testing.T) {
	client, server := Pipe(ConnOptions{})
	defer server.Close()
	server.SetPingHandler(func(string) error { return server.Err() })
	client.WriteControl(PingMessage, nil, time.Time{})
	client.WriteMessage(TextMessage, []byte("done"))
	wantRead(t, server, "done")
}

// A Read ends as any read does when Shutdown is called on the Conn: with net.ErrClosed and not
// before Shutdown ends, or a Close behind it would cut the close handshake short. Its deadline and
// Close end it before.
func TestStreamReadDuringShutdown(t *testing.T) {
	begin := func(t *testing.T, o ConnOptions) (client *Conn, s net.Conn, read, shutdown <-chan error) {
		client, server := Pipe(o)
		s = server.Stream(BinaryMessage)
		client.SetCloseHandler(func(int, string) error { return nil })
		read = async(func() error { return second(s.Read(make([]byte, 1))) })
		stillWaiting(t, "Read", read)
		shutdown = async(func() error { return server.Shutdown(t.Context(), CloseGoingAway, "") })
		readErr(client)
		return client, s, read, shutdown
	}
	for _, o := range []ConnOptions{{}, {EnableCompression: true}} {
		bubble(t, "answered", func(t *testing.T) {
			client, s, read, shutdown := begin(t, o)
			stillWaiting(t, "Read during Shutdown", read)
			s.SetReadDeadline(time.Now().Add(time.Second))
			advance(time.Second)
			if err := ended(t, "Read", read); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Read whose deadline passed: %v", err)
			}
			s.SetReadDeadline(time.Time{})
			read = async(func() error { return second(s.Read(make([]byte, 1))) })
			stillWaiting(t, "another Read", read)
			client.WriteControl(CloseMessage, nil, time.Time{})
			if err := ended(t, "Shutdown", shutdown); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := ended(t, "another Read", read); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read when Shutdown had ended: %v", err)
			}
		})
		bubble(t, "Close", func(t *testing.T) {
			client, s, read, shutdown := begin(t, o)
			stillWaiting(t, "Shutdown", shutdown)
			closing := async(s.Close)
			if err := ended(t, "Read", read); !errors.Is(err, net.ErrClosed) {
				t.Errorf("Read when Close was called: %v", err)
			}
			client.WriteControl(CloseMessage, nil, time.Time{})
			if err := errors.Join(ended(t, "Shutdown", shutdown), ended(t, "Close", closing)); err != nil {
				t.Error(err)
			}
		})
	}
}
