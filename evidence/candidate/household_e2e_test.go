//go:build e2e

package candidate

import (
	"os"
	"path/filepath"
	"testing"

	"telltale/evidence/household"
	"telltale/querylog"
)

// The same of a log that the log's own writer has written, with its gaps.
func TestE2EPlantedTelemetryIsFoundInALog(t *testing.T) {
	h, names := home(t, household.Options{Days: 7, Seed: 5})
	dir, err := os.MkdirTemp("/dev/shm", "candidates") // where a disk need not be waited for thousands of times
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h.Write(t, dir)
	if t.Failed() {
		t.FailNow()
	}
	r, err := querylog.OpenReader(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	check(t, h, r, names)
}
