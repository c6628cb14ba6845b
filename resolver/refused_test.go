package resolver

import (
	"net/netip"
	"testing"

	"telltale/resolver/dnstest"
)

// Clients of the shared address space that are refused are counted apart, without an
// allocation, and the last is remembered.
func TestRefusedClientsOfTheSharedAddressSpace(t *testing.T) {
	var c stats
	for _, client := range []string{"100.63.255.255", "100.64.0.1", "::ffff:100.127.255.254", "100.128.0.0", "203.0.113.5", "2001:db8::1"} {
		c.refuses(netip.MustParseAddr(client))
	}
	if c.refused.Load() != 6 || c.refusedShared.Load() != 2 || c.lastShared.Load() != 100<<24|127<<16|255<<8|254 {
		t.Errorf("got %d refused, %d of them shared, the last %x", c.refused.Load(), c.refusedShared.Load(), c.lastShared.Load())
	}
	client := netip.MustParseAddr("100.64.0.1")
	if n := dnstest.Allocs(100, func() { c.refuses(client) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
