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
	"telltale/devices/kinds"
)

// The settings take the kinds that there are.
func TestTheSettingsHaveEachKind(t *testing.T) {
	f, _ := reflect.TypeFor[config.Device]().FieldByName("Kind")
	if got := strings.Fields(f.Tag.Get("words")); !slices.Equal(got, kinds.Words) {
		t.Errorf("the settings have %v, and there are %v", got, kinds.Words)
	}
}

// A device is described by what is said of it alone: not by a MAC that stands for several
// devices, an address that it had before, or one that passes on what others say.
func TestADeviceIsDescribedByWhatIsItsOwn(t *testing.T) {
	at := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 1, n}) }
	f := &deviceFacts{
		makers: map[string]string{"00:1b:21:00:00:01": "Bert Radios", "00:1b:22:00:00:02": "Cleo Repeaters"},
		leases: map[netip.Addr]devices.LeaseOf{
			at(1): {MAC: "00:1b:21:00:00:01", Host: "radio", Class: "radio-2"}, at(2): {MAC: "00:1b:22:00:00:02", Host: "repeater"},
			at(3): {MAC: "00:1b:23:00:00:03", Host: "others"}, at(4): {Host: "later"},
		},
		announced: map[netip.Addr]devices.Announced{
			at(1): {Names: []string{"Kitchen"}, Models: []string{"R1"}, Services: []string{"_radio._tcp"}, Software: []string{"Radio/1"}},
			at(2): {Names: []string{"wrong"}}, at(3): {Names: []string{"relayed"}, Relays: true}, at(4): {Names: []string{"wrong"}},
		},
	}
	binding := func(n byte, mac string, c devices.Confidence) devices.Binding {
		return devices.Binding{Addr: at(n), MAC: mac, Source: devices.Neighbour, Confidence: c}
	}
	before := binding(4, "00:1b:21:00:00:01", devices.High)
	before.Until = time.Now()
	got := f.describe(&devices.DeviceStatus{Called: []string{"radio", "old-name"}, Bindings: []devices.Binding{
		binding(1, "00:1b:21:00:00:01", devices.High), binding(2, "00:1b:22:00:00:02", devices.Low), binding(3, "00:1b:21:00:00:01", devices.High), before,
	}}).Description
	want := kinds.Description{
		Makers: []string{"Bert Radios"}, Hosts: []string{"radio", "old-name", "Kitchen"}, Classes: []string{"radio-2"},
		Models: []string{"R1"}, Services: []string{"_radio._tcp"}, Software: []string{"Radio/1"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
