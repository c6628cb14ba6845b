package querylog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
)

// A TopRow is one line of Top.
type TopRow struct {
	Key     string `json:"key"`             // the name, device or vendor; "" for names not kept
	Label   string `json:"label,omitempty"` // of a device: the name it was last shown by
	Count   uint64 `json:"count"`           // lookups
	Blocked uint64 `json:"blocked"`         // of them blocked
	Tiers   Tiers  `json:"tiers"`           // of them by what is said of the name
	Rows    uint64 `json:"rows"`            // windows in which there was one, by each name and device
	First   Time   `json:"first"`
	Last    Time   `json:"last"`
}

// Tiers counts lookups by the tier of the rule or the list that attributes them.
// Names of no tier are in none.
type Tiers struct {
	Telemetry uint64 `json:"telemetry"`
	Mixed     uint64 `json:"mixed"`
	Essential uint64 `json:"essential"`
}

func (t *Tiers) add(u Tiers) {
	t.Telemetry += u.Telemetry
	t.Mixed += u.Mixed
	t.Essential += u.Essential
}

// tiersOf counts a row by its tier.
func tiersOf(r *Row) (t Tiers) {
	if r.Attribution == blocklists.ByOwner.String() {
		return t
	}
	switch r.Tier {
	case "telemetry":
		t.Telemetry = r.Count
	case "mixed":
		t.Mixed = r.Count
	case "essential":
		t.Essential = r.Count
	}
	return t
}

// tierSQL counts the rows of a group by tier.
const tierSQL = `sum(CASE WHEN r.level >= 2 AND a.tier = 'telemetry' THEN r.count ELSE 0 END),
			sum(CASE WHEN r.level >= 2 AND a.tier = 'mixed' THEN r.count ELSE 0 END),
			sum(CASE WHEN r.level >= 2 AND a.tier = 'essential' THEN r.count ELSE 0 END)`

// Top counts the lookups f chooses by what ("names", "devices" or "vendors")
// and returns the n largest; 0 for all. f.Limit has no effect. Vendors are those
// of which a rule or a list says so: that a company owns a domain does not make
// it a vendor's telemetry.
func (r *Reader) Top(ctx context.Context, what string, f Filter, n int) ([]TopRow, error) {
	f, err := f.normal()
	if err != nil {
		return nil, err
	}
	f.Limit = 0
	c, ok := topColumns[what]
	if !ok {
		return nil, fmt.Errorf("no top of %q: there are names, devices and vendors", what)
	}
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all := map[string]*TopRow{}
	if s.conn != nil {
		if err := s.top(c, &f, all); err != nil {
			return nil, err
		}
	}
	for _, row := range s.openRows(&f) {
		if key, ok := c.of(&row); ok {
			t := TopRow{Key: key, Count: row.Count, Tiers: tiersOf(&row), Rows: 1, First: row.Time, Last: row.Last}
			if what == "devices" {
				t.Label = row.DeviceName
			}
			if row.Verdict == blocklists.Block.String() {
				t.Blocked = row.Count
			}
			merge(all, t)
		}
	}
	top := make([]TopRow, 0, len(all))
	for _, t := range all {
		top = append(top, *t)
	}
	slices.SortFunc(top, func(a, b TopRow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	if n > 0 && len(top) > n {
		top = top[:n]
	}
	return top, nil
}

// A topColumn is what Top counts by: in the store and of a row.
type topColumn struct {
	key, label, where string
	of                func(*Row) (key string, ok bool)
}

var topColumns = map[string]topColumn{
	"names":   {`coalesce(r.name, '')`, `''`, ``, func(r *Row) (string, bool) { return r.Name, true }},
	"devices": {deviceSQL, `coalesce(b.name, '')`, ``, func(r *Row) (string, bool) { return r.Device, true }},
	"vendors": {`a.vendor`, `''`, ` AND r.level >= 2 AND a.vendor <> ''`, func(r *Row) (string, bool) {
		return r.Vendor, r.Vendor != "" && (r.Attribution == blocklists.ByRule.String() || r.Attribution == blocklists.ByList.String())
	}},
}

func (s *snapshot) top(c topColumn, f *Filter, all map[string]*TopRow) error {
	low, high, err := s.bounds(f)
	if err != nil {
		return err
	}
	where, args := f.where()
	args = append([]any{low - 1, min(high, (s.position+1)<<rowBits)}, args...)
	for _, table := range []string{"listed", "unlisted"} {
		sql := fmt.Sprintf(`SELECT %s, %s, sum(r.count), sum(CASE r.verdict WHEN 2 THEN r.count ELSE 0 END), count(*), min(r.first), max(r.last),
			%s
			FROM %s r %s %s %s GROUP BY 1`, c.key, c.label, tierSQL, table, joins, where, c.where)
		err := s.query(sql, args, func(stmt *sqlite3.Stmt) bool {
			merge(all, TopRow{
				Key: stmt.ColumnText(0), Label: stmt.ColumnText(1), Count: uint64(stmt.ColumnInt64(2)), Blocked: uint64(stmt.ColumnInt64(3)),
				Rows: uint64(stmt.ColumnInt64(4)), First: Time{fromMilli(stmt.ColumnInt64(5))}, Last: Time{fromMilli(stmt.ColumnInt64(6))},
				Tiers: Tiers{uint64(stmt.ColumnInt64(7)), uint64(stmt.ColumnInt64(8)), uint64(stmt.ColumnInt64(9))},
			})
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func merge(all map[string]*TopRow, t TopRow) {
	if have := all[t.Key]; have != nil {
		have.Add(t)
		return
	}
	all[t.Key] = &t
}

// Add adds the lookups of another line of the same thing.
func (t *TopRow) Add(u TopRow) {
	t.Count += u.Count
	t.Blocked += u.Blocked
	t.Rows += u.Rows
	t.Tiers.add(u.Tiers)
	if u.First.Before(t.First.Time) {
		t.First = u.First
	}
	if !u.Last.Before(t.Last.Time) {
		t.Last, t.Label = u.Last, cmp.Or(u.Label, t.Label)
	}
}

// Coverage returns the time of the oldest row of listed names and of all others;
// zero where there is none.
func (r *Reader) Coverage(ctx context.Context) (listed, unlisted time.Time, err error) {
	s, err := r.look(ctx, nil)
	if err != nil {
		return listed, unlisted, err
	}
	defer s.close()
	if s.conn != nil {
		for table, t := range map[string]*time.Time{"listed": &listed, "unlisted": &unlisted} {
			first, err := s.number(`SELECT first FROM ` + table + ` ORDER BY id LIMIT 1`)
			if err != nil {
				return listed, unlisted, err
			}
			*t = fromMilli(first)
		}
	}
	for _, p := range s.open {
		for _, e := range p.entries {
			t := &unlisted
			if e.listed() {
				t = &listed
			}
			if row := e.row(0, ""); t.IsZero() || row.Time.Before(*t) {
				*t = row.Time.Time
			}
		}
	}
	return listed, unlisted, nil
}
