package corrections

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T) *File {
	t.Helper()
	f, err := Open(filepath.Join(t.TempDir(), "corrections.jsonl"), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func add(t *testing.T, f *File, c Correction) Correction {
	t.Helper()
	c, err := f.Add(c)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// settings are identities that have another one today, and those that are configured.
type settings map[string]string

func (s settings) base(identity string) (string, bool) {
	today, ok := s[identity]
	if !ok {
		return identity, false
	}
	return today, true
}

func TestCorrectionsAreAppliedInTheirOrder(t *testing.T) {
	f := open(t)
	add(t, f, Correction{Kind: Name, Device: "mac:a", Name: "Anna's phone"})
	add(t, f, Correction{Kind: Merge, Device: "mac:b", Other: "mac:a"})
	split := add(t, f, Correction{Kind: Split, Device: "mac:b", From: noon, Name: "Ben's phone"})
	add(t, f, Correction{Kind: Merge, Device: "mac:c", Other: SplitDevice(split.ID)})
	add(t, f, Correction{Kind: Ignore, Device: "mac:d"})
	v := NewView(f.All(), settings{}.base)
	for _, c := range []struct {
		identity string
		at       time.Time
		want     string
	}{
		{"mac:a", noon.Add(-time.Second), "mac:b"},
		{"mac:b", noon.Add(-time.Second), "mac:b"},
		{"mac:a", noon, "mac:c"},
		{"mac:b", noon.Add(time.Hour), "mac:c"},
		{"mac:c", noon.Add(-time.Hour), "mac:c"},
		{"mac:d", noon, "mac:d"},
	} {
		if got := v.Device(c.identity, c.at); got != c.want {
			t.Errorf("%s at %v: got %s, want %s", c.identity, c.at, got, c.want)
		}
	}
	if got := v.Name("mac:b"); got != "Anna's phone" {
		t.Errorf("the name of the one that was merged: got %q", got)
	}
	if got := v.Name("mac:c"); got != "Ben's phone" {
		t.Errorf("the name of the one that was split off: got %q", got)
	}
	if !v.Ignored("mac:d") || v.Ignored("mac:a") {
		t.Error("the wrong device is ignored")
	}
	if got := v.Changes("mac:a"); len(got) != 1 || !got[0].Equal(noon) {
		t.Errorf("changes: got %v", got)
	}
	if got := v.Changes("mac:c"); got != nil {
		t.Errorf("changes of another: got %v", got)
	}
}

func TestWhatIsUndoneDoesNotHold(t *testing.T) {
	f := open(t)
	add(t, f, Correction{Kind: Name, Device: "mac:a", Name: "one"})
	add(t, f, Correction{Kind: Name, Device: "mac:a", Name: "two"})
	add(t, f, Correction{Kind: Merge, Device: "mac:a", Other: "mac:b"})
	for _, want := range []string{"two", "one", ""} {
		if _, err := f.Undo(0); err != nil {
			t.Fatal(err)
		}
		v := NewView(f.All(), settings{}.base)
		if got := v.Device("mac:b", noon); got != "mac:b" {
			t.Errorf("still merged: %s", got)
		}
		if got := v.Name("mac:a"); got != want {
			t.Errorf("name: got %q, want %q", got, want)
		}
	}
	if _, err := f.Undo(0); err != ErrNothing {
		t.Errorf("nothing left: got %v", err)
	}
	if _, err := f.Undo(2); err != ErrNothing {
		t.Errorf("undone twice: got %v", err)
	}
}

// What a person said that a device is holds for all that the device was, until it is undone.
func TestAKindIsConfirmed(t *testing.T) {
	f := open(t)
	add(t, f, Correction{Kind: Is, Device: "mac:a", Is: "phone"})
	add(t, f, Correction{Kind: Is, Device: "mac:b", Is: "tablet"})
	add(t, f, Correction{Kind: Merge, Device: "mac:c", Other: "mac:a"})
	add(t, f, Correction{Kind: Merge, Device: "mac:b", Other: "mac:c"})
	v := NewView(f.All(), settings{}.base)
	if got := v.Kind(v.Device("mac:a", noon)); got != "tablet" {
		t.Errorf("after merging: got %q", got)
	}
	for _, want := range []string{"phone", "phone", "phone", ""} {
		if _, err := f.Undo(0); err != nil {
			t.Fatal(err)
		}
		v := NewView(f.All(), settings{}.base)
		if got := v.Kind(v.Device("mac:a", noon)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestANameOutlivesTheSettingsThatKnewTheDevice(t *testing.T) {
	f := open(t)
	add(t, f, Correction{Kind: Name, Device: "tv", Known: []string{"mac:a"}, Name: "Living room"})
	with := settings{"tv": "tv", "mac:a": "tv"}
	renamed := settings{"television": "television", "mac:a": "television"}
	for what, s := range map[string]settings{"as before": with, "without it": {}, "with another name": renamed} {
		v := NewView(f.All(), s.base)
		for _, identity := range []string{"tv", "mac:a"} {
			if got := v.Name(v.Device(identity, noon)); got != "Living room" {
				t.Errorf("settings %s: %s is called %q", what, identity, got)
			}
		}
	}
	taken := settings{"tv": "tv", "radio": "radio", "mac:a": "radio"} // the settings gave the MAC to another
	v := NewView(f.All(), taken.base)
	if got := v.Device("mac:a", noon); got != "radio" {
		t.Errorf("what the settings say goes before: got %s", got)
	}
}

func TestAFileIsReadBackAsItWasWritten(t *testing.T) {
	f := open(t)
	add(t, f, Correction{Kind: Note, Device: "mac:a", Text: "sold"})
	add(t, f, Correction{Kind: Merge, Device: "mac:b", Other: "mac:c", OtherKnown: []string{"mac:secret"}})
	add(t, f, Correction{Kind: Name, Device: "mac:b", Name: "kept"})
	if err := f.Forget(map[string]bool{"mac:secret": true, "mac:a": true}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(f.path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	all := again.All()
	if len(all) != 3 || all[0].Kind != Forgot || all[1].Kind != Forgot || all[2].Name != "kept" {
		t.Errorf("read back: %+v", all)
	}
	text, _ := os.ReadFile(f.path)
	for _, word := range []string{"secret", "mac:a", "mac:c", "sold"} {
		if strings.Contains(string(text), word) {
			t.Errorf("%q is still in the file:\n%s", word, text)
		}
	}
	if c := add(t, again, Correction{Kind: Ignore, Device: "mac:b"}); c.ID != 4 {
		t.Errorf("the next number is %d", c.ID)
	}
}

func TestWhatIsNoCorrectionIsRefused(t *testing.T) {
	f := open(t)
	for _, c := range []Correction{
		{Kind: Name, Device: "mac:a"},
		{Kind: Name, Device: "mac:a", Name: " tv"},
		{Kind: Name, Device: "mac:a", Name: "a\x1b[2J"},
		{Kind: Name, Device: "mac:a", Name: "mac:00:00"},
		{Kind: Name, Device: "mac:a", Name: "192.168.1.22"},
		{Kind: Name, Device: "mac:a", Name: "fe80::1"},
		{Kind: Name, Device: "mac:a", Name: "02-00-5E-10-00-01"},
		{Kind: Name, Device: "mac:a", Name: strings.Repeat("ä", 65)},
		{Kind: Merge, Device: "mac:a", Other: "mac:a"},
		{Kind: Split, Device: "mac:a"},
		{Kind: Is, Device: "mac:a"},
		{Kind: Is, Device: "mac:a", Is: "a\x1b[2J"},
		{Kind: "else", Device: "mac:a"},
	} {
		if _, err := f.Add(c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
	if len(f.All()) != 0 {
		t.Error("something was kept")
	}
	for _, text := range []string{"{", "{\"id\":2}\n{\"id\":2}\n", "[]\n"} {
		if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(f.path, time.Now); err == nil || !strings.Contains(err.Error(), f.path+":") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":1,"kind":"split","device":"mac:a","from":"2026-11-01T12:00:00Z"}` + "\n" + `{"id":2,"kind":"merge","device":"mac:b","other":"split:1"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parse("file", text)
		if err != nil {
			return
		}
		v := NewView(all, settings{}.base)
		for i := range all {
			v.Device(all[i].Device, noon)
			v.About(&all[i], all[i].Other)
			v.Changes(all[i].Other)
		}
	})
}

// A damaged file is not written over. What it has is in force once it is put right.
func TestADamagedFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "corrections.jsonl")
	f, err := Open(path, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	add(t, f, Correction{Kind: Name, Device: "mac:a", Name: "Anna's phone"})
	good, _ := os.ReadFile(path)
	bad := string(good) + "{\n"
	os.WriteFile(path, []byte(bad), 0o600)
	f, err = Open(path, func() time.Time { return noon })
	if err == nil || !strings.Contains(err.Error(), path+":2:") {
		t.Errorf("opened with %v", err)
	}
	if _, err := f.Add(Correction{Kind: Ignore, Device: "mac:b"}); err == nil || len(f.All()) != 0 {
		t.Errorf("added to a damaged file: %v, %v", f.All(), err)
	}
	if err := f.Forget(map[string]bool{"mac:a": true}); err == nil {
		t.Error("a device was forgotten in a damaged file")
	}
	if text, _ := os.ReadFile(path); string(text) != bad {
		t.Errorf("the file has become %q", text)
	}
	os.WriteFile(path, good, 0o600)
	if add(t, f, Correction{Kind: Ignore, Device: "mac:b"}); len(f.All()) != 2 {
		t.Errorf("got %v", f.All())
	}
}

func TestTagsAreGivenAndTakenAway(t *testing.T) {
	f := open(t)
	phone := add(t, f, Correction{Kind: Tag, Device: "mac:a", Tag: "bedroom"})
	add(t, f, Correction{Kind: Tag, Device: "mac:a", Tag: "bedroom"}) // once is enough
	add(t, f, Correction{Kind: Tag, Device: "mac:b", Tag: "kitchen"})
	tags := func() string { return fmt.Sprint(NewView(f.All(), settings{}.base).Tags("mac:a")) }
	if got := tags(); got != "[bedroom]" {
		t.Error(got)
	}
	add(t, f, Correction{Kind: Merge, Device: "mac:a", Other: "mac:b"})
	if got := tags(); got != "[bedroom kitchen]" {
		t.Errorf("merged: %s", got)
	}
	untag := add(t, f, Correction{Kind: Untag, Device: "mac:a", Tag: "bedroom"})
	if got := tags(); got != "[kitchen]" {
		t.Errorf("taken away: %s", got)
	}
	if _, err := f.Undo(untag.ID); err != nil {
		t.Fatal(err)
	}
	if got := tags(); got != "[bedroom kitchen]" {
		t.Errorf("undone: %s, tagged by %d", got, phone.ID)
	}
	for _, tag := range []string{"", " a", "a|b", "a,b", "~a", "a/b", "a'b", strings.Repeat("a", 65)} {
		if _, err := f.Add(Correction{Kind: Tag, Device: "mac:a", Tag: tag}); err == nil {
			t.Errorf("%q was taken", tag)
		}
	}
}

// Discovery is of the device as it is known today, since when all rows of it were kept.
func TestDiscoveryFollowsADevice(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 28, hour, 0, 0, 0, time.UTC) }
	on := Correction{ID: 1, Time: at(1), Kind: Discover, Device: "tv"}
	for what, c := range map[string]struct {
		all  []Correction
		want map[string]time.Time
	}{
		"on":                       {[]Correction{on}, map[string]time.Time{"tv": at(1)}},
		"on twice":                 {[]Correction{on, {ID: 2, Time: at(2), Kind: Discover, Device: "tv"}}, map[string]time.Time{"tv": at(1)}},
		"off":                      {[]Correction{on, {ID: 2, Time: at(2), Kind: DiscoverOff, Device: "tv"}}, nil},
		"taken back":               {[]Correction{on, {ID: 2, Time: at(2), Kind: Undo, Of: 1}}, nil},
		"off, and that taken back": {[]Correction{on, {ID: 2, Time: at(2), Kind: DiscoverOff, Device: "tv"}, {ID: 3, Time: at(3), Kind: Undo, Of: 2}}, map[string]time.Time{"tv": at(1)}},
		"on, off and on":           {[]Correction{on, {ID: 2, Time: at(2), Kind: DiscoverOff, Device: "tv"}, {ID: 3, Time: at(3), Kind: Discover, Device: "tv"}}, map[string]time.Time{"tv": at(3)}},
		"merged into another":      {[]Correction{on, {ID: 2, Time: at(2), Kind: Merge, Device: "screen", Other: "tv"}}, map[string]time.Time{"screen": at(2)}},
		"another merged into it":   {[]Correction{on, {ID: 2, Time: at(2), Kind: Merge, Device: "tv", Other: "box"}}, map[string]time.Time{"tv": at(2)}},
		"split":                    {[]Correction{on, {ID: 2, Time: at(2), Kind: Split, Device: "tv", From: at(2)}}, map[string]time.Time{"tv": at(1)}},
	} {
		v := NewView(c.all, func(identity string) (string, bool) { return identity, false })
		got := map[string]time.Time{}
		v.Discoveries(func(device string, since time.Time) { got[device] = since })
		if len(got) != len(c.want) {
			t.Errorf("%s: got %v, want %v", what, got, c.want)
		}
		for device, since := range c.want {
			if !v.Discovered(device).Equal(since) {
				t.Errorf("%s: got %v, want %v", what, got, c.want)
			}
		}
	}
}
