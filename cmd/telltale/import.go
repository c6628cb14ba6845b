package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/config"
	"telltale/devices"
	"telltale/devices/corrections"
	"telltale/devices/oui"
	"telltale/dnswire"
	"telltale/peerlogs"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

func (cl *cli) newImport() *cobra.Command {
	im := &importer{cl: cl}
	zone, settings, output := "", false, ""
	names := []string{"auto"}
	for _, f := range peerlogs.Formats() {
		names = append(names, f.Name)
	}
	c := cl.addJSON(&cobra.Command{
		Use:   "import FILE|DIR",
		Short: "Take over what another DNS server logged, or its settings",
		Long: `Add the query log of another DNS server to this one's: AdGuard Home (querylog.json and
querylog.json.1), Pi-hole 5 and 6 (pihole-FTL.db), dnsmasq (log-queries and
log-queries=extra, a file or syslog), the CSV files that Technitium DNS Server and
NextDNS export, dnstap files, and captures of packets (pcap and pcapng: DNS over UDP and
TCP, port 53). A file may be packed by gzip. Of a directory, all files that are such logs,
the oldest first. What has no end, 'telltale watch-capture' takes over as it comes.

Reports, 'telltale log' and 'telltale top' have these lookups from then on, marked as
imported. Names are attributed by the lists of today. What the other server did not keep
is not known, and not guessed. Lookups that are older than log.listed and log.unlisted
allow are counted in hourly totals alone.

The same file twice changes nothing; of one that has grown, the rest is added. An
import that was cut short goes on when it is run again. The server may run, and stores
what is read; with the server stopped, this does.

With --settings, its settings: of AdGuard Home (AdGuardHome.yaml) and Pi-hole 5 and 6
(/etc/pihole). A telltale.yaml and list files are written into a directory beside
them, or into that of --output, and nothing is put in force or overwritten. What has
no counterpart is named by file, line and key. Passwords are not copied.`,
		Example: "  sudo telltale import /opt/AdGuardHome/data\n  sudo telltale import /etc/pihole/pihole-FTL.db --dry-run\n  telltale import nextdns.csv --source family\n  telltale import holidays.pcapng --config study/telltale.yaml\n  sudo telltale import --settings /etc/pihole --output ./from-pihole",
		Args:    oneArg("file or directory"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if im.zone, err = parseZone(zone); err != nil {
				return usage("--tz: %v", err)
			}
			if !slices.Contains(names, im.format) {
				return usage("--format: %q is none of %s", im.format, strings.Join(names, ", "))
			}
			if strings.ContainsFunc(im.source, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) || len(im.source) > 64 {
				return usage("--source: %q is no word of letters, digits and hyphens", im.source)
			}
			for _, flag := range []string{"format", "source", "tz"} {
				if settings && c.Flags().Changed(flag) {
					return usage("--%s is for logs, and not for --settings", flag)
				}
			}
			if output != "" && !settings {
				return usage("--output is for --settings: what is logged goes into the log")
			}
			if im.cfg, err = cl.load(); err != nil {
				return err
			}
			if settings {
				return im.settings(args[0], output)
			}
			return im.run(c.Context(), args[0])
		},
	})
	f := c.Flags()
	f.StringVar(&im.format, "format", "auto", "which kind of log it is: "+strings.Join(names, ", "))
	f.BoolVar(&im.dry, "dry-run", false, "only say what would be imported")
	f.StringVar(&im.source, "source", "", "a word that tells several servers apart whose logs do not: several Pi-holes, or profiles of NextDNS")
	f.StringVar(&zone, "tz", "", "the zone of times that do not say theirs, such as Europe/Berlin (default: the machine's)")
	f.BoolVar(&settings, "settings", false, "take over settings, into a telltale.yaml and list files")
	f.StringVarP(&output, "output", "o", "", "with --settings, the directory to write, which must not be there (default: "+importedDir+" beside what is read)")
	complete(c, "format", names...)
	return c
}

// lookupsAtOnce is how many lookups a batch has.
const lookupsAtOnce = 5000

// recordsShown is how many records that are no lookups are named, of each file.
const recordsShown = 10

// An importer takes over logs of other servers.
type importer struct {
	cl     *cli
	cfg    *config.Config
	format string
	source string
	zone   *time.Location
	dry    bool

	reader *querylog.Reader // nil where there is no log yet
	send   func(context.Context, *querylog.ImportBatch) (querylog.Imported, error)
}

// An importedFile is what became of a file. The keys never change.
type importedFile struct {
	File   string `json:"file"`
	Format string `json:"format"`

	querylog.Imported
	Before uint64        `json:"before"` // lookups that were imported before
	First  querylog.Time `json:"first,omitzero"`
	Last   querylog.Time `json:"last,omitzero"`
	Bad    uint64        `json:"bad"` // records that are no lookups
	Errors []string      `json:"errors,omitempty"`
	Notes  []string      `json:"notes,omitempty"`
	DryRun bool          `json:"dry_run,omitempty"`

	took time.Duration
}

func (im *importer) run(ctx context.Context, path string) error {
	files, err := im.files(path)
	if err != nil {
		return err
	}
	finish, err := im.open(ctx)
	if err != nil {
		return err
	}
	failed := 0
	for _, file := range files {
		f, err := im.file(ctx, file)
		if f != nil {
			if e := im.say(f); e != nil {
				err = errors.Join(err, e)
			}
		}
		if err != nil {
			failed++
			fmt.Fprintf(im.cl.err, "telltale: %s: %v\n", printable(file), err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := finish(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return errors.New("stopped: what was sent is stored, and the same command goes on")
	case failed > 0:
		return errSilent
	}
	return nil
}

// files returns the logs that are meant, the oldest first.
func (im *importer) files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	type dated struct {
		path  string
		begin time.Time
	}
	var all []dated
	for _, e := range entries {
		file := filepath.Join(path, e.Name())
		if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			continue
		}
		begin, err := im.begin(file)
		switch {
		case errors.Is(err, peerlogs.ErrUnknown):
			continue
		case err != nil:
			fmt.Fprintf(im.cl.err, "telltale: %s: %v\n", printable(file), err)
			continue
		}
		all = append(all, dated{file, begin})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no query log that is known here: see 'telltale import --help'", path)
	}
	sorting.StableBy(all, func(a, b dated) int { return a.begin.Compare(b.begin) })
	var paths []string
	for _, d := range all {
		paths = append(paths, d.path)
	}
	return paths, nil
}

// begin returns the time of the first lookup of a log; zero where it has none.
func (im *importer) begin(path string) (time.Time, error) {
	l, err := peerlogs.Open(path, im.options())
	if err != nil {
		return time.Time{}, err
	}
	defer l.Close()
	for {
		u, err := l.Next()
		var bad *peerlogs.BadRecord
		switch {
		case err == nil:
			return u.Time, nil
		case errors.As(err, &bad):
		case err == io.EOF:
			return time.Time{}, nil
		default:
			return time.Time{}, err
		}
	}
}

func (im *importer) options() peerlogs.Options {
	return peerlogs.Options{Format: im.format, Zone: im.zone, Source: im.source}
}

// open finds out who stores what is read: the running server, or nobody else.
func (im *importer) open(ctx context.Context) (finish func() error, err error) {
	finish = func() error { return nil }
	if im.dry {
		im.send = func(_ context.Context, b *querylog.ImportBatch) (querylog.Imported, error) {
			return querylog.Imported{Lookups: uint64(len(b.Lookups))}, nil
		}
	} else {
		if !im.cfg.Log.Enabled {
			return nil, errors.New("log.enabled is off: no lookups are kept")
		}
		client := newClient(im.cfg)
		err := client.get(ctx, "/catalogue", nil)
		switch {
		case err == nil:
			im.send = func(ctx context.Context, b *querylog.ImportBatch) (got querylog.Imported, err error) {
				body, err := web.WriteImport(b)
				if err == nil {
					err = client.doRaw(ctx, "/import", "application/jsonl", body, &got)
				}
				return got, err
			}
		case errors.Is(err, errStopped):
			finish = im.openStopped()
		default:
			return nil, err
		}
	}
	if im.reader, err = querylog.OpenReader(im.cfg.Data.Dir); err != nil {
		im.reader = nil
		if !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("%w: run this as the server's user, or by sudo", err), finish())
		}
	}
	return finish, nil
}

// openStopped makes this process the one that stores, as no server runs: once there is
// something to store.
func (im *importer) openStopped() (finish func() error) {
	end := func() error { return nil }
	im.send = func(ctx context.Context, b *querylog.ImportBatch) (querylog.Imported, error) {
		closeLog, err := im.openLog()
		if err != nil {
			return querylog.Imported{}, err
		}
		end = closeLog
		return im.send(ctx, b)
	}
	return func() error { return end() }
}

// openLog opens the log as a server that keeps no lookups of its own does, and makes send
// store in it.
func (im *importer) openLog() (finish func() error, err error) {
	data := im.cfg.Data.Dir
	if os.Geteuid() != 0 {
		if err := checkSameUser(data); err != nil {
			return nil, err
		}
	}
	o := stoppedListOptions(im.cfg)
	lists, err := blocklists.OpenReadOnly(o)
	if err != nil {
		return nil, err
	}
	edition, _ := editionInForce(im.cfg) // doctor says why it is not the fetched one
	lo := logOptions(im.cfg)
	lo.Discovered = discovered(func() *config.Config { return im.cfg })
	lo.Off = true // nobody asks here meanwhile
	lo.Program = "telltale import " + buildVersion() + ", catalogue " + edition.String()
	lo.Logger = slog.New(slog.NewTextHandler(im.cl.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	log, err := querylog.Open(lo)
	if err != nil {
		lists.Close()
		return nil, err
	}
	known, _, err := log.Bindings()
	if err != nil {
		lists.Close()
		return nil, errors.Join(fmt.Errorf("it is not known of which devices nothing is to be kept: %w", err), log.Close())
	}
	corrected, _ := corrections.Read(correctionsPath(im.cfg)) // the server says what is wrong
	ids, registry := newIdentities(im.cfg, known, corrected), oui.Registry{}
	registry.Use(im.cfg.Identity.Makers)
	makers := makersOf(im.cfg, ids, known, registry.Makers, map[string]bool{})
	out := optedOut(im.cfg, newMembership(im.cfg, ids, nil, nil, makers), known)
	im.send = func(ctx context.Context, b *querylog.ImportBatch) (querylog.Imported, error) {
		b.Policy, b.Edition, b.OptedOut = lists.Current(), "catalogue "+edition.String(), out
		return log.Import(ctx, b)
	}
	return func() error {
		return errors.Join(log.Close(), lists.Close(), giveToOwner(data, data))
	}, nil
}

// optedOut returns whether nothing is kept of a client: by the settings of its device and
// of groups, and by who has its address, as far as that is known.
func optedOut(cfg *config.Config, s *membership, known []devices.Binding) func(netip.Addr, string) bool {
	holders := map[netip.Addr]string{}
	for i := range known {
		if b := &known[i]; b.Until.IsZero() && b.Addr.IsValid() && !b.Prefix.IsValid() {
			holders[b.Addr] = b.Device
		}
	}
	return func(a netip.Addr, id string) bool {
		who := []string{"addr:" + a.String()}
		if holder, ok := holders[a]; ok {
			who = append(who, holder)
		}
		if id != "" {
			who = append(who, "id:"+id)
		}
		for i := range cfg.Devices {
			d := &cfg.Devices[i]
			if slices.Contains(d.Addresses, a) || id != "" && slices.Contains(d.ClientIDs, id) || slices.ContainsFunc(d.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) }) {
				who = append(who, d.Name)
			}
		}
		return slices.ContainsFunc(who, func(device string) bool { return s.noLog(&devices.Binding{Device: device, Addr: a}) })
	}
}

// importLog stores a batch that a command sent.
func (a *app) importLog(ctx context.Context, b *querylog.ImportBatch) (querylog.Imported, error) {
	a.applying.Lock()
	cfg, selected := a.cfg.Load(), a.selected
	a.applying.Unlock()
	if !cfg.Log.Enabled {
		return querylog.Imported{}, errors.New("log.enabled is off: no lookups are kept")
	}
	b.Policy, b.Edition = a.lists.Current(), "catalogue "+a.edition.Load().String()
	ledger := a.ledger.Load()
	bySettings := optedOut(cfg, selected, nil)
	b.OptedOut = func(addr netip.Addr, id string) bool {
		if bySettings(addr, id) {
			return true
		}
		holder := ledger.Lookup(addr)
		return holder != nil && holder.NoLog
	}
	return a.log.Import(ctx, b)
}

// A reading is a log that is being imported.
type reading struct {
	im    *importer
	log   peerlogs.Log
	out   *importedFile
	marks []querylog.ImportMark
	batch querylog.ImportBatch
	at    int64 // up to where it is imported
	begun time.Time
	told  func(done, all int64, lookups uint64)
}

// file imports a file.
func (im *importer) file(ctx context.Context, path string) (*importedFile, error) {
	l, err := peerlogs.Open(path, im.options())
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r := &reading{im: im, log: l, begun: time.Now(), told: im.progress(path)}
	r.out = &importedFile{File: path, Format: l.Format().Name, DryRun: im.dry}
	r.batch.Source = querylog.ImportSource{Format: l.Format().Name, File: filepath.Base(path), Lost: l.Format().Lost}
	err = r.all(ctx)
	r.told(0, 0, 0)
	r.out.took = time.Since(r.begun)
	r.out.Notes = append(r.out.Notes, l.Notes()...)
	return r.out, err
}

// all reads a log to its end.
func (r *reading) all(ctx context.Context) error {
	numbered := r.log.Format().Numbered
	if numbered {
		if err := r.begin(ctx); err != nil {
			return err
		}
	}
	begun := numbered
	for ctx.Err() == nil {
		u, err := r.log.Next()
		var bad *peerlogs.BadRecord
		switch {
		case err == io.EOF:
			return r.end(ctx, begun)
		case errors.As(err, &bad):
			r.bad(bad)
			continue
		case err != nil:
			return errors.Join(err, r.flush(ctx, false))
		}
		if !begun {
			if err := r.begin(ctx); err != nil {
				return err
			}
			begun = true
		}
		if err := r.lookup(ctx, u, numbered); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// begin finds out how far the log is imported.
func (r *reading) begin(ctx context.Context) (err error) {
	r.batch.Source.Key = r.log.Key()
	if r.im.reader == nil {
		return nil
	}
	if r.marks, err = r.im.reader.ImportMarks(ctx, r.log.Key()); err != nil || len(r.marks) == 0 {
		return err
	}
	r.at = r.marks[len(r.marks)-1].Position
	r.batch.From, r.batch.To = r.at, r.at
	r.batch.Sum = r.marks[len(r.marks)-1].Sum
	if from, ok := r.log.(interface{ After(int64) error }); ok {
		return from.After(r.at)
	}
	return nil
}

// lookup takes over a lookup.
func (r *reading) lookup(ctx context.Context, u *peerlogs.Lookup, numbered bool) error {
	for len(r.marks) > 0 && r.marks[0].Position <= u.Position {
		m := r.marks[0]
		if !numbered && m.Position == u.Position && m.Sum != r.log.Sum() {
			return fmt.Errorf("it begins like a log that was imported, and differs from it up to %s: nothing of it is imported", u.Place)
		}
		r.marks = r.marks[1:]
	}
	if u.Position <= r.at {
		r.out.Before++
		return nil
	}
	if len(r.batch.Lookups) == querylog.MostImported && u.Position == r.batch.To {
		return fmt.Errorf("%s: more lookups have the same time (%s) than can be stored at once, about %d: these and what follows are not imported. Leave lookups of this time out of the file",
			u.Place, u.Time.UTC().Format(time.RFC3339), querylog.MostImported)
	}
	if len(r.batch.Lookups) >= lookupsAtOnce && u.Position > r.batch.To {
		if err := r.flush(ctx, false); err != nil {
			return err
		}
	}
	r.batch.Lookups = append(r.batch.Lookups, importedLookup(u))
	r.batch.To = u.Position
	if !numbered {
		r.batch.Sum = r.log.Sum()
	}
	at := querylog.Time{Time: u.Time}
	if r.out.First.IsZero() || at.Before(r.out.First.Time) {
		r.out.First = at
	}
	if at.After(r.out.Last.Time) {
		r.out.Last = at
	}
	return nil
}

// end stores what is left, and has it told in the ledger.
func (r *reading) end(ctx context.Context, begun bool) error {
	if !begun {
		if r.out.Bad > 0 {
			return errors.New("it has no lookup that can be read")
		}
		return nil
	}
	if len(r.batch.Lookups) == 0 && r.out.Lookups == 0 {
		return nil // nothing is new
	}
	return r.flush(ctx, true)
}

// flush sends the batch at hand.
func (r *reading) flush(ctx context.Context, end bool) error {
	if len(r.batch.Lookups) == 0 && !end {
		return nil
	}
	b := r.batch
	b.End = end
	got, err := r.im.send(ctx, &b)
	if err != nil {
		if errors.Is(err, errStopped) {
			err = fmt.Errorf("%w: what was sent is stored, and the same command goes on", err)
		}
		return err
	}
	r.out.Add(got)
	r.batch.From, r.batch.Lookups = r.batch.To, nil
	done, all := r.log.Read()
	r.told(done, all, r.out.Lookups)
	return nil
}

func (r *reading) bad(bad *peerlogs.BadRecord) {
	r.out.Bad++
	if len(r.out.Errors) < recordsShown {
		r.out.Errors = append(r.out.Errors, printable(bad.Error()))
	}
}

// importedLookup is a lookup in the words of the log.
func importedLookup(u *peerlogs.Lookup) querylog.ImportedLookup {
	name := u.Name
	if u.Type == dnswire.TypeHTTPS || u.Type == dnswire.TypeSVCB {
		if owner, ok := name.PortOwner(); ok {
			name = owner
		}
	}
	out := querylog.ImportedLookup{
		Time: u.Time, Client: u.Client, ClientID: u.ClientID, ClientName: u.ClientName, Name: bytes.Clone(name.Wire()), Type: u.Type, Rule: u.Rule,
		Rcode: querylog.UnknownRcode, Elapsed: u.Elapsed, Upstream: u.Upstream,
	}
	if u.Alias.Labels() > 0 {
		out.Alias = bytes.Clone(u.Alias.Wire())
	}
	if u.Rcode >= 0 && u.Rcode < querylog.UnknownRcode {
		out.Rcode = uint8(u.Rcode)
	}
	out.Action, out.Source, out.Transport = importedActions[u.Verdict], importedSources[u.Source], importedTransports[u.Transport]
	return out
}

// What the log has for what other servers say.
var (
	importedActions = map[peerlogs.Verdict]blocklists.Action{peerlogs.Allowed: blocklists.Allow, peerlogs.Blocked: blocklists.Block, peerlogs.Answered: blocklists.Answer, peerlogs.NotKnown: querylog.UnknownVerdict}
	importedSources = map[peerlogs.Source]querylog.Source{
		peerlogs.FromPolicy: querylog.FromPolicy, peerlogs.FromCache: querylog.FromCache, peerlogs.FromUpstream: querylog.FromUpstream,
		peerlogs.FromError: querylog.FromError, peerlogs.FromStale: querylog.FromStale,
	}
	importedTransports = map[peerlogs.Transport]querylog.Transport{
		peerlogs.UDP: querylog.UDP, peerlogs.TCP: querylog.TCP, peerlogs.TLS: querylog.TLS, peerlogs.HTTPS: querylog.HTTPS, peerlogs.QUIC: querylog.QUIC,
	}
)

// progress returns what shows a person how far a file is read; with 0 lookups it takes that
// away.
func (im *importer) progress(path string) func(done, all int64, lookups uint64) {
	if !isTerminal(im.cl.err) {
		return func(int64, int64, uint64) {}
	}
	begun, last, shown := time.Now(), time.Now(), 0
	return func(done, all int64, lookups uint64) {
		switch {
		case lookups == 0:
			if shown > 0 {
				fmt.Fprintf(im.cl.err, "\r%s\r", strings.Repeat(" ", shown))
			}
		case time.Since(last) > 200*time.Millisecond:
			last = time.Now()
			text := fmt.Sprintf("%s: %d lookups, %.0f a second", printable(filepath.Base(path)), lookups, float64(lookups)/time.Since(begun).Seconds())
			if all > 0 {
				text += fmt.Sprintf(", %d %%", 100*min(done, all)/all)
			}
			pad := max(shown-len(text), 0)
			shown = len(text)
			fmt.Fprintf(im.cl.err, "\r%s%s", text, strings.Repeat(" ", pad))
		}
	}
}

// say tells what became of a file.
func (im *importer) say(f *importedFile) error {
	if im.cl.json {
		return im.cl.encoder().Encode(f)
	}
	w := im.cl.out
	verb := "imported"
	if im.dry {
		verb = "to import"
	}
	title := f.Format
	for _, format := range peerlogs.Formats() {
		if format.Name == f.Format {
			title = format.Title
		}
	}
	what := printable(f.File)
	if title != "" { // something was sent
		what += " (" + title + ")"
	}
	fmt.Fprintf(w, "%s: %s %s", what, number(f.Lookups, "lookup"), verb)
	if !f.First.IsZero() {
		fmt.Fprintf(w, ", from %s to %s", whenIn(f.First.Time, im.zone), whenIn(f.Last.Time, im.zone))
	}
	if !im.dry && f.took > 0 && f.Lookups > 0 {
		fmt.Fprintf(w, "; %.0f a second", float64(f.Lookups)/max(f.took.Seconds(), 0.001))
	}
	fmt.Fprintln(w)
	for _, line := range []struct {
		n    uint64
		text string
	}{
		{f.Before, "were imported before"},
		{f.Totals, "are counted in hourly totals alone, being older than log.listed or log.unlisted allow"},
		{f.TooOld, "are older than log.totals allows, and were left out"},
		{f.OptedOut, "are of devices of which nothing is kept"},
		{f.Bad, "records could not be read"},
	} {
		if line.n > 0 {
			fmt.Fprintf(w, "  %d %s\n", line.n, line.text)
		}
	}
	for _, e := range f.Errors {
		fmt.Fprintf(w, "  %s: %s\n", printable(f.File), e)
	}
	if more := f.Bad - min(f.Bad, uint64(len(f.Errors))); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
	for _, n := range f.Notes {
		fmt.Fprintf(w, "  %s\n", printable(n))
	}
	_, err := fmt.Fprint(w, cmp.Or(im.lost(f), ""))
	return err
}

// lost says what a kind of log does not say.
func (im *importer) lost(f *importedFile) string {
	for _, format := range peerlogs.Formats() {
		if format.Name == f.Format && f.Lookups > 0 {
			return "  Not known of them: " + format.Lost + ".\n"
		}
	}
	return ""
}
