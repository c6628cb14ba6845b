package household

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/dnswire"
	"telltale/querylog"
)

// settings is the settings file of a home in its directory. A server beside that of "make
// run" can use it. It keeps rows for long, since the log's time is over: a server would delete
// most of it.
func (h *Home) settings() string {
	var text strings.Builder
	text.WriteString(`# Settings of a made-up home. What its log says is made up, too.

listen:
  dns: ["127.0.0.1:5301"]

lists:
  dir: lists.d

data:
  dir: store

web:
  listen: ["127.0.0.1:5381"]

# A server deletes what is older.
log:
  listed: 36500d
  unlisted: 36500d
  totals: 36500d

devices:
`)
	for _, d := range h.Devices {
		if d.Kind == "television" {
			fmt.Fprintf(&text, "  - name: %s\n    mac: %s\n", d.Label, d.Was[0].MAC)
		}
	}
	return text.String()
}

// Write writes the home into a directory, which must be empty or not there: its settings,
// its list, and its log, by the log's own writer and a clock that does not wait for
// anything. Lookups is filled then.
func (h *Home) Write(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{dir, filepath.Join(dir, "lists.d")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"telltale.yaml": h.settings(), "lists.d/home.txt": List()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lists, err := blocklists.OpenReadOnly(blocklists.Options{Dir: filepath.Join(dir, "lists.d")})
	if err != nil {
		t.Fatal(err)
	}
	defer lists.Close()
	synctest.Test(t, func(t *testing.T) {
		w := &writer{t: t, h: h, dir: filepath.Join(dir, "first"), policy: lists.Current(), bindings: map[*Identity]*devices.Binding{}, begun: time.Now()}
		w.write(filepath.Join(dir, "store"))
	})
	if !t.Failed() {
		h.correct(t, filepath.Join(dir, "store"))
	}
}

// A writer writes a home. It lives in a bubble of synctest, whose clock runs as soon as
// all wait for it.
type writer struct {
	t        *testing.T
	h        *Home
	dir      string
	policy   *blocklists.Policy
	bindings map[*Identity]*devices.Binding
	begun    time.Time // by the bubble's clock
	ahead    atomic.Int64
	log      *querylog.Log
}

func (w *writer) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())).Round(0) }

func (w *writer) open() {
	keep := querylog.Retention{}
	if w.h.KeepAll {
		keep.Unlisted = -1
	}
	l, err := querylog.Open(querylog.Options{Retention: keep, Dir: w.dir, Node: "home", Program: "telltale of the household", Logger: slog.New(slog.DiscardHandler), Now: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	w.log = l
}

// until waits until so long after the home's beginning.
func (w *writer) until(at time.Duration) {
	time.Sleep(time.Until(w.begun.Add(at)))
}

// An act is what happens to the server or its clock.
type act struct {
	at time.Duration
	do func()
}

func (w *writer) write(final string) {
	h := w.h
	w.ahead.Store(int64(h.Begin.Sub(w.begun)))
	w.open()
	defer func() {
		if w.log != nil { // a bubble ends with its goroutines
			w.log.Close()
		}
	}()
	for _, d := range h.Devices {
		for i := range d.Was {
			w.bind(&d.Was[i])
		}
	}
	acts := w.acts(final)
	for i := range h.asked {
		l := &h.asked[i]
		for len(acts) > 0 && acts[0].at <= l.at {
			w.until(acts[0].at)
			acts[0].do()
			acts = acts[1:]
		}
		if w.log == nil { // nobody answers
			continue
		}
		w.until(l.at)
		w.lookUp(l)
	}
	w.until(h.End().Sub(h.Begin))
	synctest.Wait()
	if err := w.log.Close(); err != nil {
		w.t.Error(err)
	}
	h.countAttempts()
}

// bind makes the binding of a device's identity.
func (w *writer) bind(was *Identity) {
	b := &devices.Binding{
		ID: uint64(len(w.bindings) + 1), Device: was.Device, Name: was.Name, Addr: netip.MustParseAddr(was.Addr), MAC: was.MAC,
		Source: devices.Neighbour, Confidence: devices.High, From: was.Since,
	}
	switch {
	case was.MAC == "":
		b.Source, b.Confidence = devices.BareAddress, devices.Low
	case was.Device[0] != 'm' || was.Device[3] != ':':
		b.Source = devices.ConfiguredMAC
	}
	w.bindings[was] = b
	w.log.KeepBinding(*b)
}

func (w *writer) lookUp(l *Lookup) {
	name, err := dnswire.ParseName(l.Asked())
	if err != nil {
		w.t.Fatal(err)
	}
	now := w.now()
	if !now.Equal(l.Time) {
		w.t.Fatalf("the clock shows %v, and the home's %v", now, l.Time)
	}
	r := querylog.Record{
		Time: now, Elapsed: time.Millisecond, Client: w.bindings[l.Was].Addr, Binding: w.bindings[l.Was], Name: name.Wire(), Type: l.Type,
		Source: querylog.FromUpstream, Transport: querylog.UDP, TTL: 300,
	}
	if l.Suffix != "" { // which nobody has
		r.Rcode, r.TTL = 3, 0
	}
	r.Verdict = w.policy.Decide(&name, l.Type, 0)
	want := "pass" // a search suffix makes another name of it
	if l.Suffix == "" {
		want = l.Name.Verdict()
	}
	if got := r.Verdict.Action.String(); got != want {
		w.t.Fatalf("%s is decided %s, and the home's list means %s", l.Asked(), got, want)
	}
	if r.Verdict.Action == blocklists.Block {
		r.Source, r.TTL = querylog.FromPolicy, 10
	}
	w.log.Append([]querylog.Record{r})
	w.h.Lookups = append(w.h.Lookups, *l)
}

// acts are what happens, in order.
func (w *writer) acts(final string) []act {
	h := w.h
	at := func(t time.Time, steps int) time.Duration { // so many steps of the clock are over
		for _, s := range h.Steps[:steps] {
			t = t.Add(s.From.Sub(s.To))
		}
		return t.Sub(h.Begin)
	}
	step := func(i int) act {
		s := h.Steps[i]
		return act{at(s.From, i), func() { w.ahead.Add(int64(s.To.Sub(s.From))) }}
	}
	down := h.Downs[0]
	stop := act{at(down.Since, 1), func() {
		if err := w.log.Close(); err != nil {
			w.t.Error(err)
		}
		w.log = nil
	}}
	crash := w.crashAt()
	all := []act{step(0), stop, {at(down.Until, 1), w.open}, {crash, func() { w.kill(final) }}, {crash + restart, w.restarted}, step(1)}
	for _, l := range h.Said {
		all = append(all, act{l.After, func() { w.log.Report(l.Kind, l.Subject, l.Detail) }})
	}
	slices.SortStableFunc(all, func(a, b act) int { return cmp.Compare(a.at, b.at) })
	return all
}

// restart is how long after it was killed the server runs again: sooner than an attempt
// is over.
const restart = 12 * time.Second

// crashAt returns a time at which a television asks again and again: a moment behind one
// lookup of a pair, of which the log has not written the second yet.
func (w *writer) crashAt() time.Duration {
	h := w.h
	from := h.day(h.Part(9), 19, 0)
	for i := range h.asked {
		l := &h.asked[i]
		if l.Time.Before(from) || l.Device.Label != Television || l.Type != dnswire.TypeAAAA || l.Name.Verdict() != "block" {
			continue
		}
		var burst []Lookup
		for _, m := range h.asked[i+1:] {
			if m.at-l.at > 30*time.Second {
				break
			}
			if m.Device == l.Device && m.Name == l.Name {
				burst = append(burst, m)
			}
		}
		if len(burst) > 10 && burst[len(burst)-1].at-l.at > restart+time.Second && h.clock(l.at+time.Minute).Truncate(time.Hour).Equal(h.clock(l.at-time.Minute).Truncate(time.Hour)) {
			return l.at + time.Millisecond
		}
	}
	w.t.Fatal("no television asks again and again in the evening of the crash")
	return 0
}

// kill goes on in a copy of the directory as it is at this moment, which is what a
// process that is killed leaves.
func (w *writer) kill(final string) {
	synctest.Wait()
	if err := copyDir(final, w.dir); err != nil {
		w.t.Fatal(err)
	}
	w.log.Close()
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Fatal(err)
	}
	w.h.Downs = append(w.h.Downs, Down{Since: w.now(), Crash: true})
	w.dir, w.log = final, nil
}

// copyDir copies a directory with the modes of its files, which os.CopyFS does not: a key
// that others can read does not sign.
func copyDir(to, from string) error {
	src := os.DirFS(from)
	if err := os.CopyFS(to, src); err != nil {
		return err
	}
	return fs.WalkDir(src, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(filepath.Join(to, path), info.Mode().Perm())
	})
}

// restarted starts the server after it was killed, and leaves the lookups out that it
// had not written yet: those of its last second at most.
func (w *writer) restarted() {
	h := w.h
	w.open()
	w.log.Flush()
	down := &h.Downs[len(h.Downs)-1]
	down.Until = w.now()
	type key struct {
		was  *Identity
		name string
		typ  uint16
	}
	last := map[key]time.Time{} // how far back a key was asked for without a minute's silence
	many := map[key]uint64{}
	for i := len(h.Lookups) - 1; i >= 0 && down.Since.Sub(h.Lookups[i].Time) < time.Hour; i-- {
		l := &h.Lookups[i]
		k := key{l.Was, l.Asked(), l.Type}
		before, ok := last[k]
		if !ok {
			if before = down.Since; down.Since.Sub(l.Time) > time.Second {
				continue
			}
		}
		if before.Sub(l.Time) < apart {
			last[k] = l.Time
			many[k]++
		}
	}
	r, err := querylog.OpenReader(w.dir)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, since := range last {
		recorded := uint64(0)
		for row, err := range r.Rows(context.Background(), querylog.Filter{Since: since, Name: k.name}) {
			if err != nil {
				w.t.Fatal(err)
			}
			if row.Name == k.name && row.Device == k.was.Device && row.Type == typeWord(k.typ) && !row.Time.Before(since) {
				recorded += row.Count
			}
		}
		for i := len(h.Lookups) - 1; i >= 0 && many[k] > recorded; i-- {
			if l := &h.Lookups[i]; (key{l.Was, l.Asked(), l.Type}) == k {
				if down.Since.Sub(l.Time) > time.Second {
					w.t.Fatalf("%s of %v is not recorded: it came more than a second before the server was killed", k.name, l.Time)
				}
				h.Lookups = append(h.Lookups[:i], h.Lookups[i+1:]...)
				down.Lost++
				many[k]--
			}
		}
		if many[k] != recorded {
			w.t.Fatalf("%s was looked up %d times before the server was killed, and %d are recorded", k.name, many[k], recorded)
		}
	}
}

func typeWord(typ uint16) string {
	switch typ {
	case dnswire.TypeA:
		return "A"
	case dnswire.TypeAAAA:
		return "AAAA"
	case 65:
		return "HTTPS"
	}
	return fmt.Sprintf("TYPE%d", typ)
}

// RecordAll fills Lookups as though a server had recorded all, without writing anything.
func (h *Home) RecordAll() {
	h.Lookups, h.Downs = h.asked, nil
	h.countAttempts()
}

// gap is the silence that ends an attempt.
const gap = querylog.DefaultAttempt

// countAttempts tells which lookups begin an attempt: those of a device and a name after a
// silence. The log knows names alone; the home knows which of them are one.
func (h *Home) countAttempts() {
	type key struct {
		was  *Identity
		name *Name
	}
	last := map[key]time.Time{}
	for i := range h.Lookups {
		l := &h.Lookups[i]
		k := key{l.Was, l.Name}
		before, ok := last[k]
		if l.Begins = !ok || l.Time.Sub(before).Abs() >= gap; l.Begins || l.Time.After(before) {
			last[k] = l.Time
		}
	}
}

// correct says of devices what the home's people do: that one is called otherwise, and
// that the phone with another MAC is the phone.
func (h *Home) correct(t *testing.T, store string) {
	f, err := corrections.Open(filepath.Join(store, "corrections.jsonl"), h.End)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range h.Devices {
		var all []corrections.Correction
		for _, was := range d.Was[1:] {
			all = append(all, corrections.Correction{Kind: corrections.Merge, Device: d.Was[0].Device, Other: was.Device})
		}
		switch d.Label {
		case Renamed:
			all = append(all, corrections.Correction{Kind: corrections.Name, Device: d.Was[0].Device, Name: Renamed})
		case Phone:
			all = append(all, corrections.Correction{Kind: corrections.Note, Device: d.Was[0].Device, From: h.OptedOut, Text: "opted out of analytics in the settings"})
		}
		for _, c := range all {
			if _, err := f.Add(c); err != nil {
				t.Fatal(err)
			}
		}
	}
}
