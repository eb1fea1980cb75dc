package websocket

import (
	"context"
	"encoding/json"
	"io"
)

// JSON messages.

// WriteJSON sends the JSON encoding of v, followed by a newline, as a text message. If v cannot be
// encoded nothing is sent, and the error is that of encoding/json; other errors are those of
// WriteMessage.
func (c *Conn) WriteJSON(v any) error { return c.write.json(noContext, v) }

// WriteJSONContext is WriteJSON that also ends when ctx does, as WriteMessageContext does.
func (c *Conn) WriteJSONContext(ctx context.Context, v any) error {
	return c.write.json(cancelable(ctx), v)
}

func (w *writeHalf) json(ctx context.Context, v any) error {
	b := getBuffer(1 << minBufferBits)
	defer b.release()
	a := appender{b.b[:0]}
	if err := json.NewEncoder(&a).Encode(v); err != nil {
		return err
	}
	b.b = a.b
	return w.message(ctx, TextMessage, a.b)
}

// An appender is an io.Writer that appends to b.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// ReadJSON reads a message, of either type, and stores the JSON value it begins with in what v
// points to; see json.Unmarshal. An empty message is io.ErrUnexpectedEOF.
//
// After an error of encoding/json the next read begins with the next message; other errors are
// those of ReadMessage.
func (c *Conn) ReadJSON(v any) error { return c.read.json(noContext, v) }

// ReadJSONContext is ReadJSON that also ends when ctx does, as NextReaderContext does.
func (c *Conn) ReadJSONContext(ctx context.Context, v any) error {
	return c.read.json(cancelable(ctx), v)
}

func (r *readHalf) json(ctx context.Context, v any) error {
	_, m, err := r.nextReader(ctx)
	if err != nil {
		return err
	}
	err = json.NewDecoder(m).Decode(v)
	if err == io.EOF {
		// A message without a value, not the end of the messages.
		err = io.ErrUnexpectedEOF
	}
	return err
}
