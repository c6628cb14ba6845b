package devices

import (
	"net/netip"
	"strings"
	"testing"
)

const (
	macTV      = "00:1b:21:00:00:01"
	macPhone   = "3a:1b:21:00:00:02" // locally administered
	macLaptop  = "00:1b:21:00:00:03"
	macGateway = "00:1b:21:00:00:fe"
)

func TestIdentityOrder(t *testing.T) {
	config, err := configure([]Device{
		{Name: "tv", MACs: []string{"00-1B-21-00-00-01"}, Group: 3},
		{Name: "phone", MACs: []string{macPhone}},
		{Name: "nas", Addresses: []netip.Addr{addr("::ffff:192.168.1.9")}, NoLog: true},
		{Name: "guests", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.0.7/16")}},
		{Name: "lab", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.7.0/24")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name       string
		evidence   evidence
		device     string
		source     Source
		confidence Confidence
	}{
		{"a configured MAC wins over a configured address", evidence{addr: addr("192.168.1.9"), mac: macTV}, "tv", ConfiguredMAC, High},
		{"a configured address wins over a prefix", evidence{addr: addr("192.168.1.9"), mac: macLaptop}, "nas", ConfiguredAddress, Medium},
		{"a configured address needs no MAC", evidence{addr: addr("192.168.1.9")}, "nas", ConfiguredAddress, Medium},
		{"the longest prefix wins", evidence{addr: addr("192.168.7.1"), mac: macLaptop}, "lab", ConfiguredPrefix, Medium},
		{"a prefix wins over an unknown MAC", evidence{addr: addr("192.168.8.1"), mac: macLaptop}, "guests", ConfiguredPrefix, Medium},
		{"a prefix wins over an address of this machine", evidence{addr: addr("192.168.8.1"), own: true}, "guests", ConfiguredPrefix, Medium},
		{"this machine may be configured by its MAC", evidence{addr: addr("10.0.0.1"), mac: macTV, own: true, gateway: true}, "tv", ConfiguredMAC, High},
		{"an address of this machine is this host", evidence{addr: addr("10.0.0.1"), mac: macLaptop, own: true}, "this-host", ThisHost, Medium},
		{"a neighbour is its MAC", evidence{addr: addr("10.0.0.5"), mac: macLaptop}, "mac:" + macLaptop, Neighbour, High},
		{"IPv6 of the same MAC is the same device", evidence{addr: addr("fd00::5"), mac: macLaptop}, "mac:" + macLaptop, Neighbour, High},
		{"a random MAC is of medium confidence", evidence{addr: addr("10.0.0.5"), mac: "02:00:00:00:00:01"}, "mac:02:00:00:00:00:01", Neighbour, Medium},
		{"a configured random MAC too", evidence{addr: addr("10.0.0.5"), mac: macPhone}, "phone", ConfiguredMAC, Medium},
		{"a MAC with several IPv4 addresses is of low confidence", evidence{addr: addr("10.0.0.5"), mac: macLaptop, shared: true}, "mac:" + macLaptop, Neighbour, Low},
		{"a configured MAC with several IPv4 addresses too", evidence{addr: addr("10.0.0.5"), mac: macTV, shared: true}, "tv", ConfiguredMAC, Low},
		{"the gateway is of low confidence", evidence{addr: addr("10.0.0.5"), mac: macGateway, gateway: true}, "mac:" + macGateway, Neighbour, Low},
		{"a contested address is bare", evidence{addr: addr("10.0.0.5"), mac: macLaptop, contested: true}, "addr:10.0.0.5", BareAddress, Low},
		{"a contested address is not a configured MAC", evidence{addr: addr("10.0.0.5"), mac: macTV, contested: true}, "addr:10.0.0.5", BareAddress, Low},
		{"nothing known is the bare address", evidence{addr: addr("10.0.0.5")}, "addr:10.0.0.5", BareAddress, Low},
	} {
		b := config.identify(c.evidence)
		if b.Device != c.device || b.Source != c.source || b.Confidence != c.confidence || b.Addr != c.evidence.addr {
			t.Errorf("%s: got %s by %v, %v, want %s by %v, %v", c.name, b.Device, b.Source, b.Confidence, c.device, c.source, c.confidence)
		}
	}
	if b := config.identify(evidence{addr: addr("10.0.0.5"), mac: macTV}); b.Group != 3 || b.Name != "tv" {
		t.Errorf("a device's group: got %+v", b)
	}
	if b := config.identify(evidence{addr: addr("192.168.1.9")}); !b.NoLog {
		t.Errorf("a device's opt-out: got %+v", b)
	}
	if b := config.identify(evidence{addr: addr("10.0.0.5"), mac: macLaptop}); b.Name != macLaptop {
		t.Errorf("what is shown for a MAC: got %q, want %q", b.Name, macLaptop)
	}
}

func TestConfigurationMistakes(t *testing.T) {
	one := func(d Device) []Device { return []Device{{Name: "tv", MACs: []string{macTV}}, d} }
	for _, c := range []struct {
		name    string
		devices []Device
		want    string // in the error; "": none
	}{
		{"nothing is no mistake", nil, ""},
		{"a device may have all three", one(Device{Name: "a", MACs: []string{macLaptop}, Addresses: []netip.Addr{addr("10.0.0.1")}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}), ""},
		{"the same prefix in another length is another", one(Device{Name: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/9")}}), ""},
		{"a name is needed", one(Device{}), "device 2 has no name"},
		{"a name is used once", one(Device{Name: "tv"}), "used twice"},
		{"the names of unnamed devices are kept", one(Device{Name: "mac:" + macTV}), "is kept for"},
		{"this-host is kept", one(Device{Name: "this-host"}), "is kept for"},
		{"a MAC belongs to one", one(Device{Name: "a", MACs: []string{strings.ToUpper(macTV)}}), `is also that of "tv"`},
		{"a MAC must be one", one(Device{Name: "a", MACs: []string{"television"}}), `"television" is not the MAC`},
		{"a group's MAC is nobody's", one(Device{Name: "a", MACs: []string{"01:00:5e:00:00:01"}}), "is not the MAC"},
		{"the zero MAC is nobody's", one(Device{Name: "a", MACs: []string{"00:00:00:00:00:00"}}), "is not the MAC"},
		{"an address belongs to one", one(Device{Name: "a", Addresses: []netip.Addr{addr("10.0.0.1"), addr("::ffff:10.0.0.1")}}), `is also that of "a"`},
		{"an address must be one", one(Device{Name: "a", Addresses: []netip.Addr{{}}}), "is not the address"},
		{"a prefix belongs to one", one(Device{Name: "a", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("::ffff:10.0.0.2/104")}}), `is also that of "a"`},
		{"a prefix must be one", one(Device{Name: "a", Prefixes: []netip.Prefix{{}}}), "is not valid"},
	} {
		_, err := configure(c.devices)
		switch {
		case err == nil && c.want != "":
			t.Errorf("%s: got no error, want %q", c.name, c.want)
		case err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	_, err := configure([]Device{{}, {Name: "a", MACs: []string{"x", "y"}}})
	if got := strings.Count(err.Error(), "\n") + 1; got != 3 {
		t.Errorf("all mistakes at once: got %d of 3: %v", got, err)
	}
}

// An IPv4 prefix may be written as an IPv6 one that it is mapped into; no other prefix is changed but for
// octets behind it.
func TestPlainPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.77/24":          "192.0.2.0/24",
		"::ffff:192.0.2.77/120":  "192.0.2.0/24",
		"::ffff:192.0.2.77/96":   "0.0.0.0/0",
		"::ffff:192.0.2.77/128":  "192.0.2.77/32",
		"::ffff:192.0.2.77/95":   "::fffe:0:0/95",
		"2001:db8:1:2::3/64":     "2001:db8:1:2::/64",
		"2001:db8::1:2:3/96":     "2001:db8::1:0:0/96",
		"2001:db8::a:b:c:12/112": "2001:db8::a:b:c:0/112",
		"2001:db8::a:b:c:12/128": "2001:db8::a:b:c:12/128",
	} {
		if got := plainPrefix(netip.MustParsePrefix(text)); got.String() != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}
