package clickhouse

import (
	"context"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"telltale/fleet/clickhouse/servertest"
	"telltale/querylog"
)

var update = flag.Bool("update", false, "write the golden files")

// What is stored never changes without a new version of the schema.
func TestTables(t *testing.T) {
	for file, c := range map[string]struct {
		address string
		server  server
	}{
		"testdata/current.sql":    {"clickhouse://db.example/telltale", server{host: "db.example:8123", major: 25}},
		"testdata/replicated.sql": {"clickhouse://a.example,b.example/telltale?replicated=/clickhouse/telltale", server{host: "a.example:8123", major: 25}},
		"testdata/18.sql":         {"clickhouse://db.example/telltale", server{host: "db.example:8123", major: 18}},
	} {
		a, err := ParseAddress(c.address)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for i := range tables {
			b.WriteString(tables[i].create(&a, 0, &c.server) + ";\n\n")
		}
		if *update {
			if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != string(want) {
			t.Errorf("%s differs: a new version of the schema brings other tables\ngot:\n%s", file, got)
		}
	}
}

func TestAStoreOfAnotherVersionIsLeftAlone(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{})
	ctx := context.Background()
	a := addressOf(t, t.Name(), srv.Host)
	open(t, a, querylog.Retention{}).Close()
	c := newClient(a)
	defer c.close()
	run := func(sql string) {
		t.Helper()
		if err := c.everywhere(ctx, &statement{sql: sql}); err != nil {
			t.Fatal(err)
		}
	}
	two := a
	two.Shards = [][]string{{srv.Host}, {"127.0.0.1:1"}}
	if _, err := Open(ctx, Options{Address: two}); err == nil || !strings.Contains(err.Error(), "shard 1 of 1") {
		t.Errorf("the only shard is taken for one of two: %v", err)
	}
	run(`INSERT INTO meta (key, value) VALUES ('schema', '99')`)
	var other *SchemaError
	if _, err := Open(ctx, Options{Address: a}); !errors.As(err, &other) || other.Have != 99 || !strings.Contains(err.Error(), srv.Host) {
		t.Errorf("a store of schema 99 is opened: %v", err)
	}
	if err := Migrate(ctx, a); !errors.As(err, &other) {
		t.Errorf("a store of schema 99 is brought back to %d: %v", schemaVersion, err)
	}
}

func TestErrorsSayWhichServerAndWhatToDo(t *testing.T) {
	srv := servertest.Start(t, servertest.Options{})
	ctx := context.Background()
	a := addressOf(t, t.Name(), srv.Host)
	s := open(t, a, querylog.Retention{})
	defer s.Close()
	want := func(what string, err error, texts ...string) {
		t.Helper()
		for _, text := range append(texts, srv.Host) {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: the error %v does not say %q", what, err, text)
			}
		}
	}
	wrong := a
	wrong.User, wrong.Password = "reader", "not this one"
	_, err := Open(ctx, Options{Address: wrong})
	want("a wrong password", err, "user or password")
	r, done, err := s.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if err := s.client.everywhere(ctx, &statement{sql: `DROP TABLE ledger`}); err != nil {
		t.Fatal(err)
	}
	_, err = r.Ledger(ctx, benchBegin, benchBegin)
	want("a table that is gone", err, "table ledger", "telltale center migrate")
	if err := Migrate(ctx, a); err != nil {
		t.Fatal(err)
	}
	if _, err = r.Ledger(ctx, benchBegin, benchBegin); err != nil {
		t.Errorf("after it was made again: %v", err)
	}
	srv.Kill()
	_, err = r.Top(ctx, "names", querylog.Filter{}, 1)
	want("a server that is gone", err, "does not answer")
	if _, err = s.Nodes(ctx); err == nil {
		t.Error("a server that is gone has no nodes")
	}
}
