package querylog

import (
	"fmt"
	"time"
)

const (
	retainEvery = time.Hour
	deleteRows  = 5_000 // in one transaction, so that a commit never waits long
	vacuumPages = 2_000
)

// retain deletes what is too old or too much, once an hour.
func (w *writer) retain() {
	if w.store == nil || !w.lastRetain.IsZero() && time.Since(w.lastRetain) < retainEvery {
		return
	}
	w.lastRetain = time.Now()
	d, err := w.store.retain(w.l.o.Retention, w.l.o.Now(), &w.clock)
	if d.detail() != "" {
		w.l.addEvent(Event{Kind: KindRetention, Detail: d.detail()})
	}
	if d.held != w.held && d.held != "" {
		w.l.addEvent(Event{Kind: KindClock, Detail: "nothing is deleted by age for now: " + d.held})
	}
	w.held = d.held
	if isCorrupt(err) {
		err = w.replaceStore(err)
	}
	if err != nil {
		w.failed("store", err)
	}
}

// deleted says what a run of retain has deleted.
type deleted struct {
	listed, crowded int64  // rows by age; rows of any kind by the size cap
	held            string // why nothing was deleted by age; "" if it was
}

func (d *deleted) detail() string {
	switch {
	case d.crowded > 0:
		return fmt.Sprintf("%d of the oldest rows deleted, as the store reached its largest size", d.crowded)
	case d.listed > 0:
		return fmt.Sprintf("%d rows of listed names deleted by age", d.listed)
	}
	return ""
}

func (s *store) retain(r Retention, now time.Time, clock *clockGuard) (d deleted, err error) {
	if ok, why := clock.mayDelete(); !ok {
		d.held = why
	} else if err := s.retainAges(r, now, &d); err != nil {
		return d, err
	}
	if r.MaxBytes > 0 {
		if err := s.retainSize(r.MaxBytes, &d); err != nil {
			return d, err
		}
	}
	return d, s.conn.Exec(fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, vacuumPages)) // a row for each page: exec would stop at the first
}

// retainAges deletes by age: unlisted rows, of which hourly totals remain, then
// what is as old as listed rows may become.
func (s *store) retainAges(r Retention, now time.Time, d *deleted) error {
	if r.Unlisted >= 0 {
		if _, err := s.deleteRows("unlisted", now.Add(-r.Unlisted)); err != nil {
			return err
		}
	}
	if r.Listed < 0 {
		return nil
	}
	before := now.Add(-r.Listed).Truncate(24 * time.Hour) // once a day is often enough, and one line in the ledger
	n, err := s.deleteRows("listed", before)
	d.listed = n
	if err != nil {
		return err
	}
	ms := before.UnixMilli()
	return s.transact(func() error {
		for _, sql := range []string{
			`DELETE FROM hour WHERE hour < ?`,
			`DELETE FROM ledger WHERE time < ?`,
			`DELETE FROM binding WHERE since < ? AND id NOT IN (SELECT binding FROM listed UNION ALL SELECT binding FROM unlisted)
				AND id NOT IN (SELECT max(id) FROM binding GROUP BY addr)`,
		} {
			if err := s.exec(sql, ms); err != nil {
				return err
			}
		}
		s.bound = map[uint64]bool{}
		return s.exec(`DELETE FROM window WHERE last < ?`, ms)
	})
}

// deleteRows deletes the rows of a table whose last lookup was before a time.
// The newest window that ended before it bounds the search.
func (s *store) deleteRows(table string, before time.Time) (n int64, err error) {
	ms := before.UnixMilli()
	end, err := s.number(`SELECT coalesce((SELECT id FROM window WHERE last < ? ORDER BY id DESC LIMIT 1), 0)`, ms)
	if err != nil || end == 0 {
		return 0, err
	}
	return s.deleteChunks(table, (end+1)<<rowBits, ms)
}

// deleteChunks deletes the rows of a table with smaller ids and an earlier last
// lookup, keeping hourly totals of unlisted ones.
func (s *store) deleteChunks(table string, below, lastBefore int64) (n int64, err error) {
	for {
		deleted, err := s.deleteChunk(table, below, lastBefore)
		n += deleted
		if err != nil || deleted < deleteRows {
			return n, err
		}
	}
}

func (s *store) deleteChunk(table string, below, lastBefore int64) (n int64, err error) {
	err = s.transact(func() error {
		const chunk = ` IN (SELECT id FROM %[1]s WHERE id < ?1 AND last < ?2 ORDER BY id LIMIT %[2]d)`
		if table == "unlisted" {
			err := s.exec(fmt.Sprintf(`INSERT INTO hour
				SELECT r.first - r.first %% 3600000, r.node, coalesce(b.device, 'addr:' || r.client, ''), sum(r.count)
				FROM unlisted r LEFT JOIN binding b ON b.id = r.binding
				WHERE r.id`+chunk+` GROUP BY 1, 2, 3
				ON CONFLICT DO UPDATE SET lookups = lookups + excluded.lookups`, table, deleteRows), below, lastBefore)
			if err != nil {
				return err
			}
		}
		if err := s.exec(fmt.Sprintf(`DELETE FROM %[1]s WHERE id`+chunk, table, deleteRows), below, lastBefore); err != nil {
			return err
		}
		n = s.conn.Changes()
		return s.deleteNames(table)
	})
	return n, err
}

// retainSize deletes the oldest rows until the store is a tenth below its cap:
// unlisted ones first.
func (s *store) retainSize(maxBytes int64, d *deleted) error {
	const all = 1<<63 - 1
	size, err := s.size()
	if err != nil || size <= maxBytes {
		return err
	}
	for _, table := range []string{"unlisted", "listed"} {
		for size > maxBytes/10*9 {
			n, err := s.deleteChunk(table, all, all)
			d.crowded += n
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			if size, err = s.size(); err != nil {
				return err
			}
		}
	}
	return nil
}
