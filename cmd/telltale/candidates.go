package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/atomicfile"
	"telltale/blocklists/format"
	"telltale/config"
	"telltale/devices/oui"
	"telltale/dnswire"
	"telltale/evidence"
	"telltale/evidence/candidate"
	"telltale/evidence/render"
	"telltale/querylog"
	"telltale/web"
)

// candidateFlags say whose candidates are wanted.
type candidateFlags struct {
	period
	device  string
	limit   int
	ignored bool
}

func (f *candidateFlags) add(c *cobra.Command) {
	f.period.add(c, "7d")
	c.Flags().BoolVar(&f.ignored, "ignored", false, "with ignored devices")
}

func (cl *cli) newCandidates() *cobra.Command {
	var f candidateFlags
	c := cl.addJSON(&cobra.Command{
		Use:   "candidates [DEVICE]",
		Short: "Show names that may be telemetry and are on no list",
		Long: `Show names that no list has and that may be telemetry: of one device, or of all. Each has
a score, and what it is made of: a steady rhythm, attempts while the device asks for
nothing else, words of the name, a listed name that it is like, a domain with listed
telemetry, an alias that listed telemetry leads to as well, who asks for it, and whether it came after an update.

Nothing is blocked by a score. 'observe' records a name as if a list had it: it stands
below the others then, as observed. 'propose' writes a name, observed or not, in the
catalogue's format, with the figures that speak for it.

Rows of names that no list has are kept for a day, unless the settings say otherwise
(log.unlisted): what has a rhythm of hours needs longer to be seen. Imported lookups are
left out. docs/evidence.md says how candidates are weighed, and how often that is wrong.`,
		Example: `  telltale candidates
  telltale candidates living-room-tv --last 24h
  telltale candidates observe data.mistat.eu.example
  telltale candidates propose data.mistat.eu.example`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one device is expected at most; without one it is of all devices")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.device = args[0]
			}
			if f.limit < 1 {
				return usage("--limit is %d: it must be 1 or more", f.limit)
			}
			found, err := cl.findCandidates(c.Context(), &f)
			if err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(found)
			}
			return render.Candidates(cl.out, found, f.limit, f.zone)
		},
	})
	cl.completeDevices(c)
	f.add(c)
	c.Flags().IntVar(&f.limit, "limit", 20, "show so many at most; --json has all")
	c.AddCommand(cl.newCandidateObserve(), cl.newCandidatePropose())
	return c
}

// findCandidates finds those of the log.
func (cl *cli) findCandidates(ctx context.Context, f *candidateFlags) (*candidate.Found, error) {
	since, until, err := f.readPast(time.Now())
	if err != nil {
		return nil, err
	}
	l, err := cl.openLog(ctx)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.candidates(ctx, &candidatesOf{since: since, until: until, zone: f.zone, device: f.device, ignored: f.ignored, aliases: cl.keptAliases(ctx, l)})
}

// keptAliases returns what says where a name leads by the answers that the running server
// keeps. Without one nothing is known.
func (cl *cli) keptAliases(ctx context.Context, l *openedLog) func(name string) []string {
	server, gone := newClient(l.cfg), false
	return func(name string) []string {
		var all []web.CachedAnswer
		if gone {
			return nil
		}
		if err := server.do(ctx, http.MethodGet, "/cache?name="+url.QueryEscape(name), nil, &all); err != nil {
			gone = ctx.Err() != nil || errors.Is(err, errStopped) || errors.Is(err, errForeign) // else of this name alone nothing is known
			return nil
		}
		return aliasesIn(all)
	}
}

// aliasesIn returns the names that answers lead to, in lower case.
func aliasesIn(all []web.CachedAnswer) (aliases []string) {
	for i := range all {
		for _, record := range all[i].Answer {
			if f := strings.Fields(record); len(f) == 5 && f[3] == "CNAME" {
				aliases = append(aliases, strings.ToLower(strings.TrimSuffix(f[4], ".")))
			}
		}
	}
	slices.Sort(aliases)
	return slices.Compact(aliases)
}

// A candidatesOf says whose candidates are wanted.
type candidatesOf struct {
	since, until time.Time
	zone         *time.Location
	device       string
	ignored      bool
	aliases      func(name string) []string
}

// candidates finds those of the log.
func (l *openedLog) candidates(ctx context.Context, of *candidatesOf) (*candidate.Found, error) {
	home := newPseudonyms(l)
	o := candidate.Options{
		Since: of.since, Until: of.until, Zone: of.zone, Whose: querylog.Filter{Device: of.device}, Today: l.ids.now, Was: l.ids.was, Name: l.ids.called, Maker: l.makerOrKind(),
		IsHome: func(name string) bool { return home.name(name, "") != name },
	}
	o.Discovered = l.ids.discovered()
	if err := l.choose(&o.Whose, of.ignored); err != nil {
		return nil, err
	}
	known, err := l.catalog()
	if err != nil {
		return nil, err
	}
	for _, e := range known.Entries() {
		o.Known = append(o.Known, candidate.Known{Name: e.Name, Vendor: e.Vendor, Product: e.Product, Purpose: e.Purpose, Tier: e.Tier})
	}
	if o.Observed, err = observedNames(l.cfg); err != nil {
		return nil, err
	}
	last, err := lastFound(ctx, l)
	if err != nil {
		return nil, err
	}
	o.Leads, o.Aliases = map[string][]string{}, of.aliases
	for name, f := range last {
		if len(f.Aliases) > 0 {
			o.Leads[name] = f.Aliases
		}
	}
	return candidate.Find(ctx, l.Reader, o)
}

// makerOrKind returns what tells alike devices: the kind that a person said, else who made
// the network card.
func (l *openedLog) makerOrKind() func(device string) string {
	registry := new(oui.Registry)
	known := map[string]string{}
	return func(device string) string {
		word, ok := known[device]
		if ok {
			return word
		}
		if word = l.ids.kinds[device]; word == "" {
			word = l.ids.view.Kind(device)
		}
		for _, s := range l.ids.of[device] {
			if mac, ok := strings.CutPrefix(s.Device, "mac:"); ok && word == "" {
				word = registry.Makers([]string{mac})[mac]
			}
		}
		known[device] = word
		return word
	}
}

// candidatesFile is the list of names that are observed as candidates, in lists.dir.
const candidatesFile = evidence.ObservedList + ".txt"

const candidatesHead = `# Names that somebody observes as candidates: 'telltale candidates observe' writes them.
# They are of tier mixed, so that they are recorded as if a list had them, and not blocked.
`

// observedNames are those of the list of candidates, in lower case.
func observedNames(cfg *config.Config) (names []string, err error) {
	text, err := os.ReadFile(filepath.Join(cfg.Lists.Dir, candidatesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "" && name[0] != '#' {
			names = append(names, strings.TrimSuffix(strings.ToLower(name), "."))
		}
	}
	return names, err
}

func (cl *cli) newCandidateObserve() *cobra.Command {
	remove := false
	c := &cobra.Command{
		Use:   "observe NAME",
		Short: "Record a name, and all below it, as if a list had it; block nothing",
		Long: `Write a name into the list candidates.txt in lists.dir, as one of tier mixed: devices get
their answers as before, and attempts are recorded as "observe". Its rows are kept as long
as those of listed names, and reports, rhythms and experiments have it, under a vendor
that is called "candidate" and the name's domain. No list of others says whose it is:
reports, letters and alerts say that you observe it. 'candidates' shows it as observed.

Where the settings block names of tier mixed, too (blocking.tier, or that of a list or a
group), it would be blocked, and is refused. So is a name that another list has: it is
recorded already, as that list says.`,
		Example: "  telltale candidates observe data.mistat.eu.example\n  telltale candidates observe --remove data.mistat.eu.example",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			out, err := askObserve(c.Context(), cfg, name.String(), remove)
			if errors.Is(err, errStopped) {
				out.Name = name.String()
				out.Path, out.Changed, err = observeCandidate(cfg, &name, remove, func() error { return alreadyListed(cfg, &name) })
			}
			if err != nil {
				return err
			}
			done := "is observed: its attempts are recorded, and nothing is blocked"
			switch {
			case remove:
				done = "is not observed any more"
			case !out.Changed:
				done = "is observed already"
			}
			_, err = fmt.Fprintf(cl.out, "%s: %s %s\n", printable(out.Path), out.Name, done)
			return err
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "do not observe it any more")
	return c
}

// blocksMixed returns the setting by which names of tier mixed in the list of candidates
// are blocked, "" for none.
func blocksMixed(cfg *config.Config) string {
	by, tier := "blocking.tier", cfg.Blocking.Tier
	for i := range cfg.Lists.Settings {
		if l := &cfg.Lists.Settings[i]; l.Name+".txt" == candidatesFile && l.Tier != "" {
			by, tier = "tier of the list candidates", l.Tier
		}
	}
	if tier == "mixed" {
		return by
	}
	for i := range cfg.Groups {
		if g := &cfg.Groups[i]; g.Tier == "mixed" {
			return "tier of the group " + printable(g.Name)
		}
	}
	return ""
}

// alreadyListed says by which rule of another list than that of candidates it is known whose
// a name is, or the name is blocked; nil for none. It goes by files: no server need run.
func alreadyListed(cfg *config.Config, name *dnswire.Name) error {
	e, err := explainStopped(cfg, name, dnswire.TypeA, "")
	if err != nil {
		return err
	}
	return listedBy(&e, name)
}

// listedBy is alreadyListed by what lists say of the name.
func listedBy(e *web.Explanation, name *dnswire.Name) error {
	for _, m := range []*web.Match{e.Attributing, e.Decider} {
		if m != nil && m.List+".txt" != candidatesFile && (m == e.Attributing || m.Action == actionWord(format.Block)) {
			return fmt.Errorf("%s is listed already, by line %d of the list %s (%s): it is recorded as that says, and is no candidate. 'telltale explain %s' says how it is answered",
				name.String(), m.Line, printable(m.List), printable(m.Rule), name.String())
		}
	}
	return nil
}

// askObserve has the running server observe a name, or observe it no more.
func askObserve(ctx context.Context, cfg *config.Config, name string, remove bool) (out web.Observed, err error) {
	if remove {
		err = newClient(cfg).do(ctx, http.MethodDelete, "/candidates/observe?name="+url.QueryEscape(name), nil, &out)
	} else {
		err = newClient(cfg).do(ctx, http.MethodPost, "/candidates/observe", web.NewCandidate{Name: name}, &out)
	}
	return out, err
}

// errNotObserved marks the error of a name that is not observed.
var errNotObserved = errors.New("it is not observed")

// observeCandidate adds a name to the list of those that are observed, or removes it. listed fails
// where another list has the name.
func observeCandidate(cfg *config.Config, host *dnswire.Name, remove bool, listed func() error) (path string, changed bool, err error) {
	name := host.String()
	path = filepath.Join(cfg.Lists.Dir, candidatesFile)
	if by := blocksMixed(cfg); by != "" && !remove {
		return path, false, fmt.Errorf("%s is mixed in the settings: the name would be blocked, and a candidate is not to be. Set it to telemetry first, or block the name on purpose with 'telltale block'", by)
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = []byte(candidatesHead), nil
	}
	if err != nil {
		return path, false, err
	}
	var lines, names []string
	for l := range strings.Lines(string(text)) {
		lines = append(lines, strings.TrimSuffix(l, "\n"))
		first, _, _ := strings.Cut(lines[len(lines)-1], " ")
		names = append(names, first)
	}
	at := slices.IndexFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	switch above := printable(candidate.NearestAbove(names, name)); {
	case remove && at < 0 && above != "":
		return path, false, fmt.Errorf("%w by itself: %s has a line for %s, which has all names below it; 'telltale candidates observe --remove %s' ends that for all of them", errNotObserved, path, above, above)
	case remove && at < 0:
		return path, false, fmt.Errorf("%w: %s has no line for %s; 'telltale candidates' shows which names there are", errNotObserved, path, name)
	case remove:
		lines = slices.Delete(lines, at, at+1)
	case at >= 0:
		return path, false, nil
	case !strings.Contains(strings.Trim(name, "."), "."): // the list's reader would refuse the line
		return path, false, fmt.Errorf("%s is too wide to observe: a list takes no name of less than two labels. Name the host or the domain below it", name)
	default:
		if err := listed(); err != nil {
			return path, false, err
		}
		lines = append(lines, fmt.Sprintf(`%s  #@ vendor="%s%s" purpose=telemetry tier=mixed breaks="not known: nobody has looked at it yet"`, name, evidence.ObservedVendor, candidate.Domain(name)))
	}
	f, err := atomicfile.Create(cfg.Lists.Dir)
	if err != nil {
		return path, false, fmt.Errorf("writing %s: %w", path, err)
	}
	if _, err = f.WriteString(strings.Join(lines, "\n") + "\n"); err == nil {
		err = f.Chmod(0o644) // as list files are: the server may be another user
	}
	if err != nil {
		atomicfile.Discard(f)
		return path, false, fmt.Errorf("writing %s: %w", path, err)
	}
	return path, true, atomicfile.Commit(f, path)
}

func (cl *cli) newCandidatePropose() *cobra.Command {
	var f candidateFlags
	c := &cobra.Command{
		Use:   "propose NAME",
		Short: "Write a candidate as an entry for the catalogue, with the figures that speak for it",
		Long: `Write a name as docs/catalogue/contributing.md wants an entry, with the score's parts and
the figures of each device as comments, without names, addresses or other marks of the
home. What only a person can know is left open: who says so, which device and version
it was, and what breaks.`,
		Example: "  telltale candidates propose data.mistat.eu.example --last 24h",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseHost(args[0])
			if err != nil {
				return usage("%v", err)
			}
			found, err := cl.findCandidates(c.Context(), &f)
			if err != nil {
				return err
			}
			entry, err := proposalOf(found, &name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cl.out, printableLines(entry))
			return err
		},
	}
	f.add(c)
	return c
}
