package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// policied returns the settings of a node whose own file and whose center say these.
func policied(t *testing.T, own, shared string) (*Config, error) {
	t.Helper()
	dir := t.TempDir()
	files := filepath.Join(policyDir(filepath.Join(dir, "data")), "v1")
	if err := os.MkdirAll(files, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(filepath.Dir(files), "current"), "v1\n")
	writeFile(t, filepath.Join(files, SettingsOverlayName), shared)
	file := filepath.Join(dir, "telltale.yaml")
	writeFile(t, file, own+"\ndata: {dir: data}\nlists: {dir: lists.d}\n")
	return Load(file, nil, nil)
}

func deviceNames(c *Config) (all []string) {
	for i := range c.Devices {
		all = append(all, c.Devices[i].Name)
	}
	return all
}

func TestSharedSettingsLieBelowANodesOwn(t *testing.T) {
	const shared = `
blocking: {mode: nxdomain, tier: mixed}
devices:
  - {name: tv, mac: "02:00:5e:10:00:01"}
  - {name: phone, mac: "02:00:5e:10:00:02"}
  - {name: oven, mac: "02:00:5e:10:00:03", group: kids}
groups: [{name: kids}]
local: {records: ["nas.lan A 192.168.1.9"]}
`
	c, err := policied(t, `
blocking: {mode: refused}
devices: [{name: telly, mac: "02:00:5E:10:00:01"}, {name: Phone, address: 192.168.1.4}]
local: {records: ["own.lan A 192.168.1.8"]}
`, shared)
	if err != nil {
		t.Fatal(err)
	}
	if c.Blocking.Mode != "refused" || c.Blocking.Tier != "mixed" {
		t.Errorf("mode is %s, tier %s; want the node's refused and the center's mixed", c.Blocking.Mode, c.Blocking.Tier)
	}
	if got, want := deviceNames(c), []string{"telly", "Phone", "oven"}; !slices.Equal(got, want) {
		t.Errorf("devices are %v, want %v: one that the node has by name or MAC is its own", got, want)
	}
	if got, want := c.Local.Records, []string{"own.lan A 192.168.1.8", "nas.lan A 192.168.1.9"}; !slices.Equal(got, want) {
		t.Errorf("records are %v, want %v", got, want)
	}
	if len(c.Groups) != 1 || c.Devices[2].Group != "kids" || filepath.Base(c.Policy) != "v1" {
		t.Errorf("got groups %v, policy %s", c.Groups, c.Policy)
	}
	again, err := c.With(nil)
	if err != nil || !slices.Equal(deviceNames(again), deviceNames(c)) {
		t.Errorf("with another overlay the devices are %v (%v)", deviceNames(again), err)
	}
	alone, err := policied(t, "fleet: {policy: false}", shared)
	if err != nil || len(alone.Devices) != 0 || alone.Policy != "" {
		t.Errorf("where fleet.policy is false: %v, %v", alone, err)
	}
}

func TestWhatACenterMayNotSet(t *testing.T) {
	for _, bad := range []string{"listen: {dns: [127.0.0.1]}", "node: x", "data: {dir: /x}", "evidence: {witness: {url: 'https://x.example/'}}", "fleet: {policy: false}", "identity: {makers: /etc/passwd}", "alerts: {webhook: {url: 'https://x.example/'}}", "nonsense: 1", "- x"} {
		if _, err := policied(t, "", bad); err == nil || !strings.Contains(err.Error(), "v1/settings.yaml") {
			t.Errorf("%s: got %v, want a mistake of the center's settings", bad, err)
		}
	}
}

func TestASharedSettingIsReadAsItWasWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "telltale.yaml")
	const own = `
data: {dir: data}
lists:
  dir: lists.d
  subscriptions: [{name: ads, url: "https://lists.example/ads.txt", refresh: 12h}]
blocking: {tier: mixed, ttl: 30s}
devices: [{name: "tv: - #", mac: ["02:00:5e:10:00:01"], log: false}]
center: {share: [devices, lists.subscriptions, blocking.tier, groups]}
`
	writeFile(t, file, own)
	c, err := Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.SharedText()
	if err != nil {
		t.Fatal(err)
	}
	node, err := policied(t, "", string(text))
	if err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	if node.Blocking.Tier != "mixed" || node.Blocking.TTL == c.Blocking.TTL || len(node.Devices) != 1 || node.Devices[0].Name != "tv: - #" || node.Devices[0].Log || len(node.Lists.Subscriptions) != 1 || node.Lists.Subscriptions[0].Refresh != c.Lists.Subscriptions[0].Refresh {
		t.Errorf("got %+v %+v of\n%s", node.Devices, node.Lists.Subscriptions, text)
	}
	writeFile(t, file, "center: {share: [listen.dns]}\n")
	if _, err := Load(file, nil, nil); err == nil || !strings.Contains(err.Error(), "center.share[0]") {
		t.Errorf("sharing where to listen: %v", err)
	}
}

func TestSettingsOfACenterAreKeptAsLastGood(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "telltale.yaml"), filepath.Join(dir, "data")
	files := filepath.Join(policyDir(data), "v1")
	if err := os.MkdirAll(files, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(policyDir(data), "current"), "v1\n")
	writeFile(t, filepath.Join(files, SettingsOverlayName), "blocking: {tier: mixed}\n")
	writeFile(t, file, "data: {dir: data}\n")
	c := loaded(t, file)
	if err := c.KeepAsLastGood(c.LastGood); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, "data: {dir: data}\nnonsense: 1\n")
	was, err := LoadLastGood(file, nil, nil, data)
	if err != nil || was.Blocking.Tier != "mixed" || was.Policy != files {
		t.Errorf("got %+v, %v", was, err)
	}
}
