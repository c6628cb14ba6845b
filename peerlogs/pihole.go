package peerlogs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"telltale/dnswire"
)

// Pi-hole keeps queries in pihole-FTL.db. Up to version 5 they are in a table, queries;
// later ones have numbers in it, which stand for names in other tables, and a view of
// that name. See src/database/query-table.h and src/enums.h of its source.
var piholeFormat = Format{
	Name: "pi-hole", Title: "Pi-hole", Numbered: true,
	Lost: "how queries came, the TTL of answers, the list that blocked, and names and clients where its privacy level hid them",
	is:   func(head []byte) bool { return bytes.HasPrefix(head, []byte("SQLite format 3\x00")) },
}

type piholeLog struct {
	f      *file
	o      Options
	conn   *sqlite3.Conn
	stmt   *sqlite3.Stmt
	key    string
	last   int64 // largest id
	l      Lookup
	hidden int64
	newer  int64 // version of the database that is not known here; 0 for none
}

// piholeKnown is the latest version of the database that was read in its source.
const piholeKnown = 22

func openPihole(f *file, o Options) (Log, error) {
	p := &piholeLog{f: f, o: o}
	if f.packed {
		return nil, errors.New("unpack the database first")
	}
	if err := p.open(); err != nil {
		if p.conn != nil {
			p.conn.Close()
		}
		switch {
		case errors.Is(err, sqlite3.BUSY), errors.Is(err, sqlite3.LOCKED):
			return nil, fmt.Errorf("another program has the database locked: try again, or stop pihole-FTL meanwhile (%w)", err)
		case errors.Is(err, sqlite3.READONLY_ROLLBACK), errors.Is(err, sqlite3.READONLY_RECOVERY):
			return nil, fmt.Errorf("a change of the database was broken off: start pihole-FTL, which takes it back, or import a copy made while it is stopped (%w)", err)
		case errors.Is(err, sqlite3.NOTADB), errors.Is(err, sqlite3.CORRUPT):
			return nil, fmt.Errorf("the database is damaged or cut off: %w", err)
		}
		return nil, err
	}
	return p, nil
}

func (p *piholeLog) open() (err error) {
	uri := "file:" + (&url.URL{Path: p.f.path}).EscapedPath() + "?mode=ro"
	if p.closed() {
		uri += "&immutable=1" // no file is made beside it
	}
	defer func() {
		if r := recover(); r != nil { // there is no room for the library's memory
			err = fmt.Errorf("opening the database: %v", r)
		}
	}()
	if p.conn, err = sqlite3.OpenFlags(uri, sqlite3.OPEN_READONLY|sqlite3.OPEN_URI); err != nil {
		return err
	}
	p.conn.BusyTimeout(cmp.Or(p.o.lockWait, 5*time.Second))
	if err := p.conn.Exec(`PRAGMA query_only = ON; PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF`); err != nil {
		return err
	}
	have := map[string]bool{}
	err = p.each(`SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.name IN ('queries', 'query_storage', 'client_by_id', 'addinfo_by_id', 'ftl')`,
		func(stmt *sqlite3.Stmt) { have[stmt.ColumnText(0)] = true })
	if err != nil {
		return err
	}
	if !have["queries.domain"] || !have["queries.client"] || !have["queries.status"] || !have["ftl.value"] {
		return errors.New("this is an SQLite database, but not one of Pi-hole: it has no queries")
	}
	var version, created int64
	err = p.each(`SELECT id, value FROM ftl WHERE id IN (0, 2)`, func(stmt *sqlite3.Stmt) {
		if stmt.ColumnInt64(0) == 0 {
			version = stmt.ColumnInt64(1)
		} else {
			created = stmt.ColumnInt64(1)
		}
	})
	if err != nil {
		return err
	}
	if version > piholeKnown {
		p.newer = version
	}
	p.key = fmt.Sprintf("%s:%s:%d", piholeFormat.Name, p.o.Source, created)
	if err := p.each(`SELECT coalesce(max(id), 0) FROM `+tableOf(have), func(stmt *sqlite3.Stmt) { p.last = stmt.ColumnInt64(0) }); err != nil {
		return err
	}
	if p.stmt, _, err = p.conn.Prepare(piholeQuery(have)); err != nil {
		return err
	}
	return p.After(0)
}

// closed reports whether the database is surely open nowhere: it has a write-ahead log, and
// the last one who closed it removed that. Without such a log nothing tells.
func (p *piholeLog) closed() bool {
	head, _ := p.f.r.Peek(20)
	if len(head) < 20 || head[18] != 2 || head[19] != 2 {
		return false
	}
	for _, beside := range []string{"-wal", "-journal"} {
		if _, err := os.Lstat(p.f.path + beside); !errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	return true
}

func tableOf(have map[string]bool) string {
	if have["query_storage.id"] {
		return "query_storage"
	}
	return "queries"
}

// piholeQuery is the query of all that a database has behind an id.
func piholeQuery(have map[string]bool) string {
	optional := func(column string) string {
		if have["queries."+column] {
			return "q." + column
		}
		return "NULL"
	}
	name := "NULL"
	if have["client_by_id.name"] && have["query_storage.client"] {
		name = `(SELECT c.name FROM query_storage s JOIN client_by_id c ON c.id = s.client WHERE s.id = q.id AND typeof(s.client) = 'integer')`
	}
	alias := optional("additional_info")
	if have["addinfo_by_id.type"] && have["query_storage.additional_info"] {
		alias = `(SELECT a.content FROM query_storage s JOIN addinfo_by_id a ON a.id = s.additional_info WHERE s.id = q.id AND a.type = 1)`
	}
	return `SELECT q.id, q.timestamp, q.type, q.status, q.domain, q.client, q.forward, ` + optional("reply_type") + `, ` + name + `, ` + alias +
		` FROM queries q WHERE q.id > ? ORDER BY q.id`
}

// each calls do with each row of a query.
func (p *piholeLog) each(sql string, do func(*sqlite3.Stmt)) error {
	stmt, _, err := p.conn.Prepare(sql)
	if err != nil {
		return err
	}
	for stmt.Step() {
		do(stmt)
	}
	return errors.Join(stmt.Err(), stmt.Close())
}

// After makes the log begin behind a position.
func (p *piholeLog) After(position int64) error {
	if err := p.stmt.Reset(); err != nil {
		return err
	}
	return p.stmt.BindInt64(1, position)
}

func (p *piholeLog) Format() *Format         { return &piholeFormat }
func (p *piholeLog) Key() string             { return p.key }
func (p *piholeLog) Sum() string             { return "" }
func (p *piholeLog) Read() (done, all int64) { return p.l.Position, p.last }
func (p *piholeLog) Close() error {
	return errors.Join(p.stmt.Close(), p.conn.Close(), p.f.close())
}

func (p *piholeLog) Notes() (all []string) {
	if p.hidden > 0 {
		all = append(all, fmt.Sprintf("%d queries were left out, as Pi-hole's privacy level hid their names", p.hidden))
	}
	if p.newer > 0 {
		all = append(all, fmt.Sprintf("the database has version %d, and %d is the latest that was known when this program was made: what is new in it was left out", p.newer, piholeKnown))
	}
	return all
}

func (p *piholeLog) Next() (*Lookup, error) {
	for {
		if !p.stmt.Step() {
			if err := p.stmt.Err(); err != nil {
				return nil, fmt.Errorf("behind row %d: %w", p.l.Position, err)
			}
			return nil, io.EOF
		}
		id := p.stmt.ColumnInt64(0)
		p.l = Lookup{Position: id, Place: fmt.Sprintf("row %d", id), Rcode: -1}
		if p.stmt.ColumnText(4) == "hidden" {
			p.hidden++
			continue
		}
		if err := p.read(); err != nil {
			return nil, &BadRecord{p.l.Place, err}
		}
		return &p.l, nil
	}
}

// piholeTypes are the numbers of its types below 100; above, they are those of DNS
// and 100 more.
var piholeTypes = map[int64]uint16{
	1: dnswire.TypeA, 2: dnswire.TypeAAAA, 3: 255, 4: 33, 5: 6, 6: 12, 7: 16, 8: 35, 9: 15, 10: 43, 11: 46, 12: 48, 13: 2, 15: 64, 16: 65,
}

func (p *piholeLog) read() (err error) {
	l, stmt := &p.l, p.stmt
	seconds := stmt.ColumnFloat(1)
	if !(seconds > 0 && seconds < 1<<40) {
		return fmt.Errorf("%v is no time", seconds)
	}
	l.Time = time.UnixMilli(int64(seconds*1000 + 0.5))
	if err := checkTime(l.Time, p.o.Now); err != nil {
		return err
	}
	switch typ := stmt.ColumnInt64(2); {
	case typ >= 100 && typ < 100+1<<16:
		l.Type = uint16(typ - 100)
	case piholeTypes[typ] != 0:
		l.Type = piholeTypes[typ]
	default: // OTHER, which was not told apart
		return fmt.Errorf("type %d is none that is known", typ)
	}
	if l.Name, err = parseName(stmt.ColumnText(4)); err != nil {
		return err
	}
	if client := stmt.ColumnText(5); client != "0.0.0.0" { // hidden by its privacy level
		if l.Client, err = parseAddr(client); err != nil {
			return err
		}
	}
	if name := stmt.ColumnText(8); !strings.EqualFold(name, l.Client.String()) {
		l.ClientName = name
	}
	l.Upstream = stmt.ColumnText(6)
	p.decided(stmt.ColumnInt(3))
	if stmt.ColumnType(7) != sqlite3.NULL {
		l.Rcode = piholeRcode(stmt.ColumnInt(7))
	}
	return nil
}

// decided takes over its status: enum query_status.
func (p *piholeLog) decided(status int) {
	l := &p.l
	switch status {
	case 1, 4, 5, 15: // gravity, regex, denied, or its database was busy
		l.Verdict, l.Source = Blocked, FromPolicy
	case 6, 7, 8, 18: // by the upstream
		l.Verdict, l.Source = Blocked, FromUpstream
	case 9, 10, 11: // by an alias
		l.Verdict, l.Source = Blocked, FromPolicy
		if alias, err := dnswire.ParseName(p.stmt.ColumnText(9)); err == nil {
			l.Alias = alias
		}
	case 2, 12, 13:
		l.Source = FromUpstream
	case 3:
		l.Source = FromCache
	case 17:
		l.Source = FromStale
	case 16:
		l.Verdict, l.Source = Answered, FromPolicy
	default: // it was not known yet, or a later version has it
		l.Verdict = NotKnown
	}
}

// piholeRcode is the response code that goes with a reply of its kind: enum reply_type.
func piholeRcode(reply int) int {
	switch reply {
	case 1, 4, 5, 6, 13: // no data, an address, a name, another record
		return dnswire.Success
	case 2:
		return dnswire.NXDomain
	case 7:
		return dnswire.ServFail
	case 8:
		return dnswire.Refused
	case 9:
		return dnswire.NotImp
	}
	return -1
}
