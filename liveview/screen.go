package liveview

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/width"
)

// A Style is what a piece of a line means; who draws gives it a colour.
type Style int

// Styles.
const (
	Plain   Style = iota
	Head          // of a table, or of a page
	Chosen        // the tab that is shown
	Dim           // of less weight
	Blocked       // by verdict: these and the next
	Allowed
	Observed
	Answered
	Alert // what a person should see
)

// A Span is a piece of a line in one style.
type Span struct {
	Text  string
	Style Style
}

// A Line is one line of a screen, at most as wide as it. A selected one is shown so over
// all its width.
type Line struct {
	Spans    []Span
	Selected bool
}

// Text returns the line without its styles.
func (l *Line) Text() string {
	var b strings.Builder
	for _, s := range l.Spans {
		b.WriteString(s.Text)
	}
	return b.String()
}

// Screen returns what is to be seen: as many lines as the screen has. All of it is text
// that a terminal shows as it is.
func (v *View) Screen(now time.Time) []Line {
	if v.width < smallestWidth || v.height < smallestHeight {
		return v.fit([]Line{line(Span{"too small", Alert})})
	}
	v.now = now
	lines := []Line{v.header(now)}
	if v.page != nil {
		lines = append(lines, v.showPage()...)
	} else {
		lines = append(lines, v.table()...)
	}
	for len(lines) < v.height-1 {
		lines = append(lines, Line{})
	}
	return v.fit(append(lines[:v.height-1], v.footer()))
}

// The smallest screen on which there is something to see.
const (
	smallestWidth  = 20
	smallestHeight = 4
)

// fit makes lines as many as the screen has, and none wider than it.
func (v *View) fit(lines []Line) []Line {
	lines = lines[:min(len(lines), v.height)]
	for i := range lines {
		left := v.width
		for j := range lines[i].Spans {
			s := &lines[i].Spans[j]
			s.Text = cut(clean(s.Text), left)
			left -= wide(s.Text)
		}
	}
	return lines
}

func line(spans ...Span) Line { return Line{Spans: spans} }

// bodyHeight is how many lines are between the first and the last one.
func (v *View) bodyHeight() int { return max(v.height-2, 1) }

// listHeight is how many rows of a table are shown.
func (v *View) listHeight() int { return max(v.height-3, 1) }

var tabNames = [tabs]string{"Rows", "Devices", "Vendors", "Names"}

// header says what is shown, how fast rows come, and what is not as usual.
func (v *View) header(now time.Time) Line {
	var l Line
	used := 0
	add := func(text string, style Style) {
		l.Spans = append(l.Spans, Span{text, style})
		used += wide(text)
	}
	for t, name := range tabNames {
		if v.width < 60 {
			name = name[:3]
		}
		style := Dim
		if Tab(t) == v.tab {
			name, style = "["+name+"]", Chosen
		} else {
			name = " " + name + " "
		}
		add(name, style)
	}
	right := fmt.Sprintf("%.1f/s", v.rate.mean(now))
	switch {
	case used+wide(right)+1 > v.width:
		right = ""
	case v.width >= 100:
		right = sparkline(&v.rate, now, 20) + " " + right
	}
	for _, s := range []Span{
		{v.pausedText(), Alert}, {stoppedText(v.stopped), Alert}, {filterText(v.filter.text), Plain}, {v.o.Chosen, Dim},
	} {
		text := clean(s.Text)
		if text == "" {
			continue
		}
		if room := v.width - used - wide(right) - 3; room >= 6 {
			add("  "+cut(text, room), s.Style)
		}
	}
	add(strings.Repeat(" ", max(v.width-used-wide(right), 1)), Plain)
	add(right, Plain)
	return l
}

func (v *View) pausedText() string {
	switch n := v.waiting(); {
	case v.frozen == nil:
		return ""
	case n > 0:
		return fmt.Sprintf("paused, %d new", n)
	}
	return "paused"
}

func stoppedText(stopped bool) string {
	if stopped {
		return "no server runs"
	}
	return ""
}

func filterText(text string) string {
	if text == "" {
		return ""
	}
	return "filter: " + text
}

// sparkline draws the lookups of the last seconds.
func sparkline(r *rate, now time.Time, n int) string {
	const steps = "▁▂▃▄▅▆▇█"
	most := uint64(1)
	for s := range n {
		most = max(most, r.of(now.Unix()-int64(s)-1))
	}
	var b strings.Builder
	for s := n; s > 0; s-- {
		if got := r.of(now.Unix() - int64(s)); got == 0 {
			b.WriteByte(' ')
		} else {
			b.WriteRune([]rune(steps)[(got*7+most-1)/most])
		}
	}
	return b.String()
}

// footer is the last line: a question, the filter, what is to be said, or keys.
func (v *View) footer() Line {
	switch {
	case v.editing != nil:
		const label = "filter: "
		text := clean(string(v.editing.text))
		return line(Span{label, Head}, Span{cutLeft(text, v.width-len(label)-1) + "_", Plain})
	case v.question != nil:
		return v.askingLine()
	case v.note != "":
		return line(Span{v.note, Alert})
	}
	var spans []Span
	used := 0
	keys := [][2]string{{"?", "help"}, {"q", "quit"}, {"/", "filter"}, {"space", "pause"}, {"enter", "explain"}, {"a", "allow"}, {"b", "block"}, {"tab", "next"}}
	if v.page != nil {
		keys = [][2]string{{"q", "back"}, {"j k", "down and up"}}
	}
	for _, k := range keys {
		if used += len(k[0]) + len(k[1]) + 3; used > v.width {
			break
		}
		spans = append(spans, Span{k[0], Head}, Span{" " + k[1] + "  ", Dim})
	}
	return line(spans...)
}

// askingLine asks whether a rule is meant. A long name does not push the keys out, nor they
// a name out of a narrow screen.
func (v *View) askingLine() Line {
	q := v.question
	if !q.weighed {
		return line(Span{"Looking what blocking " + q.row.Name + " breaks ...", Alert})
	}
	action := strings.ToUpper(q.action[:1]) + q.action[1:] + " "
	room := func(of Line) string { return cutLeft(clean(q.row.Name), v.width-wide(of.Text())) }
	if v.width < 60 {
		keys := []Span{{"? ", Plain}, {"e", Head}, {" all ", Plain}}
		if q.devices {
			keys = append(keys, Span{"d", Head}, Span{" device ", Plain})
		}
		keys = append(keys, Span{"n", Head}, Span{" no", Plain})
		name := room(line(append(keys, Span{action, Alert})...))
		return line(append([]Span{{action, Alert}, {name, Plain}}, keys...)...)
	}
	spans := []Span{{action + "for ", Alert}, {"(e)", Head}, {"veryone", Plain}}
	if q.devices {
		spans = append(spans, Span{", ", Plain}, Span{"(d)", Head}, Span{"evice", Plain})
		if v.width >= 80 {
			spans = append(spans, Span{" " + cut(clean(q.row.Who), 20), Plain})
		}
	}
	spans = append(spans, Span{", ", Plain}, Span{"(n)", Head}, Span{"o? ", Plain})
	return line(append(spans, Span{room(line(spans...)), Plain})...)
}

// showPage shows text in front of the rows.
func (v *View) showPage() []Line {
	p := v.page
	all := v.wrapped(p)
	height := v.bodyHeight()
	p.offset = min(max(p.offset, 0), max(len(all)-height, 0))
	return all[p.offset:min(p.offset+height, len(all))]
}

// wrapped returns the lines of a page, as wide as the screen.
func (v *View) wrapped(p *page) []Line {
	lines := []Line{line(Span{cutLeft(clean(p.title), v.width), Head}), {}}
	if p.help {
		return append(lines, v.helpLines()...)
	}
	for _, text := range p.lines {
		for _, part := range wrap(clean(text), v.width) {
			lines = append(lines, line(Span{part, Plain}))
		}
	}
	return lines
}

// helpLines says what keys do: beside them, or below them where there is no room.
func (v *View) helpLines() (lines []Line) {
	const most = 14 // of what stands for a key
	beside := v.width >= 50
	for _, h := range help {
		indent := most + 1
		if !beside {
			indent = 2
			lines = append(lines, line(Span{h[0], Head}))
		}
		for i, part := range wrap(h[1], v.width-indent) {
			key := ""
			if i == 0 && beside {
				key = h[0]
			}
			lines = append(lines, line(Span{fmt.Sprintf("%-*s", indent, key), Head}, Span{part, Plain}))
		}
	}
	return lines
}

// recorded says what the log has of a row.
func (v *View) recorded(r *Row) []string {
	what := fmt.Sprintf("%s %s: %s", r.Name, r.Type, r.Verdict)
	lines := []string{"Recorded", "  " + what, "  asked for by " + r.Who}
	if r.Client != r.Who {
		lines[2] += " (" + r.Client + ")"
	}
	at := "  at " + r.Time.In(v.o.Zone).Format("2006-01-02 15:04:05")
	if r.Count > 1 {
		at += fmt.Sprintf(", %d times until %s", r.Count, r.Last.In(v.o.Zone).Format("15:04:05"))
		switch r.Attempts {
		case 0:
		case 1:
			at += ", in 1 attempt"
		default:
			at += fmt.Sprintf(", in %d attempts", r.Attempts)
		}
	}
	lines = append(lines, at)
	for _, s := range []struct{ label, text string }{{"whose", r.About}, {"rule", r.Rule}, {"also", r.Remark}} {
		if s.text != "" {
			lines = append(lines, "  "+s.label+": "+s.text)
		}
	}
	return append(lines, "", "Now")
}

// A column is one of a table. The one that grows takes what is left.
type column struct {
	title string
	width int
	grows bool
	right bool // numbers
	left  bool // what is too long loses its beginning: the end of a name says whose it is
}

// A cell is what stands in a column.
type cell struct {
	text  string
	style Style
}

// table shows the tab's rows.
func (v *View) table() []Line {
	if v.tab == Rows {
		return v.rowTable()
	}
	return v.groupTable()
}

func verdictStyle(verdict string) Style {
	switch verdict {
	case "block":
		return Blocked
	case "allow":
		return Allowed
	case "observe":
		return Observed
	case "answer":
		return Answered
	}
	return Plain
}

// letters are verdicts where there is no room for the word.
var letters = map[string]string{"block": "B", "allow": "A", "observe": "O", "answer": "=", "pass": ".", "unknown": "?"}

func (v *View) rowTable() []Line {
	var columns []column
	switch {
	case v.width >= 110:
		columns = []column{{title: "time", width: 8}, {title: "device", width: 20}, {title: "verdict", width: 7}, {title: "type", width: 5}, {title: "name", grows: true, left: true}, {title: "count", width: 6, right: true}, {title: "whose", width: 36}}
	case v.width >= 72:
		columns = []column{{title: "time", width: 8}, {title: "device", width: 14}, {title: "verdict", width: 7}, {title: "name", grows: true, left: true}, {title: "count", width: 5, right: true}, {title: "vendor", width: 12}}
	case v.width >= 36:
		columns = []column{{title: "time", width: 8}, {title: "device", width: 8}, {title: "v", width: 1}, {title: "name", grows: true, left: true}}
	default:
		columns = []column{{title: "v", width: 1}, {title: "name", grows: true, left: true}}
	}
	rows := v.chosen()
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return v.list(columns, len(rows), ids, nil, func(i int) []cell { return v.rowCells(columns, rows[i]) })
}

// clock shows a time in 8 columns: of another day, the day.
func (v *View) clock(t time.Time) string {
	t, now := t.In(v.o.Zone), v.now.In(v.o.Zone)
	switch {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04:05")
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("Jan 2006")
}

func (v *View) rowCells(columns []column, r *Row) []cell {
	style := verdictStyle(r.Verdict)
	name := r.Name
	if name == "" {
		name = "(several names)"
	}
	if r.Imported {
		name += " (imported)"
	}
	var cells []cell
	for _, c := range columns {
		switch c.title {
		case "time":
			cells = append(cells, cell{v.clock(r.Time), Dim})
		case "device":
			who := r.Who
			if _, err := netip.ParseAddr(who); err == nil { // its end tells it from its neighbours
				who = cutLeft(clean(who), c.width)
			}
			cells = append(cells, cell{who, Plain})
		case "verdict":
			cells = append(cells, cell{r.Verdict, style})
		case "v":
			letter, ok := letters[r.Verdict]
			if !ok {
				letter = "?"
			}
			cells = append(cells, cell{letter, style})
		case "type":
			cells = append(cells, cell{r.Type, Dim})
		case "name":
			cells = append(cells, cell{name, style})
		case "count":
			cells = append(cells, cell{strconv.FormatUint(r.Count, 10), Dim})
		case "vendor":
			cells = append(cells, cell{r.Vendor, Plain})
		case "whose":
			cells = append(cells, cell{r.About, Plain})
		}
	}
	return cells
}

func (v *View) groupTable() []Line {
	rows := v.chosen()
	all := groups(v.tab, rows)
	keys := make([]string, len(all))
	for i, g := range all {
		keys[i] = g.key
	}
	title := strings.ToLower(tabNames[v.tab][:len(tabNames[v.tab])-1])
	columns := []column{{title: title, grows: true, left: v.tab == Names}, {title: "lookups", width: 7, right: true}, {title: "blocked", width: 7, right: true}}
	if v.width >= 60 {
		other := "names"
		if v.tab == Names {
			other = "devices"
		}
		columns = append(columns, column{title: "attempts", width: 8, right: true}, column{title: other, width: 7, right: true}, column{title: "last", width: 8})
	}
	return v.list(columns, len(all), nil, keys, func(i int) []cell {
		g := all[i]
		style := Plain
		if v.tab == Names {
			style = verdictStyle(g.last.Verdict)
		}
		other := len(g.names)
		if v.tab == Names {
			other = len(g.devices)
		}
		cells := []cell{{g.label, style}, {strconv.FormatUint(g.lookups, 10), Plain}, {strconv.FormatUint(g.blocked, 10), Plain},
			{strconv.FormatUint(g.attempts, 10), Dim}, {strconv.Itoa(other), Dim}, {v.clock(g.last.Time), Dim}}
		return cells[:len(columns)]
	})
}

// list shows a table's head and as many of its rows as there is room for, with the cursor
// among them.
func (v *View) list(columns []column, n int, ids []int64, keys []string, cells func(i int) []cell) []Line {
	left := v.width - len(columns) + 1
	for _, c := range columns {
		left -= c.width
	}
	for i := range columns {
		if columns[i].grows {
			columns[i].width = max(left, 1)
		}
	}
	head := make([]cell, len(columns))
	for i, c := range columns {
		head[i] = cell{c.title, Head}
	}
	lines := []Line{tableLine(columns, head)}
	if n == 0 {
		return append(lines, line(Span{v.emptyText(), Dim}))
	}
	c := &v.cursors[v.tab]
	at, height := v.find(c, ids, keys), v.listHeight()
	c.at = at
	c.offset = min(c.offset, at)
	c.offset = max(c.offset, at-height+1)
	c.offset = max(min(c.offset, n-height), 0)
	for i := c.offset; i < min(c.offset+height, n); i++ {
		l := tableLine(columns, cells(i))
		l.Selected = i == at
		lines = append(lines, l)
	}
	return lines
}

// emptyText says why there is nothing to see.
func (v *View) emptyText() string {
	switch {
	case !v.filter.none():
		return "Nothing is as the filter wants: esc shows all."
	case v.tab == Vendors:
		return "No vendor's names were asked for yet."
	case v.stopped:
		return "No rows, and no server runs."
	}
	return "Nobody asked yet."
}

func tableLine(columns []column, cells []cell) Line {
	var l Line
	for i, c := range columns {
		if i > 0 {
			l.Spans = append(l.Spans, Span{" ", Plain})
		}
		text := clean(cells[i].text)
		if c.left {
			text = cutLeft(text, c.width)
		} else {
			text = cut(text, c.width)
		}
		space := strings.Repeat(" ", max(c.width-wide(text), 0))
		switch {
		case c.right:
			text = space + text
		default:
			text += space
		}
		l.Spans = append(l.Spans, Span{text, cells[i].style})
	}
	return l
}

// clean returns text that a terminal shows as it is, each character in a place of its own:
// what controls it, joins others, or is no text is a question mark.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < unicode.MaxASCII && r >= ' ':
			return r
		case r == '\n', r == '\t':
			return ' '
		case !unicode.IsPrint(r), unicode.In(r, unicode.Mn, unicode.Me), r >= 0x1160 && r <= 0x11ff: // Hangul vowels and ends join what is before them
			return '?'
		}
		return r
	}, s)
}

// runeWidth is how many places a character takes.
func runeWidth(r rune) int {
	if r < 0x1100 {
		return 1
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// wide is how many places text takes.
func wide(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// cut returns the beginning of a text, with a mark where it is not all.
func cut(s string, most int) string {
	if wide(s) <= most {
		return s
	}
	if most <= 0 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// cutLeft returns the end of a text, with a mark where it is not all.
func cutLeft(s string, most int) string {
	over := wide(s) - most
	if over <= 0 {
		return s
	}
	if most <= 0 {
		return ""
	}
	n := 0
	for i, r := range s {
		if n > over {
			return "…" + s[i:]
		}
		n += runeWidth(r)
	}
	return "…"
}

// wrap breaks a line where it is too wide, at spaces where there are some. What follows is
// indented as the line is.
func wrap(s string, most int) []string {
	most = max(most, 1)
	trimmed := strings.TrimLeft(s, " ")
	indent := strings.Repeat(" ", min(len(s)-len(trimmed), most/2))
	var all []string
	line := indent
	for word := range strings.SplitSeq(trimmed, " ") {
		for {
			next := line + word
			if line != indent {
				next = line + " " + word
			}
			if wide(next) <= most {
				line = next
				break
			}
			if line != indent {
				all = append(all, line)
				line = indent
				continue
			}
			head, rest := split(word, most-wide(indent))
			all = append(all, indent+head)
			word = rest
		}
	}
	return append(all, line)
}

// split breaks a word that is wider than there is room. At least one character goes.
func split(word string, most int) (head, rest string) {
	n := 0
	for i, r := range word {
		if n += runeWidth(r); n > most && i > 0 {
			return word[:i], word[i:]
		}
	}
	return word, ""
}
