package querylog

import (
	"errors"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"telltale/dnswire"
)

// Names stand in tables of their own, one beside each table of rows, so that
// they are deleted with their rows. A name is stored once for each period of
// 2^periodBits windows' numbers (about 17 minutes) in which rows have it: its
// number is the period << nameBits | a number within the period, and a row has
// the lower part alone, as its own number tells the period. So names are only
// ever appended, nobody has to look whether a name is there already (a name
// that stands there twice does no harm), a search that has found a name knows
// in which periods its rows are, and the names of deleted rows are a range.
const (
	periodBits = 10
	nameBits   = 26
	periodRows = rowBits + periodBits // bits of a row's number below its period
	namesKnown = 8192                 // that are remembered within a period, for each table
)

// nameOfRow is the number of the name of a row's column, in SQL.
func nameOfRow(column string) string {
	return fmt.Sprintf(`((r.id >> %d) << %d) + r.%s`, periodRows, nameBits, column)
}

// A nameTable gives names their numbers within a period. The zero value knows
// none.
type nameTable struct {
	insert *sqlite3.Stmt // of a number and a name
	many   *sqlite3.Stmt // of namesAtOnce of them
	last   *sqlite3.Stmt // the largest number below one
	stale  *sqlite3.Stmt // that the set of a period is to be made again
	store  *store
	table  string
	period int64
	next   int64 // within the period
	known  map[string]int64

	waiting int    // names that are not stored yet, with the numbers before next
	texts   []byte // of them
	ends    [namesAtOnce]int
}

// namesAtOnce is how many names a statement stores.
const namesAtOnce = 16

func newNameTable(s *store, table string) *nameTable {
	return &nameTable{insert: s.insert[table+"_name"], many: s.insert[table+"_names"], last: s.insert[table+"_last"], stale: s.insert[table+"_stale"], store: s, table: table}
}

var errNames = errors.New("more names in a quarter of an hour than can be numbered")

// number returns the number of a name within the period of a row. The name is stored,
// or waits for flush, where it is not known to be stored. Names in wire form and in text are
// known apart: no name is the same in both.
func (t *nameTable) number(row int64, name []byte, form nameForm) (int64, error) {
	if period := row >> periodRows; period != t.period || t.known == nil {
		if err := t.begin(period); err != nil {
			return 0, err
		}
	}
	if n, ok := t.known[string(name)]; ok {
		return n, nil
	}
	n := t.next
	if n >= 1<<nameBits {
		return 0, errNames
	}
	if form == wireName {
		t.texts = dnswire.AppendText(t.texts, name)
	} else {
		t.texts = append(t.texts, name...)
	}
	t.ends[t.waiting] = len(t.texts)
	t.waiting++
	t.next++
	if len(t.known) >= namesKnown {
		clear(t.known)
	}
	t.known[string(name)] = n
	if t.waiting == namesAtOnce {
		return n, t.flush()
	}
	return n, nil
}

// flush stores the names that wait.
func (t *nameTable) flush() error {
	n, first, begin := t.waiting, t.next-int64(t.waiting), 0
	defer t.drop()
	if n > 0 && t.period <= t.store.nameSets {
		t.store.setIsStale(t.table, t.period)
		t.stale.BindInt64(1, t.period)
		if err := t.stale.Exec(); err != nil {
			return err
		}
	}
	stmt, each := t.insert, 1
	if n == namesAtOnce {
		stmt, each = t.many, n
	}
	for i := range n {
		stmt.BindInt64(2*(i%each)+1, t.period<<nameBits|(first+int64(i)))
		stmt.BindRawText(2*(i%each)+2, t.texts[begin:t.ends[i]])
		begin = t.ends[i]
		if i%each == each-1 {
			if err := stmt.Exec(); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop leaves the names that wait.
func (t *nameTable) drop() { t.waiting, t.texts = 0, t.texts[:0] }

// A nameForm is how a name is given.
type nameForm uint8

const (
	textName nameForm = iota
	wireName
)

// begin turns to a period and finds how far its numbers are given.
func (t *nameTable) begin(period int64) error {
	if err := t.flush(); err != nil {
		return err
	}
	t.forget()
	t.last.BindInt64(1, (period+1)<<nameBits)
	next := int64(1)
	if t.last.Step() {
		if last := t.last.ColumnInt64(0); last>>nameBits == period {
			next = last&(1<<nameBits-1) + 1
		}
	}
	if err := errors.Join(t.last.Err(), t.last.Reset()); err != nil {
		return err
	}
	t.period, t.next, t.known = period, next, make(map[string]int64)
	return nil
}

// forget drops what was remembered: a transaction in which names were stored
// was undone, or memory is wanted.
func (t *nameTable) forget() {
	t.known = nil
	t.drop()
}

// flushRows stores the rows that wait, and their names.
func (s *store) flushRows() error {
	for _, w := range s.rows {
		if err := w.flush(); err != nil {
			return err
		}
	}
	tables := []map[string]*nameTable{s.names, s.importNames}
	if s.old != nil {
		tables = append(tables, s.old.names)
	}
	for _, names := range tables {
		for _, t := range names {
			if err := t.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// lastName is the statement that finds the largest number below one.
func lastName(table string) string {
	return `SELECT id FROM ` + table + `_name WHERE id < ? ORDER BY id DESC LIMIT 1`
}

// deleteNames deletes up to so many names of a table that no row has any more,
// and returns how many: those of the periods before the oldest row's. Names are
// overwritten as rows are.
func (s *store) deleteNames(table string, most int) (n int64, err error) {
	s.forgetNames() // they might be among those that are deleted
	err = s.transact(func() error {
		err := s.exec(fmt.Sprintf(`DELETE FROM %[1]s_name WHERE id IN (SELECT id FROM %[1]s_name
			WHERE id < (SELECT coalesce(min(id) >> %[2]d, 1 << %[3]d) FROM %[1]s) << %[4]d LIMIT %[5]d)`,
			table, periodRows, 62-nameBits, nameBits, most))
		n = s.conn.Changes()
		return errors.Join(err, s.deleteNameSets(table))
	})
	return n, err
}
