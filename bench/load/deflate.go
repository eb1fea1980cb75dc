package load

// Compressed messages: sent ready-made, each compressed alone, which a client may always do;
// replies are inflated and compared.

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
)

// tail ends a message that was cut off after its last sync marker (RFC 7692 §7.2.2), and an empty
// final block after it gives the reader its end.
const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

const window = 32 << 10

// compress returns p as permessage-deflate sends it.
func compress(p []byte) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(p)
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte(tail[:4]))
}

// inflateChecker parses frames and inflates them. Without takeover a server tends to answer a
// message with the same bytes every time: those it has seen are not inflated again, which keeps the
// client ahead of the server.
type inflateChecker struct {
	due      [][]byte
	stream   []byte // received, not yet a whole frame
	takeover bool
	history  []byte
	seen     map[string]string // compressed to plain; nil with takeover
	reader   io.ReadCloser
	source   bytes.Reader
	plain    bytes.Buffer
}

func newInflateChecker(takeover bool) *inflateChecker {
	c := &inflateChecker{takeover: takeover}
	c.reader = flate.NewReader(&c.source)
	if !takeover {
		c.seen = make(map[string]string)
	}
	return c
}

func (c *inflateChecker) begin(b burst) { c.due = b.payload }

func (c *inflateChecker) check(p []byte) (done int, err error) {
	c.stream = append(c.stream, p...)
	for {
		h, ok := parseHeader(c.stream)
		if !ok || len(c.stream) < h.size+h.length {
			return done, nil
		}
		if h.first != finBit|rsv1Bit|opText {
			return done, fmt.Errorf("reply begins with %#02x, due a compressed text message", h.first)
		}
		if len(c.due) == 0 {
			return done, errors.New("more replies than messages")
		}
		if err := c.compare(c.stream[h.size : h.size+h.length]); err != nil {
			return done, err
		}
		c.due = c.due[1:]
		done++
		c.stream = append(c.stream[:0], c.stream[h.size+h.length:]...)
	}
}

func (c *inflateChecker) compare(compressed []byte) error {
	due := c.due[0]
	if plain, ok := c.seen[string(compressed)]; ok && plain == string(due) {
		return nil
	}
	if err := c.inflate(compressed); err != nil {
		return fmt.Errorf("inflating a reply of %d bytes: %w", len(compressed), err)
	}
	if !bytes.Equal(c.plain.Bytes(), due) {
		return fmt.Errorf("not the message sent: got %.64q, due %.64q", c.plain.Bytes(), due)
	}
	if c.takeover {
		c.history = append(c.history, due...)
		c.history = c.history[max(0, len(c.history)-window):]
	} else if len(c.seen) < 64 {
		c.seen[string(compressed)] = string(due)
	}
	return nil
}

func (c *inflateChecker) inflate(compressed []byte) error {
	c.source.Reset(append(bytes.Clone(compressed), tail...))
	if err := c.reader.(flate.Resetter).Reset(&c.source, c.history); err != nil {
		return err
	}
	c.plain.Reset()
	_, err := c.plain.ReadFrom(c.reader)
	return err
}
