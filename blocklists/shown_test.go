package blocklists

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Rules agrees with Rule, asked for one after the other.
func TestManyRulesAtOnceAreTheSameAsOneByOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for list, n := range map[string]int{"a": 30_000, "b": 200, "c": 1} {
		var text strings.Builder
		for i := range n {
			switch {
			case i%7 == 3:
				fmt.Fprintf(&text, "\n||n%d.%s.example^$important\n", i, list)
			case i%501 == 5:
				fmt.Fprintf(&text, "/n%d[a-c]%s/\n", i, list)
			default:
				fmt.Fprintf(&text, "n%d.%s.example\n", i, list)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, list+".txt"), []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenReadOnly(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p := s.Current()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name      string
		n         int
		ascending bool
	}{{"none", 0, true}, {"one", 1, true}, {"a few", 20, true}, {"many", 3000, true}, {"many in no order", 300, false}, {"all", 60_000, true}} {
		ids := []RuleID{0, SpecialBase, specialEnd, 1 << 30}[:min(c.n, 4)]
		for i := range c.n {
			ids = append(ids, RuleID(rng.IntN(31_000)))
			if c.name == "all" {
				ids[len(ids)-1] = RuleID(i / 2) // each twice
			}
		}
		if c.ascending {
			slices.Sort(ids)
		}
		next := 0
		p.Rules(ids, func(i int, got Rule) {
			if want := p.Rule(ids[i]); i != next || got != want {
				t.Fatalf("%s: got %+v at %d, want %+v at %d", c.name, got, i, want, next)
			}
			next++
		})
		if next != len(ids) {
			t.Errorf("%s: got %d rules, want %d", c.name, next, len(ids))
		}
	}
	var none *Policy
	none.Rules([]RuleID{5}, func(_ int, got Rule) {
		if got != (Rule{}) {
			t.Errorf("got %+v of no policy, want none", got)
		}
	})
}
