package blocklists

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
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
		{"a public suffix", "co.uk\n", []string{"1: risky"}},
		{"an essential name", "vendor.example\n", []string{"1: risky"}},
		{"a condition of its own is not redundant", "ads.example\n||x.ads.example^$dnstype=A\n", nil},
	} {
		t.Run(c.fact, func(t *testing.T) {
			path := filepath.Join(files(t, map[string]string{"a.txt": c.text}), "a.txt")
			r, err := Lint([]string{path}, shipped)
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
	r, err := Lint([]string{path, filepath.Join(t.TempDir(), "none")}, nil)
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
