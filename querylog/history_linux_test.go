package querylog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"
)

// TestEveryLookupIsInARowOnceOrCountedAsLost drives random failures through the
// real writer, and reads the log at the end as a person would: no lookup is in
// two rows, each row has the one attempt that began in it, and each lookup is in a
// row, or counted in the ledger as lost in an interval that it came in. What came in the last second before a kill may be missing, in
// the interval of the crash. QUERYLOG_HISTORIES says how many histories, and
// QUERYLOG_FIRST with which one to begin.
func TestEveryLookupIsInARowOnceOrCountedAsLost(t *testing.T) {
	t.Parallel()
	n := envNumber(t, "QUERYLOG_HISTORIES", few(60))
	first := envNumber(t, "QUERYLOG_FIRST", 0)
	seeds := []int{108, 1156, 1227, 8419, 9247, 20086} // which failed once
	if n == 1 {
		seeds = nil
	}
	for seed := range n {
		seeds = append(seeds, first+seed)
	}
	var mu sync.Mutex
	all := map[string]int{}
	t.Cleanup(func() { t.Logf("%d histories from %d on: %v", n, first, all) })
	const parts = 4
	for part := range parts {
		t.Run(strconv.Itoa(part), func(t *testing.T) {
			t.Parallel()
			for i := part; i < len(seeds) && !t.Failed(); i += parts {
				seed := seeds[i]
				synctest.Test(t, func(t *testing.T) {
					h := newHistory(t, uint64(seed))
					defer h.end()
					h.run()
					h.check()
					mu.Lock()
					defer mu.Unlock()
					for what, times := range h.happened {
						all[what] += times
					}
				})
			}
		})
	}
}

// envNumber returns the number in an environment variable.
func envNumber(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// A history is a log, what befell it, and what was looked up.
type history struct {
	t        *testing.T
	seed     uint64
	rng      *rand.Rand
	root     string
	dir      string
	clock    wallClock
	l        *Log
	holder   *sqlite3.Conn // of the store's lock
	full     bool          // the disk
	canFill  bool          // it is one of ours: mounting it was allowed
	away     bool          // the directory of journals
	gone     []string      // directories of stores that were moved away
	dirs     int
	lookups  []historyLookup
	risked   map[int]bool
	trace    []string
	happened map[string]int
	failures int
}

// A historyLookup is when a lookup came: in steady time, and as the clock showed it.
type historyLookup struct{ at, wall time.Time }

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 3)), risked: map[int]bool{}, happened: map[string]int{}}
	var err error
	if h.root, err = os.MkdirTemp("", "history"); err != nil {
		t.Fatal(err)
	}
	h.canFill = syscall.Mount("tmpfs", h.root, "tmpfs", 0, "size=6m") == nil
	h.dir = h.nextDir()
	h.open()
	return h
}

func (h *history) nextDir() string {
	h.dirs++
	return filepath.Join(h.root, strconv.Itoa(h.dirs))
}

func (h *history) open() {
	h.l = open(h.t, Options{Dir: h.dir, Now: h.clock.now, Retention: Retention{Listed: -1, Unlisted: -1, MaxBytes: -1}})
}

func (h *history) end() {
	h.lift()
	h.l.Close()
	if h.canFill {
		syscall.Unmount(h.root, syscall.MNT_DETACH)
	}
	os.RemoveAll(h.root)
}

// lift ends every failure.
func (h *history) lift() {
	h.setFull(false)
	h.release()
	h.bringJournals()
}

func (h *history) run() {
	type op struct {
		name   string
		weight int
		do     func()
	}
	ops := []op{
		{"lookups", 40, h.append},
		{"quiet", 15, func() { h.sleep(time.Duration(5+h.rng.IntN(60)) * time.Second) }},
		{"store held", 6, h.hold},
		{"store released", 6, h.release},
		{"disk full", 4, func() { h.setFull(true) }},
		{"disk freed", 6, func() { h.setFull(false) }},
		{"journals away", 3, h.takeJournals},
		{"journals back", 5, h.bringJournals},
		{"store moved away", 2, h.moveStore},
		{"stop and start", 5, h.restart},
		{"kill", 6, func() { h.kill(false) }},
		{"kill, write-ahead log damaged", 2, func() { h.kill(true) }},
	}
	if h.seed%2 == 0 {
		ops = append(ops, op{"clock set", 4, h.jump})
	}
	sum := 0
	for _, o := range ops {
		sum += o.weight
	}
	for range 10 + h.rng.IntN(30) {
		at := h.rng.IntN(sum)
		for _, o := range ops {
			if at -= o.weight; at < 0 {
				h.trace = append(h.trace, fmt.Sprintf("%v %s (%d looked up)", h.clock.now().UTC().Format("15:04:05.0"), o.name, len(h.lookups)))
				h.happened[o.name]++
				o.do()
				break
			}
		}
	}
	h.trace = append(h.trace, "end")
}

func (h *history) sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *history) append() {
	for range 1 + h.rng.IntN(20) {
		at := h.clock.now()
		h.l.Append([]Record{lookup(h.t, nil, at, phone(6), fmt.Sprintf("n%d.example", len(h.lookups)))})
		h.lookups = append(h.lookups, historyLookup{time.Now(), at})
	}
	h.sleep(time.Duration(50+h.rng.IntN(3000)) * time.Millisecond)
}

// hold takes the store's lock, as another process might.
func (h *history) hold() {
	if h.holder != nil || h.full {
		return
	}
	path := filepath.Join(h.dir, storeName)
	if _, err := os.Stat(path); err != nil {
		return
	}
	c, err := sqlite3.OpenFlags(path, sqlite3.OPEN_READWRITE)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := c.Exec(`BEGIN IMMEDIATE`); err != nil {
		c.Close()
		return
	}
	h.holder = c
}

func (h *history) release() {
	if h.holder != nil {
		h.holder.Exec(`ROLLBACK`)
		h.holder.Close()
		h.holder = nil
	}
}

func (h *history) setFull(full bool) {
	if full == h.full || !h.canFill {
		return
	}
	h.full = full
	filler := filepath.Join(h.root, "filler")
	if !full {
		os.Remove(filler)
		return
	}
	f, err := os.Create(filler)
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	for size := 256 << 10; size > 0; size /= 8 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}

// takeJournals puts a file in the place of the directory of journals.
func (h *history) takeJournals() {
	synctest.Wait()
	path := filepath.Join(h.dir, journalDir)
	if h.away || os.Rename(path, path+".away") != nil {
		return
	}
	h.away = true
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) bringJournals() {
	path := filepath.Join(h.dir, journalDir)
	if !h.away {
		return
	}
	h.away = false
	if err := os.Remove(path); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(path+".away", path); err != nil {
		h.t.Fatal(err)
	}
}

// moveStore moves the store away under the server, as a person might who wants
// to begin a new log.
func (h *history) moveStore() {
	h.release()
	if _, err := os.Stat(filepath.Join(h.dir, storeName)); err != nil {
		return
	}
	to := h.nextDir()
	if err := os.Mkdir(to, 0o700); err != nil {
		h.t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Rename(filepath.Join(h.dir, storeName)+suffix, filepath.Join(to, storeName)+suffix)
	}
	h.gone = append(h.gone, to)
}

func (h *history) restart() {
	h.release()
	h.l.Close()
	h.sleep(time.Duration(h.rng.IntN(20)) * time.Second)
	h.open()
}

// kill goes on in a copy of the directory as it is at this moment, which is what
// a process that is killed leaves.
func (h *history) kill(damage bool) {
	synctest.Wait()
	full, away := h.full, h.away
	for i := len(h.lookups) - 1; i >= 0 && time.Since(h.lookups[i].at) <= 1100*time.Millisecond; i-- {
		h.risked[i] = true
	}
	h.setFull(false)
	h.release()
	dirs := append(slices.Clone(h.gone), h.dir) // a store that was just moved away is still written
	to := make([]string, len(dirs))
	for i, dir := range dirs {
		to[i] = h.nextDir()
		if err := os.CopyFS(to[i], os.DirFS(dir)); err != nil {
			h.t.Fatal(err)
		}
		os.Chmod(SealKeyPath(to[i]), 0o600) // CopyFS lets others read it
	}
	h.away = false
	h.l.Close()
	for _, dir := range dirs {
		os.RemoveAll(dir)
	}
	h.gone, h.dir, h.away = to[:len(to)-1], to[len(to)-1], away
	if damage {
		damageLog(h.rng, filepath.Join(h.dir, storeName+"-wal"))
	}
	h.setFull(full)
	h.sleep(time.Duration(1+h.rng.IntN(20)) * time.Second)
	h.open()
}

// damageLog overwrites a part of a write-ahead log.
func damageLog(rng *rand.Rand, path string) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return
	}
	at := rng.IntN(len(b))
	for i := at; i < min(at+200, len(b)); i++ {
		b[i] = byte(rng.Uint32())
	}
	os.WriteFile(path, b, 0o600)
}

func (h *history) jump() {
	by := time.Duration(h.rng.IntN(7200)-3600) * time.Second
	if h.rng.IntN(5) == 0 {
		by = 40 * 24 * time.Hour
	}
	h.clock.ahead.Add(int64(by))
	h.sleep(time.Second)
}

var countLost = regexp.MustCompile(`(\d+) or more lost|(\d+) lookups`)

// check reads the log once all failures are over.
func (h *history) check() {
	h.lift()
	h.sleep(3 * time.Minute)
	h.restart()
	h.sleep(3 * time.Minute)
	if got := h.l.Stats().LastError; got != "" {
		h.fail("got error %q when all failures were over", got)
	}
	h.l.Close()

	here := h.count(h.dir)
	elsewhere := make([]int, len(h.lookups)) // in stores that were moved away
	for _, dir := range h.gone {
		for i, n := range h.count(dir) {
			elsewhere[i] += n
		}
	}
	var gaps []Event
	lost := 0
	for _, e := range h.ledgers() {
		h.trace = append(h.trace, fmt.Sprintf("ledger %s %s %s (%s to %s)", e.Time, e.Kind, e.Detail, e.Since, e.Until))
		switch e.Kind {
		case KindLost:
			m := countLost.FindStringSubmatch(e.Detail)
			if m == nil {
				h.fail("got a loss without a number: %s", e.Detail)
				continue
			}
			n, _ := strconv.Atoi(m[1] + m[2])
			lost += n
			gaps = append(gaps, e)
		case KindStore:
			if m := countLost.FindStringSubmatch(e.Detail); m != nil {
				n, _ := strconv.Atoi(m[1] + m[2])
				lost += n // where they are is said
			}
			gaps = append(gaps, e)
		case KindCrash:
			gaps = append(gaps, e)
		}
	}
	missing, unexplained := 0, 0
	for i, n := range here {
		if n == 0 && elsewhere[i] == 0 {
			missing++
			if !h.risked[i] {
				unexplained++
			}
			if !slices.ContainsFunc(gaps, func(e Event) bool { return covers(e, h.lookups[i]) }) {
				h.fail("lookup %d of %v is missing, and no gap in the ledger is of that time", i, Time{h.lookups[i].wall})
			}
		}
	}
	if unexplained > lost {
		h.fail("%d lookups are missing that came more than a second before a kill, and the ledger has %d lost", unexplained, lost)
	}
	if lost > missing && len(h.gone) == 0 { // who moves a store away and kills the server is told of the same rows twice
		h.fail("the ledger has %d lookups lost, and %d are missing", lost, missing)
	}
	h.happened["lookups in all"] += len(h.lookups)
	h.happened["missing"] += missing
	h.happened["counted as lost"] += lost
}

// covers reports whether an event's interval has a lookup in it, give or take a
// second.
func covers(e Event, l historyLookup) bool {
	return !l.wall.Before(e.Since.Add(-1100*time.Millisecond)) && !l.wall.After(e.Until.Add(time.Second))
}

// count returns how often each lookup is in the rows of a log, which is at most
// once.
func (h *history) count(dir string) []int {
	found := make([]int, len(h.lookups))
	reader, err := OpenReader(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	for r, err := range reader.Rows(context.Background(), Filter{}) {
		if err != nil {
			h.fail("reading %s: %v", filepath.Base(dir), err)
			break
		}
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Name, "n"), ".example"))
		if err != nil || n >= len(found) {
			h.fail("got a row of %q, which nobody looked up", r.Name)
			continue
		}
		if r.Attempts != 1 || r.AsLookups > 0 { // each is of a name of its own
			h.fail("lookup %d has %d attempts, %d of them lookups, in row %d of window %d", n, r.Attempts, r.AsLookups, r.ID&(1<<rowBits-1), r.ID>>rowBits)
		}
		if found[n] += int(r.Count); found[n] > 1 {
			h.fail("lookup %d is counted %d times in %s, at last in row %d of window %d", n, found[n], filepath.Base(dir), r.ID&(1<<rowBits-1), r.ID>>rowBits)
		}
	}
	return found
}

// ledgers returns the lines of the log, and of the stores that were moved away.
func (h *history) ledgers() (all []Event) {
	for _, dir := range append(slices.Clone(h.gone), h.dir) {
		reader, err := OpenReader(dir)
		if err != nil {
			h.t.Fatal(err)
		}
		lines, err := reader.Ledger(context.Background(), time.Time{}, time.Time{})
		if err != nil {
			h.fail("reading the ledger of %s: %v", filepath.Base(dir), err)
		}
		all = append(all, slices.DeleteFunc(lines, func(e Event) bool { return slices.Contains(all, e) })...) // a window may be in two stores
		report, err := reader.AuditSeal(context.Background(), SealAudit{})
		if err != nil && !errors.Is(err, ErrNotSealed) {
			h.fail("auditing the seal of %s: %v", filepath.Base(dir), err)
		}
		if report != nil && len(report.Problems) > 0 {
			h.fail("the seal of %s: %+v", filepath.Base(dir), report.Problems)
		}
	}
	return all
}

func (h *history) fail(format string, args ...any) {
	if h.failures++; h.failures == 1 {
		h.t.Errorf("history %d: %s\n%s", h.seed, fmt.Sprintf(format, args...), strings.Join(h.trace, "\n"))
	} else if h.failures < 10 {
		h.t.Errorf("history %d: %s", h.seed, fmt.Sprintf(format, args...))
	}
}
