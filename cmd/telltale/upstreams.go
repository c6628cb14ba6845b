package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/sorting"
	"telltale/web"
)

func (cl *cli) newUpstreams() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "upstreams",
		Short: "Show how the DNS servers do that names are asked of: health, share, speed, failures",
		Long: `Show each upstream in the order of the settings, those of forward last: whether it is
up, its part of the queries since the server's start, how long its last answers took
(half of them, nine in ten and 99 in a hundred took at most so long), the queries
that it did not answer by what it did instead, and the last of these.

  servfail      it said SERVFAIL, and not as a validator's verdict
  refused       it said REFUSED or another code that is no answer, or only referred on
  format        it could not read the query (FORMERR, NOTIMP, BADVERS)
  timeout       no reply in the time that it usually needs
  network       the network says that nobody is there
  connection    it ended the connection instead of answering
  certificate   its certificate is not valid
  tls           no TLS with it
  http          it answered with an HTTP error, or with no DNS message
  wrong-reply   it sent replies, but none that fits the query
  unsent        this machine could not send: no memory, no descriptors

A query that one upstream does not answer goes to the next, so a failure is no look-up
that failed. Exit status 1 if no server runs.`,
		Example: "  telltale upstreams\n  telltale upstreams --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			all := []web.Upstream{}
			if err := newClient(cfg).get(c.Context(), "/upstreams", &all); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(all)
			}
			return cl.printUpstreams(all)
		},
	})
}

// printUpstreams prints a line for each upstream, and below it what is wrong with it.
func (cl *cli) printUpstreams(all []web.Upstream) error {
	if len(all) == 0 {
		fmt.Fprintln(cl.out, "There is no upstream: listed names are answered, all others are not.")
		return nil
	}
	queries := uint64(0)
	for i := range all {
		queries += all[i].Queries
	}
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "UPSTREAM\tSTATE\tQUERIES\tSHARE\tMEDIAN\t90 %\t99 %\tFAILED")
	var notes strings.Builder
	for i := range all {
		u := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\n", printable(u.ID), u.State, u.Queries, cmp.Or(strings.Trim(share(u.Queries, queries), " ()"), "-"),
			took(u.Latency.P50), took(u.Latency.P90), took(u.Latency.P99), u.Failures)
		addUpstreamNotes(&notes, u)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if notes.Len() > 0 {
		fmt.Fprintf(cl.out, "\n%s", notes.String())
	}
	return nil
}

// addUpstreamNotes writes what there is to say of an upstream beside its figures.
func addUpstreamNotes(b *strings.Builder, u *web.Upstream) {
	note := func(text string, args ...any) {
		fmt.Fprintf(b, "%s: %s\n", printable(u.ID), printable(fmt.Sprintf(text, args...)))
	}
	switch {
	case len(u.For) > 0:
		note("asked %s alone", forwardedTo(u))
	case len(u.Zones) > 0:
		note("for %s alone", zonesText(u.Zones))
	}
	if u.Source == "bootstrap" {
		note("for the addresses of upstreams by name alone (upstream_bootstrap)")
	}
	if u.Why != "" {
		note("%s since %s: it %s", u.State, when(u.Since), u.Why)
	}
	if u.Hedged > 0 {
		note("%s went to another, too, since it took longer than usual", numberOf(u.Hedged, "query", "queries"))
	}
	if len(u.ByKind) > 0 {
		kinds := slices.Collect(maps.Keys(u.ByKind))
		sorting.By(kinds, func(a, b string) int {
			return cmp.Or(cmp.Compare(u.ByKind[b], u.ByKind[a]), cmp.Compare(a, b))
		})
		for i, k := range kinds {
			kinds[i] = fmt.Sprintf("%s %d", k, u.ByKind[k])
		}
		note("failed by kind: %s", strings.Join(kinds, ", "))
	}
	if u.LastError != "" {
		note("last failure at %s: it %s", when(u.LastAt), u.LastError)
	}
	if u.Strays > 0 {
		note("%s from it fitted no query: %s", number(u.Strays, "packet"), strayMeans(u))
	}
}

// numberOf is number for words whose plural is not made by an s.
func numberOf(n uint64, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// took writes how long answers took; "-" where there was none.
func took(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
