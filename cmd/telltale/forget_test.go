package main

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"telltale/web"
)

// forgetWords forgets a device of which there are so many words.
func forgetWords(t *testing.T, a *app, words ...string) web.Forgotten {
	t.Helper()
	writeFile(t, forgettingPath(a.cfg.Load()), "{}")
	got, err := a.finishForgetting(context.Background(), &forgetting{Words: words})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What the next examination would say is over has no word of a device that is forgotten.
func TestForgettingReachesMarks(t *testing.T) {
	a := startTestServer(t, t.TempDir(), netip.MustParseAddrPort("127.0.0.1:1"), "").app
	a.marked = map[string]string{"clients-one-address 192.168.1.2": "x", "devices-unknown": "as 192.168.1.2 is", "clients-one-address 192.168.1.20": "x"}
	a.markedNetwork = map[string]string{foreignDNS + " 192.168.1.2 by DHCP": "x", foreignDNS + " 192.168.1.3 by DHCP": "192.168.1.3 (02:00:5e:10:00:02)"}
	forgetWords(t, a, "192.168.1.2", "02:00:5e:10:00:02")
	if got := slices.Collect(maps.Keys(a.marked)); len(got) != 1 || a.marked["clients-one-address 192.168.1.20"] == "" || len(a.markedNetwork) != 0 {
		t.Errorf("got %v and %v", a.marked, a.markedNetwork)
	}
}
