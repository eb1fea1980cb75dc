package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tautws/websocket"
)

func start(t *testing.T) (s *server, url string) {
	t.Helper()
	s = newServer()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, "ws" + strings.TrimPrefix(srv.URL, "http") + "/"
}

func dial(t *testing.T, url string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestEcho(t *testing.T) {
	for _, handle := range []bool{false, true} {
		s, url := start(t)
		s.handle = handle
		testEcho(t, dial(t, url))
	}
}

func testEcho(t *testing.T, c *websocket.Conn) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		for _, messageType := range []int{websocket.TextMessage, websocket.BinaryMessage} {
			want := bytes.Repeat([]byte("a"), size)
			if messageType == websocket.BinaryMessage {
				want = bytes.Repeat([]byte{0xff}, size)
			}
			if err := c.WriteMessage(messageType, want); err != nil {
				t.Fatal(err)
			}
			gotType, got, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if gotType != messageType || !bytes.Equal(got, want) {
				t.Errorf("%d bytes of type %d came back as %d bytes of type %d", size, messageType, len(got), gotType)
			}
		}
	}
}

func TestPage(t *testing.T) {
	_, url := start(t)
	url = "http" + strings.TrimPrefix(url, "ws")
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	ids := []string{"url", "connect", "message", "send", "send-binary", "close", "close-code", "close-reason", "log", "status"}
	for _, id := range ids {
		if !bytes.Contains(body, []byte(` id="`+id+`"`)) {
			t.Errorf("the page has no element with id %q", id)
		}
	}

	for _, row := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "nothing", http.StatusNotFound},
		{http.MethodHead, "", http.StatusOK},
		{http.MethodPost, "", http.StatusMethodNotAllowed},
	} {
		req, err := http.NewRequest(row.method, url+row.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != row.status {
			t.Errorf("%s /%s: status %d, want %d", row.method, row.path, resp.StatusCode, row.status)
		}
	}
}

// WCAG 1.4.11: the borders of the fields have a contrast of 3:1 to either side, in both colour
// schemes.
func TestPageContrast(t *testing.T) {
	page, err := os.ReadFile("index.html")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^input, textarea \{.*border-color: var\(--field\)`).Match(page) {
		t.Error("input and textarea have another border")
	}
	schemes := regexp.MustCompile(`(?s):root \{.*?\}`).FindAllString(string(page), -1)
	if len(schemes) != 2 {
		t.Fatalf("%d colour schemes", len(schemes))
	}
	for i, scheme := range schemes {
		luminance := func(name string) (sum float64) {
			m := regexp.MustCompile(`--` + name + `: #([0-9a-f]+);`).FindStringSubmatch(scheme)
			if m == nil {
				t.Fatalf("scheme %d has no colour --%s", i, name)
			}
			hex := m[1]
			if len(hex) == 3 {
				hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
			}
			for k, weight := range []float64{0.2126, 0.7152, 0.0722} {
				n, err := strconv.ParseUint(hex[2*k:2*k+2], 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				v := float64(n) / 255
				if v <= 0.04045 {
					v /= 12.92
				} else {
					v = math.Pow((v+0.055)/1.055, 2.4)
				}
				sum += weight * v
			}
			return sum
		}
		for _, beside := range []string{"card", "page"} {
			a, b := luminance("field"), luminance(beside)
			if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 3 {
				t.Errorf("scheme %d: contrast of %.2f to --%s", i, ratio, beside)
			}
		}
	}
}

func TestForeignOriginIsRefused(t *testing.T) {
	_, url := start(t)
	_, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {"http://elsewhere.example"}})
	if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusForbidden {
		t.Errorf("error %v, response %v; want a bad handshake with status 403", err, resp)
	}
}

// The end of the context, which is what a signal brings about, sends 1001 to every connection.
func TestEndOfServing(t *testing.T) {
	for _, handle := range []bool{false, true} {
		testEndOfServing(t, handle)
	}
}

func testEndOfServing(t *testing.T, handle bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	ended := make(chan error, 1)
	s := newServer()
	s.handle = handle
	go func() { ended <- serve(ctx, s, ln, "", "", &out) }()

	url := "ws://" + ln.Addr().String() + "/"
	var conns []*websocket.Conn
	for range 3 {
		c := dial(t, url)
		if err := c.WriteMessage(websocket.TextMessage, []byte("are you there?")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.ReadMessage(); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	cancel()
	for i, c := range conns {
		if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("connection %d: %v; want a close frame with 1001", i, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("serve returned %v", err)
	}
	if !strings.Contains(out.String(), "http://"+ln.Addr().String()+"/") {
		t.Errorf("serve said %q, which lacks the page's URL", out.String())
	}
	if _, _, err := websocket.DefaultDialer.Dial(url, nil); err == nil {
		t.Error("the listener still accepts")
	}
}

// A client that comes while the server ends is told so.
func TestLateConnection(t *testing.T) {
	s, url := start(t)
	s.shutdown()
	_, resp, err := websocket.DefaultDialer.Dial(url, nil)
	if !errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("error %v, response %v; want status 503", err, resp)
	}
}

func TestClient(t *testing.T) {
	_, url := start(t)
	var out, notes bytes.Buffer
	in := strings.NewReader("one\r\ntwo\n\nf\xffur\nlast, without a newline")
	status := run(t.Context(), []string{"-dial", url, "-ping", "3", "-interval", "1ms"}, in, &out, &notes)
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	want := "one\ntwo\n\nbinary, 4 bytes: 66 ff 75 72\nlast, without a newline\n"
	if got := out.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	for _, part := range []string{"ping 1: ", "ping 3: ", "mean ", "closed: 1000"} {
		if !strings.Contains(notes.String(), part) {
			t.Errorf("the notes lack %q:\n%s", part, notes.String())
		}
	}
}

// The client tells what the server saw of it and how it ended: header, subprotocol, code, reason.
func TestClientAgainstServerThatCloses(t *testing.T) {
	for _, row := range []struct {
		code, status int
	}{
		{websocket.CloseNormalClosure, 0},
		{websocket.ClosePolicyViolation, 1},
	} {
		upgrader := websocket.Upgrader{Subprotocols: []string{"v2"}}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := upgrader.Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer c.Close()
			c.WriteMessage(websocket.TextMessage, []byte(r.Header.Get("X-Word")))
			c.Shutdown(r.Context(), row.code, "enough")
		}))
		in, _ := io.Pipe() // Nobody types anything.
		var out, notes bytes.Buffer
		url := "ws" + strings.TrimPrefix(srv.URL, "http")
		args := []string{"-dial", url, "-H", "X-Word: swordfish", "-subprotocol", "v1", "-subprotocol", "v2"}
		status := run(t.Context(), args, in, &out, &notes)
		srv.Close()
		if status != row.status {
			t.Errorf("close code %d: exit status %d, want %d", row.code, status, row.status)
		}
		if got := out.String(); got != "swordfish\n" {
			t.Errorf("printed %q", got)
		}
		for _, part := range []string{"subprotocol: v2", "enough"} {
			if !strings.Contains(notes.String(), part) {
				t.Errorf("the notes lack %q:\n%s", part, notes.String())
			}
		}
	}
}

func TestClientFailsToConnect(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "only for members", http.StatusForbidden)
	}))
	defer srv.Close()
	var out, notes bytes.Buffer
	status := run(t.Context(), []string{"-dial", "ws" + strings.TrimPrefix(srv.URL, "http")}, strings.NewReader(""), &out, &notes)
	if status != 1 || !strings.Contains(notes.String(), "403 Forbidden: only for members") {
		t.Errorf("exit status %d, notes %q", status, notes.String())
	}
}

// With -reconnect a connection that ends is followed by another, until the input ends or the server
// wants no more of it.
func TestClientReconnects(t *testing.T) {
	in, typed := io.Pipe()
	attempts := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if attempts++; attempts == 2 {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		go func(n int) {
			io.WriteString(typed, "line "+strconv.Itoa(n)+"\n")
			if n == 4 {
				typed.Close()
			}
		}(attempts)
		_, p, err := c.ReadMessage()
		if err != nil {
			return
		}
		c.WriteMessage(websocket.TextMessage, p)
		if attempts < 4 {
			c.Shutdown(r.Context(), websocket.CloseNormalClosure, "")
		}
		c.ReadMessage()
	}))
	defer srv.Close()
	var out, notes bytes.Buffer
	cl := client{
		url: "ws" + strings.TrimPrefix(srv.URL, "http"), in: in, out: &out, notes: &notes,
		reconnect: true, backoff: websocket.Backoff{Min: 1, Max: 1},
	}
	if err := cl.run(t.Context()); err != nil {
		t.Error(err)
	}
	if want := "line 1\nline 3\nline 4\n"; out.String() != want || !strings.Contains(notes.String(), "503") {
		t.Errorf("printed %q, want %q; notes %q", out.String(), want, notes.String())
	}

	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	in, _ = io.Pipe()
	args := []string{"-reconnect", "-dial", "ws" + strings.TrimPrefix(refusing.URL, "http")}
	if status := run(t.Context(), args, in, &out, &notes); status != 1 || !strings.Contains(notes.String(), "404") {
		t.Errorf("exit status %d, notes %q", status, notes.String())
	}
}

// A wss connection: the server's -cert and -key, the client's -ca and -insecure.
func TestTLS(t *testing.T) {
	cert, key := keyPair(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, newServer(), ln, cert, key, &out) }()

	url := "wss://" + ln.Addr().String() + "/"
	for _, row := range []struct {
		args   []string
		status int
		note   string
	}{
		{[]string{"-dial", url, "-ca", cert}, 0, "closed: 1000"},
		{[]string{"-dial", url, "-insecure"}, 0, "closed: 1000"},
		{[]string{"-dial", url}, 1, "certificate"},
		{[]string{"-dial", url, "-ca", key}, 1, "holds no PEM certificate"},
		{[]string{"-dial", url, "-ca", "nothing.pem"}, 1, "nothing.pem"},
	} {
		var replies, notes bytes.Buffer
		status := run(t.Context(), row.args, strings.NewReader("secret"), &replies, &notes)
		if !strings.Contains(notes.String(), row.note) || status != row.status || status == 0 && replies.String() != "secret\n" {
			t.Errorf("%q: exit status %d, printed %q, notes %q", row.args, status, replies.String(), notes.String())
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(out.String(), "https://"+ln.Addr().String()+"/") {
		t.Errorf("serve said %q, which lacks the page's URL", out.String())
	}
}

// keyPair writes the certificate that httptest uses, which is valid for 127.0.0.1, and its key.
func keyPair(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	pair := srv.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"-nonsense"}, {"stray"}, {"-H", "no colon"}} {
		if status := run(t.Context(), args, nil, io.Discard, io.Discard); status != 2 {
			t.Errorf("%q: exit status %d, want 2", args, status)
		}
	}
	if status := run(t.Context(), []string{"-cert", "only"}, nil, io.Discard, io.Discard); status != 1 {
		t.Errorf("-cert alone: exit status %d, want 1", status)
	}
}
