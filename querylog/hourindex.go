package querylog

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/sorting"
)

// An hourIndex tells by the hourly totals in which windows there can be rows of the devices,
// the vendor or the verdict that a filter chooses: every row was counted in the total of its first lookup's hour as
// it was stored, and a total says when the first and the last of its lookups were. By it rare rows are found without all
// others being looked at. It takes no room.
//
// An hour's totals are deleted from the oldest hour on, and some may be gone while rows are kept; afterwards an import
// or a clock that is set back may bring others of such hours. So an hour tells something only where none were ever deleted of it or of
// a later one, and where there are totals of it, and of the hour before.
type hourIndex struct {
	db   *database
	keys []chosenKey // of total_key, the one that was used latest first

	chosen map[int64]bool // their ids

	floor   int64 // the first window that totals tell of: its rows are in them, and no window behind it is deleted
	own     int64 // the first window that was not imported: before it, those between imported ones may be deleted
	deleted int64 // the last hour of which totals were ever deleted
	periods bool  // parts are whole periods (see names.go): names are looked for in these
}

// A chosenKey is a row of total_key, and the latest hour of which there is a total.
type chosenKey struct{ id, last int64 }

// A between is a time in milliseconds, both ends included.
type between struct{ first, last int64 }

// newHourIndex returns the index for a filter; nil where totals do not tell. In a centre they do not: an hour's total may be of one node,
// and another's rows of the hour be there without.
func newHourIndex(db *database, f *Filter) (*hourIndex, error) {
	if f.scan || !db.layout.names || db.version < versionOfTotals {
		return nil, nil
	}
	if shipped, err := db.hasShipped(); shipped || err != nil {
		return nil, err
	}
	deleted, err := db.number(`SELECT coalesce((SELECT value FROM meta WHERE key = '` + metaTotalsDeleted + `'), -1)`)
	if err != nil || deleted < 0 { // not known
		return nil, err
	}
	x := &hourIndex{db: db, deleted: deleted, chosen: map[int64]bool{}, periods: !f.name.empty()}
	var all []string
	var args []any
	if len(f.Devices) > 0 && f.Device == "" {
		all = append(all, `device IN (?`+strings.Repeat(`,?`, len(f.Devices)-1)+`)`)
		for i := range f.Devices {
			args = append(args, f.Devices[i].Device)
		}
	}
	if f.Verdict != "" {
		all, args = append(all, `verdict = ?`), append(args, verdictWords.number(f.Verdict))
	}
	if f.Vendor != "" { // totals have no vendor of a row of which only the domain's owner is known
		owns, err := db.number(`SELECT EXISTS (SELECT 1 FROM annotation WHERE vendor = ? COLLATE NOCASE AND tier = 'owner')`, f.Vendor)
		if err != nil {
			return nil, err
		}
		if owns == 0 {
			all, args = append(all, `vendor = ? COLLATE NOCASE`), append(args, f.Vendor)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	err = db.query(`SELECT id, last FROM total_key WHERE `+strings.Join(all, ` AND `), args, func(stmt *sqlite3.Stmt) bool {
		k := chosenKey{stmt.ColumnInt64(0), stmt.ColumnInt64(1)}
		x.keys, x.chosen[k.id] = append(x.keys, k), true
		return true
	})
	if err != nil {
		return nil, err
	}
	sorting.By(x.keys, func(a, b chosenKey) int { return cmp.Compare(b.last, a.last) })
	return x, db.query(`SELECT (SELECT value FROM meta WHERE key = '`+metaTotalsFrom+`'), (SELECT min(id) FROM window), (SELECT coalesce(min(id), 1 << 62) FROM window WHERE imported = 0)`, nil, func(stmt *sqlite3.Stmt) bool {
		oldest := stmt.ColumnInt64(1) >> periodBits // a part of it may be deleted
		x.floor, x.own = max(stmt.ColumnInt64(0), (oldest+1)<<periodBits), stmt.ColumnInt64(2)
		return false
	})
}

// mostHours is of how many hours totals are looked at: of more, the clock was set.
const mostHours = 3 * 366 * 24

// spans returns the parts of a range in which there can be rows that are chosen, downwards: all but the windows that
// tell that there are none. What is known of windows may be deleted before their rows.
func (x *hourIndex) spans(in span) (all []span, err error) {
	low, high := max(in.after+1, 0)>>rowBits, (in.end-1)>>rowBits // windows
	if high < x.floor {
		return []span{in}, nil
	}
	windows, sure, err := x.windows(max(low, x.floor), high)
	if err != nil {
		return nil, err
	}
	if !sure {
		return []span{in}, nil
	}
	add := func(first, last int64) {
		s := span{after: max(in.after, first<<rowBits-1), end: min(in.end, (last+1)<<rowBits)}
		if s.after+1 >= s.end {
			return
		}
		if n := len(all); n > 0 && all[n-1].after+1 <= s.end {
			all[n-1].after = min(all[n-1].after, s.after)
			return
		}
		all = append(all, s)
	}
	for _, w := range windows {
		add(w.first, w.last)
	}
	if low < x.floor {
		add(low, x.floor-1)
	}
	return all, nil
}

// fewPeriods are as many as are looked at one part after the other: what is before them is one part.
const fewPeriods = 64

// near is how many numbers may lie between two windows for those between them to be read, too, instead of
// a statement for each.
const near = 256

// windows returns the windows of a range in which there can be rows that are chosen, downwards, those that are near each other as
// one. It is not sure where the range is to be read whole.
func (x *hourIndex) windows(low, high int64) (all []between, sure bool, err error) {
	whole, longest, err := x.bounds(low, high)
	if err != nil || whole.last < whole.first {
		return nil, false, err
	}
	times, sure, err := x.times(whole)
	if err != nil || !sure {
		return nil, false, err
	}
	var found []between
	take := func(stmt *sqlite3.Stmt) bool {
		found = append(found, between{stmt.ColumnInt64(0), stmt.ColumnInt64(0)})
		return true
	}
	err = x.db.query(`SELECT id FROM window WHERE id BETWEEN ? AND ? AND last - first > ?`, []any{low, high, longest}, take) // the clock was set
	if err != nil {
		return nil, false, err
	}
	for _, t := range times {
		if err := x.db.query(`SELECT id FROM window WHERE last BETWEEN ? AND ? AND first <= ? AND +id BETWEEN ? AND ?`, []any{t.first, t.last + longest, t.last, low, high}, take); err != nil {
			return nil, false, err
		}
	}
	for end := min(high+1, x.own); end > low; { // periods without windows
		last, err := x.db.number(`SELECT coalesce((SELECT id FROM window WHERE id < ? ORDER BY id DESC LIMIT 1), -1)`, end)
		if err != nil {
			return nil, false, err
		}
		last = max(last, low-1)
		for p := (end - 1) >> periodBits; p > last>>periodBits; p-- {
			found = append(found, between{max(p<<periodBits, low), min((p+1)<<periodBits, end) - 1})
		}
		end = min(end, last) >> periodBits << periodBits
	}
	sorting.By(found, func(a, b between) int { return cmp.Compare(b.first, a.first) })
	for _, w := range found {
		if x.periods {
			w = between{max(w.first>>periodBits<<periodBits, low), min((w.last>>periodBits+1)<<periodBits-1, high)}
		}
		if n := len(all); n > 0 && all[n-1].first-w.last <= near {
			all[n-1].first = min(all[n-1].first, w.first)
		} else {
			all = append(all, w)
		}
	}
	return all, true, nil
}

// bounds returns between which times the lookups of a range's windows are, and how long its windows are, but for some that are to be
// read anyway. Of few windows it looks at each.
func (x *hourIndex) bounds(low, high int64) (whole between, longest int64, err error) {
	longest = 5 * time.Minute.Milliseconds()
	take := func(stmt *sqlite3.Stmt) bool {
		whole = between{stmt.ColumnInt64(0), stmt.ColumnInt64(1)}
		longest = max(longest, 2*stmt.ColumnInt64(2))
		return false
	}
	if high-low < fewPeriods<<periodBits {
		err = x.db.query(`SELECT min(first), max(last), 0 FROM window WHERE id BETWEEN ? AND ?`, []any{low, high}, take)
		return whole, longest, err
	}
	err = x.db.query(`SELECT (SELECT min(last) FROM window), (SELECT max(last) FROM window), (SELECT last - first FROM window ORDER BY id DESC LIMIT 1)`, nil, take)
	whole.first -= longest
	return whole, longest, err
}

// times returns when, within some time, rows that are chosen can have begun, upwards. It is not sure where that is most of the time, or too
// much to be looked at.
func (x *hourIndex) times(whole between) (all []between, sure bool, err error) {
	low, high := hourOf(whole.first)/hourMilli-1, hourOf(whole.last)/hourMilli
	if high-low > mostHours {
		return nil, false, nil
	}
	if x.deleted >= low {
		end := min(x.deleted, high) + 1
		all, low = append(all, between{low * hourMilli, end*hourMilli - 1}), end
	}
	for end := high; end >= low; end -= blockHours {
		begin := max(end-blockHours, low-1)
		tells, err := x.tells(begin, end)
		if err != nil {
			return nil, false, err
		}
		for hour := begin + 1; hour <= end; hour++ {
			if tells == nil || tells[hour-begin] && tells[hour-begin-1] {
				all, err = x.chosenTimes(hour, all)
			} else {
				all = append(all, between{hour * hourMilli, (hour+1)*hourMilli - 1})
			}
			if err != nil {
				return nil, false, err
			}
		}
	}
	sorting.By(all, func(a, b between) int { return cmp.Compare(a.first, b.first) })
	merged := all[:0]
	covered := int64(0)
	for _, t := range all {
		if n := len(merged); n > 0 && t.first <= merged[n-1].last+1 {
			merged[n-1].last = max(merged[n-1].last, t.last)
		} else {
			merged = append(merged, t)
		}
	}
	for _, t := range merged {
		covered += min(t.last, whole.last) - max(t.first, whole.first)
	}
	return merged, covered < (whole.last-whole.first)/2, nil
}

// blockHours are so many that totals of a hour within them alone are never deleted: they are from the oldest on, or, by a clock that
// was years ahead, from some hour on.
const blockHours = 24

// tells returns of which hours from begin on, up to end, there are totals; nil where there are of both: then none of those between
// is deleted.
func (x *hourIndex) tells(begin, end int64) (all []bool, err error) {
	for _, hour := range []int64{begin, end} {
		counted, err := x.counted(hour)
		if err != nil {
			return nil, err
		}
		if !counted {
			all = make([]bool, end-begin+1)
		}
	}
	for i := range all {
		if all[i], err = x.counted(begin + int64(i)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// counted reports whether there are totals of an hour.
func (x *hourIndex) counted(hour int64) (bool, error) {
	n, err := x.db.number(`SELECT EXISTS (SELECT 1 FROM total WHERE id >= ? AND id < ?)`, totalID(hour, 0), totalID(hour+1, 0))
	return n != 0, err
}

// fewKeys is of how many keys each total of an hour is asked for; of more, all totals are looked at.
const fewKeys = 8

// chosenTimes adds when rows of an hour that are chosen can have begun.
func (x *hourIndex) chosenTimes(hour int64, all []between) ([]between, error) {
	used, _ := slices.BinarySearchFunc(x.keys, hour, func(k chosenKey, hour int64) int { return cmp.Compare(hour-1, k.last) }) // in it or later
	take := func(stmt *sqlite3.Stmt) bool {
		if x.chosen[stmt.ColumnInt64(0)&totalKeyMask] {
			all = append(all, between{hour*hourMilli + stmt.ColumnInt64(1), hour*hourMilli + stmt.ColumnInt64(2)})
		}
		return true
	}
	if used > fewKeys {
		err := x.db.query(`SELECT id, first, last FROM total WHERE id >= ? AND id < ?`, []any{totalID(hour, 0), totalID(hour+1, 0)}, take)
		return all, err
	}
	for _, k := range x.keys[:used] {
		if err := x.db.query(`SELECT id, first, last FROM total WHERE id = ?`, []any{totalID(hour, k.id)}, take); err != nil {
			return all, err
		}
	}
	return all, nil
}
