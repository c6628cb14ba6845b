package querylog

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// The files store-1 were made by commit b016c21, the last one with version 1 of
// the schema: a store with rows of every kind, and what that commit read in it.

func unpack(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// version1 returns a directory with a store of version 1.
func version1(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, oldStoreName), unpack(t, "store-1.db.gz"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// multiply adds the rows, windows and ledger lines of a store of version 1 so
// many times, each time a quarter of an hour later.
func multiply(t testing.TB, dir string, times int) {
	t.Helper()
	conn, err := sqlite3.Open(filepath.Join(dir, oldStoreName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sql := `PRAGMA journal_mode = WAL; BEGIN;`
	for _, table := range rowTables {
		sql += fmt.Sprintf(`INSERT INTO %s WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			SELECT id + ((n.i * 1024) << 20), node, first + n.i * 1024000, last + n.i * 1024000, %s FROM n, %[1]s ORDER BY 1;`,
			table, times, strings.Join(columns1[4:], `, `))
	}
	sql += fmt.Sprintf(`INSERT INTO window WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d)
			SELECT id + n.i * 1024, first + n.i * 1024000, last + n.i * 1024000, rows, lookups FROM n, window ORDER BY 1;
		INSERT INTO ledger WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %[1]d)
			SELECT id + ((n.i * 1024) << 20), node, time + n.i * 1024000, since, until, kind, subject, detail FROM n, ledger ORDER BY 1;
		UPDATE meta SET value = (SELECT max(id) FROM window) WHERE key = 'position'; COMMIT;`, times)
	if err := conn.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

// asRead1 returns what commit b016c21 read, in today's words.
func asRead1(t *testing.T) []string {
	t.Helper()
	var all []string
	d := json.NewDecoder(bytes.NewReader(unpack(t, "store-1.json.gz")))
	for d.More() {
		m := map[string]any{}
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		switch {
		case m["kind"] == "mended":
			m["kind"] = "recovered"
		case m["kind"] == "list-mended":
			m["kind"] = "list-recovered"
		case m["binding_source"] == "address":
			m["binding_source"] = "bare-address"
		case m["binding"] != nil && m["binding_source"] == nil:
			m["binding_source"] = "this-host" // it had no word
		}
		all = append(all, inOrder(t, m))
	}
	return all
}

func inOrder(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatal(err)
	}
	if n, ok := m["id"].(json.Number); ok {
		m["id"] = strings.TrimSuffix(fmt.Sprintf("%.0f", must(n.Float64())), ".0")
	}
	delete(m, "store")
	b, _ = json.Marshal(m)
	return string(b)
}

func must[T any](v T, _ error) T { return v }

// asRead returns what is read now: rows, ledger lines that are not of the
// migration, totals.
func asRead(t *testing.T, dir string) (all []string) {
	t.Helper()
	for _, row := range rows(t, dir, Filter{}) {
		all = append(all, inOrder(t, row))
	}
	for _, e := range events(t, dir) {
		if e.Kind != KindMigration {
			all = append(all, inOrder(t, e))
		}
	}
	r, _ := OpenReader(dir)
	hours, err := r.Hours(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hours {
		all = append(all, inOrder(t, h))
	}
	return all
}

func differ(t *testing.T, when string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			t.Fatalf("%s: line %d of %d, %d wanted:\n got %s\nwant %s", when, i, len(got), len(want), append(got, "nothing")[min(i, len(got))], want[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", when, len(got), len(want))
}

func TestAStoreOfVersion1IsReadAsItWas(t *testing.T) {
	t.Parallel()
	differ(t, "with no server of this version yet", asRead(t, version1(t)), asRead1(t))
}

func TestAStoreOfVersion1IsCopiedInSteps(t *testing.T) {
	t.Parallel()
	dir := version1(t)
	want := asRead1(t)
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := OpenReader(dir)
	bindings, err := r.Bindings(context.Background())
	if err != nil || len(bindings) != 7 {
		t.Fatalf("got %d bindings, %v, want the 7 of the old store", len(bindings), err)
	}
	steps := 0
	for more := true; more; steps++ {
		s.old.limit = 1 + steps%40
		if more, err = s.migrateStep(); err != nil {
			t.Fatal(err)
		}
		if steps%5 == 0 || !more {
			differ(t, fmt.Sprintf("after %d steps", steps), asRead(t, dir), want)
		}
		if steps%3 == 0 { // a server that ends and begins again
			s.close()
			if s, err = openStore(dir); err != nil {
				t.Fatal(err)
			}
			more = s.old != nil
		}
	}
	defer s.close()
	if left, _ := filepath.Glob(filepath.Join(dir, oldStoreName+"*")); steps < 10 || len(left) > 0 {
		t.Errorf("got %d steps and %v left, want some steps and nothing of the old store", steps, left)
	}
	if n, err := s.number(`SELECT count(*) FROM ledger WHERE kind LIKE '%mended'`); err != nil || n != 0 {
		t.Errorf("got %d ledger lines with words of before, %v, want none", n, err)
	}
	for _, f := range []Filter{{Name: "kept.tracker"}, {Name: "bücher"}, {Name: ".tracker.example"}, {Verdict: "observe"}, {Device: "LAB"}, {Limit: 3}} {
		norm, _ := f.normal()
		var want []Row
		for _, row := range rows(t, dir, Filter{}) {
			if norm.matches(&row) {
				want = append(want, row)
			}
		}
		if f.Limit > 0 {
			want = want[len(want)-f.Limit:]
		}
		if got := rows(t, dir, f); !slices.Equal(got, want) || len(got) == 0 {
			t.Errorf("%+v: got %d rows of copied ones, want %d", f, len(got), len(want))
		}
	}
}

// Windows are stored while the copy goes on, some of the very quarter of an hour
// in which the old store ends; readers see both, in order, each row once.
func TestWindowsAreStoredWhileAStoreIsCopied(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	dir := version1(t)
	multiply(t, dir, 5)
	before := rows(t, dir, Filter{})
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	rng := rand.New(rand.NewPCG(7, 7))
	window, stored := s.position, 0
	steps := 0
	for more := true; more; steps++ {
		s.old.limit = 20 + rng.IntN(200)
		if more, err = s.migrateStep(); err != nil {
			t.Fatal(err)
		}
		window++
		f := newFold(time.UnixMilli(window * 1000))
		for range 1 + rng.IntN(30) {
			r := somebody(rng, p, time.UnixMilli(window*1000))
			f.add(&r, window*1000, byName, 1<<30)
		}
		n, _, err := s.commit(&windowData{number: window, node: "attic", entries: f.entries})
		if err != nil {
			t.Fatal(err)
		}
		stored += int(n)
		got := rows(t, dir, Filter{})
		if len(got) != len(before)+stored {
			t.Fatalf("got %d rows at %v, want %d and %d", len(got), s.migration(), len(before), stored)
		}
		for i := range got {
			if i > 0 && got[i-1].ID >= got[i].ID {
				t.Fatalf("row %d is not behind the one before", i)
			}
			got[i].Store = ""
		}
		if !slices.Equal(got[:len(before)], before) {
			t.Fatalf("the old store's rows are others at %v", s.migration())
		}
		newest := rows(t, dir, Filter{Limit: stored + 10})
		for i := range newest {
			newest[i].Store = ""
		}
		if !slices.Equal(newest, got[len(before)-10:]) {
			t.Fatalf("the newest rows are others at %v", s.migration())
		}
		r, _ := OpenReader(dir)
		top, err := r.Top(context.Background(), "devices", Filter{}, 0)
		var sum, want uint64
		for _, line := range top {
			sum += line.Rows
		}
		if want = uint64(len(got)); err != nil || sum != want {
			t.Fatalf("top counts %d rows at %v, %v, want %d", sum, s.migration(), err, want)
		}
	}
	if steps < 10 {
		t.Errorf("got %d steps, want windows stored between many", steps)
	}
}

// The program is killed wherever it happens to be, again and again, until the
// store is copied: every row is there once.
func TestAKilledCopyGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := version1(t)
	multiply(t, dir, 10)
	want := rows(t, dir, Filter{})
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	kills := 0
	for ; kills < 200; kills++ {
		if _, err := os.Stat(filepath.Join(dir, oldStoreName)); err != nil {
			break
		}
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "QUERYLOG_COPY_CHILD="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		steps := 1 + rng.Int64N(8) // the last of which may be cut short
		in.Write(make([]byte, steps))
		io.CopyN(io.Discard, out, steps)
		time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Millisecond))))
		child.Process.Kill()
		child.Wait()
		got := rows(t, dir, Filter{})
		for i := range got {
			got[i].Store = ""
		}
		if !slices.Equal(got, want) {
			t.Fatalf("after %d kills: got %d rows, want the %d of the old store", kills+1, len(got), len(want))
		}
	}
	if kills < 3 {
		t.Errorf("the copy ended after %d kills, want some on the way", kills)
	}
	if _, err := os.Stat(filepath.Join(dir, oldStoreName)); err == nil {
		t.Errorf("the copy has not ended after %d kills", kills)
	}
	t.Log(kills, "kills")
}

// copyUntilKilled is the child of the test above: it makes a step for each octet
// that it reads, and says when it begins.
func copyUntilKilled(dir string) {
	s, err := openStore(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for more := true; more; {
		if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
			os.Exit(1)
		}
		os.Stdout.Write([]byte("."))
		if s.old != nil {
			s.old.limit = 100
		}
		if more, err = s.migrateStep(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	s.close()
	os.Stdout.Close()
	time.Sleep(time.Minute)
}

func TestADamagedStoreOfVersion1IsSetAside(t *testing.T) {
	t.Parallel()
	dir := version1(t)
	multiply(t, dir, 40)
	path := filepath.Join(dir, oldStoreName)
	conn, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Exec(`PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE`)
	conn.Close()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 2; i < len(b)/2+400_000 && i < len(b); i++ {
		b[i] = 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for more := true; more; {
		if more, err = s.migrateStep(); err != nil {
			t.Fatal(err)
		}
	}
	reported := s.takeReported()
	if last := reported[len(reported)-1]; last.Kind != KindStore || !strings.Contains(last.Detail, "set aside") {
		t.Errorf("got %+v, want that the store was set aside", last)
	}
	if aside, _ := filepath.Glob(path + ".corrupt-*"); len(aside) != 1 {
		t.Errorf("got %v, want the old store under a name that says what it is", aside)
	}
	r, _ := OpenReader(dir)
	for _, err := range r.Rows(context.Background(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A log that is opened takes lookups from the first moment, copies meanwhile,
// and says so.
func TestALogIsKeptWhileAStoreOfVersion1IsCopied(t *testing.T) {
	t.Parallel()
	p := policy(t, testList)
	dir := version1(t)
	multiply(t, dir, 15)
	before := len(rows(t, dir, Filter{}))
	l := open(t, Options{Dir: dir, Node: "attic", window: 50 * time.Millisecond})
	rng := rand.New(rand.NewPCG(3, 4))
	var appended uint64
	progress := false
	deadline := time.Now().Add(10 * time.Minute) // the copy goes on between lookups, which take most of a slow machine
	for {
		recs := make([]Record, 20)
		for i := range recs {
			recs[i] = somebody(rng, p, time.Now())
		}
		l.Append(recs)
		appended += uint64(len(recs))
		stats := l.Stats()
		if m := stats.Migration; m != nil && m.Rows > 0 && m.Percent > 0 {
			progress = true
		}
		if progress && stats.Migration == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not copied in time: %+v", stats)
		}
		time.Sleep(2 * time.Millisecond)
	}
	closeLog(t, l)
	if !progress {
		t.Error("the figures never showed how far the copy was")
	}
	var old int
	var fresh uint64
	for _, r := range rows(t, dir, Filter{}) {
		if r.Time.Year() == 2026 && r.Time.Month() == 3 {
			old++
		} else {
			fresh += r.Count
		}
	}
	if old != before || fresh != appended {
		t.Errorf("got %d rows of before and %d lookups, want %d and %d", old, fresh, before, appended)
	}
	if got := kinds(events(t, dir)); strings.Count(got, KindMigration) != 2 {
		t.Errorf("got ledger %q, want the beginning and the end of the copy", got)
	}
}

// The longer a step of the copy took, the longer is the rest after it, also where
// windows come: a machine that has much else to do is left to it.
func TestTheCopyRestsTwiceAsLongAsItWorks(t *testing.T) {
	dir := version1(t)
	multiply(t, dir, 40)
	st, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	s := &storer{l: &Log{o: Options{Logger: quiet(), Now: time.Now}}, store: st}
	begun := time.Now()
	s.migrate()
	worked := st.old.rows
	if rest, took := s.migrateAt.Sub(begun), time.Since(begun); worked == 0 || rest < migrateEvery || rest > 3*took+migrateEvery {
		t.Errorf("%d rows copied, and the next step is due %v after this one began, which took %v", worked, rest, took)
	}
	s.migrateAt = time.Now().Add(time.Hour)
	for range 3 {
		s.migrate()
	}
	if st.old.rows != worked {
		t.Errorf("got %d rows copied during the rest, want none", st.old.rows-worked)
	}
	if wait := s.wait(); wait != heartbeatEvery {
		t.Errorf("got a wait of %v in a long rest, want %v", wait, heartbeatEvery)
	}
}

// makeVersion2 writes the golden store of version 2: that of version 1, copied,
// and rows with what is new.
func makeVersion2(t *testing.T) {
	dir := version1(t)
	s, err := openStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		if more, err = s.migrateStep(); err != nil {
			t.Fatal(err)
		}
	}
	p := policy(t, testList)
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	f := newFold(at)
	for i := range 64 {
		r := lookup(t, p, at.Add(time.Duration(i)*time.Second/10), phone(1), []string{"tracker.example", "site.example"}[i%2])
		r.Verdict.Class, r.Verdict.ObservedBy = blocklists.Class(i%len(classWords)), blocklists.ObservedBy(i%len(observedByWords))
		r.Transport = Transport(1 + i%5)
		f.add(&r, r.Time.UnixMilli(), byName, 1<<30)
	}
	if _, _, err := s.commit(&windowData{number: at.Unix(), node: "attic", entries: f.entries}); err != nil {
		t.Fatal(err)
	}
	s.conn.Exec(`PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)`)
	s.close()
	pack := func(name string, b []byte) {
		var z bytes.Buffer
		w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
		w.Write(b)
		w.Close()
		if err := os.WriteFile(filepath.Join("testdata", name), z.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, storeName))
	if err != nil {
		t.Fatal(err)
	}
	pack("store-2.db.gz", b)
	var all bytes.Buffer
	for _, row := range rows(t, dir, Filter{}) {
		json.NewEncoder(&all).Encode(row)
	}
	pack("store-2.json.gz", all.Bytes())
}
