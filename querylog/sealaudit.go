package querylog

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/devices"
	"telltale/querylog/seal"
	"telltale/sorting"
)

// A SealAudit says what an audit of the sealed log is to hold it against.
type SealAudit struct {
	Keys        []string                // public keys that are known to be this log's; without any, nobody says that it is not another's
	Checkpoints map[string][]byte       // earlier ones, by the names of their files
	Told        func(leaves, all int64) // how far it is; may be nil
}

// A SealProblem is something that an honest log does not have.
type SealProblem struct {
	Leaf int64  `json:"leaf"` // -1: of none
	Kind string `json:"kind"` // row, ledger, or what else it is about
	ID   int64  `json:"id,omitempty"`
	What string `json:"what"`
}

// A SealReport says what an audit has found.
type SealReport struct {
	Origin     string        `json:"origin"`
	Leaves     int64         `json:"leaves"`
	Root       []byte        `json:"root"`
	Rows       int64         `json:"rows"`       // that are there and as they were sealed
	Lines      int64         `json:"lines"`      // the same of the ledger
	Statements int64         `json:"statements"` // of the log of itself
	Removed    int64         `json:"removed"`    // leaves of rows and lines of which a removal speaks
	Unsealed   int64         `json:"unsealed"`   // rows of listed names from when sealing was not on
	Imported   int64         `json:"imported"`   // imported rows without a leaf, numbered where sealing was on: it was off when they came, or they were put in
	From       int64         `json:"from"`       // the number from which on rows were first sealed
	Since      Time          `json:"since,omitzero"`
	Restored   Time          `json:"restored,omitzero"` // when the backup was made that the log was restored from; only until a server starts, which signs by another key from then on
	Before     int64         `json:"before,omitzero"`   // leaves of the last checkpoint that was signed before it was restored, where those are more than the backup has
	Keys       []string      `json:"keys"`              // that have signed, the first one first
	Unvouched  []string      `json:"unvouched"`         // of them, those that the key before did not hand over to
	Signed     int64         `json:"signed"`            // leaves of the last checkpoint that was signed; -1 for none
	KeyKnown   bool          `json:"key_known"`         // one of the keys that were given is among them
	Agreed     []string      `json:"agreed"`            // checkpoints that were given and whose hashes the log goes on from
	Unchanged  []string      `json:"unchanged"`         // of them, those of which all that they count is there as it was sealed
	Problems   []SealProblem `json:"problems"`          // the first ones, in the order of the log
	More       int64         `json:"more"`              // problems beyond those
}

// ErrNotSealed means that nothing of a log is sealed.
var ErrNotSealed = errors.New("nothing of this log is sealed")

// SealTime returns about when a row or line with this number was written.
func SealTime(id int64) time.Time { return time.Unix(id>>rowBits, 0).UTC() }

// sealProblems is how many problems are kept.
const sealProblems = 100

// AuditSeal walks the sealed log from its first leaf to the last: each row and each line
// of the ledger is hashed again, what is missing or too much is found, and the head is held
// against checkpoints. The error says that it could not be done.
func (r *Reader) AuditSeal(ctx context.Context, o SealAudit) (*SealReport, error) {
	db, err := openDatabase(ctx, filepath.Join(r.dir, storeName), &layout2)
	if err != nil {
		return nil, err
	}
	if db == nil || db.version < versionOfSeal {
		if db != nil {
			db.close()
		}
		return nil, ErrNotSealed
	}
	defer db.close()
	head, text, err := ReadSealHead(r.dir) // before the log is looked at, which has at least as much
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	restored, err := r.restoredLast(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.conn.Exec(`BEGIN`); err != nil { // one moment of the log
		return nil, err
	}
	a := &sealAuditor{db: db, o: o, gone: noEnd, report: &SealReport{Signed: -1, Problems: []SealProblem{}, Agreed: []string{}, Unchanged: []string{}, Keys: []string{}, Unvouched: []string{}}}
	if err := a.read(); err != nil {
		return nil, err
	}
	if name, _, _ := strings.Cut(a.current, "+"); restored != nil && name == seal.OriginOf(restored.Subject) {
		a.report.Restored = restored.Since
	}
	if a.all == 0 && text == nil {
		return nil, ErrNotSealed
	}
	a.addLast(head, text)
	for _, name := range slices.Sorted(maps.Keys(o.Checkpoints)) {
		if err := a.addCheckpoint(name, o.Checkpoints[name]); err != nil {
			return nil, err
		}
	}
	if err := a.walk(); err != nil {
		return nil, err
	}
	if err := a.findUnsealed(); err != nil {
		return nil, err
	}
	a.judgeKeys()
	a.judgeAgreed()
	root := a.tree.Root()
	a.report.Root, a.report.Leaves = root[:], a.tree.Size()
	sorting.StableBy(a.report.Problems, func(p, q SealProblem) int {
		if p.ID != 0 && q.ID != 0 && p.ID != q.ID {
			return int(min(max(p.ID-q.ID, -1), 1))
		}
		return 0
	})
	return a.report, ctx.Err()
}

// restoredLast returns the line of the ledger that says that the log was restored from a
// backup, where no server was started since; nil where that is not so.
func (r *Reader) restoredLast(ctx context.Context) (last *Event, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for _, p := range s.open { // a start puts it in the store
		for i := range p.events {
			switch e := &p.events[i]; e.Kind {
			case KindRestored:
				last = e
			case KindStart:
				last = nil
			}
		}
	}
	return last, nil
}

// A sealAuditor is an audit under way.
type sealAuditor struct {
	db     *database
	o      SealAudit
	report *SealReport
	all    int64 // leaves, as the tables have it

	tree      sealTree
	heads     []sealHead // by size
	agreed    []sealHead // that were given
	gone      int64      // the first leaf of which a removal speaks
	native    int64      // the largest number so far of a row that was not imported, or of when sealing was switched
	switched  []sealedAt // on and off
	removals  [2][]sealRemoval
	hit       [2]int // the removal that was found last
	on        []sealedFrom
	handovers []sealHandover
	store     string
	current   string // the public key of which the store says that it signs
	previous  *seal.Checkpoint

	rows   sealCursor
	lines  sealCursor
	row    sealedRow
	line   seal.LedgerLine
	leaf   seal.Leaf
	bound  map[*devices.Binding]*sealedBinding
	salter map[secretKey]*seal.Salter // nil: there is no secret
	salted bool                       // rows have salts of their own
	ended  bool                       // the tables cannot be followed any further
	live   [2]int64
	liveOn [2]int64 // of them, numbered where sealing was on
}

// A sealHead is a root that the log must have had.
type sealHead struct {
	name string
	seal.Checkpoint
}

const lastSigned = "the last checkpoint that was signed"

// A sealRemoval is a removal and the leaf that states it.
type sealRemoval struct {
	leaf int64
	*seal.Removal
}

// A sealedAt is a statement from which number on all is sealed, or is not.
type sealedAt struct{ leaf, from int64 }

// A sealedFrom is from which number to before which one everything is sealed.
type sealedFrom struct{ from, to int64 }

type sealHandover struct {
	leaf int64
	seal.Handover
}

const noEnd = int64(1) << 62

func (a *sealAuditor) problem(leaf int64, kind string, id int64, format string, args ...any) {
	if len(a.report.Problems) >= sealProblems {
		a.report.More++
		return
	}
	a.report.Problems = append(a.report.Problems, SealProblem{leaf, kind, id, fmt.Sprintf(format, args...)})
}

// read reads what has to be known before leaves are: statements.
func (a *sealAuditor) read() error {
	err := a.db.query(`SELECT (SELECT value FROM meta WHERE key = 'store'), (SELECT value FROM meta WHERE key = '`+metaSealKey+`'),
		(SELECT coalesce(max(first), -1) FROM seal_run), (SELECT length(hashes) FROM seal_run ORDER BY first DESC LIMIT 1), EXISTS (SELECT 1 FROM seal_salt WHERE kind = 1)`, nil, func(stmt *sqlite3.Stmt) bool {
		a.store, a.current = stmt.ColumnText(0), stmt.ColumnText(1)
		a.all = max(stmt.ColumnInt64(2)+stmt.ColumnInt64(3)/int64(hashSize), 0)
		a.salted = stmt.ColumnBool(4)
		return true
	})
	if err != nil {
		return err
	}
	a.report.Origin = seal.OriginOf(a.store)
	a.db.rows.ordered = newNameCursor()
	a.bound, a.salter = map[*devices.Binding]*sealedBinding{}, map[secretKey]*seal.Salter{}
	return a.db.query(`SELECT first, line FROM seal_run WHERE kind = 3 ORDER BY first`, nil, func(stmt *sqlite3.Stmt) bool {
		leaf := stmt.ColumnInt64(0)
		s, err := seal.ParseStatement([]byte(stmt.ColumnText(1)))
		if err != nil {
			a.problem(leaf, "statement", 0, "%v", err)
			return true
		}
		a.stated(leaf, s)
		return true
	})
}

func (a *sealAuditor) stated(leaf int64, s seal.Statement) {
	switch s := s.(type) {
	case *seal.Start:
		if len(a.on) == 0 {
			a.report.From, a.report.Since = s.From, Time{fromMilli(s.Time)}
		}
		a.on = append(a.on, sealedFrom{s.From, noEnd})
		a.switched = append(a.switched, sealedAt{leaf, s.From})
		if s.Previous == "" {
			break
		}
		c, err := seal.OpenCheckpoint([]byte(s.Previous))
		if err != nil && !errors.Is(err, seal.ErrUnknownKey) {
			a.problem(leaf, seal.KindStart, 0, "the checkpoint of the log before: %v", err)
			break
		}
		a.previous = &c
	case *seal.End:
		if n := len(a.on); n > 0 {
			a.on[n-1].to = s.From
		}
		a.switched = append(a.switched, sealedAt{leaf, s.From})
	case *seal.Removal:
		i := 0
		if s.Of == seal.KindLedger {
			i = 1
		}
		a.removals[i] = append(a.removals[i], sealRemoval{leaf, s})
	case *seal.HandoverLine:
		h, err := seal.OpenHandover([]byte(s.Note))
		if err != nil {
			a.problem(leaf, seal.KindHandover, 0, "%v", err)
			break
		}
		a.handovers = append(a.handovers, sealHandover{leaf, h})
		switch {
		case leaf == 1 && a.previous != nil && a.previous.Size == h.Size && a.previous.Root == h.Root: // of the log before
		case h.Size == leaf:
			a.heads = append(a.heads, sealHead{fmt.Sprintf("the hand-over in leaf %d", leaf), seal.Checkpoint{Size: h.Size, Root: h.Root}})
		default:
			a.problem(leaf, seal.KindHandover, 0, "it is of %d leaves, and stands behind %d", h.Size, leaf)
		}
		if !h.SignedByOld {
			a.report.Unvouched = append(a.report.Unvouched, h.New)
		}
	}
}

// keys are those that have signed, the first one first.
func (a *sealAuditor) keys() (keys []string) {
	for _, h := range a.handovers {
		if len(keys) == 0 {
			keys = append(keys, h.Old)
		}
		keys = append(keys, h.New)
	}
	if len(keys) == 0 && a.current != "" {
		keys = append(keys, a.current)
	}
	return keys
}

// addLast takes the last checkpoint that was signed. The store's number is no reason to
// pass it over: who changes rows can change that.
func (a *sealAuditor) addLast(head seal.Checkpoint, text []byte) {
	if text == nil || a.previous != nil && *a.previous == head { // of the log before this one
		return
	}
	_, err := seal.OpenCheckpoint(text, append(a.keys(), a.o.Keys...)...)
	if err == nil || head.Origin == a.report.Origin {
		a.heads = append(a.heads, sealHead{lastSigned, head})
	}
	if err != nil && head.Origin == a.report.Origin {
		a.problem(-1, "checkpoint", 0, "the last one that was signed: %v", err)
	}
}

// addCheckpoint takes a checkpoint that was given.
func (a *sealAuditor) addCheckpoint(name string, text []byte) error {
	c, err := seal.OpenCheckpoint(text, append(a.keys(), a.o.Keys...)...)
	if errors.Is(err, seal.ErrUnknownKey) {
		a.problem(-1, "checkpoint", 0, "%s is of %s and not signed by a key of this log: it is another log's, or this one was forked", name, c.Origin)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	a.heads = append(a.heads, sealHead{name, c})
	return nil
}

// walk follows the leaves.
func (a *sealAuditor) walk() error {
	sorting.StableBy(a.heads, func(x, y sealHead) int { return int(min(max(x.Size-y.Size, -1), 1)) })
	a.checkHeads()
	a.rows = sealCursor{sql: selectSealedRows(a.db.layout)}
	a.lines = sealCursor{sql: selectLedger + ` WHERE l.id >= ? ORDER BY l.id`}
	defer a.close()
	var bad error
	err := a.db.query(`SELECT first, kind, base, steps, hashes, line FROM seal_run ORDER BY first`, nil, func(stmt *sqlite3.Stmt) bool {
		bad = a.run(stmt)
		return bad == nil && !a.ended
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	if err := a.countBlocks(); err != nil {
		return err
	}
	for _, h := range a.heads {
		switch {
		case h.Size <= a.tree.Size():
		case h.name == lastSigned && !a.report.Restored.IsZero():
			a.report.Before = h.Size
		default:
			a.problem(a.tree.Size(), "checkpoint", 0, "%s has %d leaves, and the log %d: its end was cut off, or it is an older copy", h.name, h.Size, a.tree.Size())
		}
	}
	return a.db.rows.err
}

// close ends what reads in order.
func (a *sealAuditor) close() {
	a.rows.close()
	a.lines.close()
	if names := a.db.rows.ordered; names != nil {
		names.close()
	}
}

// countBlocks finds hashes of blocks that are of no leaves.
func (a *sealAuditor) countBlocks() error {
	n, whole := int64(0), a.tree.Size()/sealBlock
	err := a.db.query(`SELECT count(*) FROM seal_node WHERE n < 0 OR n >= ?`, []any{whole}, func(stmt *sqlite3.Stmt) bool {
		n = stmt.ColumnInt64(0)
		return false
	})
	if err == nil && n > 0 && !a.ended {
		a.problem(-1, "seal_node", 0, "it has %d hashes of leaves that are not there", n)
	}
	return err
}

// checkHeads compares the roots that are due at this number of leaves.
func (a *sealAuditor) checkHeads() {
	for len(a.heads) > 0 && a.heads[0].Size == a.tree.Size() {
		h := a.heads[0]
		a.heads = a.heads[1:]
		if h.Root != a.tree.Root() {
			a.problem(a.tree.Size()-1, "checkpoint", 0, "%s says another root of the first %d leaves: one of them was changed, with its hash, or this is a fork", h.name, h.Size)
			continue
		}
		if h.name == lastSigned {
			a.report.Signed = h.Size
		} else if _, given := a.o.Checkpoints[h.name]; given {
			a.report.Agreed = append(a.report.Agreed, h.name)
			a.agreed = append(a.agreed, h)
		}
	}
}

// judgeAgreed finds the checkpoints of which everything is there unchanged: hashes that
// agree do not say so of what they are of.
func (a *sealAuditor) judgeAgreed() {
	for _, h := range a.agreed {
		wrong := func(p SealProblem) bool { return p.Leaf >= 0 && p.Leaf < h.Size }
		if h.Size <= a.gone && a.report.More == 0 && !slices.ContainsFunc(a.report.Problems, wrong) {
			a.report.Unchanged = append(a.report.Unchanged, h.name)
		}
	}
}

// run follows the leaves that were written together.
func (a *sealAuditor) run(stmt *sqlite3.Stmt) error {
	first, kind, id := stmt.ColumnInt64(0), stmt.ColumnInt(1), stmt.ColumnInt64(2)
	steps, hashes := slices.Clone(stmt.ColumnRawBlob(3)), slices.Clone(stmt.ColumnRawBlob(4))
	if first != a.tree.Size() || len(hashes)%hashSize != 0 || len(hashes) == 0 || kind < sealRows || kind > sealStatement || kind == sealStatement && len(hashes) != hashSize {
		a.problem(a.tree.Size(), "seal_run", id, "leaves are missing, or their table was changed: leaf %d follows leaf %d", first, a.tree.Size()-1)
		a.ended = true
		return nil
	}
	for i := 0; len(hashes) > 0; i++ {
		h := seal.Hash(hashes[:hashSize])
		hashes = hashes[hashSize:]
		if i > 0 {
			step, n := binary.Uvarint(steps)
			if n <= 0 || step == 0 || step > 1<<rowBits {
				a.problem(a.tree.Size(), "seal_run", id, "the numbers of its leaves cannot be read")
				a.ended = true
				return nil
			}
			steps, id = steps[n:], id+int64(step)
		}
		if err := a.check(kind, id, h, stmt); err != nil {
			return err
		}
		if err := a.add(h); err != nil {
			return err
		}
	}
	return nil
}

// add appends a leaf to the tree.
func (a *sealAuditor) add(h seal.Hash) error {
	if want, whole := a.tree.Add(h); whole {
		n, same := a.tree.Size()/sealBlock-1, false
		err := a.db.query(`SELECT hash FROM seal_node WHERE n = ?`, []any{n}, func(stmt *sqlite3.Stmt) bool {
			same = string(stmt.ColumnRawBlob(0)) == string(want[:])
			return false
		})
		if err != nil {
			return err
		}
		if !same {
			a.problem(n*sealBlock, "seal_node", 0, "one of the leaves %d to %d was changed with its hash, or the hash of all of them", n*sealBlock, a.tree.Size()-1)
		}
	}
	a.checkHeads()
	if a.o.Told != nil && a.tree.Size()%4096 == 0 {
		a.o.Told(a.tree.Size(), a.all)
	}
	return nil
}

// check compares a leaf with what it is of.
func (a *sealAuditor) check(kind int, id int64, want seal.Hash, stmt *sqlite3.Stmt) error {
	switch kind {
	case sealStatement:
		a.report.Statements++
		if line := stmt.ColumnText(5); seal.LeafHash(new(seal.Salt), []byte(line)) != want {
			a.problem(a.tree.Size(), "statement", 0, "the statement was changed: %.80s", line)
		}
		for len(a.switched) > 0 && a.switched[0].leaf <= a.tree.Size() {
			a.native = max(a.native, max(a.switched[0].from, 1)-1)
			a.switched = a.switched[1:]
		}
		return nil
	case sealLedger:
		return a.compare(seal.KindLedger, 1, id, want, &a.lines, a.hashLine, &a.report.Lines)
	}
	before := a.report.Rows
	if err := a.compare(seal.KindRow, 0, id, want, &a.rows, a.hashRow, &a.report.Rows); err != nil {
		return err
	}
	if a.report.Rows > before && a.row.Imported == "" {
		if id <= a.native {
			a.problem(a.tree.Size(), seal.KindRow, id, "it was put in later: before its leaf stands what was written when numbers were at %d, and rows that are not imported are sealed in the order of their numbers", a.native)
		}
		a.native = max(a.native, id)
	}
	return nil
}

func (a *sealAuditor) compare(kind string, of int, id int64, want seal.Hash, c *sealCursor, hash func(*sqlite3.Stmt) (seal.Hash, string, error), good *int64) error {
	there, err := c.seek(a.db, id)
	if err != nil {
		return err
	}
	var got seal.Hash
	what := "it was removed, and no statement says so"
	if there {
		if got, what, err = hash(c.stmt); err != nil {
			return err
		}
	}
	switch {
	case there && what == "" && got == want:
		*good++
		a.live[of]++
		if a.sealing(id) {
			a.liveOn[of]++
		}
	case a.removed(of, id):
		a.report.Removed++
		a.gone = min(a.gone, a.tree.Size())
	default:
		a.problem(a.tree.Size(), kind, id, "%s", orElse(what, "it is not as it was sealed"))
	}
	return nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// removed reports whether a statement behind the leaf at hand says that what has this
// number was removed.
func (a *sealAuditor) removed(of int, id int64) bool { return a.removedBehind(of, a.tree.Size(), id) }

func (a *sealAuditor) removedBehind(of int, leaf, id int64) bool {
	all := a.removals[of]
	if hit := a.hit[of]; hit < len(all) && all[hit].leaf > leaf && all[hit].Covers(id) {
		return true
	}
	for i := range all {
		if all[i].leaf > leaf && all[i].Covers(id) {
			a.hit[of] = i
			return true
		}
	}
	return false
}

// sealing reports whether what has this number was written while sealing was on.
func (a *sealAuditor) sealing(id int64) bool {
	for _, o := range a.on {
		if id >= o.from && id < o.to {
			return true
		}
	}
	return false
}

// hashLine hashes a line of the ledger again.
func (a *sealAuditor) hashLine(stmt *sqlite3.Stmt) (h seal.Hash, what string, err error) {
	scanLedger(stmt, &a.line)
	salt, err := a.salt(sealLedger, a.line.ID)
	if err != nil || salt == nil {
		return h, "its salt is not there", err
	}
	return a.leaf.Ledger(salt, &a.line), "", nil
}

// hashRow hashes a row again.
func (a *sealAuditor) hashRow(stmt *sqlite3.Stmt) (h seal.Hash, what string, err error) {
	a.row.scan(&a.db.rows, stmt, a.bound)
	if len(a.bound) > readerKnows {
		clear(a.bound)
	}
	if err := a.db.rows.err; err != nil {
		return h, "", err
	}
	if a.salted {
		if salt, err := a.salt(sealRows, a.row.ID); err != nil || salt != nil {
			if err != nil {
				return h, "", err
			}
			return a.leaf.Row(salt, &a.row.Row), "", nil
		}
	}
	key := secretKey{a.row.Device, seal.Day(a.row.ID)}
	salter, known := a.salter[key]
	if !known {
		err := a.db.query(selectSecret, []any{key.device, key.day}, func(stmt *sqlite3.Stmt) bool {
			if b := stmt.ColumnRawBlob(0); len(b) == seal.SecretSize {
				salter = seal.NewSalter((*seal.Secret)(b))
			}
			return false
		})
		if err != nil {
			return h, "", err
		}
		if len(a.salter) > readerKnows {
			clear(a.salter)
		}
		a.salter[key] = salter
	}
	if salter == nil {
		return h, fmt.Sprintf("no row of device %q was sealed on its day: its device, its number or the secret was changed", key.device), nil
	}
	salt := salter.Row(a.row.ID)
	return a.leaf.Row(&salt, &a.row.Row), "", nil
}

// salt returns a salt that is kept by itself, or nil.
func (a *sealAuditor) salt(kind int, id int64) (salt *seal.Salt, err error) {
	err = a.db.query(`SELECT salt FROM seal_salt WHERE kind = ? AND id = ?`, []any{int64(kind), id}, func(stmt *sqlite3.Stmt) bool {
		if b := stmt.ColumnRawBlob(0); len(b) == seal.SecretSize {
			salt = (*seal.Salt)(slices.Clone(b))
		}
		return false
	})
	return salt, err
}

// findUnsealed finds rows and lines that have no leaf and should have one.
func (a *sealAuditor) findUnsealed() error {
	if a.ended {
		return nil
	}
	for of, table := range []string{"listed", "ledger"} {
		all, err := a.db.number(`SELECT count(*) FROM ` + table) // counted by pages, and so in no time
		if err != nil {
			return err
		}
		there := all
		for _, off := range a.off() {
			n, err := a.db.number(`SELECT count(*) FROM `+table+` WHERE id >= ? AND id < ?`, off.from, off.to)
			if err != nil {
				return err
			}
			there -= n
		}
		if of == 0 {
			a.report.Unsealed = all - a.live[of] - (there - a.liveOn[of])
		}
		if there == a.liveOn[of] {
			continue
		}
		if err := a.nameUnsealed(of, table); err != nil {
			return err
		}
	}
	return nil
}

// off are the numbers of what was written while sealing was off.
func (a *sealAuditor) off() (off []sealedFrom) {
	on := slices.SortedFunc(slices.Values(a.on), func(x, y sealedFrom) int { return cmp.Compare(x.from, y.from) })
	at := int64(math.MinInt64)
	for _, o := range on {
		if o.from > at {
			off = append(off, sealedFrom{at, o.from})
		}
		at = max(at, o.to)
	}
	return append(off, sealedFrom{at, math.MaxInt64})
}

// nameUnsealed names what of a table has no leaf that counts.
func (a *sealAuditor) nameUnsealed(of int, table string) error {
	sealed := sealedNumbers{a: a, of: of}
	runs, _, err := a.db.conn.Prepare(`SELECT first, base, steps, length(hashes) FROM seal_run WHERE kind = ? ORDER BY base, first`)
	if err != nil {
		return err
	}
	defer runs.Close()
	runs.BindInt64(1, int64(of+1))
	sealed.runs = runs
	kind, imported := seal.KindRow, `import`
	if of == 1 {
		kind, imported = seal.KindLedger, `0`
	}
	off := len(a.on) > 1 || len(a.on) == 1 && a.on[0].to != noEnd
	return a.db.query(`SELECT id, `+imported+` FROM `+table+` ORDER BY id`, nil, func(stmt *sqlite3.Stmt) bool {
		id := stmt.ColumnInt64(0)
		if !a.sealing(id) || sealed.has(id) {
			return true
		}
		if stmt.ColumnInt64(1) != 0 && off { // it may be of when sealing was off
			a.report.Imported++
			return true
		}
		for _, p := range a.report.Problems {
			if p.Kind == kind && p.ID == id {
				return true
			}
		}
		a.problem(-1, kind, id, "it was put in: no leaf is of it")
		return a.report.More == 0
	})
}

// sealedNumbers are the numbers of which there are leaves, in order.
type sealedNumbers struct {
	a    *sealAuditor
	of   int
	runs *sqlite3.Stmt

	begun, ended bool
	first, base  int64 // of the run at hand
	steps        []byte
	n            int64

	window int64 // of which ids are
	ids    map[int64]bool
}

// has reports whether a number has a leaf that no removal speaks of. Numbers are asked for
// in order.
func (s *sealedNumbers) has(id int64) bool {
	if !s.begun {
		s.begun, s.ids = true, map[int64]bool{}
		s.next()
	}
	for !s.ended && s.base>>rowBits <= id>>rowBits {
		if s.window != s.base>>rowBits {
			s.window = s.base >> rowBits
			clear(s.ids)
		}
		s.keep()
		s.next()
	}
	return s.window == id>>rowBits && s.ids[id]
}

func (s *sealedNumbers) next() {
	if s.ended = !s.runs.Step(); !s.ended {
		s.first, s.base, s.n = s.runs.ColumnInt64(0), s.runs.ColumnInt64(1), s.runs.ColumnInt64(3)/int64(hashSize)
		s.steps = append(s.steps[:0], s.runs.ColumnRawBlob(2)...)
	}
}

func (s *sealedNumbers) keep() {
	id, steps := s.base, s.steps
	for i := range s.n {
		if i > 0 {
			step, size := binary.Uvarint(steps)
			if size <= 0 {
				return
			}
			steps, id = steps[size:], id+int64(step)
		}
		if !s.a.removedBehind(s.of, s.first+i, id) {
			s.ids[id] = true
		}
	}
}

// judgeKeys says which keys have signed, and whether those that were given are among them.
func (a *sealAuditor) judgeKeys() {
	a.report.Keys = a.keys()
	for i, h := range a.handovers {
		if i > 0 && h.Old != a.handovers[i-1].New {
			a.problem(h.leaf, seal.KindHandover, 0, "it is from the key %s, which did not sign then", h.Old)
		}
	}
	if n := len(a.handovers); n > 0 && a.handovers[n-1].New != a.current {
		a.problem(-1, "key", 0, "the log says that %s signs, and the last hand-over was to another key", a.current)
	}
	if name, _, _ := strings.Cut(a.current, "+"); a.current != "" && name != a.report.Origin && a.report.Restored.IsZero() {
		a.problem(-1, "key", 0, "the store is %s, and the key that signs is of %s: its number was changed", a.report.Origin, name)
	}
	for _, k := range a.o.Keys {
		if !slices.Contains(a.report.Keys, k) {
			a.problem(-1, "key", 0, "the key %s is none of this log's: it is another log, or was forked and signed by another key", k)
			continue
		}
		a.report.KeyKnown = true
		last := len(a.report.Keys) - 1 // a key that was lost and put back signs twice
		for a.report.Keys[last] != k {
			last--
		}
		for _, h := range a.handovers[last:] {
			if !h.SignedByOld {
				a.problem(h.leaf, seal.KindHandover, 0, "the key %s was not handed over by the one before: who has it is not known", h.New)
			}
		}
	}
}

// A sealCursor reads a table in the order of its numbers.
type sealCursor struct {
	sql  string
	stmt *sqlite3.Stmt
	from int64 // from here to the row at hand there is none
	at   int64 // the number of the row at hand; noEnd behind the last one
}

// skipMost is how many rows are passed over before the table is looked up.
const skipMost = 8

// seek goes to a number, and reports whether there is such a row.
func (c *sealCursor) seek(db *database, id int64) (bool, error) {
	if c.stmt == nil {
		var err error
		if c.stmt, _, err = db.conn.Prepare(c.sql); err != nil {
			return false, err
		}
		c.from, c.at = noEnd, noEnd
	}
	for n := 0; n < skipMost && id >= c.from && c.at < id; n++ {
		if err := c.step(c.at + 1); err != nil {
			return false, err
		}
	}
	if id < c.from || c.at < id {
		if err := c.stmt.Reset(); err != nil {
			return false, err
		}
		c.stmt.BindInt64(1, id)
		if err := c.step(id); err != nil {
			return false, err
		}
	}
	return c.at == id, nil
}

func (c *sealCursor) step(from int64) error {
	c.from, c.at = from, noEnd
	if c.stmt.Step() {
		c.at = c.stmt.ColumnInt64(0)
	}
	return c.stmt.Err()
}

func (c *sealCursor) close() {
	if c.stmt != nil {
		c.stmt.Close()
		c.stmt = nil
	}
}

// A nameCursor reads names of listed rows in the order of their numbers, which is that in which
// rows have them for the first time: to look each one up costs as much as the rest of its row.
type nameCursor struct {
	sealCursor
	known map[int64]string
}

func newNameCursor() *nameCursor {
	return &nameCursor{sealCursor{sql: `SELECT id, name FROM listed_name WHERE id >= ? ORDER BY id`}, map[int64]string{}}
}

// name returns the name with this number, or nothing.
func (c *nameCursor) name(d *rowReader, id int64) (name string) {
	name, ok := c.known[id]
	if ok {
		return name
	}
	there, err := c.seek(d.db, id)
	if err != nil && d.err == nil {
		d.err = err
	}
	if there {
		name = c.stmt.ColumnText(1)
	}
	if len(c.known) >= readerKnows {
		clear(c.known)
	}
	c.known[id] = name
	return name
}

// sealedColumns are what scan reads, in its order, behind the number.
var sealedColumns = []string{
	"node", "first", "last", "count", "attempts", "as_lookups", "binding", "client", "client_id", "name", "type", "alias", "folded",
	"verdict", "class", "observed_by", "list", "line", "rule", "level", "attr_list", "attr_line", "annotation",
	"rcode", "answered_from", "transport", "ttl", "elapsed", "upstream", "import",
}

func selectSealedRows(l *layout) string {
	exprs := []string{`r.id`}
	for _, name := range sealedColumns {
		exprs = append(exprs, l.named(name))
	}
	return `SELECT ` + strings.Join(exprs, `, `) + ` FROM listed r WHERE r.id >= ? ORDER BY r.id`
}

// scan makes it that of a row in the store, as fill does of an entry.
func (r *sealedRow) scan(d *rowReader, stmt *sqlite3.Stmt, known map[*devices.Binding]*sealedBinding) {
	at := 0
	next := func() value { at++; return value{stmt, at} }
	d.table = 0
	r.Row = seal.Row{ID: stmt.ColumnInt64(0)}
	r.Node = d.node(next().int())
	r.First, r.Last, r.Count = next().int(), next().int(), uint64(next().int())
	r.Attempts, r.AsLookups = uint32(next().int()), uint32(next().int())
	var bound *sealedBinding
	if b := d.binding(next().int()); b != nil {
		if bound = known[b]; bound == nil {
			bound = newSealedBinding(b)
			known[b] = bound
		}
	}
	r.client = append(r.client[:0], next().raw()...)
	r.ClientID = next().text()
	r.asked(bound)
	r.name = append(r.name[:0], d.name(next(), r.ID)...)
	r.Type = uint16(next().int())
	r.alias = append(r.alias[:0], d.name(next(), r.ID)...)
	r.Name, r.Alias = r.name, r.alias
	r.Folded = uint8(next().int())
	r.Verdict, r.Reason, r.ObservedBy = verdictWords.of(next().int()), classWords.of(next().int()), observedByWords.of(next().int())
	r.List, r.Line = d.list(next().int()), int(next().int())
	if rule := next(); r.List != "" {
		text := r.name
		if !rule.null() {
			text = rule.raw()
		}
		if r.rule != string(text) { // many rows in turn are of one rule
			r.rule = string(text)
		}
		r.Rule = r.rule
	}
	r.Attribution = levelWords.of(next().int())
	r.AttributionList, r.AttributionLine = d.list(next().int()), int(next().int())
	r.describe(d.annotation(next().int()))
	r.Rcode = uint8(next().int())
	r.AnsweredFrom, r.Transport = sourceWords.of(next().int()), transportWords.of(next().int())
	r.TTL, r.Elapsed = uint32(next().int()), uint32(next().int())
	r.Upstream, r.Imported = d.upstream(next().int()), d.imported(next().int())
}

func (v value) raw() []byte { return v.stmt.ColumnRawText(v.i) }
