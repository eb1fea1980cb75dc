package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tautws/websocket"
)

func start(t *testing.T) (s *server, base string) {
	t.Helper()
	s = newServer()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func dial(t *testing.T, d *websocket.Dialer, base, room, name string) *websocket.Conn {
	t.Helper()
	query := url.Values{"room": {room}, "name": {name}}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(base, "http")+"/ws?"+query.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func next(t *testing.T, c *websocket.Conn) event {
	t.Helper()
	var e event
	if err := c.ReadJSON(&e); err != nil {
		t.Fatal(err)
	}
	return e
}

// expect reads one event and compares it in short: kind, name, text, people.
func expect(t *testing.T, c *websocket.Conn, want string) event {
	t.Helper()
	e := next(t, c)
	if got := fmt.Sprintf("%s %s %q %d", e.Kind, e.Name, e.Text, e.People); got != want {
		t.Fatalf("event %s; want %s", got, want)
	}
	return e
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.WriteJSON(map[string]string{"text": text}); err != nil {
		t.Fatal(err)
	}
}

func TestConversation(t *testing.T) {
	_, base := start(t)
	ada := dial(t, websocket.DefaultDialer, base, "lobby", "Ada")
	expect(t, ada, `welcome  "" 1`)
	expect(t, ada, `join Ada "" 1`)
	say(t, ada, "is\tanybody <b>here</b>?  ")
	expect(t, ada, `message Ada "is anybody <b>here</b>?" 1`)

	other := dial(t, websocket.DefaultDialer, base, "elsewhere", "Alan")
	expect(t, other, `welcome  "" 1`)

	bob := dial(t, websocket.DefaultDialer, base, "lobby", " Bob\u202e\n")
	welcome := expect(t, bob, `welcome  "" 2`)
	if len(welcome.History) != 1 || welcome.History[0].Name != "Ada" {
		t.Errorf("history %+v; want what Ada said", welcome.History)
	}
	expect(t, bob, `join Bob "" 2`)
	expect(t, ada, `join Bob "" 2`)
	say(t, bob, "yes")
	expect(t, ada, `message Bob "yes" 2`)
	expect(t, bob, `message Bob "yes" 2`)

	if err := bob.Shutdown(t.Context(), websocket.CloseNormalClosure, ""); err != nil {
		t.Error(err)
	}
	expect(t, ada, `leave Bob "" 1`)
}

// conn is a connection whose peer reads nothing.
func conn(t *testing.T) *websocket.Conn {
	client, server := websocket.Pipe(websocket.ConnOptions{})
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return server
}

func TestHistoryIsBoundedAndOutlivesMembers(t *testing.T) {
	h := newHub()
	m, err := h.join("lobby", "Ada", conn(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxHistory + 10 {
		h.say(m, fmt.Sprint(i))
	}
	h.leave(m)
	if m, err = h.join("lobby", "Ada", conn(t)); err != nil {
		t.Fatal(err)
	}
	if n := len(m.room.history); n != maxHistory || m.room.history[0].Text != "10" {
		t.Errorf("%d messages, the first %q; want %d from \"10\" on", n, m.room.history[0].Text, maxHistory)
	}
}

func TestRoomsAndMembersAreBounded(t *testing.T) {
	h := newHub()
	var first *member
	for i := range maxRooms {
		m, err := h.join(fmt.Sprint("room ", i), "Ada", conn(t))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = m
		}
	}
	if _, err := h.join("one more", "Ada", conn(t)); err != errFull {
		t.Errorf("room %d: %v; want errFull", maxRooms+1, err)
	}
	h.leave(first)
	if _, err := h.join("one more", "Ada", conn(t)); err != nil {
		t.Errorf("an empty room did not make place: %v", err)
	}
	for range maxMembers - 1 {
		if _, err := h.join("one more", "Ada", conn(t)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.join("one more", "Ada", conn(t)); err != errFull {
		t.Errorf("member %d: %v; want errFull", maxMembers+1, err)
	}
}

// thin is a listener whose connections buffer little, so that a peer who does not read is noticed
// soon.
type thin struct{ net.Listener }

func (l thin) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

// A member who does not read is sent away, with 1013 if it takes that, and the others never notice.
func TestSlowMember(t *testing.T) {
	s := newServer()
	srv := httptest.NewUnstartedServer(s)
	srv.Listener = thin{srv.Listener}
	srv.Start()
	t.Cleanup(srv.Close)
	thinDialer := &websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		return c, err
	}}
	ada := dial(t, websocket.DefaultDialer, srv.URL, "lobby", "Ada")
	expect(t, ada, `welcome  "" 1`)
	expect(t, ada, `join Ada "" 1`)
	slow := dial(t, thinDialer, srv.URL, "lobby", "Slow")
	expect(t, ada, `join Slow "" 2`)

	// The hub talks at the pace at which Ada reads.
	s.hub.mu.Lock()
	robot := &member{name: "Robot", room: s.hub.rooms["lobby"]}
	s.hub.mu.Unlock()
	text := strings.Repeat("blah ", maxText/5)
	s.hub.say(robot, text)
	for e := next(t, ada); e.Kind != "leave"; e = next(t, ada) {
		if e.Kind == "message" && e.Text != text {
			t.Fatalf("Ada read %q", e.Text)
		}
		s.hub.say(robot, text)
	}
	for {
		_, _, err := slow.ReadMessage()
		if err == nil {
			continue
		}
		// It has a second to take the close frame, behind what was sent to it before.
		if !websocket.IsCloseError(err, websocket.CloseTryAgainLater, websocket.CloseAbnormalClosure) {
			t.Errorf("the slow member read %v; want a close frame with 1013, or the end", err)
		}
		break
	}
}

func TestRulesOfTheRoom(t *testing.T) {
	_, base := start(t)
	flood := func(c *websocket.Conn) {
		for range 2 * burst {
			c.WriteMessage(websocket.TextMessage, []byte(`{"text":"la"}`))
		}
	}
	for _, row := range []struct {
		name string
		send func(c *websocket.Conn)
		code int
	}{
		{"too fast", flood, websocket.ClosePolicyViolation},
		{"not JSON", func(c *websocket.Conn) { c.WriteMessage(websocket.TextMessage, []byte("hello")) }, websocket.CloseUnsupportedData},
		{"binary", func(c *websocket.Conn) { c.WriteMessage(websocket.BinaryMessage, []byte("{}")) }, websocket.CloseUnsupportedData},
		{"too long", func(c *websocket.Conn) { say(t, c, strings.Repeat("a", readLimit)) }, websocket.CloseMessageTooBig},
	} {
		c := dial(t, websocket.DefaultDialer, base, "room", row.name)
		row.send(c)
		for {
			_, _, err := c.ReadMessage()
			if err == nil {
				continue
			}
			if !websocket.IsCloseError(err, row.code) {
				t.Errorf("%s: %v; want a close frame with %d", row.name, err, row.code)
			}
			break
		}
	}
}

// A long text is cut, not refused, and its escapes fit the limit.
func TestLongText(t *testing.T) {
	_, base := start(t)
	c := dial(t, websocket.DefaultDialer, base, "lobby", "Ada")
	expect(t, c, `welcome  "" 1`)
	expect(t, c, `join Ada "" 1`)
	say(t, c, strings.Repeat("<", maxText+1))
	if e := next(t, c); e.Text != strings.Repeat("<", maxText) {
		t.Errorf("%d bytes came back", len(e.Text))
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	var r rate
	for i := range burst {
		if !r.take(now) {
			t.Fatalf("token %d of %d refused", i+1, burst)
		}
	}
	if r.take(now) {
		t.Error("one token too many")
	}
	now = now.Add(pace)
	if !r.take(now) || r.take(now) {
		t.Error("a pace later there is not exactly one token")
	}
}

func TestPage(t *testing.T) {
	_, base := start(t)
	for _, row := range []struct {
		path   string
		status int
		parts  []string
	}{
		{"/", http.StatusOK, []string{`id="name"`, `id="room"`, `id="message"`, `id="send"`, `id="messages"`, `id="status"`}},
		{"/chat.js", http.StatusOK, []string{"new WebSocket("}},
		{"/chat.css", http.StatusOK, []string{"#messages"}},
		{"/ws?room=lobby", http.StatusBadRequest, []string{"name="}},
		{"/nothing", http.StatusNotFound, nil},
	} {
		resp, err := http.Get(base + row.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != row.status {
			t.Errorf("%s: status %d, error %v; want %d", row.path, resp.StatusCode, err, row.status)
		}
		for _, part := range row.parts {
			if !bytes.Contains(body, []byte(part)) {
				t.Errorf("%s lacks %q", row.path, part)
			}
		}
		if row.path == "/chat.js" && bytes.Contains(body, []byte("innerHTML")) {
			t.Error("chat.js uses innerHTML")
		}
	}
}

// The end of the context, which is what a signal brings about, sends 1001 to every member.
func TestEndOfServing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, ln, &out) }()

	base := "http://" + ln.Addr().String()
	var conns []*websocket.Conn
	for range 3 {
		c := dial(t, websocket.DefaultDialer, base, "lobby", "Ada")
		if e := next(t, c); e.Kind != "welcome" {
			t.Fatalf("first event %+v", e)
		}
		conns = append(conns, c)
	}
	cancel()
	for i, c := range conns {
		var err error
		for err == nil {
			_, _, err = c.ReadMessage()
		}
		if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
			t.Errorf("member %d: %v; want a close frame with 1001", i, err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("serve returned %v", err)
	}
	if !strings.Contains(out.String(), base+"/") {
		t.Errorf("serve said %q, which lacks the page's URL", out.String())
	}
}

// The page trusts these names.
func TestEventJSON(t *testing.T) {
	got, err := json.Marshal(event{Kind: "welcome", ID: "1", People: 2, History: []event{{Kind: "message", Name: "Ada", Text: "hi", Time: 3}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"welcome","id":"1","time":0,"people":2,"history":[{"kind":"message","name":"Ada","text":"hi","time":3}]}`
	if string(got) != want {
		t.Errorf("%s; want %s", got, want)
	}
}
