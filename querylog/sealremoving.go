package querylog

import (
	"fmt"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"telltale/querylog/seal"
)

// What is deleted of the sealed log is stated in it, in the transaction that deletes: so
// each leaf whose row is not there is explained. Secrets go with the last row of a day.

// removal begins a statement of what is removed, and why.
func (s *storer) removal(of, why string) *seal.Removal {
	return &seal.Removal{Time: s.l.o.Now().UnixMilli(), Of: of, Why: why}
}

// stateOldest states that so many of the oldest rows of a table below a number are removed.
// What was never sealed is not spoken of. Salts go with what they are for.
func (w *sealer) stateOldest(r *seal.Removal, table string, end int64, most int) error {
	if w.from == 0 {
		return nil
	}
	var first, last int64
	err := w.s.texts(fmt.Sprintf(`SELECT coalesce(min(id), 0), coalesce(max(id), 0), count(*) FROM (SELECT id FROM %s WHERE id < ? ORDER BY id LIMIT %d)`, table, most),
		func(stmt *sqlite3.Stmt) {
			first, last, r.Count = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)
		}, end)
	if err != nil || r.Count == 0 {
		return err
	}
	kind := int64(sealRows)
	if r.Of == seal.KindLedger {
		kind = sealLedger
	}
	if last < w.from {
		if imports, err := w.hasImports(r.Of); err != nil || !imports {
			return err
		}
	}
	r.IDs = [][2]int64{{first, last}}
	if err := w.s.exec(`DELETE FROM seal_salt WHERE kind = ? AND id BETWEEN ? AND ?`, kind, first, last); err != nil {
		return err
	}
	return w.state(r)
}

// destroyOld deletes secrets of days of which no row is left.
func (w *sealer) destroyOld() error {
	if w.from == 0 {
		return nil
	}
	oldest, err := w.s.number(`SELECT coalesce(min(id), ?) FROM listed`, w.s.position<<rowBits)
	if err != nil {
		return err
	}
	w.forget()
	return w.s.exec(`DELETE FROM seal_secret WHERE day < ?`, seal.Day(oldest))
}

// stateIDs states that rows with these numbers, which ascend, are removed.
func (w *sealer) stateIDs(r *seal.Removal, ids []int64) error {
	ids, err := w.sealed(r.Of, ids)
	if err != nil || len(ids) == 0 {
		return err
	}
	kind := int64(sealRows)
	if r.Of == seal.KindLedger {
		kind = sealLedger
	}
	r.Count = int64(len(ids))
	for _, id := range ids {
		if n := len(r.IDs); n > 0 && r.IDs[n-1][1] == id-1 {
			r.IDs[n-1][1] = id
		} else {
			r.IDs = append(r.IDs, [2]int64{id, id})
		}
		if err := w.s.exec(`DELETE FROM seal_salt WHERE kind = ? AND id = ?`, kind, id); err != nil {
			return err
		}
	}
	return w.state(r)
}

// sealed returns those of the numbers that may have leaves.
func (w *sealer) sealed(of string, ids []int64) ([]int64, error) {
	if w.from == 0 || len(ids) == 0 {
		return nil, nil
	}
	if imports, err := w.hasImports(of); err != nil || imports {
		return ids, err
	}
	i, _ := slices.BinarySearch(ids, w.from)
	return ids[i:], nil
}

// hasImports reports whether rows may have been sealed below the number from which all
// are: those that were imported.
func (w *sealer) hasImports(of string) (bool, error) {
	if of != seal.KindRow {
		return false, nil
	}
	n, err := w.s.number(`SELECT EXISTS (SELECT 1 FROM import)`)
	return n != 0, err
}

// sealAgain states that lines of the ledger were replaced, and seals them as they are now.
func (w *sealer) sealAgain(r *seal.Removal, ids []int64) error {
	ids, err := w.sealed(r.Of, ids)
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := w.stateIDs(r, ids); err != nil {
		return err
	}
	for _, id := range ids {
		l, err := w.s.ledgerLine(id)
		if err != nil {
			return err
		}
		if err := w.event(l); err != nil {
			return err
		}
	}
	return nil
}

// ledgerLine reads a line of the ledger.
func (s *store) ledgerLine(id int64) (*seal.LedgerLine, error) {
	l := &seal.LedgerLine{}
	err := s.texts(selectLedger+` WHERE l.id = ?`, func(stmt *sqlite3.Stmt) { scanLedger(stmt, l) }, id)
	return l, err
}

const selectLedger = `SELECT l.id, n.name, l.time, l.since, l.until, l.kind, l.subject, l.detail FROM ledger l JOIN node n ON n.id = l.node`

func scanLedger(stmt *sqlite3.Stmt, l *seal.LedgerLine) {
	*l = seal.LedgerLine{
		ID: stmt.ColumnInt64(0), Node: stmt.ColumnText(1), Time: stmt.ColumnInt64(2), Since: stmt.ColumnInt64(3), Until: stmt.ColumnInt64(4),
		Kind: stmt.ColumnText(5), Subject: stmt.ColumnText(6), Detail: stmt.ColumnText(7),
	}
}

// destroySecrets destroys what the salts of the forgotten devices' rows are made from.
// Salts of a day's rows that are left are kept one by one.
func (r *forgetRun) destroySecrets(s *storer) (bool, error) {
	for i := range r.Devices {
		d := &r.Devices[i]
		from, until := int64(0), int64(1)<<43
		if !d.From.IsZero() { // numbers of windows are about the time
			from = d.From.Unix()/(24*60*60) - 1
		}
		if !d.Until.IsZero() {
			until = d.Until.Unix()/(24*60*60) + 1
		}
		for {
			day := int64(-1)
			err := s.store.texts(`SELECT day FROM seal_secret WHERE device = ? AND day >= ? AND day <= ? LIMIT 1`,
				func(stmt *sqlite3.Stmt) { day = stmt.ColumnInt64(0) }, d.Device, from, until)
			if err != nil {
				return false, err
			}
			if day < 0 {
				break
			}
			if err := s.store.transact(func() error { return s.store.seal.destroy(secretKey{d.Device, day}) }); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// destroy deletes a secret.
func (w *sealer) destroy(key secretKey) error {
	secret, err := w.s.sealSecret(key)
	if err != nil {
		return err
	}
	w.forget()
	first := key.day * (24 * 60 * 60) << rowBits
	var left []int64
	err = w.s.texts(`SELECT r.id FROM listed r LEFT JOIN binding b ON b.id = r.binding WHERE r.id >= ? AND r.id < ? AND `+deviceSQL+` = ?
		AND NOT EXISTS (SELECT 1 FROM seal_salt t WHERE t.kind = ? AND t.id = r.id)`,
		func(stmt *sqlite3.Stmt) { left = append(left, stmt.ColumnInt64(0)) }, first, first+(24*60*60)<<rowBits, key.device, int64(sealRows))
	if err != nil {
		return err
	}
	for _, id := range left {
		if secret != nil {
			salt := seal.RowSalt(secret, id)
			if err := w.keepSalt(sealRows, id, &salt); err != nil {
				return err
			}
		}
	}
	return w.s.texts(`DELETE FROM seal_secret WHERE device = ? AND day = ?`, nil, key.device, key.day)
}
