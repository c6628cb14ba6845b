package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"telltale/config"
	"telltale/devices"
	"telltale/evidence"
	"telltale/evidence/rhythm"
	"telltale/querylog"
	"telltale/web"
)

func testLog() *openedLog {
	cfg := &config.Config{
		Devices: []config.Device{{Name: "annas-phone", MACs: []string{"02:00:5e:10:00:01"}}},
		Local:   config.Local{DeviceSuffix: "lan", Records: []string{"nas.family.example A 192.168.1.9"}},
		Forward: []config.Forward{{Zones: []string{"office.example"}}},
	}
	bindings := []devices.Binding{{ID: 1, Device: "mac:02:00:5e:10:00:02", Name: "bens-laptop", Addr: netip.MustParseAddr("192.168.1.7"), MAC: "02:00:5e:10:00:02", Source: devices.Neighbour}}
	return &openedLog{cfg: cfg, ids: newIdentities(cfg, bindings, nil)}
}

// secretWords are what no export with pseudonyms may have.
var secretWords = []string{"anna", "ben", "192.168", "02:00:5e", "attic", "nas.", "printer", "office", "family", "secret", "abcd"}

func TestPseudonymsHideTheHome(t *testing.T) {
	row := func(device, name, verdict, rule string) querylog.Row {
		return querylog.Row{
			Time: querylog.Time{Time: time.Unix(1e9, 0)}, Device: device, DeviceName: "annas-phone", Client: "192.168.1.7", MAC: "02:00:5e:10:00:01", ClientID: "secret", Node: "attic",
			Name: name, Alias: "cname.tracker.example", Verdict: verdict, Rule: rule, Upstream: "192.168.1.1", Store: "abcd", Vendor: "Acme",
		}
	}
	p := newPseudonyms(testLog())
	for _, c := range []struct{ device, name, verdict, rule, wantDevice, wantName, wantRule string }{
		{"annas-phone", "a.tracker.example", "block", "tracker.example", "device-1", "a.tracker.example", "tracker.example"},
		{"mac:02:00:5e:10:00:01", "printer", "pass", "", "device-1", "host-1", ""},
		{"mac:02:00:5e:10:00:02", "printer.lan", "pass", "", "device-2", "host-2", ""},
		{"annas-phone", "nas.family.example", "answer", "nas.family.example", "device-1", "host-3", ""},
		{"annas-phone", "x.office.example", "pass", "", "device-1", "host-5", ""},
		{"annas-phone", "7.1.168.192.in-addr.arpa", "answer", "", "device-1", "host-6", ""},
		{"annas-phone", "toaster.shop.example", "answer", "", "device-1", "host-7", ""},
		{"annas-phone", "b.tracker.example", "block", "||tracker.example^$client=annas-phone", "device-1", "b.tracker.example", ""},
		{"addr:192.168.1.7", "PRINTER", "pass", "", "device-3", "host-1", ""},
		{"", "", "pass", "", "", "", ""},
	} {
		r := row(c.device, c.name, c.verdict, c.rule)
		got := p.row(&r)
		if got.Device != c.wantDevice || got.Name != c.wantName || got.Rule != c.wantRule || got.Alias == "" || got.Vendor != "Acme" {
			t.Errorf("%s, %s: got %q, %q, rule %q", c.device, c.name, got.Device, got.Name, got.Rule)
		}
		if got.DeviceName != got.Device && c.device != "" {
			t.Errorf("%s is shown as %q", got.Device, got.DeviceName)
		}
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		hasNone(t, string(text))
	}
}

func hasNone(t *testing.T, text string) {
	t.Helper()
	for _, word := range secretWords {
		if strings.Contains(strings.ToLower(text), word) {
			t.Errorf("%q is in %s", word, text)
		}
	}
}

// A report in other words has none of the home's.
func TestAReportWithPseudonymsHidesTheHome(t *testing.T) {
	l := testLog()
	p := newPseudonyms(l)
	at := querylog.Time{Time: time.Unix(1e9, 0)}
	var o evidence.Options
	o.Notes = []evidence.Marker{{Time: at, Text: "noted of annas-phone: ben has it"}}
	p.options(&o)
	label := o.Name("annas-phone")
	r := &evidence.Report{
		About:   evidence.About{Device: "annas-phone", Label: label},
		Devices: []evidence.Device{{Device: "annas-phone", Label: label}},
		Flows:   []evidence.Flow{{Device: label, Vendor: "Acme"}},
		Vendors: []evidence.Vendor{{Vendor: "Acme", Devices: []string{label}, Names: []evidence.Name{{Name: "a.tracker.example"}, {Name: "printer.lan"}}}},
		New:     []evidence.Change{{Name: "nas.lan"}}, Gone: []evidence.Change{{Name: "office.example"}},
		Identity: []evidence.Identity{{Device: "mac:02:00:5e:10:00:01", Covers: "192.168.1.7", MAC: "02:00:5e:10:00:01"}, {Device: "annas-phone", Covers: "192.168.1.0/24"}},
		Markers:  append(o.Notes, evidence.Marker{Time: at, Kind: "pause", Text: "blocking was paused: annas-phone: for 30m"}),
		Coverage: evidence.Coverage{Gaps: []querylog.Gap{{Kind: "mac-shared", Subject: "02:00:5e:10:00:01", Detail: "192.168.1.7"}, {Kind: querylog.GapUnknown, Detail: "the log begins later"}}},
	}
	p.report(r)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	hasNone(t, string(text))
	for _, want := range []string{"device-1", "address-1", "prefix-1", "mac-1", "a.tracker.example", "blocking was paused", "the log begins later"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	if r.About.Label != "device-1" || r.Devices[0].Device != r.Devices[0].Label || r.Identity[0].Device != "device-1" {
		t.Errorf("one device has several words: %+v", r)
	}
	if got := fmt.Sprint(r.Markers); !strings.Contains(got, "blocking was paused}") {
		t.Errorf("markers: %s", got)
	}
}

// Bindings of a device have numbers by their order in the export, and not the store's, which
// are the same in all exports.
func TestPseudonymsHideTheNumbersOfBindings(t *testing.T) {
	p := newPseudonyms(testLog())
	d := p.shown(&web.Device{Device: "annas-phone", Bindings: []web.Binding{{ID: 71, Addr: "192.168.1.7"}, {ID: 4711, Addr: "192.168.1.8"}}})
	next := p.shown(&web.Device{Device: "nas", Bindings: []web.Binding{{ID: 72, Addr: "192.168.1.9"}}})
	if got := []uint64{d.Bindings[0].ID, d.Bindings[1].ID, next.Bindings[0].ID}; !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("numbers %v", got)
	}
}

func TestNamesOfRhythmsAreHiddenAsInTheLog(t *testing.T) {
	p := newPseudonyms(testLog())
	for _, f := range []struct {
		rhythm.Rhythm
		want string
	}{
		{rhythm.Rhythm{Name: "toaster.shop.example", Here: true}, "host-1"},
		{rhythm.Rhythm{Name: "a.tracker.example"}, "a.tracker.example"},
		{rhythm.Rhythm{Name: "*.office.example"}, "host-2"},
	} {
		if got := p.ofRhythm(&f.Rhythm); got != f.want {
			t.Errorf("%s: got %s, want %s", f.Name, got, f.want)
		}
	}
}
