package main

// The hub: rooms, their members and what was said last. Nothing here waits for a network: a member
// whose queue is full is sent away instead. Invariants, all guarded by hub.mu: a member is in its
// room exactly while its queue is open; a room holds at most maxHistory messages; there are at most
// maxRooms rooms.

import (
	"context"
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
	maxMembers = 256 // per room
	maxHistory = 50  // messages per room
	maxQueue   = 32  // messages that a member may lag behind
	maxName    = 32  // runes of a name, a person's or a room's
	maxText    = 2000
)

var (
	errTooSlow = errors.New("you read too slowly")
	errFull    = errors.New("the room is full")
)

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
	members map[*member]bool
	history []event
}

// member is somebody in a room. The connection takes messages from queue, which is closed when the
// member leaves; sendAway ends the connection with a cause.
type member struct {
	id, name string
	room     *room
	queue    chan *websocket.PreparedMessage
	sendAway context.CancelCauseFunc
}

func newHub() *hub {
	return &hub{rooms: make(map[string]*room)}
}

// join adds a member and queues its welcome, which carries the history.
func (h *hub) join(roomName, name string, sendAway context.CancelCauseFunc) (*member, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r, err := h.room(roomName)
	if err != nil {
		return nil, err
	}
	m := &member{
		id:       rand.Text()[:8],
		name:     name,
		room:     r,
		queue:    make(chan *websocket.PreparedMessage, maxQueue),
		sendAway: sendAway,
	}
	r.members[m] = true
	m.enqueue(prepare(event{Kind: "welcome", ID: m.id, People: len(r.members), History: r.history}))
	r.broadcast(event{Kind: "join", ID: m.id, Name: name})
	return m, nil
}

// room finds or makes a room. An empty room is kept for its history until its place is needed.
func (h *hub) room(name string) (*room, error) {
	if r := h.rooms[name]; r != nil {
		if len(r.members) >= maxMembers {
			return nil, errFull
		}
		return r, nil
	}
	if len(h.rooms) >= maxRooms {
		maps.DeleteFunc(h.rooms, func(_ string, r *room) bool { return len(r.members) == 0 })
	}
	if len(h.rooms) >= maxRooms {
		return nil, errFull
	}
	r := &room{members: make(map[*member]bool)}
	h.rooms[name] = r
	return r, nil
}

// say sends a member's text to the whole room, the member included: order is the same for all.
func (h *hub) say(m *member, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := m.room.broadcast(event{Kind: "message", ID: m.id, Name: m.name, Text: text})
	m.room.history = append(m.room.history, e)
	if extra := len(m.room.history) - maxHistory; extra > 0 {
		m.room.history = slices.Delete(m.room.history, 0, extra)
	}
}

func (h *hub) leave(m *member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(m.room.members, m)
	close(m.queue)
	m.room.broadcast(event{Kind: "leave", ID: m.id, Name: m.name})
}

// broadcast encodes and frames an event once, however many members there are.
func (r *room) broadcast(e event) event {
	e.Time = time.Now().UnixMilli()
	e.People = len(r.members)
	message := prepare(e)
	for m := range r.members {
		m.enqueue(message)
	}
	return e
}

func (m *member) enqueue(message *websocket.PreparedMessage) {
	select {
	case m.queue <- message:
	default:
		m.sendAway(errTooSlow)
	}
}

func prepare(e event) *websocket.PreparedMessage {
	data, err := json.Marshal(e)
	if err == nil {
		var message *websocket.PreparedMessage
		if message, err = websocket.NewPreparedMessage(websocket.TextMessage, data); err == nil {
			return message
		}
	}
	panic(err) // Neither can fail: an event is strings and numbers.
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
