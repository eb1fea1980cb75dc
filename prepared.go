package websocket

import (
	"context"
	"sync"

	"github.com/tautws/websocket/internal/deflate"
)

// A PreparedMessage is a message made ready to be sent to many connections: framed once, and
// compressed once per set of compression parameters. It may be used by any number of goroutines at
// the same time.
type PreparedMessage struct {
	messageType int
	data        []byte
	frame       []byte // as a server sends it, uncompressed

	mu       sync.Mutex
	deflated map[deflateKey]preparedDeflate
}

// deflateKey is what the compressed form of a message depends on.
type deflateKey struct{ bits, level int }

type preparedDeflate struct {
	payload []byte // nil: not smaller than the message
	frame   []byte // as a server sends it
}

// NewPreparedMessage returns a message of the given type. It copies data, which must be UTF-8 in a
// text message; that is not checked. An unknown type is an error, and so is a control message of
// more than 125 bytes.
func NewPreparedMessage(messageType int, data []byte) (*PreparedMessage, error) {
	if !isData(messageType) {
		if err := checkControl(messageType, data); err != nil {
			return nil, err
		}
	}
	frame, payload := serverFrame(finBit|byte(messageType), data)
	return &PreparedMessage{messageType: messageType, data: payload, frame: frame}, nil
}

// serverFrame returns a whole unmasked frame, and the payload inside it.
func serverFrame(first byte, data []byte) (frame, payload []byte) {
	frame = appendHeader(make([]byte, 0, maxHeaderSize+len(data)), first, len(data), false, 0)
	n := len(frame)
	frame = append(frame, data...)
	return frame, frame[n:]
}

func (m *PreparedMessage) deflate(key deflateKey) preparedDeflate {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.deflated[key]
	if !ok {
		p := deflate.NewWriter(key.bits, false, key.level).AppendMessage(nil, m.data)
		if len(p) < len(m.data) {
			d.frame, d.payload = serverFrame(finBit|rsv1Bit|byte(m.messageType), p)
		}
		if m.deflated == nil {
			m.deflated = make(map[deflateKey]preparedDeflate)
		}
		m.deflated[key] = d
	}
	return d
}

// WritePreparedMessage sends a prepared message. It is WriteMessage otherwise, except that with
// context takeover the message is compressed without the earlier ones, and so is the one after it.
func (c *Conn) WritePreparedMessage(pm *PreparedMessage) error {
	return c.write.preparedMessage(noContext, pm)
}

// WritePreparedMessageContext is WritePreparedMessage that also ends when ctx does, as
// WriteMessageContext does.
func (c *Conn) WritePreparedMessageContext(ctx context.Context, pm *PreparedMessage) error {
	return c.write.preparedMessage(cancelable(ctx), pm)
}

func (w *writeHalf) preparedMessage(ctx context.Context, pm *PreparedMessage) error {
	if isControl(pm.messageType) {
		return w.control(ctx, pm.messageType, pm.data)
	}
	if err := w.lockMessage(ctx); err != nil {
		return err
	}
	first, payload, frame := finBit|byte(pm.messageType), pm.data, pm.frame
	if w.compresses(len(pm.data)) {
		d := pm.deflate(deflateKey{w.deflater.WindowBits(), w.level()})
		if d.payload != nil {
			first, payload, frame = first|rsv1Bit, d.payload, d.frame
			w.deflater.Reset() // the peer's window moves on without it
		}
	}
	var err error
	if !w.server {
		err = w.writeFrame(ctx, first, payload)
	} else if err = w.lock(ctx); err == nil {
		err = w.finishedFrameLocked(frame)
		w.unlock()
	}
	w.unlockMessage()
	if err == nil {
		w.traceMessage(pm.messageType, len(pm.data), w.wireSize(len(payload)))
	}
	return err
}
