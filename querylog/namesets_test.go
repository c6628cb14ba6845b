package querylog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// A namesTrial is a store of windows whose rows have made-up names.
type namesTrial struct {
	*sumsTrial
	names []string
}

// newNamesTrial makes a store of so many windows, four to a period.
func newNamesTrial(t *testing.T, seed uint64, windows int) *namesTrial {
	h := &namesTrial{sumsTrial: newSumsTrial(t, seed)}
	h.window = sumsBegin &^ (1<<periodBits - 1)
	for i := range 40 {
		h.names = append(h.names, fmt.Sprintf("h%d.s%d.org%d.example", i, i%7, i%3))
	}
	h.names = append(h.names, "single", "two.labels")
	for range windows {
		h.window += 1 << periodBits / 4
		_, _, err := h.s.commit(&windowData{number: h.window, node: "n", entries: h.rows(h.window)})
		h.fail(err)
	}
	return h
}

// rows returns a few rows, of listed names and others, some with an alias.
func (h *namesTrial) rows(window int64) func(func(int, *entry) bool) {
	return func(yield func(int, *entry) bool) {
		for i := range 3 {
			e := &entry{Count: 1, First: window * 1000, Last: window * 1000, Binding: h.who[h.rng.IntN(4)], Name: wire(h.t, h.names[h.rng.IntN(len(h.names))])}
			if h.rng.IntN(2) == 0 {
				e.Level, e.Annotation, e.Action = blocklists.ByRule, h.claims[0], blocklists.Block
			}
			if h.rng.IntN(3) == 0 {
				e.Alias = wire(h.t, h.names[h.rng.IntN(len(h.names))])
			}
			if !yield(i, e) {
				return
			}
		}
	}
}

// check compares what a search finds with the rows that are there.
func (h *namesTrial) check(what string) {
	h.t.Helper()
	name := h.names[h.rng.IntN(len(h.names))]
	all := []string{"." + name, ".org1.example", ".example", ".s3.org0.example", ".nobody.example", ".h1.nobody.example", name, "*" + name, "h1.s1", "=" + name}
	for _, f := range []Filter{{Name: all[h.rng.IntN(len(all))]}, {Names: []string{all[h.rng.IntN(4)], all[h.rng.IntN(len(all))]}}} {
		if h.rng.IntN(2) == 0 {
			f.Limit = 1 + h.rng.IntN(5)
		}
		chosen, _ := f.normal()
		var want, got []int64
		r, _ := OpenReader(h.dir)
		for row, err := range r.Rows(context.Background(), Filter{}) {
			if h.fail(err); chosen.matches(&row) {
				want = append(want, row.ID)
			}
		}
		if f.Limit > 0 {
			want = want[max(0, len(want)-f.Limit):]
		}
		for row, err := range r.Rows(context.Background(), f) {
			h.fail(err)
			got = append(got, row.ID)
		}
		if !slices.Equal(got, want) {
			h.t.Fatalf("%s: %+v: got rows %v, want %v", what, f, got, want)
		}
	}
}

// A search finds with sets of names what it finds without, whatever happens to the names.
func TestSearchesWithSetsOfNamesFindAllRows(t *testing.T) {
	t.Parallel()
	for seed := range uint64(few(3)) {
		h := newNamesTrial(t, seed, 20)
		defer h.s.close()
		for range 25 {
			what := "a set is made"
			switch n := h.rng.IntN(12); {
			case n < 6:
				_, err := h.s.nameSetStep()
				h.fail(err)
			case n < 8:
				what = "a window is added"
				h.window += 1 << periodBits / 4
				_, _, err := h.s.commit(&windowData{number: h.window, node: "n", entries: h.rows(h.window)})
				h.fail(err)
			case n < 9:
				what = "the oldest rows are deleted"
				table := rowTables[h.rng.IntN(2)]
				_, err := h.s.deleteChunk(table, 1<<62, 3, nil)
				h.fail(err)
				_, err = h.s.deleteNames(table, 100)
				h.fail(err)
			case n < 10:
				what = "the rows of a device are deleted"
				l := &storer{l: &Log{o: Options{Now: time.Now}}, store: h.s}
				for _, table := range rowTables {
					r := &forgetRun{where: fmt.Sprintf(`binding = %d AND id %% 3 = 0`, 1+h.rng.IntN(4)), periods: map[string]map[int64]bool{table: {}}}
					for done := false; !done; {
						var err error
						done, err = r.deleteRows(table)(r, l)
						h.fail(err)
					}
					for done := false; !done; {
						var err error
						done, err = r.deleteNames(table)(r, l)
						h.fail(err)
					}
				}
			default:
				what = "rows are imported"
				h.names = append(h.names, fmt.Sprintf("new%d.s1.org1.example", len(h.names)))
				h.addBeforeAll()
			}
			for range 3 {
				h.check(fmt.Sprintf("seed %d: %s", seed, what))
			}
		}
		h.makeSets()
		if n := h.emptySets(); n != 0 {
			t.Errorf("seed %d: %d sets are left to be made again", seed, n)
		}
	}
}

// makeSets makes all sets that are to be made, and returns in how many steps.
func (h *namesTrial) makeSets() (steps int) {
	for more := true; more; steps++ {
		var err error
		more, err = h.s.nameSetStep()
		h.fail(err)
	}
	return steps
}

// emptySets returns how many sets are to be made again.
func (h *namesTrial) emptySets() int64 {
	n, err := h.s.number(`SELECT (SELECT count(*) FROM listed_set WHERE length(bits) = 0) + (SELECT count(*) FROM unlisted_set WHERE length(bits) = 0)`)
	h.fail(err)
	return n
}

// However many sets there are, a step looks at few of them, and a look that finds nothing to do at none.
func TestAStepLooksAtFewSetsOfNames(t *testing.T) {
	t.Parallel()
	h := newNamesTrial(t, 1, 8)
	defer h.s.close()
	h.makeSets()
	h.fail(h.s.conn.Exec(`WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 5000)
		INSERT INTO listed_set SELECT id, CASE WHEN id IN (1234, 4321) THEN x'' ELSE zeroblob(1000) END FROM n`))
	h.s.staleSets = map[string]int64{} // as when it is opened
	pages := func() int64 {
		n := int64(0)
		for _, op := range []sqlite3.DBStatus{sqlite3.DBSTATUS_CACHE_HIT, sqlite3.DBSTATUS_CACHE_MISS} {
			got, _, err := h.s.conn.Status(op, true)
			h.fail(err)
			n += got
		}
		return n
	}
	look := func(most int64) (more bool) {
		pages()
		more, err := h.s.nameSetStep()
		h.fail(err)
		if n := pages(); n > most {
			t.Errorf("a step looks at %d pages of 1,700, want at most %d", n, most)
		}
		return more
	}
	for look(setsLooked / 2) {
	}
	look(20)
	if n := h.emptySets(); n != 0 {
		t.Errorf("%d sets are left to be made again", n)
	}
}

// addBeforeAll stores rows in a window that has a number before others, as an import does.
func (h *namesTrial) addBeforeAll() {
	window := h.window - int64(h.rng.IntN(8*(1<<periodBits))) - 1
	for used := int64(1); used != 0; {
		window--
		var err error
		used, err = h.s.number(`SELECT EXISTS (SELECT 1 FROM window WHERE id = ?)`, window)
		h.fail(err)
	}
	for _, t := range h.s.importNames {
		t.forget()
	}
	h.fail(h.s.transact(func() error {
		for i, e := range h.rows(window) {
			if err := h.s.importedRow(window<<rowBits|int64(i), 1, e); err != nil {
				return err
			}
		}
		if err := h.s.flushRows(); err != nil {
			return err
		}
		return h.s.run("window_imported", window, window*1000, window*1000, 3, 3)
	}))
}

// A search for what is rare looks at the names of few periods.
func TestSetsOfNamesTellWhichPeriodsHaveNone(t *testing.T) {
	t.Parallel()
	h := newNamesTrial(t, 1, 400)
	defer h.s.close()
	if steps := h.makeSets(); steps < 99 {
		t.Errorf("sets of %d periods are made, want at least 99", steps)
	}
	db, err := openDatabase(context.Background(), h.s.path, &layout2)
	h.fail(err)
	defer db.close()
	whole := periodRange{sumsBegin >> periodBits, h.window >> periodBits}
	periods := func(name string) (n int64) {
		f := newNameFilter(name)
		likely, unknown, err := db.mayHave(&f, "listed", whole)
		h.fail(err)
		n = int64(len(likely))
		for _, r := range unknown {
			n += r.last - r.first + 1
		}
		return n
	}
	if got := periods(".nobody.example"); got > 12 {
		t.Errorf("the names of %d periods are looked at, of which none has one", got)
	}
	for _, name := range []string{".example", "org", "*.org1.example", ".bücher.example"} {
		if got := periods(name); got != whole.last-whole.first+1 {
			t.Errorf("%s: %d periods are left, though sets cannot tell", name, got)
		}
	}
	for _, table := range rowTables { // names of other devices are not kept longer than their rows
		_, err := h.s.deleteChunk(table, 1<<62, 1<<30, nil)
		h.fail(err)
		_, err = h.s.deleteNames(table, 1<<30)
		h.fail(err)
		if n, err := h.s.number(`SELECT count(*) FROM ` + table + `_set`); err != nil || n != 0 {
			t.Errorf("%d sets of %s names outlive their rows, %v", n, table, err)
		}
	}
}

// A set has all that was put in, and little else; the hashes in it are stored, and stay what they are.
func TestASetHasWhatWasPutIn(t *testing.T) {
	if got := suffixHash("tracker.example"); got != 0x18f3b394ab22512c {
		t.Errorf("the hash of a suffix is %#x now: sets that are stored have another", got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 5, 2_000} {
		in := map[uint64]bool{}
		for range n {
			in[rng.Uint64()] = true
		}
		set := makeSet(in)
		for h := range in {
			if !setHas(set, h) {
				t.Fatalf("a set of %d has not all", n)
			}
		}
		others := 0
		for range 10_000 {
			if setHas(set, rng.Uint64()) {
				others++
			}
		}
		if n == 2_000 && others > 100 || n == 0 && others > 0 {
			t.Errorf("a set of %d seems to have %d of 10,000 others", n, others)
		}
	}
}

// A search finds all rows of a time with few names that are chosen, and with many.
func TestASearchFindsFewNamesAndMany(t *testing.T) {
	t.Parallel()
	h := newNamesTrial(t, 3, 4)
	defer h.s.close()
	for _, n := range []int{1, 4, 5, fewNames, fewNames + 1} {
		h.window += 1 << periodBits
		_, _, err := h.s.commit(&windowData{number: h.window, node: "n", entries: func(yield func(int, *entry) bool) {
			for i := range n {
				e := &entry{Count: 1, First: h.window * 1000, Last: h.window * 1000, Binding: h.who[0], Name: wire(t, fmt.Sprintf("n%d.of%d.example", i, n)), Alias: wire(t, fmt.Sprintf("alias%d.example", i))}
				if !yield(i, e) {
					return
				}
			}
		}})
		h.fail(err)
		for _, f := range []Filter{{Name: fmt.Sprintf(".of%d.example", n)}, {Name: fmt.Sprintf(".of%d.example", n), Limit: 100}} {
			if got := len(rows(t, h.dir, f)); got != n {
				t.Errorf("%+v: got %d rows, want %d", f, got, n)
			}
		}
		if got := len(rows(t, h.dir, Filter{Name: "=alias0.example"})); got != 0 {
			t.Errorf("got %d rows of which an alias is the name, want none", got)
		}
	}
	if got := len(rows(t, h.dir, Filter{Name: ".alias0.example"})); got != 5 {
		t.Errorf("got %d rows with the alias, want 5", got)
	}
}
