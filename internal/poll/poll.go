// Package poll waits for many sockets at once, without a goroutine for each.
//
// A Set is the operating system's: epoll on Linux, kqueue on the BSDs and darwin. Sockets stay with
// package net and in the poller of the Go runtime; a Set only tells which of them have become
// readable. A descriptor is added once and reported edge-triggered: once for every time that bytes
// arrive, however often it is read in between. An event is a hint. It may be about an earlier
// socket with the same number, or about bytes that were read before it was seen.
package poll

import "errors"

// ErrUnsupported is the error of Open where there is no such facility.
var ErrUnsupported = errors.New("poll: not supported on this system")

// An Event says that a descriptor may be readable.
type Event struct {
	FD int
	// End is set if the peer has closed its side, the connection has failed, or there is urgent
	// data: a short read does not mean that nothing more is there.
	End bool
}
