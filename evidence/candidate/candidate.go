// Package candidate finds names that may be telemetry and are on no list: by how devices
// ask for them, and by what they look like. Each has a score whose parts are shown.
// Nothing is blocked by it. docs/evidence.md has the parts, and how often they are wrong.
package candidate

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"telltale/evidence"
	"telltale/evidence/rhythm"
	"telltale/querylog"
	"telltale/sorting"
)

// A Known name is listed, by the catalogue or by a list of the person.
type Known struct {
	Name, Vendor, Product, Purpose, Tier string

	asked bool // the name is as a device asked for it, and may have marks of the home in it
}

// Options say of which devices and time candidates are wanted, and what is known.
type Options struct {
	Since, Until time.Time
	Zone         *time.Location // nil for UTC
	Whose        querylog.Filter

	Today  func(identity string, at time.Time) string // which device it is today; nil: the same
	Was    func(device string) []querylog.DeviceSpan  // all that a device of today was; nil: itself
	Name   func(device string) string                 // what it is called; nil: its identity
	Maker  func(device string) string                 // who made it, or what kind it is; "" for not known. Nil: of none
	IsHome func(name string) bool                     // it is a name of the home; nil: none is

	// Discovered has the devices of today whose rows of names that no list has are kept
	// as long as those of listed ones, and since when.
	Discovered map[string]time.Time

	Known    []Known
	Observed []string // names that a person observes, with those below

	// Leads has the aliases to which names of Known led when upstreams were asked, where a
	// person turned that on. Aliases returns those to which a name that a device asked for
	// leads by answers that are there already; nil: none is known. It asks nobody.
	Leads   map[string][]string
	Aliases func(name string) []string
}

// Found are the candidates of a period.
type Found struct {
	Since      querylog.Time `json:"since"`
	Until      querylog.Time `json:"until"`
	Unlisted   querylog.Time `json:"unlisted,omitzero"` // from when on there are rows of names that no list has
	Names      int           `json:"names"`             // that no list has, looked at
	Candidates []Candidate   `json:"candidates"`        // the highest score first, those that are observed last
	Caveats    []string      `json:"caveats"`
}

// A Candidate is a name that may be telemetry.
type Candidate struct {
	Name     string        `json:"name"`
	Score    int           `json:"score"`
	Parts    []Part        `json:"parts"` // of the score
	Attempts uint64        `json:"attempts"`
	First    querylog.Time `json:"first"`
	Last     querylog.Time `json:"last"`
	Devices  []Device      `json:"devices"`
	Sibling  string        `json:"sibling"`  // the listed name that is most like it; "" for none
	Vendor   string        `json:"vendor"`   // whose it may be: the sibling's, or the domain's; "" for not known
	Product  string        `json:"product"`  // the sibling's
	Purpose  string        `json:"purpose"`  // the sibling's
	Observed bool          `json:"observed"` // a person observes it already

	ObservedBelow string `json:"observed_below,omitempty"` // the name above it that is observed; "" where it is observed itself

	asked bool // the listed name that the score has is as a device asked for it
}

// A Part is one of a score's.
type Part struct {
	What   string `json:"what"` // a word that never changes
	Points int    `json:"points"`
	Text   string `json:"text"`
	Device string `json:"device"` // as shown, of which this is said; "" for none
}

// A Device is one that asked for a candidate.
type Device struct {
	Device   string      `json:"device"` // its identity today
	Label    string      `json:"label"`
	Attempts uint64      `json:"attempts"`
	Rhythm   rhythm.Kind `json:"rhythm"`
	Text     string      `json:"text"` // of the rhythm
	Alone    float64     `json:"alone"`
}

const (
	// Least is the score from which on a name is a candidate.
	Least = 3

	leastAttempts = 3
	leastAlone    = 6                // attempts
	aloneFor      = 30 * time.Minute // before and after, in which the device attempts no other name
	afterUpdate   = 24 * time.Hour
	knownBefore   = 12 * time.Hour // of a log, in which a name is new
	maxNames      = 50_000
	mostAliases   = 3000 // names whose aliases are looked up
)

// An asked name is one that no list has, as a device asked for it.
type asked struct {
	times    []int64 // Unix milliseconds
	attempts uint64
}

type reading struct {
	o       *Options
	names   map[string]map[string]*asked // by name and device
	owners  map[string]string            // of names, as rows have them
	all     map[string][]int64           // attempts of a device at whatever name
	updates map[string][]int64           // attempts of a device at a name of updates
	rhythms map[string]map[string]*rhythm.Rhythm
	known   map[string]Known // telemetry, by pattern
	domains map[string]Known // telemetry, by registrable domain
	targets map[string]Known // telemetry, by the aliases that it leads to; of other tiers where any of them does, too
	listed  map[string]Known // names that devices asked for, have a list, and were answered
	first   int64            // of all rows of unlisted names
	whole   int64            // from when on there are those of devices of which none are kept longer
	left    int

	notLogged map[string][]querylog.Span // by device, when its lookups were kept out of the log

	lookedUp int // names whose aliases were

	imported uint64 // attempts at whatever name
}

// Find looks for candidates in a log.
func Find(ctx context.Context, log rhythm.Log, o Options) (*Found, error) {
	o.fill()
	r := &reading{
		o: &o, names: map[string]map[string]*asked{}, owners: map[string]string{}, all: map[string][]int64{}, updates: map[string][]int64{},
		rhythms: map[string]map[string]*rhythm.Rhythm{}, known: map[string]Known{}, domains: map[string]Known{}, targets: map[string]Known{}, listed: map[string]Known{}, first: 1<<63 - 1,
	}
	for _, k := range o.Known {
		r.addKnown(k)
	}
	if err := r.read(ctx, log); err != nil {
		return nil, err
	}
	r.findTargets()
	found, err := rhythm.Make(ctx, log, rhythm.Options{Since: o.Since, Until: o.Until, Zone: o.Zone, Whose: o.Whose, Unlisted: true, Today: o.Today, Was: o.Was, Name: o.Name})
	if err != nil {
		return nil, err
	}
	r.notLogged = found.NotLogged
	for i := range found.Rhythms {
		if f := &found.Rhythms[i]; f.Vendor == "" || isObserved(f) {
			if r.rhythms[f.Name] == nil {
				r.rhythms[f.Name] = map[string]*rhythm.Rhythm{}
			}
			r.rhythms[f.Name][f.Device] = f
		}
	}
	out := &Found{Since: querylog.Time{Time: o.Since}, Until: querylog.Time{Time: o.Until}, Names: len(r.names), Candidates: []Candidate{}}
	if len(r.names) > 0 && r.first < 1<<63-1 {
		out.Unlisted = querylog.Time{Time: time.UnixMilli(r.first)}
		if o.Whose.Device == "" && len(o.Whose.Devices) == 0 {
			out.Unlisted.Time = time.UnixMilli(max(r.first, r.whole))
		}
	}
	for name := range r.names {
		c := r.weigh(name)
		if c.Observed, c.ObservedBelow = r.observes(name); c.Observed || c.Score >= Least && c.Attempts >= leastAttempts {
			out.Candidates = append(out.Candidates, c)
		}
	}
	sorting.By(out.Candidates, func(a, b Candidate) int {
		return cmp.Or(compareBool(a.Observed, b.Observed), cmp.Compare(b.Score, a.Score), cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(a.Name, b.Name))
	})
	out.Caveats = r.caveats()
	return out, nil
}

// isObserved reports whether a rhythm is of a name that the list of observed ones had.
func isObserved(r *rhythm.Rhythm) bool {
	list, _, _ := strings.Cut(r.Listed, ":")
	return list == evidence.ObservedList && r.Names == 1
}

// observes reports whether a person observes a name, or only one above it, and which.
func (r *reading) observes(name string) (observed bool, below string) {
	if slices.Contains(r.o.Observed, name) {
		return true, ""
	}
	below = NearestAbove(r.o.Observed, name)
	return below != "", below
}

// NearestAbove returns the longest of some names that another one is below; "" for none.
func NearestAbove(names []string, name string) (above string) {
	for _, o := range names {
		if n := len(name) - len(o); n > 1 && name[n-1] == '.' && strings.EqualFold(name[n:], o) && len(o) > len(above) {
			above = o
		}
	}
	return above
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (o *Options) fill() {
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	if o.Today == nil {
		o.Today = func(identity string, _ time.Time) string { return identity }
	}
	if o.Name == nil {
		o.Name = func(device string) string { return device }
	}
	if o.Maker == nil {
		o.Maker = func(string) string { return "" }
	}
	if o.IsHome == nil {
		o.IsHome = func(string) bool { return false }
	}
}

func (r *reading) addKnown(k Known) {
	if k.Tier != "telemetry" {
		return
	}
	for _, p := range patterns(k.Name) {
		if _, ok := r.known[p]; !ok {
			r.known[p] = k
		}
	}
	domain, _ := domainOf(k.Name)
	if _, ok := r.domains[domain]; !ok {
		r.domains[domain] = k
	}
}

// read reads when devices attempted names that no list has, and any.
func (r *reading) read(ctx context.Context, log rhythm.Log) error {
	f := r.o.Whose
	f.Since, f.Until = r.o.Since, r.o.Until
	if len(r.o.Discovered) > 0 {
		c, err := log.Coverage(ctx, r.o.Since, r.o.Until)
		if err != nil {
			return err
		}
		r.whole = c.Unlisted.UnixMilli()
	}
	for row, err := range log.Begun(ctx, f, false) {
		if err != nil {
			return err
		}
		if row.Name == "" || row.Time.Before(r.o.Since) || !row.Time.Before(r.o.Until) {
			continue
		}
		if row.Imported != "" {
			r.imported += uint64(row.Attempts)
			continue
		}
		device, at := r.o.Today(row.Device, row.Time.Time), row.Time.UnixMilli()
		r.all[device] = append(r.all[device], at)
		observed := row.AttributionList == evidence.ObservedList // which says of no name whose it is
		listed := row.Vendor != "" && (row.Attribution == "rule" || row.Attribution == "list") && !observed
		if row.Purpose == "update" || !listed && hasWord(row.Name, "update", "updates", "ota", "fota", "firmware", "upgrade") {
			r.updates[device] = append(r.updates[device], at)
		}
		if listed {
			k := Known{row.Name, row.Vendor, row.Product, row.Purpose, row.Tier, true}
			r.addKnown(k)
			if r.listed[row.Name].Name == "" && len(r.listed) < maxNames && row.Verdict != "block" {
				k.Name = strings.Clone(row.Name)
				r.listed[k.Name] = k
			}
			continue
		}
		if !observed { // whose rows are kept longer
			r.first = min(r.first, at)
		}
		if row.Verdict == "answer" || row.Verdict == "block" || !strings.Contains(row.Name, ".") || r.o.IsHome(row.Name) {
			continue
		}
		of := r.names[row.Name]
		if of == nil {
			if len(r.names) >= maxNames {
				r.left++
				continue
			}
			of = map[string]*asked{}
			r.names[strings.Clone(row.Name)] = of
		}
		if of[device] == nil {
			of[device] = &asked{}
		}
		if row.Attribution == "owner" {
			r.owners[row.Name] = row.Vendor
		}
		of[device].times = append(of[device].times, at)
		of[device].attempts += uint64(row.Attempts)
	}
	for _, times := range r.all {
		slices.Sort(times)
	}
	return nil
}

// findTargets finds the aliases that telemetry leads to. One that serves something else, too,
// says nothing.
func (r *reading) findTargets() {
	add := func(k Known, aliases []string) {
		for _, alias := range aliases {
			if had, ok := r.targets[alias]; !ok || had.Tier == "telemetry" && k.Tier != "telemetry" {
				r.targets[alias] = k
			}
		}
	}
	if len(r.o.Leads) > 0 {
		for _, k := range r.o.Known {
			add(k, r.o.Leads[k.Name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.listed)) {
		add(r.listed[name], r.aliases(name))
	}
}

// aliases returns those of a name that are known, of so many names at most.
func (r *reading) aliases(name string) []string {
	if r.o.Aliases == nil || r.lookedUp == mostAliases {
		return nil
	}
	r.lookedUp++
	return r.o.Aliases(name)
}

// target returns the telemetry that leads to an alias of a name, or to the name itself.
func (r *reading) target(c *Candidate) (alias string, k Known, ok bool) {
	if len(r.targets) == 0 || c.Attempts < leastAttempts {
		return "", Known{}, false
	}
	at := append([]string{c.Name}, r.aliases(c.Name)...)
	for _, alias := range at {
		if k, ok := r.targets[alias]; ok && k.Tier == "telemetry" && k.Name != c.Name {
			return alias, k, true
		}
	}
	return "", Known{}, false
}

func hasWord(name string, words ...string) bool {
	return slices.ContainsFunc(wordsOf(name), func(w string) bool { return slices.Contains(words, w) })
}

// weigh gives a name its score.
func (r *reading) weigh(name string) Candidate {
	c := Candidate{Name: name, Parts: []Part{}, Devices: []Device{}, Vendor: r.owners[name]}
	of := r.names[name]
	add := func(what string, points int, device, format string, args ...any) {
		if points != 0 {
			c.Parts = append(c.Parts, Part{what, points, fmt.Sprintf(format, args...), device})
			c.Score += points
		}
	}
	first, last := int64(1<<63-1), int64(0)
	for _, device := range slices.Sorted(maps.Keys(of)) {
		a := of[device]
		slices.Sort(a.times)
		d := Device{Device: device, Label: r.o.Name(device), Attempts: a.attempts, Rhythm: rhythm.TooFew, Alone: r.alone(device, a.times)}
		if f := r.rhythms[name][device]; f != nil {
			d.Rhythm, d.Text = f.Kind, f.Text
		}
		c.Devices = append(c.Devices, d)
		c.Attempts += a.attempts
		first, last = min(first, a.times[0]), max(last, a.times[len(a.times)-1])
	}
	c.First, c.Last = querylog.Time{Time: time.UnixMilli(first)}, querylog.Time{Time: time.UnixMilli(last)}
	sorting.StableBy(c.Devices, func(a, b Device) int { return cmp.Compare(b.Attempts, a.Attempts) })

	r.weighRhythm(&c, add)
	r.weighName(&c, add)
	r.weighDevices(&c, add)
	for _, d := range c.Devices {
		if r.isAfterUpdate(d.Device, of[d.Device].times[0]) {
			add("after-update", 1, d.Label, "first asked for within a day after an update host")
			break
		}
	}
	return c
}

type adder func(what string, points int, device, format string, args ...any)

// weighRhythm adds what the devices' rhythms say: the most telling of them once.
func (r *reading) weighRhythm(c *Candidate, add adder) {
	best, points := Device{}, 0
	worth := map[rhythm.Kind]int{rhythm.Heartbeat: 3, rhythm.Nightly: 3, rhythm.Boot: 1, rhythm.InUse: -1}
	for i := range c.Devices {
		d := &c.Devices[i]
		w := worth[d.Rhythm]
		if f := r.rhythms[c.Name][d.Device]; f != nil && f.Ours != "" {
			w = 1
		}
		if w > points || points == 0 && w < 0 {
			best, points = *d, w
		}
	}
	add("rhythm", points, best.Label, "%s: %s", best.Rhythm, best.Text)
	for _, d := range c.Devices {
		if d.Attempts >= leastAlone && d.Alone >= 0.5 {
			add("alone", 2, d.Label, "%.0f %% of attempts come while the device asks for nothing else for half an hour before and after", 100*d.Alone)
			break
		}
	}
}

// weighName adds what the name looks like.
func (r *reading) weighName(c *Candidate, add adder) {
	for _, p := range patterns(c.Name) {
		if k, ok := r.known[p]; ok && k.Name != c.Name {
			c.Sibling, c.Vendor, c.Product, c.Purpose, c.asked = k.Name, k.Vendor, k.Product, k.Purpose, k.asked
			add("sibling", 5, "", "like %s, which is listed as telemetry of %s", k.Name, k.Vendor)
			break
		}
	}
	domain, _ := domainOf(c.Name)
	if k, ok := r.domains[domain]; ok && c.Sibling == "" {
		c.Vendor, c.asked = k.Vendor, k.asked
		add("domain", 2, "", "below %s, as %s, which is listed as telemetry of %s", domain, k.Name, k.Vendor)
	}
	if alias, k, ok := r.target(c); ok {
		if c.Vendor == "" {
			c.Vendor = k.Vendor
		}
		c.asked = c.asked || k.asked
		add("alias", 4, "", "leads to %s, as %s does, which is listed as telemetry of %s", alias, k.Name, k.Vendor)
	}
	words := wordsOf(c.Name)
	reports := wordIn(words, reporting)
	switch {
	case reports != "":
		add("word", 4, "", "the name has %q in it", reports)
	default:
		if w := wordIn(words, perhapsReporting); w != "" {
			add("word", 1, "", "the name has %q in it", w)
		}
	}
	if w := wordIn(words, serving); w != "" && reports == "" {
		add("serves", -6, "", "the name has %q in it, as names of services have: these, too, are asked for by the clock", w)
	} else if w != "" {
		add("serves", -2, "", "the name has %q in it, as names of services have", w)
	}
}

func wordIn(words []string, set map[string]bool) string {
	for _, w := range words {
		if set[w] {
			return w
		}
	}
	return ""
}

// weighDevices adds who asks: all devices of one maker and no other, or nearly all there are.
func (r *reading) weighDevices(c *Candidate, add adder) {
	makers, of := map[string]int{}, map[string]int{}
	for device := range r.all {
		of[r.o.Maker(device)]++
	}
	for i := range c.Devices {
		makers[r.o.Maker(c.Devices[i].Device)]++
	}
	maker := r.o.Maker(c.Devices[0].Device)
	switch {
	case len(makers) == 1 && maker != "" && makers[maker] >= 2 && makers[maker] == of[maker] && len(r.all) > of[maker]+1:
		add("maker", 2, "", "asked for by all %d devices of %s, and by no other", of[maker], maker)
	case len(r.all) >= 6 && 2*len(c.Devices) > len(r.all), len(makers) >= 3 && makers[""] == 0:
		add("everybody", -2, "", "asked for by %d of %d devices, of several makers or kinds: a service of many", len(c.Devices), len(r.all))
	}
}

// alone is the share of times at which a device attempts no other name for a while.
func (r *reading) alone(device string, times []int64) float64 {
	all, n := r.all[device], 0
	for _, at := range times {
		from, _ := slices.BinarySearch(all, at-aloneFor.Milliseconds())
		to, _ := slices.BinarySearch(all, at+aloneFor.Milliseconds()+1)
		own, _ := slices.BinarySearch(times, at-aloneFor.Milliseconds())
		ownEnd, _ := slices.BinarySearch(times, at+aloneFor.Milliseconds()+1)
		if to-from <= ownEnd-own {
			n++
		}
	}
	return float64(n) / float64(len(times))
}

// isAfterUpdate reports whether a device asked for an update host within a day before it
// first asked for a name, which it had not for half a day or longer.
func (r *reading) isAfterUpdate(device string, first int64) bool {
	since := max(r.first, r.all[device][0])
	if r.o.Discovered[device].IsZero() {
		since = max(since, r.whole)
	}
	if first-since < knownBefore.Milliseconds() || slices.ContainsFunc(r.notLogged[device], func(s querylog.Span) bool {
		return s.Since.UnixMilli() < first && s.Until.UnixMilli() > first-knownBefore.Milliseconds()
	}) {
		return false
	}
	return slices.ContainsFunc(r.updates[device], func(at int64) bool { return at < first && first-at < afterUpdate.Milliseconds() })
}

func (r *reading) caveats() []string {
	all := []string{
		"a candidate is a name that somebody should look at: how a device asks, and what a name looks like, do not say what it sends, and nothing is blocked",
		"rows of names that no list has are kept for a day unless the settings (log.unlisted) say otherwise: a rhythm of hours needs longer ('telltale devices discover DEVICE on' keeps one device's)",
	}
	for _, device := range slices.Sorted(maps.Keys(r.o.Discovered)) {
		if r.all[device] != nil {
			all = append(all, fmt.Sprintf("discovery is on for %s since %s: its rows of such names are kept as long as those of listed ones", r.o.Name(device), r.o.Discovered[device].In(r.o.Zone).Format("Mon 2 Jan 15:04")))
		}
	}
	for _, who := range slices.Sorted(maps.Keys(r.notLogged)) {
		all = append(all, querylog.NotLoggedText(r.o.Name(who), r.notLogged[who], r.o.Until, r.o.Zone))
	}
	if r.imported > 0 {
		all = append(all, fmt.Sprintf("%d attempts were imported from the log of another server and are left out, since for how long it recorded is not known", r.imported))
	}
	if r.left > 0 {
		all = append(all, fmt.Sprintf("there were more than %d names: further ones are not looked at", maxNames))
	}
	return all
}
