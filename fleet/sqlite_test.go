package fleet_test

import (
	"log/slog"
	"os"
	"testing"

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
