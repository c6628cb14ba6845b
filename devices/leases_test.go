package devices

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"telltale/devices/leases"
)

const (
	tvMAC    = "00:1b:21:00:00:01"
	phoneMAC = "00:1b:21:00:00:02"
)

// leased tells l of a lease and waits until Lookup knows. Only within synctest.
func leased(l *Ledger, addr string, is *lease) {
	l.mu.Lock()
	l.applyLease(netip.MustParseAddr(addr), is, l.currentTick())
	l.mu.Unlock()
	l.wakePublisher()
	time.Sleep(2 * publishEvery)
	synctest.Wait()
}

// is writes who holds an address, by what and how surely.
func (l *Ledger) is(a string) string {
	b := l.Lookup(netip.MustParseAddr(a))
	if b == nil {
		return "nobody"
	}
	return strings.Join([]string{b.Device, b.Source.String(), b.Confidence.String(), b.Name}, " ")
}

func stale(e Entry) Entry {
	e.Confirmed = false
	return e
}

func TestLeasesAndTheNeighbourTable(t *testing.T) {
	const a = "192.168.1.20"
	for _, test := range []struct {
		name  string
		steps func(t *testing.T, l *Ledger, f *table)
		want  string
	}{
		{"a lease alone", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC, host: "bravia"})
		}, "mac:" + tvMAC + " lease medium bravia (00:00:01)"},
		{"a lease and the same neighbour", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC, host: "bravia"})
			f.show(stale(entry(a, tvMAC)))
		}, "mac:" + tvMAC + " neighbour high bravia (00:00:01)"},
		{"a reachable neighbour beats a lease", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC, host: "bravia"})
			f.show(entry(a, phoneMAC))
		}, "mac:" + phoneMAC + " neighbour low 00:1b:21:00:00:02"},
		{"a lease beats a stale neighbour", func(t *testing.T, l *Ledger, f *table) {
			f.show(stale(entry(a, phoneMAC)))
			leased(l, a, &lease{mac: tvMAC})
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"a stale neighbour comes after a lease", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC})
			f.show(stale(entry(a, phoneMAC)))
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"the address is given to another device", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: phoneMAC})
			f.show(entry(a, phoneMAC))
			leased(l, a, &lease{mac: tvMAC})
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"and that one answers", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: phoneMAC})
			f.show(entry(a, phoneMAC))
			leased(l, a, &lease{mac: tvMAC})
			f.show(entry(a, tvMAC))
		}, "mac:" + tvMAC + " neighbour high 00:1b:21:00:00:01"},
		{"a neighbour that was seen since the lease was given does not flap", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC})
			time.Sleep(2 * tickLength)
			f.show(entry(a, phoneMAC))
			time.Sleep(tickLength)
			f.show(stale(entry(a, phoneMAC)))
		}, "mac:" + phoneMAC + " neighbour low 00:1b:21:00:00:02"},
		{"until the lease is renewed", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC})
			time.Sleep(2 * tickLength)
			f.show(entry(a, phoneMAC))
			f.show(stale(entry(a, phoneMAC)))
			time.Sleep(2 * tickLength)
			leased(l, a, &lease{mac: tvMAC})
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"a lease that has ended", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC})
			l.Lookup(addr(a))
			leased(l, a, nil)
		}, "addr:192.168.1.20 bare-address low 192.168.1.20"},
		{"a lease that nobody asked by has ended", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC})
			leased(l, a, nil)
		}, "nobody"},
		{"a lease of a configured MAC", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: "00:1b:21:00:00:09", host: "tv"})
		}, "laptop configured-mac medium laptop"},
		{"a device that calls itself as a configured one", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: phoneMAC, host: "laptop"})
		}, "mac:" + phoneMAC + " lease medium laptop (00:00:02)"},
		{"a MAC of a DUID", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC, guessed: true})
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"a lease without a MAC", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{host: "bravia"})
			l.Ask(addr(a))
			time.Sleep(2 * publishEvery)
			synctest.Wait()
		}, "addr:192.168.1.20 bare-address low bravia (192.168.1.20)"},
		{"files that disagree", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: tvMAC, disputed: true})
		}, "mac:" + tvMAC + " lease low 00:1b:21:00:00:01"},
		{"a lease of a random MAC", func(t *testing.T, l *Ledger, f *table) {
			leased(l, a, &lease{mac: "02:00:5e:10:00:01"})
		}, "mac:02:00:5e:10:00:01 lease medium 02:00:5e:10:00:01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newTable()
				l, _ := open(t, f, Options{Devices: []Device{{Name: "laptop", MACs: []string{"00:1b:21:00:00:09"}}}})
				test.steps(t, l, f)
				if got := l.is(a); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		})
	}
}

func TestTheNameOfALeaseGoesWithTheMAC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, _ := open(t, f, Options{})
		f.show(entry("2001:db8::5", tvMAC))
		leased(l, "192.168.1.20", &lease{mac: tvMAC, host: "bravia"})
		if got, want := l.is("2001:db8::5"), "mac:"+tvMAC+" neighbour high bravia (00:00:01)"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestDisagreementIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newTable()
		l, k := open(t, f, Options{})
		leased(l, "192.168.1.20", &lease{mac: tvMAC, file: "/f"})
		for range 3 {
			f.show(entry("192.168.1.20", phoneMAC))
			f.show(stale(entry("192.168.1.20", phoneMAC)))
		}
		if n := k.reports("lease-disagrees"); n != 1 {
			t.Errorf("reported %d times, want once", n)
		}
		f.show(entry("192.168.1.20", tvMAC))
		f.show(entry("192.168.1.20", phoneMAC))
		if n := k.reports("lease-disagrees"); n != 2 {
			t.Errorf("reported %d times after it was over and came again, want twice", n)
		}
	})
}

// A binding by a lease goes on over a restart under its number, and no row is relabelled.
func TestBindingsOfLeasesAreResumed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dnsmasq.leases")
	write(t, path, "0 "+tvMAC+" 192.168.1.20 bravia *\n")
	files := []LeaseFile{{Path: path}}
	l, k := open(t, newTable(), Options{Leases: files})
	first := l.Lookup(addr("192.168.1.20"))
	l.Close()
	l, _ = open(t, newTable(), Options{Leases: files, Known: k.all()})
	again := l.Lookup(addr("192.168.1.20"))
	if first == nil || again == nil || first.ID != again.ID || again.Source != Lease {
		t.Errorf("got %+v, before %+v", again, first)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// soon waits until the ledger says want of an address.
func soon(t *testing.T, l *Ledger, a, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); l.is(a) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %s, want %s", l.is(a), want)
		}
	}
}

func TestLeaseFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "dnsmasq.leases")
	l, _ := open(t, newTable(), Options{Leases: []LeaseFile{{Path: path}}, LeasePoll: 50 * time.Millisecond})
	tv, phone := "mac:"+tvMAC+" lease medium bravia (00:00:01)", "mac:"+phoneMAC+" lease medium pixel (00:00:02)"
	write(t, path, "0 "+tvMAC+" 192.168.1.20 bravia *\n0 "+phoneMAC+" 192.168.1.21 pixel *\n")
	soon(t, l, "192.168.1.20", tv)
	soon(t, l, "192.168.1.21", phone)
	write(t, path, "0 "+phoneMAC+" 192.168.1.20 pixel *\n0 "+tvMAC+" 192.168.1.21 bravia *\n") // swapped
	soon(t, l, "192.168.1.20", phone)
	soon(t, l, "192.168.1.21", tv)
	other := filepath.Join(dir, "new") // rotated
	write(t, other, "0 "+tvMAC+" 192.168.1.20 bravia *\n")
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	soon(t, l, "192.168.1.20", tv)
	soon(t, l, "192.168.1.21", "nobody"[:0]+"addr:192.168.1.21 bare-address low 192.168.1.21")
	if s := l.LeaseStatus(); len(s) != 1 || s[0].Kind != "dnsmasq" || s[0].Leases != 1 || s[0].Problem != "" {
		t.Errorf("got %+v", s)
	}
	l.SetLeases(nil, nil)
	soon(t, l, "192.168.1.20", "addr:192.168.1.20 bare-address low 192.168.1.20")
}

// lookedAt returns what looks at a file at times of the test's choice, and a ledger.
func lookedAt(t *testing.T, path, kind string) (look func(time.Time) time.Duration, l *Ledger, k *reported) {
	l, k = open(t, newTable(), Options{})
	f := &leaseFiles{ledger: l, files: map[string]*leaseFile{}, applied: map[netip.Addr]leases.Lease{}, from: map[netip.Addr]string{}}
	return func(now time.Time) time.Duration {
		l.mu.Lock()
		clock := l.now
		l.now = func() time.Time { return now }
		l.mu.Unlock()
		again := f.look([]LeaseFile{{path, kind}})
		l.mu.Lock()
		l.now = clock
		l.mu.Unlock()
		l.publish()
		return again
	}, l, k
}

func TestAHalfWrittenFileEndsNoLease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	look, l, _ := lookedAt(t, path, "dnsmasq")
	now := time.Now()
	whole := "0 " + tvMAC + " 192.168.1.20 bravia *\n0 " + phoneMAC + " 192.168.1.21 pixel *\n"
	write(t, path, whole)
	look(now)
	for cut := range len(whole) {
		write(t, path, whole[:cut])
		if again := look(now.Add(100 * time.Millisecond)); again == 0 || again > removalWait {
			t.Fatalf("cut at %d: it is looked at again after %v", cut, again)
		}
		for _, a := range []string{"192.168.1.20", "192.168.1.21"} {
			if l.Lookup(addr(a)) == nil {
				t.Fatalf("cut at %d: the lease of %s has ended", cut, a)
			}
		}
		write(t, path, whole)
		look(now.Add(200 * time.Millisecond))
	}
	write(t, path, whole[:len(whole)/2])
	look(now.Add(300 * time.Millisecond))
	look(now.Add(300*time.Millisecond + removalWait))
	if got, want := l.is("192.168.1.21"), "addr:192.168.1.21 bare-address low 192.168.1.21"; got != want {
		t.Errorf("a second later: got %s, want %s", got, want)
	}
}

func TestLeasesEndByTheClock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	look, l, _ := lookedAt(t, path, "")
	now := time.Now()
	write(t, path, fmt.Sprintf("%d %s 192.168.1.20 bravia *\n", now.Add(time.Hour).Unix(), tvMAC))
	want := "mac:" + tvMAC + " lease medium bravia (00:00:01)"
	if look(now); l.is("192.168.1.20") != want {
		t.Errorf("got %s, want %s", l.is("192.168.1.20"), want)
	}
	look(now.Add(2 * time.Hour)) // or the clock was set
	if got := l.is("192.168.1.20"); got != "addr:192.168.1.20 bare-address low 192.168.1.20" {
		t.Errorf("two hours later: got %s", got)
	}
	look(now) // it was set back
	if l.is("192.168.1.20") != want {
		t.Errorf("got %s, want %s", l.is("192.168.1.20"), want)
	}
}

func TestWhatIsWrongWithAFileIsSaidOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases")
	look, l, k := lookedAt(t, path, "")
	now := time.Now()
	step := func(text string, after time.Duration) {
		if text != "" {
			write(t, path, text)
		}
		now = now.Add(after)
		look(now)
		look(now)
	}
	look(now) // it is not there
	step("0 "+tvMAC+" 192.168.1.20 bravia *\n", 2*time.Second)
	step("<html>\n", 2*time.Second)
	if l.Lookup(addr("192.168.1.20")) == nil {
		t.Error("a foreign file ended a lease at once")
	}
	step("", brokenWait)
	if got := l.is("192.168.1.20"); !strings.HasPrefix(got, "addr:") {
		t.Errorf("after %v: got %s", brokenWait, got)
	}
	step("0 "+tvMAC+" 192.168.1.20 br\x07avia *\n", 2*time.Second)
	if n := k.reports("lease-file"); n != 5 {
		t.Errorf("reported %d times, want 5: not there, well, foreign, believed no longer, a host name", n)
	}
	if got, want := l.is("192.168.1.20"), "mac:"+tvMAC+" lease medium bravia (00:00:01)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever neighbours and leases say in whatever order, a binding that was handed out
// never changes, and one address has one binding at a time.
func TestLeasesRelabelNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		f := newTable()
		l, k := open(t, f, Options{})
		macs := []string{tvMAC, phoneMAC, "02:00:5e:10:00:07"}
		handed := map[*Binding]Binding{}
		for range 400 {
			a := fmt.Sprintf("192.168.1.%d", 20+random.IntN(3))
			mac := macs[random.IntN(len(macs))]
			switch random.IntN(5) {
			case 0:
				f.show(entry(a, mac))
			case 1:
				f.show(stale(entry(a, mac)))
			case 2:
				leased(l, a, nil)
			case 3:
				time.Sleep(time.Duration(random.IntN(30)) * time.Second)
			default:
				leased(l, a, &lease{mac: mac, host: "h" + mac[len(mac)-1:]})
			}
			if b := l.Lookup(addr(a)); b != nil {
				handed[b] = *b
			}
			for b, was := range handed {
				if *b != was {
					t.Fatalf("a binding became %+v, was %+v", *b, was)
				}
			}
		}
		var open []uint64
		for _, b := range k.all() {
			if b.Until.IsZero() && !b.Prefix.IsValid() {
				open = append(open, b.ID)
			}
		}
		if slices.Sort(open); len(open) > 3 {
			t.Errorf("%d bindings of 3 addresses are in force", len(open))
		}
	})
}
