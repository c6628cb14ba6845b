package querylog

import (
	"context"
	"iter"
	"time"
)

// A Filter chooses rows. Zero fields choose all.
type Filter struct {
	Since, Until time.Time // rows with a lookup in between
	Device       string    // identity, shown name, MAC or address, in any case
	Vendor       string    // in any case
	Name         string    // a substring; with * or ? a pattern of the whole name
	Verdict      string
	Limit        int // the newest so many; 0 for all
}

// A Reader reads a log, whether a server is writing it or not.
type Reader struct{}

// A TopRow is one line of Top.
type TopRow struct {
	Key     string `json:"key"`     // the name, device or vendor
	Count   uint64 `json:"count"`   // lookups
	Blocked uint64 `json:"blocked"` // of them blocked
	Last    Time   `json:"last"`
}

// A Note is one line of the quality ledger.
type Note struct {
	Time    Time   `json:"time"`
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// OpenReader opens the log in a data directory.
func OpenReader(dir string) (*Reader, error) { return &Reader{}, nil }

// Close closes the reader.
func (r *Reader) Close() error { return nil }

// Rows returns rows.
func (r *Reader) Rows(ctx context.Context, f Filter) iter.Seq2[Row, error] {
	return func(func(Row, error) bool) {}
}

// Follow follows.
func (r *Reader) Follow(ctx context.Context, f Filter, fn func(Row) error) error { return nil }

// Top counts.
func (r *Reader) Top(ctx context.Context, what string, f Filter, n int) ([]TopRow, error) {
	return nil, nil
}

// Ledger returns notes.
func (r *Reader) Ledger(ctx context.Context, since, until time.Time) ([]Note, error) { return nil, nil }
