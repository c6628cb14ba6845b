package clickhouse

import (
	"math"
	"strings"
	"time"

	"telltale/querylog"
)

// A column is one of a table: its text, how a value is written into a row of an
// insert, and how it is read back. A new one is one element at the end, of the next
// version of the schema.
type column[T any] struct {
	name, sql string
	codec     string // of a server that has codecs; "" for its own choice
	put       func(*rowWriter, *T)
	take      func(*rowReader, *T)
	since     int // the version of the schema that brought it; 0 for the first one
}

// Codecs of servers that have them.
const (
	ascending = "Delta, ZSTD(1)"
	small     = "T64, ZSTD(1)"
	texts     = "ZSTD(3)"
	words     = "ZSTD(1)"
)

// A lookup is a row, with what querylog.Row does not say of itself.
type lookup struct {
	querylog.Row
	store  uint64 // Row.Store as a number
	listed bool   // it is kept as rows of listed names are
}

// A text that is the same in many rows is kept once, and rows have its number.
const sameTexts = "LowCardinality(String)"

func word(name string, of func(*lookup) *string) column[lookup] {
	return column[lookup]{name: name, sql: sameTexts, codec: words,
		put: func(w *rowWriter, l *lookup) { w.text(*of(l)) }, take: func(r *rowReader, l *lookup) { *of(l) = r.text() }}
}

func text(name string, of func(*lookup) *string) column[lookup] {
	c := word(name, of)
	c.sql, c.codec = "String", texts
	return c
}

func number(name string, of func(*lookup) *uint32) column[lookup] {
	return column[lookup]{name: name, sql: "UInt32", codec: small,
		put: func(w *rowWriter, l *lookup) { w.u32(*of(l)) }, take: func(r *rowReader, l *lookup) { *of(l) = r.u32() }}
}

func line(name string, of func(*lookup) *int) column[lookup] {
	return column[lookup]{name: name, sql: "UInt32", codec: small,
		put:  func(w *rowWriter, l *lookup) { w.u32(uint32(min(max(int64(*of(l)), 0), math.MaxUint32))) },
		take: func(r *rowReader, l *lookup) { *of(l) = int(r.u32()) }}
}

func yesNo(name string, of func(*lookup) *bool) column[lookup] {
	return column[lookup]{name: name, sql: "UInt8", codec: words,
		put: func(w *rowWriter, l *lookup) { w.flag(*of(l)) }, take: func(r *rowReader, l *lookup) { *of(l) = r.flag() }}
}

func moment(name string, of func(*lookup) *querylog.Time) column[lookup] {
	return column[lookup]{name: name, sql: "Int64", codec: ascending,
		put:  func(w *rowWriter, l *lookup) { w.i64(of(l).UnixMilli()) },
		take: func(r *rowReader, l *lookup) { *of(l) = querylog.Time{Time: time.UnixMilli(r.i64())} }}
}

// theName stands for a rule that is the name alone, as most are.
const theName = "="

// lookups are the columns of the table lookup.
var lookups = []column[lookup]{
	{name: "store", sql: "UInt64", codec: words, put: func(w *rowWriter, l *lookup) { w.u64(l.store) },
		take: func(r *rowReader, l *lookup) { l.store = r.u64(); l.Store = storeText(l.store) }},
	{name: "id", sql: "Int64", codec: ascending, put: func(w *rowWriter, l *lookup) { w.i64(l.ID) }, take: func(r *rowReader, l *lookup) { l.ID = r.i64() }},
	word("node", func(l *lookup) *string { return &l.Node }),
	yesNo("listed", func(l *lookup) *bool { return &l.listed }),
	moment("first", func(l *lookup) *querylog.Time { return &l.Time }),
	moment("last", func(l *lookup) *querylog.Time { return &l.Last }),
	{name: "count", sql: "UInt64", codec: small, put: func(w *rowWriter, l *lookup) { w.u64(l.Count) }, take: func(r *rowReader, l *lookup) { l.Count = r.u64() }},
	number("attempts", func(l *lookup) *uint32 { return &l.Attempts }),
	number("as_lookups", func(l *lookup) *uint32 { return &l.AsLookups }),
	word("device", func(l *lookup) *string { return &l.Device }),
	word("device_name", func(l *lookup) *string { return &l.DeviceName }),
	word("mac", func(l *lookup) *string { return &l.MAC }),
	text("client", func(l *lookup) *string { return &l.Client }),
	word("client_id", func(l *lookup) *string { return &l.ClientID }),
	{name: "binding", sql: "UInt64", codec: small, put: func(w *rowWriter, l *lookup) { w.u64(l.Binding) }, take: func(r *rowReader, l *lookup) { l.Binding = r.u64() }},
	word("binding_source", func(l *lookup) *string { return &l.BindingSource }),
	word("binding_confidence", func(l *lookup) *string { return &l.BindingConfidence }),
	text("name", func(l *lookup) *string { return &l.Name }),
	text("alias", func(l *lookup) *string { return &l.Alias }),
	word("type", func(l *lookup) *string { return &l.Type }),
	word("verdict", func(l *lookup) *string { return &l.Verdict }),
	word("reason", func(l *lookup) *string { return &l.Reason }),
	word("observed_by", func(l *lookup) *string { return &l.ObservedBy }),
	word("list", func(l *lookup) *string { return &l.List }),
	line("line", func(l *lookup) *int { return &l.Line }),
	{name: "rule", sql: "String", codec: texts, put: func(w *rowWriter, l *lookup) {
		if l.Rule != "" && l.Rule == l.Name {
			w.text(theName)
		} else {
			w.text(l.Rule)
		}
	}, take: func(r *rowReader, l *lookup) {
		if l.Rule = r.text(); l.Rule == theName {
			l.Rule = l.Name
		}
	}},
	word("vendor", func(l *lookup) *string { return &l.Vendor }),
	word("product", func(l *lookup) *string { return &l.Product }),
	word("purpose", func(l *lookup) *string { return &l.Purpose }),
	word("tier", func(l *lookup) *string { return &l.Tier }),
	word("source", func(l *lookup) *string { return &l.Source }),
	word("region", func(l *lookup) *string { return &l.Region }),
	word("breaks", func(l *lookup) *string { return &l.Breaks }),
	word("confidence", func(l *lookup) *string { return &l.Confidence }),
	line("independent", func(l *lookup) *int { return &l.Independent }),
	yesNo("contested", func(l *lookup) *bool { return &l.Contested }),
	word("attribution", func(l *lookup) *string { return &l.Attribution }),
	word("attribution_list", func(l *lookup) *string { return &l.AttributionList }),
	line("attribution_line", func(l *lookup) *int { return &l.AttributionLine }),
	word("rcode", func(l *lookup) *string { return &l.Rcode }),
	word("answered_from", func(l *lookup) *string { return &l.AnsweredFrom }),
	word("transport", func(l *lookup) *string { return &l.Transport }),
	number("ttl", func(l *lookup) *uint32 { return &l.TTL }),
	{name: "elapsed", sql: "UInt32", codec: small, // microseconds
		put:  func(w *rowWriter, l *lookup) { w.u32(uint32(math.Round(min(max(l.Elapsed*1000, 0), math.MaxUint32)))) },
		take: func(r *rowReader, l *lookup) { l.Elapsed = float64(r.u32()) / 1000 }},
	word("upstream", func(l *lookup) *string { return &l.Upstream }),
	word("imported", func(l *lookup) *string { return &l.Imported }),
	yesNo("folded", func(l *lookup) *bool { return &l.Folded }),
}

// namesOf returns the names of columns, as an insert or a select has them.
func namesOf[T any](columns []column[T]) string {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].name
	}
	return strings.Join(names, ", ")
}
