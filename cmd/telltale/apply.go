package main

import (
	"fmt"
	"log/slog"
	"slices"

	"telltale/blocklists"
	"telltale/config"
)

// watchFailed says that changed settings are found late, or no longer.
func (a *app) watchFailed(err error) {
	if err == nil {
		a.logger.Info("the settings file is watched again")
		return
	}
	a.logger.Warn("the settings file cannot be watched", "error", err)
}

// apply puts changed settings in force as far as that is possible while
// serving, and says what is not.
func (a *app) apply(cfg *config.Config, err error) {
	if err != nil {
		a.logger.Error("the changed settings are not in force: what was in force stays", "error", err)
		a.log.Report("config-refused", "settings", err.Error())
		return
	}
	old := a.cfg.Load()
	live, changed := config.Diff(old, cfg)
	if len(live)+len(changed) == 0 {
		return
	}
	_, restart := config.Diff(a.first, cfg)
	if err := a.applyLive(old, cfg, live); err != nil {
		a.logger.Error("the changed settings are not wholly in force", "error", err)
		a.log.Report("config-refused", "settings", err.Error())
		return
	}
	a.cfg.Store(cfg)
	if len(live) > 0 {
		a.logger.Info("changed settings are in force", "keys", live)
	}
	if len(restart) > 0 {
		a.logger.Warn("changed settings come into force with a restart", "keys", restart)
	}
	a.log.Report("config-changed", "settings", fmt.Sprintf("in force: %v; with a restart: %v", live, restart))
}

func (a *app) applyLive(old, cfg *config.Config, live []string) error {
	if err := a.ledger.Load().Configure(deviceList(cfg)); err != nil {
		return err
	}
	if err := a.configureLists(cfg); err != nil {
		return err
	}
	if err := a.server.Configure(serverSettings(cfg)); err != nil {
		return err
	}
	if slices.Contains(live, "upstreams") {
		a.server.SetUpstreams(upstreams(cfg))
	}
	a.allow.Store(&cfg.Access.Allow)
	return setLevel(a.level, cfg.Messages.Level)
}

func (a *app) configureLists(cfg *config.Config) error {
	a.subscriptions.Set(subscriptionLists(cfg))
	return a.lists.Configure(a.listOptions(cfg))
}

func (a *app) listOptions(cfg *config.Config) blocklists.Options {
	o := listOptions(cfg)
	o.Subscribed = subscribed(a.subscriptions)
	o.Report, o.Logger = a.log.Report, a.logger
	return o
}

func setLevel(level *slog.LevelVar, word string) error {
	var l slog.Level
	if err := l.UnmarshalText([]byte(word)); err != nil {
		return err
	}
	level.Set(l)
	return nil
}
