package geo

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

func testSet(t testing.TB) *Set {
	t.Helper()
	s, err := Open(Files{ASN: {"testdata/asn.mmdb"}, Country: {"testdata/country.mmdb"}, Registered: {"testdata/registered.mmdb"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWhoseAnAddressIs(t *testing.T) {
	s := testSet(t)
	for _, c := range []struct {
		addr string
		want Network
	}{
		{"8.209.64.1", Network{ASN: 45102, Operator: "Alibaba (US) Technology Co., Ltd.", Country: "SG", Registered: "SG"}},
		{"::ffff:8.209.64.1", Network{ASN: 45102, Operator: "Alibaba (US) Technology Co., Ltd.", Country: "SG", Registered: "SG"}},
		{"13.248.118.1", Network{ASN: 16509, Operator: "Amazon.com, Inc.", Country: "IE", Registered: "US"}},
		{"2400:3200::1", Network{ASN: 37963, Operator: "Hangzhou Alibaba Advertising Co.,Ltd.", Country: "CN", Registered: "CN"}},
		{"9.9.9.9", Network{}},
		{"192.168.1.7", Network{Special: "private"}},
		{"::ffff:10.0.0.1", Network{Special: "private"}},
		{"fe80::1%eth0", Network{Special: "link-local"}},
		{"::1", Network{Special: "loopback or none"}},
	} {
		by := map[Source]bool{}
		got, err := s.Of(netip.MustParseAddr(c.addr), by)
		if err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.addr, got, err, c.want)
		}
		if known := c.want.ASN > 0; known != (len(by) == 3) {
			t.Errorf("%s is said by %v", c.addr, by)
		}
	}
	if got := s.Sources(); len(got) != 3 || got[0].String() != "asn.mmdb of 2026-06-17" {
		t.Errorf("got %v", got)
	}
	var none *Set = &Set{}
	if n, err := none.Of(netip.MustParseAddr("8.209.64.1"), nil); err != nil || n != (Network{}) {
		t.Errorf("without a database: got %+v, %v", n, err)
	}
}

// What a database is not is said with its name and what to do, and the others still serve.
func TestDatabasesThatCannotBeUsed(t *testing.T) {
	dir := t.TempDir()
	good, err := os.ReadFile("testdata/asn.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ path, want string }{
		{file("empty.mmdb", nil), "no MaxMind DB"},
		{file("text.mmdb", []byte("ip_range_start,ip_range_end\n")), "no MaxMind DB"},
		{file("cut.mmdb", good[:len(good)/2]), "no MaxMind DB"},
		{file("head.mmdb", good[len(good)/2:]), "damaged"},
		{"testdata/country.mmdb", "database of another kind (country ipvAll), not of asn; it has country: name it at destinations.country"},
		{filepath.Join(dir, "none.mmdb"), "no such file"},
		{dir, "no regular file"},
	} {
		s, err := Open(Files{ASN: {c.path, "testdata/asn.mmdb"}})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want %q", c.path, err, c.want)
		}
		if len(s.Sources()) != 1 {
			t.Errorf("%s: the other database does not serve", c.path)
		}
	}
}

// A database that was changed at any place is refused or answers, and never panics or hangs.
func TestDamagedDatabases(t *testing.T) {
	good, err := os.ReadFile("testdata/asn.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 7 {
		b := append([]byte(nil), good...)
		b[at] ^= 0x55
		askAll(b)
	}
}

// In a tree each node has one parent, but for the IPv4 networks, to which others may lead.
func TestSearchTrees(t *testing.T) {
	const data = 1 << 20 // no node
	tree := func(version, recordSize uint, nodes ...[2]uint) error {
		var b []byte
		for _, n := range nodes {
			switch l, r := n[0], n[1]; recordSize {
			case 24:
				b = append(b, byte(l>>16), byte(l>>8), byte(l), byte(r>>16), byte(r>>8), byte(r))
			case 28:
				b = append(b, byte(l>>16), byte(l>>8), byte(l), byte(l>>24<<4|r>>24), byte(r>>16), byte(r>>8), byte(r))
			case 32:
				b = append(b, byte(l>>24), byte(l>>16), byte(l>>8), byte(l), byte(r>>24), byte(r>>16), byte(r>>8), byte(r))
			}
		}
		return checkTree(b, &maxminddb.Metadata{IPVersion: version, RecordSize: recordSize, NodeCount: uint(len(nodes))})
	}
	chain := func(n uint, last [2]uint) (nodes [][2]uint) {
		for i := range n {
			nodes = append(nodes, [2]uint{i + 1, data})
		}
		return append(nodes, last)
	}
	alias := chain(97, [2]uint{data, data}) // node 96 is that of the IPv4 networks
	alias[3][1] = 96
	inside := chain(97, [2]uint{data, 96})
	for _, size := range []uint{24, 28, 32} {
		for _, c := range []struct {
			what    string
			version uint
			nodes   [][2]uint
			ok      bool
		}{
			{"whole", 4, [][2]uint{{1, 2}, {data, data}, {data, data}}, true},
			{"a shared child", 4, [][2]uint{{1, 2}, {2, data}, {data, data}}, false},
			{"both records to one node", 4, [][2]uint{{1, 1}, {2, 2}, {data, data}}, false},
			{"a way back", 4, [][2]uint{{1, data}, {0, data}}, false},
			{"an alias of IPv4", 6, alias, true},
			{"an alias of IPv4 within it", 6, inside, false},
			{"as deep as an address", 6, chain(127, [2]uint{data, data}), true},
			{"deeper than an address", 6, chain(128, [2]uint{data, data}), false},
		} {
			if err := tree(c.version, size, c.nodes...); (err == nil) != c.ok {
				t.Errorf("%d bits: %s: got %v", size, c.what, err)
			}
		}
	}
	if err := checkTree(make([]byte, 11), &maxminddb.Metadata{IPVersion: 4, RecordSize: 24, NodeCount: 2}); err == nil {
		t.Error("a tree that is cut is whole")
	}
}

func askAll(b []byte) {
	db, err := parse(ASN, "f.mmdb", b)
	if err != nil {
		return
	}
	s := &Set{all: []*database{db}}
	for _, a := range []string{"8.209.64.1", "104.16.1.1", "2400:3200::1", "9.9.9.9"} {
		n, _ := s.Of(netip.MustParseAddr(a), nil)
		if len(n.Operator) > 1000 {
			panic("an operator's name has no bound")
		}
	}
	s.Caveats(time.Unix(0, 0))
}

func FuzzDatabase(f *testing.F) {
	for _, name := range []string{"asn", "country", "country-ipv4"} {
		if b, err := os.ReadFile("testdata/" + name + ".mmdb"); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) { askAll(b) })
}

func TestWhatBearsOnDatabases(t *testing.T) {
	made := time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC)
	s := testSet(t)
	if got := s.Caveats(made.AddDate(0, 0, 30)); len(got) != 0 {
		t.Errorf("after 30 days: %q", got)
	}
	if got := strings.Join(s.Caveats(made.AddDate(1, 0, 0)), "\n"); strings.Count(got, "days old") != 3 || !strings.Contains(got, "geo update") {
		t.Errorf("after a year: %q", got)
	}
	four, err := Open(Files{Country: {"testdata/country-ipv4.mmdb"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(four.Caveats(made), "\n"); !strings.Contains(got, "no database of kind country has IPv6 addresses") {
		t.Errorf("of IPv4 alone: %q", got)
	}
	if n, err := four.Of(netip.MustParseAddr("2400:3200::1"), nil); err != nil || n != (Network{}) {
		t.Errorf("got %+v, %v of an IPv6 address", n, err)
	}
	if got := (&Set{}).Caveats(made); len(got) != 1 || !strings.Contains(got[0], "geo update") {
		t.Errorf("of none: %q", got)
	}
	b, _ := os.ReadFile("testdata/country.mmdb")
	if src, err := Verify(Country, "country.mmdb", b); err != nil || src.Built != "2026-06-17" {
		t.Errorf("got %v, %v", src, err)
	}
	b[len(b)/3] ^= 0xff
	if _, err := Verify(Country, "country.mmdb", b); err == nil {
		t.Error("a changed database is whole")
	}
}

// The files of ip-location-db have no description, which the reader's own Verify takes for
// damage.
func TestADatabaseWithoutADescriptionIsTaken(t *testing.T) {
	b, err := os.ReadFile("testdata/registered.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	at, next := bytes.LastIndex(b, []byte("description"))+len("description"), bytes.LastIndex(b, []byte("\x4aip_version"))
	without := slices.Concat(b[:at], []byte{0xe0}, b[next:]) // a map of nothing
	if src, err := Verify(Registered, "registered.mmdb", without); err != nil || src.Built != "2026-06-17" {
		t.Errorf("got %v, %v", src, err)
	}
}
