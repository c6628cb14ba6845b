//go:build e2e

package main

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	homes "telltale/evidence/household"
	"telltale/web"
)

// serveHome starts a server over the log of a made-up home.
func serveHome(t *testing.T, x *homeTest, upstream netip.AddrPort) *testServer {
	t.Helper()
	srv := &testServer{t: t, flags: []string{"--config", filepath.Join(x.dir, "telltale.yaml"), "--listen-dns", "127.0.0.1:0", "--data-dir", filepath.Join(x.dir, "store"),
		"--lists-dir", filepath.Join(x.dir, "lists.d"), "--upstreams", upstream.String()}, env: []string{"TELLTALE_IDENTITY_ANNOUNCEMENTS=false"}}
	srv.start()
	t.Cleanup(func() { srv.stop() })
	return srv
}

// What commands print of a made-up home is what routes answer.
func TestE2ECommandsPrintOfAHouseholdWhatRoutesAnswer(t *testing.T) {
	t.Parallel()
	x := newHomeTest(t, homes.New(homes.Options{Days: 9, Seed: 11}))
	srv := serveHome(t, x, everything(t))
	from, until := x.h.Begin.UTC().Format(time.RFC3339), x.h.End().UTC().Format(time.RFC3339)
	during, flags := "from="+from+"&until="+until, " --since "+from+" --until "+until
	srv.check([]sameAnswer{
		{"top names" + flags, "/top?of=names&limit=0&" + during, "", nil},
		{"top devices" + flags, "/top?of=devices&" + during, "", nil},
		{"top vendors" + flags, "/top?of=vendors&" + during, "", nil},
		{"report" + flags, "/report?" + during, "", []string{"made"}},
		{"report phone --rhythm" + flags, "/report?device=phone&rhythm=true&" + during, "", []string{"made"}},
		{"report --vendor Domus" + flags, "/report?vendor=Domus&" + during, "", []string{"made"}},
		{"rhythm" + flags, "/rhythm?" + during, "", nil},
		{"candidates" + flags, "/candidates?" + during, "", nil},
		{"ledger" + flags, "/ledger?order=oldest&limit=10000&" + during, "events", nil},
		{"destinations", "/destinations", "", nil},
		{"devices history phone", "/devices/history?device=phone", "", []string{"last"}},
	})
	status, answer := srv.route(anybody, "/vendors?asked=true&"+during)
	var vendors []web.VendorLine
	if err := json.Unmarshal([]byte(answer), &vendors); err != nil || len(vendors) == 0 || vendors[0].Asked == nil {
		t.Errorf("vendors: got %d %.300s, %v", status, answer, err)
	}
}

// Who walks the log of a home by cursors gets every row once, though new ones come meanwhile.
func TestE2EALogOfAHouseholdIsWalked(t *testing.T) {
	t.Parallel()
	x := newHomeTest(t, homes.New(homes.Options{Days: 9, Seed: 11}))
	srv := serveHome(t, x, everything(t))
	stop, asked := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { asked <- n }()
		for {
			select {
			case <-stop:
				return
			default:
				srv.asks(n, 1)
				n++
			}
		}
	}()
	before := srv.walk("order=oldest", 1000)
	rows := srv.walk("order=oldest", 57)
	close(stop)
	if n := <-asked; n == 0 {
		t.Error("nobody asked meanwhile")
	}
	if len(rows) < len(before) || !slices.Equal(rows[:len(before)], before) {
		t.Errorf("got %d rows by small pages, and %d by large ones before", len(rows), len(before))
	}
	for i := range rows {
		if i > 0 && rows[i] <= rows[i-1] {
			t.Fatalf("row %d comes behind row %d", rows[i], rows[i-1])
		}
	}
	if out := x.run("log", "--json", "--limit", "0", "--ignored"); len(before) == 0 || strings.Count(out, "\n") < len(before) {
		t.Errorf("got %d rows, and the log has %d", len(before), strings.Count(out, "\n"))
	}
}
