package querylog

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"telltale/devices"
)

// A row says what its client called itself, in the journal and in the store: lookups
// from one address under two ids are two rows. A binding of a client id has no address;
// whoever had none yet is asked for by address and id.
func TestRowsKeepClientIDs(t *testing.T) {
	p := policy(t, testList)
	phone := &devices.Binding{ID: 7, Device: "phone", Name: "phone", Source: devices.ConfiguredClientID, Confidence: devices.High, From: time.Unix(1, 0)}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := open(t, Options{Dir: dir, Bind: func(addr netip.Addr, id string) *devices.Binding {
			if id == "tablet" {
				return &devices.Binding{ID: 9, Device: "id:tablet", Name: "tablet", Source: devices.ClientID, Confidence: devices.Low, From: time.Unix(1, 0)}
			}
			return nil
		}})
		for _, c := range []struct {
			id      string
			binding *devices.Binding
		}{{"", nil}, {"k3vq", phone}, {"k3vq", phone}, {"tablet", nil}, {"other", nil}} {
			r := lookup(t, p, time.Now(), c.binding, "a.tracker.example")
			r.Client, r.ClientID, r.Transport = netip.MustParseAddr("192.168.1.23"), c.id, HTTPS
			l.Append([]Record{r})
		}
		check := func(when string) {
			t.Helper()
			var got []string
			for _, r := range rows(t, dir, Filter{}) {
				got = append(got, fmt.Sprintf("%s %s from %s by %s x%d", r.Device, r.ClientID, r.Client, r.BindingSource, r.Count))
			}
			slices.Sort(got)
			want := []string{
				"addr:192.168.1.23  from 192.168.1.23 by  x1",
				"addr:192.168.1.23 other from 192.168.1.23 by  x1",
				"id:tablet tablet from 192.168.1.23 by client-id x1",
				"phone k3vq from 192.168.1.23 by configured-client-id x2",
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got\n%q\nwant\n%q", when, got, want)
			}
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		check("in the journal")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		check("in the store")
		closeLog(t, l)
		check("after the end")
		l = open(t, Options{Dir: dir})
		known, _, err := l.Bindings()
		if err != nil || !slices.ContainsFunc(known, func(b devices.Binding) bool {
			return b.Device == "phone" && !b.Addr.IsValid() && b.Source == devices.ConfiguredClientID
		}) {
			t.Errorf("the next run knows %+v, %v", known, err)
		}
		closeLog(t, l)
	})
}
