package blocklists

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"telltale/blocklists/format"
)

var ownLines = format.Options{Name: "own", Own: true}

func TestARuleFileIsReadLineByLine(t *testing.T) {
	f := ParseRuleFile([]byte("# mine\n\n@@ok.example  #@ until=2026-12-31T10:00:00Z  # Anna's # school\r\n||ads.example^$client='tv',dnstype=AAAA # why\na.example b.example\nnot a rule !\n#@ vendor=Acme\nx.example"), ownLines)
	if len(f.Lines) != 8 || f.Version != VersionOf([]byte(f.Text)) {
		t.Fatalf("got %d lines, version %s", len(f.Lines), f.Version)
	}
	for i, want := range []struct {
		text, comment string
		rules, bad    int
	}{
		{"# mine", "mine", 0, 0},
		{"", "", 0, 0},
		{"@@ok.example  #@ until=2026-12-31T10:00:00Z  # Anna's # school", "Anna's # school", 1, 0},
		{"||ads.example^$client='tv',dnstype=AAAA # why", "why", 1, 0},
		{"a.example b.example", "", 0, 1},
		{"not a rule !", "", 0, 1},
		{"#@ vendor=Acme", "", 0, 0},
		{"x.example", "", 1, 0},
	} {
		l := f.Lines[i]
		if l.Text != want.text || l.Comment != want.comment || len(l.Rules) != want.rules || min(len(l.Bad), 1) != want.bad {
			t.Errorf("line %d: got %+v, want %+v", i+1, l, want)
		}
	}
	if r := f.Lines[2].Rules[0]; r.Action != format.Allow || !r.Annotation.Until.Equal(time.Date(2026, 12, 31, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", r)
	}
	if a := f.Lines[7].Rules[0].Annotation; a == nil || a.Vendor != "Acme" {
		t.Errorf("got %+v, want the annotation of the lines above", a)
	}
}

// Of two who change one version of a file the second is told what there is now.
func TestNobodyChangesAVersionThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	first := VersionOf(nil)
	if err := ReplaceRuleFile(path, first, []byte("a.example\nb.example\n"), ownLines, false); err != nil {
		t.Fatal(err)
	}
	var stale *VersionError
	if err := ReplaceRuleFile(path, first, []byte("c.example\n"), ownLines, false); !errors.As(err, &stale) || stale.Now != "a.example\nb.example\n" {
		t.Errorf("got %v %+v", err, stale)
	}
	if _, err := RemoveLine(path, first, 1, ownLines); !errors.As(err, &stale) {
		t.Errorf("got %v", err)
	}
	f, err := ReadRuleFile(path, ownLines)
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := RemoveLine(path, f.Version, 1, ownLines); err != nil || removed != "a.example" {
		t.Errorf("got %q, %v", removed, err)
	}
	if err := ReplaceRuleFile(path, "*", []byte("d.example"), ownLines, false); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "d.example" {
		t.Errorf("got %q", text)
	}
}

func TestWhatIsNoRuleIsNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.txt")
	const text = "a.example\nnot a rule !\n# a comment\n/(/\n"
	var bad *MistakesError
	if err := ReplaceRuleFile(path, "*", []byte(text), ownLines, false); !errors.As(err, &bad) || len(bad.Lines) != 2 || bad.Lines[0].Line != 2 || bad.Lines[1].Line != 4 {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is written")
	}
	if err := ReplaceRuleFile(path, "*", []byte(text), ownLines, true); err != nil {
		t.Errorf("though that is meant: %v", err)
	}
	for line, want := range map[int]bool{0: false, 1: true, 3: false, 5: false, -1: false} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := RemoveLine(path, "*", line, ownLines); errors.Is(err, ErrNoLine) == want {
			t.Errorf("line %d: got %v", line, err)
		}
	}
	if err := ReplaceRuleFile(path, "*", []byte(strings.Repeat("#", MaxRuleFile+1)), ownLines, true); err == nil {
		t.Error("a text without end is written")
	}
	for name, text := range map[string]string{"nul.txt": "a\x00", "latin.txt": "caf\xe9.example\n", "large.txt": strings.Repeat("#\n", MaxRuleFile)} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadRuleFile(path, ownLines); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzRuleFile(f *testing.F) {
	f.Add("# mine\n@@ok.example  #@ until=2026-12-31  # x\n\n||a.example^$client='tv'\nbad line !\n", 2)
	f.Add("\xef\xbb\xbfa.example\r\n=b.example\r", 1)
	f.Fuzz(func(t *testing.T, text string, line int) {
		file := ParseRuleFile([]byte(text), ownLines)
		rules := 0
		for i := range file.Lines {
			rules += len(file.Lines[i].Rules)
		}
		if file.Text != text || len(file.Lines) > len(text) {
			t.Fatalf("%d lines of %d octets", len(file.Lines), len(text))
		}
		path := filepath.Join(t.TempDir(), "own.txt")
		if os.WriteFile(path, []byte(text), 0o644) != nil {
			t.Skip()
		}
		removed, err := RemoveLine(path, file.Version, line, ownLines)
		if err != nil {
			return
		}
		after, _ := os.ReadFile(path)
		if !strings.Contains(text, removed) || len(after)+len(removed) > len(text) || len(after) >= len(text) {
			t.Errorf("line %d %q taken out of %q leaves %q", line, removed, text, after)
		}
	})
}
