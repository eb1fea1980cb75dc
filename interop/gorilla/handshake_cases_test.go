package gorilla

// What the cases in differences_test.go do about handshakes.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gorilla "github.com/gorilla/websocket"
	websocket "github.com/tautws/websocket"
)

// dialTo dials a server that answers with one more header.
func dialTo(name, value string, h http.Header) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		d := l.dialReply(t, gorilla.Dialer{}, h, replyWith(name, value))
		if errors.Is(d.err, l.errBadHandshake) {
			return "bad handshake"
		}
		return d.class
	}
}

func replyWith(name, value string) reply {
	return reply{status: "101", choices: map[string]choice{"Upgrade": lines("websocket"), "Connection": lines("Upgrade"),
		"Sec-WebSocket-Accept": lines("right"), name: lines(value)}}
}

func upgradeWith(change func(r *http.Request)) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		r := upgradeRequest()
		change(r)
		u := l.answer(t, gorilla.Upgrader{}, r, nil)
		return fmt.Sprintf("%d %s %s", u.status, u.class, u.response.Get("Sec-Websocket-Version"))
	}
}

func upgradeFrom(origins ...string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		r := upgradeRequest()
		r.Header["Origin"] = origins
		return fmt.Sprint(l.answer(t, gorilla.Upgrader{}, r, nil).status)
	}
}

// upgradeChecked is upgradeFrom with a CheckOrigin that lets the first of the origins in.
func upgradeChecked(origins ...string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		r := upgradeRequest()
		r.Header["Origin"] = origins
		u := gorilla.Upgrader{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == origins[0] }}
		return fmt.Sprint(l.answer(t, u, r, nil).status)
	}
}

func answerHeader(name, value string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		u := l.answer(t, gorilla.Upgrader{}, upgradeRequest(), http.Header{name: {value}})
		return fmt.Sprint(u.status, " ", u.response[name])
	}
}

// answerHead tells whether a header is in the 101 as it was given.
func answerHead(name, value string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		w := newWire()
		h := newHijack(w, 4096)
		status := http.StatusSwitchingProtocols
		if _, err := l.upgrade(gorilla.Upgrader{}, h, upgradeRequest(), http.Header{name: {value}}); err != nil {
			status = h.Code
		}
		if strings.Contains(string(w.head), "\r\n"+name+": "+value+"\r\n") {
			return fmt.Sprint(status, " with it")
		}
		return fmt.Sprint(status, " without it")
	}
}

// answerSubprotocols chooses a subprotocol in the Upgrader and names another in the response
// header.
func answerSubprotocols(t *testing.T, l library) string {
	r := upgradeRequest()
	r.Header.Set("Sec-WebSocket-Protocol", "a, b")
	u := l.answer(t, gorilla.Upgrader{Subprotocols: []string{"a"}}, r, http.Header{"Sec-WebSocket-Protocol": {"b"}})
	return strings.Join(u.response["Sec-Websocket-Protocol"], ", ")
}

func rejectForeign(l library) (body string, err error) {
	r := upgradeRequest()
	r.Header.Set("Origin", "https://elsewhere.example")
	h := newHijack(newWire(), 4096)
	_, err = l.upgrade(gorilla.Upgrader{}, h, r, nil)
	return h.Body.String(), err
}

func rejectionBody(t *testing.T, l library) string {
	body, _ := rejectForeign(l)
	return body
}

func rejectionReason(t *testing.T, l library) string {
	_, err := rejectForeign(l)
	return err.Error()
}

// rejectedHeader tells the status that Upgrader.Error is given and a header that is set by then.
func rejectedHeader(name string, change func(r *http.Request)) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) (result string) {
		r := upgradeRequest()
		change(r)
		u := gorilla.Upgrader{Error: func(w http.ResponseWriter, r *http.Request, status int, reason error) {
			result = fmt.Sprint(status, " ", w.Header()[name])
		}}
		l.upgrade(u, newHijack(newWire(), 4096), r, nil)
		return result
	}
}

func negotiate(offer string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		r := upgradeRequest()
		r.Header.Set("Sec-WebSocket-Extensions", offer)
		u := l.answer(t, gorilla.Upgrader{EnableCompression: true}, r, nil)
		return u.response.Get("Sec-Websocket-Extensions")
	}
}

// clientTakeover dials a server that keeps its context from one message to the
// next. gorilla has no option for it.
func clientTakeover(t *testing.T, l library) string {
	if l.name == theirs.name {
		d := l.dialReply(t, gorilla.Dialer{EnableCompression: true}, nil, replyWith("Sec-WebSocket-Extensions", "permessage-deflate"))
		return fmt.Sprintf("%T", d.err)
	}
	w := newWire()
	w.dialled = true
	w.response = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	d := websocket.Dialer{EnableCompression: true, Compression: websocket.CompressionOptions{ContextTakeover: true}}
	d.NetDial = func(string, string) (net.Conn, error) { return w, nil }
	if _, _, err := d.Dial("ws://example.com/", nil); err != nil {
		return err.Error()
	}
	return "offered " + w.header("Sec-WebSocket-Extensions")
}

// throughSOCKS dials through a SOCKS5 proxy without authentication.
func throughSOCKS(t *testing.T, l library) string {
	s := helloServer()
	defer s.Close()
	target := s.Listener.Addr().String()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go serveSOCKS(ln, target)
	d := &gorilla.Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Host: ln.Addr().String()})}
	c, _, err := l.dial(context.Background(), d, "ws://"+target, nil)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_, p, err := c.ReadMessage()
	if err != nil {
		return err.Error()
	}
	return string(p)
}

// helloServer says hello to who connects, and closes.
func helloServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := theirs.upgrade(gorilla.Upgrader{}, w, r, nil); err == nil {
			c.WriteMessage(text, []byte("hello"))
			c.Close()
		}
	}))
}

// serveSOCKS connects one client to target (RFC 1928), without reading more of
// its request than that it is for an IPv4 address.
func serveSOCKS(ln net.Listener, target string) {
	in, err := ln.Accept()
	if err != nil {
		return
	}
	defer in.Close()
	b := make([]byte, 10)
	io.ReadFull(in, b[:3])
	in.Write([]byte{5, 0})
	io.ReadFull(in, b)
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer out.Close()
	in.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	go io.Copy(out, in)
	io.Copy(in, out)
}

func offers(lines ...string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		return fmt.Sprintf("%q", l.subprotocols(&http.Request{Header: http.Header{"Sec-Websocket-Protocol": lines}}))
	}
}

// dialledFor tells what a URL makes a Dialer connect to.
func dialledFor(rawURL string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		result := "not dialled"
		d := &gorilla.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
			result = network + " " + addr
			return nil, io.ErrNoProgress
		}}
		l.dial(context.Background(), d, rawURL, nil)
		return result
	}
}

// requestLine tells how the request for a URL begins.
func requestLine(rawURL string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		here, there := net.Pipe()
		line := make(chan string, 1)
		go func() {
			defer there.Close()
			s, _ := bufio.NewReader(there).ReadString('\n')
			line <- strings.TrimSpace(s)
		}()
		l.dial(context.Background(), &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return here, nil }}, rawURL, nil)
		return <-line
	}
}

// offered tells which subprotocols a Dialer sends.
func offered(subprotocols ...string) func(t *testing.T, l library) string {
	return sent(gorilla.Dialer{Subprotocols: subprotocols}, nil, "Sec-Websocket-Protocol")
}

// respelled tells which versions a Dialer sends if the application gives one as well.
func respelled(name string) func(t *testing.T, l library) string {
	return sent(gorilla.Dialer{}, http.Header{name: {"14"}}, "Sec-Websocket-Version")
}

// sent tells what a Dialer sends as a header.
func sent(o gorilla.Dialer, h http.Header, name string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		d := l.dialReply(t, o, h, replyWith("X-Mine", "yes"))
		if d.err != nil {
			d.class = "error"
		}
		values := d.request[name]
		slices.Sort(values) // they come from a map
		return fmt.Sprint(d.class, " ", values)
	}
}

// dialGoroutine tells where NetDial runs.
func dialGoroutine(t *testing.T, l library) string {
	result := "not called"
	id := func() string {
		b := make([]byte, 64)
		return strings.Fields(string(b[:runtime.Stack(b, false)]))[1] // goroutine 1 [running]
	}
	caller := id()
	d := &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) {
		if result = "another"; id() == caller {
			result = "the caller's"
		}
		return nil, io.ErrNoProgress
	}}
	l.dial(context.Background(), d, "ws://example.com/", nil)
	return result
}

func dialPanic(t *testing.T, l library) (result string) {
	defer func() { result = fmt.Sprint(recover()) }()
	d := &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { panic("mine") }}
	l.dial(context.Background(), d, "ws://example.com/", nil)
	return ""
}

// proxiedTLS tells what dials a proxy for a wss URL, and how the client speaks to the server behind
// it.
func proxiedTLS(scheme string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		result := "not dialled"
		by := func(name string) func(string, string) (net.Conn, error) {
			return func(_, addr string) (net.Conn, error) {
				here, there := net.Pipe()
				result = name + " " + addr
				go func() {
					br := bufio.NewReader(there)
					if r, err := http.ReadRequest(br); err == nil {
						result += ", then " + r.Method
						io.WriteString(there, "HTTP/1.1 200 OK\r\n\r\n")
					}
					if b, _ := br.ReadByte(); b == 'G' {
						result += " and plain text"
					} else if b == 22 { // a TLS handshake record
						result += " and TLS"
					}
					there.Close()
				}()
				return here, nil
			}
		}
		tlsDial := by("NetDialTLSContext")
		d := &gorilla.Dialer{
			Proxy:             http.ProxyURL(&url.URL{Scheme: scheme, Host: "p"}),
			NetDial:           by("NetDial"),
			NetDialTLSContext: func(_ context.Context, network, addr string) (net.Conn, error) { return tlsDial(network, addr) },
		}
		l.dial(context.Background(), d, "wss://example.com/", nil)
		return result
	}
}

// interimResponse dials a server that answers with 103 first.
func interimResponse(t *testing.T, l library) string {
	d := l.dialReply(t, gorilla.Dialer{}, nil, reply{status: "103 Early Hints\r\n\r\nHTTP/1.1 101", choices: replyWith("X", "y").choices})
	return fmt.Sprint(d.class, " ", d.status)
}

// connectAnswer dials through a proxy with that answer to CONNECT.
func connectAnswer(status string) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			br := bufio.NewReader(there)
			if _, err := http.ReadRequest(br); err != nil {
				return
			}
			io.WriteString(there, "HTTP/1.1 "+status+"\r\n\r\n")
			if r, err := http.ReadRequest(br); err == nil {
				there.Write(replyWith("X", "y").write(r.Header.Get("Sec-WebSocket-Key")))
			}
		}()
		d := &gorilla.Dialer{
			Proxy:   http.ProxyURL(&url.URL{Scheme: "http", Host: "p"}),
			NetDial: func(string, string) (net.Conn, error) { return here, nil },
		}
		c, _, err := l.dial(context.Background(), d, "ws://example.com/", nil)
		if err != nil {
			return err.Error()
		}
		c.Close()
		return "nil"
	}
}

// withoutDeadlines dials with a timeout on a connection that has no deadlines.
func withoutDeadlines(t *testing.T, l library) string {
	here, there := net.Pipe()
	go answerWith("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n")(there, bufio.NewReader(there))
	d := &gorilla.Dialer{HandshakeTimeout: time.Hour, NetDial: func(string, string) (net.Conn, error) {
		return plain{here, errors.New("no deadlines")}, nil
	}}
	c, _, err := l.dial(context.Background(), d, "ws://example.com/", nil)
	if err != nil {
		return err.Error()
	}
	c.Close()
	return "nil"
}

// cancelledWait tells what becomes of a dial that waits for the response when its context is
// cancelled.
func cancelledWait(t *testing.T, l library) (result string) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go io.Copy(io.Discard, there)
		ctx, cancel := context.WithCancel(context.Background())
		d := &gorilla.Dialer{NetDial: func(string, string) (net.Conn, error) { return here, nil }}
		ended := false
		go func() {
			if _, _, err := l.dial(ctx, d, "ws://example.com/", nil); errors.Is(err, context.Canceled) {
				result = context.Canceled.Error()
			}
			ended = true
		}()
		synctest.Wait()
		cancel()
		if synctest.Wait(); !ended {
			result = "still waiting"
		}
		there.Close()
		synctest.Wait()
	})
	return result
}

// wrapper is what a middleware puts around a ResponseWriter.
type wrapper struct{ http.ResponseWriter }

func (w wrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func upgradeWrapped(t *testing.T, l library) string {
	h := newHijack(newWire(), 4096)
	if _, err := l.upgrade(gorilla.Upgrader{}, wrapper{h}, upgradeRequest(), nil); err != nil {
		return fmt.Sprint(h.Code)
	}
	return "101"
}
