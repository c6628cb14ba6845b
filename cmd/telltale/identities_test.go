package main

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"telltale/config"
	"telltale/devices"
)

func TestADeviceIsOneWhateverItWasKnownBy(t *testing.T) {
	const mac, other = "02:00:5e:10:00:01", "02:00:5e:10:00:02"
	cfg := &config.Config{Devices: []config.Device{
		{Name: "Living-Room-TV", MACs: []string{mac}},
		{Name: "printer", Addresses: []netip.Addr{netip.MustParseAddr("192.168.1.9")}},
	}}
	bindings := []devices.Binding{
		{Device: "mac:" + mac, Name: mac, MAC: mac, Source: devices.Neighbour},
		{Device: "tv", Name: "tv", MAC: mac, Source: devices.ConfiguredMAC},
		{Device: "Living-Room-TV", Name: "Living-Room-TV", MAC: mac, Source: devices.ConfiguredMAC},
		{Device: "mac:" + other, Name: "phone (" + other + ")", MAC: other, Source: devices.Neighbour},
		{Device: "printer", Name: "printer", MAC: other, Source: devices.ConfiguredAddress},
		{Device: "addr:192.168.1.9", Name: "192.168.1.9", Source: devices.BareAddress},
	}
	ids := newIdentities(cfg, bindings)
	tv := []string{"Living-Room-TV", "mac:" + mac, "tv"}
	for who, want := range map[string][]string{
		"Living-Room-TV": tv, "living-room-tv": tv, "tv": tv, "mac:" + mac: tv, mac: tv, strings.ToUpper(mac): tv, "02-00-5E-10-00-01": tv,
		other:         {"mac:" + other}, // at the printer's address once, but not the printer
		"printer":     {"printer"},
		"192.168.1.9": {"addr:192.168.1.9"},
		"192.168.1.7": nil, // an address that nobody has
	} {
		got, err := ids.find(who)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", who, got, err, want)
		}
	}
	for who, near := range map[string]string{"living-rom-tv": `"Living-Room-TV"`, "pritner": `"printer"`, "nothing-like-it": ""} {
		_, err := ids.find(who)
		if err == nil || !strings.Contains(err.Error(), near) || near == "" && strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%q: got %v, want an error with %s", who, err, near)
		}
	}
}
