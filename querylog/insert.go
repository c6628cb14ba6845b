package querylog

import (
	"errors"
	"net/netip"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
)

// rowTables are the tables of rows: of listed names, which are kept for long,
// and of all others.
var rowTables = [...]string{"listed", "unlisted"}

// A rowWriter stores the rows of a table, several with each statement: SQLite
// then opens the table once for them, and what it was given for the same place
// before it has still, as most columns say the same again and again.
type rowWriter struct {
	s         *store
	one, many rowStmt
	names     *nameTable
	cells     []cell // of the rows that wait, one row behind the other
	texts     []string
	waiting   int
	row       []cell // of the row at hand
	at        int    // the cell at hand
	id, node  int64
	imported  int64 // import.id of rows that are imported; 0 for others
	annotated int64 // the number of the annotation of the row at hand; 0 for none
	err       error // the first one of the row at hand
}

// rowsAtOnce is how many rows a statement stores.
const rowsAtOnce = 8

// A cell is what a statement is given for a column of a row; the zero value is
// NULL.
type cell struct {
	kind cellKind
	n    int64 // the number, or of a text the place in texts
}

type cellKind uint8

const (
	cellNull cellKind = iota
	cellInt
	cellText
)

// A rowStmt inserts so many rows as it has cells for.
type rowStmt struct {
	stmt *sqlite3.Stmt
	have []cell // given before
}

func newRowWriter(s *store, table string) *rowWriter {
	n := boundColumns()
	return &rowWriter{
		s: s, names: s.names[table], cells: make([]cell, rowsAtOnce*n), row: make([]cell, n),
		one: rowStmt{s.insert[table], make([]cell, n)}, many: rowStmt{s.insert[table+"_many"], make([]cell, rowsAtOnce*n)},
	}
}

// begin turns to the next row.
func (w *rowWriter) begin(id, node int64) {
	w.id, w.node, w.err = id, node, nil
	n := len(w.row)
	w.row = w.cells[w.waiting*n:][:n]
}

// add adds the row whose cells are set to those that wait, and stores them when
// they are enough.
func (w *rowWriter) add() error {
	if w.err != nil {
		return w.err
	}
	if w.waiting++; w.waiting < rowsAtOnce {
		return nil
	}
	defer w.drop()
	return w.many.insert(w.cells, w.texts)
}

// flush stores the rows that wait.
func (w *rowWriter) flush() error {
	defer w.drop()
	n := len(w.row)
	for i := range w.waiting {
		if err := w.one.insert(w.cells[i*n:][:n], w.texts); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets the rows that wait.
func (w *rowWriter) drop() {
	clear(w.texts)
	w.waiting, w.texts = 0, w.texts[:0]
}

func (s *rowStmt) insert(cells []cell, texts []string) error {
	have := s.have[:len(cells)]
	for i, c := range cells {
		if have[i] == c && c.kind != cellText {
			continue
		}
		have[i] = c
		switch c.kind {
		case cellNull:
			s.stmt.BindNull(i + 1)
		case cellInt:
			s.stmt.BindInt64(i+1, c.n)
		case cellText:
			s.stmt.BindText(i+1, texts[c.n])
		}
	}
	return s.stmt.Exec()
}

func (w *rowWriter) int(v int64) { w.row[w.at] = cell{cellInt, v} }
func (w *rowWriter) null()       { w.row[w.at] = cell{} }

func (w *rowWriter) text(v string) {
	w.row[w.at] = cell{cellText, int64(len(w.texts))}
	w.texts = append(w.texts, v)
}

// numbered binds the number of something that stands in another table.
func (w *rowWriter) numbered(n int64, err error) {
	w.int(n)
	if err != nil && w.err == nil {
		w.err = err
	}
}

func (w *rowWriter) list(name string)   { w.numbered(w.s.list(name)) }
func (w *rowWriter) upstream(id string) { w.numbered(w.s.upstream(id)) }
func (w *rowWriter) annotation(a *format.Annotation) {
	n, err := w.s.annotation(a)
	w.annotated = n
	w.numbered(n, err)
}

func (w *rowWriter) binding(b *devices.Binding) {
	if b == nil {
		w.int(0)
		return
	}
	w.numbered(int64(b.ID), w.s.binding(b))
}

// name binds the number of a name in wire form.
func (w *rowWriter) name(wire []byte) {
	if len(wire) == 0 {
		w.null()
		return
	}
	w.numbered(w.names.number(w.id, wire, wireName))
}

// row stores an entry as the row with this number.
func (s *store) row(id, node int64, e *entry) error {
	w := s.rows[e.table()]
	w.begin(id, node)
	w.at = 0
	for i := range columns {
		if bind := columns[i].bind; bind != nil {
			bind(w, e)
			w.at++
		}
	}
	if err := w.add(); err != nil {
		return err
	}
	if !s.uncounted {
		s.totals.add(node, e, w.annotated)
	}
	return nil
}

// returned runs a prepared insert that returns an id.
func (s *store) returned(stmt *sqlite3.Stmt) (id int64, err error) {
	if stmt.Step() {
		id = stmt.ColumnInt64(0)
	}
	err = stmt.Err()
	return id, errors.Join(err, stmt.Reset())
}

// list returns the number of a list; 0 for none.
func (s *store) list(name string) (int64, error) {
	if name == "" {
		return 0, nil
	}
	return s.numbered("list", s.lists, name)
}

// upstream returns the number of an upstream; 0 for none.
func (s *store) upstream(id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	return s.numbered("upstream", s.upstreams, id)
}

// numbered returns the number of a name in a table of names.
func (s *store) numbered(table string, known map[string]int64, name string) (int64, error) {
	if id, ok := known[name]; ok {
		return id, nil
	}
	s.insert[table].BindText(1, name)
	id, err := s.returned(s.insert[table])
	if err == nil {
		known[name] = id
	}
	return id, err
}

func (s *store) annotation(a *format.Annotation) (int64, error) {
	if a == nil {
		return 0, nil
	}
	key := *a
	key.Until = time.Time{}
	if id, ok := s.annotations[key]; ok {
		return id, nil
	}
	stmt := s.insert["annotation"]
	for i, text := range annotationTexts(&key) {
		stmt.BindText(i+1, *text)
	}
	id, err := s.returned(stmt)
	if err == nil && len(s.annotations) <= remembered {
		s.annotations[key] = id
	}
	return id, err
}

// binding keeps a binding, or its end. What rows say of it never changes.
func (s *store) binding(b *devices.Binding) error {
	if s.bound[b.ID] && b.Until.IsZero() {
		return nil
	}
	stmt := s.insert["binding"]
	stmt.BindText(2, b.Device)
	stmt.BindText(3, b.Name)
	stmt.BindText(4, addrText(b.Addr))
	stmt.BindText(5, b.MAC)
	stmt.BindText(6, prefixText(b.Prefix))
	stmt.BindInt64(7, int64(b.Source))
	stmt.BindInt64(8, int64(b.Confidence))
	stmt.BindInt64(9, b.From.UnixMilli())
	stmt.BindInt64(10, milli(b.Until))
	stmt.BindInt64(11, milli(b.Seen))
	stmt.BindInt64(12, int64(b.Group))
	stmt.BindBool(13, b.NoLog)
	err := s.run("binding", int64(b.ID))
	if err == nil {
		s.bound[b.ID] = true
	}
	return err
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func prefixText(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

func (s *store) event(id, node int64, v *Event) error {
	stmt := s.insert["ledger"]
	stmt.BindText(6, currentKind(v.Kind)) // a journal of before may have an old word
	stmt.BindText(7, v.Subject)
	stmt.BindText(8, v.Detail)
	return s.run("ledger", id, node, milli(v.Time.Time), milli(v.Since.Time), milli(v.Until.Time))
}
