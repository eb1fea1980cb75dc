package main

import (
	"os"
	"strings"
	"testing"
)

// The first step of the migration is the import path and nothing else, and the tests of both steps
// are the same.
func TestTexts(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	moved := strings.ReplaceAll(read("before.txt"), "github.com/gorilla/websocket", "github.com/tautws/websocket")
	if moved != read("dropin/main.go") {
		t.Error("dropin/main.go is not before.txt with another import path")
	}
	if read("shout_test.go") != read("dropin/shout_test.go") {
		t.Error("shout_test.go and dropin/shout_test.go differ")
	}
}
