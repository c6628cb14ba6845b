package querylog

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// A set of names says which names a period (see names.go) may have: by it a search for what is below a name
// passes over periods that have none, and does not look at each of their names. It is a
// Bloom filter of the names' suffixes of two labels and more. The store makes it some time after the period
// is over, in steps; a period without one is looked through, as one is whose set is empty: names
// came to it since, or were taken out, and it is made again.

// createNameSets are the tables of sets of names.
const createNameSets = `CREATE TABLE listed_set ( -- which names of listed_name a period may have
	id   INTEGER PRIMARY KEY, -- listed_name.id >> 26
	bits BLOB NOT NULL        -- see docs/querylog.md; empty: to be made again
) STRICT;
CREATE TABLE unlisted_set (id INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT; -- as listed_set
`

// metaNameSets is the key of the last period of which there are sets, in the store's meta
// table.
const metaNameSets = "name_sets"

const (
	nameSetBits   = 12     // for each suffix: with nameSetHashes, three of a thousand that are not in it look as if they were
	nameSetHashes = 8      // of a suffix; it never changes: the sets that are stored have as many
	nameSetNames  = 20_000 // of a period: of more there is no set
)

// suffixHash returns the hash by which a suffix is in a set. It is stored: it never changes.
func suffixHash(suffix string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(suffix) {
		h = (h ^ uint64(suffix[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}

// setPlaces calls each with the bits of a hash in a set of so many bits, until it returns false.
func setPlaces(h, size uint64, each func(at uint64) bool) bool {
	step := bits.RotateLeft64(h, 32) | 1
	for i := range uint64(nameSetHashes) {
		if !each((h + i*step) % size) {
			return false
		}
	}
	return true
}

// setHas reports whether a set, which is not empty, may have a hash.
func setHas(set []byte, h uint64) bool {
	return setPlaces(h, 8*uint64(len(set)), func(at uint64) bool { return set[at/8]&(1<<(at%8)) != 0 })
}

// makeSet makes the set of some hashes.
func makeSet(hashes map[uint64]bool) []byte {
	set := make([]byte, (len(hashes)*nameSetBits+7)/8+1) // never empty
	for h := range hashes {
		setPlaces(h, 8*uint64(len(set)), func(at uint64) bool {
			set[at/8] |= 1 << (at % 8)
			return true
		})
	}
	return set
}

// suffixes calls each with the suffixes of a name that have two labels or more, the name
// itself first.
func suffixes(name string, each func(string)) {
	for strings.IndexByte(name, '.') >= 0 {
		each(name)
		_, name, _ = strings.Cut(name, ".")
	}
}

// suffixHashes returns the hashes one of which is in the set of a period that has a name
// that f chooses; none where sets cannot tell.
func (f *nameFilter) suffixHashes() (all []uint64) {
	switch f.kind {
	case nameExact:
		if !f.wide && strings.Contains(f.text, ".") {
			return []uint64{suffixHash(f.text)}
		}
	case nameSuffix:
		if suffix := f.text[1:]; !f.wide && strings.Contains(suffix, ".") {
			return []uint64{suffixHash(suffix)}
		}
	case nameAnyOf:
		for i := range f.anyOf {
			one := f.anyOf[i].suffixHashes()
			if len(one) == 0 {
				return nil
			}
			all = append(all, one...)
		}
	}
	return all
}

// A periodRange is some periods, both ends included.
type periodRange struct{ first, last int64 }

// mayHave returns the periods of a range in which a table is likely to have a name that f chooses, by their sets, and those
// of which it is not known.
func (db *database) mayHave(f *nameFilter, table string, in periodRange) (likely []int64, unknown []periodRange, err error) {
	hashes := f.suffixHashes()
	if len(hashes) == 0 || db.version < versionOfNameSets {
		return nil, []periodRange{in}, nil
	}
	next := in.first
	err = db.query(`SELECT id, bits FROM `+table+`_set WHERE id BETWEEN ? AND ? ORDER BY id`, []any{in.first, in.last}, func(stmt *sqlite3.Stmt) bool {
		period, set := stmt.ColumnInt64(0), stmt.ColumnRawBlob(1)
		if len(set) == 0 {
			return true
		}
		for _, h := range hashes {
			if setHas(set, h) {
				likely = append(likely, period)
				break
			}
		}
		if next < period {
			unknown = append(unknown, periodRange{next, period - 1})
		}
		next = period + 1
		return true
	})
	if next <= in.last {
		unknown = append(unknown, periodRange{next, in.last})
	}
	return likely, unknown, err
}

// nameSetStep makes the sets of a period that is over, and reports whether there was one to be made.
func (s *store) nameSetStep() (any bool, err error) {
	for _, table := range rowTables {
		if any, err := s.remakeNameSet(table); any || err != nil {
			return any, err
		}
	}
	next := s.position >> periodBits // the last one, to which names still come
	for _, table := range rowTables {
		first, err := s.number(`SELECT coalesce((SELECT id FROM `+table+`_name WHERE id >= ? ORDER BY id LIMIT 1), ?)`, (s.nameSets+1)<<nameBits, next<<nameBits)
		if err != nil {
			return false, err
		}
		next = min(next, first>>nameBits)
	}
	if next >= s.position>>periodBits {
		return false, nil
	}
	err = s.transact(func() error {
		for _, table := range rowTables {
			if err := s.makeNameSet(table, next); err != nil {
				return err
			}
		}
		return s.setMeta(metaNameSets, next)
	})
	if err == nil {
		s.nameSets = next
	}
	return true, err
}

// setsLooked is how many sets a step looks at for one that is to be made again.
const setsLooked = 1000

// remakeNameSet looks at the next sets of a table, and makes the first that is empty. It
// reports whether there may be more.
func (s *store) remakeNameSet(table string) (more bool, err error) {
	empty, n, next := int64(-1), 0, s.staleSets[table]
	if next == math.MaxInt64 {
		return false, nil
	}
	err = s.texts(fmt.Sprintf(`SELECT id, length(bits) FROM %s_set WHERE id >= ? ORDER BY id LIMIT %d`, table, setsLooked), func(stmt *sqlite3.Stmt) {
		if n++; empty < 0 {
			next = stmt.ColumnInt64(0) + 1
			if stmt.ColumnInt64(1) == 0 {
				empty = next - 1
			}
		}
	}, next)
	if more = empty >= 0 || n == setsLooked; !more {
		next = math.MaxInt64
	}
	if err == nil && empty >= 0 {
		err = s.transact(func() error { return s.makeNameSet(table, empty) })
	}
	if err == nil {
		s.staleSets[table] = next
	}
	return more, err
}

// setIsStale makes the set of a table's period be looked at again.
func (s *store) setIsStale(table string, period int64) {
	s.staleSets[table] = min(s.staleSets[table], period)
}

// makeNameSet makes the set of a table's period; none where it has too many names.
func (s *store) makeNameSet(table string, period int64) error {
	hashes, names := map[uint64]bool{}, 0
	stmt, _, err := s.conn.Prepare(`SELECT name FROM ` + table + `_name WHERE id BETWEEN ? AND ? LIMIT ?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, period<<nameBits)
	stmt.BindInt64(2, period<<nameBits|(1<<nameBits-1))
	stmt.BindInt64(3, nameSetNames+1)
	for ; stmt.Step(); names++ {
		suffixes(stmt.ColumnText(0), func(suffix string) { hashes[suffixHash(suffix)] = true })
	}
	if err := errors.Join(stmt.Err(), stmt.Close()); err != nil {
		return err
	}
	if names == 0 || names > nameSetNames {
		return s.exec(`DELETE FROM `+table+`_set WHERE id = ?`, period)
	}
	insert, _, err := s.conn.Prepare(`INSERT OR REPLACE INTO ` + table + `_set VALUES (?,?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	insert.BindInt64(1, period)
	insert.BindBlob(2, makeSet(hashes))
	return insert.Exec()
}

// staleNameSet is the statement that makes the set of a period be made again.
func staleNameSet(table string) string {
	return `INSERT INTO ` + table + `_set VALUES (?,x'') ON CONFLICT DO UPDATE SET bits = excluded.bits`
}

// deleteNameSets deletes the sets of a table's periods before the oldest row's.
func (s *store) deleteNameSets(table string) error {
	return s.exec(fmt.Sprintf(`DELETE FROM %[1]s_set WHERE id < (SELECT coalesce(min(id) >> %[2]d, 1 << %[3]d) FROM %[1]s)`, table, periodRows, 62-nameBits))
}
