package render

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"telltale/evidence"
)

// Width is how many columns of a terminal text takes.
const Width = 80

// How much of a report text shows; the other formats have all.
const (
	textVendors = 12
	textDetails = 5
	textNames   = 5
	textDevices = 15
	textChanges = 8
	textMarkers = 12
	textSources = 3
)

// Text writes a report for a terminal.
func Text(w io.Writer, r *evidence.Report) error {
	t := &textWriter{r: r}
	t.line(title(r))
	t.line(period(r))
	t.line("")
	for _, f := range facts(r) {
		t.fact(f.label, f.text)
	}
	if r.Listed.Lookups == 0 {
		t.line("")
		t.wrap("", r.NoneText())
	}
	t.vendors()
	t.devices()
	t.flowOfTime()
	t.week()
	t.details()
	if f := r.Rhythm; f != nil && len(f.Rhythms) > 0 {
		t.head("RHYTHM")
		t.rhythms(f, false, r.About.Device == "", "'telltale rhythm' with the same device and period, and --every,")
	}
	t.destinations()
	t.changes("NEW NAMES", r.NewText(), r.New)
	t.changes("NAMES NOT SEEN AGAIN", r.GoneText(), r.Gone)
	t.owners()
	t.identity()
	t.markers()
	t.list("READ THIS WITH CARE", r.Caveats)
	t.list("WHAT THIS SHOWS", r.Proves)
	t.list("WHAT IT DOES NOT SHOW", r.Limits)
	t.line("")
	t.line("made " + r.Made.In(r.Location).Format("2006-01-02 15:04") + " by " + r.Program)
	_, err := io.WriteString(w, t.b.String())
	return err
}

type textWriter struct {
	b strings.Builder
	r *evidence.Report
}

// line writes a line of text that may have what others chose in it.
func (t *textWriter) line(s string) { t.b.WriteString(strings.TrimRight(printable(s), " ") + "\n") }

func (t *textWriter) head(s string) {
	t.line("")
	t.line(s)
}

// labelled is how wide the labels of facts are.
const labelled = 18

func (t *textWriter) fact(label, text string) { t.wrapAt(pad(label, labelled), labelled, text) }

// wrap writes text in lines of at most Width columns behind a margin.
func (t *textWriter) wrap(margin, text string) {
	t.wrapAt(margin, utf8.RuneCountInString(margin), text)
}

func (t *textWriter) wrapAt(first string, indent int, text string) {
	line, n := first, utf8.RuneCountInString(first)
	begun := false
	for _, word := range strings.Fields(printable(text)) {
		width := utf8.RuneCountInString(word)
		if begun && n+1+width > Width {
			t.line(line)
			line, n, begun = strings.Repeat(" ", indent), indent, false
		}
		if begun {
			line, n = line+" ", n+1
		}
		line, n, begun = line+word, n+width, true
	}
	t.line(line)
}

func (t *textWriter) list(head string, lines []string) {
	if len(lines) == 0 {
		return
	}
	t.head(head)
	for _, l := range lines {
		t.wrap("- ", l)
	}
}

func (t *textWriter) more(n int, what string) {
	if n > 0 {
		t.line("  and " + evidence.Plural(uint64(n), "more "+what) + "; --format html, csv and json have all")
	}
}

func (t *textWriter) vendors() {
	r := t.r
	if len(r.Vendors) == 0 {
		return
	}
	t.head(fmt.Sprintf("%-20s %-18s %9s %8s %8s  %s", "VENDOR", "", strings.ToUpper(r.Unit), "BLOCKED", "AN HOUR", trendHead(r)))
	most := r.Vendors[0].Counts.In(r.Unit)
	for i := range r.Vendors[:min(len(r.Vendors), textVendors)] {
		v := &r.Vendors[i]
		n := v.Counts.In(r.Unit)
		t.line(fmt.Sprintf("%s %s %9s %8s %8s  %s", pad(v.Vendor, 20), bar(n, most, 18), evidence.Number(n), blockedShare(r, &v.Counts), hourly(r.Rated, v.PerHour), change(r, v.Trend)))
	}
	t.more(len(r.Vendors)-textVendors, "vendor")
}

func trendHead(r *evidence.Report) string {
	if r.Before == nil {
		return ""
	}
	return "THAN BEFORE"
}

func (t *textWriter) devices() {
	r := t.r
	if r.About.Device != "" || len(r.Devices) == 0 {
		return
	}
	t.head(fmt.Sprintf("%-20s %-18s %8s %8s %-10s %s", "DEVICE", "", strings.ToUpper(r.Unit), "AN HOUR", "CONFIDENCE", "MOST OFTEN"))
	most := uint64(0)
	for i := range r.Devices {
		most = max(most, r.Devices[i].Listed.In(r.Unit))
	}
	for i := range r.Devices[:min(len(r.Devices), textDevices)] {
		d := &r.Devices[i]
		vendor := ""
		if len(d.Vendors) > 0 {
			vendor = d.Vendors[0].Vendor
		}
		n := d.Listed.In(r.Unit)
		confidence := d.Confidence
		if len(confidence) > 1 { // the least sure
			confidence = confidence[len(confidence)-1:]
		}
		t.line(fmt.Sprintf("%s %s %8s %8s %s %s", pad(d.Label, 20), bar(n, most, 18), evidence.Number(n), hourly(r.Rated, d.PerHour), pad(orNone(confidence), 10), cut(vendor, 11)))
	}
	t.more(len(r.Devices)-textDevices, "device")
}

// flowOfTime draws the timeline as one line; where nothing was recorded it has a
// stroke.
func (t *textWriter) flowOfTime() {
	r := t.r
	slots := r.Timeline.Slots
	if r.Listed.Lookups == 0 || len(slots) < 2 {
		return
	}
	t.head(fmt.Sprintf("BY %s, %s an hour recorded (/: nothing recorded)", strings.ToUpper(r.Timeline.Step), r.Unit))
	values, of := slotRates(r)
	if text := importedText(r, of); text != "" {
		t.wrap("  ", text)
	}
	for at := 0; at < len(slots); at += Width - 4 {
		end := min(at+Width-4, len(slots))
		t.line("  " + spark(values[at:end], of[at:end], slices.Max(values)))
	}
	last := slots[len(slots)-1].Since.In(r.Location).Format("Mon 2 Jan 15:04")
	t.line("  " + slots[0].Since.In(r.Location).Format("Mon 2 Jan 15:04") + " to " + last + fmt.Sprintf(", most %s", rate(slices.Max(values))))
}

// perHour is a rate of a part of a report. Of less than a minute it is as if that was
// recorded, or all that the report has: some seconds would be the highest bar.
func perHour(n uint64, recorded, ofAll int64) float64 {
	return float64(n) / (float64(max(recorded, min(60, ofAll))) / 3600)
}

func secs(n int64) time.Duration { return time.Duration(n) * time.Second }

const sparks = "▁▂▃▄▅▆▇█"

func spark(values []float64, of []shown, most float64) string {
	steps := []rune(sparks)
	var b strings.Builder
	for i, v := range values {
		switch {
		case of[i] == nothing:
			b.WriteByte('/')
		case v == 0 || most == 0:
			b.WriteByte(' ')
		default:
			b.WriteRune(steps[min(len(steps)-1, int(v/most*float64(len(steps))))])
		}
	}
	return b.String()
}

// bar draws a share in eighths of a column.
func bar(n, most uint64, width int) string {
	if most == 0 || n == 0 {
		return strings.Repeat(" ", width)
	}
	eighths := max(1, int(math.Round(float64(n)/float64(most)*float64(width*8))))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return pad(s, width)
}

var weekdays = []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}

// week draws the hours of a week.
func (t *textWriter) week() {
	r := t.r
	if r.Listed.Lookups == 0 {
		return
	}
	t.head(fmt.Sprintf("BY WEEKDAY AND HOUR, %s an hour recorded (/: nothing recorded)", r.Unit))
	values, of := weekRates(r)
	if text := importedText(r, of); text != "" {
		t.wrap("  ", text)
	}
	t.line("      0     3     6     9     12    15    18    21")
	most := slices.Max(values)
	for day, name := range weekdays {
		line := "  " + name + " "
		for i := day * 24; i < (day+1)*24; i++ {
			line += shade(values[i], most, of[i])
		}
		t.line(line)
	}
}

func shade(v, most float64, of shown) string {
	switch {
	case of == nothing:
		return "//"
	case v == 0:
		return "· "
	}
	steps := []string{"░░", "▒▒", "▓▓", "██"}
	return steps[min(len(steps)-1, int(v/most*float64(len(steps))))]
}

// details says more of the first vendors.
func (t *textWriter) details() {
	r := t.r
	for i := range r.Vendors[:min(len(r.Vendors), textDetails)] {
		v := &r.Vendors[i]
		t.line("")
		t.wrapAt("", 2, v.Vendor+": "+amount(r, v.Counts.Count)+", "+evidence.From(v.First.Time, v.Last.Time, r.Location))
		if len(v.Products) > 0 {
			t.fact("  products", strings.Join(v.Products, ", "))
		}
		if !v.IsObserved() { // nobody says what for
			t.fact("  said to be for", purposesText(r, v))
		}
		t.fact("  decided", decided(r, &v.Counts)+"; at night "+percent(v.Night))
		if r.About.Device == "" {
			t.fact("  asked by", strings.Join(v.Devices, ", "))
		}
		for j := range v.Names[:min(len(v.Names), textNames)] {
			t.name(&v.Names[j])
		}
		t.more(len(v.Names)-textNames, "name")
		for j, s := range v.Sources[:min(len(v.Sources), textSources)] {
			label := ""
			if j == 0 {
				label = "  sources"
			}
			t.fact(label, s)
		}
		t.more(len(v.Sources)-textSources, "source")
	}
	t.more(len(r.Vendors)-textDetails, "vendor")
}

func (t *textWriter) name(n *evidence.Name) {
	count := evidence.Number(n.Counts.In(t.r.Unit))
	name := cut(nameText(n), Width-5-len(count))
	t.line("  " + pad(name, Width-4-utf8.RuneCountInString(count)) + " " + count)
	said := saysWho(n)
	if c := confidence(n); c != "" {
		said += "; " + c
	}
	if a := about(n); a != "" {
		said = a + "; " + said
	}
	t.wrap("      ", said)
}

func (t *textWriter) changes(head, text string, all []evidence.Change) {
	if len(all) == 0 {
		return
	}
	t.head(head)
	t.wrap("", text)
	for i := range all[:min(len(all), textChanges)] {
		c := &all[i]
		t.line(fmt.Sprintf("  %s %7s  %s", pad(cut(c.Name, 44), 44), evidence.Number(c.In(t.r.Unit)), cut(c.Vendor, 22)))
	}
	t.more(len(all)-textChanges, "name")
}

func (t *textWriter) owners() {
	r := t.r
	if len(r.Owners) == 0 {
		return
	}
	var parts []string
	for i := range r.Owners[:min(len(r.Owners), 10)] {
		parts = append(parts, r.Owners[i].Owner+" "+evidence.Number(r.Owners[i].Counts.Lookups))
	}
	text := strings.Join(parts, ", ")
	if more := len(r.Owners) - 10; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	t.head("OTHER NAMES, BY WHO OWNS THEIR DOMAIN (lookups; it says nothing of telemetry)")
	t.wrap("  ", text)
}

func (t *textWriter) identity() {
	r := t.r
	text := confidenceText(r)
	if text != "" || len(r.Identity) > 0 {
		t.head("WHO ASKED")
	}
	if text != "" {
		t.wrap("  ", "How surely the device is known, by lookups: "+text+".")
	}
	for i := range r.Identity {
		d := &r.Identity[i]
		until := "now"
		if !d.Until.IsZero() {
			until = evidence.Short(d.Until.Time, r.Location)
		}
		who := d.Covers
		if d.MAC != "" {
			who += " (" + d.MAC + ")"
		}
		t.wrap("  ", fmt.Sprintf("%s was %s from %s to %s: %s, confidence %s", who, d.Device, evidence.Short(d.From.Time, r.Location), until, d.Source, d.Confidence))
	}
	if r.IdentityMore > 0 {
		t.line(fmt.Sprintf("  and %d earlier ones", r.IdentityMore))
	}
}

func (t *textWriter) markers() {
	r := t.r
	if len(r.Markers) == 0 {
		return
	}
	t.head("WHAT ELSE HAPPENED")
	from := max(0, len(r.Markers)-textMarkers)
	if more := from + r.MarkersMore; more > 0 {
		t.line(fmt.Sprintf("  %d earlier events; --format html and json have more, 'telltale ledger' all", more))
	}
	for i := range r.Markers[from:] {
		m := &r.Markers[from+i]
		t.wrapAt("  "+pad(evidence.Short(m.Time.Time, r.Location), 17)+" ", 20, m.Text)
	}
}

// pad makes s so wide, cut where it is longer.
func pad(s string, width int) string {
	s = cut(printable(s), width)
	return s + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

// cut shortens s to so many columns.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}

// printable keeps what others chose from controlling a terminal, or the order in
// which it shows text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
