package websocket

// Connections for tests: a Conn whose far end is played by hand, over a pipe, TCP or TLS, and a
// net.Conn that keeps what is written to it, that sends the same again and again.

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// A peer is the far end of a connection, played by hand.
type peer struct {
	net.Conn
	t      testing.TB
	client bool // it is the client, so it masks
	br     *bufio.Reader
}

func newPeer(t testing.TB, nc net.Conn, client bool) *peer {
	return &peer{nc, t, client, bufio.NewReader(nc)}
}

// send writes the frames at once. What cannot be sent the other end will miss.
func (p *peer) send(frames ...wireFrame) { p.Write(wiretest.Encode(frames, p.client)) }

// next reads a frame.
func (p *peer) next() (wireFrame, error) { return wiretest.Read(p.br, !p.client) }

// expect reads frames and compares them.
func (p *peer) expect(want ...wireFrame) {
	p.t.Helper()
	for _, w := range want {
		f, err := p.next()
		if err != nil {
			p.t.Errorf("peer: %v, want the frame %02x %s", err, w.First, wiretest.Shortened(w.Payload))
			return
		}
		if f.First != w.First || f.Payload != w.Payload {
			p.t.Errorf("peer: frame %02x %s, want %02x %s", f.First, wiretest.Shortened(f.Payload), w.First, wiretest.Shortened(w.Payload))
		}
	}
}

// expectEOF reads the end of the stream.
func (p *peer) expectEOF() {
	p.t.Helper()
	if f, err := p.next(); err != io.EOF {
		p.t.Errorf("peer: frame %02x %s, %v, want EOF", f.First, wiretest.Shortened(f.Payload), err)
	}
}

// collect reads frames in a goroutine until the stream ends.
func (p *peer) collect() <-chan []wireFrame {
	return async(func() (frames []wireFrame) {
		for {
			f, err := p.next()
			if err != nil {
				return frames
			}
			frames = append(frames, f)
		}
	})
}

// drain reads and forgets.
func (p *peer) drain() { go io.Copy(io.Discard, p.Conn) }

// overPipe returns a connection whose far end is p. Nothing is buffered between the two.
func overPipe(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := net.Pipe()
	return play(t, a, b, cfg)
}

func overTCP(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := tcpPair(t)
	return play(t, a, b, cfg)
}

func overTLS(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := tcpPair(t)
	return playTLS(t, a, b, cfg)
}

// tlsOverPipe is overTLS without a network.
func tlsOverPipe(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := newPipe()
	return playTLS(t, a, b, cfg)
}

func playTLS(t testing.TB, a, b net.Conn, cfg connConfig) (*Conn, *peer) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	server := tls.Server(a, &tls.Config{Certificates: s.TLS.Certificates})
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	done := async(client.Handshake)
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return play(t, server, client, cfg)
}

func play(t testing.TB, a, b net.Conn, cfg connConfig) (*Conn, *peer) {
	c := newConn(a, cfg)
	t.Cleanup(func() {
		b.Close()
		c.Close()
	})
	return c, newPeer(t, b, cfg.isServer)
}

// overEach runs f over a pipe, TCP and TLS, in real time.
func overEach(t *testing.T, f func(t *testing.T, c *Conn, p *peer)) {
	for _, over := range []struct {
		name string
		dial func(testing.TB, connConfig) (*Conn, *peer)
	}{{"pipe", overPipe}, {"TCP", overTCP}, {"TLS", overTLS}} {
		t.Run(over.name, func(t *testing.T) {
			c, p := over.dial(t, connConfig{isServer: true})
			f(t, c, p)
		})
	}
}

// pipeConns returns the two ends of a connection.
func pipeConns(t testing.TB) (server, client *Conn) {
	a, b := newPipe()
	return ends(t, a, b)
}

func tcpConns(t testing.TB) (server, client *Conn) {
	a, b := tcpPair(t)
	return ends(t, a, b)
}

func ends(t testing.TB, a, b net.Conn) (server, client *Conn) {
	server, client = newConn(a, connConfig{isServer: true}), newConn(b, connConfig{})
	t.Cleanup(func() {
		server.Close()
		client.Close()
	})
	return server, client
}

// async calls f in a goroutine and returns a channel for its result.
func async[T any](f func() T) <-chan T {
	done := make(chan T, 1)
	go func() { done <- f() }()
	return done
}

// bubble runs a subtest in a synctest bubble.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// stillWaiting reports a result in done once all that can run has run.
func stillWaiting[T any](t *testing.T, what string, done <-chan T) {
	t.Helper()
	synctest.Wait()
	select {
	case v := <-done:
		t.Errorf("%s ended with %v, want it to wait", what, v)
	default:
	}
}

// ended returns what is in done once all that can run has run.
func ended[T any](t *testing.T, what string, done <-chan T) (v T) {
	t.Helper()
	synctest.Wait()
	select {
	case v = <-done:
	default:
		t.Fatalf("%s still waits", what)
	}
	return v
}

// advance lets the bubble's clock go on.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func readOne(c *Conn) (string, error) {
	_, p, err := c.ReadMessage()
	return string(p), err
}

func readErr(c *Conn) error {
	_, _, err := c.ReadMessage()
	return err
}

// overflow begins a message that does not fit into its writer's buffer. From then on all others
// wait for it.
func overflow(c *Conn) (io.WriteCloser, error) {
	w, err := c.NextWriter(BinaryMessage)
	if err == nil {
		_, err = w.Write(make([]byte, defaultBufferSize+1))
	}
	return w, err
}

// An outcome is the result of readOne as one value.
type outcome struct {
	data string
	err  error
}

func asyncRead(c *Conn) <-chan outcome {
	return async(func() outcome {
		data, err := readOne(c)
		return outcome{data, err}
	})
}

// wantRead reads a message.
func wantRead(t *testing.T, c *Conn, want string) {
	t.Helper()
	if data, err := readOne(c); data != want || err != nil {
		t.Errorf("read %s, %v, want %s", wiretest.Shortened(data), err, wiretest.Shortened(want))
	}
}

// wantDeadline checks the error of a deadline.
func wantDeadline(t *testing.T, err error, temporary bool) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("error %v (%T), want the timeout of a deadline", err, err)
		//lint:ignore SA1019 Old programs ask, so the answer must be right.
	} else if ne.Temporary() != temporary {
		t.Errorf("error %v (%T): Temporary is %v, want %v", err, err, !temporary, temporary)
	}
}

// A sink is a net.Conn that keeps each write with its time and passes none on.
type sink struct {
	net.Conn

	mu     sync.Mutex
	writes []string
	times  []time.Time
	err    error // of the writes to come
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	s.writes = append(s.writes, string(p))
	s.times = append(s.times, time.Now())
	return len(p), nil
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// take returns the writes since the last call, each as its frames.
func (s *sink) take(t testing.TB, client bool) [][]wireFrame {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all [][]wireFrame
	for _, w := range s.writes {
		frames, err := wiretest.Decode([]byte(w), client)
		if err != nil {
			t.Errorf("a write does not end at the end of a frame: %v", err)
		}
		all = append(all, frames)
	}
	s.writes, s.times = nil, nil
	return all
}

// wantWrites checks the writes since the last call: one string for each, with the payloads of its
// frames.
func (s *sink) wantWrites(t testing.TB, client bool, want ...string) {
	t.Helper()
	var got []string
	for _, frames := range s.take(t, client) {
		var payloads []string
		for _, f := range frames {
			payloads = append(payloads, f.Payload)
		}
		got = append(got, strings.Join(payloads, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("writes %.200q, want %.200q", got, want)
	}
}

// sunk returns a connection with a sink, which has already received frames. What the peer sends
// later goes through p.
func sunk(t testing.TB, cfg connConfig, received ...wireFrame) (*Conn, *sink, *peer) {
	a, b := net.Pipe()
	s := &sink{Conn: a}
	cfg.buffered = wiretest.Encode(received, cfg.isServer)
	c, p := play(t, s, b, cfg)
	return c, s, p
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.writes)
}

// expectEnd reads until the stream ends, however it does.
func (p *peer) expectEnd() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(time.Minute)) // a bubble's, or noContext reached
	if _, err := io.Copy(io.Discard, p.br); errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Error("the connection is still open")
	}
}

// A loopConn is a net.Conn whose peer sends the same bytes again and again, step bytes at a time,
// and takes everything.
type loopConn struct {
	in   []byte
	step int
	pos  int
	out  int // bytes written
	n    int // writes
}

func (c *loopConn) Read(p []byte) (int, error) {
	if c.pos == len(c.in) {
		c.pos = 0
	}
	n := copy(p[:min(len(p), c.step)], c.in[c.pos:])
	c.pos += n
	return n, nil
}

func (c *loopConn) Write(p []byte) (int, error) {
	c.out += len(p)
	c.n++
	return len(p), nil
}

func (c *loopConn) Close() error                     { return nil }
func (c *loopConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *loopConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *loopConn) SetDeadline(time.Time) error      { return nil }
func (c *loopConn) SetReadDeadline(time.Time) error  { return nil }
func (c *loopConn) SetWriteDeadline(time.Time) error { return nil }

// wireConfig is the configuration of a connection of the tests.
func wireConfig(server, deflate, takeover bool) connConfig {
	cfg := connConfig{isServer: server}
	if deflate {
		cfg.deflate = deflateParams{
			enabled:                 true,
			serverNoContextTakeover: !takeover,
			clientNoContextTakeover: !takeover,
			serverMaxWindowBits:     15,
			clientMaxWindowBits:     15,
		}
	}
	return cfg
}

func readByMessage(c *Conn) (messages []wireMessage, err error) {
	for {
		messageType, p, err := c.ReadMessage()
		if err != nil {
			return messages, err
		}
		messages = append(messages, wireMessage{messageType, string(p)})
	}
}

// raceEnabled reports whether the race detector is on.
var raceEnabled = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})
