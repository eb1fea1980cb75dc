package websocket

import (
	"errors"
	"fmt"
	"io"
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

// WriteControl is bounded by its own deadline and by nothing else.
func TestWriteControlDeadline(t *testing.T) {
	for name, stale := range map[string]time.Time{"none": {}, "passed": aLongTimeAgo, "far": time.Now().Add(1e6 * time.Hour)} {
		for _, d := range []time.Duration{0, time.Minute, -time.Minute} {
			bubble(t, fmt.Sprintf("%v beside a write deadline that is %s", d, name), func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				c.SetWriteDeadline(stale)
				deadline := time.Time{}
				if d != 0 {
					deadline = time.Now().Add(d)
				}
				done := async(func() error { return c.WriteControl(PingMessage, []byte("x"), deadline) })
				if d < 0 {
					wantDeadline(t, <-done, true)
				} else {
					advance(50 * time.Second)
					p.expect(pingFrame("x"))
					if err := <-done; err != nil {
						t.Errorf("WriteControl: %v", err)
					}
				}
				// The application's deadline is in force again.
				write := async(func() error { return c.WriteMessage(TextMessage, nil) })
				if name == "passed" {
					wantDeadline(t, <-write, false)
				} else {
					p.expect(textFrame(""))
				}
			})
		}
	}
}

// Behind a writer whose peer does not read.
func TestWriteControlBehindWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		first := async(func() error { return c.WriteMessage(TextMessage, []byte("first")) })
		synctest.Wait()
		start := time.Now()
		err := c.WriteControl(PingMessage, nil, start.Add(time.Second))
		wantDeadline(t, err, true)
		if took := time.Since(start); took != time.Second {
			t.Errorf("gave up after %v", took)
		}
		forever := async(func() error { return c.WriteControl(PingMessage, []byte("y"), time.Time{}) })
		advance(time.Hour)
		stillWaiting(t, "a ping without a deadline", forever)
		p.expect(textFrame("first"), pingFrame("y"))
		if err := errors.Join(<-first, <-forever); err != nil {
			t.Error(err)
		}
		// Its own write timing out is permanent: a part may be on its way.
		err = c.WriteControl(PingMessage, nil, time.Now().Add(time.Second))
		wantDeadline(t, err, false)
		if again := c.WriteMessage(TextMessage, nil); again != err {
			t.Errorf("then %v, want the same error", again)
		}
	})
}

// The application's deadline does not end the write of a control frame, and is not forgotten if it
// is set meanwhile.
func TestSetWriteDeadlineDuringWriteControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		start := time.Now()
		ping := async(func() error { return c.WriteControl(PingMessage, []byte("x"), start.Add(time.Minute)) })
		synctest.Wait()
		c.SetWriteDeadline(start)
		stillWaiting(t, "WriteControl", ping)
		p.expect(pingFrame("x"))
		if err := <-ping; err != nil {
			t.Error(err)
		}
		wantDeadline(t, c.WriteMessage(TextMessage, nil), false)
	})
}

// A write deadline that the application set long ago stops none of what the connection sends by
// itself.
func TestStaleWriteDeadline(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		c.SetWriteDeadline(aLongTimeAgo)
		done := async(func() error { return readErr(c) })
		for i := range 3 {
			go p.send(pingFrame(fmt.Sprint(i)))
			p.expect(pongFrame(fmt.Sprint(i)))
		}
		go p.send(closeFrame(1001, "bye"))
		p.expect(closeFrame(1001, ""))
		if err := <-done; !IsCloseError(err, 1001) {
			t.Error(err)
		}
	})
}

func TestStaleWriteDeadlineFail(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		c.SetWriteDeadline(aLongTimeAgo)
		go readErr(c)
		go p.send(frame(0x83, ""))
		p.expect(closeFrame(1002, "bad opcode 3"))
	})
}

func TestStaleWriteDeadlineShutdown(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		c.SetWriteDeadline(aLongTimeAgo)
		done := async(func() error { return c.Shutdown(t.Context(), 1001, "bye") })
		p.expect(closeFrame(1001, "bye"))
		go p.send(closeFrame(1001, ""))
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// The reader meets pings while a writer waits for the peer. It goes on, and the pongs for the last
// of them leave as soon as the writer's frame is out.
func TestPongBehindWriter(t *testing.T) {
	for _, server := range []bool{true, false} {
		bubble(t, fmt.Sprint("server ", server), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: server})
			w, err := c.NextWriter(BinaryMessage)
			if err != nil {
				t.Fatal(err)
			}
			part := strings.Repeat("x", defaultBufferSize)
			writing := async(func() error {
				for range 3 {
					if _, err := io.WriteString(w, part); err != nil {
						return err
					}
				}
				return w.Close()
			})
			for i, first := range []byte{BinaryMessage, continuationFrame, finBit} {
				synctest.Wait()
				want := []wireFrame{frame(first, part)}
				for n := range maxQueuedPongs + 3 {
					ping := fmt.Sprint(i, "/", n)
					go p.send(pingFrame(ping), textFrame("read on"))
					wantRead(t, c, "read on")
					if n >= 3 {
						want = append(want, pongFrame(ping))
					}
				}
				p.expect(want...)
			}
			if err := <-writing; err != nil {
				t.Error(err)
			}
		})
	}
}

// A goroutine may take write.mu and send nothing after all.
func TestPongBehindIdleWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		c.write.mu.Lock(noContext, nil)
		go p.send(pingFrame("a"), pingFrame("b"), textFrame("read on"))
		wantRead(t, c, "read on")
		c.write.unlock()
		p.expect(pongFrame("a"), pongFrame("b"))
	})
}

// Close sends the pongs that a writer has held up, unless it goes on to do so.
func TestPongBeforeClose(t *testing.T) {
	for _, held := range []time.Duration{0, writingWait / 2, time.Hour} {
		bubble(t, held.String(), func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			frames := p.collect()
			c.write.mu.Lock(noContext, nil)
			go p.send(pingFrame("a"), textFrame("read on"))
			wantRead(t, c, "read on")
			start := time.Now()
			closed := async(func() time.Duration { c.Close(); return time.Since(start) })
			advance(held)
			c.write.unlock()
			if took := <-closed; took > writingWait {
				t.Errorf("Close took %v", took)
			}
			var want []wireFrame
			if held < writingWait {
				want = []wireFrame{pongFrame("a")}
			}
			if got := <-frames; !wiretest.Equal(got, want) {
				t.Errorf("sent %q", wiretest.Payloads(got))
			}
		})
	}
}

// However fast pings come, their pongs take a bounded space.
func TestPingFloodAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pings = 2000
		flood := wiretest.Repeat(pings, pingFrame(strings.Repeat("x", 125)))
		nc := &wiretest.ScriptConn{Script: wiretest.Encode(append(flood, pingFrame("last"), textFrame("the end")), true)}
		c := newConn(nc, connConfig{isServer: true})
		wantRead(t, c, "the end")
		c.write.mu.Lock(noContext, nil)
		if c.write.n > 2*delayLimit {
			t.Errorf("%d bytes of pongs are kept", c.write.n)
		}
		c.write.unlock()
		advance(time.Millisecond)
		c.Close()
		frames, err := wiretest.Decode(nc.Sent(), false)
		if err != nil || len(frames) == 0 || frames[len(frames)-1].Payload != "last" {
			t.Errorf("%d frames, the last is not the pong for the last ping: %v", len(frames), err)
		}
	})
}

// A peer that pings and takes no pongs costs neither memory nor the reader.
func TestPingFlood(t *testing.T) {
	const pings = 2000
	payload := func(i int) string { return fmt.Sprintf("%0125d", i) }
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		go func() {
			for i := range pings {
				p.send(pingFrame(payload(i)))
			}
			p.send(textFrame("the end"))
		}()
		wantRead(t, c, "the end")
		last := ""
		for n := 0; last != payload(pings-1); n++ {
			f, err := p.next()
			if err != nil || f.First != 0x8a || f.Payload <= last {
				t.Fatalf("frame %02x %s behind %s: %v", f.First, f.Payload, last, err)
			}
			if last = f.Payload; n*127 > 3*delayLimit {
				t.Fatalf("%d pongs were kept", n)
			}
		}
	})
}

func TestPingFloodOverTCP(t *testing.T) {
	const pings = 50_000
	c, p := overTCP(t, connConfig{isServer: true})
	c.conn.(*net.TCPConn).SetWriteBuffer(4 << 10)
	flood := wiretest.Encode(wiretest.Repeat(1000, pingFrame(strings.Repeat("x", 125))), true)
	go func() {
		for range pings / 1000 {
			p.Write(flood)
		}
		p.send(pingFrame("last"), textFrame("the end"))
	}()
	wantRead(t, c, "the end")
	for {
		f, err := p.next()
		if err != nil || f.First != 0x8a {
			t.Fatalf("frame %02x, %v, want a pong", f.First, err)
		}
		if f.Payload == "last" {
			break
		}
	}
}

func TestControlHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		var seen []string
		note := func(kind string) func(string) error {
			return func(data string) error { seen = append(seen, kind+" "+data); return nil }
		}
		c.SetPingHandler(note("ping"))
		c.SetPongHandler(note("pong"))
		go p.send(pingFrame("1"), pongFrame("2"), frame(0x01, "a"), pingFrame("3"), frame(0x80, "b"))
		wantRead(t, c, "ab")
		if got := strings.Join(seen, ", "); got != "ping 1, pong 2, ping 3" {
			t.Errorf("handlers saw %s", got)
		}
		// What the accessors return is what was set, and can be called.
		c.PingHandler()("4")
		c.PongHandler()("5")
		if got := strings.Join(seen[3:], ", "); got != "ping 4, pong 5" {
			t.Errorf("the handlers returned are not those set: %s", got)
		}
		// nil restores the defaults: a pong, and nothing.
		c.SetPingHandler(nil)
		c.SetPongHandler(nil)
		go p.send(pingFrame("6"), pongFrame("7"), textFrame("c"))
		frames := p.collect()
		wantRead(t, c, "c")
		if err := errors.Join(c.PingHandler()("8"), c.PongHandler()("9")); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		c.Close()
		if got := <-frames; !wiretest.Equal(got, []wireFrame{pongFrame("6"), pongFrame("8")}) {
			t.Errorf("sent %q", wiretest.Payloads(got))
		}
		if len(seen) != 5 {
			t.Errorf("handlers that were removed saw %q", seen[5:])
		}
	})
}

func TestControlHandlerErrors(t *testing.T) {
	failure := errors.New("the handler's")
	for _, test := range []struct {
		name  string
		set   func(c *Conn)
		frame wireFrame
	}{
		{"ping", func(c *Conn) { c.SetPingHandler(func(string) error { return failure }) }, pingFrame("")},
		{"pong", func(c *Conn) { c.SetPongHandler(func(string) error { return failure }) }, pongFrame("")},
		{"close", func(c *Conn) { c.SetCloseHandler(func(int, string) error { return failure }) }, closeFrame(1000, "")},
	} {
		for _, method := range readMethods {
			bubble(t, test.name+" in "+method.name, func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				p.drain()
				test.set(c)
				go p.send(test.frame, textFrame("never"))
				for range 2 {
					if _, err := method.read(c); err != failure {
						t.Errorf("error %v, want the handler's itself", err)
					}
				}
				if err := c.WriteMessage(TextMessage, nil); err != nil {
					t.Errorf("writing ended as well: %v", err)
				}
			})
		}
	}
}

// Handlers may write whatever they like.
func TestControlHandlersWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := overPipe(t, connConfig{isServer: true})
		c.SetPingHandler(func(data string) error {
			w, err := c.NextWriter(TextMessage)
			if err != nil {
				return err
			}
			io.WriteString(w, "pinged with "+data)
			return errors.Join(w.Close(), c.WriteControl(PongMessage, []byte(data), time.Now().Add(time.Second)))
		})
		c.SetPongHandler(func(data string) error { return c.WriteMessage(TextMessage, []byte("ponged with "+data)) })
		c.SetCloseHandler(func(code int, text string) error {
			c.WriteMessage(TextMessage, []byte("last words"))
			return c.WriteControl(CloseMessage, FormatCloseMessage(code, text), time.Time{})
		})
		frames := p.collect()
		go p.send(pingFrame("x"), pongFrame("y"), closeFrame(4000, "z"))
		if err := readErr(c); !IsCloseError(err, 4000) {
			t.Error(err)
		}
		c.Close()
		want := []wireFrame{textFrame("pinged with x"), pongFrame("x"), textFrame("ponged with y"),
			textFrame("last words"), closeFrame(4000, "z")}
		if got := <-frames; !wiretest.Equal(got, want) {
			t.Errorf("sent %q", wiretest.Payloads(got))
		}
	})
}

// Each ping gets its pong where nobody else writes, however the pong has to leave.
func TestEachPingIsAnswered(t *testing.T) {
	overEach(t, func(t *testing.T, c *Conn, p *peer) {
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		go func() {
			readErr(c)
			c.Close()
		}()
		frames := p.collect()
		for i := range maxQueuedPongs {
			p.send(pingFrame(fmt.Sprint(i)))
		}
		p.send(closeFrame(CloseNormalClosure, ""))
		if got := <-frames; len(got) != maxQueuedPongs+1 {
			t.Errorf("%d frames for %d pings and a close frame: %v", len(got), maxQueuedPongs, got)
		}
	})
}

// The default ping handler may be called from any goroutine.
func TestDefaultPingHandlerElsewhere(t *testing.T) {
	c, p := overTCP(t, connConfig{isServer: true})
	p.drain()
	answer := c.PingHandler()
	var answering sync.WaitGroup
	c.SetPingHandler(func(appData string) error {
		answering.Go(func() { answer(appData) })
		return nil
	})
	const n = 500
	go p.send(wiretest.Repeat(n, pingFrame("x"), textFrame("abc"))...)
	for range n {
		wantRead(t, c, "abc")
	}
	answering.Wait()
}

// What a handler returned is the answer to every later read: no retry will do.
func TestHandlerErrorIsPermanent(t *testing.T) {
	late := func(c *Conn) error { return c.WriteControl(PongMessage, nil, aLongTimeAgo) }
	for name, set := range map[string]func(c *Conn){
		"ping":  func(c *Conn) { c.SetPingHandler(func(string) error { return late(c) }) },
		"pong":  func(c *Conn) { c.SetPongHandler(func(string) error { return late(c) }) },
		"close": func(c *Conn) { c.SetCloseHandler(func(int, string) error { return late(c) }) },
	} {
		c := newConn(&wiretest.ScriptConn{Script: wiretest.Encode([]wireFrame{pingFrame("x"), pongFrame("x"), closeFrame(1000, "")}, true)}, connConfig{isServer: true})
		set(c)
		for range 2 {
			wantDeadline(t, readErr(c), false)
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// The wire is handed to someone who has given up on it. What was left for its holder in between is
// done.
func TestPongBehindOneWhoGaveUp(t *testing.T) {
	for range 20 { // whether he has is a race
		synctest.Test(t, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			frames := p.collect()
			c.write.mu.Lock(noContext, nil)
			ctx, cancel := newCancel()
			write := async(func() error { return c.WriteMessageContext(ctx, TextMessage, []byte("a")) })
			synctest.Wait()
			cancel()
			c.write.unlock()
			c.write.sendPong([]byte("x"), false)
			err := ended(t, "write", write)
			c.Close()
			want := 1
			if err == nil {
				want = 2
			}
			if got := <-frames; len(got) != want {
				t.Errorf("%d frames, %v", len(got), err)
			}
		})
	}
}

// Writers that hand write.mu to each other leave a pong its turn.
func TestPongAmongWriters(t *testing.T) {
	c, p := overPipe(t, connConfig{isServer: true})
	asyncRead(c)
	for range 8 {
		go func() {
			for c.WriteMessage(BinaryMessage, []byte("busy")) == nil {
			}
		}()
	}
	for i := range 100_000 {
		if i == 100 {
			go p.send(pingFrame("are you there?"))
		}
		f, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.First == finBit|PongMessage {
			return
		}
	}
	t.Error("no pong among 100,000 messages")
}

// A handler that panics, or ends its goroutine, ends the reading; it does not leave it locked.
func TestHandlerDoesNotReturn(t *testing.T) {
	for _, kind := range []string{"ping", "pong", "close"} {
		for name, leave := range map[string]func(){
			"panic": func() { panic("handler") },
			"exit":  runtime.Goexit,
		} {
			bubble(t, kind+" "+name, func(t *testing.T) {
				c, p := overPipe(t, connConfig{isServer: true})
				c.SetPingHandler(func(string) error { leave(); return nil })
				c.SetPongHandler(func(string) error { leave(); return nil })
				c.SetCloseHandler(func(int, string) error { leave(); return nil })
				p.drain()
				go p.send(map[string]wireFrame{"ping": pingFrame(""), "pong": pongFrame(""), "close": closeFrame(1000, "")}[kind])
				gone := make(chan bool)
				go func() {
					defer close(gone)
					defer func() { recover() }()
					c.ReadMessage()
				}()
				<-gone
				if err := ended(t, "a read", asyncRead(c)).err; err != errHandlerExit {
					t.Errorf("a read: %v", err)
				}
				if err := ended(t, "Ping", async(func() error { return c.Ping(t.Context()) })); err != errHandlerExit {
					t.Errorf("Ping: %v", err)
				}
				ended(t, "Shutdown", async(func() error { return c.Shutdown(t.Context(), 1000, "") }))
			})
		}
	}
}

// A WriteControl that waited for its turn until its deadline has begun nothing: the connection
// stays usable.
func TestWriteControlTurnAtDeadline(t *testing.T) {
	for range 50 { // the turn and the deadline come at the same time, in either order
		synctest.Test(t, func(t *testing.T) {
			a, b := newPipe()
			c := newConn(&slowWrites{a, time.Second}, connConfig{isServer: true})
			defer c.Close()
			defer b.Close()
			first := async(func() error { return c.WriteMessage(TextMessage, []byte("first")) })
			synctest.Wait()
			err := c.WriteControl(PingMessage, nil, time.Now().Add(time.Second))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("WriteControl: %v", err)
			}
			if err := <-first; err != nil {
				t.Error(err)
			}
			if err := c.WriteMessage(TextMessage, []byte("second")); err != nil {
				t.Fatalf("after it: %v", err)
			}
		})
	}
}

// slowWrites is a net.Conn whose writes take their time.
type slowWrites struct {
	net.Conn
	d time.Duration
}

func (s *slowWrites) Write(p []byte) (int, error) {
	time.Sleep(s.d)
	return s.Conn.Write(p)
}
