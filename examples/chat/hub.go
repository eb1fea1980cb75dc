package main

// The hub: rooms, their members and what was said last. A room's Group sends to the members, and
// ends one that lags. Invariants, all guarded by hub.mu: events are broadcast in the order in which
// they happen; a room holds at most maxHistory messages; there are at most maxRooms rooms.

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tautws/websocket"
)

const (
	maxRooms   = 256
	maxMembers = 256      // per room
	maxHistory = 50       // messages per room
	maxLag     = 64 << 10 // bytes that a member may lag behind
	maxName    = 32       // runes of a name, a person's or a room's
	maxText    = 2000
)

var errFull = errors.New("the room is full")

// event is what the server sends, as JSON.
type event struct {
	Kind    string  `json:"kind"`         // "welcome", "message", "join" or "leave"
	ID      string  `json:"id,omitempty"` // the member's
	Name    string  `json:"name,omitempty"`
	Text    string  `json:"text,omitempty"`
	Time    int64   `json:"time"` // milliseconds since 1970
	People  int     `json:"people,omitempty"`
	History []event `json:"history,omitempty"`
}

type hub struct {
	mu    sync.Mutex
	rooms map[string]*room
}

type room struct {
	websocket.Group
	history []event
}

// member is somebody in a room.
type member struct {
	id, name string
	room     *room
	conn     *websocket.Conn
}

func newHub() *hub {
	return &hub{rooms: make(map[string]*room)}
}

// join adds a member, who gets a welcome with the history first.
func (h *hub) join(roomName, name string, c *websocket.Conn) (*member, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, err := h.room(roomName)
	if err != nil {
		return nil, err
	}
	m := &member{rand.Text()[:8], name, r, c}
	welcome := event{Kind: "welcome", ID: m.id, People: r.Len() + 1, Time: time.Now().UnixMilli(), History: r.history}
	first, err := websocket.NewPreparedMessage(websocket.TextMessage, encode(welcome))
	if err == nil {
		err = r.Add(c, first)
	}
	if err == nil {
		r.broadcast(event{Kind: "join", ID: m.id, Name: name})
	}
	return m, err
}

// room finds or makes a room. An empty room is kept for its history until its place is needed.
func (h *hub) room(name string) (*room, error) {
	if r := h.rooms[name]; r != nil {
		if r.Len() >= maxMembers {
			return nil, errFull
		}
		return r, nil
	}
	if len(h.rooms) >= maxRooms {
		maps.DeleteFunc(h.rooms, func(_ string, r *room) bool { return r.Len() == 0 })
	}
	if len(h.rooms) >= maxRooms {
		return nil, errFull
	}
	r := &room{Group: websocket.Group{MaxLag: maxLag}}
	h.rooms[name] = r
	return r, nil
}

// say sends a member's text to the whole room, the member included: order is the same for all.
func (h *hub) say(m *member, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := m.room
	r.history = append(r.history, r.broadcast(event{Kind: "message", ID: m.id, Name: m.name, Text: text}))
	if extra := len(r.history) - maxHistory; extra > 0 {
		r.history = slices.Delete(r.history, 0, extra)
	}
}

func (h *hub) leave(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m.room.Remove(m.conn)
	m.room.broadcast(event{Kind: "leave", ID: m.id, Name: m.name})
}

// broadcast encodes and frames an event once, however many members there are.
func (r *room) broadcast(e event) event {
	e.Time = time.Now().UnixMilli()
	e.People = r.Len()
	r.Broadcast(websocket.TextMessage, encode(e))
	return e
}

func encode(e event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // An event is strings and numbers.
	}
	return data
}

// clean makes one printable line of at most limit runes out of what somebody typed.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) && r != '\u200d': // Emoji are joined with U+200D.
			return -1
		}
		return r
	}, s)
	runes := []rune(strings.TrimSpace(s))
	return strings.TrimSpace(string(runes[:min(limit, len(runes))]))
}
