package devices

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// router is a reverse zone that the test writes.
type router struct {
	mu    sync.Mutex
	names map[string]string
	life  time.Duration
	fail  error
	asked map[string]int
	most  int // in one tick
	tick  int
	wait  bool
}

func (r *router) lookup(ctx context.Context, a netip.Addr, _ bool) (string, time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked == nil {
		r.asked = map[string]int{}
	}
	r.asked[a.String()]++
	r.tick++
	r.most = max(r.most, r.tick)
	if r.wait {
		r.mu.Unlock()
		<-ctx.Done()
		r.mu.Lock()
		return "", 0, ctx.Err()
	}
	return r.names[a.String()], r.life, r.fail
}

func (r *router) of(a string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[a]
}

// pass lets ticks go by, and wait for what they bring.
func (r *router) pass(ticks int) {
	synctest.Wait()
	for range ticks {
		r.mu.Lock()
		r.tick = 0
		r.mu.Unlock()
		time.Sleep(tickLength)
		synctest.Wait()
	}
	time.Sleep(2 * publishEvery)
	synctest.Wait()
}

func TestTheRouterNamesWhatNothingElseNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const macNAS, macPhone = "00:1b:21:00:00:07", "00:1b:21:00:00:08"
		f := newTable(entry("192.168.1.20", macTV), entry("192.168.1.5", macLaptop), entry("192.168.1.7", macNAS), entry("192.168.1.8", macPhone), entry("2001:db8::7", macNAS),
			entry("192.168.1.30", "00:1b:21:00:00:30"))
		l, _ := open(t, f, Options{Devices: []Device{{Name: "tv", MACs: []string{macTV}}}})
		l.says("192.168.1.8", host("phone", "192.168.1.8"))
		l.leased("192.168.1.5", macLaptop, "laptop")
		l.Ask(addr("192.168.5.9"))
		r := &router{life: time.Minute, names: map[string]string{
			"192.168.1.20": "bravia.lan", "192.168.1.5": "other.lan", "192.168.1.7": "na\x1bs.lan", "192.168.1.8": "other.lan", "192.168.5.9": "cellar.lan", "192.168.1.30": "pc-192-168-1-30.lan",
		}}
		l.SetReverse(r.lookup)
		r.pass(1)
		for a, want := range map[string]string{
			"192.168.1.20": "tv", "192.168.1.5": "laptop (" + macLaptop[9:] + ")", "192.168.1.7": "nas (00:00:07)", "2001:db8::7": "nas (00:00:07)",
			"192.168.1.8": "phone (00:00:08)", "192.168.5.9": "cellar (192.168.5.9)", "192.168.1.30": "00:1b:21:00:00:30",
		} {
			wantName(t, l, "the router was asked", a, want)
		}
		for _, a := range []string{"192.168.1.20", "192.168.1.5", "192.168.1.8", "2001:db8::7"} {
			if r.of(a) > 0 {
				t.Errorf("%s was asked about", a)
			}
		}
		r.pass(58)
		if n := r.of("192.168.1.7"); n != 1 {
			t.Errorf("asked %d times within ten minutes for a TTL of one", n)
		}
		r.pass(5)
		if n := r.of("192.168.1.7"); n != 2 {
			t.Errorf("asked %d times in ten minutes, want again", n)
		}
		if n := r.of("192.168.1.31"); n != 0 {
			t.Errorf("an address that nobody has was asked about")
		}
		l.Lookup(addr("192.168.5.9"))
		r.mu.Lock()
		r.names["192.168.5.9"] = ""
		r.mu.Unlock()
		r.pass(62)
		wantName(t, l, "the router does not know it any more", "192.168.5.9", "192.168.5.9")
		before := r.of("192.168.5.9")
		r.pass(300)
		if n := r.of("192.168.5.9"); n != before {
			t.Errorf("asked again within an hour, where there is no name")
		}
		l.SetReverse(nil)
		before = r.of("192.168.1.7")
		r.pass(600)
		if n := r.of("192.168.1.7"); n != before {
			t.Errorf("asked after it was switched off")
		}
	})
}

func TestReverseLookupsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var entries []Entry
		for i := range 250 {
			entries = append(entries, entry(fmt.Sprintf("192.168.1.%d", i+1), macOf(i)))
		}
		l, _ := open(t, newTable(entries...), Options{})
		r := &router{life: time.Minute}
		l.SetReverse(r.lookup)
		r.pass(20)
		if r.most > reverseBatch || len(r.asked) != 250 {
			t.Errorf("%d were asked in a tick, %d in all", r.most, len(r.asked))
		}
		r.mu.Lock()
		r.fail = errors.New("nobody can be asked")
		clear(r.asked)
		r.mu.Unlock()
		r.pass(370)
		r.mu.Lock()
		if r.most = 0; len(r.asked) > 31 {
			t.Errorf("%d addresses were asked about within thirty ticks of failures", len(r.asked))
		}
		r.wait = true
		r.mu.Unlock()
		r.pass(100)
		r.mu.Lock()
		if r.most > 2 {
			t.Errorf("%d were asked in a tick by a router that is silent", r.most)
		}
		r.mu.Unlock()
	})
}

// The answer of a router belongs to who had the address when it was asked.
func TestTheNameOfAnAddressIsNotGivenToTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable(entry("192.168.1.20", macTV))
		l, _ := open(t, f, Options{})
		var fresh []bool
		l.SetReverse(func(_ context.Context, _ netip.Addr, f2 bool) (string, time.Duration, error) {
			fresh = append(fresh, f2)
			switch len(fresh) {
			case 1:
				f.changes <- Change{Entries: []Entry{entry("192.168.1.20", macLaptop)}}
				time.Sleep(2 * publishEvery)
				return "tv.lan", time.Minute, nil
			case 2:
				return "", 0, errors.New("nobody answers")
			}
			return "laptop.lan", time.Minute, nil
		})
		(&router{}).pass(0)
		wantName(t, l, "the name of the one before", "192.168.1.20", macLaptop)
		(&router{}).pass(3)
		wantName(t, l, "its own", "192.168.1.20", "laptop ("+macLaptop[9:]+")")
		(&router{}).pass(70)
		if want := []bool{false, true, true, false}; !slices.Equal(fresh, want) {
			t.Errorf("lookups were fresh: %v, want %v", fresh, want)
		}
	})
}
