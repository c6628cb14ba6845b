// Package dispute makes up the log of docs/example: a phone that reports in a private
// window as well, beside one that does not; an opt-out at noon; two browsers. Nothing of
// it is real, and every figure of the page comes from it by the commands shown.
package dispute

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/evidence/destination"
	"telltale/evidence/experiment"
	"telltale/evidence/geo"
	"telltale/querylog"
)

const settings = `# Settings of a made-up home. What its log says is made up, too.
listen:
  dns: ["127.0.0.1:5300"]
lists:
  dir: lists.d
data:
  dir: store
devices:
  - {name: phone, mac: "02:00:5e:10:00:01"}
  - {name: other-phone, mac: "02:00:5e:10:00:02"}
`

const list = `# The names of a vendor that is made up.
#@ vendor=Aurora product="Aurora phone" tier=telemetry purpose=analytics source=https://aurora.example/privacy
stat.aurora.example
#@ vendor=Aurora product="Aurora phone" tier=telemetry purpose=diagnostics source=https://aurora.example/privacy
crash.aurora.example
#@ vendor=Aurora product="Aurora browser" tier=telemetry purpose=browsing source=https://study.example/aurora-browser
track.browser.aurora.example
#@ vendor=Aurora product="Aurora phone" tier=telemetry purpose=advertising source=https://aurora.example/privacy
ads.aurora.example
#@ vendor=Borealis product="Borealis browser" tier=telemetry purpose=browsing source=https://borealis.example/privacy
metrics.borealis.example
`

// Begin is the Monday on which the week begins, in UTC.
var Begin = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func day(n, hour int) time.Time { return Begin.Add(time.Duration(24*n+hour) * time.Hour) }

// A lookup is one attempt: an A and an AAAA.
type lookup struct {
	at     time.Time
	device int
	name   string
}

// lookups are what the two phones ask for.
func lookups() (all []lookup) {
	r := rand.New(rand.NewPCG(15, 2026))
	ask := func(device int, name string, since, until time.Time, perHour float64) {
		for at := since; ; {
			at = at.Add(35*time.Second + time.Duration(r.ExpFloat64()*(3600/perHour-35)*float64(time.Second))).Truncate(time.Millisecond)
			if !at.Before(until) {
				return
			}
			all = append(all, lookup{at, device, name})
		}
	}
	end := day(7, 0)
	for device := range 2 {
		ask(device, "news.example", Begin, end, 3)
	}
	optedOut := day(2, 12)
	ask(0, "stat.aurora.example", Begin, end, 5)       // whatever is set
	ask(0, "crash.aurora.example", Begin, optedOut, 4) // less
	ask(0, "crash.aurora.example", optedOut, end, 1.5) //
	ask(0, "ads.aurora.example", Begin, optedOut, 1.5) // no more
	for i := range 6 {                                 // normal and private windows, on Saturday; then two browsers, on Sunday
		turn := func(day time.Time) (since, until time.Time) {
			return day.Add(time.Duration(i) * 30 * time.Minute), day.Add(time.Duration(i+1) * 30 * time.Minute)
		}
		since, until := turn(day(5, 10))
		ask(0, "track.browser.aurora.example", since, until, 70)
		if i%2 == 0 {
			ask(1, "metrics.borealis.example", since, until, 60)
		}
		since, until = turn(day(6, 10))
		if i%2 == 0 {
			ask(0, "track.browser.aurora.example", since, until, 70)
		}
	}
	slices.SortFunc(all, func(a, b lookup) int { return a.at.Compare(b.at) })
	return all
}

// An act is what a person does, as a line of the ledger.
type act struct {
	at   time.Time
	name string
	step experiment.Step
}

// experiments are the three of the page, and when which step was done.
func experiments() (plans map[string]experiment.Settings, templates map[string]string, acts []act) {
	both := []experiment.Device{{Device: "phone", Name: "phone"}, {Device: "other-phone", Name: "other-phone"}}
	plans = map[string]experiment.Settings{"optout": {Devices: both[:1], Vendor: "Aurora"}, "incognito": {Devices: both}, "browsers": {Devices: both[:1]}}
	templates = map[string]string{"optout": "opt-out", "incognito": "incognito", "browsers": "two-browsers"}
	add := func(at time.Time, name, do, says string) {
		acts = append(acts, act{at, name, experiment.Step{Do: do, Says: says}})
	}
	add(day(0, 12), "optout", experiment.Start, "")
	add(day(2, 12), "optout", experiment.DoMark, "opted out")
	add(day(4, 12), "optout", experiment.Stop, "")
	for name, of := range map[string]struct {
		day  time.Time
		says [2]string
	}{"incognito": {day(5, 10), [2]string{"normal window", "private window"}}, "browsers": {day(6, 10), [2]string{"Aurora's browser", "the second browser"}}} {
		add(of.day, name, experiment.Start, "")
		for i := 1; i < 6; i++ {
			add(of.day.Add(time.Duration(i)*30*time.Minute), name, experiment.DoMark, of.says[i%2])
		}
		add(of.day.Add(3*time.Hour), name, experiment.Stop, "")
	}
	slices.SortFunc(acts, func(a, b act) int { return a.at.Compare(b.at) })
	return plans, templates, acts
}

// Write writes the home into a directory: settings, list, and the log, by the log's own
// writer and a clock that does not wait.
func Write(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "lists.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"telltale.yaml": settings, "lists.d/vendors.txt": list} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lists, err := blocklists.OpenReadOnly(blocklists.Options{Dir: filepath.Join(dir, "lists.d")})
	if err != nil {
		t.Fatal(err)
	}
	defer lists.Close()
	synctest.Test(t, func(t *testing.T) { write(t, filepath.Join(dir, "store"), lists.Current()) })
}

func write(t *testing.T, dir string, policy *blocklists.Policy) {
	ahead := time.Until(Begin)
	now := func() time.Time { return time.Now().Add(ahead).Round(0) }
	log, err := querylog.Open(querylog.Options{Dir: dir, Node: "home", Program: "telltale of the example", Logger: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var bindings []*devices.Binding
	for i, name := range []string{"phone", "other-phone"} {
		b := &devices.Binding{
			ID: uint64(i + 1), Device: name, Name: name, Addr: netip.MustParseAddr(fmt.Sprintf("192.168.1.%d", 11+i)), MAC: fmt.Sprintf("02:00:5e:10:00:%02x", i+1),
			Source: devices.ConfiguredMAC, Confidence: devices.High, From: Begin,
		}
		log.KeepBinding(*b)
		bindings = append(bindings, b)
	}
	ledger := plan(t, log, now)
	keepDestinations(t, log, now())
	_, _, acts := experiments()
	until := func(at time.Time) { time.Sleep(at.Sub(now())) }
	for _, l := range lookups() {
		for len(acts) > 0 && !acts[0].at.After(l.at) {
			until(acts[0].at)
			ledger = follow(t, log, ledger, acts[0], now())
			acts = acts[1:]
		}
		until(l.at)
		ask(t, log, policy, bindings[l.device], l.name, now())
	}
	until(day(7, 0))
	synctest.Wait()
}

// plan writes the plans, an hour into the week.
func plan(t *testing.T, log *querylog.Log, now func() time.Time) (ledger []querylog.Event) {
	time.Sleep(time.Hour)
	plans, templates, _ := experiments()
	all, err := experiment.Templates()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"optout", "incognito", "browsers"} {
		for _, template := range all {
			if template.Name != templates[name] {
				continue
			}
			p, err := template.Fill(plans[name])
			if err != nil {
				t.Fatal(err)
			}
			line, err := experiment.PlanEvent(name, p, experiment.All(ledger))
			if err != nil {
				t.Fatal(err)
			}
			log.Report(line.Kind, line.Subject, line.Detail)
			line.Time = querylog.Time{Time: now()}
			ledger = append(ledger, line)
		}
	}
	return ledger
}

func follow(t *testing.T, log *querylog.Log, ledger []querylog.Event, a act, now time.Time) []querylog.Event {
	line, err := experiment.Find(experiment.All(ledger), a.name).Event(a.step, now)
	if err != nil {
		t.Fatal(err)
	}
	log.Report(line.Kind, line.Subject, line.Detail)
	line.Time = querylog.Time{Time: now}
	return append(ledger, line)
}

func ask(t *testing.T, log *querylog.Log, policy *blocklists.Policy, b *devices.Binding, asked string, now time.Time) {
	name, err := dnswire.ParseName(asked)
	if err != nil {
		t.Fatal(err)
	}
	var records []querylog.Record
	for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeAAAA} {
		r := querylog.Record{Time: now, Elapsed: time.Millisecond, Client: b.Addr, Binding: b, Name: name.Wire(), Type: typ, Source: querylog.FromUpstream, Transport: querylog.UDP, TTL: 300}
		if r.Verdict = policy.Decide(&name, typ, 0); r.Verdict.Action == blocklists.Block {
			r.Source, r.TTL = querylog.FromPolicy, 10
		}
		records = append(records, r)
	}
	log.Append(records)
}

// keepDestinations keeps where two of the names lead, as 'telltale destinations --refresh'
// does: to a cloud that is made up, by a database that is.
func keepDestinations(t *testing.T, log *querylog.Log, now time.Time) {
	cloud := func(address, region string) destination.Address {
		return destination.Address{
			Address: netip.MustParseAddr(address), Network: geo.Network{ASN: 64500, Operator: "NIMBUS-CLOUD (made up)", Country: "SG", Registered: "SG", Cloud: "Nimbus Cloud (made up)", Region: region},
		}
	}
	texts := map[string]string{}
	for name, address := range map[string]string{"stat.aurora.example": "203.0.113.10", "track.browser.aurora.example": "203.0.113.20"} {
		f := destination.Found{Aliases: []string{"aurora-collect.nimbus.example"}, Addresses: []destination.Address{cloud(address, "Singapore region")}, Domain: "aurora.example", Servers: []string{"ns1.nimbus.example"}}
		texts[name] = f.Text()
	}
	if err := log.KeepDestinations(context.Background(), now, texts); err != nil {
		t.Fatal(err)
	}
}
