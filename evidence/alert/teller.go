package alert

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"telltale/querylog"
)

// Options say where alerts are kept and what they are made of.
type Options struct {
	Path     string // of the file that keeps them
	Node     string
	Zone     *time.Location // of texts
	Began    time.Time      // when the server did: what is watched from the first look on is watched from then on; zero for that look
	Settings func() Settings
	Open     func(ctx context.Context) (*Source, error)
	Logger   *slog.Logger

	every, retry time.Duration // instead of the constants, for tests
}

// Settings are those in force.
type Settings struct {
	Tell, AtOnce []string                  // conditions
	Next         func(time.Time) time.Time // the first digest after a time
	Coverage     int                       // percent of a day
	Places       []Place
}

// A Place is whom alerts are told. Its Send returns nil once it has taken all of a message;
// it ends with ctx.
type Place struct {
	Name   string // log, webhook, ntfy, mqtt, smtp; kept in the file
	To     string // for people; without what is secret
	AtOnce bool   // it gets everything at once
	Send   func(ctx context.Context, m *Message) error
}

const (
	lookEvery   = 10 * time.Second
	writeEvery  = time.Hour // where nothing happened
	sendTimeout = 30 * time.Second
	firstRetry  = time.Minute // after a failure, twice as long after each further one
	maxRetry    = time.Hour
	lateAfter   = time.Hour // a place that has failed for so long is a problem
	mostInOne   = 100       // alerts in a message
)

// A Teller finds alerts and tells them.
type Teller struct {
	o Options

	mu         sync.Mutex
	state      *state    // nil: it cannot be read, and was not yet
	looked     bool      // since the start
	ledgerAt   time.Time // when the ledger was looked at
	written    time.Time // when the state was
	status     map[string]*Status
	unreadable string // what was said of the log or of the file; "" while they are well
}

// A Status says how a place does.
type Status struct {
	Name, To string
	Waiting  int       // alerts that it is still to be told, at once or in the digest
	Time     time.Time // when it took some last since the start
	Problem  string    // why it did not take what was sent last; "" where it did
	Since    time.Time // since when
	Late     bool      // for so long that somebody should look at it

	retry time.Duration
	next  time.Time // when it is tried again
}

// New makes a Teller. It does nothing before Run.
func New(o Options) *Teller {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	if o.every == 0 {
		o.every = lookEvery
	}
	if o.retry == 0 {
		o.retry = firstRetry
	}
	return &Teller{o: o, status: map[string]*Status{}}
}

// Run finds and tells until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	ticker := time.NewTicker(t.o.every)
	defer ticker.Stop()
	for {
		t.round(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// round looks once, and tells all places what is due.
func (t *Teller) round(ctx context.Context, now time.Time) {
	s := t.o.Settings()
	if err := t.find(ctx, &s, now); err != nil {
		t.fails(ctx, err)
		return
	}
	t.fails(ctx, nil)
	var sent sync.WaitGroup
	for i := range s.Places {
		if p := &s.Places[i]; t.due(p, &s, now) != nil {
			sent.Go(func() { t.tell(ctx, p, &s, now) })
		}
	}
	sent.Wait()
}

// fails says once what keeps alerts from being found.
func (t *Teller) fails(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	said := ""
	if err != nil {
		said = err.Error()
	}
	t.mu.Lock()
	before := t.unreadable
	t.unreadable = said
	t.mu.Unlock()
	switch {
	case said != "" && said != before:
		t.o.Logger.Error("alerts are not found until this is put right", "error", err)
	case said == "" && before != "":
		t.o.Logger.Info("alerts are found again")
	}
}

// find notes what happened since the last look.
func (t *Teller) find(ctx context.Context, s *Settings, now time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		st, err := readState(t.o.Path)
		if err != nil {
			return err
		}
		t.state = st
	}
	if len(s.Tell) == 0 && len(t.state.Watched) == 0 && !t.state.only(placeNames(s.Places)) {
		t.looked = true // what is watched later is watched from then on
		return nil
	}
	src, err := t.o.Open(ctx)
	if err != nil {
		return err
	}
	defer src.Close()
	changed := t.state.only(placeNames(s.Places))
	all, watched, low, over, beats := len(t.state.Seen), len(t.state.Watched), t.state.Low, len(t.state.Stopped), t.state.HeartbeatsTo
	alerts, err := t.look(ctx, src, s, now)
	if err != nil {
		t.state = nil // as it is in the file
		return err
	}
	t.looked = true
	t.state.add(alerts, placeNames(s.Places))
	changed = changed || len(alerts) > 0 || all != len(t.state.Seen) || watched != len(t.state.Watched) || low != t.state.Low || over != len(t.state.Stopped) || beats != t.state.HeartbeatsTo
	if !changed && now.Sub(t.written) < writeEvery { // that rows were looked at may be lost: what they say is not new twice
		return nil
	}
	if err := t.state.write(t.o.Path); err != nil {
		t.state = nil // nobody is told before it is kept
		return err
	}
	t.written = now
	return nil
}

func placeNames(places []Place) (names []string) {
	for i := range places {
		names = append(names, places[i].Name)
	}
	return names
}

// due returns what a place is to be told now; nil for nothing.
func (t *Teller) due(p *Place, s *Settings, now time.Time) *Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		return nil
	}
	if st := t.status[p.Name]; st != nil && now.Before(st.next) {
		return nil
	}
	var alerts []Alert
	for i := range t.state.Alerts {
		k := &t.state.Alerts[i]
		if !slices.Contains(k.For, p.Name) {
			continue
		}
		if p.AtOnce || slices.Contains(s.AtOnce, k.Kind) || !now.Before(s.Next(k.Found.Time)) {
			alerts = append(alerts, k.Alert)
		}
	}
	if len(alerts) == 0 {
		return nil
	}
	more := max(0, len(alerts)-mostInOne)
	return newMessage(t.o.Node, alerts[:len(alerts)-more], more, t.state.Dropped[p.Name], now)
}

// tell tells a place all that is due, and notes that it has taken it.
func (t *Teller) tell(ctx context.Context, p *Place, s *Settings, now time.Time) {
	for m := t.due(p, s, now); m != nil && ctx.Err() == nil; m = t.due(p, s, now) {
		limited, cancel := context.WithTimeout(ctx, sendTimeout)
		err := p.Send(limited, m)
		cancel()
		if err != nil && ctx.Err() != nil {
			return // the server stops: it is told again after the next start
		}
		if t.note(p, m, err) != nil {
			return
		}
	}
}

// note keeps what became of a message. It returns an error where the place is to be tried
// again later.
func (t *Teller) note(p *Place, m *Message, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	st, now := t.status[p.Name], time.Now()
	if st == nil {
		st = &Status{Name: p.Name}
		t.status[p.Name] = st
	}
	if err == nil && t.state != nil {
		t.state.took(p.Name, m)
		if err := t.state.write(t.o.Path); err != nil { // it is told again after a restart
			t.o.Logger.Error("that alerts were told is not kept", "error", err)
		}
		if st.Late {
			t.o.Logger.Info("alerts arrive again", "at", p.To)
		}
		st.Time, st.Problem, st.Since, st.Late, st.retry, st.next = now, "", time.Time{}, false, 0, time.Time{}
		return nil
	}
	if err == nil {
		return nil
	}
	if st.Problem == "" {
		st.Since = now
	}
	if st.Problem != err.Error() {
		t.o.Logger.Warn("alerts do not arrive, and are sent again", "at", p.To, "error", err)
	}
	st.Problem, st.Late = err.Error(), now.Sub(st.Since) >= lateAfter
	st.retry = min(max(2*st.retry, t.o.retry), maxRetry)
	st.next = now.Add(st.retry)
	return err
}

// Status returns how each place of the settings does.
func (t *Teller) Status() []Status {
	s := t.o.Settings()
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Status
	for i := range s.Places {
		p := &s.Places[i]
		st := Status{}
		if is := t.status[p.Name]; is != nil {
			st = *is
		}
		st.Name, st.To = p.Name, p.To
		if t.state != nil {
			for k := range t.state.Alerts {
				if slices.Contains(t.state.Alerts[k].For, p.Name) {
					st.Waiting++
				}
			}
		}
		all = append(all, st)
	}
	return all
}

// Forget removes what there is of devices, which are forgotten: by their identities, and by
// words that only they had.
func (t *Teller) Forget(identities map[string]bool, words []string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	st := t.state
	if st == nil {
		var err error
		if st, err = readState(t.o.Path); err != nil {
			return err
		}
	}
	if !st.forget(identities, words) {
		return nil
	}
	return st.write(t.o.Path)
}

// A Told is an alert that is kept, and whom it is still to be told.
type Told struct {
	Alert
	Waits []string `json:"waits_for"` // webhook, ntfy, mqtt, smtp, log
}

// Read returns the alerts that a file keeps, the oldest first.
func Read(path string) ([]Told, error) {
	st, err := readState(path)
	if err != nil {
		return nil, err
	}
	all := make([]Told, len(st.Alerts))
	for i := range all {
		all[i] = Told{st.Alerts[i].Alert, st.Alerts[i].For}
		if all[i].Waits == nil {
			all[i].Waits = []string{}
		}
	}
	return all, nil
}

// NewTest makes a message that says that it is a test.
func NewTest(node string, now time.Time) *Message {
	at := querylog.Time{Time: now}
	return newMessage(node, []Alert{{
		ID: id(Test, node, at.String()), Kind: Test, Time: at, Found: at, Node: node,
		Text: "This is a test, asked for by 'telltale alerts --test'. Nothing happened.", Command: "telltale alerts",
	}}, 0, 0, now)
}
