package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The first start makes a directory for lists, with a file of the user's own that says what may stand in it; what
// is there is left as it is.
func TestTheUsersOwnFileIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "lists.d")
	own := filepath.Join(dir, ownFile)
	if err := makeLists(dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(own); string(text) != ownTemplate {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(own, []byte("mine.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := makeLists(dir); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(own); string(text) != "mine.example\n" {
		t.Errorf("%q, %v: a person's file was replaced", text, err)
	}
	if err := makeLists(filepath.Join(own, "lists.d")); err == nil {
		t.Error("a directory below a file is made")
	}
}
