package querylog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/querylog/seal"
)

// audit audits the log in dir, which has to be as it was sealed.
func audit(t testing.TB, dir string, o SealAudit) *SealReport {
	t.Helper()
	report := auditAny(t, dir, o)
	for _, p := range report.Problems {
		t.Errorf("leaf %d, %s %d: %s", p.Leaf, p.Kind, p.ID, p.What)
	}
	return report
}

func auditAny(t testing.TB, dir string, o SealAudit) *SealReport {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := r.AuditSeal(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const sealedList = testList + "/[a-z]+\\.\"regex\\.example/\n"

// appendMany appends lookups of all kinds by several devices, of which some are listed.
func appendMany(t testing.TB, l *Log, p *blocklists.Policy, rng *rand.Rand, at time.Time, n int) {
	t.Helper()
	hosts := []*devices.Binding{nil, phone(1), {ID: 2, Device: "tv \"x\"", Name: "T\u00e9l\u00e9", Addr: netip.MustParseAddr("2001:db8::2"), Source: devices.ConfiguredMAC, Confidence: devices.Medium, From: at},
		{ID: 3, Device: "id:tablet", Name: "tablet", Source: devices.ClientID, Confidence: devices.High, From: at}}
	names := []string{"a.tracker.example", "b.tracker.example", "tracker.example", "exact.example", "allowed.tracker.example", "other.example", "tracker.example.lan"}
	for i := range n {
		r := lookup(t, p, at.Add(time.Duration(i)*7*time.Millisecond), hosts[rng.IntN(len(hosts))], names[rng.IntN(len(names))])
		r.Client = netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(3))})
		if r.Binding != nil && r.Binding.Addr.IsValid() && rng.IntN(4) > 0 {
			r.Client = r.Binding.Addr
		}
		r.Type = []uint16{dnswire.TypeA, dnswire.TypeAAAA, 65}[rng.IntN(3)]
		r.Transport, r.Rcode = Transport(1+rng.IntN(5)), uint8(rng.IntN(4))
		r.Elapsed, r.TTL = time.Duration(rng.IntN(1e6))*time.Microsecond, uint32(rng.IntN(400))
		if rng.IntN(5) == 0 {
			r.ClientID = "tablet"
		}
		if rng.IntN(5) == 0 {
			r.Alias, r.Upstream = wire(t, "alias\\046x.tracker.example"), "upstream-1"
		}
		l.Append([]Record{r})
	}
}

func keyOf(t testing.TB, dir string) *seal.Key {
	t.Helper()
	k, err := ReadSealKey(SealKeyPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func headOf(t testing.TB, dir string) (seal.Checkpoint, []byte) {
	t.Helper()
	c, text, err := ReadSealHead(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c, text
}

// execute runs SQL by hand on a store that nobody has open.
func execute(t testing.TB, dir, sql string) (changed int64) {
	t.Helper()
	c, err := openSQLite(filepath.Join(dir, storeName), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return c.Changes()
}

// ids are the numbers of a table, in order.
func ids(t testing.TB, dir, table string) (all []int64) {
	t.Helper()
	c, err := openSQLite(filepath.Join(dir, storeName), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stmt, _, err := c.Prepare(`SELECT id FROM ` + table + ` ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		all = append(all, stmt.ColumnInt64(0))
	}
	return all
}

func TestWhatIsStoredIsSealed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rng, time.Now(), 300)
	imports(t, l, importOf(t, 0, elsewhere(t, hourAgo(), "192.168.1.7", "shop.example", blocklists.Block), elsewhere(t, hourAgo().Add(5*time.Minute), "192.168.1.9", "b.example", blocklists.Block)))
	closeLog(t, l)
	first, firstText := headOf(t, dir)
	public := keyOf(t, dir).Public

	l = open(t, Options{Dir: dir, MaxMemory: 64 << 10}) // folded rows, too
	for i := range 600 {
		r := lookup(t, p, time.Now(), phone(1), fmt.Sprintf("n%d.tracker.example", i))
		l.Append([]Record{r})
	}
	closeLog(t, l)
	report := audit(t, dir, SealAudit{Keys: []string{public}, Checkpoints: map[string][]byte{"first": firstText}})
	if report.Rows != int64(len(ids(t, dir, "listed"))) || report.Lines != int64(len(ids(t, dir, "ledger"))) || report.Unsealed != 0 || report.Removed != 0 {
		t.Errorf("%+v", report)
	}
	if second, _ := headOf(t, dir); second.Size <= first.Size || report.Signed != second.Size || report.Leaves < second.Size || !report.KeyKnown || !slices.Equal(report.Agreed, []string{"first"}) {
		t.Errorf("%+v of %+v", report, second)
	}
	for _, name := range []string{sealDir + "/" + sealKeyName, sealDir + "/" + sealHeadName} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// TestTamperingIsNamed changes copies of a store by hand: each is found, and named by the
// number of the first row or line that is not as it was. QUERYLOG_TAMPERINGS says how many.
func TestTamperingIsNamed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	rng := rand.New(rand.NewPCG(3, 4))
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rng, time.Now(), 200)
	closeLog(t, l)
	_, head := headOf(t, dir)
	rows, lines := ids(t, dir, "listed"), ids(t, dir, "ledger")
	tampered, all := 0, 24
	if n, err := strconv.Atoi(os.Getenv("QUERYLOG_TAMPERINGS")); err == nil {
		all = n
	}
	for n := range all {
		id, other, line := rows[rng.IntN(len(rows))], rows[rng.IntN(len(rows))], lines[rng.IntN(len(lines))]
		low, high := min(id, other), max(id, other)
		if low == high {
			continue
		}
		var sql, what string
		want := id
		switch n % 12 {
		case 0:
			what, sql = "counted up", fmt.Sprintf(`UPDATE listed SET count = count + 1 WHERE id = %d`, id)
		case 1:
			what, sql = "removed", fmt.Sprintf(`DELETE FROM listed WHERE id = %d`, id)
		case 2:
			want, what = low, "exchanged"
			sql = fmt.Sprintf(`UPDATE listed SET id = -1 WHERE id = %[1]d; UPDATE listed SET id = %[1]d WHERE id = %[2]d; UPDATE listed SET id = %[2]d WHERE id = -1`, low, high)
		case 3:
			what, sql = "dated back", fmt.Sprintf(`UPDATE listed SET first = first - 3600000, last = last - 3600000 WHERE id = %d`, id)
		case 4:
			what, sql = "another verdict", fmt.Sprintf(`UPDATE listed SET verdict = (verdict + 1) %% 5 WHERE id = %d`, id)
		case 5:
			what, sql = "unlisted", fmt.Sprintf(`INSERT INTO unlisted SELECT * FROM listed WHERE id = %[1]d; DELETE FROM listed WHERE id = %[1]d`, id)
		case 6:
			want, what = line, "a line of the ledger"
			sql = fmt.Sprintf(`UPDATE ledger SET detail = detail || '.' WHERE id = %d`, line)
		case 7:
			want, what = line, "a line of the ledger removed"
			sql = fmt.Sprintf(`DELETE FROM ledger WHERE id = %d`, line)
		case 8:
			want, what = rows[len(rows)-1]+5, "put in"
			sql = fmt.Sprintf(`CREATE TEMP TABLE x AS SELECT * FROM listed WHERE id = %d; UPDATE x SET id = %d; INSERT INTO listed SELECT * FROM x`, id, want)
		case 9:
			want, what = lines[len(lines)-1]+3, "a line put in"
			sql = fmt.Sprintf(`INSERT INTO ledger SELECT %d, node, time, since, until, kind, subject, detail FROM ledger WHERE id = %d`, want, line)
		case 10:
			what, sql = "another name of all", fmt.Sprintf(`UPDATE listed_name SET name = name || 'x' WHERE id = (SELECT ((id >> 30) << 26) + name FROM listed WHERE id = %d)`, id)
			want = 0
		case 11:
			what, sql = "a hash", fmt.Sprintf(`UPDATE seal_run SET hashes = zeroblob(length(hashes)) WHERE base <= %d AND kind = 1`, id)
			want = rows[0]
		}
		copied := t.TempDir()
		copyStore(t, dir, copied)
		execute(t, copied, sql)
		report := auditAny(t, copied, SealAudit{Checkpoints: map[string][]byte{"head": head}})
		tampered++
		if len(report.Problems) == 0 {
			t.Fatalf("%s (%s): not found", what, sql)
		}
		if got := report.Problems[0]; want != 0 && !slices.ContainsFunc(report.Problems[:1], func(p SealProblem) bool { return p.ID == want }) {
			t.Errorf("%s: row %d is named first (%s), want %d; %+v", what, got.ID, got.What, want, report.Problems)
		}
		os.RemoveAll(copied)
	}
	t.Logf("%d stores were tampered with", tampered)
}

// TestACheckpointIsUnchangedOnlyWhereAllOfItIsThere holds a checkpoint against logs of
// which the hashes are as they were and a row is not, or was deleted as the log states.
func TestACheckpointIsUnchangedOnlyWhereAllOfItIsThere(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(3, 4)), time.Now(), 30)
	closeLog(t, l)
	_, text := headOf(t, dir)
	o, name := SealAudit{Checkpoints: map[string][]byte{"head": text}}, []string{"head"}
	if r := audit(t, dir, o); !slices.Equal(r.Agreed, name) || !slices.Equal(r.Unchanged, name) {
		t.Errorf("as it was: %+v", r)
	}
	copied := t.TempDir()
	copyStore(t, dir, copied)
	execute(t, copied, `DELETE FROM listed WHERE id = (SELECT min(id) FROM listed)`)
	if r := auditAny(t, copied, o); !slices.Equal(r.Agreed, name) || len(r.Unchanged) != 0 || len(r.Problems) != 1 {
		t.Errorf("a row was taken out: %+v", r)
	}
	l = open(t, Options{Dir: dir})
	if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}, Words: []string{"mac:02:00:00:00:00:01"}}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	if r := audit(t, dir, o); !slices.Equal(r.Agreed, name) || len(r.Unchanged) != 0 || r.Removed == 0 {
		t.Errorf("a device was forgotten: %+v", r)
	}
}

// copyStore copies a log that nobody has open.
func copyStore(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range []string{storeName, sealDir + "/" + sealKeyName, sealDir + "/" + sealHeadName} {
		text, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAForkIsFound has a forger who has all but the key.
func TestAForkIsFound(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 50)
	closeLog(t, l)
	_, head := headOf(t, dir)
	public := keyOf(t, dir).Public
	before := t.TempDir()
	copyStore(t, dir, before)

	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), time.Now(), 50)
	closeLog(t, l)
	_, later := headOf(t, dir)
	audit(t, dir, SealAudit{Keys: []string{public}, Checkpoints: map[string][]byte{"a": head, "b": later}})

	for _, c := range []struct {
		name string
		do   func(dir string)
		o    SealAudit
	}{
		{"an older copy", func(string) {}, SealAudit{Checkpoints: map[string][]byte{"b": later}}},
		{"an older copy that went on", func(dir string) {
			l := open(t, Options{Dir: dir})
			appendMany(t, l, p, rand.New(rand.NewPCG(9, 9)), time.Now(), 100)
			closeLog(t, l)
		}, SealAudit{Keys: []string{public}, Checkpoints: map[string][]byte{"b": later}}},
		{"sealed anew by another key", func(dir string) {
			execute(t, dir, `DELETE FROM seal_run; DELETE FROM seal_node; DELETE FROM seal_secret; DELETE FROM meta WHERE key LIKE 'seal%'`)
			os.RemoveAll(filepath.Join(dir, sealDir))
			l := open(t, Options{Dir: dir})
			appendMany(t, l, p, rand.New(rand.NewPCG(9, 9)), time.Now(), 100)
			closeLog(t, l)
		}, SealAudit{Keys: []string{public}}},
		{"the same, against the checkpoint", func(dir string) {
			execute(t, dir, `DELETE FROM seal_run; DELETE FROM seal_node; DELETE FROM seal_secret; DELETE FROM meta WHERE key LIKE 'seal%'`)
			os.RemoveAll(filepath.Join(dir, sealDir))
			closeLog(t, open(t, Options{Dir: dir}))
		}, SealAudit{Checkpoints: map[string][]byte{"a": head}}},
	} {
		copied := t.TempDir()
		copyStore(t, before, copied)
		c.do(copied)
		if report := auditAny(t, copied, c.o); len(report.Problems) == 0 {
			t.Errorf("%s: not found: %+v", c.name, report)
		}
	}
}

func TestForgottenRowsCannotBeGuessed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), now, 100)
	l.Report("pause", "mac:02:00:00:00:00:01", "nothing of mac:02:00:00:00:00:01 is blocked")
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	l.Flush()
	closeLog(t, l)
	known := linesOf(t, dir) // what a guesser may think of: here he is right

	l = open(t, Options{Dir: dir})
	if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}, Words: []string{"mac:02:00:00:00:00:01"}}); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	report := audit(t, dir, SealAudit{})
	if report.Removed < 10 {
		t.Errorf("%+v: few leaves were removed", report)
	}
	c, err := openSQLite(filepath.Join(dir, storeName), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	leaves := map[string]bool{}
	each(t, c, `SELECT hashes FROM seal_run`, func(stmt *sqlite3.Stmt) {
		for h := stmt.ColumnRawBlob(0); len(h) > 0; h = h[hashSize:] {
			leaves[string(h[:hashSize])] = true
		}
	})
	var secrets []seal.Secret
	var salts []seal.Salt
	each(t, c, `SELECT secret FROM seal_secret`, func(stmt *sqlite3.Stmt) { secrets = append(secrets, seal.Secret(stmt.ColumnRawBlob(0))) })
	each(t, c, `SELECT salt FROM seal_salt`, func(stmt *sqlite3.Stmt) { salts = append(salts, seal.Salt(stmt.ColumnRawBlob(0))) })
	left := linesOf(t, dir)
	found, tried := 0, 0
	for id, line := range known {
		all := append(slices.Clone(salts), seal.Salt{})
		for i := range secrets {
			all = append(all, seal.RowSalt(&secrets[i], id))
		}
		for _, salt := range all {
			h := seal.LeafHash(&salt, []byte(line))
			bare := sha256.Sum256([]byte(line))
			switch guessed := leaves[string(h[:])] || leaves[string(bare[:])]; {
			case guessed && left[id] == line:
				found++ // the guesses are good: what is not forgotten is found so
			case guessed:
				t.Errorf("found by guessing: %s", line)
			}
		}
		if left[id] != line {
			tried++
		}
	}
	if found == 0 || tried < 10 {
		t.Errorf("%d lines found that are not forgotten, %d guessed of those that are", found, tried)
	}
}

// linesOf are the sealed lines of a log by their numbers, those of the ledger below zero.
func linesOf(t testing.TB, dir string) map[int64]string {
	t.Helper()
	db, err := openDatabase(context.Background(), filepath.Join(dir, storeName), &layout2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	lines := map[int64]string{}
	var r sealedRow
	bound := map[*devices.Binding]*sealedBinding{}
	err = db.query(selectSealedRows(db.layout), []any{int64(0)}, func(stmt *sqlite3.Stmt) bool {
		r.scan(&db.rows, stmt, bound)
		lines[r.ID] = string(r.Row.Append(nil))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.query(selectLedger, nil, func(stmt *sqlite3.Stmt) bool {
		var l seal.LedgerLine
		scanLedger(stmt, &l)
		lines[-l.ID] = string(l.Append(nil))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func each(t testing.TB, c *sqlite3.Conn, sql string, do func(*sqlite3.Stmt)) {
	t.Helper()
	stmt, _, err := c.Prepare(sql)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Close()
	for stmt.Step() {
		do(stmt)
	}
	if err := stmt.Err(); err != nil {
		t.Fatal(err)
	}
}

func TestForgettingPartOfADayKeepsTheRestSealed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	now := time.Now()
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), now.Add(-10*time.Second), 100)
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), now, 100)
	f := Forgetting{Devices: []DeviceSpan{{Device: "mac:02:00:00:00:00:01", Until: now}}}
	if _, err := l.Forget(context.Background(), f); err != nil {
		t.Fatal(err)
	}
	appendMany(t, l, p, rand.New(rand.NewPCG(9, 10)), now.Add(time.Second), 50)
	closeLog(t, l)
	if report := audit(t, dir, SealAudit{}); report.Removed == 0 || report.Rows == 0 {
		t.Errorf("%+v", report)
	}
}

// TestRetentionExplainsWhatIsGone deletes by age, and by hand beside it.
func TestRetentionExplainsWhatIsGone(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 100)
	closeLog(t, l)
	all := ids(t, dir, "listed")
	s := openForTest(t, dir)
	for _, part := range []int64{all[5], all[9]} {
		if _, err := s.deleteChunk("listed", part, 100, &seal.Removal{Time: 1, Of: seal.KindRow, Why: seal.ByAge}); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	if report := audit(t, dir, SealAudit{}); report.Removed != 9 || report.Rows != int64(len(all)-9) {
		t.Errorf("%+v", report)
	}
	execute(t, dir, fmt.Sprintf(`DELETE FROM listed WHERE id = %d`, all[9]))
	report := auditAny(t, dir, SealAudit{})
	if len(report.Problems) != 1 || report.Problems[0].ID != all[9] || !strings.Contains(report.Problems[0].What, "removed") {
		t.Errorf("%+v", report.Problems)
	}
}

func TestKeysAreHandedOver(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 20)
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	first := keyOf(t, dir).Public
	_, head := headOf(t, dir)

	l = open(t, Options{Dir: dir})
	second, before, err := l.RotateSealKey(context.Background())
	if err != nil || second == first || before != first || keyOf(t, dir).Public != second {
		t.Fatalf("%s behind %s, %v", second, before, err)
	}
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), time.Now(), 20)
	closeLog(t, l)
	report := audit(t, dir, SealAudit{Keys: []string{first}, Checkpoints: map[string][]byte{"head": head}})
	if !slices.Equal(report.Keys, []string{first, second}) || len(report.Unvouched) > 0 {
		t.Errorf("%+v", report)
	}

	os.Chmod(SealKeyPath(dir), 0o640) // others could have read it
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(9, 9)), time.Now(), 20)
	if last := l.Stats().LastError; !strings.Contains(last, "chmod 600") {
		t.Errorf("error %q", last)
	}
	if _, _, err := l.RotateSealKey(context.Background()); err == nil {
		t.Error("a key that others can read hands over")
	}
	closeLog(t, l)
	if after := audit(t, dir, SealAudit{}); after.Signed == after.Leaves || after.Rows <= report.Rows {
		t.Errorf("%+v: signed by a key that others can read, or not sealed", after)
	}
	os.Remove(SealKeyPath(dir)) // a new one, for which nobody vouches
	closeLog(t, open(t, Options{Dir: dir}))
	report = audit(t, dir, SealAudit{})
	if len(report.Keys) != 3 || len(report.Unvouched) != 1 {
		t.Errorf("%+v", report)
	}
	if report := auditAny(t, dir, SealAudit{Keys: []string{first}}); len(report.Problems) != 1 {
		t.Errorf("%+v", report)
	}
}

func TestARestoredStoreIsAnotherOrigin(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 20)
	closeLog(t, l)
	first := keyOf(t, dir)
	older := t.TempDir()
	copyStore(t, dir, older)
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), time.Now(), 20)
	closeLog(t, l)
	text, _ := os.ReadFile(filepath.Join(older, storeName)) // yesterday's file in place of today's
	if err := os.WriteFile(filepath.Join(dir, storeName), text, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(9, 9)), time.Now(), 20)
	closeLog(t, l)
	report := audit(t, dir, SealAudit{})
	if report.Origin == first.Origin() || len(report.Keys) != 2 || len(report.Unvouched) != 1 || keyOf(t, dir).Origin() != report.Origin {
		t.Errorf("%+v", report)
	}
	if report := auditAny(t, dir, SealAudit{Keys: []string{first.Public}}); len(report.Problems) != 1 {
		t.Errorf("the old key vouches for an older copy: %+v", report)
	}
	r, _ := OpenReader(dir)
	all, err := r.Ledger(context.Background(), time.Time{}, time.Time{})
	if err != nil || !slices.ContainsFunc(all, func(e Event) bool { return e.Kind == KindSealing && strings.Contains(e.Detail, "older copy") }) {
		t.Errorf("%v, %v", all, err)
	}
}

func TestANewStoreNamesTheOneBefore(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 20)
	closeLog(t, l)
	first := keyOf(t, dir)
	os.Remove(filepath.Join(dir, storeName))
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), time.Now(), 20)
	closeLog(t, l)
	if report := audit(t, dir, SealAudit{Keys: []string{first.Public}}); len(report.Keys) != 2 || !report.KeyKnown || len(report.Unvouched) > 0 {
		t.Errorf("%+v", report)
	}
}

func TestSealingIsSwitchedOff(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	for i, off := range []bool{false, true, true, false} {
		l := open(t, Options{Dir: dir, Unsealed: off})
		appendMany(t, l, p, rand.New(rand.NewPCG(uint64(i), 6)), time.Now(), 30)
		closeLog(t, l)
	}
	report := audit(t, dir, SealAudit{})
	if report.Unsealed == 0 || report.Rows == 0 || report.Rows+report.Unsealed != int64(len(ids(t, dir, "listed"))) {
		t.Errorf("%+v", report)
	}
}

// Damaged tables of the seal cost seals, and no lookup.
func TestADamagedSealDoesNotStopTheLog(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 30)
	closeLog(t, l)
	before := len(ids(t, dir, "listed"))
	execute(t, dir, `UPDATE seal_run SET hashes = x'00', first = first + 1 WHERE first = (SELECT max(first) FROM seal_run)`)
	l = open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(7, 8)), time.Now(), 30)
	if last := l.Stats().LastError; !strings.Contains(last, "seal") {
		t.Errorf("error %q", last)
	}
	closeLog(t, l)
	if got := len(ids(t, dir, "listed")); got <= before {
		t.Errorf("%d rows, as before", got)
	}
	if report := auditAny(t, dir, SealAudit{}); len(report.Problems) == 0 {
		t.Error("the damage is not found")
	}
}

// tamper changes a row and its leaf's hash, as who has the store and not the key can.
// All leaves are of fewer than a block.
func tamper(t testing.TB, dir string) {
	t.Helper()
	all := ids(t, dir, "listed")
	id := all[3]
	execute(t, dir, fmt.Sprintf(`UPDATE listed SET count = count + 41 WHERE id = %d`, id))
	setLeaf(t, dir, id, hashOf(t, dir, id), all)
}

// hashOf is the hash that a row's leaf would have.
func hashOf(t testing.TB, dir string, id int64) (h seal.Hash) {
	t.Helper()
	h, _ = hashAndDeviceOf(t, dir, id)
	return h
}

func hashAndDeviceOf(t testing.TB, dir string, id int64) (h seal.Hash, device string) {
	t.Helper()
	db, err := openDatabase(context.Background(), filepath.Join(dir, storeName), &layout2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	a := &sealAuditor{db: db, report: &SealReport{}}
	defer a.close()
	if err := a.read(); err != nil {
		t.Fatal(err)
	}
	var bad error
	err = db.query(selectSealedRows(db.layout), []any{id}, func(stmt *sqlite3.Stmt) bool {
		h, _, bad = a.hashRow(stmt)
		return false
	})
	if err != nil || bad != nil {
		t.Fatal(err, bad)
	}
	return h, a.row.Device
}

func setLeaf(t testing.TB, dir string, id int64, h seal.Hash, all []int64) {
	t.Helper()
	place := 0
	for _, other := range all {
		if other>>rowBits == id>>rowBits && other < id {
			place++
		}
	}
	n := execute(t, dir, fmt.Sprintf(`UPDATE seal_run SET hashes = unhex(substr(hex(hashes), 1, %d) || '%x' || substr(hex(hashes), %d))
		WHERE first = (SELECT first FROM seal_run WHERE kind = 1 AND base <= %d ORDER BY base DESC LIMIT 1)`, place*2*hashSize, h[:], (place+1)*2*hashSize+1, id))
	if n != 1 {
		t.Fatalf("%d leaves changed", n)
	}
}

// The server starts with a row that was changed together with its leaf: the old key must not
// vouch for it, whatever number the store has.
func TestNobodyVouchesForAChangedStore(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 100)
	closeLog(t, l)
	public := keyOf(t, dir).Public
	tamper(t, dir)
	renumbered := t.TempDir()
	copyStore(t, dir, renumbered)
	execute(t, renumbered, `UPDATE meta SET value = '00000000deadbeef' WHERE key = 'store'`)
	for _, dir := range []string{dir, renumbered} {
		report := auditAny(t, dir, SealAudit{})
		for _, what := range []string{"another root", "its number was changed"} {
			if dir != renumbered && what != "another root" {
				continue
			}
			if !slices.ContainsFunc(report.Problems, func(p SealProblem) bool { return strings.Contains(p.What, what) }) {
				t.Errorf("the audit before the start does not say %q: %+v", what, report)
			}
		}
		closeLog(t, open(t, Options{Dir: dir}))
		if report := auditAny(t, dir, SealAudit{}); len(report.Unvouched) != 1 {
			t.Errorf("%+v", report)
		}
		if report := auditAny(t, dir, SealAudit{Keys: []string{public}}); len(report.Problems) != 1 || report.Problems[0].Kind != seal.KindHandover {
			t.Errorf("the old key vouches: %+v", report)
		}
	}
}

// Damaged tables of the seal keep nothing from being deleted.
func TestADamagedSealDoesNotStopDeletion(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 900)
	closeLog(t, l)
	all := ids(t, dir, "listed")
	for _, sql := range []string{`DELETE FROM seal_node WHERE n = 0`, `DELETE FROM seal_node WHERE n = 1`, `INSERT INTO seal_node SELECT 1 + max(n), zeroblob(32) FROM seal_node`} {
		d := t.TempDir()
		copyStore(t, dir, d)
		if execute(t, d, sql) != 1 {
			t.Fatalf("%s: nothing changed", sql)
		}
		if report := auditAny(t, d, SealAudit{}); len(report.Problems) == 0 {
			t.Errorf("%s: not found", sql)
		}
		s := openForTest(t, d)
		if s.seal.damaged == nil {
			t.Errorf("%s: not damaged", sql)
		}
		if n, err := s.deleteChunk("listed", all[5], 100, &seal.Removal{Time: 1, Of: seal.KindRow, Why: seal.ByAge}); n != 5 || err != nil {
			t.Errorf("%s: %d rows deleted, %v", sql, n, err)
		}
		s.close()
		l := open(t, Options{Dir: d})
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if _, err := l.Forget(ctx, Forgetting{Devices: []DeviceSpan{{Device: "mac:02:00:00:00:00:01"}}, Words: []string{"mac:02:00:00:00:00:01"}}); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		cancel()
		closeLog(t, l)
	}
}

// A key that was lost for a while signs again: who trusts it trusts what it signs now.
func TestAKeyIsPutBack(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	closeLog(t, open(t, Options{Dir: dir}))
	text, err := os.ReadFile(SealKeyPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	public := keyOf(t, dir).Public
	os.Remove(SealKeyPath(dir))
	closeLog(t, open(t, Options{Dir: dir}))
	if err := os.WriteFile(SealKeyPath(dir), text, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 20)
	closeLog(t, l)
	if report := audit(t, dir, SealAudit{Keys: []string{public}}); len(report.Keys) != 3 || len(report.Unvouched) != 2 {
		t.Errorf("%+v", report)
	}
}

// The new key's file does not get its name, or cannot be read for a while: the key that
// the log names signs all the same, and is not lost.
func TestANewKeyIsNotLost(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(5, 6)), time.Now(), 20)
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	first := keyOf(t, dir).Public
	os.Remove(SealKeyPath(dir))
	if err := os.MkdirAll(filepath.Join(SealKeyPath(dir), "x"), 0o700); err != nil { // in its way
		t.Fatal(err)
	}
	if _, _, err := l.RotateSealKey(context.Background()); err == nil {
		t.Error("the file has its name")
	}
	closeLog(t, l)
	os.RemoveAll(SealKeyPath(dir))
	report := audit(t, dir, SealAudit{Keys: []string{first}})
	if len(report.Keys) != 2 || report.Signed != report.Leaves {
		t.Errorf("%+v", report)
	}
	unfinished := filepath.Join(dir, sealDir, sealNewKeyName)
	os.Chmod(unfinished, 0o640)
	closeLog(t, open(t, Options{Dir: dir}))
	os.Chmod(unfinished, 0o600)
	closeLog(t, open(t, Options{Dir: dir}))
	if got := keyOf(t, dir).Public; got != report.Keys[1] {
		t.Errorf("%s signs, want %s", got, report.Keys[1])
	}
	audit(t, dir, SealAudit{Keys: []string{first}})
}

// What the message advises is done while the server runs.
func TestAKeyIsMendedWhileTheLogIsOpen(t *testing.T) {
	dir := t.TempDir()
	closeLog(t, open(t, Options{Dir: dir}))
	os.Chmod(SealKeyPath(dir), 0o640)
	l := open(t, Options{Dir: dir})
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	os.Chmod(SealKeyPath(dir), 0o600)
	if _, _, err := l.RotateSealKey(context.Background()); err != nil {
		t.Error(err)
	}
	closeLog(t, l)
	if report := audit(t, dir, SealAudit{}); report.Signed != report.Leaves || len(report.Unvouched) > 0 || len(report.Keys) != 2 {
		t.Errorf("%+v", report)
	}
}

// The key is used as soon as it can be, without a restart.
func TestAKeyIsReadAgainWhileTheLogIsOpen(t *testing.T) {
	dir := t.TempDir()
	closeLog(t, open(t, Options{Dir: dir}))
	before, path := keyOf(t, dir).Public, SealKeyPath(dir)
	os.Chmod(path, 0o640)
	var said strings.Builder
	l := open(t, Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	checkpoint := func(fails string) {
		t.Helper()
		err := l.importing(context.Background(), func(s *storer) error { s.checkpointNow(); return nil })
		if got := l.Stats().LastError; err != nil || !strings.Contains(got, fails) || fails == "" && got != "" {
			t.Errorf("%v, %q, want %q", err, got, fails)
		}
	}
	checkpoint("can be read by others")
	os.Rename(path, path+".mine")
	checkpoint("can be read by others")
	if _, err := os.Stat(path); err == nil {
		t.Error("another key was made while the old one was away")
	}
	os.Chmod(path+".mine", 0o600)
	os.Rename(path+".mine", path)
	checkpoint("")
	was, _ := headOf(t, dir)
	l.Append([]Record{lookup(t, policy(t, sealedList), time.Now(), phone(1), "a.tracker.example")})
	if err := l.endWindow(context.Background()); err != nil {
		t.Fatal(err)
	}
	checkpoint("")
	if head, _ := headOf(t, dir); head.Size <= was.Size {
		t.Errorf("%d leaves are signed, as before", head.Size)
	}
	closeLog(t, l)
	if report := audit(t, dir, SealAudit{}); !slices.Equal(report.Keys, []string{before}) {
		t.Errorf("%q", report.Keys)
	}
	if got, want := said.String(), "lookups are stored all the same"; !strings.Contains(got, want) || strings.Contains(got, "in memory") {
		t.Errorf("it said %q, want %q", got, want)
	}
}

// A checkpoint is signed at every second move of pages only: what the last move left unsigned is signed though
// nothing more is stored.
func TestALogThatBecomesQuietIsSigned(t *testing.T) {
	for moves := range 2 {
		synctest.Test(t, func(t *testing.T) {
			p, dir := policy(t, sealedList), t.TempDir()
			l := open(t, Options{Dir: dir})
			for end := time.Now().Add(time.Duration(moves)*checkpointEvery + checkpointEvery/2); time.Now().Before(end); time.Sleep(5 * time.Second) {
				l.Append([]Record{lookup(t, p, time.Now(), phone(1), "a.tracker.example")})
			}
			time.Sleep(2*checkpointEvery + heartbeatEvery)
			synctest.Wait()
			var leaves int64
			if err := l.importing(t.Context(), func(s *storer) error { leaves = s.store.seal.tree.Size(); return nil }); err != nil {
				t.Fatal(err)
			}
			if head, _ := headOf(t, dir); head.Size != leaves || leaves == 0 {
				t.Errorf("%d moves: got a checkpoint of %d leaves, want all %d", moves, head.Size, leaves)
			}
			closeLog(t, l)
		})
	}
}

// A key that can be used again signs though nothing more is stored.
func TestAKeyIsReadAgainWhileTheLogIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		closeLog(t, open(t, Options{Dir: dir}))
		os.Chmod(SealKeyPath(dir), 0o640)
		l := open(t, Options{Dir: dir})
		time.Sleep(2 * checkpointEvery)
		os.Chmod(SealKeyPath(dir), 0o600)
		time.Sleep(2 * checkpointEvery)
		synctest.Wait()
		if got := l.Stats().LastError; got != "" {
			t.Errorf("got %q, want no error: the key can be used", got)
		}
		closeLog(t, l)
	})
}

func TestSignedIsToldEachCheckpoint(t *testing.T) {
	dir := t.TempDir()
	var heads []seal.Checkpoint
	var notes [][]byte
	for range 2 {
		l := open(t, Options{Dir: dir, Signed: func(c seal.Checkpoint, note []byte) {
			heads, notes = append(heads, c), append(notes, slices.Clone(note))
		}})
		l.Append([]Record{lookup(t, policy(t, sealedList), time.Now(), phone(1), "a.tracker.example")})
		closeLog(t, l)
		if want, text := headOf(t, dir); len(heads) == 0 || heads[len(heads)-1] != want || string(notes[len(notes)-1]) != string(text) {
			t.Errorf("%+v was told, and signed was %+v", heads, want)
		}
	}
	if len(heads) < 2 || heads[0].Size >= heads[len(heads)-1].Size {
		t.Errorf("%+v", heads)
	}
	for i, note := range notes {
		if c, err := seal.OpenCheckpoint(note, keyOf(t, dir).Public); err != nil || c != heads[i] {
			t.Errorf("%+v, %v, want %+v", c, err, heads[i])
		}
	}
}

// A row is put in between, with a leaf at the end that the server then signs.
func TestARowThatIsPutInLaterIsFound(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	for i, off := range []bool{false, true, false} {
		l := open(t, Options{Dir: dir, Unsealed: off})
		appendMany(t, l, p, rand.New(rand.NewPCG(uint64(i), 6)), time.Now(), 30)
		closeLog(t, l)
	}
	audit(t, dir, SealAudit{})
	all := ids(t, dir, "listed")
	other := t.TempDir()
	copyStore(t, dir, other)
	putRow(t, other, all[len(all)-1]+3, `1`)
	if report := auditAny(t, other, SealAudit{}); report.Imported != 1 {
		t.Errorf("%+v", report)
	}
	wantPutIn(t, dir, all[0])
}

// The row was not written when sealing began, and nothing that is sealed has a number above.
func TestARowThatIsPutInBeforeTheStartIsFound(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	for _, off := range []bool{true, false} {
		l := open(t, Options{Dir: dir, Unsealed: off})
		if off {
			appendMany(t, l, p, rand.New(rand.NewPCG(1, 6)), time.Now(), 30)
		}
		closeLog(t, l)
	}
	audit(t, dir, SealAudit{})
	wantPutIn(t, dir, ids(t, dir, "listed")[0])
}

// putRow puts in a copy of a row with another number.
func putRow(t *testing.T, dir string, id int64, imported string) {
	execute(t, dir, fmt.Sprintf(`CREATE TEMP TABLE x AS SELECT * FROM listed ORDER BY id LIMIT 1; UPDATE x SET id = %d, count = 77, import = %s; INSERT INTO listed SELECT * FROM x`, id, imported))
}

// wantPutIn puts a row into the window of another, and a leaf of it at the end: the audit has to
// name it.
func wantPutIn(t *testing.T, dir string, before int64) {
	t.Helper()
	id := before>>rowBits<<rowBits + 1<<rowBits - 1
	putRow(t, dir, id, `import`)
	_, device := hashAndDeviceOf(t, dir, id)
	s := openForTest(t, dir)
	if err := s.transact(func() error { _, err := s.seal.salter(secretKey{device, seal.Day(id)}); return err }); err != nil {
		t.Fatal(err)
	}
	s.close()
	h := hashOf(t, dir, id)
	s = openForTest(t, dir)
	if err := s.transact(func() error { return errors.Join(s.seal.add(sealRows, id, h), s.seal.flush()) }); err != nil {
		t.Fatal(err)
	}
	s.close()
	if report := auditAny(t, dir, SealAudit{}); len(report.Problems) == 0 || !slices.ContainsFunc(report.Problems, func(p SealProblem) bool { return p.ID == id && strings.Contains(p.What, "put in later") }) {
		t.Errorf("%+v", report.Problems)
	}
}

// Names are read in order, and asked for in any.
func TestNamesAreThoseOfTheirNumbersInAnyOrder(t *testing.T) {
	dir := t.TempDir()
	openForTest(t, dir).close()
	var sql strings.Builder
	want := map[int64]string{}
	for period := range int64(4) {
		for n := range int64(3000) {
			if n%7 == 0 { // a name that was deleted
				continue
			}
			id := period<<nameBits + n
			want[id] = fmt.Sprintf("n%d.p%d.example", n, period)
			fmt.Fprintf(&sql, "INSERT INTO listed_name VALUES (%d, '%s');", id, want[id])
		}
	}
	execute(t, dir, "BEGIN;"+sql.String()+"COMMIT")
	db, err := openDatabase(context.Background(), filepath.Join(dir, storeName), &layout2)
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	names := newNameCursor()
	defer names.close()
	rng, at := rand.New(rand.NewPCG(7, 8)), int64(0)
	for range 30_000 {
		switch rng.IntN(10) {
		case 0:
			at = rng.Int64N(5)<<nameBits + rng.Int64N(3100)
		case 1:
			at = max(0, at-rng.Int64N(9000))
		default:
			at += rng.Int64N(12)
		}
		if got := names.name(&db.rows, at); got != want[at] {
			t.Fatalf("name %d: %q, want %q", at, got, want[at])
		}
	}
	if db.rows.err != nil {
		t.Error(db.rows.err)
	}
}

// Each column of a row is in its leaf: a change of any that can be seen in the row is named.
func TestAChangeOfAnyColumnIsNamed(t *testing.T) {
	p, dir := policy(t, sealedList), t.TempDir()
	l := open(t, Options{Dir: dir})
	appendMany(t, l, p, rand.New(rand.NewPCG(3, 4)), time.Now(), 5)
	closeLog(t, l)
	id := ids(t, dir, "listed")[2]
	var columns []string
	c, err := openSQLite(filepath.Join(dir, storeName), 0)
	if err != nil {
		t.Fatal(err)
	}
	stmt, _, err := c.Prepare(`SELECT name FROM pragma_table_info('listed')`)
	if err != nil {
		t.Fatal(err)
	}
	for stmt.Step() {
		columns = append(columns, stmt.ColumnText(0))
	}
	if err := errors.Join(stmt.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	before := rows(t, dir, Filter{})
	seen := 0
	for _, column := range columns {
		if column == "leaf" { // nothing of a row
			continue
		}
		changed := t.TempDir()
		copyStore(t, dir, changed)
		value := `CASE typeof(` + column + `) WHEN 'text' THEN ` + column + ` || 'x' WHEN 'blob' THEN x'0a0a0a0a' ELSE coalesce(` + column + `, 0) + 1 END`
		if execute(t, changed, fmt.Sprintf(`UPDATE listed SET %s = %s WHERE id = %d`, column, value, id)) != 1 {
			t.Fatalf("%s is not changed", column)
		}
		if reflect.DeepEqual(rows(t, changed, Filter{}), before) { // it refers to nothing, as before
			continue
		}
		seen++
		r, err := OpenReader(changed)
		if err != nil {
			t.Fatal(err)
		}
		if report, err := r.AuditSeal(context.Background(), SealAudit{}); err == nil && len(report.Problems) == 0 {
			t.Errorf("a change of %s is not named", column)
		}
	}
	if seen < 20 {
		t.Errorf("%d changes that are seen test little, of columns %q", seen, columns)
	}
}

// What is forgotten of a time before sealing was off for a while is stated, too: of rows that this server
// recorded, and of imported ones.
func TestRemovalsFromBeforeSealingWasOffAreStated(t *testing.T) {
	for _, imported := range []bool{false, true} {
		p, dir := policy(t, sealedList), t.TempDir()
		l := open(t, Options{Dir: dir})
		device := phone(1).Device
		if imported {
			imports(t, l, importOf(t, 0, elsewhere(t, hourAgo(), "192.168.1.7", "tracker.example", blocklists.Block), elsewhere(t, hourAgo(), "192.168.1.8", "tracker.example", blocklists.Block)))
			device = "addr:192.168.1.7"
		} else {
			other := *phone(2)
			other.Device = "other"
			l.Append([]Record{lookup(t, p, time.Now(), phone(1), "tracker.example"), lookup(t, p, time.Now(), &other, "tracker.example")})
		}
		closeLog(t, l)
		closeLog(t, open(t, Options{Dir: dir, Unsealed: true}))
		l = open(t, Options{Dir: dir})
		if _, err := l.Forget(context.Background(), Forgetting{Devices: []DeviceSpan{{Device: device}}}); err != nil {
			t.Fatal(err)
		}
		closeLog(t, l)
		if report := audit(t, dir, SealAudit{}); report.Removed != 1 || report.Rows != 1 {
			t.Errorf("imported: %v: %d removals are stated, and %d rows are there, want 1 and 1", imported, report.Removed, report.Rows)
		}
	}
}
