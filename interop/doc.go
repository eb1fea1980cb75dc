// Package interop holds nothing but tests: they start WebSocket implementations that other people
// wrote, real browsers and real proxies, and talk to them in both directions. The package is a
// module of its own so that the library's module requires nothing.
//
//	./install.sh      # once, as root on Debian 12
//	go test ./...     # a missing peer fails the tests
//
// Every implementation goes through the one conversation of conversation_test.go. The helper
// programs (peer_ws.mjs, peer_python.py, browser.mjs) are driven by lines of JSON on their standard
// input and answer in the same form on their standard output; peer_test.go is the Go end of that
// pipe.
package interop
