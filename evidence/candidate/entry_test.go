package candidate

import (
	"strings"
	"testing"
	"time"

	"telltale/blocklists/format"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// An entry is one that a list reader takes, has the figures, and nothing of the home.
func TestEntry(t *testing.T) {
	at := querylog.Time{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c := &Candidate{
		Name: "data.mistat.eu.xiaomi.com", Score: 8, Attempts: 40, First: at, Last: at, Vendor: "Xiaomi", Product: `Mi "Stat"`, Purpose: "analytics", Sibling: "data.mistat.rus.xiaomi.com",
		Parts:   []Part{{"sibling", 5, "like data.mistat.rus.xiaomi.com, which is listed as telemetry of Xiaomi", ""}, {"rhythm", 3, "heartbeat: every 6 h", "Anna's phone"}},
		Devices: []Device{{Device: "mac:02:00:00:00:00:01", Label: "Anna's phone", Attempts: 40, Rhythm: rhythm.Heartbeat, Text: "every 6 h"}},
	}
	text := Entry(c)
	for _, not := range []string{"Anna", "02:00"} {
		if strings.Contains(text, not) {
			t.Errorf("%q is in the entry:\n%s", not, text)
		}
	}
	for _, want := range []string{"40 attempts by 1 of a home's devices", "+5 sibling", "device 1: 40 attempts, heartbeat: every 6 h"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the entry:\n%s", want, text)
		}
	}
	var rules []format.Rule
	format.Parse(strings.NewReader(text), format.Options{Name: "proposal"}, func(r *format.Rule) { rules = append(rules, *r) })
	if len(rules) != 1 || rules[0].Annotation == nil || rules[0].Annotation.Vendor != "Xiaomi" || rules[0].Annotation.Product != "Mi 'Stat'" || rules[0].Annotation.Tier != "telemetry" {
		t.Errorf("a list reader takes %+v of\n%s", rules, text)
	}
	c.Vendor = ""
	if text := Entry(c); !strings.Contains(text, "vendor=WHOSE-IS-IT") {
		t.Errorf("nobody is asked whose it is:\n%s", text)
	}
}

// A listed name that a device asked for may have the serial number of the device in it.
func TestAnEntryHasNoNameAsADeviceAskedForIt(t *testing.T) {
	for _, name := range []string{"metrics.acme.example", "sn815-annas-tv.t.acme.example"} { // a sibling, and one below the same domain
		r := &reading{
			o: &Options{}, owners: map[string]string{}, names: map[string]map[string]*asked{"metrics.eu.acme.example": {"tv": {times: []int64{1}, attempts: 1}}},
			all: map[string][]int64{"tv": {1}}, known: map[string]Known{}, domains: map[string]Known{},
		}
		r.o.fill()
		r.addKnown(Known{name, "Acme", "", "", "telemetry", true})
		c := r.weigh("metrics.eu.acme.example")
		if len(c.Parts) == 0 || !strings.Contains(c.Parts[0].Text, name) {
			t.Errorf("the home is not told of %s: %+v", name, c.Parts)
		}
		if text := Entry(&c); strings.Contains(text, name) || !strings.Contains(text, "is listed as telemetry of Acme") {
			t.Errorf("with %s:\n%s", name, text)
		}
	}
}
