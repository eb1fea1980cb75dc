package interop

// npm's ws, as server and as client.

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tautws/websocket"
)

var subprotocols = []string{"interop.v2", "interop.v1"}

// offeredSubprotocols is what the other side names; the second one is common to both.
var offeredSubprotocols = []string{"unknown", "interop.v1"}

// A variant is one set of options on either side and what has to come out of the negotiation.
type variant struct {
	name        string
	enable      bool // our EnableCompression
	compression websocket.CompressionOptions
	bufferSize  int
	deflate     string // the peer's options, empty: permessage-deflate off
	want        string // the answer, its parameters in alphabetical order
	dataOnly    bool   // hold the short form of the conversation
}

func (v variant) dialer() websocket.Dialer {
	return websocket.Dialer{
		Subprotocols:      offeredSubprotocols,
		EnableCompression: v.enable,
		Compression:       v.compression,
		ReadBufferSize:    v.bufferSize,
		WriteBufferSize:   v.bufferSize,
	}
}

func (v variant) upgrader() websocket.Upgrader {
	return websocket.Upgrader{
		Subprotocols:      subprotocols,
		EnableCompression: v.enable,
		Compression:       v.compression,
		ReadBufferSize:    v.bufferSize,
		WriteBufferSize:   v.bufferSize,
	}
}

func (v variant) options() json.RawMessage {
	if v.deflate == "" {
		return nil
	}
	return json.RawMessage(v.deflate)
}

var takeover = websocket.CompressionOptions{ContextTakeover: true}

// windowed returns one variant for each window size.
func windowed(from int, deflate, want string) (vs []variant) {
	for bits := from; bits <= 15; bits++ {
		vs = append(vs, variant{
			name: fmt.Sprintf("window %d", bits), enable: true, compression: takeover, dataOnly: true,
			deflate: fmt.Sprintf(deflate, bits), want: fmt.Sprintf(want, bits),
		})
	}
	return vs
}

// declined returns the variant in which the client offers permessage-deflate and the server has none.
func declined(us string) variant {
	if us == "client" {
		return variant{name: "declined", enable: true}
	}
	return variant{name: "declined", deflate: `{}`}
}

// wsVariants returns the variants for npm's ws. The two ends are "client" and "server".
func wsVariants(us, peer string) []variant {
	variants := []variant{
		{name: "plain"},
		{name: "small buffers", bufferSize: 256},
		declined(us),
		{
			name: "no takeover", enable: true, deflate: `{"threshold":0}`,
			want: "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
		},
		{
			name: "no takeover, small buffers", enable: true, bufferSize: 256, deflate: `{"threshold":0}`,
			want: "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
		},
		{name: "takeover", enable: true, compression: takeover, deflate: `{"threshold":0}`, want: "permessage-deflate"},
		{
			name: "takeover by us", enable: true, compression: takeover,
			deflate: `{"threshold":0,"` + peer + `NoContextTakeover":true}`,
			want:    "permessage-deflate; " + peer + "_no_context_takeover",
		},
		{
			name: "takeover by the peer", enable: true, compression: takeover,
			deflate: `{"threshold":0,"` + us + `NoContextTakeover":true}`,
			want:    "permessage-deflate; " + us + "_no_context_takeover",
		},
	}
	return append(variants, windowed(8,
		`{"threshold":0,"serverMaxWindowBits":%[1]d,"clientMaxWindowBits":%[1]d}`,
		"permessage-deflate; client_max_window_bits=%[1]d; server_max_window_bits=%[1]d")...)
}

func TestWSServer(t *testing.T) {
	for _, v := range wsVariants("client", "server") {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, "node", "peer_ws.mjs")
			p.do(t, command{Do: "listen", Subprotocols: subprotocols, Deflate: v.options()})
			url := p.expect(t, "listening").URL
			conversation{
				peer: p, open: dialling(p, v.dialer(), url), subprotocol: "interop.v1", extensions: v.want,
				dataOnly: v.dataOnly,
			}.run(t)
		})
	}
}

func TestWSClient(t *testing.T) {
	for _, v := range wsVariants("server", "client") {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, "node", "peer_ws.mjs")
			a := accept(t, v.upgrader(), nil)
			dial := command{Subprotocols: offeredSubprotocols, Deflate: v.options()}
			conversation{
				peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
				dataOnly: v.dataOnly,
			}.run(t)
		})
	}
}

// TestWSTLS holds the conversation over TLS, where the library sits on a tls.Conn.
func TestWSTLS(t *testing.T) {
	ca := newAuthority(t)
	v := variant{enable: true, compression: takeover, deflate: `{"threshold":0}`, want: "permessage-deflate"}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		p := startPeer(t, nil, "node", "peer_ws.mjs")
		p.do(t, command{Do: "listen", Subprotocols: subprotocols, Deflate: v.options(), CertFile: ca.certFile})
		d := v.dialer()
		d.TLSClientConfig = ca.clientConfig()
		conversation{
			peer: p, open: dialling(p, d, p.expect(t, "listening").URL),
			subprotocol: "interop.v1", extensions: v.want,
		}.run(t)
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		p := startPeer(t, nil, "node", "peer_ws.mjs")
		a := accept(t, v.upgrader(), ca)
		dial := command{Subprotocols: offeredSubprotocols, Deflate: v.options(), CAFile: ca.caFile}
		conversation{
			peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
		}.run(t)
	})
}
