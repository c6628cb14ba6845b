package devices

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// by returns who the client behind a forwarder is.
func (l *Ledger) by(mac, addr string) *Binding {
	octets, ok := octetsOf(mac)
	a, _ := netip.ParseAddr(addr)
	return l.Forwarded(octets, ok, a)
}

func TestClientsBehindAForwarder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.20", tvMAC))
		l, k := open(t, f, Options{Devices: []Device{{Name: "laptop", MACs: []string{"00:1b:21:00:00:09"}}}})
		for _, test := range []struct{ name, mac, addr, want string }{
			{"a MAC", phoneMAC, "", "mac:" + phoneMAC},
			{"a configured MAC", "00:1b:21:00:00:09", "", "laptop"},
			{"a MAC goes before an address", phoneMAC, "192.168.1.20", "mac:" + phoneMAC},
			{"an address that the neighbour table has", "", "192.168.1.20", "mac:" + tvMAC},
			{"another address", "", "192.168.9.9", "addr:192.168.9.9"},
			{"a group's MAC and an address", "01:00:5e:00:00:01", "192.168.1.20", "mac:" + tvMAC},
			{"nobody", "", "", ""},
			{"a MAC of zeros", "00:00:00:00:00:00", "", ""},
			{"loopback", "", "127.0.0.1", ""},
		} {
			b := l.by(test.mac, test.addr)
			if got := deviceOf(b); got != test.want {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
			if b == nil {
				continue
			}
			kept := false
			for _, one := range k.all() {
				kept = kept || one.ID == b.ID
			}
			if !kept {
				t.Errorf("%s: used before it was kept", test.name)
			}
		}
		time.Sleep(2 * publishEvery)
		synctest.Wait()
		first := l.by(phoneMAC, "")
		if n := testing.AllocsPerRun(100, func() { l.Forwarded([6]byte{0, 0x1b, 0x21, 0, 0, 2}, true, netip.Addr{}) }); n != 0 {
			t.Errorf("%v allocations for a MAC that is known", n)
		}
		if again := l.by(phoneMAC, ""); again != first {
			t.Error("one MAC has two bindings")
		}
		if err := l.Configure([]Device{{Name: "phone", MACs: []string{phoneMAC}}}, Settings{}); err != nil {
			t.Fatal(err)
		}
		if b := l.by(phoneMAC, ""); b.Device != "phone" || b.ID == first.ID {
			t.Errorf("after it was given a name: got %+v", b)
		}
		if first.Device != "mac:"+phoneMAC {
			t.Error("a binding that was handed out has changed")
		}
		l.Close()
		l, _ = open(t, newTable(), Options{Devices: []Device{{Name: "phone", MACs: []string{phoneMAC}}}, Known: k.all()})
		if b := l.by(phoneMAC, ""); b.Device != "phone" || b.ID > k.largest() {
			t.Errorf("after a restart: got %+v, which is not one of before", b)
		}
	})
}

func deviceOf(b *Binding) string {
	if b == nil {
		return ""
	}
	return b.Device
}

func (k *reported) largest() (id uint64) {
	for _, b := range k.all() {
		id = max(id, b.ID)
	}
	return id
}

func TestMACsBehindForwardersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, k := open(t, newTable(), Options{})
		for i := range maxForwarded + 100 {
			mac := [6]byte{0x02}
			binary.BigEndian.PutUint32(mac[2:], uint32(i))
			if b := l.Forwarded(mac, true, netip.Addr{}); (b == nil) != (i >= maxForwarded) {
				t.Fatalf("MAC %d: got %v", i, b)
			}
		}
		time.Sleep(2 * publishEvery)
		if n := k.reports("bindings-limited"); n != 1 {
			t.Errorf("reported %d times, want once", n)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		l.mu.Lock()
		n := len(l.forwarded.byMAC)
		l.mu.Unlock()
		if n > 0 {
			t.Errorf("%d are bound a day later", n)
		}
	})
}
