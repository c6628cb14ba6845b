//go:build !small

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"telltale/config"
	"telltale/fleet/authority"
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
	says(1, "this center leads, and the other one does not answer as one that does", "follow", "https://127.0.0.1:1")
	says(0, "telltale fleet join", "invite", "attic")
	says(0, "This center follows https://127.0.0.1:1.", "follow", "https://127.0.0.1:1", "--anyway")
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
	says(1, "'telltale center promote --anyway'", "promote")
	says(0, "This center follows https://127.0.0.1:1.", "follow", "https://127.0.0.1:1")
	if err := os.WriteFile(role, []byte("{\"term\":"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(0, "This center leads now.", "promote", "--anyway")
	says(0, "telltale fleet join", "invite", "cellar")
}

// runsCenter runs the center of a settings file until end, and returns its address. again waits until it goes on in another role.
func runsCenter(t *testing.T, file string) (address string, again, end func()) {
	t.Helper()
	var said lockedBuffer
	cl := &cli{out: &said, err: &said}
	cl.root = cl.newRoot()
	if err := cl.root.PersistentFlags().Set("config", file); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	at, ended := make(chan string, 8), make(chan error, 1)
	go func() {
		ended <- cl.serveCenter(ctx, func(c *center) { at <- "https://" + c.addrs()[0].String() })
	}()
	select {
	case address = <-at:
	case err := <-ended:
		t.Fatal(err, said.String())
	}
	again = func() {
		t.Helper()
		select {
		case <-at:
		case err := <-ended:
			t.Fatal(err, said.String())
		}
	}
	return address, again, sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err, said.String())
		}
	})
}

// A center that follows has copied all once it has the lists and settings, too. It is promoted without --anyway only then, where it
// could start, and has from then on the files that the other one had.
func TestACenterIsPromotedThatHasAllAndCouldStart(t *testing.T) {
	t.Parallel()
	firstFile := centerSettings(t, "center: {listen: [\"127.0.0.1:0\"]}\n")
	secondFile := centerSettings(t, "center: {listen: [\"127.0.0.1:0\"], first: [attic]}\n")
	in := func(file string, names ...string) string {
		return filepath.Join(append([]string{filepath.Dir(file)}, names...)...)
	}
	says := func(file string, exit int, want string, args ...string) {
		t.Helper()
		if got, is := runs(t, append(append([]string{"center"}, args...), "--config", file)...); is != exit || !strings.Contains(got, want) {
			t.Errorf("%v: got exit %d and %q, want exit %d and %q", args, is, got, exit, want)
		}
	}
	waits := func(file, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(patience); !strings.Contains(got, want); time.Sleep(10 * time.Millisecond) {
			if got, _ = runs(t, "center", "nodes", "--config", file); time.Now().After(end) {
				t.Fatalf("got %q, want in it %q", got, want)
			}
		}
	}
	writeFile(t, in(firstFile, "lists", "theirs.txt"), "theirs.example\n")
	first, firstAgain, endFirst := runsCenter(t, firstFile)
	defer endFirst()
	says(firstFile, 1, "this is the address of this center itself", "follow", first)

	for _, name := range []string{"authority.key", "authority.crt"} {
		text, err := os.ReadFile(in(firstFile, "data", "center", "authority", name))
		if err != nil {
			t.Fatal(err)
		}
		path := in(secondFile, "data", "center", "authority", name)
		writeFile(t, path, string(text))
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, in(secondFile, "lists", "mine.txt"), "mine.example\n")
	says(secondFile, 0, "This center follows "+first, "follow", first)
	followed := in(secondFile, "data", "center", "followed")
	writeFile(t, followed, "nothing can be copied to here\n")
	second, _, endSecond := runsCenter(t, secondFile)
	defer endSecond()
	waits(secondFile, "has not all of it yet: its lists and settings are not all here yet: ")
	says(secondFile, 1, "nothing was copied yet", "promote")
	if err := os.Remove(followed); err != nil {
		t.Fatal(err)
	}
	waits(secondFile, "This center follows "+first+", last ")
	says(firstFile, 1, "503", "follow", second)

	log := in(secondFile, "data", "center", "log")
	writeFile(t, log, "no log can be here\n")
	says(secondFile, 1, "could not start as the one that leads, and nothing was changed", "promote")
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	says(firstFile, 0, "telltale fleet join", "invite", "attic") // it leads still
	says(secondFile, 0, "This center leads now.", "promote")
	firstAgain()
	waits(firstFile, "Another center was promoted")
	for path, want := range map[string]string{"lists/theirs.txt": "theirs.example\n", "lists/mine.txt": "", "lists/mine.txt.before-promotion": "mine.example\n", "data/center/followed/current": ""} {
		if got, _ := os.ReadFile(in(secondFile, path)); string(got) != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}

	// The first one led, and is promoted though it has followed nobody: its lists are what they are.
	writeFile(t, in(firstFile, "lists", "theirs.txt"), "changed.example\n")
	says(firstFile, 1, "this one has not followed it since", "promote")
	says(firstFile, 0, "This center leads now.", "promote", "--anyway")
	if got, _ := os.ReadFile(in(firstFile, "lists", "theirs.txt")); string(got) != "changed.example\n" {
		t.Errorf("got %q", got)
	}
}

// What a center followed once is nothing that it goes back to.
func TestAPolicyThatWasFollowedBeforeIsNotAdopted(t *testing.T) {
	t.Parallel()
	file := centerSettings(t, "center: {address: [\"https://127.0.0.1:1\"]}\n")
	dir := filepath.Dir(file)
	runs(t, "center", "invite", "attic", "--config", file) // makes the authority
	old := filepath.Join(dir, "data", "center", "followed")
	writeFile(t, filepath.Join(old, "current"), "0123456789abcdef01234567\n")
	writeFile(t, filepath.Join(old, "0123456789abcdef01234567", "lists", "own.txt"), "old.example\n")
	writeFile(t, filepath.Join(dir, "lists", "own.txt"), "now.example\n")
	for _, args := range [][]string{{"follow", "https://127.0.0.1:1", "--anyway"}, {"promote", "--anyway"}} {
		if got, exit := runs(t, append(append([]string{"center"}, args...), "--config", file)...); exit != 0 {
			t.Fatal(got)
		}
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "lists", "own.txt")); string(got) != "now.example\n" {
		t.Errorf("got %q", got)
	}
}

// Nodes are told to ask the other center by one that was promoted and has not opened its log yet.
func TestACenterThatWasPromotedAnswers503UntilItTakesLogs(t *testing.T) {
	t.Parallel()
	a, err := authority.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &center{authority: a, cfg: &config.Config{}}
	c.useRole(centerRole{Term: a.SignTerm(1)})
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusNotFound} {
		w := httptest.NewRecorder()
		c.front(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/v1/policy", nil))
		if w.Code != want {
			t.Errorf("got %d, want %d", w.Code, want)
		}
		c.leads = true
	}
}
