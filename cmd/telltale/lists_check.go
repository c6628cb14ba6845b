package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists"
	"telltale/blocklists/format"
	"telltale/blocklists/inspect"
)

func (cl *cli) newListsCheck() *cobra.Command {
	form, match := "auto", "subtree"
	c := cl.addJSON(&cobra.Command{
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
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			o := stoppedListOptions(cfg)
			var files []blocklists.ListFile
			for _, path := range args {
				files = append(files, o.FileOf(path, other))
			}
			reports, err := inspect.Lint(c.Context(), files, o.Shipped)
			if err != nil {
				return err
			}
			return cl.showLint(reports)
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
func (cl *cli) showLint(reports []inspect.LintReport) error {
	bad := false
	for i := range reports {
		r := &reports[i]
		bad = bad || r.Failed != "" || r.BadSeen > 0
		var err error
		if cl.json {
			enc := cl.encoder()
			err = enc.Encode(r)
		} else {
			err = cl.printLint(r)
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

func (cl *cli) printLint(r *inspect.LintReport) error {
	var b strings.Builder
	path := printable(r.Path)
	if r.Failed != "" {
		_, err := fmt.Fprintf(cl.out, "%s: %s\n", path, printable(r.Failed))
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
	shown := map[inspect.FindingKind]int{}
	for _, f := range r.Findings {
		shown[f.Kind]++
		fmt.Fprintf(&b, "%s:%d: %s: %s (%s)\n", path, f.Line, f.Kind, printable(f.Text), printable(f.Why))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Seen)) {
		if more := r.Seen[kind] - shown[kind]; more > 0 {
			fmt.Fprintf(&b, "%s: and %d more %s\n", path, more, kind)
		}
	}
	_, err := io.WriteString(cl.out, b.String())
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
