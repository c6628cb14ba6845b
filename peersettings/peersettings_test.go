package peersettings

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

var update = flag.Bool("update", false, "write the golden files")

// copyOf returns a copy of a directory of testdata, with gravity.db if it is one of
// Pi-hole.
func copyOf(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", name))); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(name, "pihole") {
		makeGravity(t, filepath.Join(dir, gravityFile), "")
	}
	return dir
}

func makeGravity(t *testing.T, path, more string) {
	t.Helper()
	sql, err := os.ReadFile("testdata/gravity.sql")
	if err != nil {
		t.Fatal(err)
	}
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(string(sql) + more); err != nil {
		t.Fatal(err)
	}
}

// whole writes a draft as one text.
func whole(t testing.TB, d *Draft) string {
	t.Helper()
	var b bytes.Buffer
	settings, err := d.Settings(d.Product)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "-- telltale.yaml --\n%s", settings)
	for _, l := range d.Lists {
		fmt.Fprintf(&b, "-- %s.txt --\n%s", l.Name, l.Text())
	}
	b.WriteString("-- left --\n")
	for _, l := range d.Left {
		fmt.Fprintf(&b, "%s: %s\n", l.Place, l.Why)
	}
	return b.String()
}

func TestDrafts(t *testing.T) {
	for _, name := range []string{"adguard", "pihole5", "pihole6"} {
		d, err := Read(copyOf(t, name), Options{Lists: []string{"xiaomi"}})
		if err != nil {
			t.Fatal(err)
		}
		got, file := whole(t, d), filepath.Join("testdata", name+".golden")
		if strings.Contains(got, "SECRET") {
			t.Errorf("%s: a secret was taken over:\n%s", name, got)
		}
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: not as in %s:\n%s", name, file, got)
		}
	}
}

// Each is refused with what is wrong, and where.
func TestWhatIsNoneIsRefused(t *testing.T) {
	dir := t.TempDir()
	settings, err := os.ReadFile("testdata/adguard/AdGuardHome.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(settings, []byte("\n"))
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"half/AdGuardHome.yaml":     {string(bytes.Join(lines[:120], nil)), []string{"cut off"}},
		"mid-line/AdGuardHome.yaml": {string(settings[:len(settings)/2]), []string{"AdGuardHome.yaml:1"}},
		"torn/AdGuardHome.yaml":     {"dns:\n  port: 53\n filters: [\n", []string{"AdGuardHome.yaml:", "not YAML"}},
		"other/AdGuardHome.yaml":    {"hello: world\n", []string{"no settings of AdGuard Home"}},
		"scalar/AdGuardHome.yaml":   {"hello\n", []string{"no settings of AdGuard Home"}},
		"old/AdGuardHome.yaml":      {"dns: {port: 53}\nschema_version: 10\n", []string{"schema 10 is too old"}},
		"alias/AdGuardHome.yaml":    {"dns: &d {port: 53}\nx: [*d, *d]\nschema_version: 34\n", []string{"AdGuardHome.yaml:2", "alias"}},
		"long/AdGuardHome.yaml":     {"# ", []string{"longer than 16 MiB"}},
		"binary/AdGuardHome.yaml":   {"dns\x00: 1", []string{"binary"}},
		"latin/AdGuardHome.yaml":    {"dns: {port: 53}\n# \xe4\n", []string{"not UTF-8"}},
		"empty/AdGuardHome.yaml":    {"", []string{"empty"}},
		"half6/pihole.toml":         {"[dns]\n  upstreams = [\n    \"192.0.2.1\",\n", []string{"pihole.toml:"}},
		"other6/pihole.toml":        {"[web]\nport = 1\n", []string{"no section dns"}},
		"none5/setupVars.conf":      {"hello\n", []string{"no settings in it"}},
		"nodb/gravity.db":           {"hello, this is no database\n", []string{"gravity.db", "no database"}},
		"cutdb/gravity.db":          {sqliteHead + strings.Repeat("x", 900), []string{"gravity.db", "no database, or a damaged one"}},
		"directory-of-none/foo.txt": {"x", []string{"no settings found"}},
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "long/") {
			if err := os.Truncate(path, 100<<20); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Read(filepath.Dir(path), Options{})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

func TestOtherDatabasesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gravity.db")
	c, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(`CREATE TABLE cats (name TEXT)`); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := Read(path, Options{}); err == nil || !strings.Contains(err.Error(), "not gravity.db of Pi-hole") {
		t.Errorf("%v", err)
	}
}

func TestLaterVersionsAreReadAsFarAsTheyAreKnown(t *testing.T) {
	dir := t.TempDir()
	settings, err := os.ReadFile("testdata/adguard/AdGuardHome.yaml")
	if err != nil {
		t.Fatal(err)
	}
	later := filepath.Join(dir, "AdGuardHome.yaml")
	if err := os.WriteFile(later, bytes.Replace(settings, []byte("schema_version: 34"), []byte("schema_version: 35"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	gravity := filepath.Join(dir, "gravity.db")
	makeGravity(t, gravity, `UPDATE info SET value = '99' WHERE property = 'version';`)
	for path, want := range map[string]string{later: "schema 35 is later than 34", gravity: "version 99 is later than 20"} {
		d, err := Read(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := whole(t, d); !strings.Contains(got, want) || !strings.Contains(got, "subscriptions:") {
			t.Errorf("%s:\n%s", path, got)
		}
	}
}

// What is taken out goes with what would mean something else without it.
func TestRemove(t *testing.T) {
	d := newDraft(Options{})
	m := mapping()
	put(m, "devices", sequence("tv"))
	put(m, "zones", sequence("work.example"))
	put(m, "upstreams", sequence("192.0.2.1", "nonsense"))
	d.add("forward", m, Place{"f", 1, "k"})
	if !d.Remove("forward[0].upstreams[1]", "no server") {
		t.Error("nothing was removed")
	}
	if got := whole(t, d); !strings.Contains(got, "upstreams: [192.0.2.1]") || !strings.Contains(got, "f:1: k: no server") {
		t.Error(got)
	}
	d.Remove("forward[0].devices[0]", "no device")
	if got := whole(t, d); strings.Contains(got, "work.example") {
		t.Errorf("servers of one device are for everybody:\n%s", got)
	}
	if d.Remove("nothing.here", "why") {
		t.Error("something was removed that is not there")
	}
}

func TestRulesOfPihole(t *testing.T) {
	for _, c := range []struct {
		kind         int64
		domain, want string
	}{
		{allowExact, "a.example", "@@|a.example^$important"},
		{denyExact, "a.example", "|a.example^$important"},
		{denyRegex, `(\.|^)a\.example$`, "||a.example^"},
		{allowRegex, `(\.|^)a\.example$`, "@@||a.example^$important"},
		{denyRegex, `a/b$`, `/a\/b$/`},
		{denyRegex, `^ad;querytype=!A,aaaa;reply=nxdomain`, "/^ad/$dnstype=~A|~AAAA,dnsrewrite=NXDOMAIN"},
		{denyRegex, `^ad;reply=192.0.2.1`, "/^ad/$dnsrewrite=192.0.2.1"},
	} {
		if got, problem := piholeRule(c.kind, c.domain); got != c.want || problem != "" {
			t.Errorf("%d %s: %q, %s; want %q", c.kind, c.domain, got, problem, c.want)
		}
	}
}

// settingsOf writes files into a directory of their own, and returns it.
func settingsOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Settings that somebody made name no file outside their directory.
func TestNoFileOutsideTheDirectoryIsRead(t *testing.T) {
	parent := settingsOf(t, map[string]string{
		"outside.txt": "outside.example\n",
		"adguard/AdGuardHome.yaml": "dns: {port: 53}\nwhitelist_filters:\n  - {enabled: true, id: ../../../outside}\n  - {enabled: true, id: 7}\n" +
			"  - {enabled: true, id: 8}\nschema_version: 34\n",
		"adguard/data/filters/8.txt": "within.example\n",
	})
	if err := os.Symlink("../../../outside.txt", filepath.Join(parent, "adguard/data/filters/7.txt")); err != nil {
		t.Fatal(err)
	}
	d, err := Read(filepath.Join(parent, "adguard"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := whole(t, d); strings.Contains(got, "outside") || !strings.Contains(got, "@@|within.example^") || len(d.Left) != 3 {
		t.Errorf("%s", got)
	}
}

// A message about a file that is not read says where, and not what is there.
func TestErrorsRepeatNoValue(t *testing.T) {
	for name, text := range map[string]string{
		"AdGuardHome.yaml": "dns:\n  port: 53\nusers:\n  - password: *Hunter2pw\n",
		"pihole.toml":      "[dns]\nport = 53\n[webserver.api]\npwhash = Hunter2pw\n",
	} {
		_, err := Read(settingsOf(t, map[string]string{name: text}), Options{})
		if err == nil || strings.Contains(err.Error(), "unter2") || !strings.Contains(err.Error(), name+":4: not ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file without settings, as an installation leaves one, is named and keeps nothing
// else from being taken over.
func TestEmptyFilesOfADirectory(t *testing.T) {
	d, err := Read(settingsOf(t, map[string]string{
		"setupVars.conf":      "PIHOLE_DNS_1=192.0.2.1\n",
		"pihole-FTL.conf":     "# nothing is set\n\n",
		"dnsmasq.d/10-a.conf": "",
		"dnsmasq.d/20-b.conf": "address=/b.example/192.0.2.2\n",
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := whole(t, d)
	for _, want := range []string{"192.0.2.1", "||b.example^", "pihole-FTL.conf: it is empty", "10-a.conf: it is empty"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s:\n%s", want, got)
		}
	}
	if _, err := Read(settingsOf(t, map[string]string{"setupVars.conf": ""}), Options{}); err == nil {
		t.Error("settings were read of an empty file")
	}
}

// Pi-hole 6 reads dnsmasq.d only where it is told to.
func TestDnsmasqFilesThatPiholeDoesNotRead(t *testing.T) {
	for value, used := range map[string]bool{"[misc]\netc_dnsmasq_d = false\n": false, "[misc]\netc_dnsmasq_d = true\n": true, "": false} {
		d, err := Read(settingsOf(t, map[string]string{"pihole.toml": "[dns]\nport = 53\n" + value, "dnsmasq.d/99-mine.conf": "address=/mine.example/192.0.2.1\n"}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := whole(t, d)
		if strings.Contains(got, "||mine.example^") != used || strings.Contains(got, "99-mine.conf: not read there") == used {
			t.Errorf("%q:\n%s", value, got)
		}
	}
}

// Each rule names the groups that it holds for, so a small database can stand for a list
// of any length.
func TestGroupsTimesRulesAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), gravityFile)
	makeGravity(t, path, `WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i+1 FROM n WHERE i < 600)
		INSERT INTO "group" (id, enabled, name) SELECT i, 1, 'group-'||i FROM n;
		INSERT INTO client (id, ip, comment) SELECT id, '10.1.'||(id/256)||'.'||(id%256), 'c' FROM "group" WHERE id >= 100;
		INSERT INTO client_by_group (client_id, group_id) SELECT id, id FROM "group" WHERE id >= 100;`)
	if _, err := Read(path, Options{}); err == nil || !strings.Contains(err.Error(), gravityFile) || !strings.Contains(err.Error(), "more than 500 combinations of groups") {
		t.Errorf("%v", err)
	}
	d := newDraft(Options{})
	l := d.list("own")
	l.size = maxText - 20
	for _, c := range []struct {
		rule  string
		taken bool
	}{{"||a.example^", true}, {"||b.example^", false}} {
		if taken := d.rule(l, c.rule, Place{}); taken != c.taken || (d.failed == nil) != c.taken {
			t.Errorf("%s: taken %v, %v", c.rule, taken, d.failed)
		}
	}
}

func TestPasswordsOfAnyServerOfALine(t *testing.T) {
	d, err := Read(settingsOf(t, map[string]string{adguardFile: "dns: {port: 53}\nclients:\n  persistent:\n" +
		"    - {name: tv, ids: [192.168.1.2], upstreams: ['https://a.example/q https://user:Hunter2pw@b.example/q']}\nschema_version: 34\n"}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := whole(t, d); strings.Contains(got, "Hunter2pw") || !strings.Contains(got, "its address has a password in it") {
		t.Errorf("%s", got)
	}
}

// dnsmasq has an interface behind "@"; what somebody wrote as a URL has a user in front of it.
func TestPasswordsOfServersOfDnsmasq(t *testing.T) {
	for _, line := range []string{
		"server=https://user:Hunter2pw@dns.example/dns-query", "server=https://user:Hunter2pw@dns.example", "server=/lan/https://user:Hunter2pw@dns.example",
		"server=/lan/user:Hunter2pw@dns.example", "server=user:Hunter2pw@dns.example", "local=/lan/work.example/https://user:Hunter2pw@dns.example/q", "rev-server=192.0.2.0/24,https://user:Hunter2pw@dns.example",
	} {
		d, err := Read(settingsOf(t, map[string]string{"pihole.toml": "[dns]\nport = 53\n[misc]\netc_dnsmasq_d = true\n", "dnsmasq.d/99-mine.conf": line + "\nserver=192.0.2.9#5353@eth0\nserver=/there.example/192.0.2.8@eth0\n"}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := whole(t, d)
		if strings.Contains(got, "Hunter2pw") || strings.Contains(got, "user") || !strings.Contains(got, "99-mine.conf:1: ") || !strings.Contains(got, "its address has a password in it") {
			t.Errorf("%s:\n%s", line, got)
		}
		if !strings.Contains(got, "192.0.2.9:5353") || !strings.Contains(got, "- zones: [there.example]\n    upstreams: [192.0.2.8]") || strings.Contains(got, "eth0") {
			t.Errorf("the server of an interface is another:\n%s", got)
		}
	}
}

// A limit that somebody set is not passed over, as the one of AdGuard Home itself is.
func TestRateLimitsAreNamed(t *testing.T) {
	for _, c := range []struct{ key, usual, own string }{
		{"ratelimit", "20", "5"}, {"ratelimit_subnet_len_ipv4", "24", "32"}, {"ratelimit_subnet_len_ipv6", "56", "64"}, {"ratelimit_whitelist", "[]", "[192.0.2.1]"},
	} {
		for value, named := range map[string]bool{c.usual: false, c.own: true} {
			d, err := Read(settingsOf(t, map[string]string{adguardFile: fmt.Sprintf("dns: {port: 53, %s: %s}\nschema_version: 34\n", c.key, value)}), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(d.Left) == 1 && d.Left[0].Key == "dns."+c.key; got != named || len(d.Left) > 1 {
				t.Errorf("%s: %s: %+v", c.key, value, d.Left)
			}
		}
	}
}

func TestSettingsThatAreNotThere(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "nope"), Options{})
	if err == nil || !strings.Contains(err.Error(), "there is no such file or directory: name AdGuardHome.yaml") || strings.Contains(err.Error(), "stat ") {
		t.Errorf("%v", err)
	}
}

// Whatever the settings hold, what is made of them is text that can be read again, and
// has no rule that was not read as one.
func FuzzSettings(f *testing.F) {
	for _, name := range []string{"adguard/AdGuardHome.yaml", "pihole6/pihole.toml", "pihole5/setupVars.conf", "pihole5/dnsmasq.d/99-mine.conf", "pihole5/custom.list"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(filepath.Base(name), string(text))
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		switch name {
		case adguardFile, tomlFile, setupFile, hostsFile, ftlFile, "99-mine.conf":
		default:
			return
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		d, err := Read(path, Options{})
		if err != nil {
			return
		}
		got := whole(t, d)
		if strings.ContainsFunc(got, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Errorf("a control character:\n%q", got)
		}
		for _, l := range d.Lists {
			for _, line := range l.Lines {
				if strings.Contains(line, "#@") && !strings.Contains(text, "#@") {
					t.Errorf("an annotation was made: %q", line)
				}
			}
		}
	})
}
