//go:build !small

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"time"

	"telltale/fleet"
	"telltale/querylog"
)

// The merged log as it comes: nodes post rows to the center, which hands them to 'telltale log --follow --all-nodes' by its socket.

const liveLook = time.Second // how often who follows is told who is away, and what was left out

// A liveLine is what the center says to who follows. One of its fields is set.
type liveLine struct {
	Begun   bool             `json:"begun,omitempty"`    // what comes from now on comes to who follows
	Cursors map[string]int64 `json:"cursors,omitempty"`  // beside Begun: how far each store is in the merged log
	Row     *querylog.Row    `json:"row,omitempty"`      //
	LeftOut map[string]int   `json:"left_out,omitempty"` // by node
	Away    string           `json:"away,omitempty"`     // a node
	Heard   time.Time        `json:"heard,omitzero"`     // beside Away: when it was heard last; zero for not since the center began
	Back    string           `json:"back,omitempty"`     // a node that was away
}

// serveLive hands rows on until who follows has gone.
func (c *center) serveLive(w http.ResponseWriter, r *http.Request) {
	if c.store == nil {
		http.Error(w, c.role.get().String(), http.StatusServiceUnavailable)
		return
	}
	s, err := c.live.Follow()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.Close()
	stores, err := c.store.Nodes(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	cursors := map[string]int64{}
	for _, n := range stores {
		cursors[n.Store] = n.Upto
	}
	out, control := json.NewEncoder(w), http.NewResponseController(w)
	say := func(line liveLine) {
		if err == nil {
			control.SetWriteDeadline(time.Now().Add(time.Minute))
			err = out.Encode(line)
		}
	}
	say(liveLine{Begun: true, Cursors: cursors})
	look := time.NewTicker(liveLook)
	defer look.Stop()
	away := map[string]bool{}
	for err == nil {
		if err = control.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case row := <-s.Rows:
			say(liveLine{Row: row})
			for range len(s.Rows) { // what waits goes together
				say(liveLine{Row: <-s.Rows})
			}
		case <-look.C:
			c.sayAway(s, away, say)
			if out := s.LeftOut(); out != nil {
				say(liveLine{LeftOut: out})
			}
		}
	}
}

// sayAway says which nodes hand on nothing, and which do again. away has those that are said.
func (c *center) sayAway(s *fleet.LiveStream, away map[string]bool, say func(liveLine)) {
	members, err := c.authority.Members()
	if err != nil {
		return // the center's own messages say so
	}
	var nodes []string
	for _, m := range members {
		if m.Revoked.IsZero() {
			nodes = append(nodes, m.Node)
		}
	}
	now := s.Away(nodes, time.Now())
	for _, node := range nodes {
		heard, is := now[node]
		switch {
		case is && !away[node]:
			say(liveLine{Away: node, Heard: heard})
		case !is && away[node]:
			say(liveLine{Back: node})
		}
		away[node] = is
	}
}

// followNodes prints rows of the merged log, and those that nodes hand on as they come, until ctx ends.
func (cl *cli) followNodes(ctx context.Context, s *logFlags, f querylog.Filter, chosen bool) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	resp, err := askCenter(ctx, cfg, http.MethodGet, "/live", nil)
	switch {
	case errors.Is(err, errNoCenter):
		return errors.New("no center runs here: --follow --all-nodes is for the machine of 'telltale center', while that runs")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the center is another user's; run this as root, or as that user", err)
	case err != nil:
		return ignoreCancel(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("the center answered %s: %s", resp.Status, printable(string(text)))
	}
	in := json.NewDecoder(bufio.NewReader(resp.Body))
	var begun liveLine
	if err := in.Decode(&begun); err != nil || !begun.Begun {
		return ignoreCancel(ctx, fmt.Errorf("the center's answer cannot be read: %w", err))
	}
	p, err := cl.printBefore(ctx, s, f, chosen, begun.Cursors)
	for err == nil {
		var line liveLine
		if err = in.Decode(&line); err == nil {
			err = p.line(&line)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the center has ended, or what it said was not taken for a minute: a terminal that is paused takes nothing")
	}
	if ctx.Err() != nil { // whatever reading met by that
		return nil
	}
	return err
}

// printBefore prints what is in the merged log, and returns what prints what comes behind it. The log is closed by then: while it is read
// at one moment, its write-ahead log gets no shorter, and nothing can be forgotten.
func (cl *cli) printBefore(ctx context.Context, s *logFlags, f querylog.Filter, chosen bool, cursors map[string]int64) (*nodesPrinter, error) {
	l, err := cl.openMoment(ctx) // it has all that the cursors say, and in SQLite perhaps more
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p, err := cl.newNodesPrinter(ctx, l, s, f, cursors)
	if err == nil {
		err = p.before(ctx, l, chosen)
	}
	return p, err
}

// A nodesPrinter prints the merged log, and behind it what comes.
type nodesPrinter struct {
	cl      *cli
	f       querylog.Filter
	rows    rowPrinter
	chosen  func(*querylog.Row) bool
	cursors map[string]int64   // what is up to here was printed, or is older
	printed map[fleet.Key]bool // of rows that are behind their store's cursor
}

func (cl *cli) newNodesPrinter(ctx context.Context, l *openedLog, s *logFlags, f querylog.Filter, cursors map[string]int64) (*nodesPrinter, error) {
	if err := l.choose(&f, s.ignored); err != nil {
		return nil, err
	}
	if err := l.checkVendor(ctx, f.Vendor); err != nil {
		return nil, err
	}
	if s.pseudonyms {
		s.hide = newPseudonyms(l)
	}
	s.display.zone = s.period.zone
	p := &nodesPrinter{cl: cl, f: f, rows: newRowPrinter(cl.out, l.ids, s.display), cursors: map[string]int64{}, printed: map[fleet.Key]bool{}}
	maps.Copy(p.cursors, cursors)
	if l.own != nil { // the moment that is read
		stores, err := l.own.ShippedStores(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range stores {
			p.cursors[n.Store] = n.Upto
		}
	}
	f.After, f.Limit = 0, 0 // of the merged log: rows of nodes have other numbers
	var err error
	p.chosen, err = f.Chooser()
	return p, err
}

// before prints what is in the merged log.
func (p *nodesPrinter) before(ctx context.Context, l *openedLog, chosen bool) error {
	f := p.f
	if !chosen {
		f.Limit = 100
	}
	for row, err := range l.Rows(ctx, f) {
		if err == nil {
			err = p.rows.print(&row)
		}
		if err != nil {
			return err
		}
		if upto, known := p.cursors[row.Store]; l.own == nil && (!known || row.Window() > upto) {
			p.printed[fleet.Key{Store: row.Store, ID: row.ID}] = true
		}
	}
	return p.rows.flush()
}

// line prints what the center says.
func (p *nodesPrinter) line(line *liveLine) error {
	err := p.cl.err
	switch row := line.Row; {
	case row != nil:
		if upto, known := p.cursors[row.Store]; known && row.Window() <= upto || p.printed[fleet.Key{Store: row.Store, ID: row.ID}] || !p.chosen(row) {
			return nil
		}
		return errors.Join(p.rows.print(row), p.rows.flush())
	case line.Away != "" && line.Heard.IsZero():
		fmt.Fprintf(err, "node %s hands on nothing: it is away, or of a version before this. Its rows come to the merged log when it sends them\n", printable(line.Away))
	case line.Away != "":
		fmt.Fprintf(err, "node %s is away since %s. What it logs meanwhile comes to the merged log when it is back\n", printable(line.Away), when(line.Heard))
	case line.Back != "":
		fmt.Fprintf(err, "node %s is back\n", printable(line.Back))
	}
	for _, node := range slices.Sorted(maps.Keys(line.LeftOut)) {
		fmt.Fprintf(err, "%s of node %s left out here: more than fit came at once. They are in the merged log within half a minute\n", number(uint64(line.LeftOut[node]), "row"), printable(node))
	}
	return nil
}
