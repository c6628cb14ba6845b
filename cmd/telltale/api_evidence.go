package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"telltale/dnswire"
	"telltale/evidence/alert"
	"telltale/evidence/bundle"
	"telltale/evidence/candidate"
	"telltale/evidence/experiment"
	"telltale/querylog"
	"telltale/web"
)

// What the API hands on of the log for others to check: the commands of telltale evidence, while
// the server runs.

const (
	bundleTime  = 10 * time.Minute // that making one may take
	bundleKept  = time.Hour        // in which it can be fetched
	mostBundles = 4                // that are kept at once; the oldest goes
	bundleSpare = 256 << 20        // octets of the disk that making one leaves free, for the log
	leafOctets  = 48               // of a file, of each row or line of the log that is not shown
	stepEvery   = 500 * time.Millisecond
)

// keptBundles are those that can be fetched. Their files have no names any more, so that nothing is
// left of them when the server ends, however it does. The zero value is ready.
type keptBundles struct {
	making sync.Mutex // held while one is made

	mu  sync.Mutex
	all []*keptBundle // the oldest first
}

// A keptBundle is one of them. The last who holds its file closes it.
type keptBundle struct {
	web.Bundle
	by      web.Caller // who had it made
	file    *os.File
	holders int // those who fetch it, and keptBundles; guarded by keptBundles.mu
}

// add keeps a bundle for a while.
func (k *keptBundles) add(b *keptBundle) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b.holders = 1
	k.all = append(k.all, b)
	for len(k.all) > mostBundles {
		k.dropLocked(k.all[0])
	}
	time.AfterFunc(time.Until(b.Expires), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.dropLocked(b)
	})
}

// dropLocked lets nobody fetch a bundle any more.
func (k *keptBundles) dropLocked(b *keptBundle) {
	if i := slices.Index(k.all, b); i >= 0 {
		k.all = slices.Delete(k.all, i, i+1)
		b.releaseLocked()
	}
}

func (b *keptBundle) releaseLocked() {
	if b.holders--; b.holders == 0 {
		b.file.Close()
	}
}

// close drops all.
func (k *keptBundles) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.all) > 0 {
		k.dropLocked(k.all[0])
	}
}

// A heldBundle is the file of a bundle for one who fetches it.
type heldBundle struct {
	io.Reader
	b *keptBundle
	k *keptBundles
}

func (h *heldBundle) Close() error {
	h.k.mu.Lock()
	defer h.k.mu.Unlock()
	h.b.releaseLocked()
	return nil
}

// bundleFile returns a bundle that the caller had made. What they may see is to be the same still.
func (a *app) bundleFile(ctx context.Context, id string) (web.BundleFile, error) {
	by, k := web.CallerOf(ctx), &a.bundles
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, b := range k.all {
		if b.ID == id && b.by.Name == by.Name && b.by.Limited == by.Limited && slices.Equal(b.by.Devices, by.Devices) {
			b.holders++
			return web.BundleFile{Bundle: b.Bundle, ReadCloser: &heldBundle{io.NewSectionReader(b.file, 0, b.Bytes), b, k}}, nil
		}
	}
	return web.BundleFile{}, web.NotFound(fmt.Errorf("there is no such bundle of yours: one can be fetched for %v after it was made, and of the last %d", bundleKept, mostBundles))
}

// checkpoints returns the last checkpoint.
func (a *app) checkpoints() ([]web.Checkpoint, error) {
	head, text, err := querylog.ReadSealHead(a.cfg.Load().Data.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return []web.Checkpoint{}, nil
	}
	if err != nil {
		return nil, web.Unavailable(err)
	}
	return []web.Checkpoint{checkpointOf(&head, text)}, nil
}

// exportEvidence looks whether a bundle can be made, and returns what makes it.
func (a *app) exportEvidence(ctx context.Context, n web.NewBundle) (web.BundleMaker, error) {
	by := web.CallerOf(ctx)
	if by.Limited && n.Device == "" {
		return nil, web.Forbidden(errors.New("a bundle of all devices is about more than those that you may see: say of which device it is to be"))
	}
	if n.Redact && n.Device == "" {
		return nil, web.Invalid(errors.New("redact_others says what is withheld of other devices than device: say which that is"))
	}
	of := &bundleOf{redact: n.Redact || by.Limited}
	of.device = n.Device
	b := &bundling{of: of, now: time.Now(), rules: map[ruleUse]int64{}, listed: func(context.Context) ([]web.List, error) { return a.listStatus(), nil }}
	var err error
	if b.since, b.until, of.zone, err = readPast(&web.Period{From: n.From, Until: n.Until, Zone: n.Zone}, "7d"); err != nil {
		return nil, err
	}
	if err := a.readLog(ctx, func(ctx context.Context, l *openedLog) error { return l.checkWho(ctx, web.Whose{Device: n.Device}) }); err != nil {
		return nil, err
	}
	return func(ctx context.Context, step func(web.BundleStep)) (web.Bundle, error) {
		if !a.bundles.making.TryLock() {
			return web.Bundle{}, errors.New("another bundle is being made: try again when it is done")
		}
		defer a.bundles.making.Unlock()
		ctx, cancel := context.WithTimeoutCause(ctx, bundleTime, fmt.Errorf("it took longer than %v: ask for a shorter time, or use 'telltale evidence export'", bundleTime))
		defer cancel()
		stop := context.AfterFunc(a.background, cancel)
		defer stop()
		made, err := a.makeBundle(ctx, b, step)
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return made, err
	}, nil
}

// makeBundle makes a bundle and keeps it.
func (a *app) makeBundle(ctx context.Context, b *bundling, step func(web.BundleStep)) (out web.Bundle, err error) {
	cfg := a.cfg.Load()
	a.log.Flush()
	if b.l, err = a.openLog(ctx, cfg); err != nil {
		return out, err
	}
	defer b.l.Close()
	by := web.CallerOf(ctx)
	b.ctx, b.l.caller, b.l.known = ctx, by, a.catalog
	b.whose = querylog.Filter{Device: b.of.device}
	if err := b.l.choose(&b.whose, true); err != nil {
		return out, err
	}
	if err := b.readHead(); err != nil {
		return out, err
	}
	f, err := os.CreateTemp(cfg.Data.Dir, ".new-bundle-*")
	if err != nil {
		return out, err
	}
	os.Remove(f.Name()) // it stays as long as it is open
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	doing, last := "reading the sealed log", time.Time{}
	b.told = func(progress float64) error {
		if time.Since(last) < stepEvery {
			return ctx.Err()
		}
		last = time.Now()
		step(web.BundleStep{Doing: doing, Progress: min(max(progress, 0), 1)})
		return spaceLeft(cfg.Data.Dir, 0)
	}
	b.read = func() error {
		doing, last = "writing", time.Time{}
		b.told(0)
		return spaceLeft(cfg.Data.Dir, b.head.Size*leafOctets)
	}
	if err := b.told(0); err != nil {
		return out, err
	}
	r, err := b.write(f)
	if err != nil {
		return out, err
	}
	sum := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return out, err
	}
	n, err := io.Copy(sum, f)
	if err != nil {
		return out, err
	}
	out = web.Bundle{
		ID: rand.Text(), File: bundleName + "-" + b.now.In(b.of.zone).Format(time.DateOnly) + ".zip", Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil)),
		Rows: r.Counts[bundle.Row], Withheld: r.Counts[bundle.Withheld], Key: b.key.Public, Expires: time.Now().Add(bundleKept).UTC().Truncate(time.Second),
	}
	a.bundles.add(&keptBundle{Bundle: out, by: by, file: f})
	return out, nil
}

// spaceLeft fails where the disk has no more room than the log is to have, and so many octets.
func spaceLeft(dir string, wanted int64) error {
	if free, known := freeBytes(dir); known && free-wanted < bundleSpare {
		return fmt.Errorf("the disk of %s has no room for a bundle beside the %d MB that the log is to have: make room, or use 'telltale evidence export' with -o on another disk", dir, bundleSpare>>20)
	}
	return nil
}

// observe begins or ends observing a name as a candidate; that is in force when it returns.
func (a *app) observe(ctx context.Context, text string, on bool) (web.Observed, error) {
	name, err := parseHost(text)
	if err != nil {
		return web.Observed{}, web.Invalid(err)
	}
	a.observing.Lock()
	defer a.observing.Unlock()
	cfg := a.cfg.Load()
	path, changed, err := observeCandidate(cfg, &name, !on, func() error {
		e, _, err := a.explainAs(ctx, web.Question{Name: name.String(), Type: "A", Offline: true}, "")
		if err != nil {
			return err
		}
		return listedBy(&e, &name)
	})
	switch {
	case err != nil && !on && errors.Is(err, errNotObserved):
		return web.Observed{}, web.NotFound(err)
	case err != nil:
		return web.Observed{}, mayNotWrite(cfg.Lists.Dir, err)
	}
	out := web.Observed{Name: name.String(), Path: path, Changed: changed}
	if changed {
		if err := a.applyLists(); err != nil {
			return out, web.NotInForce(fmt.Errorf("%s is written, but not in force: %w", path, err))
		}
	}
	return out, nil
}

// propose writes a candidate as an entry of the catalogue.
func (a *app) propose(ctx context.Context, text string, q web.CandidatesQuery) (web.Proposal, error) {
	name, err := parseHost(text)
	if err != nil {
		return web.Proposal{}, web.Invalid(err)
	}
	found, err := a.candidates(ctx, q)
	if err != nil {
		return web.Proposal{}, err
	}
	entry, err := proposalOf(found, &name)
	if err != nil {
		return web.Proposal{}, web.NotFound(err)
	}
	return web.Proposal{Name: name.String(), Entry: entry}, nil
}

// proposalOf returns a candidate of those that were found as an entry.
func proposalOf(found *candidate.Found, name *dnswire.Name) (string, error) {
	for i := range found.Candidates {
		if found.Candidates[i].Name == name.String() {
			return candidate.Entry(&found.Candidates[i]), nil
		}
	}
	return "", fmt.Errorf("%s is no candidate of this period: 'telltale candidates --limit 1000' shows all; one that is on a list of others, or has a score below %d, is none", name.String(), candidate.Least)
}

// experimentTemplates returns the shipped templates, or one of them.
func experimentTemplates(name string) ([]*experiment.Template, error) {
	if name == "" {
		return experiment.Templates()
	}
	t, err := templateNamed(name)
	if err != nil {
		return nil, web.NotFound(err)
	}
	return []*experiment.Template{t}, nil
}

// toldAlerts are the alerts that are kept, the oldest first.
func (a *app) toldAlerts() ([]web.Alert, error) {
	kept, err := alert.Read(alertsPath(a.cfg.Load()))
	if err != nil {
		return nil, web.Unavailable(err)
	}
	all := []web.Alert{}
	for i := range kept {
		t := &kept[i]
		all = append(all, web.Alert{
			ID: t.ID, Kind: t.Kind, Time: t.Time, Found: t.Found, Node: t.Node, Device: t.Device, Label: t.Label, Vendor: t.Vendor, Name: t.Name, Text: t.Text, Command: t.Command, Waits: t.Waits,
		})
	}
	return all, nil
}
