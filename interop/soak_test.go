package interop

// Both ends of the library at full load: concurrent writers, every way to send, pings, compression,
// TLS, reads in a goroutine and through Handle, and connections that come and go. It runs for a few
// seconds, or as long as WEBSOCKET_SOAK says:
//
//	WEBSOCKET_SOAK=60s go test -race -run TestSoak

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

const (
	soakWriters  = 3   // goroutines that write to one connection
	soakMessages = 150 // from each of them before the connection ends
)

// noise is what messages are cut from; half of it compresses.
var noise = append(textOf(100000), binaryOf(100000)...)

// soakMessage returns the message with a number that a writer sends on a connection.
func soakMessage(connection uint64, writer, number int) []byte {
	r := rand.New(rand.NewPCG(connection, uint64(writer)<<32|uint64(number)))
	size := r.IntN(200)
	switch r.IntN(20) {
	case 0, 1, 2:
		size = r.IntN(5000)
	case 3:
		size = r.IntN(len(noise) / 2)
	}
	from := r.IntN(len(noise) - size)
	p := binary.BigEndian.AppendUint32([]byte{byte(writer)}, uint32(number))
	return append(p, noise[from:from+size]...)
}

func TestSoak(t *testing.T) {
	length := 3 * time.Second
	if s := os.Getenv("WEBSOCKET_SOAK"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("WEBSOCKET_SOAK: %v", err)
		}
	}
	ca := newAuthority(t)
	var profiles []soakProfile
	for _, v := range []variant{{}, {enable: true}, {enable: true, compression: takeover}} {
		plain, secure := soakServer(t, v, nil), soakServer(t, v, ca)
		d := v.dialer()
		d.TLSClientConfig = ca.clientConfig()
		profiles = append(profiles, soakProfile{d, plain}, soakProfile{d, secure})
	}

	var connections atomic.Uint64
	soak := func(until time.Time) {
		var running sync.WaitGroup
		for i := range 2 * len(profiles) {
			running.Go(func() {
				for once := true; once || time.Now().Before(until); once = false {
					if err := profiles[i%len(profiles)].converse(t.Context(), connections.Add(1)); err != nil {
						t.Errorf("%s: %v", profiles[i%len(profiles)].url, err)
						return
					}
				}
			})
		}
		running.Wait()
	}
	soak(time.Now()) // fills caches and pools
	before := measure(t)
	soak(time.Now().Add(length))
	before.expectBack(t, 16<<20, 256<<20)
	t.Logf("%d connections, %d messages each", connections.Load(), soakWriters*soakMessages)
}

// soakServer echoes until the peer leaves. Messages are streamed back, or written whole, by turns.
func soakServer(t *testing.T, v variant, ca *authority) (url string) {
	a := accept(t, v.upgrader(), ca)
	ctx := t.Context()
	go func() {
		for n := 0; ; n++ {
			select {
			case conn := <-a.conns:
				if n%2 == 0 {
					go soakEcho(conn)
				} else {
					soakEchoHandled(conn)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return a.url
}

func soakEcho(conn *websocket.Conn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Time{})
	conn.SetWriteDeadline(time.Time{})
	for turn := 0; ; turn++ {
		if turn%4 == 0 {
			kind, r, err := conn.NextReader()
			if err != nil {
				return
			}
			w, err := conn.NextWriter(kind)
			if err != nil {
				return
			}
			if _, err := io.Copy(w, r); err != nil {
				return
			}
			if err := w.Close(); err != nil {
				return
			}
			continue
		}
		kind, p, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, p); err != nil {
			return
		}
	}
}

// soakEchoHandled is soakEcho through Handle. Now and then the handler itself reads a message.
func soakEchoHandled(conn *websocket.Conn) {
	conn.SetReadDeadline(time.Time{})
	conn.SetWriteDeadline(time.Time{})
	turn := 0
	conn.Handle(func(conn *websocket.Conn, m websocket.Message, err error) {
		if err != nil {
			return
		}
		turn++
		if err := conn.WriteMessage(m.Type, m.Data); err != nil || turn%5 != 0 {
			return
		}
		kind, r, err := conn.NextReader()
		if err != nil {
			return
		}
		w, err := conn.NextWriter(kind)
		if err != nil {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			conn.Close()
			return
		}
		w.Close()
	})
}

type soakProfile struct {
	dialer websocket.Dialer
	url    string
}

// soakPatience bounds one connection, which takes its time with everything else going on.
const soakPatience = 5 * time.Minute

// converse is one connection from the handshake to its end.
func (s soakProfile) converse(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, soakPatience)
	defer cancel()
	conn, _, err := s.dialer.DialContext(ctx, s.url, nil)
	if err != nil {
		return err
	}
	defer conn.Close()

	results := make(chan error, soakWriters+1)
	if id/2%2 == 0 {
		go func() { results <- soakRead(ctx, conn, id) }()
	} else {
		soakReadHandled(conn, id, results)
	}
	for writer := range soakWriters {
		go func() { results <- soakWrite(ctx, conn, id, writer) }()
	}
	var failed []error
	for range soakWriters + 1 {
		if err := <-results; err != nil {
			failed = append(failed, err)
			conn.Close() // so that the others end as well
		}
	}
	if len(failed) > 0 {
		return errors.Join(failed...)
	}
	if id%3 == 0 {
		return nil // without a close handshake
	}
	return conn.Shutdown(ctx, websocket.CloseNormalClosure, "done")
}

// soakRead expects the echo of every message, those of one writer in their order.
func soakRead(ctx context.Context, conn *websocket.Conn, id uint64) error {
	var next soakEchoes
	for range soakWriters * soakMessages {
		_, p, err := conn.ReadMessageContext(ctx)
		if err != nil {
			return fmt.Errorf("read after %v: %w", next, err)
		}
		if err := next.check(id, p); err != nil {
			return err
		}
	}
	return nil
}

// soakReadHandled is soakRead through Handle.
func soakReadHandled(conn *websocket.Conn, id uint64, results chan<- error) {
	var next soakEchoes
	received, over := 0, false
	conn.Handle(func(_ *websocket.Conn, m websocket.Message, err error) {
		switch {
		case over:
			return
		case err != nil:
			err = fmt.Errorf("last call after %v: %w", next, err)
		default:
			err = next.check(id, m.Data)
			received++
		}
		if over = err != nil || received == soakWriters*soakMessages; over {
			results <- err
		}
	})
}

// soakEchoes counts the echoes of each writer's messages.
type soakEchoes [soakWriters]int

func (next *soakEchoes) check(id uint64, p []byte) error {
	writer := int(p[0])
	if want := soakMessage(id, writer, next[writer]); !bytes.Equal(p, want) {
		return fmt.Errorf("writer %d, message %d: received %d bytes, not the %d that were sent",
			writer, next[writer], len(p), len(want))
	}
	next[writer]++
	return nil
}

// soakWrite sends one writer's messages in every way there is.
func soakWrite(ctx context.Context, conn *websocket.Conn, id uint64, writer int) error {
	for number := range soakMessages {
		p := soakMessage(id, writer, number)
		var err error
		switch number % 5 {
		case 0:
			err = conn.WriteMessageContext(ctx, websocket.BinaryMessage, p)
		case 1:
			var m *websocket.PreparedMessage
			if m, err = websocket.NewPreparedMessage(websocket.BinaryMessage, p); err == nil {
				err = conn.WritePreparedMessage(m)
			}
		case 2:
			var w io.WriteCloser
			if w, err = conn.NextWriterContext(ctx, websocket.BinaryMessage); err == nil {
				_, err = w.Write(p[:len(p)/2])
				if _, err2 := w.Write(p[len(p)/2:]); err == nil {
					err = err2
				}
				if err2 := w.Close(); err == nil {
					err = err2
				}
			}
		case 3:
			if err = conn.WriteMessage(websocket.BinaryMessage, p); err == nil {
				err = conn.WriteControl(websocket.PingMessage, p[:5], time.Now().Add(soakPatience))
			}
		case 4:
			if err = conn.WriteMessage(websocket.BinaryMessage, p); err == nil && number%25 == 4 {
				err = conn.Flush()
			}
		}
		if err != nil {
			return fmt.Errorf("writer %d, message %d of %d bytes: %w", writer, number, len(p), err)
		}
	}
	return nil
}
