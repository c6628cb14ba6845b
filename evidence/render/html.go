package render

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"telltale/evidence"
	"telltale/querylog"
)

// HTML writes a report as one page that needs nothing else: no script, no font, no
// request.
func HTML(w io.Writer, r *evidence.Report) error {
	p := &page{r: r}
	p.f("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
	p.f("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n")
	p.f("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n")
	p.f("<title>%s, %s</title>\n<style>%s</style>\n</head>\n<body>\n", title(r), period(r), raw(style))
	p.f("<svg width=\"0\" height=\"0\" aria-hidden=\"true\" class=\"defs\"><defs><pattern id=\"gap\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"2\" height=\"6\" class=\"hatch\"/></pattern></defs></svg>\n")
	p.f("<header>\n<h1>%s</h1>\n<p>%s</p>\n</header>\n<main>\n", title(r), period(r))
	p.opening()
	p.vendors()
	p.devices()
	p.flows()
	p.timeline()
	p.week()
	p.details()
	p.rhythms()
	p.destinations()
	p.changes("New names", r.NewText(), r.New)
	p.changes("Names not seen again", r.GoneText(), r.Gone)
	p.owners()
	p.identity()
	p.markers()
	p.words()
	p.f("</main>\n<footer><p>Made %s by %s. Times are in %s.</p></footer>\n</body>\n</html>\n", r.Made.In(r.Location).Format("2 Jan 2006 15:04"), r.Program, r.Zone)
	_, err := io.WriteString(w, p.b.String())
	return err
}

// raw is text that is HTML already.
type raw string

type page struct {
	b strings.Builder
	r *evidence.Report
	n int // sections so far
}

// f writes HTML. Every string among args is escaped; raw ones are not.
func (p *page) f(format string, args ...any) {
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = escapeHTML(a)
		case raw:
			args[i] = string(a)
		}
	}
	fmt.Fprintf(&p.b, format, args...)
}

// escapeHTML makes text of what others chose. What does not print would have no
// meaning, or change the order of what is shown.
func escapeHTML(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case !strconv.IsPrint(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (p *page) section(head string) {
	p.n++
	p.f("<section aria-labelledby=\"s%d\">\n<h2 id=\"s%d\">%s</h2>\n", p.n, p.n, head)
}

func (p *page) end() { p.f("</section>\n") }

// A cell of a table; a number is set to the right.
type cell struct {
	text   string
	number bool
}

func txt(s string) cell     { return cell{text: s} }
func num(n uint64) cell     { return cell{evidence.Number(n), true} }
func numText(s string) cell { return cell{s, true} }
func (p *page) at(t querylog.Time) cell {
	return txt(t.In(p.r.Location).Format("Mon 2 Jan 2006 15:04"))
}

// table writes a table that scrolls by itself where it is wider than the screen.
func (p *page) table(caption string, heads []string, rows [][]cell) {
	p.f("<div class=\"scroll\" role=\"region\" aria-label=\"%s\" tabindex=\"0\"><table>\n<caption>%s</caption>\n<thead><tr>", caption, caption)
	for i, h := range heads {
		class := ""
		if len(rows) > 0 && rows[0][i].number {
			class = " class=\"n\""
		}
		p.f("<th scope=\"col\"%s>%s</th>", raw(class), h)
	}
	p.f("</tr></thead>\n<tbody>\n")
	for _, row := range rows {
		p.f("<tr>")
		for i, c := range row {
			switch {
			case i == 0:
				p.f("<th scope=\"row\">%s</th>", c.text)
			case c.number:
				p.f("<td class=\"n\">%s</td>", c.text)
			default:
				p.f("<td>%s</td>", c.text)
			}
		}
		p.f("</tr>\n")
	}
	p.f("</tbody></table></div>\n")
}

// behind writes a table that a chart was drawn of.
func (p *page) behind(summary, caption string, heads []string, rows [][]cell) {
	p.f("<details><summary>%s</summary>\n", summary)
	p.table(caption, heads, rows)
	p.f("</details>\n")
}

// opening is the coverage and the other facts, the coverage first.
func (p *page) opening() {
	r := p.r
	p.section("In short")
	p.f("<dl>\n")
	for _, f := range facts(r) {
		p.f("<dt>%s</dt><dd>%s</dd>\n", f.label, f.text)
	}
	p.f("</dl>\n")
	if r.Listed.Lookups == 0 {
		p.f("<p><strong>%s</strong></p>\n", r.NoneText())
	}
	if len(r.Caveats) > 0 {
		p.f("<h3>Read this with care</h3>\n<ul>\n")
		for _, c := range r.Caveats {
			p.f("<li>%s</li>\n", c)
		}
		p.f("</ul>\n")
	}
	if len(r.Coverage.Gaps) > 0 {
		var rows [][]cell
		for i := range r.Coverage.Gaps {
			g := &r.Coverage.Gaps[i]
			rows = append(rows, []cell{p.at(g.Since), p.at(g.Until), txt(evidence.Length(g.Until.Sub(g.Since.Time))), txt(string(g.Effect)), txt(g.Kind), txt(strings.TrimSpace(g.Subject + " " + g.Detail))})
		}
		p.behind("All that bears on the record", "What bears on the record", []string{"From", "To", "Length", "Effect", "Kind", "Detail"}, rows)
	}
	p.end()
}

func (p *page) vendors() {
	r := p.r
	if len(r.Vendors) == 0 {
		return
	}
	p.section("Vendors")
	p.f("<p>By %s of names that lists say to be theirs. The filled part was blocked.</p>\n", r.Unit)
	p.vendorChart()
	heads := []string{"Vendor", "Attempts", "Lookups", "Blocked", "Observed", "Allowed", "Passed"}
	what := "what was blocked, observed, allowed and passed is in "
	if r.Listed.Unknown.Lookups > 0 {
		heads = append(heads, "Not known")
		what = "what was blocked, observed, allowed and passed, and of what that is not known, is in "
	}
	heads = append(heads, "An hour", "At night", "First", "Last", "Devices")
	if r.Before != nil {
		heads = append(heads, "An hour before", "Change")
	}
	var rows [][]cell
	for i := range r.Vendors {
		v := &r.Vendors[i]
		c := &v.Counts
		row := []cell{
			txt(v.Vendor), num(c.Attempts), num(c.Lookups),
			numText(verdictCount(r, c, c.Blocked)), numText(verdictCount(r, c, c.Observed)), numText(verdictCount(r, c, c.Allowed)), numText(verdictCount(r, c, c.Passed)),
		}
		if r.Listed.Unknown.Lookups > 0 {
			row = append(row, num(c.Unknown.In(r.Unit)))
		}
		row = append(row,
			numText(hourly(r.Rated, v.PerHour)), numText(percent(v.Night)), p.at(v.First), p.at(v.Last), num(uint64(len(v.Devices))))
		if v.Trend != nil {
			row = append(row, numText(hourly(r.Before.Rated, v.Trend.Before)), txt(change(p.r, v.Trend)))
		}
		rows = append(rows, row)
	}
	p.behind("Table of vendors", "Vendors; "+what+r.Unit, heads, rows)
	p.end()
}

func (p *page) devices() {
	r := p.r
	if r.About.Device != "" || len(r.Devices) == 0 {
		return
	}
	p.section("Devices")
	heads := []string{"Device", "Attempts", "Lookups", "Blocked", "An hour", "Lookups of all names", "Vendors", "Confidence", "First", "Last"}
	if r.Before != nil {
		heads = append(heads, "Than before")
	}
	var rows [][]cell
	for i := range r.Devices {
		d := &r.Devices[i]
		var vendors []string
		for _, v := range d.Vendors[:min(3, len(d.Vendors))] {
			vendors = append(vendors, v.Vendor)
		}
		if more := len(d.Vendors) - 3; more > 0 {
			vendors = append(vendors, fmt.Sprintf("%d more", more))
		}
		row := []cell{
			txt(d.Label), num(d.Listed.Attempts), num(d.Listed.Lookups), numText(verdictCount(r, &d.Listed, d.Listed.Blocked)), numText(hourly(r.Rated, d.PerHour)), num(d.Asked.Lookups),
			txt(strings.Join(vendors, ", ")), txt(orNone(d.Confidence)), p.at(d.First), p.at(d.Last),
		}
		if d.First.IsZero() {
			row[8], row[9] = txt("-"), txt("-")
		}
		if d.Trend != nil {
			row = append(row, txt(change(p.r, d.Trend)))
		}
		rows = append(rows, row)
	}
	p.table("Devices, by "+r.Unit+" of names that lists say to be a vendor's", heads, rows)
	p.end()
}

// details says of each vendor what it was asked for, and who says so.
func (p *page) details() {
	r := p.r
	if len(r.Vendors) == 0 {
		return
	}
	p.section("Vendor by vendor")
	for i := range r.Vendors {
		v := &r.Vendors[i]
		open := ""
		if i < textDetails {
			open = " open"
		}
		p.f("<details%s class=\"vendor\"><summary><h3>%s</h3> %s</summary>\n<dl>\n", raw(open), v.Vendor, amount(r, v.Counts.Count))
		if len(v.Products) > 0 {
			p.f("<dt>Products</dt><dd>%s</dd>\n", strings.Join(v.Products, ", "))
		}
		if !v.IsObserved() { // nobody says what for
			p.f("<dt>Said to be for</dt><dd>%s</dd>\n", purposesText(r, v))
		}
		p.f("<dt>Decided</dt><dd>%s</dd>\n<dt>At night</dt><dd>%s</dd>\n", decided(r, &v.Counts), percent(v.Night))
		p.f("<dt>First and last</dt><dd>%s</dd>\n", evidence.From(v.First.Time, v.Last.Time, r.Location))
		if r.About.Device == "" {
			p.f("<dt>Asked by</dt><dd>%s</dd>\n", strings.Join(v.Devices, ", "))
		}
		p.f("</dl>\n")
		p.names(v)
		p.sources(v.Sources)
		p.f("</details>\n")
	}
	p.end()
}

// htmlNames bounds the names of a vendor on the page; JSON and CSV have all.
const htmlNames = 200

func (p *page) names(v *evidence.Vendor) {
	r := p.r
	var rows [][]cell
	for i := range v.Names[:min(len(v.Names), htmlNames)] {
		n := &v.Names[i]
		says := saysWho(n)
		if n.Breaks != "" {
			says += "; where it is blocked: " + n.Breaks
		}
		rows = append(rows, []cell{
			txt(nameText(n)), num(n.Counts.Attempts), num(n.Counts.Lookups), numText(verdictCount(r, &n.Counts, n.Counts.Blocked)), txt(about(n)), txt(says), txt(confidence(n)), p.at(n.First), p.at(n.Last),
		})
	}
	p.table("Names of "+v.Vendor, []string{"Name", "Attempts", "Lookups", "Blocked", "What for", "Who says so", "Confidence", "First", "Last"}, rows)
	if more := len(v.Names) - htmlNames; more > 0 {
		p.f("<p>And %s; the CSV and JSON forms have all.</p>\n", evidence.Plural(uint64(more), "more name"))
	}
}

// sources lists the documents that lists name. Only addresses of the web become
// links.
func (p *page) sources(all []string) {
	if len(all) == 0 {
		return
	}
	p.f("<p>Sources:</p>\n<ul class=\"sources\">\n")
	for _, s := range all {
		if u, err := url.Parse(s); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" {
			p.f("<li><a href=\"%s\" rel=\"noreferrer\">%s</a></li>\n", s, s)
		} else {
			p.f("<li>%s</li>\n", s)
		}
	}
	p.f("</ul>\n")
}

func (p *page) changes(head, text string, all []evidence.Change) {
	if len(all) == 0 {
		return
	}
	p.section(head)
	p.f("<p>%s</p>\n", text)
	var rows [][]cell
	for i := range all {
		c := &all[i]
		rows = append(rows, []cell{txt(c.Name), txt(c.Vendor), txt(c.Purpose), txt(c.Tier), num(c.Attempts), num(c.Lookups), p.at(c.First), p.at(c.Last)})
	}
	p.table(head, []string{"Name", "Vendor", "Purpose", "Tier", "Attempts", "Lookups", "First", "Last"}, rows)
	p.end()
}

func (p *page) owners() {
	r := p.r
	if len(r.Owners) == 0 {
		return
	}
	p.section("Other names, by who owns their domain")
	p.f("<p>No list has these names. That a company owns a domain says nothing of telemetry.</p>\n")
	var rows [][]cell
	for i := range r.Owners {
		o := &r.Owners[i]
		rows = append(rows, []cell{txt(o.Owner), num(o.Counts.Attempts), num(o.Counts.Lookups)})
	}
	p.behind(evidence.Plural(uint64(len(rows)), "owner"), "Owners of other names", []string{"Owner", "Attempts", "Lookups"}, rows)
	p.end()
}

func (p *page) identity() {
	r := p.r
	text := confidenceText(r)
	if text == "" && len(r.Identity) == 0 {
		return
	}
	p.section("Who asked")
	if text != "" {
		p.f("<p>How surely the device is known, by lookups: %s.</p>\n", text)
	}
	if len(r.Identity) > 0 {
		var rows [][]cell
		for i := range r.Identity {
			d := &r.Identity[i]
			until := txt("now")
			if !d.Until.IsZero() {
				until = p.at(d.Until)
			}
			rows = append(rows, []cell{txt(d.Covers), txt(d.MAC), txt(d.Device), p.at(d.From), until, txt(d.Source), txt(d.Confidence)})
		}
		p.table("What the device was known by", []string{"Address", "MAC", "Device then", "From", "To", "Rests on", "Confidence"}, rows)
	}
	p.end()
}

func (p *page) markers() {
	r := p.r
	if len(r.Markers) == 0 {
		return
	}
	p.section("What else happened")
	if r.MarkersMore > 0 {
		p.f("<p>%s left out; the ledger has all.</p>\n", evidence.Plural(uint64(r.MarkersMore), "earlier event"))
	}
	var rows [][]cell
	for i := range r.Markers {
		rows = append(rows, []cell{txt(strconv.Itoa(i + 1)), p.at(r.Markers[i].Time), txt(r.Markers[i].Text)})
	}
	p.table("Events that may explain a change; the numbers are those of the timeline", []string{"No.", "When", "What"}, rows)
	p.end()
}

func (p *page) words() {
	for _, part := range []struct {
		head  string
		lines []string
	}{{"What this shows", p.r.Proves}, {"What it does not show", p.r.Limits}} {
		p.section(part.head)
		p.f("<ul>\n")
		for _, l := range part.lines {
			p.f("<li>%s</li>\n", l)
		}
		p.f("</ul>\n")
		p.end()
	}
}

// week is the hours of a week as a chart, and the table behind it.
func (p *page) week() {
	r := p.r
	if r.Listed.Lookups == 0 {
		return
	}
	p.section("By weekday and hour")
	values, of := weekRates(r)
	p.f("<p>%s an hour recorded, the more colour the more; at most %s. Hatched: nothing was recorded.%s</p>\n", strings.ToUpper(r.Unit[:1])+r.Unit[1:], rate(slices.Max(values)), spaced(importedText(r, of)))
	p.weekChart()
	heads := []string{"Day"}
	for hour := range 24 {
		heads = append(heads, strconv.Itoa(hour))
	}
	var rows [][]cell
	for day, name := range weekdays {
		row := []cell{txt(name)}
		for hour := range 24 {
			c := &r.Hours[day*24+hour]
			if of[day*24+hour] == nothing {
				row = append(row, numText("no record"))
			} else {
				row = append(row, num(c.In(r.Unit)))
			}
		}
		rows = append(rows, row)
	}
	p.behind("Table of hours", "How many "+r.Unit+" by weekday and hour", heads, rows)
	p.end()
}

// spaced is a sentence behind another.
func spaced(text string) string {
	if text == "" {
		return ""
	}
	return " " + text
}

func (p *page) timeline() {
	r := p.r
	if r.Listed.Lookups == 0 || len(r.Timeline.Slots) < 2 {
		return
	}
	p.section("By " + r.Timeline.Step)
	values, of := slotRates(r)
	p.f("<p>%s an hour recorded, at most %s. The filled part was blocked. Hatched: nothing was recorded, or lookups are missing.%s Numbers on top are the events listed under <em>What else happened</em>.</p>\n",
		strings.ToUpper(r.Unit[:1])+r.Unit[1:], rate(slices.Max(values)), spaced(importedText(r, of)))
	p.timelineChart()
	var rows [][]cell
	for i := range r.Timeline.Slots {
		s := &r.Timeline.Slots[i]
		rows = append(rows, []cell{p.at(s.Since), num(s.Attempts), num(s.Lookups), slotBlocked(s, r.Unit), txt(evidence.Length(secs(s.Recorded))), numText(slotRate(values[i], of[i]))})
	}
	p.behind("Table of the timeline", "By "+r.Timeline.Step, []string{"From", "Attempts", "Lookups", "Blocked", "Recorded", "An hour recorded"}, rows)
	p.end()
}

// slotBlocked is how many were blocked in a part of the timeline: none is not said where
// that is not known.
func slotBlocked(s *evidence.Slot, unit string) cell {
	switch unknown := s.Unknown.In(unit); {
	case s.Recorded == 0 && s.Lookups == 0:
		return numText("-")
	case unknown == 0:
		return num(s.Blocked.In(unit))
	case unknown == s.In(unit):
		return numText("not known")
	default:
		return numText(fmt.Sprintf("%s, of %s not known", evidence.Number(s.Blocked.In(unit)), evidence.Number(unknown)))
	}
}

func (p *page) flows() {
	r := p.r
	if r.About.Kind != "household" || len(r.Flows) < 2 {
		return
	}
	p.section("From devices to vendors to purposes")
	p.flowChart()
	var rows [][]cell
	for i := range r.Flows {
		f := &r.Flows[i]
		rows = append(rows, []cell{txt(flowName(f.Device)), txt(flowName(f.Vendor)), txt(flowPurpose(f.Purpose)), num(f.Attempts), num(f.Lookups)})
	}
	p.behind("Table of devices, vendors and purposes", "Devices, vendors and purposes", []string{"Device", "Vendor", "Purpose", "Attempts", "Lookups"}, rows)
	p.end()
}
