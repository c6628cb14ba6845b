package experiment

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"telltale/evidence/stats"
	"telltale/querylog"
	"telltale/sorting"
)

// A reading is an experiment's time in the log, added up.
type reading struct {
	e       *Experiment
	zone    *time.Location
	until   time.Time
	over    bool
	unit    string
	phases  []phase
	blocks  []block
	devices []*deviceReading
	imports []querylog.ImportedLog
	merged  []string // what is to be said of devices of the plan that are one today
}

// CannotSay is why there is no report of an experiment, whatever the log has: it has not
// begun, or its devices are no longer what they were.
type CannotSay struct{ why string }

func (e *CannotSay) Error() string { return e.why }

func cannotSay(format string, args ...any) error {
	return &CannotSay{fmt.Sprintf(format, args...)}
}

// Make says what an experiment shows.
func Make(ctx context.Context, log Log, e *Experiment, o Options) (*Report, error) {
	switch {
	case e.Problem != "":
		return nil, cannotSay("experiment %s: %s", e.Name, e.Problem)
	case e.Started.IsZero() && e.State() == Cancelled:
		return nil, cannotSay("experiment %s was cancelled before it began: nothing was compared", e.Name)
	case e.Started.IsZero():
		return nil, cannotSay("experiment %s has not begun: 'telltale experiment start %s' begins it", e.Name, e.Name)
	}
	r := &reading{e: e, zone: cmp.Or(o.Zone, time.UTC), until: o.Now, unit: unitAttempts, over: e.State() == Stopped}
	for _, end := range []querylog.Time{e.Stopped, e.Cancelled} {
		if !end.IsZero() {
			r.until = end.Time
		}
	}
	if r.until.Before(e.Started.Time) {
		return nil, cannotSay("experiment %s began at %s, which is still to come by this machine's clock", e.Name, e.Started)
	}
	coverage, err := log.Coverage(ctx, e.Started.Time, r.until)
	if err != nil {
		return nil, err
	}
	if from := coverage.AttemptsSince; from.IsZero() || from.After(e.Started.Time) {
		r.unit = unitLookups
	}
	r.phases, r.imports = phasesOf(e, r.until), coverage.Imports
	r.blocks = r.blocksOf()
	for _, planned := range e.Plan.Devices {
		d := newDevice(planned, e.Planned.Time, &o, len(r.blocks))
		same := slices.IndexFunc(r.devices, func(other *deviceReading) bool { return other.Device.Device == d.Device.Device })
		if same < 0 {
			r.devices = append(r.devices, d)
			continue
		}
		one := fmt.Sprintf("%s and %s of the plan are one device today, %s, by a correction ('telltale devices history' shows it)", r.devices[same].planned.Name, planned.Name, d.Name)
		if e.Plan.Compare == Devices {
			return nil, cannotSay("experiment %s: %s: there are not two to compare", e.Name, one)
		}
		r.merged = append(r.merged, one+": it is shown once, with what both asked for.")
	}
	r.exclude(coverage.Gaps)
	bindings, err := log.Bindings(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range r.devices {
		d.exclude(r, bindings)
		if err := r.read(ctx, log, d); err != nil {
			return nil, err
		}
	}
	events, err := log.Ledger(ctx, e.Started.Time, r.until)
	if err != nil {
		return nil, err
	}
	return r.report(events, &coverage), nil
}

func newDevice(planned Device, at time.Time, o *Options, blocks int) *deviceReading {
	d := &deviceReading{
		Device: planned, planned: planned, was: []querylog.DeviceSpan{{Device: planned.Device}}, there: map[int64]bool{}, excluded: make([]string, blocks), needed: make([]float64, blocks),
		purposes: map[string]*counter{}, products: map[string]*counter{}, names: map[string]*counter{},
	}
	d.words = []string{planned.Device, planned.Name}
	if o.Device != nil {
		d.Device.Device, d.Name, d.was = o.Device(planned.Device, at)
		d.words = append(d.words, d.Device.Device, d.Name)
	}
	d.total = d.counter(map[string]*counter{}, "", blocks)
	return d
}

func (r *reading) report(events []querylog.Event, c *querylog.Coverage) *Report {
	out := &Report{
		Version: reportVersion, Experiment: r.e, State: r.e.State(), Until: querylog.Time{Time: r.until}, Unit: r.unit, Limits: limits,
		Departures: r.departures(), Changed: r.changed(events), Caveats: r.caveats(c), Phases: []PhaseSeen{}, Devices: []DeviceResult{},
	}
	for i := range r.phases {
		out.Phases = append(out.Phases, r.phaseSeen(i))
	}
	if r.e.Plan.Compare == Devices {
		out.Devices = append(out.Devices, r.compareDevices())
		return out
	}
	for _, d := range r.devices {
		out.Devices = append(out.Devices, r.compare(d))
	}
	return out
}

func (r *reading) phaseSeen(i int) PhaseSeen {
	p := &r.phases[i]
	seen := PhaseSeen{
		Condition: p.Condition, Says: p.Says, Since: querylog.Time{Time: p.since}, Until: querylog.Time{Time: p.until},
		Planned: p.Seconds, Lasted: seconds(p.until.Sub(p.since)), Excluded: []Excluded{},
	}
	add := func(why, device string, length int64) {
		if length <= 0 {
			return
		}
		for k := range seen.Excluded {
			if x := &seen.Excluded[k]; x.Why == why && x.Device == device {
				x.Seconds += length
				return
			}
		}
		seen.Excluded = append(seen.Excluded, Excluded{length, why, device})
	}
	settle := min(r.e.Plan.Settle, seen.Lasted)
	add("after the beginning of the phase", "", settle)
	rest := seen.Lasted - settle
	for k := range r.blocks {
		b := &r.blocks[k]
		if b.phase != i {
			continue
		}
		length := seconds(b.until.Sub(b.since))
		rest -= length
		if b.excluded != "" {
			add(b.excluded, "", length)
			continue
		}
		for _, d := range r.devices {
			if d.excluded[k] != "" {
				add(d.excluded[k], d.Name, length)
			}
		}
	}
	add("the end, shorter than a block", "", rest)
	return seen
}

func seconds(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }

// departures are where the run was another one than the plan.
func (r *reading) departures() []string {
	all := []string{}
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	switch r.e.State() {
	case Running:
		add("It is not over: the figures are those of until now, and there is no verdict. Looking often and stopping when it looks good would find changes where there are none.")
	case Cancelled:
		add("It was cancelled (%s): there is no verdict.", cmp.Or(r.e.Why, "nobody said why"))
	}
	all = append(all, r.e.otherSettings()...)
	for i := range r.phases {
		p := &r.phases[i]
		lasted, planned := p.until.Sub(p.since), p.Length()
		if off := (lasted - planned).Abs(); r.over && off > planned/10 {
			add("Phase %d (%s) lasted %s, and %s were planned.", i+1, p.Condition, lengthOf(lasted), lengthOf(planned))
		}
	}
	if missing := len(r.e.Plan.Phases) - len(r.phases); r.over && missing > 0 {
		add("%d of %d planned phases never began.", missing, len(r.e.Plan.Phases))
	}
	for i := range r.e.Marks {
		m := &r.e.Marks[i]
		if late := m.Said.Sub(m.At.Time); late > time.Minute {
			add("%q of %s was said %s later.", m.Says, m.At, lengthOf(late))
		}
	}
	return all
}

// otherSettings says between which steps the settings by which names are answered were changed.
// Steps of a program that did not record them say nothing.
func (e *Experiment) otherSettings() (all []string) {
	before, then := "it was planned", e.Plan.Settings
	step := func(name, now string) {
		if now == "" {
			return
		}
		if then != "" && then != now {
			all = append(all, fmt.Sprintf("Between when %s and when %s, settings by which names are answered or attempts counted became others: of blocking, lists, groups, devices or upstreams.", before, name))
		}
		before, then = name, now
	}
	step("it was started", e.StartedWith)
	for i := range e.Marks {
		step(fmt.Sprintf("'%s' was marked", e.Marks[i].Says), e.Marks[i].Settings)
	}
	step("it was stopped", e.StoppedWith)
	return all
}

// answering are the events after which names may be answered otherwise.
var answering = map[string]string{
	"reload": "a list changed", "list-added": "a list was added", "list-accepted": "an update of a list was accepted", "list-recovered": "a list could be read again",
	"list-failed": "a list could not be read or fetched", "list-held": "an update of a list was held back", "reload-failed": "lists could not be put in force",
	"catalogue": "another edition of the shipped lists", "pause": "blocking was paused", "resume": "the pause ended", "observe": "nothing was blocked, to observe",
	"observe-ended": "blocking began again", "rule": "a rule of the person's own", "rule-ended": "a rule of the person's own ended", "schedule": "a schedule's turn",
	"config-changed": "settings changed", "config-last-good": "earlier settings came into force", querylog.KindStart: "the server started, perhaps with other settings or lists", querylog.KindAttempts: "how attempts are counted",
}

// mostChanges are told one by one.
const mostChanges = 20

func (r *reading) changed(events []querylog.Event) []string {
	all, more := []string{}, 0
	for i := range events {
		e := &events[i]
		word, ok := answering[e.Kind]
		if !ok || (e.Kind == "pause" || e.Kind == "observe" || e.Kind == "resume" || e.Kind == "observe-ended") && !r.concerns(e.Subject) {
			continue
		}
		if len(all) == mostChanges {
			more++
			continue
		}
		all = append(all, strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", e.Time.In(r.zone).Format("Mon 2 Jan 15:04"), word, strings.Join(slices.DeleteFunc([]string{e.Subject, e.Detail}, func(s string) bool { return s == "" }), ": ")), ": "))
	}
	if more > 0 {
		all = append(all, fmt.Sprintf("and %d more: telltale ledger", more))
	}
	return all
}

func (r *reading) caveats(c *querylog.Coverage) []string {
	all := slices.Clone(r.merged)
	if all == nil {
		all = []string{}
	}
	if r.unit == unitLookups {
		all = append(all, "Attempts were not counted then, so lookups as received are: a blocked device asks again and again.")
	}
	if slices.ContainsFunc(c.Gaps, func(g querylog.Gap) bool { return g.Effect == querylog.Unbound }) {
		all = append(all, "Some lookups may be another device's.")
	}
	for _, d := range r.devices {
		if len(d.unrecorded) > 0 {
			text := querylog.NotLoggedText(d.Name, d.unrecorded, r.until, r.zone)
			all = append(all, strings.ToUpper(text[:1])+text[1:]+", and that time is not compared.")
		}
	}
	for _, d := range r.devices {
		if needed := r.neededOf(d); needed > 0 {
			all = append(all, fmt.Sprintf("Of all together, %s of %s at names that it needs (tier essential: updates, time and such) count: what was done need not change these. They stand apart by purpose and by name.", r.numberOf(needed), d.Name))
		}
	}
	if len(r.imports) > 0 {
		all = append(all, "Lookups of this time were imported from another server's log. They are not counted, and in the hours of that log a device is taken to have been there only where a row that was recorded here is kept.")
	}
	if r.e.Plan.Match == ByHour && changesClocks(r.e.Started.Time, r.until, r.zone) {
		all = append(all, "Clocks were changed meanwhile: hours are those that clocks showed, and the hour that came twice or not at all is compared with what it has.")
	}
	return all
}

// neededOf is how many attempts of a device at names that it needs count: those of blocks that are compared with others.
func (r *reading) neededOf(d *deviceReading) (n float64) {
	pairs := [][2]side{{{d, "A"}, {d, "B"}}, {{d, "B"}, {d, "C"}}}
	if r.e.Plan.Compare == Devices {
		pairs = [][2]side{{{r.devices[0], "A"}, {r.devices[1], "A"}}}
	}
	for i, needed := range d.needed {
		counts := func(pair [2]side) bool {
			for s := range pair {
				if pair[s].d == d && r.compared(i, pair[s]) && r.hasStratum(r.blocks[i].stratum, pair[1-s]) {
					return true
				}
			}
			return false
		}
		if needed > 0 && slices.ContainsFunc(pairs, counts) {
			n += needed
		}
	}
	return n
}

// hasStratum reports whether a side has a block of a stratum that is compared.
func (r *reading) hasStratum(stratum int, of side) bool {
	for i := range r.blocks {
		if r.blocks[i].stratum == stratum && r.compared(i, of) {
			return true
		}
	}
	return false
}

// numberOf is a number of what is counted.
func (r *reading) numberOf(n float64) string {
	if n == 1 {
		return "1 " + strings.TrimSuffix(r.unit, "s")
	}
	return fmt.Sprintf("%.0f %s", n, r.unit)
}

func changesClocks(since, until time.Time, zone *time.Location) bool {
	_, a := since.In(zone).Zone()
	_, b := until.In(zone).Zone()
	return a != b
}

// least is how many attempts of a thing there must be for a test of it to be able to find
// anything; with fewer it takes no part in what the others' p-values are adjusted by.
const least = 6

// compare compares the conditions of one device.
func (r *reading) compare(d *deviceReading) DeviceResult {
	out := DeviceResult{Device: d.Device.Device, Name: d.Name, Planned: d.planned.Device, Vanished: []string{}, Appeared: []string{}}
	side := func(a, b string) []side { return []side{{d, a}, {d, b}} }
	all := func(of map[string]*counter) []Comparison {
		list := r.family(values(of), side("A", "B"))
		if r.has("C") {
			back := r.family(values(of), side("B", "C"))
			for i := range list {
				for j := range back {
					if back[j].What == list[i].What && back[j].Vendor == list[i].Vendor {
						list[i].Back = &back[j]
					}
				}
			}
		}
		return sortedByCount(list)
	}
	total := []*counter{d.total}
	out.Total = r.family(total, side("A", "B"))[0]
	if r.has("C") {
		out.Total.Back = &r.family(total, side("B", "C"))[0]
	}
	out.Purposes, out.Products, out.Names = all(d.purposes), all(d.products), all(d.names)
	told := r.over && out.Total.A.Hours > 0 && out.Total.B.Hours > 0 // what was not observed is not absent
	for _, c := range values(d.names) {
		switch a, b := c.seen["A"], c.seen["B"]; {
		case !told:
		case a && !b:
			out.Vanished = append(out.Vanished, c.what)
		case b && !a:
			out.Appeared = append(out.Appeared, c.what)
		}
	}
	if len(out.Names) > mostNames {
		out.Names, out.More = out.Names[:mostNames], len(out.Names)-mostNames
	}
	return out
}

// mostNames are told one by one.
const mostNames = 500

// compareDevices compares the first device with the second.
func (r *reading) compareDevices() DeviceResult {
	a, b := r.devices[0], r.devices[1]
	out := DeviceResult{Device: a.Device.Device + " " + b.Device.Device, Name: a.Name + " and " + b.Name, Products: []Comparison{}, Names: []Comparison{}, Vanished: []string{}, Appeared: []string{}}
	sides := []side{{a, "A"}, {b, "A"}}
	out.Total = r.family([]*counter{a.total}, sides)[0]
	for key := range b.purposes {
		a.counter(a.purposes, key, len(r.blocks))
	}
	out.Purposes = sortedByCount(r.family(values(a.purposes), sides))
	return out
}

// A side is one of the two things that are compared: a device in a condition.
type side struct {
	d         *deviceReading
	condition string
}

func (r *reading) has(condition string) bool {
	return slices.ContainsFunc(r.phases, func(p phase) bool { return p.Condition == condition })
}

func values(of map[string]*counter) (all []*counter) {
	for _, c := range of {
		all = append(all, c)
	}
	sorting.By(all, func(a, b *counter) int { return cmp.Or(cmp.Compare(a.what, b.what), cmp.Compare(a.vendor, b.vendor)) })
	return all
}

func sortedByCount(list []Comparison) []Comparison {
	sorting.StableBy(list, func(a, b Comparison) int {
		return cmp.Or(cmp.Compare(b.A.Count+b.B.Count, a.A.Count+a.B.Count), cmp.Compare(a.What, b.What), cmp.Compare(a.Vendor, b.Vendor))
	})
	if list == nil {
		list = []Comparison{}
	}
	return list
}

// family compares several things, and adjusts for how many they are.
func (r *reading) family(counters []*counter, sides []side) []Comparison {
	var list []Comparison
	var ratios []stats.Ratio
	var tested []int
	var p []float64
	for i, c := range counters {
		ratio, one := r.compareOne(c, sides)
		list, ratios = append(list, one), append(ratios, ratio)
		if ratio.CountA+ratio.CountB >= least && ratio.Freedom > 0 {
			tested, p = append(tested, i), append(p, ratio.P)
		}
	}
	adjusted := stats.Adjusted(p)
	for k, i := range tested {
		list[i].Q = adjusted[k]
	}
	for i := range list {
		r.judge(&list[i], &ratios[i], max(1, len(tested)), sides)
	}
	return list
}

func (r *reading) compareOne(c *counter, sides []side) (stats.Ratio, Comparison) {
	one := Comparison{What: c.what, Vendor: c.vendor, Purpose: c.purpose, Q: 1}
	own := [2]*counter{c, c}
	if sides[0].d != sides[1].d {
		if own[1] = sides[1].d.total; c != sides[0].d.total {
			own[1] = sides[1].d.counter(sides[1].d.purposes, c.what, len(r.blocks))
		}
	}
	var blocks []stats.Block
	for s, of := range sides {
		for i := range r.blocks {
			if k := &r.blocks[i]; r.compared(i, of) {
				blocks = append(blocks, stats.Block{At: k.at, Stratum: k.stratum, B: s == 1, Hours: k.until.Sub(k.since).Hours(), Count: own[s].counts[i]})
			}
		}
	}
	ratio := stats.Compare(blocks)
	one.A, one.B = rateOf(ratio.CountA, ratio.HoursA), rateOf(ratio.CountB, ratio.HoursB)
	one.A.Blocked, one.B.Blocked, _ = r.blockedParts(own, sides)
	one.Ratio, one.Low, one.High = finite(ratio.Ratio), finite(ratio.Low), finite(ratio.High)
	one.P, one.Spread = ratio.P, ratio.Dispersion
	if ratio.CountB == 0 && own[1].settled[sides[1].condition] { // B has some that is not compared
		one.Note = "asked for in B at times that are not compared"
	} else if ratio.CountA > 0 && ratio.CountB > 0 {
		one.Note = r.answeredOtherwise(own, sides)
	}
	return ratio, one
}

// compared reports whether a block is one that is compared, on a side.
func (r *reading) compared(i int, of side) bool {
	k := &r.blocks[i]
	return k.excluded == "" && of.d.excluded[i] == "" && k.condition == of.condition
}

// blockedParts returns which parts of what is compared were blocked on each side, and
// whether both sides have any.
func (r *reading) blockedParts(of [2]*counter, sides []side) (a, b float64, both bool) {
	counted := [2]map[int]float64{{}, {}} // by stratum
	blocked := [2]map[int]float64{{}, {}}
	for s := range sides {
		for i := range r.blocks {
			if r.compared(i, sides[s]) {
				stratum := r.blocks[i].stratum
				counted[s][stratum] += of[s].counts[i]
				blocked[s][stratum] += of[s].blocked[i]
			}
		}
	}
	inA, inB := inBoth(counted[0], counted), inBoth(counted[1], counted)
	return part(inBoth(blocked[0], counted), inA), part(inBoth(blocked[1], counted), inB), inA > 0 && inB > 0
}

// otherwise is how much more or less of a name is blocked on one side than on the other
// where it was answered otherwise there.
const otherwise = 0.1

// answeredOtherwise says which names were answered otherwise in B than in A. What is of
// several names is not said to be for the reason alone that another name is asked for more.
func (r *reading) answeredOtherwise(of [2]*counter, sides []side) string {
	var names []string
	text := ""
	for _, name := range slices.Sorted(maps.Keys(of[0].names)) {
		named := [2]*counter{sides[0].d.names[name], sides[1].d.names[name]}
		if name == "" || named[0] == nil || named[1] == nil {
			continue
		}
		if a, b, both := r.blockedParts(named, sides); both && math.Abs(a-b) > otherwise {
			names = append(names, name)
			text = fmt.Sprintf("answered otherwise: %.0f %% blocked in A, %.0f %% in B", 100*a, 100*b)
		}
	}
	switch {
	case len(names) == 0:
		return ""
	case len(of[0].names) == 1 && len(of[1].names) == 1:
		return text
	case len(names) == 1:
		return names[0] + " was " + text
	}
	return fmt.Sprintf("%d of its names were answered otherwise in B than in A, as is said with each", len(names))
}

// inBoth adds up what is in strata of which both sides have blocks.
func inBoth(of map[int]float64, counted [2]map[int]float64) (sum float64) {
	for stratum, n := range of {
		if _, a := counted[0][stratum]; !a {
			continue
		}
		if _, b := counted[1][stratum]; b {
			sum += n
		}
	}
	return sum
}

func rateOf(count, hours float64) Rate {
	return Rate{Count: count, Hours: hours, PerHour: part(count, hours)}
}

func part(n, of float64) float64 {
	if of == 0 {
		return 0
	}
	return n / of
}

func finite(x float64) *float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return nil
	}
	return &x
}

// judge gives the verdict on one of so many comparisons.
func (r *reading) judge(c *Comparison, ratio *stats.Ratio, tested int, sides []side) {
	if ratio.CountA+ratio.CountB > 0 {
		c.Power = ratio.Power(0.5, Alpha/float64(tested))
	}
	if !r.over {
		return
	}
	enough := ratio.CountA+ratio.CountB >= least && ratio.Freedom > 0
	switch {
	case enough && c.Q <= Alpha && ratio.CountB == 0 && c.Note == "":
		c.Verdict = HasStopped
	case enough && c.Q <= Alpha && ratio.Ratio < 1:
		c.Verdict = Fell
	case enough && c.Q <= Alpha:
		c.Verdict = Rose
	case enough && c.Power >= Power:
		c.Verdict = NoChange
	default:
		c.Verdict, c.Why = TooLittle, r.whyTooLittle(ratio, tested, sides)
	}
}

// longest is how long a person can be asked to wait.
const longest = 60 * 24.0

func (r *reading) whyTooLittle(ratio *stats.Ratio, tested int, sides []side) string {
	alpha := Alpha / float64(tested)
	if ratio.HoursA == 0 || ratio.HoursB == 0 {
		if r.e.Plan.Match == ByHour {
			return "no hour of the day was observed in both, with the device there"
		}
		return "not observed in both, with the device there"
	}
	if ratio.CountA+ratio.CountB == 0 {
		return "never asked for in the hours that are compared"
	}
	a, b := ratio.HoursA/r.lasted(sides[0]), ratio.HoursB/r.lasted(sides[1])
	if ratio.Freedom <= 0 {
		block := float64(r.e.Plan.Block) / 3600
		few := fmt.Sprintf("%s of A and %s of B are compared, too few to know how much its number varies by itself", stretches(ratio.HoursA/block), stretches(ratio.HoursB/block))
		if both := max(ratio.Both(0.5, alpha, Power), leastBlocks*block); both/min(a, b) < longest {
			return few + ": it takes " + waitOf(both, min(a, b), "h of each at least")
		}
		return few
	}
	if more := ratio.Longer(0.5, alpha, Power); more/b < longest {
		return "a halving would be seen with about " + waitOf(max(more, 1), b, "h more of B")
	}
	if both := ratio.Both(0.5, alpha, Power); both/min(a, b) < longest {
		return "a halving would be seen with about " + waitOf(both, min(a, b), "h of each")
	}
	even := *ratio
	if even.Dispersion = 1; even.Both(0.5, alpha, Power)/min(a, b) < longest {
		return "it is asked for too unevenly, often at some times and then not at all: two months of each would not show a halving"
	}
	return "it is asked for too seldom: two months of each would not show a halving"
}

// leastBlocks are those of each condition with which anything can be said.
const leastBlocks = 3

// stretches is a number of blocks.
func stretches(n float64) string {
	if n := math.Round(n); n != 1 {
		return fmt.Sprintf("%.0f stretches", n)
	}
	return "1 stretch"
}

// lasted is how many hours the phases of a side have lasted.
func (r *reading) lasted(of side) (hours float64) {
	for i := range r.phases {
		if p := &r.phases[i]; p.Condition == of.condition {
			hours += p.until.Sub(p.since).Hours()
		}
	}
	return hours
}

// waitOf says how many hours more must be compared, and how long that takes where a part of
// the time alone is compared, as of a device that is off for most of the day.
func waitOf(hours, compared float64, words string) string {
	text := fmt.Sprintf("%.0f %s", math.Ceil(hours), words)
	if compared > mostlyCompared {
		return text
	}
	return fmt.Sprintf("%s that can be compared, which takes %.0f h here", text, math.Ceil(hours/compared))
}

// mostlyCompared is the part of a phase from which on its length is as good as its hours.
const mostlyCompared = 0.8

func lengthOf(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	d = d.Round(time.Minute)
	h, m := int(d.Hours()), int(d.Minutes())%60
	switch {
	case h == 0:
		return fmt.Sprintf("%d m", m)
	case m == 0:
		return fmt.Sprintf("%d h", h)
	}
	return fmt.Sprintf("%d h %d m", h, m)
}
