package querylog

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// A layout is how a version of the schema keeps rows: what SQL reads them with.
type layout struct {
	version int
	exprs   map[string]string // of columns, where they are not just the column
	names   bool              // names stand in tables of their own
	joins   string            // of the tables that rows refer to; %[1]s is the table of rows
}

// layout2 is that of all versions since, which differ in columns alone.
var layout2 = layout{
	version: firstVersion,
	names:   true,
	exprs:   map[string]string{"last": lastOfRow},
	joins: `
	LEFT JOIN binding b ON b.id = r.binding
	LEFT JOIN annotation a ON a.id = r.annotation
	LEFT JOIN %[1]s_name m ON m.id = ` + nameOfRow("name") + `
	LEFT JOIN %[1]s_name l ON l.id = ` + nameOfRow("alias"),
}

// lastOfRow is the time of a row's last lookup, in SQL. The column has how many milliseconds after the
// first lookup it came, as a number that is not above 0: mostly 0, which takes no octet where a time takes six.
// Rows of versions before versionOfLasting have times, which are above 0, or 0 where the first one's is.
const lastOfRow = `(CASE WHEN r.last > 0 THEN r.last ELSE r.first - r.last END)`

// lastColumn is what the column last of a row has.
func lastColumn(first, last int64) int64 {
	if last < first {
		return last
	}
	return first - last
}

// name and alias are the texts of a row's name and alias.
func (l *layout) name() string  { return l.expr("name of a row", `m.name`) }
func (l *layout) alias() string { return l.expr("alias of a row", `l.name`) }

func (l *layout) expr(of, otherwise string) string {
	if e, ok := l.exprs[of]; ok {
		return e
	}
	return otherwise
}

// column is a column of a row, or what stands for it where this version lacks it.
func (l *layout) column(c *column) string {
	switch {
	case c.since <= l.version:
		return l.expr(c.name, `r.`+c.name)
	case c.sql == notNull:
		return `0`
	}
	return `NULL`
}

// named is column for the one with a name.
func (l *layout) named(name string) string {
	i := slices.IndexFunc(columns[:], func(c column) bool { return c.name == name })
	return l.column(&columns[i])
}

// selectRows is the query of the rows of a table between two numbers, both
// excluded: the number, the table, then what columns say.
func (l *layout) selectRows(table int, says columnSet, where string) string {
	exprs := []string{`r.id`, strconv.Itoa(table)}
	for _, c := range says.columns() {
		switch {
		case says != allColumns && c.name == "name":
			exprs = append(exprs, l.name())
		case says != allColumns && c.name == "alias":
			exprs = append(exprs, l.alias())
		default:
			exprs = append(exprs, l.column(c))
		}
	}
	return `SELECT ` + strings.Join(exprs, `, `) + l.from(rowTables[table], where)
}

// A columnSet is what is wanted of rows.
type columnSet int

const (
	allColumns      columnSet = iota
	summedColumns             // what Sums tell
	namelessColumns           // the same without names
	begunColumns              // what Begun tells
)

// columns returns the columns of a set that are read from a store.
func (s columnSet) columns() (all []*column) {
	for i := range columns {
		c := &columns[i]
		if c.scan == nil {
			continue
		}
		switch c.name {
		case "id", "first", "last", "count", "attempts", "binding", "client", "level", "annotation", "verdict", "import":
		case "name", "alias", "attr_list", "attr_line":
			if s == namelessColumns {
				continue
			}
		case "ttl":
			if s != begunColumns && s != allColumns {
				continue
			}
		default:
			if s != allColumns {
				continue
			}
		}
		all = append(all, c)
	}
	return all
}

// from is the part of a query of rows behind what it selects. SQLite leaves out
// the joins that nothing refers to.
func (l *layout) from(table, where string) string {
	return fmt.Sprintf(` FROM %[1]s r`+l.joins+` WHERE r.id > ? AND r.id < ?`, table) + where
}

// row returns the entry as a reader sees it.
func (e *entry) row(id int64, node string) Row {
	r := Row{ID: id, Node: node, Open: true}
	for i := range columns {
		if open := columns[i].open; open != nil {
			open(e, &r)
		}
	}
	return r
}

// A rowReader makes rows from the result of selectRows. What many rows refer to
// is read once and kept, within bounds: a join would read it for each row.
type rowReader struct {
	db          *database
	table       int
	says        columnSet
	columns     []*column // of says
	nodes       map[int64]string
	lists       map[int64]string
	upstreams   map[int64]string
	imports     map[int64]string
	bindings    map[int64]*readBinding
	annotations map[int64]*format.Annotation
	names       [len(rowTables)]map[int64]string
	ordered     *nameCursor // of listed rows' names, where rows are read in order within one transaction; nil otherwise
	id          int64       // of the row at hand, where it is loaded
	err         error       // the first one
}

// read reads one row.
func (d *rowReader) read(stmt *sqlite3.Stmt, r *Row) {
	d.table = stmt.ColumnInt(1)
	for i, c := range d.columns {
		c.scan(d, value{stmt, 2 + i}, r)
	}
}

// lookUp returns what a number stands for, asked of the database the first time.
func lookUp[V any](d *rowReader, known *map[int64]V, id int64, sql string, scan func(*sqlite3.Stmt) V) (v V) {
	if id == 0 {
		return v
	}
	v, ok := (*known)[id]
	if ok {
		return v
	}
	err := d.db.query(sql, []any{id}, func(stmt *sqlite3.Stmt) bool {
		v = scan(stmt)
		return false
	})
	if err != nil {
		d.err = cmp.Or(d.err, err)
		return v
	}
	if *known == nil || len(*known) >= readerKnows {
		*known = map[int64]V{}
	}
	(*known)[id] = v
	return v
}

const readerKnows = 4096 // of each kind that a rowReader keeps

func firstText(stmt *sqlite3.Stmt) string { return stmt.ColumnText(0) }

func (d *rowReader) node(id int64) string {
	return lookUp(d, &d.nodes, id, `SELECT name FROM node WHERE id = ?`, firstText)
}

func (d *rowReader) list(id int64) string {
	return lookUp(d, &d.lists, id, `SELECT name FROM list WHERE id = ?`, firstText)
}

func (d *rowReader) upstream(id int64) string {
	return lookUp(d, &d.upstreams, id, `SELECT name FROM upstream WHERE id = ?`, firstText)
}

func (d *rowReader) imported(id int64) string {
	return lookUp(d, &d.imports, id, `SELECT format FROM import WHERE id = ?`, firstText)
}

// A readBinding is a binding and its address as text.
type readBinding struct {
	*devices.Binding
	addr string
}

// boundTo returns the binding with a number, nil for none.
func (d *rowReader) boundTo(id int64) *readBinding {
	return lookUp(d, &d.bindings, id, selectBinding, func(stmt *sqlite3.Stmt) *readBinding {
		b := scanBinding(stmt)
		return &readBinding{&b, addrText(b.Addr)}
	})
}

func (d *rowReader) binding(id int64) *devices.Binding {
	if b := d.boundTo(id); b != nil {
		return b.Binding
	}
	return nil
}

func (d *rowReader) annotation(id int64) *format.Annotation {
	return lookUp(d, &d.annotations, id, selectAnnotation, func(stmt *sqlite3.Stmt) *format.Annotation {
		a := &format.Annotation{}
		for i, text := range annotationTexts(a) {
			*text = stmt.ColumnText(i)
		}
		return a
	})
}

const selectAnnotation = `SELECT vendor, product, purpose, tier, region, source, breaks, since, confidence, software FROM annotation WHERE id = ?`

// name returns the name that a column of the row with this number has.
func (d *rowReader) name(v value, row int64) string {
	if !d.db.layout.names || d.says != allColumns {
		return v.text()
	}
	n := v.int()
	if n == 0 {
		return ""
	}
	n += row >> periodRows << nameBits
	if d.ordered != nil && d.table == 0 {
		return d.ordered.name(d, n)
	}
	return lookUp(d, &d.names[d.table], n, selectName[d.table], firstText)
}

// wireName is name in wire form, nil for none.
func (d *rowReader) wireName(v value, row int64) []byte {
	text := d.name(v, row)
	if text == "" {
		return nil
	}
	n, err := dnswire.ParseName(text)
	if err != nil {
		d.err = cmp.Or(d.err, fmt.Errorf("row %d has a name that is none: %w", row, err))
		return nil
	}
	return bytes.Clone(n.Wire())
}

var selectName = [len(rowTables)]string{
	`SELECT name FROM ` + rowTables[0] + `_name WHERE id = ?`, `SELECT name FROM ` + rowTables[1] + `_name WHERE id = ?`,
}
