package resolver

import (
	"fmt"
	"net/netip"
	"testing"
)

// fill makes as many of a client's queries wait as may, each with a name of its
// own, and returns how many do.
func fill(t *testing.T, f *flights, client string, round int) (n int) {
	t.Helper()
	for ; ; n++ {
		w := &waiter{}
		w.path.Client = netip.AddrPortFrom(netip.MustParseAddr(client), 53)
		if err := w.Name.Set(fmt.Sprintf("n%d.%d.%x.example", n, round, client)); err != nil {
			t.Fatal(err)
		}
		_, first, ok := f.join(w)
		if !ok {
			return n
		}
		if !first {
			t.Fatalf("%s: another asks for the same", &w.Name)
		}
	}
}

// TestManyMadClientsLeaveRoomForOthers has eight clients ask for as much as they
// get, while answers come in.
func TestManyMadClientsLeaveRoomForOthers(t *testing.T) {
	const mad = 8
	f := newFlights(1000, 128)
	if got := fill(t, f, "192.168.1.0", 0); got != 250 {
		t.Errorf("the first has %d waiting, want a quarter", got)
	}
	for round := range 100 {
		for i := range mad {
			fill(t, f, fmt.Sprintf("192.168.1.%d", i), round)
		}
		finished := 100
		for _, fl := range f.current {
			if finished--; finished < 0 {
				break
			}
			f.finish(fl)
		}
	}
	for client, n := range f.clients {
		if n > 2*1000/(mad+1) {
			t.Errorf("%v has %d waiting, want about an equal part", client, n)
		}
	}
	if got := fill(t, f, "192.168.3.1", 0); got < 1000/(mad+1)/2 {
		t.Errorf("who comes last has %d waiting, want about an equal part", got)
	}
	for _, fl := range f.current {
		f.finish(fl)
	}
	if f.waiting != 0 || len(f.clients) != 0 {
		t.Errorf("%d of %d clients wait when all is over", f.waiting, len(f.clients))
	}
}

func TestAddressesOfOnePrefixWaitAsOneClient(t *testing.T) {
	f := newFlights(1000, 64)
	if got := fill(t, f, "2001:db8::1", 0); got != 250 {
		t.Errorf("%d wait, want a quarter", got)
	}
	if got := fill(t, f, "2001:db8::2", 0); got != 0 {
		t.Errorf("another address of it has %d waiting", got)
	}
	if got := fill(t, f, "2001:db8:0:1::1", 0); got != 250 {
		t.Errorf("another prefix has %d waiting", got)
	}
}
