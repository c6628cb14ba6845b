package peerlogs

import (
	"cmp"
	"io"
	"time"
)

// How long a query waits for what comes of it, how many may wait, and how many octets of
// the log with them.
const (
	answerWait  = 30 * time.Second
	mostWaiting = 4096
	mostHeld    = 8 << 20
)

// A backlog has the queries of a log for which something may still come, in the order in
// which they came.
type backlog struct {
	waiting []*waitingLookup
	held    int // octets of the log with them
	ended   bool
	err     error // of reading, told when all before it is
}

// A waitingLookup is a query whose answer may still come.
type waitingLookup struct {
	Lookup
	done   bool
	forget func() // is called when nothing more is taken over
}

// wait has a query wait for what comes of it.
func (b *backlog) wait(q *waitingLookup, forget func()) {
	q.forget = forget
	b.waiting = append(b.waiting, q)
	b.held += len(q.raw)
}

// finish takes in that nothing more can be read.
func (b *backlog) finish(err error) {
	if b.ended = true; err != io.EOF {
		b.err = err
	}
}

// take returns the next lookup of a log, of which more takes over a record at a time.
func (b *backlog) take(c *chain, f *Format, now time.Time, more func() error) (*Lookup, error) {
	for {
		if q := b.first(); q != nil {
			return c.give(f.Name, &q.Lookup, now)
		}
		if b.ended {
			return nil, cmp.Or(b.err, io.EOF)
		}
		if err := more(); err != nil {
			return nil, err
		}
	}
}

// first takes the first query that waits, if it is done or has waited long enough.
func (b *backlog) first() *waitingLookup {
	if len(b.waiting) == 0 {
		return nil
	}
	q, last := b.waiting[0], b.waiting[len(b.waiting)-1]
	if !q.done && !b.ended && len(b.waiting) < mostWaiting && b.held < mostHeld && last.Time.Sub(q.Time) < answerWait {
		return nil
	}
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
	b.held -= len(q.raw)
	q.forget()
	return q
}
