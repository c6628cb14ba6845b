package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/liveview"
	"telltale/querylog"
)

// watching returns a watcher of a server, which is fed but draws nothing, and what its
// screen shows.
func watching(t *testing.T, srv *testServer, flags ...string) (w *watcher, screen func() string) {
	t.Helper()
	var out lockedBuffer
	cl := &cli{out: &out, err: &out, env: srv.env}
	cl.root = cl.newRoot()
	if err := cl.root.PersistentFlags().Parse(append(flags, srv.flags...)); err != nil {
		t.Fatal(err)
	}
	l, err := cl.openLog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w = newWatcher(cl, l, liveview.New(liveview.Options{}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- l.own.Follow(ctx, querylog.Filter{Limit: rowsAtFirst}, func(r querylog.Row) error { w.add(&r); return nil })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
		w.under.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return w, func() string {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.view.Resize(100, 40)
		var b strings.Builder
		for _, l := range w.view.Screen(time.Now()) {
			b.WriteString(l.Text() + "\n")
		}
		return b.String()
	}
}

// shows waits until a screen has a text.
func shows(t *testing.T, screen func() string, want string) {
	t.Helper()
	soon(t, "the screen", want, func() string {
		if got := screen(); !strings.Contains(got, want) {
			return "no " + want + " on\n" + got
		}
		return want
	})
}

// The live view has what is looked up, explains it as the server does, and writes rules
// that are in force then.
func TestWatchShowsExplainsAndWritesRules(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "#@ vendor=Acme tier=telemetry source=https://example.org/\ntracker.example\n")
	srv := startTestServer(t, dir, everything(t), "")
	answer := func(name string) string {
		r, err := srv.ask([]string{name, "A"})
		if err != nil || len(r.Answer) == 0 {
			t.Fatalf("%s: got %v, %v", name, r, err)
		}
		return strings.Fields(r.Answer[0].String())[4]
	}
	if got := answer("data.tracker.example"); got != "0.0.0.0" {
		t.Fatalf("got %s", got)
	}
	w, screen := watching(t, srv)
	shows(t, screen, "data.tracker.example")
	shows(t, screen, "Acme")
	press := func(keys string) {
		for key := range strings.FieldsSeq(keys) {
			if w.press(t.Context(), key) {
				t.Fatalf("%s ended it", key)
			}
		}
	}
	press("enter")
	shows(t, screen, "ads:2")
	shows(t, screen, "Answered NOERROR (policy)")
	press("q a e")
	shows(t, screen, "allow data.tracker.example for everyone")
	if got := answer("data.tracker.example"); got == "0.0.0.0" {
		t.Error("it is blocked after it was allowed")
	}
	shows(t, screen, "allow ") // its row, by verdict
	answer("shop.example")
	shows(t, screen, "shop.example")
	press("end b")
	shows(t, screen, "Block for")
	press("e")
	shows(t, screen, "block shop.example for everyone")
	if got := answer("shop.example"); got != "0.0.0.0" {
		t.Errorf("got %s after it was blocked", got)
	}
	leaving, leave := context.WithCancel(t.Context()) // the rule is written also where a person goes at once
	answer("last.example")
	shows(t, screen, "last.example")
	w.press(leaving, "end")
	w.press(leaving, "a")
	leave()
	w.press(leaving, "e")
	shows(t, screen, "allow last.example for everyone")
	srv.stop()
	w.do(t.Context(), &liveview.Request{Do: liveview.Write, Row: liveview.Row{Name: "other.example"}, Action: "block"})
	shows(t, screen, "no server is running: it is in force once one starts")
	own, err := os.ReadFile(filepath.Join(dir, "lists", "own.txt"))
	if err != nil || !strings.Contains(string(own), "other.example") || !strings.Contains(string(own), "@@data.tracker.example") {
		t.Errorf("own.txt: %v\n%s", err, own)
	}
	srv.start()
}
