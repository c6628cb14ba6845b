// Package fleet joins the logs of many nodes in one place, the centre.
//
// A node ships what its own store has, from a cursor in that store, in batches (Shipper). The centre checks a batch,
// stores it and only then acknowledges it (Receiver). What stores it is behind one interface, Store, of which there are two:
// SQLite, the same schema as a node's own (OpenSQLite), and ClickHouse. Nothing of it is in the path of a query.
//
// A batch may come twice, or again after years: the key of a row is (store, id), and a store has it once. See
// querylog.Batch for what a batch has, and docs/fleet.md for how it looks from outside.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"telltale/devices"
	"telltale/querylog"
)

// A Batch is a part of a node's log on its way to a centre.
type Batch = querylog.Batch

// A Reader is what a merged log is read by. It is what *querylog.Reader offers to reports, the log, top lists, experiments and the
// console, so that they run over either.
//
// Row.Store and Row.ID of a SQLite centre are those of the centre's store; every other field is as the node recorded it.
type Reader interface {
	Rows(ctx context.Context, f querylog.Filter) iter.Seq2[querylog.Row, error]
	Page(ctx context.Context, f querylog.Filter, n int, oldest bool) (rows []querylog.Row, more bool, err error)
	Sums(ctx context.Context, f querylog.SumFilter) iter.Seq2[*querylog.Sum, error] // may be each row by itself, as querylog.Single
	Begun(ctx context.Context, f querylog.Filter, listed bool) iter.Seq2[*querylog.Row, error]
	Top(ctx context.Context, what string, f querylog.Filter, n int) ([]querylog.TopRow, error)
	Asked(ctx context.Context, since time.Time, names []string) ([]querylog.Asking, error)
	Totals(ctx context.Context, f querylog.TotalsFilter) iter.Seq2[querylog.Total, error]
	Presence(ctx context.Context, since, until time.Time) ([]querylog.Presence, error)
	Hours(ctx context.Context, since, until time.Time) ([]querylog.Hour, error)
	Ledger(ctx context.Context, since, until time.Time) ([]querylog.Event, error)
	Bindings(ctx context.Context) ([]devices.Binding, error)
	Coverage(ctx context.Context, since, until time.Time) (querylog.Coverage, error)
	OldestRows(ctx context.Context) (listed, unlisted time.Time, err error)
	AttemptsSince(ctx context.Context) (since time.Time, gap time.Duration, err error)
}

var _ Reader = (*querylog.Reader)(nil)

// A Key is what tells a row from all others of all stores.
type Key struct {
	Store string
	ID    int64
}

// A Store is where a centre keeps the merged log. Its methods may be called by any number of goroutines.
//
// The contract, which package fleet/storetest tests of every engine:
//
//   - Append stores batches; each of them whole, or not at all, as Stored says. When it returns, what it says is stored survives a kill -9 and, as far as
//     the engine promises it, a power cut.
//   - A window of a store is taken once, however often it comes and in whatever batches: what has the same key and is there is left as it
//     is. Windows of a store come in order: a batch whose From is behind the store's cursor, and behind Batch.Begin, is refused with a *GapError: the
//     windows in between would never come.
//   - A window that the store has already, but with other figures (first, last, rows, lookups), is refused with a *DivergedError: two
//     copies of one store go on by themselves, and the node has to begin another. Nothing of its batch is stored. So is a window that is missing though
//     earlier and later ones of the store are there.
//   - A store is the node's that began it. Windows that another node sends of it are refused with a *DivergedError, also those that are there:
//     what one node says is never taken for what another one has stored.
//   - Totals, and the ends of bindings, are kept by key: of two the larger numbers, of an end the later one.
//   - Names, devices and words are copied into the row, or stay as they are for ever: history is never relabelled.
//   - A dead part of the engine is an error of a read, never a smaller number.
type Store interface {
	// Append stores batches, of one store in their order. The error says that nothing of any of them is stored; what is wrong with
	// one alone is in its Stored.
	Append(ctx context.Context, batches []*Batch) ([]Stored, error)

	// Cursor returns the last window of a store that Append has taken; 0 where it knows nothing of the store.
	Cursor(ctx context.Context, store string) (int64, error)

	// Nodes returns which stores there are, whose they are, and how far each has come.
	Nodes(ctx context.Context) ([]NodeState, error)

	// Open returns a reader of the log as it is. done gives back what it holds.
	Open(ctx context.Context) (r Reader, done func(), err error)

	// Keys calls each with the keys by which nodes have shipped rows, in no order: to compare a centre with its nodes.
	Keys(ctx context.Context, each func(Key) error) error

	// Forget deletes what a Forgetting says, in the time of each span by a row's first lookup; also of what comes later about that time. It returns how
	// many rows it was.
	Forget(ctx context.Context, f Forgetting) (rows int64, err error)

	// Retain deletes what is older than the retention that the store was opened with. A centre calls it once an hour;
	// an engine that does so by itself does nothing.
	Retain(ctx context.Context, now time.Time) error

	Close() error
}

// A Forgetting says what a centre is not to keep any more. Its keys never change: a node sends it.
type Forgetting struct {
	Node    string                `json:"-"`       // what this node sent; "" for what all did
	Devices []querylog.DeviceSpan `json:"devices"` // none: all that the node sent until now
	Words   []string              `json:"words"`   // that lines of the ledger are not to have any more
	At      time.Time             `json:"at"`      // when the node forgot them, by its clock; zero for now
}

// How much of each a Forgetting that a node sends may have.
const (
	devicesMost = 200
	wordsMost   = 1_000
)

// parts returns the same as Forgettings that a center takes. Long words come first, for a short one may be a part of them.
func (f *Forgetting) parts() (all []Forgetting) {
	if len(f.Devices) <= devicesMost && len(f.Words) <= wordsMost {
		return []Forgetting{*f}
	}
	words := slices.SortedStableFunc(slices.Values(f.Words), func(a, b string) int { return len(b) - len(a) })
	devices := f.Devices
	for {
		d, w := min(len(devices), devicesMost), min(len(words), wordsMost)
		all = append(all, Forgetting{Node: f.Node, Devices: devices[:d], Words: words[:w], At: f.At})
		if words = words[w:]; len(devices) > d {
			devices = devices[d:]
		} else if len(words) == 0 {
			return all
		}
	}
}

// Refused returns what is not taken of a span any more: what the device asks behind At is a matter of its node.
func (f *Forgetting) Refused(d querylog.DeviceSpan, now time.Time) querylog.DeviceSpan {
	if d.Until.IsZero() {
		if d.Until = f.At; f.At.IsZero() {
			d.Until = now
		}
	}
	return d
}

// Stored says what became of a batch.
type Stored struct {
	Upto int64 // the last window that is stored of its store, after this batch
	Rows int   // that are new
	Err  error // why nothing of it is stored: a *GapError, a *DivergedError, or what else is wrong with it alone; nil: it is
}

// A NodeState is how far a store of a node has come.
type NodeState struct {
	Node    string    `json:"node"`
	Store   string    `json:"store"`
	Upto    int64     `json:"upto"`    // its last window that is stored
	Last    time.Time `json:"last"`    // of that window's lookups, by the node's clock
	Heard   time.Time `json:"heard"`   // when a batch of it came last, by the centre's clock
	Windows int64     `json:"windows"` // that came
	Rows    int64     `json:"rows"`
}

// ErrUnavailable means that a store cannot take anything at present: the node keeps what it has, and sends it later.
var ErrUnavailable = errors.New("the centre's store cannot be written at present")

// A GapError says that a batch does not go on where the store is.
type GapError struct {
	Store      string
	From, Have int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("a batch of store %s goes on behind window %d, and here is none behind %d", e.Store, e.From, e.Have)
}

// A DivergedError says that a window came that is here already with other figures, or of another node than the store is.
type DivergedError struct {
	Store  string
	Window int64
	Node   string // whose the store is, where the batch is another's
}

func (e *DivergedError) Error() string {
	if e.Node != "" {
		return fmt.Sprintf("store %s is that of node %s, and another node sends window %d of it: its log is a copy, or it had that name before", e.Store, e.Node, e.Window)
	}
	return fmt.Sprintf("window %d of store %s is here already and says something else: two copies of one store go on by themselves", e.Window, e.Store)
}
