package destination

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/blocklists/catalog"
	"telltale/evidence/geo"
)

func testResolver(t *testing.T, answers map[string]Answer) (r *Resolver, asked *[]string) {
	t.Helper()
	set, err := geo.Open(geo.Files{geo.ASN: {"../geo/testdata/asn.mmdb"}, geo.Country: {"../geo/testdata/country.mmdb"}, geo.Registered: {"../geo/testdata/registered.mmdb"}})
	if err != nil {
		t.Fatal(err)
	}
	asked = &[]string{}
	return &Resolver{Geo: set, Problem: func(err error) { t.Error(err) }, Ask: func(_ context.Context, name string, typ uint16) (Answer, error) {
		key := name + " " + map[uint16]string{TypeA: "A", TypeNS: "NS", TypeAAAA: "AAAA"}[typ]
		*asked = append(*asked, key)
		a, ok := answers[key]
		if !ok {
			return a, errors.New("SERVFAIL")
		}
		return a, nil
	}}, asked
}

func addrs(texts ...string) (all []netip.Addr) {
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

func TestWhereANameLeads(t *testing.T) {
	r, asked := testResolver(t, map[string]Answer{
		"data.vendor.co.uk A":    {Aliases: []string{"edge.cdn.example"}, Addresses: addrs("104.16.1.1", "8.209.64.1", "8.209.64.1", "10.0.0.1")},
		"data.vendor.co.uk AAAA": {Missing: "NODATA", Aliases: []string{"edge.cdn.example"}},
		"vendor.co.uk NS":        {Servers: []string{"NS2.dns.example", "ns1.dns.example"}},
		"ns1.dns.example A":      {Addresses: addrs("13.248.118.1")},
		"gone.vendor.co.uk A":    {Missing: "NXDOMAIN"}, "gone.vendor.co.uk AAAA": {Missing: "NXDOMAIN"},
		"six.vendor.co.uk A": {Missing: "NODATA"}, "six.vendor.co.uk AAAA": {Missing: "NXDOMAIN"},
		"half.vendor.co.uk A": {Addresses: addrs("8.209.64.1")},
	})
	f, err := r.Find(t.Context(), "data.vendor.co.uk")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Operators(), []string{"Alibaba (US) Technology Co., Ltd. AS45102", "Cloudflare, Inc. AS13335"}; !slices.Equal(got, want) {
		t.Errorf("operators: got %q, want %q", got, want)
	}
	if got, want := f.Countries(), []string{"SG", "US"}; !slices.Equal(got, want) {
		t.Errorf("countries: got %q, want %q", got, want)
	}
	if len(f.Addresses) != 3 || f.Addresses[1].Special != "private" || f.Domain != "vendor.co.uk" || !slices.Equal(f.Servers, []string{"ns1.dns.example", "ns2.dns.example"}) ||
		!slices.Equal(f.ServedBy, []Network{{16509, "Amazon.com, Inc."}}) || len(f.By) != 3 {
		t.Errorf("got %+v", f)
	}
	if slices.Contains(*asked, "edge.cdn.example A") {
		t.Error("an alias was asked for by itself")
	}
	again, err := Parse(f.Text())
	if err != nil || !reflect.DeepEqual(again, f) || again.Text() != f.Text() {
		t.Errorf("it is read back as %+v, %v", again, err)
	}
	for name, want := range map[string]string{"gone.vendor.co.uk": "NXDOMAIN", "six.vendor.co.uk": "NODATA"} {
		if f, err := r.Find(t.Context(), name); err != nil || f.Missing != want {
			t.Errorf("%s: got %q, %v, want %q", name, f.Missing, err, want)
		}
	}
	if f, err := r.Find(t.Context(), "half.vendor.co.uk"); err == nil {
		t.Errorf("half an answer counts: %+v", f)
	}
}

func TestWhatIsAChange(t *testing.T) {
	found := func(change func(*Found)) *Found {
		f := &Found{
			Aliases:   []string{"edge.cdn.example"},
			Addresses: []Address{{Address: netip.MustParseAddr("8.209.64.1"), Network: geo.Network{ASN: 45102, Operator: "Alibaba", Country: "SG"}}},
			Servers:   []string{"ns1.dns.example"},
			By:        []geo.Source{{Kind: geo.ASN, File: "asn.mmdb", Built: "2026-06-17"}},
		}
		if change != nil {
			change(f)
		}
		return f
	}
	moved := func(f *Found) {
		f.Addresses = []Address{{Address: netip.MustParseAddr("13.248.118.1"), Network: geo.Network{ASN: 16509, Operator: "Amazon", Country: "IE"}}}
	}
	for _, c := range []struct {
		name         string
		before, now  *Found
		kind, detail string
	}{
		{"the first", nil, found(nil), KindFound, "first asked for: aliases edge.cdn.example; 1 address; operator Alibaba AS45102; country SG; name servers ns1.dns.example (by asn.mmdb of 2026-06-17)"},
		{"the same", found(nil), found(nil), "", ""},
		{"another address of the same operator", found(nil), found(func(f *Found) { f.Addresses[0].Address = netip.MustParseAddr("8.209.64.2") }), "", ""},
		{"a move", found(nil), found(moved), KindMoved, "operator: Amazon AS16509, was Alibaba AS45102; country: IE, was SG (by asn.mmdb of 2026-06-17)"},
		{"another edition of a database", found(nil), found(func(f *Found) { f.Addresses[0].Country = "CN" }), KindFound, "country: CN, was SG; the addresses are the same: the databases say otherwise of them (by asn.mmdb of 2026-06-17)"},
		{"no database any more", found(nil), found(func(f *Found) { f.Addresses[0].Network = geo.Network{} }), "", ""},
		{"gone", found(nil), found(func(f *Found) { f.Missing, f.Addresses, f.Aliases = "NXDOMAIN", nil, nil }), KindFound, "now NXDOMAIN, was there; aliases: none, was edge.cdn.example (by asn.mmdb of 2026-06-17)"},
		{"other aliases", found(nil), found(func(f *Found) { f.Aliases = []string{"a.example", "b.example"} }), KindFound, "aliases: a.example, b.example, was edge.cdn.example (by asn.mmdb of 2026-06-17)"},
		{"other name servers", found(nil), found(func(f *Found) { f.Servers = []string{"ns9.example"} }), KindFound, "name servers: ns9.example, was ns1.dns.example (by asn.mmdb of 2026-06-17)"},
		{"name servers that are not known", found(nil), found(func(f *Found) { f.Servers = nil }), "", ""},
	} {
		if kind, detail := Compare(c.before, c.now); kind != c.kind || detail != c.detail {
			t.Errorf("%s: got %q %q, want %q %q", c.name, kind, detail, c.kind, c.detail)
		}
	}
}

// What is asked for is spelled out in the catalogue, whatever a device put in front of it.
func TestNamesAreOfTheCatalogue(t *testing.T) {
	c, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	got := Names(c, slices.Values([]string{"token123.mistat.india.xiaomi.com", "mistat.india.xiaomi.com", "www.xiaomi.com", "shop.example", "connectivitycheck.gstatic.com", ""}))
	if want := []string{"mistat.india.xiaomi.com"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhatBearsOnACountryStandsBesideIt(t *testing.T) {
	for _, c := range []struct {
		n    geo.Network
		want string
	}{
		{geo.Network{ASN: 13335, Operator: "Cloudflare, Inc.", Country: "US"}, "192.0.0.1, network of Cloudflare, Inc. AS13335, in US (a content network by its name: which machine answers depends on where one asks)"},
		{geo.Network{ASN: 16509, Operator: "Amazon.com, Inc.", Country: "IE", Registered: "US"}, "192.0.0.1, network of Amazon.com, Inc. AS16509, in IE, registered in US (the databases differ on it; it may be announced in several countries)"},
		{geo.Network{Registered: "SG"}, "192.0.0.1, registered in SG (unless it is announced in several countries: anycast)"},
		{geo.Network{ASN: 7, Operator: "Seven"}, "192.0.0.1, network of Seven AS7"},
		{geo.Network{}, "192.0.0.1, whose is not known: no database has it"},
		{geo.Network{Special: "private"}, "192.0.0.1, nobody's on the Internet: private"},
	} {
		a := Address{Address: netip.MustParseAddr("192.0.0.1"), Network: c.n}
		if got := a.Text(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	f := Found{Addresses: []Address{{Address: netip.MustParseAddr("192.0.0.1")}}, By: []geo.Source{{Kind: geo.ASN, File: "asn.mmdb", Built: "2025-01-01"}}}
	if got := strings.Join(f.Lines(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), "\n"); !strings.Contains(got, "asn.mmdb of 2025-01-01 (365 days old then") {
		t.Errorf("got %q", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"aliases":["a"],"addresses":[{"address":"8.209.64.1","asn":1,"country":"SG"}],"by":[{"kind":"asn","file":"x","built":"2026-01-01"}]}`)
	f.Add(`{"missing":"NXDOMAIN"}`)
	f.Fuzz(func(_ *testing.T, text string) {
		if got, err := Parse(text); err == nil {
			got.Lines(time.Unix(0, 0))
			Compare(&got, &got)
			Compare(nil, &got)
		}
	})
}

// A name without an address is not said to lead nowhere: names below it, which are what
// devices ask for, may have some.
func TestANameWithoutAnAddress(t *testing.T) {
	for _, c := range []struct {
		f    Found
		want []string
	}{
		{Found{Missing: "NODATA"}, []string{"NODATA: this name itself has no address; names below it were not asked for"}},
		{Found{Missing: "NODATA", Aliases: []string{"a.example"}}, []string{"NODATA: what it is an alias of has no address; names below it were not asked for", "alias of a.example"}},
		{Found{Missing: "NXDOMAIN"}, []string{"NXDOMAIN: it leads nowhere"}},
	} {
		if got := c.f.Lines(time.Time{}); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
