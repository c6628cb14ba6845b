package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/devices"
	"telltale/querylog"
	"telltale/web"
)

func TestSignsOfADevice(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	long, cfg := now.Add(-24*time.Hour), &config.Config{}
	cfg.Log.Unlisted = 24 * time.Hour
	both := []web.Binding{
		{Addr: "192.168.1.20", MAC: "00:1a:11:00:00:01", Source: "neighbour"}, {Addr: "fd00::20", MAC: "00:1a:11:00:00:01", Source: "neighbour"}, {Addr: "fe80::20", MAC: "00:1a:11:00:00:01", Source: "neighbour"},
	}
	row := func(name, purpose, verdict, from string, n uint64) querylog.Row {
		return querylog.Row{Name: name, Purpose: purpose, Verdict: verdict, AnsweredFrom: from, Rcode: "NOERROR", Attribution: "rule", Client: "192.168.1.20", Count: n, Last: querylog.Time{Time: now.Add(-time.Minute)}}
	}
	other := func(client string, n uint64) querylog.Row {
		return querylog.Row{Name: "www.example", Client: client, Count: n, Last: querylog.Time{Time: now.Add(-time.Minute)}}
	}
	for name, c := range map[string]struct {
		device  web.Device
		rows    []querylog.Row
		watched time.Time
		want    []string // codes and points
	}{
		"nothing odd":                       {web.Device{Bindings: both, Last: now}, []querylog.Row{other("192.168.1.20", 30), other("fd00::20", 30)}, long, nil},
		"a resolver":                        {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("dns.google", "dns-bypass", "observe", "upstream", 3)}, long, []string{"asks-resolver 40"}},
		"a resolver that was blocked":       {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("dns.google", "dns-bypass", "block", "policy", 3)}, long, []string{"asks-resolver 10"}},
		"one was blocked and one was not":   {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("dns.google", "dns-bypass", "block", "policy", 3), row("dns.quad9.net", "dns-bypass", "pass", "cache", 3)}, long, []string{"asks-resolver 40"}},
		"Private Relay that is off":         {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("mask.icloud.com", "canary", "answer", "policy", 2)}, long, []string{"asks-private-relay 5"}},
		"Private Relay that is on":          {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("mask-h2.icloud.com", "canary", "pass", "upstream", 2)}, long, []string{"asks-private-relay 40"}},
		"Firefox asks that of everybody":    {web.Device{Last: now}, []querylog.Row{other("192.168.1.20", 9), row("use-application-dns.net", "canary", "answer", "policy", 2)}, long, nil},
		"here, and silent":                  {web.Device{Bindings: both, Last: now.Add(-time.Minute)}, nil, long, []string{"silent 60"}},
		"here, and silent for seven hours":  {web.Device{Bindings: both[:1], Last: now}, []querylog.Row{{Name: "a", Client: "192.168.1.20", Count: 1, Last: querylog.Time{Time: now.Add(-7 * time.Hour)}}}, long, []string{"silent 60"}},
		"silent for five hours":             {web.Device{Bindings: both[:1], Last: now}, []querylog.Row{{Name: "a", Client: "192.168.1.20", Count: 1, Last: querylog.Time{Time: now.Add(-5 * time.Hour)}}}, long, nil},
		"gone":                              {web.Device{Bindings: both, Last: now.Add(-time.Hour)}, nil, long, nil},
		"silent, but nobody watched":        {web.Device{Bindings: both, Last: now}, nil, now.Add(-time.Hour), nil},
		"silent, and known by a lease only": {web.Device{Bindings: []web.Binding{{Addr: "192.168.1.20", MAC: "00:1a:11:00:00:01", Source: "lease"}}, Last: now}, nil, long, nil},
		"IPv4 alone":                        {web.Device{Bindings: both, Last: now}, []querylog.Row{other("192.168.1.20", 30)}, long, []string{"one-family 15"}},
		"IPv6 alone":                        {web.Device{Bindings: both, Last: now}, []querylog.Row{other("fd00::20", 30)}, long, []string{"one-family 15"}},
		"IPv4 alone, and no other":          {web.Device{Bindings: both[:1], Last: now}, []querylog.Row{other("192.168.1.20", 30)}, long, nil},
		"IPv4, and a link-local address":    {web.Device{Bindings: []web.Binding{both[0], both[2]}, Last: now}, []querylog.Row{other("192.168.1.20", 30)}, long, nil},
		"few lookups":                       {web.Device{Bindings: both, Last: now}, []querylog.Row{other("192.168.1.20", 3)}, long, nil},
		"connectivity checks alone":         {web.Device{Last: now}, []querylog.Row{row("captive.apple.com", "connectivity", "pass", "cache", 5)}, long, []string{"connectivity-only 50"}},
		"connectivity checks, and a page":   {web.Device{Last: now}, []querylog.Row{row("captive.apple.com", "connectivity", "pass", "cache", 5), other("192.168.1.20", 1)}, long, nil},
		"one check":                         {web.Device{Last: now}, []querylog.Row{row("captive.apple.com", "connectivity", "pass", "cache", 1)}, long, nil},
	} {
		var h *heard
		for i := range c.rows {
			if h == nil {
				h = &heard{}
			}
			h.add(&c.rows[i])
		}
		var got []string
		for _, s := range signs(&c.device, h, cfg, c.watched, now) {
			got = append(got, fmt.Sprintf("%s %d", s.Code, s.Points))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	h := &heard{connectivity: 5, lookups: 5}
	cfg.Log.Unlisted = 0 // then the log does not have what else it asked
	if got := signs(&web.Device{}, h, cfg, long, now); len(got) > 0 {
		t.Errorf("where other lookups are not kept: got %v", got)
	}
}

// A device whose lookups are not recorded is not silent.
func TestADeviceThatIsNotRecordedIsNotSilent(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	bindings := []devices.Binding{
		{ID: 1, Device: "tv", NoLog: true, From: now.Add(-9 * time.Hour), Until: now.Add(-3 * time.Hour)}, {ID: 2, Device: "tv", NoLog: true, From: now.Add(-9 * time.Hour), Until: now.Add(-4 * time.Hour)},
		{ID: 3, Device: "tv", From: now.Add(-3 * time.Hour)}, {ID: 4, Device: "phone", NoLog: true, From: now.Add(-time.Hour)}, {ID: 5, Device: "fridge", From: now.Add(-time.Hour)},
	}
	got := unrecordedUntil(bindings, newIdentities(&config.Config{}, bindings, nil), now.Add(-24*time.Hour), now)
	if want := map[string]time.Time{"tv": now.Add(-3 * time.Hour), "phone": now}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// That there is no such name, or that nobody knew, is no answer.
func TestAResolverIsNotReachedByANameWithoutAnAnswer(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	row := func(name, purpose, verdict, rcode, from string) querylog.Row {
		return querylog.Row{Name: name, Purpose: purpose, Verdict: verdict, Rcode: rcode, AnsweredFrom: from, Attribution: "rule", Count: 2, Last: querylog.Time{Time: now}}
	}
	doh := func(name, verdict, rcode string) querylog.Row {
		return row(name, "dns-bypass", verdict, rcode, "upstream")
	}
	relay := func(rcode, from string) querylog.Row { return row("mask.icloud.com", "canary", "pass", rcode, from) }
	for name, c := range map[string]struct {
		rows []querylog.Row
		want string // points and the beginning of what is said
	}{
		"no such name":                   {[]querylog.Row{doh("dns.google", "pass", "NXDOMAIN")}, "10 it looked for other resolvers and had no answer: dns.google (2 times)"},
		"nobody knew":                    {[]querylog.Row{doh("dns.google", "observe", "SERVFAIL")}, "10 it looked for other resolvers and had no answer: "},
		"no reply":                       {[]querylog.Row{doh("dns.google", "pass", "")}, "10 it looked for other resolvers and had no answer: "},
		"an answer once":                 {[]querylog.Row{doh("dns.google", "pass", "NXDOMAIN"), doh("dns.google", "pass", "NOERROR")}, "40 it looked for other resolvers and was answered: "},
		"blocked":                        {[]querylog.Row{doh("dns.google", "block", "NXDOMAIN")}, "10 it looked for other resolvers and was blocked: "},
		"blocked, and no such name":      {[]querylog.Row{doh("dns.google", "block", "NOERROR"), doh("dns.quad9.net", "pass", "NXDOMAIN")}, "10 it looked for other resolvers and had no answer: "},
		"Private Relay":                  {[]querylog.Row{relay("NOERROR", "upstream")}, "40 it asked for iCloud Private Relay 2 times, and was answered: "},
		"Private Relay that is off here": {[]querylog.Row{relay("NXDOMAIN", "policy")}, "5 it asked 2 times whether iCloud Private Relay may be used here, and was told that it may not"},
		"Private Relay that is off":      {[]querylog.Row{relay("NXDOMAIN", "upstream")}, "5 it asked for iCloud Private Relay 2 times, and had no answer"},
	} {
		h := &heard{}
		for i := range c.rows {
			h.add(&c.rows[i])
		}
		var got []string
		for _, s := range signs(&web.Device{}, h, &config.Config{}, now, now) {
			got = append(got, fmt.Sprintf("%d %s", s.Points, s.Says))
		}
		if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// What is printed for each firewall, as it was read and checked.
func TestFirewallRules(t *testing.T) {
	all, one := &firewallRules{servers4: []string{"192.168.1.2"}, servers6: []string{"fd00::2"}}, &firewallRules{servers4: []string{"192.168.1.2"}, device: "Anna's\nTV", macs: []string{"00:1a:11:00:00:01"}}
	for name, c := range map[string]struct{ got, want string }{
		"nftables": {nftablesRules(all), `# On the router: only Telltale's machine asks DNS servers outside (of every device). nft -f FILE; nft delete table inet telltale takes it back.
table inet telltale {
	chain forward {
		type filter hook forward priority filter - 1; policy accept;
		ip saddr { 192.168.1.2 } return
		ip daddr { 192.168.1.2 } return
		ip6 saddr { fd00::2 } return
		ip6 daddr { fd00::2 } return
		meta l4proto { tcp, udp } th dport { 53, 853 } counter reject
	}
}
`},
		"mikrotik of one device": {mikroTikRules(one), `# RouterOS: only Telltale's machine asks DNS servers outside (of Anna?s?TV).
# /ip firewall filter remove [find comment=telltale], the same with /ipv6, and the address lists take it back.
/ip firewall address-list add list=telltale address=192.168.1.2 comment=telltale
/ip firewall filter add chain=forward protocol=udp dst-port=53,853 src-address-list=!telltale dst-address-list=!telltale src-mac-address=00:1A:11:00:00:01 action=reject comment=telltale place-before=0
/ip firewall filter add chain=forward protocol=tcp dst-port=53,853 src-address-list=!telltale dst-address-list=!telltale src-mac-address=00:1A:11:00:00:01 action=reject comment=telltale place-before=0
/ipv6 firewall filter add chain=forward protocol=udp dst-port=53,853 src-address-list=!telltale dst-address-list=!telltale src-mac-address=00:1A:11:00:00:01 action=reject comment=telltale place-before=0
/ipv6 firewall filter add chain=forward protocol=tcp dst-port=53,853 src-address-list=!telltale dst-address-list=!telltale src-mac-address=00:1A:11:00:00:01 action=reject comment=telltale place-before=0
`},
		"openwrt of one device": {openWrtRules(one), `# On the router, as root: only Telltale's machine asks DNS servers outside (of Anna?s?TV).
# 'uci delete firewall.NAME' for each, 'uci commit firewall' and a restart take it back.
uci set firewall.telltale_pass4=rule
uci set firewall.telltale_pass4.name='telltale_pass4'
uci set firewall.telltale_pass4.src='lan'
uci set firewall.telltale_pass4.dest='wan'
uci set firewall.telltale_pass4.family='ipv4'
uci add_list firewall.telltale_pass4.proto='tcp'
uci add_list firewall.telltale_pass4.proto='udp'
uci set firewall.telltale_pass4.dest_port='53 853'
uci add_list firewall.telltale_pass4.src_ip='192.168.1.2'
uci set firewall.telltale_pass4.target='ACCEPT'
uci set firewall.telltale_stop=rule
uci set firewall.telltale_stop.name='telltale_stop'
uci set firewall.telltale_stop.src='lan'
uci set firewall.telltale_stop.dest='wan'
uci add_list firewall.telltale_stop.proto='tcp'
uci add_list firewall.telltale_stop.proto='udp'
uci set firewall.telltale_stop.dest_port='53 853'
uci add_list firewall.telltale_stop.src_mac='00:1a:11:00:00:01'
uci set firewall.telltale_stop.target='REJECT'
uci commit firewall
/etc/init.d/firewall restart
`},
	} {
		if c.got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, c.got, c.want)
		}
	}
	for _, name := range firewallNames {
		text := firewalls[name](one)
		if !strings.Contains(text, "192.168.1.2") || !strings.Contains(strings.ToLower(text), "00:1a:11:00:00:01") || !strings.Contains(text, "853") || strings.Contains(text, "Anna's") {
			t.Errorf("%s: got\n%s", name, text)
		}
	}
}
