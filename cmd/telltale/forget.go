package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"telltale/atomicfile"
	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

// Forgetting a device is work of the running server. What is to be deleted stands in a
// file of data.dir until all of it is: a server that is killed meanwhile goes on when it
// starts again.

const forgettingFile = "forgetting.json"

// A forgetting is what is to be deleted. Its keys never change.
type forgetting struct {
	Devices []querylog.DeviceSpan `json:"devices"`
	Words   []string              `json:"words"`
}

// whole returns the identities that are forgotten for all times.
func (f *forgetting) whole() map[string]bool {
	all := map[string]bool{}
	for _, d := range f.Devices {
		if d.From.IsZero() && d.Until.IsZero() {
			all[d.Device] = true
		}
	}
	return all
}

func forgettingPath(cfg *config.Config) string { return filepath.Join(cfg.Data.Dir, forgettingFile) }

// readForgetting returns what an earlier server did not finish; nil for nothing.
func readForgetting(cfg *config.Config) (*forgetting, error) {
	text, err := os.ReadFile(forgettingPath(cfg))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f := &forgetting{}
	if err == nil {
		err = json.Unmarshal(text, f)
	}
	if err != nil {
		return nil, fmt.Errorf("a device is not wholly forgotten: %s: %w", forgettingPath(cfg), err)
	}
	return f, nil
}

// forget deletes what there is of a device, and returns when all is deleted.
func (a *app) forget(ctx context.Context, w web.Forget) (web.Forgotten, error) {
	f, name, err := a.beginForgetting(ctx, w.Device)
	if err != nil {
		return web.Forgotten{}, err
	}
	type outcome struct {
		web.Forgotten
		error
	}
	done := make(chan outcome, 1)
	a.work.Go(func() {
		got, err := a.finishForgetting(a.background, f)
		done <- outcome{got, err}
	})
	select {
	case o := <-done:
		o.Name = name
		return o.Forgotten, o.error
	case <-ctx.Done():
		return web.Forgotten{}, ctx.Err() // it goes on
	}
}

// beginForgetting finds out what there is of a device, and writes it down.
func (a *app) beginForgetting(ctx context.Context, who string) (*forgetting, string, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	cfg := a.cfg.Load()
	if other, err := readForgetting(cfg); err != nil || other != nil {
		if err == nil && !a.forgettingRuns.Load() {
			err = errors.New("an earlier device is not wholly forgotten, as the messages say: restart Telltale, which goes on with it")
		}
		return nil, "", cmp.Or(err, errForgetting)
	}
	d, _, err := a.findKnown(ctx, who)
	if err != nil {
		return nil, "", err
	}
	all, ids, err := a.loggedDevices(ctx)
	if err != nil {
		return nil, "", err
	}
	f, err := forgettingOf(d.Device, all, ids)
	if err != nil {
		return nil, "", web.Invalid(err)
	}
	text, err := json.Marshal(f)
	if err == nil {
		err = atomicfile.Write(forgettingPath(cfg), text, 0o600)
	}
	return f, ids.name(d.Device), err
}

// forgettingOf returns what there is of a device of today.
func forgettingOf(device string, all []devices.DeviceStatus, ids *identities) (*forgetting, error) {
	f := &forgetting{Devices: slices.Clone(ids.of[device])}
	if len(f.Devices) == 0 {
		f.Devices = []querylog.DeviceSpan{{Device: device}}
	}
	for _, s := range f.Devices {
		switch {
		case s.Device == thisHost:
			return nil, fmt.Errorf("%s is the machine that Telltale runs on, which is known anew at once; log: false in the settings keeps a device out of the log", thisHost)
		case ids.named[s.Device] && s.Until.IsZero():
			return nil, fmt.Errorf("the settings name %s: take it out there, or all of it is known anew at once; then forget it", s.Device)
		}
	}
	whole := f.whole()
	theirs := map[string]bool{} // what others had, too
	for i := range all {
		for _, b := range all[i].Bindings {
			if all[i].Device != device && b.Source != devices.BareAddress {
				theirs[b.Addr.String()], theirs[b.MAC], theirs[b.Name] = true, true, true
			}
		}
	}
	add := func(words ...string) {
		for _, w := range words {
			if w != "" && !theirs[w] && !slices.Contains(f.Words, w) {
				f.Words = append(f.Words, w)
			}
		}
	}
	for i := range all {
		for _, b := range all[i].Bindings {
			if all[i].Device != device || !whole[b.Device] {
				continue
			}
			add(b.Device, b.MAC, b.Name)
			if bare := "addr:" + b.Addr.String(); b.Addr.IsValid() && !b.Prefix.IsValid() && !theirs[b.Addr.String()] {
				add(bare, b.Addr.String())
				if s := (querylog.DeviceSpan{Device: bare}); ids.last(bare) == bare && ids.view.Name(bare) == "" && !slices.Contains(f.Devices, s) {
					f.Devices = append(f.Devices, s) // lookups from before its MAC was known
				}
			}
		}
	}
	add(ids.view.Name(device))
	sorting.By(f.Words, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) }) // the longest first
	return f, nil
}

// thisHost is the identity of this machine in package devices.
const thisHost = "this-host"

var errForgetting = errors.New("another device is being forgotten: wait until that is done")

// finishForgetting deletes what is written down, and then that it was.
func (a *app) finishForgetting(ctx context.Context, f *forgetting) (web.Forgotten, error) {
	if !a.forgettingRuns.CompareAndSwap(false, true) {
		return web.Forgotten{}, errForgetting
	}
	defer a.forgettingRuns.Store(false)
	defer a.lastDay.forget()
	whole := f.whole()
	about := map[string]bool{}
	for identity := range whole {
		about[identity] = true
	}
	for _, w := range f.Words {
		if corrections.IsSplit(w) {
			about[w] = true
		}
	}
	a.forgetBlocked(f)
	if err := a.forgetTemporary(about); err != nil {
		return web.Forgotten{}, err
	}
	a.forgetMarks(f.Words)
	inForce := a.ledger.Load().Forget(whole)
	if err := a.corrected.Forget(about); err != nil {
		return web.Forgotten{}, err
	}
	got, err := a.log.Forget(ctx, querylog.Forgetting{Devices: f.Devices, Words: f.Words, Bindings: inForce})
	if err != nil {
		return web.Forgotten{}, err
	}
	if counts := a.counts.Load(); counts != nil {
		for device := range whole {
			counts.Forget(device)
		}
	}
	if err := a.forgetAlerts(f); err != nil {
		return web.Forgotten{}, err
	}
	if err := a.forgetInAccounts(whole); err != nil {
		return web.Forgotten{}, err
	}
	reports, err := a.forgetReports(f.Words)
	if err != nil {
		return web.Forgotten{}, err
	}
	if err := a.forgetDestinations(ctx); err != nil {
		return web.Forgotten{}, err
	}
	out := web.Forgotten{Rows: got.Rows, Lookups: got.Lookups, Bindings: got.Bindings, Hours: got.Hours, Lines: got.Lines, Files: append(got.Files, reports...), Rules: a.rulesWith(f.Words)}
	if err := leaveToCenter(a.cfg.Load(), f, time.Now()); err != nil {
		return out, err
	}
	if err := os.Remove(forgettingPath(a.cfg.Load())); err != nil {
		return out, err
	}
	a.logger.Info("a device was forgotten", "lookups", out.Lookups)
	return out, nil
}

// resumeForgetting goes on with what an earlier server did not finish.
func (a *app) resumeForgetting(ctx context.Context) {
	f, err := readForgetting(a.cfg.Load())
	if err == nil && f != nil {
		_, err = a.finishForgetting(ctx, f)
	}
	if err != nil && ctx.Err() == nil {
		a.logger.Error("a device is not wholly forgotten", "error", err)
	}
}

// forgetMarks drops the findings in which a device is: the ledger would name it when they
// are over.
func (a *app) forgetMarks(words []string) {
	a.marking.Lock()
	defer a.marking.Unlock()
	for _, marks := range []map[string]string{a.marked, a.markedNetwork} {
		maps.DeleteFunc(marks, func(key, says string) bool { return querylog.HasWord(key+"\n"+says, words) })
	}
}

// rulesWith returns the lines of the user's own file that name what was forgotten.
func (a *app) rulesWith(words []string) (lines []int) {
	text, err := os.ReadFile(filepath.Join(a.cfg.Load().Lists.Dir, ownFile))
	if err != nil {
		return nil
	}
	for i, line := range strings.Split(string(text), "\n") {
		if slices.ContainsFunc(words, func(w string) bool { return strings.Contains(line, "'"+w+"'") }) {
			lines = append(lines, i+1)
		}
	}
	return lines
}
