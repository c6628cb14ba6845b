package clickhouse

import (
	"net/netip"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// fixed is a column that is one number of eight octets.
func fixed[T any](name, codec string, of func(*T) int64, set func(*T, int64)) column[T] {
	return column[T]{name: name, sql: "Int64", codec: codec,
		put: func(w *rowWriter, v *T) { w.i64(of(v)) }, take: func(r *rowReader, v *T) { set(v, r.i64()) }}
}

func amount[T any](name string, of func(*T) *uint64) column[T] {
	return column[T]{name: name, sql: "UInt64", codec: small,
		put: func(w *rowWriter, v *T) { w.u64(*of(v)) }, take: func(r *rowReader, v *T) { *of(v) = r.u64() }}
}

func same[T any](name string, of func(*T) *string) column[T] {
	return column[T]{name: name, sql: sameTexts, codec: words,
		put: func(w *rowWriter, v *T) { w.text(*of(v)) }, take: func(r *rowReader, v *T) { *of(v) = r.text() }}
}

func plain[T any](name string, of func(*T) *string) column[T] {
	c := same(name, of)
	c.sql, c.codec = "String", texts
	return c
}

func at[T any](name string, of func(*T) *querylog.Time) column[T] {
	return fixed(name, ascending, func(v *T) int64 { return milli(of(v).Time) }, func(v *T, ms int64) { *of(v) = querylog.Time{Time: fromMilli(ms)} })
}

// milli is a time in Unix milliseconds, 0 for none.
func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// A total is one of a store.
type total struct {
	querylog.Total
	store, version uint64
}

// totals are the columns of the table total. Numbers of a total grow, so that of two the
// one with the larger sum is the later one.
var totals = []column[total]{
	{name: "store", sql: "UInt64", codec: words, put: func(w *rowWriter, t *total) { w.u64(t.store) }, take: func(r *rowReader, t *total) { t.store = r.u64() }},
	same("node", func(t *total) *string { return &t.Node }),
	{name: "hour", sql: "Int64", codec: ascending, put: func(w *rowWriter, t *total) { w.i64(t.Hour.UnixMilli()) },
		take: func(r *rowReader, t *total) { t.Hour = querylog.Time{Time: time.UnixMilli(r.i64())} }},
	same("device", func(t *total) *string { return &t.Device }),
	same("vendor", func(t *total) *string { return &t.Vendor }),
	same("product", func(t *total) *string { return &t.Product }),
	same("purpose", func(t *total) *string { return &t.Purpose }),
	same("tier", func(t *total) *string { return &t.Tier }),
	same("verdict", func(t *total) *string { return &t.Verdict }),
	amount("lookups", func(t *total) *uint64 { return &t.Lookups }),
	amount("attempts", func(t *total) *uint64 { return &t.Attempts }),
	amount("as_lookups", func(t *total) *uint64 { return &t.AsLookups }),
	amount("names", func(t *total) *uint64 { return &t.Names }),
	at("first", func(t *total) *querylog.Time { return &t.First }),
	at("last", func(t *total) *querylog.Time { return &t.Last }),
	{name: "version", sql: "UInt64", codec: small, put: func(w *rowWriter, t *total) { w.u64(t.Lookups + t.Attempts + t.AsLookups + t.Names) }, take: func(r *rowReader, t *total) { t.version = r.u64() }},
}

// A ledgerLine is one of a store.
type ledgerLine struct {
	querylog.LedgerLine
	store uint64
}

var lines = []column[ledgerLine]{
	{name: "store", sql: "UInt64", codec: words, put: func(w *rowWriter, l *ledgerLine) { w.u64(l.store) }, take: func(r *rowReader, l *ledgerLine) { l.store = r.u64() }},
	fixed("id", ascending, func(l *ledgerLine) int64 { return l.ID }, func(l *ledgerLine, v int64) { l.ID = v }),
	same("node", func(l *ledgerLine) *string { return &l.Node }),
	{name: "time", sql: "Int64", codec: ascending, put: func(w *rowWriter, l *ledgerLine) { w.i64(l.Time.UnixMilli()) },
		take: func(r *rowReader, l *ledgerLine) { l.Time = querylog.Time{Time: time.UnixMilli(r.i64())} }},
	at("since", func(l *ledgerLine) *querylog.Time { return &l.Since }),
	at("until", func(l *ledgerLine) *querylog.Time { return &l.Until }),
	same("kind", func(l *ledgerLine) *string { return &l.Kind }),
	plain("subject", func(l *ledgerLine) *string { return &l.Subject }),
	plain("detail", func(l *ledgerLine) *string { return &l.Detail }),
}

// A binding is one of a store.
type binding struct {
	devices.Binding
	store, version uint64
}

// bindings are the columns of the table binding. A binding that has ended is later than
// the same while it lasted.
var bindings = []column[binding]{
	{name: "store", sql: "UInt64", codec: words, put: func(w *rowWriter, b *binding) { w.u64(b.store) }, take: func(r *rowReader, b *binding) { b.store = r.u64() }},
	amount("id", func(b *binding) *uint64 { return &b.ID }),
	same("device", func(b *binding) *string { return &b.Device }),
	same("name", func(b *binding) *string { return &b.Name }),
	{name: "addr", sql: "String", put: func(w *rowWriter, b *binding) { w.text(addrText(b.Addr)) }, take: func(r *rowReader, b *binding) { b.Addr, _ = netip.ParseAddr(r.text()) }},
	same("mac", func(b *binding) *string { return &b.MAC }),
	{name: "prefix", sql: "String", put: func(w *rowWriter, b *binding) {
		if b.Prefix.IsValid() {
			w.text(b.Prefix.String())
		} else {
			w.text("")
		}
	}, take: func(r *rowReader, b *binding) { b.Prefix, _ = netip.ParsePrefix(r.text()) }},
	{name: "source", sql: "UInt8", put: func(w *rowWriter, b *binding) { w.u8(uint8(b.Source)) }, take: func(r *rowReader, b *binding) { b.Source = devices.Source(r.u8()) }},
	{name: "confidence", sql: "UInt8", put: func(w *rowWriter, b *binding) { w.u8(uint8(b.Confidence)) }, take: func(r *rowReader, b *binding) { b.Confidence = devices.Confidence(r.u8()) }},
	fixed("since", ascending, func(b *binding) int64 { return milli(b.From) }, func(b *binding, v int64) { b.From = fromMilli(v) }),
	fixed("until", ascending, func(b *binding) int64 { return milli(b.Until) }, func(b *binding, v int64) { b.Until = fromMilli(v) }),
	fixed("seen", ascending, func(b *binding) int64 { return milli(b.Seen) }, func(b *binding, v int64) { b.Seen = fromMilli(v) }),
	{name: "grp", sql: "UInt16", put: func(w *rowWriter, b *binding) { w.u16(b.Group) }, take: func(r *rowReader, b *binding) { b.Group = r.u16() }},
	{name: "nolog", sql: "UInt8", put: func(w *rowWriter, b *binding) { w.flag(b.NoLog) }, take: func(r *rowReader, b *binding) { b.NoLog = r.flag() }},
	{name: "version", sql: "UInt64", put: func(w *rowWriter, b *binding) { w.u64(uint64(max(milli(b.Until), 0))) }, take: func(r *rowReader, b *binding) { b.version = r.u64() }},
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// A window is one of a store.
type window struct {
	store               uint64
	number, first, last int64
	rows, lookups       int64
	here                int64 // rows of it that came
}

var windows = []column[window]{
	{name: "store", sql: "UInt64", codec: words, put: func(w *rowWriter, v *window) { w.u64(v.store) }, take: func(r *rowReader, v *window) { v.store = r.u64() }},
	fixed("number", ascending, func(v *window) int64 { return v.number }, func(v *window, n int64) { v.number = n }),
	fixed("first", ascending, func(v *window) int64 { return v.first }, func(v *window, n int64) { v.first = n }),
	fixed("last", ascending, func(v *window) int64 { return v.last }, func(v *window, n int64) { v.last = n }),
	fixed("rows", small, func(v *window) int64 { return v.rows }, func(v *window, n int64) { v.rows = n }),
	fixed("lookups", small, func(v *window) int64 { return v.lookups }, func(v *window, n int64) { v.lookups = n }),
	fixed("here", small, func(v *window) int64 { return v.here }, func(v *window, n int64) { v.here = n }),
}

// A node is how far a store has come.
type node struct {
	store         uint64
	name          string
	upto          uint64 // its last window that is stored
	last, heard   int64
	windows, rows int64
}

var nodes = []column[node]{
	{name: "store", sql: "UInt64", put: func(w *rowWriter, v *node) { w.u64(v.store) }, take: func(r *rowReader, v *node) { v.store = r.u64() }},
	plain("node", func(v *node) *string { return &v.name }),
	amount("upto", func(v *node) *uint64 { return &v.upto }),
	fixed("last", ascending, func(v *node) int64 { return v.last }, func(v *node, n int64) { v.last = n }),
	fixed("heard", ascending, func(v *node) int64 { return v.heard }, func(v *node, n int64) { v.heard = n }),
	fixed("windows", small, func(v *node) int64 { return v.windows }, func(v *node, n int64) { v.windows = n }),
	fixed("rows", small, func(v *node) int64 { return v.rows }, func(v *node, n int64) { v.rows = n }),
}

// readAll reads rows of some columns.
func readAll[T any](r *rowReader, columns []column[T]) (all []T, err error) {
	for r.more() {
		var v T
		for i := range columns {
			columns[i].take(r, &v)
		}
		all = append(all, v)
	}
	return all, r.err
}

// add appends a row.
func add[T any](w *rowWriter, columns []column[T], v *T) {
	for i := range columns {
		columns[i].put(w, v)
	}
}
