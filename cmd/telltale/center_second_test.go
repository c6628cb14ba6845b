//go:build !small

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A center that does not lead says what it is, and refuses what only the one that leads can do.
func TestWhatACenterRefusesThatDoesNotLead(t *testing.T) {
	t.Parallel()
	file := centerSettings(t, "center: {address: [\"https://127.0.0.1:1\"]}\n")
	says := func(exit int, want string, args ...string) {
		t.Helper()
		if got, is := runs(t, append(append([]string{"center"}, args...), "--config", file)...); is != exit || !strings.Contains(got, want) {
			t.Errorf("%v: got exit %d and %q, want exit %d and %q", args, is, got, exit, want)
		}
	}
	says(1, "copy authority.key and authority.crt", "follow", "https://192.0.2.1")
	says(1, "no center was ever run here", "promote")
	says(0, "telltale fleet join", "invite", "attic") // makes the authority
	says(1, "this center leads already", "promote", "--anyway")
	says(2, "the address of the other center is expected", "follow")
	says(1, "the address of a center is https://HOST:PORT", "follow", "192.0.2.1")
	says(0, "This center follows https://127.0.0.1:1.", "follow", "https://127.0.0.1:1")
	says(0, "This center follows https://127.0.0.1:1, and has nothing of it yet.", "nodes")
	for _, args := range [][]string{{"invite", "cellar"}, {"revoke", "attic"}, {"rollout"}} {
		says(1, "This center follows https://127.0.0.1:1", args...)
	}
	says(1, "nothing was copied yet", "promote")
	says(0, "This center leads now.", "promote", "--anyway")
	says(0, "This center leads.", "nodes")
	says(0, "telltale fleet join", "invite", "cellar")
	role := filepath.Join(filepath.Dir(file), "data", "center", "role.json")
	if err := os.WriteFile(role, []byte("{\"term\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(1, "says whether this center leads, and cannot be read", "invite", "cellar")
}
