package querylog

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// A column is one column of a row in the store, with all that there is to know
// of it: the table's text, the insert, the select, the journal's row and the JSON
// object are made from it, and a test compares docs/querylog.md with it.
type column struct {
	name, sql string
	doc       string
	keys      string // of the JSON object that it becomes, and whether they are left out where empty
	codec
}

// A codec is how a column gets from an entry to a row, by way of the store or of
// the journal.
type codec struct {
	since int // the version of the schema that brought it; 0 for the first one

	bind func(*rowWriter, *entry)      // to the insert; nil: NULL in every row
	scan func(*rowReader, value, *Row) // from a store
	open func(*entry, *Row)            // from a journal

	load func(*rowReader, value, *entry) // from a store to an entry, which is shipped; nil where another column's does it

	journal string                         // what the journal's row has, for docs/querylog.md; "" for nothing
	put     func(*rowEncoder, *entry)      // to the journal
	take    func(*replay, *cursor, *entry) // from the journal
	counted bool                           // grows while the row is open: in the journal only of a row with state
	late    bool                           // in the journal behind all that are not late, as journals of before lack it
}

// number is the codec of a column that is a number of the entry.
func number[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int | ~int64](of func(*entry) *T, show func(*Row, T)) codec {
	return codec{
		bind: func(w *rowWriter, e *entry) { w.int(int64(*of(e))) },
		scan: func(_ *rowReader, v value, r *Row) { show(r, T(v.int())) },
		open: func(e *entry, r *Row) { show(r, *of(e)) },
		load: func(_ *rowReader, v value, e *entry) { *of(e) = T(v.int()) },

		journal: "number",
		put:     func(w *rowEncoder, e *entry) { w.uint(uint64(*of(e))) },
		take:    func(_ *replay, c *cursor, e *entry) { *of(e) = T(c.uint()) },
	}
}

// word is the codec of a column that is a number of the entry and a word of the
// row.
func word[T ~uint8](of func(*entry) *T, w words, show func(*Row) *string) codec {
	return number(of, func(r *Row, v T) { *show(r) = w.of(int64(v)) })
}

// nameOf is the codec of a column that is a name.
func nameOf(of func(*entry) *[]byte, show func(*Row) *string) codec {
	return codec{
		bind: func(w *rowWriter, e *entry) { w.name(*of(e)) },
		scan: func(d *rowReader, v value, r *Row) { *show(r) = d.name(v, r.ID) },
		open: func(e *entry, r *Row) { *show(r) = nameText(*of(e)) },
		load: func(d *rowReader, v value, e *entry) { *of(e) = d.wireName(v, d.id) },

		journal: "wire form",
		put:     func(w *rowEncoder, e *entry) { w.bytes(*of(e)) },
		take:    func(_ *replay, c *cursor, e *entry) { *of(e) = bytes.Clone(c.bytes()) },
	}
}

// boundBy is a codec with another way to the insert.
func boundBy(bind func(*rowWriter, *entry), c codec) codec {
	c.bind = bind
	return c
}

// counted is the codec of what a row counts while it is open.
func counted(c codec) codec {
	c.counted = true
	return c
}

// late is the codec of a column that journals of before lack.
func late(c codec) codec {
	c.late = true
	return c
}

// journaled are the columns in the order of the journal.
func journaled(yield func(*column) bool) {
	for _, late := range [2]bool{false, true} {
		for i := range columns {
			if c := &columns[i]; c.put != nil && c.late == late && !yield(c) {
				return
			}
		}
	}
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

// since is the codec of a column that came with a version of the schema. Rows of
// before have 0 in it, or NULL.
func since(version int, c codec) codec {
	c.since = version
	return c
}

// definition is the column in the text of a table, also of one that has rows.
func (c *column) definition() string {
	if c.since > firstVersion && c.sql == notNull {
		return c.name + " " + c.sql + " DEFAULT 0"
	}
	return c.name + " " + c.sql
}

// columns are those of the tables listed and unlisted, in their order, which is
// also that of the journal's rows. A new one is one element at the end, since the
// next version of the schema, beside the fields of entry and Row that it is about.
// Stores and journals that there are lack it, which is read as zero.
var columns = [...]column{
	{"id", "INTEGER PRIMARY KEY", "window << 20 | place in it", "id", codec{
		bind: func(w *rowWriter, _ *entry) { w.int(w.id) },
		scan: func(_ *rowReader, v value, r *Row) { r.ID = v.int() }, // the journal's row begins with its place
		load: func(d *rowReader, v value, _ *entry) { d.id = v.int() },
	}},
	{"node", notNull, "node.id", "node", codec{
		bind: func(w *rowWriter, _ *entry) { w.int(w.node) },
		scan: func(d *rowReader, v value, r *Row) { r.Node = d.node(v.int()) },
	}},
	{"first", notNull, "Unix milliseconds, as all times here", "time", counted(number(
		func(e *entry) *int64 { return &e.First }, func(r *Row, v int64) { r.Time = Time{time.UnixMilli(v)} }))},
	{"last", notNull, "above 0 a time, as in all rows before schema 11; else first is so many milliseconds before it: -250 for a quarter of a second", "last", counted(boundBy(
		func(w *rowWriter, e *entry) { w.int(lastColumn(e.First, e.Last)) },
		number(func(e *entry) *int64 { return &e.Last }, func(r *Row, v int64) { r.Last = Time{time.UnixMilli(v)} })))},
	{"count", notNull, "lookups, as received", "count", counted(number(
		func(e *entry) *uint64 { return &e.Count }, func(r *Row, v uint64) { r.Count = v }))},
	{"attempts", notNull, "attempts that began in this row; 0: none, or not counted", "attempts", since(2, counted(number(
		func(e *entry) *uint32 { return &e.Attempts }, func(r *Row, v uint32) { r.Attempts = v })))},
	{"binding", notNull, "binding.id; 0 for none", "device device_name mac binding binding_source binding_confidence", codec{
		bind: func(w *rowWriter, e *entry) { w.binding(e.Binding) },
		scan: func(d *rowReader, v value, r *Row) {
			if b := d.boundTo(v.int()); b != nil {
				r.bound(b.Binding, b.addr)
			}
		},
		open: func(e *entry, r *Row) {
			if e.Binding != nil {
				r.bound(e.Binding, addrText(e.Binding.Addr))
			}
		},
		load: func(d *rowReader, v value, e *entry) {
			if e.Binding = d.binding(v.int()); e.Binding != nil {
				e.Addr = e.Binding.Addr
			}
		},

		journal: "number of the client: an address and its binding",
		put:     func(w *rowEncoder, e *entry) { w.uint(w.client(w.slot, client{addr: e.Addr, binding: e.Binding})) },
		take:    func(p *replay, c *cursor, e *entry) { e.Addr, e.Binding = p.client(c, c.uint()) },
	}},
	{"client", text, "address that asked; NULL: the binding's", "client", codec{
		bind: func(w *rowWriter, e *entry) {
			if e.Addr.IsValid() && (e.Binding == nil || e.Binding.Addr != e.Addr) {
				w.text(e.Addr.String())
			} else {
				w.null()
			}
		},
		scan: func(_ *rowReader, v value, r *Row) { r.cameFrom(v.text()) },
		open: func(e *entry, r *Row) { r.cameFrom(addrText(e.Addr)) },
		load: func(_ *rowReader, v value, e *entry) {
			if !v.null() {
				e.Addr, _ = netip.ParseAddr(v.text())
			}
		},
	}},
	{"client_id", text, "by which the client named itself over TLS, HTTPS or QUIC; NULL for none", "client_id", since(2, late(codec{
		bind: func(w *rowWriter, e *entry) {
			if e.ClientID != "" {
				w.text(e.ClientID)
			} else {
				w.null()
			}
		},
		scan: func(_ *rowReader, v value, r *Row) { r.ClientID = v.text() },
		open: func(e *entry, r *Row) { r.ClientID = e.ClientID },
		load: func(_ *rowReader, v value, e *entry) { e.ClientID = v.text() },

		journal: "text, behind the other columns",
		put:     func(w *rowEncoder, e *entry) { w.bytes([]byte(e.ClientID)) },
		take:    func(_ *replay, c *cursor, e *entry) { e.ClientID = string(c.bytes()) },
	}))},
	{"type", notNull, "of the question; 0 in a folded row", "type", number(
		func(e *entry) *uint16 { return &e.Type }, func(r *Row, v uint16) { r.Type = dnswire.TypeString(v) })},
	{"verdict", notNull, "0 pass, 1 allow, 2 block, 3 observe, 4 answer, 5 not known, of imported rows alone", "verdict", verdictCodec()},
	{"class", notNull, "of the deciding rule: 0 none, 1 own, 2 important exception, 3 important block, 4 exception, 5 block, 6 special name, 7 exception of a list for itself", "reason", since(2, word(
		func(e *entry) *blocklists.Class { return &e.Class }, classWords, func(r *Row) *string { return &r.Reason }))},
	{"observed_by", notNull, "what made a block an observe: 0 nothing, 1 list, 2 schedule, 3 tier, 4 device, 5 group, 6 pause, 7 everything, 8 tcp-only, 9 pause-device, 10 pause-group, 11 pause-list, 12 pause-vendor, 13 observe, 14 observe-device, 15 observe-group, 16 observe-list, 17 observe-vendor", "observed_by", since(2, word(
		func(e *entry) *blocklists.ObservedBy { return &e.ObservedBy }, observedByWords, func(r *Row) *string { return &r.ObservedBy }))},
	{"list", notNull, "of the deciding rule: list.id; 0 for none", "list", codec{
		bind: func(w *rowWriter, e *entry) { w.list(e.Rule.List) },
		scan: func(d *rowReader, v value, r *Row) { r.List = d.list(v.int()) },
		open: func(e *entry, r *Row) { r.List = e.Rule.List },
		load: func(d *rowReader, v value, e *entry) { e.Rule.List = d.list(v.int()) },

		journal: "number of the rule; 0 for none",
		put:     func(w *rowEncoder, e *entry) { w.uint(w.rule(e.Rule)) },
		take:    func(p *replay, c *cursor, e *entry) { e.Rule = p.rule(c, c.uint()) },
	}},
	{"line", notNull, "", "line", codec{
		bind: func(w *rowWriter, e *entry) { w.int(int64(e.Rule.Line)) },
		scan: func(_ *rowReader, v value, r *Row) { r.Line = int(v.int()) },
		open: func(e *entry, r *Row) { r.Line = e.Rule.Line },
		load: func(_ *rowReader, v value, e *entry) { e.Rule.Line = int(v.int()) },
	}},
	{"attr_list", notNull, "of the attributing rule: list.id; 0 for none", "attribution_list", codec{
		bind: func(w *rowWriter, e *entry) { w.list(e.Attr.List) },
		scan: func(d *rowReader, v value, r *Row) { r.AttributionList = d.list(v.int()) },
		open: func(e *entry, r *Row) { r.AttributionList = e.Attr.List },
		load: func(d *rowReader, v value, e *entry) { e.Attr.List = d.list(v.int()) },

		journal: "number of the rule; 0 for none",
		put:     func(w *rowEncoder, e *entry) { w.uint(w.rule(e.Attr)) },
		take:    func(p *replay, c *cursor, e *entry) { e.Attr = p.rule(c, c.uint()) },
	}},
	{"attr_line", notNull, "", "attribution_line", codec{
		bind: func(w *rowWriter, e *entry) { w.int(int64(e.Attr.Line)) },
		scan: func(_ *rowReader, v value, r *Row) { r.AttributionLine = int(v.int()) },
		open: func(e *entry, r *Row) { r.AttributionLine = e.Attr.Line },
		load: func(_ *rowReader, v value, e *entry) { e.Attr.Line = int(v.int()) },
	}},
	{"level", notNull, "of the attribution: 0 none, 1 owner, 2 list, 3 rule", "attribution", word(
		func(e *entry) *blocklists.Level { return &e.Level }, levelWords, func(r *Row) *string { return &r.Attribution })},
	{"annotation", notNull, "annotation.id; 0 for none", "vendor product purpose tier source region confidence independent contested breaks", codec{
		bind: func(w *rowWriter, e *entry) { w.annotation(e.Annotation) },
		scan: func(d *rowReader, v value, r *Row) { r.annotated(d.annotation(v.int())) },
		open: func(e *entry, r *Row) { r.annotated(e.Annotation) },
		load: func(d *rowReader, v value, e *entry) { e.Annotation = d.annotation(v.int()) },

		journal: "number of the annotation; 0 for none",
		put:     func(w *rowEncoder, e *entry) { w.uint(w.annotation(e.Annotation)) },
		take:    func(p *replay, c *cursor, e *entry) { e.Annotation = p.annotation(c, c.uint()) },
	}},
	{"rcode", notNull, "255: not known, of imported rows alone", "rcode", number(
		func(e *entry) *uint8 { return &e.Rcode }, func(r *Row, v uint8) {
			if v != UnknownRcode {
				r.Rcode = dnswire.RcodeString(v)
			}
		})},
	{"answered_from", notNull, "1 policy, 2 cache, 3 upstream, 4 error, 5 rebind, 6 shed, 7 failure", "answered_from", word(
		func(e *entry) *Source { return &e.Source }, sourceWords, func(r *Row) *string { return &r.AnsweredFrom })},
	{"transport", notNull, "1 udp, 2 tcp, 3 tls, 4 https, 5 quic", "transport", word(
		func(e *entry) *Transport { return &e.Transport }, transportWords, func(r *Row) *string { return &r.Transport })},
	{"ttl", notNull, "the largest served, seconds", "ttl", counted(number(
		func(e *entry) *uint32 { return &e.TTL }, func(r *Row, v uint32) { r.TTL = v }))},
	{"elapsed", notNull, "the longest, microseconds", "elapsed", counted(number(
		func(e *entry) *uint32 { return &e.Elapsed }, func(r *Row, v uint32) { r.Elapsed = float64(v) / 1000 }))},
	{"folded", notNull, "0 no, 1 by rule (unlisted: by device), 2 by device and verdict, 3 by verdict", "folded", number(
		func(e *entry) *granularity { return &e.Granularity }, (*Row).fold)},
	{"alias", mayNull, "the alias in the answer that decided, as name; NULL for none", "alias", nameOf(
		func(e *entry) *[]byte { return &e.Alias }, func(r *Row) *string { return &r.Alias })},
	{"name", mayNull, "lower 26 bits of listed_name.id or unlisted_name.id, whose upper bits are id >> 30; NULL in a folded row", "name", nameOf(
		func(e *entry) *[]byte { return &e.Name }, func(r *Row) *string { return &r.Name })},
	{"rule", text, "the deciding rule as written; NULL: the name itself, or no rule", "rule", codec{
		bind: func(w *rowWriter, e *entry) {
			if e.Rule.List == "" || spells(e.Rule.Text, e.Name) { // most rules are a name alone
				w.null()
			} else {
				w.text(e.Rule.Text)
			}
		},
		scan: func(_ *rowReader, v value, r *Row) {
			if r.List == "" {
				return
			}
			if r.Rule = r.Name; !v.null() {
				r.Rule = v.text()
			}
		},
		open: func(e *entry, r *Row) { r.Rule = e.Rule.Text },
		load: func(_ *rowReader, v value, e *entry) {
			if e.Rule.List == "" {
				return
			}
			if e.Rule.Text = nameText(e.Name); !v.null() {
				e.Rule.Text = v.text()
			}
		},
	}},
	{"leaf", "BLOB", "NULL: hashes of sealed rows are in `seal_run`", "", since(2, codec{})},
	{"as_lookups", notNull, "of attempts, lookups that each counted as one, as there was no memory, or no name, to tell which belong together", "attempts_as_lookups", since(3, late(counted(number(
		func(e *entry) *uint32 { return &e.AsLookups }, func(r *Row, v uint32) { r.AsLookups = v }))))},
	{"upstream", notNull, "that answered: upstream.id; 0 for none, and in a folded row", "upstream", since(versionOfUpstreams, late(codec{
		bind: func(w *rowWriter, e *entry) { w.upstream(e.Upstream) },
		scan: func(d *rowReader, v value, r *Row) { r.Upstream = d.upstream(v.int()) },
		open: func(e *entry, r *Row) { r.Upstream = e.Upstream },
		load: func(d *rowReader, v value, e *entry) { e.Upstream = d.upstream(v.int()) },

		journal: "text, behind the other columns",
		put:     func(w *rowEncoder, e *entry) { w.bytes([]byte(e.Upstream)) },
		take:    func(_ *replay, c *cursor, e *entry) { e.Upstream = string(c.bytes()) },
	}))},
	{"import", notNull, "import.id: what it was imported from; 0: it was recorded here", "imported", since(versionOfImports, codec{
		bind: func(w *rowWriter, _ *entry) { w.int(w.imported) },
		scan: func(d *rowReader, v value, r *Row) { r.Imported = d.imported(v.int()) },
	})},
}

// verdictCodec is that of the verdict, with which the journal keeps whether an
// allow overrode a block: in the store the table says that.
func verdictCodec() codec {
	c := word(func(e *entry) *blocklists.Action { return &e.Action }, verdictWords, func(r *Row) *string { return &r.Verdict })
	c.journal = "number << 1 | 1 for an allow that overrode a block"
	c.put = func(w *rowEncoder, e *entry) {
		v := uint64(e.Action) << 1
		if e.Overrode {
			v |= 1
		}
		w.uint(v)
	}
	c.take = func(_ *replay, c *cursor, e *entry) {
		v := c.uint()
		e.Action, e.Overrode = blocklists.Action(v>>1), v&1 != 0
	}
	return c
}

// bound says whose the row is, whose address is a text, too. It comes before cameFrom.
func (r *Row) bound(b *devices.Binding, addr string) {
	r.Device, r.DeviceName, r.MAC, r.Binding, r.Client = b.Device, b.Name, b.MAC, b.ID, addr
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
	r.Region, r.Breaks = a.Region, a.Breaks
	trust := format.ReadConfidence(a.Confidence)
	r.Confidence, r.Independent, r.Contested = trust.Word, trust.Independent, trust.Contested
}

// fold says how coarse the row is. It comes behind the type.
func (r *Row) fold(g granularity) {
	if g != byName {
		r.Folded, r.Type = true, ""
	}
}

func nameText(wire []byte) string {
	if len(wire) == 0 {
		return ""
	}
	return string(dnswire.AppendText(nil, wire))
}

// spells reports whether a text is that of a name in wire form.
func spells(text string, wire []byte) bool {
	var buf [256]byte
	return len(wire) > 0 && text == string(dnswire.AppendText(buf[:0], wire))
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
		line := "\t" + c.definition() + comma
		if c.doc != "" {
			line = fmt.Sprintf("%-32s -- %s", line, c.doc)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(") STRICT;\n")
	return b.String()
}

// addColumns are the statements that add the columns of a version of the schema
// to the tables of rows that there are.
func addColumns(columns []column, version int) (sql string) {
	for _, table := range rowTables {
		for i := range columns {
			if c := &columns[i]; c.since == version {
				sql += `ALTER TABLE ` + table + ` ADD COLUMN ` + c.definition() + `; `
			}
		}
	}
	return sql
}

// insertRows is the statement that adds n rows, with a parameter for each column
// that is bound. (SQLite would copy each value where columns were left out.)
func insertRows(table string, n int) string {
	var row []string
	for i := range columns {
		if columns[i].bind != nil {
			row = append(row, `?`)
		} else {
			row = append(row, `NULL`)
		}
	}
	one := `,(` + strings.Join(row, `,`) + `)`
	return `INSERT OR IGNORE INTO ` + table + ` VALUES ` + strings.Repeat(one, n)[1:]
}

// boundColumns is how many columns an insert binds.
func boundColumns() (n int) {
	for i := range columns {
		if columns[i].bind != nil {
			n++
		}
	}
	return n
}
