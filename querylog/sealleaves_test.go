package querylog

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"telltale/querylog/seal"
)

// sealedLeaves reads leaves, and checks that they are those of their lines.
func sealedLeaves(t testing.TB, dir string, o SealedOptions) (all []SealedLeaf, tree seal.Tree, err error) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	for leaf, err := range r.SealedLeaves(context.Background(), o) {
		if err != nil {
			return all, tree, err
		}
		shown := !leaf.Outside && leaf.Removal < 0
		if shown != (leaf.Line != nil) || shown && seal.LeafHash(&leaf.Salt, leaf.Line) != leaf.Hash {
			t.Errorf("leaf %d is of another line: %+v", tree.Size(), leaf)
		}
		if kind, err := seal.KindOf(leaf.Line); shown && (err != nil || (leaf.Row != nil) != (kind == seal.KindRow) || (leaf.Event != nil) != (kind == seal.KindLedger)) {
			t.Errorf("leaf %d is a %s: %+v", tree.Size(), kind, leaf)
		}
		tree.Add(leaf.Hash)
		leaf.Line, leaf.Row, leaf.Event = nil, nil, nil
		all = append(all, leaf)
	}
	return all, tree, nil
}

func TestSealedLeavesAreThoseOfTheCheckpoint(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	appendMany(t, l, p, rand.New(rand.NewPCG(1, 2)), now, 300)
	closeLog(t, l)
	early, _ := headOf(t, dir)
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(3, 4)), now, 100)
	closeLog(t, l)
	head, _ := headOf(t, dir)
	if early.Size >= head.Size {
		t.Fatalf("%d leaves, then %d", early.Size, head.Size)
	}

	ever := SealedOptions{Until: now.Add(time.Hour).UnixMilli()}
	for _, c := range []seal.Checkpoint{early, head} {
		o := ever
		o.Size = c.Size
		all, tree, err := sealedLeaves(t, dir, o)
		if err != nil || int64(len(all)) != c.Size || tree.Root() != c.Root {
			t.Errorf("%d of %d leaves, %v", len(all), c.Size, err)
		}
		for i := range all {
			if all[i].Outside || all[i].Removal >= 0 {
				t.Errorf("leaf %d is not there: %+v", i, all[i])
			}
		}
	}
	o := SealedOptions{Size: head.Size, Since: now.Add(time.Second).UnixMilli(), Until: now.Add(2 * time.Second).UnixMilli()}
	all, tree, err := sealedLeaves(t, dir, o)
	inside, outside := 0, 0
	for i := range all {
		switch {
		case all[i].Kind != seal.KindRow:
		case all[i].Outside:
			outside++
		default:
			inside++
		}
	}
	if err != nil || tree.Root() != head.Root || inside == 0 || outside == 0 {
		t.Errorf("of a second: %d rows, and %d of other times, %v", inside, outside, err)
	}
	ever.Size = head.Size + 1
	if _, _, err := sealedLeaves(t, dir, ever); !errors.Is(err, ErrSealBroken) {
		t.Errorf("more leaves than there are: %v", err)
	}
}

func TestSealedLeavesNameWhatIsNotAsItWasSealed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(1, 2)), time.Now(), 100)
	closeLog(t, l)
	head, _ := headOf(t, dir)
	ever := SealedOptions{Size: head.Size, Until: time.Now().Add(time.Hour).UnixMilli()}
	for _, sql := range []string{
		`UPDATE listed SET count = count + 1 WHERE id = (SELECT max(id) FROM listed)`,
		`DELETE FROM listed WHERE id = (SELECT min(id) FROM listed)`,
		`UPDATE ledger SET detail = 'x' WHERE id = (SELECT max(id) FROM ledger)`,
		`DELETE FROM seal_run WHERE first = (SELECT max(first) FROM seal_run)`,
	} {
		changed := t.TempDir()
		copyStore(t, dir, changed)
		if execute(t, changed, sql) != 1 {
			t.Fatalf("%s changes nothing", sql)
		}
		if _, _, err := sealedLeaves(t, changed, ever); !errors.Is(err, ErrSealBroken) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, _, err := sealedLeaves(t, t.TempDir(), ever); !errors.Is(err, ErrNotSealed) {
		t.Errorf("no log: %v", err)
	}
}

// What was deleted is said to be, by the statement that counted it: one behind a later one
// in whose range it was, too.
func TestSealedLeavesSayWhatWasRemoved(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	appendMany(t, l, p, rand.New(rand.NewPCG(1, 2)), now, 200)
	closeLog(t, l)
	l = open(t, Options{Dir: dir})
	if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: "id:tablet"}}}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	head, _ := headOf(t, dir)
	all, tree, err := sealedLeaves(t, dir, SealedOptions{Size: head.Size, Until: now.Add(time.Hour).UnixMilli()})
	removed := map[int64]int{}
	for i := range all {
		if all[i].Removal >= 0 {
			removed[all[i].Removal]++
			if r := all[all[i].Removal]; r.Kind != SealedStatement || all[i].Removal <= int64(i) {
				t.Errorf("leaf %d is said to be removed by leaf %d, %+v", i, all[i].Removal, r)
			}
		}
	}
	if err != nil || tree.Root() != head.Root || len(removed) == 0 {
		t.Errorf("removed by: %v, %v", removed, err)
	}
}

// What is sealed is of a period from its beginning on, up to but without its end; a line of the ledger speaks of
// a time that begins before it.
func TestSealedLeavesOfAPeriodAreThoseFromItsBeginningToBeforeItsEnd(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(1, 2)), time.Now(), 8)
	l.addEvent(Event{Kind: KindLost, Since: Time{time.Now().Add(-time.Hour)}, Until: Time{time.Now().Add(-time.Minute)}})
	closeLog(t, l)
	head, _ := headOf(t, dir)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	type span struct {
		begin, end int64
		outside    bool
	}
	rows, lines := 0, 0
	leaves := func(since, until int64) (all []span) {
		rows, lines = 0, 0
		for leaf, err := range r.SealedLeaves(context.Background(), SealedOptions{Size: head.Size, Since: since, Until: until}) {
			if err != nil {
				t.Fatal(err)
			}
			s := span{outside: leaf.Outside}
			switch {
			case leaf.Row != nil:
				s.begin, s.end = leaf.Row.First, leaf.Row.First
				rows++
			case leaf.Event != nil && leaf.Event.Kind == KindLost:
				s.begin, s.end = leaf.Event.Since, leaf.Event.Time
				lines++
			case leaf.Event != nil:
				s.begin, s.end = leaf.Event.Time, leaf.Event.Time
			}
			all = append(all, s)
		}
		return all
	}
	all := leaves(0, time.Now().Add(time.Hour).UnixMilli())
	if rows < 3 || lines != 1 {
		t.Errorf("%d rows and %d lines that speak of a time test little", rows, lines)
	}
	for i, s := range all {
		if s.begin == 0 {
			continue // a statement
		}
		for _, c := range []struct {
			since, until int64
			outside      bool
		}{{s.end, s.end + 1, false}, {s.end + 1, s.end + 2, true}, {s.begin, s.begin + 1, false}, {s.begin - 1, s.begin, true}} {
			if got := leaves(c.since, c.until)[i]; got.outside != c.outside {
				t.Errorf("leaf %d, of %d to %d: outside of %d to %d: %v, want %v", i, s.begin, s.end, c.since, c.until, got.outside, c.outside)
			}
		}
	}
}
