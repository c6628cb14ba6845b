package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
)

// One Telltale takes what another sends by dnstap, with 'telltale watch-capture': here it is
// the same, whose log has each lookup twice then.
func TestDnstapIsTakenByWatchCapture(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "tap.sock")
	writeFile(t, filepath.Join(dir, "lists", "ads.txt"), "tracker.example\n")
	srv := startTestServer(t, dir, everything(t), keepAll+"dnstap: {to: \"unix:"+socket+"\"}\ndevices: [{name: hidden, address: 127.0.0.3, log: false}]\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs lockedBuffer
	done := make(chan int, 1)
	go func() {
		done <- command(ctx, append([]string{"watch-capture", socket}, srv.flags...), &out, &errs, srv.env)
	}()
	soon(t, "dnstap", "taken", func() string {
		if srv.app.tap.Load().Stats().Connected {
			return "taken"
		}
		return errs.String()
	})
	for _, words := range []string{"www.example. A", "tracker.example. A tcp", "secret.example. A from=127.0.0.3", "last.example. AAAA"} {
		if _, err := srv.ask(strings.Fields(words)); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "the log", "all", func() string {
		out, _ := srv.run("log", "--limit", "0", "--answered-by")
		imported := ""
		for line := range strings.Lines(out) {
			if strings.Contains(line, "(imported: dnstap)") {
				imported += line
			}
		}
		for _, name := range []string{"www.example", "tracker.example", "last.example"} {
			if !strings.Contains(imported, name) {
				return "no " + name + " in\n" + imported
			}
		}
		if strings.Contains(imported, "secret") {
			return "it has what nobody is to know:\n" + imported
		}
		return "all"
	})
	if st := srv.app.tap.Load().Stats(); st.Sent < 6 || st.Dropped != 0 {
		t.Errorf("got %+v", st)
	}
	cancel()
	if exit := <-done; exit != 0 {
		t.Errorf("watch-capture: exit status %d\n%s%s", exit, out.String(), errs.String())
	}
	soon(t, "its end", "seen", func() string {
		if !srv.app.tap.Load().Stats().Connected {
			return "seen"
		}
		return "not seen"
	})
}
