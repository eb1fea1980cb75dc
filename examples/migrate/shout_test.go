package main

import (
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	every = time.Millisecond
	os.Exit(m.Run())
}

func start(t *testing.T) (url string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(shout))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func dial(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.DefaultDialer.Dial(url, header)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestShout(t *testing.T) {
	c := dial(t, start(t), nil)
	if err := c.WriteMessage(websocket.TextMessage, []byte("hello, grüezi")); err != nil {
		t.Fatal(err)
	}
	told, shouted := false, false
	for !told || !shouted {
		_, message, err := c.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case string(message) == "HELLO, GRÜEZI":
			shouted = true
		case strings.HasPrefix(string(message), "it is "):
			told = true
		default:
			t.Fatalf("read %q", message)
		}
	}
	if err := c.Shutdown(t.Context(), websocket.CloseNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	url := start(t)
	for _, row := range []struct {
		name, text string
		code       int
	}{
		{"too long", strings.Repeat("a", maxMessage+1), websocket.CloseMessageTooBig},
		{"not UTF-8", "gr\xfcezi", websocket.CloseInvalidFramePayloadData},
	} {
		c := dial(t, url, nil)
		if err := c.WriteMessage(websocket.TextMessage, []byte(row.text)); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, _, err = c.ReadMessage()
		}
		if !websocket.IsCloseError(err, row.code) {
			t.Errorf("%s: %v; want a close frame with %d", row.name, err, row.code)
		}
	}
}

func TestOrigins(t *testing.T) {
	url := start(t)
	for origin, allowed := range map[string]bool{
		"http" + strings.TrimPrefix(url, "ws"): true,
		"https://app.example":                  true,
		"https://elsewhere.example":            false,
	} {
		c, resp, err := websocket.DefaultDialer.Dial(url, http.Header{"Origin": {origin}})
		if err == nil {
			c.Close()
		}
		if (err == nil) != allowed {
			t.Errorf("%s: error %v; allowed: %v", origin, err, allowed)
		}
		if err != nil && (!errors.Is(err, websocket.ErrBadHandshake) || resp.StatusCode != http.StatusForbidden) {
			t.Errorf("%s: error %v; want a bad handshake with status 403", origin, err)
		}
	}
}
