package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/blocklists/catalog"
	"telltale/blocklists/format"
	"telltale/blocklists/subscribe"
	"telltale/dnswire"
)

func (a *app) newListsCheck() *cobra.Command {
	form, match := "auto", "subtree"
	c := a.addJSON(&cobra.Command{
		Use:   "check FILE...",
		Short: "Look list files over: bad lines, redundant rules, risky rules",
		Long: `Read list files as Telltale would, together, and say what each holds: rules by
form, bad lines, rules that another one makes redundant, exceptions from nothing,
and rules that block more than their author may think. Nothing is put in force.
A file of a list is read by that list's settings; any other by --format and
--match. Exit status 1 if there is a bad line.`,
		Example: "  telltale lists check ./mylist.txt\n  telltale lists check --format regex ./patterns.txt\n  telltale lists check --json /etc/telltale/lists.d/*.txt",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("at least one file is expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			other, err := otherSettings(form, match)
			if err != nil {
				return err
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			o := stoppedListOptions(cfg)
			var files []blocklists.LintFile
			for _, path := range args {
				files = append(files, o.FileOf(path, other))
			}
			reports, err := blocklists.Lint(c.Context(), files, catalog.FS())
			if err != nil {
				return err
			}
			return a.showLint(reports)
		},
	})
	c.Flags().StringVar(&form, "format", form, "of files that are none of your lists: auto, regex, rpz, ...")
	c.Flags().StringVar(&match, "match", match, "what a plain domain matches in such files: subtree, or exact")
	complete(c, "match", "subtree", "exact")
	complete(c, "format", "auto", "domains", "hosts", "wildcard", "adblock", "dnsmasq", "unbound", "rpz", "regex")
	return c
}

// otherSettings are the settings of a file that belongs to no list.
func otherSettings(form, match string) (blocklists.ListSettings, error) {
	var s blocklists.ListSettings
	if form != "auto" {
		s.Format = form
	}
	if !slices.Contains(format.Formats, s.Format) {
		return s, usage("--format: %q is none of auto%s", form, strings.Join(format.Formats, ", "))
	}
	if match != "subtree" && match != "exact" {
		return s, usage("--match: %q is neither subtree nor exact", match)
	}
	s.Exact = match == "exact"
	return s, nil
}

// showLint prints reports, and fails where there is a bad line.
func (a *app) showLint(reports []blocklists.LintReport) error {
	bad := false
	for i := range reports {
		r := &reports[i]
		bad = bad || r.Failed != "" || r.BadSeen > 0
		var err error
		if a.json {
			enc := json.NewEncoder(a.out)
			enc.SetEscapeHTML(false)
			err = enc.Encode(r)
		} else {
			err = a.printLint(r)
		}
		if err != nil {
			return err
		}
	}
	if bad {
		return errSilent
	}
	return nil
}

func (a *app) printLint(r *blocklists.LintReport) error {
	var b strings.Builder
	path := printable(r.Path)
	if r.Failed != "" {
		_, err := fmt.Fprintf(a.out, "%s: %s\n", path, printable(r.Failed))
		return err
	}
	fmt.Fprintf(&b, "%s: %d rules%s, %d bad lines", path, r.Rules, formsOf(r.ByForm), r.BadSeen)
	if r.List != "" {
		fmt.Fprintf(&b, "; read as the list %s is", printable(r.List))
	}
	b.WriteByte('\n')
	if r.Missing > 0 {
		fmt.Fprintf(&b, "%s: says that it has %d entries more: cut short?\n", path, r.Missing)
	}
	for _, bad := range r.Bad {
		fmt.Fprintf(&b, "%s: %s\n", lineOf(path, bad.Line), printable(bad.Why))
	}
	if more := r.BadSeen - len(r.Bad); more > 0 {
		fmt.Fprintf(&b, "%s: and %d more bad lines\n", path, more)
	}
	shown := map[blocklists.FindingKind]int{}
	for _, f := range r.Findings {
		shown[f.Kind]++
		fmt.Fprintf(&b, "%s:%d: %s: %s (%s)\n", path, f.Line, f.Kind, printable(f.Text), printable(f.Why))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Seen)) {
		if more := r.Seen[kind] - shown[kind]; more > 0 {
			fmt.Fprintf(&b, "%s: and %d more %s\n", path, more, kind)
		}
	}
	_, err := io.WriteString(a.out, b.String())
	return err
}

// lineOf is a line of a file as compilers write it, or the file as a whole.
func lineOf(path string, line int) string {
	if line == 0 {
		return path
	}
	return path + ":" + strconv.Itoa(line)
}

// formsOf counts rules by their form, as " (3 domain, 2 hosts)"; "" for none.
func formsOf(forms map[string]int) string {
	if len(forms) == 0 {
		return ""
	}
	var all []string
	for _, form := range slices.Sorted(maps.Keys(forms)) {
		all = append(all, fmt.Sprintf("%d %s", forms[form], form))
	}
	return " (" + strings.Join(all, ", ") + ")"
}

func (a *app) newListsLookup() *cobra.Command {
	return a.addJSON(&cobra.Command{
		Use:     "lookup NAME",
		Short:   "Say which lists have a rule for a name",
		Long:    "Show every rule that matches a name, with its list and line. 'telltale explain' says which of them decides, and why.",
		Example: "  telltale lists lookup ads.example",
		Args:    oneArg("name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseName(args[0])
			if err != nil {
				return usage("%v", err)
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			var e explanation
			err = newClient(cfg).get(c.Context(), "/explain?"+url.Values{"name": {name.String()}, "type": {"A"}}.Encode(), &e)
			if errors.Is(err, errStopped) {
				e, err = explainStopped(cfg, &name, dnswire.TypeA, "")
			}
			if err != nil {
				return err
			}
			for i := range e.Matches {
				m := &e.Matches[i]
				if a.json {
					err = json.NewEncoder(a.out).Encode(m)
				} else {
					var b strings.Builder
					printMatch(&b, m)
					_, err = io.WriteString(a.out, b.String())
				}
				if err != nil {
					return err
				}
			}
			if len(e.Matches) == 0 && !a.json {
				fmt.Fprintln(a.err, "no list has a rule for it")
			}
			return nil
		},
	})
}

func (a *app) newListsDiff() *cobra.Command {
	held := false
	c := a.addJSON(&cobra.Command{
		Use:     "diff NAME",
		Short:   "Show what the last update of a subscribed list added and removed",
		Example: "  telltale lists diff mylist\n  telltale lists diff --held mylist",
		Args:    oneArg("name of a subscribed list"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			q := url.Values{"name": {args[0]}}
			if held {
				q.Set("held", "1")
			}
			var d subscribe.Diff
			if err := newClient(cfg).get(c.Context(), "/lists/diff?"+q.Encode(), &d); err != nil {
				return err
			}
			if a.json {
				return json.NewEncoder(a.out).Encode(d)
			}
			for _, s := range d.Removed {
				fmt.Fprintln(a.out, "- "+printable(s))
			}
			for _, s := range d.Added {
				fmt.Fprintln(a.out, "+ "+printable(s))
			}
			_, err = fmt.Fprintf(a.err, "%d added, %d removed\n", d.AddedTotal, d.RemovedTotal)
			return err
		},
	})
	c.Flags().BoolVar(&held, "held", false, "what the update that is held back would change")
	return c
}

func (a *app) newListsRefresh() *cobra.Command {
	return a.addJSON(&cobra.Command{
		Use:     "refresh [NAME...]",
		Short:   "Fetch subscribed lists now",
		Long:    "Fetch the named subscribed lists, or all of them, now instead of when they are due. Exit status 1 if one failed or was held back.",
		Example: "  telltale lists refresh\n  telltale lists refresh mylist",
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if len(cfg.Lists.Subscriptions) == 0 {
				return errors.New("no list is subscribed: lists.subscriptions in the settings says which are; 'telltale lists presets' offers some")
			}
			well := true
			err = newClient(cfg).stream(c.Context(), "/lists/refresh", order{Lists: args}, func(d *json.Decoder) error {
				var r refreshed
				if err := d.Decode(&r); err != nil {
					return err
				}
				well = well && r.Error == ""
				return a.printRefreshed(&r)
			})
			if err == nil && !well {
				return errSilent
			}
			return err
		},
	})
}

func (a *app) printRefreshed(r *refreshed) error {
	if a.json {
		return json.NewEncoder(a.out).Encode(r)
	}
	switch {
	case !r.Done && r.Total > 0:
		fmt.Fprintf(a.err, "%s: %s of %s\n", printable(r.Name), bytesText(r.Bytes), bytesText(r.Total))
	case !r.Done:
		fmt.Fprintf(a.err, "%s: %s\n", printable(r.Name), bytesText(r.Bytes))
	case r.Error != "":
		fmt.Fprintf(a.out, "%s: %s: %s\n", printable(r.Name), r.Outcome, printable(r.Error))
	case r.Bad > 0:
		fmt.Fprintf(a.out, "%s: %s, %d rules, %d lines not in force ('telltale lists --bad' shows them)\n", printable(r.Name), r.Outcome, r.Rules, r.Bad)
	case r.Rules > 0:
		fmt.Fprintf(a.out, "%s: %s, %d rules\n", printable(r.Name), r.Outcome, r.Rules)
	default:
		fmt.Fprintf(a.out, "%s: %s\n", printable(r.Name), r.Outcome)
	}
	return nil
}

func (a *app) newListsPresets() *cobra.Command {
	return a.addJSON(&cobra.Command{
		Use:   "presets",
		Short: "Show wide lists of others that can be subscribed to",
		Long: `Show wide lists that others maintain. None is on unless you ask for it: a wide list
blocks what its authors think right, which is more than telemetry. Copy the line
of one into lists.subscriptions of the settings.`,
		Example: "  telltale lists presets",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, p := range subscribe.Presets {
				var err error
				if a.json {
					err = json.NewEncoder(a.out).Encode(map[string]string{"name": p.Name, "url": p.URL, "title": p.Title})
				} else {
					_, err = fmt.Fprintf(a.out, "# %s\n- {name: %s, url: %q}\n", p.Title, p.Name, p.URL)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func (a *app) newListsExport() *cobra.Command {
	tier, set, vendor, out, everything := "telemetry", "", "", "", false
	c := &cobra.Command{
		Use:   "export",
		Short: "Write shipped names as a plain list for other programs",
		Long: `Write the names that the shipped lists block as a plain domain list, which any
other program reads: a tier of them (telemetry, or mixed for both), one vendor's,
or a set that cuts across vendors. What is known but never blocked is written as a
comment; with --all as a line like the others, for uses other than blocking: to
answer canaries, or to tell devices by their connectivity checks.`,
		Example: "  telltale lists export > telemetry.txt\n  telltale lists export --tier mixed --output mixed.txt\n  telltale lists export --set doh\n  telltale lists export --set canary --all\n  telltale lists export --vendor Xiaomi",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			known, err := catalog.Load()
			if err != nil {
				return err
			}
			entries, ok := known.Tier(tier)
			title, choice := "tier "+tier, "tiers are telemetry and mixed"
			switch {
			case set != "":
				entries, ok = known.Set(set)
				title, choice = "set "+set, "sets are "+strings.Join(setNames(), ", ")
			case vendor != "":
				entries = known.Vendor(vendor)
				ok = len(entries) > 0
				title, choice = "vendor "+vendor, "'telltale catalog' lists the vendors"
			}
			if !ok {
				return usage("there is no %s; %s", title, choice)
			}
			if out == "" {
				return catalog.Export(a.out, "Telltale: "+title, entries, everything)
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			return errors.Join(catalog.Export(f, "Telltale: "+title, entries, everything), f.Close())
		},
	}
	f := c.Flags()
	f.StringVar(&tier, "tier", tier, "telemetry, or mixed for both")
	f.StringVar(&set, "set", "", "a set instead of a tier: "+strings.Join(setNames(), ", "))
	f.StringVar(&vendor, "vendor", "", "one vendor's names instead of a tier")
	f.BoolVar(&everything, "all", false, "also what is never blocked, as lines")
	f.StringVarP(&out, "output", "o", "", "write to this file")
	c.MarkFlagsMutuallyExclusive("set", "vendor", "tier")
	complete(c, "tier", "telemetry", "mixed")
	complete(c, "set", setNames()...)
	return c
}

func setNames() []string {
	var all []string
	for _, s := range catalog.Sets {
		all = append(all, s.Name)
	}
	return all
}

func (a *app) newCatalog() *cobra.Command {
	return a.addJSON(&cobra.Command{
		Use:   "catalog [VENDOR|NAME]",
		Short: "Show what the shipped lists know of a vendor or a name, and from where",
		Long: `Without an argument, list the vendors the shipped lists know, with how many of their
names are telemetry, mixed (a feature may break) and essential (never blocked),
and how many domains are only known as theirs. With a vendor or a name, show
each entry with what it is for and who says so.`,
		Example: "  telltale catalog\n  telltale catalog Xiaomi\n  telltale catalog data.mistat.xiaomi.com --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one vendor or name is expected (quote a vendor of several words)")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := catalog.Load()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.printVendors(known.Vendors())
			}
			entries := known.Find(args[0])
			if len(entries) == 0 {
				return fmt.Errorf("the shipped lists know nothing of %q: 'telltale catalog' lists the vendors", args[0])
			}
			return a.printEntries(entries)
		},
	})
}

func (a *app) printVendors(all []catalog.Count) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		for _, n := range all {
			if err := enc.Encode(n); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VENDOR\tTELEMETRY\tMIXED\tESSENTIAL\tOWNED DOMAINS")
	for _, n := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", n.Vendor, n.Telemetry, n.Mixed, n.Essential, n.Owner)
	}
	return w.Flush()
}

func (a *app) printEntries(entries []catalog.Entry) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	for i := range entries {
		var err error
		if a.json {
			err = enc.Encode(&entries[i])
		} else {
			err = printEntry(a.out, &entries[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// printEntry prints what is known of a name, each source on a line of its own.
func printEntry(w io.Writer, e *catalog.Entry) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  (%s)\n", e.Name, reach(e))
	printNote(&b, map[string]string{
		"vendor": e.Vendor, "product": e.Product, "purpose": e.Purpose, "tier": e.Tier, "region": e.Region, "breaks": e.Breaks,
		"since": e.Since, "confidence": e.Confidence, "software": e.Software, "source": strings.Join(e.Sources, " "),
	})
	fmt.Fprintf(&b, "  %-11s %s:%d\n", "listed in", e.File, e.Line)
	_, err := io.WriteString(w, b.String())
	return err
}

// reach says what an entry speaks of, and what is done about it by default.
func reach(e *catalog.Entry) string {
	done := map[string]string{"telemetry": "blocked", "mixed": "observed", "essential": "never blocked", "owner": "whose it is"}[e.Tier]
	if e.Exact {
		return "alone; " + done
	}
	return "with all below it; " + done
}
