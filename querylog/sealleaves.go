package querylog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"telltale/querylog/seal"
)

// SealedStatement is the kind of leaves of what the log states of itself.
const SealedStatement = "statement"

// SealedOptions say which leaves are read, and what of them.
type SealedOptions struct {
	Size         int64       // the first so many
	Since, Until int64       // Unix milliseconds: lines of rows and of the ledger are read of this time alone
	Told         func(int64) // how many leaves are read; may be nil
}

// A SealedLeaf is a leaf of the sealed log, and what it is of. What it refers to is
// valid until the next one.
type SealedLeaf struct {
	Kind    string // seal.KindRow, seal.KindLedger, or SealedStatement
	ID      int64  // of the row or line
	Hash    seal.Hash
	Outside bool  // it is of another time, and the rest is empty
	Removal int64 // the leaf which states that it was removed; -1 where it is there

	Salt  seal.Salt
	Line  []byte
	Row   *seal.Row        // of a row
	Event *seal.LedgerLine // of a line of the ledger
}

// ErrSealBroken means that a leaf is not that of what the store has. AuditSeal says
// more.
var ErrSealBroken = errors.New("the log is not as it was sealed")

// errRemovedSince means that something was removed behind the leaves that are read.
var errRemovedSince = errors.New("rows were deleted since the last checkpoint was signed: another one is signed within two minutes, try again then")

// SealedLeaves returns the first leaves of the sealed log, as they are at one moment.
func (r *Reader) SealedLeaves(ctx context.Context, o SealedOptions) iter.Seq2[SealedLeaf, error] {
	return func(yield func(SealedLeaf, error) bool) {
		if err := r.sealedLeaves(ctx, &o, yield); err != nil {
			yield(SealedLeaf{}, cmp.Or(ctx.Err(), err)) // an interrupted query has an error of its own
		}
	}
}

func (r *Reader) sealedLeaves(ctx context.Context, o *SealedOptions, yield func(SealedLeaf, error) bool) error {
	db, err := openDatabase(ctx, filepath.Join(r.dir, storeName), &layout2)
	if err != nil {
		return err
	}
	if db == nil || db.version < versionOfSeal {
		if db != nil {
			db.close()
		}
		return ErrNotSealed
	}
	defer db.close()
	if err := db.conn.Exec(`BEGIN`); err != nil { // one moment of the log
		return err
	}
	l := &leafReader{o: o, yield: yield, first: 1 + slices.Index(sealedColumns, "first"), a: sealAuditor{db: db, report: &SealReport{}}}
	if err := l.a.read(); err != nil {
		return err
	}
	if len(l.a.report.Problems) > 0 {
		return fmt.Errorf("%w: %s", ErrSealBroken, l.a.report.Problems[0].What)
	}
	l.a.rows = sealCursor{sql: selectSealedRows(db.layout)}
	l.a.lines = sealCursor{sql: selectLedger + ` WHERE l.id >= ? ORDER BY l.id`}
	defer l.a.close()
	var bad error
	err = db.query(`SELECT first, kind, base, steps, hashes, line FROM seal_run WHERE first < ? ORDER BY first`, []any{o.Size}, func(stmt *sqlite3.Stmt) bool {
		bad = l.run(stmt)
		return bad == nil && !l.stopped
	})
	if err = errors.Join(err, bad, db.rows.err); err != nil || l.stopped {
		return err
	}
	if l.n < o.Size {
		return fmt.Errorf("%w: it has %d leaves, and a checkpoint was signed of %d", ErrSealBroken, l.n, o.Size)
	}
	return nil
}

// A leafReader reads leaves one after the other. It is an auditor that shows what it
// hashes.
type leafReader struct {
	o       *SealedOptions
	a       sealAuditor
	n       int64 // of the leaf at hand
	first   int   // the column of rows with the time of the first lookup
	yield   func(SealedLeaf, error) bool
	stopped bool
}

// run reads the leaves that were written together.
func (l *leafReader) run(stmt *sqlite3.Stmt) error {
	first, kind, id := stmt.ColumnInt64(0), stmt.ColumnInt(1), stmt.ColumnInt64(2)
	steps, hashes := slices.Clone(stmt.ColumnRawBlob(3)), slices.Clone(stmt.ColumnRawBlob(4))
	if first != l.n || len(hashes)%hashSize != 0 {
		return errSealDamaged
	}
	for i := 0; len(hashes) > 0 && l.n < l.o.Size && !l.stopped; i++ {
		leaf := SealedLeaf{Hash: seal.Hash(hashes[:hashSize]), ID: id, Removal: -1}
		hashes = hashes[hashSize:]
		if i > 0 {
			step, n := binary.Uvarint(steps)
			if n <= 0 {
				return errSealDamaged
			}
			steps, id = steps[n:], id+int64(step)
			leaf.ID = id
		}
		if err := l.fill(&leaf, kind, stmt); err != nil {
			return fmt.Errorf("leaf %d: %w", l.n, err)
		}
		l.stopped = !l.yield(leaf, nil)
		l.n++
		if l.o.Told != nil && l.n%4096 == 0 {
			l.o.Told(l.n)
		}
	}
	return nil
}

// fill reads what a leaf is of.
func (l *leafReader) fill(leaf *SealedLeaf, kind int, stmt *sqlite3.Stmt) error {
	switch kind {
	case sealStatement:
		leaf.Kind, leaf.Line = SealedStatement, []byte(stmt.ColumnText(5))
		return l.compare(leaf)
	case sealLedger:
		leaf.Kind = seal.KindLedger
		return l.of(leaf, 1, &l.a.lines, l.event)
	}
	leaf.Kind = seal.KindRow
	return l.of(leaf, 0, &l.a.rows, l.row)
}

func (l *leafReader) of(leaf *SealedLeaf, of int, c *sealCursor, read func(*SealedLeaf, *sqlite3.Stmt) error) error {
	there, err := c.seek(l.a.db, leaf.ID)
	if err != nil {
		return err
	}
	if there {
		if err = read(leaf, c.stmt); err == nil && !leaf.Outside {
			err = l.compare(leaf)
		}
		if err == nil {
			return nil
		}
	}
	if leaf.Removal = l.removal(of, leaf.ID); leaf.Removal >= 0 { // what is there has a leaf behind this one
		if leaf.Removal >= l.o.Size {
			return errRemovedSince
		}
		leaf.Line, leaf.Row, leaf.Event = nil, nil, nil
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: %s %d was removed, and no statement says so", ErrSealBroken, leaf.Kind, leaf.ID)
	}
	return err
}

// removal returns the leaf of the first statement behind the leaf at hand that what has
// this number was removed; -1 where there is none. A later one may name a range in which
// it was, and counts what was left of that.
func (l *leafReader) removal(of int, id int64) int64 {
	all := l.a.removals[of]
	for i := range all {
		if all[i].leaf > l.n && all[i].Covers(id) {
			return all[i].leaf
		}
	}
	return -1
}

// compare fails where the leaf is not that of what was read.
func (l *leafReader) compare(leaf *SealedLeaf) error {
	if seal.LeafHash(&leaf.Salt, leaf.Line) != leaf.Hash {
		return fmt.Errorf("%w: %s %d was changed", ErrSealBroken, leaf.Kind, leaf.ID)
	}
	return nil
}

func (l *leafReader) row(leaf *SealedLeaf, stmt *sqlite3.Stmt) error {
	if first := stmt.ColumnInt64(l.first); first < l.o.Since || first >= l.o.Until {
		leaf.Outside = true
		return nil
	}
	_, what, err := l.a.hashRow(stmt)
	if err == nil && what != "" {
		err = fmt.Errorf("%w: row %d: %s", ErrSealBroken, leaf.ID, what)
	}
	leaf.Salt, leaf.Line, leaf.Row = l.a.leaf.Salt(), l.a.leaf.Line(), &l.a.row.Row
	return err
}

func (l *leafReader) event(leaf *SealedLeaf, stmt *sqlite3.Stmt) error {
	_, what, err := l.a.hashLine(stmt)
	if err == nil && what != "" {
		err = fmt.Errorf("%w: line %d of the ledger: %s", ErrSealBroken, leaf.ID, what)
	}
	if err != nil {
		return err
	}
	e := &l.a.line
	begin, end := e.Time, e.Time
	if e.Since != 0 {
		begin = min(begin, e.Since)
	}
	if e.Until != 0 {
		end = max(end, e.Until)
	}
	if end < l.o.Since || begin >= l.o.Until {
		leaf.Outside = true
		return nil
	}
	leaf.Salt, leaf.Line, leaf.Event = l.a.leaf.Salt(), l.a.leaf.Line(), e
	return nil
}
