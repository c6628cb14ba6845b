package main

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/subscribe"
)

// waitUntil waits for what a server does by itself.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What lists says of a subscription follows its settings: whose rules are in
// force when its URL changes, and that nothing is left when it is removed.
func TestASubscriptionsCopyFollowsItsSettings(t *testing.T) {
	dir := t.TempDir()
	writeText(t, filepath.Join(dir, "http", "far.txt"), "tracker.example\n")
	web := httptest.NewServer(fileServer(filepath.Join(dir, "http")))
	defer web.Close()
	settings := func(file string) string {
		return "lists:\n  subscriptions:\n    - {name: far, url: \"" + web.URL + "/" + file + "\"}\n"
	}
	srv := startTestServer(t, dir, netip.MustParseAddrPort("127.0.0.1:1"), settings("far.txt"))
	copies := func() []string {
		found, err := filepath.Glob(filepath.Join(dir, "data", "cache", "subscriptions", "far.*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	says := func(text string) func() bool {
		return func() bool {
			out, _ := srv.run("lists")
			return strings.Contains(out, text)
		}
	}
	waitUntil(t, "the copy is there", func() bool { return len(copies()) > 0 && says("subscription  1 ")() })

	writeText(t, filepath.Join(dir, "telltale.yaml"), settings("nowhere.txt"))
	waitUntil(t, "whose rules they are is said", says("its rules are those of "+web.URL+"/far.txt: nothing could be fetched from "+web.URL+"/nowhere.txt yet"))

	writeText(t, filepath.Join(dir, "telltale.yaml"), "lists: {}\n")
	waitUntil(t, "the copy is gone", func() bool { return len(copies()) == 0 })
	if says("far")() {
		t.Error("the removed list is shown")
	}
}

// A list that was never fetched is not said to be in force, nor one of which
// nothing has come while the server is stopped.
func TestAListThatWasNeverFetchedIsNotInForce(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, netip.MustParseAddrPort("127.0.0.1:1"), "lists:\n  subscriptions:\n    - {name: far, url: \"http://127.0.0.1:1/far.txt\"}\n")
	state := func() string {
		out, _ := srv.run("lists")
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "far ") {
				return line
			}
		}
		return ""
	}
	check := func() {
		t.Helper()
		if got := state(); strings.Contains(got, "in force") || !strings.Contains(got, "fetched yet") {
			t.Errorf("got %q, want that nothing was fetched yet", got)
		}
	}
	check()
	srv.stop()
	check()
}

// A copy that is cut while the server is stopped is not taken as the list: its
// last good rules stay until it is fetched again.
func TestACutCopyIsNotTakenAsTheList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := "a.example\nb.example\nc.example\n"
	writeText(t, filepath.Join(dir, "http", "far.txt"), text)
	web := httptest.NewServer(fileServer(filepath.Join(dir, "http")))
	defer web.Close()
	srv := startTestServer(t, dir, netip.MustParseAddrPort("127.0.0.1:1"), "lists:\n  subscriptions:\n    - {name: far, url: \""+web.URL+"/far.txt\"}\n")
	rules := func(want string) func() bool {
		return func() bool {
			out, _ := srv.run("lists")
			return strings.Contains(out, "subscription  "+want+" ")
		}
	}
	waitUntil(t, "three rules are in force", rules("3"))
	srv.stop()
	path := filepath.Join(dir, "data", "cache", "subscriptions", "far.list")
	writeText(t, path, text[:len("a.example\n")])
	if err := os.Remove(filepath.Join(dir, "http", "far.txt")); err != nil {
		t.Fatal(err)
	}
	srv.start()
	if !rules("3")() {
		out, _ := srv.run("lists")
		t.Errorf("with a cut copy the last good rules are not in force:\n%s", out)
	}
	writeText(t, filepath.Join(dir, "http", "far.txt"), text)
	if out, exit := srv.run("lists", "refresh", "far"); exit != 0 { // by now the server may have fetched it of its own accord
		t.Errorf("refresh: got %s", out)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("the copy: got %q, %v, want it whole", got, err)
	}
	waitUntil(t, "nothing is held back any more", func() bool {
		out, _ := srv.run("lists")
		return rules("3")() && !strings.Contains(out, "held back")
	})
}

// What is said of an update stands with the subscribed list of that name, and no other; where there is none yet,
// with a line of its own.
func TestUpdatesStandWithTheirLists(t *testing.T) {
	status := func(name, why string, enabled bool) subscribe.Status {
		return subscribe.Status{List: subscribe.List{Name: name, Enabled: enabled}, Err: why}
	}
	lists := []blocklists.ListStatus{
		{Name: "first", Kind: blocklists.Subscribed, Enabled: true}, {Name: "third", Enabled: true}, {Name: "second", Kind: blocklists.Subscribed, Enabled: true},
	}
	lists = withUpdates(lists, []subscribe.Status{status("second", "two", true), status("first", "one", true), status("third", "three", true), status("off", "four", false)})
	var got []string
	for _, l := range lists {
		got = append(got, fmt.Sprint(l.Name, " ", l.Kind == blocklists.Subscribed, " ", l.Missing))
	}
	want := "first true nothing could be fetched yet: one|third false |second true nothing could be fetched yet: two|third true nothing could be fetched yet: three|off true "
	if strings.Join(got, "|") != want {
		t.Errorf("got %q\nwant %q", strings.Join(got, "|"), want)
	}
}
