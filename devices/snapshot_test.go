package devices

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// manyAddresses returns n addresses, half of them IPv6.
func manyAddresses(n int) []netip.Addr {
	out := make([]netip.Addr, n)
	for i := range out {
		if i%2 == 0 {
			out[i] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		} else {
			out[i] = netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		}
	}
	return out
}

func TestSnapshotAgreesWithAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	addresses := manyAddresses(6000)
	twin := make(map[netip.Addr]*held)
	s := newSnapshot(seed{random.Uint64(), random.Uint64()})
	check := func(round int) {
		t.Helper()
		if s.size != len(twin) {
			t.Fatalf("round %d: size: got %d, want %d", round, s.size, len(twin))
		}
		for _, a := range addresses {
			if got, want := s.find(a), twin[a]; got != want {
				t.Fatalf("round %d: %v: got %v, want %v", round, a, got, want)
			}
		}
	}
	for round := range 60 {
		old, oldTwin := s, len(twin)
		changes := make(map[netip.Addr]*held)
		for range random.IntN(800) {
			a := addresses[random.IntN(len(addresses))]
			changes[a] = nil
			if round < 40 && random.IntN(4) > 0 || round%2 == 0 {
				changes[a] = &held{Binding: Binding{Addr: a}}
			}
		}
		if round == 50 { // almost all leave at once
			for a := range twin {
				changes[a] = nil
			}
		}
		for a, h := range changes {
			delete(twin, a)
			if h != nil {
				twin[a] = h
			}
		}
		s = s.with(changes)
		check(round)
		if old.size != oldTwin {
			t.Fatalf("round %d changed the snapshot before it", round)
		}
	}
}

// BenchmarkLookup asks for addresses in random order, each depending on the
// binding before, so that the processor cannot look ahead.
func BenchmarkLookup(b *testing.B) {
	l, addresses := ledgerOf(b, 100_000)
	b.ReportAllocs()
	n, i := uint64(len(addresses)), uint64(0)
	for b.Loop() {
		found := l.Lookup(addresses[i>>33%n])
		i = i*6364136223846793005 + found.ID
	}
}

// BenchmarkLookupMap is what Lookup is measured against: one Go map to the same
// bindings.
func BenchmarkLookupMap(b *testing.B) {
	l, addresses := ledgerOf(b, 100_000)
	m := make(map[netip.Addr]*held)
	for _, a := range addresses {
		m[a] = l.published.Load().find(a)
	}
	tick := l.tick.Load()
	n, i := uint64(len(addresses)), uint64(0)
	for b.Loop() {
		found := m[addresses[i>>33%n]]
		found.mark(tick)
		i = i*6364136223846793005 + found.ID
	}
}

// BenchmarkPublish is one new binding among 100,000.
func BenchmarkPublish(b *testing.B) {
	s := newSnapshot(seed{1, 2})
	all := make(map[netip.Addr]*held)
	addresses := manyAddresses(100_000)
	for _, a := range addresses {
		all[a] = &held{Binding: Binding{Addr: a}}
	}
	s = s.with(all)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		a := addresses[i%len(addresses)]
		s.with(map[netip.Addr]*held{a: all[a]})
		i++
	}
}
