//go:build e2e

package querylog

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestE2EASealOutlivesKills kills the process at random moments while it seals: after each
// the seal goes on, with every row of the store in it. QUERYLOG_KILLS says how often.
func TestE2EASealOutlivesKills(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("QUERYLOG_KILLS")); err == nil {
		rounds = n
	}
	t.Setenv("QUERYLOG_TEST_LISTED", "yes")
	dir := t.TempDir()
	checkpoints := map[string][]byte{}
	next, leaves := 0, int64(0)
	for round := range rounds {
		p := killedChild(t, dir, next, time.Duration(50+rand.IntN(900))*time.Millisecond)
		killed := audit(t, dir, SealAudit{Checkpoints: checkpoints}) // as the kill left it
		if killed.Unsealed != 0 || killed.Leaves < leaves {
			t.Fatalf("round %d: %+v", round, killed)
		}
		l := open(t, Options{Dir: dir})
		closeLog(t, l)
		report := audit(t, dir, SealAudit{Checkpoints: checkpoints})
		if report.Unsealed != 0 || report.Rows != int64(len(ids(t, dir, "listed"))) || report.Leaves <= killed.Leaves || len(report.Keys) != 1 {
			t.Fatalf("round %d: %+v, after %+v", round, report, killed)
		}
		if t.Failed() {
			return
		}
		_, text := headOf(t, dir)
		checkpoints = map[string][]byte{"of the round before": text}
		next, leaves = p.last+1, report.Leaves
	}
	t.Logf("%d leaves after %d kills", leaves, rounds)
}
