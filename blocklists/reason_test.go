package blocklists

import (
	"fmt"
	"testing"
	"time"

	"telltale/dnswire"
)

// Stored rows hold these numbers: a changed line of this test is a changed meaning
// of old logs.
func TestNumbersOfReasonsNeverChange(t *testing.T) {
	for i, want := range []string{"", "own", "important-exception", "important-block", "exception", "block", "special", "list-exception", "unknown"} {
		if got := Class(i).String(); got != want {
			t.Errorf("class %d: got %q, want %q", i, got, want)
		}
	}
	for i, want := range []string{"", "list", "schedule", "tier", "device", "group", "pause", "everything", "tcp-only",
		"pause-device", "pause-group", "pause-list", "pause-vendor", "observe", "observe-device", "observe-group", "observe-list", "observe-vendor", "unknown"} {
		if got := ObservedBy(i).String(); got != want {
			t.Errorf("observed by %d: got %q, want %q", i, got, want)
		}
	}
}

func TestVerdictSaysWhy(t *testing.T) {
	later := time.Now().Add(time.Hour)
	never := Schedule{Text: "never now", Windows: []Window{{Days: 1 << ((time.Now().UTC().Weekday() + 3) % 7), From: 0, To: 1}}, Zone: time.UTC}
	zone := "$TTL 60\n@ SOA localhost. root.localhost. 1 2 3 4 5\nads.example CNAME rpz-tcp-only.\n"
	for _, c := range []struct {
		fact            string
		own, a, shipped string
		group           Group
		options         Options
		want            string
	}{
		{fact: "nothing matches", want: "pass"},
		{fact: "the user's own rule", own: "ads.example", want: "block own"},
		{fact: "the user's own exception", own: "@@ads.example", a: "ads.example", want: "allow own"},
		{fact: "an important exception", a: "@@||ads.example^$important\nads.example", want: "allow important-exception"},
		{fact: "an important block", a: "||ads.example^$important", want: "block important-block"},
		{fact: "an exception", a: "@@ads.example\nads.example", want: "allow exception"},
		{fact: "a list's block", a: "ads.example", want: "block block"},
		{fact: "a list that observes", a: "ads.example", options: Options{Lists: []ListSettings{{Name: "a", Observe: true}}}, want: "observe block list"},
		{fact: "a rule of tier mixed", shipped: "ads.example #@ vendor=V tier=mixed", want: "observe block tier"},
		{fact: "everything is observed", a: "ads.example", options: Options{Observe: true}, want: "observe block everything"},
		{fact: "a device is observed", own: "ads.example", group: 1, options: Options{Groups: []GroupSettings{{Observe: true}}}, want: "observe own device"},
		{fact: "a device is observed for a time", a: "ads.example", group: 1, options: Options{Groups: []GroupSettings{{ObserveUntil: later}}}, want: "observe block device"},
		{fact: "a device's group is observed", a: "ads.example", group: 1, options: Options{Groups: []GroupSettings{{GroupObserve: true}}}, want: "observe block group"},
		{fact: "a device's group is observed for a time", a: "ads.example", group: 1, options: Options{Groups: []GroupSettings{{GroupObserveUntil: later}}}, want: "observe block group"},
		{fact: "the schedule of a device's group", a: "ads.example", group: 1, options: Options{Groups: []GroupSettings{{Schedule: never}}}, want: "observe block schedule"},
		{fact: "tcp-only over UDP", a: zone, want: "block block"},
		{fact: "tcp-only over a stream", a: zone, group: Group(0).OverStream(), want: "observe block tcp-only"},
		{fact: "a stream changes no other block", a: "ads.example", group: Group(0).OverStream(), want: "block block"},
	} {
		t.Run(c.fact, func(t *testing.T) {
			o := c.options
			o.Dir = files(t, map[string]string{"own.txt": c.own + "\n", "a.txt": c.a + "\n"})
			o.Shipped = shippedFS(map[string]string{"vendor.txt": c.shipped})
			v := policyOf(t, o).Decide(name(t, "ads.example"), dnswire.TypeA, c.group)
			got := v.Action.String()
			for _, word := range []string{v.Class.String(), v.ObservedBy.String()} {
				if word != "" {
					got += " " + word
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAPauseIsTheReason(t *testing.T) {
	s := loaded(t, Options{Dir: files(t, map[string]string{"a.txt": "ads.example\n"}), Observe: true, Temporary: []Temporary{{Kind: Pause, Of: Everything, Until: time.Now().Add(time.Hour)}}})
	v := s.Current().Decide(name(t, "ads.example"), dnswire.TypeA, 0)
	if got, want := fmt.Sprint(v.Action, v.Class, v.ObservedBy), "observe block pause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASpecialNameKeepsItsAttribution(t *testing.T) {
	p := policyOf(t, Options{Shipped: shippedFS(map[string]string{"vendor.txt": "ads.test #@ vendor=V tier=telemetry"})})
	lists := p.Decide(name(t, "ads.test"), dnswire.TypeA, 0)
	v := p.DecideSpecial(lists, SpecialTest)
	if v.Action != Answer || v.Class != SpecialName || v.Rule != SpecialTest || p.Attribution(v) == nil || p.Attribution(v).Vendor != "V" {
		t.Errorf("got %+v, attributed to %+v", v, p.Attribution(v))
	}
}
