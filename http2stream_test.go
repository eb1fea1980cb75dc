package websocket_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket"
)

// A hijackedStream is the connection that a handler hijacked from an extended CONNECT, in a bubble.
type hijackedStream struct {
	net.Conn
	ctx    context.Context // of the request
	body   *streamBody
	w      *streamWriter
	leave  chan bool     // the handler returns when it is closed, and panics on true
	served chan struct{} // ServeHTTP has returned
}

// inStream runs f with a connection whose handler runs until h.leave is closed.
func inStream(t *testing.T, base context.Context, f func(t *testing.T, s *hijackedStream)) {
	synctest.Test(t, func(t *testing.T) {
		if base == nil {
			base = t.Context()
		}
		s := &hijackedStream{
			body:  newStreamBody(""),
			w:     newStreamWriter(t),
			leave: make(chan bool),
		}
		s.served = make(chan struct{})
		hijacked := make(chan struct{})
		go func() {
			defer close(s.served)
			defer func() {
				if err := recover(); err != nil && err != http.ErrAbortHandler {
					panic(err)
				}
			}()
			serveConnectTo(s.w, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s.Conn = hijack(t, w)
				s.ctx = r.Context()
				io.WriteString(s.Conn, switching+"\r\n")
				close(hijacked)
				if <-s.leave {
					panic(http.ErrAbortHandler)
				}
			}), connectRequest(base, s.body))
		}()
		<-hijacked
		f(t, s)
	})
}

func (s *hijackedStream) end() {
	s.Close()
	close(s.leave)
	<-s.served
}

// A read deadline ends a Read and nothing else.
func TestHTTP2ReadDeadline(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		defer s.end()
		buf := make([]byte, 10)
		start := time.Now()
		for i := range 20 {
			s.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := s.Read(buf); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !isTimeout(err) {
				t.Fatalf("%d: %d, %v", i, n, err)
			}
		}
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("20 reads of a second took %v", d)
		}
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline that has passed: %v", err)
		}
		s.body.receive("hello", nil) // between the reads
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline that has passed, with data: %v", err)
		}
		s.SetReadDeadline(time.Time{})
		if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}

		// Set by another goroutine while a Read waits: an hour, then one in the past.
		s.SetReadDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(2*time.Hour, func() { s.SetReadDeadline(time.Unix(1, 0)) })
		time.AfterFunc(time.Minute, func() { s.SetReadDeadline(time.Time{}) })
		start = time.Now()
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Hour {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		// And moved ahead.
		s.SetReadDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(time.Minute, func() { s.SetReadDeadline(time.Now().Add(time.Minute)) })
		start = time.Now()
		if _, err := s.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		s.SetDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(time.Minute, func() { s.body.receive("world", nil) })
		if n, err := s.Read(buf); string(buf[:n]) != "world" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if n, err := s.Read(nil); n != 0 || err != nil {
			t.Errorf("an empty Read: %d, %v", n, err)
		}
	})
}

// A write deadline that passes between Writes is not noticed; one that passes in a Write ends it
// and resets the stream.
func TestHTTP2WriteDeadline(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		defer s.end()
		s.SetWriteDeadline(time.Now().Add(time.Second))
		time.Sleep(time.Minute)
		if _, err := s.Write([]byte("late")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a deadline that has passed: %v", err)
		}
		s.SetWriteDeadline(time.Now().Add(time.Hour))
		if n, err := s.Write([]byte("first")); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if s.w.resetCount() != 0 {
			t.Error("the stream was reset")
		}
		s.w.stall = make(chan struct{})
		start := time.Now()
		if n, err := s.Write([]byte("second")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("%d, %v after %v", n, err, time.Since(start))
		}
		s.SetWriteDeadline(time.Time{})
		if _, err := s.Write([]byte("third")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a Write after one that did not end: %v", err)
		}
		if s.w.resetCount() != 1 || s.w.written() != "first" {
			t.Errorf("%d resets, written %q", s.w.resetCount(), s.w.written())
		}
		// It can still be read what has come.
		s.body.receive("hello", errStreamReset)
		buf := make([]byte, 10)
		if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
	})
}

// A peer that takes nothing from the whole HTTP/2 connection, so that not even a reset can be sent,
// does not hold up deadlines and Close. Only the handler's goroutine has to wait.
func TestHTTP2ConnectionStalled(t *testing.T) {
	for _, how := range []string{"deadline", "Close"} {
		t.Run(how, func(t *testing.T) {
			inStream(t, nil, func(t *testing.T, s *hijackedStream) {
				s.w.stall, s.w.deaf = make(chan struct{}), true
				want := os.ErrDeadlineExceeded
				if how == "deadline" {
					s.SetWriteDeadline(time.Now().Add(time.Second))
				} else {
					want = net.ErrClosed
					time.AfterFunc(time.Second, func() { s.Close() })
				}
				data := []byte("hello")
				start := time.Now()
				if _, err := s.Write(data); !errors.Is(err, want) || time.Since(start) != time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				clear(data) // is the caller's again
				s.Close()
				close(s.leave)
				synctest.Wait()
				select {
				case <-s.served:
					t.Error("the handler returned while its ResponseWriter was in use")
				default:
				}
				close(s.w.stall)
				<-s.served
				if got := s.w.written(); got != "hello" {
					t.Errorf("the ResponseWriter got %q, which the caller of Write has changed", got)
				}
			})
		})
	}
}

// Close ends Reads and Writes in progress, once.
func TestHTTP2Close(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		s.w.stall = make(chan struct{})
		var errs [2]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() {
				if i == 0 {
					_, errs[i] = s.Read(make([]byte, 1))
				} else {
					_, errs[i] = s.Write(make([]byte, 100<<10))
				}
			})
		}
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		for i, err := range errs {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if s.w.resetCount() != 0 {
			t.Error("the stream was reset at once")
		}
		time.Sleep(time.Minute)
		if s.w.resetCount() != 1 {
			t.Errorf("%d resets", s.w.resetCount())
		}
		_, rerr := s.Read(make([]byte, 1))
		_, werr := s.Write(make([]byte, 1))
		for _, err := range []error{rerr, werr, s.Close()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		}
		close(s.leave)
		<-s.served
	})
}

// What a Write has given to net/http leaves after Close.
func TestHTTP2CloseSending(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		s.w.stall = make(chan struct{})
		written := make(chan error)
		go func() {
			_, err := s.Write([]byte("hello"))
			written <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-written; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		close(s.w.stall)
		close(s.leave)
		<-s.served
		time.Sleep(time.Minute)
		if s.w.resetCount() != 0 || s.w.written() != "hello" {
			t.Errorf("%d resets, written %q", s.w.resetCount(), s.w.written())
		}
	})
}

// A Close of a stream that is not in use resets nothing: the handler's return ends the stream.
func TestHTTP2CloseIdle(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		s.Write([]byte("hello"))
		s.end()
		if s.w.resetCount() != 0 || s.w.status != 200 || s.w.written() != "hello" {
			t.Errorf("%d resets, status %d, written %q", s.w.resetCount(), s.w.status, s.w.written())
		}
	})
}

// The handler may return before the connection is closed.
func TestHTTP2HandlerReturnsEarly(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		close(s.leave)
		synctest.Wait()
		select {
		case <-s.ctx.Done(): // as over HTTP/1.1
		default:
			t.Error("the request's context goes on")
		}
		s.body.receive("hello", nil)
		buf := make([]byte, 10)
		if n, err := s.Read(buf); string(buf[:n]) != "hello" || err != nil {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if _, err := s.Write([]byte("world")); err != nil || s.w.written() != "world" {
			t.Errorf("%v, %q", err, s.w.written())
		}
		select {
		case <-s.served:
			t.Error("the request ended before Close")
		default:
		}
		s.Close()
		<-s.served
	})
}

// A handler that panics ends its connection, and net/http gets the panic.
func TestHTTP2Panic(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		read := make(chan error)
		go func() {
			_, err := s.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		s.leave <- true
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		<-s.served
	})
}

// What the peer did is told as by a TCP connection, and early data is not lost.
func TestHTTP2PeerEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  error
	}{{"END_STREAM", io.EOF}, {"RST_STREAM", errStreamReset}} {
		t.Run(test.name, func(t *testing.T) {
			inStream(t, nil, func(t *testing.T, s *hijackedStream) {
				defer s.end()
				s.body.receive("early data", test.end)
				got, err := io.ReadAll(s)
				var op *net.OpError
				switch {
				case string(got) != "early data":
					t.Errorf("read %q", got)
				case test.end == io.EOF && err != nil:
					t.Error(err)
				case test.end != io.EOF && (!errors.As(err, &op) || op.Op != "read" || !errors.Is(err, test.end)):
					t.Errorf("%T %v", err, err)
				}
				for range 2 { // it stays
					if n, err := s.Read(make([]byte, 1)); n != 0 || !errors.Is(err, test.end) {
						t.Errorf("%d, %v", n, err)
					}
				}
				if _, err := s.Write([]byte("behind a half-close")); err != nil {
					t.Error(err)
				}
				s.w.SetWriteDeadline(time.Unix(1, 0)) // as if the peer had
				if _, err := s.Write([]byte("to a stream that is reset")); !errors.As(err, &op) || op.Op != "write" {
					t.Error(err)
				}
			})
		})
	}
}

// Writes of several goroutines stay whole, however large.
func TestHTTP2ConcurrentWrites(t *testing.T) {
	inStream(t, nil, func(t *testing.T, s *hijackedStream) {
		defer s.end()
		var wg sync.WaitGroup
		want := map[string]bool{}
		for i := range 10 {
			text := strings.Repeat(string('a'+rune(i)), 50_000)
			want[text] = true
			wg.Go(func() {
				if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
					t.Error(n, err)
				}
			})
		}
		wg.Wait()
		for part := range slices.Chunk([]byte(s.w.written()), 50_000) {
			delete(want, string(part))
		}
		if len(want) > 0 {
			t.Errorf("%d of 10 writes are not whole", len(want))
		}
	})
}

// The request's context is that of HTTP/1.1: BaseContext ends it, and what ends the stream does
// not, so that what has arrived can be read.
func TestHTTP2Context(t *testing.T) {
	cause := errors.New("the program ends")
	t.Run("BaseContext", func(t *testing.T) {
		base, cancel := context.WithCancelCause(t.Context())
		inStream(t, base, func(t *testing.T, s *hijackedStream) {
			defer s.end()
			if s.ctx.Err() != nil {
				t.Error("it has ended")
			}
			cancel(cause)
			<-s.ctx.Done()
			if context.Cause(s.ctx) != cause {
				t.Error(context.Cause(s.ctx))
			}
		})
	})
	t.Run("BaseContext, during a Write", func(t *testing.T) {
		base, cancel := context.WithCancelCause(t.Context())
		inStream(t, base, func(t *testing.T, s *hijackedStream) {
			defer s.end()
			s.w.stall = make(chan struct{})
			go s.Write([]byte("hello"))
			synctest.Wait()
			cancel(cause)
			<-s.ctx.Done()
		})
	})
	t.Run("the stream", func(t *testing.T) {
		stream, cancel := context.WithCancel(t.Context())
		inStream(t, stream, func(t *testing.T, s *hijackedStream) {
			defer s.end()
			cancel() // net/http ends the context first
			time.Sleep(time.Millisecond)
			s.body.receive("hello", errStreamReset)
			s.w.SetWriteDeadline(time.Unix(1, 0))
			time.Sleep(time.Hour)
			if s.ctx.Err() != nil {
				t.Error("the context has ended with the stream")
			}
			if got, _ := io.ReadAll(s); string(got) != "hello" {
				t.Errorf("%q", got)
			}
		})
	})
	t.Run("the stream, during a Write", func(t *testing.T) {
		stream, cancel := context.WithCancel(t.Context())
		inStream(t, stream, func(t *testing.T, s *hijackedStream) {
			defer s.end()
			s.w.stall = make(chan struct{})
			go s.Write([]byte("hello"))
			synctest.Wait()
			cancel()
			time.Sleep(time.Millisecond)
			s.w.SetWriteDeadline(time.Unix(1, 0))
			time.Sleep(time.Hour)
			if s.ctx.Err() != nil {
				t.Error("the context has ended with the stream")
			}
		})
	})
	t.Run("before the hijack", func(t *testing.T) {
		stream, cancel := context.WithCancel(t.Context())
		w := newStreamWriter(t)
		serveConnectTo(w, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		}), connectRequest(stream, newStreamBody("")))
	})
}

// A connection that the program has forgotten is closed, as a socket is.
func TestHTTP2Unreachable(t *testing.T) {
	served := make(chan struct{})
	body := newStreamBody("")
	go func() {
		defer close(served)
		serveConnect(t, upgrading(t, func(c *websocket.Conn, _ *http.Request) {
			c.SetReadDeadline(time.Now()) // leaves a goroutine that waits for the peer
			c.ReadMessage()
		}), body)
	}()
	for {
		runtime.GC()
		select {
		case <-served:
			return
		default:
			runtime.Gosched()
		}
	}
}
