package main

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"telltale/blocklists"
	"telltale/config"
	"telltale/devices"
	"telltale/resolver/upstream"
)

// Applying settings. Whatever changes what is in force (a saved file, SIGHUP, a
// command, a finished download) holds applying for the whole of it, reads what is
// to be in force then, and puts all of it in force or nothing.

// watchFailed says that changed settings are found late, or no longer.
func (a *app) watchFailed(err error) {
	a.settingsWatch.set(err)
	if err == nil {
		a.logger.Info("the settings file is watched again")
		return
	}
	a.logger.Warn("the settings file cannot be watched", "error", err)
}

// A failure is an error that comes and goes. Any goroutine may use it.
type failure struct{ now atomic.Pointer[error] }

func (f *failure) set(err error) { f.now.Store(&err) }

// err returns the error there is now.
func (f *failure) err() error {
	if err := f.now.Load(); err != nil {
		return *err
	}
	return nil
}

// reload puts the settings in force that the file, the overlay, the environment
// and the flags give now. On an error what was in force stays in force.
func (a *app) reload() error {
	a.applying.Lock()
	defer a.applying.Unlock()
	return a.reloadLocked()
}

func (a *app) reloadLocked() error {
	cfg, err := a.load()
	if err == nil {
		err = listNameMistakes(cfg)
	}
	if err == nil {
		err = a.applyLocked(cfg)
	}
	if err != nil {
		a.refuseLocked(err)
		return fmt.Errorf("the changed settings are not in force, what was in force stays: %w", err)
	}
	a.refused.Store("")
	return nil
}

// refuseLocked says why changed settings are not in force, once for each reason.
func (a *app) refuseLocked(err error) {
	if a.refusal() == err.Error() {
		return
	}
	a.refused.Store(err.Error())
	a.logger.Error("the changed settings are not in force: what was in force stays", "error", err)
	a.log.Report("config-refused", "settings", err.Error())
}

// refusal returns why the settings on disk are not in force; "" where they are. It
// does not wait for what is being applied.
func (a *app) refusal() string { return a.refused.Load().(string) }

// applyLocked puts cfg in force as far as that is possible while serving, and says
// what is not.
func (a *app) applyLocked(cfg *config.Config) error {
	live, changed := config.Diff(a.loaded, cfg)
	if len(live)+len(changed) == 0 && a.refusal() == "" {
		a.loaded = cfg // it may be of other files
		return nil
	}
	if err := a.swapLocked(config.Live(a.cfg.Load(), cfg)); err != nil {
		return err
	}
	a.loaded = cfg
	_, restart := config.Diff(a.cfg.Load(), cfg)
	restart = slices.DeleteFunc(restart, func(key string) bool { return strings.HasPrefix(key, "center.") }) // of another program
	if len(live) > 0 {
		a.logger.Info("changed settings are in force", "keys", live)
	}
	if len(restart) > 0 {
		a.logger.Warn("changed settings come into force with a restart", "keys", restart)
	}
	text := fmt.Sprintf("in force: %v; with a restart: %v", live, restart)
	if len(live)+len(changed) == 0 {
		text = "those on disk have no mistakes any more, and are those in force"
		a.logger.Info("the settings on disk have no mistakes any more, and are those in force")
	}
	a.log.Report("config-changed", "settings", text)
	a.keepLastGood(cfg)
	return nil
}

// swapLocked checks all parts of cfg, and then puts them in force. The lists come
// first: their new policy knows the settings of every device, old and new, so that
// none is ever judged by those of another.
func (a *app) swapLocked(cfg *config.Config) error {
	level, err := checkParts(cfg)
	if err != nil {
		return err
	}
	selected, err := a.selectLocked(cfg)
	if err != nil {
		return err
	}
	old := a.cfg.Load()
	listeners := &listenersChange{}
	if !small {
		if listeners, err = a.prepareListeners(old, cfg); err != nil {
			return err
		}
		defer listeners.end()
	}
	makeGroupRules(cfg)
	a.subscriptions.Set(subscriptionLists(cfg))
	a.catalogue.Set(catalogueLists(cfg))
	if err := a.configureLists(cfg, selected); err != nil {
		a.subscriptions.Set(subscriptionLists(old))
		a.catalogue.Set(catalogueLists(old))
		return errors.Join(err, a.configureLists(old, a.selected))
	}
	a.selected = selected
	if err := a.ledger.Load().Configure(deviceList(cfg, selected), selected.settings()); err != nil {
		return err
	}
	if !reflect.DeepEqual(old.Identity, cfg.Identity) {
		a.ledger.Load().SetLeases(leaseFiles(cfg))
		a.ledger.Load().SetAnnouncements(cfg.Identity.Announcements)
		a.ledger.Load().SetReverse(a.reverseLookup(cfg))
		a.makers.Use(cfg.Identity.Makers)
	}
	if err := a.server.Configure(serverSettings(cfg)); err != nil {
		return err
	}
	a.server.SetChoice(choice(cfg))
	if !reflect.DeepEqual(old.Bootstrap, cfg.Bootstrap) {
		if err := a.server.SetBootstrap(cfg.Bootstrap); err != nil {
			return err
		}
	}
	if !reflect.DeepEqual(old.Upstreams, cfg.Upstreams) {
		a.server.SetUpstreams(upstreams(cfg))
	}
	if err := a.applyForwardsLocked(cfg); err != nil {
		return err
	}
	if !small {
		listeners.commit()
	}
	if old.Dnstap != cfg.Dnstap {
		a.useTap(cfg)
	}
	a.allow.Store(&cfg.Access.Allow)
	a.level.Set(level)
	a.cfg.Store(cfg)
	a.pruneSubscriptions()
	wake(a.renamed)
	a.reportClashesLocked(cfg)
	a.reportECH(old, cfg)
	return nil
}

// checkParts finds what a part would refuse, before any is changed.
func checkParts(cfg *config.Config) (level slog.Level, err error) {
	settings := serverSettings(cfg)
	selected := newNumbers(cfg)
	_, zones := upstream.NewZones(forwards(cfg, selected))
	return level, errors.Join(
		devices.Check(deviceList(cfg, selected)),
		settings.Check(),
		zones,
		level.UnmarshalText([]byte(cfg.Messages.Level)),
	)
}

// applyLists puts in force what list files and fetched copies hold now.
func (a *app) applyLists() error {
	a.applying.Lock()
	defer a.applying.Unlock()
	if err := a.configureLists(a.cfg.Load(), a.selected); err != nil {
		return err
	}
	return a.reselectLocked() // rules may name other devices now
}

// configureLists puts the lists of settings in force, with the latest edition of
// the shipped ones.
func (a *app) configureLists(cfg *config.Config, s *membership) error {
	before := a.chooseEdition(cfg)
	if err := a.configure(cfg, s); err != nil {
		a.edition.Store(before)
		return err
	}
	a.tellEdition(before)
	return nil
}

// configure puts the lists of settings in force, for who has settings by s, with the
// edition chosen, and with the names that devices have now.
func (a *app) configure(cfg *config.Config, s *membership) error {
	named := a.deviceNames(cfg)
	if err := a.lists.Configure(a.listOptions(cfg, s, named)); err != nil {
		return err
	}
	a.named = named
	return nil
}

// keepLastGood keeps settings that work for a start with broken ones.
func (a *app) keepLastGood(cfg *config.Config) {
	if err := cfg.KeepAsLastGood(time.Now()); err != nil {
		a.logger.Warn("these settings are not kept for a start with broken ones", "error", err)
	}
}

// listOptions are those of the running lists. named are hosts lines of devices.
func (a *app) listOptions(cfg *config.Config, s *membership, named string) blocklists.Options {
	o := listOptions(cfg, s, a.edition.Load())
	o.Groups = groupSettings(cfg, s, a.cfg.Load(), a.selected)
	o.Temporary, o.Ended = s.inLists(a.temporary.all()), a.temporaryEnded
	o.Subscribed = subscribed(a.subscriptions)
	o.Local = localLists(cfg, named)
	o.Report = func(kind, subject, detail string) {
		a.log.Report(kind, subject, detail)
		wake(a.renamed) // rules may name other devices now
	}
	o.Logger = a.logger
	return o
}

// reportECH says from when on answers to a group leave out ECH, and from when on no
// longer.
func (a *app) reportECH(before, now *config.Config) {
	strips := func(cfg *config.Config, name string) bool {
		return slices.ContainsFunc(cfg.Groups, func(g config.Group) bool { return g.Name == name && g.StripECH })
	}
	for _, g := range now.Groups {
		if g.StripECH && !strips(before, g.Name) {
			a.log.Report("ech", g.Name, "left out of answers to the group (groups.strip_ech): its devices cannot hide the names of servers that they connect to")
		}
	}
	for _, g := range before.Groups {
		if g.StripECH && !strips(now, g.Name) {
			a.log.Report("ech", g.Name, "no longer left out of answers to the group")
		}
	}
}
