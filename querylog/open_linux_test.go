package querylog

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openBelow are the files below dir that this process has open.
func openBelow(t testing.TB, dir string) (paths []string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	for _, fd := range fds {
		if path, err := os.Readlink(filepath.Join("/proc/self/fd", fd.Name())); err == nil && strings.HasPrefix(path, dir+"/") {
			paths = append(paths, path)
		}
	}
	return paths
}

// Whatever is read of a log, no file of it stays open: a statement that is left keeps its database.
func TestReadingLeavesNothingOpen(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	appendMany(t, l, p, rand.New(rand.NewPCG(1, 2)), now, 30)
	if len(openBelow(t, dir)) == 0 {
		t.Fatal("a log that is open has no file open")
	}
	closeLog(t, l)
	if left := openBelow(t, dir); len(left) > 0 {
		t.Fatalf("the log leaves open: %q", left)
	}
	head, _ := headOf(t, dir)
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for what, read := range map[string]func() error{
		"an audit": func() error { _, err := r.AuditSeal(ctx, SealAudit{}); return err },
		"sealed leaves": func() error {
			_, _, err := sealedLeaves(t, dir, SealedOptions{Size: head.Size, Until: now.Add(time.Hour).UnixMilli()})
			return err
		},
		"rows": func() error { rows(t, dir, Filter{}); return nil },
		"rows, of which it stops": func() error {
			for _, err := range r.Rows(ctx, Filter{}) {
				return err
			}
			return nil
		},
		"sums":     func() error { return drain(r.Sums(ctx, SumFilter{})) },
		"totals":   func() error { totals(t, dir, TotalsFilter{}); return nil },
		"a ledger": func() error { events(t, dir); return nil },
		"coverage": func() error { _, err := r.Coverage(ctx, time.Time{}, now); return err },
		"bindings": func() error { _, err := r.Bindings(ctx); return err },
		"top":      func() error { _, err := r.Top(ctx, "names", Filter{}, 10); return err },
		"presence": func() error { _, err := r.Presence(ctx, time.Time{}, now); return err },
	} {
		if err := read(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if left := openBelow(t, dir); len(left) > 0 {
			t.Errorf("%s leaves open: %q", what, left)
		}
	}
}

func drain[T any](all func(func(T, error) bool)) (failed error) {
	for _, err := range all {
		failed = err
	}
	return failed
}
