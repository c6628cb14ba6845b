package devices

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// table is a neighbour table the test writes.
type table struct {
	first   Change
	fail    error // what Follow returns at once
	changes chan Change

	mu     sync.Mutex
	silent map[netip.Addr]Entry // what only Ask finds
	asked  int
	probed []netip.Addr
	probe  func(netip.Addr) bool // what Probe does
}

func newTable(entries ...Entry) *table {
	return &table{
		first:   Change{Whole: true, Entries: entries, Links: &Links{}},
		changes: make(chan Change),
		silent:  make(map[netip.Addr]Entry),
	}
}

func (f *table) Follow(ctx context.Context, change func(Change)) error {
	f.mu.Lock()
	fail := f.fail
	f.mu.Unlock()
	if fail != nil {
		return fail
	}
	change(f.first)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-f.changes:
			change(c)
		}
	}
}

func (f *table) Ask(_ context.Context, a netip.Addr) (Entry, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	e, ok := f.silent[a]
	return e, ok
}

func (f *table) Probe(a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.probed = append(f.probed, a)
	return f.probe != nil && f.probe(a)
}

func (f *table) setFailure(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// show tells of entries and waits until Lookup knows. Only within synctest.
func (f *table) show(entries ...Entry) { f.change(Change{Entries: entries}) }

func (f *table) change(c Change) {
	f.changes <- c
	time.Sleep(2 * publishEvery)
	synctest.Wait()
}

// entry is a neighbour that has just answered on link 1.
func entry(addr, mac string) Entry {
	return Entry{Addr: netip.MustParseAddr(addr), MAC: mac, Interface: 1, Confirmed: true}
}

// on moves e to another link.
func (e Entry) on(link int) Entry {
	e.Interface = link
	return e
}

func gone(addr string) Entry {
	return Entry{Addr: netip.MustParseAddr(addr), Interface: 1, Gone: true}
}

// reported is everything that was given to Keep and Report.
type reported struct {
	mu       sync.Mutex
	bindings []Binding
	kinds    []string
}

func (k *reported) keep(b Binding) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bindings = append(k.bindings, b)
}

func (k *reported) report(kind, _, _ string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kinds = append(k.kinds, kind)
}

func (k *reported) reports(kind string) (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, got := range k.kinds {
		if got == kind {
			n++
		}
	}
	return n
}

// at returns the bindings reported of addr, without those of loopback and prefixes.
func (k *reported) at(addr string) []Binding {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(k.bindings), func(b Binding) bool {
		return b.Prefix.IsValid() || b.Addr != netip.MustParseAddr(addr)
	})
}

// all returns everything reported so far, as a later run would find it in the store.
func (k *reported) all() []Binding {
	k.mu.Lock()
	defer k.mu.Unlock()
	byID := make(map[uint64]Binding)
	for _, b := range k.bindings {
		byID[b.ID] = b
	}
	var out []Binding
	for _, b := range byID {
		out = append(out, b)
	}
	return out
}

// open opens a ledger over f and closes it with the test.
func open(t testing.TB, f Neighbours, o Options) (*Ledger, *reported) {
	t.Helper()
	k := new(reported)
	o.Neighbours = f
	if o.Keep == nil {
		o.Keep = k.keep
	}
	o.Report = k.report
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, k
}

// ledgerOf returns a ledger that knows n addresses, and these.
func ledgerOf(t testing.TB, n int) (*Ledger, []netip.Addr) {
	t.Helper()
	addresses := manyAddresses(n)
	entries := make([]Entry, n)
	for i, a := range addresses {
		entries[i] = Entry{Addr: a, MAC: macOf(i / 2), Interface: 1, Confirmed: true}
	}
	l, _ := open(t, newTable(entries...), Options{Keep: func(Binding) {}})
	return l, addresses
}

// macOf returns a universally administered MAC.
func macOf(i int) string {
	const hex = "0123456789abcdef"
	b := []byte("00:1b:21:00:00:00")
	for at := len(b) - 1; i > 0 && at > 8; at-- {
		if b[at] == ':' {
			continue
		}
		b[at], i = hex[i%16], i/16
	}
	return string(b)
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }
