package fleet_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"telltale/fleet"
	"telltale/querylog"
)

// What a receiver takes and refuses is counted once, by its reason.
func TestAReceiverCountsWhatItTakes(t *testing.T) {
	store := openSQLite(t, t.TempDir(), querylog.Retention{Listed: -1, Unlisted: -1, Totals: -1})
	node := "attic"
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: time.Millisecond, Logger: quiet, Node: func(*http.Request) (string, error) {
		if node == "" {
			return "", errors.New("none")
		}
		return node, nil
	}})
	s := httptest.NewServer(r)
	defer func() {
		s.Close()
		r.Close()
		store.Close()
	}()
	c := &centre{url: s.URL}
	batches := home(t, "attic").Batches(0, 1, true)
	post(t, c, packed(t, batches[len(batches)-1])) // those before it have not come
	rows, bytes := 0, 0
	for range 2 {
		for _, b := range batches {
			text := packed(t, b)
			post(t, c, text)
			bytes += len(text)
		}
	}
	for _, b := range batches {
		rows += b.Len()
	}
	post(t, c, []byte("nonsense"))
	node = "cellar"
	post(t, c, packed(t, batches[0]))
	node = ""
	post(t, c, packed(t, batches[0]))
	got := r.Stats()
	for why, want := range map[string]uint64{fleet.RefusedDamaged: 1, fleet.RefusedGap: 1, fleet.RefusedNode: 2} {
		if got.Refused[why] != want {
			t.Errorf("%s: got %d, want %d", why, got.Refused[why], want)
		}
	}
	inserts := uint64(0)
	for _, n := range got.Inserts {
		inserts += n
	}
	if got.Batches != uint64(2*len(batches)) || got.Rows != uint64(rows) || got.Bytes != uint64(bytes) || inserts != got.Batches+1 || got.InsertTime <= 0 || got.StoreErrors != 0 || got.Failing {
		t.Errorf("got %+v, want %d batches with %d rows in %d octets", got, 2*len(batches), rows, bytes)
	}
	if len(got.Last) != 1 || time.Since(got.Last["attic"]) > time.Minute {
		t.Errorf("got last batches %v, want one of the attic", got.Last)
	}
}

func TestAStoreThatFailsIsCounted(t *testing.T) {
	store := failing{openSQLite(t, t.TempDir(), querylog.Retention{})}
	r := fleet.NewReceiver(fleet.ReceiverOptions{Store: store, Join: time.Millisecond, Logger: quiet})
	s := httptest.NewServer(r)
	defer func() {
		s.Close()
		r.Close()
		store.Close()
	}()
	post(t, &centre{url: s.URL}, packed(t, home(t, "attic").Batches(0, 0, true)[0]))
	if got := r.Stats(); got.StoreErrors != 1 || !got.Failing || got.Refused[fleet.RefusedStore] != 1 || got.Batches != 0 {
		t.Errorf("got %+v, want one error of the store", got)
	}
}
