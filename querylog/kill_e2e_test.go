//go:build e2e

package querylog

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// TestE2EKilledUnderLoadWithTheStoreHeld kills a process that looks up 20,000
// names a second, again and again, while the store's lock is held at random: of
// each only what came in the last second may be missing, nothing is counted
// twice, and each gap is in the ledger. QUERYLOG_KILLS says how often.
func TestE2EKilledUnderLoadWithTheStoreHeld(t *testing.T) {
	rounds := 5
	if n, err := strconv.Atoi(os.Getenv("QUERYLOG_KILLS")); err == nil {
		rounds = n
	}
	t.Setenv("QUERYLOG_TEST_EACH", strconv.Itoa(killBatch))
	dir := t.TempDir()
	closeLog(t, open(t, Options{Dir: dir}))
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	next, missing, appended := 0, 0, 0
	var worst time.Duration
	for round := range rounds {
		stop := make(chan bool)
		held := make(chan bool)
		go func() {
			defer close(held)
			holdAtRandom(t, dir, rng.Uint64(), stop)
		}()
		p := killedChild(t, dir, next, time.Duration(500+rng.IntN(2500))*time.Millisecond)
		close(stop)
		<-held
		closeLog(t, open(t, Options{Dir: dir}))
		got := total(rows(t, dir, Filter{Since: time.Now().Add(-time.Minute)}))
		known := p.before(time.Second)
		for n := next; n < p.last; n++ {
			count := got[fmt.Sprintf("n%d.example", n)]
			if count > killBatch {
				t.Fatalf("round %d: batch %d of %d lookups is counted %d times", round, n, killBatch, count)
			}
			if n < known && count != killBatch {
				t.Fatalf("round %d: %d of %d lookups of batch %d are there, which came more than a second before the kill", round, count, killBatch, n)
			}
			missing += killBatch - int(count)
			if count < killBatch {
				worst = max(worst, time.Duration(p.killed-p.at(n))*time.Millisecond)
			}
		}
		appended += (p.last - next) * killBatch
		next = p.last + 1 // the batch that was not printed may be there
	}
	crashes := 0
	for _, e := range events(t, dir) {
		if e.Kind == KindCrash {
			crashes++
			if gap := e.Until.Sub(e.Since.Time); gap <= 0 || gap > time.Minute {
				t.Errorf("got a gap from %v to %v", e.Since, e.Until)
			}
		}
	}
	if crashes != rounds {
		t.Errorf("got %d crashes in the ledger, want %d", crashes, rounds)
	}
	t.Logf("%d lookups, %d kills, %d lookups missing, the oldest of them from %v before its kill", appended, rounds, missing, worst)
}

const killBatch = 100

// at returns when batch n was appended, by the child's clock.
func (p *progress) at(n int) int64 {
	for i, end := range p.counts {
		if n < end {
			return p.times[i]
		}
	}
	return p.killed
}

// holdAtRandom takes the store's lock and lets it go, until it is stopped.
func holdAtRandom(t *testing.T, dir string, seed uint64, stop <-chan bool) {
	rng := rand.New(rand.NewPCG(seed, 2))
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rng.IntN(500)) * time.Millisecond):
		}
		c, err := sqlite3.OpenFlags(filepath.Join(dir, storeName), sqlite3.OPEN_READWRITE)
		if err != nil {
			continue
		}
		if c.Exec(`BEGIN IMMEDIATE`) == nil {
			select {
			case <-stop:
			case <-time.After(time.Duration(rng.IntN(3000)) * time.Millisecond):
			}
			c.Exec(`ROLLBACK`)
		}
		c.Close()
	}
}
