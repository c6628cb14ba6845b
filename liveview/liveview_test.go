package liveview

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
)

var update = flag.Bool("update", false, "write the golden files anew")

// now is when tests look.
var now = time.Date(2026, 11, 20, 12, 0, 30, 0, time.UTC)

// sample returns a view with rows of every kind.
func sample(width, height int) *View {
	v := New(Options{Zone: time.UTC})
	v.Resize(width, height)
	for i, r := range []Row{
		{Who: "living-room-tv", Device: "living-room-tv", Name: "data.tracker.example", Type: "A", Verdict: "block", Vendor: "Acme", About: "Acme · TV · analytics · telemetry", Rule: "ads:2 tracker.example", Remark: "answered from policy", Count: 12, Attempts: 2},
		{Who: "192.168.1.8", Device: "addr:192.168.1.8", Client: "192.168.1.8", Name: "shop.example", Type: "AAAA", Verdict: "pass"},
		{Who: "phone", Device: "mac:02:00:5e:00:53:01", Name: "cdn.tracker.example", Type: "HTTPS", Verdict: "allow", Vendor: "Acme", About: "Acme · TV · analytics · telemetry", Rule: "own:1 @@cdn.tracker.example"},
		{Who: "phone", Device: "mac:02:00:5e:00:53:01", Name: "a-very-long-name-of-more-than-forty-characters.metrics.other.example", Type: "A", Verdict: "observe", Vendor: "Other", About: "Other · telemetry"},
		{Who: "living-room-tv", Device: "living-room-tv", Name: "nas.lan", Type: "A", Verdict: "answer"},
		{Who: "居間のテレビ", Device: "id:tv2", Name: "shop.example", Type: "A", Verdict: "pass", Count: 3},
		{Who: "living-room-tv", Device: "living-room-tv", Name: "", Type: "", Verdict: "pass", Count: 100},
	} {
		r.ID = int64(i + 1)
		r.Time = now.Add(time.Duration(i-20) * time.Second)
		r.Last = r.Time.Add(10 * time.Second)
		r.Count = max(r.Count, 1)
		if r.Client == "" {
			r.Client = "192.168.1.7"
		}
		v.Add(r)
	}
	return v
}

// press gives a view keys, each a word.
func press(v *View, keys string) (last Request) {
	for key := range strings.FieldsSeq(keys) {
		if key == "space" {
			key = " "
		}
		last = v.Press(key)
	}
	return last
}

// picture is a screen as golden files have it: a mark, then the line.
func picture(v *View) string {
	var b strings.Builder
	for _, l := range v.Screen(now) {
		mark := "|"
		if l.Selected {
			mark = ">"
		}
		b.WriteString(strings.TrimRight(mark+l.Text(), " ") + "\n")
	}
	return b.String()
}

// Each screen is as the golden file has it, after keys and on screens of several sizes.
func TestScreens(t *testing.T) {
	var got strings.Builder
	for _, c := range []struct {
		width, height int
		keys          string
		then          func(*View)
	}{
		{120, 12, "", nil},
		{80, 12, "", nil},
		{40, 12, "", nil},
		{24, 8, "", nil},
		{19, 5, "", nil},
		{80, 12, "k k k", nil},
		{80, 6, "g", nil},
		{80, 10, "tab", nil},
		{80, 10, "tab tab", nil},
		{80, 12, "tab tab tab", nil},
		{40, 12, "4", nil},
		{80, 10, "/ a c m e", nil},
		{80, 10, "/ a c m e enter", nil},
		{80, 10, "/ t v space b l o c k enter", nil},
		{80, 10, "/ n o n e enter", nil},
		{80, 10, "/ a c m e esc", nil},
		{80, 10, "2 j enter", nil},
		{80, 10, "3 enter", nil},
		{80, 12, "space", func(v *View) {
			v.Add(Row{ID: 8, Time: now, Last: now, Count: 1, Who: "phone", Device: "phone", Name: "new.example", Verdict: "pass"})
		}},
		{80, 24, "g enter", func(v *View) { v.Explained(1, "data.tracker.example A: block\n  no exception matches\n") }},
		{40, 16, "g enter G", func(v *View) { v.Explained(1, strings.Repeat("a long sentence of many words ", 5)) }},
		{80, 10, "k a", nil},
		{40, 10, "k a", nil},
		{80, 10, "k b", nil},
		{80, 10, "k b", func(v *View) { v.Weighed(1, nil) }},
		{80, 10, "k b", func(v *View) { v.Weighed(1, []string{"cdn.example (Acme, essential): blocking breaks signing in"}) }},
		{80, 10, "a", nil},
		{80, 10, "2 a", nil},
		{80, 10, "k a e", func(v *View) { v.Said("allow shop.example for everyone (own.txt)") }},
		{80, 24, "?", nil},
		{40, 12, "?", nil},
	} {
		v := sample(c.width, c.height)
		press(v, c.keys)
		if c.then != nil {
			c.then(v)
		}
		fmt.Fprintf(&got, "== %d x %d: %s\n%s", c.width, c.height, c.keys, picture(v))
	}
	empty := New(Options{Chosen: "Acme block"})
	empty.SetStopped(true)
	empty.Resize(80, 6)
	fmt.Fprintf(&got, "== no rows, and no server\n%s", picture(empty))
	const golden = "testdata/screens.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// What keys ask for is about the row that is shown as selected.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		keys   string
		do     Do
		name   string
		action string
		device bool
	}{
		{"q", Quit, "", "", false},
		{"/ q ctrl-c", Quit, "", "", false},
		{"/ q", Nothing, "", "", false},
		{"? q", Nothing, "", "", false},
		{"enter", Nothing, "", "", false}, // names counted together
		{"k enter", Explain, "shop.example", "", false},
		{"g enter", Explain, "data.tracker.example", "", false},
		{"g j enter", Explain, "shop.example", "", false},
		{"g a", Nothing, "", "", false},
		{"g a e", Write, "data.tracker.example", "allow", false},
		{"g a d", Write, "data.tracker.example", "allow", true},
		{"g a n", Nothing, "", "", false},
		{"g a x", Nothing, "", "", false},
		{"g b", Weigh, "data.tracker.example", "", false},
		{"g b e", Nothing, "", "", false}, // what breaks is not known yet
		{"4 g a d", Nothing, "", "", false},
		{"4 g a e", Write, "data.tracker.example", "allow", false}, // it has the most lookups
		{"2 b", Nothing, "", "", false},
		{"2 g enter k enter", Explain, "nas.lan", "", false}, // rows of the device alone
		{"3 g enter enter", Explain, "cdn.tracker.example", "", false},
	} {
		v := sample(80, 24)
		got := press(v, c.keys)
		if got.Do != c.do || got.Row.Name != c.name || got.Action != c.action || got.Device != c.device {
			t.Errorf("%s: got %+v", c.keys, got)
		}
	}
	v := sample(80, 24)
	q := press(v, "g b")
	v.Weighed(q.Number-1, nil) // of a question before
	if got := v.Press("e"); got.Do != Nothing {
		t.Errorf("a rule was wanted before it was known what breaks: %+v", got)
	}
	v.Weighed(q.Number, nil)
	if got := v.Press("e"); got.Do != Write || got.Action != "block" || got.Row.Name != "data.tracker.example" {
		t.Errorf("got %+v", got)
	}
	q = press(v, "enter")
	v.Press("q")
	v.Explained(q.Number, "too late")
	if strings.Contains(picture(v), "too late") {
		t.Errorf("an answer came to a page that was left:\n%s", picture(v))
	}
}

// The cursor stays on its row while others come, and goes with them at the end.
func TestTheCursorStaysOnItsRow(t *testing.T) {
	v := sample(80, 24)
	more := func(n int) {
		for range n {
			id := v.rows.all[len(v.rows.all)-1].ID + 1
			v.Add(Row{ID: id, Time: now, Last: now, Count: 1, Name: fmt.Sprintf("n%d.example", id), Who: "phone", Device: "phone"})
		}
	}
	more(50)
	if got := v.selected().Name; got != "n57.example" {
		t.Errorf("at the end it is on %s", got)
	}
	press(v, "k k")
	more(50)
	if got := v.selected().Name; got != "n55.example" {
		t.Errorf("two above the end, and then 50 rows: it is on %s", got)
	}
	press(v, "end")
	more(1)
	if got := v.selected().Name; got != "n108.example" {
		t.Errorf("at the end again it is on %s", got)
	}
	press(v, "g")
	for i := range MostRows {
		v.Add(Row{ID: int64(1000 + i), Time: now, Last: now, Count: 1, Name: "last.example"})
	}
	if got := v.selected(); got.ID != 1000 {
		t.Errorf("where its row was given up it is on %+v", got)
	}
}

// A row that comes again has grown: it is one row, and what it has more counts once.
func TestARowGrows(t *testing.T) {
	v := New(Options{Zone: time.UTC})
	v.Add(Row{ID: 1, Time: now.Add(-3 * time.Second), Last: now.Add(-3 * time.Second), Count: 20, Name: "a.example", Open: true})
	v.Add(Row{ID: 1, Time: now.Add(-3 * time.Second), Last: now.Add(-2 * time.Second), Count: 30, Name: "a.example", Open: true})
	v.Add(Row{ID: 1, Time: now.Add(-3 * time.Second), Last: now.Add(-2 * time.Second), Count: 30, Name: "a.example"})
	if got := groups(Names, v.chosen()); len(got) != 1 || got[0].lookups != 30 {
		t.Errorf("got %+v", got)
	}
	if got := v.rate.mean(now); got != 3 {
		t.Errorf("got %v lookups a second, want 3", got)
	}
	if got := v.rate.mean(now.Add(time.Hour)); got != 0 {
		t.Errorf("got %v lookups a second an hour later", got)
	}
}

// The lookups of a row came while it was open, not all at its end.
func TestTheRateIsOfWhenLookupsCame(t *testing.T) {
	v := New(Options{Zone: time.UTC})
	v.Add(Row{ID: 1, Time: now.Add(-60 * time.Second), Last: now.Add(-time.Second), Count: 600, Name: "a.example"})
	if got := v.rate.mean(now); got != 10 {
		t.Errorf("got %v lookups a second, want 10", got)
	}
	v.Add(Row{ID: 2, Time: now.Add(-1000 * time.Second), Last: now.Add(-time.Second), Count: 500, Name: "b.example"})
	if got := v.rate.mean(now); got != 10.5 {
		t.Errorf("got %v lookups a second, want 10.5", got)
	}
}

// Whatever comes, and however long it runs, no more than so many rows are kept, also while
// it is paused; a row that was given up does not come back.
func TestRowsAreBounded(t *testing.T) {
	v := New(Options{})
	for i := range 3 * MostRows {
		v.Add(Row{ID: int64(i + 1), Count: 1, Name: strings.Repeat("x", 1<<12), Rule: strings.Repeat("y", 1<<16)})
		if i == 2*MostRows {
			v.Press(" ")
		}
	}
	v.Add(Row{ID: 3, Count: 9})
	if n := len(v.rows.all) + len(v.frozen); n != 2*MostRows || len(v.rows.place) != MostRows {
		t.Errorf("%d rows are kept, and %d places", n, len(v.rows.place))
	}
	for _, r := range v.rows.all {
		if len(r.Name)+len(r.Rule) > 2*textMost+10 || r.ID <= 2*MostRows {
			t.Fatalf("a row of %d octets, ID %d", len(r.Name)+len(r.Rule), r.ID)
		}
	}
	if got := v.waiting(); got != MostRows-1 {
		t.Errorf("%d rows wait, want %d", got, MostRows-1)
	}
	if v.filter.words = []string{"none of them"}; v.waiting() != 0 {
		t.Error("rows that are not shown wait")
	}
}

// What was recorded on another day, or by another program, does not look like what comes now.
func TestOldAndImportedRowsAreMarked(t *testing.T) {
	v := New(Options{Zone: time.UTC})
	v.Resize(120, 10)
	for i, c := range []struct {
		at       time.Time
		imported bool
		want     string
	}{
		{now.Add(-time.Minute), false, "11:59:30"}, {now.AddDate(0, 0, -1), false, "19 Nov"}, {now.AddDate(-1, 0, 0), false, "Nov 2025"}, {now, true, "a.example (imported)"},
	} {
		v.Add(Row{ID: int64(1 + i), Time: c.at, Last: c.at, Count: 1, Name: "a.example", Verdict: "pass", Imported: c.imported})
		if got := picture(v); !strings.Contains(got, c.want) || strings.Contains(got, "imported") != c.imported {
			t.Errorf("%+v: the screen has no %q, or a mark that is not due:\n%s", c, c.want, got)
		}
	}
}

// hostile is text that would move the cursor, colour, ring, turn the direction of text
// around, or join what stands before it.
var hostile = []string{
	"\x1b[2J\x1b]0;title\x07", "a\rb\nc\td\be\x7f", "\u202egnp.exe", "e\u0301\u0301\u0301", "\u200b\u200d\ufeff", "\x9b31m\x90q\x9c", "\xff\xfe", "\u0085\u2028", "각", "👩‍👩‍👧", "<b>&amp;</b>", "",
}

// checkScreen checks what holds for every screen.
func checkScreen(t *testing.T, v *View) {
	t.Helper()
	lines := v.Screen(now)
	if len(lines) > v.height {
		t.Fatalf("%d lines on a screen of %d", len(lines), v.height)
	}
	for _, l := range lines {
		text := l.Text()
		if wide(text) > v.width {
			t.Fatalf("%d places of %d: %q", wide(text), v.width, text)
		}
		for _, r := range text {
			if !unicode.IsPrint(r) || unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc) {
				t.Fatalf("%U in %q", r, text)
			}
		}
	}
}

// What others chose never reaches the terminal as they wrote it.
func TestHostileText(t *testing.T) {
	for _, size := range [][2]int{{0, 0}, {1, 1}, {20, 4}, {40, 10}, {80, 24}, {200, 50}} {
		v := New(Options{Chosen: hostile[0]})
		v.Resize(size[0], size[1])
		for i, s := range hostile {
			v.Add(Row{ID: int64(i + 1), Time: now, Last: now, Count: 1, Device: s, Who: s, Client: s, Name: s, Type: s, Verdict: s, Vendor: s, About: s, Rule: s, Remark: s})
		}
		for _, keys := range []string{"", "1", "2", "3", "4", "1 g enter", "q 1 g a", "n b", "n 2 enter"} {
			q := press(v, keys)
			v.Explained(q.Number, strings.Join(hostile, " "))
			v.Weighed(q.Number, hostile)
			checkScreen(t, v)
			v.Said(hostile[0])
			checkScreen(t, v)
		}
	}
}

func FuzzView(f *testing.F) {
	f.Add("shop.example", "tv", "/a\x1b\tkjq b", uint8(80), uint8(24))
	f.Add("\x1b[2J", "\u202e", "gGa2 3 4?", uint8(40), uint8(5))
	f.Fuzz(func(t *testing.T, text, who, keys string, width, height uint8) {
		v := New(Options{Zone: time.UTC})
		v.Resize(int(width), int(height))
		words := map[rune]string{'\t': "tab", '\n': "enter", '\x1b': "esc", '^': "up", '_': "pgdn", '<': "backspace"}
		for i, r := range keys {
			v.Add(Row{ID: int64(i), Time: now, Last: now, Count: uint64(i), Name: text, Who: who, Device: who, About: text, Vendor: who, Verdict: "block"})
			key, ok := words[r]
			if !ok {
				key = string(r)
			}
			switch q := v.Press(key); q.Do {
			case Explain:
				v.Explained(q.Number, text)
			case Weigh:
				v.Weighed(q.Number, []string{text})
			}
			checkScreen(t, v)
		}
	})
}
