package liveview

import (
	"strings"
	"unicode"
)

// A Do is what a View wants done.
type Do int

// What Press may ask for.
const (
	Nothing Do = iota
	Quit
	Explain // the request's name for its device: the answer goes to Explained
	Weigh   // what blocking the request's name breaks: the answer goes to Weighed
	Write   // a rule: what came of it goes to Said
)

// A Request is something to be done for a person. Number goes back with what came of it:
// by then another may be under way.
type Request struct {
	Do     Do
	Number int
	Row    Row    // which it is about
	Action string // of a rule: allow or block
	Device bool   // it is for the row's device, not for all
}

// A cursor is the place of a person in a tab.
type cursor struct {
	key    string // what is selected; "" follows the first or the newest
	id     int64  // the same of rows; 0 follows the newest
	at     int    // its place when it was last shown
	offset int    // of the first line that is shown
}

// An edit is a filter that is being written.
type edit struct {
	text   []rune
	before filter
}

// A question is a rule that is to be confirmed.
type question struct {
	action  string
	row     Row
	devices bool // it may be for the row's device
	weighed bool
	number  int
}

// A page is text in front of the rows.
type page struct {
	title  string
	lines  []string
	offset int
	number int  // of the request that it is the answer to
	help   bool // it is the page of keys
}

// filterMost is how long a filter may be.
const filterMost = 200

// Press takes in a key: a character by itself, or a word such as "enter", "esc", "up" and
// "ctrl-c".
func (v *View) Press(key string) Request {
	if key == "ctrl-c" {
		return Request{Do: Quit}
	}
	if v.editing != nil {
		v.write(key)
		return Request{}
	}
	v.note = ""
	if v.question != nil {
		return v.decide(key)
	}
	if v.page != nil {
		v.turn(key)
		return Request{}
	}
	switch key {
	case "q":
		return Request{Do: Quit}
	case "?", "h":
		v.page = &page{title: "Keys", help: true}
	case "/":
		v.editing = &edit{[]rune(strings.Join(v.filter.words, " ")), v.filter}
	case " ":
		if v.frozen == nil {
			v.frozen = append([]*Row{}, v.rows.inOrder()...)
		} else {
			v.frozen = nil
		}
	case "tab":
		v.tab = (v.tab + 1) % tabs
	case "backtab":
		v.tab = (v.tab + tabs - 1) % tabs
	case "1", "2", "3", "4":
		v.tab = Tab(key[0] - '1')
	case "esc":
		v.filter = filter{}
	case "enter":
		return v.open()
	case "a":
		return v.ask("allow")
	case "b":
		return v.ask("block")
	default:
		v.move(key)
	}
	return Request{}
}

// help is the page of keys: which, and what they do.
var help = [][2]string{
	{"j k, arrows", "down and up"},
	{"page up, down", "a screen up and down"},
	{"g, home", "the first"},
	{"G, end", "the last, and on with what comes"},
	{"tab, 1 to 4", "rows, devices, vendors, names"},
	{"/", "filter: words that a row must have in its name, device, vendor, verdict or rule"},
	{"esc", "show all again"},
	{"space", "stop the picture, and go on"},
	{"enter", "explain a row or a name; show the rows of a device or a vendor"},
	{"a", "allow the name, for all or for the device"},
	{"b", "block it"},
	{"q", "end"},
	{"", ""},
	{"v", "of narrow screens, the verdict: B block, A allow, O observe, = answer, . pass"},
	{"counts", "devices, vendors and names are counted over the rows that are kept: the newest 5000"},
	{"n/s", "lookups a second in the last ten"},
}

// write takes in a key of the filter.
func (v *View) write(key string) {
	e := v.editing
	switch key {
	case "enter":
		v.editing = nil
	case "esc":
		v.filter = e.before
		v.editing = nil
		return
	case "backspace":
		e.text = e.text[:max(len(e.text)-1, 0)]
	case "ctrl-u":
		e.text = nil
	default:
		if r := []rune(key); len(r) == 1 && unicode.IsPrint(r[0]) && len(e.text) < filterMost {
			e.text = append(e.text, r[0])
		}
	}
	v.filter.set(string(e.text))
	v.cursors = [tabs]cursor{}
}

// turn takes in a key of a page.
func (v *View) turn(key string) {
	p := v.page
	last := max(len(v.wrapped(p))-v.bodyHeight(), 0)
	switch key {
	case "j", "down":
		p.offset++
	case "k", "up":
		p.offset--
	case " ", "pgdn":
		p.offset += v.bodyHeight()
	case "pgup":
		p.offset -= v.bodyHeight()
	case "g", "home":
		p.offset = 0
	case "G", "end":
		p.offset = last
	case "q", "esc", "enter", "?", "h":
		v.page = nil
	}
	p.offset = min(max(p.offset, 0), last)
}

// move moves the cursor.
func (v *View) move(key string) {
	var ids []int64
	var keys []string
	if v.tab == Rows {
		for _, r := range v.chosen() {
			ids = append(ids, r.ID)
		}
	} else {
		for _, g := range groups(v.tab, v.chosen()) {
			keys = append(keys, g.key)
		}
	}
	n := max(len(ids), len(keys))
	if n == 0 {
		return
	}
	c := &v.cursors[v.tab]
	at := v.find(c, ids, keys)
	switch key {
	case "j", "down":
		at++
	case "k", "up":
		at--
	case "pgdn":
		at += v.listHeight()
	case "pgup":
		at -= v.listHeight()
	case "g", "home":
		at = 0
	case "G", "end":
		at = n - 1
	default:
		return
	}
	at = min(max(at, 0), n-1)
	c.at, c.key, c.id = at, "", 0
	switch {
	case v.tab != Rows:
		c.key = keys[at]
	case at < n-1: // at the end it goes on with what comes
		c.id = ids[at]
	}
}

// find returns where the cursor is among rows or groups. What is there no more is where it
// was.
func (v *View) find(c *cursor, ids []int64, keys []string) int {
	n := max(len(ids), len(keys))
	if v.tab == Rows && c.id == 0 {
		return n - 1
	}
	for i, id := range ids {
		if id == c.id {
			return i
		}
	}
	for i, key := range keys {
		if key == c.key {
			return i
		}
	}
	if v.tab == Rows {
		return 0 // it was given up: the oldest comes nearest
	}
	return min(max(c.at, 0), n-1)
}

// selected returns the row that the cursor is on; of a group, its last one.
func (v *View) selected() *Row {
	rows := v.chosen()
	var ids []int64
	var keys []string
	var all []*group
	if v.tab == Rows {
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
	} else {
		all = groups(v.tab, rows)
		for _, g := range all {
			keys = append(keys, g.key)
		}
	}
	if len(ids)+len(keys) == 0 {
		return nil
	}
	at := v.find(&v.cursors[v.tab], ids, keys)
	if v.tab == Rows {
		return rows[at]
	}
	return all[at].last
}

// open goes into what is selected.
func (v *View) open() Request {
	r := v.selected()
	switch {
	case r == nil:
	case v.tab == Devices:
		v.filter = filter{text: "device " + r.Who, device: r.Device}
		v.cursors[Rows] = cursor{}
		v.tab = Rows
	case v.tab == Vendors:
		v.filter = filter{text: "vendor " + r.Vendor, vendor: r.Vendor}
		v.cursors[Rows] = cursor{}
		v.tab = Rows
	case r.Name == "":
		v.note = "Names were counted together in this row: there is none to explain."
	default:
		v.number++
		v.page = &page{title: r.Name, number: v.number, lines: append(v.recorded(r), "", "Asking how it is answered now ...")}
		return Request{Do: Explain, Number: v.number, Row: *r}
	}
	return Request{}
}

// ask asks whether a rule is meant.
func (v *View) ask(action string) Request {
	r := v.selected()
	switch {
	case v.tab == Devices || v.tab == Vendors:
		v.note = "Choose a row or a name (tab) to " + action + "."
	case r == nil:
	case r.Name == "":
		v.note = "Names were counted together in this row: there is none to " + action + "."
	default:
		v.number++
		v.question = &question{action: action, row: *r, devices: v.tab == Rows && r.Device != "", weighed: action == "allow", number: v.number}
		if action == "block" {
			return Request{Do: Weigh, Number: v.number, Row: *r}
		}
	}
	return Request{}
}

// decide takes in the answer to a question.
func (v *View) decide(key string) Request {
	q := v.question
	device := key == "d"
	switch {
	case v.page != nil && (key == "j" || key == "k" || key == "up" || key == "down" || key == "pgup" || key == "pgdn"):
		v.turn(key)
		return Request{}
	case (key == "e" || device && q.devices) && q.weighed:
		v.question, v.page = nil, nil
		v.note = "Writing the rule ..."
		v.number++
		return Request{Do: Write, Number: v.number, Row: q.row, Action: q.action, Device: device}
	case key == "esc" || key == "q" || key == "n" || key == "enter":
		v.question, v.page = nil, nil
		v.note = "No rule was written."
	}
	return Request{}
}

// Explained takes in the answer to a request.
func (v *View) Explained(number int, text string) {
	if p := v.page; p != nil && p.number == number {
		p.lines = append(p.lines[:len(p.lines)-1], strings.Split(strings.TrimRight(text, "\n"), "\n")...)
	}
}

// Weighed takes in what may break, a sentence each; none for nothing that is known.
func (v *View) Weighed(number int, risks []string) {
	q := v.question
	if q == nil || q.number != number {
		return
	}
	q.weighed = true
	if len(risks) > 0 {
		v.page = &page{title: "Blocking " + q.row.Name + " breaks things", lines: risks, number: number}
	}
}

// Refused takes in that a request failed.
func (v *View) Refused(number int, why string) {
	if q := v.question; q != nil && q.number == number {
		v.question = nil
	}
	v.Said(why)
}

// Said takes in what a person should know.
func (v *View) Said(text string) { v.note = text }
