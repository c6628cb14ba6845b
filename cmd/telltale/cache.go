package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"telltale/web"
)

func (cl *cli) newCache() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Show what is kept of answers, or forget it",
		Long: `Show what the running server keeps of upstreams' answers, or forget it. What lists say
is not in it: a changed list needs no flush. docs/cache.md says what is kept, and for
how long. Exit status 1 if no server runs.`,
		Example: "  telltale cache show www.example.com\n  telltale cache flush www.example.com\n  telltale cache stats",
		Args:    noArgs,
	}
	c.AddCommand(cl.newCacheShow(), cl.newCacheFlush(), cl.newCacheStats())
	return c
}

func (cl *cli) newCacheShow() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "show NAME",
		Short: "Show what is kept of a name",
		Long: `Show each answer that is kept of a name, by type, with its records and their TTLs as
they are left. It asks nobody. States:

  fresh     it is served
  failure   it is served, and says that there was no answer
  expired   its time is over: it is served if upstreams give no answer
  deferred  the same, and upstreams gave none a moment ago: they are not asked for now
  over      it is not served any more; its room is not needed yet

An answer for ANY TYPE says that there is no such name. Exit status 1 if nothing is kept.`,
		Example: "  telltale cache show www.example.com",
		Args:    oneArg("domain name"),
		RunE: func(c *cobra.Command, args []string) error {
			name, err := parseName(args[0])
			if err != nil {
				return usage("%v", err)
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			all := []web.CachedAnswer{}
			if err := newClient(cfg).get(c.Context(), "/cache?name="+url.QueryEscape(name.String()), &all); err != nil {
				return err
			}
			if cl.json {
				if err := cl.encoder().Encode(all); err != nil {
					return err
				}
			} else {
				cl.printCached(name.String(), all)
			}
			if len(all) == 0 {
				return errSilent
			}
			return nil
		},
	})
}

func (cl *cli) printCached(name string, all []web.CachedAnswer) {
	if len(all) == 0 {
		fmt.Fprintf(cl.out, "Nothing is kept of %s.\n", printable(name))
	}
	for i := range all {
		a := &all[i]
		what := strings.ToUpper(a.Type)
		if a.Type == "any" {
			what = "ANY TYPE"
		}
		if a.DNSSEC {
			what += ", with DNSSEC records"
		}
		if a.CheckingDisabled {
			what += ", not checked"
		}
		if len(a.For) > 0 {
			what += ", for " + zonesText(a.For)
		}
		left := time.Duration(a.Left) * time.Second
		text := "for " + left.String() + " more"
		if left <= 0 {
			text = "its time was over " + (-left).String() + " ago"
		}
		served := number(uint64(a.Hits), "time")
		if a.Hits >= maxHits {
			served = "often"
		}
		fmt.Fprintf(cl.out, "%s: %s, %s, %s; served %s\n", what, a.Rcode, a.State, text, served)
		if a.Error != "" {
			fmt.Fprintf(cl.out, "    %s\n", printable(a.Error))
		}
		for _, rr := range a.Answer {
			fmt.Fprintf(cl.out, "    %s\n", printable(rr))
		}
	}
}

// maxHits is up to what hits are counted.
const maxHits = 15

func (cl *cli) newCacheFlush() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "flush [NAME]",
		Short: "Forget what is kept of a name, or everything",
		Long: `Forget what is kept of a name, of all types, or of all names without one. Names below it
are others, and so is a name that leads to it: flush that, too. The file of cache.keep
is written anew.`,
		Example: "  telltale cache flush www.example.com\n  telltale cache flush",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("one domain name is expected, or none for all")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path, what := "/cache", ""
			if len(args) == 1 {
				name, err := parseName(args[0])
				if err != nil {
					return usage("%v", err)
				}
				path += "?name=" + url.QueryEscape(name.String())
				what = " of " + name.String()
			}
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var f web.Flushed
			if err := newClient(cfg).do(c.Context(), http.MethodDelete, path, nil, &f); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(f)
			}
			_, err = fmt.Fprintf(cl.out, "Forgotten: %s%s.\n", number(uint64(f.Entries), "answer"), printable(what))
			return err
		},
	})
}

func (cl *cli) newCacheStats() *cobra.Command {
	return cl.addJSON(&cobra.Command{
		Use:   "stats",
		Short: "Show how full the cache is, and what it did",
		Long: `Show how much is kept, in which state ("telltale cache show --help" says what they mean),
how many answers had to go for others, were served stale, or were asked for in time, and
what became of the file of cache.keep. How many look-ups the cache answered is in the
log: its rows have answered_from.`,
		Example: "  telltale cache stats\n  telltale cache stats --json",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := cl.load()
			if err != nil {
				return err
			}
			var st web.CacheStats
			if err := newClient(cfg).get(c.Context(), "/cache/stats", &st); err != nil {
				return err
			}
			if cl.json {
				return cl.encoder().Encode(st)
			}
			return cl.printCacheStats(&st)
		},
	})
}

func (cl *cli) printCacheStats(st *web.CacheStats) error {
	w := tabwriter.NewWriter(cl.out, 0, 0, 2, ' ', 0)
	if st.Size == 0 {
		fmt.Fprintln(w, "Answers\tnone are kept: cache.size is 0")
		return w.Flush()
	}
	fmt.Fprintf(w, "Answers\t%d, in %s of %s\n", st.Entries, bytesText(st.Bytes), bytesText(st.Size))
	for _, state := range []string{"fresh", "failure", "expired", "deferred", "over"} {
		if n := st.States[state]; n > 0 {
			fmt.Fprintf(w, "  %s\t%d\n", state, n)
		}
	}
	fmt.Fprintf(w, "Evicted\t%d, for others\n", st.Evicted)
	fmt.Fprintf(w, "Served stale\t%d\n", st.Stale)
	fmt.Fprintf(w, "Asked for in time\t%d\n", st.Prefetched)
	if k := st.Kept; k != nil {
		fmt.Fprintf(w, "Kept in\t%s\n", printable(k.File))
		switch {
		case k.Unused != "":
			fmt.Fprintf(w, "  not used\t%s\n", printable(k.Unused))
		case k.Waiting != "":
			fmt.Fprintf(w, "  not used yet\t%s\n", printable(k.Waiting))
		case k.Restored > 0:
			fmt.Fprintf(w, "  at the start\t%s, %v old\n", number(uint64(k.Restored), "answer"), time.Duration(k.Age)*time.Second)
		}
		if k.Saved != nil {
			fmt.Fprintf(w, "  written\t%s\n", when(*k.Saved))
		}
		if k.Failed != "" {
			fmt.Fprintf(w, "  not written\t%s\n", printable(k.Failed))
		}
	}
	return w.Flush()
}
