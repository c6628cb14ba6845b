package household

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale/config"
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

// A server takes the home's settings: beside one of "make run", with the console, and with
// the devices that the log knows by the names of the settings.
func TestAServerTakesTheSettingsOfAHome(t *testing.T) {
	h := New(Options{Days: 4})
	path := filepath.Join(t.TempDir(), "telltale.yaml")
	if err := os.WriteFile(path, []byte(h.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	configured := map[string]string{}
	for _, d := range cfg.Devices {
		configured[d.Name] = d.MACs[0]
	}
	named := 0
	for _, d := range h.Devices {
		if d.Was[0].Device == d.Label {
			if named++; configured[d.Label] != d.Was[0].MAC {
				t.Errorf("%s, %s in the log, is %q in the settings", d.Label, d.Was[0].MAC, configured[d.Label])
			}
		}
	}
	if named == 0 || named != len(configured) || len(cfg.Web.Listen) != 1 || cfg.Web.Listen[0].Port() == 5380 || cfg.Listen.DNS[0].Port() == 5300 {
		t.Errorf("got %d devices of %d, the console on %v, DNS on %v", len(configured), named, cfg.Web.Listen, cfg.Listen.DNS)
	}
	if cfg.Log.Listed < 50*365*24*time.Hour {
		t.Errorf("a server deletes the log: it keeps %v", cfg.Log.Listed)
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
