package querylog

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/blocklists"
	"telltale/dnswire"
)

// writeUntilKilled is the child process of TestKilledUnderLoad: it looks up one
// new name after the other and prints how many it has appended.
func writeUntilKilled(dir string) {
	l, err := Open(Options{Dir: dir, Logger: quiet(), window: 150 * time.Millisecond})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	first, _ := strconv.Atoi(os.Getenv("QUERYLOG_TEST_FIRST"))
	if each, err := strconv.Atoi(os.Getenv("QUERYLOG_TEST_EACH")); err == nil {
		repeatUntilKilled(l, first, each)
	}
	for n := first; ; {
		batch := make([]Record, 32)
		for i := range batch {
			name, _ := dnswire.ParseName(fmt.Sprintf("n%d.example", n))
			batch[i] = Record{Time: time.Now(), Client: netip.MustParseAddr("192.168.1.7"), Name: name.Wire(), Type: dnswire.TypeA,
				Source: FromUpstream, Transport: UDP}
			if os.Getenv("QUERYLOG_TEST_LISTED") != "" {
				batch[i].Verdict.Action = blocklists.Block
			}
			n++
		}
		l.Append(batch)
		fmt.Println(n, time.Now().UnixMilli())
		time.Sleep(5 * time.Millisecond)
	}
}

// repeatUntilKilled looks up each name so many times, and 200 names a second.
func repeatUntilKilled(l *Log, first, each int) {
	begun := time.Now()
	for n := first; ; n++ {
		time.Sleep(time.Until(begun.Add(time.Duration(n-first) * 5 * time.Millisecond)))
		name, _ := dnswire.ParseName(fmt.Sprintf("n%d.example", n))
		batch := make([]Record, each)
		for i := range batch {
			batch[i] = Record{Time: time.Now(), Client: netip.MustParseAddr("192.168.1.7"), Name: name.Wire(), Type: dnswire.TypeA,
				Source: FromUpstream, Transport: UDP}
		}
		l.Append(batch)
		fmt.Println(n+1, time.Now().UnixMilli())
	}
}

func TestKilledUnderLoad(t *testing.T) {
	dir := t.TempDir()
	next := 0 // the first name not yet looked up
	var missing int
	for round := range 4 {
		appended := killedChild(t, dir, next, 400*time.Millisecond+time.Duration(round)*130*time.Millisecond)
		stopped := total(rows(t, dir, Filter{}))
		l := open(t, Options{Dir: dir})
		replayed := total(rows(t, dir, Filter{}))
		closeLog(t, l)
		if len(stopped) != len(replayed) {
			t.Errorf("round %d: got %d names after the replay and %d before", round, len(replayed), len(stopped))
		}
		end := next
		for ; replayed[fmt.Sprintf("n%d.example", end)] == 1; end++ {
		}
		// One second of lookups may be missing, never one in the middle.
		if known := appended.before(time.Second); end < known {
			t.Errorf("round %d: got names %d to %d, want at least to %d", round, next, end, known)
		}
		missing += appended.last - end
		if got := len(replayed); got != end {
			t.Errorf("round %d: got %d names, want the first %d and no other", round, got, end)
		}
		next = end
		for name, n := range replayed {
			if n != 1 {
				t.Errorf("round %d: %s is counted %d times", round, name, n)
			}
		}
	}
	if got := kinds(events(t, dir)); strings.Count(got, "crash") != 4 {
		t.Errorf("got ledger %q, want a crash found at each start", got)
	}
	t.Logf("%d names looked up, %d missing after four kills", next, missing)
}

// progress is what a child said it had appended, and when.
type progress struct {
	counts []int
	times  []int64
	killed int64
	last   int
}

// before returns how many were appended d before the kill.
func (p *progress) before(d time.Duration) (n int) {
	for i, at := range p.times {
		if at < p.killed-d.Milliseconds() {
			n = p.counts[i]
		}
	}
	return n
}

// killedChild runs a child, and kills it a while after its first lookup.
func killedChild(t *testing.T, dir string, first int, after time.Duration) (p progress) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "QUERYLOG_TEST_CHILD="+dir, "QUERYLOG_TEST_FIRST="+strconv.Itoa(first))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := make(chan int64, 1)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if p.last == 0 {
			time.AfterFunc(after, func() {
				killed <- time.Now().UnixMilli()
				cmd.Process.Kill()
			})
		}
		var n int
		var at int64
		if _, err := fmt.Sscan(lines.Text(), &n, &at); err != nil {
			continue // cut short by the kill
		}
		p.counts, p.times, p.last = append(p.counts, n), append(p.times, at), n
	}
	cmd.Wait()
	if p.last == 0 {
		t.Fatal("the child appended nothing")
	}
	p.killed = <-killed
	return p
}

func TestACrashIsRecordedWithItsGap(t *testing.T) {
	dir := t.TempDir()
	killedChild(t, dir, 0, 500*time.Millisecond)
	before := time.Now()
	closeLog(t, open(t, Options{Dir: dir}))
	var crash Event
	for _, n := range events(t, dir) {
		if n.Kind == KindCrash {
			crash = n
		}
	}
	if gap := crash.Until.Sub(crash.Since.Time); gap <= 0 || gap > 10*time.Second || crash.Since.After(before) {
		t.Errorf("got a gap from %v to %v, want it to begin at the kill and end at the start", crash.Since, crash.Until)
	}
}

// TestTheGapOfACrashAfterTheClockWasSetBack copies the directory of a server some
// time after the clock was set back. What it could not write is in the gap that
// the next start records, by the clock as it was set, and before.
func TestTheGapOfACrashAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after time.Duration // from when the clock was set to the crash
		known bool          // that it was set: an event woke the log
	}{{0, false}, {time.Second, true}} {
		synctest.Test(t, func(t *testing.T) {
			dir, killed := t.TempDir(), t.TempDir()
			clock := &wallClock{}
			l := open(t, Options{Dir: dir, Now: clock.now})
			time.Sleep(15 * time.Second)
			synctest.Wait()
			before := clock.now()
			clock.ahead.Store(int64(-time.Hour))
			set := clock.now()
			if c.known {
				l.Report(KindFailure, "", "")
			}
			time.Sleep(c.after)
			synctest.Wait()
			if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			closeLog(t, l)
			time.Sleep(30 * time.Second)
			for range 2 { // the first of which ends without notice, too
				again := t.TempDir()
				l := open(t, Options{Dir: killed, Now: clock.now})
				if err := os.CopyFS(again, os.DirFS(killed)); err != nil {
					t.Fatal(err)
				}
				closeLog(t, l)
				killed = again
			}
			l = open(t, Options{Dir: killed, Now: clock.now})
			closeLog(t, l)
			found := 0
			for _, e := range events(t, killed) {
				if e.Kind != KindCrash {
					continue
				}
				found++
				if e.Since.After(set.Add(c.after)) || !c.known && e.Until.Before(before) {
					t.Errorf("%v after the clock was set back: got the gap %v to %v, want one that has %v, and %v where it is not known that the clock was set", c.after, e.Since, e.Until, set, before)
				}
				break // the others are of the later crashes
			}
			if found == 0 {
				t.Errorf("%v after the clock was set back: got no line about the crash", c.after)
			}
		})
	}
}

// TestACrashIsRecordedByALaterStart starts a server after a crash that can write
// nothing anywhere until it stops: the next one records the crash.
func TestACrashIsRecordedByALaterStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir})
		time.Sleep(11 * time.Second)
		killed, begun := t.TempDir(), time.Now()
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)

		time.Sleep(time.Minute)
		journals := filepath.Join(killed, journalDir)
		if err := os.Rename(journals, journals+".away"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(journals, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		other := anotherProcess(t, killed)
		if err := other.Exec(`BEGIN IMMEDIATE`); err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		open(t, Options{Dir: killed}).Close()
		other.Close()
		os.Remove(journals)
		os.Rename(journals+".away", journals)

		time.Sleep(time.Hour)
		for range 2 {
			closeLog(t, open(t, Options{Dir: killed}))
			all := events(t, killed)
			if got := strings.Count(kinds(all), KindCrash); got != 1 {
				t.Fatalf("got %d lines about the crash in %v, want one", got, all)
			}
			for _, e := range all {
				if e.Kind == KindCrash && (e.Since.After(begun) || e.Until.Before(ended) || e.Until.After(ended.Add(time.Second))) {
					t.Errorf("got the gap %v to %v, want that of before %v to %v", e.Since, e.Until, begun, ended)
				}
			}
		}
	})
}
