package websocket

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Every test that SECURITY.md names exists.
func TestSecurityTests(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, pattern := range []string{"*_test.go", "conformance/*_test.go", "internal/*/*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(b)
		}
	}
	named := regexp.MustCompile(`\bTest\w+`).FindAllString(string(text), -1)
	if len(named) == 0 {
		t.Error("SECURITY.md names no test")
	}
	for _, name := range named {
		if !strings.Contains(code.String(), "\nfunc "+name+"(t *testing.T) {") {
			t.Errorf("SECURITY.md names %s, which does not exist", name)
		}
	}
}

// unreadTLS is tlsOverPipe over a pipe without a buffer: a write waits for the peer to read.
func unreadTLS(t testing.TB, cfg connConfig) (*Conn, *peer) {
	a, b := net.Pipe()
	return playTLS(t, a, b, cfg)
}

// Close, with delayed frames and a peer that takes nothing, gives the frames a second, and the
// goodbye of TLS another. A failure has a second more, for what the peer still sends.
func TestEndsBounded(t *testing.T) {
	for name, over := range map[string]func(testing.TB, connConfig) (*Conn, *peer){"pipe": overPipe, "TLS": unreadTLS} {
		most := closeWait
		if name == "TLS" {
			most = 2 * closeWait
		}
		bubble(t, name+" Close", func(t *testing.T) {
			c, p := over(t, connConfig{isServer: true, writeDelay: time.Minute})
			go p.send(textFrame("a"), textFrame("b"))
			wantRead(t, c, "a")
			if err := c.WriteMessage(TextMessage, []byte("delayed")); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			c.Close()
			if took := time.Since(start); took != most {
				t.Errorf("took %v, want %v", took, most)
			}
		})
		bubble(t, name+" failure", func(t *testing.T) {
			c, p := over(t, connConfig{isServer: true})
			go p.send(frame(0x83, ""))
			start := time.Now()
			readErr(c)
			if took := time.Since(start); took < closeWait || took > most+closeWait {
				t.Errorf("took %v, want %v at most", took, most+closeWait)
			}
		})
	}
}
