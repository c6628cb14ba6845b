package devices

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// longestTwin is the obvious way: look at every prefix.
func longestTwin(entries map[netip.Prefix]int, a netip.Addr) (value int, ok bool) {
	bits := -1
	for p, v := range entries {
		if p.Contains(a) && p.Bits() > bits {
			bits, value, ok = p.Bits(), v, true
		}
	}
	return value, ok
}

func agree(t *testing.T, entries map[netip.Prefix]int, table *prefixTable[int], a netip.Addr) {
	t.Helper()
	got, gotOK := table.find(a)
	want, wantOK := longestTwin(entries, a)
	if got != want || gotOK != wantOK {
		t.Fatalf("%v in %v: got %d, %v, want %d, %v", a, entries, got, gotOK, want, wantOK)
	}
}

func TestLongestPrefix(t *testing.T) {
	entries := make(map[netip.Prefix]int)
	for i, p := range []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "255.255.255.255/32", "fd00::/8", "fd00::/64", "fd00::1/128", "ffff::/16"} {
		entries[netip.MustParsePrefix(p)] = i
	}
	table := makePrefixTable(entries)
	for _, c := range []struct {
		name, addr string
		want       int
		ok         bool
	}{
		{"the default prefix holds what no other does", "192.0.2.1", 0, true},
		{"the longer prefix wins", "10.1.9.9", 2, true},
		{"one address wins over all", "10.1.2.3", 3, true},
		{"behind a nested prefix the outer one goes on", "10.2.0.0", 1, true},
		{"the last IPv4 address can be held", "255.255.255.255", 4, true},
		{"the address before it is the default's", "255.255.255.254", 0, true},
		{"0.0.0.0/0 holds no IPv6 address", "2001:db8::1", 0, false},
		{"before the first IPv6 prefix is nobody", "::", 0, false},
		{"IPv6 nests too", "fd00::2", 6, true},
		{"IPv6 one address", "fd00::1", 7, true},
		{"the last IPv6 address can be held", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 8, true},
		{"between two prefixes is nobody", "fe80::1", 0, false},
	} {
		if got, ok := table.find(netip.MustParseAddr(c.addr)); got != c.want || ok != c.ok {
			t.Errorf("%s: %s: got %d, %v, want %d, %v", c.name, c.addr, got, ok, c.want, c.ok)
		}
	}
}

func TestPrefixTableAgreesWithItsTwin(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	address := func(v4 bool) netip.Addr { // close together, so that prefixes nest
		if v4 {
			return netip.AddrFrom4([4]byte{10, byte(random.IntN(2)), byte(random.IntN(4)), byte(random.Uint32())})
		}
		return netip.AddrFrom16([16]byte{0: 0xfd, 7: byte(random.IntN(3)), 15: byte(random.Uint32())})
	}
	for range 200 {
		entries := make(map[netip.Prefix]int)
		for i := range random.IntN(40) {
			a := address(random.IntN(2) == 0)
			p, _ := a.Prefix(random.IntN(a.BitLen() + 1))
			entries[p] = i
		}
		table := makePrefixTable(entries)
		for range 200 {
			agree(t, entries, &table, address(random.IntN(2) == 0))
		}
		for p := range entries {
			agree(t, entries, &table, p.Addr())
		}
	}
}

func FuzzPrefixTable(f *testing.F) {
	f.Add([]byte{8, 10, 0, 0, 0, 16, 10, 1, 0, 0, 32, 10, 1, 2, 3}, uint32(0x0a010203))
	f.Add([]byte{0, 0, 0, 0, 0, 32, 255, 255, 255, 255}, ^uint32(0))
	f.Fuzz(func(t *testing.T, prefixes []byte, at uint32) {
		entries := make(map[netip.Prefix]int)
		for i := 0; i+5 <= len(prefixes) && i < 5*64; i += 5 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(prefixes[i+1:i+5])), int(prefixes[i]%33)).Masked()
			entries[p] = i
			six := p.Addr().As16()
			entries[netip.PrefixFrom(netip.AddrFrom16(six), 96+p.Bits()).Masked()] = i + 1
			six[0] = 0xfd
			entries[netip.PrefixFrom(netip.AddrFrom16(six), int(prefixes[i])%129).Masked()] = i + 2
		}
		table := makePrefixTable(entries)
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], at)
		a := netip.AddrFrom4(four)
		six := a.As16()
		six[0] = 0xfd
		agree(t, entries, &table, a)
		agree(t, entries, &table, netip.AddrFrom16(six))
	})
}
