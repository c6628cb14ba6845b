//go:build e2e

package rhythm

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/querylog"
)

// Of a made-up home, whose habits are known, each heartbeat of a listed name is found with
// its period, each batch at night, and what is asked for at random times is no heartbeat.
func TestE2ERhythmsOfAHousehold(t *testing.T) {
	h := household.New(household.Options{Seed: 3, Pace: 0.5})
	dir, err := os.MkdirTemp("/dev/shm", "rhythm") // where a disk need not be waited for thousands of times
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h.Write(t, dir)
	r, err := querylog.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	today := map[string]string{} // what a device was -> what it was first
	for _, d := range h.Devices {
		for _, was := range d.Was {
			today[was.Device] = d.Was[0].Device
		}
	}
	f, err := Make(t.Context(), r, Options{Since: h.Begin, Until: h.End(), Zone: h.Begin.Location(), Today: func(identity string, _ time.Time) string { return today[identity] }})
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ device, name string }
	found := map[key]*Rhythm{}
	for i := range f.Rhythms {
		found[key{f.Rhythms[i].Device, f.Rhythms[i].Name}] = &f.Rhythms[i]
	}
	beats, nights, random := 0, 0, 0
	for _, d := range h.Devices {
		for i := range d.Habits {
			b := &d.Habits[i]
			got := found[key{d.Was[0].Device, b.Name.Name}]
			if b.Name.Vendor == "" || got == nil {
				continue
			}
			switch {
			case b.Every > 0 && b.Every < 12*time.Hour:
				beats++
				if got.Kind != Heartbeat || math.Abs(got.Beat.Period/b.Every.Seconds()-1) > 0.02 || got.Beat.Present < 0.95 {
					t.Errorf("%s, %s: got %s (%s), want a heartbeat of %v", d.Label, b.Name.Name, got.Kind, got.Text, b.Every)
				}
			case b.Nightly > 0 && b.PerDay < 0.5:
				nights++
				if got.Kind != Nightly {
					t.Errorf("%s, %s: got %s (%s), want a batch at night", d.Label, b.Name.Name, got.Kind, got.Text)
				}
			case b.Every == 0 && b.Nightly == 0 && !b.AtBoot: // a device that starts at the same minute day by day has a period
				random++
				if got.Kind == Heartbeat || got.Kind == Nightly {
					t.Errorf("%s, %s: got %s (%s) of random times", d.Label, b.Name.Name, got.Kind, got.Text)
				}
			}
		}
	}
	t.Logf("%d heartbeats, %d batches at night, %d names at random times", beats, nights, random)
	if beats < 15 || nights < 3 || random < 15 {
		t.Errorf("got %d heartbeats, %d batches at night and %d names at random times: the home is another one", beats, nights, random)
	}
}
