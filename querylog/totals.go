package querylog

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/dnswire"
	"telltale/sorting"
)

// A Total is what one device asked in one hour of one vendor's names of one kind,
// decided alike. Totals are kept longer than rows.
type Total struct {
	Hour    Time   `json:"hour"` // its beginning
	Node    string `json:"node"`
	Device  string `json:"device"`            // as Row.Device
	Vendor  string `json:"vendor,omitempty"`  // as a rule or a list says; "" where only the domain's owner is known, or nobody
	Product string `json:"product,omitempty"` // these three as Vendor
	Purpose string `json:"purpose,omitempty"`
	Tier    string `json:"tier,omitempty"`
	Verdict string `json:"verdict"`

	Lookups  uint64 `json:"lookups"`
	Attempts uint64 `json:"attempts"` // that began in the hour; 0 also where they were not counted
	Names    uint64 `json:"names"`    // different ones; those that were not kept are in none
	First    Time   `json:"first"`
	Last     Time   `json:"last"`

	AsLookups uint64 `json:"attempts_as_lookups,omitempty"` // of the attempts, lookups that each counted as one

	Alike int `json:"-"` // totals with the same number, of one reading, differ in hours, times and counts alone; 0: nothing is known
}

// A TotalsFilter chooses totals. Zero fields choose all.
type TotalsFilter struct {
	Since, Until time.Time // hours that have a part in between
	Devices      []string  // identities
	Vendor       string    // case does not matter
	Others       bool      // those of no vendor alone
}

const hourMilli = int64(time.Hour / time.Millisecond)

func (f *TotalsFilter) matches(t *Total) bool {
	if !f.Since.IsZero() && !t.Hour.Add(time.Hour).After(f.Since) || !f.Until.IsZero() && !t.Hour.Before(f.Until) {
		return false
	}
	if len(f.Devices) > 0 && !slices.Contains(f.Devices, t.Device) {
		return false
	}
	return (f.Vendor == "" || equalFold(f.Vendor, t.Vendor)) && (!f.Others || t.Vendor == "")
}

// Totals returns the totals that f chooses, in the order of their hours. A row is
// in the hour of its first lookup. Rows of before a store had totals are counted as
// far as they are kept.
func (r *Reader) Totals(ctx context.Context, f TotalsFilter) iter.Seq2[Total, error] {
	return func(yield func(Total, error) bool) {
		s, err := r.look(ctx, nil)
		if err == nil {
			defer s.close()
			err = s.eachTotal(&f, func(t *Total) bool { return yield(*t, nil) })
		}
		if err != nil {
			yield(Total{}, cmp.Or(ctx.Err(), err))
		}
	}
}

// totalsPage is how many hours are read at once.
const totalsPage = 2 * 24

// eachTotal calls each until it returns false.
func (s *snapshot) eachTotal(f *TotalsFilter, each func(*Total) bool) error {
	low, end := int64(-1)<<38, int64(1)<<38 // hours
	if !f.Since.IsZero() {
		low = hourOf(f.Since.UnixMilli()) / hourMilli
	}
	if !f.Until.IsZero() {
		end = hourOf(f.Until.UnixMilli()-1)/hourMilli + 1
	}
	var keys totalKeys
	rest, begin, newest, err := s.newestTotals(f, low, end, &keys)
	if err != nil {
		return err
	}
	var page totalPage
	for at := begin; at < newest.low; at += totalsPage {
		page = totalPage{low: at, end: min(at+totalsPage, newest.low), totals: page.totals[:0]}
		if s.hasTotals() {
			if err := s.store.totalsPage(f, &page, &keys); err != nil {
				return err
			}
		}
		if !page.each(f, rest, each) {
			return nil
		}
	}
	newest.each(f, rest, each)
	return nil
}

// hasTotals reports whether the store has totals: one of an earlier version has none.
func (s *snapshot) hasTotals() bool { return s.store != nil && s.store.version >= versionOfTotals }

// newestTotals returns the totals from the first hour on that windows which are not
// stored have lookups in, at one moment, and the sums of rows that are not in totals.
// begin is the first hour of which there may be any.
func (s *snapshot) newestTotals(f *TotalsFilter, low, end int64, keys *totalKeys) (rest totalSums, begin int64, newest totalPage, err error) {
	rest, newest = totalSums{}, totalPage{low: end, end: end}
	from := int64(maxWindow) + 1
	first, last := end, low // hours
	if s.hasTotals() {
		commit, err := s.store.begin()
		if err != nil {
			return nil, 0, newest, err
		}
		defer commit()
		err = s.store.query(`SELECT (SELECT value FROM meta WHERE key = 'position'), (SELECT value FROM meta WHERE key = '`+metaTotalsFrom+`'), (SELECT min(id) FROM total), (SELECT max(id) FROM total)`,
			nil, func(stmt *sqlite3.Stmt) bool {
				s.position, from = stmt.ColumnInt64(0), stmt.ColumnInt64(1)
				if stmt.ColumnType(2) != sqlite3.NULL {
					first, last = stmt.ColumnInt64(2)>>totalKeyBits, stmt.ColumnInt64(3)>>totalKeyBits
				}
				return true
			})
		if err != nil {
			return nil, 0, newest, err
		}
	}
	for _, p := range s.open {
		if p.window <= s.position { // stored since
			continue
		}
		for i, e := range p.entries {
			row := e.row(p.window<<rowBits|int64(i), p.node)
			rest.add(&row)
		}
	}
	for k := range rest {
		newest.low = min(newest.low, max(k.hour/hourMilli, low))
	}
	if s.hasTotals() {
		if err := s.store.storedTotals(f, newest.low, end, keys, newest.add); err != nil {
			return nil, 0, newest, err
		}
		if err := s.leaveCounted(rest); err != nil {
			return nil, 0, newest, err
		}
	}
	if from > 0 {
		if err := s.addRows(rest, f, from); err != nil {
			return nil, 0, newest, err
		}
	}
	for k := range rest {
		first, last = min(first, k.hour/hourMilli), max(last, k.hour/hourMilli)
	}
	newest.low = min(newest.low, last+1)
	return rest, max(low, first), newest, nil
}

// addRows adds the rows of windows before one that this server recorded. Imported ones
// are in stored totals, whatever the numbers of their windows.
func (s *snapshot) addRows(sums totalSums, f *TotalsFilter, before int64) error {
	rows := Filter{Until: f.Until}
	if !f.Since.IsZero() {
		rows.Since = fromMilli(hourOf(f.Since.UnixMilli()))
	}
	rows, err := rows.normal()
	if err != nil {
		return err
	}
	_, err = s.storedRows(&rows, 0, 0, func(r Row) bool {
		if r.ID>>rowBits >= before {
			return false
		}
		if r.Imported == "" {
			sums.add(&r)
		}
		return true
	})
	return err
}

// leaveCounted takes the names off sums that the stored totals have counted already.
func (s *snapshot) leaveCounted(sums totalSums) error {
	for k, sum := range sums {
		key, err := s.store.number(`SELECT k.id FROM total_key k JOIN node n ON n.id = k.node WHERE n.name = ? AND k.device = ? AND k.vendor = ?
			AND k.product = ? AND k.purpose = ? AND k.tier = ? AND k.verdict = ?`,
			k.node, k.device, k.vendor, k.product, k.purpose, k.tier, int64(verdictWords.number(k.verdict)))
		if err != nil {
			return err
		}
		if key == 0 {
			continue
		}
		for name := range sum.names {
			n, err := dnswire.ParseName(name)
			if err != nil {
				continue
			}
			counted, err := s.store.number(`SELECT EXISTS (SELECT 1 FROM total_name WHERE total = ? AND name = ?)`, totalID(k.hour/hourMilli, key), nameHash(n.Wire()))
			if err != nil {
				return err
			}
			sum.Names -= uint64(counted)
		}
	}
	return nil
}

// A totalPage is the totals of some hours.
type totalPage struct {
	low, end int64 // hours
	totals   []keptTotal
}

// A keptTotal is a total without what it is of, which many share.
type keptTotal struct {
	of                                  *Total
	lookups, attempts, asLookups, names uint64
	hour, first, last                   int64 // Unix milliseconds
}

func (p *totalPage) add(t keptTotal) { p.totals = append(p.totals, t) }

// total returns the total, which is valid until the next one of the same key is asked for.
func (k *keptTotal) total() *Total {
	t := k.of
	t.Lookups, t.Attempts, t.AsLookups, t.Names = k.lookups, k.attempts, k.asLookups, k.names
	t.Hour, t.First, t.Last = Time{time.UnixMilli(k.hour)}, Time{time.UnixMilli(k.first)}, Time{time.UnixMilli(k.last)}
	return t
}

// keep returns a total as a page has it.
func keep(t *Total) keptTotal {
	return keptTotal{t, t.Lookups, t.Attempts, t.AsLookups, t.Names, t.Hour.UnixMilli(), t.First.UnixMilli(), t.Last.UnixMilli()}
}

// each calls each with the page's totals and those of rest in its hours, in the order
// of the hours, and reports whether it wants more.
func (p *totalPage) each(f *TotalsFilter, rest totalSums, each func(*Total) bool) bool {
	all := totalSums{}
	for k, sum := range rest {
		if h := k.hour / hourMilli; h >= p.low && h < p.end && f.matches(&sum.Total) {
			all[k] = sum
		}
	}
	if len(all) > 0 {
		for i := range p.totals {
			t := p.totals[i].total()
			if sum := all[keyOfTotal(t)]; sum != nil {
				t.merge(&sum.Total)
				p.totals[i] = keep(t)
				delete(all, keyOfTotal(t))
			}
		}
		for _, sum := range all {
			p.totals = append(p.totals, keep(&sum.Total))
		}
		sorting.StableBy(p.totals, func(a, b keptTotal) int { return cmp.Compare(a.hour, b.hour) })
	}
	for i := range p.totals {
		if !each(p.totals[i].total()) {
			return false
		}
	}
	return true
}

func keyOfTotal(t *Total) totalKey {
	return totalKey{t.Hour.UnixMilli(), t.Node, t.Device, t.Vendor, t.Product, t.Purpose, t.Tier, t.Verdict}
}

func (t *Total) merge(u *Total) {
	t.Lookups += u.Lookups
	t.Attempts += u.Attempts
	t.AsLookups += u.AsLookups
	t.Names += u.Names
	if u.First.Before(t.First.Time) {
		t.First = u.First
	}
	if t.Last.Before(u.Last.Time) {
		t.Last = u.Last
	}
}

// A totalKey is what tells totals apart.
type totalKey struct {
	hour                                                  int64 // its beginning, Unix milliseconds
	node, device, vendor, product, purpose, tier, verdict string
}

type totalSum struct {
	Total
	names map[string]bool
}

// totalSums are totals made of rows.
type totalSums map[totalKey]*totalSum

func keyOfRow(r *Row) totalKey {
	ms := r.Time.UnixMilli()
	k := totalKey{hour: hourOf(ms), node: r.Node, device: r.Device, verdict: r.Verdict}
	if r.Attribution == blocklists.ByRule.String() || r.Attribution == blocklists.ByList.String() {
		k.vendor, k.product, k.purpose, k.tier = r.Vendor, r.Product, r.Purpose, r.Tier
	}
	return k
}

// hourOf returns the beginning of the hour of a time.
func hourOf(ms int64) int64 { return ms - (ms%hourMilli+hourMilli)%hourMilli }

func (s totalSums) add(r *Row) {
	k := keyOfRow(r)
	t := s[k]
	if t == nil {
		t = &totalSum{Total: Total{Hour: Time{time.UnixMilli(k.hour)}, Node: k.node, Device: k.device, Vendor: k.vendor, Product: k.product,
			Purpose: k.purpose, Tier: k.tier, Verdict: k.verdict, First: r.Time, Last: r.Last}, names: map[string]bool{}}
		s[k] = t
	}
	t.Lookups += r.Count
	t.Attempts += uint64(r.Attempts)
	t.AsLookups += uint64(r.AsLookups)
	if r.Time.Before(t.First.Time) {
		t.First = r.Time
	}
	if t.Last.Before(r.Last.Time) {
		t.Last = r.Last
	}
	if r.Name != "" && !t.names[r.Name] {
		t.names[r.Name] = true
		t.Names++
	}
}

// A Presence says that a device was there in an hour: it asked something. One that
// asked nothing may have been there.
type Presence struct {
	Hour    Time   `json:"hour"` // its beginning
	Device  string `json:"device"`
	Lookups uint64 `json:"lookups"`
}

// Presence returns the hours between two times in which each device was there, in
// their order, then by device. A zero time is no bound.
func (r *Reader) Presence(ctx context.Context, since, until time.Time) (all []Presence, err error) {
	for t, err := range r.Totals(ctx, TotalsFilter{Since: since, Until: until}) {
		if err != nil {
			return nil, err
		}
		all = append(all, Presence{t.Hour, t.Device, t.Lookups})
	}
	sorting.StableBy(all, func(a, b Presence) int {
		return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Device, b.Device))
	})
	merged := all[:0]
	for _, p := range all {
		if n := len(merged); n > 0 && merged[n-1].Hour.Equal(p.Hour.Time) && merged[n-1].Device == p.Device {
			merged[n-1].Lookups += p.Lookups
		} else {
			merged = append(merged, p)
		}
	}
	return merged, nil
}
