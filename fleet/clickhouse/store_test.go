package clickhouse

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"telltale/fleet"
	"telltale/fleet/clickhouse/servertest"
	"telltale/fleet/storetest"
	"telltale/querylog"
)

func open(t testing.TB, a Address, keep querylog.Retention) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Address: a, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addressOf returns the database of a directory on servers.
func addressOf(t testing.TB, dir string, hosts ...string) Address {
	t.Helper()
	h := fnv.New64a()
	h.Write([]byte(dir))
	a, err := ParseAddress(Scheme + strings.Join(hosts, ";") + fmt.Sprintf("/test_%x", h.Sum64()))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestStore(t *testing.T) {
	s := servertest.Start(t, servertest.Options{})
	storetest.Run(t, func(t testing.TB, dir string, keep querylog.Retention) fleet.Store {
		return open(t, addressOf(t, dir, s.Host), keep)
	})
}
