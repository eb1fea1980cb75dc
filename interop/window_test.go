package interop

// RFC 7692 §7.1.2: a compressor keeps within the window that was negotiated. Real peers inflate
// with more slack than they announce, so here zlib inflates what is on the wire and refuses every
// distance beyond the window.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

func TestWindowBits(t *testing.T) {
	for bits := 8; bits <= 15; bits++ {
		for _, keep := range []bool{true, false} {
			for _, role := range []string{"server", "client"} {
				t.Run(fmt.Sprintf("%s, %d bits, takeover %t", role, bits, keep), func(t *testing.T) {
					t.Parallel()
					answer := fmt.Sprintf("permessage-deflate; %s_max_window_bits=%d", role, bits)
					if !keep {
						answer += fmt.Sprintf("; %s_no_context_takeover", role)
					}
					var conn *websocket.Conn
					var raw *rawConn
					if role == "server" {
						conn, raw = acceptRaw(t, answer)
					} else {
						conn, raw = dialRaw(t, answer)
					}
					inflateStrictly(t, conn, raw, bits, keep)
				})
			}
		}
	}
}

// acceptRaw connects a raw client, which offers the given extension, with our Upgrader.
func acceptRaw(t *testing.T, extension string) (*websocket.Conn, *rawConn) {
	a := accept(t, websocket.Upgrader{EnableCompression: true, Compression: takeover}, nil)
	raw, err := rawDial(a.url, extension)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	if got := canonical(raw.extensions); got != canonical(extension) {
		t.Fatalf("answered %q to the offer %q", raw.extensions, extension)
	}
	return <-a.conns, raw
}

// dialRaw connects our Dialer with a raw server, which answers with the given extension.
func dialRaw(t *testing.T, extension string) (*websocket.Conn, *rawConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type accepted struct {
		raw *rawConn
		err error
	}
	done := make(chan accepted, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			done <- accepted{nil, err}
			return
		}
		raw, err := rawAccept(nc, extension)
		done <- accepted{raw, err}
	}()
	d := websocket.Dialer{EnableCompression: true, Compression: takeover, HandshakeTimeout: patience}
	conn, _, err := d.DialContext(t.Context(), "ws://"+l.Addr().String(), nil)
	if err != nil {
		t.Fatalf("our client refuses the answer %q: %v", extension, err)
	}
	a := <-done
	if a.err != nil {
		t.Fatal(a.err)
	}
	t.Cleanup(func() { a.raw.Close() })
	return conn, a.raw
}

// inflateStrictly sends messages, whole and streamed, and has zlib inflate them.
func inflateStrictly(t *testing.T, conn *websocket.Conn, raw *rawConn, bits int, keep bool) {
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(patience))
	zlib := startPeer(t, nil, python, "inflate.py")
	zlib.do(t, command{Do: "window", Bits: bits})

	messages := [][]byte{binaryOf(40000), textOf(20000), binaryOf(300), nil, binaryOf(40000)}
	compressed := 0
	for i := range 2 * len(messages) {
		want, streamed := messages[i/2], i%2 == 1
		go func() {
			if streamed {
				stream(t, conn, want)
			} else if err := conn.WriteMessage(websocket.BinaryMessage, want); err != nil {
				t.Error(err)
			}
		}()
		isCompressed, got := raw.readMessage(t)
		if !isCompressed {
			if !slices.Equal(got, want) {
				t.Errorf("message %d: received %d bytes, sent %d", i, len(got), len(want))
			}
			continue
		}
		compressed++
		if !keep {
			zlib.do(t, command{Do: "window", Bits: bits})
		}
		zlib.do(t, command{Do: "inflate", Data: base64.StdEncoding.EncodeToString(got)})
		sum := sha256.Sum256(want)
		if e := zlib.expect(t, "inflated"); e.Data != hex.EncodeToString(sum[:]) {
			t.Errorf("message %d: zlib inflated something else", i)
		}
	}
	if compressed == 0 {
		t.Error("no message was compressed")
	}
}

// stream sends a message through NextWriter in small pieces.
func stream(t *testing.T, conn *websocket.Conn, p []byte) {
	w, err := conn.NextWriter(websocket.BinaryMessage)
	if err != nil {
		t.Error(err)
		return
	}
	for piece := range slices.Chunk(p, 777) {
		if _, err := w.Write(piece); err != nil {
			t.Error(err)
			return
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
