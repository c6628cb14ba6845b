package fleet_test

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"telltale/fleet"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openSQLite(t testing.TB, dir string, keep querylog.Retention) fleet.Store {
	t.Helper()
	s, err := fleet.OpenSQLite(querylog.Options{Dir: dir, Node: "centre", Retention: keep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSQLiteIsAStore(t *testing.T) { storetest.Run(t, openSQLite) }
