package dns64

import (
	"net/netip"
	"testing"
)

// TestEmbed has the table of RFC 6052, 2.4.
func TestEmbed(t *testing.T) {
	v4 := netip.MustParseAddr("192.0.2.33")
	for prefix, want := range map[string]string{
		"2001:db8::/32":             "2001:db8:c000:221::",
		"2001:db8:100::/40":         "2001:db8:1c0:2:21::",
		"2001:db8:122::/48":         "2001:db8:122:c000:2:2100::",
		"2001:db8:122:300::/56":     "2001:db8:122:3c0:0:221::",
		"2001:db8:122:344::/64":     "2001:db8:122:344:c0:2:2100::",
		"2001:db8:122:344::/96":     "2001:db8:122:344::192.0.2.33",
		"64:ff9b::/96":              "64:ff9b::192.0.2.33",
		"2001:db8:122:344:0:1::/96": "2001:db8:122:344:0:1:192.0.2.33",
	} {
		p := netip.MustParsePrefix(prefix)
		got := Embed(p, v4)
		if got != netip.MustParseAddr(want) || !IsPrefix(p) {
			t.Errorf("%v in %s: got %v, want %s", v4, prefix, got, want)
		}
		if back, ok := Extract(p, got); !ok || back != v4 {
			t.Errorf("%v from %v: got %v, want %v", prefix, got, back, v4)
		}
	}
	if _, ok := Extract(WellKnown, netip.MustParseAddr("64:ff9b:0:0:0:1:c000:221")); ok {
		t.Error("an address that is not in the prefix")
	}
}

func TestIsPrefix(t *testing.T) {
	for _, text := range []string{"64:ff9b::/95", "64:ff9b::/128", "2001:db8::/33", "::ffff:0:0/96", "192.0.2.0/24", "2001:db8:0:0:100::/96", "::/0"} {
		if IsPrefix(netip.MustParsePrefix(text)) {
			t.Errorf("%s can hold no IPv4 address", text)
		}
	}
	if IsPrefix(netip.PrefixFrom(netip.MustParseAddr("64:ff9b::1"), 96)) || IsPrefix(netip.Prefix{}) {
		t.Error("what is no prefix")
	}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		addrs []string
		want  string // "" for none
	}{
		{"the well-known prefix", []string{"64:ff9b::192.0.0.170", "64:ff9b::192.0.0.171"}, "64:ff9b::/96"},
		{"the second address alone", []string{"64:ff9b::192.0.0.171"}, "64:ff9b::/96"},
		{"a prefix of 32 bits", []string{"2001:db8:c000:aa::"}, "2001:db8::/32"},
		{"one of 40", []string{"2001:db8:1c0:0:aa::"}, "2001:db8:100::/40"},
		{"one of 48", []string{"2001:db8:122:c000:0:aa00::"}, "2001:db8:122::/48"},
		{"one of 56", []string{"2001:db8:122:3c0:0:aa::"}, "2001:db8:122:300::/56"},
		{"one of 64", []string{"2001:db8:122:344:c0:0:aa00::"}, "2001:db8:122:344::/64"},
		{"nothing", nil, ""},
		{"the address itself", []string{"192.0.0.170"}, ""},
		{"mapped", []string{"::ffff:192.0.0.170"}, ""},
		{"another address", []string{"64:ff9b::192.0.0.172", "2001:db8::1"}, ""},
		{"what looks like it within a prefix is part of that", []string{"2001:db8:c000:aa::192.0.0.170"}, "2001:db8:c000:aa::/96"},
		{"one after some that say nothing", []string{"2001:db8::1", "2001:db8:64::192.0.0.170"}, "2001:db8:64::/96"},
	} {
		var addrs []netip.Addr
		for _, a := range c.addrs {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		p, ok := Find(addrs)
		if got := p.String(); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: got %v %v, want %q", c.name, p, ok, c.want)
		}
	}
}

func TestWhatIsTranslated(t *testing.T) {
	own := netip.MustParsePrefix("2001:db8:64::/96")
	for text, want := range map[string]struct{ own, known bool }{
		"8.8.8.8": {true, true}, "192.168.1.1": {true, false}, "10.0.0.1": {true, false}, "100.64.0.1": {true, false}, "192.0.2.1": {true, false},
		"0.0.0.0": {}, "0.1.2.3": {}, "127.0.0.1": {}, "169.254.1.1": {}, "224.0.0.1": {}, "255.255.255.255": {}, "240.0.0.1": {true, false}, "2001:db8::1": {},
	} {
		a := netip.MustParseAddr(text)
		if got := Translates(own, a); got != want.own {
			t.Errorf("%s by a prefix of one's own: got %v, want %v", text, got, want.own)
		}
		if got := Translates(WellKnown, a); got != want.known {
			t.Errorf("%s by the well-known prefix: got %v, want %v", text, got, want.known)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00\xc0\x00\x00\xaa"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if p, ok := Find([]netip.Addr{a}); ok {
			v4, in := Extract(p, a)
			if !in || !IsPrefix(p) || Embed(p, v4) != a || v4 != Known[0] && v4 != Known[1] {
				t.Errorf("%v: found %v", a, p)
			}
		}
	})
}
