// Package gorilla proves that github.com/tautws/websocket replaces
// github.com/gorilla/websocket v1.5.3: the exported names have the same
// types, programs written for gorilla build and run either way, and both
// libraries answer the same bytes and the same calls alike, except where the
// table of observable differences says otherwise. Everything is in the tests.
package gorilla
