// Package letter writes a request for information to a vendor: what a device looked up,
// as an annex of facts, and questions about it. What only the person knows is a
// placeholder in brackets. It claims nothing: neither what the lookups carried, nor a right.
package letter

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"telltale/evidence"
	"telltale/querylog"
)

// Languages are those that a letter can be in.
var Languages = []string{"en", "de"}

// ErrNothing means that there is nothing to ask about.
var ErrNothing = errors.New("nothing was looked up")

// ErrNoNames means that it is not known what to ask about.
var ErrNoNames = errors.New("the report has no names: they were deleted, or counted together, or its period is so long that it is read from hourly totals. A letter asks about names: take a period of 100 days at most, in which the log has some (--since, --until)")

// Write writes a letter about a report of one vendor and one device, and returns how many
// places in brackets are to be filled in.
func Write(out io.Writer, r *evidence.Report, language string) (places int, err error) {
	l, ok := languages[language]
	if !ok {
		return 0, fmt.Errorf("a letter is in one of %s", strings.Join(Languages, ", "))
	}
	if len(r.Vendors) != 1 || r.Vendors[0].Counts.Lookups == 0 {
		return 0, ErrNothing
	}
	if !slices.ContainsFunc(r.Vendors[0].Names, func(n evidence.Name) bool { return n.Name != "" }) {
		return 0, ErrNoNames
	}
	w := &writer{r: r, v: &r.Vendors[0], words: l}
	w.observed = w.v.IsObserved()
	w.letter()
	w.annex()
	text := w.b.String()
	_, err = io.WriteString(out, text)
	return strings.Count(text, "["), err
}

// A writer writes a letter in a language.
type writer struct {
	b     strings.Builder
	r     *evidence.Report
	v     *evidence.Vendor
	words *words

	observed bool // the names are those that the person observes: no list of others has them
}

func (w *writer) letter() {
	t, v := w.words, plain(w.v.Vendor)
	names := 0
	for i := range w.v.Names {
		if w.v.Names[i].Name != "" {
			names++
		}
	}
	company, subject, recorded, meaning, end := v, t.subject(v), t.recorded, t.meaning+" "+t.listsErr, t.end
	if w.observed {
		v = strings.TrimPrefix(v, evidence.ObservedVendor)
		company, subject, recorded, meaning, end = t.company, t.subjectBelow(v), t.recordedBelow, t.meaning+" "+t.guess, t.endBelow
	}
	w.lines(t.sender, "", t.date, "", company, t.address, "", subject, "", t.greeting, "")
	w.paragraph(t.opening)
	since, until := w.recorded()
	w.paragraph(recorded(v, w.time(since), w.time(until), w.r.Zone, names, w.count(w.v.Counts.Count)) + w.imported())
	w.paragraph(meaning)
	w.paragraph(t.ask)
	for i, question := range t.questions {
		w.wrapped(fmt.Sprintf("%d. ", i+1), "   ", question)
	}
	w.lines("")
	w.paragraph(end)
	w.lines(t.regards, "", t.name, "")
}

func (w *writer) annex() {
	t := w.words
	w.lines("", t.annex, strings.Repeat("=", utf8.RuneCountInString(t.annex)), "", t.heads[0], "")
	w.item(fmt.Sprintf(t.period, w.time(w.r.Since), w.time(w.r.Until), w.r.Zone))
	w.item(fmt.Sprintf(t.coverage, evidence.Length(time.Duration(w.r.Coverage.Recorded)*time.Second), evidence.Length(time.Duration(w.r.Coverage.Length)*time.Second), w.gaps()))
	w.item(fmt.Sprintf(t.program, plain(w.r.Program)))
	if w.r.Attempts.Counted == "all" {
		w.item(fmt.Sprintf(t.attempts, w.r.Attempts.Gap))
	} else {
		w.item(t.noAttempts)
	}
	switch blocked := w.v.Counts.Blocked.Lookups; blocked {
	case 0:
	case w.v.Counts.Lookups:
		w.item(t.allBlocked)
	default:
		w.item(fmt.Sprintf(t.blocked, w.count(w.v.Counts.Blocked)))
	}
	w.item(fmt.Sprintf(t.device, w.toldBy()) + w.confidence())
	if w.r.Totals.Why != "none" || w.r.Deleted > 0 {
		w.item(t.totals)
	}
	for _, caveat := range w.r.Caveats {
		w.item(t.caveat + plain(caveat))
	}
	w.lines("", t.heads[1], "")
	for i := range w.v.Names {
		w.name(&w.v.Names[i])
	}
	w.lines("", t.heads[2], "")
	for _, text := range t.limits {
		w.item(text)
	}
	if !w.observed {
		w.item(t.listsSay)
	}
}

// imported says how many of the vendor's lookups another server recorded.
func (w *writer) imported() string {
	switch n := w.v.Counts.Lookups - w.v.Counts.OwnIn(evidence.UnitLookups); {
	case n == 0:
		return ""
	case w.r.Totals.Why == "none":
		return " " + fmt.Sprintf(w.words.imported, n)
	default: // hourly totals do not tell imported lookups apart
		return " " + fmt.Sprintf(w.words.importedMost, n)
	}
}

// recorded returns the period without what is not recorded at its beginning and at its end. Imported lookups may be
// there: it has all of the vendor's.
func (w *writer) recorded() (since, until querylog.Time) {
	since, until = w.r.Since, w.r.Until
	gaps := slices.DeleteFunc(slices.Clone(w.r.Coverage.Gaps), func(g querylog.Gap) bool { return g.Effect != querylog.Unrecorded })
	for range gaps { // they may overlap
		for _, g := range gaps {
			if !g.Since.After(since.Time) && g.Until.After(since.Time) {
				since = g.Until
			}
			if !g.Until.Before(until.Time) && g.Since.Before(until.Time) {
				until = g.Since
			}
		}
	}
	if !since.Before(until.Time) { // there are imported lookups alone, or the gaps are wrong
		return w.r.Since, w.r.Until
	}
	if first := w.v.First; !first.IsZero() && first.Before(since.Time) {
		since = first
	}
	if w.v.Last.After(until.Time) {
		until = w.v.Last
	}
	return since, until
}

// gaps says how many times of the period have no record.
func (w *writer) gaps() string {
	n := 0
	for i := range w.r.Coverage.Gaps {
		if e := w.r.Coverage.Gaps[i].Effect; e == querylog.Unrecorded || e == querylog.Incomplete {
			n++
		}
	}
	return w.words.gaps(n)
}

// What a device is told from others by.
const (
	byUnknown = iota
	byAddress
	byMAC
	byID
)

// toldBy says what the device was told from others by.
func (w *writer) toldBy() string {
	var by [4]bool
	for i := range w.r.Identity {
		switch w.r.Identity[i].Source {
		case "configured-mac", "neighbour", "lease", "forwarder":
			by[byMAC] = true
		case "configured-address", "configured-prefix", "bare-address", "this-host":
			by[byAddress] = true
		case "configured-client-id", "client-id":
			by[byID] = true
		}
	}
	var all []string
	for i, is := range by {
		if is {
			all = append(all, w.words.by[i])
		}
	}
	return cmp.Or(strings.Join(all, w.words.or), w.words.by[byUnknown])
}

// confidence says how surely the lookups are the device's.
func (w *writer) confidence() string {
	var all []string
	for _, c := range w.r.Confidence {
		if word := w.words.sure[c.Confidence]; word != "" && c.Lookups > 0 {
			all = append(all, fmt.Sprintf("%s: %d", word, c.Lookups))
		}
	}
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprintf(w.words.surely, strings.Join(all, ", "))
}

// name writes what there is of a name.
func (w *writer) name(n *evidence.Name) {
	t, name := w.words, plain(n.Name)
	if name == "" {
		name = t.unnamed
	}
	w.lines("  " + name)
	detail := func(text string) { w.wrapped("      ", "      ", text) }
	counts := w.count(n.Counts.Count)
	if n.Counts.Blocked.Lookups > 0 {
		counts += fmt.Sprintf(t.ofBlocked, w.count(n.Counts.Blocked))
	}
	detail(counts)
	detail(fmt.Sprintf(t.times, w.time(n.First), w.time(n.Last)))
	var said []string
	for _, s := range []struct{ label, text string }{{t.tier, n.Tier}, {t.purpose, n.Purpose}, {t.product, n.Product}, {t.region, n.Region}} {
		if s.text != "" {
			said = append(said, s.label+" "+plain(s.text))
		}
	}
	switch {
	case n.Name == "":
	case n.IsObserved():
		detail(t.listedBelow)
	default:
		detail(fmt.Sprintf(t.listed, plain(n.ListedBy), strings.Join(said, ", ")))
	}
	for _, source := range n.Sources {
		w.lines("      " + t.source + " " + plain(source)) // an address is not broken
	}
	w.lines("")
}

// count writes how often something was, in attempts where they were counted.
func (w *writer) count(c evidence.Count) string {
	lookups := number(c.Lookups, w.words.lookup[0], w.words.lookup[1])
	if w.r.Attempts.Counted == "all" {
		return number(c.Attempts, w.words.attempt[0], w.words.attempt[1]) + " (" + lookups + ")"
	}
	return lookups
}

func (w *writer) time(at querylog.Time) string { return at.In(w.r.Location).Format(w.words.layout) }

func (w *writer) lines(all ...string) {
	for _, line := range all {
		w.b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func (w *writer) paragraph(text string) {
	w.wrapped("", "", text)
	w.lines("")
}

func (w *writer) item(text string) { w.wrapped("- ", "  ", text) }

const width = 80

// wrapped writes a text in lines, the first of which begins with one text and all others
// with another.
func (w *writer) wrapped(first, others, text string) {
	line := first
	begun := false
	for word := range strings.FieldsSeq(text) {
		if begun && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			w.lines(line)
			line, begun = others, false
		}
		if begun {
			line += " "
		}
		line += word
		begun = true
	}
	w.lines(line)
}

// plain is a text of others without what does not print, and without brackets, which are
// the person's.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '[':
			return '('
		case r == ']':
			return ')'
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}

// missing returns what of a language's words is not there, for a test.
func missing(l *words) (all []string) {
	for name, text := range map[string]string{
		"sender": l.sender, "date": l.date, "address": l.address, "greeting": l.greeting, "meaning": l.meaning, "ask": l.ask, "end": l.end, "regards": l.regards, "name": l.name, "annex": l.annex,
		"period": l.period, "coverage": l.coverage, "program": l.program, "attempts": l.attempts, "noAttempts": l.noAttempts, "blocked": l.blocked, "device": l.device, "surely": l.surely, "totals": l.totals,
		"unnamed": l.unnamed, "ofBlocked": l.ofBlocked, "times": l.times, "tier": l.tier, "purpose": l.purpose, "product": l.product, "region": l.region, "listed": l.listed, "source": l.source,
		"attempt": l.attempt[0] + l.attempt[1], "lookup": l.lookup[0] + l.lookup[1], "layout": l.layout, "heads": strings.Join(l.heads[:], ""), "questions": strings.Join(l.questions, ""), "limits": strings.Join(l.limits, ""),
		"company": l.company, "listsErr": l.listsErr, "guess": l.guess, "endBelow": l.endBelow, "listedBelow": l.listedBelow, "allBlocked": l.allBlocked, "imported": l.imported, "importedMost": l.importedMost, "listsSay": l.listsSay, "opening": l.opening,
		"by": l.by[byUnknown], "byAddress": l.by[byAddress], "byMAC": l.by[byMAC], "byID": l.by[byID], "or": l.or,
	} {
		if text == "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}
