package conformance_test

// Frames as the tests write them down, and messages in fragments.

import "github.com/tautws/websocket/internal/wiretest"

// The first byte of a header: FIN, RSV1 and the opcodes.
const (
	fin  = 0x80
	rsv1 = 0x40

	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

type wireFrame = wiretest.Frame

var (
	frame       = wiretest.New
	textFrame   = wiretest.Text
	binaryFrame = wiretest.Binary
	pingFrame   = wiretest.Ping
	pongFrame   = wiretest.Pong
	closeFrame  = wiretest.Close
)

// inFragments is a message with one fragment for each part.
func inFragments(first byte, parts ...string) []wireFrame {
	frames := make([]wireFrame, len(parts))
	for i, part := range parts {
		frames[i] = frame(opContinuation, part)
	}
	frames[0].First = first
	frames[len(frames)-1].First |= fin
	return frames
}

// cutEvery returns s in parts of n bytes.
func cutEvery(n int, s string) []string {
	var parts []string
	for len(s) > n {
		parts, s = append(parts, s[:n]), s[n:]
	}
	return append(parts, s)
}

// eachByte is s in parts of one byte.
func eachByte(s string) []string { return cutEvery(1, s) }
