package dnswire

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// forwardedText writes what is said of a client.
func forwardedText(f Forwarded) string {
	var all []string
	if f.HasMAC {
		all = append(all, net.HardwareAddr(f.MAC[:]).String())
	}
	if f.Addr.IsValid() {
		all = append(all, f.Addr.String())
	}
	if f.CPE != nil {
		all = append(all, "cpe="+string(f.CPE))
	}
	return strings.Join(all, " ")
}

func option(code uint16, data string) dns.EDNS0 {
	return &dns.EDNS0_LOCAL{Code: code, Data: []byte(data)}
}

func subnet(family uint16, bits uint8, addr string) dns.EDNS0 {
	return &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: bits, Address: net.ParseIP(addr)}
}

func TestWhatForwardersSay(t *testing.T) {
	for _, test := range []struct {
		name    string
		options []dns.EDNS0
		want    string
	}{
		{"nothing", nil, ""},
		{"a MAC", []dns.EDNS0{option(65001, "\x02\x00\x5e\x10\x00\x01")}, "02:00:5e:10:00:01"},
		{"a MAC of five octets", []dns.EDNS0{option(65001, "\x02\x00\x5e\x10\x00")}, ""},
		{"a MAC as text", []dns.EDNS0{option(65073, "02:00:5e:10:00:01")}, "02:00:5e:10:00:01"},
		{"a MAC in base64", []dns.EDNS0{option(65073, "AgBeEAAB")}, "02:00:5e:10:00:01"},
		{"other texts", []dns.EDNS0{option(65073, "AgBeEA=="), option(65073, "02:00:5e:10:00:zz"), option(65073, "")}, ""},
		{"two MACs", []dns.EDNS0{option(65001, "\x02\x00\x5e\x10\x00\x01"), option(65073, "AgBeEAAC")}, "02:00:5e:10:00:01"},
		{"an address", []dns.EDNS0{subnet(1, 32, "192.0.2.7")}, "192.0.2.7"},
		{"an IPv6 address", []dns.EDNS0{subnet(2, 128, "2001:db8::7")}, "2001:db8::7"},
		{"a network", []dns.EDNS0{subnet(1, 24, "192.0.2.0")}, ""},
		{"what the forwarder calls itself", []dns.EDNS0{option(65074, "attic")}, "cpe=attic"},
		{"all of them", []dns.EDNS0{option(65074, "attic"), subnet(1, 32, "192.0.2.7"), option(65001, "\x02\x00\x5e\x10\x00\x01")}, "02:00:5e:10:00:01 192.0.2.7 cpe=attic"},
		{"other options", []dns.EDNS0{option(65002, "x"), &dns.EDNS0_PADDING{Padding: make([]byte, 8)}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := new(dns.Msg).SetQuestion("example.", dns.TypeA)
			m.SetEdns0(1232, false)
			m.IsEdns0().Option = test.options
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			var q Question
			if err := ParseQuestion(packet, &q); err != nil {
				t.Fatal(err)
			}
			if got := forwardedText(ReadForwarded(q.Forwarding)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			plain, _ := new(dns.Msg).SetQuestion("example.", dns.TypeA).Pack()
			if ParseQuestion(plain, &q); q.Forwarding != nil {
				t.Error("the options of the query before stayed")
			}
		})
	}
}

func FuzzReadForwarded(f *testing.F) {
	for _, seed := range []string{"fde9000602005e100001", "fe31000841674265454141", "000800080001200000c0000207", "fe320005617474"} {
		b, _ := hex.DecodeString(seed)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := ReadForwarded(b)
		if len(got.CPE) > 63 || got.Addr.Is4In6() || got.Addr.Zone() != "" {
			t.Errorf("%x: %+v", b, got)
		}
	})
}
