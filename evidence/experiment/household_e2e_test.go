//go:build e2e

package experiment

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"telltale/evidence/household"
	"telltale/evidence/rhythm"
	"telltale/querylog"
)

// All experiments and rhythms of a made-up home of 25 devices and 90 days: 5 s of one core
// and 100 MB are wanted.
func TestE2EWhatTheFindingsOfAHouseholdCost(t *testing.T) {
	h := household.New(household.Options{Seed: 3, Days: 90, Pace: 0.2})
	dir, err := os.MkdirTemp("/dev/shm", "experiments") // where a disk need not be waited for thousands of times
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h.Write(t, dir)
	log, err := querylog.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	all := experimentsOf(t, h)
	runtime.GC()
	sampler := sampleHeap()
	begun := used(t)
	names := 0
	for _, e := range all {
		r, err := Make(t.Context(), log, e, Options{Now: h.End()})
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Devices {
			names += len(r.Devices[i].Names)
		}
	}
	took := used(t) - begun
	begun = used(t)
	f, err := rhythm.Make(t.Context(), log, rhythm.Options{Since: h.Begin, Until: h.End()})
	if err != nil {
		t.Fatal(err)
	}
	rhythms := used(t) - begun
	most := sampler()
	attempts := uint64(0)
	for i := range f.Rhythms {
		attempts += f.Rhythms[i].Attempts
	}
	t.Logf("%d experiments with %d names: %v of one core; %d rhythms of %d attempts: %v; at most %d MB of heap", len(all), names, took, len(f.Rhythms), attempts, rhythms, most>>20)
	if len(all) != 12 || names < 20 || len(f.Rhythms) < 50 {
		t.Errorf("got %d experiments, %d names and %d rhythms: the home is another one", len(all), names, len(f.Rhythms))
	}
	if took+rhythms > 10*time.Second || most > 200<<20 { // twice what is wanted: machines differ
		t.Errorf("%v and %d MB are too much", took+rhythms, most>>20)
	}
}

// experimentsOf plans and ends twelve experiments, of four templates.
func experimentsOf(t *testing.T, h *household.Home) (all []*Experiment) {
	templates, err := Templates()
	if err != nil {
		t.Fatal(err)
	}
	var events []querylog.Event
	for i := range 12 {
		for _, c := range templates {
			if c.Name != []string{"opt-out", "tv-recognition", "standby", "update"}[i%4] {
				continue
			}
			d := h.Devices[(2*i)%len(h.Devices)]
			p, err := c.Fill(Settings{Devices: []Device{{Device: d.Was[0].Device, Name: d.Label}}})
			if err != nil {
				t.Fatal(err)
			}
			name := c.Name + "-" + string(rune('a'+i))
			line, err := PlanEvent(name, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			at := h.Begin.AddDate(0, 0, 5*i)
			line.Time = querylog.Time{Time: at}
			events = append(events, line)
			add := func(kind, detail string) {
				events = append(events, querylog.Event{Time: querylog.Time{Time: at}, Kind: kind, Subject: name, Detail: detail})
			}
			add(querylog.KindExperimentStarted, `{"v":1}`)
			for k := range p.Phases {
				if at = at.Add(p.Phases[k].Length()); k < len(p.Phases)-1 {
					add(querylog.KindExperimentMarked, `{"v":1,"says":"done","next":true}`)
				}
			}
			add(querylog.KindExperimentStopped, `{"v":1}`)
		}
	}
	return All(events)
}

// used is the processor's time that this process took.
func used(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sampleHeap returns what ends the sampling and says how large the heap was at most.
func sampleHeap() func() uint64 {
	stop, most := make(chan struct{}), make(chan uint64)
	go func() {
		var top uint64
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			top = max(top, m.HeapAlloc)
			select {
			case <-stop:
				most <- top
				return
			case <-ticker.C:
			}
		}
	}()
	return func() uint64 { close(stop); return <-most }
}
