package render

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"telltale/evidence"
)

// mdNames is how many names of a vendor Markdown has.
const mdNames = 25

// Markdown writes a report as Markdown with tables, as GitHub and most wikis read it.
func Markdown(w io.Writer, r *evidence.Report) error {
	m := &markdown{r: r}
	m.f("# %s\n\n%s\n\n", title(r), period(r))
	for _, f := range facts(r) {
		m.f("- **%s**: %s\n", f.label, f.text)
	}
	if r.Listed.Lookups == 0 {
		m.f("\n%s\n", r.NoneText())
	}
	m.vendors()
	m.devices()
	m.timeline()
	for i := range r.Vendors {
		m.vendor(&r.Vendors[i])
	}
	m.rhythms()
	m.destinations()
	m.changes("New names", r.NewText(), r.New)
	m.changes("Names not seen again", r.GoneText(), r.Gone)
	if len(r.Owners) > 0 {
		var parts []string
		for i := range r.Owners {
			parts = append(parts, r.Owners[i].Owner+" "+evidence.Number(r.Owners[i].Counts.Lookups))
		}
		m.f("\n## Other names, by who owns their domain\n\nNo list has these names; that a company owns a domain says nothing of telemetry. Lookups: %s.\n", strings.Join(parts, ", "))
	}
	m.identity()
	if len(r.Markers) > 0 {
		m.table("What else happened", "", []string{"When", "What"}, len(r.Markers), func(i int) []string {
			return []string{evidence.Short(r.Markers[i].Time.Time, r.Location), r.Markers[i].Text}
		})
	}
	m.list("Read this with care", r.Caveats)
	m.list("What this shows", r.Proves)
	m.list("What it does not show", r.Limits)
	m.f("\nMade %s by %s.\n", r.Made.In(r.Location).Format("2006-01-02 15:04"), r.Program)
	_, err := io.WriteString(w, m.b.String())
	return err
}

type markdown struct {
	b strings.Builder
	r *evidence.Report
}

// f writes Markdown. Every string among args is escaped.
func (m *markdown) f(format string, args ...any) {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = escapeMarkdown(s)
		}
	}
	fmt.Fprintf(&m.b, format, args...)
}

// escapeMarkdown makes text of what others chose: no markup, no HTML, no column of a
// table, and no link. An address would become one by itself: its colon is a character
// reference.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case !strconv.IsPrint(r):
			b.WriteRune(utf8.RuneError)
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case strings.ContainsRune("\\`*_[]|~#!$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.ReplaceAll(b.String(), "://", "&#58;//")
}

func (m *markdown) table(head, text string, heads []string, n int, row func(int) []string) {
	m.f("\n## %s\n\n", head)
	if text != "" {
		m.f("%s\n\n", text)
	}
	m.row(heads)
	m.b.WriteString(strings.Repeat("|---", len(heads)) + "|\n")
	for i := range n {
		m.row(row(i))
	}
}

func (m *markdown) row(cells []string) {
	for _, c := range cells {
		m.f("| %s ", c)
	}
	m.b.WriteString("|\n")
}

func (m *markdown) list(head string, lines []string) {
	if len(lines) == 0 {
		return
	}
	m.f("\n## %s\n\n", head)
	for _, l := range lines {
		m.f("- %s\n", l)
	}
}

func (m *markdown) vendors() {
	r := m.r
	if len(r.Vendors) == 0 {
		return
	}
	heads := []string{"Vendor", "Attempts", "Lookups", "Blocked (" + r.Unit + ")", "An hour", "At night"}
	if r.Before != nil {
		heads = append(heads, "Than before")
	}
	m.table("Vendors", "", heads, len(r.Vendors), func(i int) []string {
		v := &r.Vendors[i]
		row := []string{v.Vendor, evidence.Number(v.Counts.Attempts), evidence.Number(v.Counts.Lookups), verdictCount(r, &v.Counts, v.Counts.Blocked), hourly(r.Rated, v.PerHour), percent(v.Night)}
		if r.Before != nil {
			row = append(row, change(r, v.Trend))
		}
		return row
	})
}

func (m *markdown) devices() {
	r := m.r
	if r.About.Device != "" || len(r.Devices) == 0 {
		return
	}
	m.table("Devices", "", []string{"Device", "Attempts", "Lookups", "An hour", "Confidence", "Vendors"}, len(r.Devices), func(i int) []string {
		d := &r.Devices[i]
		var vendors []string
		for _, v := range d.Vendors[:min(3, len(d.Vendors))] {
			vendors = append(vendors, v.Vendor)
		}
		return []string{d.Label, evidence.Number(d.Listed.Attempts), evidence.Number(d.Listed.Lookups), hourly(r.Rated, d.PerHour), orNone(d.Confidence), strings.Join(vendors, ", ")}
	})
}

func (m *markdown) timeline() {
	r := m.r
	slots := r.Timeline.Slots
	if r.Listed.Lookups == 0 || len(slots) < 2 || len(slots) > 60 {
		return
	}
	values, of := slotRates(r)
	m.table("By "+r.Timeline.Step, "", []string{"From", "Attempts", "Lookups", "Recorded", "An hour recorded (" + r.Unit + ")"}, len(slots), func(i int) []string {
		s := &slots[i]
		return []string{evidence.Short(s.Since.Time, r.Location), evidence.Number(s.Attempts), evidence.Number(s.Lookups), evidence.Length(secs(s.Recorded)), slotRate(values[i], of[i])}
	})
}

func (m *markdown) vendor(v *evidence.Vendor) {
	r := m.r
	shown := v.Names[:min(len(v.Names), mdNames)]
	text := amount(r, v.Counts.Count) + ", " + evidence.From(v.First.Time, v.Last.Time, r.Location) + "; " + decided(r, &v.Counts)
	if more := len(v.Names) - len(shown); more > 0 {
		text += "; " + evidence.Plural(uint64(more), "more name") + " in the CSV and JSON forms"
	}
	m.table(v.Vendor, text, []string{"Name", "Attempts", "Lookups", "What for", "Who says so", "Confidence"}, len(shown), func(i int) []string {
		n := &shown[i]
		return []string{nameText(n), evidence.Number(n.Counts.Attempts), evidence.Number(n.Counts.Lookups), about(n), saysWho(n), confidence(n)}
	})
	if len(v.Sources) > 0 {
		m.b.WriteString("\nSources:\n\n")
		for _, s := range v.Sources {
			m.f("- %s\n", s)
		}
	}
}

func (m *markdown) changes(head, text string, all []evidence.Change) {
	if len(all) == 0 {
		return
	}
	m.table(head, text, []string{"Name", "Vendor", "Attempts", "Lookups"}, len(all), func(i int) []string {
		c := &all[i]
		return []string{c.Name, c.Vendor, evidence.Number(c.Attempts), evidence.Number(c.Lookups)}
	})
}

func (m *markdown) identity() {
	r := m.r
	text := confidenceText(r)
	if text == "" && len(r.Identity) == 0 {
		return
	}
	if text != "" {
		text = "How surely the device is known, by lookups: " + text + "."
	}
	if len(r.Identity) == 0 {
		m.f("\n## Who asked\n\n%s\n", text)
		return
	}
	m.table("Who asked", text, []string{"Address", "MAC", "Device then", "From", "To", "Rests on", "Confidence"}, len(r.Identity), func(i int) []string {
		d := &r.Identity[i]
		until := "now"
		if !d.Until.IsZero() {
			until = evidence.Short(d.Until.Time, r.Location)
		}
		return []string{d.Covers, d.MAC, d.Device, evidence.Short(d.From.Time, r.Location), until, d.Source, d.Confidence}
	})
}

func (m *markdown) rhythms() {
	if f := m.r.Rhythm; f != nil && len(f.Rhythms) > 0 {
		m.table("Rhythm", "When attempts begin.", []string{"Device", "Name", "Rhythm", "In words"}, len(f.Rhythms), func(i int) []string {
			r := &f.Rhythms[i]
			return []string{r.Label, rhythmName(r), kindWords[r.Kind], r.Text}
		})
	}
}
