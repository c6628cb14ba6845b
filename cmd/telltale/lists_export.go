package main

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
)

func (cl *cli) newListsExport() *cobra.Command {
	tier, set, vendor, out, form, everything := "telemetry", "", "", "", "telltale", false
	c := &cobra.Command{
		Use:   "export",
		Short: "Write shipped names as a list for other programs",
		Long: `Write the names that the shipped lists block, in the format of the program that is
to read them: a tier of them (telemetry, or mixed for both), one vendor's, or a set
that cuts across vendors. Without --format it is a list as Telltale reads it. What is
known but never blocked is written as a comment; with --all as a line like the others,
for uses other than blocking: to answer canaries, or to tell devices by their
connectivity checks.`,
		Example: "  telltale lists export > telemetry.txt\n  telltale lists export --format adblock > telemetry-adguard.txt\n  telltale lists export --format rpz --output telemetry.rpz\n  telltale lists export --tier mixed --output mixed.txt\n  telltale lists export --set doh\n  telltale lists export --set canary --all\n  telltale lists export --vendor Xiaomi",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			if !slices.Contains(catalog.Formats, catalog.Format(form)) {
				return usage("--format: %q is none of %s", form, strings.Join(formatNames(), ", "))
			}
			known, err := cl.catalogue()
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
				return catalog.Export(cl.out, catalog.Format(form), "Telltale: "+title, entries, everything)
			}
			f, err := os.Create(out)
			if err != nil {
				return err
			}
			return errors.Join(catalog.Export(f, catalog.Format(form), "Telltale: "+title, entries, everything), f.Close())
		},
	}
	f := c.Flags()
	f.StringVar(&tier, "tier", tier, "telemetry, or mixed for both")
	f.StringVar(&set, "set", "", "a set instead of a tier: "+strings.Join(setNames(), ", "))
	f.StringVar(&vendor, "vendor", "", "one vendor's names instead of a tier")
	f.BoolVar(&everything, "all", false, "also what is never blocked, as lines")
	f.StringVar(&form, "format", form, "what is to read it: "+strings.Join(formatNames(), ", "))
	f.StringVarP(&out, "output", "o", "", "write to this file")
	c.MarkFlagsMutuallyExclusive("set", "vendor", "tier")
	complete(c, "format", formatNames()...)
	complete(c, "tier", "telemetry", "mixed")
	complete(c, "set", setNames()...)
	return c
}

func formatNames() []string {
	var all []string
	for _, f := range catalog.Formats {
		all = append(all, string(f))
	}
	return all
}

func setNames() []string {
	var all []string
	for _, s := range catalog.Sets {
		all = append(all, s.Name)
	}
	return all
}
