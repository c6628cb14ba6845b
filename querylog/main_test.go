package querylog

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("QUERYLOG_TEST_CHILD"); dir != "" {
		writeUntilKilled(dir)
		return
	}
	if dir := os.Getenv("QUERYLOG_COPY_CHILD"); dir != "" {
		copyUntilKilled(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

const testList = `#@ vendor=Xiaomi product=MIUI tier=telemetry source=https://example.org/claims
tracker.example #@ purpose=analytics region=intl
exact.example
@@allowed.tracker.example
`

// policy returns a policy of a list file named ads.
func policy(t testing.TB, list string) *blocklists.Policy {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ads.txt"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := blocklists.OpenReadOnly(blocklists.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.Current()
}

func wire(t testing.TB, name string) []byte {
	t.Helper()
	n, err := dnswire.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	return n.Wire()
}

// lookup returns the record of an A lookup at a time, judged by p.
func lookup(t testing.TB, p *blocklists.Policy, at time.Time, b *devices.Binding, name string) Record {
	t.Helper()
	n, err := dnswire.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	r := Record{Time: at, Elapsed: 1500 * time.Microsecond, Client: netip.MustParseAddr("192.168.1.7"), Binding: b, Name: n.Wire(),
		Type: dnswire.TypeA, Source: FromPolicy, Transport: UDP, TTL: 10}
	if b != nil {
		r.Client = b.Addr
	}
	if p != nil {
		r.Verdict = p.Decide(&n, dnswire.TypeA, 0)
	}
	if r.Verdict.Action == blocklists.Pass {
		r.Source, r.TTL = FromUpstream, 300
	}
	return r
}

// phone is a device with a MAC.
func phone(id uint64) *devices.Binding {
	return &devices.Binding{ID: id, Device: "mac:02:00:00:00:00:01", Name: "phone", Addr: netip.MustParseAddr("192.168.1.23"),
		MAC: "02:00:00:00:00:01", Source: devices.Neighbour, Confidence: devices.High, From: time.UnixMilli(1_700_000_000_123), Group: 3}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	l, err := openWith(o, func() bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func rows(t testing.TB, dir string, f Filter) (all []Row) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	for row, err := range r.Rows(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

func events(t testing.TB, dir string) (all []Event) {
	t.Helper()
	r, err := OpenReader(dir)
	if err != nil {
		t.Fatal(err)
	}
	all, err = r.Ledger(context.Background(), time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(e Event) bool { return e.Kind == KindSealing }) // they have tests of their own
}

// kinds returns the kinds of events in order.
func kinds(all []Event) string {
	var kinds []string
	for _, n := range all {
		kinds = append(kinds, n.Kind)
	}
	return strings.Join(kinds, " ")
}

// total returns the lookups in rows by name.
func total(all []Row) map[string]uint64 {
	n := map[string]uint64{}
	for _, r := range all {
		n[r.Name] += r.Count
	}
	return n
}

func brief(r Row) string {
	return fmt.Sprintf("%s %s %s %s %s:%d x%d", r.Device, r.Name, r.Type, r.Verdict, r.List, r.Line, r.Count)
}

// reset empties the buffer; the times to come are relative to start.
func (h *hitBuffer) reset(start int64) {
	h.buf, h.n, h.last = h.buf[:0], 0, start
}
