package querylog

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/sorting"
)

// A TopRow is one line of Top.
type TopRow struct {
	Key   string `json:"key"`             // the name, device, vendor or purpose; "" for names not kept, and for no purpose
	Label string `json:"label,omitempty"` // of a device: the name it was last shown by
	Count uint64 `json:"count"`           // lookups

	Attempts  uint64 `json:"attempts"`                      // that began; 0 also where they were not counted
	AsLookups uint64 `json:"attempts_as_lookups,omitempty"` // of them, lookups that each counted as one

	Blocked  uint64 `json:"blocked"`            // of them blocked
	Unknown  uint64 `json:"unknown,omitempty"`  // of them those of which the log of another server did not say what was decided
	Tiers    Tiers  `json:"tiers"`              // of them by what is said of the name
	Imported uint64 `json:"imported,omitempty"` // of them recorded by another server
	Rows     uint64 `json:"rows"`               // windows in which there was one, by each name and device
	First    Time   `json:"first"`
	Last     Time   `json:"last"`
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

// Top counts the lookups f chooses by what ("names", "devices", "vendors" or "purposes")
// and returns the n with the most attempts; 0 for all. f.Limit has no effect. Vendors and purposes are those
// of which a rule or a list says so: that a company owns a domain does not make
// it a vendor's telemetry.
func (r *Reader) Top(ctx context.Context, what string, f Filter, n int) ([]TopRow, error) {
	c, ok := topColumns[what]
	if !ok {
		return nil, fmt.Errorf("no top of %q: there are names, devices, vendors and purposes", what)
	}
	s, err := r.look(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if f, err = f.normal(); err != nil {
		return nil, err
	}
	f.Limit = 0
	t := tops{}
	if err := s.topStored(c, &f, t); err != nil {
		return nil, cmp.Or(ctx.Err(), err)
	}
	for _, row := range s.openRows(&f) {
		if key, ok := c.of(&row); ok {
			t.add(topOf(key, &row, what == "devices"))
		}
	}
	return t.largest(n), nil
}

func topOf(key string, row *Row, labelled bool) TopRow {
	t := TopRow{Key: key, Count: row.Count, Attempts: uint64(row.Attempts), AsLookups: uint64(row.AsLookups), Tiers: tiersOf(row), Rows: 1, First: row.Time, Last: row.Last}
	if labelled {
		t.Label = row.DeviceName
	}
	if row.Verdict == blocklists.Block.String() {
		t.Blocked = row.Count
	}
	if row.Verdict == UnknownVerdict.String() {
		t.Unknown = row.Count
	}
	if row.Imported != "" {
		t.Imported = row.Count
	}
	return t
}

// A topColumn is what Top counts by: in the store and of a row.
type topColumn struct {
	key   func(*layout) string
	label string
	where string
	of    func(*Row) (key string, ok bool)
}

var topColumns = map[string]topColumn{
	"names":    {func(l *layout) string { return `coalesce(` + l.name() + `, '')` }, `''`, ``, func(r *Row) (string, bool) { return r.Name, true }},
	"devices":  {func(*layout) string { return deviceSQL }, `coalesce(b.name, '')`, ``, func(r *Row) (string, bool) { return r.Device, true }},
	"vendors":  {func(*layout) string { return `a.vendor` }, `''`, ofVendor, func(r *Row) (string, bool) { return r.Vendor, r.ofVendor() }},
	"purposes": {func(*layout) string { return `a.purpose` }, `''`, ofVendor, func(r *Row) (string, bool) { return r.Purpose, r.ofVendor() }},
}

// ofVendor is the condition on a row that a rule or a list says whose name it is.
const ofVendor = ` AND r.level >= 2 AND a.vendor <> ''`

// ofVendor reports the same.
func (r *Row) ofVendor() bool {
	return r.Vendor != "" && (r.Attribution == blocklists.ByRule.String() || r.Attribution == blocklists.ByList.String())
}

// tops are the lines of Top by key.
type tops map[string]*TopRow

// topStored counts what is in the stores.
func (s *snapshot) topStored(c topColumn, f *Filter, t tops) error {
	return s.eachSpan(f, func(db *database, in span) error { return db.top(c, f, in, t) })
}

// eachSpan calls each with the parts of the stores in which rows that f chooses can be. While
// one is copied to the other, how far that went and what each reads must be of one moment.
func (s *snapshot) eachSpan(f *Filter, each func(*database, span) error) error {
	if s.store != nil && s.begun {
		if err := s.store.conn.Exec(`BEGIN`); err != nil {
			return err
		}
		defer s.store.conn.Exec(`COMMIT`)
		var err error
		if s.copied, err = s.store.number(`SELECT coalesce((SELECT value FROM meta WHERE key = 'copied'), 0)`); err != nil {
			return err
		}
	}
	for _, db := range s.databases() {
		after := int64(-1)
		if db == s.old {
			after = s.copied
		}
		spans, err := s.spans(db, f, after)
		if err != nil {
			return err
		}
		for _, in := range spans {
			if err := each(db, in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (db *database) top(c topColumn, f *Filter, in span, t tops) error {
	for _, table := range rowTables {
		if f.only != "" && table != f.only {
			continue
		}
		where, args := f.where(db.layout, table, in)
		args = append([]any{in.after, in.end}, args...)
		sql := `SELECT ` + c.key(db.layout) + `, ` + c.label + `, sum(r.count), sum(CASE r.verdict WHEN 2 THEN r.count ELSE 0 END),
			count(*), min(r.first), max(` + db.layout.named("last") + `), ` + tierSQL + `, sum(` + db.layout.named("attempts") + `), sum(` + db.layout.named("as_lookups") + `), sum(CASE WHEN ` + db.layout.named("import") + ` <> 0 THEN r.count ELSE 0 END), sum(CASE r.verdict WHEN 5 THEN r.count ELSE 0 END)` + db.layout.from(table, where) + c.where + ` GROUP BY 1`
		err := db.query(sql, args, func(stmt *sqlite3.Stmt) bool {
			n := func(i int) uint64 { return uint64(stmt.ColumnInt64(i)) }
			t.add(TopRow{
				Key: stmt.ColumnText(0), Label: stmt.ColumnText(1), Count: n(2), Blocked: n(3), Rows: n(4),
				First: Time{fromMilli(stmt.ColumnInt64(5))}, Last: Time{fromMilli(stmt.ColumnInt64(6))}, Tiers: Tiers{n(7), n(8), n(9)},
				Attempts: n(10), AsLookups: n(11), Imported: n(12), Unknown: n(13),
			})
			return true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// largest returns the n lines with the most attempts, in their order; 0 for all.
func (t tops) largest(n int) []TopRow {
	all := make([]TopRow, 0, len(t))
	for _, row := range t {
		all = append(all, *row)
	}
	sorting.By(all, func(a, b TopRow) int {
		return cmp.Or(cmp.Compare(b.Attempts, a.Attempts), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	if n > 0 && len(all) > n {
		all = all[:n]
	}
	return all
}

// add counts a line to the one of the same key.
func (t tops) add(row TopRow) {
	if have := t[row.Key]; have != nil {
		have.Add(row)
		return
	}
	t[row.Key] = &row
}

// Add adds the lookups of another line of the same thing.
func (t *TopRow) Add(u TopRow) {
	t.Count += u.Count
	t.Attempts += u.Attempts
	t.AsLookups += u.AsLookups
	t.Imported += u.Imported
	t.Blocked += u.Blocked
	t.Unknown += u.Unknown
	t.Rows += u.Rows
	t.Tiers.add(u.Tiers)
	if u.First.Before(t.First.Time) {
		t.First = u.First
	}
	if !u.Last.Before(t.Last.Time) {
		t.Last, t.Label = u.Last, cmp.Or(u.Label, t.Label)
	}
}
