package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/config"
	"telltale/devices"
)

// Each line is settings, and what they are to the part that they are for.
func TestOptions(t *testing.T) {
	lists := func(cfg *config.Config) blocklists.Options {
		s := newNumbers(cfg)
		o := listOptions(cfg, s, catalog.Shipped())
		o.Groups = groupSettings(cfg, s, cfg, s)
		return o
	}
	list := func(cfg *config.Config) string {
		l := lists(cfg).Lists[0]
		mode := "none"
		if l.Mode != nil {
			mode = l.Mode.String()
		}
		return fmt.Sprint(l.Name, " enabled=", *l.Enabled, " observe=", l.Observe, " until=", l.ObserveUntil.Unix(), " mode=", mode, " exact=", l.Exact,
			" format=", l.Format, " answers=", l.Answers, " suffixes=", l.Suffixes, " exceptions=", l.Exceptions, " tier=", l.Tier, " order=", l.Order,
			" schedule=", l.Schedule.Text, " windows=", len(l.Schedule.Windows), " subscribed=", l.Subscribed)
	}
	group := func(cfg *config.Config) string {
		g := lists(cfg).Groups[0]
		mode := "none"
		if g.Mode != nil {
			mode = g.Mode.String()
		}
		return fmt.Sprint(g.Name, " observe=", g.Observe, " until=", g.ObserveUntil.Unix(), " group=", g.GroupObserve, " until=", g.GroupObserveUntil.Unix(), " mode=", mode, " clients=", g.ClientNames, " addresses=", g.Addresses, " tags=", g.Tags, " schedule=", g.Schedule.Text)
	}
	never := "-62135596800" // the zero time
	for _, f := range []struct {
		text string
		got  func(*config.Config) any
		want string
	}{
		{"listen: {dns: ['127.0.0.1:5300', '[::1]:5300']}", func(c *config.Config) any { return serverOptions(c, newNumbers(c)).Listen }, "[127.0.0.1:5300 [::1]:5300]"},
		{"upstreams: [{address: 192.0.2.1, trust_ad: true}, 192.0.2.2:5353]", func(c *config.Config) any {
			var all []string
			for _, u := range serverOptions(c, newNumbers(c)).Upstreams.Servers {
				all = append(all, fmt.Sprint(u.Addr, u.TrustAD))
			}
			return all
		}, "[192.0.2.1:53 true 192.0.2.2:5353 false]"},
		{"upstreams: [192.0.2.1, 'tcp://192.0.2.1', 'tls://192.0.2.1#a.example', 'https://192.0.2.1/q#a.example', 'h3://192.0.2.1/q', 'quic://192.0.2.1']", func(c *config.Config) any {
			var all []string
			for _, u := range serverOptions(c, newNumbers(c)).Upstreams.Servers {
				all = append(all, fmt.Sprint(u.Transport, u.Name, u.Path))
			}
			return all
		}, "[udp tcp tlsa.example httpsa.example/q h3/q quic]"},
		{"{upstream_bootstrap: [192.0.2.9], upstreams: [{address: 'tls://dns.example', pins: ['sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=']}, {address: 'quic://dns.example', addresses: [192.0.2.1]}]}", func(c *config.Config) any {
			o := serverOptions(c, newNumbers(c)).Upstreams
			return []any{o.Bootstrap, o.AddressFile, o.Servers[0].Host, o.Servers[0].Addr.Port(), o.Servers[0].Pins[0].Sum[31], o.Servers[1].Addresses}
		}, "[[192.0.2.9:53] /var/lib/telltale/cache/upstream-addresses.json dns.example 853 1 [192.0.2.1]]"},
		{"upstreams: ['sdns://AwAAAAAAAAAACTE5Mi4wLjIuMSAREREREREREREREREREREREREREREREREREREREREREQtkbnMuZXhhbXBsZQ']", func(c *config.Config) any {
			s := serverOptions(c, newNumbers(c)).Upstreams.Servers[0]
			return []any{s.Transport, s.Addr, s.Name, len(s.Pins), s.Pins[0].Certificate, s.Pins[0].Sum[0]}
		}, "[tls 192.0.2.1:853 dns.example 1 true 17]"},
		{"upstreams: [{address: 192.0.2.1, client_subnet: 198.51.100.0/24}, {address: 192.0.2.2, client_subnet: '2001:db8:1::/48'}]", func(c *config.Config) any {
			s := serverOptions(c, newNumbers(c)).Upstreams.Servers
			return []any{s[0].Subnet, s[1].Subnet}
		}, "[198.51.100.0/24 2001:db8:1::/48]"},
		{"forward: [{zones: [corp.example], upstreams: ['tls://192.0.2.1#a.example', 192.0.2.2]}]", func(c *config.Config) any {
			f := serverOptions(c, newNumbers(c)).Upstreams.Forwards[0]
			return []any{f.Servers[0].Transport, f.Servers[0].Name, f.Servers[1].Transport, f.Servers[1].Addr}
		}, "[tls a.example udp 192.0.2.2:53]"},
		{"cache: {size: 1MiB}", func(c *config.Config) any { return serverOptions(c, newNumbers(c)).CacheSize }, "1048576"},
		{"cache: {size: 0}", func(c *config.Config) any { return serverOptions(c, newNumbers(c)).CacheSize }, "-1"},
		{"limits: {waiting: 7, tcp_connections: 8, client_prefix: 64}", func(c *config.Config) any {
			o := serverOptions(c, newNumbers(c))
			return []int{o.Waiting, o.Streams, o.ClientPrefix}
		}, "[7 8 64]"},
		{"rebind: {allow: [a.example]}", func(c *config.Config) any { return serverSettings(c).RebindAllow }, "[a.example]"},
		{"special: {test: false}", func(c *config.Config) any {
			s := serverSettings(c)
			return []bool{s.ForwardTest, s.ForwardLocal, s.ForwardCanaries}
		}, "[true false false]"},
		{"special: {local: false, canaries: false}", func(c *config.Config) any {
			s := serverSettings(c)
			return []bool{s.ForwardTest, s.ForwardLocal, s.ForwardCanaries}
		}, "[false true true]"},
		{"log: {enabled: false}", func(c *config.Config) any { return logOptions(c).Off }, "true"},
		{"log: {unlisted: 0}", func(c *config.Config) any { return logOptions(c).NoUnlisted }, "true"},
		{"log: {listed: 2d, unlisted: 1h, size: 2MB}", func(c *config.Config) any { o := logOptions(c); return []any{o.NoUnlisted, o.Off, o.Retention} }, "[false false {48h0m0s 1h0m0s 26280h0m0s 2000000}]"},
		{"{node: here, data: {dir: /srv/t}}", func(c *config.Config) any { o := logOptions(c); return o.Node + " " + o.Dir }, "here /srv/t"},
		{"{data: {dir: /srv/t}, lists: {dir: /srv/l}}", func(c *config.Config) any { o := lists(c); return []string{o.Dir, o.CacheDir} }, "[/srv/l /srv/t/cache]"},
		{"blocking: {mode: custom, custom: [192.0.2.9, '2001:db8::9'], ttl: 7s, tier: mixed}", func(c *config.Config) any {
			o := lists(c)
			return []any{o.Mode, o.Custom4, o.Custom6, o.TTL, o.Tier, o.Observe}
		}, "[custom 192.0.2.9 2001:db8::9 7s mixed false]"},
		{"blocking: {observe: true}", func(c *config.Config) any { o := lists(c); return []any{o.Observe, o.ObserveUntil.IsZero()} }, "[true true]"},
		{"blocking: {observe: 2026-12-31T20:00:00Z}", func(c *config.Config) any { o := lists(c); return []any{o.Observe, o.ObserveUntil.UTC()} }, "[false 2026-12-31 20:00:00 +0000 UTC]"},
		{"lists: {settings: [{name: a}]}", func(c *config.Config) any { return list(c) },
			"a enabled=true observe=false until=" + never + " mode=none exact=false format= answers=false suffixes=false exceptions=false tier= order=0 schedule= windows=0 subscribed=false"},
		{"lists: {settings: [{name: a, enabled: false, observe: true, mode: nodata, match: exact, format: rpz, answers: true, suffixes: true, tier: mixed, order: 3, schedule: 'mon 10:00-11:00, tue 10:00-11:00'}]}",
			func(c *config.Config) any { return list(c) },
			"a enabled=false observe=true until=" + never + " mode=nodata exact=true format=rpz answers=true suffixes=true exceptions=false tier=mixed order=3 schedule=mon 10:00-11:00, tue 10:00-11:00 windows=2 subscribed=false"},
		{"lists: {subscriptions: [{name: a, url: https://a.example/l, format: auto, exceptions: true, observe: 1970-01-01T00:01:00Z}]}", func(c *config.Config) any { return list(c) },
			"a enabled=true observe=false until=60 mode=none exact=false format= answers=false suffixes=false exceptions=true tier= order=0 schedule= windows=0 subscribed=true"},
		{"lists: {subscriptions: [{name: a, url: https://a.example/l, refresh: 2h, match: exact, annotation: {vendor: V, product: P, purpose: ads, tier: mixed, region: eu, source: s, breaks: b}}]}",
			func(c *config.Config) any {
				s, a := subscriptionLists(c)[0], lists(c).Lists[0].Annotation
				return []any{a.Vendor, a.Product, a.Purpose, a.Tier, a.Region, a.Source, a.Breaks, s.Name, s.URL, s.Refresh, s.Exact, s.Enabled}
			}, "[V P ads mixed eu s b a https://a.example/l 2h0m0s true true]"},
		{"devices: [{name: tv, address: [192.0.2.1], prefix: [198.51.100.0/24], mac: '02:00:00:00:00:01', log: false}]", func(c *config.Config) any {
			d := deviceList(c, newNumbers(c))[0]
			return []any{d.Name, d.MACs, d.Addresses, d.Prefixes, d.Group, d.NoLog}
		}, "[tv [02:00:00:00:00:01] [192.0.2.1] [198.51.100.0/24] 1 true]"},
		{"devices: [{name: tv, address: [192.0.2.1], prefix: [198.51.100.0/24]}]", func(c *config.Config) any { return group(c) },
			"tv observe=false until=" + never + " group=false until=" + never + " mode=none clients=[tv] addresses=[192.0.2.1/32 198.51.100.0/24] tags=[] schedule="},
		{"{groups: [{name: kids, observe: true, mode: refused, schedule: '20:00-21:00'}], devices: [{name: tv, group: kids, address: 192.0.2.1}]}", func(c *config.Config) any { return group(c) },
			"tv observe=false until=" + never + " group=true until=" + never + " mode=refused clients=[tv] addresses=[192.0.2.1/32] tags=[kids] schedule=20:00-21:00"},
		{"{groups: [{name: kids, mode: refused, observe: 1970-01-01T00:01:00Z}], devices: [{name: tv, group: kids, mode: nodata, observe: 1970-01-01T00:02:00Z, address: 192.0.2.1}]}", func(c *config.Config) any { return group(c) },
			"tv observe=false until=120 group=false until=60 mode=nodata clients=[tv] addresses=[192.0.2.1/32] tags=[kids] schedule="},
	} {
		cfg := loadText(t, f.text)
		if got := fmt.Sprint(f.got(cfg)); got != f.want {
			t.Errorf("%s:\n got %s\nwant %s", f.text, got, f.want)
		}
	}
}

func loadText(t testing.TB, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "telltale.yaml")
	save(t, file, text)
	cfg, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return cfg
}

// Each line is the devices of an edit, and the groups after it: number and settings.
func TestGroupNumbersAreByNameForGood(t *testing.T) {
	numbers := &groupNumbers{byName: map[string]uint16{}}
	before := loadText(t, "")
	wasMember := newNumbers(before)
	for _, f := range []struct{ devices, list, groups string }{
		{"tv pc", "tv=1 pc=2", "tv pc"},
		{"pc", "pc=2", "tv pc"}, // queries under way may know the number of the one that is gone
		{"pc", "pc=2", "- pc"},
		{"new pc", "new=3 pc=2", "- pc new"},
		{"tv new", "tv=1 new=3", "tv pc new"},
		{"", "", "tv - new"},
	} {
		var text strings.Builder
		for i, name := range strings.Fields(f.devices) {
			fmt.Fprintf(&text, "- {name: %s, address: 192.0.2.%d}\n", name, i+1)
		}
		cfg := loadText(t, "devices:\n"+text.String())
		isMember := newMembership(cfg, newIdentities(cfg, nil, nil), nil, nil, nil)
		if !isMember.number(numbers, cfg, nil) {
			t.Fatal("no numbers left")
		}
		var list, groups []string
		for _, d := range deviceList(cfg, isMember) {
			list = append(list, fmt.Sprintf("%s=%d", d.Name, d.Group))
		}
		for _, g := range groupSettings(cfg, isMember, before, wasMember) {
			if g.Name == "" {
				g.Name = "-"
			}
			groups = append(groups, g.Name)
		}
		if got := strings.Join(list, " "); got != f.list {
			t.Errorf("%q: got devices %s, want %s", f.devices, got, f.list)
		}
		if got := strings.Join(groups, " "); got != f.groups {
			t.Errorf("%q: got groups %s, want %s", f.devices, got, f.groups)
		}
		before, wasMember = cfg, isMember
	}
	for i := range maxGroups {
		numbers.byName[fmt.Sprint(i)] = uint16(i + 1)
	}
	if numbers.add([]string{"one-more"}) {
		t.Error("a number beyond the last was given")
	}
}

// The groups that docs/groups.md has to begin with are valid, as they stand and with what
// is commented out in them.
func TestReadyGroupsLoad(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(tree, "docs", "groups.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, _ = strings.Cut(text, "```")
	for _, text := range []string{text, regexp.MustCompile(`(?m)^    #([a-z_]+:)`).ReplaceAllString(text, "    $1")} {
		cfg := loadText(t, text)
		var names []string
		for i := range cfg.Groups {
			names = append(names, cfg.Groups[i].Name)
		}
		if got, want := strings.Join(names, " "), "kids guests tv iot"; got != want {
			t.Errorf("got groups %s, want %s", got, want)
		}
		if err := listNameMistakes(cfg); err != nil {
			t.Error(err)
		}
	}
}

// Each client is a device, a member of a group, or within its prefix; id is its client id.
func TestNothingIsImportedOfWhoIsNotLogged(t *testing.T) {
	cfg := loadText(t, `
devices:
  - {name: tv, address: 192.0.2.1, log: false}
  - {name: kid, address: 192.0.2.2, client_id: kid-phone, group: quiet}
  - {name: tagged, address: 192.0.2.3, tag: [guest]}
  - {name: pc, address: 192.0.2.4, group: loud}
groups:
  - {name: quiet, log: false, device: [02:00:5e:10:00:01, "addr:192.0.2.6"], tag: [guest], prefix: [198.51.100.0/24]}
  - {name: loud, prefix: [203.0.113.0/24]}
`)
	known := []devices.Binding{
		{ID: 1, Device: "mac:02:00:5e:10:00:01", MAC: "02:00:5e:10:00:01", Source: devices.Neighbour, Addr: netip.MustParseAddr("192.0.2.5")},
		{ID: 2, Device: "mac:02:00:5e:10:00:01", MAC: "02:00:5e:10:00:01", Source: devices.Neighbour, Addr: netip.MustParseAddr("192.0.2.7"), Until: time.Unix(1, 0)},
	}
	out := optedOut(cfg, newMembership(cfg, newIdentities(cfg, known, nil), nil, nil, nil), known)
	for _, f := range []struct {
		addr, id string
		want     bool
	}{
		{"192.0.2.1", "", true}, {"192.0.2.2", "", true}, {"192.0.2.99", "kid-phone", true}, {"192.0.2.3", "", true},
		{"192.0.2.4", "", false}, {"192.0.2.5", "", true}, {"192.0.2.6", "", true}, {"192.0.2.7", "", false},
		{"198.51.100.9", "", true}, {"203.0.113.9", "", false}, {"192.0.2.99", "", false}, {"192.0.2.99", "other", false},
	} {
		if got := out(netip.MustParseAddr(f.addr), f.id); got != f.want {
			t.Errorf("%s %s: left out %v, want %v", f.addr, f.id, got, f.want)
		}
	}
}
