package querylog

import (
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// A column is one column of a row in the store, with all that there is to know
// of it: the table's text, the insert, the select and the JSON object are made
// from it, and a test compares docs/querylog.md with it.
type column struct {
	name, sql string
	doc       string
	keys      string                        // of the JSON object that it becomes, and whether they are left out where empty
	bind      func(*rowWriter, *entry)      // to the insert; nil: NULL in every row
	scan      func(*rowReader, value, *Row) // from a store
	open      func(*entry, *Row)            // from a journal
}

// A value is one column of a result.
type value struct {
	stmt *sqlite3.Stmt
	i    int
}

func (v value) int() int64   { return v.stmt.ColumnInt64(v.i) }
func (v value) text() string { return v.stmt.ColumnText(v.i) }
func (v value) null() bool   { return v.stmt.ColumnType(v.i) == sqlite3.NULL }

const (
	notNull = "INTEGER NOT NULL"
	mayNull = "INTEGER"
	text    = "TEXT"
)

// columns are those of the tables listed and unlisted, in their order. A new one
// is one element at the end, one field of Row, and a step of the schema that adds
// it to the stores that there are: ALTER TABLE ... ADD COLUMN for both tables.
var columns = [...]column{
	{"id", "INTEGER PRIMARY KEY", "window << 20 | place in it", "id",
		func(w *rowWriter, _ *entry) { w.int(w.id) },
		func(_ *rowReader, v value, r *Row) { r.ID = v.int() },
		nil},
	{"node", notNull, "node.id", "node",
		func(w *rowWriter, _ *entry) { w.int(w.node) },
		func(d *rowReader, v value, r *Row) { r.Node = d.node(v.int()) },
		nil},
	{"first", notNull, "Unix milliseconds, as all times here", "time",
		func(w *rowWriter, e *entry) { w.int(e.First) },
		func(_ *rowReader, v value, r *Row) { r.Time = Time{time.UnixMilli(v.int())} },
		func(e *entry, r *Row) { r.Time = Time{time.UnixMilli(e.First)} }},
	{"last", notNull, "", "last",
		func(w *rowWriter, e *entry) { w.int(e.Last) },
		func(_ *rowReader, v value, r *Row) { r.Last = Time{time.UnixMilli(v.int())} },
		func(e *entry, r *Row) { r.Last = Time{time.UnixMilli(e.Last)} }},
	{"count", notNull, "lookups, as received", "count",
		func(w *rowWriter, e *entry) { w.int(int64(e.Count)) },
		func(_ *rowReader, v value, r *Row) { r.Count = uint64(v.int()) },
		func(e *entry, r *Row) { r.Count = e.Count }},
	{"attempts", notNull, "attempts that began in this row; 0: none, or not counted", "attempts",
		func(w *rowWriter, e *entry) { w.int(int64(e.Attempts)) },
		func(_ *rowReader, v value, r *Row) { r.Attempts = uint32(v.int()) },
		func(e *entry, r *Row) { r.Attempts = e.Attempts }},
	{"binding", notNull, "binding.id; 0 for none", "device device_name mac binding binding_source binding_confidence",
		func(w *rowWriter, e *entry) { w.binding(e.Binding) },
		func(d *rowReader, v value, r *Row) { r.bound(d.binding(v.int())) },
		func(e *entry, r *Row) { r.bound(e.Binding) }},
	{"client", text, "address that asked; NULL: the binding's", "client",
		func(w *rowWriter, e *entry) {
			if e.Addr.IsValid() && (e.Binding == nil || e.Binding.Addr != e.Addr) {
				w.text(e.Addr.String())
			} else {
				w.null()
			}
		},
		func(_ *rowReader, v value, r *Row) { r.cameFrom(v.text()) },
		func(e *entry, r *Row) { r.cameFrom(addrText(e.Addr)) }},
	{"client_id", text, "by which the client named itself over TLS, HTTPS or QUIC; NULL for none", "client_id",
		nil, // no transport that has one is served yet
		func(_ *rowReader, v value, r *Row) { r.ClientID = v.text() },
		nil},
	{"type", notNull, "of the question; 0 in a folded row", "type",
		func(w *rowWriter, e *entry) { w.int(int64(e.Type)) },
		func(_ *rowReader, v value, r *Row) { r.Type = dnswire.TypeString(uint16(v.int())) },
		func(e *entry, r *Row) { r.Type = dnswire.TypeString(e.Type) }},
	{"verdict", notNull, "0 pass, 1 allow, 2 block, 3 observe, 4 answer", "verdict",
		func(w *rowWriter, e *entry) { w.int(int64(e.Action)) },
		func(_ *rowReader, v value, r *Row) { r.Verdict = verdictWords.of(v.int()) },
		func(e *entry, r *Row) { r.Verdict = verdictWords.of(int64(e.Action)) }},
	{"class", notNull, "of the deciding rule: 0 none, 1 own, 2 important exception, 3 important block, 4 exception, 5 block, 6 special name, 7 exception of a list for itself", "reason",
		func(w *rowWriter, e *entry) { w.int(int64(e.Class)) },
		func(_ *rowReader, v value, r *Row) { r.Reason = classWords.of(v.int()) },
		func(e *entry, r *Row) { r.Reason = classWords.of(int64(e.Class)) }},
	{"observed_by", notNull, "what made a block an observe: 0 nothing, 1 list, 2 schedule, 3 tier, 4 device, 5 group, 6 pause, 7 everything, 8 tcp-only", "observed_by",
		func(w *rowWriter, e *entry) { w.int(int64(e.ObservedBy)) },
		func(_ *rowReader, v value, r *Row) { r.ObservedBy = observedByWords.of(v.int()) },
		func(e *entry, r *Row) { r.ObservedBy = observedByWords.of(int64(e.ObservedBy)) }},
	{"list", notNull, "of the deciding rule: list.id; 0 for none", "list",
		func(w *rowWriter, e *entry) { w.list(e.Rule.List) },
		func(d *rowReader, v value, r *Row) { r.List = d.list(v.int()) },
		func(e *entry, r *Row) { r.List = e.Rule.List }},
	{"line", notNull, "", "line",
		func(w *rowWriter, e *entry) { w.int(int64(e.Rule.Line)) },
		func(_ *rowReader, v value, r *Row) { r.Line = int(v.int()) },
		func(e *entry, r *Row) { r.Line = e.Rule.Line }},
	{"attr_list", notNull, "of the attributing rule: list.id; 0 for none", "attribution_list",
		func(w *rowWriter, e *entry) { w.list(e.Attr.List) },
		func(d *rowReader, v value, r *Row) { r.AttributionList = d.list(v.int()) },
		func(e *entry, r *Row) { r.AttributionList = e.Attr.List }},
	{"attr_line", notNull, "", "attribution_line",
		func(w *rowWriter, e *entry) { w.int(int64(e.Attr.Line)) },
		func(_ *rowReader, v value, r *Row) { r.AttributionLine = int(v.int()) },
		func(e *entry, r *Row) { r.AttributionLine = e.Attr.Line }},
	{"level", notNull, "of the attribution: 0 none, 1 owner, 2 list, 3 rule", "attribution",
		func(w *rowWriter, e *entry) { w.int(int64(e.Level)) },
		func(_ *rowReader, v value, r *Row) { r.Attribution = levelWords.of(v.int()) },
		func(e *entry, r *Row) { r.Attribution = levelWords.of(int64(e.Level)) }},
	{"annotation", notNull, "annotation.id; 0 for none", "vendor product purpose tier source region confidence breaks",
		func(w *rowWriter, e *entry) { w.annotation(e.Annotation) },
		func(d *rowReader, v value, r *Row) { r.annotated(d.annotation(v.int())) },
		func(e *entry, r *Row) { r.annotated(e.Annotation) }},
	{"rcode", notNull, "", "rcode",
		func(w *rowWriter, e *entry) { w.int(int64(e.Rcode)) },
		func(_ *rowReader, v value, r *Row) { r.Rcode = dnswire.RcodeString(uint8(v.int())) },
		func(e *entry, r *Row) { r.Rcode = dnswire.RcodeString(e.Rcode) }},
	{"answered_from", notNull, "1 policy, 2 cache, 3 upstream, 4 error, 5 rebind, 6 shed, 7 failure", "answered_from",
		func(w *rowWriter, e *entry) { w.int(int64(e.Source)) },
		func(_ *rowReader, v value, r *Row) { r.AnsweredFrom = sourceWords.of(v.int()) },
		func(e *entry, r *Row) { r.AnsweredFrom = e.Source.String() }},
	{"transport", notNull, "1 udp, 2 tcp, 3 tls, 4 https, 5 quic", "transport",
		func(w *rowWriter, e *entry) { w.int(int64(e.Transport)) },
		func(_ *rowReader, v value, r *Row) { r.Transport = transportWords.of(v.int()) },
		func(e *entry, r *Row) { r.Transport = e.Transport.String() }},
	{"ttl", notNull, "the largest served, seconds", "ttl",
		func(w *rowWriter, e *entry) { w.int(int64(e.TTL)) },
		func(_ *rowReader, v value, r *Row) { r.TTL = uint32(v.int()) },
		func(e *entry, r *Row) { r.TTL = e.TTL }},
	{"elapsed", notNull, "the longest, microseconds", "elapsed",
		func(w *rowWriter, e *entry) { w.int(int64(e.Elapsed)) },
		func(_ *rowReader, v value, r *Row) { r.Elapsed = float64(v.int()) / 1000 },
		func(e *entry, r *Row) { r.Elapsed = float64(e.Elapsed) / 1000 }},
	{"folded", notNull, "0 no, 1 by rule (unlisted: by device), 2 by device and verdict, 3 by verdict", "folded",
		func(w *rowWriter, e *entry) { w.int(int64(e.Granularity)) },
		func(_ *rowReader, v value, r *Row) { r.fold(v.int()) },
		func(e *entry, r *Row) { r.fold(int64(e.Granularity)) }},
	{"alias", mayNull, "the alias in the answer that decided, as name; NULL for none", "alias",
		func(w *rowWriter, e *entry) { w.name(e.Alias) },
		func(d *rowReader, v value, r *Row) { r.Alias = d.name(v, r.ID) },
		func(e *entry, r *Row) { r.Alias = nameText(e.Alias) }},
	{"name", mayNull, "lower 26 bits of listed_name.id or unlisted_name.id, whose upper bits are id >> 30; NULL in a folded row", "name",
		func(w *rowWriter, e *entry) { w.name(e.Name) },
		func(d *rowReader, v value, r *Row) { r.Name = d.name(v, r.ID) },
		func(e *entry, r *Row) { r.Name = nameText(e.Name) }},
	{"rule", text, "the deciding rule as written; NULL: the name itself, or no rule", "rule",
		func(w *rowWriter, e *entry) {
			if e.Rule.List == "" || e.Rule.Text == string(w.s.name) { // most rules are a name alone
				w.null()
			} else {
				w.text(e.Rule.Text)
			}
		},
		func(_ *rowReader, v value, r *Row) {
			if r.List == "" {
				return
			}
			if r.Rule = r.Name; !v.null() {
				r.Rule = v.text()
			}
		},
		func(e *entry, r *Row) { r.Rule = e.Rule.Text }},
	{"leaf", "BLOB", "hash of the row in a sealed log, 32 octets; NULL: not sealed", "",
		nil, nil, nil},
}

// bound says whose the row is. It comes before cameFrom.
func (r *Row) bound(b *devices.Binding) {
	if b == nil {
		return
	}
	r.Device, r.DeviceName, r.MAC, r.Binding, r.Client = b.Device, b.Name, b.MAC, b.ID, addrText(b.Addr)
	r.BindingSource, r.BindingConfidence = bindingSourceWords.of(int64(b.Source)), confidenceWords.of(int64(b.Confidence))
}

// cameFrom says which address asked, "" for the binding's.
func (r *Row) cameFrom(addr string) {
	if addr == "" {
		return
	}
	r.Client = addr
	if r.Binding == 0 {
		r.Device = "addr:" + addr
	}
}

func (r *Row) annotated(a *format.Annotation) {
	if a == nil {
		return
	}
	r.Vendor, r.Product, r.Purpose, r.Tier, r.Source = a.Vendor, a.Product, a.Purpose, a.Tier, a.Source
	r.Region, r.Confidence, r.Breaks = a.Region, a.Confidence, a.Breaks
}

// fold says how coarse the row is. It comes behind the type.
func (r *Row) fold(n int64) {
	if n != int64(byName) {
		r.Folded, r.Type = true, ""
	}
}

func nameText(wire []byte) string {
	if len(wire) == 0 {
		return ""
	}
	return string(dnswire.AppendText(nil, wire))
}

// deviceSQL is the device of a row as Row.Device has it.
const deviceSQL = `coalesce(b.device, 'addr:' || r.client, '')`

// createRows is the statement that makes a table of rows.
func createRows(table string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (\n", table)
	for i, c := range columns {
		comma := ","
		if i == len(columns)-1 {
			comma = ""
		}
		line := fmt.Sprintf("\t%s %s%s", c.name, c.sql, comma)
		if c.doc != "" {
			line = fmt.Sprintf("%-32s -- %s", line, c.doc)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(") STRICT;\n")
	return b.String()
}

// insertRow is the statement that adds a row.
func insertRow(table string) string {
	return `INSERT OR IGNORE INTO ` + table + ` VALUES (` + strings.Repeat(`?,`, len(columns)-1) + `?)`
}
