package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"telltale/querylog"
)

// ReceiverOptions say how a centre takes batches.
type ReceiverOptions struct {
	Store Store

	// Node returns which node a request is of, as its certificate says. Nil: what the batch says, which is for tests alone.
	Node func(*http.Request) (string, error)

	Join     time.Duration // how long batches are waited for that are stored together; 0 for 200 ms
	Rows     int           // at which no further one is waited for; 0 for 100,000
	Unpacked int           // octets that a batch may become unless it is the large one; 0 for 64 MiB
	Logger   *slog.Logger  // nil for slog.Default()
}

// A Receiver takes batches by HTTP: it checks them, joins those of many nodes, has them stored, and only then answers. Close it when the HTTP server has ended.
type Receiver struct {
	o       ReceiverOptions
	batches chan *arrived
	parsing chan struct{} // holds one of each batch that is read just now
	large   chan struct{} // holds one while a batch of unusual size is here
	memory  atomic.Int64  // octets that batches take which wait to be stored
	stop    context.CancelFunc
	stopped chan struct{}

	counts receiverCounts
}

// An arrived is a batch whose sender waits.
type arrived struct {
	batch  *Batch
	stored Stored
	err    error
	done   chan struct{}
}

// Bounds of what waits.
const (
	arrivedMost = 256 // batches that wait to be stored
	memoryMost  = 1 << 30
	parsingMost = 2               // batches that are read at once
	parsingWait = 2 * time.Second // how long one waits to be read
	retryAfter  = 5               // seconds that a node is told to wait
)

// NewReceiver begins to take batches.
func NewReceiver(o ReceiverOptions) *Receiver {
	o.Join, o.Rows = cmp.Or(o.Join, 200*time.Millisecond), cmp.Or(o.Rows, 100_000)
	o.Unpacked = cmp.Or(o.Unpacked, usualUnpacked)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Receiver{o: o, batches: make(chan *arrived, arrivedMost), parsing: make(chan struct{}, parsingMost), large: make(chan struct{}, 1), stop: stop, stopped: make(chan struct{})}
	go r.run(ctx)
	return r
}

// Close ends the receiver. What waits is not stored.
func (r *Receiver) Close() {
	r.stop()
	<-r.stopped
}

// run stores what has arrived, several batches at a time.
func (r *Receiver) run(ctx context.Context) {
	defer close(r.stopped)
	failing := false
	for {
		waiting := r.collect(ctx)
		if len(waiting) == 0 {
			return
		}
		batches := make([]*Batch, len(waiting))
		for i, a := range waiting {
			batches[i] = a.batch
		}
		begun := time.Now()
		stored, err := r.o.Store.Append(ctx, batches)
		if err == nil && len(stored) != len(batches) {
			err = errors.New("the store has not said what became of every batch")
		}
		r.counts.inserted(time.Since(begun), err)
		if (err != nil) != failing {
			if failing = err != nil; failing {
				r.o.Logger.Error("fleet: batches of nodes cannot be stored; nodes keep them and send them again", "error", err)
			} else {
				r.o.Logger.Info("fleet: batches of nodes can be stored again")
			}
		}
		for i, a := range waiting {
			if a.err = err; err == nil {
				a.stored = stored[i]
			}
			close(a.done)
		}
	}
}

// collect waits for batches, and returns those that are to be stored together; none where the receiver ends.
func (r *Receiver) collect(ctx context.Context) (waiting []*arrived) {
	rows := 0
	add := func(a *arrived) {
		waiting = append(waiting, a)
		rows += a.batch.Len()
	}
	select {
	case a := <-r.batches:
		add(a)
	case <-ctx.Done():
		return nil
	}
	join := time.NewTimer(r.o.Join)
	defer join.Stop()
	for rows < r.o.Rows {
		select {
		case a := <-r.batches:
			add(a)
		case <-join.C:
			return waiting
		case <-ctx.Done():
			return waiting
		}
	}
	return waiting
}

// ServeHTTP answers nodes.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch {
	case req.URL.Path == RowsPath && req.Method == http.MethodPost:
		r.rows(w, req)
	case req.URL.Path == CursorPath && req.Method == http.MethodGet:
		r.cursor(w, req)
	case req.URL.Path == ForgetPath && req.Method == http.MethodPost:
		r.forget(w, req)
	default:
		answer(w, http.StatusNotFound, Answer{Error: "nodes post batches to " + RowsPath})
	}
}

func answer(w http.ResponseWriter, status int, a Answer) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(a)
}

// refuse answers that a batch is not stored, and counts why.
func (r *Receiver) refuse(w http.ResponseWriter, status int, why string, a Answer) {
	r.counts.refused(why)
	answer(w, status, a)
}

func (r *Receiver) cursor(w http.ResponseWriter, req *http.Request) {
	store := req.URL.Query().Get("store")
	upto, err := r.o.Store.Cursor(req.Context(), store)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, Answer{Store: store, Error: err.Error()})
		return
	}
	answer(w, http.StatusOK, Answer{Store: store, Upto: upto})
}

func (r *Receiver) rows(w http.ResponseWriter, req *http.Request) {
	node := ""
	if r.o.Node != nil {
		var err error
		if node, err = r.o.Node(req); err != nil {
			r.refuse(w, http.StatusForbidden, RefusedNode, Answer{Error: err.Error()})
			return
		}
	}
	most, isLarge := int64(UsualPacked), false
	if req.ContentLength > UsualPacked {
		if isLarge = r.takeLarge(); !isLarge {
			r.refuse(w, http.StatusServiceUnavailable, RefusedBusy, Answer{Error: errBusy.Error()})
			return
		}
		defer r.leaveLarge()
		most = MaxPacked
	}
	packed, err := io.ReadAll(http.MaxBytesReader(w, req.Body, most))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
			if req.ContentLength < 0 {
				status = http.StatusLengthRequired
			}
		}
		r.refuse(w, status, RefusedCut, Answer{Error: "the batch did not come whole: " + err.Error()})
		return
	}
	b, err := r.parse(req.Context(), packed, isLarge)
	if errors.Is(err, ErrTooLarge) && !isLarge { // packed it is of usual size
		err = errBusy
		if r.takeLarge() {
			defer r.leaveLarge()
			b, err = r.parse(req.Context(), packed, true)
		}
	}
	if errors.Is(err, errBusy) {
		r.refuse(w, http.StatusServiceUnavailable, RefusedBusy, Answer{Error: err.Error()})
		return
	}
	if newer := (*querylog.NewerBatchError)(nil); errors.As(err, &newer) {
		r.refuse(w, http.StatusUnprocessableEntity, RefusedNewer, Answer{Error: err.Error()})
		return
	}
	if err != nil {
		r.refuse(w, http.StatusBadRequest, RefusedDamaged, Answer{Error: err.Error()})
		return
	}
	if node != "" && b.Node != node {
		r.refuse(w, http.StatusForbidden, RefusedNode, Answer{Store: b.Store, Error: "the certificate is of node " + node + " and the batch of node " + b.Node + ": set 'node' to the name that the centre knows, or have it invited again"})
		return
	}
	size := int64(b.Memory())
	defer r.memory.Add(-size)
	if all := r.memory.Add(size); all > memoryMost && all > size {
		r.refuse(w, http.StatusServiceUnavailable, RefusedBusy, Answer{Store: b.Store, Error: errBusy.Error()})
		return
	}
	a := &arrived{batch: b, done: make(chan struct{})}
	select {
	case r.batches <- a:
	default:
		r.refuse(w, http.StatusServiceUnavailable, RefusedBusy, Answer{Store: b.Store, Error: errBusy.Error()})
		return
	}
	select {
	case <-a.done:
	case <-req.Context().Done():
		return
	case <-r.stopped:
		answer(w, http.StatusServiceUnavailable, Answer{Store: b.Store, Error: "the centre stops"})
		return
	}
	r.answerStored(w, a, packed)
}

// mostForgetting is how large a Forgetting may be, in octets.
const mostForgetting = 4 << 20

// forget deletes what a node forgot of what it sent, and no other's.
func (r *Receiver) forget(w http.ResponseWriter, req *http.Request) {
	var f Forgetting
	var err error
	if r.o.Node == nil {
		err = errors.New("whose rows are to be forgotten is not known")
	} else {
		f.Node, err = r.o.Node(req)
	}
	if err != nil || f.Node == "" {
		answer(w, http.StatusForbidden, Answer{Error: fmt.Sprint(err)})
		return
	}
	err = json.NewDecoder(http.MaxBytesReader(w, req.Body, mostForgetting)).Decode(&f)
	switch {
	case err != nil:
	case len(f.Devices) == 0:
		err = errors.New("it names no device")
	case len(f.Devices) > devicesMost || len(f.Words) > wordsMost:
		err = fmt.Errorf("it names %d devices and %d words, more than %d and %d: send it in parts", len(f.Devices), len(f.Words), devicesMost, wordsMost)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, Answer{Error: "what is to be forgotten cannot be read: " + err.Error()})
		return
	}
	rows, err := r.o.Store.Forget(req.Context(), f)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, Answer{Error: err.Error()})
		return
	}
	r.o.Logger.Info("fleet: a node forgot a device, and what it had sent of it is deleted", "node", f.Node, "rows", rows)
	answer(w, http.StatusOK, Answer{})
}

var errBusy = errors.New("the centre has more batches than it can store just now")

// takeLarge reports whether a batch of unusual size may be here now: one at a time.
func (r *Receiver) takeLarge() bool {
	select {
	case r.large <- struct{}{}:
		return true
	default:
		return false
	}
}

func (r *Receiver) leaveLarge() { <-r.large }

// parse reads a batch once few enough others are read. One that is not large may become ReceiverOptions.Unpacked octets.
func (r *Receiver) parse(ctx context.Context, packed []byte, isLarge bool) (*Batch, error) {
	most := int64(r.o.Unpacked)
	if isLarge {
		most = maxUnpacked
	}
	wait := time.NewTimer(parsingWait)
	defer wait.Stop()
	select {
	case r.parsing <- struct{}{}:
		defer func() { <-r.parsing }()
		return unpack(ctx, packed, most)
	case <-wait.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// answerStored says what became of a batch.
func (r *Receiver) answerStored(w http.ResponseWriter, a *arrived, packed []byte) {
	said := Answer{Store: a.batch.Store, Upto: a.stored.Upto}
	if a.err != nil {
		said.Error = a.err.Error()
		r.refuse(w, http.StatusServiceUnavailable, RefusedStore, said)
		return
	}
	if a.stored.Err == nil {
		said.Hash = hashOf(packed)
		r.counts.stored(a.batch.Node, a.stored.Rows, len(packed), time.Now())
		answer(w, http.StatusOK, said)
		return
	}
	said.Error = a.stored.Err.Error()
	var gap *GapError
	var diverged *DivergedError
	said.Gap = errors.As(a.stored.Err, &gap)
	if errors.As(a.stored.Err, &diverged) {
		said.Diverged = diverged.Window
		r.o.Logger.Warn("fleet: two copies of one store send rows; the node begins another store", "node", a.batch.Node, "store", a.batch.Store, "window", diverged.Window)
	}
	if !said.Gap && diverged == nil {
		r.o.Logger.Warn("fleet: a batch is refused; its node keeps it", "node", a.batch.Node, "error", a.stored.Err)
		r.refuse(w, http.StatusUnprocessableEntity, RefusedUnstorable, said)
		return
	}
	why := RefusedGap
	if diverged != nil {
		why = RefusedDiverged
	}
	r.refuse(w, http.StatusConflict, why, said)
}
