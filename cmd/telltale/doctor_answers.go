package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"telltale/blocklists/suffixes"
	"telltale/config"
	"telltale/dnswire"
	"telltale/querylog"
	"telltale/web"
)

// A failing is what became of the lookups of a domain in the last day.
type failing struct {
	names    map[string]bool // that were not answered
	rebound  uint64          // refused: a private address in a public name
	failed   uint64          // the upstream itself said SERVFAIL
	answered uint64
}

// mostDomains bounds the domains that a finding names.
const mostDomains = 5

// refusals says which names lead into the network and were refused for that, and
// which the upstreams cannot answer: a person sees neither, only that something
// does not work.
func (d *doctor) refusals(ctx context.Context, cfg *config.Config, st *web.Status) {
	domains, err := failingDomains(ctx, cfg)
	if err != nil {
		return // clients says why
	}
	rebound := d.named(domains, func(f *failing) uint64 { return f.rebound })
	if len(rebound) > 0 {
		d.say("warning", "rebinding", "names of %s were refused in the last day since they lead to private addresses. If a domain is yours, or your company's, put it "+
			"into rebind.allow; 'telltale explain NAME' says more", strings.Join(rebound, ", "))
	} else if n := st.Server.Rebound; n > 0 {
		d.say("warning", "rebinding", "%d answers with private addresses in public names were refused since the start; the log has no names of them", n)
	}
	const enough = 5 // lookups from which a domain without an answer is odd
	failed := d.named(domains, func(f *failing) uint64 {
		if f.answered > 0 || f.failed < enough {
			return 0
		}
		return f.failed
	})
	if len(failed) > 0 {
		d.say("warning", "answers", "the upstreams answer SERVFAIL for all names of %s. If only a server of your network or company knows them "+
			"(split horizon), that server must be asked: put the zone into forward, or records into own.txt", strings.Join(failed, ", "))
	}
}

// named writes the domains that have a count, those with the most first.
func (d *doctor) named(domains map[string]*failing, count func(*failing) uint64) (text []string) {
	names := slices.DeleteFunc(slices.Collect(maps.Keys(domains)), func(name string) bool { return count(domains[name]) == 0 })
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(count(domains[b]), count(domains[a])), cmp.Compare(a, b))
	})
	for i, name := range names {
		if i == mostDomains {
			return append(text, fmt.Sprintf("%d domains more", len(names)-i))
		}
		f := domains[name]
		example := slices.Min(slices.Collect(maps.Keys(f.names)))
		text = append(text, fmt.Sprintf("%s (%s, %d lookups)", name, example, count(f)))
	}
	return text
}

// failingDomains reads the last day of the log.
func failingDomains(ctx context.Context, cfg *config.Config) (map[string]*failing, error) {
	r, err := querylog.OpenReader(cfg.Data.Dir)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	domains := map[string]*failing{}
	for row, err := range r.Rows(ctx, querylog.Filter{Since: time.Now().Add(-24 * time.Hour), Limit: 100_000}) {
		if err != nil {
			return nil, err
		}
		if row.Name == "" {
			continue
		}
		name := domainOf(row.Name)
		f := domains[name]
		if f == nil {
			f = &failing{names: map[string]bool{}}
			domains[name] = f
		}
		switch from := row.AnsweredFrom; {
		case from == querylog.FromRebind.String():
			f.rebound += row.Count
			f.names[row.Name] = true
		case from != querylog.FromUpstream.String() && from != querylog.FromCache.String():
		case row.Rcode == "SERVFAIL":
			f.failed += row.Count
			f.names[row.Name] = true
		default:
			f.answered += row.Count
		}
	}
	return domains, nil
}

// domainOf returns the registrable domain of a name: a public suffix and one label.
// Of other names it is the last label.
func domainOf(name string) string {
	n, err := dnswire.ParseName(name)
	if err != nil {
		return name
	}
	for k := n.Labels(); k > 0; k-- {
		if suffixes.Is(n.Suffix(k)) {
			return string(dnswire.AppendText(nil, n.Suffix(k+1)))
		}
	}
	return string(dnswire.AppendText(nil, n.Suffix(1)))
}
