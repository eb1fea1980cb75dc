package load

import (
	"bytes"
	"testing"

	"golang.org/x/net/http2"
)

// fakeServer is the other end of an http2Conn: what it sends is in the first buffer beforehand.
type fakeServer struct{ sends, receives bytes.Buffer }

func (s *fakeServer) Read(p []byte) (int, error)  { return s.sends.Read(p) }
func (s *fakeServer) Write(p []byte) (int, error) { return s.receives.Write(p) }

// received returns how many bytes of data have come, and the increments to the server's windows.
func (s *fakeServer) received(t *testing.T) (data int, renewed map[uint32]uint32) {
	t.Helper()
	renewed = make(map[uint32]uint32)
	framer := http2.NewFramer(nil, &s.receives)
	for s.receives.Len() > 0 {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.DataFrame:
			data += len(f.Data())
		case *http2.WindowUpdateFrame:
			renewed[f.StreamID] += f.Increment
		}
	}
	return data, renewed
}

func newFakeServer() (*fakeServer, *http2.Framer, *http2Conn, *http2Stream) {
	s := new(fakeServer)
	h := newHTTP2Conn(s, "server")
	stream := &http2Stream{conn: h, id: 1, index: 7, window: 100}
	h.streams[1] = stream
	return s, http2.NewFramer(&s.sends, nil), h, stream
}

// RFC 9113 §5.2: data is sent as far as the windows of the stream and the connection allow.
func TestHTTP2SendsWithinWindows(t *testing.T) {
	server, framer, h, s := newFakeServer()
	h.window = 150
	if err := s.send(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		id, increment uint32
		want          int
	}{{0, 0, 100}, {1, 20, 20}, {1, 500, 30}, {0, 1000, 150}} {
		if step.increment > 0 {
			framer.WriteWindowUpdate(step.id, step.increment)
			if err := h.wait(notYet); err != nil {
				t.Fatal(err)
			}
		}
		if n, _ := server.received(t); n != step.want {
			t.Errorf("step %d: %d bytes sent, want %d", i, n, step.want)
		}
	}
}

// RFC 9113 §6.9.2: a change of the initial window changes those of open streams.
func TestHTTP2InitialWindow(t *testing.T) {
	server, framer, h, s := newFakeServer()
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: firstWindow + 50})
	if err := h.wait(notYet); err != nil {
		t.Fatal(err)
	}
	server.receives.Reset()
	if err := s.send(make([]byte, 300)); err != nil {
		t.Fatal(err)
	}
	if n, _ := server.received(t); n != 150 {
		t.Errorf("%d bytes sent, want 150", n)
	}
}

func TestHTTP2Receives(t *testing.T) {
	server, framer, h, s := newFakeServer()
	h.received, s.received = maxWindow/2, maxWindow/2-5
	framer.WriteData(1, false, []byte("reply"))
	framer.WriteData(3, false, []byte("of a stream that was closed"))
	called := 0
	for range 2 {
		err := h.wait(func(index int) error {
			called++
			buf := make([]byte, 10)
			if n, ok, err := s.read(buf); index != 7 || string(buf[:n]) != "reply" || !ok || err != nil {
				t.Errorf("index %d: read %q, %t, %v", index, buf[:n], ok, err)
			}
			if _, ok, _ := s.read(buf); ok {
				t.Error("read twice")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if called != 1 {
		t.Errorf("called %d times", called)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if _, renewed := server.received(t); len(renewed) != 1 || renewed[0] != maxWindow/2+5 {
		t.Errorf("windows renewed by %v, want that of the connection alone", renewed)
	}
}

func TestHTTP2NoticesFailures(t *testing.T) {
	for name, send := range map[string]func(*http2.Framer){
		"end of the stream": func(f *http2.Framer) { f.WriteData(1, true, nil) },
		"reset":             func(f *http2.Framer) { f.WriteRSTStream(1, http2.ErrCodeInternal) },
		"GOAWAY":            func(f *http2.Framer) { f.WriteGoAway(1, http2.ErrCodeNo, nil) },
		"end":               func(*http2.Framer) {},
		"surplus": func(f *http2.Framer) {
			f.WriteData(1, false, []byte("reply"))
			f.WriteData(1, false, []byte("reply"))
		},
	} {
		_, framer, h, _ := newFakeServer()
		send(framer)
		err := h.wait(func(int) error { return nil })
		if err == nil && name == "surplus" {
			err = h.wait(func(int) error { return nil })
		}
		if err == nil {
			t.Errorf("%s was not noticed", name)
		}
	}
}
