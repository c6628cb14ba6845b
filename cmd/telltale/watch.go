package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"telltale/liveview"
	"telltale/querylog"
	"telltale/web"
)

// rowsAtFirst is how many rows of before a live view begins with.
const rowsAtFirst = 500

func (cl *cli) newWatch() *cobra.Command {
	var s selection
	c := &cobra.Command{
		Use:   "watch",
		Short: "Watch in the terminal who asks for what, as it happens",
		Long: `Show the query log in the terminal as lookups come: rows, devices, vendors and names,
and how many lookups there are a second. A row can be explained, and its name allowed
or blocked, for all or for the device that asked.

Keys:
  j k, arrows, page up and down    move; G or end goes on with what comes
  tab, 1 to 4                      rows, devices, vendors, names
  /                                filter: words that a row must have; esc shows all
  space                            stop the picture, and go on
  enter                            explain a row or a name; a device's or a vendor's rows
  a, b                             allow, block: it is asked for whom
  ?, q                             all keys; end

It begins with the newest 500 rows and keeps the newest 5000; devices, vendors and names
are counted over those. With the server stopped it shows what was stored. Without a
terminal, 'telltale log --follow' prints rows as they come. NO_COLOR=1 leaves colours out.`,
		Example: `  telltale watch
  telltale watch --device living-room-tv
  telltale watch --verdict block --tz UTC`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f, err := s.filter(time.Now())
			if err != nil {
				return err
			}
			if !onTerminal(cl.in) || !onTerminal(cl.out) {
				return errors.New("'telltale watch' draws on a terminal, and its input or its output is none: 'telltale log --follow' prints rows as they come")
			}
			l, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			if err := errors.Join(l.choose(&f, s.ignored), l.checkVendor(c.Context(), f.Vendor)); err != nil {
				return err
			}
			f.Limit = rowsAtFirst
			return newWatcher(cl, l, liveview.New(liveview.Options{Zone: s.zone, Chosen: s.words()})).run(c.Context(), f)
		},
	}
	s.addWhich(cl, c)
	c.Flags().StringVar(&s.tz, "tz", "", "the zone in which times are shown, such as Europe/Berlin (default: the machine's)")
	return c
}

// words says in few words which rows are chosen.
func (s *selection) words() string {
	var all []string
	for _, w := range []string{s.device, s.vendor, s.name, s.verdict} {
		if w != "" {
			all = append(all, w)
		}
	}
	return strings.Join(all, " ")
}

// onTerminal reports whether a file is a terminal that has a size.
func onTerminal(file any) bool {
	f, ok := file.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// A watcher feeds a live view with rows, and does what a person asks there.
type watcher struct {
	cl  *cli
	log *openedLog

	changed chan struct{} // of one: there is something new to draw
	under   sync.WaitGroup
	mu      sync.Mutex
	view    *liveview.View
	ended   bool   // nothing is drawn any more
	unseen  string // what became of a rule, then
}

func newWatcher(cl *cli, l *openedLog, view *liveview.View) *watcher {
	return &watcher{cl: cl, log: l, view: view, changed: make(chan struct{}, 1)}
}

// run shows rows until a person ends it.
func (w *watcher) run(ctx context.Context, f querylog.Filter) error {
	inner, cancel := context.WithCancel(ctx)
	defer func() {
		w.mu.Lock()
		w.ended = true
		w.mu.Unlock()
		cancel()
		w.under.Wait()
		if w.unseen != "" {
			fmt.Fprintln(w.cl.err, w.unseen)
		}
	}()
	failed := make(chan error, 1)
	w.under.Go(func() {
		if err := w.log.own.Follow(inner, f, func(r querylog.Row) error { w.add(&r); return nil }); inner.Err() == nil {
			failed <- err
		}
	})
	w.under.Go(func() { w.askWhetherItRuns(inner) })
	return ignoreCancel(ctx, w.draw(inner, failed))
}

// update changes the view.
func (w *watcher) update(do func(*liveview.View)) {
	w.mu.Lock()
	do(w.view)
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// add gives the view a row. It does not wait for the terminal: the store is being read.
func (w *watcher) add(r *querylog.Row) {
	row := w.row(r)
	w.update(func(v *liveview.View) { v.Add(row) })
}

// row is a row of the log as the view has it.
func (w *watcher) row(r *querylog.Row) liveview.Row {
	out := liveview.Row{
		ID: r.ID, Time: r.Time.Time, Last: r.Last.Time, Count: r.Count, Attempts: uint64(r.Attempts), Open: r.Open,
		Device: r.Device, Who: cmp.Or(r.DeviceName, r.Client), Client: r.Client, Name: r.Name, Type: r.Type, Verdict: r.Verdict, About: about(r),
	}
	if c := w.log.ids.corrected(r); c != nil {
		out.Device, out.Who = c.Device, c.Name
	}
	if r.Attribution == "rule" || r.Attribution == "list" {
		out.Vendor = r.Vendor
	}
	if r.Rule != "" {
		out.Rule = place(r.List, r.Line) + " " + r.Rule
	}
	var also []string
	if r.Alias != "" {
		also = append(also, "it led to "+r.Alias)
	}
	if r.ObservedBy != "" {
		also = append(also, "observed by "+r.ObservedBy)
	}
	if r.AnsweredFrom != "" {
		also = append(also, "answered from "+r.AnsweredFrom)
	}
	if out.Imported = r.Imported != ""; out.Imported {
		also = append(also, "imported: "+r.Imported)
	}
	out.Remark = strings.Join(also, ", ")
	return out
}

// runsEvery is how often it is looked whether a server runs.
const runsEvery = 5 * time.Second

func (w *watcher) askWhetherItRuns(ctx context.Context) {
	ticker := time.NewTicker(runsEvery)
	defer ticker.Stop()
	for {
		err := newClient(w.log.cfg).get(ctx, "/catalogue", nil)
		w.update(func(v *liveview.View) { v.SetStopped(errors.Is(err, errStopped)) })
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// press gives the view a key, and begins what it asks for. It reports whether it is the end.
func (w *watcher) press(ctx context.Context, key string) (end bool) {
	w.mu.Lock()
	q := w.view.Press(key)
	w.mu.Unlock()
	if q.Do == liveview.Quit {
		return true
	}
	if q.Do != liveview.Nothing {
		w.under.Go(func() { w.do(ctx, &q) })
	}
	return false
}

// writeWithin is how long a rule may take.
const writeWithin = 30 * time.Second

// do does what a person asked for.
func (w *watcher) do(ctx context.Context, q *liveview.Request) {
	switch q.Do {
	case liveview.Explain:
		text, err := w.explain(ctx, &q.Row)
		if err != nil {
			text = err.Error()
		}
		w.update(func(v *liveview.View) { v.Explained(q.Number, text) })
	case liveview.Weigh:
		risks, err := w.weigh(&q.Row)
		w.update(func(v *liveview.View) {
			if err != nil {
				v.Refused(q.Number, err.Error())
				return
			}
			v.Weighed(q.Number, risks)
		})
	case liveview.Write:
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWithin) // also where the person goes meanwhile
		defer cancel()
		text, err := w.write(ctx, q)
		if err != nil {
			text = err.Error()
		}
		w.update(func(v *liveview.View) {
			if v.Said(text); w.ended {
				w.unseen = text
			}
		})
	}
}

// asker returns the words by which the device of a row is found.
func asker(r *liveview.Row) string { return strings.TrimPrefix(r.Device, "addr:") }

func (w *watcher) explain(ctx context.Context, r *liveview.Row) (string, error) {
	name, err := parseName(r.Name)
	if err != nil {
		return "", err
	}
	qtype, err := parseType(r.Type)
	if err != nil {
		return "", err
	}
	e, err := explain(ctx, w.log.cfg, &name, qtype, asker(r), false)
	if err != nil {
		return "", err
	}
	return explanationText(&e), nil
}

func (w *watcher) weigh(r *liveview.Row) ([]string, error) {
	name, err := parseName(r.Name)
	if err != nil {
		return nil, err
	}
	known, err := w.cl.editionOf(w.log.cfg).Load()
	if err != nil {
		return nil, err
	}
	return blockRisks(known, &name), nil
}

func (w *watcher) write(ctx context.Context, q *liveview.Request) (string, error) {
	r := web.Rule{Action: q.Action, Name: q.Row.Name}
	of := "everyone"
	if q.Device {
		r.Device, of = asker(&q.Row), q.Row.Who
	}
	c, stopped, err := sendOwnRule(ctx, w.log.cfg, r, false)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s %s for %s", r.Action, r.Name, of)
	if stopped {
		text += "; no server is running: it is in force once one starts"
	}
	return text + " (" + c.File + ")", nil
}
