package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
)

func (cl *cli) newCatalog() *cobra.Command {
	c := cl.addJSON(&cobra.Command{
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
				return cl.printVendors(known.Vendors())
			}
			entries := known.Find(args[0])
			if len(entries) == 0 {
				return fmt.Errorf("the shipped lists know nothing of %q: 'telltale catalog' lists the vendors", args[0])
			}
			return cl.printEntries(entries)
		},
	})
	c.AddCommand(cl.newCatalogCheck())
	return c
}

func (cl *cli) newCatalogCheck() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "check FILE|FOLDER",
		Short: "Check a file of the catalogue that you have changed",
		Long: `Check a list file or a table of the catalogue, or a folder of them, together with
the shipped ones: an entry without a claim, a claim without a source that stays
what it is, two vendors for one name, a word outside the vocabulary. Each mistake
is printed with file, line, and what to do; exit status 1 if there is one. The
file takes the place of the shipped one of its name, and so do tables beside it.`,
		Example: "  telltale catalog check ./xiaomi.txt\n  telltale catalog check blocklists/catalog",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("one file or folder is expected")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			problems, err := catalog.CheckFile(args[0])
			if err != nil {
				return err
			}
			return cl.printProblems(args[0], problems)
		},
	})
}

// printProblems prints mistakes in the catalogue, and fails where there is one.
func (cl *cli) printProblems(path string, problems []catalog.Problem) error {
	enc := cl.encoder()
	for _, p := range problems {
		var err error
		if cl.json {
			err = enc.Encode(p)
		} else {
			_, err = fmt.Fprintln(cl.out, printable(p.String()))
		}
		if err != nil {
			return err
		}
	}
	if len(problems) > 0 {
		return errSilent
	}
	if cl.json {
		return nil
	}
	_, err := fmt.Fprintf(cl.out, "%s: nothing is wrong\n", printable(path))
	return err
}

func (cl *cli) printVendors(all []catalog.Count) error {
	if cl.json {
		enc := cl.encoder()
		for _, n := range all {
			if err := enc.Encode(n); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VENDOR\tTELEMETRY\tMIXED\tESSENTIAL\tOWNED DOMAINS")
	for _, n := range all {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", n.Vendor, n.Telemetry, n.Mixed, n.Essential, n.Owner)
	}
	return w.Flush()
}

// An entryJSON has its sources as the log and explain have them, too.
type entryJSON struct {
	*catalog.Entry
	Source string `json:"source"`
}

func (cl *cli) printEntries(entries []catalog.Entry) error {
	enc := cl.encoder()
	for i := range entries {
		var err error
		if cl.json {
			err = enc.Encode(entryJSON{&entries[i], strings.Join(entries[i].Sources(), " ")})
		} else {
			err = printEntry(cl.out, &entries[i])
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
		"since": e.Since, "confidence": e.Trust().Text(), "software": e.Software,
	})
	for _, claim := range e.Claims {
		fmt.Fprintf(&b, "  %-16s %s\n", claim.Kind, claim.Source.URL)
	}
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
