package querylog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

// journalOf makes the journal of a window as the writer does, from lookups of
// batches of them, each in a frame of its own, and returns how many lookups of
// each row there truly were: by the row's text without its count.
func journalOf(t testing.TB, window int64, batches [][]Record) (file []byte, truth map[string]uint64) {
	t.Helper()
	at := time.UnixMilli(1_700_000_000_000)
	l := Log{fold: newFold(at), limit: 1 << 30}
	l.hits.reset(l.fold.start)
	enc := newEncoder(window)
	enc.window(l.fold.start, "attic")
	file = []byte(journalMagic)
	written := 0
	for _, batch := range batches {
		for i := range batch {
			l.addLocked(&batch[i])
		}
		for ; written < len(l.fold.rows); written++ {
			enc.row(l.fold, written, false)
		}
		l.fold.texts.forget()
		enc.hits(&l.hits, l.fold.start)
		l.hits.reset(l.fold.start)
		file = append(file, enc.take()...)
	}
	truth = map[string]uint64{}
	for _, e := range l.fold.entries {
		truth[rowText(e)] += e.Count
	}
	return file, truth
}

// rowText is what a row says, but for what it has counted: the numbers that are
// stored and the texts that they stand for.
func rowText(e *entry) string {
	text := fmt.Sprintf("%s %q alias %q type %d rcode %d action %d level %d class %d observed %d overrode %v source %d transport %d folded %d rule %v attr %v",
		e.Addr, e.Name, e.Alias, e.Type, e.Rcode, e.Action, e.Level, e.Class, e.ObservedBy, e.Overrode, e.Source, e.Transport, e.Granularity, e.Rule, e.Attr)
	if e.Annotation != nil {
		for _, s := range annotationTexts(e.Annotation) {
			text += fmt.Sprintf(" %q", *s)
		}
	}
	if e.Binding != nil {
		text += " " + bindingText(e.Binding)
	}
	return text
}

func bindingText(b *devices.Binding) string {
	return fmt.Sprintf("binding %d %s %s %s %s %s source %d confidence %d group %d nolog %v from %d until %d seen %d", b.ID, b.Device, b.Name, b.Addr, b.MAC,
		b.Prefix, b.Source, b.Confidence, b.Group, b.NoLog, milli(b.From), milli(b.Until), milli(b.Seen))
}

// household makes batches of lookups by a few devices of listed and other names.
func household(t testing.TB, batches int) (all [][]Record) {
	t.Helper()
	p := policy(t, testList)
	at := time.UnixMilli(1_700_000_000_000)
	names := []string{"tracker.example", "a.tracker.example", "b.tracker.example", "allowed.tracker.example", "exact.example", "x.example", "y.example"}
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range batches {
		var batch []Record
		for range 5 + rng.IntN(30) {
			n := uint64(1 + rng.IntN(2+i/3)) // ever more devices
			b := &devices.Binding{ID: n, Device: fmt.Sprintf("device-%d", n), Name: fmt.Sprintf("name-%d", n), Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}),
				Source: devices.Neighbour, Confidence: devices.High, From: at}
			name := names[rng.IntN(len(names))]
			if rng.IntN(3) == 0 {
				name = fmt.Sprintf("n%d.%s", i, name)
			}
			batch = append(batch, lookup(t, p, at.Add(time.Duration(i)*100*time.Millisecond), b, name))
		}
		all = append(all, batch)
	}
	return all
}

// checkNothingInvented reads a damaged journal and fails where a row has more
// lookups than there were, or says something that no row said.
func checkNothingInvented(t *testing.T, what string, file []byte, truth map[string]uint64) (p *replay) {
	t.Helper()
	p = &replay{window: 9}
	n := p.feed(file)
	p.end(file[n:])
	counted := uint64(0)
	for _, e := range p.entries {
		text := rowText(e)
		if e.Count > truth[text] {
			t.Errorf("%s: got %d lookups of a row that has %d: %s", what, e.Count, truth[text], text)
		}
		counted += e.Count
	}
	if counted != p.lookups {
		t.Errorf("%s: got %d lookups in rows and %d counted", what, counted, p.lookups)
	}
	return p
}

// TestADamagedJournalInventsNothing turns a bit in each frame of a journal in
// turn: what is counted is true, and what is missing is counted as lost.
func TestADamagedJournalInventsNothing(t *testing.T) {
	t.Parallel()
	file, truth := journalOf(t, 9, household(t, 25))
	whole := checkNothingInvented(t, "the whole file", file, truth)
	if whole.bad != 0 || whole.lost != 0 || whole.frames != 25 {
		t.Fatalf("got %d frames, %d bad bytes, %d lost, want 25, 0, 0", whole.frames, whole.bad, whole.lost)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	off := len(journalMagic)
	for frame := 0; off < len(file); frame++ {
		n, _ := frameLength(file[off:])
		damaged := bytes.Clone(file)
		damaged[off+rng.IntN(n)] ^= 1 << rng.IntN(8)
		what := fmt.Sprintf("a bit turned in frame %d", frame)
		p := checkNothingInvented(t, what, damaged, truth)
		if p.bad == 0 && off+n < len(file) {
			t.Errorf("%s: the damage was not noticed", what)
		}
		if last := off+n == len(file); !last && p.lookups+p.lost != whole.lookups {
			t.Errorf("%s: got %d counted and %d lost, want %d together", what, p.lookups, p.lost, whole.lookups)
		}
		off += n
	}
}

// TestRandomDamageInventsNothing does worse to the file, a thousand times.
func TestRandomDamageInventsNothing(t *testing.T) {
	t.Parallel()
	file, truth := journalOf(t, 9, household(t, 25))
	other, _ := journalOf(t, 10, household(t, 30)[5:]) // of another window: its frames are whole
	rng := rand.New(rand.NewPCG(2, 2))
	for try := range few(1000) {
		b := bytes.Clone(file)
		for range 1 + rng.IntN(4) {
			at := rng.IntN(len(b))
			n := min(1+rng.IntN(600), len(b)-at)
			switch rng.IntN(7) {
			case 0:
				b[at] ^= 1 << rng.IntN(8)
			case 1: // overwritten
				for i := range n {
					b[at+i] = byte(rng.Uint32())
				}
			case 2: // zeros
				clear(b[at : at+n])
			case 3: // a part is missing
				b = append(b[:at:at], b[at+n:]...)
			case 4: // a part is there twice
				b = append(b[:at+n:at+n], b[at:]...)
			case 5: // a part of another window's journal
				from := rng.IntN(len(other))
				copy(b[at:], other[from:min(from+4*n, len(other))])
			case 6: // cut short
				b = b[:max(at, len(journalMagic))]
			}
		}
		checkNothingInvented(t, fmt.Sprintf("damage %d", try), b, truth)
	}
}

// TestFramesOfAnotherWindowAreNotTaken puts a whole frame of one journal into
// another.
func TestFramesOfAnotherWindowAreNotTaken(t *testing.T) {
	file, truth := journalOf(t, 9, household(t, 3))
	other, _ := journalOf(t, 10, household(t, 9)[3:])
	p := checkNothingInvented(t, "frames of another window behind", append(file, other[len(journalMagic):]...), truth)
	if p.frames != 3 {
		t.Errorf("got %d frames, want the three of the window", p.frames)
	}
}

// journalText is what a journal says, for the golden files.
func journalText(p *replay) string {
	var b strings.Builder
	fmt.Fprintf(&b, "window %d start %d node %s\n%d lookups, %d lost, %d bad\n", p.window, p.start, p.node, p.lookups, p.lost, p.bad)
	for i, e := range p.entries {
		fmt.Fprintf(&b, "%d: %d lookups, %d attempts, %d-%d, %d us, ttl %d\n\t%s\n", i, e.Count, e.Attempts, e.First, e.Last, e.Elapsed, e.TTL, rowText(e))
	}
	for _, e := range p.events {
		fmt.Fprintf(&b, "event %s %s %q %q %s %s %s\n", e.Time, e.Node, e.Kind, e.Subject, e.Detail, e.Since, e.Until)
	}
	for _, v := range p.bindings {
		fmt.Fprintln(&b, bindingText(&v))
	}
	return b.String()
}

// TestJournalsOfEachFormatAreRead reads the journals in testdata, one of each
// format there ever was. Their bytes are never made anew, the text is with
// -update. The journal that is written now says the same, though it may have
// more columns.
func TestJournalsOfEachFormatAreRead(t *testing.T) {
	latest := ""
	for version := 1; version <= 3; version++ {
		path := filepath.Join("testdata", fmt.Sprintf("journal-v%d", version))
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) && *update && version == 3 {
			b = goldenJournal(t)
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		latest = readJournal(b)
		golden(t, fmt.Sprintf("journal-v%d.golden", version), latest)
	}
	if got := readJournal(goldenJournal(t)); got != latest {
		t.Errorf("the journal that is written says:\n%s\nwant what testdata/journal-v3 says:\n%s\nAnother order or meaning of what is in it needs another format.", got, latest)
	}
}

func readJournal(b []byte) string {
	p := &replay{window: 9}
	n := p.feed(b)
	p.end(b[n:])
	return journalText(p)
}

// goldenJournal has each kind of entry.
func goldenJournal(t *testing.T) []byte {
	at := time.UnixMilli(1_700_000_000_000)
	p := policy(t, testList)
	l := Log{fold: newFold(at), limit: 1 << 20}
	f := l.fold
	l.hits.reset(f.start)
	enc := newEncoder(9)
	enc.window(f.start, "attic")
	add := func(r Record) { l.addLocked(&r) }
	add(lookup(t, p, at, phone(1), "a.tracker.example"))
	add(lookup(t, p, at.Add(time.Second), phone(1), "a.tracker.example"))
	add(lookup(t, p, at.Add(time.Second), phone(2), "allowed.tracker.example"))
	observed := lookup(t, p, at.Add(2*time.Second), phone(1), "exact.example")
	observed.Verdict.Action, observed.Verdict.ObservedBy, observed.Verdict.Class = blocklists.Observe, blocklists.ByPause, blocklists.ListBlock
	observed.Alias, observed.Type, observed.Rcode, observed.Transport = wire(t, "tracker.example"), dnswire.TypeAAAA, dnswire.NXDomain, TCP
	add(observed)
	bare := lookup(t, p, at.Add(3*time.Second), nil, "x.example")
	add(bare)
	bare.Client = netip.MustParseAddr("fe80::1")
	add(bare)
	f.rows[len(f.rows)-1].state = hidden
	late := lookup(t, p, at.Add(4*time.Second), phone(1), "y.example")
	known := late
	late.Binding = nil
	add(known)
	add(late)
	f.resolve([]uint32{uint32(len(f.clients) - 1)}, []*devices.Binding{phone(1)}, 0)
	last := len(f.rows) - 1
	f.attempts = []rowAttempts{{begun: 1}}
	for i := range f.rows {
		enc.row(f, i, i == 0)
	}
	enc.hits(&l.hits, f.start)
	enc.end()
	enc.event(&Event{Time: Time{at}, Kind: KindLost, Subject: "x", Detail: "some words", Since: Time{at.Add(-time.Hour)}, Until: Time{at}})
	ended := *phone(4)
	ended.Until, ended.Seen, ended.NoLog, ended.Prefix = at.Add(time.Hour), at.Add(time.Minute), true, netip.MustParsePrefix("192.168.1.0/24")
	enc.keptBinding(&ended)
	if f.rows[last].state != moved {
		t.Fatal("no row was moved")
	}
	return append([]byte(journalMagic), enc.take()...)
}
