package clickhouse

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/clickhouse/servertest"
	"telltale/querylog"
)

// Three replicas with ZooKeeper: rows are there once, whoever is killed. CLICKHOUSE_REPLICAS=1 runs it; a minute.
func TestRowsAreThereOnceWhenReplicasAreKilled(t *testing.T) {
	if os.Getenv("CLICKHOUSE_REPLICAS") == "" {
		t.Skip("CLICKHOUSE_REPLICAS is not set: four servers and a minute")
	}
	keeper := servertest.StartKeeper(t)
	var hosts []string
	var all []*servertest.Server
	for range 3 {
		s := servertest.Start(t, servertest.Options{Keeper: keeper})
		all, hosts = append(all, s), append(hosts, s.Host)
	}
	a, err := ParseAddress(Scheme + strings.Join(hosts, ",") + "/replicas?replicated=/telltale&quorum=2")
	if err != nil {
		t.Fatal(err)
	}
	batches, want := shipped(t, 12, 4, 30)
	s := open(t, a, querylog.Retention{})
	defer s.Close()
	sent, again := 0, 0
	for n := range 4 {
		if n > 1 {
			all[n-2].Restart()
		}
		if n > 0 {
			all[n-1].Kill()
		}
		for _, of := range batches {
			if n >= len(of) {
				continue
			}
			for end := time.Now().Add(2 * time.Minute); ; {
				got, err := s.Append(context.Background(), of[n:n+1])
				if err == nil && got[0].Err == nil {
					if sent++; sent%7 == 0 { // the acknowledgement gets lost
						again++
						continue
					}
					break
				}
				if !errors.Is(err, fleet.ErrUnavailable) || time.Now().After(end) {
					t.Fatalf("batch %d: %+v, %v", n, got, err)
				}
				again++
				time.Sleep(200 * time.Millisecond) // as a node waits
			}
		}
	}
	t.Logf("sent again %d times", again)
	all[2].Restart()
	for i := range all { // each of them has everything
		one := a
		one.Shards = [][]string{{hosts[i], hosts[(i+1)%3], hosts[(i+2)%3]}}
		r := open(t, one, querylog.Retention{})
		for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
			var n uint64
			err := r.client.do(context.Background(), hosts[i], &statement{sql: `SELECT toUInt64(count()) FROM lookup FINAL FORMAT RowBinary`}, func(in *rowReader) error {
				n = in.u64()
				return in.err
			})
			if err == nil && n == uint64(len(want)) {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("replica %d has %d rows, want %d: %v", i, n, len(want), err)
			}
		}
		wantRows(t, r, want)
		r.Close()
	}
}
