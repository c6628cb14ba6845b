package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"telltale/blocklists"
	"telltale/breakage"
	"telltale/dnswire"
	"telltale/web"
)

// A search finds by trying which blocked name a device needs. It is in memory alone: the
// rules by which names are let through are lines of own.txt that end by themselves, and
// go with the search, with the server, and at the next start.

const (
	trialTime  = 10 * time.Minute // in which a person tries, and answers
	searchKept = time.Hour        // after the last answer
)

// searches are those that run, and those that ended a while ago.
type searches struct {
	mu     sync.Mutex // held while own.txt is changed for a trial; before app.applying
	all    map[string]*searching
	closed bool
	turned chan struct{} // of one: a trial begins or ends
}

// A searching is a search on one device.
type searching struct {
	device, name string // identity, and what it is called
	clients      []string
	keep         time.Duration // of the rule that ends it; 0 for good
	comment      string

	suspects []breakage.Suspect
	search   *breakage.Search
	begun    time.Time
	until    time.Time // of the trial; zero where there is none
	over     time.Time // of the trial that ended without an answer; zero for none
	touched  time.Time
	ended    *web.Search // how it ended; nil while it runs
}

var errNoSearch = errors.New("no search runs")

func newSearches() *searches {
	return &searches{all: map[string]*searching{}, turned: make(chan struct{}, 1)}
}

// of returns the search on a device, if there is one.
func (s *searches) of(device string, now time.Time) (web.Search, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[device]
	if one == nil {
		return web.Search{}, false
	}
	return one.status(now), true
}

// status returns a search as the API has it.
func (s *searching) status(now time.Time) web.Search {
	if s.ended != nil {
		return *s.ended
	}
	out := web.Search{Device: s.device, Name: s.name, State: web.SearchAsks, Begun: s.begun.UTC(), Until: s.until.UTC(), Trial: s.names(s.search.Trial()), Left: s.names(s.search.Left())}
	out.Question, out.Most = s.search.Question()
	if s.until.IsZero() || !now.Before(s.until) {
		out.State, out.Until = web.SearchOverdue, s.over.UTC()
	}
	return out
}

func (s *searching) names(places []int) []string {
	all := []string{}
	for _, i := range places {
		all = append(all, s.suspects[i].Name)
	}
	return all
}

// beginSearch begins a search on a device.
func (a *app) beginSearch(ctx context.Context, n web.NewSearch) (web.Search, error) {
	d, err := a.suspect(ctx, n.Device, time.Duration(n.Last)*time.Second)
	if err != nil {
		return web.Search{}, err
	}
	if why := pausedFor(a.lists.Current(), &suspected{DeviceStatus: d.DeviceStatus}); why != "" {
		return web.Search{}, fmt.Errorf("nothing can be tried: %s", why)
	}
	s := &searching{device: d.Device, name: d.name, keep: time.Duration(n.Seconds) * time.Second, comment: n.Comment, suspects: a.stillBlocked(d)}
	switch {
	case len(d.suspects) == 0:
		return web.Search{}, fmt.Errorf("nothing of %s was blocked since %s: have it try what does not work, and ask again", printable(d.name), when(d.since))
	case len(s.suspects) == 0:
		return web.Search{}, fmt.Errorf("of what was blocked of %s since %s nothing can be tried: it is let through now, or your own rules block it", printable(d.name), when(d.since))
	}
	if s.clients, err = a.clientsInRules(d); err != nil {
		return web.Search{}, fmt.Errorf("%s: %w", printable(d.name), err)
	}
	var weights []float64
	for i := range s.suspects {
		weights = append(weights, s.suspects[i].Weight)
	}
	s.search = breakage.NewSearch(weights)
	a.searches.mu.Lock()
	defer a.searches.mu.Unlock()
	now := time.Now()
	if other := a.searches.all[s.device]; other != nil && other.ended == nil {
		asked, most := other.search.Question()
		return web.Search{}, fmt.Errorf("a search on %s runs since %s, at question %d of at most %d: answer it by --answer yes or --answer no, or end it by --stop", printable(s.name), when(other.begun), asked, most)
	}
	if a.searches.closed {
		return web.Search{}, errors.New("the server stops")
	}
	before := a.searches.all[s.device]
	s.begun, s.touched, s.until = now, now, now.Add(trialTime)
	a.searches.all[s.device] = s
	if err := a.writeTrials(nil); err != nil {
		if a.searches.all[s.device] = before; before == nil {
			delete(a.searches.all, s.device)
		}
		return web.Search{}, errors.Join(err, a.writeTrials(nil))
	}
	return s.status(now), nil
}

// answerSearch takes whether it works with the names of the trial let through.
func (a *app) answerSearch(ctx context.Context, n web.SearchAnswer) (web.Search, error) {
	d, _, err := a.findKnown(ctx, n.Device)
	if err != nil {
		return web.Search{}, err
	}
	a.searches.mu.Lock()
	defer a.searches.mu.Unlock()
	s := a.searches.all[d.Device]
	if s == nil || s.ended != nil || a.searches.closed {
		return web.Search{}, web.NotFound(fmt.Errorf("%w on %s: 'telltale broke %[2]s --bisect' begins one", errNoSearch, printable(n.Device)))
	}
	now := time.Now()
	if asked, _ := s.search.Question(); n.Question != 0 && n.Question != asked {
		return web.Search{}, fmt.Errorf("question %d was answered already: the search is at question %d", n.Question, asked)
	}
	s.touched = now
	why := pausedFor(a.lists.Current(), &suspected{DeviceStatus: d, suspects: s.untried()})
	if why != "" || s.until.IsZero() || !now.Before(s.until) { // what was tried is not known
		s.until, s.over = now.Add(trialTime), time.Time{}
		if err := a.writeTrials(nil); err != nil {
			return web.Search{}, err
		}
		again := s.status(now)
		again.Again, again.Why = true, why
		return again, nil
	}
	before, advanced := *s, *s.search
	advanced.Answer(n.Works)
	s.search, s.until = &advanced, now.Add(trialTime)
	if found, over := advanced.Over(); over {
		err = a.concludeSearch(s, found, now)
	} else {
		err = a.writeTrials(nil)
	}
	if err != nil {
		*s = before // it may be answered again
		return web.Search{}, errors.Join(err, a.writeTrials(nil))
	}
	return s.status(now), nil
}

// untried returns the suspects that are to be blocked while a person tries.
func (s *searching) untried() (all []breakage.Suspect) {
	for i := range s.suspects {
		if !slices.Contains(s.search.Trial(), i) {
			all = append(all, s.suspects[i])
		}
	}
	return all
}

// pausedFor returns why a device, or one of its suspects, is only observed now, and what
// ends that; "" where nothing is.
func pausedFor(policy *blocklists.Policy, d *suspected) string {
	for _, t := range policy.Temporary() {
		if t.Of == blocklists.Everything || t.Of == blocklists.OfDevice && t.Name == d.Device {
			says, cure := temporaryText(new(temporaryStatus(&t)))
			return says + ": " + cure
		}
	}
	group := policy.GroupOf(d.Group, d.address())
	for i := range d.suspects {
		name, err := dnswire.ParseName(d.suspects[i].Name)
		if err != nil || d.suspects[i].Alias != "" { // what the answer leads to is not known here
			continue
		}
		blocked, why := false, ""
		for _, typ := range []uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeHTTPS} {
			v := policy.Decide(&name, typ, group)
			blocked = blocked || v.Action == blocklists.Block
			if v.Action == blocklists.Observe {
				why = cmp.Or(policy.Because(v, group), v.ObservedBy.String())
			}
		}
		if !blocked && why != "" {
			return fmt.Sprintf("%s is not tried, and not blocked now (%s): 'telltale status' shows what is paused", d.suspects[i].Name, why)
		}
	}
	return ""
}

// concludeSearch ends a search with the rule that it has found, if it has.
func (a *app) concludeSearch(s *searching, found int, now time.Time) error {
	ended := web.Search{Device: s.device, Name: s.name, State: web.SearchNone, Begun: s.begun.UTC(), Question: s.search.Asked(), Most: s.search.Asked(), Trial: []string{}, Left: []string{}}
	s.until = time.Time{}
	s.ended = &ended
	if found < 0 {
		return a.writeTrials(nil)
	}
	ended.State = web.SearchFound
	suspect := suspectsOf(s.suspects[found : found+1])[0]
	finding := a.findingOf(s, &s.suspects[found], now)
	ended.Found, ended.Report, ended.Breaks = &suspect, breakage.Report(&finding), finding.Entry.Breaks
	ended.File = filepath.Join(a.cfg.Load().Lists.Dir, ownFile)
	if s.keep > 0 {
		until := now.Add(s.keep).UTC()
		ended.RuleUntil = &until
	}
	return a.writeTrials(func(file string) error { return s.writeRule(file, suspect.Name, now) })
}

// writeRule writes the rule that a search ends with: for this name on this device.
func (s *searching) writeRule(file, name string, now time.Time) error {
	n, err := dnswire.ParseName(name)
	if err != nil {
		return err
	}
	comment := fmt.Sprintf("needed, found by 'telltale broke' on %s", now.Format(time.DateOnly))
	if s.comment != "" {
		comment += ": " + s.comment
	}
	var until time.Time
	if s.keep > 0 {
		until = now.Add(s.keep)
	}
	for _, client := range s.clients {
		if err := blocklists.EditOwn(file, client, blocklists.Allow, &n, comment, until); err != nil {
			return err
		}
	}
	return nil
}

// stopSearch ends a search without a rule.
func (a *app) stopSearch(ctx context.Context, who string) error {
	device, err := a.deviceOf(ctx, who)
	if err != nil {
		return err
	}
	if err := a.endSearch(device); errors.Is(err, errNoSearch) {
		return web.NotFound(fmt.Errorf("%w on %s", errNoSearch, printable(who)))
	} else if err != nil {
		return err
	}
	return nil
}

// endSearch removes the search on a device, and its rules.
func (a *app) endSearch(device string) error {
	a.searches.mu.Lock()
	defer a.searches.mu.Unlock()
	s := a.searches.all[device]
	delete(a.searches.all, device)
	if s == nil || s.ended != nil {
		return errNoSearch
	}
	return a.writeTrials(nil)
}

// deviceOf returns the identity of the device that a person means.
func (a *app) deviceOf(ctx context.Context, who string) (string, error) {
	d, _, err := a.findKnown(ctx, who)
	return d.Device, err
}

// writeTrials makes the trials of all searches those that stand in own.txt, after what
// more does with the file, and puts that in force. The caller holds searches.mu.
func (a *app) writeTrials(more func(file string) error) error {
	wake(a.searches.turned)
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg := a.cfg.Load()
	file := filepath.Join(cfg.Lists.Dir, ownFile)
	trials, err := a.searches.trials(time.Now())
	if err == nil {
		err = blocklists.SetTrials(file, trials)
	}
	if err == nil && more != nil {
		err = more(file)
	}
	if err != nil {
		return mayNotWrite(cfg.Lists.Dir, err)
	}
	if err := a.applyRulesLocked(cfg); err != nil {
		return fmt.Errorf("%s is written, but not in force: %w", file, err)
	}
	return nil
}

// trials returns what all searches let through now.
func (s *searches) trials(now time.Time) (all []blocklists.Trial, err error) {
	for _, device := range slices.Sorted(maps.Keys(s.all)) {
		one := s.all[device]
		if one.ended != nil || !now.Before(one.until) {
			continue
		}
		for _, i := range one.search.Trial() {
			name, err := dnswire.ParseName(one.suspects[i].Name)
			if err != nil {
				return nil, err
			}
			all = append(all, blocklists.Trial{Name: name, Clients: one.clients, Until: one.until})
		}
	}
	return all, nil
}

// expireSearches ends trials whose time is over, and lets go of searches that nobody
// answers, until ctx ends.
func (a *app) expireSearches(ctx context.Context) {
	timer := time.NewTimer(searchKept)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.searches.turned:
		case <-timer.C:
		}
		next, err := a.expireDue(time.Now())
		if err != nil {
			a.logger.Error("the rules of a search are not removed from own.txt; their time is over all the same", "error", err)
		}
		timer.Reset(next)
	}
}

// expireDue does what is due, and returns after which time something is due next.
func (a *app) expireDue(now time.Time) (next time.Duration, err error) {
	a.searches.mu.Lock()
	defer a.searches.mu.Unlock()
	next, ended := searchKept, false
	for device, s := range a.searches.all {
		if !s.until.IsZero() && !now.Before(s.until) {
			s.over, s.until, ended = s.until, time.Time{}, true
		}
		if !s.until.IsZero() {
			next = min(next, s.until.Sub(now))
		}
		if left := s.touched.Add(searchKept).Sub(now); left > 0 {
			next = min(next, left)
		} else {
			delete(a.searches.all, device)
		}
	}
	if ended {
		err = a.writeTrials(nil)
		select {
		case <-a.searches.turned: // which is done here
		default:
		}
	}
	return next, err
}

// closeSearches removes the rules of all searches from own.txt: the server stops.
func (a *app) closeSearches() {
	a.searches.mu.Lock()
	defer a.searches.mu.Unlock()
	a.searches.closed = true
	a.searches.all = map[string]*searching{}
	a.removeTrials()
}

// removeTrials removes from own.txt what a search let through, also one of a server that
// was killed.
func (a *app) removeTrials() {
	cfg := a.cfg.Load()
	if err := blocklists.SetTrials(filepath.Join(cfg.Lists.Dir, ownFile), nil); err != nil {
		a.logger.Warn("rules of a search stay in own.txt; they end by themselves", "error", mayNotWrite(cfg.Lists.Dir, err))
	}
}
