package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/subscribe"
	"telltale/config"
)

// subscriptionDir is where copies of subscribed lists are kept.
func subscriptionDir(cfg *config.Config) string { return filepath.Join(cfg.Cache.Dir, "subscriptions") }

// subscriptionLists are the lists by URL of the settings.
func subscriptionLists(cfg *config.Config) []subscribe.List {
	var all []subscribe.List
	for i := range cfg.Lists.Subscriptions {
		s := &cfg.Lists.Subscriptions[i]
		l := listSettings(&s.List)
		all = append(all, subscribe.List{
			Name: s.Name, URL: s.URL, Enabled: s.Enabled || isOnForAGroup(cfg, s.Name), Refresh: s.Refresh, Format: l.Format, Exact: l.Exact, Answers: l.Answers,
			Exceptions: l.Exceptions,
		})
	}
	return all
}

// isOnForAGroup reports whether a list is on for a group, be it off for all others.
func isOnForAGroup(cfg *config.Config, list string) bool {
	return slices.ContainsFunc(cfg.Groups, func(g config.Group) bool {
		return slices.Contains(g.ListsOn, list) || slices.Contains(g.ListsObserve, list)
	})
}

// openSubscriptions reads what earlier runs fetched. It does not use the
// network; fetch does.
func (a *app) openSubscriptions(cfg *config.Config) (err error) {
	a.subscriptions, err = subscribe.New(subscribe.Options{
		Dir: subscriptionDir(cfg), Lists: subscriptionLists(cfg),
		Known: func() (essential, listed []string, err error) { return knownNames(a.edition.Load()) },
		// Hosts of lists are resolved by our own upstreams: this may be the only
		// DNS its host has.
		Lookup:  func(ctx context.Context, host string) ([]netip.Addr, error) { return a.server.Lookup(ctx, host) },
		Dial:    new(net.Dialer).DialContext,
		Changed: func(string) { wake(a.fetched) }, Report: a.log.Report, Logger: a.logger,
	})
	a.fetched = make(chan struct{}, 1)
	return err
}

// knownNames are what the catalogue says must work, and what its lists block. A
// name that is meant alone begins with "=".
func knownNames(edition *catalog.Edition) (essential, listed []string, err error) {
	err = edition.Names(func(name string, isListed bool, tier string) {
		switch {
		case tier == "essential":
			essential = append(essential, name)
		case isListed:
			listed = append(listed, name)
		}
	})
	return essential, listed, err
}

// wake has who waits for c go on.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is awake
	}
}

// subscribed are the copies there are, for the lists to watch.
func subscribed(s *subscribe.Subscriber) []blocklists.Source {
	var all []blocklists.Source
	for _, f := range s.Files() {
		all = append(all, blocklists.Source{Name: f.Name, Path: f.Path, Hash: f.Hash})
	}
	return all
}

// copies are the copies that the server has fetched, for commands that run beside
// or without it.
func copies(cfg *config.Config) []blocklists.Source {
	s, err := readCopies(cfg)
	if err != nil {
		return nil // it has no directory: then there are none
	}
	return subscribed(s)
}

// copiesStatus is what the server knew of its subscriptions when it stopped.
func copiesStatus(cfg *config.Config) []subscribe.Status {
	s, err := readCopies(cfg)
	if err != nil {
		return nil
	}
	return s.Status()
}

func readCopies(cfg *config.Config) (*subscribe.Subscriber, error) {
	return subscribe.New(subscribe.Options{Dir: subscriptionDir(cfg), Lists: subscriptionLists(cfg), ReadOnly: true})
}

// withUpdates says of each subscribed list, too, why its last update is not in
// force.
func withUpdates(lists []blocklists.ListStatus, subscriptions []subscribe.Status) []blocklists.ListStatus {
	for i := range subscriptions {
		u := &subscriptions[i]
		at := slices.IndexFunc(lists, func(l blocklists.ListStatus) bool { return l.Kind == blocklists.Subscribed && l.Name == u.Name })
		if at < 0 {
			lists = append(lists, blocklists.ListStatus{Name: u.Name, Kind: blocklists.Subscribed, Enabled: u.Enabled})
			at = len(lists) - 1
		}
		if u.Enabled {
			withUpdate(&lists[at], u)
		}
	}
	return lists
}

func withUpdate(l *blocklists.ListStatus, u *subscribe.Status) {
	warn := func(format string, args ...any) {
		l.Warnings = append(slices.Clip(l.Warnings), fmt.Sprintf(format, args...))
	}
	switch {
	case u.Held != nil && u.Held.NoList:
		l.Held = fmt.Sprintf("the update of %s %s: it is asked for again %s", when(u.Held.At), u.Held.Reason, when(u.Next))
	case u.Held != nil:
		l.Held = fmt.Sprintf("the update of %s %s ('telltale lists accept %s' takes it)", when(u.Held.At), u.Held.Reason, u.Name)
	case u.Err != "" && u.Path == "":
		l.Missing = "nothing could be fetched yet: " + u.Err
	case u.Path == "":
		l.Missing = "not fetched yet"
	case u.Err != "" && u.Failures == 0: // the copy is damaged, and nothing was asked for since
		warn("%s: it is fetched again", u.Err)
	case u.Err != "":
		warn("not fetched (%d attempts): %s; its copy of %s is in force", u.Failures, u.Err, when(u.Fetched))
	}
	if u.Path != "" && u.Foreign && u.OldURL != u.URL {
		warn("its rules are those of %s: nothing could be fetched from %s yet", cmp.Or(u.OldURL, "another URL"), u.URL)
	}
}

// fetch fetches lists as they become due, and puts what has come in force.
func (a *app) fetch(ctx context.Context) {
	a.pruneSubscriptions()
	for _, s := range []*subscribe.Subscriber{a.subscriptions, a.catalogue} {
		a.work.Go(func() {
			if err := s.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				a.logger.Error("lists are not fetched any more", "error", err)
			}
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.fetched:
		}
		if err := a.applyLists(); err != nil {
			a.logger.Error("a fetched list is not in force", "error", err)
		}
	}
}

// pruneSubscriptions removes the copies of lists that are no longer subscribed.
func (a *app) pruneSubscriptions() {
	if err := a.subscriptions.Prune(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.logger.Warn("copies of removed subscriptions stay on disk", "error", err)
	}
}

// inForce returns how many rules of a fetched list are in force, and how many of
// its lines are not: some may be held back.
func (a *app) inForce(p subscribe.Progress) (rules, bad int) {
	for _, l := range a.lists.Status() {
		if l.Name == p.Name && l.Kind == blocklists.Subscribed {
			return l.Rules, l.BadSeen
		}
	}
	return p.Rules, 0 // the list is off
}
