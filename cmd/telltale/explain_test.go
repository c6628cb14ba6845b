package main

import (
	"net/netip"
	"testing"

	"telltale/config"
)

func TestAskerStoppedIsWhoTheServerWouldKnow(t *testing.T) {
	cfg := &config.Config{Devices: []config.Device{
		{Name: "house", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Name: "cellar", Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.64/26")}},
		{Name: "tv", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.65")}},
	}}
	for _, test := range []struct {
		who  string
		want uint16
	}{
		{"", 0}, {"192.0.2.1", 1}, {"192.0.2.66", 2}, {"192.0.2.65", 3}, {"tv", 3}, {"198.51.100.1", 0},
	} {
		if got, _, err := askerStopped(cfg, newNumbers(cfg), test.who); got != test.want || err != nil {
			t.Errorf("%q: settings %d, %v, want %d", test.who, got, err, test.want)
		}
	}
}
