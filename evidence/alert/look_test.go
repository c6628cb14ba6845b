package alert

import (
	"strings"
	"testing"
	"time"

	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// What a person observes as a candidate is on no list of others, and no vendor's.
func TestAnObservedNameIsThePersonsOwn(t *testing.T) {
	d := newDesk(t, FirstLookup)
	r := querylog.Row{Name: "data.mistat.example", Device: "tv", Vendor: "candidate mistat.example", Tier: "mixed", Purpose: "telemetry", Attribution: "rule", AttributionList: "candidates", Verdict: "observe", Rcode: "NOERROR"}
	n := &rhythm.Newly{Rhythm: rhythm.Rhythm{Label: "tv", Name: r.Name, Vendor: r.Vendor, Beat: &rhythm.Beat{Period: 300}}, List: r.AttributionList}
	heartbeat := d.ofHeartbeat(n, time.Time{}, time.Time{})
	for _, text := range []string{d.ofRow(&r, FirstLookup, "tv", time.Time{}).Text, heartbeat.Text} {
		if !strings.Contains(text, "which you observe as a candidate (no list of others says whose it is)") || strings.Contains(text, "candidate mistat") || strings.Contains(text, "the list candidates") {
			t.Errorf("got %s", text)
		}
	}
	for name, want := range map[string]string{
		"data.mistat.example": "It is the device's first lookup of a name that you observe below mistat.example since", // of others below it nothing is known
		"mistat.example":      "It is the device's first lookup of mistat.example, or of a name below it, since",
	} {
		r.Name = name
		if got := d.ofRow(&r, FirstLookup, "tv", time.Time{}).Text; !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
	r.Vendor, r.AttributionList = "Acme", "ads"
	n.Vendor, n.List = r.Vendor, r.AttributionList
	heartbeat = d.ofHeartbeat(n, time.Time{}, time.Time{})
	for _, text := range []string{d.ofRow(&r, FirstLookup, "tv", time.Time{}).Text, heartbeat.Text} {
		if !strings.Contains(text, "which the list ads has as Acme's (") {
			t.Errorf("got %s", text)
		}
	}
}
