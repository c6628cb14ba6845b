package querylog

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"telltale/blocklists"
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
	Attempts uint64 `json:"attempts"` // that began in the hour
	Names    uint64 `json:"names"`    // different ones; those that were not kept are in none
	First    Time   `json:"first"`
	Last     Time   `json:"last"`
}

// A TotalsFilter chooses totals. Zero fields choose all.
type TotalsFilter struct {
	Since, Until time.Time // hours that have a part in between
	Devices      []string  // identities
	Vendor       string    // case does not matter
}

const hourMilli = int64(time.Hour / time.Millisecond)

func (f *TotalsFilter) matches(t *Total) bool {
	if !f.Since.IsZero() && !t.Hour.Add(time.Hour).After(f.Since) || !f.Until.IsZero() && !t.Hour.Before(f.Until) {
		return false
	}
	if len(f.Devices) > 0 && !slices.Contains(f.Devices, t.Device) {
		return false
	}
	return f.Vendor == "" || strings.EqualFold(f.Vendor, t.Vendor)
}

// Totals returns the totals that f chooses, in the order of their hours. A row is
// in the hour of its first lookup.
func (r *Reader) Totals(ctx context.Context, f TotalsFilter) iter.Seq2[Total, error] {
	return func(yield func(Total, error) bool) {
		sums := totalSums{}
		rows := Filter{Since: f.Since.Truncate(time.Hour), Until: f.Until}
		for row, err := range r.Rows(ctx, rows) {
			if err != nil {
				yield(Total{}, err)
				return
			}
			sums.add(&row)
		}
		for _, t := range sums.sorted() {
			if f.matches(&t) && !yield(t, nil) {
				return
			}
		}
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

func (s totalSums) sorted() []Total {
	all := make([]Total, 0, len(s))
	for _, t := range s {
		all = append(all, t.Total)
	}
	slices.SortFunc(all, compareTotals)
	return all
}

func compareTotals(a, b Total) int {
	return cmp.Or(a.Hour.Compare(b.Hour.Time), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Device, b.Device), cmp.Compare(a.Vendor, b.Vendor),
		cmp.Compare(a.Product, b.Product), cmp.Compare(a.Purpose, b.Purpose), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.Verdict, b.Verdict))
}

// A Presence says that a device was there in an hour.
type Presence struct {
	Hour    Time   `json:"hour"` // its beginning
	Device  string `json:"device"`
	Lookups uint64 `json:"lookups"` // 0: it asked nothing, and was seen on the network
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
	slices.SortStableFunc(all, func(a, b Presence) int {
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
