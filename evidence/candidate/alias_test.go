package candidate

import (
	"context"
	"iter"
	"strings"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// rowsLog has the rows that it is made of.
type rowsLog struct {
	rhythm.Log
	rows []querylog.Row
}

func (l rowsLog) Begun(context.Context, querylog.Filter, bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		for i := range l.rows {
			if !yield(&l.rows[i], nil) {
				return
			}
		}
	}
}

// A name that leads to the alias of known telemetry has a part for it: by what upstreams said
// of the catalogue's names, or by the answers that a listed name got. An alias that also
// names lead to that are no telemetry is of nobody.
func TestTheAliasOfKnownTelemetryIsAPart(t *testing.T) {
	since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	log := rowsLog{Log: homeLog{&household.Home{}}}
	asked := func(name string, times int, more querylog.Row) {
		for i := range times {
			r := more
			r.Time, r.Device, r.Name, r.Attempts = querylog.Time{Time: since.Add(time.Duration(len(log.rows)*7+i) * time.Minute)}, "tv", name, 1
			log.rows = append(log.rows, r)
		}
	}
	pass := querylog.Row{Verdict: "pass"}
	for _, name := range []string{"a.one.example", "b.two.example", "shared.three.example", "in.nine.example", "plain.four.example"} {
		asked(name, 3, pass)
	}
	asked("seldom.five.example", 2, pass)
	asked("seen.acme.example", 1, querylog.Row{Verdict: "observe", Vendor: "Acme", Tier: "telemetry", Attribution: "rule"})
	leads := map[string][]string{
		"a.one.example": {"edge.cloud.example"}, "b.two.example": {"hop.example", "seen.cloud.example"}, "shared.three.example": {"front.cdn.example"}, "seldom.five.example": {"edge.cloud.example"},
		"seen.acme.example": {"seen.cloud.example"},
	}
	looked := map[string]int{}
	o := Options{
		Since: since, Until: since.AddDate(0, 0, 1),
		Known: []Known{{Name: "data.acme.example", Vendor: "Acme", Tier: "telemetry"}, {Name: "log.acme.example", Vendor: "Acme", Tier: "telemetry"}, {Name: "app.acme.example", Vendor: "Acme", Tier: "mixed"}},
		Leads: map[string][]string{"data.acme.example": {"in.nine.example", "edge.cloud.example"}, "log.acme.example": {"front.cdn.example"}, "app.acme.example": {"front.cdn.example"}},
		Aliases: func(name string) []string {
			looked[name]++
			return leads[name]
		},
	}
	f, err := Find(t.Context(), log, o)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, c := range f.Candidates {
		for _, p := range c.Parts {
			if p.What == "alias" && p.Points == 4 && c.Vendor == "Acme" {
				got[c.Name] = p.Text
			}
		}
	}
	for name, want := range map[string]string{
		"a.one.example": "leads to edge.cloud.example, as data.acme.example does", "b.two.example": "leads to seen.cloud.example, as seen.acme.example does", "in.nine.example": "leads to in.nine.example, as data.acme.example does",
	} {
		if !strings.Contains(got[name], want) {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	if len(got) != 3 || looked["seldom.five.example"] != 0 {
		t.Errorf("got %q; looked up %v", got, looked)
	}
	o.Aliases, o.Leads = nil, nil
	if f, err = Find(t.Context(), log, o); err != nil || len(f.Candidates) != 0 {
		t.Errorf("without what is known of aliases: %v, %+v", err, f.Candidates)
	}
}
