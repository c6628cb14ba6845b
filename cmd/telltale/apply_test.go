package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/bench/zone"
	"telltale/config"
	"telltale/web"
)

// everything is an upstream for which each name below example and com has the address 192.0.2.4.
func everything(t testing.TB) netip.AddrPort {
	t.Helper()
	handle, err := zone.Parse("*.example. 300 A 192.0.2.4\n*.com. 300 A 192.0.2.4\n")
	if err != nil {
		t.Fatal(err)
	}
	upstream, stop, err := zone.Serve(netip.MustParseAddrPort("127.0.0.1:0"), dns.HandlerFunc(handle))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return upstream
}

// manyNames is the text of a list that takes a while to compile.
func manyNames(first string, n int) string {
	var b strings.Builder
	b.WriteString(first + "\n")
	for i := range n {
		fmt.Fprintf(&b, "name-%d.padding-%d.example\n", i, i%1000)
	}
	return b.String()
}

func save(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// answerTo returns a short text of the answer: an address, or the rcode.
func (srv *testServer) answerTo(words ...string) string {
	m, err := srv.ask(words)
	if err != nil {
		return err.Error()
	}
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			return a.A.String()
		}
	}
	return dns.RcodeToString[m.Rcode]
}

// soon waits until f returns want.
func soon(t testing.TB, what, want string, f func() string) {
	t.Helper()
	got := ""
	for end := time.Now().Add(2 * patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got = f(); got == want {
			return
		}
	}
	t.Fatalf("%s: got %s, want %s", what, got, want)
}

func TestOneEditIsWhollyInForceWhenADownloadEnds(t *testing.T) {
	t.Parallel()
	upstream := everything(t)
	fetched := make(chan struct{}, 100)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "far.example")
		fetched <- struct{}{}
	}))
	defer web.Close()
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "lists"), 0o755)
	save(t, filepath.Join(dir, "lists", "large.txt"), manyNames("large.example", 50_000))
	srv := startTestServer(t, dir, upstream, "")
	if got := srv.answerTo("sub.large.example.", "A"); got != "0.0.0.0" {
		t.Fatalf("before: got %s", got)
	}
	save(t, filepath.Join(dir, "telltale.yaml"), fmt.Sprintf(`
blocking: {mode: nxdomain}
lists:
  settings: [{name: large, match: exact}]
  subscriptions: [{name: far, url: "%s/far.txt", observe: true}]
`, web.URL))
	<-fetched
	far := func() string {
		out, _ := srv.run("lists", "--json")
		return fmt.Sprint(strings.Contains(out, `"name":"far"`) && strings.Contains(out, `"state":"observing"`))
	}
	soon(t, "the subscription is observed", "true", far)
	for range 3 { // and stays so
		for name, want := range map[string]string{"large.example.": "NXDOMAIN", "sub.large.example.": "192.0.2.4", "far.example.": "192.0.2.4"} {
			if got := srv.answerTo(name, "A"); got != want {
				t.Errorf("%s: got %s, want %s", name, got, want)
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func TestNoDeviceIsJudgedByAnothersSettings(t *testing.T) {
	t.Parallel()
	upstream := everything(t)
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "lists"), 0o755)
	large := filepath.Join(dir, "lists", "large.txt")
	save(t, large, manyNames("large.example", 50_000))
	pc := "  - {name: pc, address: 127.0.0.3}\n"
	srv := startTestServer(t, dir, upstream, "devices:\n  - {name: tv, address: 127.0.0.2, observe: true}\n"+pc)
	soon(t, "the first device is observed", "192.0.2.4", func() string { return srv.answerTo("large.example.", "A", "from=127.0.0.2") })
	save(t, filepath.Join(dir, "telltale.yaml"), "devices:\n"+pc+"lists: {settings: [{name: large, match: exact}]}\n")
	for i := 0; ; i++ {
		if got := srv.answerTo("large.example.", "A", "from=127.0.0.3"); got != "0.0.0.0" {
			t.Fatalf("query %d of the second device: got %s, want it blocked", i, got)
		}
		if srv.answerTo("large.example.", "A", "from=127.0.0.2") == "0.0.0.0" {
			break // the edit is in force
		}
	}
}

func TestAnEditDuringTheStartIsApplied(t *testing.T) {
	t.Parallel()
	upstream := everything(t)
	dir := t.TempDir()
	os.MkdirAll(filepath.Join(dir, "lists"), 0o755)
	save(t, filepath.Join(dir, "lists", "large.txt"), manyNames("large.example", 50_000))
	edited := make(chan struct{})
	go func() {
		defer close(edited)
		for { // the log is opened after the settings are read, and long before they are watched
			if _, err := os.Stat(filepath.Join(dir, "data", "lock")); err == nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		os.WriteFile(filepath.Join(dir, "telltale.yaml"), []byte("blocking: {mode: nxdomain}"), 0o644)
	}()
	srv := startTestServer(t, dir, upstream, "")
	<-edited
	soon(t, "the edit", "NXDOMAIN", func() string { return srv.answerTo("large.example.", "A") })
}

// Each line is a way in which settings that worked break. With each the server
// goes on, starts again, and says so.
func TestBrokenSettingsDoNotEndTheServer(t *testing.T) {
	for _, f := range []struct {
		name  string
		spoil func(t *testing.T, dir, file string)
		want  string
	}{
		{"a mistake", func(t *testing.T, dir, file string) { save(t, file, "blockin: {}") }, "did you mean blocking?"},
		{"no YAML", func(t *testing.T, dir, file string) { save(t, file, "a: [") }, "not YAML"},
		{"a directory in its place", func(t *testing.T, dir, file string) {
			if os.Remove(file) != nil || os.Mkdir(file, 0o755) != nil {
				t.Fatal("no directory")
			}
		}, "not a regular file"},
		{"everybody may write to it", func(t *testing.T, dir, file string) {
			if err := os.Chmod(file, 0o666); err != nil {
				t.Fatal(err)
			}
		}, "everybody may write to it"},
		{"an overlay of nonsense", func(t *testing.T, dir, file string) {
			save(t, filepath.Join(dir, "lists", "subscriptions.yaml"), "lists: {subscriptions: 7}")
		}, "subscriptions.yaml:1"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "telltale.yaml")
			srv := startTestServer(t, dir, everything(t), "blocking: {mode: nxdomain}")
			if st := statusOf(t, dir); st.Settings.Refused != "" || st.Settings.LastGood != nil {
				t.Fatalf("before: got %+v", st.Settings)
			}
			f.spoil(t, dir, file)
			refused := func() string { return fmt.Sprint(strings.Contains(statusOf(t, dir).Settings.Refused, f.want)) }
			soon(t, "the status says what is wrong", "true", refused)
			if got := srv.answerTo("data.mistat.xiaomi.com.", "A"); got != "NXDOMAIN" {
				t.Errorf("what was in force is not: got %s", got)
			}
			srv.stop()
			srv.start()
			if got := srv.answerTo("data.mistat.xiaomi.com.", "A"); got != "NXDOMAIN" {
				t.Errorf("after a start: got %s", got)
			}
			if out, exit := srv.run("healthcheck"); exit != 0 || !strings.Contains(out, f.want) {
				t.Errorf("a command: got %d %s", exit, out)
			}
			if out, exit := srv.run("doctor"); exit != 1 || !strings.Contains(out, f.want) || !strings.Contains(out, "Telltale answers") {
				t.Errorf("doctor: got %d %s", exit, out)
			}
			if st := statusOf(t, dir); refused() != "true" || st.Settings.LastGood == nil {
				t.Errorf("after a start: got %+v", st.Settings)
			}
		})
	}
}

// statusOf asks the server of a directory for its status.
func statusOf(t testing.TB, dir string) (st web.Status) {
	t.Helper()
	cfg := &config.Config{Control: config.Control{Socket: filepath.Join(dir, "data", "telltale.sock")}}
	if err := newClient(cfg).get(t.Context(), "/status", &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAFirstStartWithBrokenSettingsFails(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "telltale.yaml"), "blockin: {}")
	var out lockedBuffer
	exit := command(t.Context(), []string{"serve", "--config", filepath.Join(dir, "telltale.yaml"), "--data-dir", filepath.Join(dir, "data")}, &out, &out, nil)
	if exit != 1 || !strings.Contains(out.String(), "did you mean blocking?") {
		t.Errorf("got %d: %s", exit, out.String())
	}
}

// Saved files, signals and commands at once: in the end what is on disk is in force.
func TestAppliesAtOnce(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "")
	file := filepath.Join(dir, "telltale.yaml")
	var tasks sync.WaitGroup
	for range 4 {
		tasks.Go(func() {
			for range 10 {
				srv.app.reload()
			}
		})
	}
	for i := range 20 {
		if err := os.WriteFile(file+"~", fmt.Appendf(nil, "blocking: {mode: %s}", []string{"nxdomain", "refused"}[i%2]), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+"~", file); err != nil {
			t.Fatal(err)
		}
	}
	tasks.Wait()
	if err := srv.app.reload(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := srv.answerTo("data.mistat.xiaomi.com.", "A"); got != "REFUSED" {
			t.Errorf("got %s, want what was written last", got)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
