package names

import (
	"bytes"
	"strings"
	"testing"

	"telltale/dnswire"
)

func TestNamesLookLikeThoseOfBlockLists(t *testing.T) {
	const n = 100_000
	var out bytes.Buffer
	if err := Generate(n, 1, &out); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	octets, registrable := 0, 0
	for name := range strings.Lines(out.String()) {
		name = strings.TrimSuffix(name, "\n")
		wire, err := dnswire.AppendName(nil, name)
		if err != nil {
			t.Fatal(err)
		}
		seen[name] = true
		octets += len(wire)
		if strings.Count(name, ".") == 1 {
			registrable++
		}
	}
	if len(seen) != n {
		t.Errorf("%d different names, want %d", len(seen), n)
	}
	if mean := float64(octets) / n; mean < 21 || mean > 23 {
		t.Errorf("%.2f octets on average, want 21 to 23", mean)
	}
	if share := float64(registrable) / n; share < 0.45 || share > 0.55 {
		t.Errorf("%.2f have two labels, want about a half", share)
	}
}

func TestNamesAreTheSameForTheSameSeed(t *testing.T) {
	a, b, other := New(7), New(7), New(8)
	same := 0
	for range 1000 {
		name := string(a.Next())
		if got := string(b.Next()); got != name {
			t.Fatalf("%q, want %q", got, name)
		}
		if string(other.Next()) == name {
			same++
		}
	}
	if same > 10 {
		t.Errorf("%d of 1000 names are those of another seed", same)
	}
}
