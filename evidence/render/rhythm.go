package render

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"telltale/evidence"
	"telltale/evidence/rhythm"
)

// kindWords are what rhythms are called.
var kindWords = map[rhythm.Kind]string{
	rhythm.Heartbeat: "heartbeat", rhythm.Boot: "boot burst", rhythm.Nightly: "nightly", rhythm.InUse: "only while in use", rhythm.Irregular: "irregular", rhythm.TooFew: "too few",
}

// Rhythms writes findings for a terminal: with every, also names without a rhythm. How says
// which command shows these.
func Rhythms(w io.Writer, f *rhythm.Findings, how string, every bool) error {
	t := &textWriter{r: &evidence.Report{}}
	ends := ""
	if f.Gap > 0 {
		ends = fmt.Sprintf("; an attempt ends after %s of silence", evidence.Length(secs(int64(f.Gap))))
	}
	t.line(fmt.Sprintf("Recorded %s of %s%s. Times are in %s.", evidence.Length(secs(f.Recorded)), evidence.Length(secs(f.Length)), ends, f.Zone))
	t.rhythms(f, every, true, how)
	t.list("READ THIS WITH CARE", f.Caveats)
	_, err := io.WriteString(w, t.b.String())
	return err
}

// rhythms writes each device's, and the strip of when it asked.
func (t *textWriter) rhythms(f *rhythm.Findings, every, devices bool, how string) {
	if len(f.Rhythms) == 0 {
		t.line("")
		t.line("No attempt at a listed name was recorded here.")
		return
	}
	device, left, of := "", map[rhythm.Kind]map[string]bool{rhythm.Irregular: {}, rhythm.TooFew: {}}, map[string]bool{}
	for i := range f.Rhythms {
		r := &f.Rhythms[i]
		if !every && left[r.Kind] != nil {
			left[r.Kind][r.Name] = true
			of[r.Device] = true
			continue
		}
		if devices && r.Device != device {
			device = r.Device
			t.head(r.Label)
		}
		t.wrap("  ", rhythmName(r))
		t.wrapAt("    ", 6, fmt.Sprintf("%s: %s", kindWords[r.Kind], r.Text))
		t.line("    " + strip(r.Strip))
	}
	if len(of) > 0 {
		t.line("")
		by := ""
		if len(of) > 1 {
			by = fmt.Sprintf(", of %d devices; a name can be among both", len(of))
		}
		t.wrap("  ", fmt.Sprintf("No rhythm was found of %s, and there were too few attempts at %s%s: %s shows them.",
			evidence.Plural(uint64(len(left[rhythm.Irregular])), "name"), evidence.Plural(uint64(len(left[rhythm.TooFew])), "name"), by, how))
	}
	if device != "" || !devices {
		t.line("")
		t.wrap("  ", "A strip is the period from its beginning to its end; taller is more attempts, / is where something is missing from the record.")
	}
}

// rhythmName is a name, how often it was attempted, and what is said of it.
func rhythmName(r *rhythm.Rhythm) string {
	text := r.Name
	if r.Names > 1 {
		text += fmt.Sprintf(" (%d names of the rule %s)", r.Names, r.Listed)
	}
	text += "  " + evidence.Plural(r.Attempts, "attempt")
	var about []string
	for _, s := range []string{r.Vendor, r.Purpose, r.Tier} {
		if s != "" {
			about = append(about, s)
		}
	}
	if len(about) > 0 {
		text += ", " + strings.Join(about, ", ")
	}
	return text
}

// strip draws two parts of a strip as a column.
func strip(parts []int) string {
	var values []float64
	var of []shown
	for i := 0; i+1 < len(parts); i += 2 {
		n, what := max(parts[i], 0)+max(parts[i+1], 0), recorded
		if parts[i] < 0 && parts[i+1] < 0 {
			what = nothing
		}
		values, of = append(values, float64(n)), append(of, what)
	}
	if len(values) == 0 {
		return ""
	}
	return "|" + spark(values, of, slices.Max(values)) + "|"
}

// rhythms writes the section of a report that has them.
func (p *page) rhythms() {
	f := p.r.Rhythm
	if f == nil || len(f.Rhythms) == 0 {
		return
	}
	p.section("Rhythm")
	p.f("<p>When attempts begin, from the beginning of the period to its end; darker is more. Where something is missing from the record it is hatched.</p>\n")
	var rows [][]cell
	for i := range f.Rhythms {
		r := &f.Rhythms[i]
		row := []cell{txt(rhythmName(r)), txt(kindWords[r.Kind]), txt(r.Text)}
		if p.r.About.Device == "" {
			row = append([]cell{txt(r.Label)}, row...)
		}
		rows = append(rows, row)
		if r.Kind == rhythm.Irregular || r.Kind == rhythm.TooFew || i >= chartRhythms {
			continue
		}
		label := rhythmName(r)
		if p.r.About.Device == "" {
			label = r.Label + ": " + label
		}
		p.f("<h3>%s</h3>\n<p>%s: %s</p>\n", label, kindWords[r.Kind], r.Text)
		p.strip(r)
	}
	heads := []string{"Name", "Rhythm", "In words"}
	if p.r.About.Device == "" {
		heads = append([]string{"Device"}, heads...)
	}
	p.behind("Table of all names", "Rhythms of names", heads, rows)
	p.f("<ul>\n")
	for _, c := range f.Caveats {
		p.f("<li>%s</li>\n", c)
	}
	p.f("</ul>\n")
	p.end()
}

const (
	chartRhythms = 100 // strips that a page has; the table has all
	stripHeight  = 22
)

func (p *page) strip(r *rhythm.Rhythm) {
	most := max(1, slices.Max(r.Strip))
	p.chart(stripHeight, fmt.Sprintf("Strip of when attempts at %s began: %s", r.Name, r.Text))
	width := 100 / float64(len(r.Strip))
	for i, n := range r.Strip {
		class := ""
		switch {
		case n < 0:
			class = "gap"
		case n > 0:
			class = fmt.Sprintf("h%d", 1+min(4, n*5/(most+1)))
		default:
			continue
		}
		p.f("<rect class=\"%s\" x=\"%.3f%%\" y=\"0\" width=\"%.3f%%\" height=\"%d\"/>", raw(class), width*float64(i), width, stripHeight)
	}
	p.f("\n")
	p.endChart()
}
