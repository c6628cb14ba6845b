package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/fleet/clickhouse/servertest"
	"telltale/fleet/storetest"
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

// What is forgotten is in no file of any replica when that is said, the ledger says so, and a replica that was away forgets when it is
// back. CLICKHOUSE_REPLICAS=1 runs it; half a minute.
func TestADeviceIsForgottenOnAllReplicas(t *testing.T) {
	if os.Getenv("CLICKHOUSE_REPLICAS") == "" {
		t.Skip("CLICKHOUSE_REPLICAS is not set: four servers and half a minute")
	}
	keeper := servertest.StartKeeper(t)
	var hosts []string
	var all []*servertest.Server
	for range 3 {
		s := servertest.Start(t, servertest.Options{Keeper: keeper})
		all, hosts = append(all, s), append(hosts, s.Host)
	}
	a, err := ParseAddress(Scheme + strings.Join(hosts, ",") + "/forget?replicated=/telltale&quorum=2")
	if err != nil {
		t.Fatal(err)
	}
	batches, _ := shipped(t, 6, 4, 30)
	s := open(t, a, querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	defer s.Close()
	for _, of := range batches {
		if got, err := s.Append(t.Context(), of); err != nil || got[0].Err != nil {
			t.Fatal(got, err)
		}
	}
	count := func(host, sql string) (n int64) {
		t.Helper()
		err := s.client.do(t.Context(), host, &statement{sql: sql + ` FORMAT RowBinary`}, func(r *rowReader) error {
			n = r.i64()
			return r.err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	kept := func(host, device string) (all int64) { // also what FINAL would leave out
		t.Helper()
		for _, table := range []string{"lookup", "total", "binding"} {
			all += count(host, `SELECT toInt64(count()) FROM forget.`+table+` WHERE device = `+quote(device))
		}
		return all
	}
	undone := func(host string) int64 {
		t.Helper()
		return count(host, `SELECT toInt64(count()) FROM system.mutations WHERE database = 'forget' AND is_done = 0`)
	}
	one, other := storetest.Binding(1).Device, storetest.Binding(2).Device
	if kept(hosts[0], one) == 0 || kept(hosts[0], other) == 0 {
		t.Fatal("nothing is there of a device")
	}
	rows, err := s.Forget(t.Context(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: one}}})
	if err != nil || rows == 0 {
		t.Fatal(rows, err)
	}
	for i, host := range hosts {
		if k, u := kept(host, one), undone(host); k != 0 || u != 0 {
			t.Errorf("replica %d has %d rows of the device, and %d mutations that are not done", i, k, u)
		}
	}
	r, done, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	says := func() (said string) {
		t.Helper()
		lines, err := r.Ledger(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range lines {
			if e.Kind == querylog.KindForgotten && e.Node == "center" {
				said += e.Detail
			}
		}
		return said
	}
	if said, want := says(), fmt.Sprintf("a device was forgotten: %d rows, and bindings and hourly totals of it, were deleted", rows); said != want {
		t.Errorf("the ledger says %q, want %q", said, want)
	}

	all[2].Kill()
	rows, err = s.Forget(t.Context(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: other}}})
	if said, want := says(), fmt.Sprintf("a device was forgotten: %d rows, and bindings and hourly totals of it, were to be deleted, and an error said that some may be there yet", rows); rows == 0 || !strings.HasSuffix(said, want) {
		t.Errorf("one replica is away: the ledger says %q, want at its end %q", said, want)
	}
	if err == nil || !strings.Contains(err.Error(), hosts[2]+" deletes it when it is back") {
		t.Errorf("one replica is away: got error %v", err)
	}
	for i, host := range hosts[:2] {
		if k := kept(host, other); k != 0 {
			t.Errorf("replica %d has %d rows of the device", i, k)
		}
	}
	all[2].Restart()
	if _, err := s.Forget(t.Context(), fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: other}}}); err != nil {
		t.Error(err)
	}
	if k, u := kept(hosts[2], other), undone(hosts[2]); k != 0 || u != 0 {
		t.Errorf("a replica that is back has %d rows of the device, and %d mutations that are not done", k, u)
	}
}
