package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
	"telltale/web"
)

func (cl *cli) newCatalog() *cobra.Command {
	optOut := false
	c := cl.addJSON(&cobra.Command{
		Use:   "catalog [VENDOR|NAME|WORD]",
		Short: "Show what the shipped lists know of a vendor, a name or a product, and from where",
		Long: `Without an argument, list the vendors the shipped lists know, with how many of their
names are telemetry, mixed (a feature may break) and essential (never blocked),
and how many domains are only known as theirs. With a vendor or a name, show
each entry with what it is for and who says so. Any other word is looked for in
products, the software of collectors, companies, brands, purposes, sets (sdk,
acr, ...), regions and countries: what fits is counted, and its names are
listed. With --opt-out, show who a vendor is, and what can be switched off,
where.`,
		Example: "  telltale catalog\n  telltale catalog Xiaomi\n  telltale catalog HyperOS\n  telltale catalog Samsung --opt-out\n  telltale catalog data.mistat.xiaomi.com --json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one vendor, name or word is expected (quote several words)")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := cl.catalogue()
			if err != nil {
				return err
			}
			switch {
			case len(args) == 0 && optOut:
				return usage("--opt-out is of a vendor: write its name")
			case len(args) == 0:
				return cl.printVendors(known.Vendors())
			case optOut:
				return cl.printCompany(known, args[0])
			}
			found := known.Search(args[0])
			switch {
			case len(found) == 0:
				return unknownWord(known, args[0])
			case cl.json:
				return cl.encodeMatches(found)
			case found[0].By == "vendor" || found[0].By == "name":
				return cl.printEntries(found[0].Entries)
			}
			return cl.printMatches(found)
		},
	})
	c.Flags().BoolVar(&optOut, "opt-out", optOut, "show who a vendor is, and what can be switched off")
	c.AddCommand(cl.newCatalogEdition(), cl.newCatalogUpdate(), cl.newCatalogAccept(), cl.newCatalogCheck(), cl.newCatalogExport(), cl.newCatalogPack())
	return c
}

// unknownWord is the error of a word of which the catalogue knows nothing: it says
// which vendor may have been meant.
func unknownWord(known *catalog.Catalog, word string) error {
	var vendors []string
	for _, n := range known.Vendors() {
		vendors = append(vendors, n.Vendor)
	}
	meant := ""
	if near := nearest(word, vendors); near != "" && !strings.Contains(word, ".") {
		meant = fmt.Sprintf(": did you mean %q?", near)
	}
	return fmt.Errorf("the shipped lists know nothing of %q%s ('telltale catalog' lists the vendors)", printable(word), meant)
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
		Args:    oneArg("file or folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			problems, err := catalog.CheckFile(args[0])
			if err != nil {
				return err
			}
			return cl.printProblems(args[0], problems)
		},
	})
}

func (cl *cli) newCatalogExport() *cobra.Command {
	since := ""
	c := &cobra.Command{
		Use:   "export FOLDER",
		Short: "Write the catalogue into a folder as data for other programs",
		Long: `Write the catalogue as data: catalogue.json (described by schema.json) and
catalogue.csv, a licence file, and the names that are blocked as lists for AdGuard,
Pi-hole, dnsmasq, unbound, response policy zones and others, by tier: telemetry,
and mixed for both. With --since, CHANGES.md says what changed entry by entry.
A single list is written by 'telltale lists export'.`,
		Example: "  telltale catalog export ./catalogue\n  telltale catalog export ./new --since ./old/catalogue.json",
		Args:    oneArg("folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			known, err := cl.catalogue()
			if err != nil {
				return err
			}
			before, err := readExport(since)
			if err != nil {
				return err
			}
			return known.WriteFolder(args[0], before)
		},
	}
	c.Flags().StringVar(&since, "since", since, "an earlier catalogue.json, to say what changed")
	return c
}

// readExport reads an earlier catalogue.json; nil for "".
func readExport(path string) (*catalog.Document, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, err := catalog.ReadDocument(f)
	if err != nil {
		return nil, fmt.Errorf("--since: %s: %w", path, err)
	}
	return d, nil
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

// catalogEntries returns the entries that were found, each once.
func catalogEntries(found []catalog.Match) []web.CatalogEntry {
	all := []web.CatalogEntry{}
	seen := map[string]bool{}
	for _, m := range found {
		for i := range m.Entries {
			e := &m.Entries[i]
			if key := fmt.Sprint(e.File, ":", e.Line); !seen[key] {
				seen[key] = true
				all = append(all, catalogEntry(e))
			}
		}
	}
	return all
}

// catalogEntry returns an entry as the API and --json have it.
func catalogEntry(e *catalog.Entry) web.CatalogEntry {
	return web.CatalogEntry{Entry: e, Source: strings.Join(e.Sources(), " ")}
}

// encodeMatches writes the entries that were found, each once.
func (cl *cli) encodeMatches(found []catalog.Match) error {
	enc := cl.encoder()
	for _, e := range catalogEntries(found) {
		if err := enc.Encode(&e); err != nil {
			return err
		}
	}
	return nil
}

func (cl *cli) printEntries(entries []catalog.Entry) error {
	for i := range entries {
		if err := printEntry(cl.out, &entries[i]); err != nil {
			return err
		}
	}
	return nil
}

// printMatches prints what a word was found in, with counts, and the names.
func (cl *cli) printMatches(found []catalog.Match) error {
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FOUND BY\tWHAT\tVENDOR\tTELEMETRY\tMIXED\tESSENTIAL\tOWNED DOMAINS")
	for _, m := range found {
		vendor := m.Vendor
		if vendor == "" {
			vendor = "several"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\n", m.By, printable(m.What), printable(vendor), m.Count.Telemetry, m.Count.Mixed, m.Count.Essential, m.Count.Owner)
	}
	fmt.Fprintln(w, "\nNAME\tVENDOR\tPURPOSE\tTIER\tCONFIDENCE")
	seen := map[string]bool{}
	for _, m := range found {
		for i := range m.Entries {
			e := &m.Entries[i]
			if !seen[e.String()] {
				seen[e.String()] = true
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e, printable(e.Vendor), e.Purpose, e.Tier, printable(e.Trust().Text()))
			}
		}
	}
	return w.Flush()
}

// companyOf returns a company as the API and --json have it.
func companyOf(known *catalog.Catalog, k catalog.Company) web.Company {
	count := catalog.Count{Vendor: k.Vendor}
	for _, n := range known.Vendors() {
		if n.Vendor == k.Vendor {
			count = n
		}
	}
	return web.Company{Company: k, Count: count}
}

// printCompany prints who a vendor is and what can be switched off.
func (cl *cli) printCompany(known *catalog.Catalog, vendor string) error {
	k, ok := known.Company(vendor)
	if !ok {
		if found := known.Search(vendor); len(found) > 0 && found[0].Vendor != "" {
			k, ok = known.Company(found[0].Vendor)
		}
	}
	if !ok {
		return fmt.Errorf("who %q is and what it lets people switch off is not in the shipped lists: 'telltale catalog' lists the vendors", vendor)
	}
	if cl.json {
		return cl.encoder().Encode(companyOf(known, k))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", printable(k.Vendor))
	printPair(&b, "parent", k.Parent)
	printPair(&b, "seat", catalog.Country(k.Country))
	printPair(&b, "privacy", k.Privacy)
	for _, brand := range known.Brands(k.Vendor) {
		printPair(&b, "brand", printable(brand.Name)+" ("+known.BrandSource(brand).URL+")")
	}
	for _, o := range k.OptOuts {
		b.WriteString("\nCan be switched off:\n")
		printPair(&b, "steps", o.Steps)
		printPair(&b, "page", o.URL)
		for i, name := range o.Silent {
			key := ""
			if i == 0 {
				key = "silent then"
			}
			printPair(&b, cmp.Or(key, " "), name)
		}
		printPair(&b, "source", o.Source+" (read on "+o.Date+")")
	}
	if len(k.OptOuts) == 0 {
		b.WriteString("\nNo setting is known by which anything can be switched off.\n")
	}
	_, err := io.WriteString(cl.out, b.String())
	return err
}

// printEntry prints what is known of a name, each source on a line of its own.
func printEntry(w io.Writer, e *catalog.Entry) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  (%s)\n", e.Name, reach(e))
	printAnnotation(&b, map[string]string{
		"vendor": e.Vendor, "product": e.Product, "purpose": e.Purpose, "tier": e.Tier, "region": e.Region, "breaks": e.WhatBreaks(),
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
