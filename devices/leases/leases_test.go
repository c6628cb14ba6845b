package leases

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// text writes a lease as the cases below have it.
func text(l Lease) string {
	mac := l.MAC
	if mac == "" {
		mac = "-"
	}
	out := fmt.Sprintf("%s %s", l.Addr, mac)
	if l.Guessed {
		out += "?"
	}
	if l.Host != "" {
		out += " host=" + l.Host
	}
	if l.Class != "" {
		out += " class=" + l.Class
	}
	if !l.From.IsZero() {
		out += fmt.Sprint(" from=", l.From.Unix())
	}
	if !l.Until.IsZero() {
		out += fmt.Sprint(" until=", l.Until.Unix())
	}
	return out
}

func TestFilesOfEachServer(t *testing.T) {
	for _, test := range []struct {
		name, kind, text string
		want             []string
		rest             Content // what is said beside the leases
	}{
		{"dnsmasq", "dnsmasq", `1795830000 02:00:5e:10:00:01 192.168.1.20 tv 01:02:00:5e:10:00:01
1795830000 02:00:5e:10:00:02 192.168.1.21 * *
0 02:00:5e:10:00:03 192.168.1.22 printer.lan ff:12:34:56:78:00:02:00:00:ab:11:01:02
1795830000 06-02:00:5e 192.168.1.23 * *
duid 00:01:00:01:2f:0a:0b:0c:02:00:5e:10:00:ff
1795830000 305419896 2001:db8::22 printer 00:02:00:00:ab:11:01:02
1795830000 T7 2001:db8::30 * 00:01:00:01:2f:0a:0b:0c:02:00:5e:10:00:04
1795830000 7 2001:db8::31 * 00:04:01:02:03:04:05:06:07:08
vendorclass 192.168.1.20 61:6e:64:72:6f:69:64
agent-info 192.168.1.20 01:02
`, []string{
			"192.168.1.20 02:00:5e:10:00:01 host=tv class=android until=1795830000",
			"192.168.1.21 02:00:5e:10:00:02 until=1795830000",
			"192.168.1.22 02:00:5e:10:00:03 host=printer",
			"192.168.1.23 - until=1795830000",
			"2001:db8::22 02:00:5e:10:00:03 host=printer until=1795830000",
			"2001:db8::30 02:00:5e:10:00:04? until=1795830000",
			"2001:db8::31 - until=1795830000",
		}, Content{}},
		{"dnsmasq without a clock writes lengths", "dnsmasq", "43200 02:00:5e:10:00:01 192.168.1.20 tv *\n",
			[]string{"192.168.1.20 02:00:5e:10:00:01 host=tv"}, Content{}},
		{"dnsmasq, half written", "dnsmasq", "1795830000 02:00:5e:10:00:01 192.168.1.20 tv *\n1795830000 02:00:5e:10:00:02 192.168.1.2",
			[]string{"192.168.1.20 02:00:5e:10:00:01 host=tv until=1795830000"}, Content{Incomplete: true}},
		{"dnsmasq with other lines", "dnsmasq", "1795830000 02:00:5e:10:00:01 192.168.1.20 tv *\nx\n1795830000 zz 192.168.1.21 tv *\n1795830000 z 2001:db8::1 tv *\n1 2 3 4 5\n",
			[]string{"192.168.1.20 02:00:5e:10:00:01 host=tv until=1795830000"}, Content{Bad: 4, FirstBad: 2}},
		{"two clients with one DUID", "dnsmasq", `1795830000 02:00:5e:10:00:01 192.168.1.20 a ff:12:34:56:78:00:02:00:00:ab:11:01:02
1795830000 02:00:5e:10:00:02 192.168.1.21 b ff:12:34:56:78:00:02:00:00:ab:11:01:02
1795830000 1 2001:db8::1 * 00:02:00:00:ab:11:01:02
`, []string{"192.168.1.20 02:00:5e:10:00:01 host=a until=1795830000", "192.168.1.21 02:00:5e:10:00:02 host=b until=1795830000", "2001:db8::1 - until=1795830000"}, Content{}},
		{"control characters in a host name", "dnsmasq", "1795830000 02:00:5e:10:00:01 192.168.1.20 t\x1b[31mv\u202e\xff *\n",
			[]string{"192.168.1.20 02:00:5e:10:00:01 host=t[31mv until=1795830000"}, Content{Cleaned: 1}},
		{"odhcpd", "odhcpd", `# br-lan 00030001025e10000001 12ab tv 1795830000 9 128 fd00::9/128 2001:db8::9/128
fd00::9	tv.lan	tv
# br-lan 00030001025e10000002 0 - 1795830000 4 60 2001:db8:0:10::/60
# br-lan 02005e100003 ipv4 broken\x20name -1 c0a80116 32 192.168.1.22/32
# br-lan 02005e100004 ipv4 gone 0 c0a80117 32 192.168.1.23/32
`, []string{
			"fd00::9 02:5e:10:00:00:01? host=tv until=1795830000",
			"2001:db8::9 02:5e:10:00:00:01? host=tv until=1795830000",
			"192.168.1.22 02:00:5e:10:00:03 host=name",
		}, Content{}},
		{"dhcpd", "dhcpd", `# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

server-duid "\000\001\000\001/\012\013\014\002\000^\020\000\377";

lease 192.168.1.20 {
  starts 6 2026/11/28 03:00:00;
  ends 6 2026/11/28 04:00:00;
  cltt 6 2026/11/28 03:00:00;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 02:00:5e:10:00:01;
  uid "\377\0224Vx\000\002\000\000\253\021\001\002";
  set vendor-class-identifier = "android-dhcp-14";
  client-hostname "t\"v}{;";
  on expiry { if (1 = 1) { set x = "}"; } }
}
lease 192.168.1.21 {
  starts epoch 1795830000; # Sat Nov 28 03:00:00 2026
  ends never;
  binding state active;
  hardware ethernet 02:00:5e:10:00:02;
}
lease 192.168.1.22 { binding state active; hardware ethernet 02:00:5e:10:00:03; }
lease 192.168.1.22 { binding state free; hardware ethernet 02:00:5e:10:00:03; }
ia-na "xV4\022\000\002\000\000\253\021\001\002" {
  cltt 6 2026/11/28 03:00:00;
  iaaddr 2001:db8::20 {
    binding state active;
    preferred-life 375;
    max-life 600;
    ends 6 2026/11/28 03:10:00;
  }
  iaaddr 2001:db8::21 { binding state released; }
}
failover peer "x" state { my state normal at 0 2026/11/28 03:00:00; }
`, []string{
			`192.168.1.20 02:00:5e:10:00:01 host=t"v}{; class=android-dhcp-14 from=1795834800 until=1795838400`,
			"192.168.1.21 02:00:5e:10:00:02 from=1795830000",
			"2001:db8::20 02:00:5e:10:00:01 from=1795834800 until=1795835400",
		}, Content{}},
		{"dhcpd, cut off", "dhcpd", "lease 192.168.1.20 {\n hardware ethernet 02:00:5e:10:00:01;\n}\nlease 192.168.1.21 {\n  hardware ether",
			[]string{"192.168.1.20 02:00:5e:10:00:01"}, Content{Incomplete: true}},
		{"dhcpd, other addresses", "dhcpd", "lease 192.168.1.20 {\n hardware ethernet 02:00:5e:10:00:01;\n}\nlease\n nowhere {\n}\n",
			[]string{"192.168.1.20 02:00:5e:10:00:01"}, Content{Bad: 1, FirstBad: 5}},
		{"kea", "kea", `address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context,pool_id
192.168.1.20,02:00:5e:10:00:01,01:02:00:5e:10:00:01,3600,1795833600,1,0,0,tv.example.,0,,0
192.168.1.21,02:00:5e:10:00:02,,3600,1795833600,1,0,0,a&#x2cb,0,,0
192.168.1.22,02:00:5e:10:00:03,,3600,1795833600,1,0,0,,0,,0
192.168.1.22,02:00:5e:10:00:03,,0,1795833600,1,0,0,,0,,0
192.168.1.23,02:00:5e:10:00:03,,3600,1795833600,1,0,0,,1,,0
192.168.1.24,02:00:5e:10:00:04,ff:12:34:56:78:00:02:00:00:ab:11:01:02,4294967295,1795833600,1,0,0,,0,,0
nowhere,,,,,,,,,,,
address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state,user_context,hwtype,hwaddr_source,pool_id
2001:db8::20,00:02:00:00:ab:11:01:02,3600,1795833600,1,3000,0,7,128,0,0,,,0,,,,0
2001:db8::21,00:03:00:01:02:00:5e:10:00:05,3600,1795833600,1,3000,0,7,128,0,0,,02:00:5e:10:00:06,0,,1,2,0
2001:db8::22,00:03:00:01:02:00:5e:10:00:05,3600,1795833600,1,3000,0,7,128,0,0,,02:00:5e:10:00:05,0,,1,1,0
2001:db8:1::,00:03:00:01:02:00:5e:10:00:05,3600,1795833600,1,3000,2,7,56,0,0,,,0,,,,0
`, []string{
			"192.168.1.20 02:00:5e:10:00:01 host=tv from=1795830000 until=1795833600",
			"192.168.1.21 02:00:5e:10:00:02 host=a,b from=1795830000 until=1795833600",
			"192.168.1.24 02:00:5e:10:00:04",
			"2001:db8::20 02:00:5e:10:00:04 from=1795830000 until=1795833600",
			"2001:db8::21 02:00:5e:10:00:06? from=1795830000 until=1795833600",
			"2001:db8::22 02:00:5e:10:00:05 from=1795830000 until=1795833600",
		}, Content{Bad: 1, FirstBad: 8}},
		{"networkd", "networkd", `[{"ClientId":[1,2,0,94,16,0,1],"Address":[192,168,1,20],"Hostname":"tv","ExpirationUSec":72338380895},
{"ClientId":[255,18,52,86,120,0,2,0,0,171,17,1,2],"Address":[192,168,1,21],"ExpirationUSec":1},{"ClientId":[1],"Address":[192]}]
`, []string{"192.168.1.20 02:00:5e:10:00:01 host=tv", "192.168.1.21 -"}, Content{Bad: 1, FirstBad: 3}},
		{"networkd since version 257", "networkd", `{"BootID":"a4b95e58b4094fa6a04a666af127a5bc","Address":[192,168,1,1],"PrefixLength":24,"Leases":[{"ClientId":[255,18,52,86,120,0,2,0,0,171,17,1,2],
"AddressString":"192.168.1.20","Address":[192,168,1,20],"Hostname":"tv","HardwareAddressType":1,"HardwareAddressLength":6,"HardwareAddress":[2,0,94,16,0,1],"ExpirationRealtimeUSec":1795830000000000}]}
`, []string{"192.168.1.20 02:00:5e:10:00:01 host=tv until=1795830000"}, Content{}},
		{"a table", "csv", `# written by a script
address;mac;host;until;class
192.168.1.20;02-00-5E-10-00-01;"the tv";2026-11-28T03:00:00+01:00;x
192.168.1.21;;;1795830000;
192.168.1.22;02-00-5E-10-00-02;;11/28/2026 3:00:00 AM;
fe80::1;02:00:5e:10:00:03;a (b);`,
			[]string{
				"192.168.1.20 02:00:5e:10:00:01 host=the tv class=x until=1795831200",
				"192.168.1.21 - until=1795830000", "fe80::1 02:00:5e:10:00:03 host=a (b)",
			}, Content{Bad: 1, FirstBad: 5}},
		{"a table of jq, of a UniFi's clients", "csv", `"address","mac","host"
"192.168.1.20","02:00:5e:10:00:01","tv, ""big"""
"192.168.1.22","02:00:5e:10:00:03",""
`, []string{`192.168.1.20 02:00:5e:10:00:01 host=tv, "big"`, "192.168.1.22 02:00:5e:10:00:03"}, Content{}},
		{"a table of a Fritz!Box's hosts", "csv", "address,mac,host\n192.168.1.20,02:00:5E:10:00:01,tv\n192.168.1.22,02:00:5E:10:00:03,PC-192-168-1-22\n",
			[]string{"192.168.1.20 02:00:5e:10:00:01 host=tv", "192.168.1.22 02:00:5e:10:00:03 host=PC-192-168-1-22"}, Content{}},
		{"a table of PowerShell", "csv", "\ufeff" + `#TYPE Selected.Microsoft.Management.Infrastructure.CimInstance
"IPAddress","ScopeId","ClientId","HostName","AddressState","LeaseExpiryTime"
"192.168.1.20","192.168.1.0","02-00-5e-10-00-01","tv.corp.example","Active","2026-11-28T03:00:00.0000000Z"
"192.168.1.21","192.168.1.0","02-00-5e-10-00-02","","Expired",""
`, []string{"192.168.1.20 02:00:5e:10:00:01 host=tv until=1795834800"}, Content{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			kind := ""
			if strings.HasPrefix(test.text, "#") && test.kind == "csv" || strings.HasPrefix(test.text, "\ufeff#") {
				kind = "csv" // a remark is of no format
			}
			got, err := Parse(kind, "leases", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, l := range got.Leases {
				lines = append(lines, text(l))
			}
			if !slices.Equal(lines, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(test.want, "\n"))
			}
			if got.Kind != test.kind || got.Bad != test.rest.Bad || got.FirstBad != test.rest.FirstBad || got.Cleaned != test.rest.Cleaned || got.Incomplete != test.rest.Incomplete {
				t.Errorf("got %s, %d lines bad, first %d, %d host names cleaned, incomplete %v; want %s, %+v", got.Kind, got.Bad, got.FirstBad, got.Cleaned, got.Incomplete, test.kind, test.rest)
			}
		})
	}
}

func TestFilesOfNoServer(t *testing.T) {
	for _, foreign := range []string{"<!DOCTYPE html>\n<html>\n", "\x00\x00\x00\x00", "hello\n", "127.0.0.1 localhost\n", "key = value\n"} {
		if c, err := Parse("", "leases", []byte(foreign)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %+v, %v; want ErrFormat", foreign, c, err)
		}
		for _, kind := range Kinds() {
			if c, err := Parse(kind, "leases", []byte(foreign)); err == nil && len(c.Leases) > 0 {
				t.Errorf("%q as %s: got leases %+v", foreign, kind, c)
			}
		}
	}
	for _, empty := range []string{"", "\n \n"} {
		if c, err := Parse("", "/var/lib/misc/dnsmasq.leases", []byte(empty)); err != nil || len(c.Leases) > 0 {
			t.Errorf("an empty file: %+v, %v", c, err)
		}
	}
}

func TestKeaIsReadInTheOrderOfItsFiles(t *testing.T) {
	there := map[string]bool{}
	exists := func(path string) bool { return there[path] }
	if got, want := Files("/k.csv", exists), []string{"/k.csv.2", "/k.csv.1", "/k.csv"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	there["/k.csv.completed"] = true
	if got, want := Files("/k.csv", exists), []string{"/k.csv.completed", "/k.csv"}; !slices.Equal(got, want) {
		t.Errorf("while it is compacted: got %v, want %v", got, want)
	}
	const head = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
	got, err := Parse("", "/k.csv", []byte(head+"192.168.1.20,02:00:5e:10:00:01,,3600,1795833600,1,0,0,old,0,\n"), nil, []byte(head+"192.168.1.20,02:00:5e:10:00:02,,3600,1795833700,1,0,0,new,0,\n"))
	if err != nil || len(got.Leases) != 1 || got.Leases[0].Host != "new" {
		t.Errorf("got %+v, %v; want the lease of the last file", got, err)
	}
}

func TestLeasesAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range MaxLeases + 3 {
		fmt.Fprintf(&b, "1795830000 02:00:5e:10:00:01 10.%d.%d.%d a *\n", i>>16, i>>8&255, i&255)
	}
	got, err := Parse("", "x", []byte(b.String()))
	if err != nil || len(got.Leases) != MaxLeases || got.Beyond != 3 {
		t.Errorf("got %d leases, %d beyond, %v; want %d and 3", len(got.Leases), got.Beyond, err, MaxLeases)
	}
	if _, err := Parse("dnsmasq", "x", make([]byte, MaxSize+1)); err == nil {
		t.Error("a text of more than MaxSize was read")
	}
}

// FuzzParse reads any text as each format: no lease without an address, none twice, no
// name that cannot be shown, and none of what stands in a line that is not complete.
func FuzzParse(f *testing.F) {
	f.Add("1795830000 02:00:5e:10:00:01 192.168.1.20 tv *\nduid 00:01\n1 2 2001:db8::1 * 00:03:00:01:02:00:5e:10:00:01\nvendorclass 192.168.1.20 61\n")
	f.Add("# br-lan 00030001025e10000001 12ab tv 1795830000 9 128 fd00::9/128\n# br-lan 02005e100003 ipv4 - -1 c0a80116 32 192.168.1.22/32\n")
	f.Add("lease 192.168.1.20 { starts 6 2026/11/28 03:00:00; uid \"\\377\\000\"; client-hostname \"x\"; on expiry { a; } }\nia-na \"abcd\" { iaaddr 2001:db8::1 { ends never; } }\n")
	f.Add("address,hwaddr,client_id,valid_lifetime,expire,hostname,state\n192.168.1.20,02:00:5e:10:00:01,,3600,1795833600,a&#x2cb,0\n")
	f.Add(`[{"ClientId":[1,2,0,94,16,0,1],"Address":[192,168,1,20],"Hostname":"tv"}]`)
	f.Add(`{"result":0,"arguments":{"leases":[{"ip-address":"2001:db8::1","duid":"00:03:00:01:02:00:5e:10:00:05","cltt":1795830000,"valid-lft":600,"hostname":"a.b"}]}}`)
	f.Add("address;mac;host;until\n192.168.1.20;02-00-5E-10-00-01;\"tv\";1795830000\n")
	f.Fuzz(func(t *testing.T, content string) {
		for _, kind := range append(Kinds(), "") {
			got, err := Parse(kind, "leases", []byte(content))
			if err != nil {
				continue
			}
			seen := map[string]bool{}
			for _, l := range got.Leases {
				if !l.Addr.IsValid() || l.Addr.Is4In6() || l.Addr.Zone() != "" || seen[l.Addr.String()] {
					t.Fatalf("%s: lease of %v in %q", kind, l.Addr, content)
				}
				seen[l.Addr.String()] = true
				for _, name := range []string{l.Host, l.Class} {
					if name != Shown(name) || len(name) > maxHost {
						t.Fatalf("%s: %q is shown", kind, name)
					}
				}
				if l.MAC != "" && parseMAC(l.MAC) != l.MAC {
					t.Fatalf("%s: %q is a MAC", kind, l.MAC)
				}
			}
			if err == nil && kind == "dnsmasq" && !strings.Contains(content, "\n") && len(got.Leases) > 0 {
				t.Fatalf("%q is not complete", content)
			}
		}
	})
}

// What is looked at is what would be shown.
func TestHostNamesAreCleanedFirst(t *testing.T) {
	for text, want := range map[string]string{
		"nas.lan.": "nas", "Anna's phone": "Anna's phone", "Dr. Who": "Dr", "the old. nas": "the old. nas",
		" 192.168.1.1": "", "fe80::1\x01": "", "::1.lan": "", "\x01-": "", "-.lan": "", "\x01": "", " .x": "", ".x": "", "the nas..": "the nas",
	} {
		got := HostName(text)
		if got != want || HostName(got) != got {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
