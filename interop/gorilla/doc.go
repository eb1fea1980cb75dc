// Package gorilla proves that github.com/tautws/websocket replaces
// github.com/gorilla/websocket v1.5.3: the exported names have the same
// types, programs written for gorilla build and run either way, the tests of
// modules that use it pass, and both libraries answer the same bytes and the
// same calls alike, errors included, except where the tables of differences
// say otherwise. Everything is in the tests.
package gorilla
