package candidate

import (
	"context"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"telltale/devices"
	"telltale/evidence/household"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// planted are 40 names of telemetry that the home's list has not, and names that serve
// people, of which some behave or read like telemetry.
func planted() (telemetry, serving map[string][]household.Habit) {
	telemetry, serving = map[string][]household.Habit{}, map[string][]household.Habit{}
	add := func(to map[string][]household.Habit, name string, h household.Habit, devices ...string) {
		h.Name = &household.Name{Name: name}
		for _, d := range devices {
			to[d] = append(to[d], h)
		}
	}
	beat := func(every time.Duration) household.Habit {
		return household.Habit{Every: every, Jitter: every / 20, Asleep: true}
	}
	random := func(perDay float64) household.Habit { return household.Habit{PerDay: perDay} }
	asleep := func(perDay float64) household.Habit { return household.Habit{PerDay: perDay, Asleep: true} }
	nightly := household.Habit{Nightly: 2, Asleep: true}

	// Siblings of listed names.
	add(telemetry, "metrics2.aurora.example", random(4), "phone", "phone-3")
	add(telemetry, "metrics-eu.aurora.example", random(3), "tablet")
	add(telemetry, "crash3.aurora.example", random(2), "phone-2")
	add(telemetry, "events-us.metrica.example", random(4), "laptop")
	add(telemetry, "viewing-de.brightline.example", random(4), "television", "television-2")
	add(telemetry, "beacon2.cadenza.example", beat(2*time.Hour), "speaker")
	add(telemetry, "telemetry-west.fathom.example", random(3), "laptop-3", "desktop")
	add(telemetry, "report-eu.kestrel.example", nightly, "vacuum")
	// Heartbeats without a telling name.
	for i, every := range []time.Duration{10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, time.Hour, 90 * time.Minute, 2 * time.Hour, 2 * time.Hour, 3 * time.Hour, 20 * time.Minute} {
		device := []string{"camera", "camera-2", "lamp", "lamp-2", "phone", "television", "thermostat", "speaker-2", "phone-4", "console"}[i]
		add(telemetry, fmt.Sprintf("%s.quasar%d.example", []string{"k3x", "hub", "edge-a", "gw", "node7", "xp", "rpc", "core", "iot", "svc"}[i], i), beat(every), device)
	}
	// Names that say what they are, at random times.
	for i, name := range []string{
		"telemetry.orbit.example", "events.pulsar.example", "metrics.lumen.example", "log.nimbus.example", "stats.cirrus.example", "crashreport.zephyr.example",
		"collector.boreal.example", "analytics.tundra.example", "beacon.atoll.example", "tracking.lagoon.example", "diagnostics.mesa.example", "usage.canyon.example",
	} {
		add(telemetry, name, random(4+float64(i%4)), []string{"phone", "phone-2", "phone-3", "tablet", "tablet-2", "laptop", "console", "desktop", "television", "laptop-3", "phone-4", "television-2"}[i])
	}
	// Batches at night, and what asks while nobody does.
	for i, name := range []string{"a1.fjord.example", "nx.delta.example", "sync7.reef.example", "q.dune.example", "bulk.steppe.example"} {
		add(telemetry, name, nightly, []string{"printer", "vacuum", "television", "camera", "phone-2"}[i])
	}
	for i, name := range []string{"p1.glacier.example", "zz.savanna.example"} {
		add(telemetry, name, asleep(12), []string{"printer", "camera-2"}[i])
	}
	// All devices of one kind, and no other.
	add(telemetry, "ev.marsh.example", random(6), "speaker", "speaker-2", "speaker-3")
	add(telemetry, "dc.prairie.example", random(5), "lamp", "lamp-2", "lamp-3", "lamp-4")
	add(telemetry, "data.heath.example", random(6), "television", "television-2")

	for i, name := range []string{
		"www.shopfront.example", "cdn.newsroom.example", "images.newsroom.example", "api.transit.example", "login.bank.example", "static.forum.example", "imap.post.example",
		"www.library.example", "accounts.photo.example", "media.podcasts.example", "maps.city.example", "stream.cinema.example", "app.recipes.example", "play.arcade.example", "store.console.example",
	} {
		add(serving, name, random(5+float64(i%5)), []string{"phone", "laptop", "tablet", "phone-3", "laptop-3", "desktop", "phone-2", "console"}[i%8])
	}
	add(serving, "ntp.pool.example", beat(time.Hour), "camera", "lamp", "lamp-3", "thermostat", "television")
	add(serving, "weather.almanac.example", beat(30*time.Minute), "phone", "thermostat")
	add(serving, "mail.post.example", beat(15*time.Minute), "phone-2", "laptop")
	add(serving, "update.lumen.example", nightly, "laptop", "console")
	add(serving, "download.brightline.example", random(2), "television")
	add(serving, "connectivity-check.aurora.example", household.Habit{AtBoot: true, PerDay: 3}, "phone", "tablet")
	add(serving, "chat.hearth.example", beat(20*time.Minute), "phone", "phone-3")
	add(serving, "api.hearth.example", random(8), "phone", "phone-3", "laptop")
	add(serving, "time.cadenza.example", beat(4*time.Hour), "speaker", "speaker-2", "speaker-3")
	return telemetry, serving
}

// A homeLog is the log of a made-up home in memory, in which nothing is missing.
type homeLog struct{ h *household.Home }

func (l homeLog) Bindings(context.Context) ([]devices.Binding, error) { return nil, nil }

func (l homeLog) Begun(context.Context, querylog.Filter, bool) iter.Seq2[*querylog.Row, error] {
	return func(yield func(*querylog.Row, error) bool) {
		for i := range l.h.Lookups {
			k := &l.h.Lookups[i]
			if !k.Begins {
				continue
			}
			r := querylog.Row{Time: querylog.Time{Time: k.Time}, Device: k.Was.Device, Name: k.Asked(), Attempts: 1, Verdict: k.Name.Verdict(), Vendor: k.Name.Vendor, Purpose: k.Name.Purpose, Tier: k.Name.Tier}
			if r.Vendor != "" {
				r.Attribution, r.AttributionList, r.AttributionLine = "rule", "home", 1
			}
			if !yield(&r, nil) {
				return
			}
		}
	}
}

func (l homeLog) Coverage(_ context.Context, since, until time.Time) (querylog.Coverage, error) {
	begin := querylog.Time{Time: since}
	return querylog.Coverage{Since: begin, Until: querylog.Time{Time: until}, Begin: begin, AttemptGap: querylog.DefaultAttempt, AttemptsSince: begin}, nil
}

func (l homeLog) Totals(context.Context, querylog.TotalsFilter) iter.Seq2[querylog.Total, error] {
	return func(yield func(querylog.Total, error) bool) {
		for i := range l.h.Lookups {
			k := &l.h.Lookups[i]
			if !yield(querylog.Total{Hour: querylog.Time{Time: k.Time.Truncate(time.Hour)}, Device: k.Was.Device, Vendor: k.Name.Vendor, Lookups: 1}, nil) {
				return
			}
		}
	}
}

// home makes a home with the names planted, which it returns.
func home(t *testing.T, o household.Options) (*household.Home, map[string]bool) {
	telemetry, serving := planted()
	o.Planted, o.KeepAll = map[string][]household.Habit{}, true
	for _, from := range []map[string][]household.Habit{telemetry, serving} {
		for d, habits := range from {
			o.Planted[d] = append(o.Planted[d], habits...)
		}
	}
	names := map[string]bool{}
	for _, habits := range telemetry {
		for _, b := range habits {
			names[b.Name.Name] = true
		}
	}
	if len(names) != 40 {
		t.Fatalf("%d names are planted", len(names))
	}
	return household.New(o), names
}

// check finds candidates of a home, and compares them with what was planted.
func check(t *testing.T, h *household.Home, log rhythm.Log, planted map[string]bool) {
	kind, today := map[string]string{}, map[string]string{}
	for _, d := range h.Devices {
		for _, was := range d.Was {
			today[was.Device] = d.Was[0].Device
		}
		kind[d.Was[0].Device] = d.Kind
	}
	isHome := func(name string) bool {
		return slices.ContainsFunc([]string{".lan", ".fritz.box", ".home.arpa", ".local"}, func(s string) bool { return strings.HasSuffix(name, s) })
	}
	f, err := Find(t.Context(), log, Options{
		Since: h.Begin, Until: h.End(), Zone: h.Begin.Location(), Today: func(identity string, _ time.Time) string { return today[identity] }, Maker: func(d string) string { return kind[d] }, IsHome: isHome,
	})
	if err != nil {
		t.Fatal(err)
	}
	many := 0
	var serves []string
	for i, c := range f.Candidates {
		if i < 50 && planted[c.Name] {
			many++
		}
		if i < 20 && !planted[c.Name] {
			serves = append(serves, c.Name)
		}
		sum, words := 0, ""
		for _, p := range c.Parts {
			sum += p.Points
			words += fmt.Sprintf(" %s %+d", p.What, p.Points)
		}
		if sum != c.Score {
			t.Errorf("%s: the parts are %d together, and the score is %d", c.Name, sum, c.Score)
		}
		if testing.Verbose() {
			t.Logf("%2d %v %s: %d (%s)", i+1, planted[c.Name], c.Name, c.Score, words)
		}
	}
	t.Logf("%d of 40 are in the first 50 of %d; in the first 20 are %q that are not of them", many, len(f.Candidates), serves)
	if many < 30 {
		t.Errorf("%d of 40 are in the first 50, want at least 30", many)
	}
	if len(serves) > 0 {
		t.Errorf("in the first 20 are %q, which serve people", serves)
	}
}

// Of 40 names of telemetry that are planted in a made-up home, at least 30 are among the
// first 50 candidates, and no name that serves people is among the first 20.
func TestPlantedTelemetryIsFound(t *testing.T) {
	seeds := 1
	if runs, err := strconv.Atoi(os.Getenv("FINDINGS_RUNS")); err == nil { // make bench
		seeds = max(1, runs/100)
	}
	for seed := range seeds {
		h, names := home(t, household.Options{Days: 7, Seed: uint64(11 + seed)})
		h.RecordAll()
		check(t, h, homeLog{h}, names)
	}
}
