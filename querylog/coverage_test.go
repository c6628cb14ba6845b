package querylog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gapTexts are gaps as a table has them: minutes since a time.
func gapTexts(gaps []Gap, from time.Time) string {
	var all []string
	for _, g := range gaps {
		all = append(all, fmt.Sprintf("%s %s %.1f-%.1f", g.Effect, g.Kind, g.Since.Sub(from).Minutes(), g.Until.Sub(from).Minutes()))
	}
	return strings.Join(all, "\n")
}

func coverage(t *testing.T, dir string, since, until time.Time) Coverage {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Coverage(context.Background(), since, until)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Each event of the ledger that says that the record is not whole is a gap of its
// time, whether the event is before, in or behind the interval asked for.
func TestEventsOfTheLedgerAreGaps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, from := t.TempDir(), time.Now()
		minute := func(n int) time.Time { return from.Add(time.Duration(n) * time.Minute) }
		time.Sleep(10 * time.Minute)
		l := open(t, Options{Dir: dir})
		l.Append([]Record{lookup(t, nil, time.Now(), phone(1), "x.example")})
		time.Sleep(10 * time.Minute) // 20
		l.Report("pause", "everything", "until some time")
		time.Sleep(10 * time.Minute) // 30
		l.Report("resume", "everything", "by hand")
		l.Report("list-failed", "ads", "gone")
		l.Report("overload", "", fmt.Sprintf("7 queries were dropped unread between %s and %s: more came than could be answered",
			minute(24).UTC().Format(time.RFC3339), minute(26).UTC().Format(time.RFC3339)))
		l.addEvent(Event{Kind: KindLost, Since: Time{minute(21)}, Until: Time{minute(22)}, Detail: "3 lookups"})
		time.Sleep(10 * time.Minute) // 40
		l.Report("list-recovered", "ads", "there")
		closeLog(t, l)
		time.Sleep(20 * time.Minute) // 60
		l = open(t, Options{Dir: dir, Off: true})
		time.Sleep(10 * time.Minute) // 70
		closeLog(t, l)
		time.Sleep(5 * time.Minute) // 75
		l = open(t, Options{Dir: dir})
		time.Sleep(25 * time.Minute) // 100

		c := coverage(t, dir, minute(0), time.Time{})
		want := strings.TrimSpace(`
unrecorded unknown 0.0-10.0
unblocked pause 20.0-30.0
incomplete lost 21.0-22.0
incomplete overload 24.0-26.0
unblocked list-failed 30.0-40.0
unrecorded down 40.0-60.0
unrecorded off 60.0-70.0
unrecorded down 70.0-75.0`)
		if got := gapTexts(c.Gaps, from); got != want {
			t.Errorf("got gaps\n%s\nwant\n%s", got, want)
		}
		if c.Length() != 100*time.Minute || c.Recorded() != 55*time.Minute || c.Whole() != 52*time.Minute-time.Second {
			t.Errorf("got %v, of it %v recorded, %v whole", c.Length(), c.Recorded(), c.Whole())
		}
		if !c.IsWhole(minute(26).Add(time.Minute), minute(40)) || c.IsWhole(minute(10), minute(22)) || c.IsWhole(minute(30), minute(41)) || c.IsWhole(minute(-1), minute(1)) {
			t.Error("a time is called whole that is not, or the other way round")
		}
		if got := gapTexts(coverage(t, dir, minute(25), minute(50)).Gaps, from); got != strings.TrimSpace(`
incomplete overload 25.0-26.0
unblocked pause 25.0-30.0
unblocked list-failed 30.0-40.0
unrecorded down 40.0-50.0`) {
			t.Errorf("got gaps\n%s", got)
		}
		closeLog(t, l)
		time.Sleep(time.Minute)
		if got := gapTexts(coverage(t, dir, minute(90), time.Time{}).Gaps, from); got != "unrecorded down 100.0-101.0" {
			t.Errorf("got %q of a server that is stopped", got)
		}
	})
}

// A server that ended without notice is a gap from its last sign of life on: also
// while no other was started.
func TestACrashIsAGapBeforeAndAfterTheNextStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, from := t.TempDir(), time.Now()
		l := open(t, Options{Dir: dir})
		time.Sleep(10*time.Minute + time.Second)
		dir = killed(t, l, dir)
		time.Sleep(20 * time.Minute)
		before := coverage(t, dir, from, time.Time{})
		if len(before.Gaps) != 1 || before.Gaps[0].Kind != GapDown || before.Recorded() > 10*time.Minute+time.Second || before.Recorded() < 9*time.Minute {
			t.Errorf("got %s, %v recorded", gapTexts(before.Gaps, from), before.Recorded())
		}
		l = open(t, Options{Dir: dir})
		time.Sleep(10 * time.Minute)
		after := coverage(t, dir, from, time.Time{})
		if len(after.Gaps) != 1 || after.Gaps[0].Kind != KindCrash || after.Recorded() != before.Recorded()+10*time.Minute {
			t.Errorf("got %s, %v recorded", gapTexts(after.Gaps, from), after.Recorded())
		}
		closeLog(t, l)
	})
}

// killed ends a log as a kill would, and returns where what it left is.
func killed(t *testing.T, l *Log, dir string) (left string) {
	t.Helper()
	synctest.Wait()
	left = filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	return left
}

// An empty directory has recorded nothing, and says so.
func TestALogWithNothingCoversNothing(t *testing.T) {
	c := coverage(t, t.TempDir(), time.Now().Add(-time.Hour), time.Time{})
	if len(c.Gaps) != 1 || c.Gaps[0].Kind != GapUnknown || c.Recorded() != 0 {
		t.Errorf("got %+v, %v recorded", c.Gaps, c.Recorded())
	}
}

func TestGapsOfNodesAreInOneOrder(t *testing.T) {
	now := time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)
	var nodes []ShippedStore
	for _, node := range []string{"cellar", "attic", "hall", "barn", "shed"} {
		nodes = append(nodes, ShippedStore{Node: node})
	}
	var before []Gap
	for range 20 {
		c := Coverage{Since: Time{now.Add(-4 * time.Hour)}, Until: Time{now}, Begin: Time{now}}
		c.addGapsOfNodes(nil, nodes, now)
		if len(c.Gaps) < len(nodes) {
			t.Fatalf("got %d gaps of %d nodes", len(c.Gaps), len(nodes))
		}
		if before != nil && !slices.Equal(before, c.Gaps) {
			t.Fatalf("got %v, want %v as before", c.Gaps, before)
		}
		before = c.Gaps
	}
}
