package resolver

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/resolver/dnstest"
)

// A query whose client is not known waits until it is, and is decided then: as
// the device's, also where it must wait for an upstream after that.
func TestAQueryWaitsForWhoAsks(t *testing.T) {
	lists := openLists(t, blocklists.Options{Groups: []blocklists.GroupSettings{{Name: "tablet", ClientNames: []string{"tablet"}}}},
		map[string]string{"ads.txt": "||game.example^$client='tablet'\n"})
	var matters atomic.Bool
	matters.Store(true)
	known := make(chan *devices.Binding, 1)
	s, recorded := startServer(t, Options{
		Policy: withPolicy(lists), ByDevice: func() bool { return matters.Load() },
		Identify: func(netip.Addr) *devices.Binding { return <-known },
	}, dnstest.Start(t, dnstest.AnswerA("192.0.2.1")))

	for i, test := range []struct {
		name    string
		binding *devices.Binding
		network string
		ask     string
		want    string
	}{
		{"a device with a rule of its own", &devices.Binding{Device: "tablet", Group: 1}, "udp", "game.example.", "A 0.0.0.0"},
		{"the same over TCP", &devices.Binding{Device: "tablet", Group: 1}, "tcp", "game.example.", "A 0.0.0.0"},
		{"what must be asked upstream", &devices.Binding{Device: "tablet", Group: 1}, "udp", "www.example.", "A 192.0.2.1"},
		{"one nobody can name", nil, "udp", "game.example.", "A 192.0.2.1"},
	} {
		time.AfterFunc(10*time.Millisecond, func() { known <- test.binding })
		if got := data(ask(t, s, test.network, test.ask, dns.TypeA)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		device := ""
		if row := recorded.last(t, i+1); row.Binding != nil {
			device = row.Binding.Device
		}
		if want := test.binding; want != nil && device != want.Device || want == nil && device != "" {
			t.Errorf("%s: logged under %q", test.name, device)
		}
	}
	matters.Store(false)
	if got := data(ask(t, s, "udp", "game.example.", dns.TypeA)); got != "A 192.0.2.1" {
		t.Errorf("where it does not matter nobody is asked: got %q", got)
	}
}
