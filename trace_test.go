package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// A traceLog is what a Trace was told, in order.
type traceLog struct {
	mu     sync.Mutex
	events []string
	wire   [2]int // bytes in, bytes out
	err    error
}

func (l *traceLog) add(format string, a ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, fmt.Sprintf(format, a...))
}

func (l *traceLog) trace() *Trace {
	return &Trace{
		Opened: func(c *Conn) { l.add("opened") },
		Message: func(c *Conn, out bool, messageType, size, wire int) {
			direction := 0
			if out {
				direction = 1
			}
			l.add("%s type %d size %d", [2]string{"in", "out"}[direction], messageType, size)
			l.mu.Lock()
			l.wire[direction] += wire
			l.mu.Unlock()
		},
		Ping: func(c *Conn, rtt time.Duration) { l.add("ping %v", rtt) },
		Closed: func(c *Conn, err error) {
			l.add("closed")
			l.mu.Lock()
			l.err = err
			l.mu.Unlock()
		},
	}
}

// take returns the events since the last call.
func (l *traceLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	events := l.events
	l.events = nil
	return events
}

func (l *traceLog) want(t *testing.T, want ...string) {
	t.Helper()
	if got := l.take(); !slices.Equal(got, want) {
		t.Errorf("trace:\n%q, want\n%q", got, want)
	}
}

func traced(l *traceLog, cfg connConfig) connConfig {
	cfg.trace = l.trace()
	return cfg
}

// A countingConn counts the bytes that are written to it.
type countingConn struct {
	net.Conn
	written atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// Every way to send a message, and every way to read one, is reported once at each end, with the
// length of the message and the very bytes that went over the connection.
func TestTraceMessage(t *testing.T) {
	random := make([]byte, 70000)
	rand.NewChaCha8([32]byte{}).Read(random)
	messages := [][]byte{{}, []byte("x"), []byte(strings.Repeat("a", 125)), []byte(strings.Repeat("a", 126)),
		[]byte(strings.Repeat("ab", 10000)), []byte(strings.Repeat("abc", 30000)), random[:1000], random}
	writers := map[string]func(c *Conn, p []byte) error{
		"WriteMessage": func(c *Conn, p []byte) error { return c.WriteMessage(BinaryMessage, p) },
		"NextWriter": func(c *Conn, p []byte) error {
			w, err := c.NextWriter(BinaryMessage)
			for len(p) > 0 && err == nil {
				n := min(len(p), 3000)
				_, err = w.Write(p[:n])
				p = p[n:]
			}
			return errors.Join(err, w.Close())
		},
		"WritePreparedMessage": func(c *Conn, p []byte) error {
			m, err := NewPreparedMessage(BinaryMessage, p)
			return errors.Join(err, c.WritePreparedMessage(m))
		},
	}
	readers := map[string]func(c *Conn) error{
		"ReadMessage": readErr,
		"NextReader": func(c *Conn) error {
			_, r, err := c.NextReader()
			if err == nil {
				_, err = io.Copy(io.Discard, r)
			}
			return err
		},
		"Messages": func(c *Conn) error {
			for _, err := range c.Messages(context.Background()) {
				return err
			}
			return nil
		},
	}
	for wn, write := range writers {
		for rn, read := range readers {
			for _, client := range []bool{false, true} {
				for compression := range 3 {
					name := fmt.Sprintf("%s/%s/client sends %v/compression %d", wn, rn, client, compression)
					bubble(t, name, func(t *testing.T) {
						a, b := net.Pipe()
						counter := &countingConn{Conn: a}
						var out, in traceLog
						from := newConn(counter, traced(&out, wireConfig(!client, compression > 0, compression > 1)))
						to := newConn(b, traced(&in, wireConfig(client, compression > 0, compression > 1)))
						defer from.Close()
						defer to.Close()
						out.want(t, "opened")
						in.want(t, "opened")
						for _, p := range messages {
							sent := async(func() error { return write(from, p) })
							if err := read(to); err != nil {
								t.Fatal(err)
							}
							if err := <-sent; err != nil {
								t.Fatal(err)
							}
							out.want(t, fmt.Sprintf("out type 2 size %d", len(p)))
							in.want(t, fmt.Sprintf("in type 2 size %d", len(p)))
							if n := int(counter.written.Load()); out.wire[1] != n || in.wire[0] != n {
								t.Fatalf("message of %d bytes: %d bytes on the connection, reported %d and %d",
									len(p), n, out.wire[1], in.wire[0])
							}
						}
					})
				}
			}
		}
	}
}

// Fragments count as one message, with all their headers; control frames between them do not count,
// nor does a message that does not reach its end.
func TestTraceFragments(t *testing.T) {
	bubble(t, "fragments", func(t *testing.T) {
		var l traceLog
		c, p := overPipe(t, traced(&l, connConfig{isServer: true}))
		p.drain()
		go p.send(
			frame(0x01, "ab"), pingFrame("between"), frame(0x00, ""), frame(0x00, strings.Repeat("c", 200)), frame(0x80, "d"),
			textFrame("skipped"), textFrame("last"), frame(0x01, "cut off"))
		wantRead(t, c, "ab"+strings.Repeat("c", 200)+"d")
		if _, _, err := c.NextReader(); err != nil {
			t.Fatal(err)
		}
		l.want(t, "opened", "in type 1 size 203")
		if wire := (6 + 2) + 6 + (8 + 200) + (6 + 1); l.wire[0] != wire {
			t.Errorf("%d bytes on the connection, want %d", l.wire[0], wire)
		}
		wantRead(t, c, "last")
		l.want(t, "in type 1 size 7", "in type 1 size 4")
		if _, r, err := c.NextReader(); err != nil {
			t.Fatal(err)
		} else if _, err := io.ReadFull(r, make([]byte, 7)); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			c.WriteMessage(PingMessage, []byte("not data")),
			c.WriteControl(PongMessage, nil, time.Time{}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		c.Close()
		l.want(t, "closed")
	})
}

// A message that was refused or given up was not sent.
func TestTraceMessageNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l traceLog
		c, s, _ := sunk(t, traced(&l, connConfig{isServer: true}))
		ctx, cancel := context.WithCancel(t.Context())
		w, err := c.NextWriterContext(ctx, TextMessage)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, strings.Repeat("x", 2*defaultBufferSize))
		cancel()
		if err := w.Close(); err == nil {
			t.Error("a message whose context has ended was sent")
		}
		s.fail(errors.New("broken"))
		if err := c.WriteControl(PingMessage, nil, time.Time{}); err == nil {
			t.Error("a broken connection takes frames")
		}
		if err := c.WriteMessage(TextMessage, nil); err == nil {
			t.Error("a broken connection takes messages")
		}
		l.want(t, "opened")
	})
}

func TestTraceAllocs(t *testing.T) {
	var messages, total atomic.Int64
	trace := &Trace{Message: func(c *Conn, out bool, messageType, size, wire int) {
		messages.Add(1)
		total.Add(int64(wire))
	}}
	data := make([]byte, 100)
	nc := &loopConn{in: clientFrame(finBit|BinaryMessage, data), step: 1 << 20}
	c := newConn(nc, connConfig{isServer: true, trace: trace})
	pm, err := NewPreparedMessage(BinaryMessage, data)
	if err != nil {
		t.Fatal(err)
	}
	pinAllocs(t, "ReadMessage", 1, func() { c.ReadMessage() }) // what it returns
	pinAllocs(t, "WriteMessage", 0, func() { c.WriteMessage(BinaryMessage, data) })
	pinAllocs(t, "WritePreparedMessage", 0, func() { c.WritePreparedMessage(pm) })
	pinAllocs(t, "NextWriter", 1, func() {
		w, _ := c.NextWriter(BinaryMessage)
		w.Write(data)
		w.Close()
	})
	if raceEnabled() {
		return
	}
	turns := 0
	var before, after runtime.MemStats
	for _, err := range c.Messages(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		switch turns++; turns {
		case 100:
			runtime.ReadMemStats(&before)
		case 1100:
			runtime.ReadMemStats(&after)
		}
		if turns == 1100 {
			break
		}
	}
	if n := after.Mallocs - before.Mallocs; n > 100 {
		t.Errorf("Messages: %d allocations for 1000 messages", n)
	}
	if messages.Load() < 1900 {
		t.Errorf("%d messages were reported", messages.Load())
	}
}

func TestTraceHandshake(t *testing.T) {
	var server, client traceLog
	upgrader := Upgrader{Trace: server.trace()}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		server.want(t, "opened")
		c.ReadMessage()
		server.want(t, "closed")
	}))
	defer srv.Close()
	if _, err := http.Get(srv.URL); err != nil { // refused
		t.Fatal(err)
	}
	d := Dialer{Trace: client.trace()}
	if _, _, err := d.Dial("ws"+srv.URL[4:], http.Header{"Origin": {"https://elsewhere.example"}}); err == nil {
		t.Fatal("a foreign origin passed")
	}
	client.want(t)
	server.want(t)
	c, _, err := d.Dial("ws"+srv.URL[4:], nil)
	if err != nil {
		t.Fatal(err)
	}
	client.want(t, "opened")
	if err := c.Shutdown(t.Context(), CloseNormalClosure, ""); err != nil {
		t.Error(err)
	}
	client.want(t, "closed")
	if !IsCloseError(client.err, CloseNormalClosure) {
		t.Errorf("closed with %v, want the code that the peer echoed", client.err)
	}
}

// The round trips are those of the pings, to the nanosecond.
func TestTracePing(t *testing.T) {
	bubble(t, "Ping", func(t *testing.T) {
		var l traceLog
		c, p := overPipe(t, traced(&l, connConfig{isServer: true}))
		asyncRead(c)
		l.take()
		for _, rtt := range []time.Duration{time.Millisecond, 3 * time.Second} {
			done := async(func() error { return c.Ping(t.Context()) })
			_, f := nextPing(t, p, time.Now())
			p.send(pongFrame("another"))
			time.Sleep(rtt)
			p.send(pongFrame(f.Payload), pongFrame(f.Payload))
			if err := ended(t, "Ping", done); err != nil {
				t.Error(err)
			}
			l.want(t, fmt.Sprint("ping ", rtt))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		done := async(func() error { return c.Ping(ctx) })
		nextPing(t, p, time.Now())
		advance(time.Second)
		if err := ended(t, "Ping", done); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		l.want(t)
	})
	bubble(t, "KeepAlive", func(t *testing.T) {
		var l traceLog
		c, p := overPipe(t, traced(&l, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}}))
		asyncRead(c)
		l.take()
		for range 3 {
			_, f := nextPing(t, p, time.Now())
			time.Sleep(time.Second)
			// An unsolicited pong, and one more than was asked for, tell of no round trip.
			p.send(pongFrame(""), pongFrame(f.Payload), pongFrame(f.Payload))
			synctest.Wait()
			l.want(t, "ping 1s")
		}
	})
	// RFC 6455 §5.5.3: an endpoint may answer the latest of several pings alone.
	bubble(t, "KeepAlive, late", func(t *testing.T) {
		var l traceLog
		c, p := overPipe(t, traced(&l, connConfig{isServer: true,
			keepAlive: KeepAlive{Interval: time.Minute, Timeout: time.Hour}}))
		go func() {
			for readErr(c) == nil {
			}
		}()
		l.take()
		start := time.Now()
		nextPing(t, p, start)
		first := time.Now()
		p.send(textFrame("busy"))
		_, f := nextPing(t, p, start)
		p.send(pongFrame(f.Payload))
		synctest.Wait()
		l.want(t, "in type 1 size 4", fmt.Sprint("ping ", time.Since(first)))
	})
}

// Closed is called once, with what ended the connection.
func TestTraceClosed(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(t *testing.T, c *Conn, p *peer)
		want func(err error) bool
	}{
		"close frame": {
			func(t *testing.T, c *Conn, p *peer) { go p.send(closeFrame(4001, "bye")); readErr(c) },
			func(err error) bool { return IsCloseError(err, 4001) },
		},
		"end of stream": {
			func(t *testing.T, c *Conn, p *peer) { p.Close(); readErr(c) },
			func(err error) bool { return IsCloseError(err, CloseAbnormalClosure) },
		},
		"violation": {
			func(t *testing.T, c *Conn, p *peer) { go p.send(frame(0x83, "")); readErr(c) },
			func(err error) bool { var pe *ProtocolError; return errors.As(err, &pe) },
		},
		"message too big": {
			func(t *testing.T, c *Conn, p *peer) {
				c.SetReadLimit(1)
				go p.send(textFrame("too big"))
				readErr(c)
			},
			func(err error) bool { return err == ErrReadLimit },
		},
		"handler": {
			func(t *testing.T, c *Conn, p *peer) {
				c.SetPingHandler(func(string) error { return errors.New("enough") })
				go p.send(pingFrame(""))
				readErr(c)
			},
			func(err error) bool { return strings.Contains(err.Error(), "enough") },
		},
		"keep-alive": {
			func(t *testing.T, c *Conn, p *peer) { asyncRead(c); advance(3 * time.Minute) },
			func(err error) bool { return isTimeout(err) },
		},
		"Close": {
			func(t *testing.T, c *Conn, p *peer) { c.Close() },
			func(err error) bool { return errors.Is(err, net.ErrClosed) },
		},
		"Close during a read": {
			func(t *testing.T, c *Conn, p *peer) { asyncRead(c); synctest.Wait(); c.Close() },
			func(err error) bool { return errors.Is(err, net.ErrClosed) },
		},
		"Shutdown": {
			func(t *testing.T, c *Conn, p *peer) {
				go p.send(closeFrame(4002, ""))
				c.Shutdown(t.Context(), CloseNormalClosure, "")
			},
			func(err error) bool { return IsCloseError(err, 4002) },
		},
		"Shutdown without an answer": {
			func(t *testing.T, c *Conn, p *peer) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				c.Shutdown(ctx, CloseNormalClosure, "")
			},
			func(err error) bool { return errors.Is(err, net.ErrClosed) },
		},
	} {
		bubble(t, name, func(t *testing.T) {
			var l traceLog
			c, p := overPipe(t, traced(&l, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Minute}}))
			p.drain()
			l.want(t, "opened")
			row.end(t, c, p)
			synctest.Wait()
			l.want(t, "closed")
			if !row.want(l.err) {
				t.Errorf("closed with %v", l.err)
			}
			c.Close()
			readErr(c)
			c.Close()
			synctest.Wait()
			l.want(t)
		})
	}
}

// The functions may write and close, wherever they are called.
func TestTraceFunctionsMayWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trace := &Trace{
			Opened: func(c *Conn) { c.WriteMessage(TextMessage, []byte("opened")) },
			Message: func(c *Conn, out bool, messageType, size, wire int) {
				if !out {
					c.WriteMessage(TextMessage, []byte("got it"))
				}
			},
			Closed: func(c *Conn, err error) { c.Close() },
		}
		a, b := net.Pipe()
		p := newPeer(t, b, true)
		made := async(func() *Conn { return newConn(a, connConfig{isServer: true, trace: trace}) })
		p.expect(textFrame("opened"))
		c := <-made
		done := asyncRead(c)
		p.send(textFrame("a"))
		p.expect(textFrame("got it"))
		if got := ended(t, "read", done); got.data != "a" || got.err != nil {
			t.Error(got)
		}
		done = asyncRead(c)
		p.drain()
		p.send(closeFrame(CloseNormalClosure, ""))
		if got := ended(t, "read", done); !IsCloseError(got.err, CloseNormalClosure) {
			t.Error(got.err)
		}
		if err := c.WriteMessage(TextMessage, nil); err == nil {
			t.Error("the connection is not closed")
		}
	})
}

// A function that panics or ends its goroutine leaves no lock behind: the other goroutines go on.
func TestTraceFunctionDoesNotReturn(t *testing.T) {
	for _, exit := range []func(){func() { panic("trace") }, runtime.Goexit} {
		for _, where := range []string{"in", "out", "ping", "closed"} {
			bubble(t, where, func(t *testing.T) {
				here := func(place string) {
					if place == where {
						exit()
					}
				}
				c, p := overPipe(t, connConfig{isServer: true, keepAlive: KeepAlive{Interval: time.Second}, trace: &Trace{
					Message: func(c *Conn, out bool, messageType, size, wire int) {
						if out {
							here("out")
						} else {
							here("in")
						}
					},
					Ping:   func(c *Conn, rtt time.Duration) { here("ping") },
					Closed: func(c *Conn, err error) { here("closed") },
				}})
				frames := p.collect()
				guarded := func(f func()) {
					done := make(chan bool)
					go func() {
						defer close(done)
						defer func() { recover() }()
						f()
					}()
					<-done
				}
				switch where {
				case "in":
					go p.send(textFrame("a"))
					guarded(func() { readErr(c) })
				case "out":
					guarded(func() { c.WriteMessage(TextMessage, nil) })
				case "ping":
					go func() {
						time.Sleep(1500 * time.Millisecond)
						p.send(pongFrame(string(c.keep.payload[:])))
					}()
					guarded(func() { readErr(c) })
				case "closed":
					go p.send(closeFrame(CloseNormalClosure, ""))
					guarded(func() { readErr(c) })
				}
				if where == "out" {
					done := asyncRead(c)
					p.send(textFrame("b"))
					if got := ended(t, "read", done); got.data != "b" {
						t.Error(got)
					}
				} else if got := ended(t, "read", asyncRead(c)); got.err == nil {
					t.Error("a read succeeds")
				}
				write := async(func() error { return c.WriteControl(PingMessage, nil, time.Time{}) })
				ended(t, "write", write)
				guarded(func() { c.Close() })
				p.Close()
				<-frames
			})
		}
	}
}

// A dial that fails opens no connection.
func TestTraceDialFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l traceLog
		d := pipeDialer(t, func(c net.Conn, br *bufio.Reader, r *http.Request) {
			io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
		})
		d.Trace = l.trace()
		if _, _, err := d.DialContext(t.Context(), "ws://server.example/", nil); err == nil {
			t.Error("a 503 is no connection")
		}
		l.want(t)
	})
}

// Connections without a goroutine report like all others, a compressed message that comes in pieces
// included.
func TestTraceHandle(t *testing.T) {
	var l traceLog
	c, p := overTCP(t, traced(&l, wireConfig(true, true, false)))
	l.want(t, "opened")
	got := make(chan string)
	c.Handle(func(c *Conn, m Message, err error) {
		if err != nil {
			got <- err.Error()
		} else {
			got <- string(m.Data)
		}
	})
	text := strings.Repeat("abc", 1000)
	whole := deflatedFrame(text)
	head := frame(rsv1Bit|BinaryMessage, whole.Payload[:3])
	p.send(head)
	p.send(frame(finBit, whole.Payload[3:]), textFrame("second"))
	for _, want := range []string{text, "second"} {
		if s := <-got; s != want {
			t.Errorf("handled %s, want %s", wiretest.Shortened(s), wiretest.Shortened(want))
		}
	}
	l.want(t, "in type 2 size 3000", "in type 1 size 6")
	if wire := 2*(2+4) + len(whole.Payload) + (2 + 4 + 6); l.wire[0] != wire {
		t.Errorf("%d bytes on the connection, want %d", l.wire[0], wire)
	}
	p.send(closeFrame(4001, ""))
	<-got
	l.want(t, "closed")
	if !IsCloseError(l.err, 4001) {
		t.Errorf("closed with %v", l.err)
	}
}
