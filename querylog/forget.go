package querylog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/querylog/seal"
)

// Forgetting a device deletes what the log has of it: its rows with the names that
// nobody else asked for, its totals and bindings, and its identity in the ledger's
// lines. What holds copies goes as well: the journals of stored windows, the store's
// write-ahead log, and damaged files that were set aside. All else goes on meanwhile:
// windows that are to be stored come first. A step that is cut short is done again when
// Forget is called again with the same.

// A Forgetting says what is to be forgotten.
type Forgetting struct {
	Devices  []DeviceSpan
	Node     string   // at a centre: what this node sent, of the devices, or all of it where there are none; "" for all nodes
	Words    []string // identities, MACs, addresses and names that no line of the ledger is to have any more
	Bindings []uint64 // in force until now: lookups that still come with one of them are not recorded
}

// Forgotten says what was deleted.
type Forgotten struct {
	Rows, Lookups, Bindings, Hours int64
	Lines                          int64    // of the ledger, now without the device
	Files                          []string // set aside, in which it was
}

var errClosed = errors.New("the query log is closed")

// errForgetting means that it cannot be forgotten now.
var errForgetting = errors.New("a device is being forgotten: wait until that is done")

// Forget deletes, and returns when all is done. Where ctx ends before, it goes on.
func (l *Log) Forget(ctx context.Context, f Forgetting) (Forgotten, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return Forgotten{}, errClosed
	}
	dropped := make(map[uint64]bool, len(l.forgotten)+len(f.Bindings))
	for id := range l.forgotten {
		dropped[id] = true
	}
	for _, id := range f.Bindings {
		dropped[id] = true
	}
	l.forgotten = dropped
	l.mu.Unlock()
	if err := l.endWindow(ctx); err != nil {
		return Forgotten{}, err
	}
	r := &forgetRun{Forgetting: f, ended: make(chan struct{}), periods: map[string]map[int64]bool{}}
	r.steps = append(r.steps, (*forgetRun).findBindings, (*forgetRun).deleteSums)
	for _, table := range rowTables {
		r.periods[table] = map[int64]bool{}
		r.steps = append(r.steps, r.deleteRows(table), r.deleteNames(table))
	}
	for i := range f.Devices {
		r.steps = append(r.steps, r.deleteTotals(&f.Devices[i]))
	}
	if len(f.Devices) == 0 && f.Node != "" {
		r.steps = append(r.steps, r.deleteTotals(&DeviceSpan{}))
	}
	r.steps = append(r.steps, (*forgetRun).destroySecrets, (*forgetRun).deleteOthers, (*forgetRun).cleanLedger, (*forgetRun).emptyFiles, (*forgetRun).removeAside)
	if !l.storer.forgetting.CompareAndSwap(nil, r) {
		return Forgotten{}, errForgetting
	}
	wake(l.storer.q.more)
	select {
	case <-r.ended:
		return r.result, r.err
	case <-ctx.Done():
		return r.result, fmt.Errorf("forgetting goes on: %w", ctx.Err())
	case <-l.stopped:
		return r.result, errors.New("the server stopped: forgetting goes on when it starts again")
	}
}

// endWindow returns when the open window, with all that was appended so far, is closed.
func (l *Log) endWindow(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case l.ends <- done:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return errClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.stopped:
		return errClosed
	}
}

// A forgetRun is a Forgetting under way. It is the store goroutine's; what it has
// counted is the caller's once ended is closed.
type forgetRun struct {
	Forgetting
	steps   []func(*forgetRun, *storer) (done bool, err error)
	where   string // the condition on a row
	args    []any
	own     []int64 // bindings that are the forgotten devices' alone
	node    int64   // number of Node; 0 for any, -1 for one that there is not
	after   int64   // the last row looked at
	periods map[string]map[int64]bool
	retry   time.Time // when to try again what others hold
	result  Forgotten
	err     error // why the rest of it cannot be done
	ended   chan struct{}
}

const (
	forgetPage  = 5_000                  // rows looked at in a step
	forgetRetry = 100 * time.Millisecond // between two tries to empty files that others read
)

// forget does one step of what is to be forgotten, and reports whether more is due at
// once.
func (s *storer) forget() (more bool) {
	r := s.forgetting.Load()
	if r == nil || time.Now().Before(r.retry) {
		return false
	}
	if s.store.old != nil {
		r.retry = time.Now().Add(forgetRetry) // until all of it is copied
		return false
	}
	done, err := r.steps[0](r, s)
	if isCorrupt(err) {
		if err = s.replaceStore(err); err == nil {
			return true
		}
	}
	if isStatementWrong(err) { // it would be wrong the next time, too
		r.err = fmt.Errorf("not all is forgotten: %w", err)
		s.forgetting.Store(nil)
		close(r.ended)
		return false
	}
	if err != nil {
		s.failed(err)
		return false
	}
	if s.failing {
		s.succeeded()
	}
	if done {
		r.steps = r.steps[1:]
	}
	if len(r.steps) == 0 {
		what := "a device was forgotten"
		if len(r.Devices) == 0 && r.Node != "" {
			what = "what node " + r.Node + " sent was forgotten"
		}
		s.l.addEvent(Event{Kind: KindForgotten, Detail: what + fmt.Sprintf(": %d lookups in %d rows, %d bindings and %d hourly totals of it were deleted",
			r.result.Lookups, r.result.Rows, r.result.Bindings, r.result.Hours)})
		s.forgetting.Store(nil)
		close(r.ended)
	}
	return len(r.steps) > 0 && !time.Now().Before(r.retry)
}

// isStatementWrong reports whether SQLite refuses what it is told, rather than that a file cannot be read or written now.
func isStatementWrong(err error) bool {
	return errors.Is(err, sqlite3.ERROR) || errors.Is(err, sqlite3.TOOBIG) || errors.Is(err, sqlite3.RANGE) || errors.Is(err, sqlite3.MISUSE) || errors.Is(err, sqlite3.MISMATCH)
}

// A rowsOfSpan says which rows are of devices in one span of time.
type rowsOfSpan struct {
	ids     []string // of their bindings
	clients []string // addresses of those that have none
}

// anyOf joins conditions so that SQLite's tree of them is not as deep as they are many.
func anyOf(conditions []string) string {
	if n := len(conditions); n > 1 {
		return `(` + anyOf(conditions[:n/2]) + ` OR ` + anyOf(conditions[n/2:]) + `)`
	}
	return strings.Join(conditions, ``)
}

// findBindings finds out by which numbers rows are of the devices.
func (r *forgetRun) findBindings(s *storer) (bool, error) {
	r.where, r.args, r.own = "", nil, nil
	theirs, err := r.findNode(s.store)
	if err != nil {
		return false, err
	}
	var order []string
	spans := map[string]*rowsOfSpan{}
	for i := range r.Devices {
		d := &r.Devices[i]
		during := ``
		if !d.From.IsZero() {
			during += ` AND first >= ` + strconv.FormatInt(d.From.UnixMilli(), 10)
		}
		if !d.Until.IsZero() {
			during += ` AND first < ` + strconv.FormatInt(d.Until.UnixMilli(), 10)
		}
		of := spans[during]
		if of == nil {
			of = &rowsOfSpan{}
			spans[during], order = of, append(order, during)
		}
		err := s.store.texts(`SELECT id, since, until FROM binding WHERE device = ?`, func(stmt *sqlite3.Stmt) {
			id, since, until := stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)
			if r.Node != "" && !theirs[id>>shippedBindings] {
				return
			}
			of.ids = append(of.ids, strconv.FormatInt(id, 10))
			began := d.From.IsZero() || since >= d.From.UnixMilli()
			ended := d.Until.IsZero() || until != 0 && until <= d.Until.UnixMilli()
			if began && ended {
				r.own = append(r.own, id)
			}
		}, d.Device)
		if err != nil {
			return false, err
		}
		if addr, ok := strings.CutPrefix(d.Device, "addr:"); ok {
			of.clients = append(of.clients, addr)
		}
	}
	var conditions []string
	for _, during := range order {
		of := spans[during]
		one := `binding IN (` + strings.Join(of.ids, `,`) + `)`
		if len(of.clients) > 0 {
			clients, err := json.Marshal(of.clients)
			if err != nil {
				return false, err
			}
			one += ` OR binding = 0 AND client IN (SELECT value FROM json_each(?))`
			r.args = append(r.args, string(clients))
		}
		conditions = append(conditions, `((`+one+`)`+during+`)`)
	}
	r.where = anyOf(conditions)
	switch of := `node = ` + strconv.FormatInt(r.node, 10); {
	case r.Node == "":
	case len(r.Devices) > 0:
		r.where = of + ` AND (` + r.where + `)`
	default:
		r.where = of
		err = s.store.texts(`SELECT id FROM binding`, func(stmt *sqlite3.Stmt) {
			if id := stmt.ColumnInt64(0); theirs[id>>shippedBindings] {
				r.own = append(r.own, id)
			}
		})
	}
	return err == nil, err
}

// findNode finds the node's number, and the bits by which bindings of its stores are told from others.
func (r *forgetRun) findNode(s *store) (theirs map[int64]bool, err error) {
	if r.Node == "" {
		return nil, nil
	}
	r.node, theirs = -1, map[int64]bool{}
	if err := s.texts(`SELECT id FROM node WHERE name = ?`, func(stmt *sqlite3.Stmt) { r.node = stmt.ColumnInt64(0) }, r.Node); err != nil {
		return nil, err
	}
	if err := s.conn.Exec(createShipped); err != nil {
		return nil, err
	}
	return theirs, s.texts(`SELECT id FROM shipped_store WHERE node = ?`, func(stmt *sqlite3.Stmt) {
		theirs[int64(importedBindings)>>shippedBindings+stmt.ColumnInt64(0)] = true
	}, r.Node)
}

// deleteSums deletes the sums by day, which are made again of the rows that are left.
func (r *forgetRun) deleteSums(s *storer) (bool, error) {
	if err := s.store.transact(s.store.dropSums); err != nil {
		return false, err
	}
	return s.store.deleteSums()
}

// deleteRows looks at the next rows of a table, and deletes those of the devices.
func (r *forgetRun) deleteRows(table string) func(*forgetRun, *storer) (bool, error) {
	return func(_ *forgetRun, s *storer) (done bool, err error) {
		if r.where == "" {
			return true, nil
		}
		end, err := s.store.number(fmt.Sprintf(`SELECT coalesce(max(id), 0) FROM (SELECT id FROM %s WHERE id > ? ORDER BY id LIMIT %d)`, table, forgetPage), r.after)
		if err != nil || end == 0 {
			r.after = 0
			return err == nil, err
		}
		condition := fmt.Sprintf(` FROM %s WHERE id > %d AND id <= %d AND (%s)`, table, r.after, end, r.where)
		var rows, lookups int64
		var ids []int64
		periods := map[int64]bool{}
		err = s.store.transact(func() error {
			err := s.store.texts(`SELECT id, count`+condition, func(stmt *sqlite3.Stmt) {
				rows++
				lookups += stmt.ColumnInt64(1)
				periods[stmt.ColumnInt64(0)>>periodRows] = true
				ids = append(ids, stmt.ColumnInt64(0))
			}, r.args...)
			if err != nil || rows == 0 {
				return err
			}
			if table == "listed" {
				if err := s.store.seal.stateIDs(s.removal(seal.KindRow, seal.ByForgotten), ids); err != nil {
					return err
				}
				if err := s.store.dropSums(); err != nil {
					return err
				}
			}
			return s.store.texts(`DELETE`+condition, nil, r.args...)
		})
		if err != nil {
			return false, err
		}
		r.result.Rows += rows
		r.result.Lookups += lookups
		for p := range periods {
			r.periods[table][p] = true
		}
		r.after = end
		return false, nil
	}
}

// deleteNames deletes the names that the rows of a table had and no other has.
func (r *forgetRun) deleteNames(table string) func(*forgetRun, *storer) (bool, error) {
	return func(_ *forgetRun, s *storer) (bool, error) {
		for p := range r.periods[table] {
			s.store.forgetNames() // they might be among those that are deleted
			s.store.setIsStale(table, p)
			err := s.store.transact(func() error {
				if err := s.store.exec(`UPDATE `+table+`_set SET bits = x'' WHERE id = ?`, p); err != nil {
					return err
				}
				return s.store.exec(fmt.Sprintf(`DELETE FROM %[1]s_name WHERE id BETWEEN %[2]d AND %[3]d AND id & %[4]d NOT IN (
					SELECT name FROM %[1]s WHERE id BETWEEN %[5]d AND %[6]d AND name IS NOT NULL UNION
					SELECT alias FROM %[1]s WHERE id BETWEEN %[5]d AND %[6]d AND alias IS NOT NULL)`,
					table, p<<nameBits, p<<nameBits|(1<<nameBits-1), 1<<nameBits-1, p<<periodRows, p<<periodRows|(1<<periodRows-1)))
			})
			if err != nil {
				return false, err
			}
			delete(r.periods[table], p)
			return len(r.periods[table]) == 0, nil
		}
		return true, nil
	}
}

// deleteTotals deletes the next hourly totals of a device. Those of an hour of which rows are left are made again.
func (r *forgetRun) deleteTotals(d *DeviceSpan) func(*forgetRun, *storer) (bool, error) {
	return func(_ *forgetRun, s *storer) (bool, error) {
		n, done, err := s.store.forgetTotals(d, r.node, forgetPage)
		r.result.Hours += n
		if !done || err != nil {
			return false, err
		}
		for _, hour := range d.partHours() {
			if err := s.store.countAgain(d.Device, r.node, hour); err != nil {
				return false, err
			}
		}
		return true, nil
	}
}

// deleteOthers deletes what the devices have of the hours of unlisted rows, and their
// bindings.
func (r *forgetRun) deleteOthers(s *storer) (bool, error) {
	var hours, bindings int64
	err := s.store.transact(func() error {
		for i := range r.Devices {
			if r.Node != "" { // nodes ship totals alone
				break
			}
			d := &r.Devices[i]
			sql, args := `DELETE FROM hour WHERE device = ?`, []any{d.Device}
			if !d.From.IsZero() {
				sql, args = sql+` AND hour >= ?`, append(args, d.From.UnixMilli())
			}
			if !d.Until.IsZero() {
				sql, args = sql+` AND hour < ?`, append(args, d.Until.UnixMilli())
			}
			if err := s.store.texts(sql, nil, args...); err != nil {
				return err
			}
			hours += s.store.conn.Changes()
		}
		for _, id := range r.own {
			if err := s.store.exec(`DELETE FROM binding WHERE id = ?`, id); err != nil {
				return err
			}
			bindings += s.store.conn.Changes()
		}
		s.store.forgetBindings() // a row that needs one brings it along
		return nil
	})
	if err != nil {
		return false, err
	}
	r.result.Hours += hours
	r.result.Bindings += bindings
	return true, nil
}

// forgottenWord stands in lines of the ledger where a device was.
const forgottenWord = "(forgotten)"

// cleanLedger takes the devices out of the ledger's lines.
func (r *forgetRun) cleanLedger(s *storer) (bool, error) {
	type line struct {
		id              int64
		subject, detail string
	}
	var lines []line
	if len(r.Devices) == 0 && r.Node != "" { // a centre's log is not sealed
		err := s.store.transact(func() error { return s.store.exec(`DELETE FROM ledger WHERE node = ?`, r.node) })
		return err == nil, err
	}
	words := spelled(r.Words)
	err := s.store.texts(`SELECT id, subject, detail FROM ledger WHERE ?1 = 0 OR node = ?1 ORDER BY id`, func(stmt *sqlite3.Stmt) {
		l := line{stmt.ColumnInt64(0), stmt.ColumnText(1), stmt.ColumnText(2)}
		subject, detail := withoutWords(l.subject, words), withoutWords(l.detail, words)
		if subject != l.subject || detail != l.detail {
			lines = append(lines, line{l.id, subject, detail})
		}
	}, r.node)
	if err != nil {
		return false, err
	}
	err = s.store.transact(func() error {
		var ids []int64
		for _, l := range lines {
			if err := s.store.texts(`UPDATE ledger SET subject = ?, detail = ? WHERE id = ?`, nil, l.subject, l.detail, l.id); err != nil {
				return err
			}
			ids = append(ids, l.id)
		}
		return s.store.seal.sealAgain(s.removal(seal.KindLedger, seal.ByForgotten), ids)
	})
	if err == nil {
		r.result.Lines += int64(len(lines))
	}
	return err == nil, err
}

// withoutWords returns a text in which no word stands any more. The words are as spelled returns them.
func withoutWords(text string, words []string) string {
	for _, w := range words {
		for at := wordAt(text, w, 0); at >= 0; at = wordAt(text, w, at+len(forgottenWord)) {
			text = text[:at] + forgottenWord + text[at+len(w):]
		}
	}
	return text
}

// HasWord reports whether one of the words stands in a text, not as a part of a longer one.
func HasWord(text string, words []string) bool {
	return slices.ContainsFunc(spelled(words), func(w string) bool { return wordAt(text, w, 0) >= 0 })
}

// spelled returns words as they are, and as JSON has those that it writes in another way:
// some details of the ledger are JSON. Long ones come first, for a short one may be a part of them.
func spelled(words []string) []string {
	all := slices.Clone(words)
	for _, w := range words {
		if quoted, err := json.Marshal(w); err == nil && string(quoted[1:len(quoted)-1]) != w {
			all = append(all, string(quoted[1:len(quoted)-1]))
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// wordAt returns where a word next stands in a text, not as a part of a longer one; -1 for
// nowhere.
func wordAt(text, word string, from int) int {
	for word != "" {
		i := strings.Index(text[from:], word)
		if i < 0 {
			break
		}
		if i += from; !partOfWord(text, i, i+len(word)) {
			return i
		}
		from = i + len(word)
	}
	return -1
}

// partOfWord reports whether text[begin:end] is a part of a longer word, as 10.0.0.1 is
// of 10.0.0.12 and of 110.0.0.1.
func partOfWord(text string, begin, end int) bool {
	in := func(i int) bool {
		return i >= 0 && i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] >= 'a' && text[i] <= 'z' || text[i] >= 'A' && text[i] <= 'Z' || text[i] >= 0x80)
	}
	return in(begin-1) || in(end)
}

// emptyFiles moves the write-ahead log to the main file and cuts it, and deletes the
// journals of stored windows. Where somebody reads, it is tried again.
func (r *forgetRun) emptyFiles(s *storer) (bool, error) {
	if s.checkpointNow() {
		s.sweep()
		if info, err := os.Stat(s.store.path + "-wal"); (err != nil || info.Size() == 0) && len(s.done) == 0 {
			return true, nil
		}
	}
	r.retry = time.Now().Add(forgetRetry)
	return false, nil
}

// removeAside removes damaged files that were set aside and in which the devices are:
// nothing can be taken out of them. What one node forgets removes none of them.
func (r *forgetRun) removeAside(s *storer) (bool, error) {
	if r.Node != "" { // they have what other nodes sent, too
		return true, nil
	}
	words := slices.DeleteFunc(spelled(r.Words), func(w string) bool { return !IsTelling(w) })
	for _, dir := range []string{s.l.o.Dir, filepath.Join(s.l.o.Dir, journalDir)} {
		files, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for _, file := range files {
			if !strings.Contains(file.Name(), asideMark) {
				continue
			}
			path := filepath.Join(dir, file.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				return false, err
			}
			if !slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(text), w) }) {
				continue
			}
			if err := os.Remove(path); err != nil {
				return false, err
			}
			r.result.Files = append(r.result.Files, file.Name())
		}
	}
	return true, nil
}

// IsTelling reports whether a word that stands somewhere in a file is that of the device:
// an address, a MAC or an identity, and no short name.
func IsTelling(word string) bool {
	_, err := netip.ParseAddr(word)
	return err == nil || strings.Count(word, ":") > 0 || len(word) >= 8
}

// texts runs a statement with texts and numbers as its arguments, and calls each, where
// it is not nil, with every row.
func (s *store) texts(sql string, each func(*sqlite3.Stmt), args ...any) error {
	stmt, _, err := s.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for i, a := range args {
		switch a := a.(type) {
		case string:
			stmt.BindText(i+1, a)
		case int64:
			stmt.BindInt64(i+1, a)
		}
	}
	for stmt.Step() {
		if each != nil {
			each(stmt)
		}
	}
	return stmt.Err()
}
