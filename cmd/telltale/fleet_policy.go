package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"telltale/blocklists"
	"telltale/config"
	"telltale/fleet/authority"
	"telltale/fleet/policy"
	"telltale/fleet/roster"
	"telltale/querylog"
)

// The policy of the center on this node, and what the center is told of the node.

// centerRules is what the list of the center's own rules is called on a node.
const centerRules = "center"

// centerLists are the center's lists that hold here. They come behind all of this
// machine's own, so that its own.txt goes before the center's.
func centerLists(cfg *config.Config) (all []blocklists.LocalList) {
	if cfg.Policy == "" {
		return nil
	}
	dir := filepath.Join(cfg.Policy, policy.Lists)
	entries, _ := os.ReadDir(dir) // one that cannot be read has no lists
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == ownFile:
			all = append(all, blocklists.LocalList{Name: centerRules, Path: path, Kind: blocklists.OwnList, Moves: true})
		case blocklists.IsListFile(e.Name()):
			all = append(all, blocklists.LocalList{Name: blocklists.ListName(e.Name()), Path: path, Kind: blocklists.UserList, Moves: true})
		}
	}
	for i := range cfg.Groups {
		name := cfg.Groups[i].Name
		path := filepath.Join(cfg.Policy, policy.Groups, name+".txt")
		if _, err := os.Stat(path); err == nil {
			all = append(all, blocklists.LocalList{Name: centerRules + ":" + blocklists.GroupDir + "/" + name, Path: path, Kind: blocklists.OwnList, Group: name, Moves: true})
		}
	}
	return all
}

// applyPolicy puts a version of the center's policy in force, all of it or nothing.
func (a *app) applyPolicy(version string) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	dir := a.cfg.Load().PolicyDir()
	before := policy.InForce(dir)
	if err := policy.Use(dir, version); err != nil {
		return err
	}
	if err := a.applyPolicyLocked(); err != nil {
		return errors.Join(err, policy.Use(dir, before))
	}
	return nil
}

func (a *app) applyPolicyLocked() error {
	cfg, err := a.load()
	if err == nil {
		err = listNameMistakes(cfg)
	}
	if err == nil {
		err = a.swapLocked(config.Live(a.cfg.Load(), cfg))
	}
	if err != nil {
		return err
	}
	a.loaded = cfg
	a.refused.Store("")
	a.keepLastGood(cfg)
	return a.reselectLocked()
}

// tellPolicy says which policy is in force, or why another is not.
func (a *app) tellPolicy(st policy.Status) {
	switch {
	case st.Denied:
		a.logger.Error("this node is refused by its center: it goes on with the policy that it has", "policy", st.Version, "error", st.Problem)
	case st.Problem != "":
		a.logger.Warn("the center does not answer: this node goes on with the policy that it has", "policy", st.Version, "error", st.Problem)
	case st.Refused != "":
		a.logger.Error("the center's policy is not in force: what was in force stays", "policy", st.Refused, "error", st.Why)
		a.log.Report("config-refused", "policy", fmt.Sprintf("%s of the center: %s", st.Refused, st.Why))
	default:
		a.logger.Info("the center's policy is in force", "policy", st.Version, "center", st.Center)
		a.log.Report("config-changed", "policy", fmt.Sprintf("%s of the center is in force", st.Version))
	}
}

// stateEvery is how often a node says how it stands where nothing changed.
const stateEvery = 10 * time.Second

// reportState tells the center how this node stands, until ctx ends.
func (a *app) reportState(ctx context.Context, m *fleetMember) {
	told := ""
	contact := contactKeeper{file: contactFile(a.cfg.Load())}
	every := time.NewTicker(stateEvery)
	defer every.Stop()
	for {
		err := m.sendState(ctx, a.fleetState(ctx, m))
		if ctx.Err() != nil {
			return
		}
		if err := contact.note(err, time.Now()); err != nil {
			a.logger.Warn("how the center answers is not kept for 'telltale fleet status'", "error", err)
		}
		switch {
		case err == nil:
			told = ""
		case err.Error() != told:
			told = err.Error()
			a.logger.Warn("the center is not told how this node stands, and it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-m.changed:
		case <-every.C:
		}
	}
}

// fleetState is how this node stands.
func (a *app) fleetState(ctx context.Context, m *fleetMember) *roster.State {
	st := &roster.State{Time: time.Now().UTC(), Program: "telltale " + buildVersion(), Started: a.started.UTC(), Lists: []roster.List{}}
	if m.policy != nil {
		p := m.policy.Status()
		st.Policy, st.Refused, st.Why = p.Version, p.Refused, p.Why
	}
	for _, l := range a.lists.Status() {
		of := roster.List{Name: l.Name, Kind: l.Kind.String(), Rules: l.Rules}
		if l.TextHash != 0 {
			of.Hash = fmt.Sprintf("%016x", l.TextHash)
		}
		st.Lists = append(st.Lists, of)
	}
	if s := m.shipper.Load(); s != nil {
		sent := s.State(ctx)
		st.Shipped = roster.Shipping{Until: sent.LastSent, Waiting: sent.Waiting, Problem: sent.Error}
		if sent.Waiting > 0 && !sent.Oldest.IsZero() {
			st.Shipped.Until = sent.Oldest
		}
	}
	if a.cfg.Load().Log.Seal {
		a.sealState(st)
	}
	return st
}

// sealState adds the last checkpoint of the sealed log.
func (a *app) sealState(st *roster.State) {
	dir := a.cfg.Load().Data.Dir
	_, note, err := querylog.ReadSealHead(dir)
	if err != nil {
		return // there is none yet, or the log says what is wrong
	}
	key, err := querylog.ReadSealKey(querylog.SealKeyPath(dir))
	if err != nil {
		return
	}
	st.Checkpoint, st.Key = string(note), key.Public
}

// sendState sends it to the first center that answers.
func (m *fleetMember) sendState(ctx context.Context, st *roster.State) error {
	body, err := json.Marshal(st)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	var errs []error
	for _, center := range m.centers {
		err := m.post(ctx, center+roster.Path, body)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", center, err))
	}
	return errors.Join(errs...)
}

// post sends JSON to the center.
func (m *fleetMember) post(ctx context.Context, url string, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := m.client.Do(r)
	if err != nil {
		return authority.ExplainTLS(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 2000))
	if err == nil && res.StatusCode/100 != 2 {
		err = authority.AnswerError(res, text)
	}
	return err
}
