package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/evidence/bundle"
	"telltale/evidence/render"
	"telltale/querylog"
	"telltale/querylog/seal"
	"telltale/sorting"
	"telltale/web"
)

// A bundleOf says what a bundle is made of.
type bundleOf struct {
	exportFile
	redact bool
}

const bundleName = "telltale-bundle"

func (cl *cli) newEvidenceExport() *cobra.Command {
	var e bundleOf
	c := &cobra.Command{
		Use:   "export",
		Short: "Write a bundle: rows of the sealed log, and what shows that nobody changed them",
		Long: `Write one file (.zip) with rows of the sealed log, what shows that nobody changed them
since, a report, the lists in force, and what is withheld; and what witnesses said of the
log's heads, with their time-stamps, where evidence.witness is set. Who gets it checks it with
'telltale evidence verify', or with 300 lines of Python that they can read, without a
network and without this machine; docs/bundles.md says how, and what it proves. It is
of the last 7 days unless --since says otherwise.

Give the log's key ('telltale evidence key') by another way than the file.

With --device, rows of that device alone are in it. Those of all others are withheld:
their hashes show that there are some, and tell nothing else. --redact-others
withholds lines of the ledger that may be about other devices, too.

Rows of names that no list has are not sealed, and not in it; nor are lookups of the
last two minutes or so, of which no checkpoint is signed yet. Only its owner can read
the file: it says who asked for what.`,
		Example: "  telltale evidence export --device \"Anna's phone\" --last 7d -o finding.zip\n" +
			"  telltale evidence export --device tv --since 2026-11-01 --until 2026-11-08 --redact-others",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if e.redact && e.device == "" {
				return usage("--redact-others says what is withheld of other devices than --device")
			}
			return cl.exportBundle(c.Context(), &e)
		},
	}
	e.add(cl, c, "7d", "of one device: its name, identity, MAC or address", bundleName)
	c.Flags().BoolVar(&e.redact, "redact-others", false, "withhold lines of the ledger that may be about other devices")
	return c
}

func (cl *cli) exportBundle(ctx context.Context, e *bundleOf) error {
	now := time.Now()
	source, err := e.open(ctx, cl, now, bundleName)
	if err != nil {
		return err
	}
	defer source.l.Close()
	bar := cl.newProgress("Reading the sealed log")
	b := &bundling{
		exportSource: source, of: e, now: now, rules: map[ruleUse]int64{},
		listed: func(ctx context.Context) ([]web.List, error) { return listStatus(ctx, source.l.cfg) },
		told:   func(done float64) error { bar.show(done, ""); return nil },
		read:   func() error { bar.end(); return nil },
	}
	if err := b.readHead(); err != nil {
		return err
	}
	var result *bundle.Result
	err = writeNew(e.out, e.force, func(w io.Writer) (err error) {
		result, err = b.write(w.(*os.File)) // writeNew makes a file
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cl.err, "%s is written and verified: %s, %s withheld. It says who asked for what; keep it private.\n",
		printable(e.out), number(uint64(result.Counts[bundle.Row]), "row"), number(uint64(result.Counts[bundle.Withheld]), "line"))
	_, err = fmt.Fprintf(cl.out, "Give this key by another way than the file:\n%s\n", b.key.Public)
	return err
}

// A bundling is a bundle in the making.
type bundling struct {
	exportSource
	of         *bundleOf
	now        time.Time
	key        *seal.Key
	head       seal.Checkpoint
	checkpoint []byte
	rules      map[ruleUse]int64 // by which rows were decided, and how many
	rulesMore  int64             // rows by further rules

	listed func(context.Context) ([]web.List, error) // the lists in force
	told   func(done float64) error                  // how much of the log is read, 0 to 1; an error ends it
	read   func() error                              // all of it is; an error ends it
}

// readHead reads the last checkpoint and the key that signed it.
func (b *bundling) readHead() (err error) {
	dir := b.l.cfg.Data.Dir
	b.head, b.checkpoint, err = querylog.ReadSealHead(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nothing of the log in %s is sealed yet: a server seals it from its start on, unless log.seal is off, and signs about every two minutes", dir)
	}
	if err == nil {
		b.key, err = querylog.ReadSealKey(querylog.SealKeyPath(dir))
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: run this as the server's user, or by sudo", err)
	}
	if err != nil {
		return err
	}
	if _, err := seal.OpenCheckpoint(b.checkpoint, b.key.Public); err != nil {
		return fmt.Errorf("the last checkpoint is still by the key before this one, which was rotated or made since (%w): a running server signs another within two minutes, so try again then", err)
	}
	return nil
}

// write writes the bundle and checks it as who gets it will.
func (b *bundling) write(f *os.File) (*bundle.Result, error) {
	about, err := b.about()
	if err != nil {
		return nil, err
	}
	c := &bundle.Contents{
		About: *about, Leaves: b.leaves, Checkpoint: b.checkpoint, Key: b.key,
		Lists: b.lists, Bindings: b.bindings, HTML: b.reportIn("html"), Report: b.reportIn("json"), Witnesses: b.witnesses,
	}
	if err := bundle.Write(f, filepath.Dir(f.Name()), c); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, err := bundle.Verify(f, info.Size(), &bundle.Trust{Key: b.key.Public, Checkpoint: b.checkpoint})
	if err != nil {
		return nil, fmt.Errorf("what was written cannot be verified, and nothing is kept of it: %w", err)
	}
	return r, nil
}

func (b *bundling) about() (*bundle.About, error) {
	coverage, err := b.l.Coverage(b.ctx, b.since, b.until)
	if err != nil {
		return nil, err
	}
	covered, err := json.Marshal(struct {
		Recorded int64 `json:"recorded_seconds"`
		Whole    int64 `json:"whole_seconds"`
		querylog.Coverage
	}{int64(coverage.Recorded().Seconds()), int64(coverage.Whole().Seconds()), b.redactedCoverage(coverage)})
	if err != nil {
		return nil, err
	}
	synchronised, known := clockSynced()
	clock, err := json.Marshal(map[string]bool{"synchronised": synchronised, "known": known})
	if err != nil {
		return nil, err
	}
	a := &bundle.About{
		Bundle: bundle.Format, Program: "telltale " + buildVersion() + ", catalogue " + b.l.edition(), Made: b.now.UnixMilli(),
		Since: b.since.UnixMilli(), Until: b.until.UnixMilli(), Device: b.of.device, Devices: b.identities(), Redacted: b.of.redact,
		Clock: clock, Coverage: covered,
	}
	if file := b.l.cfg.File; file != "" {
		if a.Settings, err = sumOf(os.DirFS(filepath.Dir(file)), filepath.Base(file)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// redactedCoverage leaves out what a gap is about, where that may be another device.
func (b *bundling) redactedCoverage(c querylog.Coverage) querylog.Coverage {
	if b.of.redact {
		for i := range c.Gaps {
			if g := &c.Gaps[i]; !namesNoDevice[g.Kind] {
				g.Subject, g.Detail = "", ""
			}
		}
	}
	return c
}

// redactGaps leaves out what gaps are about, where that may be other devices.
func redactGaps(all []querylog.Gap) {
	for i := range all {
		if g := &all[i]; !namesNoDevice[g.Kind] {
			g.Subject, g.Detail = "", ""
		}
	}
}

// identities are those whose rows are in the bundle; none for all.
func (b *bundling) identities() []string {
	all := []string{}
	for _, s := range b.whose.Devices {
		all = append(all, s.Device)
	}
	if addr, err := netip.ParseAddr(strings.TrimPrefix(b.whose.Device, "addr:")); err == nil {
		all = append(all, "addr:"+addr.Unmap().WithZone("").String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// has reports whether a row is of the bundle's device.
func (b *bundling) has(identities []string, r *seal.Row) bool {
	switch {
	case b.of.device == "":
		return true
	case querylog.AnyHas(b.whose.Devices, r.Device, time.UnixMilli(r.First)):
		return true
	}
	return strings.HasPrefix(r.Device, "addr:") && len(b.whose.Devices) == 0 && slices.Contains(identities, r.Device)
}

// namesNoDevice are kinds of lines of the ledger that are about the server alone.
var namesNoDevice = map[string]bool{
	querylog.KindStart: true, querylog.KindStop: true, querylog.KindCrash: true, querylog.KindFailure: true, querylog.KindRecovered: true, querylog.KindLost: true,
	querylog.KindFolded: true, querylog.KindStore: true, querylog.KindClock: true, querylog.KindRetention: true, querylog.KindMigration: true, querylog.KindRestored: true,
	querylog.KindSuspended: true, querylog.KindForgotten: true, querylog.KindSealing: true, querylog.GapDown: true, querylog.GapUnknown: true, querylog.GapOff: true,
}

// leaves are those of the log that the checkpoint is of, as the bundle shows them.
func (b *bundling) leaves(yield func(bundle.Leaf, error) bool) {
	var ended error
	since, until, identities := b.since.UnixMilli(), b.until.UnixMilli(), b.identities()
	o := querylog.SealedOptions{Size: b.head.Size, Since: since, Until: until, Told: func(n int64) { ended = b.told(float64(n) / float64(max(b.head.Size, 1))) }}
	for leaf, err := range b.l.own.SealedLeaves(b.ctx, o) {
		if err = cmp.Or(ended, err); err != nil {
			yield(bundle.Leaf{}, err)
			return
		}
		out := bundle.Leaf{Hash: leaf.Hash, Salt: leaf.Salt, Line: leaf.Line}
		switch {
		case leaf.Removal >= 0:
			out = bundle.Leaf{Hash: leaf.Hash, What: bundle.Deleted, Removal: leaf.Removal}
		case leaf.Kind == querylog.SealedStatement:
			out.What = bundle.Statement
		case leaf.Outside:
			out = bundle.Leaf{Hash: leaf.Hash, What: bundle.Outside}
		case leaf.Row != nil && b.has(identities, leaf.Row):
			out.What = bundle.Row
			b.useRule(leaf.Row)
		case leaf.Event != nil && (!b.of.redact || namesNoDevice[leaf.Event.Kind]):
			out.What = bundle.Ledger
		default:
			out = bundle.Leaf{Hash: leaf.Hash, What: bundle.Withheld}
		}
		if !yield(out, nil) {
			return
		}
	}
	if err := b.read(); err != nil {
		yield(bundle.Leaf{}, err)
	}
}

// A ruleUse is a rule by which rows were decided or attributed, with what it says.
type ruleUse struct {
	List       string `json:"list"`
	Line       int    `json:"line"`
	Rule       string `json:"rule"`
	From       string `json:"attribution_list"`
	FromLine   int    `json:"attribution_line"`
	Vendor     string `json:"vendor"`
	Product    string `json:"product"`
	Purpose    string `json:"purpose"`
	Tier       string `json:"tier"`
	Source     string `json:"source"`
	Confidence string `json:"confidence"`
}

// maxRules bounds what is kept of rules.
const maxRules = 50_000

func (b *bundling) useRule(r *seal.Row) {
	u := ruleUse{List: r.List, Line: r.Line, Rule: r.Rule, From: r.AttributionList, FromLine: r.AttributionLine}
	if a := r.Annotation; a != nil {
		u.Vendor, u.Product, u.Purpose, u.Tier, u.Source, u.Confidence = a.Vendor, a.Product, a.Purpose, a.Tier, a.Source, a.Confidence
	}
	if _, known := b.rules[u]; !known && len(b.rules) >= maxRules {
		b.rulesMore++
		return
	}
	b.rules[u]++
}

// uses reports whether a row was decided or attributed by a list.
func (b *bundling) uses(list string) bool {
	for u := range b.rules {
		if u.List == list || u.From == list {
			return true
		}
	}
	return false
}

// A bundledList is a list in force, as lists.json has it.
type bundledList struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Enabled bool   `json:"enabled"`
	Observe bool   `json:"observe"`
	Rules   int    `json:"rules"`
	SHA256  string `json:"sha256"` // of the file as it is now; "" where that cannot be read
}

func (b *bundling) lists(w io.Writer) error {
	all, err := b.listed(b.ctx)
	if err != nil {
		return err
	}
	edition, _ := editionInForce(b.l.cfg) // doctor says why it is not the fetched one
	lists := []bundledList{}
	for i := range all {
		l := &all[i]
		if l.Unread || l.Kind == "local" { // names of devices are no list that blocks
			continue
		}
		if b.l.caller.Limited && !b.uses(l.Name) { // whose it is may be another's
			continue
		}
		one := bundledList{Name: l.Name, Kind: l.Kind, Enabled: l.Enabled, Observe: l.Observe, Rules: l.Rules}
		if l.Path != "" {
			one.SHA256, _ = sumOf(os.DirFS(filepath.Dir(l.Path)), filepath.Base(l.Path))
		} else {
			one.SHA256, _ = sumOf(edition.FS(), l.Name+".txt")
		}
		lists = append(lists, one)
	}
	type used struct {
		ruleUse
		Rows int64 `json:"rows"`
	}
	rules := []used{}
	for u, n := range b.rules {
		rules = append(rules, used{u, n})
	}
	sorting.By(rules, func(x, y used) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
	enc := json.NewEncoder(&jsonWriter{out: w})
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	return enc.Encode(map[string]any{"edition": edition.Name(), "edition_version": edition.Version(), "lists": lists, "rules": rules, "rows_by_further_rules": b.rulesMore})
}

// sumOf returns the SHA-256 of a file, in hexadecimal digits.
func sumOf(files fs.FS, name string) (string, error) {
	f, err := files.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// bindings writes which addresses the devices had.
func (b *bundling) bindings(w io.Writer) error {
	all, err := b.l.Bindings(b.ctx)
	if err != nil {
		return err
	}
	enc := jsonEncoder(w)
	for i := range all {
		d := &all[i]
		if b.of.device != "" && !isAnyOf(b.whose, d) || d.From.After(b.until) || !d.Until.IsZero() && d.Until.Before(b.since) {
			continue
		}
		line := struct {
			Binding    uint64        `json:"binding"`
			From       querylog.Time `json:"from"`
			Until      querylog.Time `json:"until,omitzero"`
			Device     string        `json:"device"`
			Name       string        `json:"name"`
			Covers     string        `json:"covers"`
			MAC        string        `json:"mac,omitempty"`
			Source     string        `json:"source"`
			Confidence string        `json:"confidence"`
		}{d.ID, querylog.Time{Time: d.From}, querylog.Time{Time: d.Until}, d.Device, d.Name, d.Covers(), d.MAC, d.Source.String(), d.Confidence.String()}
		if err := enc.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

// reportIn writes the report in a form.
func (b *bundling) reportIn(format string) func(io.Writer) error {
	return func(w io.Writer) error {
		made, err := b.l.makeReport(b.ctx, &reportOf{since: b.since, until: b.until, zone: b.of.zone, device: b.of.device, ignored: true})
		if err != nil {
			return err
		}
		if b.of.redact {
			redactGaps(made.Coverage.Gaps)
			for i := range made.Markers {
				made.Markers[i].Text, _, _ = strings.Cut(made.Markers[i].Text, ":") // what happened, and not to whom
			}
		}
		if format == "html" {
			return writeHTML(w, made)
		}
		return render.JSON(&jsonWriter{out: w}, made)
	}
}
