package clickhouse

import (
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/querylog"
)

// What was deleted is in the ledger also where a replica is away, and where whoever asked has gone meanwhile. Batches are taken while
// replicas are waited for.
func TestTheLedgerSaysWhatWasDeletedAlsoWhereAReplicaIsAway(t *testing.T) {
	for name, leaves := range map[string]bool{"a replica is away": false, "who asked has gone": true} {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			var s *Store
			var mu sync.Mutex
			told, locked := "", false
			replica := func(away bool) string {
				var begun atomic.Int32
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					text, _ := io.ReadAll(r.Body)
					sql := string(text)
					number := func(n uint64) { w.Write(binary.LittleEndian.AppendUint64(nil, n)) }
					switch {
					case strings.HasPrefix(r.FormValue("query"), "INSERT INTO ledger"):
						mu.Lock()
						told = sql
						mu.Unlock()
					case strings.HasPrefix(sql, "SELECT toInt64(count()) FROM lookup"):
						number(12)
					case strings.HasPrefix(sql, "ALTER TABLE"):
						begun.Add(1)
					case strings.HasPrefix(sql, "SELECT mutation_id, toUInt8(is_done)"):
						for n := range begun.Load() { // done as soon as it is begun
							w.Write([]byte{1, '0' + byte(n), 1})
						}
					case strings.HasPrefix(sql, "SELECT max(mutation_id)"):
						w.Write([]byte("\x011"))
					case strings.HasPrefix(sql, "SELECT toInt64(countIf"):
						if s.writing[0].TryLock() {
							s.writing[0].Unlock()
						} else {
							mu.Lock()
							locked = true
							mu.Unlock()
						}
						if leaves {
							leave()
						}
						if away {
							http.Error(w, "it is away", http.StatusBadGateway)
							return
						}
						number(1)
						number(0)
					}
				}))
				t.Cleanup(server.Close)
				return strings.TrimPrefix(server.URL, "http://")
			}
			a, err := ParseAddress(Scheme + replica(false) + "," + replica(true) + "/telltale?replicated=/telltale")
			if err != nil {
				t.Fatal(err)
			}
			a.Plain = true
			s = &Store{o: Options{Address: a, Now: time.Now}, client: newClient(a), known: map[string]*node{}, old: []bool{true}, writing: make([]sync.Mutex, 1)}
			defer s.Close()
			rows, err := s.Forget(ctx, fleet.Forgetting{Devices: []querylog.DeviceSpan{{Device: "mac:02:00:5e:10:00:01"}}})
			if rows != 12 || err == nil {
				t.Errorf("got %d rows and error %v, want 12 and one that says what is not done", rows, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if want := "12 rows, and bindings and hourly totals of it, were to be deleted"; !strings.Contains(told, want) {
				t.Errorf("the ledger has %q, want in it %q", told, want)
			}
			if locked {
				t.Error("no batch is taken while replicas are waited for")
			}
		})
	}
}
