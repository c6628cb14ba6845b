package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/config"
	"telltale/web"
)

// peerSettings returns a copy of another server's settings in which lists are fetched
// from a web server that has them.
func peerSettings(t *testing.T, name string, lists map[string]string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := lists[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
		}
		w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	at := func(text []byte) string { return strings.ReplaceAll(string(text), "http://lists.invalid", server.URL) }
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("../../peersettings/testdata", name))); err != nil {
		t.Fatal(err)
	}
	if name == "adguard" {
		path := filepath.Join(dir, "AdGuardHome.yaml")
		text, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(path, []byte(at(text)), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	sql, err := os.ReadFile("../../peersettings/testdata/gravity.sql")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlite3.Open(filepath.Join(dir, "gravity.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(at(sql)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// importSettings imports settings and returns the directory that they were written into.
func importSettings(t *testing.T, dir string, more ...string) (to, out string, exit int) {
	t.Helper()
	var b lockedBuffer
	exit = command(t.Context(), append([]string{"import", "--settings", dir, "--config", noSettings(t)}, more...), &b, &b, nil)
	return filepath.Join(dir, importedDir), b.String(), exit
}

// noSettings is a settings file that says nothing.
func noSettings(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "telltale.yaml")
	if err := os.WriteFile(file, []byte("data: {dir: data}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// What another server's settings block, allow and rewrite for whom is decided in the same
// way by what is made of them. What is wanted here is what the sources of AdGuard Home
// (internal/filtering) and of Pi-hole's FTL (check_domain_blocked) say of such settings.
func TestImportedSettingsDecideAlike(t *testing.T) {
	lists := map[string]string{
		"/ads.txt": "ads.example\nok.ads.example\nallowed.ads.example\nwide.ads.example\nx.wide.ads.example\n0.0.0.0 hosts.example\n" +
			"||subtree.example^\n@@||ok.subtree.example^\n@@||other.example^\n",
		"/kids.txt": "video.example\n",
		"/off.txt":  "off.example\n",
	}
	for _, c := range []struct {
		product string
		want    string // NAME TYPE DEVICE VERDICT [MODE]; "-" is a device that nothing is said of
	}{
		{"adguard", `
			blocked.example          A    -             block nxdomain
			www.blocked.example      A    -             block
			ok.blocked.example       A    -             allow
			exact.example            A    -             block
			sub.exact.example        A    -             pass
			nas.home.example         A    -             block    # in the mode nxdomain such a rule blocks
			type.example             AAAA -             block
			type.example             A    -             pass
			kids.example             A    192.168.1.20  block
			kids.example             A    -             pass
			tv.example               A    192.168.1.21  block
			tv.example               A    -             pass
			strong.example           A    -             allow
			x.allowed.example        A    -             allow
			metrics1.home.example    A    -             block
			rewritten.example        A    -             answer
			refused.example          A    -             block refused
			printer.home.example     A    -             answer
			printer.home.example     AAAA -             answer
			x.dev.example            A    -             answer
			dev.example              A    -             pass
			pass.dev.example         A    -             pass
			alias.home.example       A    -             answer
			off.home.example         A    -             pass
			v4.example               A    -             pass
			ads.example              A    -             block
			www.ads.example          A    -             pass
			hosts.example            A    -             block
			www.subtree.example      A    -             block
			ok.subtree.example       A    -             allow
			other.example            A    -             allow
			off.example              A    -             pass
			blocked.example          A    192.168.30.5  observe
		`},
		{"pihole5", `
			ads.example              A    -             block custom
			www.ads.example          A    -             pass
			hosts.example            A    -             block
			www.subtree.example      A    -             block
			ok.ads.example           A    -             allow
			allowed.ads.example      A    -             allow
			x.wide.ads.example       A    -             allow
			denied.example           A    -             block
			wild.example             A    -             block
			a.wild.example           A    -             block
			ok1.wild.example         A    -             allow
			metrics1.home.example    A    -             block
			metrics1.home.example    AAAA -             pass
			games.example            A    -             pass
			games.example            A    192.168.1.20  block
			video.example            A    -             pass
			video.example            A    192.168.1.20  block
			ads.example              A    192.168.1.20  block
			both.example             A    -             allow
			nodata.example           A    -             block nodata
			ads.example              A    Bulb          pass
			ads.example              A    192.168.40.9  pass
			wild.example             A    192.168.40.9  pass
			denied.example           A    192.168.40.9  block
			both.example             A    192.168.40.9  allow
			ads.example              A    192.168.1.40  pass
			denied.example           A    192.168.1.40  pass
			off.example              A    -             pass
			nobody.example           A    -             pass
			nas.home.example         A    -             answer
			nas.home.example         AAAA -             answer
			files.home.example       A    -             answer
			a.dev.example            A    -             answer
			gone.example             A    -             block nxdomain
			x.intern.example         A    -             block nxdomain
		`},
	} {
		t.Run(c.product, func(t *testing.T) {
			t.Parallel()
			to, out, exit := importSettings(t, peerSettings(t, c.product, lists))
			if exit != 0 {
				t.Fatalf("exit %d: %s", exit, out)
			}
			data := t.TempDir()
			srv := &testServer{t: t, flags: []string{"--config", filepath.Join(to, "telltale.yaml"), "--listen-dns", "127.0.0.1:0", "--data-dir", data, "--upstreams", "127.0.0.1:1"},
				env: []string{"XDG_RUNTIME_DIR=" + data, "GOGC=" + testGrowth, "TELLTALE_IDENTITY_ANNOUNCEMENTS=false", "TELLTALE_LISTEN_TLS=", "TELLTALE_NODE=test"}}
			srv.takeCompiledNames(filepath.Join(data, "cache"))
			srv.start()
			defer srv.stop()
			explain := func(name, typ, device string) (e web.Explanation) {
				args := []string{"explain", name, "--type", typ, "--offline", "--json"}
				if device != "-" {
					args = append(args, "--device", device)
				}
				out, exit := srv.run(args...)
				if exit != 0 {
					t.Errorf("explain %s %s: %s", name, device, out)
					return e
				}
				if err := json.Unmarshal([]byte(out), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
			for until := time.Now().Add(patience); explain("ads.example", "A", "-").Verdict != "block"; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("the list was not fetched")
				}
			}
			if c.product == "pihole5" {
				for until := time.Now().Add(patience); explain("video.example", "A", "192.168.1.20").Verdict != "block" && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
				}
			}
			for line := range strings.Lines(c.want) {
				line, _, _ = strings.Cut(line, "#")
				f := strings.Fields(line)
				if len(f) == 0 {
					continue
				}
				e := explain(f[0], f[1], f[2])
				if e.Verdict != f[3] || len(f) > 4 && e.Mode != f[4] {
					t.Errorf("%s: %s %s, want %v: %s", strings.Join(f[:3], " "), e.Verdict, e.Mode, f[3:], e.Why)
				}
			}
			if srv.stop(); c.product == "pihole5" { // an address of a group is known as that without the server, too
				for device, want := range map[string]string{"192.168.40.9": "pass", "192.168.50.9": "block"} {
					if e := explain("ads.example", "A", device); e.Verdict != want {
						t.Errorf("with the server stopped, %s: %s, want %s", device, e.Verdict, want)
					}
				}
			}
		})
	}
}

// What is made of settings is taken by 'telltale validate', whatever was in them, and no
// bad line is in its lists.
func TestImportedSettingsAreValid(t *testing.T) {
	for _, product := range []string{"adguard", "pihole5", "pihole6"} {
		dir := peerSettings(t, product, nil)
		to, out, exit := importSettings(t, dir)
		if exit != 0 || strings.Contains(out, "SECRET") || strings.ContainsFunc(out, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Errorf("%s: exit %d: %s", product, exit, out)
		}
		var b lockedBuffer
		file := filepath.Join(to, "telltale.yaml")
		if exit := command(t.Context(), []string{"validate", "--config", file, "--data-dir", t.TempDir()}, &b, &b, nil); exit != 0 {
			t.Errorf("%s: validate: %s", product, b.String())
		}
		files, err := filepath.Glob(filepath.Join(to, "lists.d", "*.txt"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no lists: %v", product, err)
		}
		if exit := command(t.Context(), append([]string{"lists", "check", "--config", file, "--data-dir", t.TempDir()}, files...), &b, &b, nil); exit != 0 {
			t.Errorf("%s: lists check: %s", product, b.String())
		}
		for _, path := range append(files, file, filepath.Join(to, reportFile)) {
			if text, err := os.ReadFile(path); err != nil || strings.Contains(string(text), "SECRET") {
				t.Errorf("%s: %v: a secret:\n%s", path, err, text)
			}
		}
		// Nothing is written twice, nor in place of what is there.
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, out, exit = importSettings(t, dir)
		if after, _ := os.ReadFile(file); exit == 0 || !strings.Contains(out, "is there already, and nothing is overwritten") || string(after) != string(before) {
			t.Errorf("%s: again: exit %d: %s", product, exit, out)
		}
		other := filepath.Join(t.TempDir(), "other")
		if _, out, exit := importSettings(t, dir, "--output", other, "--dry-run", "--json"); exit != 0 || !strings.Contains(out, `"dir":""`) && !strings.Contains(out, `"dir": ""`) {
			t.Errorf("%s: dry run: exit %d: %s", product, exit, out)
		}
		if left, err := os.ReadDir(filepath.Dir(other)); err != nil || len(left) > 0 {
			t.Errorf("%s: a dry run left %v, %v", product, left, err)
		}
	}
}

func TestFlagsOfLogsAreNotForSettings(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{"--settings", "--format", "pi-hole"}, {"--settings", "--tz", "UTC"}, {"--output", "x"}} {
		var b lockedBuffer
		if exit := command(t.Context(), append([]string{"import", dir, "--config", noSettings(t)}, args...), &b, &b, nil); exit != 2 {
			t.Errorf("%v: exit %d: %s", args, exit, b.String())
		}
	}
}

// Hundreds of entries that are not taken are each named, and those beside them stay.
func TestManyBadSettingsAreNamed(t *testing.T) {
	var b strings.Builder
	b.WriteString("dns:\n  port: 53\n  upstream_dns:\n")
	for i := range 400 {
		fmt.Fprintf(&b, "    - 192.0.2.%d:%d\n    - no server %d\n", i%250+1, 1000+i, i)
	}
	b.WriteString("clients:\n  persistent:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "    - {name: n%[1]d, ids: [192.168.%[1]d.1, %q], tags: [%q, good]}\n", i, "bad id "+fmt.Sprint(i), "a/b")
	}
	b.WriteString("schema_version: 34\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "AdGuardHome.yaml"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	to, out, exit := importSettings(t, dir)
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, out)
	}
	if n := strings.Count(out, "not taken: "); n < 400+100 {
		t.Errorf("%d named:\n%s", n, out)
	}
	cfg := loadFile(t, filepath.Join(to, "telltale.yaml"))
	if len(cfg.Upstreams) != 400 || len(cfg.Devices) != 100 {
		t.Errorf("%d upstreams, %d devices", len(cfg.Upstreams), len(cfg.Devices))
	}
	for i := range cfg.Devices {
		if d := &cfg.Devices[i]; len(d.Addresses) != 1 || len(d.ClientIDs) != 0 || len(d.Tags) != 1 || d.Name != fmt.Sprintf("n%d", i) {
			t.Errorf("%+v", d)
		}
	}
}

// What is not taken is neither shown nor kept: it may be a password in a wrong place.
func TestRefusedValuesAreNotShown(t *testing.T) {
	for name, text := range map[string]string{
		"AdGuardHome.yaml": "dns:\n  port: 53\n  upstream_dns: ['user:hunter2@10.0.0.1', 'ftp://a.example/?apikey=hunter2']\n" +
			"clients:\n  persistent:\n    - {name: tv, ids: [192.168.1.2, 'id hunter2']}\nschema_version: 34\n",
		"99-mine.conf": "server=user:hunter2@10.0.0.1\nserver=/a.example/user:hunter2@10.0.0.1\n",
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, out, exit := importSettings(t, file, "--output", filepath.Join(dir, "to"))
		if exit != 0 || !strings.Contains(out, "not taken: expected") && !strings.Contains(out, "has a password in it, which is not copied") {
			t.Errorf("%s: exit %d: %s", name, exit, out)
		}
		for _, part := range []string{reportFile, "telltale.yaml"} {
			kept, err := os.ReadFile(filepath.Join(dir, "to", part))
			if err != nil {
				t.Fatal(err)
			}
			out += string(kept)
		}
		if strings.Contains(out, "hunter2") {
			t.Errorf("%s: a value is shown or kept:\n%s", name, out)
		}
	}
}

// Addresses of lists may have keys in their query, so only who runs the command reads
// what is written.
func TestImportedSettingsAreForTheirUserAlone(t *testing.T) {
	to, out, exit := importSettings(t, peerSettings(t, "adguard", nil))
	if exit != 0 {
		t.Fatalf("exit %d: %s", exit, out)
	}
	err := filepath.WalkDir(to, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// A dry run leaves the other server's directory alone, also while it runs.
func TestADryRunTouchesNoDirectory(t *testing.T) {
	dir := peerSettings(t, "adguard", nil)
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := os.Chtimes(dir, old, old); err != nil {
		t.Fatal(err)
	}
	if _, out, exit := importSettings(t, dir, "--dry-run"); exit != 0 {
		t.Fatalf("exit %d: %s", exit, out)
	}
	if info, err := os.Stat(dir); err != nil || !info.ModTime().Equal(old) {
		t.Errorf("something was made in it at %v, %v", info.ModTime(), err)
	}
}

func loadFile(t *testing.T, file string) *config.Config {
	t.Helper()
	cfg, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}
