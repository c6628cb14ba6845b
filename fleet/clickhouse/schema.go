package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// schemaVersion is that of the tables. It is kept in the table meta of each server: a
// store of a later one is left alone, one of an earlier one is brought forward by Migrate.
const schemaVersion = 1

// storeText is a store's id as querylog has it.
func storeText(n uint64) string { return fmt.Sprintf("%016x", n) }

// storeNumber is the number that a store's id is.
func storeNumber(id string) (uint64, error) {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || len(id) != 16 {
		return 0, fmt.Errorf("store id %q is not 16 hexadecimal digits", id)
	}
	return n, nil
}

// Lengths of partitions, in milliseconds: a week begins on a Monday. An insert may
// touch few partitions, and what is older than it may be is dropped by the partition.
const (
	dayMilli  = 86_400_000
	weekMilli = 7 * dayMilli
	monday    = 3 * dayMilli // 1970 began on a Thursday
)

// A table is one of the store's.
type table struct {
	name      string
	columns   []columnText
	version   string // the column by which one of several rows of a key is kept; "" where they are the same
	partition string // "" for none
	order     string
}

type columnText struct{ name, sql, codec string }

func textsOf[T any](columns []column[T]) (all []columnText) {
	for i := range columns {
		all = append(all, columnText{columns[i].name, columns[i].sql, columns[i].codec})
	}
	return all
}

// tables are all tables. Every one keeps one row of a key, so that what comes twice is
// there once: at last when its parts are merged, and until then where FINAL reads it.
var tables = []table{
	{name: "lookup", columns: textsOf(lookups), order: "device, first, store, id",
		partition: fmt.Sprintf("(listed, if(listed = 1, intDiv(first + %d, %d), intDiv(first, %d)))", monday, weekMilli, dayMilli)},
	{name: "total", columns: textsOf(totals), version: "version", order: "device, hour, vendor, product, purpose, tier, verdict, store",
		partition: fmt.Sprintf("intDiv(hour + %d, %d)", monday, weekMilli)},
	{name: "ledger", columns: textsOf(lines), order: "store, id"},
	{name: "binding", columns: textsOf(bindings), version: "version", order: "store, id"},
	{name: "window", columns: textsOf(windows), order: "store, number", partition: fmt.Sprintf("intDiv(number * 1000 + %d, %d)", monday, weekMilli)},
	{name: "node", columns: textsOf(nodes), version: "upto", order: "store"},
	{name: "forgotten", columns: []columnText{{"device", "String", ""}, {"since", "Int64", ""}, {"until", "Int64", ""}}, order: "device, since, until"},
	metaTable,
}

// metaTable has what is to be known of the store itself.
var metaTable = table{name: "meta", columns: []columnText{{"key", "String", ""}, {"value", "String", ""}}, order: "key, value"}

// Keys of the table meta.
const (
	metaSchema = "schema" // the versions that it had; the largest counts
	metaShard  = "shard"  // which shard of how many: "1 of 3"
	metaUneven = "uneven" // there are rows whose first lookup was not about when their window was stored, or that last long
)

// A server is one as it was seen when the store was opened.
type server struct {
	host   string
	major  int // of its version: 18 of 18.16
	schema int // 0 for none
	shard  string
}

// isOld reports whether the server has no codecs and cannot delete but by a mutation.
func (s *server) isOld() bool { return s.major < 23 }

// create is the statement that makes a table of shard number n.
func (t *table) create(a *Address, n int, s *server) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s (\n", t.name)
	for i, c := range t.columns {
		if i > 0 {
			b.WriteString(",\n")
		}
		sql := c.sql
		if s.major < 20 && sql == sameTexts { // where it was an experiment, and took twice the time of an insert
			sql = "String"
		}
		fmt.Fprintf(&b, "\t%s %s", c.name, sql)
		if c.codec != "" && !s.isOld() {
			fmt.Fprintf(&b, " CODEC(%s)", c.codec)
		}
	}
	engine, args := "ReplacingMergeTree", []string{}
	if a.Replicated != "" {
		engine = "ReplicatedReplacingMergeTree"
		args = append(args, quote(fmt.Sprintf("%s/%s/%d/%s", a.Replicated, a.Database, n+1, t.name)), quote(s.host))
	}
	if t.version != "" {
		args = append(args, t.version)
	}
	b.WriteString("\n) ENGINE = " + engine)
	if len(args) > 0 {
		b.WriteString("(" + strings.Join(args, ", ") + ")")
	}
	if t.partition != "" {
		b.WriteString(" PARTITION BY " + t.partition)
	}
	fmt.Fprintf(&b, " ORDER BY (%s)", t.order)
	return b.String()
}

// look asks a server what it is and has.
func (c *client) look(ctx context.Context, host string) (s server, err error) {
	s.host = host
	version := ""
	err = c.do(ctx, host, &statement{sql: `SELECT version() FORMAT RowBinary`, settings: noDatabase}, func(r *rowReader) error {
		version = r.text()
		return r.err
	})
	if err != nil {
		return s, err
	}
	major, _, _ := strings.Cut(version, ".")
	if s.major, err = strconv.Atoi(major); err != nil {
		return s, fmt.Errorf("ClickHouse at %s says that its version is %q", host, version)
	}
	there := uint64(0)
	err = c.do(ctx, host, &statement{sql: `SELECT toUInt64(count()) FROM system.tables WHERE database = ` + quote(c.a.Database) + ` AND name = 'meta' FORMAT RowBinary`, settings: noDatabase}, func(r *rowReader) error {
		there = r.u64()
		return r.err
	})
	if err != nil || there == 0 {
		return s, err
	}
	return s, c.do(ctx, host, &statement{sql: `SELECT key, value FROM meta FORMAT RowBinary`, table: "meta"}, func(r *rowReader) error {
		for r.more() {
			switch key, value := r.text(), r.text(); key {
			case metaSchema:
				n, _ := strconv.Atoi(value)
				s.schema = max(s.schema, n)
			case metaShard:
				s.shard = value
			}
		}
		return r.err
	})
}

// noDatabase leaves the database out, which may not be there yet.
var noDatabase = map[string]string{"database": "default"}

// A SchemaError says that a server has tables of another version.
type SchemaError struct {
	Server      string
	Have, Known int
}

func (e *SchemaError) Error() string {
	if e.Have > e.Known {
		return fmt.Sprintf("ClickHouse at %s has schema %d and this version knows %d: run the newer version again", e.Server, e.Have, e.Known)
	}
	return fmt.Sprintf("ClickHouse at %s has schema %d and this version needs %d: run telltale center migrate", e.Server, e.Have, e.Known)
}

// check compares what a server has with what is expected of it.
func (c *client) check(s *shard, at *server) error {
	if at.schema != 0 && at.schema != schemaVersion {
		return &SchemaError{at.host, at.schema, schemaVersion}
	}
	if want := c.shardText(s); at.shard != "" && at.shard != want {
		return fmt.Errorf("ClickHouse at %s is shard %s, and center.store has it as shard %s: rows would be looked for elsewhere; give the servers as they were (docs/fleet.md says how rows are moved to more shards)", at.host, at.shard, want)
	}
	return nil
}

func (c *client) shardText(s *shard) string {
	return fmt.Sprintf("%d of %d", s.number+1, len(c.shards))
}

// make makes what is missing on a server, and says which version it is of.
func (c *client) make(ctx context.Context, s *shard, at *server) error {
	err := c.do(ctx, at.host, &statement{sql: `CREATE DATABASE IF NOT EXISTS ` + c.a.Database, settings: noDatabase}, nil)
	if err != nil {
		return err
	}
	for i := range tables {
		t := &tables[i]
		if err := c.do(ctx, at.host, &statement{sql: t.create(&c.a, s.number, at), table: t.name}, nil); err != nil {
			return err
		}
	}
	return c.do(ctx, at.host, &statement{sql: fmt.Sprintf(`INSERT INTO meta (key, value) VALUES (%s, '%d'), (%s, %s)`,
		quote(metaSchema), schemaVersion, quote(metaShard), quote(c.shardText(s))), table: "meta"}, nil)
}

// migrate looks at all servers and makes what is missing. Those that do not answer are an
// error only where all of a shard do not, or where tables are to be made.
func (c *client) migrate(ctx context.Context, forward bool) (all []server, err error) {
	for _, s := range c.shards {
		var up []server
		var down []error
		for _, host := range s.hosts {
			at, err := c.look(ctx, host)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				down = append(down, err)
				continue
			}
			if err := c.check(s, &at); err != nil {
				var other *SchemaError
				if !forward || !errors.As(err, &other) || other.Have > other.Known {
					return nil, err
				}
			}
			up = append(up, at)
		}
		if len(up) == 0 {
			return nil, errors.Join(down...)
		}
		for i := range up {
			if up[i].schema == schemaVersion && !forward {
				continue
			}
			if len(down) > 0 {
				return nil, fmt.Errorf("tables are to be made on every server of shard %s: %w", c.shardText(s), errors.Join(down...))
			}
			if err := c.make(ctx, s, &up[i]); err != nil {
				return nil, err
			}
		}
		all = append(all, up...)
	}
	return all, nil
}

// readable fails where a shard has no server that answers, or one without the tables of this version.
func (c *client) readable(ctx context.Context) error {
	for _, s := range c.shards {
		up, down := 0, []error(nil)
		for _, host := range s.hosts {
			at, err := c.look(ctx, host)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				down = append(down, err)
				continue
			}
			if err := c.check(s, &at); err != nil {
				return err
			}
			if at.schema == 0 {
				return fmt.Errorf("ClickHouse at %s has no database %s of a merged log: no center has kept one there yet", host, c.a.Database)
			}
			up++
		}
		if up == 0 {
			return errors.Join(down...)
		}
	}
	return nil
}
