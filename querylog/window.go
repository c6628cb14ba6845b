package querylog

import (
	"slices"
	"sync"
	"time"
)

// A windowState is where a window stands: see the table in the package's
// comment.
type windowState uint8

const (
	windowWaiting    windowState = iota // for the store, in the queue
	windowCommitting                    // the store has it in hand; it is still the first of the queue
)

// A window is a closed window on its way to the store. Who holds it is said by
// its state.
type window struct {
	number int64
	state  windowState
	data   *windowData // nil where it is in its journal alone
	whole  bool        // its journal has all of it
	found  bool        // an earlier process, or an earlier store of this one, left it in the journal

	fold    *fold // that data is of; nil for none
	lookups uint64
	missing uint64   // of them, those that its journal lacks where it is not whole
	span    wallSpan // in which they came; zero where not known
	pending pending  // what the lock's file says, and an event in it too
}

// memory returns about how many bytes of lookups the window keeps in memory.
func (w *window) memory() int {
	if w.data == nil || w.fold == nil {
		return 0
	}
	return w.fold.memory()
}

// A windowQueue holds the closed windows that the store has not taken, in the
// order in which it must take them. It is where the journal's goroutine, which
// puts windows in, and the store's, which takes them out, meet.
type windowQueue struct {
	more chan struct{} // there is something to do

	mu      sync.Mutex
	windows []*window
	latest  int64         // the largest number ever given to a window, or seen
	listed  bool          // the windows that an earlier process left are in it
	ready   bool          // the store is open and took what it was last given
	perRow  time.Duration // processor time that storing a row takes
}

const (
	perRowFirst = 5 * time.Microsecond // until it was measured
	backlogMax  = 16                   // windows in the journal alone from which on the open one is not closed any more
)

func newWindowQueue(perRow time.Duration) *windowQueue {
	return &windowQueue{more: make(chan struct{}, 1), perRow: perRow}
}

// number returns a number for a window: larger than any before, and about the
// time in seconds, so that a store begun anew does not use numbers again.
func (q *windowQueue) number(now time.Time) int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latest = min(max(q.latest+1, now.Unix()), maxWindow)
	return q.latest
}

// seen says that a number was given to a window by an earlier process.
func (q *windowQueue) seen(number int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.latest = max(q.latest, number)
}

// put adds a window behind the others. Where it has to wait, and its journal is
// whole, it is kept there alone.
func (q *windowQueue) put(w *window) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.whole && (len(q.windows) > 0 || !q.ready) {
		w.data, w.fold = nil, nil
	}
	q.windows = append(q.windows, w)
	wake(q.more)
}

// putFound adds windows of an earlier process before all others.
func (q *windowQueue) putFound(numbers []int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.listed = true
	q.insertFirstLocked(numbers)
}

// putAgain adds windows that a store had taken and lost, before all others.
func (q *windowQueue) putAgain(numbers []int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.insertFirstLocked(numbers)
}

// insertFirstLocked adds windows that are in their journals alone, before all
// others but the one that is being stored.
func (q *windowQueue) insertFirstLocked(numbers []int64) {
	var found []*window
	for _, n := range numbers {
		q.latest = max(q.latest, n)
		found = append(found, &window{number: n, whole: true, found: true})
	}
	at := 0
	if len(q.windows) > 0 && q.windows[0].state == windowCommitting {
		at = 1
	}
	q.windows = slices.Insert(q.windows, at, found...)
	wake(q.more)
}

// first returns the window that is to be stored next, nil for none.
func (q *windowQueue) first() *window {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.windows) == 0 {
		return nil
	}
	q.windows[0].state = windowCommitting
	return q.windows[0]
}

// done takes the first window out.
func (q *windowQueue) done() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.windows[0] = nil
	q.windows = q.windows[1:]
}

// failed says that the store did not take the first window, which goes on
// waiting: in its journal where that is whole.
func (q *windowQueue) failed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.windows[0]
	w.state = windowWaiting
	if w.whole {
		w.data, w.fold = nil, nil
	}
}

func (q *windowQueue) setReady(ready bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ready = ready
}

func (q *windowQueue) setPerRow(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.perRow = d
}

// A queueState is what closing a window depends on.
type queueState struct {
	waiting     int
	ready       bool
	perRow      time.Duration
	memory      int      // bytes
	unjournaled uint64   // lookups of waiting windows that are in memory alone
	span        wallSpan // in which they came
}

func (q *windowQueue) look() queueState {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := queueState{waiting: len(q.windows), ready: q.ready, perRow: q.perRow}
	for _, w := range q.windows {
		s.memory += w.memory()
		if !w.whole {
			s.unjournaled += w.missing
			s.span.add(w.span)
		}
	}
	return s
}

// found returns the windows that wait and may have been stored before, in order.
func (q *windowQueue) found() (numbers []int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.windows {
		if w.found {
			numbers = append(numbers, w.number)
		}
	}
	return numbers
}

func (q *windowQueue) isListed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.listed
}
