package fleet_test

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale/fleet"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

func TestMain(m *testing.M) {
	if os.Getenv(killedChild) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}

// killedChild is the variable by which a process of an e2e test knows what it is.
const killedChild = "FLEET_TEST_CHILD"

func openSQLite(t testing.TB, dir string, keep querylog.Retention) fleet.Store {
	t.Helper()
	s, err := fleet.OpenSQLite(querylog.Options{Dir: dir, Node: "centre", Retention: keep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSQLiteIsAStore(t *testing.T) { storetest.Run(t, openSQLite) }

// What is left of an hour of which a part is forgotten is counted, whether it came before or comes after.
func TestTotalsOfAnHourOfWhichAPartIsForgotten(t *testing.T) {
	n := storetest.NewNode(t, "attic")
	for range 6 {
		n.Store(storetest.Lookup{Device: 1, Name: "metrics.aurora.example"}, storetest.Lookup{Device: 2, Name: "shop.example"})
		n.Now = n.Now.Add(14 * time.Minute)
	}
	device := storetest.Binding(1).Device
	batches := n.Batches(0, 1, true)
	for _, came := range []int{0, 2, len(batches)} { // before it is forgotten
		s := openSQLite(t, t.TempDir(), querylog.Retention{})
		defer s.Close()
		some := batches[:came]
		if _, err := s.Append(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Forget(t.Context(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: device, Until: storetest.Began.Add(20 * time.Minute)}}}); err != nil { // the first two lookups
			t.Fatal(err)
		}
		if _, err := s.Append(t.Context(), batches); err != nil {
			t.Fatal(err)
		}
		r, done, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]uint64{}
		for total, err := range r.Totals(t.Context(), querylog.TotalsFilter{}) {
			if err != nil {
				t.Fatal(err)
			}
			got[total.Device] += total.Lookups
		}
		done()
		if got[device] != 4 || got[storetest.Binding(2).Device] != 6 {
			t.Errorf("%d of %d batches came before: got totals %v, want 4 lookups of %s and 6 of the other", came, len(batches), got, device)
		}
	}
}
