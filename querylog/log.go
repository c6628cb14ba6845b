package querylog

import (
	"telltale/devices"
	"time"
)

// A Log is the writing side of the query log.
type Log struct{}

// Stats are a Log's figures since it was opened.
type Stats struct {
	Appended   uint64    `json:"appended"`    // lookups taken
	Stored     uint64    `json:"stored"`      // lookups in committed rows
	GivenUp    uint64    `json:"given_up"`    // lookups that could not be kept
	OptedOut   uint64    `json:"opted_out"`   // lookups of devices that opted out; nothing else is kept of them
	Folded     uint64    `json:"folded"`      // lookups counted without their name, for want of memory
	OpenRows   int       `json:"open_rows"`   // rows not yet committed
	Rows       uint64    `json:"rows"`        // rows committed since the start
	Journal    int64     `json:"journal"`     // bytes in the journal
	Bytes      int64     `json:"bytes"`       // size of the store
	LastCommit time.Time `json:"last_commit"` // zero for never
	LastError  string    `json:"last_error"`  // "" while all is well
}

// Open opens the log.
func Open(o Options) (*Log, error) { return &Log{}, nil }

// Append takes lookups.
func (l *Log) Append(recs []Record) {}

// Note records an event.
func (l *Log) Note(kind, subject, detail string) {}

// KeepBinding keeps a binding.
func (l *Log) KeepBinding(b devices.Binding) {}

// Bindings returns the bindings kept.
func (l *Log) Bindings() (kept []devices.Binding, nextID uint64, err error) { return nil, 1, nil }

// Stats returns the figures.
func (l *Log) Stats() Stats { return Stats{} }

// Close ends the log.
func (l *Log) Close() error { return nil }
