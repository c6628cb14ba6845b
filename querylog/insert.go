package querylog

import (
	"errors"
	"net/netip"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/blocklists/format"
	"telltale/devices"
	"telltale/dnswire"
)

// rowTables are the tables of rows: of listed names, which are kept for long,
// and of all others.
var rowTables = [...]string{"listed", "unlisted"}

// A rowWriter binds the columns of one row.
type rowWriter struct {
	s        *store
	stmt     *sqlite3.Stmt
	names    *nameTable
	at       int // the column at hand, from 1
	id, node int64
	err      error // the first one
}

func (w *rowWriter) int(v int64)   { w.stmt.BindInt64(w.at, v) }
func (w *rowWriter) null()         { w.stmt.BindNull(w.at) }
func (w *rowWriter) text(v string) { w.stmt.BindText(w.at, v) }

// numbered binds the number of something that stands in another table.
func (w *rowWriter) numbered(n int64, err error) {
	w.int(n)
	if err != nil && w.err == nil {
		w.err = err
	}
}

func (w *rowWriter) list(name string)                { w.numbered(w.s.list(name)) }
func (w *rowWriter) annotation(a *format.Annotation) { w.numbered(w.s.annotation(a)) }

func (w *rowWriter) binding(b *devices.Binding) {
	if b == nil {
		w.int(0)
		return
	}
	w.numbered(int64(b.ID), w.s.binding(b))
}

// name binds the number of a name in wire form, whose text s.name then holds.
func (w *rowWriter) name(wire []byte) {
	w.s.name = w.s.name[:0]
	if len(wire) == 0 {
		w.null()
		return
	}
	w.s.name = dnswire.AppendText(w.s.name, wire)
	w.numbered(w.names.number(w.id, w.s.name))
}

// row stores an entry as the row with this number.
func (s *store) row(id, node int64, e *entry) error {
	table := "unlisted"
	if e.listed() {
		table = "listed"
	}
	w := &s.writing
	*w = rowWriter{s: s, stmt: s.insert[table], names: s.names[table], id: id, node: node}
	for i := range columns {
		if bind := columns[i].bind; bind != nil {
			w.at = i + 1
			bind(w, e)
		}
	}
	if w.err != nil {
		return w.err
	}
	return w.stmt.Exec()
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
