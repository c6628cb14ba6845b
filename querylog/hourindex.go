package querylog

import (
	"fmt"
	"strings"

	"github.com/ncruces/go-sqlite3"
)

// An hourIndex tells by the hourly totals in which periods (see names.go) there can be rows of the devices,
// the vendor or the verdict that a filter chooses: every row was counted in the total of its first lookup's hour as
// it was stored. By it the newest of rare rows are found without all others being looked at. It takes no room.
//
// An hour's totals are deleted from the oldest hour on, and some may be gone while rows are kept. So an hour
// tells something only where there are totals of it, and of the hour before.
type hourIndex struct {
	db   *database
	keys string // the condition on total_key
	args []any
	from int64 // the first window whose rows are in totals
	last int64 // the latest hour that has a total of such a key

	oldest int64 // the period of the oldest window: of rows before there may be no windows any more

	known map[int64]hourHas
}

// An hourHas says what totals there are of an hour.
type hourHas uint8

const (
	noTotals    hourHas = iota + 1
	otherTotals         // none that is chosen
	chosenTotals
)

// newHourIndex returns the index for a filter; nil where totals do not tell. In a centre they do not: an hour's total may be of one node,
// and another's rows of the hour be there without.
func newHourIndex(db *database, f *Filter) (*hourIndex, error) {
	if f.scan || !db.layout.names || db.version < versionOfTotals {
		return nil, nil
	}
	if shipped, err := db.hasShipped(); shipped || err != nil {
		return nil, err
	}
	x := &hourIndex{db: db, known: map[int64]hourHas{}}
	var all []string
	if len(f.Devices) > 0 && f.Device == "" {
		all = append(all, `device IN (?`+strings.Repeat(`,?`, len(f.Devices)-1)+`)`)
		for i := range f.Devices {
			x.args = append(x.args, f.Devices[i].Device)
		}
	}
	if f.Verdict != "" {
		all, x.args = append(all, `verdict = ?`), append(x.args, verdictWords.number(f.Verdict))
	}
	if f.Vendor != "" { // totals have no vendor of a row of which only the domain's owner is known
		owns, err := db.number(`SELECT EXISTS (SELECT 1 FROM annotation WHERE vendor = ? COLLATE NOCASE AND tier = 'owner')`, f.Vendor)
		if err != nil {
			return nil, err
		}
		if owns == 0 {
			all, x.args = append(all, `vendor = ? COLLATE NOCASE`), append(x.args, f.Vendor)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	x.keys = strings.Join(all, ` AND `)
	err := db.query(`SELECT (SELECT value FROM meta WHERE key = '`+metaTotalsFrom+`'), (SELECT coalesce(max(last), -1 << 38) FROM total_key WHERE `+x.keys+`), (SELECT min(id) FROM window)`, x.args, func(stmt *sqlite3.Stmt) bool {
		x.from, x.last, x.oldest = stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)>>periodBits
		return false
	})
	return x, err
}

// has says what totals there are of an hour.
func (x *hourIndex) has(hour int64) (h hourHas, err error) {
	if h = x.known[hour]; h != 0 {
		return h, nil
	}
	h = noTotals
	in := []any{totalID(hour, 0), totalID(hour+1, 0)}
	n, err := x.db.number(`SELECT EXISTS (SELECT 1 FROM total WHERE id >= ? AND id < ?)`, in...)
	if n != 0 && err == nil {
		h = otherTotals
		if hour <= x.last {
			n, err = x.db.number(fmt.Sprintf(`SELECT EXISTS (SELECT 1 FROM total WHERE id >= ? AND id < ? AND id & %d IN (SELECT id FROM total_key WHERE %s))`, totalKeyMask, x.keys), append(in, x.args...)...)
			if n != 0 {
				h = chosenTotals
			}
		}
	}
	x.known[hour] = h
	return h, err
}

// longestWindow is over how many hours lookups of one window can be for it to be left out: of
// more, the clock was set.
const longestWindow = 3

// canHave reports whether rows with lookups from first to last, in milliseconds, can be chosen.
func (x *hourIndex) canHave(first, last int64) (bool, error) {
	low, high := hourOf(first)/hourMilli, hourOf(last)/hourMilli
	if high-low >= longestWindow {
		return true, nil
	}
	for hour := low - 1; hour <= high; hour++ {
		has, err := x.has(hour)
		if err != nil || has == noTotals || has == chosenTotals && hour >= low {
			return true, err
		}
	}
	return false, nil
}

// spans returns the parts of a range in which there can be rows that are chosen, downwards: all but the periods whose windows
// tell that there are none. What is known of windows may be deleted before their rows.
func (x *hourIndex) spans(in span) (all []span, err error) {
	type period struct{ of, first, last int64 }
	var periods []period
	low := max(in.after, 0)
	err = x.db.query(fmt.Sprintf(`SELECT id >> %d, min(first), max(last) FROM window WHERE id BETWEEN ? AND ? GROUP BY 1 ORDER BY 1 DESC`, periodBits),
		[]any{low >> rowBits, (in.end - 1) >> rowBits}, func(stmt *sqlite3.Stmt) bool {
			periods = append(periods, period{stmt.ColumnInt64(0), stmt.ColumnInt64(1), stmt.ColumnInt64(2)})
			return true
		})
	if err != nil {
		return nil, err
	}
	end := in.end
	for _, p := range periods {
		can := p.of<<periodBits < x.from || p.of <= x.oldest
		if !can {
			if can, err = x.canHave(p.first, p.last); err != nil {
				return nil, err
			}
		}
		none := span{max(in.after, p.of<<periodRows-1), min(in.end, (p.of+1)<<periodRows)}
		if can || none.after >= none.end {
			continue
		}
		if none.end < end {
			all = append(all, span{none.end - 1, end})
		}
		end = none.after + 1
	}
	if in.after+1 < end {
		all = append(all, span{in.after, end})
	}
	return all, nil
}
