package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// load reads text as the file telltale.yaml, without variables and flags.
func load(t *testing.T, text string) (*Config, error) {
	t.Helper()
	return build("telltale.yaml", []byte(text), nil, nil)
}

// build makes a Config without an overlay.
func build(file string, text []byte, flags *pflag.FlagSet, env []string) (*Config, error) {
	return (&building{file: file, text: text, flags: flags, env: env}).build()
}

func TestNothingGivenIsEnough(t *testing.T) {
	for name, text := range map[string]string{
		"an empty file":          "",
		"a file of comments":     "# nothing\n",
		"a null document":        "---\n~\n",
		"sections without keys":  "listen:\nblocking:\ndevices:\n",
		"keys without values":    "blocking:\n  ttl:\nupstreams:\n",
		"a byte order mark":      "\ufeff# nothing\n",
		"lines that end in CRLF": "# nothing\r\nblocking:\r\n  ttl: 10s\r\n",
	} {
		c, err := load(t, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := withDefaults()
		want.File, want.given, want.raw, want.origin = c.File, c.given, c.raw, c.origin
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%s: got %+v, want the defaults", name, c)
		}
	}
}

func TestTheFourKeysThatMatter(t *testing.T) {
	c, err := load(t, `
data: {dir: /srv/telltale}
lists: {dir: /srv/lists}
listen: {dns: ["127.0.0.1:5300", "[::1]:5300"]}
upstreams: [192.0.2.1, "192.0.2.2:5353", {address: "2001:db8::1", trust_ad: true}]
`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Cache.Dir, "/srv/telltale/cache"; got != want {
		t.Errorf("cache.dir: got %s, want %s", got, want)
	}
	if got, want := c.Control.Socket, "/srv/telltale/telltale.sock"; got != want {
		t.Errorf("control.socket: got %s, want %s", got, want)
	}
	upstreams := []Upstream{
		{Address: ServerAddress{AddrPort: netip.MustParseAddrPort("192.0.2.1:53")}},
		{Address: ServerAddress{AddrPort: netip.MustParseAddrPort("192.0.2.2:5353")}},
		{Address: ServerAddress{AddrPort: netip.MustParseAddrPort("[2001:db8::1]:53")}, TrustAD: true},
	}
	if got := c.Upstreams; !reflect.DeepEqual(got, upstreams) {
		t.Errorf("upstreams: got %v, want %v", got, upstreams)
	}
	if !c.Given("upstreams") || c.Given("blocking.ttl") {
		t.Error("Given: want true for upstreams, false for blocking.ttl")
	}
}

// Each line is a text and what it makes of one setting.
func TestValues(t *testing.T) {
	device := func(c *Config) Device { return c.Devices[0] }
	for _, f := range []struct {
		name string
		text string
		got  func(*Config) any
		want any
	}{
		{"a YAML null is the mode null", "blocking: {mode: null}", func(c *Config) any { return c.Blocking.Mode }, "null"},
		{"so it is in a list's settings", "lists: {settings: [{name: a, mode: Null}]}", func(c *Config) any { return c.Lists.Settings[0].Mode }, "null"},
		{"a mode left out is nobody's", "lists: {settings: [{name: a, mode: }]}", func(c *Config) any { return c.Lists.Settings[0].Mode }, ""},
		{"a tilde is no mode either", "lists: {settings: [{name: a, mode: ~}]}", func(c *Config) any { return c.Lists.Settings[0].Mode }, ""},
		{"keys in any case", "Blocking: {TTL: 5s}", func(c *Config) any { return c.Blocking.TTL }, 5 * time.Second},
		{"days", "log: {listed: 2d12h}", func(c *Config) any { return c.Log.Listed }, 60 * time.Hour},
		{"no time at all", "log: {unlisted: 0}", func(c *Config) any { return c.Log.Unlisted }, time.Duration(0)},
		{"a size in millions", "cache: {size: 64MB}", func(c *Config) any { return c.Cache.Size }, Bytes(64e6)},
		{"a size in powers of two", "cache: {size: 1.5 GiB}", func(c *Config) any { return c.Cache.Size }, Bytes(3 << 29)},
		{"a size in bytes", "cache: {size: 1048576}", func(c *Config) any { return c.Cache.Size }, Bytes(1 << 20)},
		{"YAML 1.1 truths", "special: {test: no, local: off}", func(c *Config) any { return c.Special }, Special{Canaries: true}},
		{"one value for a list", "access: {allow: 198.51.100.7}", func(c *Config) any { return c.Access.Allow }, []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}},
		{"values with commas for a list", "upstreams: 192.0.2.1, 192.0.2.2", func(c *Config) any { return len(c.Upstreams) }, 2},
		{"no domain", "rebind: {allow: []}", func(c *Config) any { return c.Rebind.Allow }, []string(nil)},
		{"all domains", "rebind: {allow: .}", func(c *Config) any { return c.Rebind.Allow }, []string{"."}},
		{"a prefix is masked", "access: {allow: [198.51.100.7/24]}", func(c *Config) any { return c.Access.Allow[0].String() }, "198.51.100.0/24"},
		{"a domain in Unicode, upper case, with a dot", "rebind: {allow: [BÜCHER.example.]}", func(c *Config) any { return c.Rebind.Allow[0] }, "xn--bcher-kva.example"},
		{"a MAC of digits is no number", "devices: [{name: a, mac: 00:11:22:33:44:55}]", func(c *Config) any { return device(c).MACs[0] }, "00:11:22:33:44:55"},
		{"a MAC with dashes in upper case", "devices: [{name: a, mac: 02-AB-00-00-00-01}]", func(c *Config) any { return device(c).MACs[0] }, "02:ab:00:00:00:01"},
		{"a device is logged unless it says no", "devices: [{name: a, address: 192.0.2.1}]", func(c *Config) any { return device(c).Log }, true},
		{"a device that is not logged", "devices: [{name: a, address: 192.0.2.1, log: false}]", func(c *Config) any { return device(c).Log }, false},
		{"a name that looks like a number", "devices: [{name: 0x10, address: 192.0.2.1}]", func(c *Config) any { return device(c).Name }, "0x10"},
		{"a name with dots and capitals", "lists: {settings: [{name: Example.COM}]}", func(c *Config) any { return c.Lists.Settings[0].Name }, "Example.COM"},
		{"a list is enabled unless it says no", "lists: {settings: [{name: a}]}", func(c *Config) any { return c.Lists.Settings[0].Enabled }, true},
		{"a subscription is asked for daily", "lists: {subscriptions: [{name: a, url: https://a.example/l}]}", func(c *Config) any { return c.Lists.Subscriptions[0].Refresh }, 24 * time.Hour},
		{"an annotation's date stays text", "lists: {subscriptions: [{name: a, url: https://a.example/l, annotation: {region: 2020-05-01}}]}", func(c *Config) any { return c.Lists.Subscriptions[0].Annotation.Region }, "2020-05-01"},
		{"names of this server", "tls: {names: ['*.DNS.example', dns.example., '::ffff:192.0.2.1']}", func(c *Config) any { return strings.Join(c.TLS.Names, " ") }, "*.dns.example dns.example 192.0.2.1"},
		{"observe until a time", "blocking: {observe: 2026-12-31T20:00:00Z}", func(c *Config) any { return c.Blocking.Observe }, Observe{On: true, Until: time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC)}},
		{"an alias stands for what it names", "groups: [&g {name: a, mode: nodata}, {<<: *g, name: b}]", func(c *Config) any { return c.Groups[1] }, Group{Name: "b", Mode: "nodata", Log: true}},
		{"IPv4 in IPv6 is IPv4", "upstreams: ['[::ffff:192.0.2.1]:53']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "192.0.2.1:53"},
		{"an upstream by TLS", "upstreams: [tls://192.0.2.1#dns.example]", func(c *Config) any { return c.Upstreams[0].Address }, ServerAddress{AddrPort: netip.MustParseAddrPort("192.0.2.1:853"), Transport: "tls", Name: "dns.example"}},
		{"an upstream by TLS without a name", "upstreams: ['TLS://[2001:db8::1]:8853']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "tls://[2001:db8::1]:8853"},
		{"an upstream by TLS in a list", "upstreams:\n  - tls://192.0.2.1#DNS.example. # the first\n", func(c *Config) any { return c.Upstreams[0].Address.String() }, "tls://192.0.2.1:853#dns.example"},
		{"an upstream by TCP", "upstreams: [tcp://192.0.2.1]", func(c *Config) any { return c.Upstreams[0].Address.String() }, "tcp://192.0.2.1:53"},
		{"an upstream by UDP is as without", "upstreams: [udp://192.0.2.1]", func(c *Config) any { return c.Upstreams[0].Address.String() }, "192.0.2.1:53"},
		{"an upstream by HTTPS", "upstreams: ['https://192.0.2.1#dns.example']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "https://192.0.2.1:443/dns-query#dns.example"},
		{"an upstream by QUIC", "upstreams: ['quic://192.0.2.1#dns.example']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "quic://192.0.2.1:853#dns.example"},
		{"an upstream by HTTP/3", "upstreams: ['h3://[2001:db8::1]/q#dns.example']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "h3://[2001:db8::1]:443/q#dns.example"},
		{"an upstream by HTTPS and name", "upstream_bootstrap: [192.0.2.9]\nupstreams: ['https://DNS.example:8443/a/b{?dns}']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "https://dns.example:8443/a/b{?dns}"},
		{"an upstream by a name and its addresses", "upstreams: [{address: 'tls://dns.example', addresses: [192.0.2.1, '2001:db8::1'], pins: ['" + pinOfNothing + "']}]", func(c *Config) any { return fmt.Sprint(c.Upstreams[0]) }, "{tls://dns.example:853 [192.0.2.1 2001:db8::1] [" + pinOfNothing + "] invalid Prefix false}"},
		{"the router as an upstream", "upstreams: [router, tcp://ROUTER, 'udp://router:5353']", func(c *Config) any {
			return fmt.Sprint(c.Upstreams[0].Address, c.Upstreams[1].Address, c.Upstreams[2].Address)
		}, "router tcp://router router:5353"},
		{"a forward to the router", "forward: [{zones: [lan], upstreams: [router]}]", func(c *Config) any { return c.Forward[0].Upstreams[0].Router }, true},
		{"an upstream by a stamp", "upstreams: ['sdns://AAEAAAAAAAAACjE5Mi4wLjIuNTM']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "192.0.2.53:53"},
		{"a forward by TLS", "forward: [{zones: [corp.example], upstreams: ['tls://192.0.2.1#dns.example']}]", func(c *Config) any { return c.Forward[0].Upstreams[0].String() }, "tls://192.0.2.1:853#dns.example"},
		{"a link-local upstream keeps its zone", "upstreams: ['fe80::1%eth0']", func(c *Config) any { return c.Upstreams[0].Address.String() }, "[fe80::1%eth0]:53"},
		{"a path of the file begins at its directory", "data: {dir: d}", func(c *Config) any { return c.Data.Dir }, "d"},
	} {
		c, err := load(t, f.text)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if got := f.got(c); !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: got %#v, want %#v", f.name, got, f.want)
		}
	}
}

// Each line is a text and the whole error it makes.
func TestMistakes(t *testing.T) {
	for _, f := range []struct{ name, text, want string }{
		{"an unknown section", "blockin: {mode: null}", "1: blockin: there is no such setting; did you mean blocking?"},
		{"an unknown key", "blocking:\n  moed: nxdomain", "2: blocking.moed: there is no such setting; did you mean blocking.mode?"},
		{"a key under another section", "log: {level: debug}", "1: log.level: there is no such setting; did you mean messages.level?"},
		{"a key like no other", "zzzzzzzz: 1", "1: zzzzzzzz: there is no such setting"},
		{"the plural of a key", "devices:\n- name: a\n  addresses: [192.0.2.1]\n  mac: 02:00:00:00:00:01", "3: devices[0].addresses: there is no such setting; did you mean devices.address?"},
		{"an unknown key of an entry", "devices:\n- name: a\n  address: 192.0.2.1\n  grup: b", "4: devices[0].grup: there is no such setting; did you mean devices.group?"},
		{"a dotted key", "blocking.ttl: 5s", "1: blocking.ttl: a dot in a key; expected one section below the other: blocking: {ttl: ...}"},
		{"a key that is a list", "? [a]\n: b", "1: a key that is not a word"},
		{"a key twice", "blocking: {ttl: 5s}\nlog: {}\nblocking: {}", "3: blocking: given a second time, first in line 1; expected each key once"},
		{"a value for a section", "lists: here", `1: lists: found "here"; expected keys below it: dir, settings or subscriptions`},
		{"a list for a value", "blocking: {ttl: [1s]}", "1: blocking.ttl: found a list; expected one value"},
		{"keys for a list", "access: {allow: {a: b}}", "1: access.allow: found keys below it; expected a list"},
		{"keys in a list of values", "access: {allow: [{a: b}]}", "1: access.allow[0]: found keys below it; expected one value"},
		{"keys for entries", "devices: {tv: {mac: 02:00:00:00:00:01}}", `1: devices: found keys below it; expected a list of entries, each beginning with "- "`},
		{"a value for an entry", "groups: [a]", `1: groups[0]: found "a"; expected keys below it: name, device, prefix, tag, kind, maker, lists_on, lists_off, lists_observe, tier, log, observe, mode, schedule, time_zone or strip_ech`},
		{"a maker without a word", "groups: [{name: a, maker: [Acme, '']}]", `1: groups[0].maker[1]: found ""; expected one or more words of a company's name, e.g. Samsung`},
		{"a schedule with a day that is none", "lists: {settings: [{name: a, schedule: mon-fry 16:00-20:00}]}", `1: lists.settings[0].schedule: found "mon-fry 16:00-20:00"; expected days and times such as mon-fri 16:00-20:00, sat 10:00-12:00`},
		{"an unknown word", "blocking: {mode: nxdomian}", `1: blocking.mode: found "nxdomian"; expected null, nxdomain, nodata, refused or custom; did you mean nxdomain?`},
		{"a number without unit", "blocking: {ttl: 10}", `1: blocking.ttl: found "10"; expected a duration such as 10s, 24h or 365d`},
		{"a duration below nothing", "log: {listed: -1h}", `1: log.listed: found "-1h"; expected a duration such as 10s, 24h or 365d`},
		{"a duration beyond all", "log: {listed: 200000d}", `1: log.listed: found "200000d"; expected a duration such as 10s, 24h or 365d`},
		{"a report at no time", "reports: [{name: week}]", "1: reports[0]: no when; expected one in every entry"},
		{"a report at a time that is none", "reports: [{name: week, when: weekly}]", "1: reports[0].when: found \"weekly\"; expected daily 06:00, a day of the week such as mon 06:00, or monthly 06:00"},
		{"no report kept", "reports: [{name: week, when: mon 06:00, keep: 0}]", "1: reports[0].keep: found 0; expected at least 1"},
		{"an attempt without end", "log: {attempt_gap: 2h}", "1: log.attempt_gap: found 2h; expected 1s to 1h"},
		{"a part of a second", "blocking: {ttl: 1500ms}", "1: blocking.ttl: found 1.5s; expected whole seconds, at most 24h"},
		{"a size in another unit", "cache: {size: 5 apples}", `1: cache.size: found "5 apples"; expected a size such as 64MB or 1GiB`},
		{"a size beyond all", "cache: {size: 9999999TB}", `1: cache.size: found "9999999TB"; expected a size such as 64MB or 1GiB`},
		{"neither true nor false", "special: {test: maybe}", `1: special.test: found "maybe"; expected true or false`},
		{"a number that is none", "limits: {waiting: many}", `1: limits.waiting: found "many"; expected a whole number`},
		{"too few", "limits: {waiting: 0, tcp_connections: 0}", "1: limits.waiting: found 0; expected at least 1\n1: limits.tcp_connections: found 0; expected at least 1"},
		{"more bits than there are", "limits: {client_prefix: 129}", "1: limits.client_prefix: found 129; expected 1 to 128"},
		{"a host name to listen on", "listen: {dns: [localhost]}", `1: listen.dns[0]: found "localhost"; expected ADDRESS:PORT such as 192.0.2.1:53 or [2001:db8::1]:53`},
		{"a port that is none", "listen: {dns: ['192.0.2.1:99999']}", `1: listen.dns[0]: found "192.0.2.1:99999"; expected ADDRESS:PORT such as 192.0.2.1:53 or [2001:db8::1]:53`},
		{"nothing to listen on", "listen: {dns: []}", "1: listen.dns: no address; expected at least one ADDRESS:PORT"},
		{"a star in the middle of a name", "tls: {names: [a.*.example]}", `1: tls.names[0]: found "a.*.example"; expected a name such as dns.example, *.dns.example for the names one below, or an address such as 192.0.2.1`},
		{"the same address twice", "listen: {dns: ['192.0.2.1:53', 192.0.2.1]}", `1: listen.dns[1]: found "192.0.2.1:53" a second time, first as listen.dns[0]; expected each address once`},
		{"an upstream that is no host", "upstreams: [0.0.0.0]", `1: upstreams[0]: found "0.0.0.0:53"; expected the address and port of a resolver`},
		{"an upstream without address", "upstreams: [{trust_ad: true}]", "1: upstreams[0]: no address; expected one in every entry"},
		{"an upstream by a name that nobody looks up", "upstreams: ['tls://dns.example']", `1: upstreams[0]: found "tls://dns.example:853", a name that nobody is there to look up; expected addresses: [ADDRESS] in this entry, or upstream_bootstrap: [ADDRESS] with a resolver that is asked for such names`},
		{"a transport that there is not", "upstreams: ['dtls://192.0.2.1']", `1: upstreams[0].address: found "dtls://192.0.2.1"; expected ` + serverForms},
		{"a server name without TLS", "upstreams: ['tcp://192.0.2.1#dns.example']", `1: upstreams[0].address: found "tcp://192.0.2.1#dns.example"; expected ` + serverForms},
		{"a server name of bare addresses", "upstreams: ['192.0.2.1#dns.example']", `1: upstreams[0].address: found "192.0.2.1#dns.example"; expected ` + serverForms},
		{"an empty server name", "upstreams: ['tls://192.0.2.1#']", `1: upstreams[0].address: found "tls://192.0.2.1#"; expected behind # the name that the server's certificate is for`},
		{"an upstream with a path", "upstreams: ['tls://192.0.2.1/dns#a.example']", `1: upstreams[0].address: found "tls://192.0.2.1/dns#a.example"; expected an address before #, as in tls://192.0.2.1#NAME; a NAME alone needs no #`},
		{"a name in clear", "upstreams: ['tcp://dns.example']", `1: upstreams[0].address: found "tcp://dns.example"; expected ` + serverForms},
		{"a name with another behind #", "upstreams: ['tls://dns.example#other.example']", `1: upstreams[0].address: found "tls://dns.example#other.example"; expected an address before #, as in tls://192.0.2.1#NAME; a NAME alone needs no #`},
		{"a path with a space", "upstreams: ['https://192.0.2.1/dns query']", `1: upstreams[0].address: found "https://192.0.2.1/dns query"; expected a path of printable ASCII such as /dns-query, or /dns-query{?dns} to ask by GET`},
		{"another template", "upstreams: ['https://192.0.2.1/{dns}']", `1: upstreams[0].address: found "https://192.0.2.1/{dns}"; expected a path of printable ASCII such as /dns-query, or /dns-query{?dns} to ask by GET`},
		{"a stamp that is none", "upstreams: ['sdns://xyz']", `1: upstreams[0].address: found "sdns://xyz"; expected ` + badStamp},
		{"a stamp of DNSCrypt", "upstreams: ['sdns://AQcAAAAAAAAA']", `1: upstreams[0].address: found "sdns://AQcAAAAAAAAA"; expected a stamp of another kind: this one is for DNSCrypt, which Telltale does not speak. Many servers also have one for DNS over HTTPS or TLS`},
		{"a pin that is none", "upstreams: [{address: 'tls://192.0.2.1', pins: [sha256/AAAA]}]", `1: upstreams[0].pins[0]: found "sha256/AAAA"; expected sha256/ and the SHA-256 of a public key in base64, as in sha256/ and 44 characters`},
		{"pins in clear", "upstreams: [{address: 192.0.2.1, pins: ['" + pinOfNothing + "']}]", `1: upstreams[0].pins: pins of a server that is asked without TLS; expected pins only with tls://, https://, h3:// or quic://`},
		{"addresses beside an address", "upstreams: [{address: 'tls://192.0.2.1', addresses: [192.0.2.2]}]", `1: upstreams[0].addresses: addresses beside the one in "tls://192.0.2.1:853"; expected addresses only where address has a name, as in tls://dns.example`},
		{"addresses that are none", "upstreams: [{address: 'tls://dns.example', addresses: [0.0.0.0]}]", `1: upstreams[0].addresses: an address that no server has; expected the addresses of dns.example`},
		{"bootstrap by this server", "listen: {dns: ['127.0.0.1:53']}\nupstream_bootstrap: [127.0.0.1]", `2: upstream_bootstrap[0]: found "127.0.0.1:53", where this server itself listens (listen.dns); expected another server: this one would wait for itself`},
		{"a client subnet that is one client", "upstreams: [{address: 192.0.2.1, client_subnet: 198.51.100.7}]", `1: upstreams[0].client_subnet: found "198.51.100.7/32"; expected a public prefix of at most 24 bits, or 56 of IPv6: a longer one points at a household`},
		{"a client subnet that is private", "upstreams: [{address: 192.0.2.1, client_subnet: 192.168.1.0/24}]", `1: upstreams[0].client_subnet: found "192.168.1.0/24"; expected a public prefix of at most 24 bits, or 56 of IPv6: a longer one points at a household`},
		{"bootstrap by name", "upstream_bootstrap: [dns.example]", `1: upstream_bootstrap[0]: found "dns.example"; expected ADDRESS:PORT such as 192.0.2.1:53 or [2001:db8::1]:53`},
		{"bootstrap by nobody", "upstream_bootstrap: [0.0.0.0]", `1: upstream_bootstrap[0]: found "0.0.0.0:53"; expected the address and port of a resolver`},
		{"an upstream twice by TLS", "upstreams: ['tls://192.0.2.1', 'tls://192.0.2.1:853']", `1: upstreams[1]: found "tls://192.0.2.1:853" a second time, first as upstreams[0]; expected each address once`},
		{"an upstream by name", "upstreams: [dns.example]", `1: upstreams[0].address: found "dns.example"; expected ` + serverForms},
		{"everybody allowed", "access: {allow: ['::/0']}", `1: access.allow[0]: found "::/0", the whole Internet; expected the networks to be served: an open resolver is used for attacks on others`},
		{"a domain that is none", "rebind: {allow: [a..b, 192.0.2.1]}", "1: rebind.allow[0]: found \"a..b\"; expected a domain such as plex.direct\n1: rebind.allow[1]: found \"192.0.2.1\"; expected a domain such as plex.direct"},
		{"custom without addresses", "blocking: {mode: custom}", "1: blocking.mode: custom without addresses; expected the addresses to answer with in blocking.custom"},
		{"a list without name", "lists: {settings: [{enabled: false}]}", "1: lists.settings[0]: no name; expected one in every entry"},
		{"a list's name that leads elsewhere", "lists: {settings: [{name: ../a}]}", `1: lists.settings[0].name: found "../a"; expected a name of at most 100 bytes without slashes`},
		{"a list in two places", "lists:\n  settings: [{name: a}]\n  subscriptions: [{name: A, url: http://a.example/}]", `2: lists.settings[0].name: found "a" a second time, first as lists.subscriptions[0].name; expected each name once`},
		{"a subscription to a file", "lists: {subscriptions: [{name: a, url: file:///etc/passwd}]}", `1: lists.subscriptions[0].url: found "file:///etc/passwd"; expected an http or https URL without a user and password`},
		{"a subscription without URL", "lists: {subscriptions: [{name: a}]}", "1: lists.subscriptions[0]: no url; expected one in every entry"},
		{"a refresh every second", "lists: {subscriptions: [{name: a, url: http://a.example/, refresh: 1s}]}", "1: lists.subscriptions[0].refresh: found 1s; expected at least 1m"},
		{"a witness in clear", "evidence: {witness: {url: \"http://192.168.1.9/x\"}}", "1: evidence.witness.url: it is not encrypted; expected an https URL; http is for an address of this machine, such as http://127.0.0.1:8080/"},
		{"a witness all the time", "evidence: {witness: {every: 1s}}", "1: evidence.witness.every: found 1s; expected 1m to 30d"},
		{"a witness of nothing", "evidence: {witness: {dir: /x}}\nlog: {seal: false}", "1: evidence.witness.dir: nothing to send: log.seal is false; expected log.seal: true, or no witness"},
		{"a catalogue that nobody signs", "catalog: {url: https://a.example/c.zip}", "1: catalog.url: no catalog.key beside it; expected the public key of whoever publishes the catalogue: what is fetched says what is blocked"},
		{"a key of another kind", "catalog: {url: https://a.example/c.zip, key: abc}", `1: catalog.key: found "abc"; expected a public key of minisign: the line of 56 letters from the file that ends in .pub`},
		{"a key alone", "catalog: {key: RWQRIjNEVWZ3iNOGj9lodzDq4m5DoEOJmW7MmdnhrUzwhbLKIh4LUVGW}", "1: catalog.key: no catalog.url beside it; expected where the catalogue that is signed by it is fetched from"},
		{"a device of no kind", "devices: [{name: a}]", "1: devices[0]: nothing to know the device by; expected mac, address, prefix or client_id"},
		{"a device named as one without a name is", "devices: [{name: \"mac:02:00:00:00:00:01\", address: 192.0.2.1}]", `1: devices[0].name: found "mac:02:00:00:00:00:01", as devices without a name are called; expected another name`},
		{"a device named as this machine is", "devices: [{name: this-host, address: 192.0.2.1}]", `1: devices[0].name: found "this-host", as devices without a name are called; expected another name`},
		{"a device of many", "devices: [{name: a, mac: ff:ff:ff:ff:ff:ff}]", `1: devices[0].mac[0]: found "ff:ff:ff:ff:ff:ff"; expected a MAC such as 02:00:5e:10:00:01`},
		{"a MAC of two devices", "devices:\n- {name: a, mac: 02:00:00:00:00:01}\n- {name: b, mac: 02-00-00-00-00-01}", `3: devices[1].mac: found "02:00:00:00:00:01" a second time, first as devices[0].mac; expected each MAC once`},
		{"a group nobody knows", "groups: [{name: children}]\ndevices: [{name: a, address: 192.0.2.1, group: childern}]", `2: devices[0].group: found "childern"; expected the name of an entry of groups; did you mean children?`},
		{"a second document", "blocking: {}\n---\nblocking: {}", "2: a second document after ---; expected one document"},
		{"what is not YAML", "blocking: {\n", "1: not YAML: did not find expected node content"},
		{"a tab", "blocking:\n\tttl: 5s", "2: not YAML: found character that cannot start any token: indent with spaces, not tabs, and put quotes around what begins with @, ` or %"},
		{"a list as the whole", "- a", "1: found a list; expected keys below it: listen, tls, upstreams, upstream_strategy, upstream_hedging, upstream_bootstrap, forward, lists, catalog, data, cache, blocking, access, rebind, special, local, dns64, limits, log, evidence, reports, destinations, alerts, metrics, dnstap, messages, identity, devices, groups, control, web, fleet, center or node"},
		{"addresses of no center", "fleet: {center: [192.168.1.2, \"https://192.168.1.2/x\"]}", "1: fleet.center[0]: found \"192.168.1.2\"; expected https://HOST:PORT, such as https://192.168.1.2:5390\n1: fleet.center[1]: found \"https://192.168.1.2/x\"; expected https://HOST:PORT, such as https://192.168.1.2:5390"},
		{"all of them at once", "a: 1\nblocking: {ttl: x}\nlog: {size: 1}", "1: a: there is no such setting\n2: blocking.ttl: found \"x\"; expected a duration such as 10s, 24h or 365d\n3: log.size: found 1; expected at least 1MB"},
	} {
		_, err := load(t, f.text)
		if err == nil {
			t.Errorf("%s: no error, want %s", f.name, f.want)
			continue
		}
		want := "telltale.yaml:" + strings.ReplaceAll(f.want, "\n", "\ntelltale.yaml:")
		if got := err.Error(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", f.name, got, want)
		}
	}
}

func TestAliasesCannotGrowWithoutEnd(t *testing.T) {
	text := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'n'; c++ {
		before := string(c - 1)
		text += string(c) + ": &" + string(c) + " [*" + before + strings.Repeat(",*"+before, 8) + "]\n"
	}
	text += "access: {allow: *m}\ngroups: &self [{<<: *self}]\nblocking: &b {<<: [*b, *b]}\n"
	_, err := load(t, text)
	var mistakes Mistakes
	if !errors.As(err, &mistakes) || len(mistakes) > maxMistakes+1 {
		t.Errorf("got %d mistakes, want some and at most %d", len(mistakes), maxMistakes+1)
	}
}

func TestTheEnvironment(t *testing.T) {
	const file = "blocking: {ttl: 5s, mode: nodata}\nupstreams: [192.0.2.1]"
	for _, f := range []struct {
		name string
		env  []string
		got  func(*Config) any
		want any
	}{
		{"a variable beats the file", []string{"TELLTALE_BLOCKING_TTL=7s"}, func(c *Config) any { return c.Blocking.TTL }, 7 * time.Second},
		{"and leaves the rest of its section", []string{"TELLTALE_BLOCKING_TTL=7s"}, func(c *Config) any { return c.Blocking.Mode }, "nodata"},
		{"an empty one is none", []string{"TELLTALE_BLOCKING_TTL="}, func(c *Config) any { return c.Blocking.TTL }, 5 * time.Second},
		{"a list has commas", []string{"TELLTALE_LISTEN_DNS=127.0.0.1:5300, [::1]:5300"}, func(c *Config) any { return len(c.Listen.DNS) }, 2},
		{"upstreams are addresses", []string{"TELLTALE_UPSTREAMS=192.0.2.8,192.0.2.9:5353"}, func(c *Config) any { return c.Upstreams[1].Address.String() }, "192.0.2.9:5353"},
		{"a key with an underscore", []string{"TELLTALE_LIMITS_TCP_CONNECTIONS=7"}, func(c *Config) any { return c.Limits.TCPConnections }, 7},
		{"null is a mode", []string{"TELLTALE_BLOCKING_MODE=null"}, func(c *Config) any { return c.Blocking.Mode }, "null"},
		{"a variable for each service of Kubernetes", []string{
			"TELLTALE_SERVICE_HOST=10.0.0.1", "TELLTALE_SERVICE_PORT=53", "TELLTALE_SERVICE_PORT_DNS_UDP=53", "TELLTALE_PORT=udp://10.0.0.1:53",
			"TELLTALE_PORT_53_UDP=udp://10.0.0.1:53", "TELLTALE_PORT_53_UDP_ADDR=10.0.0.1", "TELLTALE_DNS_TCP_PORT_53_TCP_PROTO=tcp",
		}, func(c *Config) any { return c.Blocking.TTL }, 5 * time.Second},
		{"those that are no settings", []string{"TELLTALE_CONFIG=x", "TELLTALE_CORPUS=y", "OTHER=z", "nonsense"}, func(c *Config) any { return c.Blocking.TTL }, 5 * time.Second},
	} {
		c, err := build("telltale.yaml", []byte(file), nil, f.env)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if got := f.got(c); !reflect.DeepEqual(got, f.want) {
			t.Errorf("%s: got %#v, want %#v", f.name, got, f.want)
		}
	}
}

func TestMistakesInTheEnvironment(t *testing.T) {
	for _, f := range []struct{ name, env, want string }{
		{"an unknown variable", "TELLTALE_LISTEN_DSN=1", "TELLTALE_LISTEN_DSN: there is no such setting; did you mean TELLTALE_LISTEN_DNS?"},
		{"one under another section", "TELLTALE_LOG_LEVEL=debug", "TELLTALE_LOG_LEVEL: there is no such setting; did you mean TELLTALE_MESSAGES_LEVEL?"},
		{"a wrong value", "TELLTALE_BLOCKING_TTL=fast", `TELLTALE_BLOCKING_TTL: blocking.ttl: found "fast"; expected a duration such as 10s, 24h or 365d`},
		{"a wrong value in a list", "TELLTALE_UPSTREAMS=192.0.2.1,here", `TELLTALE_UPSTREAMS: upstreams[1].address: found "here"; expected ` + serverForms},
		{"entries", "TELLTALE_DEVICES=tv", "TELLTALE_DEVICES: devices: cannot be set by a variable; expected it in the settings file"},
	} {
		_, err := build("telltale.yaml", []byte("upstreams: [192.0.2.1, 192.0.2.2]"), nil, []string{f.env})
		if err == nil || err.Error() != f.want {
			t.Errorf("%s:\n got %v\nwant %s", f.name, err, f.want)
		}
	}
}

func TestFlagsBeatEverything(t *testing.T) {
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	AddFlags(flags)
	args := []string{"--listen-dns=127.0.0.1:5300,[::1]:5300", "--upstreams", "192.0.2.9", "--upstreams", "192.0.2.8", "--messages-level=debug", "--data-dir=here"}
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	env := []string{"TELLTALE_LISTEN_DNS=127.0.0.1:1", "TELLTALE_MESSAGES_LEVEL=warn", "TELLTALE_MESSAGES_FORMAT=json"}
	c, err := build("/etc/x.yaml", []byte("upstreams: [192.0.2.1]\nmessages: {level: error}"), flags, env)
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("here")
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Listen.DNS[0].Port(), len(c.Listen.DNS), c.Upstreams[0].Address.String(), len(c.Upstreams), c.Messages, c.Data.Dir, c.Cache.Dir}
	want := []any{uint16(5300), 2, "192.0.2.9:53", 2, Messages{Level: "debug", Format: "json"}, here, here + "/cache"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}

	if err := flags.Set("messages-level", "loud"); err != nil {
		t.Fatal(err)
	}
	_, err = build("", nil, flags, nil)
	if want := `--messages-level: messages.level: found "loud"; expected debug, info, warn or error`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWhichFileIsRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
		return path
	}
	one := write("one.yaml", "node: one", 0o644)
	two := write("two.yaml", "node: two\ndata: {dir: d}", 0o600)
	open := write("open.yaml", "node: open", 0o646)
	large := write("large.yaml", strings.Repeat("# large\n", maxFile/8+1), 0o644)

	c, err := Load(one, nil, []string{"TELLTALE_CONFIG=" + two})
	if err != nil || c.Node != "one" || c.File != one {
		t.Errorf("the path beats the variable: got %+v, %v", c, err)
	}
	c, err = Load("", nil, []string{"TELLTALE_CONFIG=" + two})
	if err != nil || c.Node != "two" {
		t.Fatalf("the variable names the file: got %+v, %v", c, err)
	}
	if want := filepath.Join(dir, "d"); c.Data.Dir != want {
		t.Errorf("a relative path begins at the file: got %s, want %s", c.Data.Dir, want)
	}

	// A file in the working directory is never found.
	write("telltale.yaml", "node: stray", 0o644)
	t.Chdir(dir)
	if c, err := Load("", nil, nil); err == nil && c.Node == "stray" {
		t.Error("the working directory was searched")
	}
	if c, err := Load("one.yaml", nil, nil); err != nil || c.File != one {
		t.Errorf("a path from the working directory may be named: got %+v, %v", c, err)
	}

	for _, f := range []struct{ name, path, want string }{
		{"a named file must be there", "none.yaml", "none.yaml: no such file"},
		{"writable by everybody", open, "open.yaml: everybody may write to it (mode 0646); expected only its owner may: chmod o-w " + open},
		{"a directory", dir, ": not a regular file; expected a YAML file"},
		{"larger than settings are", large, "large.yaml: more than 1 MiB; expected a settings file"},
	} {
		if _, err := Load(f.path, nil, nil); err == nil || !strings.HasSuffix(err.Error(), f.want) {
			t.Errorf("%s: got %v, want %s", f.name, err, f.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(string(Example()), "TELLTALE_LISTEN_DNS=127.0.0.1:53")
	f.Add(string(uncommented()), "TELLTALE_UPSTREAMS=192.0.2.1")
	f.Add("groups: [&g {name: a}, {<<: *g, name: b}]", "TELLTALE_BLOCKING_MODE=null")
	f.Add("a: &a [*a]\n<<: *a\n? {}\n: b", "TELLTALE_X=1")
	f.Fuzz(func(t *testing.T, text, variable string) {
		env := []string{variable}
		c, err := build("/f/telltale.yaml", []byte(text), nil, env)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %v and %v, want one of them", c, err)
		}
		if err != nil {
			if m, ok := errors.AsType[Mistakes](err); !ok || len(m) == 0 || len(m) > maxMistakes+1 || err.Error() == "" {
				t.Fatalf("got %#v, want mistakes", err)
			}
			return
		}
		again, err := build("/f/telltale.yaml", []byte(text), nil, env)
		if err != nil {
			t.Fatal(err)
		}
		if live, restart := Diff(c, again); len(live)+len(restart) > 0 {
			t.Fatalf("read twice, the same text differs in %v %v", live, restart)
		}
		if len(c.Listen.DNS) == 0 || !filepath.IsAbs(c.Data.Dir) || !filepath.IsAbs(c.Cache.Dir) {
			t.Fatalf("got %+v, want somewhere to listen and absolute paths", c)
		}
	})
}

// withDefaults returns the settings that hold where nothing else is said.
func withDefaults() *Config {
	c := defaults()
	c.derive()
	return c
}

// pinOfNothing is a pin that no key has.
const pinOfNothing = "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
