package gorilla

// The table of observable differences, a case for each row and for each thing
// a row lists: what gorilla does and what this package does, side by side.

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A difference is one thing both libraries are asked to do.
type difference struct {
	row, name string
	do        func(t *testing.T, l library) string
	there     string // what gorilla does
	here      string // what this package does
}

func TestDifferences(t *testing.T) {
	for _, d := range differences {
		t.Run(d.row+"/"+d.name, func(t *testing.T) {
			if got := d.do(t, theirs); got != d.there {
				t.Errorf("gorilla: %s\nexpected %s", got, d.there)
			}
			if got := d.do(t, ours); got != d.here {
				t.Errorf("here: %s\nexpected %s", got, d.here)
			}
		})
	}
}

// TestTables holds the cases to the tables in MIGRATING.md: no row without a
// case, and no case without a row.
func TestTables(t *testing.T) {
	guide, err := os.ReadFile(filepath.Join(moduleDir(t, ourPath), "MIGRATING.md"))
	if err != nil {
		t.Fatal(err)
	}
	const head = "| gorilla/websocket | here |\n|---|---|\n"
	var rows []string
	for _, table := range strings.Split(strings.ReplaceAll(string(guide), "`", ""), head)[1:] {
		table, _, _ = strings.Cut(table, "\n\n")
		for line := range strings.Lines(table) {
			rows = append(rows, strings.SplitN(line, "|", 3)[1])
		}
	}
	for _, row := range rows {
		if !slices.ContainsFunc(differences, func(d difference) bool { return strings.Contains(row, d.row) }) {
			t.Errorf("no case shows the row %q", row)
		}
	}
	for _, d := range differences {
		if !slices.ContainsFunc(rows, func(row string) bool { return strings.Contains(row, d.row) }) {
			t.Errorf("no row is about %q, %s", d.row, d.name)
		}
	}
}

// readAll reads a stream and tells what came of it.
func readAll(s setup, limit int64, frames ...frame) func(t *testing.T, l library) string {
	return readBytes(s, limit, s.stream(frames...))
}

func readBytes(s setup, limit int64, stream []byte) func(t *testing.T, l library) string {
	return func(t *testing.T, l library) string {
		p := plan{setup: s, limit: limit, read: styles[0], cut: func(b []byte) [][]byte { return [][]byte{b} }}
		r := l.read(t, p, stream)
		var b strings.Builder
		for _, m := range r.messages {
			if len(m.data) > 20 {
				fmt.Fprintf(&b, "%d bytes, ", len(m.data))
			} else {
				fmt.Fprintf(&b, "%q, ", m.data)
			}
		}
		b.WriteString(r.class)
		for _, f := range r.sent {
			fmt.Fprintf(&b, "; sent %d", f.opcode())
			if f.opcode() == closing {
				fmt.Fprintf(&b, " %d", closeCode(f.payload))
			}
		}
		return b.String()
	}
}

var (
	server        = setup{server: true}
	serverDeflate = setup{server: true, deflate: true}
	client        = setup{}
)

func compressed(p string) frame {
	return frame{first: fin | rsv1 | text, payload: deflate([]byte(p), 9)}
}

// huge is the header of a frame whose payload does not come.
func huge(s setup, n uint64) []byte {
	b := []byte{fin | binaryType, 127}
	if s.server {
		b[1] |= 0x80
	}
	b = binary.BigEndian.AppendUint64(b, n)
	if s.server {
		b = append(b, 1, 2, 3, 4)
	}
	return b
}

var differences = []difference{
	{rowWriters, "two goroutines", concurrentWriters, "panic", "both whole"},
	{rowNextWriter, "two writers", twoWriters, "1:half- 2:second", "2:second 1:half-whole"},
	{rowNextWriter, "left open beyond its buffer", abandonedWriter, "nil", "timeout"},

	{rowText, "invalid", readAll(server, 0, textFrame("a\xff")), `"a\xff", CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},
	{rowText, "at the first byte", readBytes(server, 0, server.stream(textFrame("a\xffb"))[:8]),
		`CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},
	{rowText, "cut at the end", readAll(client, 0, textFrame("\xe2\x82")), `"\xe2\x82", CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},
	{rowText, "over fragments", readAll(client, 0, frame{first: text, payload: []byte("\xe2")}, frame{first: fin, payload: []byte("\x41")}),
		`"\xe2A", CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},
	{rowText, "compressed", readAll(serverDeflate, 0, compressed("a\xff")), `"a\xff", CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},
	{rowText, "close reason", readAll(server, 0, closeFrame("\x03\xe8\xff")), "violation 1002; sent 8 1002", "violation 1007; sent 8 1007"},

	{rowLimit, "by default", readBytes(server, 0, huge(server, 64<<20+1)), `CloseError 1006 "unexpected EOF"`, "ErrReadLimit; sent 8 1009"},
	{rowLimit, "at 64 MiB", readBytes(server, 0, huge(server, 64<<20)), `CloseError 1006 "unexpected EOF"`, `CloseError 1006 "unexpected EOF"`},
	{rowLimit, "lifted", readBytes(client, -1, huge(client, 64<<20+1)), `CloseError 1006 "unexpected EOF"`, `CloseError 1006 "unexpected EOF"`},
	{rowLimit, "set", readAll(client, 4, textFrame("1234"), textFrame("12345")), `"1234", ErrReadLimit; sent 8 1009`, `"1234", ErrReadLimit; sent 8 1009`},
	{rowLimit, "inflated", readAll(serverDeflate, 1000, compressed(strings.Repeat("a", 1001))),
		`1001 bytes, CloseError 1006 "unexpected EOF"`, "ErrReadLimit; sent 8 1009"},
	{rowLimit, "inflated to the limit", readAll(serverDeflate, 1000, compressed(strings.Repeat("a", 1000))),
		`1000 bytes, CloseError 1006 "unexpected EOF"`, `1000 bytes, CloseError 1006 "unexpected EOF"`},

	{rowFrames, "ping", readAll(serverDeflate, 0, frame{first: fin | rsv1 | ping}), `CloseError 1006 "unexpected EOF"; sent 10`, "violation 1002; sent 8 1002"},
	{rowFrames, "pong", readAll(serverDeflate, 0, frame{first: fin | rsv1 | pong}), `CloseError 1006 "unexpected EOF"`, "violation 1002; sent 8 1002"},
	{rowFrames, "close", readAll(serverDeflate, 0, frame{first: fin | rsv1 | closing}), `CloseError 1005 ""; sent 8 1005`, "violation 1002; sent 8 1002"},
	{rowFrames, "continuation", readAll(serverDeflate, 0, frame{first: text, payload: []byte("a")}, frame{first: fin | rsv1, payload: []byte("b")}),
		`"ab", CloseError 1006 "unexpected EOF"`, "violation 1002; sent 8 1002"},
	{rowFrames, "close body of one byte", readAll(server, 0, closeFrame("\x03")), `CloseError 1005 ""; sent 8 1005`, "violation 1002; sent 8 1002"},
	{rowFrames, "close 1014", readAll(client, 0, closeFrame("\x03\xf6gateway")), "violation 1002; sent 8 1002", `CloseError 1014 "gateway"; sent 8 1014`},

	{rowLength, "125 in 16 bits", readAll(server, 0, frame{first: fin | binaryType, payload: make([]byte, 125), form: 2}),
		`125 bytes, CloseError 1006 "unexpected EOF"`, "violation 1002; sent 8 1002"},
	{rowLength, "65535 in 64 bits", readAll(client, 0, frame{first: fin | binaryType, payload: make([]byte, 65535), form: 8}),
		`65535 bytes, CloseError 1006 "unexpected EOF"`, "violation 1002; sent 8 1002"},
	{rowLength, "most significant bit", readBytes(server, 0, huge(server, 1<<63)), "ErrReadLimit", "violation 1002; sent 8 1002"},

	{rowTimeout, "between messages", timeoutAt(0), "timeout, timeout", `timeout, "hello"`},
	{rowTimeout, "inside a header", timeoutAt(3), "timeout, timeout", `timeout, "hello"`},
	{rowTimeout, "inside a message", timeoutAt(8), "timeout, timeout", "timeout, timeout"},
	{rowTimeout, "behind a control frame", timeoutAt(-1), "timeout, timeout", `timeout, "hello"`},

	{rowPanic, "1001 reads", thousandReads, "panic at read 1000", `CloseError 1006 "unexpected EOF"`},

	{rowUnoffered, "subprotocol", dialTo("Sec-WebSocket-Protocol", "other", nil), "nil", "bad handshake"},
	{rowUnoffered, "extension", dialTo("Sec-WebSocket-Extensions", "x-other", nil), "nil", "bad handshake"},
	{rowUnoffered, "permessage-deflate", dialTo("Sec-WebSocket-Extensions", deflateExtension, nil),
		"nil", "bad handshake"},
	{rowUnoffered, "offered by header", dialTo("Sec-WebSocket-Protocol", "other",
		http.Header{"Sec-Websocket-Protocol": {"other"}}), "nil", "nil"},

	{rowRequest, "two versions", upgradeWith(func(r *http.Request) { r.Header.Add("Sec-WebSocket-Version", "8") }), "101 nil ", "426 HandshakeError 13"},
	{rowRequest, "list of versions", upgradeWith(func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "13, 8") }), "101 nil ", "426 HandshakeError 13"},
	{rowRequest, "version 8", upgradeWith(func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }), "400 HandshakeError 13", "426 HandshakeError 13"},
	{rowRequest, "no version", upgradeWith(func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }), "400 HandshakeError 13", "426 HandshakeError 13"},
	{rowRequest, "two keys", upgradeWith(func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", goodKey) }), "101 nil ", "400 HandshakeError 13"},
	{rowRequest, "HTTP/1.0", upgradeWith(func(r *http.Request) { r.Proto, r.ProtoMinor = "HTTP/1.0", 0 }), "101 nil ", "505 HandshakeError 13"},
	{rowRequest, "body", upgradeWith(func(r *http.Request) { r.ContentLength, r.Body = 5, io.NopCloser(strings.NewReader("hello")) }),
		"101 nil ", "400 HandshakeError 13"},

	{rowFails, "violation", failed(frame{first: fin | 3}), "the connection is open", "the connection is closed"},
	{rowFails, "limit", failed(textFrame("12345")), "the connection is open", "the connection is closed"},

	{rowViolation, "type", violationType, "*errors.errorString", "*websocket.ProtocolError 1002"},

	{rowWindows, "as a server", negotiate("permessage-deflate; server_max_window_bits=10; client_max_window_bits"),
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10"},
	{rowWindows, "as a client", clientTakeover, "*errors.errorString", "offered permessage-deflate; client_max_window_bits"},

	{rowDeflate, "corrupt", skipCorrupt, `flate.CorruptInputError, then "next"`, "*websocket.ProtocolError, then *websocket.ProtocolError"},
	{rowDeflate, "empty", readAll(serverDeflate, 0, frame{first: fin | rsv1 | text}), "flate.CorruptInputError", `"", CloseError 1006 "unexpected EOF"`},
	{rowDeflate, "behind a final block", readAll(serverDeflate, 0, frame{first: fin | rsv1 | text, payload: append([]byte("\x4b\x04\x00"), deflate([]byte("more"), 1)...)}),
		`"a", CloseError 1006 "unexpected EOF"`, `"amore", CloseError 1006 "unexpected EOF"`},
	{rowDeflate, "cut inside a block", readAll(serverDeflate, 0, frame{first: fin | rsv1 | binaryType, payload: []byte("\x00\x05\x00\xfa\xffr")}),
		`"r\x00\x00\xff\xff", CloseError 1006 "unexpected EOF"`, "violation 1007; sent 8 1007"},

	{rowFragments, "1000", readAll(server, 0, emptyFragments(1000)...), `"", CloseError 1006 "unexpected EOF"`, `"", CloseError 1006 "unexpected EOF"`},
	{rowFragments, "1001", readAll(server, 0, emptyFragments(1001)...), `"", CloseError 1006 "unexpected EOF"`, "violation 1008; sent 8 1008"},

	{rowDiscard, "stream cut", discardCut, "io.EOF", `CloseError 1006 "unexpected EOF"`},
	{rowDiscard, "limit", discardLimit, "ErrReadLimit", "nil"},

	{rowPing, "three pings", pingsBehindWriter, "read after 3s, pongs []", "read after 0s, pongs [1 2 3]"},

	{rowFraming, "10000 bytes", clientFrames, "3 frames", "1 frames"},

	{rowJSON, "channel", unencodable, "*json.UnsupportedTypeError, 1 frames", "*json.UnsupportedTypeError, 0 frames"},

	{rowWrapped, "wrapped", wrappedClose, "false false", "true true"},

	{rowOrigin, "default port", upgradeFrom("http://example.com:80"), "403", "101"},
	{rowOrigin, "two origins", upgradeFrom("http://example.com", "https://elsewhere.example"), "101", "403"},
	{rowOrigin, "two origins and CheckOrigin", upgradeChecked("http://example.com", "https://elsewhere.example"), "101", "403"},

	{rowHeader, "Upgrade", answerHeader("Upgrade", "h2c"), "101 [websocket h2c]", "101 [websocket]"},
	{rowHeader, "Sec-WebSocket-Accept", answerHeader("Sec-Websocket-Accept", "x"), "101 [s3pPLMBiTxaQ9kYGzzhZRbK+xOo= x]", "101 [s3pPLMBiTxaQ9kYGzzhZRbK+xOo=]"},
	{rowHeader, "Content-Length", answerHead("Content-Length", "5"), "101 with it", "101 without it"},
	{rowHeader, "Transfer-Encoding", answerHead("Transfer-Encoding", "chunked"), "101 with it", "101 without it"},
	{rowHeader, "extensions in another spelling", answerHead("Sec-WebSocket-Extensions", "x-other"), "101 with it", "500 without it"},
	{rowHeader, "name", answerHead("X Y", "1"), "101 with it", "500 without it"},
	{rowHeader, "name with a line break", answerHead("X: 1\r\nY", "1"), "101 with it", "500 without it"},
	{rowHeader, "two subprotocols", answerSubprotocols, "a, b", "a"},

	{rowHijacker, "wrapped", upgradeWrapped, "500", "101"},

	{rowSyscalls, "three answers", pipelined(false), "3 writes", "1 writes"},
	{rowSyscalls, "three answers, UnderlyingConn", pipelined(true), "3 writes", "3 writes"},
	{rowPastWrite, "server", pastWriteDeadline(server), "timeout, timeout", "timeout, nil"},
	{rowPastWrite, "client", pastWriteDeadline(client), "timeout, timeout", "timeout, nil"},

	{rowReason, "answer", rejectionBody, "Forbidden\n", "Forbidden: the origin of the request is unacceptable to the server\n"},
	{rowReason, "error", rejectionReason, "websocket: request origin not allowed by Upgrader.CheckOrigin",
		"websocket: request origin not allowed by Upgrader.CheckOrigin or Upgrader.Origins: \"https://elsewhere.example\" is not the origin of the request's host \"example.com\"; " +
			"to allow it add it to Upgrader.Origins, or let a proxy that replaces the Host header pass the client's"},

	{rowEarly, "a frame", earlyFrame, "websocket: client sent data before handshake is complete", "early"},
	{rowAllow, "405", rejectedHeader("Allow", func(r *http.Request) { r.Method = http.MethodPost }), "405 []", "405 [GET]"},
	{rowAllow, "version", rejectedHeader("Sec-Websocket-Version", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }), "400 []", "426 [13]"},

	{rowLists, "empty element", upgradeWith(func(r *http.Request) { r.Header.Set("Connection", ", upgrade") }), "400 HandshakeError 13", "101 nil "},
	{rowLists, "protocol with a version", upgradeWith(func(r *http.Request) { r.Header.Set("Upgrade", "TLS/1.0, websocket") }), "400 HandshakeError 13", "101 nil "},

	{rowInvalid, "unknown", negotiate("permessage-deflate; x"), "permessage-deflate; server_no_context_takeover; client_no_context_takeover", ""},
	{rowInvalid, "window of 16 bits", negotiate("permessage-deflate; server_max_window_bits=16"), "permessage-deflate; server_no_context_takeover; client_no_context_takeover", ""},

	{rowOffers, "two lines", offers("a", "b"), `["a"]`, `["a" "b"]`},
	{rowOffers, "empty element", offers("a,,b"), `["a" "" "b"]`, `["a" "b"]`},

	{rowFragment, "fragment", dialledFor("ws://example.com/#fragment"), "tcp example.com:80", "not dialled"},

	{rowQuery, "space", requestLine("ws://example.com/?a b"), "GET /?a b HTTP/1.1", "GET /?a%20b HTTP/1.1"},

	{rowHost, "empty", upgradeWith(func(r *http.Request) { r.Host, r.RemoteAddr = "", "192.0.2.1:1234" }), "101 nil ", "400 HandshakeError 13"},

	{rowChosen, "list", answerHeader("Sec-Websocket-Protocol", "a, b"), "101 [a, b]", "500 []"},
	{rowChosen, "white space", answerHeader("Sec-Websocket-Protocol", "a b"), "101 [a b]", "500 []"},

	{rowOffered, "comma", offered("a,b"), "nil [a,b]", "error []"},
	{rowOffered, "white space", offered("a b"), "nil [a b]", "error []"},
	{rowOffered, "repeated", offered("a", "b", "a"), "nil [a, b, a]", "nil [a, b]"},

	{rowSpelling, "canonical", respelled("Sec-Websocket-Version"), "error []", "error []"},
	{rowSpelling, "as in the RFC", respelled("Sec-WebSocket-Version"), "nil [14]", "error []"},
	{rowSpelling, "lower case", respelled("sec-websocket-version"), "nil [13 14]", "error []"},

	{rowProxyTLS, "http", proxiedTLS("http"), "NetDialTLSContext p:80, then CONNECT and plain text", "NetDial p:80, then CONNECT and TLS"},
	{rowProxyTLS, "https", proxiedTLS("https"), "not dialled", "NetDialTLSContext p:443, then CONNECT and TLS"},

	{rowInterim, "response", interimResponse, "ErrBadHandshake 103", "nil 101"},
	{rowInterim, "proxy", connectAnswer("103 Early Hints\r\n\r\nHTTP/1.1 200 OK"), "Early Hints", "nil"},
	{rowInterim, "2xx", connectAnswer("204 No Content"), "No Content", "nil"},

	{rowNoDeadlines, "timeout", withoutDeadlines, "no deadlines", "nil"},
	{rowNoDeadlines, "cancelled", cancelledWait, "still waiting", "context canceled"},
}
