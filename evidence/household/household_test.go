package household

import (
	"os"
	"path/filepath"
	"testing"

	"telltale/querylog"
)

// TestHousehold writes a home, into the directory that HOUSEHOLD_DIR names, if it does:
// that is how "make household" makes one to look at.
func TestHousehold(t *testing.T) {
	o, dir := Options{}, os.Getenv("HOUSEHOLD_DIR")
	if dir == "" {
		o, dir = Options{Days: 4, Pace: 0.1}, filepath.Join(t.TempDir(), "home")
	}
	h := New(o)
	h.Write(t, dir)
	if _, err := querylog.ReadSealKey(filepath.Join(dir, "store", "seal", "key")); err != nil {
		t.Errorf("a server cannot seal the home's log: %v", err)
	}
	t.Logf("%d lookups of %d devices", len(h.Lookups), len(h.Devices))
}

// A copy of a directory lets nobody read more than the directory does.
func TestACopyHasTheModesOfItsFiles(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	modes := map[string]os.FileMode{"seal": 0o700, "seal/key": 0o600, "seal/head": 0o640}
	if err := os.Mkdir(filepath.Join(from, "seal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		if path := filepath.Join(from, name); mode != 0o700 {
			if err := os.WriteFile(path, nil, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := copyDir(to, from); err != nil {
		t.Fatal(err)
	}
	for name, mode := range modes {
		info, err := os.Stat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != mode {
			t.Errorf("%s has the mode %v, want %v", name, got, mode)
		}
	}
}

// A seed makes one home, and another seed another.
func TestAHomeIsThatOfItsSeed(t *testing.T) {
	lookups := func(seed uint64) []Lookup { return New(Options{Seed: seed, Days: 4}).asked }
	alike := func(a, b []Lookup) bool {
		for i := range a {
			if i >= len(b) || !a[i].Time.Equal(b[i].Time) || a[i].Asked() != b[i].Asked() || a[i].Device.Label != b[i].Device.Label {
				return false
			}
		}
		return len(a) == len(b)
	}
	if a, b := lookups(1), lookups(1); !alike(a, b) || len(a) == 0 {
		t.Error("a seed makes two homes")
	}
	if alike(lookups(1), lookups(2)) {
		t.Error("two seeds make one home")
	}
	kinds, many := map[string]bool{}, 0
	for _, k := range Kinds {
		kinds[k.Kind] = true
		many += k.Many
	}
	if h := New(Options{Days: 4}); len(kinds) != 12 || many != 25 || len(h.Devices) != many {
		t.Errorf("got %d devices of %d kinds", len(h.Devices), len(kinds))
	}
}
