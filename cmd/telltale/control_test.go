package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"telltale/config"
	"telltale/web"
)

func TestOurOwnQuestionsAreNoLookups(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "")
	if got := srv.answerTo("www.example.", "A"); got != "192.0.2.4" {
		t.Fatalf("got %s", got)
	}
	if out, exit := srv.run("healthcheck"); exit != 0 || !strings.Contains(out, "Telltale answers on "+srv.addr.String()) {
		t.Errorf("healthcheck %d: %s", exit, out)
	}
	if out, exit := srv.run("doctor"); !strings.Contains(out, "Telltale answers on "+srv.addr.String()) {
		t.Errorf("doctor %d: %s", exit, out)
	}
	var h web.Health
	if err := newClient(srv.settings()).get(t.Context(), "/health", &h); err != nil || h.Listener != srv.addr.String() {
		t.Errorf("health: got %+v, %v", h, err)
	}
	m, err := srv.ask([]string{"health.telltale.invalid.", "TXT"})
	if err != nil || len(m.Answer) != 1 || !strings.HasSuffix(m.Answer[0].String(), "\t\"telltale\"") {
		t.Errorf("got %v, %v, want an answer that says no version", m, err)
	}
	out, _ := srv.run("log", "--json", "--limit", "0")
	if !strings.Contains(out, "www.example") || strings.Contains(out, "health.telltale") {
		t.Errorf("the log has\n%s", out)
	}
}

// settings are those by which a client finds the server.
func (srv *testServer) settings() *config.Config {
	return &config.Config{Control: config.Control{Socket: srv.app.cfg.Load().Control.Socket}}
}

func TestTheSocketIsForItsUserAlone(t *testing.T) {
	srv := startTestServer(t, t.TempDir(), everything(t), "")
	info, err := os.Stat(srv.settings().Control.Socket)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("got mode %v, %v", info.Mode(), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(srv.settings().Control.Socket), ".control*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://telltale"+web.Prefix+"/openapi.json", nil)
	resp, err := newClient(srv.settings()).http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil || !strings.Contains(b.String(), `"openapi":"3.1`) {
		t.Errorf("got %.100s, %v", b.String(), err)
	}
}

func TestWhatIsInTheSocketsPlaceStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "data", "telltale.sock")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	save(t, path, "precious")
	srv := startTestServer(t, dir, everything(t), "")
	if got := srv.answerTo("data.mistat.xiaomi.com.", "A"); got != "0.0.0.0" {
		t.Errorf("it does not answer: got %s", got)
	}
	srv.stop()
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("got %q, %v", text, err)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	if os.Remove(path) != nil || os.Symlink(elsewhere, path) != nil {
		t.Fatal("no link")
	}
	srv.start()
	srv.stop()
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a link was followed")
	}
}

func TestASocketLeftBehindIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "data", "telltale.sock")
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	srv := startTestServer(t, dir, everything(t), "")
	if st := statusOf(t, dir); st.PID != os.Getpid() {
		t.Errorf("got %+v", st)
	}
	srv.stop()
}

func TestADataDirectoryOfEverybodyIsRefused(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	for _, f := range []struct {
		mode os.FileMode
		want string
	}{
		{0o777, "everybody may write to"}, {os.ModeSticky | 0o777, "everybody may write to"}, {0o702, "everybody may write to"},
	} {
		os.Mkdir(data, 0o700)
		if err := os.Chmod(data, f.mode); err != nil {
			t.Fatal(err)
		}
		var out lockedBuffer
		ctx, cancel := context.WithTimeout(t.Context(), patience) // a server that starts ends then
		exit := command(ctx, []string{"serve", "--data-dir", data, "--lists-dir", filepath.Join(dir, "lists"), "--listen-dns", "127.0.0.1:0"}, &out, &out, nil)
		cancel()
		if exit != 1 || !strings.Contains(out.String(), f.want) {
			t.Errorf("%v: got %d %s", f.mode, exit, out.String())
		}
	}
}

func TestAccessIsChangedWhileServing(t *testing.T) {
	dir := t.TempDir()
	srv := startTestServer(t, dir, everything(t), "")
	// 127.0.0.0/8 may always ask: what counts is what the app says of others.
	stranger := netip.MustParseAddr("203.0.113.9")
	allowed := func() string { return fmt.Sprint(srv.app.allowed(stranger)) }
	if allowed() != "false" {
		t.Fatal("a stranger may ask")
	}
	save(t, filepath.Join(dir, "telltale.yaml"), "access: {allow: [203.0.113.0/24]}")
	soon(t, "with access.allow", "true", allowed)
	save(t, filepath.Join(dir, "telltale.yaml"), "access: {allow: [198.51.100.0/24]}")
	soon(t, "with another access.allow", "false", allowed)
}
