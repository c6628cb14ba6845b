package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/config"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// The files of the user's own rules, as an editor in a web page sees them.

// An ownFileInfo is a file of the user's own, and how its lines are read.
type ownFileInfo struct {
	file  string // as the API calls it
	path  string
	list  string
	own   bool
	group string // for whose devices alone its rules hold
	lines format.Options
}

// ownFiles are the files of the user's own: own.txt, those of groups, and the others of
// lists.dir.
func (a *app) ownFiles(cfg *config.Config) (all []ownFileInfo) {
	add := func(file, path, group string) {
		if slices.ContainsFunc(all, func(f ownFileInfo) bool { return f.path == path }) {
			return
		}
		name, kind, o, ok := a.lists.LinesOf(path)
		if !ok {
			if file != ownFile {
				return
			}
			name, kind = blocklists.ListName(path), blocklists.OwnList // it may be made
			o = new(blocklists.ListSettings).FormatOptions(name, kind)
		}
		all = append(all, ownFileInfo{file: file, path: path, list: name, own: kind == blocklists.OwnList, group: group, lines: o})
	}
	add(ownFile, filepath.Join(cfg.Lists.Dir, ownFile), "")
	for _, l := range groupRules(cfg) {
		add(l.Name+".txt", l.Path, l.Group)
	}
	for _, l := range a.lists.Status() {
		if l.Kind == blocklists.UserList && !l.Unread && filepath.Dir(l.Path) == filepath.Clean(cfg.Lists.Dir) {
			add(filepath.Base(l.Path), l.Path, "")
		}
	}
	return all
}

func (a *app) ownFileOf(file string) (ownFileInfo, error) {
	var known []string
	for _, f := range a.ownFiles(a.cfg.Load()) {
		if f.file == file {
			return f, nil
		}
		known = append(known, f.file)
	}
	return ownFileInfo{}, web.NotFound(fmt.Errorf("%q is no file of your own rules; these are: %s", printable(file), strings.Join(known, ", ")))
}

func (a *app) ruleFiles() []web.RuleFileInfo {
	all := []web.RuleFileInfo{}
	status := a.lists.Status()
	for _, f := range a.ownFiles(a.cfg.Load()) {
		info := web.RuleFileInfo{File: f.file, Path: f.path, List: f.list, Own: f.own, Group: f.group}
		if i := slices.IndexFunc(status, func(l blocklists.ListStatus) bool { return l.Path == f.path }); i >= 0 {
			info.Rules, info.BadLines = status[i].Rules, status[i].BadSeen
		}
		all = append(all, info)
	}
	return all
}

// ruleFile returns a file of the user's own, line by line, and its version.
func (a *app) ruleFile(file string) (web.RuleFile, string, error) {
	f, err := a.ownFileOf(file)
	if err != nil {
		return web.RuleFile{}, "", err
	}
	return f.read()
}

func (f *ownFileInfo) read() (web.RuleFile, string, error) {
	text, err := blocklists.ReadRuleFile(f.path, f.lines)
	if err != nil {
		return web.RuleFile{}, "", err
	}
	out := web.RuleFile{File: f.file, Path: f.path, List: f.list, Own: f.own, Group: f.group, Text: text.Text, Lines: []web.RuleLine{}, BadLines: len(text.Mistakes)}
	now := time.Now()
	for i := range text.Lines {
		out.Lines = append(out.Lines, ruleLineOf(i+1, &text.Lines[i], now))
	}
	return out, text.Version, nil
}

func ruleLineOf(n int, l *blocklists.RuleLine, now time.Time) web.RuleLine {
	out := web.RuleLine{Line: n, Text: l.Text, Comment: l.Comment, Bad: l.Bad}
	for i := range l.Rules {
		r := &l.Rules[i]
		if n := r.Annotation; n != nil && !n.Until.IsZero() && !n.Until.Equal(format.Ended) {
			until := n.Until.UTC()
			out.Until, out.Ended = &until, !until.After(now)
		}
		out.Rules = append(out.Rules, lineRuleOf(r))
	}
	return out
}

// What LineRule.Does and LineRule.Match say. The words never change.
var (
	doesWords  = [...]string{format.Block: "block", format.Allow: "allow", format.Known: "known", format.Answer: "answer", format.Cancel: "cancel", format.Unanswer: "no-rewrite"}
	matchWords = [...]string{format.Subtree: "subtree", format.Exact: "exact", format.Below: "below", format.Pattern: "pattern", format.Address: "address", format.Server: "server"}
)

func lineRuleOf(r *format.Rule) web.LineRule {
	out := web.LineRule{Does: doesWords[r.Action], Match: matchWords[r.Match], Name: r.Regex}
	if len(r.Name) > 0 {
		out.Name = string(dnswire.AppendText(nil, r.Name))
	}
	x := r.Extra
	if x == nil {
		return out
	}
	switch {
	case r.Match == format.Address, r.Match == format.Server && x.Prefix.IsValid():
		out.Name = x.Prefix.String()
	case r.Match == format.Server:
		out.Name = string(dnswire.AppendText(nil, x.Server))
	}
	out.Clients, out.Tags = x.Clients, x.Tags
	for _, t := range x.Types {
		out.Types = append(out.Types, dnswire.TypeString(t))
	}
	for _, t := range x.NotTypes {
		out.Types = append(out.Types, "~"+dnswire.TypeString(t))
	}
	return out
}

// putRules puts a text in the place of a file's, and returns when it is in force.
func (a *app) putRules(file, version, text string, keepBad bool) (web.RuleFile, string, error) {
	return a.changeRuleFile(file, func(f *ownFileInfo) error {
		return blocklists.ReplaceRuleFile(f.path, version, []byte(text), f.lines, keepBad)
	})
}

// removeRuleLine removes a line with rules, and returns when they are out of force.
func (a *app) removeRuleLine(file, version string, line int) (web.RuleFile, string, error) {
	return a.changeRuleFile(file, func(f *ownFileInfo) error {
		_, err := blocklists.RemoveLine(f.path, version, line, f.lines)
		return err
	})
}

// changeRuleFile changes a file, and puts that in force.
func (a *app) changeRuleFile(file string, change func(*ownFileInfo) error) (out web.RuleFile, now string, err error) {
	f, err := a.ownFileOf(file)
	if err != nil {
		return out, "", err
	}
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg := a.cfg.Load()
	if err := change(&f); err != nil {
		return out, "", mayNotWrite(filepath.Dir(f.path), ruleFileError(err))
	}
	if err := a.applyRulesLocked(cfg); err != nil {
		return out, "", web.NotInForce(fmt.Errorf("%s is written, but not in force: %w", f.path, err))
	}
	return f.read()
}

// ruleFileError returns an error of a change as the API tells it.
func ruleFileError(err error) error {
	var stale *blocklists.VersionError
	var bad *blocklists.MistakesError
	switch {
	case errors.As(err, &stale):
		return &web.StaleError{Err: err, ETag: blocklists.VersionOf([]byte(stale.Now)), Text: strings.ToValidUTF8(stale.Now, "\ufffd")}
	case errors.As(err, &bad):
		return &web.LinesError{Err: err, Lines: badLinesOf(bad.Lines)}
	case errors.Is(err, blocklists.ErrNoLine):
		return web.NotFound(err)
	}
	return err
}

const mostBadLines = 1000 // that are told of a text

func badLinesOf(bad []blocklists.BadLine) []web.BadLine {
	all := []web.BadLine{}
	for i := range bad[:min(len(bad), mostBadLines)] {
		all = append(all, web.BadLine(bad[i]))
	}
	return all
}

// checkOwnVersion finds out whether own.txt is of a version; "" is any.
func checkOwnVersion(path, version string) error {
	if version == "" || version == "*" {
		return nil
	}
	f, err := blocklists.ReadRuleFile(path, format.Options{Own: true})
	if err != nil {
		return err
	}
	if f.Version != version {
		return ruleFileError(&blocklists.VersionError{Path: path, Now: f.Text})
	}
	return nil
}

// How much of the log a preview looks at, and how much it tells.
const (
	previewDay     = 24 * time.Hour
	previewRows    = 200_000
	previewTime    = 5 * time.Second
	previewNames   = 500
	previewDevices = 50 // of a name
)

// previewRules decides the lookups of the last day anew, as if a text were in the place
// of a file's.
func (a *app) previewRules(ctx context.Context, file, text string) (web.RulePreview, error) {
	f, err := a.ownFileOf(file)
	if err != nil {
		return web.RulePreview{}, err
	}
	if !f.own {
		return web.RulePreview{}, web.Invalid(fmt.Errorf("%s has no rules of your own that go before those of lists: what a list changes is seen by observing it (observe: true in lists.settings)", f.file))
	}
	p, err := a.lists.PreviewOwn(f.path, f.group, []byte(text))
	if err != nil {
		return web.RulePreview{}, err
	}
	now := time.Now().UTC()
	out := web.RulePreview{File: f.file, From: now.Add(-previewDay), Until: now, BadLines: badLinesOf(p.Bad)}
	a.log.Flush()
	_, ids := a.knownDevices()
	look := foreseeing{asker: a.asker, preview: p, ids: ids, names: map[string]*foreseenName{}, decided: map[foreseenKey]foreseen{}, askers: map[string]foreseenAsker{}}
	err = a.readLog(ctx, func(ctx context.Context, l *openedLog) error {
		until, cancel := context.WithTimeout(ctx, previewTime)
		defer cancel()
		for row, err := range l.Rows(until, querylog.Filter{Since: out.From, Limit: previewRows}) {
			if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				out.LeftOut = fmt.Sprintf("the rest of the log: looking took %v, which is the most", previewTime)
				return nil
			}
			if err != nil {
				return err
			}
			if out.Looked == 0 {
				out.From = row.Time.Time
			}
			out.Looked++
			look.add(&row)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	if out.Looked == previewRows {
		out.LeftOut = fmt.Sprintf("rows before %s: at most %d are looked at, the last", when(out.From), previewRows)
	}
	out.Changed, out.Names = look.result()
	return out, nil
}

// A foreseeing sums up which names would be decided otherwise.
type foreseeing struct {
	asker   func(who string) (settings uint16, addr netip.Addr, err error)
	preview *blocklists.Preview
	ids     *identities
	names   map[string]*foreseenName
	decided map[foreseenKey]foreseen
	askers  map[string]foreseenAsker
}

type foreseenKey struct{ name, qtype, client string }
type foreseen struct{ now, then blocklists.Action }
type foreseenAsker struct {
	settings uint16
	addr     netip.Addr
}

type foreseenName struct {
	web.PreviewedName
	devices map[string]int64
}

const mostForeseen = 50_000 // questions whose decision is kept

func (s *foreseeing) add(row *querylog.Row) {
	if row.Name == "" || row.Folded {
		return
	}
	key := foreseenKey{row.Name, row.Type, row.Client}
	d, known := s.decided[key]
	if !known {
		d = s.decide(row)
		if len(s.decided) < mostForeseen {
			s.decided[key] = d
		}
	}
	if d.now == d.then {
		return
	}
	at := row.Name + " " + d.now.String() + " " + d.then.String()
	n := s.names[at]
	if n == nil {
		n = &foreseenName{PreviewedName: web.PreviewedName{Name: row.Name, Now: d.now.String(), Then: d.then.String()}, devices: map[string]int64{}}
		s.names[at] = n
	}
	n.Lookups += int64(row.Count)
	n.devices[s.ids.now(row.Device, row.Time.Time)] += int64(row.Count)
}

func (s *foreseeing) decide(row *querylog.Row) (d foreseen) {
	name, err := dnswire.ParseName(row.Name)
	qtype, ok := dnswire.ParseType(row.Type)
	if err != nil || !ok {
		return d
	}
	who, known := s.askers[row.Client]
	if !known {
		if who.settings, who.addr, err = s.asker(row.Client); err != nil {
			who = foreseenAsker{}
		}
		s.askers[row.Client] = who
	}
	d.now, d.then = s.preview.Decide(&name, qtype, who.settings, who.addr)
	return d
}

// result returns the names, those asked for most first, and how many there are.
func (s *foreseeing) result() ([]web.PreviewedName, int) {
	all := []web.PreviewedName{}
	for _, n := range s.names {
		n.Devices = []web.PreviewedDevice{}
		for device, lookups := range n.devices {
			n.Devices = append(n.Devices, web.PreviewedDevice{Device: device, Name: s.ids.name(device), Lookups: lookups})
		}
		sorting.By(n.Devices, func(a, b web.PreviewedDevice) int {
			return cmp.Or(cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Device, b.Device))
		})
		n.Devices = n.Devices[:min(len(n.Devices), previewDevices)]
		all = append(all, n.PreviewedName)
	}
	sorting.By(all, func(a, b web.PreviewedName) int {
		return cmp.Or(cmp.Compare(b.Lookups, a.Lookups), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(len(all), previewNames)], len(all)
}
