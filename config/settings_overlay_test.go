package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// loaded reads the settings of a directory that settingsDir made.
func loaded(t *testing.T, file string, env ...string) *Config {
	t.Helper()
	c, err := Load(file, nil, env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func valueOf(t *testing.T, c *Config, key string) Value {
	t.Helper()
	all := c.Values()
	i := slices.IndexFunc(all, func(v Value) bool { return v.Key == key })
	if i < 0 {
		t.Fatalf("%s is not among the values", key)
	}
	return all[i]
}

func TestASettingOfTheOverlayTakesThePlaceOfTheFiles(t *testing.T) {
	dir, file := settingsDir(t, "blocking: {ttl: 30s, tier: mixed}\nupstreams: [192.0.2.1, 192.0.2.2, 192.0.2.3]\ndevices: [{name: a, mac: 02:00:5e:10:00:01, kind: tv}]\n")
	overlay := filepath.Join(dir, "lists.d", SettingsOverlayName)
	writeFile(t, overlay, "blocking:\n  ttl: 60s\nupstreams:\n- 192.0.2.9\ndevices:\n- {name: b, address: 192.0.2.7}\nnode: here\n")
	c := loaded(t, file, "TELLTALE_NODE=there")
	if c.Blocking.TTL != time.Minute || c.Blocking.Tier != "mixed" || len(c.Upstreams) != 1 || len(c.Devices) != 1 || c.Devices[0].Kind != "" || c.Node != "there" {
		t.Errorf("got %+v %+v %+v %q", c.Blocking, c.Upstreams, c.Devices, c.Node)
	}
	for _, f := range []struct {
		key, source, where string
		value              any
	}{
		{"blocking.ttl", FromOverlay, overlay + ":2", "60s"},
		{"blocking.tier", FromFile, file, "mixed"},
		{"node", FromEnvironment, "TELLTALE_NODE", "there"},
		{"log.size", FromDefault, "", "1GiB"},
		{"log.listed", FromDefault, "", "365d"},
		{"upstreams", FromOverlay, overlay + ":4", []any{map[string]any{"address": "192.0.2.9"}}},
	} {
		v := valueOf(t, c, f.key)
		if v.Source != f.source || !strings.HasPrefix(v.Where, f.where) || !reflect.DeepEqual(v.Value, f.value) {
			t.Errorf("got %+v, want %+v", v, f)
		}
	}
}

// Each line is an overlay that is not to be, and the mistake that is told of it.
func TestMistakesOfTheSettingsOverlay(t *testing.T) {
	for _, f := range []struct{ name, text, want string }{
		{"no YAML", "a: [", "settings.yaml:1: not YAML"},
		{"octets", "\x00\x01", "settings.yaml"},
		{"a text", "hello", "settings.yaml:1: found \"hello\""},
		{"a wrong word", "blocking:\n  mode: nx\n", `settings.yaml:2: blocking.mode: found "nx"`},
		{"a key that is none", "blokking: {}", "did you mean blocking?"},
		{"a path", "local:\n  hosts: [/etc/shadow]\n", "settings.yaml:2: local.hosts: cannot be set in this file"},
		{"a program", "tls: {acme: {hook: /bin/sh}}", "settings.yaml:1: tls.acme.hook: cannot be set in this file"},
		{"where it is itself", "lists: {dir: /tmp}", "settings.yaml:1: lists.dir: cannot be set in this file"},
		{"where reports go", "reports:\n- {name: a, when: daily 06:00,\n   dir: /}\n", "settings.yaml:3: reports[0].dir: cannot be set in this file"},
		{"a listener", "listen: {dns: [192.0.2.1]}", "settings.yaml:1: listen.dns: cannot be set in this file"},
		{"who takes alerts", "alerts:\n  mqtt: {server: 'mqtts://elsewhere.example'}\n", "settings.yaml:2: alerts.mqtt.server: cannot be set in this file"},
		{"a subscription", "lists: {subscriptions: [{name: b, url: https://b.example/}]}", "'telltale lists add'"},
		{"what does not fit the file", "devices:\n- {name: b, group: nobody, mac: 02:00:5e:10:00:01}\n", "settings.yaml:2: devices[0].group"},
		{"an entry that breaks a rule of all", "blocking: {mode: custom}", "settings.yaml:1: blocking.mode"},
	} {
		dir, file := settingsDir(t, "")
		writeFile(t, filepath.Join(dir, "lists.d", SettingsOverlayName), f.text)
		c, err := Load(file, nil, nil)
		if err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: got %v, %v\nwant %s", f.name, c, err, f.want)
		}
	}
}

// Whoever may set these over the network is an administrator of DNS and of the log. A new
// setting is here only if a token that was stolen does not become more by it.
func TestWhatMayBeSetOverTheNetwork(t *testing.T) {
	want := strings.Fields(`
		tls.authority tls.names
		upstreams upstream_strategy upstream_hedging upstream_bootstrap forward
		lists.settings
		cache.size cache.keep cache.stale cache.prefetch cache.min_ttl cache.max_ttl cache.negative_ttl
		blocking.mode blocking.custom blocking.ttl blocking.tier blocking.observe
		access.allow rebind.allow special.test special.local special.canaries
		local.records local.device_suffix dns64.prefix dns64.exclude
		limits.waiting limits.tcp_connections limits.client_prefix
		log.enabled log.listed log.unlisted log.totals log.attempt_gap log.size log.seal
		reports destinations.nightly
		alerts.tell alerts.at_once alerts.digest alerts.coverage alerts.log
		messages.level messages.format
		identity.find_leases identity.forwarders identity.announcements identity.reverse
		devices groups node`)
	var got []string
	for _, v := range loaded(t, "").Values() {
		if v.Refused == "" {
			got = append(got, v.Key)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, " "), strings.Join(want, " "))
	}
}

func TestSettingsAreSetAndUnset(t *testing.T) {
	dir, file := settingsDir(t, "blocking: {ttl: 30s}\n")
	overlay := filepath.Join(dir, "lists.d", SettingsOverlayName)
	set := func(values map[string]any, unset ...string) *Config {
		t.Helper()
		c := loaded(t, file)
		text, err := c.WithSettings(values, unset)
		if err != nil {
			t.Fatal(err)
		}
		would, err := c.With(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SaveSettings(text); err != nil {
			t.Fatal(err)
		}
		is := loaded(t, file)
		if live, restart := Diff(would, is); len(live)+len(restart) > 0 {
			t.Errorf("what was said to come of it is not what is in force: %v %v", live, restart)
		}
		return is
	}
	c := set(map[string]any{
		"blocking.ttl": "60s", "special.test": false, "limits.waiting": float64(50), "access.allow": []any{"198.51.100.0/24"},
		"devices": []any{map[string]any{"name": "tv: - #", "mac": []any{"02:00:5e:10:00:01"}, "log": false}}, "node": "true",
	})
	if c.Blocking.TTL != time.Minute || c.Special.Test || c.Limits.Waiting != 50 || len(c.Access.Allow) != 1 || c.Devices[0].Name != "tv: - #" || c.Devices[0].Log || c.Node != "true" {
		t.Errorf("got %+v", c)
	}
	text, _ := os.ReadFile(overlay)
	if !strings.HasPrefix(string(text), settingsHead) {
		t.Errorf("a new overlay begins with\n%s", text)
	}
	writeFile(t, overlay, strings.Replace(string(text), "waiting: 50", "waiting: 50 # many", 1))
	c = set(map[string]any{"blocking.tier": "mixed", "limits.waiting": float64(60)}, "blocking.ttl", "access.allow", "log.size")
	if c.Blocking.TTL != 30*time.Second || len(c.Access.Allow) != 0 || c.Blocking.Tier != "mixed" || c.Limits.Waiting != 60 {
		t.Errorf("got %+v", c)
	}
	if text, _ := os.ReadFile(overlay); !strings.Contains(string(text), "waiting: 60 # many") || strings.Contains(string(text), "access") {
		t.Errorf("got\n%s", text)
	}
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "ttl: 30s") {
		t.Errorf("the settings file is\n%s%v", text, err)
	}
	for _, f := range []struct {
		set   map[string]any
		unset []string
		want  string
	}{
		{map[string]any{"blocking.tll": "1s"}, nil, "blocking.tll: there is no such setting; did you mean blocking.ttl?"},
		{map[string]any{"devices[0].name": "x"}, nil, "there is no such setting"},
		{map[string]any{"data.dir": "/"}, nil, "data.dir: cannot be changed here"},
		{map[string]any{"blocking.ttl": map[string]any{}}, nil, "blocking.ttl: found keys below it"},
		{map[string]any{"blocking.ttl": nil}, nil, "blocking.ttl: found <nil>"},
		{map[string]any{"blocking.ttl": "1s"}, []string{"blocking.ttl"}, "to be set and unset"},
		{map[string]any{"groups": []any{map[string]any{"nam": "x"}}}, nil, "did you mean"},
		{nil, []string{"no.such"}, "no.such: there is no such setting"},
	} {
		text, err := loaded(t, file).WithSettings(f.set, f.unset)
		if err == nil {
			_, err = loaded(t, file).With(text)
		}
		if err == nil || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%v %v: got %v, want %s", f.set, f.unset, err, f.want)
		}
	}
	if _, err := loaded(t, file, "TELLTALE_BLOCKING_TTL=5s").WithSettings(map[string]any{"blocking.ttl": "1s"}, nil); err == nil || !strings.Contains(err.Error(), "TELLTALE_BLOCKING_TTL: blocking.ttl: set there") {
		t.Errorf("got %v", err)
	}
}

// What is shown of a default is what the file would say for it.
func TestDefaultsReadAsTheyAreShown(t *testing.T) {
	initial := reflect.ValueOf(defaults()).Elem()
	for _, s := range leaves() {
		shown := textOf(initial.FieldByIndex(s.index))
		if s.typ.Kind() == reflect.Slice && shapeOf(s.typ) == entries {
			continue
		}
		texts, isList := shown.([]string)
		typ := s.typ
		if !isList {
			texts = []string{shown.(string)}
		} else {
			typ = typ.Elem()
		}
		for i, text := range texts {
			v, want := reflect.New(typ).Elem(), initial.FieldByIndex(s.index)
			if isList {
				want = want.Index(i)
			}
			if text == "" && want.IsZero() {
				continue
			}
			if ok, expected, _ := parse(text, &s.setting, v); !ok || !reflect.DeepEqual(v.Interface(), want.Interface()) {
				t.Errorf("%s: %q is read as %v, want %v; expected %s", s.key, text, v, want, expected)
			}
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	_, file := settingsDir(t, "alerts: {ntfy: {url: https://ntfy.example/geheim}, webhook: {url: \"https://h.example/geheim?geheim=1\", secret_file: s}}\nevidence: {witness: {url: https://w.example/geheim}}\n")
	for _, v := range loaded(t, file).Values() {
		if text, is := v.Value.(string); is && strings.Contains(text, "geheim") {
			t.Errorf("%s shows %s", v.Key, text)
		}
	}
	if v := valueOf(t, loaded(t, file), "alerts.ntfy.url"); v.Value != "https://ntfy.example" || !v.Secret {
		t.Errorf("got %+v", v)
	}
}

func TestTheLastGoodSettingsHaveTheOverlay(t *testing.T) {
	dir, file := settingsDir(t, "data: {dir: data}\n")
	overlay := filepath.Join(dir, "lists.d", SettingsOverlayName)
	writeFile(t, overlay, "blocking: {ttl: 77s}\n")
	if err := loaded(t, file).KeepAsLastGood(time.Now()); err != nil {
		t.Fatal(err)
	}
	writeFile(t, overlay, "blocking: {ttl: forever}\n")
	if _, err := Load(file, nil, nil); err == nil || !strings.Contains(err.Error(), overlay+":1: blocking.ttl") {
		t.Errorf("got %v, want the place of the mistake", err)
	}
	c, err := LoadLastGood(file, nil, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if c.Blocking.TTL != 77*time.Second || c.LastGood.IsZero() {
		t.Errorf("got %+v", c.Blocking)
	}
}

// What is set may be secret: the file is for the server's user alone, and one that is stricter
// stays so.
func TestTheOverlayOfSettingsIsForItsUserAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), SettingsOverlayName)
	c := &Config{SettingsOverlay: path}
	c.origin.settings = []byte("b: 1\n")
	for _, f := range []struct{ was, want os.FileMode }{{0, 0o600}, {0o644, 0o600}, {0o400, 0o400}} {
		for _, write := range []func() error{func() error { return c.SaveSettings([]byte("a: 1\n")) }, c.RestoreSettings} {
			if f.was != 0 {
				if err := os.Chmod(path, f.was); err != nil {
					t.Fatal(err)
				}
			}
			if err := write(); err != nil {
				t.Fatal(err)
			}
			if i, err := os.Stat(path); err != nil || i.Mode().Perm() != f.want {
				t.Errorf("from %04o: got %v %v, want %04o", f.was, i.Mode(), err, f.want)
			}
		}
	}
}
