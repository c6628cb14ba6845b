package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"telltale/clock"
	"telltale/querylog"
)

// A Log is what a Shipper needs of a node's log: *querylog.Log.
type Log interface {
	Cursor(ctx context.Context) (querylog.Cursor, error)
	SetCursor(ctx context.Context, c querylog.Cursor) error
	BecomeOther(ctx context.Context, window int64) error
}

// ShipperOptions say what a node ships, and where.
type ShipperOptions struct {
	Log     Log
	Reader  *querylog.Reader
	Node    string   // by which the centre knows the node; "": as its log says
	Centres []string // URLs without a path: the first is shipped to; where it does not answer, the next
	Client  *http.Client

	Unlisted  bool          // also rows of names that no list has
	Every     time.Duration // how often; 0 for 10 s
	Bandwidth *Bandwidth    // that sending takes at most; nil for no bound
	Packed    int           // octets at which a batch is made smaller, down to one window; 0 for 4 MiB
	Logger    *slog.Logger  // nil for slog.Default()

	// Forgotten returns what this node has forgotten and the center has not yet, or nil, and what is called when it has: nothing else is sent
	// before. Nil: nothing ever.
	Forgotten func() (f *Forgetting, done func() error, err error)

	FirstWait time.Duration // after the first error; then twice as long each time. 0 for a second
}

// Times of a Shipper.
const (
	shipEvery    = 10 * time.Second
	firstWait    = time.Second     // after an error; then twice as long each time
	longestWait  = 5 * time.Minute // and at most
	longestAfter = time.Hour       // that a centre may tell a node to wait
	sendTimeout  = time.Minute     // beside what the rate makes of it
)

// A ShipperState is how far a node has shipped its log.
type ShipperState struct {
	Centre   string    `json:"centre"`
	Shipped  int64     `json:"shipped"`            // the last window that the centre has
	Waiting  int64     `json:"waiting"`            // windows that it has not
	Oldest   time.Time `json:"oldest,omitzero"`    // of their lookups, the first
	LastSent time.Time `json:"last_sent,omitzero"` // when the centre acknowledged one last
	Batches  uint64    `json:"batches"`            // since the start
	Rows     uint64    `json:"rows"`
	Bytes    uint64    `json:"bytes"` // packed
	Error    string    `json:"error,omitempty"`
	Retry    time.Time `json:"retry,omitzero"` // when it is tried again
}

// A Shipper ships a node's log. It is one goroutine's, has one batch on its way at most, and nothing waits for it.
type Shipper struct {
	o      ShipperOptions
	cursor querylog.Cursor
	centre int // place of the one that is shipped to
	wait   time.Duration

	mu    sync.Mutex
	state ShipperState
}

// NewShipper returns one that Run starts.
func NewShipper(o ShipperOptions) *Shipper {
	o.Every, o.FirstWait = cmp.Or(o.Every, shipEvery), cmp.Or(o.FirstWait, firstWait)
	o.Packed = cmp.Or(o.Packed, UsualPacked)
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Shipper{o: o}
}

// State returns how far the node has come.
func (s *Shipper) State(ctx context.Context) ShipperState {
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	state.Waiting, state.Oldest, _ = s.o.Reader.Unshipped(ctx, state.Shipped)
	return state
}

// Run ships until ctx ends.
func (s *Shipper) Run(ctx context.Context) {
	for !s.begin(ctx) {
		if !s.pause(ctx) {
			return
		}
	}
	for {
		more, err := s.step(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case err != nil:
			s.failed(err)
			if !s.pause(ctx) {
				return
			}
		case !more:
			s.wait = 0
			if !clock.Sleep(ctx, s.o.Every) {
				return
			}
		default:
			s.wait = 0
		}
	}
}

// begin reads the cursor.
func (s *Shipper) begin(ctx context.Context) bool {
	c, err := s.o.Log.Cursor(ctx)
	if err != nil {
		s.failed(fmt.Errorf("reading how far the log is shipped: %w", err))
		return false
	}
	s.cursor = c
	s.note(func(state *ShipperState) { state.Shipped, state.Centre = c.Shipped, s.o.Centres[s.centre] })
	return true
}

func (s *Shipper) note(change func(*ShipperState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

// failed says what is wrong, once.
func (s *Shipper) failed(err error) {
	var told *refusal
	after := time.Duration(0)
	if errors.As(err, &told) {
		after = told.after
	}
	s.wait = min(max(2*s.wait, s.o.FirstWait), longestWait)
	wait := max(s.wait/2+rand.N(s.wait), min(after, longestAfter))
	s.note(func(state *ShipperState) {
		if state.Error != err.Error() {
			s.o.Logger.Warn("fleet: the log is not shipped for now; it is kept, and tried again", "center", s.o.Centres[s.centre], "error", err)
		}
		state.Error, state.Retry = err.Error(), time.Now().Add(wait)
	})
	if told == nil || told.status >= 500 {
		s.centre = (s.centre + 1) % len(s.o.Centres)
	}
}

// pause waits until it is to be tried again.
func (s *Shipper) pause(ctx context.Context) bool {
	s.mu.Lock()
	at := s.state.Retry
	s.mu.Unlock()
	return clock.Sleep(ctx, time.Until(at))
}

// step ships the next batch, and reports whether there may be more.
func (s *Shipper) step(ctx context.Context) (more bool, err error) {
	if err := s.forget(ctx); err != nil {
		return false, err
	}
	b, packed, err := s.next(ctx)
	if err != nil {
		return false, fmt.Errorf("reading what is to be shipped: %w", err)
	}
	if b == nil {
		s.succeeded(nil, 0)
		return false, nil
	}
	if s.cursor.Sending != b.To {
		if err := s.set(ctx, querylog.Cursor{Shipped: s.cursor.Shipped, Sending: b.To}); err != nil {
			return false, err
		}
	}
	said, err := s.send(ctx, b, packed)
	if err != nil {
		return false, err
	}
	switch {
	case said.Diverged != 0:
		return true, s.diverged(ctx, b, said)
	case said.Gap:
		if said.Upto == s.cursor.Shipped || said.Upto >= b.From && said.Upto > 0 {
			return false, fmt.Errorf("the center says that a batch behind window %d does not go on behind window %d", b.From, said.Upto)
		}
		s.o.Logger.Info("fleet: the center has less than it had; what is kept is shipped again", "center", s.o.Centres[s.centre], "from window", said.Upto)
		return true, s.set(ctx, querylog.Cursor{Shipped: said.Upto})
	case said.Hash != hashOf(packed) || said.Upto < b.To || said.Store != b.Store:
		return false, fmt.Errorf("%s answers that it has store %q up to window %d, and was sent store %q up to %d: it is no center, or has not stored it", s.o.Centres[s.centre], said.Store, said.Upto, b.Store, b.To)
	}
	if err := s.set(ctx, querylog.Cursor{Shipped: b.To}); err != nil {
		return false, err
	}
	s.succeeded(b, len(packed))
	return true, nil
}

// succeeded notes that all is well, and what was acknowledged.
func (s *Shipper) succeeded(b *Batch, size int) {
	s.note(func(state *ShipperState) {
		if b != nil {
			if state.Error != "" {
				s.o.Logger.Info("fleet: the log is shipped again", "center", s.o.Centres[s.centre])
			}
			state.LastSent, state.Error, state.Retry = time.Now(), "", time.Time{}
			state.Batches++
			state.Rows += uint64(b.Len())
			state.Bytes += uint64(size)
		}
		state.Centre, state.Shipped = s.o.Centres[s.centre], s.cursor.Shipped
	})
}

func (s *Shipper) set(ctx context.Context, c querylog.Cursor) error {
	if err := s.o.Log.SetCursor(ctx, c); err != nil {
		return fmt.Errorf("keeping how far the log is shipped: %w", err)
	}
	s.cursor = c
	return nil
}

// next returns the batch that may have been on its way, or the next one.
func (s *Shipper) next(ctx context.Context) (b *Batch, packed []byte, err error) {
	to := s.cursor.Sending
	for rows := 0; ; {
		b, err = s.o.Reader.Batch(ctx, s.cursor.Shipped, querylog.BatchOptions{To: to, Rows: rows, Unlisted: s.o.Unlisted})
		if err != nil || b == nil {
			return nil, nil, err
		}
		b.Node = cmp.Or(s.o.Node, b.Node)
		if packed, err = Pack(b); err != nil || len(packed) <= s.o.Packed {
			return b, packed, err
		}
		if rows = b.Len() / 2; rows < 1 || len(b.Windows) == 1 { // a window is never parted
			if len(packed) > MaxPacked {
				return nil, nil, fmt.Errorf("window %d alone: %w", b.To, ErrTooLarge)
			}
			return b, packed, nil
		}
		to = 0
	}
}

// diverged makes the log another store where a copy of it goes on elsewhere.
func (s *Shipper) diverged(ctx context.Context, b *Batch, said *Answer) error {
	if !slices.ContainsFunc(b.Windows, func(w querylog.BatchWindow) bool { return w.Number == said.Diverged }) {
		return fmt.Errorf("the center says that window %d diverged, which is not in the batch", said.Diverged)
	}
	if err := s.o.Log.BecomeOther(ctx, said.Diverged); err != nil {
		return err
	}
	return s.set(ctx, querylog.Cursor{Shipped: said.Diverged - 1})
}

// A refusal is an answer that is not one to a batch.
type refusal struct {
	status int
	after  time.Duration
	text   string
}

func (r *refusal) Error() string { return r.text }

// forget has the center forget what this node has forgotten.
func (s *Shipper) forget(ctx context.Context) error {
	for s.o.Forgotten != nil {
		f, done, err := s.o.Forgotten()
		if err != nil || f == nil {
			return err
		}
		for _, part := range f.parts() {
			text, err := json.Marshal(part)
			if err != nil {
				return err
			}
			said, err := s.post(ctx, ForgetPath, "application/json", "to forget a device", text)
			if err != nil {
				return err
			}
			if said.Error != "" {
				return fmt.Errorf("the center does not forget a device: %s", said.Error)
			}
		}
		if err := done(); err != nil {
			return err
		}
	}
	return nil
}

// send posts a batch, and returns what the centre says of it.
func (s *Shipper) send(ctx context.Context, b *Batch, packed []byte) (*Answer, error) {
	return s.post(ctx, RowsPath, "application/gzip", "a batch of store "+b.Store, packed)
}

// post posts something to the center, and returns what it says.
func (s *Shipper) post(ctx context.Context, path, kind, what string, packed []byte) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout+2*s.o.Bandwidth.takes(len(packed)))
	defer cancel()
	r := request{method: http.MethodPost, url: s.o.Centres[s.centre], path: path, kind: kind, body: packed, bandwidth: s.o.Bandwidth}
	resp, text, err := r.send(ctx, s.o.Client)
	if err != nil {
		return nil, err
	}
	said := &Answer{}
	err = json.Unmarshal(text, said)
	switch {
	case resp.StatusCode == http.StatusOK && err == nil, resp.StatusCode == http.StatusConflict && err == nil:
		return said, nil
	case resp.StatusCode == http.StatusOK:
		return nil, fmt.Errorf("%s answers something that no center says: %w", s.o.Centres[s.centre], err)
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return nil, &refusal{resp.StatusCode, time.Duration(max(seconds, 0)) * time.Second, fmt.Sprintf("the center refuses %s: %s: %s", what, resp.Status, cmp.Or(said.Error, "it does not say why"))}
}
