package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"telltale/blocklists"
	"telltale/blocklists/rules"
)

func TestLint(t *testing.T) {
	shipped := shippedFS(map[string]string{"vendor.txt": "#@ name=ok.vendor.example vendor=Vendor tier=essential breaks=\"signing in\"\n"})
	for _, c := range []struct {
		fact string
		text string
		want []string // line: kind
	}{
		{"a list without fault", "ads.example\ntrack.example\n@@ok.ads.example\n", nil},
		{"a name below a blocked one", "x.ads.example\nads.example\n", []string{"1: redundant"}},
		{"a name twice", "ads.example\n||ads.example^\n", []string{"2: redundant"}},
		{"a host below a blocked name", "ads.example\n0.0.0.0 x.ads.example\n", []string{"2: redundant"}},
		{"a host does not cover a subtree", "0.0.0.0 ads.example\nads.example\n", []string{"1: redundant"}},
		{"a block under an exception", "@@ads.example\nx.ads.example\n", []string{"2: shadowed"}},
		{"an important block is not shadowed", "@@ads.example\n||x.ads.example^$important\n", nil},
		{"an exception from nothing", "ads.example\n@@other.example\n", []string{"2: dead exception"}},
		{"an exception from a block above", "ads.example\n@@x.ads.example\n", nil},
		{"an exception from a block below is shadowing", "x.ads.example\n@@ads.example\n", []string{"1: shadowed"}},
		{"an allow list by itself", "@@other.example\n", nil},
		{"an essential name", "vendor.example\n", []string{"1: risky"}},
		{"a condition of its own is not redundant", "ads.example\n||x.ads.example^$dnstype=A\n", nil},
	} {
		t.Run(c.fact, func(t *testing.T) {
			path := filepath.Join(files(t, map[string]string{"a.txt": c.text}), "a.txt")
			r, err := Lint(t.Context(), []blocklists.ListFile{new(blocklists.Options).FileOf(path, blocklists.ListSettings{})}, shipped)
			check(t, err)
			var got []string
			for _, f := range r[0].Findings {
				got = append(got, fmt.Sprintf("%d: %s", f.Line, f.Kind))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q (%v)", got, c.want, r[0].Bad)
			}
		})
	}
}

func TestLintOfTheUsersOwnFile(t *testing.T) {
	path := filepath.Join(files(t, map[string]string{"own.txt": "/./\n192.168.1.9 nas.lan\n"}), "own.txt")
	r, err := Lint(t.Context(), []blocklists.ListFile{new(blocklists.Options).FileOf(path, blocklists.ListSettings{}), {Path: filepath.Join(t.TempDir(), "none")}}, nil)
	check(t, err)
	if len(r[0].Findings) != 1 || r[0].Findings[0].Kind != Risky {
		t.Errorf("a pattern that matches everything: got %+v", r[0].Findings)
	}
	if got, want := r[0].Rules, 2; got != want {
		t.Errorf("rules: got %d, want %d", got, want)
	}
	if r[1].Failed == "" {
		t.Error("a file that is not there: got no failure")
	}
}

func TestLintReadsAFileAsItsListIs(t *testing.T) {
	o := blocklists.Options{
		Dir: files(t, map[string]string{
			"exact.txt": "ads.example\nx.ads.example\n", "patterns.txt": "^ads[0-9]\\.\n", "wide.txt": "co.uk\n", "plain.txt": "co.uk\n",
			"walled.txt": "address=/a.example/192.0.2.1\n", "own.txt": "192.168.1.9 nas.lan\n",
		}),
		Lists: []blocklists.ListSettings{
			{Name: "exact", Exact: true}, {Name: "patterns", Format: "regex"}, {Name: "wide", Suffixes: true}, {Name: "walled", Answers: true},
		},
	}
	for _, c := range []struct {
		fact, file string
		findings   string
		bad        int
	}{
		{"a name below another is needed where both match alone", "exact.txt", "", 0},
		{"a bare pattern is one where the list says so", "patterns.txt", "", 0},
		{"a public suffix is only risky where it is allowed", "wide.txt", "risky", 0},
		{"a public suffix is held back elsewhere", "plain.txt", "", 1},
		{"an answer is taken where the list may give one", "walled.txt", "", 0},
		{"the user's own file holds local records", "own.txt", "", 0},
	} {
		t.Run(c.fact, func(t *testing.T) {
			r, err := Lint(t.Context(), []blocklists.ListFile{o.FileOf(filepath.Join(o.Dir, c.file), blocklists.ListSettings{})}, nil)
			check(t, err)
			got := ""
			for _, f := range r[0].Findings {
				got += string(f.Kind)
			}
			if got != c.findings || r[0].BadSeen != c.bad || r[0].List != blocklists.ListName(c.file) {
				t.Errorf("of %q: got %q, bad lines %v", r[0].List, got, r[0].Bad)
			}
		})
	}
}

func TestAFileOfAListIsKnownByALink(t *testing.T) {
	o := blocklists.Options{Dir: files(t, map[string]string{"patterns.txt": "^ads\\.\n"}), Lists: []blocklists.ListSettings{{Name: "patterns", Format: "regex"}}}
	link := filepath.Join(t.TempDir(), "link.txt")
	check(t, os.Symlink(filepath.Join(o.Dir, "patterns.txt"), link))
	if f := o.FileOf(link, blocklists.ListSettings{}); f.Settings.Name != "patterns" || f.Settings.Format != "regex" {
		t.Errorf("got %+v", f)
	}
}

func TestLintOfAFileThatIsNoList(t *testing.T) {
	dir := files(t, map[string]string{"a.txt": "^ads[0-9]\\.\n", "cut.txt": "# Number of entries: 500\na.example\n"})
	var o blocklists.Options
	r, err := Lint(t.Context(), []blocklists.ListFile{
		o.FileOf(filepath.Join(dir, "a.txt"), blocklists.ListSettings{Format: "regex"}), o.FileOf(filepath.Join(dir, "cut.txt"), blocklists.ListSettings{}),
	}, nil)
	check(t, err)
	if r[0].BadSeen > 0 || r[0].Rules != 1 || r[0].List != "" {
		t.Errorf("by settings for it alone: got %+v", r[0])
	}
	if r[1].Missing != 499 {
		t.Errorf("it says that it has 500 entries: got %d missing, want 499", r[1].Missing)
	}
}

// A file of one line over and over is read in a time that grows with it, and not
// with its square.
func TestLintOfAFileThatRepeatsItself(t *testing.T) {
	const lines = 50_000
	path := filepath.Join(files(t, map[string]string{
		"a.txt": "first.example\n" + strings.Repeat("ads.example\n", lines) + strings.Repeat("||ads.example^$dnstype=A\n", lines),
	}), "a.txt")
	file := []blocklists.ListFile{new(blocklists.Options).FileOf(path, blocklists.ListSettings{})}
	r, err := Lint(t.Context(), file, nil)
	check(t, err)
	if got := r[0].Seen[Redundant]; got != rules.MostSame-1 {
		t.Errorf("got %d redundant, want %d", got, rules.MostSame-1)
	}
	if got := r[0].BadSeen; got != 2*lines-rules.MostSame {
		t.Errorf("got %d bad lines, want %d", got, 2*lines-rules.MostSame)
	}
	if got, want := r[0].Findings[0].Why, "matches nothing that line 2 does not"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := Lint(ended, file, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: got %v", err)
	}
}
