package main

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

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
	ids := newIdentities(cfg, bindings, nil)
	tv := []string{"Living-Room-TV", "mac:" + mac, "tv"}
	for who, want := range map[string][]string{
		"Living-Room-TV": tv, "living-room-tv": tv, "tv": tv, "mac:" + mac: tv, mac: tv, strings.ToUpper(mac): tv, "02-00-5E-10-00-01": tv,
		other:         {"mac:" + other}, // at the printer's address once, but not the printer
		"printer":     {"printer"},
		"192.168.1.9": {"addr:192.168.1.9"},
		"192.168.1.7": nil, // an address that nobody has
	} {
		spans, err := ids.find(who)
		var got []string
		for _, s := range spans {
			got = append(got, s.Device)
		}
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

func TestADeviceIsListedOnce(t *testing.T) {
	const mac = "02:00:5e:10:00:01"
	at := func(hour int) time.Time { return time.Date(2026, 5, 1, hour, 0, 0, 0, time.UTC) }
	cfg := &config.Config{Devices: []config.Device{{Name: "tv", MACs: []string{mac}}}}
	now := devices.Binding{ID: 2, Device: "tv", MAC: mac, Source: devices.ConfiguredMAC, From: at(9)}
	old := devices.Binding{ID: 1, Device: "mac:" + mac, MAC: mac, Source: devices.Neighbour, From: at(7), Until: at(9)}
	named := devices.DeviceStatus{Device: "tv", Name: "tv", Configured: true, Group: 1, First: at(9), Last: at(10), Bindings: []devices.Binding{now}}
	before := devices.DeviceStatus{Device: "mac:" + mac, Name: mac, First: at(7), Last: at(9), Bindings: []devices.Binding{old}}
	other := devices.DeviceStatus{Device: "addr:192.168.1.7", Name: "192.168.1.7", First: at(8), Last: at(8)}
	want := named
	want.First, want.Bindings = at(7), []devices.Binding{now, old}
	for _, all := range [][]devices.DeviceStatus{{named, before, other}, {before, named, other}} {
		got := newIdentities(cfg, bindingsOf(all), nil).oneEach(all)
		if len(got) != 2 || !reflect.DeepEqual(got[0], want) || got[1].Device != other.Device {
			t.Errorf("got %+v, want %+v and the other", got, want)
		}
	}
}
