package websocket

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tautws/websocket/internal/wiretest"
)

// halvesMayUse is what the halves may use of a Conn. An addition couples them further.
var halvesMayUse = []string{
	// halves.go
	"beforeWait", "moreInput", "handleControl", "readingEnded", "pingSent", "keepAlivePingSent",
	// how the connection ends
	"fail", "abort", "netError", "netTimeout", "closeCause", "state", "peerClosed", "saysGoodbye",
	"endCause", "deadlinesShared", "netConnTaken",
	// what they are halves of
	"conn", "socket", "keep", "trace",
}

func TestHalvesAreApart(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !isHalf(f.Recv.List[0].Type) {
				continue
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if conn, ok := s.X.(*ast.SelectorExpr); ok && conn.Sel.Name == "conn" && !isField(conn.X, "conn") {
						used[s.Sel.Name] = true
						if !slices.Contains(halvesMayUse, s.Sel.Name) {
							t.Errorf("%s: a half uses Conn.%s", name, s.Sel.Name)
						}
					}
				}
				return true
			})
		}
	}
	for _, name := range halvesMayUse {
		if !used[name] {
			t.Errorf("no half uses Conn.%s any more", name)
		}
	}
}

// isField reports whether x is a field of that name: what is used of Conn.conn is not the Conn's.
func isField(x ast.Expr, name string) bool {
	s, ok := x.(*ast.SelectorExpr)
	return ok && s.Sel.Name == name
}

func isHalf(receiver ast.Expr) bool {
	star, ok := receiver.(*ast.StarExpr)
	if !ok {
		return false
	}
	id, ok := star.X.(*ast.Ident)
	return ok && slices.Contains([]string{"readHalf", "writeHalf", "ioDeadline", "payloadReader"}, id.Name)
}

// After a failure writes return ErrCloseSent, or the error of the close frame, and not that this
// end has closed the network connection.
func TestWriteAfterFailure(t *testing.T) {
	for name, takes := range map[string]bool{"close frame sent": true, "close frame not taken": false} {
		bubble(t, name, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			if takes {
				p.drain()
			}
			go p.send(frame(0x83, ""))
			v := readErr(c)
			var pe *ProtocolError
			if !errors.As(v, &pe) {
				t.Fatal(v)
			}
			want := error(ErrCloseSent)
			if !takes {
				want = os.ErrDeadlineExceeded // of the close frame, the first error of this half
			}
			for range 2 {
				if err := c.WriteMessage(TextMessage, nil); !errors.Is(err, want) {
					t.Errorf("write: %v, want %v", err, want)
				}
			}
		})
	}
}

// SetWriteDeadline acts on delayed frames that the timer's goroutine is writing.
func TestDeadlineDuringDelayedWrite(t *testing.T) {
	for _, passed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, p := overPipe(t, connConfig{isServer: true})
			go p.Write(wiretest.Encode([]wireFrame{textFrame("a"), textFrame("b")}, true))
			wantRead(t, c, "a")
			if passed {
				c.SetWriteDeadline(time.Now().Add(defaultWriteDelay / 2))
			}
			if err := c.WriteMessage(TextMessage, []byte("delayed")); err != nil {
				t.Fatal(err)
			}
			advance(2 * defaultWriteDelay) // the peer takes nothing: the timer's goroutine waits
			c.SetWriteDeadline(time.Now().Add(time.Millisecond))
			advance(2 * time.Millisecond)
			c.SetWriteDeadline(time.Time{})
			done := async(func() error { return c.WriteMessage(TextMessage, nil) })
			if err := ended(t, "a later write", done); err == nil || !isTimeout(err) {
				t.Errorf("a later write: %v, want the timeout", err)
			}
		})
	}
}

// A closed connection gives its buffers back, wherever it was closed. extension_test.go has what it
// holds for its compression.
func TestClosedConnHoldsNothing(t *testing.T) {
	for name, play := range map[string]func(c *Conn, p *peer){
		"inside a compressed message": func(c *Conn, p *peer) {
			go p.send(deflatedFrame(strings.Repeat("abc", 10000)).Cut(30))
			c.NextReader()
		},
		"after a message with context takeover": func(c *Conn, p *peer) {
			c.WriteMessage(TextMessage, []byte(strings.Repeat("abc", 1000)))
		},
		"inside a message with context takeover": func(c *Conn, p *peer) {
			w, _ := c.NextWriter(TextMessage)
			w.Write([]byte(strings.Repeat("abcdefgh", 10000)))
			c.Close()
			w.Close()
		},
	} {
		bubble(t, name, func(t *testing.T) {
			c, p := overPipe(t, wireConfig(true, true, true))
			p.drain()
			play(c, p)
			c.Close()
			if c.read.msg.compressed {
				t.Error("the message is still being read")
			}
			if c.read.buf.buf != nil || c.write.pending != nil {
				t.Error("the connection keeps a buffer")
			}
		})
	}
}
