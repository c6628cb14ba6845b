package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"telltale/blocklists/catalog"
	"telltale/evidence"
	"telltale/evidence/destination"
	"telltale/querylog"
	"telltale/sorting"
	"telltale/web"
)

func (cl *cli) newDestinations() *cobra.Command {
	refresh, history, vendor, tz := false, false, "", ""
	c := cl.addJSON(&cobra.Command{
		Use:   "destinations [NAME]",
		Short: "Show where vendors' names lead: aliases, addresses, whose networks, in which country",
		Long: `Show where the names of the catalogue lead that devices asked for: by which aliases,
to which addresses, in whose networks, in which country by the address databases,
and who serves their domains. It is what upstreams said when Telltale itself asked,
also for names that are blocked; no device's lookup, and never a connection.

Telltale asks only with --refresh, or every night where destinations.nightly is set.
It then asks for the names that the catalogue spells out, and never for a name as a
device asked it, which may carry what tells the device from others: of such a NAME,
that of the catalogue is shown. Upstreams learn of these names that they are of
interest here. Changes are events of 'telltale ledger'. 'telltale geo update' fetches
databases that say whose addresses are.

A country is where a database says that an address is. It does not say where data
goes: one address can be announced in several countries (anycast), a content network
answers from near where one asks, and what a server does with data is not in DNS.`,
		Example: `  telltale destinations --refresh
  telltale destinations --vendor Xiaomi --history
  telltale ledger --kind destination-moved`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one name at most is expected")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = strings.ToLower(strings.TrimSuffix(args[0], "."))
			}
			zone, err := parseZone(tz)
			if err != nil {
				return usage("--tz: %v", err)
			}
			if refresh {
				if err := cl.refreshDestinations(c.Context()); err != nil {
					return err
				}
			}
			l, err := cl.openLog(c.Context())
			if err != nil {
				return err
			}
			defer l.Close()
			known, err := cl.catalogue()
			if err != nil {
				return err
			}
			lines, err := l.destinationLines(c.Context(), known, history)
			if err != nil {
				return err
			}
			lines, instead := chooseDestinations(lines, known, name, vendor)
			if instead != "" {
				fmt.Fprintf(cl.err, "%s itself is not asked for: the catalogue's name for it is %s\n", printable(name), printable(instead))
			}
			if len(lines) == 0 && (vendor != "" || name != "") {
				if err := l.checkVendor(c.Context(), vendor); err != nil {
					return err
				}
				return fmt.Errorf("nothing is known of where that leads: 'telltale destinations' shows all, and --refresh asks for the names that devices asked for in the last 30 days")
			}
			return cl.showDestinations(lines, zone)
		},
	})
	f := c.Flags()
	f.BoolVar(&refresh, "refresh", false, "ask the upstreams now, through the running server")
	f.BoolVar(&history, "history", false, "with all that was found before")
	f.StringVar(&vendor, "vendor", "", "of one vendor's names alone")
	f.StringVar(&tz, "tz", "", "the zone in which times are shown, such as Europe/Berlin (default: the machine's)")
	completeBy(c, "vendor", cl.vendorWords)
	return c
}

// chooseDestinations keeps the lines of a name and of a vendor, where these are given. A name
// that is not asked for itself is that of the catalogue that it is below.
func chooseDestinations(lines []web.Destination, known *catalog.Catalog, name, vendor string) (kept []web.Destination, instead string) {
	is := func(d web.Destination) bool { return d.Name == name }
	if name != "" && !slices.ContainsFunc(lines, is) {
		if e := destination.EntryOf(known, name); e != nil && e.Name != name {
			name, instead = e.Name, e.Name
		}
	}
	return slices.DeleteFunc(lines, func(d web.Destination) bool {
		return vendor != "" && !strings.EqualFold(d.Vendor, vendor) || name != "" && !is(d)
	}), instead
}

// refreshDestinations lets the running server ask.
func (cl *cli) refreshDestinations(ctx context.Context) error {
	cfg, err := cl.load()
	if err != nil {
		return err
	}
	var asked web.DestinationsAsked
	if err := newClient(cfg).do(ctx, http.MethodPost, "/destinations/ask", nil, &asked); err != nil {
		return err
	}
	for _, p := range asked.Problems {
		fmt.Fprintf(cl.err, "%s\n", printableLines(p))
	}
	_, err = fmt.Fprintf(cl.err, "asked for %d names: %d as before, %d changed (%d moved), %d for the first time, %d without an answer\n",
		asked.Names, asked.Same, asked.Changed, asked.Moved, asked.First, asked.Failed)
	return err
}

// destinationLines are where all names led, or lead, by name.
func (l *openedLog) destinationLines(ctx context.Context, known *catalog.Catalog, history bool) (lines []web.Destination, err error) {
	all, err := l.own.Destinations(ctx, "")
	if err != nil {
		return nil, err
	}
	for i := range all {
		d := &all[i]
		f, err := destination.Parse(d.Found)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", printable(d.Name), err)
		}
		if len(lines) == 0 || lines[len(lines)-1].Name != d.Name {
			line := web.Destination{Name: d.Name}
			if e := destination.EntryOf(known, d.Name); e != nil {
				line.Vendor, line.Product, line.Purpose, line.Tier = e.Vendor, e.Product, e.Purpose, e.Tier
			}
			lines = append(lines, line)
		}
		line := &lines[len(lines)-1]
		if !history {
			line.Led = nil
		}
		line.Led = append(line.Led, web.DestinationTime{First: d.First, Last: d.Last, Times: d.Times, Found: f})
	}
	sorting.StableBy(lines, func(a, b web.Destination) int {
		return cmp.Compare(strings.ToLower(a.Vendor), strings.ToLower(b.Vendor))
	})
	return lines, nil
}

func (cl *cli) showDestinations(lines []web.Destination, zone *time.Location) error {
	if cl.json {
		enc := cl.encoder()
		for i := range lines {
			if err := enc.Encode(&lines[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(cl.err, "nothing is known yet: --refresh asks the upstreams now, destinations.nightly every night")
		return err
	}
	var b strings.Builder
	for i := range lines {
		d := &lines[i]
		of := slices.Compact([]string{d.Vendor, d.Product, d.Purpose, d.Tier})
		of = slices.DeleteFunc(of, func(s string) bool { return s == "" })
		fmt.Fprintf(&b, "%s (%s)\n", printable(d.Name), printable(cmp.Or(strings.Join(of, ", "), "not in the catalogue any more")))
		for k := range d.Led {
			led := &d.Led[k]
			fmt.Fprintf(&b, "  asked %s, the same since %s\n", whenIn(led.Last.Time, zone), whenIn(led.First.Time, zone))
			for _, line := range led.Found.Lines(led.Last.Time) {
				fmt.Fprintf(&b, "    %s\n", printable(line))
			}
		}
	}
	for _, c := range destination.Limits {
		fmt.Fprintf(&b, "%s\n", c)
	}
	_, err := fmt.Fprint(cl.out, b.String())
	return err
}

// reportDestinations is how many names a report has where they lead.
const reportDestinations = 200

// addDestinations adds to a report where its names lead, as it was found last before its end,
// or first after it.
func (l *openedLog) addDestinations(ctx context.Context, r *evidence.Report) error {
	if l.own == nil { // nodes do not ship where names lead
		return nil
	}
	all, err := l.own.Destinations(ctx, "")
	if err != nil || len(all) == 0 {
		return err
	}
	return putDestinations(r, all)
}

// putDestinations puts what was found into r. Countries are of all names, also of those that
// are not among the first reportDestinations.
func putDestinations(r *evidence.Report, all []querylog.Destination) error {
	vendors := map[string]string{}
	for i := range r.Vendors {
		for k := range r.Vendors[i].Names {
			n := &r.Vendors[i].Names[k]
			for _, name := range []string{n.Name, n.Alias} {
				for ; name != ""; _, name, _ = strings.Cut(name, ".") {
					vendors[name] = cmp.Or(vendors[name], r.Vendors[i].Vendor)
				}
			}
		}
	}
	for i := range all {
		d := &all[i]
		vendor, ok := vendors[d.Name]
		n := len(r.Destinations)
		again := n > 0 && r.Destinations[n-1].Name == d.Name
		if !ok || again && d.First.After(r.Until.Time) {
			continue
		}
		f, err := destination.Parse(d.Found)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Name, err)
		}
		line := evidence.Destination{
			Name: d.Name, Vendor: vendor, Since: d.First, Asked: d.Last, Operators: append([]string{}, f.Operators()...), Countries: append([]string{}, f.Countries()...), Text: f.Lines(d.Last.Time),
		}
		if again {
			r.Destinations[n-1] = line
			continue
		}
		r.Destinations = append(r.Destinations, line)
	}
	r.SumCountries()
	if more := len(r.Destinations) - reportDestinations; more > 0 {
		r.Destinations = r.Destinations[:reportDestinations]
		r.Caveats = append(r.Caveats, fmt.Sprintf("where names lead is listed of the first %d names in alphabetical order, and not of %d more: 'telltale destinations' shows all. Sums by country are of all", reportDestinations, more))
	}
	return nil
}
