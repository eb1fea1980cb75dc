package websocket

import (
	"encoding/json"
	"io"
)

// WriteJSON sends the JSON encoding of v, followed by a newline, as a text
// message. If v cannot be encoded nothing is sent, and the error is that of
// encoding/json; other errors are those of WriteMessage.
func (c *Conn) WriteJSON(v any) error {
	b := getBuffer(1 << minBufferBits)
	defer b.free()
	w := appender{b.b[:0]}
	if err := json.NewEncoder(&w).Encode(v); err != nil {
		return err
	}
	b.b = w.b
	return c.writeMessage(never, TextMessage, w.b)
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// ReadJSON reads a message, of either type, and stores the JSON value it
// begins with in what v points to; see json.Unmarshal. An empty message is
// io.ErrUnexpectedEOF.
//
// After an error of encoding/json the next read begins with the next message;
// other errors are those of ReadMessage.
func (c *Conn) ReadJSON(v any) error {
	_, r, err := c.NextReader()
	if err != nil {
		return err
	}
	err = json.NewDecoder(r).Decode(v)
	if err == io.EOF {
		// A message without a value, not the end of the messages.
		err = io.ErrUnexpectedEOF
	}
	return err
}
