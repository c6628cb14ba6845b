// Package storetest is beside tests: made-up nodes, and what every engine of a centre's store must pass.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"telltale/blocklists"
	"telltale/devices"
	"telltale/dnswire"
	"telltale/fleet"
	"telltale/querylog"
)

const list = `#@ vendor=Aurora product="Aurora OS" purpose=analytics tier=telemetry source=https://aurora.example/privacy confidence=vendor-documents
metrics.aurora.example
#@ vendor=Brightline product="Brightline TV" purpose=viewing tier=mixed source=https://brightline.example/privacy breaks="recommendations"
viewing.brightline.example
@@allowed.aurora.example
aurora.example
`

// Policy returns the policy by which made-up nodes decide: names below metrics.aurora.example are blocked, viewing.brightline.example is of
// tier mixed.
func Policy(t testing.TB) *blocklists.Policy {
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

// A Node is a made-up one with a log of its own.
type Node struct {
	t      testing.TB
	Name   string
	Dir    string
	Now    time.Time // by its clock
	Keep   querylog.Retention
	policy *blocklists.Policy
}

// Began is when made-up nodes begin.
var Began = time.Now().Add(-48 * time.Hour).Truncate(time.Hour)

// NewNode makes a node.
func NewNode(t testing.TB, name string) *Node {
	return &Node{t: t, Name: name, Dir: t.TempDir(), Now: Began, policy: Policy(t)}
}

// Binding is that of one of a node's devices.
func Binding(n int) *devices.Binding {
	mac := fmt.Sprintf("02:00:00:00:00:%02x", n)
	return &devices.Binding{ID: uint64(n), Device: "mac:" + mac, Name: fmt.Sprintf("device %d", n), Addr: netip.AddrFrom4([4]byte{192, 168, 1, byte(n)}), MAC: mac,
		Source: devices.Neighbour, Confidence: devices.High, From: Began.Add(-time.Hour), Group: 2}
}

// A Lookup is one that a node stores.
type Lookup struct {
	Device int // 0: an address without binding
	Name   string
	Alias  string // "" for none
	Times  int    // 0 for 1
}

// Store has the node store lookups as a window, or some, of its log. Its clock goes on by a minute.
func (n *Node) Store(lookups ...Lookup) {
	n.t.Helper()
	at := n.Now
	l, err := querylog.Open(querylog.Options{Dir: n.Dir, Node: n.Name, Program: "a made-up node", Retention: n.Keep, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return at }})
	if err != nil {
		n.t.Fatal(err)
	}
	for i, u := range lookups {
		n.append(l, at.Add(time.Duration(i)*time.Millisecond), u)
	}
	if err := l.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.Now = n.Now.Add(time.Minute)
}

// Open has the node log lookups as they come, by the machine's clock, until end is called.
func (n *Node) Open() (add func(Lookup), end func()) {
	n.t.Helper()
	l, err := querylog.Open(querylog.Options{Dir: n.Dir, Node: n.Name, Program: "a made-up node", Retention: n.Keep, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		n.t.Fatal(err)
	}
	return func(u Lookup) { n.append(l, time.Now(), u) }, func() {
		if err := l.Close(); err != nil {
			n.t.Error(err)
		}
	}
}

// Forget has the node forget what a device asked until now.
func (n *Node) Forget(device string) {
	n.t.Helper()
	at := n.Now
	l, err := querylog.Open(querylog.Options{Dir: n.Dir, Node: n.Name, Program: "a made-up node", Retention: n.Keep, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return at }})
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := l.Forget(context.Background(), querylog.Forgetting{Devices: []querylog.DeviceSpan{{Device: device, Until: at}}}); err != nil {
		n.t.Error(err)
	}
	if err := l.Close(); err != nil {
		n.t.Fatal(err)
	}
}

func (n *Node) append(l *querylog.Log, at time.Time, u Lookup) {
	n.t.Helper()
	name, err := dnswire.ParseName(u.Name)
	if err != nil {
		n.t.Fatal(err)
	}
	r := querylog.Record{Time: at, Elapsed: 1500 * time.Microsecond, Client: netip.MustParseAddr("192.168.1.200"), Name: name.Wire(), Type: dnswire.TypeA,
		Source: querylog.FromPolicy, Transport: querylog.UDP, TTL: 10, Verdict: n.policy.Decide(&name, dnswire.TypeA, 0)}
	if u.Alias != "" {
		alias, err := dnswire.ParseName(u.Alias)
		if err != nil {
			n.t.Fatal(err)
		}
		r.Alias = alias.Wire()
	}
	if u.Device > 0 {
		r.Binding = Binding(u.Device)
		r.Client = r.Binding.Addr
	}
	if r.Verdict.Action == blocklists.Pass {
		r.Source, r.TTL, r.Upstream = querylog.FromUpstream, 300, "udp://192.0.2.53"
	}
	for range max(u.Times, 1) {
		l.Append([]querylog.Record{r})
	}
}

// Batches returns what the node's store has behind a window, in batches of about so many rows; 0 for one as large as may be.
func (n *Node) Batches(from int64, rows int, unlisted bool) (all []*fleet.Batch) {
	n.t.Helper()
	r, err := querylog.OpenReader(n.Dir)
	if err != nil {
		n.t.Fatal(err)
	}
	for {
		b, err := r.Batch(context.Background(), from, querylog.BatchOptions{Rows: rows, Unlisted: unlisted})
		if err != nil {
			n.t.Fatal(err)
		}
		if b == nil {
			return all
		}
		all = append(all, travelled(n.t, b))
		from = b.To
	}
}

// travelled is a batch as the centre has it.
func travelled(t testing.TB, b *fleet.Batch) *fleet.Batch {
	t.Helper()
	packed, err := fleet.Pack(b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := fleet.Unpack(t.Context(), packed)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// Rows returns the rows of a node's own log.
func (n *Node) Rows(f querylog.Filter) []querylog.Row {
	n.t.Helper()
	r, err := querylog.OpenReader(n.Dir)
	if err != nil {
		n.t.Fatal(err)
	}
	return readRows(n.t, r, f)
}

func readRows(t testing.TB, r fleet.Reader, f querylog.Filter) (all []querylog.Row) {
	t.Helper()
	for row, err := range r.Rows(context.Background(), f) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// Copy returns a node whose log is a copy of this one's, as a cloned machine has it.
func (n *Node) Copy(name string) *Node {
	n.t.Helper()
	c := *n
	c.Name, c.Dir = name, n.t.TempDir()
	if err := os.CopyFS(c.Dir, os.DirFS(n.Dir)); err != nil {
		n.t.Fatal(err)
	}
	if err := filepath.WalkDir(c.Dir, func(path string, d os.DirEntry, err error) error { // CopyFS makes them readable by others
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		n.t.Fatal(err)
	}
	return &c
}
