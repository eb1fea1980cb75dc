package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tautws/websocket"
	"github.com/tautws/websocket/conformance"
)

// A fuzzingServer speaks the suite's protocol. It runs three cases.
type fuzzingServer struct {
	t     *testing.T
	mu    sync.Mutex
	asked []string
}

func (s *fuzzingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.String())
	s.mu.Unlock()
	c, err := (&websocket.Upgrader{EnableCompression: true}).Upgrade(w, r, nil)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer c.Close()
	switch r.URL.Path {
	case "/getCaseCount":
		c.WriteMessage(websocket.TextMessage, []byte("3"))
	case "/runCase":
		message := "case " + r.URL.Query().Get("case")
		c.WriteMessage(websocket.TextMessage, []byte(message))
		if _, p, err := c.ReadMessage(); string(p) != message || err != nil {
			s.t.Errorf("echo %q, %v, want %q", p, err, message)
		}
		if r.URL.Query().Get("case") == "2" {
			c.NetConn().Write([]byte{0xff, 0x00}) // a case that fails the connection
			c.ReadMessage()
			return
		}
	}
	if err := c.Shutdown(r.Context(), websocket.CloseNormalClosure, ""); err != nil {
		s.t.Error(err)
	}
}

func TestClient(t *testing.T) {
	s := &fuzzingServer{t: t}
	server := httptest.NewServer(s)
	defer server.Close()
	e := examiner{strings.Replace(server.URL, "http", "ws", 1), "us & them", conformance.NewDialer()}
	if n, err := e.run(t.Context(), time.Minute); n != 3 || err != nil {
		t.Errorf("%d cases, %v, want 3", n, err)
	}
	want := []string{
		"/getCaseCount?agent=us+%26+them",
		"/runCase?agent=us+%26+them&case=1",
		"/runCase?agent=us+%26+them&case=2",
		"/runCase?agent=us+%26+them&case=3",
		"/updateReports?agent=us+%26+them",
	}
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked for %q, want %q", s.asked, want)
	}
}

func TestClientWithoutServer(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	e := examiner{strings.Replace(server.URL, "http", "ws", 1), "client", conformance.NewDialer()}
	if _, err := e.run(t.Context(), time.Nanosecond); err == nil {
		t.Error("no error")
	}
}

func TestClientIsRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c.NetConn(), "\x81\x05three\x88\x00")
		c.ReadMessage()
	}))
	defer server.Close()
	e := examiner{strings.Replace(server.URL, "http", "ws", 1), "client", conformance.NewDialer()}
	if n, err := e.run(t.Context(), time.Minute); n != 0 || err == nil {
		t.Errorf("%d cases, %v, want an error", n, err)
	}
}
