package querylog

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/devices"
	"telltale/sorting"
)

// Ledger returns the quality ledger's lines between two times, in order; a zero
// time is no bound.
func (r *Reader) Ledger(ctx context.Context, since, until time.Time) (events []Event, err error) {
	lines, err := r.LedgerLines(ctx)
	for i := range lines {
		if e := &lines[i].Event; (since.IsZero() || !e.Time.Before(since)) && (until.IsZero() || !e.Time.After(until)) {
			events = append(events, *e)
		}
	}
	return events, err
}

// A LedgerLine is an event with its number, which is unique within the store and ascending.
type LedgerLine struct {
	Event
	ID int64 `json:"id"`
}

// LedgerLines returns the whole quality ledger with the numbers of its lines, in order.
func (r *Reader) LedgerLines(ctx context.Context) (lines []LedgerLine, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	numbered := map[int64]Event{}
	for _, db := range s.databases() {
		err := db.query(`SELECT l.time, n.name, l.kind, l.subject, l.detail, l.since, l.until, l.id FROM ledger l
			LEFT JOIN node n ON n.id = l.node WHERE l.id < ?`, []any{(s.position + 1) << rowBits}, func(stmt *sqlite3.Stmt) bool {
			numbered[stmt.ColumnInt64(7)] = Event{
				Time: Time{time.UnixMilli(stmt.ColumnInt64(0))}, Node: stmt.ColumnText(1), Kind: currentKind(stmt.ColumnText(2)),
				Subject: stmt.ColumnText(3), Detail: stmt.ColumnText(4),
				Since: Time{fromMilli(stmt.ColumnInt64(5))}, Until: Time{fromMilli(stmt.ColumnInt64(6))},
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	for _, id := range sortedKeys(numbered) {
		lines = append(lines, LedgerLine{numbered[id], id})
	}
	for _, p := range s.open {
		for i := range p.events {
			lines = append(lines, LedgerLine{p.events[i], p.window<<rowBits | int64(i)})
		}
	}
	return lines, nil
}

// Bindings returns every binding the log knows, in the order of their numbers.
func (r *Reader) Bindings(ctx context.Context) (all []devices.Binding, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.bindings()
}

func (s *snapshot) bindings() (all []devices.Binding, err error) {
	known := map[uint64]int{} // place in all
	add := func(b devices.Binding) {
		if i, ok := known[b.ID]; !ok {
			known[b.ID] = len(all)
			all = append(all, b)
		} else if !b.Until.IsZero() {
			all[i].Until, all[i].Seen = b.Until, b.Seen
		}
	}
	for _, db := range s.databases() {
		if db == s.old && s.begun {
			continue
		}
		err := db.query(selectBindings, nil, func(stmt *sqlite3.Stmt) bool {
			add(scanBinding(stmt))
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	for _, p := range s.open {
		for _, b := range p.bindings {
			add(b)
		}
		for _, c := range p.clients {
			if c.binding != nil {
				add(*c.binding)
			}
		}
	}
	sorting.By(all, func(a, b devices.Binding) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}

// An Hour is what remains of the unlisted rows of one device and hour once
// their time is over.
type Hour struct {
	Hour    Time   `json:"hour"` // its beginning
	Node    string `json:"node"`
	Device  string `json:"device"`
	Lookups uint64 `json:"lookups"`
}

// Hours returns the totals of unlisted lookups whose rows are deleted, between
// two times; a zero time is no bound.
func (r *Reader) Hours(ctx context.Context, since, until time.Time) (hours []Hour, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.hours(since, until)
}

func (s *snapshot) hours(since, until time.Time) (hours []Hour, err error) {
	end := int64(1<<63 - 1)
	if !until.IsZero() {
		end = until.UnixMilli()
	}
	for _, db := range s.databases() {
		if db == s.old && s.begun {
			continue
		}
		err = db.query(`SELECT h.hour, n.name, h.device, h.lookups FROM hour h LEFT JOIN node n ON n.id = h.node
			WHERE h.hour >= ? AND h.hour <= ? ORDER BY h.hour, h.device`, []any{milli(since), end}, func(stmt *sqlite3.Stmt) bool {
			hours = append(hours, Hour{Time{time.UnixMilli(stmt.ColumnInt64(0))}, stmt.ColumnText(1), stmt.ColumnText(2), uint64(stmt.ColumnInt64(3))})
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	sorting.StableBy(hours, func(a, b Hour) int {
		return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Device, b.Device))
	})
	return hours, nil
}

func sortedKeys[V any](m map[int64]V) []int64 {
	keys := make([]int64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
