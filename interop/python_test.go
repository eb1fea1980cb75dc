package interop

// Debian's python3-websockets, as server and as client.

import "testing"

// python is the interpreter that Debian's packages belong to; another one may come first in PATH.
const python = "/usr/bin/python3"

// pythonVariants returns the variants for websockets. The two ends are "client" and "server".
func pythonVariants(us, peer string) []variant {
	variants := []variant{
		{name: "plain"},
		{name: "small buffers", bufferSize: 256},
		declined(us),
		{
			name: "no takeover", enable: true, deflate: `{}`,
			want: "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
		},
		{name: "takeover", enable: true, compression: takeover, deflate: `{}`, want: "permessage-deflate"},
		{
			name: "takeover by us", enable: true, compression: takeover,
			deflate: `{"` + peer + `_no_context_takeover":true}`,
			want:    "permessage-deflate; " + peer + "_no_context_takeover",
		},
		{
			name: "takeover by the peer", enable: true, compression: takeover,
			deflate: `{"` + us + `_no_context_takeover":true}`,
			want:    "permessage-deflate; " + us + "_no_context_takeover",
		},
		// zlib has no raw compressor with a window of 256 bytes, so only ours is that small.
		{
			name: "window 8", enable: true, compression: takeover, deflate: `{"` + us + `_max_window_bits":8}`,
			want: "permessage-deflate; " + us + "_max_window_bits=8",
		},
	}
	return append(variants, windowed(9,
		`{"server_max_window_bits":%[1]d,"client_max_window_bits":%[1]d}`,
		"permessage-deflate; client_max_window_bits=%[1]d; server_max_window_bits=%[1]d")...)
}

func TestPythonServer(t *testing.T) {
	for _, v := range pythonVariants("client", "server") {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, python, "peer_python.py")
			p.do(t, command{Do: "listen", Subprotocols: subprotocols, Deflate: v.options()})
			url := p.expect(t, "listening").URL
			conversation{
				peer: p, open: dialling(p, v.dialer(), url), subprotocol: "interop.v1", extensions: v.want,
				noEmptyClose: true, dataOnly: v.dataOnly,
			}.run(t)
		})
	}
}

func TestPythonClient(t *testing.T) {
	for _, v := range pythonVariants("server", "client") {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			p := startPeer(t, nil, python, "peer_python.py")
			a := accept(t, v.upgrader(), nil)
			dial := command{Subprotocols: offeredSubprotocols, Deflate: v.options()}
			conversation{
				peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want,
				noEmptyClose: true, dataOnly: v.dataOnly,
			}.run(t)
		})
	}
}

// TestPythonTLS holds the conversation over TLS.
func TestPythonTLS(t *testing.T) {
	ca := newAuthority(t)
	v := variant{enable: true, compression: takeover, deflate: `{}`, want: "permessage-deflate"}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		p := startPeer(t, nil, python, "peer_python.py")
		p.do(t, command{Do: "listen", Subprotocols: subprotocols, Deflate: v.options(), CertFile: ca.certFile})
		d := v.dialer()
		d.TLSClientConfig = ca.clientConfig()
		conversation{
			peer: p, open: dialling(p, d, p.expect(t, "listening").URL), subprotocol: "interop.v1",
			extensions: v.want, noEmptyClose: true,
		}.run(t)
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		p := startPeer(t, nil, python, "peer_python.py")
		a := accept(t, v.upgrader(), ca)
		dial := command{Subprotocols: offeredSubprotocols, Deflate: v.options(), CAFile: ca.caFile}
		conversation{
			peer: p, open: accepting(p, a, dial), subprotocol: "interop.v1", extensions: v.want, noEmptyClose: true,
		}.run(t)
	})
}
