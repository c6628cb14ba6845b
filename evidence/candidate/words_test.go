package candidate

import (
	"slices"
	"testing"

	"telltale/blocklists/catalog"
)

// The words of reporting are those of the shipped catalogue's telemetry: each stands in some
// of its names, and seldom in names that serve (mixed and essential ones), as many as these are.
func TestWordsAreThoseOfTheCatalogue(t *testing.T) {
	known, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	telemetry, serves := map[string]int{}, map[string]int{}
	all, others := 0, 0
	for i := range known.Entries() {
		e := &known.Entries()[i]
		words := wordsOf(e.Name)
		slices.Sort(words)
		words = slices.Compact(words)
		to := serves
		switch e.Tier {
		case "telemetry":
			to = telemetry
			all++
		case "mixed", "essential":
			others++
		default:
			continue
		}
		for _, w := range words {
			if reporting[w] || wordIn(words, reporting) == "" {
				to[w]++
			}
		}
	}
	reports := func(w string) float64 { // 1: as often in both
		return (float64(telemetry[w]) / float64(all)) / ((float64(serves[w]) + 0.5) / float64(others))
	}
	for w := range reporting {
		if telemetry[w] == 0 || reports(w) < 1.2 {
			t.Errorf("%q is in %d names of telemetry and in %d that serve: %.1f", w, telemetry[w], serves[w], reports(w))
		}
	}
	for w := range serving {
		if telemetry[w]+serves[w] >= 10 && reports(w) > 1 {
			t.Errorf("%q is in %d names of telemetry and in %d that serve: %.1f", w, telemetry[w], serves[w], reports(w))
		}
	}
	t.Logf("%d names of telemetry, %d that serve", all, others)
}

// Siblings differ in a place or a number, and in nothing else.
func TestSiblings(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"data.mistat.rus.xiaomi.com", "data.mistat.india.xiaomi.com", true},
		{"data.mistat.rus.xiaomi.com", "data.mistat.eu.xiaomi.com", true},
		{"metrics.aurora.example", "metrics2.aurora.example", true},
		{"metrics-eu.aurora.example", "metrics.aurora.example", true},
		{"eu-1.events.example.com", "us-2.events.example.com", true},
		{"metrics.aurora.example", "update.aurora.example", false},
		{"metrics.aurora.example", "metrics.borealis.example", false},
		{"a.example.com", "b.example.com", false},
		{"eu.example.com", "us.example.com", false},
		{"example.com", "example.com", false},
		{"d1.cloudfront.net", "d2.cloudfront.net", false},
	} {
		got := slices.ContainsFunc(patterns(c.a), func(p string) bool { return slices.Contains(patterns(c.b), p) })
		if got != c.want {
			t.Errorf("%s and %s: got %v, want %v (%q, %q)", c.a, c.b, got, c.want, patterns(c.a), patterns(c.b))
		}
	}
}

// Any name is taken apart without harm.
func FuzzPatterns(f *testing.F) {
	for _, s := range []string{"", ".", "a..b", "com", "data.mistat.rus.xiaomi.com", "x.co.uk", "\xff.example", "-.-.example"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		wordsOf(name)
		patterns(name)
	})
}
